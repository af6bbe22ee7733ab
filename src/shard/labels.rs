//! The numbers a scene is trained on and scored by, and their tensors in a shard.

use crate::error::{Error, Result};
use crate::weights::{Entry, Tensors};

/// Most sources of a scene, and slots of the encoder.
pub const MAX_SOURCES: usize = 3;
/// Length of one step of [`Labels::activity`].
pub const ACTIVITY_STEP_S: f64 = 0.1;

/// Ground truth of one scene. Slots beyond `count` are zero (`klass` -1). Tensor names in a shard are the
/// field names; shapes below are those tensors', N scenes.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// Number of sources, 0 to 3. I64 `[N]`.
    pub count: usize,
    /// Unit vectors to the sources: x front, y left, z up. F32 `[N, 3, 3]` (slot, axis).
    pub direction: [[f32; 3]; MAX_SOURCES],
    /// Distances in metres. F32 `[N, 3]`.
    pub distance_m: [f32; MAX_SOURCES],
    /// Index into the class list of the set, -1 when there is none. I64 `[N, 3]`.
    pub klass: [i64; MAX_SOURCES],
    /// 1 where the class is known and supervised, else 0. F32 `[N, 3]`.
    pub class_mask: [f32; MAX_SOURCES],
    /// Natural logarithm of the room's surface in square metres. F32 `[N]`.
    pub log_surface: f32,
    /// Mean energy absorption of the room. F32 `[N]`.
    pub absorption: f32,
    /// Reverberation time of the room in seconds. F32 `[N]`.
    pub rt60_s: f32,
    /// 1 where the room is known and supervised, else 0. F32 `[N]`.
    pub room_mask: f32,
    /// For each slot and each [`ACTIVITY_STEP_S`] of the clip, 1 where the source sounds. U8 `[N, 3, steps]`.
    pub activity: [Vec<u8>; MAX_SOURCES],
}

impl Labels {
    /// Labels of a scene without sources in an unknown room, to be filled in; `frames` is the clip's length.
    pub fn empty(frames: usize) -> Self {
        let steps = activity_steps(frames);
        Labels {
            count: 0,
            direction: [[0.0; 3]; MAX_SOURCES],
            distance_m: [0.0; MAX_SOURCES],
            klass: [-1; MAX_SOURCES],
            class_mask: [0.0; MAX_SOURCES],
            log_surface: 0.0,
            absorption: 0.0,
            rt60_s: 0.0,
            room_mask: 0.0,
            activity: std::array::from_fn(|_| vec![0; steps]),
        }
    }

    /// Whether everything is in range for a clip of `frames` and `classes` classes; the message names the field.
    pub fn check(&self, frames: usize, classes: usize) -> Result<(), String> {
        if self.count > MAX_SOURCES {
            return Err(format!("count is {}, at most {MAX_SOURCES}", self.count));
        }
        for slot in 0..MAX_SOURCES {
            let used = slot < self.count;
            let norm = self.direction[slot].iter().map(|v| v * v).sum::<f32>().sqrt();
            let off = (norm - if used { 1.0 } else { 0.0 }).abs();
            if off.is_nan() || off > 1e-3 {
                return Err(format!("direction of slot {slot} has length {norm}"));
            }
            if !(self.distance_m[slot].is_finite() && self.distance_m[slot] >= 0.0) {
                return Err(format!("distance_m of slot {slot} is {}", self.distance_m[slot]));
            }
            if self.klass[slot] < -1 || self.klass[slot] >= classes as i64 {
                return Err(format!("klass of slot {slot} is {}, there are {classes} classes", self.klass[slot]));
            }
            let supervised = self.class_mask[slot];
            if supervised != 0.0 && (supervised != 1.0 || !used || self.klass[slot] < 0) {
                return Err(format!("class_mask of slot {slot} is {supervised} without a class"));
            }
            if self.activity[slot].len() != activity_steps(frames) || self.activity[slot].iter().any(|&a| a > 1) {
                return Err(format!("activity of slot {slot} is not {} zeros and ones", activity_steps(frames)));
            }
        }
        for (name, value) in
            [("log_surface", self.log_surface), ("absorption", self.absorption), ("rt60_s", self.rt60_s)]
        {
            if !value.is_finite() {
                return Err(format!("{name} is {value}"));
            }
        }
        if self.room_mask != 0.0 && self.room_mask != 1.0 {
            return Err(format!("room_mask is {}", self.room_mask));
        }
        Ok(())
    }
}

/// Steps of [`Labels::activity`] in a clip of `frames` samples.
pub fn activity_steps(frames: usize) -> usize {
    frames.div_ceil((ACTIVITY_STEP_S * super::SAMPLE_RATE as f64) as usize)
}

/// The label tensors of one shard, column by column.
pub(super) struct Columns {
    steps: usize,
    count: Vec<i64>,
    klass: Vec<i64>,
    /// The F32 columns in the order of [`FLOATS`].
    floats: [Vec<f32>; FLOATS.len()],
    activity: Vec<u8>,
}

/// Names of the F32 tensors and their elements per scene.
const FLOATS: [(&str, &[usize]); 7] = [
    ("direction", &[MAX_SOURCES, 3]),
    ("distance_m", &[MAX_SOURCES]),
    ("class_mask", &[MAX_SOURCES]),
    ("log_surface", &[]),
    ("absorption", &[]),
    ("rt60_s", &[]),
    ("room_mask", &[]),
];

impl Columns {
    pub fn new(frames: usize) -> Self {
        let floats = std::array::from_fn(|_| Vec::new());
        Columns { steps: activity_steps(frames), count: Vec::new(), klass: Vec::new(), floats, activity: Vec::new() }
    }

    pub fn push(&mut self, l: &Labels) {
        self.count.push(l.count as i64);
        self.klass.extend(l.klass);
        let room = [[l.log_surface], [l.absorption], [l.rt60_s], [l.room_mask]];
        let values: [&[f32]; FLOATS.len()] =
            [l.direction.as_flattened(), &l.distance_m, &l.class_mask, &room[0], &room[1], &room[2], &room[3]];
        for (column, value) in self.floats.iter_mut().zip(values) {
            column.extend(value);
        }
        for slot in &l.activity {
            self.activity.extend(slot);
        }
    }

    /// Calls `write` with the entries of all columns.
    pub fn with_entries<T>(&self, write: impl FnOnce(&[Entry]) -> T) -> T {
        let n = self.count.len();
        let shape = |rest: &[usize]| [&[n], rest].concat();
        let (count, klass, activity) = (shape(&[]), shape(&[MAX_SOURCES]), shape(&[MAX_SOURCES, self.steps]));
        let shapes = FLOATS.map(|(_, rest)| shape(rest));
        let mut entries = vec![
            Entry::i64("count", &count, &self.count),
            Entry::i64("klass", &klass, &self.klass),
            Entry::u8("activity", &activity, &self.activity),
        ];
        for (((name, _), shape), values) in FLOATS.iter().zip(&shapes).zip(&self.floats) {
            entries.push(Entry::f32(name, shape, values));
        }
        write(&entries)
    }

    /// Reads the labels of the `n` scenes of a shard and checks every one.
    pub fn read(tensors: &Tensors, n: usize, frames: usize, classes: usize) -> Result<Vec<Labels>> {
        let steps = activity_steps(frames);
        let expect = |name: &str, rest: &[usize]| {
            let (stored, wanted) = (tensors.shape(name)?, [&[n], rest].concat());
            if stored == wanted {
                return Ok(());
            }
            let file = tensors.path().display();
            Err(Error::data(format!("{file}: tensor {name:?} has shape {stored:?}, expected {wanted:?}")))
        };
        expect("count", &[])?;
        expect("klass", &[MAX_SOURCES])?;
        expect("activity", &[MAX_SOURCES, steps])?;
        let (count, klass, activity) = (tensors.i64("count")?, tensors.i64("klass")?, tensors.bytes("activity")?);
        let mut floats = Vec::new();
        for (name, rest) in FLOATS {
            expect(name, rest)?;
            floats.push(tensors.f32(name)?);
        }
        let mut out = Vec::with_capacity(n);
        for i in 0..n {
            let slots = |column: usize| std::array::from_fn(|s| floats[column][i * MAX_SOURCES + s]);
            let active = |s: usize| activity[(i * MAX_SOURCES + s) * steps..][..steps].to_vec();
            let labels = Labels {
                count: usize::try_from(count[i]).unwrap_or(usize::MAX),
                direction: std::array::from_fn(|s| std::array::from_fn(|a| floats[0][(i * MAX_SOURCES + s) * 3 + a])),
                distance_m: slots(1),
                klass: std::array::from_fn(|s| klass[i * MAX_SOURCES + s]),
                class_mask: slots(2),
                log_surface: floats[3][i],
                absorption: floats[4][i],
                rt60_s: floats[5][i],
                room_mask: floats[6][i],
                activity: std::array::from_fn(active),
            };
            labels
                .check(frames, classes)
                .map_err(|what| Error::data(format!("{}: scene {i} of the shard: {what}", tensors.path().display())))?;
            out.push(labels);
        }
        Ok(out)
    }
}
