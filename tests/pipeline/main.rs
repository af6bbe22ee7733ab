//! From sounds to a trained and scored encoder through the programs, on every device that runs without a GPU.

mod curriculum;
mod devices;
