//! The eighteen tasks (paper Table 5) and how many questions each level has.

use serde::{Deserialize, Serialize};

/// A task of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Task {
    /// How many sources there are.
    #[serde(rename = "l1_count_objects")]
    CountObjects,
    /// Which sound is heard.
    #[serde(rename = "l1_identify_event_class")]
    IdentifyEventClass,
    /// What is said.
    #[serde(rename = "l1_identify_speech_transcript")]
    IdentifySpeechTranscript,
    /// Azimuth of a source.
    #[serde(rename = "l1_localize_azimuth")]
    LocalizeAzimuth,
    /// Elevation of a source.
    #[serde(rename = "l1_localize_elevation")]
    LocalizeElevation,
    /// Distance of a source.
    #[serde(rename = "l1_estimate_distance")]
    EstimateDistance,
    /// Size and reverberation of the room.
    #[serde(rename = "l1_environment_acoustics")]
    EnvironmentAcoustics,
    /// Which statement binds content, location and distance rightly.
    #[serde(rename = "l2_bind_identity_location_distance")]
    BindIdentityLocationDistance,
    /// Where a named source is.
    #[serde(rename = "l2_query_location_given_identity")]
    QueryLocation,
    /// What is at a place.
    #[serde(rename = "l2_query_identity_given_location")]
    QueryIdentity,
    /// Which of two is closer.
    #[serde(rename = "l2_compare_object_distances")]
    CompareDistances,
    /// Where one source is seen from another.
    #[serde(rename = "l2_relative_direction_between_objects")]
    RelativeDirection,
    /// What is going on.
    #[serde(rename = "l3_scene_abduction")]
    SceneAbduction,
    /// What somebody wants, or does to get it.
    #[serde(rename = "l3_causal_intent")]
    CausalIntent,
    /// Where a source would be after a turn.
    #[serde(rename = "l3_rotate_observer")]
    RotateObserver,
    /// What remains true without a source.
    #[serde(rename = "l3_source_removal")]
    SourceRemoval,
    /// Find a source by one property, tell another.
    #[serde(rename = "l3_multi_hop_query")]
    MultiHopQuery,
    /// What cannot be in this room.
    #[serde(rename = "l3_physical_consistency")]
    PhysicalConsistency,
}

impl Task {
    /// All tasks, by level.
    pub const ALL: [Task; 18] = [
        Task::CountObjects,
        Task::IdentifyEventClass,
        Task::IdentifySpeechTranscript,
        Task::LocalizeAzimuth,
        Task::LocalizeElevation,
        Task::EstimateDistance,
        Task::EnvironmentAcoustics,
        Task::BindIdentityLocationDistance,
        Task::QueryLocation,
        Task::QueryIdentity,
        Task::CompareDistances,
        Task::RelativeDirection,
        Task::SceneAbduction,
        Task::CausalIntent,
        Task::RotateObserver,
        Task::SourceRemoval,
        Task::MultiHopQuery,
        Task::PhysicalConsistency,
    ];

    /// The id in the column `task`.
    pub fn id(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(id)) => id,
            _ => unreachable!("a task is named by a string"),
        }
    }

    /// The task of this id.
    pub fn from_id(id: &str) -> Option<Task> {
        Task::ALL.into_iter().find(|t| t.id() == id)
    }

    /// 1 perception, 2 integration, 3 reasoning.
    pub fn level(self) -> u8 {
        match Task::ALL.iter().position(|t| *t == self) {
            Some(0..=6) => 1,
            Some(7..=11) => 2,
            _ => 3,
        }
    }

    /// The tasks of a level.
    pub fn of_level(level: u8) -> Vec<Task> {
        Task::ALL.into_iter().filter(|t| t.level() == level).collect()
    }
}

/// Questions per thousand in levels 1, 2 and 3 (field notes 0.3: these reproduce the paper's overall scores).
const LEVEL_SHARES: [usize; 3] = [385, 279, 336];

/// How many of `questions` each task gets: levels as the paper's set has them, the tasks of a level equally, the first
/// ones one more where it does not come out even.
pub fn quotas(questions: usize) -> Vec<(Task, usize)> {
    let mut sizes = LEVEL_SHARES.map(|share| questions * share / 1000);
    // Largest remainders first, so that the sizes add up.
    let mut by_remainder: Vec<usize> = (0..3).collect();
    by_remainder.sort_by_key(|&l| (std::cmp::Reverse(questions * LEVEL_SHARES[l] % 1000), l));
    let missing = questions - sizes.iter().sum::<usize>();
    by_remainder.iter().take(missing).for_each(|&l| sizes[l] += 1);
    let mut quotas = Vec::new();
    for (level, size) in (1u8..).zip(sizes) {
        let tasks = Task::of_level(level);
        let (each, more) = (size / tasks.len(), size % tasks.len());
        quotas.extend(tasks.into_iter().enumerate().map(|(i, t)| (t, each + usize::from(i < more))));
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_sizes_of_the_paper() {
        let of = |n: usize| -> Vec<usize> {
            let quotas = quotas(n);
            (1..=3).map(|l| quotas.iter().filter(|(t, _)| t.level() == l).map(|(_, n)| n).sum()).collect()
        };
        assert_eq!(of(1000), [385, 279, 336]);
        assert_eq!(of(100_000), [38_500, 27_900, 33_600]);
        for n in [0, 1, 2, 3, 17, 18, 999] {
            assert_eq!(of(n).iter().sum::<usize>(), n);
        }
        assert_eq!((Task::of_level(1).len(), Task::of_level(2).len(), Task::of_level(3).len()), (7, 5, 6));
        for task in Task::ALL {
            assert_eq!(Task::from_id(&task.id()), Some(task));
            assert!(task.id().starts_with(&format!("l{}_", task.level())));
        }
    }
}
