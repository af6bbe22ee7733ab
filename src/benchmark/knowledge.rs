//! What people know about sounds: which event a sound tells of, and what somebody who walks towards it may want.
//!
//! An explicit table, so that a reasoning question has one answer that can be looked up. An entry belongs to every label
//! that contains one of its keywords as a word.

use super::claims::Verdict;

/// One kind of sound.
#[derive(Debug)]
pub struct Entry {
    /// Words of a label by which it is recognised.
    pub keywords: &'static [&'static str],
    /// What is going on when it is heard: a clause.
    pub situation: &'static str,
    /// What somebody who goes there wants: a verb phrase.
    pub intention: &'static str,
}

const fn entry(keywords: &'static [&'static str], situation: &'static str, intention: &'static str) -> Entry {
    Entry { keywords, situation, intention }
}

/// The table. No two entries share a situation or an intention.
pub const TABLE: &[Entry] = &[
    entry(&["dog", "bark"], "a pet is guarding its home", "calm the pet"),
    entry(&["cat", "meow"], "a hungry animal begs for food", "fill the animal's bowl"),
    entry(&["bird", "chirp", "chirping", "robin"], "small singers greet the morning", "watch the small singers"),
    entry(&["rooster", "crow"], "a farm is waking up", "feed the poultry"),
    entry(&["cow", "sheep", "pig"], "livestock waits in a stable", "milk the livestock"),
    entry(&["animal"], "some wild creature is close", "see what creature it is"),
    entry(&["insect", "cricket", "bee"], "it is a warm summer evening", "chase the insects away"),
    entry(&["baby", "cry", "crying"], "an infant needs care", "comfort the infant"),
    entry(&["sneeze", "cough"], "somebody has caught a cold", "offer a handkerchief"),
    entry(&["laugh", "laughter", "laughing"], "somebody heard a good joke", "share the joke"),
    entry(&["snore", "snoring", "breathing"], "somebody is asleep", "wake the sleeper"),
    entry(&["clap", "clapping", "applause"], "a performance has just ended", "take a bow"),
    entry(&["footsteps", "walk", "walking", "steps"], "somebody is passing by", "meet the passer-by"),
    entry(&["speech", "voice", "talking", "speaking"], "somebody has something to say", "join the conversation"),
    entry(&["music", "melody", "song"], "a tune is being played", "turn the tune down"),
    entry(&["instrument", "guitar", "piano", "violin", "trumpet"], "a musician is practising", "praise the musician"),
    entry(&["knock", "knocking"], "a visitor wants to come in", "let the visitor in"),
    entry(&["door"], "somebody enters or leaves", "close the entrance"),
    entry(&["bell", "doorbell"], "a signal calls people together", "answer the call of the signal"),
    entry(&["phone", "telephone", "ringtone"], "a caller is waiting", "answer the caller"),
    entry(&["alarm", "beep"], "a warning device has gone off", "switch the warning device off"),
    entry(&["siren"], "rescuers are on their way", "make way for the rescuers"),
    entry(&["clock", "tick", "ticking"], "time is being kept", "read the time"),
    entry(&["engine", "motor", "idling"], "a machine is kept running", "stop the machine"),
    entry(&["car", "horn", "traffic"], "drivers are impatient", "see what blocks the drivers"),
    entry(&["train"], "passengers are carried on rails", "board the carriage"),
    entry(&["helicopter"], "a rotor craft hovers", "wave to the pilot"),
    entry(&["airplane", "aircraft", "jet"], "a flight is passing", "look up at the flight"),
    entry(&["chainsaw", "saw"], "a tree is being felled", "stop the felling"),
    entry(&["hammer", "drill", "construction"], "something is being built", "inspect the building work"),
    entry(&["vacuum", "cleaner", "washing"], "a household is being cleaned", "help with the cleaning"),
    entry(&["keyboard", "typing", "mouse"], "somebody works at a computer", "look at the screen"),
    entry(&["fire", "crackling"], "logs are burning", "warm the hands"),
    entry(&["rain"], "wet weather has set in", "check whether a window is open to the wet weather"),
    entry(&["thunder", "thunderstorm"], "a storm is coming", "unplug the aerial before the storm"),
    entry(&["wind"], "a gale is rising", "tie things down against the gale"),
    entry(&["sea", "waves", "ocean"], "breakers roll onto a beach", "go for a swim"),
    entry(
        &["water", "drops", "tap", "drip", "toilet", "pouring"],
        "a leak or an open tap wastes water",
        "stop the leak",
    ),
    entry(&["glass", "breaking"], "something has been smashed", "sweep up the pieces"),
    entry(
        &["gun", "gunshot", "explosion", "firework", "fireworks"],
        "something has gone off with a bang",
        "find out what went off",
    ),
    entry(&["eating", "drinking", "chewing", "sipping"], "somebody is having a meal", "sit down to the meal"),
];

/// The entry of a label, the first whose keyword it contains as a word.
pub fn of_label(label: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| label.split(' ').any(|word| entry.keywords.contains(&word)))
}

/// Whether a situation goes on in a scene whose sources are called `labels`. Unclear when one of them is unknown to the
/// table: it might tell of the same.
pub fn happens(situation: &str, labels: &[String]) -> Verdict {
    let entries: Vec<Option<&Entry>> = labels.iter().map(|l| of_label(l)).collect();
    if entries.iter().flatten().any(|e| e.situation == situation) {
        return Verdict::True;
    }
    if entries.iter().any(Option::is_none) { Verdict::Unclear } else { Verdict::False }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn entries_are_told_apart_and_the_bank_is_known() {
        let situations: BTreeSet<_> = TABLE.iter().map(|e| e.situation).collect();
        let intentions: BTreeSet<_> = TABLE.iter().map(|e| e.intention).collect();
        let keywords: Vec<_> = TABLE.iter().flat_map(|e| e.keywords).collect();
        assert_eq!((situations.len(), intentions.len()), (TABLE.len(), TABLE.len()));
        assert_eq!(keywords.iter().collect::<BTreeSet<_>>().len(), keywords.len());
        for class in crate::sources::Sources::procedural(0).classes() {
            assert!(of_label(&super::super::facts::label(class)).is_some(), "{class}");
        }
        for label in ["baby cry", "person sneeze", "sea waves", "fire crackling", "animal misc", "door slam"] {
            assert!(of_label(label).is_some(), "{label}");
        }
        assert!(of_label("zither").is_none());
    }

    #[test]
    fn what_the_table_does_not_know_stays_open() {
        let labels = |list: &[&str]| list.iter().map(|l| l.to_string()).collect::<Vec<_>>();
        assert_eq!(happens("wet weather has set in", &labels(&["rain", "dog bark"])), Verdict::True);
        assert_eq!(happens("a gale is rising", &labels(&["rain", "dog bark"])), Verdict::False);
        assert_eq!(happens("a gale is rising", &labels(&["rain", "zither"])), Verdict::Unclear);
    }
}
