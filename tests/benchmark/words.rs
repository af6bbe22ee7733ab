//! What a careful person would grant about names of sounds: judged word by word, apart from the library's table.

/// Names that are used for each other, or of which the first takes in the second.
const SAME: &[(&str, &[&str])] = &[
    ("animal", &["dog", "cat", "bird", "chirping", "cow", "sheep", "pig", "rooster", "cricket", "insect"]),
    ("engine", &["car", "helicopter", "airplane", "train", "chainsaw"]),
    ("water", &["rain", "sea", "toilet"]),
    ("drop", &["rain"]),
    ("music", &["guitar", "piano"]),
    ("alarm", &["beep"]),
    ("speech", &["voice", "talking", "speaking"]),
    ("thunderstorm", &["thunder"]),
    ("bird", &["chirping", "chirp"]),
];

pub fn words(label: &str) -> Vec<&str> {
    // Who does it, and how it is told, is not what sounds.
    let telling = label.split(' ').filter(|w| !["a", "being", "on", "person"].contains(w));
    telling.map(|w| w.strip_suffix('s').filter(|bare| !bare.ends_with('s')).unwrap_or(w)).collect()
}

/// Whether a sound called `own` might also be called `other`.
pub fn may_be_called(own: &str, other: &str) -> bool {
    let (a, b) = (words(own), words(other));
    let shared = a.iter().any(|w| b.contains(w));
    let takes_in = |wide: &[&str], narrow: &[&str]| {
        SAME.iter().any(|(w, n)| wide.contains(w) && n.iter().any(|x| narrow.contains(x)))
    };
    shared || takes_in(&a, &b) || takes_in(&b, &a)
}
