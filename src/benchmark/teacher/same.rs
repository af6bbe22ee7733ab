//! When two claims assert the same, in whatever form.

use super::super::claims::Claim;
use super::super::facts::{Facts, around};
use super::super::task::Task;

/// Whether two readings of four options assert the same.
pub(super) fn same_claims(task: Task, facts: &Facts, a: &[Claim; 4], b: &[Claim; 4]) -> bool {
    a.iter().zip(b).all(|(a, b)| parts(task, facts, a) == parts(task, facts, b))
}

/// What a claim asserts, part by part, in one order.
fn parts(task: Task, facts: &Facts, claim: &Claim) -> Vec<String> {
    let mut flat = Vec::new();
    flatten(claim, &mut flat);
    // That a source has its own name is no part of its own.
    let named = |label: &String| flat.iter().flat_map(Claim::sources).any(|s| facts.labels.get(s) == Some(label));
    let is_idle = |claim: &Claim| matches!(claim, Claim::Present { label } if named(label));
    let kept: Vec<Claim> = flat.iter().filter(|c| !is_idle(c)).cloned().collect();
    let text = |claim: Claim| serde_json::to_string(&normal(task, claim)).expect("plain data");
    let mut all: Vec<String> = kept.into_iter().map(text).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn flatten(claim: &Claim, flat: &mut Vec<Claim>) {
    match claim {
        Claim::All { of } => of.iter().for_each(|part| flatten(part, flat)),
        other => flat.push(other.clone()),
    }
}

/// Angles in one range; a source that a question tells by its place, not by its name, as number 0: a reader of the text
/// cannot know which one it is.
fn normal(task: Task, claim: Claim) -> Claim {
    let told_by_place = |source| if task == Task::QueryIdentity { 0 } else { source };
    match claim {
        Claim::Azimuth { source, deg, turn_deg } => {
            Claim::Azimuth { source, deg: tidy(around(deg)), turn_deg: tidy(around(turn_deg)) }
        }
        Claim::Direction { source, azimuth_deg, elevation_deg } => {
            Claim::Direction { source, azimuth_deg: tidy(around(azimuth_deg)), elevation_deg: tidy(elevation_deg) }
        }
        Claim::Sector { source, centre_deg, width_deg, turn_deg } => {
            Claim::Sector { source, centre_deg: tidy(around(centre_deg)), width_deg, turn_deg: tidy(around(turn_deg)) }
        }
        Claim::Elevation { source, deg } => Claim::Elevation { source, deg: tidy(deg) },
        Claim::Called { source, label } => Claim::Called { source: told_by_place(source), label },
        Claim::ElevationWithin { source, low_deg, high_deg } => {
            Claim::ElevationWithin { source: told_by_place(source), low_deg, high_deg }
        }
        other => other,
    }
}

/// Without the rounding errors of sums.
fn tidy(degrees: f64) -> f64 {
    (1e6 * degrees).round() / 1e6 + 0.0
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::tests::{facts, source};
    use super::*;

    #[test]
    fn order_and_range_do_not_matter_and_values_do() {
        let scene = facts(vec![source("dog_bark", 30.0, 15.0, 1.0), source("rain", 100.0, 2.0, 2.5)]);
        let at = |azimuth_deg, m| {
            Claim::both(
                Claim::Direction { source: 0, azimuth_deg, elevation_deg: 15.0 },
                Claim::Distance { source: 0, m },
            )
        };
        let swapped = Claim::All {
            of: vec![
                Claim::Distance { source: 0, m: 1.0 },
                Claim::Present { label: "barking dog".into() },
                Claim::Direction { source: 0, azimuth_deg: -330.0, elevation_deg: 15.0 },
            ],
        };
        let four = |claim: &Claim| [0; 4].map(|_| claim.clone());
        let same = |task, a: &Claim, b: &Claim| same_claims(task, &scene, &four(a), &four(b));
        let task = Task::BindIdentityLocationDistance;
        assert!(same(task, &at(30.0, 1.0), &swapped));
        assert!(!same(task, &at(31.0, 1.0), &swapped) && !same(task, &at(30.0, 2.0), &swapped));
        let absent = Claim::both(at(30.0, 1.0), Claim::Present { label: "siren".into() });
        assert!(!same(task, &at(30.0, 1.0), &absent));
        let called = |source| Claim::Called { source, label: "rain".into() };
        assert!(same(Task::QueryIdentity, &called(0), &called(1)) && !same(task, &called(0), &called(1)));
    }
}
