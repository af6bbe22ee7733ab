//! Where a final answer may name an option: letters that stand for one, and the options' own texts.

use super::forms::Forms;
use super::normal::{NormalWord, normal_words};
use super::offers::{is_asked_back, is_to_request};
use super::places::{Places, is_place_meant};
use super::roles::Role;
use super::tokens::{Kind, Tokens};
use crate::text::questions::Letter;

/// A place in the text that names an option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// First and last token.
    pub first: usize,
    pub last: usize,
    /// Bits of the options: several where options have the same text.
    pub mask: u8,
    pub is_text: bool,
}

/// Marks behind which a phrase cannot go on.
const CLOSING: &str = ".,:;!?)]}-=/&+|、。\u{2013}\u{2014}\u{2026}";

/// The options' texts that occur, outermost first where one holds another.
pub(super) fn texts(tokens: &Tokens, options: &[Vec<String>; 4]) -> Vec<Candidate> {
    let words = normal_words(tokens.text);
    let mut spans: Vec<(usize, usize, Letter)> = Vec::new();
    let places = Places::of(options);
    for letter in Letter::ALL {
        let option = &options[letter.index()];
        if option.is_empty() || places.has(letter) || reply(option).is_some() {
            continue;
        }
        let found = words.windows(option.len()).enumerate().filter(|(_, window)| is_same(window, option));
        spans.extend(found.map(|(at, _)| (at, at + option.len(), letter)));
    }
    places.find(&words, tokens.text, |from, to, letter| spans.push((from, to, letter)));
    if !Letter::ALL.into_iter().any(|letter| places.has(letter)) {
        Forms::of(options).find(&words, |from, to, letter| spans.push((from, to, letter)));
    }
    let mut found = replies(tokens, options);
    // "Left" within "front left" is no candidate: longer ones first, then what none of them covers.
    spans.sort_by_key(|(from, to, letter)| (*from, std::cmp::Reverse(*to), *letter));
    let mut covered = (0, 0);
    for (from, to, letter) in spans {
        if to <= covered.1 && (from, to) != covered {
            continue;
        }
        covered = (from, to.max(covered.1));
        let candidate = on_tokens(tokens, &words[from..to], letter);
        let short = &options[letter.index()];
        // "It does not move from left to right" denies a movement, and doesn't say that there is none.
        let goes_on = short.iter().any(|word| word == "not")
            && words.get(to).is_some_and(|next| ["from", "to", "towards", "toward"].contains(&next.text.as_str()))
            && words[from..to].iter().any(|word| word.text == "move");
        if goes_on {
            covered = (0, 0);
            continue;
        }
        let is_unsure = ["notsure", "unsure", "不确定", "imnotsure", "uncertain"].contains(&short.concat().as_str());
        let candidate = candidate.filter(|c| is_meant(tokens, c, short, places.has(letter)));
        let Some(candidate) = candidate.filter(|c| !(is_unsure && is_asked_back(tokens, c.last))) else { continue };
        match found
            .last_mut()
            .filter(|last: &&mut Candidate| (last.first, last.last) == (candidate.first, candidate.last))
        {
            Some(same) => same.mask |= candidate.mask,
            None => found.push(candidate),
        }
    }
    found.sort_by_key(|candidate| (candidate.first, std::cmp::Reverse(candidate.last)));
    found
}

const YES: &[&str] = &["yes", "yeah", "yep", "是", "是的", "对", "对的", "没错"];
const NO: &[&str] = &["no", "nope", "否", "不", "不是", "不是的", "不对", "没有"];

/// Within how many tokens from the beginning a reply may be one to a request.
const OPENING: usize = 32;

/// Whether an option is but a "yes" or a "no".
fn reply(option: &[String]) -> Option<bool> {
    let whole = option.concat();
    if YES.contains(&whole.as_str()) { Some(true) } else { NO.contains(&whole.as_str()).then_some(false) }
}

/// "Yes" and "no" at the beginning of a sentence, before a mark or a reason, or behind "answer is".
fn replies(tokens: &Tokens, options: &[Vec<String>; 4]) -> Vec<Candidate> {
    let of = |value: bool| Letter::ALL.into_iter().filter(move |l| reply(&options[l.index()]) == Some(value));
    let masks = [true, false].map(|value| of(value).fold(0, |mask, letter| mask | 1 << letter.index()));
    if masks == [0, 0] {
        return Vec::new();
    }
    let mut found = Vec::new();
    for first in 0..tokens.all.len() {
        let said = |words: &[&str]| words.contains(&tokens.lower(first).as_str());
        let mask = if said(YES) {
            masks[0]
        } else if said(NO) {
            masks[1]
        } else {
            0
        };
        // "是的", "对的": the particle belongs to it.
        let last = if tokens.str(first + 1) == "的" { first + 1 } else { first };
        let candidate = Candidate { first, last, mask, is_text: true };
        if mask != 0 && is_reply(tokens, &candidate) && !(first < OPENING && is_to_request(tokens, last)) {
            found.push(candidate);
        }
    }
    found
}

fn is_same(window: &[NormalWord], option: &[String]) -> bool {
    window.iter().zip(option).all(|(word, other)| word.text == *other)
}

fn on_tokens(tokens: &Tokens, words: &[NormalWord], letter: Letter) -> Option<Candidate> {
    let (start, end) = (words.first()?.start, words.last()?.end);
    let first = tokens.all.partition_point(|token| token.end <= start);
    let last = tokens.all.partition_point(|token| token.start < end).checked_sub(1)?;
    (first <= last).then_some(Candidate { first, last, mask: 1 << letter.index(), is_text: true })
}

/// Whether a short option is meant where its words stand: "one of them" is no count and "no idea" is no "no".
fn is_meant(tokens: &Tokens, candidate: &Candidate, option: &[String], is_place: bool) -> bool {
    let [only] = option else {
        return match option {
            // A count and its measure word.
            [number, _] if number.bytes().all(|b| b.is_ascii_digit()) => is_count_meant(tokens, candidate),
            _ => !is_place || is_place_meant(tokens, candidate.first, candidate.last),
        };
    };
    match only.as_str() {
        _ if is_place => is_place_meant(tokens, candidate.first, candidate.last),
        number if number.bytes().all(|b| b.is_ascii_digit()) => is_count_meant(tokens, candidate),
        _ => true,
    }
}

fn is_reply(tokens: &Tokens, candidate: &Candidate) -> bool {
    let Candidate { first, last, .. } = *candidate;
    let ends = tokens.is_break(last + 1) || tokens.role(last + 1) == Role::Because;
    let begins = first == 0 || tokens.is_break(first - 1) || tokens.role(first - 1) == Role::So;
    let stated = first > 1
        && tokens.role(first - 1) == Role::Is
        && (0..first).rev().take(4).any(|i| tokens.role(i) == Role::Answer);
    ends && (begins || stated)
}

/// Words that make a number a count of sounds.
const COUNTED: &[&str] = &[
    "source",
    "sources",
    "sound",
    "sounds",
    "speaker",
    "speakers",
    "people",
    "persons",
    "voices",
    "voice",
    "events",
    "event",
    "distinct",
    "different",
    "separate",
    "simultaneous",
    "instruments",
    "objects",
    "object",
    "talkers",
    "animals",
];
/// Words behind which, or before which, a number counts something else.
const NUMBERED: &[&str] = &[
    "step", "channel", "option", "no", "any", "every", "this", "that", "which", "frame", "point", "part", "the",
    "some", "at",
];
const OTHER_THINGS: &[&str] = &[
    "of",
    "option",
    "options",
    "possibility",
    "possibilities",
    "choice",
    "choices",
    "candidate",
    "candidates",
    "answer",
    "answers",
    "way",
    "ways",
    "channel",
    "channels",
    "m",
    "metre",
    "metres",
    "meter",
    "meters",
    "deg",
    "degree",
    "degrees",
    "s",
    "second",
    "seconds",
    "hz",
    "khz",
    "db",
    "percent",
    "might",
    "may",
    "would",
    "could",
    "can",
    "step",
    "steps",
    "reason",
    "reasons",
    "thing",
    "things",
    "cm",
];

fn is_count_meant(tokens: &Tokens, candidate: &Candidate) -> bool {
    let Candidate { first, last, .. } = *candidate;
    let (before, after) = (if first > 0 { tokens.lower(first - 1) } else { String::new() }, tokens.lower(last + 1));
    let line_begins = first == 0 || matches!(tokens.kind(first - 1), Some(Kind::LineEnd));
    let is_step =
        line_begins && matches!(tokens.kind(last + 1), Some(Kind::Mark('.' | ')'))) && tokens.is_word(last + 2);
    let rest = &tokens.text[tokens.all[last].end..];
    let names_other =
        ["选项", "可能", "答案", "好", "问题", "候选", "步骤", "条件"].iter().any(|word| rest.starts_with(word));
    if is_step
        || names_other
        || OTHER_THINGS.contains(&after.as_str())
        || tokens.kind(last + 1) == Some(Kind::Mark('\u{b0}'))
    {
        return false;
    }
    if COUNTED.contains(&after.as_str()) {
        return true;
    }
    let is_han = first > 0 && tokens.kind(first - 1) == Some(Kind::Han) || tokens.kind(last + 1) == Some(Kind::Han);
    if is_han {
        let counted = ["声源", "声音", "音源", "人", "说话", "不同", "发声", "物体", "事件", "源"];
        let has = first > 0 && ["有", "共", "出", "是", "为"].contains(&tokens.str(first - 1));
        return (has || !tokens.str(first).starts_with('一')) && counted.iter().any(|word| rest.starts_with(word))
            || has && tokens.is_break(last + 1)
            || tokens.is_break(last + 1) && (first == 0 || tokens.is_break(first - 1));
    }
    if NUMBERED.contains(&before.as_str()) {
        return false;
    }
    let begins = first == 0 || tokens.is_break(first - 1);
    let said = first > 0
        && (matches!(
            tokens.role(first - 1),
            Role::Is
                | Role::Answer
                | Role::Choose
                | Role::So
                | Role::Filler
                | Role::Or
                | Role::And
                | Role::Not
                | Role::But
                | Role::Except
        ) || ["hear", "count", "counted", "contains", "exactly", "about", "total", "least", "there"]
            .contains(&before.as_str()));
    tokens.is_break(last + 1) && (begins || said)
        || begins && tokens.role(last + 1) == Role::Or
        || said && matches!(tokens.role(last + 1), Role::Or | Role::And | Role::Because | Role::But)
}

/// The letters that stand for options; `texts` are the options' texts, in which letters are words.
pub(super) fn letters(tokens: &Tokens, texts: &[Candidate]) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut covering = texts.iter().peekable();
    for at in 0..tokens.all.len() {
        while covering.next_if(|text| text.last < at).is_some() {}
        if covering.peek().is_some_and(|text| text.first <= at && text.last > text.first) {
            continue;
        }
        let Some(letter) = (tokens.kind(at) == Some(Kind::Word)).then(|| Letter::parse(tokens.str(at))).flatten()
        else {
            continue;
        };
        let is_capital = tokens.str(at).starts_with(|c: char| c.is_ascii_uppercase());
        if if is_capital { is_letter(tokens, at, letter) } else { is_small_letter(tokens, at) } {
            found.push(Candidate { first: at, last: at, mask: 1 << letter.index(), is_text: false });
        }
    }
    found
}

/// Nothing can follow that would make the letter part of a phrase.
pub(super) fn is_closed(tokens: &Tokens, at: usize) -> bool {
    match tokens.kind(at + 1) {
        None | Some(Kind::LineEnd) => true,
        Some(Kind::Mark('(')) => true,
        Some(Kind::Mark(_)) if tokens.role(at + 1) != Role::Plain => true,
        Some(Kind::Mark(mark)) => {
            CLOSING.contains(mark)
                && !(tokens.is_word(at + 2)
                    && tokens.is_glued(at + 2)
                    && !matches!(mark, ')' | ']' | '/' | '、' | '。' | ',' | ':')
                    && tokens.kind(at + 2) == Some(Kind::Word))
        }
        Some(_) => tokens.is_decorated(at) || has_tail(tokens, at),
    }
}

/// What may close a sentence behind a letter without belonging to it.
const TAILS: &[&[&str]] = &[
    &["here"],
    &["then"],
    &["now"],
    &["again"],
    &["overall"],
    &["anyway"],
    &["instead"],
    &["though"],
    &["today"],
    &["myself"],
    &["personally"],
    &["for", "now"],
    &["for", "this"],
    &["for", "this", "one"],
    &["on", "this", "one"],
    &["this", "time"],
    &["in", "this", "case"],
    &["in", "that", "case"],
    &["in", "this", "instance"],
    &["in", "this", "situation"],
    &["in", "this", "clip"],
    &["in", "this", "recording"],
    &["at", "this", "point"],
    &["as", "my", "answer"],
    &["as", "the", "answer"],
    &["in", "the", "end"],
    &["after", "all"],
];

/// "C here", "B in this case": nothing follows but such words.
fn has_tail(tokens: &Tokens, at: usize) -> bool {
    let follows = |tail: &&[&str]| {
        let said = tail.iter().enumerate().all(|(i, word)| tokens.lower(at + 1 + i) == *word);
        let next = at + 1 + tail.len();
        said && (tokens.is_break(next) || tokens.role(next) == Role::Because)
    };
    TAILS.iter().any(follows)
}

/// A letter can stand here by what is before it: a break, or a word that points to options.
fn is_led(tokens: &Tokens, at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    tokens.is_break(before)
        || !matches!(tokens.role(before), Role::Plain | Role::Refuse | Role::Know)
        || tokens.kind(before) == Some(Kind::Han)
        || ["say", "that", "towards", "toward"].contains(&tokens.lower(before).as_str())
}

fn is_letter(tokens: &Tokens, at: usize, letter: Letter) -> bool {
    let before = at.checked_sub(1).map(|i| tokens.role(i));
    let bracketed = at > 0
        && matches!(tokens.kind(at - 1), Some(Kind::Mark('(' | '[')))
        && matches!(tokens.kind(at + 1), Some(Kind::Mark(')' | ']')));
    let is_label = matches!(tokens.kind(at + 1), Some(Kind::Mark(')' | ']')));
    if bracketed || is_label || before == Some(Role::Option) {
        return true;
    }
    let closed = is_closed(tokens, at);
    let led = is_led(tokens, at);
    if closed {
        return led || tokens.is_decorated(at);
    }
    if tokens.kind(at + 1) == Some(Kind::Han) {
        return led;
    }
    let is_subject = matches!(
        tokens.role(at + 1),
        Role::Is
            | Role::Would
            | Role::Maybe
            | Role::Not
            | Role::Or
            | Role::And
            | Role::Because
            | Role::Wrong
            | Role::Correct
            | Role::Except
            | Role::But
            | Role::Exclude
            | Role::So
    ) || ["seems", "looks", "does", "fails", "appears", "sounds", "should", "must", "has", "as"]
        .contains(&tokens.lower(at + 1).as_str());
    if led && is_subject {
        return letter != Letter::A
            || tokens.role(at + 1) != Role::Correct
            || tokens.lower(at + 1) == "fits"
            || tokens.lower(at + 1) == "matches";
    }
    // "A dog": an article. "Choose B here", "C describes".
    let pointed = matches!(
        before,
        Some(Role::Choose | Role::Answer | Role::Is | Role::Not | Role::Except | Role::Exclude | Role::So)
    );
    letter != Letter::A && (pointed || at == 0 || tokens.is_break(at - 1) && tokens.lower(at + 1).ends_with('s'))
}

/// Small letters need more: brackets, "option", "answer is", or nothing else in the sentence.
fn is_small_letter(tokens: &Tokens, at: usize) -> bool {
    let bracketed = at > 0
        && matches!(tokens.kind(at - 1), Some(Kind::Mark('(' | '[')))
        && matches!(tokens.kind(at + 1), Some(Kind::Mark(')' | ']')));
    let ends =
        matches!(tokens.kind(at + 1), None | Some(Kind::LineEnd | Kind::Mark('.' | ')' | ']' | ':' | ',' | '。')));
    let begins = (0..at.min(4)).all(|i| tokens.is_break(i)) && at <= 4;
    let pointed = at > 0
        && (tokens.role(at - 1) == Role::Option
            || tokens.kind(at - 1) == Some(Kind::Mark(':')) && at > 1 && tokens.role(at - 2) == Role::Answer);
    let stated = at > 1 && tokens.role(at - 1) == Role::Is && tokens.role(at - 2) == Role::Answer;
    bracketed || ends && (begins || pointed || stated)
}
