//! Room simulation: from a description of a room to impulse responses, scenes and their exact labels.

pub mod acoustics;
pub mod config;
pub mod convolve;
pub mod decay;
mod high_pass;
pub mod image_source;
pub mod render;
pub mod room;
mod room_json;
pub mod scene;
pub mod scripts;
