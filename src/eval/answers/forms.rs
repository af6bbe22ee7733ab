//! Shorter forms in which options are named: a distance or angle without "about", a sentence without its subject.

use super::normal::{NormalWord, is_han};
use super::roles::{Role, of_word};
use crate::text::questions::Letter;

/// What says that a number is rounded.
const ROUNDED: &[&str] =
    &["about", "approximately", "around", "roughly", "circa", "approx", "ca", "约", "大", "概", "左", "右", "away"];
/// What makes a number a bound.
const BOUNDS: &[&str] = &[
    "than", "over", "under", "least", "most", "beyond", "within", "below", "above", "过", "少", "多", "<", ">",
    "\u{2264}", "\u{2265}",
];
/// Most words of a subject that options share.
const SUBJECT_MAX: usize = 6;

/// A shorter form of one option.
struct Form {
    letter: Letter,
    words: Vec<String>,
    is_measure: bool,
}

/// The shorter forms of four options.
pub(super) struct Forms {
    forms: Vec<Form>,
}

impl Forms {
    pub fn of(options: &[Vec<String>; 4]) -> Forms {
        let mut forms = Vec::new();
        for letter in Letter::ALL {
            let others = || Letter::ALL.into_iter().filter(move |other| *other != letter);
            if let Some(words) = measure(&options[letter.index()])
                && !others().any(|other| holds_measure(&options[other.index()], &words))
            {
                forms.push(Form { letter, words, is_measure: true });
            }
            if let Some(words) = path(&options[letter.index()])
                && !others().any(|other| path(&options[other.index()]).as_ref() == Some(&words))
            {
                forms.push(Form { letter, words, is_measure: false });
            }
        }
        let subject = subject(options);
        let rest = options.each_ref().map(|option| option[subject..].to_vec());
        if subject > 0 && rest.iter().all(|words| words.len() > 1) {
            let named = Letter::ALL.into_iter().zip(rest);
            forms.extend(named.map(|(letter, words)| Form { letter, words, is_measure: false }));
        }
        Forms { forms }
    }

    /// Where a shorter form stands: from, to, whose.
    pub fn find(&self, words: &[NormalWord], mut take: impl FnMut(usize, usize, Letter)) {
        for form in &self.forms {
            for (at, window) in words.windows(form.words.len()).enumerate() {
                let found = if form.is_measure {
                    is_measured(window, &form.words) && !is_bound(&words[..at])
                } else {
                    same_verb(&window[0].text, &form.words[0])
                        && window[1..].iter().zip(&form.words[1..]).all(|(word, other)| word.text == *other)
                };
                if found {
                    take(at, at + form.words.len(), form.letter);
                }
            }
        }
    }
}

/// "More than", "不到", "大于": the number behind them is a bound.
fn is_bound(before: &[NormalWord]) -> bool {
    let last = |step: usize| before.len().checked_sub(step).map_or("", |at| before[at].text.as_str());
    let at = if ROUNDED.contains(&last(1)) && !is_han_word(last(1)) { 2 } else { 1 };
    match last(at) {
        "到" => last(at + 1) == "不",
        "于" => ["大", "小", "高", "低", "多", "少"].contains(&last(at + 1)),
        word => BOUNDS.contains(&word),
    }
}

fn is_han_word(word: &str) -> bool {
    word.chars().any(is_han)
}

/// One spelling of a unit in both languages.
fn unit(word: &str) -> Option<&str> {
    Some(match word {
        "m" | "米" => "m",
        "deg" | "度" => "deg",
        "s" | "秒" => "s",
        "cm" => "cm",
        _ => return None,
    })
}

fn is_number(word: &str) -> bool {
    word.bytes().any(|b| b.is_ascii_digit()) && word.bytes().all(|b| b.is_ascii_digit() || b"-.".contains(&b))
}

/// The number and the unit of an option that is nothing else but "about".
fn measure(option: &[String]) -> Option<Vec<String>> {
    let at = option.iter().position(|word| is_number(word))?;
    let (number, kind) = (&option[at], option.get(at + 1)?);
    unit(kind)?;
    let mut rest = option[..at].iter().chain(&option[at + 2..]);
    (option.len() > 2 && rest.all(|word| ROUNDED.contains(&word.as_str()))).then(|| vec![number.clone(), kind.clone()])
}

fn holds_measure(option: &[String], measure: &[String]) -> bool {
    option.windows(2).any(|pair| pair[0] == measure[0] && unit(&pair[1]) == unit(&measure[1]))
}

fn is_measured(window: &[NormalWord], measure: &[String]) -> bool {
    window[0].text == measure[0] && unit(&window[1].text).is_some() && unit(&window[1].text) == unit(&measure[1])
}

/// "From left to right" within an option.
fn path(option: &[String]) -> Option<Vec<String>> {
    let found = option.windows(4).find(|words| words[0] == "from" && words[2] == "to")?;
    (option.len() > 4).then(|| found.to_vec())
}

/// How many words all options begin with, up to a verb.
fn subject(options: &[Vec<String>; 4]) -> usize {
    let shortest = options.iter().map(Vec::len).min().unwrap_or(0).min(SUBJECT_MAX);
    let shared = |at: &usize| {
        let word = &options[0][*at];
        let is_verb = of_word(word) == Role::Is
            || ["does", "do", "has", "是", "在", "从", "向", "由"].contains(&word.as_str())
            || ROUNDED.contains(&word.as_str());
        !is_verb && options.iter().all(|option| option[*at] == *word)
    };
    (0..shortest).take_while(shared).count()
}

/// "Moves", "move", "moving", "moved" are one verb.
fn same_verb(word: &str, verb: &str) -> bool {
    if word == verb {
        return true;
    }
    let Some(stem) = verb.strip_suffix("es").or(verb.strip_suffix('s')) else { return false };
    !stem.chars().any(is_han)
        && stem.len() > 2
        && word.strip_prefix(stem).is_some_and(|end| ["", "e", "ing", "ed"].contains(&end))
}
