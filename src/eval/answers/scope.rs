//! What one sentence of a final answer says about the options that it names.
//!
//! Places are those of tokens within the sentence; `segments` number the parts between commas and turning words.

use super::candidates::is_closed;
use super::roles::Role;
use super::tokens::{Kind, Tokens};
use std::ops::Range;

/// How far a cue reaches, in tokens.
pub(super) const REACH: usize = 8;

/// How far a negation reaches, in tokens.
const NEGATION_REACH: usize = 30;

/// Within how many tokens another case may be told behind a reserve.
const CASES_REACH: usize = 100;

/// How strongly a group decides; later ones win from `Lead` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
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
pub(super) struct Group {
    pub first: usize,
    pub last: usize,
    pub mask: u8,
    pub is_text: bool,
    /// The last letter or text.
    pub end: usize,
    /// The only one of a list of judged options that is right.
    pub is_judged_right: bool,
}

/// One sentence: roles by place within it.
pub(super) struct Scope<'a> {
    pub tokens: &'a Tokens<'a>,
    /// The first token of the sentence.
    pub from: usize,
    pub roles: &'a [Role],
}

impl Scope<'_> {
    fn kind(&self, at: usize) -> Kind {
        self.tokens.all[self.from + at].kind
    }

    /// The number of the segment of each token: they end at commas, brackets and dashes outside of groups, and before
    /// words that turn or conclude.
    pub fn segments(&self, in_group: &dyn Fn(usize) -> bool) -> Vec<usize> {
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
        (0..at).all(|i| {
            !matches!(self.kind(i), Kind::Word | Kind::Han) || matches!(self.roles[i], Role::But | Role::So | Role::And)
        })
    }

    fn lower(&self, at: usize) -> String {
        self.tokens.lower(self.from + at)
    }

    /// "Option A describes ..": the sentence tells what options say, and decides for none by itself.
    pub fn describes(&self, groups: &[Group]) -> bool {
        let verbs = [
            "describes",
            "describe",
            "says",
            "states",
            "refers",
            "represents",
            "means",
            "places",
            "claims",
            "requires",
            "needs",
            "implies",
        ];
        let tells = |group: &Group| !group.is_text && verbs.contains(&self.tokens.lower(group.last + 1).as_str());
        groups.iter().any(tells)
    }

    /// "B might be correct".
    pub fn is_judged_softly(&self, group: &Group) -> bool {
        let behind = self.roles[group.last + 1 - self.from..].iter();
        let mut words = behind.take_while(|role| matches!(role, Role::Maybe | Role::Would | Role::Is | Role::Filler));
        words.any(|role| matches!(role, Role::Maybe))
    }

    /// "The answer would be B in a dry room".
    pub fn is_elsewhere(&self, group: &Group, segments: &[usize]) -> bool {
        let (first, last) = (group.first - self.from, group.last - self.from);
        let would = (0..first).any(|i| segments[i] == segments[first] && self.roles[i] == Role::Would);
        let other = ["a", "an", "another", "other", "different"].contains(&self.lower_at(last + 2).as_str());
        let unreal = (0..first).any(|i| {
            segments[i] == segments[first]
                && (self.roles[i] == Role::Would || self.lower(i) == "might")
                && self.lower_at(i + 1) == "have"
                && ["been", "said", "chosen", "picked", "gone", "answered", "guessed"]
                    .contains(&self.lower_at(i + 2).as_str())
        });
        unreal || would && ["in", "for", "with", "under"].contains(&self.lower_at(last + 1).as_str()) && other
    }

    /// The word at `at` where the sentence has one.
    fn lower_at(&self, at: usize) -> String {
        if at < self.roles.len() { self.lower(at) } else { String::new() }
    }

    /// Where a hypothesis is made: "if", "suppose".
    pub fn supposes(&self) -> bool {
        self.find(Role::If).is_some_and(|at| !self.roles[at..].contains(&Role::But))
    }

    /// Which tokens say nothing: in questions, hypotheses, reasons, concessions, and in what others or once was held.
    pub fn silent(&self, segments: &[usize], supposed: bool, groups: &[Group]) -> Vec<bool> {
        let n = self.roles.len();
        let mut silent = vec![self.asks(segments, groups); n];
        let mut hide = |range: Range<usize>| silent[range].fill(true);
        let next = |from: usize, roles: &[Role]| (from..n).find(|&i| roles.contains(&self.roles[i])).unwrap_or(n);
        let comma = |from: usize| (from..n).find(|&i| segments[i] > segments[from]).unwrap_or(n);
        if let Some(at) = self.find(Role::If) {
            hide(self.supposition(at, supposed, segments));
        } else if supposed && (0..n.min(4)).any(|i| ["then", "case", "那么", "则"].contains(&self.lower(i).as_str()))
        {
            hide(0..next(0, &[Role::But]));
        }
        for (role, ends) in [(Role::Because, &[Role::So, Role::But][..]), (Role::Although, &[Role::So, Role::But])] {
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

    /// What the hypothesis at `at` makes unreal: all up to a turn. "Unless it is an artefact, the answer is B" only makes
    /// a reserve, where no other case is told.
    fn supposition(&self, at: usize, supposed: bool, segments: &[usize]) -> Range<usize> {
        let n = self.roles.len();
        let next = |from: usize, roles: &[Role]| (from..n).find(|&i| roles.contains(&self.roles[i])).unwrap_or(n);
        let is_unreal = |i: usize| ["were", "had", "would", "could"].contains(&self.lower(i).as_str());
        let unreal = self.roles.contains(&Role::Would) || (0..n).any(is_unreal);
        let end = next(at, if unreal { &[Role::But] } else { &[Role::But, Role::So] });
        let reserves = ["unless", "assuming", "除非"].contains(&self.lower(at).as_str());
        let here = self.from + at;
        let other_case = (here + 1..self.tokens.all.len().min(here + CASES_REACH)).any(|i| {
            self.tokens.role(i) == Role::If || ["otherwise", "else", "否则"].contains(&self.tokens.lower(i).as_str())
        });
        if reserves && !supposed && !other_case && !(0..n).any(is_unreal) {
            return at..if self.begins(at) { end.min(self.main_clause(at, segments)) } else { end };
        }
        // "D, because if it were B ..": what stands before the reason is said.
        let from = self.roles[..at].iter().rposition(|role| matches!(role, Role::Because | Role::But | Role::So));
        from.unwrap_or(0)..end
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
        let by_word = (0..n).any(|i| {
            ["吗", "呢", "还是"].contains(&self.tokens.str(self.from + i))
                && self.roles[i] != Role::Filler
                && (i + 2 >= n || self.tokens.str(self.from + i) == "还是" && (0..n).any(is_mark))
        });
        if !(0..n).any(is_mark) && !by_word {
            return false;
        }
        let tag: Vec<usize> = (0..n)
            .filter(|&i| segments[i] == segments[n - 1] && matches!(self.kind(i), Kind::Word | Kind::Han))
            .collect();
        let is_tag = segments[n - 1] > 0
            && tag.len() <= 3
            && tag.iter().all(|&i| {
                matches!(self.roles[i], Role::Correct | Role::Not | Role::Correction | Role::Is | Role::Pronoun)
                    || ["ok", "okay"].contains(&self.lower(i).as_str())
            });
        let whole = self.from == 0
            && n == self.tokens.all.len()
            && groups.len() == 1
            && (0..n).all(|i| {
                !matches!(self.kind(i), Kind::Word | Kind::Han)
                    || groups[0].first <= self.from + i && self.from + i <= groups[0].last
            });
        !is_tag && !whole
    }

    /// Where the sentence says that nothing can be said.
    pub fn refusals(&self) -> Vec<usize> {
        let refuses = |&at: &usize| match self.roles[at] {
            Role::Refuse => true,
            Role::Not => {
                (at + 1..(at + 5).min(self.roles.len())).any(|i| self.roles[i] == Role::Know)
                    && !(at..(at + 5).min(self.roles.len())).any(|i| matches!(self.roles[i], Role::But))
            }
            _ => ["please", "ai"].contains(&self.lower(at).as_str()),
        };
        (0..self.roles.len()).filter(refuses).collect()
    }

    /// Where the sentence begins to think again: "wait", "hold on", "sorry, I meant". What was decided before holds only
    /// if nothing is decided behind it.
    pub fn reconsiders(&self) -> Option<usize> {
        let phrases: [&[&str]; 15] = [
            &["hold", "on"],
            &["on", "second"],
            &["second", "thought"],
            &["i", "meant"],
            &["i", "mean"],
            &["take", "that", "back"],
            &["my", "mistake"],
            &["never", "mind"],
            &["strike", "that"],
            &["listening", "again"],
            &["looking", "again"],
            &["on", "closer"],
            &["let", "me", "correct"],
            &["let", "me", "revise"],
            &["i", "stand", "corrected"],
        ];
        let han = ["再想", "仔细一听", "再听", "重新", "我改", "改选", "改为", "说错", "想错", "看错", "听错"];
        (0..self.roles.len()).find(|&at| {
            let begins = at == 0 || !matches!(self.kind(at - 1), Kind::Word | Kind::Han);
            let says = |words: &&[&str]| words.iter().enumerate().all(|(i, word)| self.lower_at(at + i) == *word);
            let glued =
                || (at..self.roles.len().min(at + 4)).map(|i| self.tokens.str(self.from + i)).collect::<String>();
            self.roles[at] == Role::Correction && (begins || self.kind(at) == Kind::Han)
                || begins && ["edit", "update", "nevermind", "revised"].contains(&self.lower(at).as_str())
                || phrases.iter().any(says)
                || self.kind(at) == Kind::Han && han.iter().any(|word| glued().starts_with(word))
        })
    }

    /// The sentence ends with the group, which a mark parts from what is before it: "so that's three: C."
    pub fn ends_with(&self, group: &Group) -> bool {
        let (first, last) = (group.first - self.from, group.last - self.from);
        let led = first == 0
            || matches!(self.kind(first - 1), Kind::Mark(mark) if ":,-=(\u{2014}\u{2013}\u{2192}".contains(mark))
            || self.lower(first - 1) == "meant"
            || self.lower(first - 1) == "mean";
        led && (last + 1..self.roles.len()).all(|i| !matches!(self.kind(i), Kind::Word | Kind::Han))
    }

    /// What was said before is taken back: "wait, no", "that is wrong", and nothing is put into its place before that.
    pub fn takes_back(&self, segments: &[usize], groups: &[Group]) -> bool {
        let first_group = groups.first().map_or(usize::MAX, |group| group.first - self.from);
        let until = (0..self.roles.len()).take_while(|&i| i < first_group).collect::<Vec<usize>>();
        let words: Vec<usize> =
            until.iter().copied().filter(|&i| matches!(self.kind(i), Kind::Word | Kind::Han)).collect();
        let has = |role: Role| words.iter().any(|&i| self.roles[i] == role);
        let no = words.iter().any(|&i| {
            ["no", "不", "错", "不对"].contains(&self.lower(i).as_str()) && self.roles[i] == Role::Correction
        });
        let again = words.iter().any(|&i| {
            ["scratch", "reconsider", "oops", "correction"].contains(&self.lower(i).as_str())
                && self.roles[i] == Role::Correction
        });
        let corrections = words.iter().filter(|&&i| self.roles[i] == Role::Correction).count();
        let judged = has(Role::Pronoun) && (has(Role::Wrong) || has(Role::Not) && has(Role::Correct));
        let short = words.len() <= 6;
        let leads_wrong = words.first().is_some_and(|&i| {
            self.roles[i] == Role::Wrong
                && (i + 1 >= self.roles.len()
                    || segments.get(i + 1).is_some_and(|_| !matches!(self.kind(i + 1), Kind::Word | Kind::Han)))
        });
        no && ["no", "不", "错", "不对"].iter().any(|word| self.begins_with(&words, word))
            || no && corrections > 1 && short
            || again
            || groups.is_empty() && judged && short
            || leads_wrong
    }

    fn begins_with(&self, words: &[usize], word: &str) -> bool {
        words.first().is_some_and(|&i| self.lower(i) == word)
    }

    /// The group speaks against its options.
    pub fn is_negated(&self, groups: &[Group], place: usize, segments: &[usize]) -> bool {
        let local = |at: usize| at - self.from;
        let group = &groups[place];
        let (first, last) = (local(group.first), local(group.last));
        let segment = segments[first];
        let before = (0..first).rev().take_while(|&i| segments[i] == segment).take(NEGATION_REACH);
        for at in before {
            if !matches!(self.roles[at], Role::Not | Role::Except | Role::Exclude | Role::Wrong) {
                continue;
            }
            let between = groups[..place].last().filter(|g| local(g.first) > at);
            let earlier =
                groups[..place].iter().rev().find(|g| local(g.last) < at && segments[local(g.first)] == segment);
            if earlier.is_some_and(|g| self.owns(local(g.last), at, first)) {
                continue;
            }
            // "It is not A and it is B".
            let anew = between.is_some_and(|g| {
                (local(g.last) + 1..first).any(|i| matches!(self.roles[i], Role::Is | Role::Correct | Role::Choose))
            });
            if !anew {
                return true;
            }
        }
        if groups.len() == 1 && self.turns_against(last) {
            return true;
        }
        let next = groups.get(place + 1).map_or(usize::MAX, |g| local(g.first));
        let mut after = (last + 1..self.roles.len())
            .take_while(|&i| i < next && (segments[i] == segment || self.is_bracket(i, last)));
        after.any(|at| match self.roles[at] {
            Role::Wrong | Role::Exclude => true,
            Role::Not => self.owns(last, at, next.min(self.roles.len())),
            _ => false,
        })
    }

    /// "B looks good, but it is wrong"; "\"the answer is B\", which is wrong".
    fn turns_against(&self, last: usize) -> bool {
        let rest = &self.roles[last + 1..];
        let mut behind = (last + 1..self.roles.len()).filter(|&i| matches!(self.kind(i), Kind::Word | Kind::Han));
        if behind.next().is_some_and(|i| ["which", "这", "这是"].contains(&self.lower(i).as_str())) {
            let judged: Vec<Role> = behind
                .map(|i| self.roles[i])
                .take_while(|role| {
                    matches!(
                        role,
                        Role::Is | Role::Filler | Role::Not | Role::Correct | Role::Wrong | Role::Maybe | Role::Would
                    )
                })
                .take(REACH)
                .collect();
            let denied = judged.iter().position(|role| *role == Role::Not);
            if judged.contains(&Role::Wrong) && denied.is_none()
                || denied.is_some_and(|at| judged[at..].contains(&Role::Correct))
            {
                return true;
            }
        }
        let Some(but) = rest.iter().position(|role| *role == Role::But) else { return false };
        let judged = rest[but..].iter().take_while(|role| {
            matches!(
                role,
                Role::But | Role::Is | Role::Filler | Role::Pronoun | Role::Not | Role::Correct | Role::Correction
            )
        });
        let words: Vec<&Role> = judged.collect();
        let ends_wrong = rest.get(but + words.len()) == Some(&Role::Wrong);
        ends_wrong || words.windows(2).any(|pair| *pair[0] == Role::Not && *pair[1] == Role::Correct)
    }

    /// "(B) is": the bracket behind a letter does not part it from its verb.
    fn is_bracket(&self, at: usize, last: usize) -> bool {
        matches!(self.kind(last + 1), Kind::Mark(')' | ']'))
            && at > last
            && (last + 2..=at).all(|i| !matches!(self.kind(i), Kind::Mark(_)))
    }

    /// The negation at `at` belongs to the group that ends at `last`: only auxiliaries stand between, and no other
    /// group follows at once.
    fn owns(&self, last: usize, at: usize, next: usize) -> bool {
        if self.roles[at] == Role::Except {
            return false;
        }
        let only_auxiliaries = (last + 1..at).all(|i| {
            !matches!(self.kind(i), Kind::Word | Kind::Han)
                || matches!(self.roles[i], Role::Is | Role::Would | Role::Maybe | Role::Filler | Role::Wrong)
                || i == last + 1 && ["方", "侧", "边", "面", "部", "端"].contains(&self.tokens.str(self.from + i))
        });
        let follows = (at + 1..next).all(|i| {
            !matches!(self.kind(i), Kind::Word | Kind::Han)
                || self.lower(i) == "the"
                || self.kind(i) == Kind::Han && self.roles[i] == Role::Choose
        });
        (only_auxiliaries || matches!(self.roles[at], Role::Wrong | Role::Exclude))
            && !(follows && next < self.roles.len() && self.roles[at] == Role::Not)
    }

    /// With what right the group decides.
    pub fn rank(&self, groups: &[Group], place: usize, is_alone: bool, begins: bool) -> Rank {
        let group = &groups[place];
        let stated = group.is_judged_right || self.is_stated(group);
        if group.is_text {
            let answered = stated || self.is_answered(group);
            return match () {
                _ if answered => Rank::StatedWords,
                _ if self.roles[..group.first - self.from].contains(&Role::So) || begins && is_alone => Rank::Concluded,
                _ if begins && self.is_reply(group) => Rank::Concluded,
                _ => Rank::Words,
            };
        }
        let letter_closed = is_closed(self.tokens, group.end)
            || self.tokens.role(group.last + 1) == Role::Because
            || self.tokens.kind(group.last + 1) == Some(Kind::Han);
        match () {
            _ if stated || self.is_answered(group) => Rank::Stated,
            _ if is_alone || begins && letter_closed => Rank::Lead,
            _ => Rank::Mention,
        }
    }

    /// "Yes, ..." and "No. ..." say it all.
    fn is_reply(&self, group: &Group) -> bool {
        let word = self.tokens.lower(group.first);
        ["yes", "no", "yeah", "nope", "true", "false", "是", "否", "对", "不", "不是", "不对"].contains(&word.as_str())
    }

    /// A cue stands before the group, or "is correct" behind it.
    fn is_stated(&self, group: &Group) -> bool {
        let (first, last) = (group.first - self.from, group.last - self.from);
        for at in (first.saturating_sub(REACH)..first).rev() {
            match (self.kind(at), self.roles[at]) {
                (_, Role::Answer | Role::Choose | Role::So) | (Kind::Mark(_), Role::Correct) => return true,
                (Kind::Mark(mark), _) if ":=([-\u{2014}\u{2013},".contains(mark) => {}
                (Kind::LineEnd, _) => {}
                (
                    Kind::Word | Kind::Han,
                    Role::Is | Role::Option | Role::Correct | Role::Filler | Role::Maybe | Role::Would | Role::Pronoun,
                ) => {}
                (Kind::Word, _) if group.is_text && ["in", "at", "from"].contains(&self.lower(at).as_str()) => {}
                _ => break,
            }
        }
        let mut behind = (last + 1..self.roles.len())
            .skip_while(|&i| {
                !matches!(self.kind(i), Kind::Word | Kind::Han) && matches!(self.kind(i), Kind::Mark(')' | ']'))
            })
            .peekable();
        let has_verb = behind.peek().is_some_and(|&i| {
            matches!(self.roles[i], Role::Is | Role::Would | Role::Correct)
                || ["must", "should", "seems", "looks", "appears"].contains(&self.lower(i).as_str())
        });
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
        is.is_some_and(|is| {
            group.is_text
                || (is + 1..first).all(|i| {
                    matches!(self.roles[i], Role::Filler | Role::Option | Role::Correct)
                        || !matches!(self.kind(i), Kind::Word | Kind::Han)
                })
        })
    }
}
