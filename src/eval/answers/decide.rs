//! Which option a final answer decides for.
//!
//! The text is read sentence by sentence. Candidates that stand in a list ("A or B", "A, C and D") form a group. A
//! group says nothing within a question, a hypothesis, a reason, a concession, a refusal, or what was held at first or
//! is held by others; it speaks against its options where it is negated ("not B", "B is wrong"). What is left decides,
//! in ranks: a statement ("the answer is B", "so B", "B is correct") before the letter with which the text begins or
//! that stands alone, before a conclusion in an option's words, before a mention. Of statements the last one holds; two
//! that only are mentioned contradict each other, and so do two of one group.

use super::candidates::{Candidate, is_closed};
use super::roles::Role;
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

/// How far a cue reaches, in tokens.
const REACH: usize = 8;

/// How strongly a group decides; later ones win from `Lead` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The text of an option somewhere.
    Words,
    /// A letter somewhere.
    Mention,
    /// The text of an option as a conclusion, or with which the text begins.
    Concluded,
    /// The letter with which the text begins, or alone in its sentence.
    Lead,
    /// "The answer is left".
    StatedWords,
    /// "The answer is B".
    Stated,
}

/// Candidates that are listed together.
#[derive(Clone, Debug)]
struct Group {
    first: usize,
    last: usize,
    mask: u8,
    is_text: bool,
    /// The last letter or text.
    end: usize,
}

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
    let mut reader = Reader { tokens, items: Vec::new(), refuses: false, supposes: false };
    let mut rest = groups.as_slice();
    for (number, sentence) in sentences.iter().enumerate() {
        let count = rest.iter().take_while(|group| group.first < sentence.end).count();
        let (own, later) = rest.split_at(count);
        rest = later;
        reader.sentence(number, sentence.clone(), own);
    }
    reader.verdict(sentences.len(), words_max)
}

/// Candidates of a list, together.
fn grouped(tokens: &Tokens, candidates: &[Candidate]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for candidate in candidates {
        let mask = candidate.mask;
        let joined = groups.last_mut().filter(|group| {
            candidate.first <= group.last
                || candidate.first - group.last <= REACH && joins(tokens, group.last + 1..candidate.first)
        });
        match joined {
            Some(group) => {
                // Of options with one text the letter beside it is meant.
                group.mask = if candidate.is_text && !group.is_text && group.mask & mask != 0 { group.mask } else { group.mask | mask };
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
            }),
        }
    }
    groups
}

/// Only words and marks that list.
fn joins(tokens: &Tokens, between: Range<usize>) -> bool {
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

/// The groups without those that only repeat the list of options: three labels or more in order.
fn without_echo(tokens: &Tokens, groups: Vec<Group>) -> Vec<Group> {
    let is_label = |group: &Group| {
        !group.is_text
            && matches!(tokens.kind(group.first + 1), Some(Kind::Mark('.' | ')' | ':')))
            && tokens.is_word(group.first + 2)
            && !matches!(tokens.role(group.first + 2), Role::Is | Role::Not | Role::Wrong | Role::Correct | Role::Exclude)
            && !(group.first > 0 && matches!(tokens.role(group.first - 1), Role::Is | Role::Answer | Role::Option))
    };
    let labels = groups.iter().filter(|group| is_label(group)).fold(0, |mask, group| mask | group.mask);
    if labels.count_ones() < 3 || labels & 1 == 0 {
        return groups;
    }
    let ends: Vec<usize> = groups.iter().filter(|g| is_label(g)).map(|g| g.first + 2).collect();
    groups.into_iter().filter(|g| !is_label(g) && !(g.is_text && ends.contains(&g.first))).collect()
}

struct Reader<'a> {
    tokens: &'a Tokens<'a>,
    items: Vec<Item>,
    /// A sentence said that nothing can be said.
    refuses: bool,
    /// The sentence before was a hypothesis, which "then" goes on with.
    supposes: bool,
}

impl Reader<'_> {
    fn sentence(&mut self, number: usize, sentence: Range<usize>, groups: &[Group]) {
        let in_group = |at: usize| groups.iter().any(|group| group.first <= at && at <= group.last);
        // Words of an option are no cues.
        let roles: Vec<Role> = sentence
            .clone()
            .map(|at| if groups.iter().any(|g| g.first <= at && at <= g.last && (g.is_text || self.tokens.str(at).len() == 1)) { Role::Plain } else { self.tokens.role(at) })
            .collect();
        let scope = Scope { tokens: self.tokens, from: sentence.start, roles: &roles };
        let segments = scope.segments(&in_group);
        let silent = scope.silent(&segments, self.supposes, groups);
        self.supposes = scope.supposes();
        let refuses = scope.refuses();
        self.refuses |= refuses.is_some();
        let takes_back = scope.takes_back(&segments, groups);
        if takes_back {
            self.items.clear();
        }
        let corrects = takes_back || roles.contains(&Role::Correction);
        for (place, group) in groups.iter().enumerate() {
            let local = group.first - sentence.start;
            let segment = segments[local];
            if silent[local] || refuses.is_some_and(|at| at < local && segments[at] == segment) {
                continue;
            }
            if scope.is_negated(groups, place, &segments) {
                self.items.retain(|item| item.mask & group.mask == 0 || item.mask.count_ones() > 1);
                continue;
            }
            let is_alone = (0..roles.len()).all(|i| in_group(sentence.start + i) || !self.tokens.is_word(sentence.start + i));
            let begins = (0..group.first).all(|at| !self.tokens.is_word(at));
            let mut rank = scope.rank(groups, place, is_alone, begins);
            let later = !self.items.is_empty();
            if corrects && later {
                rank = if group.is_text { rank.max(Rank::StatedWords) } else { Rank::Stated };
            } else if later && roles[..local].contains(&Role::But) && !group.is_text {
                rank = rank.max(Rank::Lead);
            }
            let is_hedged = (0..local).any(|i| segments[i] == segment && matches!(roles[i], Role::Maybe | Role::Would))
                && !(0..local).any(|i| roles[i] == Role::Answer || self.tokens.lower(sentence.start + i).ends_with("'d"));
            let end = self.tokens.all[group.end].end;
            self.items.push(Item { rank, is_hedged, mask: group.mask, end, is_text: group.is_text, sentence: number });
        }
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
            Rank::Stated | Rank::StatedWords | Rank::Concluded => last.mask,
            _ => of_best.iter().fold(0, |mask, item| mask | item.mask),
        };
        // The list of all options, repeated, says nothing beside one of them.
        if best.1 <= Rank::Mention && mask.count_ones() > 1 {
            let single = of_best.iter().filter(|item| item.mask.count_ones() < 3).fold(0, |mask, item| mask | item.mask);
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

/// One sentence: roles by place within it.
struct Scope<'a> {
    tokens: &'a Tokens<'a>,
    from: usize,
    roles: &'a [Role],
}

impl Scope<'_> {
    fn kind(&self, at: usize) -> Kind {
        self.tokens.all[self.from + at].kind
    }

    /// The number of the segment of each token: they end at commas, brackets and dashes outside of groups, and before
    /// words that turn or conclude.
    fn segments(&self, in_group: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let mut segment = 0;
        (0..self.roles.len())
            .map(|at| {
                let here = self.from + at;
                let inside = in_group(here);
                let turns = matches!(self.roles[at], Role::But | Role::So | Role::Because | Role::Although);
                if !inside && turns {
                    segment += 1;
                }
                let own = segment;
                let spaced_dash = |mark: char| mark == '-' && !self.tokens.is_glued(here);
                let splits = matches!(self.kind(at), Kind::Mark(mark) if ",():\u{2014}\u{2013}".contains(mark) || spaced_dash(mark));
                if !inside && splits {
                    segment += 1;
                }
                own
            })
            .collect()
    }

    /// The first place of a role.
    fn find(&self, role: Role) -> Option<usize> {
        self.roles.iter().position(|other| *other == role)
    }

    /// No word before `at`.
    fn begins(&self, at: usize) -> bool {
        (0..at).all(|i| !matches!(self.kind(i), Kind::Word | Kind::Han) || matches!(self.roles[i], Role::But | Role::So | Role::And))
    }

    fn lower(&self, at: usize) -> String {
        self.tokens.lower(self.from + at)
    }

    /// Where a hypothesis is made: "if", "suppose".
    fn supposes(&self) -> bool {
        self.find(Role::If).is_some_and(|at| !self.roles[at..].contains(&Role::But))
    }

    /// Which tokens say nothing: in questions, hypotheses, reasons, concessions, and in what others or once was held.
    fn silent(&self, segments: &[usize], supposed: bool, groups: &[Group]) -> Vec<bool> {
        let n = self.roles.len();
        let mut silent = vec![self.asks(segments, groups); n];
        let mut hide = |range: Range<usize>| silent[range].fill(true);
        let next = |from: usize, roles: &[Role]| (from..n).find(|&i| roles.contains(&self.roles[i])).unwrap_or(n);
        let comma = |from: usize| (from..n).find(|&i| segments[i] > segments[from]).unwrap_or(n);
        if let Some(at) = self.find(Role::If) {
            let unreal = self.roles.contains(&Role::Would) || (0..n).any(|i| ["were", "had"].contains(&self.lower(i).as_str()));
            let end = next(at, if unreal { &[Role::But] } else { &[Role::But, Role::So] });
            hide(0..end);
        } else if supposed && (0..n.min(4)).any(|i| ["then", "case", "那么", "则"].contains(&self.lower(i).as_str())) {
            hide(0..next(0, &[Role::But]));
        }
        for (role, ends) in [
            (Role::Because, &[Role::So, Role::But][..]),
            (Role::Although, &[Role::So, Role::But]),
        ] {
            for at in (0..n).filter(|&i| self.roles[i] == role) {
                let end = next(at, ends);
                hide(at..if self.begins(at) { end.min(self.main_clause(at, segments)) } else { end });
            }
        }
        for at in (0..n).filter(|&i| self.roles[i] == Role::Whether) {
            hide(at..comma(at));
        }
        for at in (0..n).filter(|&i| matches!(self.roles[i], Role::Initially | Role::Others)) {
            let from = (0..=at).find(|&i| segments[i] == segments[at]).unwrap_or(at);
            let end = next(at, &[Role::But, Role::So, Role::Correction]);
            // "Although A is tempting, the answer is C".
            let states = (at..n).find(|&i| self.roles[i] == Role::Answer && segments[i] > segments[at]);
            let end = states.map_or(end, |i| end.min((0..=i).find(|&j| segments[j] == segments[i]).unwrap_or(i)));
            hide(from..end);
        }
        silent
    }

    /// Where the main clause begins behind a leading "since" or "although": at the last comma before "answer", "is" ..,
    /// at least behind the first one.
    fn main_clause(&self, at: usize, segments: &[usize]) -> usize {
        let n = self.roles.len();
        let first = (at..n).find(|&i| segments[i] > segments[at]).unwrap_or(n);
        match self.roles.iter().rposition(|role| *role == Role::Answer) {
            Some(answer) if answer > first => (0..=answer).find(|&i| segments[i] == segments[answer]).unwrap_or(first),
            _ => first,
        }
    }

    /// A question, unless its last words only ask for consent ("B, right?") or it is nothing but an option.
    fn asks(&self, segments: &[usize], groups: &[Group]) -> bool {
        let n = self.roles.len();
        let is_mark = |i: usize| matches!(self.kind(i), Kind::Mark('?'));
        let by_word = (0..n).any(|i| ["吗", "呢", "还是"].contains(&self.tokens.str(self.from + i)) && (i + 2 >= n || self.tokens.str(self.from + i) == "还是" && (0..n).any(is_mark)));
        if !(0..n).any(is_mark) && !by_word {
            return false;
        }
        let tag: Vec<usize> = (0..n).filter(|&i| segments[i] == segments[n - 1] && matches!(self.kind(i), Kind::Word | Kind::Han)).collect();
        let is_tag = segments[n - 1] > 0 && tag.len() <= 3 && tag.iter().all(|&i| {
            matches!(self.roles[i], Role::Correct | Role::Not | Role::Correction | Role::Is | Role::Pronoun) || ["ok", "okay"].contains(&self.lower(i).as_str())
        });
        let whole = self.from == 0 && n == self.tokens.all.len()
            && groups.len() == 1
            && (0..n).all(|i| !matches!(self.kind(i), Kind::Word | Kind::Han) || groups[0].first <= self.from + i && self.from + i <= groups[0].last);
        !is_tag && !whole
    }

    /// Where the sentence says that nothing can be said.
    fn refuses(&self) -> Option<usize> {
        (0..self.roles.len()).find(|&at| match self.roles[at] {
            Role::Refuse => true,
            Role::Not => (at + 1..(at + 5).min(self.roles.len())).any(|i| self.roles[i] == Role::Know)
                && !(at..(at + 5).min(self.roles.len())).any(|i| matches!(self.roles[i], Role::But)),
            _ => ["please", "ai"].contains(&self.lower(at).as_str()),
        })
    }

    /// What was said before is taken back: "wait, no", "that is wrong", and nothing is put into its place before that.
    fn takes_back(&self, segments: &[usize], groups: &[Group]) -> bool {
        let first_group = groups.first().map_or(usize::MAX, |group| group.first - self.from);
        let until = (0..self.roles.len()).take_while(|&i| i < first_group).collect::<Vec<usize>>();
        let words: Vec<usize> = until.iter().copied().filter(|&i| matches!(self.kind(i), Kind::Word | Kind::Han)).collect();
        let has = |role: Role| words.iter().any(|&i| self.roles[i] == role);
        let no = words.iter().any(|&i| self.lower(i) == "no" && self.roles[i] == Role::Correction);
        let again = words.iter().any(|&i| ["scratch", "reconsider", "oops", "correction"].contains(&self.lower(i).as_str()) && self.roles[i] == Role::Correction);
        let judged = has(Role::Pronoun) && (has(Role::Wrong) || has(Role::Not) && has(Role::Correct));
        let short = words.len() <= 6;
        let leads_wrong = words.first().is_some_and(|&i| self.roles[i] == Role::Wrong && (i + 1 >= self.roles.len() || segments.get(i + 1).is_some_and(|_| !matches!(self.kind(i + 1), Kind::Word | Kind::Han))));
        no && self.begins_with(&words, "no") || no && has(Role::Correction) && words.len() > 1 && short || again || groups.is_empty() && judged && short || leads_wrong
    }

    fn begins_with(&self, words: &[usize], word: &str) -> bool {
        words.first().is_some_and(|&i| self.lower(i) == word)
    }

    /// The group speaks against its options.
    fn is_negated(&self, groups: &[Group], place: usize, segments: &[usize]) -> bool {
        let local = |at: usize| at - self.from;
        let group = &groups[place];
        let (first, last) = (local(group.first), local(group.last));
        let segment = segments[first];
        let before = (0..first).rev().take_while(|&i| segments[i] == segment);
        for at in before {
            if !matches!(self.roles[at], Role::Not | Role::Except | Role::Exclude | Role::Wrong) {
                continue;
            }
            let between: Vec<&Group> = groups[..place].iter().filter(|g| local(g.first) > at).collect();
            let earlier = groups[..place].iter().rev().find(|g| local(g.last) < at && segments[local(g.first)] == segment);
            if earlier.is_some_and(|g| self.owns(local(g.last), at, first)) {
                continue;
            }
            // "It is not A and it is B".
            let anew = between.last().is_some_and(|g| (local(g.last) + 1..first).any(|i| matches!(self.roles[i], Role::Is | Role::Correct | Role::Choose)));
            if !anew {
                return true;
            }
        }
        let next = groups.get(place + 1).map_or(usize::MAX, |g| local(g.first));
        let mut after = (last + 1..self.roles.len()).take_while(|&i| i < next && (segments[i] == segment || self.is_bracket(i, last)));
        after.any(|at| match self.roles[at] {
            Role::Wrong | Role::Exclude => true,
            Role::Not => self.owns(last, at, next.min(self.roles.len())),
            _ => false,
        })
    }

    /// "(B) is": the bracket behind a letter does not part it from its verb.
    fn is_bracket(&self, at: usize, last: usize) -> bool {
        matches!(self.kind(last + 1), Kind::Mark(')' | ']')) && at > last
            && (last + 2..=at).all(|i| !matches!(self.kind(i), Kind::Mark(_)))
    }

    /// The negation at `at` belongs to the group that ends at `last`: only auxiliaries stand between, and no other
    /// group follows at once.
    fn owns(&self, last: usize, at: usize, next: usize) -> bool {
        if self.roles[at] == Role::Except {
            return false;
        }
        let only_auxiliaries = (last + 1..at).all(|i| {
            !matches!(self.kind(i), Kind::Word | Kind::Han) || matches!(self.roles[i], Role::Is | Role::Would | Role::Maybe | Role::Filler | Role::Wrong)
        });
        let follows = (at + 1..next).all(|i| !matches!(self.kind(i), Kind::Word | Kind::Han) || self.lower(i) == "the");
        (only_auxiliaries || matches!(self.roles[at], Role::Wrong | Role::Exclude)) && !(follows && next < self.roles.len() && self.roles[at] == Role::Not)
    }

    /// With what right the group decides.
    fn rank(&self, groups: &[Group], place: usize, is_alone: bool, begins: bool) -> Rank {
        let group = &groups[place];
        let stated = self.is_stated(group);
        if group.is_text {
            let answered = stated || self.is_answered(group);
            return match () {
                _ if answered => Rank::StatedWords,
                _ if self.roles[..group.first - self.from].contains(&Role::So) || begins && is_alone => Rank::Concluded,
                _ if begins && self.is_reply(group) => Rank::Concluded,
                _ => Rank::Words,
            };
        }
        let letter_closed = is_closed(self.tokens, group.end) || self.tokens.role(group.last + 1) == Role::Because || self.tokens.kind(group.last + 1) == Some(Kind::Han);
        match () {
            _ if stated || self.is_answered(group) => Rank::Stated,
            _ if is_alone || begins && letter_closed => Rank::Lead,
            _ => Rank::Mention,
        }
    }

    /// "Yes, ..." and "No. ..." say it all.
    fn is_reply(&self, group: &Group) -> bool {
        let word = self.tokens.lower(group.first);
        ["yes", "no", "true", "false", "是", "否"].contains(&word.as_str())
    }

    /// A cue stands before the group, or "is correct" behind it.
    fn is_stated(&self, group: &Group) -> bool {
        let (first, last) = (group.first - self.from, group.last - self.from);
        for at in (first.saturating_sub(REACH)..first).rev() {
            match (self.kind(at), self.roles[at]) {
                (_, Role::Answer | Role::Choose | Role::So) => return true,
                (Kind::Mark(mark), _) if ":=([-\u{2014}\u{2013},".contains(mark) => {}
                (Kind::LineEnd, _) => {}
                (Kind::Word | Kind::Han, Role::Is | Role::Option | Role::Correct | Role::Filler | Role::Maybe | Role::Would | Role::Pronoun) => {}
                (Kind::Word, _) if group.is_text && ["in", "at", "from"].contains(&self.lower(at).as_str()) => {}
                _ => break,
            }
        }
        let mut behind = (last + 1..self.roles.len()).skip_while(|&i| !matches!(self.kind(i), Kind::Word | Kind::Han) && matches!(self.kind(i), Kind::Mark(')' | ']'))).peekable();
        let has_verb = behind.peek().is_some_and(|&i| matches!(self.roles[i], Role::Is | Role::Would | Role::Correct) || ["must", "should", "seems", "looks", "appears"].contains(&self.lower(i).as_str()));
        if !has_verb || group.is_text {
            return false;
        }
        for at in behind.take(5) {
            match self.roles[at] {
                Role::Correct | Role::Answer => return true,
                Role::Is | Role::Would | Role::Filler | Role::Maybe => {}
                _ => return false,
            }
        }
        false
    }

    /// "The answer, in my view, is B"; "the answer is that it comes from the left".
    fn is_answered(&self, group: &Group) -> bool {
        let first = group.first - self.from;
        let Some(answer) = self.roles[..first].iter().rposition(|role| *role == Role::Answer) else { return false };
        let is = (answer + 1..first).find(|&i| self.roles[i] == Role::Is || matches!(self.kind(i), Kind::Mark(':')));
        is.is_some_and(|is| group.is_text || (is + 1..first).all(|i| matches!(self.roles[i], Role::Filler | Role::Option | Role::Correct) || !matches!(self.kind(i), Kind::Word | Kind::Han)))
    }
}
