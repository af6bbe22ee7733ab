//! How many sources of a sort there are: of two sorts, or of one sort and in a region.

use super::super::chain::{Aspects, chain};
use super::super::claims::{Claim, Region, Sort, sort_of};
use super::super::draft::{Choice, Context, Draft, grid};
use super::super::facts::Facts;
use super::super::phrases::ask;
use super::super::verdict::Verdict::True;
use super::super::wording::how_many;
use crate::rng::Rng;

/// What the sorts are.
const SORTS: &str = "a speaking voice, a source of music, or another sound";
const TWO: [&str; 10] = [
    "How many sources of each sort named are there (each is {sorts})?",
    "Sort the sources of this scene (each is {sorts}). Which counts are right?",
    "Each source is {sorts}. Which option counts two of these sorts rightly?",
    "Count the sources by their sort ({sorts}). Which pair of numbers is right?",
    "Of what sorts are the sources heard here ({sorts}), and how many of each?",
    "Which numbers of sources belong to the sorts in the options (each source is {sorts})?",
    "Listen to all sources and tell their sorts apart ({sorts}). Which count is true?",
    "Which of these counts of sources by sort fits the recording (each is {sorts})?",
    "If every source is {sorts}, which statement about their numbers is right?",
    "Divide what is heard into sorts ({sorts}). Which two counts are both right?",
];
const TWO_STEPS: [&str; 8] = [
    "Sorted, that makes {answer}.",
    "Counting sort by sort gives {answer}.",
    "So there are {answer}.",
    "By their sorts, these are {answer}.",
    "Going through them one by one: {answer}.",
    "Among these I count {answer}.",
    "This amounts to {answer}.",
    "Told apart by what they are: {answer}.",
];
const PLACED: [&str; 10] = [
    "How many sources of the sort named are there (each is {sorts}), and how many of all are {region}?",
    "Count one sort of sources ({sorts}), then all sources {region}. Which option has both numbers right?",
    "Which two counts are right: of the sort named (each source is {sorts}), and of all sources {region}?",
    "Each source is {sorts}. Which option counts the sort it names and all that is {region} rightly?",
    "What is true of the number of sources of a sort ({sorts}) and of the number {region}?",
    "How many are of the sort that the options name ({sorts}), and how many, of any sort, are {region}?",
    "Sort the sources ({sorts}) and place them. Which count of a sort and of what is {region} fits?",
    "Two numbers are asked for: sources of the sort named ({sorts}), and all sources {region}.",
    "Which statement counts both a sort of sources ({sorts}) and everything {region} without a mistake?",
    "By what they are ({sorts}) and by where they are ({region}): which counts of the sources are right?",
];

/// How many sources are of a sort, when that is clear.
fn counted(facts: &Facts, sort: Sort) -> Option<usize> {
    (0..=facts.count()).find(|&n| Claim::CountOf { sort, n }.verdict(facts) == True)
}

/// Whether the sources of a scene can be sorted.
pub(super) fn can_count(facts: &Facts) -> bool {
    (0..facts.count()).all(|i| sort_of(facts, i).is_some())
}

fn words(sort: Sort, n: usize) -> String {
    let number = if n == 0 { "no".into() } else { how_many(n) };
    let (one, several) = match sort {
        Sort::Voice => ("speaking voice", "speaking voices"),
        Sort::Music => ("source of music", "sources of music"),
        Sort::Other => ("other sound", "other sounds"),
    };
    format!("{number} {}", if n == 1 { one } else { several })
}

/// A count that another scene has.
fn another(c: &Context, rng: &mut Rng, sort: Sort, than: usize) -> Option<usize> {
    let (other, _) = c.pool.any(rng);
    counted(other, sort).filter(|n| *n != than)
}

/// How many sources there are of two sorts.
pub(in super::super) fn two_sorts(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let mut sorts = Sort::ALL.to_vec();
    rng.shuffle(&mut sorts);
    let (p, q) = (sorts[0], sorts[1]);
    let own = (counted(c.facts, p)?, counted(c.facts, q)?);
    let wrong = (another(c, rng, p, own.0)?, another(c, rng, q, own.1)?);
    // Every scene has one to three sources: no option may be excluded by that.
    let total_max = own.0.max(wrong.0) + own.1.max(wrong.1);
    if total_max > 3 {
        return None;
    }
    let choices = grid(|first, second| {
        let (n, m) = (if first { own.0 } else { wrong.0 }, if second { own.1 } else { wrong.1 });
        let claim = Claim::both(Claim::CountOf { sort: p, n }, Claim::CountOf { sort: q, n: m });
        Choice::new(format!("{} and {}", words(p, n), words(q, m)), claim)
    });
    let question = ask(rng, &TWO, &[("sorts", SORTS)]);
    let all: Vec<usize> = (0..c.facts.count()).collect();
    Some(Draft {
        kind: "two sorts",
        context: format!("{p:?} {q:?}"),
        reasoning: chain(c, rng, (&all, Aspects::SIDE), &TWO_STEPS, &[("answer", &choices[0].text)]),
        open: None,
        choices,
        question,
    })
}

/// Regions with the words for them.
const REGIONS: [(Region, &str); 4] = [
    (Region::Left, "somewhere to the left of the listener"),
    (Region::Right, "somewhere to the right of the listener"),
    (Region::Front, "somewhere in front of the listener"),
    (Region::Behind, "somewhere behind the listener"),
];

/// How many sources there are of a sort, and how many of all in a region.
pub(in super::super) fn sort_and_region(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (sort, (region, place)) = (Sort::ALL[rng.below(3)], REGIONS[rng.below(REGIONS.len())]);
    let inside = |facts: &Facts| (0..=facts.count()).find(|&n| Claim::Count { region, n }.verdict(facts) == True);
    let own = (counted(c.facts, sort)?, inside(c.facts)?);
    let (other, _) = c.pool.any(rng);
    let wrong = (another(c, rng, sort, own.0)?, inside(other)?);
    if wrong.1 == own.1 {
        return None;
    }
    let choices = grid(|first, second| {
        let (n, k) = (if first { own.0 } else { wrong.0 }, if second { own.1 } else { wrong.1 });
        let claim = Claim::both(Claim::CountOf { sort, n }, Claim::Count { region, n: k });
        Choice::new(format!("{}, and {} of all {place}", words(sort, n), how_many(k)), claim)
    });
    let question = ask(rng, &PLACED, &[("sorts", SORTS), ("region", place)]);
    let all: Vec<usize> = (0..c.facts.count()).collect();
    Some(Draft {
        kind: "sort and region",
        context: format!("{sort:?} {region:?}"),
        reasoning: chain(c, rng, (&all, Aspects::WAY), &TWO_STEPS, &[("answer", &choices[0].text)]),
        open: None,
        choices,
        question,
    })
}
