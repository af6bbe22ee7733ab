//! From folders and names to a class list of at most 64 entries.

use super::{Domain, Recording};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Longest accepted class list.
pub const MAX_CLASSES: usize = 64;
/// Folder names that say only that the content is mixed: their recordings are mapped by keyword or not at all.
const MIXED: [&str; 10] =
    ["misc", "miscellaneous", "mixed", "other", "others", "unknown", "unlabelled", "unlabeled", "unsorted", "various"];
/// The class name of environment recordings that lie in no class folder.
pub const UNLABELLED: &str = "unlabelled";

/// Sets [`Recording::class`] of every recording and returns the class list: `given`, or one made from the
/// class folders. [`Kind::Usage`] for an empty, too long or ambiguous given list.
///
/// [`Kind::Usage`]: crate::error::Kind::Usage
pub fn assign(recordings: &mut [Recording], given: Option<&[String]>) -> Result<Vec<String>> {
    let classes = match given {
        Some(list) => checked(list)?,
        None => from_folders(recordings),
    };
    let matcher = Matcher::new(&classes);
    let mut masked = BTreeMap::<&str, usize>::new();
    for recording in recordings.iter_mut() {
        recording.class = matcher.class_of(recording);
    }
    for recording in recordings.iter().filter(|r| r.class.is_none()) {
        *masked.entry(&recording.class_name).or_default() += 1;
    }
    for (name, n) in masked {
        tracing::info!("{n} recordings of `{name}` map to no class: used without a class label");
    }
    Ok(classes)
}

fn checked(list: &[String]) -> Result<Vec<String>> {
    if list.is_empty() || list.len() > MAX_CLASSES {
        return Err(Error::usage(format!("classes has {} entries, 1 to {MAX_CLASSES} are accepted", list.len())));
    }
    let mut seen = BTreeSet::new();
    for name in list {
        let plain = normalise(name);
        if plain.is_empty() || !seen.insert(plain) {
            return Err(Error::usage(format!("classes: {name:?} is empty or named twice")));
        }
    }
    Ok(list.to_vec())
}

/// Environment class folders by name, the 62 with most recordings if there are more, then speech and music.
fn from_folders(recordings: &[Recording]) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for r in recordings.iter().filter(|r| r.domain == Domain::Environment && !is_mixed(&r.class_name)) {
        *counts.entry(&r.class_name).or_default() += 1;
    }
    let tail: Vec<Domain> = [Domain::Speech, Domain::Music]
        .into_iter()
        .filter(|domain| recordings.iter().any(|r| r.domain == *domain))
        .collect();
    let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
    let room = MAX_CLASSES - tail.len();
    if names.len() > room {
        tracing::warn!(
            "{} class folders, the {room} with most recordings are classes; give a class list to choose",
            names.len()
        );
        names.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        names.truncate(room);
        names.sort();
    }
    names.into_iter().map(|(name, _)| name.to_string()).chain(tail.iter().map(|d| d.name().to_string())).collect()
}

fn is_mixed(class_name: &str) -> bool {
    class_name.split('_').any(|token| MIXED.contains(&token))
}

/// Lower case, words joined by `_`, without a leading catalogue number: `001 - Dog bark` is `dog_bark`.
pub fn normalise(name: &str) -> String {
    let mut words: Vec<String> =
        name.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(String::from).collect();
    let first_word = words.iter().position(|w| !w.chars().all(|c| c.is_ascii_digit()));
    if let Some(n) = first_word {
        words.drain(..n);
    }
    words.join("_")
}

/// Finds classes by exact name or by keywords.
struct Matcher {
    exact: BTreeMap<String, usize>,
    words: Vec<BTreeSet<String>>,
}

impl Matcher {
    fn new(classes: &[String]) -> Matcher {
        let exact = classes.iter().enumerate().map(|(i, name)| (normalise(name), i)).collect();
        Matcher { exact, words: classes.iter().map(|name| stems(&normalise(name))).collect() }
    }

    /// Speech and music map to the class of that name. Environment: the class named like the folder, else the
    /// class all of whose words occur in the folder's or the file's name; of several the one with most words,
    /// and none if that is not one alone.
    fn class_of(&self, recording: &Recording) -> Option<usize> {
        if recording.domain != Domain::Environment {
            return self.exact.get(recording.domain.name()).copied();
        }
        if let Some(&class) = self.exact.get(&normalise(&recording.class_name)) {
            return Some(class);
        }
        let file = recording.id.rsplit('/').next().unwrap_or_default();
        let have = stems(&format!("{}_{}", normalise(&recording.class_name), normalise(file)));
        let matching = || (0..self.words.len()).filter(|&i| self.words[i].is_subset(&have));
        let most = matching().map(|i| self.words[i].len()).max()?;
        let mut best = matching().filter(|&i| self.words[i].len() == most);
        match (best.next(), best.next()) {
            (Some(class), None) => Some(class),
            _ => None,
        }
    }
}

/// Words without their commonest endings, so that `bells` and `ticking` meet `bell` and `tick`.
fn stems(normalised: &str) -> BTreeSet<String> {
    let stem = |word: &str| {
        let bare = word.strip_suffix("ing").or_else(|| word.strip_suffix('s')).filter(|w| w.len() >= 3);
        bare.unwrap_or(word).to_string()
    };
    normalised.split('_').filter(|w| !w.is_empty()).map(stem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(domain: Domain, class_name: &str, stem: &str) -> Recording {
        Recording {
            id: format!("{}/{class_name}/{stem}", domain.name()),
            path: None,
            domain,
            class: None,
            class_name: class_name.into(),
            group: stem.into(),
            transcript: None,
            caption: None,
            other_captions: vec![],
            keywords: vec![],
            licence: None,
        }
    }

    #[test]
    fn folders_make_the_list_and_mixed_folders_do_not() {
        use Domain::*;
        let mut all = [
            recording(Environment, "rain", "a"),
            recording(Environment, "dog_bark", "b"),
            recording(Environment, "animal_misc", "big-dog-barking-loud"),
            recording(Environment, "animal_misc", "whale"),
            recording(Music, "music", "song"),
        ];
        let classes = assign(&mut all, None).unwrap();
        assert_eq!(classes, ["dog_bark", "rain", "music"]);
        let of: Vec<_> = all.iter().map(|r| r.class).collect();
        assert_eq!(of, [Some(1), Some(0), Some(0), None, Some(2)]);
    }

    #[test]
    fn a_given_list_maps_by_name_then_by_keyword() {
        use Domain::*;
        let list = ["Dog", "church bells", "speech"].map(String::from);
        let mut all = [
            recording(Environment, "dog_bark", "1"),
            recording(Environment, "church_bell", "2"),
            recording(Environment, "bell", "3"),
            recording(Environment, "unlabelled", "dog and church bell"),
            recording(Speech, "speech", "4"),
            recording(Music, "music", "5"),
        ];
        assert_eq!(assign(&mut all, Some(&list)).unwrap(), list);
        let of: Vec<_> = all.iter().map(|r| r.class).collect();
        assert_eq!(of, [Some(0), Some(1), None, Some(1), Some(2), None]);
        assert!(assign(&mut all, Some(&["a b".into(), "A_B".into()])).is_err());
        assert!(assign(&mut all, Some(&[])).is_err());
        assert!(assign(&mut all, Some(&(0..65).map(|i| format!("c{i}x")).collect::<Vec<_>>())).is_err());
    }

    #[test]
    fn more_than_64_folders_keep_the_largest() {
        let mut all: Vec<Recording> = (0..80)
            .flat_map(|c| (0..=c).map(move |i| recording(Domain::Environment, &format!("c{c:02}x"), &i.to_string())))
            .collect();
        let classes = assign(&mut all, None).unwrap();
        assert_eq!((classes.len(), classes[0].as_str(), classes[63].as_str()), (64, "c16x", "c79x"));
    }

    #[test]
    fn names_are_normalised() {
        assert_eq!(normalise("001 - Dog bark"), "dog_bark");
        assert_eq!(normalise("Crackling-Fire!"), "crackling_fire");
        assert_eq!(normalise("1272"), "1272");
        assert_eq!(normalise(" -- "), "");
    }
}
