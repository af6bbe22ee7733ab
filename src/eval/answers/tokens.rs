//! Words and marks of a final answer, with what they do; and its sentences.

use super::normal::is_han;
use super::roles::{Role, of_han, of_word};

/// Longest word that the dictionary is asked about, in bytes.
const WORD_BYTES_MAX: usize = 16;

/// Most tokens of a sentence: longer ones are taken apart, so that reading is linear in the length of a text.
const SENTENCE_MAX: usize = 200;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A Latin word or a number.
    Word,
    /// A Chinese word that the dictionary knows, or one character.
    Han,
    Mark(char),
    LineEnd,
}

/// A word or mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// Bytes of the text.
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
    pub role: Role,
    /// Quotes, brackets of Chinese or emphasis stand right before it.
    pub is_decorated: bool,
}

/// The tokens of a text, and the text.
pub(super) struct Tokens<'a> {
    pub text: &'a str,
    pub all: Vec<Token>,
}

/// Quotes and emphasis: looked through.
fn is_decor(c: char) -> bool {
    "*_`#~$\"'\u{201c}\u{201d}\u{2018}\u{2019}【】「」『』《》〈〉〖〗\\{}".contains(c)
}

impl<'a> Tokens<'a> {
    pub fn of(text: &'a str) -> Tokens<'a> {
        let mut all: Vec<Token> = Vec::new();
        let (mut at, mut is_decorated) = (0, false);
        while let Some(c) = text[at..].chars().next() {
            let (mut end, mut role) = (at + c.len_utf8(), Role::Plain);
            let kind = match c {
                '\n' => Kind::LineEnd,
                c if is_decor(c) => {
                    (at, is_decorated) = (end, true);
                    continue;
                }
                c if c.is_whitespace() => {
                    at = end;
                    continue;
                }
                c if is_han(c) => {
                    let (length, known) = of_han(&text[at..]);
                    (end, role) = (at + length, known);
                    Kind::Han
                }
                c if c.is_alphanumeric() => {
                    end = word_end(text, at);
                    if end - at <= WORD_BYTES_MAX {
                        role = of_word(&text[at..end]);
                    }
                    Kind::Word
                }
                c => Kind::Mark(c),
            };
            all.push(Token { start: at, end, kind, role, is_decorated });
            (at, is_decorated) = (end, false);
        }
        let mut tokens = Tokens { text, all };
        tokens.resolve();
        tokens
    }

    /// Roles that depend on the neighbours.
    fn resolve(&mut self) {
        for at in 0..self.all.len() {
            let near = |step: usize| self.role(at + step);
            let role = match (self.lower(at).as_str(), self.role(at)) {
                // "No, ..." answers or corrects; "no dog" negates.
                ("no", _) if self.is_break(at + 1) => Role::Correction,
                ("no", _) if ["doubt", "question", "problem"].contains(&self.lower(at + 1).as_str()) => Role::Filler,
                ("no", _) => Role::Not,
                ("nothing", _) => Role::Not,
                ("doubt", _) if at > 0 && ["no", "without", "little"].contains(&self.lower(at - 1).as_str()) => {
                    Role::Filler
                }
                // "Too loud for B"; "B, too".
                ("less" | "least", _)
                    if ["likely", "plausible", "probable", "convincing", "suitable", "fitting"]
                        .contains(&self.lower(at + 1).as_str()) =>
                {
                    Role::Wrong
                }
                ("too", _) if self.is_word(at + 1) => Role::Wrong,
                ("out", _) if self.lower(at + 3) == "question" => Role::Wrong,
                ("off", _) if self.lower(at + 2) == "table" => Role::Wrong,
                ("without" | "not", _) if ["doubt", "only"].contains(&self.lower(at + 1).as_str()) => Role::Filler,
                // "Anything but B".
                ("but", _) if at > 0 && ["anything", "everything", "all"].contains(&self.lower(at - 1).as_str()) => {
                    Role::Except
                }
                // "One might say", "you may think": what others say.
                (_, Role::Others) if ![1, 2].map(near).iter().any(|r| matches!(r, Role::Maybe | Role::Would)) => {
                    if (1..3).any(|s| ["say", "argue", "claim", "think"].contains(&self.lower(at + s).as_str()))
                        && self.lower(at) != "you"
                    {
                        Role::Others
                    } else {
                        Role::Plain
                    }
                }
                // "Rather than": the second word negates.
                ("rather", _) if self.lower(at + 1) == "than" => Role::Filler,
                // "More than", "later than" compare.
                ("than", _) if at == 0 || !["rather", "other"].contains(&self.lower(at - 1).as_str()) => Role::Except,
                // "At first", "on first hearing".
                ("first", _) if at > 0 && ["at", "on"].contains(&self.lower(at - 1).as_str()) => Role::Initially,
                ("first", _)
                    if ["instinct", "impression", "thought", "guess", "reaction", "glance"]
                        .contains(&self.lower(at + 1).as_str()) =>
                {
                    Role::Initially
                }
                // "I was going to say".
                ("going" | "about", _)
                    if at > 0
                        && ["was", "were"].contains(&self.lower(at - 1).as_str())
                        && self.lower(at + 1) == "to" =>
                {
                    Role::Initially
                }
                ("going" | "go", _) if self.lower(at + 1) != "with" && self.lower(at + 1) != "for" => Role::Plain,
                // "Then the answer is": only a then behind a comma turns.
                ("then" | "later" | "now", _) if at == 0 || !self.is_break(at - 1) => Role::Filler,
                ("then", _) => Role::Filler,
                ("even", _) if self.role(at + 1) != Role::If && self.role(at + 1) != Role::Although => Role::Filler,
                ("provided", _) if self.lower(at + 1) != "that" => Role::Plain,
                ("given", _) if self.lower(at + 1) != "that" => Role::Filler,
                ("what" | "as", _) => Role::Filler,
                ("if", _) if self.is_hedge(at) => Role::Filler,
                ("if", _) if at > 0 && self.lower(at - 1) == "even" => Role::Filler,
                ("if", _)
                    if at > 0
                        && ["tell", "know", "sure", "see", "determine"].contains(&self.lower(at - 1).as_str()) =>
                {
                    Role::Whether
                }
                ("were" | "had", _) if self.starts_sentence(at) => Role::If,
                ("left", _) if self.lower(at + 1) == "with" => Role::Choose,
                (_, role) => role,
            };
            self.all[at].role = role;
        }
    }

    /// "If I had to guess" decides; "if the room were dry" does not.
    fn is_hedge(&self, at: usize) -> bool {
        let words = [1, 2, 3].map(|step| self.lower(at + step));
        let [a, b, c] = words.each_ref().map(String::as_str);
        let forced = ["had", "have", "must", "need", "am", "was", "were"];
        match a {
            "i" | "we" | "you" => {
                forced.contains(&b) && ["to", "choose", "forced", "pick", "guess", "answer"].contains(&c)
                    || ["i'm", "not"].contains(&b)
            }
            "forced" | "pressed" | "anything" | "necessary" | "needed" | "i'm" | "i\u{2019}m" => true,
            _ => false,
        }
    }

    fn starts_sentence(&self, at: usize) -> bool {
        at == 0 || matches!(self.all[at - 1].kind, Kind::LineEnd | Kind::Mark('.' | '!' | '?' | ';'))
    }

    /// The word at `at`, in lower case; empty beyond the end and for long words.
    pub fn lower(&self, at: usize) -> String {
        let word = self.str(at);
        if word.len() > WORD_BYTES_MAX { String::new() } else { word.to_lowercase() }
    }

    pub fn str(&self, at: usize) -> &'a str {
        self.all.get(at).map_or("", |token| &self.text[token.start..token.end])
    }

    pub fn role(&self, at: usize) -> Role {
        self.all.get(at).map_or(Role::Plain, |token| token.role)
    }

    pub fn kind(&self, at: usize) -> Option<Kind> {
        self.all.get(at).map(|token| token.kind)
    }

    pub fn is_word(&self, at: usize) -> bool {
        matches!(self.kind(at), Some(Kind::Word | Kind::Han))
    }

    /// No word at `at`: a mark or an end.
    pub fn is_break(&self, at: usize) -> bool {
        !self.is_word(at)
    }

    /// No space before the token.
    pub fn is_glued(&self, at: usize) -> bool {
        at > 0 && at < self.all.len() && self.all[at - 1].end == self.all[at].start
    }

    /// Quotes or emphasis around the token.
    pub fn is_decorated(&self, at: usize) -> bool {
        let ends = self.all.get(at + 1).map_or(self.text.len() > self.all[at].end, |next| next.is_decorated);
        self.all[at].is_decorated && ends
    }

    /// The sentences as ranges of tokens, the mark or line end that closes each included.
    pub fn sentences(&self) -> Vec<std::ops::Range<usize>> {
        let (mut found, mut from) = (Vec::new(), 0);
        for at in 0..self.all.len() {
            let ends = match self.all[at].kind {
                Kind::Mark('.') => !(self.is_word(at + 1) && self.is_glued(at + 1)),
                Kind::Mark('!' | '?' | ';' | '。' | '\u{2026}') => true,
                // "Answer:" and what it announces may stand on two lines.
                Kind::LineEnd => from < at && self.kind(at - 1) != Some(Kind::Mark(':')),
                _ => false,
            };
            if ends || at + 1 - from >= SENTENCE_MAX {
                found.push(from..at + 1);
                from = at + 1;
            }
        }
        if from < self.all.len() {
            found.push(from..self.all.len());
        }
        found
    }
}

/// Where the Latin word or number that begins at `at` ends: apostrophes belong to it, and decimal points.
fn word_end(text: &str, at: usize) -> usize {
    let mut end = at;
    let mut chars = text[at..].char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let is_inner = |c: char| c.is_alphanumeric() && !is_han(c);
        let joins = next.is_some_and(is_inner)
            && (['\'', '\u{2019}'].contains(&c) && offset > 0
                || c == '.'
                    && text[at..at + offset].ends_with(|d: char| d.is_ascii_digit())
                    && next.is_some_and(|n| n.is_ascii_digit()));
        if !is_inner(c) && !joins {
            break;
        }
        end = at + offset + c.len_utf8();
    }
    end
}
