//! Folder names that say how data is arranged, not what it sounds like.

const NAMES: [&str; 16] = [
    "train",
    "training",
    "dev",
    "development",
    "val",
    "valid",
    "validation",
    "test",
    "testing",
    "eval",
    "evaluation",
    "audio",
    "wav",
    "clips",
    "recordings",
    "sounds",
];
/// Names that say it when a number follows: `fold1` of UrbanSound8K.
const NUMBERED: [&str; 9] = ["fold", "split", "part", "partition", "subset", "batch", "chunk", "shard", "cv"];
/// Further words of folders that hold the files of a table: `FSD50K.dev_audio`, `audio_16k`, `44100/ogg`.
const WORDS: [&str; 9] = ["fold", "wave", "wavs", "ogg", "flac", "mp3", "files", "data", "curated"];

/// Whether a folder of this name is no class, unless it is asked for: `audio`, `train`, `fold3`.
pub fn is_arrangement(name: &str) -> bool {
    let name = name.to_lowercase();
    NAMES.contains(&name.as_str()) || name == "fold" || name == "folds" || is_numbered(&name)
}

fn is_numbered(name: &str) -> bool {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let bare_word = bare.trim_end_matches(['_', '-', ' ', '.']);
    bare.len() < name.len() && (NUMBERED.contains(&bare_word) || NAMES.contains(&bare_word))
}

/// Whether a folder may hold the files that a table of a corpus names: it has a word of arrangement in its name, or is
/// a number.
pub fn is_of_corpus(name: &str) -> bool {
    let lower = name.to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric());
    let number = lower.trim_end_matches("khz").trim_end_matches("hz").trim_end_matches('k');
    is_arrangement(name)
        || !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
        || words.any(|w| NAMES.contains(&w) || WORDS.contains(&w) || is_numbered(w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_and_parts_are_arrangement_and_sounds_are_not() {
        for name in
            ["fold1", "Fold10", "fold_3", "fold-2", "fold", "audio", "Train", "test2", "split 1", "cv1", "clips"]
        {
            assert!(is_arrangement(name), "{name}");
        }
        for name in ["rain", "folding", "foldable chair", "train_horn", "party", "3", "part", "sounds of rain", "dev_x"]
        {
            assert!(!is_arrangement(name), "{name}");
        }
    }

    #[test]
    fn folders_of_a_corpus_are_known_by_a_word() {
        for name in ["FSD50K.dev_audio", "FSDKaggle2019.audio_train_curated", "44100", "16k", "audio-16khz", "fold9"] {
            assert!(is_of_corpus(name), "{name}");
        }
        for name in ["rain", "animals", "dog bark", "k9"] {
            assert!(!is_of_corpus(name), "{name}");
        }
    }
}
