//! How many sources there are: plain, in a region, or both at once.

use super::super::chain::{Aspects, chain};
use super::super::claims::{Claim, Region};
use super::super::draft::{Choice, Context, Draft, grid};
use super::super::phrases::ask;
use super::super::verdict::Verdict;
use super::super::wording::{how_many, number};
use crate::rng::Rng;

const PLAIN: [&str; 12] = [
    "How many independent sound sources are audible?",
    "How many sound sources can be heard in this recording?",
    "How many separate sound sources are there in this scene?",
    "What is the number of sound sources in this recording?",
    "Count the sound sources in this scene. How many are there?",
    "Listen to the whole recording. How many sound sources sound in it?",
    "In all, how many sound sources does the listener hear?",
    "How many distinct sources make up what is heard?",
    "From how many sources does the sound of this scene come?",
    "How many things are making a sound in this recording?",
    "How many sound sources surround the listener in this clip?",
    "Ignoring echoes from the walls, how many sound sources are heard?",
];
const PLAIN_STEPS: [&str; 8] = [
    "That makes {sources} in all.",
    "Nothing else sounds, so there are {sources}.",
    "Counting them gives {sources}.",
    "These are all: {sources}.",
    "One by one, I count {sources}.",
    "The echoes come from the walls, so it is {sources}.",
    "So the scene holds {sources}.",
    "Each has a place of its own, which makes {sources}.",
];
const IN_REGION: [&str; 12] = [
    "How many of the audible sound sources are {region}?",
    "How many sound sources are {region}?",
    "Of all sources in this recording, how many are {region}?",
    "Count only the sound sources {region}. How many are there?",
    "What number of sound sources can be heard {region}?",
    "How many sources does the listener hear {region}?",
    "Looking straight ahead, the listener hears how many sources {region}?",
    "How many of the sounds in this scene are {region}?",
    "Which number tells how many sound sources are {region}?",
    "How many sources of sound lie {region}?",
    "If only the sources {region} are counted, how many are there?",
    "In this scene, how many sound sources are found {region}?",
];
const IN_REGION_STEPS: [&str; 6] = [
    "The number {region} is therefore {count}.",
    "Going through them, those {region} number {count}.",
    "Only what is {region} counts, which gives {count}.",
    "Checking each in turn, I find {count} {region}.",
    "Hence the count {region} is {count}.",
    "This leaves {count} {region}.",
];
const BOTH: [&str; 11] = [
    "Which description of the number and the place of the sound sources is right?",
    "How many sound sources are audible, and how many of them in the region named?",
    "Which statement about the number of sound sources and where they are is true?",
    "Which of these counts the sound sources of the scene rightly?",
    "How many sources are there in all, and how many lie in the region that the options name?",
    "Only one of these statements counts the sources rightly. Which one?",
    "Choose the statement that fits the number of sources and their places.",
    "What is true of the number of sound sources here and of their places?",
    "Which pair of counts, in all and in the region named, fits this recording?",
    "Which option gives the right number of sources both overall and in part of the space?",
    "Count all sources, then those in the region named. Which option has both numbers right?",
];
const BOTH_STEPS: [&str; 6] = [
    "That makes {sources} in all, {count} of them {region}.",
    "Together there are {sources}; {region} I count {count}.",
    "In all {sources}, and {region}: {count}.",
    "I count {sources}. Of these, the number {region} is {count}.",
    "All told {sources}, and looking only {region} gives {count}.",
    "First the total: {sources}. Then those {region}: {count}.",
];

fn all_sources(c: &Context) -> Vec<usize> {
    (0..c.facts.count()).collect()
}

fn sources_word(n: usize) -> String {
    format!("{} {}", number(n), if n == 1 { "source" } else { "sources" })
}

/// How many sources there are.
pub(in super::super) fn plain_count(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let count = c.facts.count();
    let mut numbers: Vec<usize> = (1..=4).filter(|n| *n != count).collect();
    numbers.insert(0, count);
    let choice = |n: usize| Choice::new(number(n), Claim::Count { region: Region::Anywhere, n });
    let question = ask(rng, &PLAIN, &[]);
    let heard = all_sources(c);
    Some(Draft {
        kind: "plain count",
        context: String::new(),
        question: question.clone(),
        choices: [choice(numbers[0]), choice(numbers[1]), choice(numbers[2]), choice(numbers[3])],
        reasoning: chain(c, rng, (&heard, Aspects::SIDE), &PLAIN_STEPS, &[("sources", &sources_word(count))]),
        open: Some([question, format!("There {} {}.", if count == 1 { "is" } else { "are" }, sources_word(count))]),
    })
}

/// Regions with the words for them; "somewhere", because each is half of all directions.
const REGIONS: [(Region, &str); 7] = [
    (Region::Left, "somewhere to the left of the listener"),
    (Region::Right, "somewhere to the right of the listener"),
    (Region::Front, "somewhere in front of the listener"),
    (Region::Behind, "somewhere behind the listener"),
    (Region::Above, "above ear level"),
    (Region::Below, "below ear level"),
    (Region::Near, "less than two metres away"),
];

/// What a chain tells of sources when it is about a region.
fn aspects(region: Region) -> Aspects {
    match region {
        Region::Above | Region::Below => Aspects::HEIGHT,
        Region::Near => Aspects::NEAR_OR_FAR,
        _ => Aspects::WAY,
    }
}

/// How many sources of the scene lie in a region.
fn inside(c: &Context, region: Region) -> Option<usize> {
    (0..=c.facts.count()).find(|&n| Claim::Count { region, n }.verdict(c.facts) == Verdict::True)
}

/// How many sources lie in a region.
pub(in super::super) fn count_in_region(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (region, words) = REGIONS[rng.below(REGIONS.len())];
    let count = inside(c, region)?;
    let mut numbers: Vec<usize> = (0..4).filter(|n| *n != count).collect();
    numbers.insert(0, count);
    let choice = |n: usize| Choice::new(how_many(n), Claim::Count { region, n });
    let question = ask(rng, &IN_REGION, &[("region", words)]);
    let counted = how_many(count);
    let gaps = [("region", words), ("count", counted.as_str())];
    let heard = all_sources(c);
    Some(Draft {
        kind: "count in a region",
        context: words.into(),
        question: question.clone(),
        choices: [choice(numbers[0]), choice(numbers[1]), choice(numbers[2]), choice(numbers[3])],
        reasoning: chain(c, rng, (&heard, aspects(region)), &IN_REGION_STEPS, &gaps),
        open: Some([question, format!("The number of sources {words} is {}.", number(count))]),
    })
}

/// How many sources there are, and how many of them in a region.
pub(in super::super) fn count_and_region(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (region, words) = REGIONS[rng.below(REGIONS.len())];
    let (n, k) = (c.facts.count(), inside(c, region)?);
    let other_n = [1, 2, 3][rng.below(3)];
    let other_k = rng.below(n.min(other_n) + 1);
    if other_n == n || other_k == k || k > other_n {
        return None;
    }
    let choices = grid(|first, second| {
        let (n, k) = (if first { n } else { other_n }, if second { k } else { other_k });
        let claim = Claim::both(Claim::Count { region: Region::Anywhere, n }, Claim::Count { region, n: k });
        Choice::new(format!("{} in all, {} {words}", sources_word(n), how_many(k)), claim)
    });
    let gaps = [("sources", sources_word(n)), ("count", how_many(k)), ("region", words.into())];
    let gaps = gaps.each_ref().map(|(gap, with)| (*gap, with.as_str()));
    let heard = all_sources(c);
    Some(Draft {
        kind: "count and region",
        context: words.into(),
        question: ask(rng, &BOTH, &[]),
        choices,
        reasoning: chain(c, rng, (&heard, aspects(region)), &BOTH_STEPS, &gaps),
        open: None,
    })
}
