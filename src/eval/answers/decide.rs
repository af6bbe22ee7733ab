//! Which option a final answer decides for.
//!
//! The text is read sentence by sentence. Candidates that stand in a list ("A or B", "A, C and D") form a group. A
//! group says nothing within a question, a hypothesis, a reason, a concession, a refusal, or what was held at first or
//! is held by others; it speaks against its options where it is negated ("not B", "B is wrong"). What is left decides,
//! in ranks: a statement ("the answer is B", "so B", "B is correct") before the letter with which the text begins or
//! that stands alone, before a conclusion in an option's words, before a mention. Of statements the last one holds; two
//! that only are mentioned contradict each other, and so do two of one group.

use super::candidates::Candidate;
use super::roles::Role;
use super::scope::{Group, REACH, Rank, Scope};
use super::tokens::{Kind, Tokens};
use crate::text::questions::Letter;
use std::ops::Range;

/// What a text decides for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// One option, and where in the text what follows it begins; whether its letter was given.
    One { letter: Letter, end: usize, by_letter: bool },
    /// Several options with equal right.
    Several,
    /// None.
    Nothing,
}

/// Most labels of a list whose options are judged one by one.
const LABELS_MAX: usize = 16;

/// A group that speaks for its options.
#[derive(Clone, Copy, Debug)]
struct Item {
    rank: Rank,
    is_hedged: bool,
    mask: u8,
    end: usize,
    is_text: bool,
    sentence: usize,
}

/// What the candidates of a text decide; `words_max` is how long a text may be in which an option's words alone count
/// wherever they stand.
pub(super) fn decide(tokens: &Tokens, candidates: &[Candidate], words_max: usize) -> Decision {
    let groups = without_echo(tokens, grouped(tokens, candidates));
    let sentences = tokens.sentences();
    let mut reader = Reader { tokens, items: Vec::new(), refuses: false, supposes: false, withdrawn: Vec::new() };
    let mut rest = groups.as_slice();
    for (number, sentence) in sentences.iter().enumerate() {
        let count = rest.iter().take_while(|group| group.first < sentence.end).count();
        let (own, later) = rest.split_at(count);
        rest = later;
        reader.sentence(number, sentence.clone(), own);
    }
    reader.settle(sentences.len());
    reader.verdict(sentences.len(), words_max)
}

/// Candidates of a list, together.
fn grouped(tokens: &Tokens, candidates: &[Candidate]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for candidate in candidates {
        let mask = candidate.mask;
        let joined = groups.last_mut().filter(|group| {
            candidate.first <= group.last
                || candidate.first - group.last <= REACH
                    && !is_compared(tokens, group.first)
                    && joins(tokens, group.last + 1..candidate.first)
        });
        match joined {
            Some(group) => {
                // Of options with one text the letter beside it is meant.
                group.mask = if candidate.is_text && !group.is_text && group.mask & mask != 0 {
                    group.mask
                } else {
                    group.mask | mask
                };
                group.last = group.last.max(candidate.last);
                group.is_text &= candidate.is_text;
                if !candidate.is_text || group.is_text {
                    group.end = candidate.last;
                }
            }
            None => groups.push(Group {
                first: candidate.first,
                last: candidate.last,
                mask,
                is_text: candidate.is_text,
                end: candidate.last,
                is_judged_right: false,
            }),
        }
    }
    groups
}

/// "相比于A，B更合适": what another is compared with is in no list with it.
fn is_compared(tokens: &Tokens, first: usize) -> bool {
    first > 0
        && tokens.kind(first - 1) == Some(Kind::Han)
        && tokens.role(first - 1) == Role::Except
        && !tokens.str(first - 1).starts_with('除')
}

/// Only words and marks that list; "B (or possibly C)" lists nothing.
fn joins(tokens: &Tokens, between: Range<usize>) -> bool {
    let has = |role: Role| between.clone().any(|at| tokens.role(at) == role);
    if between.clone().any(|at| tokens.kind(at) == Some(Kind::Mark('('))) && has(Role::Or) && has(Role::Maybe) {
        return false;
    }
    let lists = |at: usize| match tokens.kind(at) {
        Some(Kind::Mark(mark)) => ",/&+|()[]、".contains(mark),
        Some(Kind::Word | Kind::Han) => {
            matches!(tokens.role(at), Role::Or | Role::And | Role::Option)
                || ["the", "on", "in", "to", "from", "at", "maybe", "possibly"].contains(&tokens.lower(at).as_str())
                    && between.clone().any(|i| matches!(tokens.role(i), Role::Or | Role::And))
        }
        _ => false,
    };
    between.clone().all(lists)
}

/// The groups without those that only repeat the list of options: three labels or more, A among them. Where each is
/// judged ("A. Front: no", "B. Left: yes"), the only one that is right is kept.
fn without_echo(tokens: &Tokens, groups: Vec<Group>) -> Vec<Group> {
    let starts_text =
        |at: usize| groups.binary_search_by_key(&at, |group| group.first).is_ok_and(|i| groups[i].is_text);
    let is_label = |group: &Group| {
        let next = group.first + 2;
        let judged = matches!(tokens.role(next), Role::Is | Role::Not | Role::Wrong | Role::Exclude);
        !group.is_text
            && matches!(tokens.kind(group.first + 1), Some(Kind::Mark('.' | ')' | ':')))
            && (tokens.is_word(next) || tokens.role(next) != Role::Plain)
            && (starts_text(next)
                || tokens.kind(group.first + 1) == Some(Kind::Mark(':'))
                || !judged && tokens.role(next) != Role::Correct)
            && !(group.first > 0 && matches!(tokens.role(group.first - 1), Role::Is | Role::Answer | Role::Option))
    };
    let labels: Vec<usize> = (0..groups.len()).filter(|&i| is_label(&groups[i])).collect();
    let mask = labels.iter().fold(0, |mask, &i| mask | groups[i].mask);
    if mask.count_ones() < 3 || mask & 1 == 0 {
        return groups;
    }
    let verdict = |i: usize| {
        let end = labels.iter().map(|&j| groups[j].first).find(|&first| first > groups[i].first);
        let line = (groups[i].first + 2..end.unwrap_or(tokens.all.len()))
            .take_while(|&at| at <= groups[i].last || tokens.kind(at) != Some(Kind::LineEnd));
        let said = line.filter(|&at| !starts_text(at) && (tokens.is_word(at) || tokens.role(at) != Role::Plain));
        let is_bad = |at: &usize| {
            matches!(tokens.role(*at), Role::Wrong | Role::Not | Role::Exclude) || tokens.lower(*at) == "no"
        };
        let is_good = |at: &usize| tokens.role(*at) == Role::Correct || tokens.lower(*at) == "yes";
        let said: Vec<usize> = said.collect();
        (said.iter().any(is_bad), said.iter().any(is_good))
    };
    let judged = if labels.len() <= LABELS_MAX { labels.as_slice() } else { &[] };
    let verdicts: Vec<(usize, (bool, bool))> = judged.iter().map(|&i| (i, verdict(i))).collect();
    let right: Vec<usize> = verdicts.iter().filter(|(_, v)| *v == (false, true)).map(|(i, _)| *i).collect();
    let wrong = verdicts.iter().filter(|(_, v)| v.0).count();
    let kept = (right.len() == 1 && wrong + 1 == verdicts.len()).then(|| right[0]);
    let texts: Vec<usize> = labels.iter().map(|&i| groups[i].first + 2).collect();
    let mut rest = Vec::new();
    for (i, mut group) in groups.into_iter().enumerate() {
        if kept == Some(i) {
            group.is_judged_right = true;
            rest.push(group);
        } else if labels.binary_search(&i).is_err() && !(group.is_text && texts.binary_search(&group.first).is_ok()) {
            rest.push(group);
        }
    }
    rest
}

/// "Perhaps B", "B might be correct"; "the answer may be B" says that it is, unless something else is said behind it.
fn is_hedged(scope: &Scope, groups: &[Group], place: usize, segments: &[usize]) -> bool {
    let (roles, from) = (scope.roles, scope.from);
    let local = groups[place].first - from;
    // "The answer may be A, but I hear rain".
    let last = groups[groups.len() - 1].first - from;
    let turned = roles[local..last.max(local)].contains(&Role::But);
    let is_near = |i: &usize| segments[*i] == segments[local];
    // "B (or possibly C)".
    let in_bracket = (0..local).rev().take_while(is_near).any(|i| roles[i] == Role::Or);
    let may = (0..local).filter(is_near).any(|i| matches!(roles[i], Role::Maybe | Role::Would));
    let decides =
        |i: usize| roles[i] == Role::Answer && !turned && !in_bracket || scope.tokens.lower(from + i).ends_with("'d");
    scope.is_judged_softly(&groups[place]) || may && !(0..local).any(decides)
}

struct Reader<'a> {
    tokens: &'a Tokens<'a>,
    items: Vec<Item>,
    /// What was said before the answer was thought over: it holds where nothing is decided afterwards.
    withdrawn: Vec<Item>,
    /// A sentence said that nothing can be said.
    refuses: bool,
    /// The sentence before was a hypothesis, which "then" goes on with.
    supposes: bool,
}

impl Reader<'_> {
    fn sentence(&mut self, number: usize, sentence: Range<usize>, groups: &[Group]) {
        // A list may be longer than a sentence may be.
        let clipped = |group: &Group| Group { last: group.last.min(sentence.end - 1), ..group.clone() };
        let groups = &groups.iter().map(clipped).collect::<Vec<Group>>()[..];
        let mut grouped = vec![false; sentence.len()];
        for group in groups {
            grouped[group.first - sentence.start..=group.last - sentence.start].fill(true);
        }
        let in_group = |at: usize| grouped[at - sentence.start];
        // Words of an option are no cues.
        let mut roles: Vec<Role> = sentence.clone().map(|at| self.tokens.role(at)).collect();
        for group in groups.iter().filter(|group| group.is_text) {
            roles[group.first - sentence.start..=group.last - sentence.start].fill(Role::Plain);
        }
        let scope = Scope { tokens: self.tokens, from: sentence.start, roles: &roles };
        let segments = scope.segments(&in_group);
        let silent = scope.silent(&segments, self.supposes, groups);
        self.supposes = scope.supposes();
        let refusals = scope.refusals();
        self.refuses |= !refusals.is_empty();
        let takes_back = scope.takes_back(&segments, groups);
        if takes_back {
            self.items.clear();
            self.withdrawn.clear();
        }
        let reconsiders = scope.reconsiders();
        let mut thinks_again = reconsiders.is_some();
        if groups.is_empty() && thinks_again {
            self.withdraw();
        }
        let corrects = takes_back || roles.contains(&Role::Correction);
        let describes = scope.describes(groups);
        for (place, group) in groups.iter().enumerate() {
            let local = group.first - sentence.start;
            let segment = segments[local];
            if thinks_again && reconsiders.is_some_and(|at| at < local) {
                self.withdraw();
                thinks_again = false;
            }
            if silent[local]
                || scope.is_elsewhere(group, &segments)
                || refusals.iter().any(|&at| at < local && segments[at] == segment)
            {
                continue;
            }
            if !group.is_judged_right && scope.is_negated(groups, place, &segments) {
                let stays = |item: &Item| item.mask & group.mask == 0 || item.mask.count_ones() > 1;
                self.items.retain(stays);
                self.withdrawn.retain(stays);
                continue;
            }
            let is_alone =
                (0..roles.len()).all(|i| in_group(sentence.start + i) || !self.tokens.is_word(sentence.start + i));
            let begins = (0..group.first).all(|at| !self.tokens.is_word(at));
            let mut rank = scope.rank(groups, place, is_alone, begins);
            let later = !self.items.is_empty() || !self.withdrawn.is_empty();
            if corrects && later {
                rank = if group.is_text { rank.max(Rank::StatedWords) } else { Rank::Stated };
            } else if !self.withdrawn.is_empty() && scope.ends_with(group) {
                rank = rank.max(if group.is_text { Rank::StatedWords } else { Rank::Stated });
            } else if later && roles[..local].contains(&Role::But) && !group.is_text {
                rank = rank.max(Rank::Lead);
            }
            // "The answer may be A, but I hear rain".
            let is_hedged = describes || is_hedged(&scope, groups, place, &segments);
            let end = self.tokens.all[group.end].end;
            self.add(Item { rank, is_hedged, mask: group.mask, end, is_text: group.is_text, sentence: number });
        }
    }

    /// What was said so far waits for what comes.
    fn withdraw(&mut self) {
        for item in std::mem::take(&mut self.items) {
            Self::put(&mut self.withdrawn, item);
        }
    }

    /// The items that hold: those behind the last second thought where they decide, or all.
    fn settle(&mut self, sentences: usize) {
        let decides = |item: &Item| {
            !item.is_hedged
                && item.mask.count_ones() == 1
                && (item.rank >= Rank::Concluded || item.sentence + 1 == sentences)
        };
        if !self.items.iter().any(decides) {
            self.withdrawn.append(&mut self.items);
            std::mem::swap(&mut self.withdrawn, &mut self.items);
        }
    }

    /// Adds an item in place of an earlier one that says the same, so that there are never many.
    fn add(&mut self, item: Item) {
        Self::put(&mut self.items, item);
    }

    fn put(items: &mut Vec<Item>, item: Item) {
        let key = |item: &Item| (item.rank, item.is_hedged, item.mask, item.is_text, item.sentence == 0);
        items.retain(|other| key(other) != key(&item));
        items.push(item);
    }

    /// What the items decide together.
    fn verdict(&self, sentences: usize, words_max: usize) -> Decision {
        let words = self.tokens.all.iter().filter(|token| matches!(token.kind, Kind::Word | Kind::Han)).count();
        let counts = |item: &&Item| {
            item.rank > Rank::Words
                || !self.refuses && (words <= words_max || item.sentence + 1 == sentences || item.sentence == 0)
        };
        let strength = |item: &Item| (!item.is_hedged, item.rank);
        let Some(best) = self.items.iter().filter(counts).map(strength).max() else { return Decision::Nothing };
        let of_best: Vec<&Item> = self.items.iter().filter(counts).filter(|item| strength(item) == best).collect();
        let last = of_best.last().expect("one has the best rank");
        let mut mask = match best.1 {
            Rank::Stated | Rank::StatedWords | Rank::Concluded if best.0 => last.mask,
            _ if best.0 => of_best.iter().fold(0, |mask, item| mask | item.mask),
            // All that was said is "perhaps": no one of it comes before the others.
            _ => self.items.iter().filter(counts).fold(0, |mask, item| mask | item.mask),
        };
        // The list of all options, repeated, says nothing beside one of them.
        if best.1 <= Rank::Mention && mask.count_ones() > 1 {
            let single =
                of_best.iter().filter(|item| item.mask.count_ones() < 3).fold(0, |mask, item| mask | item.mask);
            mask = if single.count_ones() == 1 { single } else { mask };
        }
        match Letter::ALL.into_iter().find(|letter| mask == 1 << letter.index()) {
            Some(letter) => {
                let item = of_best.iter().rev().find(|item| item.mask == mask).unwrap_or(last);
                Decision::One { letter, end: item.end, by_letter: !item.is_text }
            }
            None => Decision::Several,
        }
    }
}
