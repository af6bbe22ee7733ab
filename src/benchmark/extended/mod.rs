//! Beyond the paper's eighteen tasks: order and overlap in time, when and how long, elevations against each other, counts per
//! sort of sound, ranks, angles, directions in degrees, and who says what where. Asked with `twnm benchmark --tasks extended`
//! and reported apart.
//!
//! As in the other tasks wrong values belong to other sources of the same scene where there are any, and to other scenes by
//! the same rules where there are none. Which sounds a script brings together, and whether they overlap, can be known without
//! hearing; who begins, how long they overlap and where they are cannot. So overlaps are asked about by place or by their
//! length, and of times of a sound that plays all along nothing is asked.

mod angle;
mod count;
mod direction;
mod elevation;
mod onset;
mod order;
mod overlap;
mod parts;
mod rank;
mod speaker;

use super::facts::Facts;
use super::task::Task;
pub(super) use angle::{angle_between, turn_between};
pub(super) use count::{sort_and_region, two_sorts};
pub(super) use direction::{identity_and_distance, identity_of_three};
pub(super) use elevation::{higher_and_closer, higher_by};
pub(super) use onset::{duration_and_direction, onset_and_direction};
pub(super) use order::{first_and_direction, first_and_distance};
pub(super) use overlap::{one_after_the_other, together_and_side};
pub(super) use rank::{farthest_first, nearest_first};
pub(super) use speaker::{said_and_direction, said_from};

/// Whether a scene may have material for a task of these.
pub(super) fn suits(task: Task, facts: &Facts) -> bool {
    match task {
        Task::OrderInTime | Task::OnsetAndDuration => order::has_order(facts),
        Task::OverlapInTime => order::has_order_of_any(facts),
        Task::CompareElevations => elevation::can_compare(facts),
        Task::CountPerClass => count::can_count(facts),
        Task::RankByDistance => rank::can_rank(facts),
        Task::AngleBetween => facts.named.len() >= 2,
        Task::IdentityAtDirection => facts.named.len() >= 2,
        Task::SpeakerSaysWhere => speaker::can_ask(facts),
        _ => true,
    }
}
