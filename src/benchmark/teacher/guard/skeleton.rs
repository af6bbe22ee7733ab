//! What remains of a text when all that changes nothing is taken away: sounds, numbers with units, sides, an order.
//!
//! Two texts with one skeleton say the same, whatever else is in them. A word whose part is not known ends the reading.

use super::super::super::alike::{is_of_sound, root};
use super::super::super::draft::Pool;
use super::super::super::facts::Facts;
use super::super::super::names;
use super::super::super::reading::{Token, tokens};
use super::super::super::task::Task;
use super::super::outcome::Outcome;
use super::words::{Part, part, unit};
use std::collections::BTreeSet;

/// Unknown words that a question may have: where nothing in it speaks of answering.
const UNKNOWN_MAX: usize = 1;
/// Shortest unknown word that may be let pass: of short ones too many turn a meaning.
const UNKNOWN_CHARS_MIN: usize = 5;

/// The sounds that texts about a scene may name.
pub(super) struct Names<'a> {
    pub task: Task,
    pub facts: &'a Facts,
    /// Names in tokens, the longest first, with what skeletons call them.
    names: Vec<(Vec<Token>, String)>,
    /// Roots of the words for each source of the scene.
    roots: Vec<BTreeSet<String>>,
}

/// A text without what changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Skeleton {
    /// What has a meaning, in order: `s0` (a source), `30deg`, `left`, `neg`.
    pub tokens: Vec<String>,
    /// What is asked for.
    pub topics: BTreeSet<&'static str>,
}

impl<'a> Names<'a> {
    /// The names of a scene's sources, and of all others of the set.
    pub(super) fn new(task: Task, facts: &'a Facts, pool: &Pool) -> Names<'a> {
        let words = |text: &str| tokens(text).unwrap_or_default();
        let mut names: Vec<(Vec<Token>, String)> = Vec::new();
        for label in pool.labels.iter().chain(facts.labels.iter().filter(|l| !pool.labels.contains(l))) {
            names.push((words(label), mention(facts, label)));
        }
        let classes = (0..facts.count()).filter(|i| facts.called(&facts.labels[*i]).len() == 1);
        names.extend(classes.map(|i| (words(&names::label(&facts.source(i).class)), format!("s{i}"))));
        names.retain(|(words, _)| !words.is_empty());
        names.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
        let roots = (0..facts.count())
            .map(|i| {
                let texts = [facts.labels[i].clone(), names::label(&facts.source(i).class)];
                texts.iter().flat_map(|t| t.split(' ')).map(root).filter(|w| is_of_sound(w)).collect()
            })
            .collect();
        Names { task, facts, names, roots }
    }

    /// The skeleton of a text.
    ///
    /// # Errors
    /// Why there is none: `Instruction`, `UnknownWord`, `OtherNumber` for a unit that no claim has, `OtherSource` for a
    /// sound that no name fits.
    pub(super) fn skeleton(&self, text: &str, in_question: bool) -> Result<Skeleton, Outcome> {
        let words = tokens(text).ok_or(Outcome::OtherWording)?;
        let mut reader =
            Reader { names: self, words: &words, in_question, out: Skeleton::default(), unknown: 0, meta: 0 };
        let mut at = 0;
        while at < words.len() {
            at += reader.step(at)?;
        }
        if reader.unknown > UNKNOWN_MAX || reader.unknown > 0 && (!in_question || reader.meta > 0) {
            return Err(Outcome::UnknownWord);
        }
        let mut out = reader.out;
        out.tokens = joined(out.tokens);
        Ok(out)
    }

    /// A name at the beginning of some words, and how many words it takes.
    fn name(&self, words: &[Token]) -> Option<(&str, usize)> {
        let (name, called) = self.names.iter().find(|(name, _)| words.starts_with(name))?;
        Some((called, name.len()))
    }

    /// The only source of the scene that a run of words for sounds fits.
    fn described(&self, run: &BTreeSet<String>) -> String {
        let fits: Vec<usize> = (0..self.roots.len()).filter(|&i| run.is_subset(&self.roots[i])).collect();
        match fits[..] {
            [only] => format!("s{only}"),
            _ => "unknownsound".into(),
        }
    }
}

/// What skeletons call a sound: by its number where it is the only one of that name.
pub(super) fn mention(facts: &Facts, label: &str) -> String {
    match facts.called(label)[..] {
        [only] => format!("s{only}"),
        _ => format!("sound:{}", label.replace(' ', "_")),
    }
}

/// A number with its unit, as skeletons write it.
pub(super) fn number(x: f64, unit: &str) -> String {
    format!("{}{unit}", (1e6 * x).round() / 1e6 + 0.0)
}

struct Reader<'n, 'a> {
    names: &'n Names<'a>,
    words: &'n [Token],
    in_question: bool,
    out: Skeleton,
    unknown: usize,
    meta: usize,
}

impl<'n> Reader<'n, '_> {
    fn word(&self, at: usize) -> Option<&'n str> {
        match self.words.get(at) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is(&self, at: usize, list: &[&str]) -> bool {
        self.word(at).is_some_and(|word| list.contains(&word))
    }

    fn push(&mut self, token: impl Into<String>, used: usize) -> Result<usize, Outcome> {
        self.out.tokens.push(token.into());
        Ok(used)
    }

    /// Reads what begins at `at`; how many words it is.
    fn step(&mut self, at: usize) -> Result<usize, Outcome> {
        if let Token::Number(x) = self.words[at] {
            let unit = self.word(at + 1).and_then(unit);
            if unit == Some("otherunit") {
                return Err(Outcome::OtherNumber);
            }
            return match unit {
                Some(unit) => self.push(number(x, unit), 2),
                // "Which three is nearer": of so many is asked, not told.
                None if x != 1.0 && self.asks_for(at) => Err(Outcome::OtherNumber),
                None => self.push(format!("n{}", number(x, "")), 1),
            };
        }
        if let Some((name, used)) = self.names.name(&self.words[at..]) {
            let name = name.to_string();
            return self.push(name, used);
        }
        if let Some(used) = self.phrase(at)? {
            return Ok(used);
        }
        self.single(at)
    }

    /// Whether a number is asked for: "which three". Which two remain may be asked.
    fn asks_for(&self, at: usize) -> bool {
        let asks = at.checked_sub(1).is_some_and(|before| self.is(before, &["which", "what"]));
        asks && self.names.task != Task::SourceRemoval
    }

    /// Words that mean something together.
    fn phrase(&mut self, at: usize) -> Result<Option<usize>, Outcome> {
        let level = ["level", "height", "line", "levels"];
        let used = match () {
            _ if self.is(at, &["ear", "ears", "eye", "eyes", "head", "listener's"]) && self.is(at + 1, &level) => {
                self.push("ear", 2)?
            }
            _ if self.is(at, &["how"]) && self.is(at + 1, &["far", "close", "near", "distant"]) => {
                self.topic("dist", 2)
            }
            _ if self.is(at, &["how"]) && self.is(at + 1, &["high", "low", "steeply"]) => self.topic("el", 2),
            _ if self.is(at, &["how"]) && self.is(at + 1, &["large", "big", "spacious"]) => self.topic("room", 2),
            _ if self.is(at, &["how"]) && self.is(at + 1, &["many"]) => match self.word(at + 2) {
                Some("m") => self.topic("dist", 3),
                Some("s") => self.topic("rev", 3),
                Some("deg") => self.topic("dir", 3),
                _ => self.topic("count", 2),
            },
            _ if self.is(at, &["less", "more", "fewer"]) && self.is(at + 1, &["than"]) => {
                let sense = if self.is(at, &["more"]) { "more" } else { "less" };
                self.push(sense, 2)?
            }
            _ if self.is(at, &["most", "more"]) && self.is(at + 1, &["distant", "remote"]) => {
                let sense = if self.is(at, &["most"]) { "farthest" } else { "far" };
                self.push(sense, 2)?
            }
            _ if self.is(at, &["up"]) && self.is(at + 1, &["to"]) => self.push("less", 2)?,
            _ if self.is(at, &["under"]) && matches!(self.words.get(at + 1), Some(Token::Number(_))) => {
                self.push("less", 1)?
            }
            _ if self.is(at, &["could", "can", "not"])
                && self.is(at + 1, &["not", "physically", "possible", "possibly"]) =>
            {
                return Ok(self.not_possible(at));
            }
            _ if self.is(at, &["high"]) && self.in_question && !self.is(at + 1, &["up"]) => self.topic("el", 1),
            _ if self.is(at, &["end", "ends", "ended", "wind", "winds"]) && self.is(at + 1, &["up"]) => 2,
            _ if self.is(at, &["relative", "compared", "relation", "respect"]) && self.is_of_listener(at) => 3,
            _ if self.is(at, &["next"]) && self.is(at + 1, &["to"]) => self.push("near", 2)?,
            _ if self.is(at, &["right"]) && self.in_question && self.is_correct(at) => {
                self.meta += 1;
                1
            }
            _ => return Ok(None),
        };
        Ok(Some(used))
    }

    /// "Could not (possibly) be", "not (physically) possible".
    fn not_possible(&mut self, at: usize) -> Option<usize> {
        let mut end = at;
        let (mut denied, mut possible) = (false, false);
        while self.is(end, &["could", "can", "not", "physically", "possible", "possibly"]) {
            denied ^= self.is(end, &["not"]);
            possible |= self.is(end, &["could", "can", "possible", "possibly"]);
            end += 1;
        }
        if denied && possible {
            self.out.tokens.push("imposs".into());
            return Some(end - at);
        }
        None
    }

    /// Whether what follows "relative to" is the listener: everything is.
    fn is_of_listener(&self, at: usize) -> bool {
        let listeners = ["listener", "listener's", "you", "your", "me", "my"];
        self.is(at + 1, &["to", "with"]) && self.is(at + 2, &listeners)
    }

    /// Whether "right" in a question means "correct".
    fn is_correct(&self, at: usize) -> bool {
        let nouns = [
            "answer",
            "option",
            "statement",
            "description",
            "choice",
            "combination",
            "account",
            "explanation",
            "number",
        ];
        let before = at.checked_sub(1).is_some_and(|before| self.is(before, &["is", "are", "be", "gets", "has"]));
        self.is(at + 1, &nouns) || before && !self.is(at + 1, &["of", "or", "side", "hand"])
    }

    fn topic(&mut self, topic: &'static str, used: usize) -> usize {
        self.out.topics.insert(topic);
        used
    }

    fn single(&mut self, at: usize) -> Result<usize, Outcome> {
        let Some(word) = self.word(at) else { unreachable!("numbers are read before") };
        if let Some(unit) = unit(word) {
            return if unit == "otherunit" { Err(Outcome::OtherNumber) } else { self.push(format!("unit:{unit}"), 1) };
        }
        if word.chars().count() == 1 && word != "i" {
            return Err(Outcome::Instruction);
        }
        match part(word, self.in_question) {
            Part::Neutral | Part::Question => {}
            Part::Meta if self.in_question => self.meta += 1,
            Part::Bad | Part::Meta => return Err(Outcome::Instruction),
            Part::Sense(sense) => return self.push(sense, 1),
            Part::Topic(topic) => return Ok(self.topic(topic, 1)),
            Part::Unknown if is_of_sound(word) => return Ok(self.run_of_sounds(at)),
            Part::Unknown
                if self.in_question && word.chars().count() >= UNKNOWN_CHARS_MIN && !word.ends_with("est") =>
            {
                self.unknown += 1;
            }
            Part::Unknown => return Err(Outcome::UnknownWord),
        }
        Ok(1)
    }

    /// Words for sounds that are no whole name.
    fn run_of_sounds(&mut self, at: usize) -> usize {
        let mut run = BTreeSet::new();
        let mut end = at;
        while let Some(word) = self.word(end).filter(|word| is_of_sound(word)) {
            run.insert(root(word));
            end += 1;
        }
        let token = self.names.described(&run);
        self.out.tokens.push(token);
        end - at
    }
}

/// Tokens that are one: "highest up", "front" and "left".
fn joined(tokens: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for token in tokens {
        let before = out.last().map(String::as_str).unwrap_or_default();
        let says_it_again = before == token && !token.starts_with(|c: char| c.is_ascii_digit() || c == 'n');
        let follows = matches!((before, token.as_str()), ("highest", "up") | ("lowest", "down"));
        if !says_it_again && !follows || token == "neg" {
            out.push(token);
        }
    }
    out
}

/// Sides beside each other as one of eight directions: `front left` is `oct1`.
pub(super) fn with_octants(tokens: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for token in tokens {
        let before = out.last().map(String::as_str).unwrap_or_default();
        let octant = match (before, token.as_str()) {
            ("front", "left") | ("left", "front") => 1,
            ("back", "left") | ("left", "back") => 3,
            ("back", "right") | ("right", "back") => 5,
            ("front", "right") | ("right", "front") => 7,
            _ => {
                out.push(token.clone());
                continue;
            }
        };
        out.pop();
        out.push(format!("oct{octant}"));
    }
    out
}

/// What skeletons call one of the eight directions.
pub(super) fn octant_token(octant: usize) -> String {
    match octant {
        0 => "front".into(),
        2 => "left".into(),
        4 => "back".into(),
        6 => "right".into(),
        diagonal => format!("oct{diagonal}"),
    }
}
