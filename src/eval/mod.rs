//! Scores, and what they are shown with: the spatial encoder against ground truth and the best constant predictor.

pub mod ablation;
pub mod assignment;
pub mod dcase;
pub mod encoder;
pub mod heard;
pub mod intensity;
pub mod models;
pub mod picture;
pub mod report;
