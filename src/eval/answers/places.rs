//! Options that are directions: in any order of words ("left front"), in other words ("rear", 后面), and told from words
//! that only look like one ("that is right", "get back", 之前).

use super::normal::{NormalWord, is_han};
use super::roles::Role;
use super::tokens::{Kind, Tokens};
use crate::text::questions::Letter;

/// Front, back, left, right, above, below as bits.
const ENGLISH: &[(u8, &[&str])] = &[
    (1, &["front", "ahead"]),
    (2, &["back", "behind", "rear"]),
    (4, &["left"]),
    (8, &["right"]),
    (16, &["above"]),
    (32, &["below", "beneath"]),
];
const CHINESE: [(u8, char); 6] = [(1, '前'), (2, '后'), (4, '左'), (8, '右'), (16, '上'), (32, '下')];
/// What may stand in an option beside its directions.
const BESIDE: &[&str] =
    &["side", "hand", "in", "on", "to", "from", "of", "listener", "at", "正", "方", "侧", "边", "面", "部", "身", "背"];
/// What turns a Chinese character into a place.
const SUFFIXES: &str = "方侧边面部端";

fn bit(word: &str) -> u8 {
    let mut chars = word.chars();
    let han = chars.next().filter(|c| is_han(*c) && chars.next().is_none());
    match han {
        Some(c) => CHINESE.iter().find(|(_, other)| *other == c).map_or(0, |(bit, _)| *bit),
        None => ENGLISH.iter().find(|(_, words)| words.contains(&word)).map_or(0, |(bit, _)| *bit),
    }
}

/// Which options are nothing but directions, and which ones.
pub(super) struct Places {
    options: [Option<u8>; 4],
}

impl Places {
    pub fn of(options: &[Vec<String>; 4]) -> Places {
        let place = |words: &Vec<String>| {
            let mask = words.iter().map(|word| bit(word)).fold(0, |a, b| a | b);
            let moves =
                mask.count_ones() > 1 && ["to", "从", "向", "到"].iter().any(|to| words.iter().any(|w| w == to));
            (mask != 0 && !moves && words.iter().all(|word| bit(word) != 0 || BESIDE.contains(&word.as_str())))
                .then_some(mask)
        };
        Places { options: options.each_ref().map(place) }
    }

    pub fn has(&self, letter: Letter) -> bool {
        self.options[letter.index()].is_some()
    }

    /// Each run of directions in `words` that is one of the options as a whole: from, to, which.
    pub fn find(&self, words: &[NormalWord], text: &str, mut take: impl FnMut(usize, usize, Letter)) {
        if self.options.iter().all(Option::is_none) {
            return;
        }
        let runs = runs(words, text);
        let mut at = 0;
        while at < runs.len() {
            if runs.get(at + 1).is_some_and(|next| runs[at].moves_to(next, words, text)) {
                at += 2;
                continue;
            }
            // "To the front, on the left": parts of one place. Where one of them is no option, the other is none.
            let mut end = at + 1;
            while end < runs.len() && runs[end - 1].goes_on_with(&runs[end], words, text) {
                end += 1;
            }
            let options = |run: &Run| {
                let mask = Some(run.mask);
                Letter::ALL.into_iter().filter(move |l| self.options[l.index()] == mask)
            };
            if end == at + 1 || runs[at..end].iter().all(|run| options(run).count() > 0) {
                for run in &runs[at..end] {
                    options(run).for_each(|letter| take(run.from, run.to, letter));
                }
            }
            at = end;
        }
    }
}

/// Directions that are written together, as words `from..to`.
struct Run {
    from: usize,
    to: usize,
    mask: u8,
}

/// Longest text between the two ends of a movement, in bytes.
const BETWEEN_BYTES_MAX: usize = 40;

/// Front and back.
const ALONG: u8 = 3;
/// Left and right.
const ACROSS: u8 = 12;

impl Run {
    /// The next run is the other part of the same place: one along, one across, and only small words between.
    fn goes_on_with(&self, next: &Run, words: &[NormalWord], text: &str) -> bool {
        let crosses = |a: u8, b: u8| a & !ALONG == 0 && b & !ACROSS == 0;
        let between = &text[words[self.to - 1].end..words[next.from].start];
        let mut small = between.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        (crosses(self.mask, next.mask) || crosses(next.mask, self.mask))
            && small.all(|word| ["and", "to", "on", "the", "slightly", "a", "bit", "but"].contains(&word))
    }
}

impl Run {
    /// "From front to back", "从左边移到右边": where a source moves, and no place of it.
    fn moves_to(&self, next: &Run, words: &[NormalWord], text: &str) -> bool {
        let between = &text[words[self.to - 1].end..words[next.from].start];
        if between.contains([',', '.', ';', '、', '。', '\n']) || between.len() > BETWEEN_BYTES_MAX {
            return false;
        }
        let before = if self.from > 0 { words[self.from - 1].text.as_str() } else { "" };
        let is_han_path = between.contains(['到', '向', '往', '至']);
        let mut small = between.split_whitespace().peekable();
        let is_path = small.peek().is_some()
            && small.all(|word| ["to", "towards", "toward", "into", "the", "my", "your", "side"].contains(&word))
            && between.contains("to");
        let same_axis = |axis: u8| self.mask & !axis == 0 && next.mask & !axis == 0;
        match before {
            "从" | "自" | "由" => is_han_path,
            "from" => is_path,
            _ => is_path && self.mask != next.mask && (same_axis(ALONG) || same_axis(ACROSS)),
        }
    }
}

fn runs(words: &[NormalWord], text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let mask = bit(&word.text);
        if mask == 0 {
            continue;
        }
        let is_mark = |c: char| c.is_whitespace() || ['-', '\u{2010}', '\u{2011}'].contains(&c);
        match runs.last_mut().filter(|run| run.to == at && text[words[at - 1].end..word.start].chars().all(is_mark)) {
            Some(run) => (run.to, run.mask) = (at + 1, run.mask | mask),
            None => runs.push(Run { from: at, to: at + 1, mask }),
        }
    }
    runs
}

/// Words before a direction that is a place.
const LEADING: &[&str] = &[
    "on",
    "to",
    "from",
    "at",
    "in",
    "my",
    "your",
    "his",
    "her",
    "its",
    "their",
    "is",
    "are",
    "was",
    "be",
    "towards",
    "toward",
    "far",
    "slightly",
    "directly",
    "hard",
    "immediately",
    "located",
    "positioned",
    "situated",
    "comes",
    "coming",
    "listener's",
    "it's",
    "front",
    "rear",
    "and",
    "or",
    "not",
    "than",
    "of",
    "left",
    "right",
    "just",
    "mostly",
    "originates",
];

/// Words behind "right" that make it "correct" or "at once".
const CORRECT: &[&str] = &[
    "answer",
    "choice",
    "option",
    "one",
    "letter",
    "now",
    "away",
    "after",
    "before",
    "there",
    "here",
    "amount",
    "thing",
    "way",
    "conclusion",
    "guess",
    "in",
    "about",
    "that",
    "because",
];
/// What "is right" judges where it stands before it.
const JUDGED: &[&str] = &["you", "i", "we", "they", "a", "b", "c", "d", "option", "choice", "all", "absolutely", "is"];
/// What can be "left" over.
const LEFT_OVER: &[&str] =
    &["what", "nothing", "options", "option", "time", "there", "which", "choices", "only", "one"];
/// What hears or plays, on a side: evidence, but no place.
const DEVICES: &[&str] = &["ear", "channel", "microphone", "mic", "headphone", "speaker", "loudspeaker", "channels"];
/// What "above" and "below" refer to in the text itself.
const REFERRING: &[&str] = &[
    "the",
    "as",
    "see",
    "listed",
    "mentioned",
    "described",
    "stated",
    "options",
    "noted",
    "shown",
    "given",
    "analysis",
];

/// Whether the direction at the tokens `first` to `last` is a place.
pub(super) fn is_place_meant(tokens: &Tokens, first: usize, last: usize) -> bool {
    if tokens.kind(first) == Some(Kind::Han) || tokens.str(first).chars().all(is_han) {
        return is_han_place(tokens, first, last);
    }
    if last > first {
        return true;
    }
    let here = Neighbours { tokens, at: first };
    let word = tokens.lower(first);
    if here.after(1, DEVICES) {
        return false;
    }
    let begins = first == 0 || tokens.is_break(first - 1);
    if begins && tokens.is_break(first + 1) {
        let goes_on = first > 0 && tokens.kind(first - 1) == Some(Kind::Mark(','));
        return goes_on || !(word == "right" && here.talks());
    }
    if first > 1 && tokens.role(first - 1) == Role::Is && tokens.role(first - 2) == Role::Answer {
        return true;
    }
    if here.is_idiom(&word) {
        return false;
    }
    match word.as_str() {
        "back" => here.before(1, &["the", "in", "my", "your", "from", "at"]),
        "behind" | "beneath" | "above" | "below" | "ahead" => true,
        _ => {
            let led = begins && (first == 0 || tokens.role(first + 1) != Role::Plain);
            led || here.after(1, &["side", "hand", "half"]) || here.before(1, LEADING) || here.before(1, &["the"])
        }
    }
}

/// The words around a place in the text.
struct Neighbours<'a> {
    tokens: &'a Tokens<'a>,
    at: usize,
}

impl Neighbours<'_> {
    /// The word so many tokens before is one of `words`.
    fn before(&self, steps: usize, words: &[&str]) -> bool {
        self.at >= steps && words.contains(&self.tokens.lower(self.at - steps).as_str())
    }

    fn after(&self, steps: usize, words: &[&str]) -> bool {
        words.contains(&self.tokens.lower(self.at + steps).as_str())
    }

    /// "Right, let me see." "Right. I need the audio."
    fn talks(&self) -> bool {
        match self.tokens.kind(self.at + 1) {
            Some(Kind::Mark(',')) => self.tokens.role(self.at + 2) != Role::Because,
            _ => self.after(2, &["i", "let", "so", "you", "we", "okay", "ok", "now", "what", "first"]),
        }
    }

    /// The word is part of a phrase in which it is no place.
    fn is_idiom(&self, word: &str) -> bool {
        match word {
            "right" => {
                let stands_for = self.at < 2
                    || self.tokens.is_break(self.at - 2)
                    || self.tokens.role(self.at - 2) == Role::Pronoun
                    || self.before(2, JUDGED);
                self.after(1, CORRECT) || stands_for && self.before(1, &["is", "are", "was", "be", "it's", "not"])
            }
            "left" => {
                let is_verb = self.before(2, LEFT_OVER) || self.after(1, &["open", "out", "to", "unanswered", "for"]);
                self.after(1, &["with"]) || is_verb && self.before(1, &["is", "are", "was"])
            }
            "back" => {
                self.after(1, &["up"])
                    || self.after(1, &["of"]) && (self.after(2, &["mind"]) || self.after(3, &["mind"]))
            }
            "behind" | "beneath" => {
                self.before(1, &["reasoning", "logic", "idea", "reason", "rationale", "principle", "left", "intuition"])
            }
            "above" | "below" => {
                let announces = self.at == 0 && self.after(1, &["is", "are", "i", "you", "you'll"]);
                announces || self.before(1, REFERRING)
            }
            "front" => self.before(1, &["up"]) || self.after(1, &["page", "desk", "door", "line"]),
            "ahead" => self.before(1, &["go", "going"]),
            _ => false,
        }
    }
}

/// A single character needs a suffix, or a word before it that points to a place.
fn is_han_place(tokens: &Tokens, first: usize, last: usize) -> bool {
    let (start, end) = (tokens.all[first].start, tokens.all[last].end);
    let (before, rest) = (&tokens.text[..start], &tokens.text[end..]);
    // The dictionary knows a longer word (后来), or the character ends one (之前).
    let is_other = tokens.str(first).chars().count() > 1;
    if is_other || before.ends_with(['之', '以', '目', '当', '然', '最', '随', '此', '其', '先', '提']) {
        return false;
    }
    let suffix = rest.chars().next().filter(|c| SUFFIXES.contains(*c));
    match suffix {
        Some(c) => {
            // 前面的分析: what was said before.
            let refers =
                c == '面' && rest[c.len_utf8()..].starts_with('的') && !before.ends_with(['在', '自', '从', '是']);
            !refers
        }
        None => {
            last > first
                || before.ends_with(['正', '偏', '在', '从', '自', '向', '往', '是', '为', '朝', '身', '背'])
                || tokens.is_break(last + 1) && (first == 0 || tokens.is_break(first - 1))
                || rest.starts_with('手')
        }
    }
}
