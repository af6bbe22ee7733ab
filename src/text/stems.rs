//! Names of sounds as words without endings, so that `bells`, `sneeze` and `ticking` meet `bell`, `sneezing` and `tick`.

/// A word without the commonest endings.
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

/// The stems of a class name or label: `dog_bark` and "dog bark" are both `dog` and `bark`.
pub fn stems(name: &str) -> Vec<String> {
    let words = name.replace(['_', '-'], " ").to_lowercase();
    words.split_whitespace().map(|word| stem(word).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_fall_and_words_stay() {
        let pairs =
            [("bells", "bell"), ("ticking", "tick"), ("sneeze", "sneez"), ("sneezing", "sneez"), ("fire", "fire")];
        for (word, expected) in pairs.into_iter().chain([("glass", "glass"), ("clapping", "clap"), ("ring", "ring")]) {
            assert_eq!(stem(word), expected);
        }
        assert_eq!(stems("Door_Wood-Knock"), ["door", "wood", "knock"]);
    }
}
