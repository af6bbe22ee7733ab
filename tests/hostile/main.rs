//! Bad input and bad luck: damaged data, wrong recipes, full disks and kills; audio files as nobody should write them.

mod audio;
#[path = "../common/mod.rs"]
mod common;
mod flac;
mod joined;
mod models;
mod outputs;
mod programs;
mod text;
