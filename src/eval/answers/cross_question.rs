//! Answers from the other questions: what a public file says about a recording without the recording and without the key.
//!
//! Used is what everybody sees in a public `metadata.jsonl`, and nothing else:
//!
//! * which questions are about one scene: the same `file_name`; the same name up to its last part (`scene-12-q3`), where that
//!   makes small groups; or a sound named in the question beside numbers with decimals in the options, two of which two
//!   scenes hardly share;
//! * what the other questions of the scene presuppose: sounds named in them are there, so there are at least as many sources;
//! * what recurs in their options: the truth is in all of them, a distractor in few;
//! * what numbers recur in questions about other scenes: there they are distractors drawn from this file's truths;
//! * what goes together over the whole file: an option about rain recurs in scenes whose questions name rain.
//!
//! The parts are added with fixed weights; questions for what is impossible turn the sign. Deterministic, and independent of
//! the order of rows. Time and memory grow with the words of the file; what goes together is counted up to [`PAIRS_MAX`].

use super::features::{hash_of, mix};
use super::normal::normal_form;
use super::tasks::family_of;
use crate::text::questions::{Letter, Question};
use std::collections::{BTreeMap, BTreeSet};

/// Most words of a question and of an option that are looked at.
const WORDS_MAX: [usize; 2] = [96, 64];
/// Largest group that a common beginning of names may make.
const NAMED_ALIKE_MAX: usize = 32;
/// Most questions that may share a sound and a number and still count as about one scene.
const SHARED_MAX: usize = 8;
/// Fewest numbers beside the same sound that join two questions: distances have but a few hundred values.
const SHARED_MIN: usize = 2;
/// Most pairs of a sound and a word that are counted.
const PAIRS_MAX: usize = 4_000_000;
/// Most words of a sound's name.
const LABEL_WORDS_MAX: usize = 5;
/// Beginnings of words that count as words too: `raining` beside `rain`.
const STEM_CHARS: usize = 4;

/// Weights of the parts.
const IN_STEM: f64 = 1.0;
const IN_OPTION: f64 = 0.5;
const NUMBER_HERE: f64 = 3.0;
const NUMBER_ELSEWHERE: f64 = 0.5;
const TOGETHER: f64 = 1.0;
const COUNT: f64 = 2.0;
/// A word counts in as many questions at most.
const TIMES_MAX: f64 = 3.0;

/// Families whose options are names of sounds.
const NAMING: [&str; 2] = ["Identify Event Class", "Query Identity"];
/// Words of a question whose right option is what does not fit.
const INVERTED: [&str; 9] =
    ["impossible", "cannot", "contradict", "contradicts", "inconsistent", "implausible", "wrong", "false", "incorrect"];
/// Words of a question about a part of the sources.
const PARTIAL: [&str; 12] =
    ["left", "right", "front", "behind", "back", "above", "below", "higher", "lower", "away", "near", "far"];

/// A question taken apart.
struct Parts {
    /// Words and pairs of words of the question.
    asked: BTreeSet<u64>,
    /// The same of each option, and the option as a whole.
    options: [BTreeSet<u64>; 4],
    /// Numbers with decimals in each option.
    numbers: [BTreeSet<u64>; 4],
    /// First number of each option.
    first: [Option<f64>; 4],
    /// Sounds that the question names.
    labels: BTreeSet<usize>,
    is_inverted: bool,
    is_partial: bool,
}

fn words(text: &str, most: usize) -> Vec<String> {
    let mut words = normal_form(text);
    words.truncate(most);
    words
}

/// Hashes of words, of their beginnings and of neighbours.
fn grams(words: &[String]) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut last = None;
    for word in words {
        let hash = hash_of(word);
        found.insert(hash);
        let start: String = word.chars().take(STEM_CHARS).collect();
        if start.len() >= STEM_CHARS && word.chars().all(char::is_alphabetic) {
            found.insert(mix(hash_of(&start), 31));
        }
        found.extend(last.map(|last| mix(last, hash)));
        last = Some(hash);
    }
    found
}

/// Names of sounds: the options of questions for sounds, by their first word.
struct Labels(BTreeMap<String, Vec<(Vec<String>, usize)>>);

impl Labels {
    fn of(questions: &[Question]) -> Labels {
        let mut names: BTreeSet<Vec<String>> = BTreeSet::new();
        for question in questions {
            if family_of(&question.task).is_some_and(|family| NAMING.contains(&family.name)) {
                let options = question.options().map(|text| words(text, LABEL_WORDS_MAX + 1));
                let is_name = |name: &Vec<String>| {
                    (1..=LABEL_WORDS_MAX).contains(&name.len()) && !name.concat().chars().any(|c| c.is_ascii_digit())
                };
                names.extend(options.into_iter().filter(is_name));
            }
        }
        let mut by_first: BTreeMap<String, Vec<(Vec<String>, usize)>> = BTreeMap::new();
        for (number, name) in names.into_iter().enumerate() {
            by_first.entry(name[0].clone()).or_default().push((name, number));
        }
        by_first.values_mut().for_each(|names| names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len())));
        Labels(by_first)
    }

    /// The names in a text, the longest at each place.
    fn named(&self, words: &[String]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut at = 0;
        while at < words.len() {
            let names = self.0.get(&words[at]).into_iter().flatten();
            let hit = names.into_iter().find(|(name, _)| words[at..].starts_with(name));
            found.extend(hit.map(|(_, number)| *number));
            at += hit.map_or(1, |(name, _)| name.len());
        }
        found
    }
}

impl Parts {
    fn of(question: &Question, labels: &Labels) -> Parts {
        let asked = words(&question.question, WORDS_MAX[0]);
        let options = question.options().map(|text| words(text, WORDS_MAX[1]));
        let has = |list: &[&str]| asked.iter().any(|word| list.contains(&word.as_str()));
        let is_exact = |word: &&String| word.contains('.') && word.parse::<f64>().is_ok();
        Parts {
            options: options.each_ref().map(|words| {
                let mut all = grams(words);
                all.insert(mix(hash_of(&words.join(" ")), 32));
                all
            }),
            numbers: options.each_ref().map(|words| words.iter().filter(is_exact).map(|w| hash_of(w)).collect()),
            first: options.each_ref().map(|words| words.iter().find_map(|w| w.parse().ok())),
            labels: labels.named(&asked),
            is_inverted: has(&INVERTED),
            is_partial: has(&PARTIAL),
            asked: grams(&asked),
        }
    }

    /// All that stands in some option.
    fn offered(&self) -> BTreeSet<u64> {
        self.options.iter().chain(&self.numbers).flatten().copied().collect()
    }
}

/// In how many questions something stands.
type Counts = BTreeMap<u64, u32>;

fn count_in(counts: &Counts, key: u64) -> f64 {
    f64::from(counts.get(&key).copied().unwrap_or(0))
}

/// What the questions about one scene say.
#[derive(Default)]
struct Scene {
    asked: Counts,
    offered: Counts,
    /// Sounds that questions name, and in how many.
    labels: BTreeMap<usize, u32>,
}

/// What is counted over the whole file.
#[derive(Default)]
struct File {
    /// Questions in which something stands at all.
    anywhere: Counts,
    /// Questions in whose options it stands.
    offered: Counts,
    /// Scenes whose questions name a sound.
    labels: BTreeMap<usize, u32>,
    /// Scenes in whose options something stands.
    by_scene: Counts,
    /// Scenes that do both.
    pairs: BTreeMap<(usize, u64), u32>,
}

/// The answers to `questions`, in their order; their own answers are not looked at.
pub(super) fn answers(questions: &[Question]) -> Vec<Letter> {
    let labels = Labels::of(questions);
    let parts: Vec<Parts> = questions.iter().map(|question| Parts::of(question, &labels)).collect();
    let scene_of = scenes(questions, &parts);
    let mut scenes: BTreeMap<usize, Scene> = BTreeMap::new();
    let mut file = File::default();
    for (part, scene) in parts.iter().zip(&scene_of) {
        let scene = scenes.entry(*scene).or_default();
        let offered = part.offered();
        part.asked.iter().for_each(|gram| *scene.asked.entry(*gram).or_default() += 1);
        offered.iter().for_each(|gram| *scene.offered.entry(*gram).or_default() += 1);
        part.labels.iter().for_each(|label| *scene.labels.entry(*label).or_default() += 1);
        offered.iter().for_each(|gram| *file.offered.entry(*gram).or_default() += 1);
        part.asked.union(&offered).for_each(|gram| *file.anywhere.entry(*gram).or_default() += 1);
    }
    for scene in scenes.values() {
        scene.labels.keys().for_each(|label| *file.labels.entry(*label).or_default() += 1);
        for gram in scene.offered.keys() {
            *file.by_scene.entry(*gram).or_default() += 1;
            for label in scene.labels.keys() {
                if file.pairs.len() < PAIRS_MAX || file.pairs.contains_key(&(*label, *gram)) {
                    *file.pairs.entry((*label, *gram)).or_default() += 1;
                }
            }
        }
    }
    let total = [questions.len() as f64, scenes.len() as f64];
    let choose =
        |((question, part), scene): ((&Question, &Parts), &usize)| choose(question, part, &scenes[scene], &file, total);
    questions.iter().zip(&parts).zip(&scene_of).map(choose).collect()
}

fn choose(question: &Question, part: &Parts, scene: &Scene, file: &File, total: [f64; 2]) -> Letter {
    // Sounds that other questions of the scene name.
    let own = |label: &usize| u32::from(part.labels.contains(label));
    let named: Vec<usize> =
        scene.labels.iter().filter(|(label, n)| **n > own(label)).map(|(label, _)| *label).collect();
    let sources = named.iter().chain(&part.labels).collect::<BTreeSet<_>>().len().max(1) as f64;
    let is_count = family_of(&question.task).is_some_and(|family| family.name == "Count Objects") && !part.is_partial;
    let sign = if part.is_inverted { -1.0 } else { 1.0 };
    let score = |i: usize| {
        let grams = &part.options[i];
        let of_words: f64 = grams.iter().map(|gram| of_word(*gram, part, scene, file, &named, total)).sum();
        let of_numbers: f64 = part.numbers[i].iter().map(|number| of_number(*number, scene, file)).sum();
        let of_count = part.first[i].filter(|_| is_count).map_or(0.0, |n| COUNT * (n - sources).abs());
        sign * (of_words / grams.len().max(1) as f64 + of_numbers) - of_count
    };
    let scores: [f64; 4] = std::array::from_fn(score);
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Of equals one by the id: no letter is preferred.
    let equal: Vec<Letter> = Letter::ALL.into_iter().filter(|l| scores[l.index()] >= best - 1e-9).collect();
    match equal.len() {
        0 => Letter::A,
        n => equal[(hash_of(&question.sample_id) % n as u64) as usize],
    }
}

/// What speaks for a word of an option: other questions of the scene that have it, the more the rarer it is elsewhere, and
/// the sounds of the scene that it goes together with.
fn of_word(gram: u64, part: &Parts, scene: &Scene, file: &File, named: &[usize], [questions, scenes]: [f64; 2]) -> f64 {
    let in_stems = count_in(&scene.asked, gram) - f64::from(u8::from(part.asked.contains(&gram)));
    let in_options = count_in(&scene.offered, gram) - 1.0;
    let rarity = ((questions + 1.0) / (count_in(&file.anywhere, gram) + 1.0)).ln();
    let recurs = IN_STEM * in_stems.min(TIMES_MAX) + IN_OPTION * in_options.min(TIMES_MAX);
    // Without this scene, which would count itself.
    let has = count_in(&file.by_scene, gram) - 1.0;
    let information = |label: &usize| {
        let both = f64::from(file.pairs.get(&(*label, gram)).copied().unwrap_or(1)) - 1.0;
        let names = f64::from(file.labels[label]) - 1.0;
        let expected = (names * has / (scenes - 1.0).max(1.0)).max(0.0);
        ((both + 0.5) / (expected + 0.5)).ln()
    };
    let together =
        named.iter().map(information).fold(0.0, |most: f64, next| if next.abs() > most.abs() { next } else { most });
    rarity * recurs + TOGETHER * together
}

/// What speaks for a number with decimals: the scene has it elsewhere; other scenes have it as a distractor.
fn of_number(number: u64, scene: &Scene, file: &File) -> f64 {
    let here = count_in(&scene.offered, number);
    let elsewhere = count_in(&file.offered, number) - here;
    NUMBER_HERE * (here - 1.0).min(TIMES_MAX) - NUMBER_ELSEWHERE * elsewhere.min(TIMES_MAX)
}

/// The number of the scene of each question, as far as the file shows it.
fn scenes(questions: &[Question], parts: &[Parts]) -> Vec<usize> {
    let mut sets = Sets((0..questions.len()).collect());
    let mut join = |keys: &mut dyn Iterator<Item = (usize, u64)>| {
        let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        keys.for_each(|(i, key)| groups.entry(key).or_default().push(i));
        for group in groups.into_values() {
            group.windows(2).for_each(|pair| sets.join(pair[0], pair[1]));
        }
    };
    let files = || questions.iter().enumerate();
    join(&mut files().map(|(i, q)| (i, hash_of(&q.file_name))));
    let beginnings = || files().filter_map(|(i, q)| Some((i, hash_of(beginning(&q.file_name)?))));
    let mut sizes: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    beginnings().for_each(|(i, key)| {
        sizes.entry(key).or_default().insert(&questions[i].file_name);
    });
    // A beginning that many recordings share names the set, not the scene.
    if sizes.values().all(|names| names.len() <= NAMED_ALIKE_MAX) {
        join(&mut beginnings());
    }
    let shared = |(i, part): (usize, &Parts)| {
        let numbers: BTreeSet<u64> = part.numbers.iter().flatten().copied().collect();
        let keys =
            part.labels.iter().flat_map(move |label| numbers.clone().into_iter().map(move |n| mix(n, *label as u64)));
        keys.map(move |key| (i, key)).collect::<Vec<_>>()
    };
    let mut holders: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    parts.iter().enumerate().flat_map(shared).for_each(|(i, key)| holders.entry(key).or_default().push(i));
    let mut pairs: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for group in holders.into_values().filter(|group| group.len() <= SHARED_MAX) {
        for (at, &i) in group.iter().enumerate() {
            group[at + 1..].iter().for_each(|&j| *pairs.entry((i, j)).or_default() += 1);
        }
    }
    pairs.into_iter().filter(|(_, shared)| *shared >= SHARED_MIN).for_each(|((i, j), _)| sets.join(i, j));
    (0..questions.len()).map(|i| sets.find(i)).collect()
}

/// A recording's name up to its last `-` or `_`, without its ending.
fn beginning(name: &str) -> Option<&str> {
    let whole = name.rsplit_once('.').map_or(name, |(whole, _)| whole);
    let (start, last) = whole.rsplit_once(['-', '_'])?;
    (!last.contains('/') && start.chars().any(|c| c.is_ascii_digit())).then_some(start)
}

/// Disjoint sets of questions.
struct Sets(Vec<usize>);

impl Sets {
    fn find(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    /// The smaller number names the set; which one has no influence on what is counted in it.
    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const SOUNDS: [&str; 12] =
        ["dog", "cat", "bell", "rain", "engine", "drum", "bird", "wind", "clock", "door", "siren", "sea waves"];

    fn ask(
        scene: usize,
        id: usize,
        task: &str,
        asked: String,
        right: String,
        wrong: [String; 3],
        rng: &mut Rng,
    ) -> Question {
        let at = rng.below(4);
        let mut options = wrong.to_vec();
        options.insert(at, right);
        let [a, b, c, d] = <[String; 4]>::try_from(options).unwrap();
        Question {
            file_name: format!("audio/{scene}.wav"),
            sample_id: format!("q{id}"),
            question: asked,
            option_a: a,
            option_b: b,
            option_c: c,
            option_d: d,
            answer_letter: Some(Letter::ALL[at]),
            answer_text: None,
            level: 1,
            task: task.into(),
        }
    }

    /// Scenes of two sounds with a distance each, and questions that tell of each other.
    fn telling(scenes: usize, own_recordings: bool) -> Vec<Question> {
        let mut rng = Rng::new(3, "telling", 0);
        let mut questions: Vec<Question> = Vec::new();
        for scene in 0..scenes {
            let mut sounds = SOUNDS;
            rng.shuffle(&mut sounds);
            let far: [String; 5] = std::array::from_fn(|_| format!("{:.2} m", rng.range(0.5, 5.0)));
            let [x, y] = [sounds[0], sounds[1]];
            let owned = |texts: [&str; 3]| texts.map(String::from);
            let id = questions.len();
            let near = if own_recordings { 1 } else { 2 };
            let wrong_far = || [far[near].clone(), far[3].clone(), far[4].clone()];
            let rows = [
                (
                    "l1_identify_event_class",
                    "Which sound is heard?".to_string(),
                    x.to_string(),
                    owned([sounds[2], sounds[3], sounds[4]]),
                ),
                (
                    "l2_compare_object_distances",
                    format!("Is the {x} or the {y} closer?"),
                    "the first".into(),
                    owned(["second", "both", "none"]),
                ),
                (
                    "l1_count_objects",
                    "How many sources are there?".into(),
                    "two".into(),
                    owned(["one", "three", "four"]),
                ),
                ("l1_estimate_distance", format!("How far is the {x}?"), far[0].clone(), wrong_far()),
                (
                    "l2_bind",
                    format!("What is true of the {x}?"),
                    format!("it is {} away", far[0]),
                    owned([
                        &format!("it is {} away", far[1]),
                        &format!("it is {:.2} m away", rng.range(6.0, 9.0)),
                        "it moves",
                    ]),
                ),
            ];
            for (i, (task, asked, right, wrong)) in rows.into_iter().enumerate() {
                let mut question = ask(scene, id + i, task, asked, right, wrong, &mut rng);
                if own_recordings {
                    question.file_name = format!("audio/{:016x}.wav", hash_of(&question.sample_id));
                }
                questions.push(question);
            }
        }
        questions
    }

    fn accuracy(questions: &[Question], task: &str) -> f64 {
        let answers = answers(&questions.iter().map(Question::without_answer).collect::<Vec<_>>());
        let of_task = questions.iter().zip(answers).filter(|(q, _)| q.task.contains(task));
        let right: Vec<bool> = of_task.map(|(q, letter)| q.answer_letter == Some(letter)).collect();
        right.iter().filter(|right| **right).count() as f64 / right.len() as f64
    }

    #[test]
    fn other_questions_of_a_recording_tell_sounds_counts_and_distances() {
        let questions = telling(120, false);
        for (task, least) in [("class", 0.95), ("count", 0.95), ("estimate", 0.9), ("bind", 0.9)] {
            let found = accuracy(&questions, task);
            assert!(found >= least, "{task}: {found}");
        }
    }

    #[test]
    fn a_recording_for_each_question_hides_less_than_it_seems() {
        // A sound with two distances still joins the questions that have both, and one of these is right.
        let questions = telling(120, true);
        let found = accuracy(&questions, "l1_estimate_distance");
        assert!(found >= 0.42, "four standard deviations above chance: {found}");
        // What has no such link is left to chance: four standard deviations of 120 at 25 % are 16 points.
        let found = accuracy(&questions, "class");
        assert!((found - 0.25).abs() < 0.16, "{found}");
    }

    #[test]
    fn nothing_is_found_where_questions_tell_nothing() {
        let mut rng = Rng::new(4, "silent", 0);
        let one = |id: usize| {
            let mut sounds = SOUNDS;
            rng.shuffle(&mut sounds);
            let wrong = [sounds[1], sounds[2], sounds[3]].map(String::from);
            ask(id, id, "l1_identify_event_class", "Which sound is heard?".into(), sounds[0].into(), wrong, &mut rng)
        };
        let questions: Vec<Question> = (0..1200).map(one).collect();
        let found = accuracy(&questions, "class");
        // Four standard deviations.
        assert!((found - 0.25).abs() < 0.05, "{found}");
    }

    #[test]
    fn neither_the_order_of_rows_nor_the_key_matters() {
        let questions = telling(20, false);
        let mut turned: Vec<Question> = questions.iter().rev().map(Question::without_answer).collect();
        let mut backwards = answers(&turned);
        backwards.reverse();
        assert_eq!(answers(&questions), backwards);
        turned.truncate(1);
        assert_eq!(answers(&turned).len(), 1);
    }

    #[test]
    fn names_that_begin_alike_are_one_scene_unless_all_do() {
        assert_eq!(beginning("audio/scene-0012-q3.wav"), Some("audio/scene-0012"));
        assert_eq!(beginning("audio/scene-0012.wav"), None, "the beginning names no scene");
        assert_eq!(beginning("a-b/c.wav"), None);
        let named = |names: &[String]| -> BTreeSet<usize> {
            let mut rng = Rng::new(1, "names", 0);
            let make = |(i, name): (usize, &String)| Question {
                file_name: name.clone(),
                ..ask(0, i, "t", "?".into(), "a".into(), ["b", "c", "d"].map(String::from), &mut rng)
            };
            let questions: Vec<Question> = names.iter().enumerate().map(make).collect();
            let labels = Labels::of(&questions);
            let parts: Vec<Parts> = questions.iter().map(|q| Parts::of(q, &labels)).collect();
            scenes(&questions, &parts).into_iter().collect()
        };
        let three: Vec<String> = (0..9).map(|i| format!("scene-{}-{}.wav", i / 3, i % 3)).collect();
        assert_eq!(named(&three).len(), 3);
        let all: Vec<String> = (0..99).map(|i| format!("set1-{i}.wav")).collect();
        assert_eq!(named(&all).len(), 99);
    }
}
