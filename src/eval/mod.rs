//! Scores, and what they are shown with: answers to questions against their key, the spatial encoder against ground
//! truth and the best constant predictor.

pub mod ablation;
pub mod answers;
pub mod assignment;
mod charts;
pub mod clusters;
pub mod dcase;
mod draw;
pub mod encoder;
pub mod export;
pub mod intensity;
pub mod listen;
pub mod open;
pub mod paper;
pub mod picture;
pub mod report;
pub mod results;
pub mod statistics;
