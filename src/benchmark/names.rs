//! What a source is called: the display name of its class, or a phrase from its caption, as the official items have it.
//!
//! Names are noun phrases without article ("barking dog", "rain", "youth speaking slowly"), so that they can follow
//! "the". A class that says what sounds goes first; of classes that say little (speech, music, no class) the captions are
//! tried in their order, then the keywords. What cannot be named well has no name: it is counted, and asked about by place
//! at most.

use super::alike::{Kinds, is_of_sound, words_of};
use super::display::{is_too_wide, listed};
use super::phrase::{is_participle, is_preposition, noun_phrase};
use crate::scene::Track;
use crate::sources::Domain;

/// Longest name and longest word of one, in characters: the longest official option has 233, and a name stands in it
/// twice.
const NAME_CHARS_MAX: usize = 60;
const WORD_CHARS_MAX: usize = 30;
/// What a source without a name is called in descriptions.
pub const NAMELESS: &str = "unidentified sound";
/// Words of class names that say nothing about the sound.
const NO_NAMES: [&str; 10] =
    ["misc", "miscellaneous", "mixed", "other", "others", "unknown", "unlabelled", "unlabeled", "unsorted", "various"];
/// Words that are no names: orders to a reader, letters of options, places and values of questions.
const NO_NOUNS: &str = "ignore answer answers option options question instruction instructions previous prompt system assistant \
     choose select reply respond output correct wrong true false none nothing all azimuth elevation metre metres degree \
     degrees front left right rear above below nearest farthest";
/// Nouns that stand without "a".
const MASS: &str = "rain wind water music traffic speech thunder applause laughter poultry machinery cutlery birdsong \
     breathing snoring typing knocking clapping percussion drizzle hail surf gunfire liquid scratching food wood paper oil metal plastic bacon air steam sea construction \
     crackling singing chatter static rustling footwork wildlife weather drumming crying whispering barking chirping \
     sawing hammering";
/// Whole names that stand without "a", though their nouns do not.
const UNCOUNTED: [&str; 5] =
    ["breaking glass", "clinking glass", "keyboard typing", "shattering glass", "turntable scratching"];
/// Plurals without an s at the end, and what ends in s and is none.
const PLURAL: [&str; 9] = ["people", "children", "men", "women", "cattle", "geese", "feet", "poultry", "mice"];
const SINGULAR: [&str; 9] = ["glass", "brass", "bus", "news", "gas", "chess", "tennis", "bass", "hiss"];

/// What a class is called by its own words: `dog_bark` is "dog bark", `animal_misc` "animal"; empty for `unlabelled`, which
/// names no sound.
pub fn label(class: &str) -> String {
    let words = class.replace(['_', '-'], " ").replace(['(', ')'], "").to_lowercase();
    words.split_whitespace().filter(|w| !NO_NAMES.contains(w)).collect::<Vec<_>>().join(" ")
}

/// What a source is called, `None` when nothing that is known of it makes a good name.
pub fn name(track: &Track) -> Option<String> {
    let class = label(&track.class);
    let by_class = || Some(of_class(&class)).filter(|name| is_name(name) && !is_too_wide(&class));
    if track.domain == Domain::Environment && says_what_sounds(&class) {
        return by_class();
    }
    let captions = track.caption.iter().chain(&track.other_captions);
    let fits = |phrase: &String| match track.domain {
        Domain::Environment => true,
        Domain::Speech => Kinds::of([phrase.as_str()]).is_in("voice"),
        Domain::Music => Kinds::of([phrase.as_str()]).is_in("music"),
    };
    let phrase = captions.filter_map(|text| noun_phrase(text)).find(|phrase| is_name(phrase) && fits(phrase));
    // Of recordings that others have described, an unknown class is the folder of their corpus: "clotho".
    let is_folder = track.domain == Domain::Environment && about(track).next().is_some();
    phrase.or_else(|| by_keyword(track).filter(fits)).or_else(|| if is_folder { None } else { by_class() })
}

/// Whether a class in words is one that we know.
fn says_what_sounds(class: &str) -> bool {
    listed(class).is_some() || Kinds::of([class]).is_known()
}

/// The display name of a class in words.
fn of_class(class: &str) -> String {
    // AudioSet joins synonyms: the first will do.
    let first = class.split(" and ").next().unwrap_or(class);
    listed(class).unwrap_or(first).to_string()
}

/// The first keyword that says what sounds.
fn by_keyword(track: &Track) -> Option<String> {
    let name = |word: &String| {
        let word = label(word);
        let of_sound = listed(&word).is_some() || words_of(&word).last().is_some_and(is_of_sound);
        Some(of_class(&word)).filter(|name| of_sound && is_name(name) && Kinds::of([name.as_str()]).is_known())
    };
    track.keywords.iter().find_map(name)
}

/// What is known about what a source sounds like: its name and all that others say of it. Of one without a name stray
/// words would tell too little to say what it is not.
pub fn kinds(track: &Track, name: Option<&str>) -> Kinds {
    let Some(name) = name else { return Kinds::open() };
    let class = label(&track.class);
    // A class of somebody's own that no word of ours describes is one sound all the same; a caption may mean any. The
    // folder of a corpus tells nothing of its sounds.
    let by_own_class = name == of_class(&class);
    let class = (by_own_class || says_what_sounds(&class)).then_some(class.as_str());
    let kinds = Kinds::described(class.into_iter().chain([name]), about(track));
    if kinds.is_known() || by_own_class { kinds } else { Kinds::open() }
}

/// What captions and keywords say of a source.
pub fn about(track: &Track) -> impl Iterator<Item = &str> {
    let captions = track.caption.iter().chain(&track.other_captions);
    captions.chain(&track.keywords).map(String::as_str)
}

/// Whether a text can stand in a sentence as a name: short, of letters, with a word that tells something, and without any
/// that belongs to questions or gives orders.
pub fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || " '-".contains(c);
    let forbidden = |word: &str| NO_NOUNS.split_whitespace().any(|w| w == word.to_lowercase());
    let words = || words_of(text);
    (1..=NAME_CHARS_MAX).contains(&text.chars().count())
        && text.chars().all(is_plain)
        && words().all(|word| word.chars().count() <= WORD_CHARS_MAX && !forbidden(word))
        && words().any(|word| word.chars().filter(|c| c.is_alphabetic()).count() >= 2)
}

/// The word that a name is about: "birds" of "birds chirping in a tree", "dog" of "loud barking dog".
fn head(name: &str) -> &str {
    let words: Vec<&str> = name.split(' ').collect();
    let ends = |i: usize| {
        let (word, before) = (words[i], words[i - 1]);
        let of_before = || before.ends_with('s') || PLURAL.contains(&before) || is_of_sound(before);
        is_preposition(word)
            || ["being", "filling", "and"].contains(&word)
            || word.ends_with("ing") && of_before()
            // "Strummed", "played": what was done to it.
            || word.ends_with("ed") && i + 1 < words.len() && is_preposition(words[i + 1])
    };
    let end = (1..words.len()).find(|&i| ends(i)).unwrap_or(words.len());
    words[end - 1]
}

/// Whether a name means several things: "sea waves are", but "man walking on leaves is".
pub fn is_plural(name: &str) -> bool {
    let head = head(name);
    let ends = head.ends_with('s') && !["ss", "us", "is", "'s"].iter().any(|end| head.ends_with(end));
    PLURAL.contains(&head) || ends && !SINGULAR.contains(&head)
}

/// A name with its indefinite article: "a barking dog", "an engine", "rain", "birds chirping".
pub fn a(name: &str) -> String {
    let head = head(name);
    let is_mass = is_participle(head) || MASS.split_whitespace().any(|w| w == head);
    if name.starts_with("sound of ") || name.contains("ing of ") {
        return the(name);
    }
    if is_plural(name) || is_mass || UNCOUNTED.contains(&name) {
        return name.to_string();
    }
    let lower = name.to_lowercase();
    let sounds_as_consonant =
        ["unic", "unif", "unio", "uniq", "unis", "unit", "univ", "use", "usu", "eu", "one", "ukul"]
            .iter()
            .any(|start| lower.starts_with(start));
    let first = name.split(' ').next().unwrap_or(name);
    let is_abbreviation = first.len() > 1 && first.chars().all(|c| c.is_ascii_uppercase());
    let vowel = match first.chars().next() {
        Some(c) if is_abbreviation => "AEFHILMNORSX".contains(c),
        _ => lower.starts_with(['a', 'e', 'i', 'o', 'u']) && !sounds_as_consonant || lower.starts_with("hour"),
    };
    format!("{} {name}", if vowel { "an" } else { "a" })
}

/// A name with the definite article.
pub fn the(name: &str) -> String {
    format!("the {name}")
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
