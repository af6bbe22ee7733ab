//! What people know about sounds: which names might be names of one sound.
//!
//! An explicit table, so that it can be looked up. An entry belongs to every label that contains one of its keywords as a
//! word. Entries of a family may be taken for each other: who hears a siren may also call it an alarm.

use crate::text::stems::stems;

/// One kind of sound.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Words of a label by which it is recognised, without endings ([`stem`](crate::text::stems::stem)).
    pub keywords: &'static [&'static str],
    /// Kinds of sound that might be taken for this one.
    pub families: &'static [&'static str],
    /// Whether its name fits every sound of its families: each dog is an animal.
    pub broad: bool,
}

type Words = &'static [&'static str];

const fn entry(keywords: Words, families: Words) -> Entry {
    Entry { keywords, families, broad: false }
}

const fn broad(keywords: Words, families: Words) -> Entry {
    Entry { keywords, families, broad: true }
}

/// The table. No keyword stands in two entries.
pub const TABLE: &[Entry] = &[
    entry(&["dog", "bark"], &["animal"]),
    entry(&["cat", "meow"], &["animal"]),
    entry(&["rooster", "cockerel"], &["animal"]),
    entry(&["bird", "chirp", "robin"], &["animal"]),
    entry(&["cow", "sheep", "pig"], &["animal"]),
    broad(&["animal"], &["animal"]),
    entry(&["insect", "cricket", "bee"], &["animal"]),
    entry(&["baby", "cry"], &["voice"]),
    entry(&["sneez", "cough"], &["body"]),
    entry(&["laugh", "laughter"], &["voice"]),
    entry(&["snor", "breath"], &["body"]),
    entry(&["clap", "applause"], &["music"]),
    entry(&["footstep", "walk", "step"], &["visit"]),
    entry(&["speech", "voice", "talk", "speak"], &["voice"]),
    broad(&["music", "melody", "song"], &["music"]),
    entry(&["instrument", "guitar", "piano", "violin", "trumpet"], &["music"]),
    entry(&["knock", "doorbell"], &["visit", "signal"]),
    entry(&["door"], &["visit", "bang"]),
    entry(&["bell"], &["signal", "visit"]),
    entry(&["phone", "telephone", "ringtone"], &["signal", "music", "voice"]),
    entry(&["alarm", "beep"], &["signal"]),
    entry(&["siren"], &["signal", "vehicle"]),
    entry(&["clock", "tick"], &["signal"]),
    broad(&["engine", "motor", "idl"], &["machine", "vehicle"]),
    entry(&["car", "horn", "traffic"], &["machine", "vehicle", "signal"]),
    entry(&["train"], &["machine", "vehicle"]),
    entry(&["helicopter"], &["machine", "vehicle"]),
    entry(&["airplane", "aircraft", "jet"], &["machine", "vehicle"]),
    entry(&["chainsaw", "saw"], &["machine", "work"]),
    entry(&["hammer", "drill", "construction"], &["machine", "work", "bang", "visit"]),
    entry(&["vacuum", "cleaner", "wash"], &["machine", "water"]),
    entry(&["keyboard", "typ", "mouse"], &["desk"]),
    entry(&["fire", "crackl"], &["fire"]),
    entry(&["rain"], &["weather", "water"]),
    entry(&["thunder", "thunderstorm"], &["weather", "bang"]),
    entry(&["wind"], &["weather"]),
    entry(&["sea", "wave", "ocean"], &["water", "weather"]),
    broad(&["water", "drop", "tap", "drip", "toilet"], &["water"]),
    entry(&["glass", "break"], &["bang"]),
    entry(&["gun", "gunshot", "explosion", "firework"], &["bang", "fire"]),
    entry(&["eat", "drink", "chew", "sipp"], &["body"]),
];

/// What is known about a label: its words without endings, and its entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Sense {
    stems: Vec<String>,
    /// The entry, the first of which the label has a keyword.
    pub entry: Option<&'static Entry>,
}

impl Sense {
    /// The sense of a label.
    pub fn new(label: &str) -> Sense {
        let stems = stems(label);
        let entry = TABLE.iter().find(|entry| stems.iter().any(|s| entry.keywords.contains(&s.as_str())));
        Sense { stems, entry }
    }

    /// The label's words without endings.
    pub fn stems(&self) -> &[String] {
        &self.stems
    }

    /// Whether a sound of one label might be called by the other: they share a word or an entry, or one is a word for
    /// all of the other's family.
    pub fn is_alike(&self, other: &Sense) -> bool {
        let telling = |s: &&String| s.chars().count() >= 3 && !["the", "and", "with"].contains(&s.as_str());
        if self.stems == other.stems || self.stems.iter().filter(telling).any(|s| other.stems.contains(s)) {
            return true;
        }
        let (Some(a), Some(b)) = (self.entry, other.entry) else { return false };
        a == b || a.is_akin(b) && (a.broad || b.broad)
    }
}

impl Entry {
    /// Whether two entries are of one family.
    fn is_akin(&self, other: &Entry) -> bool {
        self == other || self.families.iter().any(|f| other.families.contains(f))
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::label;
    use super::*;
    use crate::text::stems::stem;
    use std::collections::BTreeSet;

    #[test]
    fn entries_are_told_apart_and_the_bank_is_known() {
        let keywords: Vec<_> = TABLE.iter().flat_map(|e| e.keywords).collect();
        assert_eq!(keywords.iter().collect::<BTreeSet<_>>().len(), keywords.len());
        assert!(keywords.iter().all(|k| stem(k) == **k), "keywords are stems");
        for class in crate::sources::Sources::procedural(0).classes() {
            assert!(Sense::new(&label(class)).entry.is_some(), "{class}");
        }
        let keyword = |l: &str| Sense::new(l).entry.map(|e| e.keywords[0]);
        for label in ["baby cry", "crying baby", "sea waves", "fire crackling", "animal misc", "door slam", "crickets"]
        {
            assert!(keyword(label).is_some(), "{label}");
        }
        assert_eq!(keyword("person sneeze"), keyword("sneezing"));
        assert_eq!(keyword("church bells"), keyword("bell"));
        assert_eq!(keyword("zither"), None);
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
