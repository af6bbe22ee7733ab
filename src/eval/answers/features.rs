//! What the bag of words sees of a question: hashed features of each option, without knowledge of the recording.
//!
//! * shape: the option among its four. Letter; ranks of length, of the words and numbers shared with the other options
//!   (the one in the middle, the odd one out) and with the question; numbers largest, smallest, nearest to the rest,
//!   on the circle too; roundness; half turns and mirror images of another option;
//! * words: unigrams and bigrams of the option, its first and last word, all of it, and how many others have them;
//! * pairs: words of the question with those of the option.
//!
//! Shape and words are given once as they are and once together with the task id.

use super::normal::normal_form;
use crate::text::questions::{Letter, Question};
use std::array::from_fn;

/// Features live in tables of 2^this many weights.
pub(super) const TABLE_BITS: u32 = 22;
/// Most words of a question and of an option that are looked at.
const WORDS_MAX: [usize; 2] = [96, 64];
/// Most numbers of an option that are ranked.
const NUMBERS_MAX: usize = 3;

/// Feature hashes of one question.
pub(super) struct Example {
    /// Features of shape, by option: places in the table.
    pub shape: [Vec<u32>; 4],
    /// Features of words, by option: places in the table.
    pub words: [Vec<u32>; 4],
    /// Hashes of the words of each option.
    pub option_words: [Vec<u64>; 4],
    /// Hashes of the question's words.
    pub question_words: Vec<u64>,
    /// The right option, where it is known.
    pub truth: Option<Letter>,
}

/// Mixes two hashes (the finaliser of splitmix64).
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(23) ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Place of a feature in the table.
pub(super) fn slot(hash: u64) -> u32 {
    (hash >> (64 - TABLE_BITS)) as u32
}

/// FNV-1a, mixed: fast, and the same on every machine.
fn hash_word(word: &str) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(word.bytes().fold(0xcbf2_9ce4_8422_2325, fnv), 1)
}

/// A question's or an option's text taken apart.
struct Parts {
    /// Hash of each word in order.
    words: Vec<u64>,
    /// The same, sorted, each once.
    set: Vec<u64>,
    numbers: Vec<f64>,
    /// Words that are no numbers, mixed in order.
    template: u64,
    /// Characters: all, digits, punctuation, capitals.
    counts: [f64; 4],
}

impl Parts {
    fn of(text: &str, words_max: usize) -> Parts {
        let mut normal = normal_form(text);
        normal.truncate(words_max);
        let values: Vec<Option<f64>> = normal.iter().map(|w| w.parse().ok().filter(|v: &f64| v.is_finite())).collect();
        let words: Vec<u64> = normal.iter().zip(&values).map(|(word, value)| coarse(word, *value)).collect();
        let mut counts = [0.0; 4];
        for c in text.chars().take(4096) {
            let is = [true, c.is_ascii_digit(), c.is_ascii_punctuation(), c.is_uppercase()];
            counts.iter_mut().zip(is).for_each(|(count, is)| *count += f64::from(u8::from(is)));
        }
        Parts {
            template: words.iter().zip(&values).filter(|(_, v)| v.is_none()).fold(12, |all, (word, _)| mix(all, *word)),
            set: sorted(words.clone()),
            words,
            numbers: values.into_iter().flatten().collect(),
            counts,
        }
    }
    /// How many words both have.
    fn both(&self, other: &Parts) -> usize {
        self.set.iter().filter(|word| other.has(word)).count()
    }
    fn has(&self, word: &u64) -> bool {
        self.set.binary_search(word).is_ok()
    }
    fn shared(&self, other: &Parts) -> f64 {
        let both = self.both(other);
        both as f64 / (self.set.len() + other.set.len() - both).max(1) as f64
    }
    /// Hashes of words and of neighbouring words, sorted, each once.
    fn grams(&self) -> Vec<u64> {
        let pairs = self.words.windows(2).map(|pair| mix(pair[0], pair[1]));
        sorted(self.words.iter().copied().chain(pairs).collect())
    }
}

fn sorted(mut hashes: Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// Hash of a word. Numbers with decimals are all different: their size and the number of decimals stay.
fn coarse(word: &str, value: Option<f64>) -> u64 {
    match word.split_once('.').zip(value) {
        Some(((_, decimals), value)) => {
            let step = if value.abs() < 10.0 { 0.5 } else { 15.0 };
            mix(13 + decimals.len() as u64, ((value / step).round() as i64) as u64)
        }
        None => hash_word(word),
    }
}

/// Difference of two azimuths in degrees, 0 to 180.
fn turn(a: f64, b: f64) -> f64 {
    let around = (a - b).rem_euclid(360.0);
    around.min(360.0 - around)
}

impl Example {
    /// Takes a question apart; time is linear in its length.
    pub fn of(question: &Question) -> Example {
        let asked = Parts::of(&question.question, WORDS_MAX[0]);
        let options = question.options().map(|text| Parts::of(text, WORDS_MAX[1]));
        let task = hash_word(&question.task);
        let placed = |hashes: Vec<u64>| hashes.into_iter().flat_map(|h| [slot(h), slot(mix(h, task))]).collect();
        Example {
            shape: shapes(&options, &asked).map(placed),
            words: option_words(&options, &asked).map(placed),
            option_words: options.map(|parts| parts.set),
            question_words: asked.set,
            truth: question.answer_letter,
        }
    }
}

fn option_words(options: &[Parts; 4], asked: &Parts) -> [Vec<u64>; 4] {
    let all: [Vec<u64>; 4] = from_fn(|i| options[i].grams());
    let own: [u64; 4] = from_fn(|i| options[i].words.iter().copied().fold(14, mix));
    let together = sorted(own.to_vec()).into_iter().fold(11, mix);
    from_fn(|i| {
        let holders = |gram: &u64| all.iter().filter(|grams| grams.binary_search(gram).is_ok()).count() as u64;
        let mut found: Vec<u64> = all[i].iter().flat_map(|g| [mix(1, *g), mix(mix(2, *g), holders(g))]).collect();
        let ends = [options[i].words.first(), options[i].words.last()];
        found.extend(ends.into_iter().enumerate().filter_map(|(k, word)| Some(mix(3 + k as u64, *word?))));
        found.extend([mix(5, own[i]), mix(mix(6, own[i]), together), mix(mix(7, own[i]), asked.template)]);
        found
    })
}

fn shapes(options: &[Parts; 4], asked: &Parts) -> [Vec<u64>; 4] {
    let mut found: [Vec<u64>; 4] = from_fn(|i| vec![mix(100, i as u64)]);
    let others = |i: usize| (0..4).filter(move |j| *j != i);
    let mut rank = |quantity: u64, value: &dyn Fn(usize) -> Option<f64>| {
        if let [Some(a), Some(b), Some(c), Some(d)] = from_fn(value) {
            rank_features(&mut found, quantity, [a, b, c, d]);
        }
    };
    rank(0, &|i| Some(options[i].counts[0]));
    rank(1, &|i| Some(options[i].words.len() as f64));
    rank(2, &|i| Some(others(i).map(|j| options[i].shared(&options[j])).sum()));
    rank(3, &|i| Some(others(i).map(|j| options[i].shared(&options[j])).fold(0.0, f64::max)));
    rank(4, &|i| Some(options[i].both(asked) as f64));
    rank(5, &|i| Some(options[i].shared(asked)));
    rank(6, &|i| Some(options[i].set.iter().filter(|w| others(i).all(|j| !options[j].has(w))).count() as f64));
    rank(7, &|i| Some(options[i].numbers.len() as f64));
    rank(8, &|i| Some(options[i].counts[1]));
    rank(9, &|i| Some(options[i].counts[2]));
    rank(10, &|i| Some(options[i].counts[3]));
    for k in 0..NUMBERS_MAX {
        let number = |i: usize| options[i].numbers.get(k).copied();
        let apart = |i: usize, distance: fn(f64, f64) -> f64| {
            let own = number(i)?;
            others(i).map(|j| number(j).map(|other| distance(own, other))).collect::<Option<Vec<f64>>>()
        };
        let at = 20 + 10 * k as u64;
        rank(at, &number);
        rank(at + 1, &|i| Some(number(i)?.abs()));
        rank(at + 2, &|i| Some(apart(i, turn)?.iter().sum()));
        rank(at + 3, &|i| Some(apart(i, |a, b| (a - b).abs())?.iter().sum()));
        rank(at + 4, &|i| Some(apart(i, |a, b| (a - b).abs())?.iter().filter(|d| **d == 0.0).count() as f64));
        rank(at + 5, &|i| Some(apart(i, turn)?.iter().fold(f64::INFINITY, |a, b| a.min(*b))));
        rank(at + 6, &|i| Some(apart(i, turn)?.iter().filter(|d| (**d - 180.0).abs() < 0.01).count() as f64));
        rank(at + 7, &|i| Some(apart(i, |a, b| (a + b).abs())?.iter().filter(|s| **s < 0.001).count() as f64));
        rank(at + 8, &|i| Some(apart(i, turn)?.iter().filter(|d| (**d - 90.0).abs() < 0.01).count() as f64));
    }
    for (i, option) in options.iter().enumerate() {
        for (k, value) in option.numbers.iter().take(NUMBERS_MAX).enumerate() {
            let place = mix(101, k as u64);
            for (step, divisor) in [0.1, 1.0, 5.0, 10.0, 15.0, 45.0].into_iter().enumerate() {
                let is_round = (value / divisor - (value / divisor).round()).abs() < 1e-6;
                found[i].push(mix(mix(place, step as u64), u64::from(is_round)));
            }
            for (n, other) in asked.numbers.iter().take(NUMBERS_MAX).enumerate() {
                let turned = ((value - other).rem_euclid(360.0) / 15.0).round() as u64;
                found[i].push(mix(mix(mix(102, k as u64), n as u64), turned));
            }
        }
    }
    found
}

/// Where each value stands among the four: how many are smaller and equal, alone at an end, nearest to and farthest
/// from the mean of the others.
fn rank_features(found: &mut [Vec<u64>; 4], quantity: u64, values: [f64; 4]) {
    let name = mix(103, quantity);
    let apart: [f64; 4] = from_fn(|i| (values[i] - (values.iter().sum::<f64>() - values[i]) / 3.0).abs());
    for i in 0..4 {
        let smaller = values.iter().filter(|v| **v < values[i]).count() as u64;
        let equal = values.iter().filter(|v| **v == values[i]).count() as u64;
        let nearer = apart.iter().filter(|v| **v < apart[i]).count() as u64;
        if equal == 4 {
            continue;
        }
        found[i].push(mix(name, 10 * smaller + equal));
        found[i].push(mix(name, 100 + nearer));
    }
}

/// The first eight bytes of the BLAKE3 hash.
pub(super) fn hash_of(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}
