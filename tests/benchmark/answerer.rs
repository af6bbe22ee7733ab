//! Answerers without ears: they see question and options, never the sound. What they get right beyond one in four is
//! what the texts give away.
//!
//! A conditional logit over the four options, one per task, trained on four fifths of the questions and scored on the
//! rest, in five turns so that every question is scored once.

use rayon::prelude::*;
use twnm::rng::Rng;

const SLOTS: usize = 1 << 18;
const FOLDS: usize = 5;
const EPOCHS: usize = 4;
const STEP: f32 = 0.05;

/// A question as an answerer sees it, and the right option for training and scoring.
#[derive(Clone, Debug)]
pub struct Item {
    pub task: String,
    pub question: String,
    pub options: [String; 4],
    pub right: usize,
    /// What a listener with one ear, perfect names and a perfect clock knows of the scene.
    pub heard: Vec<String>,
}

/// What an answerer looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    /// Words, pairs of words, words of the question with words of the option, lengths, ranks of numbers, letters.
    Words,
    /// Besides, how large the numbers are, also beside those of every other option, and the other options' words.
    Values,
    /// Words, and what is heard with one ear: which sounds there are and in which order they begin.
    Mono,
}

/// Right answers and questions per task, and of all tasks; and right answers of one who takes what looks least likely.
pub struct Scores {
    pub tasks: Vec<(String, usize, usize)>,
    pub right: usize,
    pub questions: usize,
    pub contrary: Vec<usize>,
}

impl Scores {
    pub fn overall(&self) -> f64 {
        self.right as f64 / self.questions as f64
    }

    /// The task that is given away most, with its score.
    pub fn worst(&self) -> (&str, f64) {
        let share = |(task, right, n): &'_ (String, usize, usize)| (task.clone(), *right as f64 / *n as f64);
        let worst = self.tasks.iter().max_by(|a, b| share(a).1.total_cmp(&share(b).1)).unwrap();
        (&worst.0, worst.1 as f64 / worst.2 as f64)
    }
}

/// Trains and scores an answerer on every task.
pub fn scores(items: &[Item], view: View) -> Scores {
    let mut names: Vec<&String> = items.iter().map(|i| &i.task).collect();
    names.sort();
    names.dedup();
    let of_task = |name: &&String| {
        let own: Vec<&Item> = items.iter().filter(|i| i.task == **name).collect();
        let [right, contrary] = right_answers(&own, view);
        ((name.to_string(), right, own.len()), contrary)
    };
    let (tasks, contrary): (Vec<(String, usize, usize)>, Vec<usize>) = names.par_iter().map(of_task).unzip();
    Scores { right: tasks.iter().map(|t| t.1).sum(), questions: items.len(), tasks, contrary }
}

fn right_answers(items: &[&Item], view: View) -> [usize; 2] {
    let features: Vec<[Vec<u32>; 4]> = items.iter().map(|i| features(i, view)).collect();
    let folds = (0..FOLDS).map(|fold| right_in_fold(items, &features, fold));
    folds.fold([0, 0], |[a, b], [x, y]| [a + x, b + y])
}

fn right_in_fold(items: &[&Item], features: &[[Vec<u32>; 4]], fold: usize) -> [usize; 2] {
    let mut order: Vec<usize> = (0..items.len()).filter(|i| i % FOLDS != fold).collect();
    let (mut weights, mut squares) = (vec![0f32; SLOTS], vec![1e-4f32; SLOTS]);
    for epoch in 0..EPOCHS {
        Rng::new(1, "answerer", epoch as u64).shuffle(&mut order);
        for &i in &order {
            let shares = shares(&weights, &features[i]);
            for (option, slots) in features[i].iter().enumerate() {
                let error = f32::from(u8::from(option == items[i].right)) - shares[option];
                for &slot in slots {
                    squares[slot as usize] += error * error;
                    weights[slot as usize] += STEP * error / squares[slot as usize].sqrt();
                }
            }
        }
    }
    let mut right = [0, 0];
    for i in (0..items.len()).filter(|i| i % FOLDS == fold) {
        let shares = shares(&weights, &features[i]);
        let by_share = |a: &usize, b: &usize| shares[*a].total_cmp(&shares[*b]);
        right[0] += usize::from((0..4).max_by(by_share) == Some(items[i].right));
        right[1] += usize::from((0..4).min_by(by_share) == Some(items[i].right));
    }
    right
}

fn shares(weights: &[f32], features: &[Vec<u32>; 4]) -> [f32; 4] {
    let sums = features.each_ref().map(|slots| slots.iter().map(|s| weights[*s as usize]).sum::<f32>());
    let largest = sums.iter().copied().fold(f32::MIN, f32::max);
    let powers = sums.map(|s| (s - largest).exp());
    powers.map(|p| p / powers.iter().sum::<f32>())
}

/// FNV-1a of some texts.
fn slot(parts: &[&str]) -> u32 {
    let mut hash = 0xcbf29ce484222325u64;
    for byte in parts.iter().flat_map(|p| p.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3);
    }
    ((hash ^ (hash >> 29)) % SLOTS as u64) as u32
}

/// Words in lower case, numbers as "#" and as they stand; and the numbers.
fn read(text: &str) -> (Vec<String>, Vec<f64>) {
    let (mut words, mut numbers) = (Vec::new(), Vec::new());
    for piece in text.split_whitespace() {
        let bare = piece.trim_matches(|c: char| !c.is_alphanumeric() && c != '-');
        match bare.parse::<f64>() {
            Ok(number) => {
                numbers.push(number);
                words.extend(["#".into(), bare.to_string()]);
            }
            Err(_) => words.push(bare.to_lowercase()),
        }
    }
    words.retain(|w| !w.is_empty());
    (words, numbers)
}

/// How large a number is, coarsely: a sign and a power of the square root of two.
fn size(number: f64) -> String {
    let power = (2.0 * number.abs().max(0.01).log2()).round();
    format!("{}{power}", if number < 0.0 { "-" } else { "" })
}

/// Words without the numbers themselves.
fn template(words: &[String]) -> String {
    words.iter().filter(|w| w.parse::<f64>().is_err()).cloned().collect::<Vec<_>>().join(" ")
}

fn rank<T: PartialOrd>(values: &[T], of: usize) -> usize {
    values.iter().filter(|v| **v < values[of]).count()
}

fn features(item: &Item, view: View) -> [Vec<u32>; 4] {
    let read_all = item.options.each_ref().map(|o| read(o));
    let (asked, _) = read(&item.question);
    std::array::from_fn(|i| {
        let (words, numbers) = &read_all[i];
        let mut out = vec![slot(&["letter", &i.to_string()])];
        out.extend(words.iter().map(|w| slot(&["word", w])));
        out.extend(words.windows(2).map(|p| slot(&["pair", &p[0], &p[1]])));
        for q in &asked {
            out.extend(words.iter().map(|w| slot(&["asked", q, w])));
        }
        shapes(&mut out, item, &read_all, i);
        if view == View::Values {
            values(&mut out, &read_all, i);
            let own = template(words);
            out.extend(numbers.iter().map(|x| slot(&["size", &own, &size(*x)])));
        }
        if view == View::Mono {
            for heard in &item.heard {
                out.push(slot(&["heard", heard, &item.options[i]]));
                out.extend(words.iter().map(|w| slot(&["heard", heard, w])));
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    })
}

type Read = [(Vec<String>, Vec<f64>); 4];

/// Lengths, ranks of numbers, and how much is shared with other options.
fn shapes(out: &mut Vec<u32>, item: &Item, read: &Read, i: usize) {
    let lengths = item.options.each_ref().map(|o| o.chars().count());
    out.push(slot(&["length", &rank(&lengths, i).to_string()]));
    let shared = |j: usize| read[i].0.iter().filter(|w| read[j].0.contains(w)).count();
    let with_others: Vec<usize> = (0..4).filter(|j| *j != i).map(shared).collect();
    out.push(slot(&["shared", &with_others.iter().sum::<usize>().to_string()]));
    let least = read.iter().map(|r| r.1.len()).min().unwrap_or(0);
    for k in 0..least {
        let column = read.each_ref().map(|r| r.1[k]);
        let same = column.iter().filter(|x| **x == column[i]).count();
        out.push(slot(&["rank", &k.to_string(), &rank(&column, i).to_string()]));
        out.push(slot(&["same", &k.to_string(), &same.to_string()]));
    }
}

/// Numbers beside numbers of the same and of the other options; words beside the other options' words.
fn values(out: &mut Vec<u32>, read: &Read, i: usize) {
    let (words, numbers) = &read[i];
    let own = template(words);
    for (k, a) in numbers.iter().enumerate() {
        for (l, b) in numbers.iter().enumerate().skip(k + 1) {
            out.push(slot(&["within", &k.to_string(), &l.to_string(), &size(*a), &size(*b)]));
        }
    }
    for (other_words, other_numbers) in (0..4).filter(|j| *j != i).map(|j| &read[j]) {
        let other = template(other_words);
        for (a, b) in numbers.iter().zip(other_numbers) {
            out.push(slot(&["beside", &own, &other, &size(*a), &size(*b)]));
        }
        for w in words.iter().filter(|w| !w.contains(|c: char| c.is_ascii_digit())) {
            out.extend(other_words.iter().map(|o| slot(&["others", w, o])));
        }
    }
}

/// Items in which a word is right four times in ten: an answerer must find that.
pub fn planted(n: usize) -> Vec<Item> {
    let mut rng = Rng::new(2, "planted", 0);
    let item = |_| {
        let mut options: [String; 4] =
            std::array::from_fn(|_| ["oak", "elm", "fir", "ash"][rng.below(4)].to_string() + " tree");
        let right = if rng.uniform() < 0.4 { 0 } else { 1 + rng.below(3) };
        options[0] = "yew tree".into();
        let at = rng.below(4);
        options.swap(0, at);
        let right = if right == 0 { at } else { [0, 1, 2, 3].into_iter().filter(|x| *x != at).nth(right - 1).unwrap() };
        Item { task: "trees".into(), question: "Which tree?".into(), options, right, heard: vec!["wind".into()] }
    };
    (0..n).map(item).collect()
}
