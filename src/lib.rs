//! twnm: spatial hearing for language models, from dry recordings to answers about where things are.
//!
//! The modules are the pipeline in order over a compute floor; each uses the floor and modules named
//! before it, nothing later (`tests/tidy.rs` checks that). See `ARCHITECTURE.md` for the map.
#![deny(missing_docs)]

pub mod audio;
pub mod benchmark;
pub mod check;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod encoder;
pub mod error;
pub mod eval;
pub mod family;
pub mod files;
pub mod kernels;
pub mod language;
pub mod models;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod plan;
pub mod projector;
pub mod quickstart;
pub mod rng;
pub mod scene;
pub mod semantic;
pub mod shard;
pub mod signals;
pub mod sim;
pub mod sources;
pub mod table;
pub mod tape;
pub mod tensor;
pub mod text;
pub mod train;
pub mod verify;
pub mod weights;
