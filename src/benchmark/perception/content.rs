//! Which sound is heard, and what is said.

use super::super::chain::{Aspects, chain, evidence};
use super::super::claims::{Claim, overlap, plain};
use super::super::draft::{Choice, Context, Draft, agree};
use super::super::names::a;
use super::super::phrases::{ask, say};
use super::super::wording::join;
use crate::rng::Rng;
use crate::sources::Domain;

const CLASS: [&str; 12] = [
    "Which of these sounds can be heard in the recording?",
    "Which sound event occurs in this scene?",
    "Only one of these sounds is present. Which one?",
    "Which of the following sounds is part of this scene?",
    "What kind of sound is heard in this clip?",
    "Which sound does the recording contain?",
    "Three of these sounds are missing from the scene. Which one is there?",
    "Identify a sound event that is audible here.",
    "Which of these can the listener hear?",
    "What is one of the sounds in this recording?",
    "Which sound belongs to what is heard here?",
    "Name the sound from this list that is really heard.",
];
const CLASS_STEPS: [&str; 8] = [
    "Of the sounds offered, the {x} {is} among these.",
    "So of the options only the {x} {is} heard.",
    "The {x} {is} there; the other sounds offered are not.",
    "The others on the list do not sound, the {x} {does}.",
    "That fits one option alone: the {x}.",
    "Comparing with the options leaves the {x}.",
    "None of the other options sounds like this: it must be the {x}.",
    "Hence the sound that is present is the {x}.",
];
const OPEN_CLASS: [&str; 4] = [
    "Which sounds can be heard in the recording?",
    "Which sound events occur in this scene?",
    "What can be heard in this recording?",
    "Name every sound source of this scene.",
];
const SAID: [&str; 11] = [
    "What does the speaker say in this recording?",
    "Which words are spoken in the recording?",
    "What is said by the voice in this scene?",
    "Which of these transcripts is what the speaker says?",
    "What words does the voice in the recording say?",
    "Somebody speaks in this scene. What do they say?",
    "Which sentence or words can be heard from the speaker?",
    "Transcribe the voice in the scene: which option is right?",
    "Which of these utterances is heard in this clip?",
    "What can be understood of the voice in this recording?",
    "Listen to the person who speaks. Which words are theirs?",
];
const SAID_STEPS: [&str; 8] = [
    "The voice says \"{said}\".",
    "The words are \"{said}\".",
    "What is spoken there is \"{said}\".",
    "I understand \"{said}\".",
    "The speaker's words: \"{said}\".",
    "Word for word, it says \"{said}\".",
    "Following the voice, I hear \"{said}\".",
    "It can be understood: \"{said}\".",
];

/// Which of four sounds is heard.
pub(in super::super) fn identify_event_class(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.with_name(rng);
    let label = c.label(source).to_string();
    let others = c.pool.other_labels(rng, 3, &c.facts.senses)?;
    let choice = |label: &String| Choice::new(label, Claim::Present { label: label.clone() });
    let heard: Vec<usize> = (0..c.facts.count()).collect();
    let gaps = [("x", label.as_str()), ("is", agree(&label, "is", "are")), ("does", agree(&label, "does", "do"))];
    Some(Draft {
        kind: "class",
        context: String::new(),
        question: ask(rng, &CLASS, &[]),
        choices: [choice(&label), choice(&others[0]), choice(&others[1]), choice(&others[2])],
        reasoning: chain(c, rng, (&heard, Aspects::SIDE), &CLASS_STEPS, &gaps),
        open: Some([
            ask(rng, &OPEN_CLASS, &[]),
            format!("I hear {}.", join(&c.facts.labels.iter().map(|l| a(l)).collect::<Vec<_>>())),
        ]),
    })
}

/// What is said.
pub(in super::super) fn identify_speech_transcript(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let speaking: Vec<usize> = (0..c.facts.count()).filter(|&i| c.facts.transcript(i).is_some()).collect();
    // Two speakers: "what is said" would have two answers.
    let speech = c.facts.truth.sources.iter().filter(|s| s.domain == Domain::Speech).count();
    let (&[source], 1) = (&speaking[..], speech) else { return None };
    let mut others: Vec<&String> = c.pool.transcripts.iter().collect();
    rng.shuffle(&mut others);
    let mut texts = vec![c.facts.transcript(source)?.to_string()];
    for other in others {
        if texts.len() < 4 && !texts.iter().any(|t| overlap(&plain(t), &plain(other))) {
            texts.push(other.clone());
        }
    }
    let [a, b, d, e] = <[String; 4]>::try_from(texts).ok()?;
    let choice = |text: String| Choice::new(format!("\"{text}\""), Claim::Says { source, text });
    let question = ask(rng, &SAID, &[]);
    let heard = evidence(c, rng, &[source], Aspects::SIDE);
    Some(Draft {
        kind: "transcript",
        context: String::new(),
        question: question.clone(),
        reasoning: format!("{heard} {}", say(rng, &SAID_STEPS, &[("said", &a)])),
        open: Some([question, format!("The speaker says \"{a}\".")]),
        choices: [choice(a), choice(b), choice(d), choice(e)],
    })
}
