//! Parameters, the layers made of them, and what of a computation is kept for its backward pass.
//!
//! A layer holds [`ParamId`]s; a [`Forward`] binds the numbers of a [`Params`] to a tape for one computation. Names are
//! the names in checkpoint files.

pub mod chunks;
pub mod forward;
pub mod layers;
pub mod params;
pub mod recompute;

pub use forward::Forward;
pub use params::{Builder, Home, Init, ParamId, ParamInfo, Params};
pub use recompute::Memory;
