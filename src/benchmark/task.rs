//! The eighteen tasks (paper Table 5) and how many questions each level has; nine further tasks that are reported apart.

use crate::text::questions::EXTENDED_LEVEL;
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
    /// Which of two sounds begins first.
    #[serde(rename = "ext_order_in_time")]
    OrderInTime,
    /// Whether, and how long, two sounds are heard together.
    #[serde(rename = "ext_overlap_in_time")]
    OverlapInTime,
    /// When a sound begins, or how long it lasts.
    #[serde(rename = "ext_onset_and_duration")]
    OnsetAndDuration,
    /// Which of two is higher.
    #[serde(rename = "ext_compare_elevations")]
    CompareElevations,
    /// How many voices, sources of music and other sounds there are.
    #[serde(rename = "ext_count_per_class")]
    CountPerClass,
    /// Three sounds in the order of their distances.
    #[serde(rename = "ext_rank_by_distance")]
    RankByDistance,
    /// The angle between two sounds.
    #[serde(rename = "ext_angle_between")]
    AngleBetween,
    /// What is at a direction given in degrees.
    #[serde(rename = "ext_identity_at_direction")]
    IdentityAtDirection,
    /// Who says what where.
    #[serde(rename = "ext_speaker_says_where")]
    SpeakerSaysWhere,
}

/// Which tasks a set of questions has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskSet {
    /// The eighteen of the paper.
    #[default]
    Paper,
    /// The nine beyond them.
    Extended,
    /// Two thirds of the questions for the first, one third for the others.
    All,
}

impl TaskSet {
    /// Whether it is the paper's.
    pub fn is_paper(&self) -> bool {
        *self == TaskSet::Paper
    }
}

impl Task {
    /// The tasks of the paper, by level.
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

    /// The tasks beyond the paper's.
    pub const EXTENDED: [Task; 9] = [
        Task::OrderInTime,
        Task::OverlapInTime,
        Task::OnsetAndDuration,
        Task::CompareElevations,
        Task::CountPerClass,
        Task::RankByDistance,
        Task::AngleBetween,
        Task::IdentityAtDirection,
        Task::SpeakerSaysWhere,
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
        Task::ALL.into_iter().chain(Task::EXTENDED).find(|t| t.id() == id)
    }

    /// 1 perception, 2 integration, 3 reasoning; [`EXTENDED_LEVEL`] for what is reported apart.
    pub fn level(self) -> u8 {
        match Task::ALL.iter().position(|t| *t == self) {
            Some(0..=6) => 1,
            Some(7..=11) => 2,
            Some(_) => 3,
            None => EXTENDED_LEVEL,
        }
    }

    /// The tasks of a level.
    pub fn of_level(level: u8) -> Vec<Task> {
        Task::ALL.into_iter().chain(Task::EXTENDED).filter(|t| t.level() == level).collect()
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
        quotas.extend(shared(size, Task::of_level(level)));
    }
    quotas
}

/// [`quotas`] of a set of tasks; those beyond the paper's have equally many.
pub fn quotas_of(set: TaskSet, questions: usize) -> Vec<(Task, usize)> {
    let extended = match set {
        TaskSet::Paper => return quotas(questions),
        TaskSet::Extended => return shared(questions, Task::EXTENDED.to_vec()).collect(),
        TaskSet::All => questions / 3,
    };
    quotas(questions - extended).into_iter().chain(shared(extended, Task::EXTENDED.to_vec())).collect()
}

/// `size` questions for `tasks`, the first ones one more where it does not come out even.
fn shared(size: usize, tasks: Vec<Task>) -> impl Iterator<Item = (Task, usize)> {
    let (each, more) = (size / tasks.len(), size % tasks.len());
    tasks.into_iter().enumerate().map(move |(i, task)| (task, each + usize::from(i < more)))
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
        for task in Task::EXTENDED {
            assert_eq!((Task::from_id(&task.id()), task.level()), (Some(task), EXTENDED_LEVEL));
            assert!(task.id().starts_with("ext_"));
        }
        let all = quotas_of(TaskSet::All, 1000);
        let of = |level: u8| all.iter().filter(|(t, _)| t.level() == level).map(|(_, n)| n).sum::<usize>();
        assert_eq!([of(1), of(2), of(3), of(EXTENDED_LEVEL)], [257, 186, 224, 333]);
        assert_eq!(
            quotas_of(TaskSet::Extended, 10).iter().map(|(_, n)| *n).collect::<Vec<_>>(),
            [2, 1, 1, 1, 1, 1, 1, 1, 1]
        );
        assert_eq!(quotas_of(TaskSet::Paper, 77), quotas(77));
    }
}
