//! Who says what where: the words of a voice, tied to its direction.

use super::super::chain::{Aspects, evidence};
use super::super::claims::{Claim, overlap, plain};
use super::super::draft::{Choice, Context, Draft, grid};
use super::super::facts::Facts;
use super::super::phrases::{ask, say};
use super::super::verdict::Verdict;
use super::super::wording::from_the;
use super::parts::{called, direction, in_direction};
use crate::rng::Rng;
use crate::sources::Domain;

const SAID: [&str; 10] = [
    "What does the speaker say, and from where?",
    "Which words are spoken in this scene, and from which direction do they come?",
    "Somebody speaks. Which words are it, and where is the voice?",
    "Give the words of the voice together with the direction from which it is heard.",
    "Who speaks where? Choose the option with the right words and the right direction.",
    "What is said here, and to which side must one turn to face the speaker?",
    "Find the voice in this scene: what does it say, and from which direction?",
    "Which option has both what is said and where the speaker is right?",
    "From where does somebody speak in this recording, and what do they say?",
    "Match words and direction: which of these is true of the speaker?",
];
const SAID_STEPS: [&str; 8] = [
    "The voice says \"{said}\", and it comes {place}.",
    "{Place} somebody says \"{said}\".",
    "The words are \"{said}\"; the voice is heard {place}.",
    "What is spoken is \"{said}\", {place}.",
    "I understand \"{said}\", which comes {place}.",
    "The direction of the voice: {place}. Its words: \"{said}\".",
    "Word for word \"{said}\", heard {place}.",
    "Following the voice {place}, I hear \"{said}\".",
];
const FROM: [&str; 10] = [
    "Two people speak. What does the one say who is heard {place}?",
    "Which words does the speaker {place} say?",
    "Of the two voices, what does the one {place} say?",
    "Listen to the speaker {place}. Which words are theirs?",
    "What is said {place} in this recording?",
    "Two voices are heard. Which of these does the voice {place} say?",
    "Turn to the voice {place}: what does it say?",
    "What words reach the listener {place}, where one of two people speaks?",
    "Leave the other voice aside. What does the speaker {place} say?",
    "Tell the words of the person who is heard {place}.",
];

/// The sources that speak, where the words of all are known.
fn speakers(facts: &Facts) -> Option<Vec<usize>> {
    let all: Vec<usize> = (0..facts.count()).filter(|&i| facts.source(i).domain == Domain::Speech).collect();
    all.iter().all(|&i| facts.transcript(i).is_some()).then_some(all)
}

/// Whether a scene has a voice whose words are known, beside another sound.
pub(super) fn can_ask(facts: &Facts) -> bool {
    facts.count() >= 2 && speakers(facts).is_some_and(|all| [1, 2].contains(&all.len()))
}

/// Transcripts that share no words with those of `own`, nor with each other.
fn others(c: &Context, rng: &mut Rng, own: &[&str], n: usize) -> Option<Vec<String>> {
    let mut pool: Vec<&String> = c.pool.transcripts.iter().collect();
    rng.shuffle(&mut pool);
    let mut known: Vec<String> = own.iter().map(|text| plain(text)).collect();
    let mut found = Vec::new();
    for text in pool {
        if found.len() < n && !known.iter().any(|k| overlap(k, &plain(text))) {
            known.push(plain(text));
            found.push(text.clone());
        }
    }
    (found.len() == n).then_some(found)
}

/// What the only speaker says, and from where; the wrong direction is that of another sound.
pub(in super::super) fn said_and_direction(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let all = speakers(c.facts)?;
    let &[source] = &all[..] else { return None };
    let beside: Vec<usize> = (0..c.facts.count()).filter(|&i| i != source).collect();
    let other = *beside.get(rng.below(beside.len().max(1)))?;
    let own = c.facts.transcript(source)?.to_string();
    let wrong = others(c, rng, &[&own], 1)?.remove(0);
    let choices = grid(|is_said, is_there| {
        let text = if is_said { &own } else { &wrong };
        let way = direction(c, if is_there { source } else { other });
        let says = Claim::Says { source, text: text.clone() };
        let of = vec![called(c, source), says, in_direction(source, way)];
        Choice::new(format!("\"{text}\", {}", from_the(way)), Claim::All { of })
    });
    let question = ask(rng, &SAID, &[]);
    let place = from_the(direction(c, source));
    let heard = evidence(c, rng, &[source, other], Aspects::SIDE);
    let capital = super::super::wording::capital(&place);
    let step = say(rng, &SAID_STEPS, &[("said", &own), ("place", &place), ("Place", &capital)]);
    Some(Draft {
        kind: "words and direction",
        context: String::new(),
        reasoning: format!("{heard} {step}"),
        open: Some([question.clone(), format!("The speaker says \"{own}\", heard {place}.")]),
        choices,
        question,
    })
}

/// What the speaker at a place says: not what the other one says.
pub(in super::super) fn said_from(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let mut all = speakers(c.facts)?;
    rng.shuffle(&mut all);
    let &[source, other] = &all[..] else { return None };
    let way = direction(c, source);
    let here = |i: usize| in_direction(i, way).verdict(c.facts);
    let alone = here(source) == Verdict::True && (0..c.facts.count()).all(|i| i == source || here(i) == Verdict::False);
    let (own, theirs) = (c.facts.transcript(source)?.to_string(), c.facts.transcript(other)?.to_string());
    if !alone || overlap(&plain(&own), &plain(&theirs)) {
        return None;
    }
    let mut texts = vec![own.clone(), theirs.clone()];
    texts.extend(others(c, rng, &[&own, &theirs], 2)?);
    let choice = |i: usize| {
        let says = Claim::both(called(c, source), Claim::Says { source, text: texts[i].clone() });
        Choice::new(format!("\"{}\"", texts[i]), says)
    };
    let place = from_the(way);
    let question = ask(rng, &FROM, &[("place", &place)]);
    let heard = evidence(c, rng, &[source, other], Aspects::SIDE);
    let capital = super::super::wording::capital(&place);
    let step = say(rng, &SAID_STEPS, &[("said", &own), ("place", &place), ("Place", &capital)]);
    Some(Draft {
        kind: "words from a direction",
        context: String::new(),
        choices: [choice(0), choice(1), choice(2), choice(3)],
        reasoning: format!("{heard} {step}"),
        open: Some([question.clone(), format!("The speaker {place} says \"{own}\".")]),
        question,
    })
}
