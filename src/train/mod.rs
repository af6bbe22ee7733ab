//! Training: the run folder every stage shares, and the loops.

pub mod run;
