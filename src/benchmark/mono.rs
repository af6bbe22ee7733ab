//! The mono ceiling: what of an option is left for who knows every sound, every word and every count of a scene exactly, and
//! nothing of space.
//!
//! Where sounds are, how far, in which room: unknown. Which sounds there are, when they begin and end, what they mean, what is
//! said, how many there are: known. Which of the known sounds it is that a question finds by its place is not, so an option stands when some way
//! of giving the sounds to the places lets everything in it that is not about space be true. Such a listener excludes the other
//! options and guesses among those that stand; a score that is not above it does not show that anybody heard where.

use super::claims::{Claim, Region};
use super::facts::Facts;
use super::verdict::Verdict;
use crate::text::questions::Letter;

/// The options that stand.
pub fn standing(claims: &[Claim; 4], facts: &Facts) -> Vec<Letter> {
    Letter::ALL.into_iter().filter(|letter| stands(&claims[letter.index()], facts)).collect()
}

/// Whether the claim could be true for all that is known without space.
fn stands(claim: &Claim, facts: &Facts) -> bool {
    let given = orders(facts.count());
    given.iter().any(|order| heard(claim, facts, order) != Verdict::False)
}

/// All orders of `n` sources: which sound stands at which place.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let Some(last) = n.checked_sub(1) else { return vec![vec![]] };
    let insert = |order: Vec<usize>| {
        (0..n).map(move |at| {
            let mut longer = order.clone();
            longer.insert(at, last);
            longer
        })
    };
    orders(last).into_iter().flat_map(insert).collect()
}

/// What is known about the claim when the sound of place `i` is that of source `order[i]`.
fn heard(claim: &Claim, facts: &Facts, order: &[usize]) -> Verdict {
    let moved = |source: &usize| order.get(*source).copied().unwrap_or(*source);
    match claim {
        Claim::Not { of } => match heard(of, facts, order) {
            Verdict::True => Verdict::False,
            Verdict::False => Verdict::True,
            Verdict::Unclear => Verdict::Unclear,
        },
        Claim::All { of } => {
            let parts: Vec<Verdict> = of.iter().map(|part| heard(part, facts, order)).collect();
            match () {
                _ if parts.contains(&Verdict::False) => Verdict::False,
                _ if parts.contains(&Verdict::Unclear) => Verdict::Unclear,
                _ => Verdict::True,
            }
        }
        Claim::Called { source, label } => Claim::Called { source: moved(source), label: label.clone() }.verdict(facts),
        Claim::Says { source, text } => Claim::Says { source: moved(source), text: text.clone() }.verdict(facts),
        Claim::Plays { source, role } => Claim::Plays { source: moved(source), role: role.clone() }.verdict(facts),
        Claim::BeginsLast { source } => Claim::BeginsLast { source: moved(source) }.verdict(facts),
        Claim::BeginsBefore { a, b } => Claim::BeginsBefore { a: moved(a), b: moved(b) }.verdict(facts),
        Claim::StillHeard { a, b } => Claim::StillHeard { a: moved(a), b: moved(b) }.verdict(facts),
        Claim::EndedBefore { a, b } => Claim::EndedBefore { a: moved(a), b: moved(b) }.verdict(facts),
        Claim::TogetherFor { a, b, low_s, high_s } => {
            Claim::TogetherFor { a: moved(a), b: moved(b), low_s: *low_s, high_s: *high_s }.verdict(facts)
        }
        Claim::Begins { source, s } => Claim::Begins { source: moved(source), s: *s }.verdict(facts),
        Claim::Lasts { source, s } => Claim::Lasts { source: moved(source), s: *s }.verdict(facts),
        Claim::Count { region: Region::Anywhere, .. } | Claim::Present { .. } | Claim::CountOf { .. } => {
            claim.verdict(facts)
        }
        // A region holds no more sources than there are.
        Claim::Count { n, .. } if *n > facts.count() => Verdict::False,
        Claim::Remain { n, .. } if *n >= facts.count() => Verdict::False,
        // Everything else is about places and the room.
        _ => Verdict::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{facts, source};
    use super::*;

    fn stands_in(claim: Claim) -> bool {
        stands(&claim, &facts(vec![source("rain", 0.0, 0.0, 2.0), source("siren", 90.0, 10.0, 3.0)]))
    }

    fn called(source: usize, label: &str) -> Claim {
        Claim::Called { source, label: label.into() }
    }

    #[test]
    fn sounds_and_counts_are_known_and_places_are_not() {
        let count = |region, n| Claim::Count { region, n };
        assert!(stands_in(count(Region::Anywhere, 2)) && !stands_in(count(Region::Anywhere, 3)));
        assert!(stands_in(count(Region::Left, 0)) && stands_in(count(Region::Left, 2)));
        assert!(!stands_in(count(Region::Left, 3)), "more than there are");
        assert!(stands_in(Claim::Distance { source: 0, m: 90.0 }), "a place is not known to be wrong");
        assert!(
            stands_in(called(0, "rain")) && stands_in(called(0, "siren")),
            "which of the two is there is not known"
        );
        assert!(!stands_in(called(0, "barking dog")));
        assert!(!stands_in(Claim::both(called(0, "rain"), called(1, "rain"))), "there is one rain");
        assert!(stands_in(Claim::both(called(0, "siren"), called(1, "rain"))));
        assert!(!stands_in(Claim::Not { of: Box::new(Claim::Present { label: "rain".into() }) }));
        assert!(stands_in(Claim::Not { of: Box::new(Claim::ReverberationTime { s: 3.0 }) }));
        assert!(stands_in(Claim::RoomSize { size: "large".into() }), "the room is space");
    }

    #[test]
    fn times_are_known_of_sounds_that_are_named() {
        let mut late = source("siren", 90.0, 10.0, 3.0);
        late.active_s = vec![[2.5, 4.0]];
        let facts = facts(vec![source("rain", 0.0, 0.0, 2.0), late]);
        let stands = |claim: Claim| stands(&claim, &facts);
        let first = |a, b| Claim::BeginsBefore { a, b };
        assert!(stands(first(0, 1)) && stands(first(1, 0)), "which of two places begins is not known");
        let named = |claim| Claim::All { of: vec![called(0, "rain"), called(1, "siren"), claim] };
        assert!(stands(named(first(0, 1))) && !stands(named(first(1, 0))), "the rain is known to begin");
        assert!(
            stands(named(Claim::Begins { source: 1, s: 2.5 })) && !stands(named(Claim::Begins { source: 1, s: 0.0 }))
        );
        assert!(!stands(named(Claim::Lasts { source: 0, s: 1.5 })));
        let overlap = |low_s, high_s| Claim::TogetherFor { a: 0, b: 1, low_s, high_s };
        assert!(stands(overlap(1.0, 2.0)) && !stands(overlap(2.5, 9.0)));
    }

    #[test]
    fn every_order_of_the_sources_is_tried() {
        let counts: Vec<usize> = (0..5).map(|n| orders(n).len()).collect();
        assert_eq!(counts, [1, 1, 2, 6, 24]);
        let mut three = orders(3);
        three.sort();
        three.dedup();
        assert_eq!(three.len(), 6);
    }
}
