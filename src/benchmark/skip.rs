//! Why scenes cannot be asked about.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Why a scene cannot be asked about; of several reasons the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Nothing sounds.
    NoSource,
    /// More than three sources: which of them would a question mean?
    TooMany,
    /// Where a source is depends on the moment.
    Moving,
    /// A source is two recordings: is it one sound or two?
    Layered,
    /// The room or the place in it is not known.
    RoomUnknown,
    /// A value is missing, or is no measurement.
    NotMeasured,
    /// A source may not be heard beside the others or the noise.
    Inaudible,
    /// Neither class nor captions nor keywords say what any source is.
    Unnamed,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Skip::NoSource => "without a source",
            Skip::TooMany => "with more than three sources",
            Skip::Moving => "with a moving source",
            Skip::Layered => "with two recordings in one source",
            Skip::RoomUnknown => "in an unknown room",
            Skip::NotMeasured => "with values that are missing or no measurements",
            Skip::Inaudible => "with a source that may be inaudible",
            Skip::Unnamed => "without a name for any source",
        })
    }
}

/// How many scenes cannot be asked about, by reason.
pub type Skipped = BTreeMap<Skip, usize>;

/// The counts in words: "20 with a moving source, 3 in an unknown room".
pub fn in_words(skipped: &Skipped) -> String {
    skipped.iter().map(|(why, n)| format!("{n} {why}")).collect::<Vec<_>>().join(", ")
}

/// What helps against the reasons.
pub fn hint(skipped: &Skipped) -> String {
    let help = |why: &Skip| match why {
        Skip::NoSource | Skip::TooMany => "questions need one to three sources per scene",
        Skip::Moving => "sources must stand still",
        Skip::Layered => "simulate with --set train_layered_share=0",
        Skip::RoomUnknown | Skip::NotMeasured => "scenes need a known room and measured levels, as simulated ones have",
        Skip::Inaudible => "all sources must be heard: simulate with higher levels or less noise",
        Skip::Unnamed => "sort recordings into folders by class, or put a table with captions or keywords beside them",
    };
    let mut all: Vec<&str> = skipped.keys().map(help).collect();
    all.dedup();
    all.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_words() {
        let skipped = Skipped::from([(Skip::Unnamed, 3), (Skip::Moving, 20)]);
        assert_eq!(in_words(&skipped), "20 with a moving source, 3 without a name for any source");
        assert!(hint(&skipped).starts_with("sources must stand still; sort recordings"));
        assert_eq!(serde_json::to_string(&skipped).unwrap(), r#"{"moving":20,"unnamed":3}"#);
    }
}
