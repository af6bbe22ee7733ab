//! Stage 1: the spatial encoder learns counts, directions, distances, classes and rooms (paper 4.3).

pub mod batch;
pub mod recipe;
pub mod step;
