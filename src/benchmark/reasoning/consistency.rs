//! What cannot be: a wall in front of a sound that is heard beyond it, a sound beyond the room, a room that rings otherwise.
//!
//! The other three statements are true, or possible in this room. Every statement has one number, and the impossible one is
//! drawn so that it may be the smallest or the largest of the four: who has not heard the scene cannot tell.

use super::super::claims::{Claim, Side};
use super::super::draft::{Choice, Context, Draft, one_of};
use super::super::facts::Facts;
use super::super::wording::{hear, join};
use crate::rng::Rng;

/// A statement about the room.
#[derive(Clone, Copy, PartialEq)]
enum Statement {
    /// Where a wall or the ceiling is.
    Wall(Side),
    /// How far away a sound could be.
    Reach(Side),
    /// How long sounds last.
    Fading,
}
use Statement::{Fading, Reach, Wall};

/// Times that contradict what is heard differ by this factor at least.
const FADING_FACTOR: f64 = 1.8;
/// Draws of another scene of the same size.
const SAME_SIZE_TRIES: usize = 60;

impl Statement {
    fn choice(self, value: f64) -> Choice {
        let (text, claim) = match self {
            Wall(side) => {
                let text = match side {
                    Side::Front => format!("the wall in front of the listener is about {value:.2} m away"),
                    Side::Left => format!("the wall to the left of the listener is about {value:.2} m away"),
                    Side::Back => format!("the wall behind the listener is about {value:.2} m away"),
                    Side::Right => format!("the wall to the right of the listener is about {value:.2} m away"),
                    Side::Up => format!("the ceiling is about {value:.2} m above the listener's ears"),
                };
                (text, Claim::Wall { side, m: value })
            }
            Reach(side) => {
                let place = match side {
                    Side::Front => "straight in front of the listener",
                    Side::Left => "exactly to the left of the listener",
                    Side::Back => "straight behind the listener",
                    Side::Right => "exactly to the right of the listener",
                    Side::Up => "straight above the listener",
                };
                (format!("a sound could come from {value:.2} m away {place}"), Claim::Reach { side, m: value })
            }
            Fading => {
                let text = format!("sounds in this room take about {value:.2} s to fade by 60 dB");
                (text, Claim::ReverberationTime { s: value })
            }
        };
        Choice::new(text, Claim::Not { of: Box::new(claim) })
    }

    /// What is true, or possible.
    fn possible(self, facts: &Facts, rng: &mut Rng) -> Option<f64> {
        Some(match self {
            Wall(side) => facts.wall_m(side),
            Reach(side) => {
                let wall_m = facts.wall_m(side);
                let most = wall_m - (0.1 * wall_m).max(0.2) - 0.02;
                rng.range(0.35 * most, most)
            }
            Fading => facts.reverberation_s()?,
        })
    }

    /// What cannot be.
    fn impossible(self, c: &Context, rng: &mut Rng) -> Option<f64> {
        let facts = c.facts;
        match self {
            Wall(side) => {
                let extent_m = facts.extent_m(side);
                let most = extent_m - (0.3 * extent_m).max(0.6) - 0.02;
                (most >= 0.5).then(|| rng.range(0.5 * (0.5 + most), most))
            }
            Reach(side) => {
                let wall_m = facts.wall_m(side);
                let least = wall_m + (0.35 * wall_m).max(0.7) + 0.02;
                Some(rng.range(least, least + 0.6 * wall_m + 0.8))
            }
            // Of another room of this size: in one of another size the time would give itself away.
            Fading => {
                let (own, size) = (facts.reverberation_s()?, &facts.room().size);
                let draws = (0..SAME_SIZE_TRIES).map(|_| c.pool.any(rng).0);
                let others: Vec<f64> =
                    draws.filter(|f| f.room().size == *size).filter_map(Facts::reverberation_s).collect();
                others.into_iter().find(|s| (s / own).ln().abs() >= FADING_FACTOR.ln())
            }
        }
    }
}

/// Four statements, the impossible one first, by kind.
fn statements(c: &Context, rng: &mut Rng) -> Option<(&'static str, [Statement; 4])> {
    let mut sides = Side::ALL.to_vec();
    rng.shuffle(&mut sides);
    let (kind, mut four) = match rng.below(3) {
        0 => ("walls", [0, 1, 2, 3].map(|i| Wall(sides[i]))),
        1 => ("reach", [0, 1, 2, 3].map(|i| Reach(sides[i]))),
        _ => ("mixed", [Wall(sides[0]), Reach(sides[1]), Wall(sides[2]), Fading]),
    };
    let first = rng.below(4);
    four.swap(0, first);
    (!four.contains(&Fading) || c.facts.reverberation_s().is_some()).then_some((kind, four))
}

/// What cannot be in this room.
pub fn physical_consistency(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (kind, four) = statements(c, rng)?;
    // Which place the impossible number has among the four is chosen before it is known whether the scene allows it.
    let rank = rng.below(4);
    let values = (0..RANK_TRIES).find_map(|_| {
        let wrong = four[0].impossible(c, rng)?;
        let mut values = vec![wrong];
        for statement in &four[1..] {
            values.push(statement.possible(c.facts, rng)?);
        }
        (kind == "mixed" || values[1..].iter().filter(|v| **v < wrong).count() == rank).then_some(values)
    })?;
    let choices = std::array::from_fn(|i| four[i].choice(values[i]));
    let question = one_of(
        rng,
        &[
            "Which statement is physically impossible, given this room and where its sounds are?",
            "Which of these statements cannot be true of what is heard?",
            "Three statements fit this scene, one contradicts it. Which one?",
            "Which statement is physically impossible in this room?",
            "Which of the following statements contradicts this scene?",
        ],
    );
    Some(Draft {
        kind,
        context: String::new(),
        question: question.into(),
        reasoning: contradiction(c, four[0], values[0])?,
        choices,
        open: None,
    })
}

/// Draws of numbers that are to have a given order.
const RANK_TRIES: usize = 12;

/// Why the first statement cannot be: what is heard, and what it contradicts.
fn contradiction(c: &Context, statement: Statement, value: f64) -> Option<String> {
    let facts = c.facts;
    let words = |side| match side {
        Side::Front => "to the front",
        Side::Left => "to the left",
        Side::Back => "to the back",
        Side::Right => "to the right",
        Side::Up => "above the ears",
    };
    Some(match statement {
        Wall(side) => {
            let (axis, far_end) = side.axis();
            let towards = |i: usize| {
                let offset = facts.direction(i)[axis] * facts.distance_m(i);
                if far_end { offset } else { -offset }
            };
            let farthest = (0..facts.count()).max_by(|&i, &j| towards(i).total_cmp(&towards(j)))?;
            let bound = if side == Side::Up { "ceiling" } else { "wall" };
            format!(
                "{} That puts it {:.1} m {}. A {bound} only {value:.1} m away would stand between us.",
                hear(c, &[farthest]),
                towards(farthest),
                words(side)
            )
        }
        Reach(side) => {
            let all: Vec<String> =
                Side::ALL[..4].iter().map(|s| format!("{:.1} m {}", facts.wall_m(*s), words(*s))).collect();
            let up = format!("the ceiling {:.1} m {}", facts.wall_m(Side::Up), words(Side::Up));
            format!(
                "I hear a {} room whose walls I take to be {}, {up}. {value:.1} m {} is beyond that.",
                facts.room().size,
                join(&all),
                words(side)
            )
        }
        Fading => {
            let own = facts.reverberation_s()?;
            let compare = if value > own { "longer" } else { "shorter" };
            format!(
                "I hear sounds fade within about {own:.1} s in this room. {value:.1} s is much {compare} than that."
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::draft::Pool;
    use super::super::super::generate::tests::scenes;
    use super::super::super::verdict::Verdict;
    use super::*;

    #[test]
    fn the_impossible_number_has_any_rank() {
        let pool = Pool::new(scenes(300));
        let (mut ranks, mut kinds) = ([0; 4], std::collections::BTreeSet::new());
        for (index, facts) in pool.scenes.iter().enumerate() {
            let context = Context { facts, pool: &pool, signed: false };
            let mut rng = Rng::new(1, "consistency", index as u64);
            for draft in (0..8).filter_map(|_| physical_consistency(&context, &mut rng)) {
                kinds.insert(draft.kind);
                assert!(draft.holds(facts), "{draft:?}");
                let values = draft.choices.each_ref().map(|choice| match &choice.claim {
                    Claim::Not { of } => match **of {
                        Claim::Wall { m, .. } | Claim::Reach { m, .. } => m,
                        Claim::ReverberationTime { s } => s,
                        _ => panic!("{choice:?}"),
                    },
                    _ => panic!("{choice:?}"),
                });
                if draft.kind == "reach" {
                    ranks[values.iter().filter(|v| **v < values[0]).count()] += 1;
                }
            }
        }
        // In single drafts it is more often large; that ranks are even in a set is what `balance` sees to.
        assert!(kinds.len() == 3 && ranks.iter().all(|n| *n > 0), "{kinds:?} {ranks:?}");
        assert_eq!(Verdict::False, Claim::Reach { side: Side::Up, m: 9.0 }.verdict(&pool.scenes[0]));
    }
}
