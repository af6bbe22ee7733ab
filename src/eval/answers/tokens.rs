//! Words and marks of a final answer, with what they do; and its sentences.

use super::normal::is_han;
use super::roles::{Role, of_han, of_word};

/// Longest word that the dictionary is asked about, in bytes.
const WORD_BYTES_MAX: usize = 16;

/// Most tokens of a sentence: longer ones are taken apart, so that reading is linear in the length of a text.
const SENTENCE_MAX: usize = 200;

/// Most words of a phrase that is searched for a word of comparison.
const PHRASE_MAX: usize = 10;

/// What prefers one thing to another.
const PREFERRED: &[&str] =
    &["pick", "choose", "prefer", "select", "favour", "favor", "picked", "chose", "take", "preferred"];

/// Who may be reported to have said something.
const REPORTERS: &[&str] = &[
    "person",
    "someone",
    "somebody",
    "he",
    "she",
    "they",
    "user",
    "man",
    "woman",
    "speaker",
    "you",
    "friend",
    "colleague",
    "model",
    "assistant",
    "annotator",
    "key",
    "voice",
];

/// What is done to an answer, in the past.
const PICKED: &[&str] = &["said", "thought", "chose", "picked", "guessed", "wrote", "answered", "selected", "had"];

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

/// What a tick or a cross says.
fn verdict(c: char) -> Role {
    match c {
        '\u{2713}' | '\u{2714}' | '\u{2705}' | '\u{2611}' | '\u{221a}' => Role::Correct,
        '\u{2717}' | '\u{2718}' | '\u{2715}' | '\u{2716}' | '\u{274c}' | '\u{274e}' | '\u{2612}' => Role::Wrong,
        _ => Role::Plain,
    }
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
                c => {
                    role = verdict(c);
                    Kind::Mark(c)
                }
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
            let word = self.lower(at);
            let role = self.negation(at, &word).or_else(|| self.turn(at, &word));
            self.all[at].role = role.unwrap_or(self.role(at));
        }
        self.resolve_exceptions();
    }

    /// The word before `at` is one of `words`.
    fn follows(&self, at: usize, words: &[&str]) -> bool {
        at > 0 && words.contains(&self.lower(at - 1).as_str())
    }

    /// The word behind `at` is one of `words`.
    fn precedes(&self, at: usize, words: &[&str]) -> bool {
        words.contains(&self.lower(at + 1).as_str())
    }

    /// What a word of negation does here.
    fn negation(&self, at: usize, word: &str) -> Option<Role> {
        let likely = ["likely", "plausible", "probable", "convincing", "suitable", "fitting"];
        Some(match word {
            // "No, ..." answers or corrects; "no dog" negates.
            "no" if self.is_break(at + 1) => Role::Correction,
            "no" if self.precedes(at, &["doubt", "question", "problem"]) => Role::Filler,
            // "选B。不，应该是C", "答案是A，不对，是D": they stand alone.
            "不" | "不对" | "错" | "错了" | "不是" | "wrong"
                if at > 0
                    && (self.is_break(at - 1)
                        || ["哦", "噢", "啊", "喔", "呃", "嗯", "哎", "oh"].contains(&self.str(at - 1)))
                    && self.kind(at + 1) == Some(Kind::Mark(',')) =>
            {
                Role::Correction
            }
            // "不，还是C": it keeps to that.
            "还是" if at > 1 && self.is_break(at - 1) && ["不", "算了", "错", "不对"].contains(&self.str(at - 2)) => {
                Role::Filler
            }
            "no" | "nothing" => Role::Not,
            "doubt" if self.follows(at, &["no", "without", "little"]) => Role::Filler,
            "without" | "not" if self.precedes(at, &["doubt", "only"]) => Role::Filler,
            "less" | "least" if self.precedes(at, &likely) => Role::Wrong,
            "less" if self.precedes(at, &["like", "of"]) => Role::Wrong,
            "than" | "more" if self.is_contrasted(at, &["less"], &["like", "of"]) => Role::But,
            "as" if self.is_contrasted(at, &["so"], &["much"]) => Role::But,
            // "I'd pick A over B".
            "over" if (2..5).any(|step| at >= step && PREFERRED.contains(&self.lower(at - step).as_str())) => {
                Role::Except
            }
            // "Too loud for B"; but "B, too".
            "too" if self.is_word(at + 1) => Role::Wrong,
            "out" if self.lower(at + 3) == "question" => Role::Wrong,
            "off" if self.lower(at + 2) == "table" => Role::Wrong,
            // "Anything but B".
            "but" if self.follows(at, &["anything", "everything", "all"]) => Role::Except,
            // "Rather than": the second word negates.
            "rather" if self.precedes(at, &["than"]) => Role::Filler,
            _ => return self.comparison(at, word),
        })
    }

    /// What a word that compares does here.
    fn comparison(&self, at: usize, word: &str) -> Option<Role> {
        let within = |words: &[&str]| self.phrase(at + 1).any(|i| words.contains(&self.str(i)));
        let ahead = || self.phrase(at + 2).map(|i| self.str(i)).collect::<String>();
        let better =
            ["合适", "合理", "符合", "可能", "可能性", "可信", "准确", "好", "恰当", "贴切", "接近", "像", "对"];
        Some(match word {
            // "C没有B合适": the second one is better. What is denied stands before it.
            "没有" | "没" if at > 0 && self.is_word(at - 1) && better.iter().any(|word| ahead().contains(word)) => {
                Role::Wrong
            }
            // "B比C更合适".
            "比" if at > 0 && self.is_word(at - 1) && self.phrase(at + 2).any(|i| self.str(i) == "更") => {
                Role::Except
            }
            // "与C相比".
            "与" | "跟" | "和" | "同" if within(&["相比", "相较", "比较", "对比"]) => Role::Except,
            "compared" if self.precedes(at, &["to", "with"]) => Role::Except,
            _ => return None,
        })
    }

    /// Something is judged wrong before, in the same sentence and near.
    fn denies_before(&self, at: usize) -> bool {
        let near = (at.saturating_sub(2 * PHRASE_MAX)..at).rev();
        near.take_while(|&i| !matches!(self.kind(i), Some(Kind::LineEnd | Kind::Mark('.' | ';' | '!' | '?'))))
            .any(|i| matches!(self.role(i), Role::Wrong | Role::Exclude))
    }

    /// Behind "less like X", "not so much X": what stands here is meant instead.
    fn is_contrasted(&self, at: usize, first: &[&str], second: &[&str]) -> bool {
        let from = at.saturating_sub(PHRASE_MAX);
        (from..at).rev().take_while(|&i| !matches!(self.kind(i), Some(Kind::LineEnd | Kind::Mark('.' | ';')))).any(
            |i| first.contains(&self.lower(i).as_str()) && second.contains(&self.lower(i + 1).as_str()) && i + 1 < at,
        )
    }

    /// The words behind a place up to the next mark, a few.
    fn phrase(&self, from: usize) -> impl Iterator<Item = usize> {
        (from..from + PHRASE_MAX).take_while(|&i| self.is_word(i))
    }

    /// "除了C，其他都不对", "all but C are wrong": what is excepted is right, and the judgement is of the others.
    fn resolve_exceptions(&mut self) {
        let mut at = 0;
        while at < self.all.len() {
            let end = self.clause_end(at);
            let all =
                ["all", "everything", "其他", "其余", "其它", "别的", "剩下", "剩余", "都", "every", "none", "others"];
            let excepted = (at..end).find(|&i| {
                self.role(i) == Role::Except
                    && ["除了", "除", "except", "but", "besides"].contains(&self.lower(i).as_str())
            });
            if let Some(excepted) = excepted.filter(|_| (at..end).any(|i| all.contains(&self.lower(i).as_str()))) {
                let judged = |i: &usize| matches!(self.role(*i), Role::Wrong | Role::Exclude);
                let denied = |i: &usize| self.role(*i) == Role::Not && self.kind(*i) == Some(Kind::Han);
                let others: Vec<usize> = (excepted + 1..end).filter(|i| judged(i) || denied(i)).collect();
                if !others.is_empty() {
                    self.all[excepted].role = Role::Choose;
                    others.iter().for_each(|&i| self.all[i].role = Role::Filler);
                }
            }
            at = end;
        }
    }

    /// Where the sentence of `from` ends, or a part of it that is long.
    fn clause_end(&self, from: usize) -> usize {
        let ends = |i: &usize| matches!(self.kind(*i), Some(Kind::LineEnd | Kind::Mark('.' | '!' | '?' | ';' | '。')));
        let limit = self.all.len().min(from + SENTENCE_MAX);
        (from..limit).find(ends).map_or(limit, |i| i + 1)
    }

    /// What a word that turns or supposes does here.
    fn turn(&self, at: usize, word: &str) -> Option<Role> {
        let says = (1..3).any(|step| ["say", "argue", "claim", "think"].contains(&self.lower(at + step).as_str()));
        let may = (1..3).any(|step| matches!(self.role(at + step), Role::Maybe | Role::Would));
        let held = ["instinct", "impression", "thought", "guess", "reaction", "glance"];
        Some(match (word, self.role(at)) {
            // "One might say", "some think": what others say.
            (_, Role::Others) if !(may || says && word != "you") && self.kind(at) == Some(Kind::Word) => Role::Plain,
            // "At first", "on first hearing", "my first instinct".
            ("first", _) if self.follows(at, &["at", "on"]) || self.precedes(at, &held) => Role::Initially,
            // "I was going to say".
            ("going" | "about", _) if self.follows(at, &["was", "were"]) && self.precedes(at, &["to"]) => {
                Role::Initially
            }
            ("thought" | "thoughts", _) if self.follows(at, &["second"]) => Role::Correction,
            // "The person said", "the reference answer": what others hold.
            ("said" | "wrote" | "says" | "claimed" | "claims" | "stated" | "suggested" | "argued" | "answered", _)
                if self.follows(at, REPORTERS) =>
            {
                Role::Others
            }
            ("reference" | "official", _) if self.precedes(at, &["answer", "solution", "label", "key"]) => Role::Others,
            ("key" | "label", _) if self.precedes(at, &["says", "may", "might", "said", "lists"]) => Role::Others,
            // "I first said A", "first I thought B".
            ("first", _)
                if self.precedes(at, PICKED)
                    || self.precedes(at, &["i"]) && PICKED.contains(&self.lower(at + 2).as_str()) =>
            {
                Role::Initially
            }
            ("final", _) if self.kind(at + 1) == Some(Kind::Mark(':')) => Role::Answer,
            // "B is wrong, and so is C", "as are C and D": the same is said of them.
            ("so" | "as", _)
                if self.precedes(at, &["is", "are", "was", "would", "does", "do"]) && self.denies_before(at) =>
            {
                Role::Wrong
            }
            ("meant" | "mean", _) if self.follows(at, &["i"]) => Role::Choose,
            ("going" | "go", _) if !self.precedes(at, &["with", "for"]) => Role::Plain,
            // Only behind a comma does "later" turn.
            ("then", _) => Role::Filler,
            ("later" | "now", _) if at == 0 || !self.is_break(at - 1) => Role::Filler,
            // "Even if" concedes.
            ("even", _) if !matches!(self.role(at + 1), Role::If | Role::Although) => Role::Filler,
            ("if", _) if self.follows(at, &["even"]) || self.is_hedge(at) => Role::Filler,
            ("if", _) if self.follows(at, &["tell", "know", "sure", "see", "determine", "wonder"]) => Role::Whether,
            (_, Role::If) if self.kind(at) == Some(Kind::Han) && self.is_han_hedge(at) => Role::Filler,
            ("provided", _) if !self.precedes(at, &["that"]) => Role::Plain,
            ("given", _) if !self.precedes(at, &["that"]) => Role::Filler,
            ("were" | "had", _) if self.starts_sentence(at) => Role::If,
            ("what" | "as", _) => Role::Filler,
            ("left", _) if self.precedes(at, &["with"]) => Role::Choose,
            _ => return None,
        })
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

    /// "如果一定要选" decides; "如果房间较小" does not.
    fn is_han_hedge(&self, at: usize) -> bool {
        let forced = [
            "一定要",
            "必须",
            "非要",
            "非得",
            "只能",
            "硬要",
            "不得不",
            "要我选",
            "要我猜",
            "要猜",
            "要选",
            "让我选",
            "让我猜",
            "需要选",
        ];
        let near = if self.str(at) == "的话" { at.saturating_sub(PHRASE_MAX)..at } else { at + 1..at + PHRASE_MAX };
        let words: Vec<&str> = if self.str(at) == "的话" {
            near.rev()
                .take_while(|&i| self.is_word(i))
                .map(|i| self.str(i))
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect()
        } else {
            near.take_while(|&i| self.is_word(i)).map(|i| self.str(i)).collect()
        };
        let phrase = words.concat();
        forced.iter().any(|word| phrase.contains(word))
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
