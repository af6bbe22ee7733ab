//! Training: the run folder every stage shares, and one loop per stage.

pub mod answers;
pub mod encoder;
pub mod language;
pub mod run;
pub mod semantic;
pub mod updates;
