//! The bag of words on made-up benchmarks: each known leak is found, and nothing is found where nothing leaks.

use super::{BagOfWords, Reference};
use crate::rng::Rng;
use crate::text::questions::{Answer, Letter, Question, Said};

const WORDS: [&str; 12] =
    ["dog", "cat", "bell", "rain", "engine", "speech", "drum", "bird", "wind", "clock", "door", "siren"];

/// What an option is made of; the first of four is the right one.
type Options = [String; 4];

fn question(index: u64, asked: String, options: Options, rng: &mut Rng) -> Question {
    let mut order = [0, 1, 2, 3];
    rng.shuffle(&mut order);
    let [a, b, c, d] = order.map(|i| options[i].clone());
    let answer = Letter::ALL[order.iter().position(|i| *i == 0).unwrap()];
    Question {
        file_name: format!("audio/{}.wav", index / 3),
        sample_id: format!("q{index:05}"),
        question: asked,
        option_a: a,
        option_b: b,
        option_c: c,
        option_d: d,
        answer_letter: Some(answer),
        answer_text: None,
        level: 1,
        task: "l1_something".into(),
    }
}

/// Questions from `make(rng)`: text and options, the right one first.
fn set(n: u64, from: u64, make: impl Fn(&mut Rng) -> (String, Options)) -> Vec<Question> {
    let one = |index: u64| {
        let mut rng = Rng::new(9, "leak", index);
        let (asked, options) = make(&mut rng);
        question(index, asked, options, &mut rng)
    };
    (from..from + n).map(one).collect()
}

/// Share of other questions of the same kind that a trained bag of words answers right.
fn leak(make: impl Fn(&mut Rng) -> (String, Options)) -> f64 {
    let (train, test) = (set(1200, 0, &make), set(800, 10_000, &make));
    let model = BagOfWords::train(&train, 1).unwrap();
    let right = test.iter().filter(|q| Some(model.choose(q)) == q.answer_letter).count();
    right as f64 / test.len() as f64
}

fn degrees(value: f64) -> String {
    format!("{:.2} degrees", value.rem_euclid(360.0))
}

fn words(rng: &mut Rng) -> [&'static str; 4] {
    let mut all = WORDS;
    rng.shuffle(&mut all);
    [all[0], all[1], all[2], all[3]]
}

#[test]
fn nothing_is_found_where_nothing_leaks() {
    // 800 questions at 25 %: four standard deviations are 6.1 points.
    let chance = 0.25 - 0.061..0.25 + 0.061;
    let by_words = leak(|rng| ("Which sound is nearest?".into(), words(rng).map(String::from)));
    assert!(chance.contains(&by_words), "{by_words}");
    let by_numbers = leak(|rng| ("What is the azimuth?".into(), [0; 4].map(|_| degrees(rng.range(0.0, 360.0)))));
    assert!(chance.contains(&by_numbers), "{by_numbers}");
}

#[test]
fn leaks_by_shape_are_found() {
    // The right option is the longest.
    let long = leak(|rng| {
        let [a, b, c, d] = words(rng);
        ("Which?".into(), [format!("{a} and {b} together"), b.into(), c.into(), d.into()])
    });
    assert!(long > 0.95, "longest: {long}");
    // Distractors change one attribute each: the right option shares most with the others.
    let centre = leak(|rng| {
        let [a, b, c, d] = words(rng);
        let option = |who: &str, side: &str, far: &str| format!("{who} {side} {far}");
        ("Which?".into(), [option(a, "left", c), option(b, "left", c), option(a, "right", c), option(a, "left", d)])
    });
    assert!(centre > 0.95, "centre: {centre}");
    // Distractors lie around the right number.
    let middle = leak(|rng| {
        let value = rng.range(1.0, 4.0);
        ("How far?".into(), [0.0, 0.7, -0.6, 1.3].map(|by| format!("{:.2} m", value + by * rng.range(0.8, 1.2))))
    });
    assert!(middle > 0.45, "middle: {middle}");
    // Distractors are round numbers.
    let round = leak(|rng| {
        let right = degrees(rng.range(0.0, 360.0));
        let mut others = [0; 3].map(|_| degrees(15.0 * rng.below(24) as f64));
        rng.shuffle(&mut others);
        let [a, b, c] = others;
        ("Azimuth?".into(), [right, a, b, c])
    });
    assert!(round > 0.9, "round: {round}");
}

#[test]
fn leaks_by_words_and_by_knowledge_are_found() {
    // Some classes are never right.
    let prior = leak(|rng| {
        let right = WORDS[rng.below(4)];
        let others = [0, 1, 2].map(|i| WORDS[4 + (i * 2 + rng.below(2))]);
        ("Which sound?".into(), [right.into(), others[0].into(), others[1].into(), others[2].into()])
    });
    assert!(prior > 0.95, "prior: {prior}");
    // The question's word decides which option fits: only pairs can know.
    let pairs = leak(|rng| {
        let places = ["kitchen", "street", "forest", "office"];
        let first = rng.below(4);
        let option = |i: usize| format!("in the {}", places[(first + i) % 4]);
        let hints = [["kettle", "stove"], ["car", "tram"], ["owl", "leaves"], ["printer", "keyboard"]];
        (format!("Where do you hear a {}?", hints[first][rng.below(2)]), [0, 1, 2, 3].map(option))
    });
    assert!(pairs > 0.95, "pairs: {pairs}");
    // The answer is computed from a number of the question.
    let turned = leak(|rng| {
        let heading = rng.range(0.0, 360.0);
        let options = [90.0, 0.0, 180.0, 270.0].map(|by| degrees(heading + by));
        (format!("It is at {}. Where is it after a turn?", degrees(heading)), options)
    });
    assert!(turned > 0.9, "turned: {turned}");
}

#[test]
fn references_are_deterministic_and_do_not_depend_on_the_order() {
    let make = |rng: &mut Rng| ("Which?".to_string(), words(rng).map(String::from));
    let questions = set(300, 0, make);
    let mut reversed = questions.clone();
    reversed.reverse();
    let models = |train: &[Question]| {
        [
            Reference::Random { seed: 3 },
            Reference::most_frequent(train).unwrap(),
            Reference::BagOfWords(Box::new(BagOfWords::train(train, 3).unwrap())),
        ]
    };
    for (one, other) in models(&questions).iter().zip(models(&reversed)) {
        let mut backwards = other.answer(&reversed);
        backwards.reverse();
        assert_eq!(one.answer(&questions), backwards);
    }
    let said = |answers: Vec<Answer>| answers.iter().filter(|a| a.said == Said::Letter(Letter::B)).count();
    let b = said(Reference::Random { seed: 3 }.answer(&questions));
    assert!((45..=105).contains(&b), "four standard deviations around 75: {b}");
    assert_ne!(Reference::Random { seed: 3 }.answer(&questions), Reference::Random { seed: 4 }.answer(&questions));
    assert!(BagOfWords::train(&[], 1).is_err() && Reference::most_frequent(&[]).is_err());
    let few = BagOfWords::train(&questions[..3], 1).unwrap();
    assert!(few.describe().contains("too few"), "{}", few.describe());
}
