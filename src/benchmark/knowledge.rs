//! What people know about sounds: which event a sound tells of, and what somebody who walks towards it may want.
//!
//! An explicit table, so that a reasoning question has one answer that can be looked up. An entry belongs to every label
//! that contains one of its keywords as a word. Entries of a family stand never against each other: who hears a siren may
//! also say that a warning device has gone off.

use super::alike::{Kinds, words_of};
use super::names;
use super::verdict::Verdict;
use crate::scene::Track;

/// One kind of sound.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Words of a label by which it is recognised, without endings ([`stem`]).
    pub keywords: &'static [&'static str],
    /// Kinds of sound whose events or aims might be taken for this one's.
    pub families: &'static [&'static str],
    /// Whether its name fits every sound of its families: each dog is an animal.
    pub broad: bool,
    /// What is going on when it is heard: a clause.
    pub situation: &'static str,
    /// What somebody who goes there wants: a verb phrase.
    pub intention: &'static str,
}

type Words = &'static [&'static str];

const fn entry(keywords: Words, families: Words, situation: &'static str, intention: &'static str) -> Entry {
    Entry { keywords, families, broad: false, situation, intention }
}

const fn broad(keywords: Words, families: Words, situation: &'static str, intention: &'static str) -> Entry {
    Entry { keywords, families, broad: true, situation, intention }
}

/// The table. No two entries share a situation or an intention.
pub const TABLE: &[Entry] = &[
    entry(&["dog", "bark"], &["animal"], "a pet is guarding its home", "calm the pet"),
    entry(&["cat", "meow"], &["animal"], "a hungry animal begs for food", "fill the animal's bowl"),
    entry(&["rooster", "cockerel"], &["animal"], "a farm is waking up", "feed the poultry"),
    entry(&["bird", "chirp", "robin"], &["animal"], "small singers greet the morning", "watch the small singers"),
    entry(&["cow", "sheep", "pig"], &["animal"], "livestock waits in a stable", "feed the livestock"),
    broad(&["animal"], &["animal"], "some wild creature is close", "see what creature it is"),
    entry(&["insect", "cricket", "bee"], &["animal"], "it is a warm summer evening", "chase the insects away"),
    entry(&["baby", "cry"], &["voice"], "an infant needs care", "comfort the infant"),
    entry(&["sneez", "cough"], &["body"], "somebody has caught a cold", "offer a handkerchief"),
    entry(&["laugh", "laughter"], &["voice"], "somebody heard a good joke", "share the joke"),
    entry(&["snor", "breath"], &["body"], "somebody is asleep", "wake the sleeper"),
    entry(&["clap", "applause"], &["music"], "a performance has just ended", "congratulate the performers"),
    entry(&["footstep", "walk", "step"], &["visit"], "somebody is passing by", "meet the passer-by"),
    entry(&["speech", "voice", "talk", "speak"], &["voice"], "somebody has something to say", "join the conversation"),
    broad(&["music", "melody", "song"], &["music"], "a tune is being played", "turn the tune down"),
    entry(
        &["instrument", "guitar", "piano", "violin", "trumpet"],
        &["music"],
        "a musician is practising",
        "praise the musician",
    ),
    entry(&["knock", "doorbell"], &["visit", "signal"], "a visitor wants to come in", "let the visitor in"),
    entry(&["door"], &["visit", "bang"], "somebody enters or leaves", "close the entrance"),
    entry(&["bell"], &["signal", "visit"], "people are being called together", "see why people are called together"),
    entry(
        &["phone", "telephone", "ringtone"],
        &["signal", "music", "voice"],
        "a caller is waiting",
        "answer the caller",
    ),
    entry(&["alarm", "beep"], &["signal"], "a warning device has gone off", "switch the warning device off"),
    entry(&["siren"], &["signal", "vehicle"], "rescuers are on their way", "make way for the rescuers"),
    entry(&["clock", "tick"], &["signal"], "time is being kept", "read the time"),
    broad(&["engine", "motor", "idl"], &["machine", "vehicle"], "a machine is kept running", "stop the machine"),
    entry(
        &["car", "horn", "traffic"],
        &["machine", "vehicle", "signal"],
        "vehicles are on a road",
        "see whether the road is free",
    ),
    entry(&["train"], &["machine", "vehicle"], "passengers are carried on rails", "board the carriage"),
    entry(&["helicopter"], &["machine", "vehicle"], "a rotor craft hovers", "wave to the pilot"),
    entry(&["airplane", "aircraft", "jet"], &["machine", "vehicle"], "a flight is passing", "look up at the flight"),
    entry(&["chainsaw", "saw"], &["machine", "work"], "wood is being cut", "stop the cutting"),
    entry(
        &["hammer", "drill", "construction"],
        &["machine", "work", "bang", "visit"],
        "something is being built",
        "inspect the building work",
    ),
    entry(
        &["vacuum", "cleaner", "wash"],
        &["machine", "water"],
        "a household is being cleaned",
        "help with the cleaning",
    ),
    entry(&["keyboard", "typ", "mouse"], &["desk"], "somebody works at a computer", "look at the screen"),
    entry(&["fire", "crackl"], &["fire"], "logs are burning", "warm the hands"),
    entry(
        &["rain"],
        &["weather", "water"],
        "wet weather has set in",
        "check whether a window is open to the wet weather",
    ),
    entry(
        &["thunder", "thunderstorm"],
        &["weather", "bang"],
        "a storm is coming",
        "unplug the aerial before the storm",
    ),
    entry(&["wind"], &["weather"], "a gale is rising", "tie things down against the gale"),
    entry(&["sea", "wave", "ocean"], &["water", "weather"], "breakers roll onto a beach", "go for a swim"),
    broad(&["water", "drop", "tap", "drip", "toilet"], &["water"], "something leaks or overflows", "find the leak"),
    entry(&["glass", "break"], &["bang"], "something has been smashed", "sweep up the pieces"),
    entry(
        &["gun", "gunshot", "explosion", "firework"],
        &["bang", "fire"],
        "something has gone off with a bang",
        "find out what went off",
    ),
    entry(&["eat", "drink", "chew", "sipp"], &["body"], "somebody is having a meal", "sit down to the meal"),
];

/// A word without the commonest endings, so that `bells`, `sneeze` and `ticking` meet `bell`, `sneezing` and `tick`.
pub fn stem(word: &str) -> &str {
    let cut = |ending: &str| word.strip_suffix(ending).filter(|rest| rest.chars().count() >= 3);
    let bare = cut("ing").or_else(|| cut("s").filter(|rest| !rest.ends_with('s'))).unwrap_or(word);
    // "snore" and "snoring", but not "fire" and "fir".
    match bare.strip_suffix('e') {
        Some(rest) if ["sneez", "snor", "typ", "crackl", "idl"].contains(&rest) => rest,
        _ if bare == "clapp" => "clap",
        _ => bare,
    }
}

/// What is known about a sound: the kinds that its words name, and its entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Sense {
    kinds: Kinds,
    /// The entry, the first of which the label has a keyword.
    pub entry: Option<&'static Entry>,
    /// Entries of other sounds that captions and keywords tell of: they may be heard as well.
    also: Vec<&'static Entry>,
}

/// The entries whose keywords a text has, in the order of the table.
fn entries_in(text: &str) -> impl Iterator<Item = &'static Entry> {
    let stems: Vec<String> = words_of(&text.to_lowercase()).map(|word| stem(word).to_string()).collect();
    TABLE.iter().filter(move |entry| stems.iter().any(|s| entry.keywords.contains(&s.as_str())))
}

impl Sense {
    /// The sense of a label.
    pub fn new(label: &str) -> Sense {
        Sense { kinds: Kinds::of([label]), entry: entries_in(label).next(), also: vec![] }
    }

    /// The sense of a source: its entry is that of its class, or else of its name.
    pub fn of(source: &Track, name: Option<&str>) -> Sense {
        let class = names::label(&source.class);
        let entry = entries_in(&class).chain(name.into_iter().flat_map(entries_in)).next();
        let also = names::about(source).chain(name).flat_map(entries_in).filter(|e| Some(*e) != entry).collect();
        Sense { kinds: names::kinds(source, name), entry, also }
    }

    /// Whether a sound of one label might be called by the other: they share a word, or one is a word for the other's
    /// kind of sound.
    pub fn is_alike(&self, other: &Sense) -> bool {
        self.kinds.is_alike(&other.kinds)
    }

    /// Whether what else is heard with the sound might tell of what an entry tells of.
    fn may_tell_of(&self, entry: &Entry) -> bool {
        self.also.iter().any(|e| e.is_akin(entry))
    }
}

impl Entry {
    /// Whether two entries are of one family, so that the event or aim of one might be taken for the other's.
    pub fn is_akin(&self, other: &Entry) -> bool {
        self == other || self.families.iter().any(|f| other.families.contains(f))
    }
}

/// Whether a situation goes on in a scene whose sources have these senses. Unclear when one of them is unknown to the
/// table or akin to what the situation belongs to: it might tell of the same.
pub fn happens(situation: &str, senses: &[Sense]) -> Verdict {
    if senses.iter().any(|s| s.entry.is_some_and(|e| e.situation == situation)) {
        return Verdict::True;
    }
    let Some(asked) = TABLE.iter().find(|e| e.situation == situation) else { return Verdict::Unclear };
    let foreign = senses.iter().all(|s| s.entry.is_some_and(|e| !e.is_akin(asked)) && !s.may_tell_of(asked));
    if foreign { Verdict::False } else { Verdict::Unclear }
}

/// Whether somebody with this intention would go to a source of this sense.
pub fn intends(intention: &str, sense: &Sense) -> Verdict {
    let asked = TABLE.iter().find(|e| e.intention == intention);
    match (asked, sense.entry) {
        (Some(asked), Some(own)) if asked == own => Verdict::True,
        (Some(asked), Some(own)) if !asked.is_akin(own) && !sense.may_tell_of(asked) => Verdict::False,
        _ => Verdict::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::label;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn entries_are_told_apart_and_the_bank_is_known() {
        let situations: BTreeSet<_> = TABLE.iter().map(|e| e.situation).collect();
        let intentions: BTreeSet<_> = TABLE.iter().map(|e| e.intention).collect();
        let keywords: Vec<_> = TABLE.iter().flat_map(|e| e.keywords).collect();
        assert_eq!((situations.len(), intentions.len()), (TABLE.len(), TABLE.len()));
        assert_eq!(keywords.iter().collect::<BTreeSet<_>>().len(), keywords.len());
        assert!(keywords.iter().all(|k| stem(k) == **k), "keywords are stems");
        for class in crate::sources::Sources::procedural(0).classes() {
            assert!(Sense::new(&label(class)).entry.is_some(), "{class}");
        }
        let situation = |l: &str| Sense::new(l).entry.map(|e| e.situation);
        for label in ["baby cry", "crying baby", "sea waves", "fire crackling", "animal misc", "door slam", "crickets"]
        {
            assert!(situation(label).is_some(), "{label}");
        }
        assert_eq!(situation("person sneeze"), situation("sneezing"));
        assert_eq!(situation("church bells"), situation("bell"));
        assert_eq!(situation("zither"), None);
    }

    #[test]
    fn what_the_table_does_not_know_stays_open() {
        let senses = |list: &[&str]| list.iter().map(|l| Sense::new(l)).collect::<Vec<_>>();
        assert_eq!(happens("wet weather has set in", &senses(&["rain", "dog bark"])), Verdict::True);
        assert_eq!(happens("a gale is rising", &senses(&["speech", "dog bark"])), Verdict::False);
        assert_eq!(happens("a gale is rising", &senses(&["speech", "zither"])), Verdict::Unclear);
        // Rain may come with a gale, and a siren is a warning device.
        assert_eq!(happens("a gale is rising", &senses(&["rain", "dog bark"])), Verdict::Unclear);
        assert_eq!(happens("a warning device has gone off", &senses(&["siren"])), Verdict::Unclear);
        let intends = |aim: &str, label: &str| intends(aim, &Sense::new(label));
        assert_eq!(intends("calm the pet", "dog bark"), Verdict::True);
        assert_eq!(intends("fill the animal's bowl", "dog bark"), Verdict::Unclear);
        assert_eq!(intends("read the time", "dog bark"), Verdict::False);
    }

    #[test]
    fn labels_that_may_name_one_sound() {
        let alike = |a: &str, b: &str| Sense::new(a).is_alike(&Sense::new(b));
        for (a, b) in [
            ("rain", "rain"),
            ("dog", "bark"),
            ("dog bark", "barking"),
            ("animal misc", "rooster"),
            ("music", "piano"),
            ("engine idling", "chainsaw"),
            ("water drops", "rain"),
            ("church bells", "bell"),
            ("speech", "voice"),
        ] {
            assert!(alike(a, b) && alike(b, a), "{a}, {b}");
        }
        for (a, b) in [("rain", "wind"), ("dog bark", "rooster"), ("bell", "alarm beep"), ("sound of x", "call of y")] {
            assert!(!alike(a, b) && !alike(b, a), "{a}, {b}");
        }
    }
}
