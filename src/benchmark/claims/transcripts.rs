//! When two transcripts are the same words.

/// Words alone, as they sound: what counts when transcripts are compared.
pub fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|w| !w.is_empty());
    let heard = |word: &str| match word.to_lowercase().as_str() {
        "1" | "won" => "one".into(),
        "2" | "to" | "too" => "two".into(),
        "4" | "for" => "four".into(),
        "8" | "ate" => "eight".into(),
        other => other.to_string(),
    };
    words.map(heard).collect::<Vec<_>>().join(" ")
}

/// Whether one plain text is part of the other: who hears "close the door please" also hears "close the door".
pub fn overlap(a: &str, b: &str) -> bool {
    let within = |part: &str, whole: &str| format!(" {whole} ").contains(&format!(" {part} "));
    within(a, b) || within(b, a)
}
