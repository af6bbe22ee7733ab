//! The kinds of question of every task, and how often each is asked.

use super::super::draft::{Context, Draft};
use super::super::task::Task;
use super::super::{extended, integration, perception, reasoning};
use crate::rng::Rng;

/// Makes a draft about the context's scene.
pub(super) type Make = fn(&Context, &mut Rng) -> Option<Draft>;

/// A kind of question.
pub(super) struct KindOf {
    /// Of the questions of its task, in relation to the shares of the other kinds.
    pub(super) share: u32,
    pub(super) make: Make,
}

const fn kind(share: u32, make: Make) -> KindOf {
    KindOf { share, make }
}

/// The kinds of a task. Where a scene has no material for one, others stand in.
pub(super) fn of(task: Task) -> &'static [KindOf] {
    macro_rules! kinds {
        ($($share:literal $make:path),+) => {
            const { &[$(kind($share, $make)),+] }
        };
    }
    match task {
        // Plain counts are one to three and never the fourth option: the smallest part.
        Task::CountObjects => {
            kinds![2 perception::plain_count, 4 perception::count_in_region, 4 perception::count_and_region]
        }
        Task::IdentifyEventClass => kinds![1 perception::identify_event_class],
        Task::IdentifySpeechTranscript => kinds![1 perception::identify_speech_transcript],
        Task::LocalizeAzimuth => kinds![1 perception::localize_azimuth],
        Task::LocalizeElevation => kinds![1 perception::elevation_band, 1 perception::elevation_angle],
        Task::EstimateDistance => kinds![1 perception::estimate_distance],
        Task::EnvironmentAcoustics => kinds![2 perception::room, 1 perception::reverberation_time],
        Task::BindIdentityLocationDistance => kinds![1 integration::bind_place, 1 integration::bind_identity],
        Task::QueryLocation => kinds![1 integration::query_location],
        Task::QueryIdentity => kinds![1 integration::identity_of_three, 1 integration::identity_and_height],
        Task::CompareDistances => kinds![1 integration::closer_by, 1 integration::closer_roughly],
        Task::RelativeDirection => kinds![2 integration::beside_and_above, 1 integration::facing_and_above],
        Task::SceneAbduction => kinds![1 reasoning::scene_abduction],
        Task::CausalIntent => kinds![4 reasoning::causal_intent, 1 reasoning::reach_a_sound],
        Task::RotateObserver => kinds![1 reasoning::side_after_turn, 1 reasoning::azimuth_after_turn],
        Task::SourceRemoval => kinds![1 reasoning::source_removal],
        Task::MultiHopQuery => kinds![1 reasoning::multi_hop_query],
        Task::PhysicalConsistency => kinds![1 reasoning::physical_consistency],
        Task::OrderInTime => kinds![1 extended::first_and_direction, 1 extended::first_and_distance],
        Task::OverlapInTime => kinds![1 extended::one_after_the_other, 1 extended::together_and_side],
        Task::OnsetAndDuration => kinds![1 extended::onset_and_direction, 1 extended::duration_and_direction],
        Task::CompareElevations => kinds![1 extended::higher_by, 1 extended::higher_and_closer],
        Task::CountPerClass => kinds![1 extended::two_sorts, 1 extended::sort_and_region],
        Task::RankByDistance => kinds![1 extended::nearest_first, 1 extended::farthest_first],
        Task::AngleBetween => kinds![1 extended::angle_between, 1 extended::turn_between],
        Task::IdentityAtDirection => kinds![1 extended::identity_of_three, 1 extended::identity_and_distance],
        Task::SpeakerSaysWhere => kinds![2 extended::said_and_direction, 1 extended::said_from],
    }
}
