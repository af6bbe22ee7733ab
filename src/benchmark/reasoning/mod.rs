//! Level 3: the scene and what people know about the world.

mod consistency;
mod meaning;
mod reaching;
mod removal;
mod turning;

pub use consistency::physical_consistency;
pub use meaning::{causal_intent, scene_abduction};
pub use reaching::reach_a_sound;
pub use removal::source_removal;
pub use turning::{azimuth_after_turn, multi_hop_query, side_after_turn};
