//! Training: one loop per stage over a run folder that survives any interruption.

pub mod encoder;
