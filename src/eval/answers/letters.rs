//! The letter that a final answer names.
//!
//! Mentions come in three ranks, and the highest rank that occurs decides; two letters within it contradict each
//! other, and so does a leading letter that is not the one of an explicit statement (unless the text repeats the list
//! of options):
//! 1. statements: "the answer is B", "answer: (B)", "\boxed{B}", "I choose B", "B is correct";
//! 2. the letter with which the text begins: "B", "(B)", "B) two", "b. two", "**B**", "B because"; a line "B";
//! 3. mentions: "option C", "(C)", "**C**", the last word.
//!
//! The English article is no option: "a" and "A" count only where no article can stand, before punctuation, at the
//! end, or after "option". Every decision looks at a bounded neighbourhood: linear in the length.

use crate::text::questions::Letter;

/// What the letters of a text say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// One letter, and where in the text what follows it begins.
    One(Letter, usize),
    /// Several letters with equal right.
    Several,
    /// None.
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Mark,
    /// Emphasis and quotes of markdown: looked through.
    Decor,
    LineEnd,
}

#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    end: u32,
    kind: Kind,
}

struct Pieces<'a> {
    text: &'a str,
    pieces: Vec<Piece>,
}

/// Letters found so far in one rank.
#[derive(Clone, Copy, Default)]
struct Found {
    mask: u8,
    /// Where what follows the last one begins.
    end: u32,
}

impl Found {
    fn add(&mut self, letter: Letter, end: u32) {
        self.mask |= 1 << letter.index();
        self.end = end;
    }
    fn only(self) -> Option<Letter> {
        Letter::ALL.into_iter().find(|letter| self.mask == 1 << letter.index())
    }
}

/// The letters found, by what gives them their right.
#[derive(Default)]
struct Ranks {
    statements: Found,
    leading: Found,
    /// Alone on their line: of the same rank as leading ones.
    lines: Found,
    mentions: Found,
    /// Followed by a mark, as in a list of options.
    labels: Found,
}

/// How far a cue reaches, in pieces.
const REACH: usize = 8;
const ANSWER_CUES: &[&str] =
    &["answer", "boxed", "choose", "chose", "pick", "picked", "select", "selected", "answering"];
const OPTION_CUES: &[&str] = &["option", "choice", "letter"];
const VERBS: &[&str] = &["is", "was", "be", "would", "should", "must"];
const FILLERS: &[&str] = &[
    "is",
    "was",
    "be",
    "would",
    "should",
    "must",
    "will",
    "the",
    "to",
    "my",
    "final",
    "correct",
    "best",
    "right",
    "option",
    "choice",
    "letter",
    "answer",
    "probably",
    "likely",
    "most",
    "definitely",
    "clearly",
    "therefore",
    "thus",
    "hence",
    "indeed",
    "with",
    "text",
    "textbf",
    "mathrm",
];
/// What may follow a letter without a mark; the last of them also follows the article.
const REASONS: &[&str] = &["because", "since", "due", "as"];
const JOINS: &[&str] =
    &["or", "and", "no", "wait", "actually", "maybe", "possibly", "perhaps", "rather", "sorry", "option", "choice"];
const NEGATIONS: &[&str] = &["not", "never", "neither", "nor", "than", "except", "exclude", "isn't", "cannot"];

/// The letter that a final answer (see `final_answer`) names.
pub(super) fn named_letter(text: &str) -> Named {
    if u32::try_from(text.len()).is_err() {
        return Named::Nothing;
    }
    let pieces = Pieces::of(text);
    let mut ranks = Ranks::default();
    for at in 0..pieces.pieces.len() {
        if let Some(letter) = pieces.letter(at) {
            pieces.classify(at, letter, &mut ranks);
        } else {
            pieces.follow_cue(at, &mut ranks);
        }
    }
    let Ranks { statements, mut leading, lines, mentions, labels } = ranks;
    if labels.mask.count_ones() >= 3 && leading.only() == Some(Letter::A) {
        // The list of options, repeated: its first label is no answer.
        leading = Found::default();
    }
    let leading = Found { mask: leading.mask | lines.mask, end: leading.end.max(lines.end) };
    if statements.mask != 0 && leading.mask & !statements.mask != 0 {
        return Named::Several;
    }
    match [statements, leading, mentions].into_iter().find(|found| found.mask != 0) {
        None => Named::Nothing,
        Some(found) => found.only().map_or(Named::Several, |letter| Named::One(letter, found.end as usize)),
    }
}

impl<'a> Pieces<'a> {
    fn of(text: &'a str) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut chars = text.char_indices().peekable();
        while let Some((start, c)) = chars.next() {
            let kind = match c {
                '\n' => Kind::LineEnd,
                c if c.is_whitespace() => continue,
                '*' | '_' | '`' | '#' | '~' | '$' | '"' | '\u{201c}' | '\u{201d}' => Kind::Decor,
                c if c.is_alphanumeric() => Kind::Word,
                _ => Kind::Mark,
            };
            let mut end = start + c.len_utf8();
            if kind == Kind::Word {
                let inner = |c: char| c.is_alphanumeric() || ['\'', '\u{2019}'].contains(&c);
                while let Some((at, next)) = chars.next_if(|(_, next)| inner(*next)) {
                    end = at + next.len_utf8();
                }
            }
            pieces.push(Piece { start: start as u32, end: end as u32, kind });
        }
        Pieces { text, pieces }
    }

    fn str(&self, at: usize) -> &'a str {
        self.pieces.get(at).map_or("", |p| &self.text[p.start as usize..p.end as usize])
    }
    fn is(&self, at: usize, kind: Kind) -> bool {
        self.pieces.get(at).is_some_and(|p| p.kind == kind)
    }
    /// A single letter of the four, in either case, as a word of its own.
    fn letter(&self, at: usize) -> Option<Letter> {
        let is_word = self.is(at, Kind::Word) && self.str(at).len() == 1;
        is_word.then(|| Letter::parse(self.str(at))).flatten()
    }
    fn is_capital(&self, at: usize) -> bool {
        self.str(at).starts_with(|c: char| c.is_ascii_uppercase())
    }
    /// One of `words`, in any case.
    fn any(&self, at: usize, words: &[&str]) -> bool {
        let word = self.str(at);
        // All words of the lists are short: longer ones need no comparison.
        self.is(at, Kind::Word) && word.len() <= 12 && words.iter().any(|w| w.eq_ignore_ascii_case(word))
    }
    /// No space between two neighbours.
    fn glued(&self, at: usize) -> bool {
        at > 0 && at < self.pieces.len() && self.pieces[at - 1].end == self.pieces[at].start
    }

    /// The piece after `at` and any decoration, or the end.
    fn next(&self, at: usize) -> usize {
        let mut next = at + 1;
        while next < at + REACH && self.is(next, Kind::Decor) {
            next += 1;
        }
        next
    }

    /// Nothing can follow that would make the letter part of a phrase: it stands before punctuation or an end.
    fn is_closed(&self, at: usize) -> bool {
        let next = self.next(at);
        match self.pieces.get(next).map(|p| p.kind) {
            None | Some(Kind::LineEnd) => true,
            Some(Kind::Mark) => match self.str(next) {
                "(" | ")" | "]" | "}" => true,
                "." | ":" | "," | ";" | "!" | "?" | "-" | "\u{2013}" | "\u{2014}" | "=" => {
                    !(self.is(next + 1, Kind::Word) && self.glued(next + 1))
                }
                _ => false,
            },
            // "**B** two": emphasis ends where the phrase would go on.
            Some(_) => self.is(at + 1, Kind::Decor) && at > 0 && self.is(at - 1, Kind::Decor),
        }
    }

    /// Stands behind "not", "rather than" and the like.
    fn is_negated(&self, at: usize) -> bool {
        let words = (at.saturating_sub(REACH)..at).rev().filter(|i| self.is(*i, Kind::Word)).take(3);
        let near = |i: usize| self.any(i, NEGATIONS) || self.str(i).to_ascii_lowercase().ends_with("n't");
        words.into_iter().any(near)
    }

    /// Puts the letter at `at` into the ranks to which its place gives it a right.
    fn classify(&self, at: usize, letter: Letter, ranks: &mut Ranks) {
        let (capital, closed) = (self.is_capital(at), self.is_closed(at));
        let next = self.next(at);
        let bracketed = at > 0 && ["(", "["].contains(&self.str(at - 1)) && [")", "]"].contains(&self.str(at + 1));
        let is_label = closed && [")", ".", ":", "]"].contains(&self.str(next));
        if is_label {
            ranks.labels.add(letter, self.pieces[at].end);
        }
        if capital && self.any(next, &VERBS[..4]) && self.says_right(next) {
            return self.add_list(at, &mut ranks.statements);
        }
        let begins = self.pieces[..at].len() <= REACH && (0..at).all(|i| !self.is(i, Kind::Word));
        let reasons = if letter == Letter::A { &REASONS[..3] } else { REASONS };
        let reasoned = capital && self.any(next, reasons);
        let lowercase_ends = is_label || next >= self.pieces.len() || self.is(next, Kind::LineEnd);
        if begins && (capital && (closed || reasoned || self.is_joined(at)) || !capital && lowercase_ends) {
            return self.add_list(at, &mut ranks.leading);
        }
        let decorated = at > 0 && self.is(at - 1, Kind::Decor) && self.is(at + 1, Kind::Decor);
        let own_line =
            (at == 0 || self.is(at - 1, Kind::LineEnd)) && (next >= self.pieces.len() || self.is(next, Kind::LineEnd));
        if capital && own_line {
            return self.add_list(at, &mut ranks.lines);
        }
        let last = (next..self.pieces.len().min(next + REACH)).all(|i| !self.is(i, Kind::Word))
            && self.pieces.len() <= next + REACH;
        if (bracketed || capital && closed && (decorated || last)) && !self.is_negated(at) {
            self.add_list(at, &mut ranks.mentions);
        }
    }

    /// "is (the) correct", "is (the) answer" and the like begins at `at`.
    fn says_right(&self, at: usize) -> bool {
        let words = (at + 1..at + 5).take_while(|i| self.is(*i, Kind::Word));
        let skipped = words.skip_while(|i| self.any(*i, &["be", "the", "most", "likely", "clearly", "probably"]));
        skipped.take(1).any(|i| self.any(i, &["correct", "right", "best", "answer", "true"]))
    }

    /// If a cue stands at `at`, the letter that it points to.
    fn follow_cue(&self, at: usize, ranks: &mut Ranks) {
        let is_option_cue = self.any(at, OPTION_CUES);
        // "go with B", "it must be B" need no cue of their own: the last word counts.
        if !is_option_cue && !self.any(at, ANSWER_CUES) || self.is_negated(at) {
            return;
        }
        let (mut next, mut stated, mut noun) = (at + 1, !is_option_cue, is_option_cue);
        while next <= at + REACH && self.letter(next).is_none() {
            let is_bridge = match self.pieces.get(next).map(|p| p.kind) {
                None => return,
                Some(Kind::Decor | Kind::LineEnd) => true,
                Some(Kind::Mark) => {
                    [":", "=", "(", "[", "{", "'", "-", "\u{2013}", "\u{2014}", "\\"].contains(&self.str(next))
                }
                Some(Kind::Word) => self.any(next, FILLERS),
            };
            if !is_bridge {
                return;
            }
            noun = self.any(next, OPTION_CUES) || noun && !self.is(next, Kind::Word);
            stated |= self.any(next, VERBS) || [":", "="].contains(&self.str(next));
            next += 1;
        }
        let Some(letter) = self.letter(next) else { return };
        let capital = self.is_capital(next);
        let may_be_article = letter == Letter::A && !(noun && capital);
        let reasoned = self.any(self.next(next), &REASONS[..3]);
        if self.is_closed(next) || reasoned || self.is_joined(next) || capital && !may_be_article {
            self.add_list(next, if stated { &mut ranks.statements } else { &mut ranks.mentions });
        }
    }

    /// The letter after `at` when both belong to one list: "A or B", "A, B", "A/B", "A. No, B", "(A) (B)".
    fn joined(&self, at: usize) -> Option<usize> {
        let (mut next, mut joins) = (at + 1, false);
        while next <= at + REACH {
            if self.letter(next).is_some() && (self.is_capital(next) || !self.is_capital(at) && self.str(next) != "a") {
                let is_list = self.is_closed(next) || joins && (self.str(next) != "A" || self.goes_on(next));
                return is_list.then_some(next);
            }
            match self.pieces.get(next)?.kind {
                Kind::Decor => {}
                Kind::Mark if [",", "/", "&", "+", "|"].contains(&self.str(next)) => joins = true,
                Kind::Mark if [".", "(", ")", "[", "]", "!", "?", ";", "-", "\u{2014}"].contains(&self.str(next)) => {}
                Kind::Word if self.any(next, JOINS) => joins = true,
                _ => return None,
            }
            next += 1;
        }
        None
    }

    /// A joining word or mark right behind `at`: "A or", "A/".
    fn goes_on(&self, at: usize) -> bool {
        let next = self.next(at);
        self.any(next, &["or", "and"]) || ["/", "&"].contains(&self.str(next))
    }

    fn is_joined(&self, at: usize) -> bool {
        self.joined(at).is_some()
    }

    /// Adds the letter at `at` and those listed with it.
    fn add_list(&self, at: usize, found: &mut Found) {
        let before = (at.saturating_sub(REACH)..at).rev().find(|i| self.letter(*i).is_some());
        if let Some(first) = before.filter(|first| self.joined(*first) == Some(at)) {
            found.add(self.letter(first).expect("it was just found"), self.pieces[first].end);
        }
        let mut next = Some(at);
        for _ in 0..4 {
            let Some(at) = next else { return };
            found.add(self.letter(at).expect("a list holds letters"), self.pieces[at].end);
            next = self.joined(at);
        }
    }
}
