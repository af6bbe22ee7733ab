//! From sounds to a trained and scored encoder through the programs, on every device that runs without a GPU.

mod answers;
#[path = "../common/mod.rs"]
mod common;
mod curriculum;
mod devices;
#[path = "../common/family.rs"]
mod family;
