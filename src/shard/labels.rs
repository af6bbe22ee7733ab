//! The numbers a scene is trained on and scored by, and their tensors in a shard.

use crate::audio::SAMPLE_RATE;
use crate::error::{Error, Result};
use crate::scene::{self, ClipRoom, ClipSource, ClipTruth, SOURCES_MAX, STEP_SAMPLES, STEPS_PER_SECOND, Truth};
use crate::weights::{Entry, Tensors};

/// A source must sound in at least this many steps of a crop to be in its labels.
const ACTIVE_STEPS_MIN: usize = 2;

/// Ground truth of one scene in numbers, made from its [`Truth`]. Slots beyond `count` are zero (class -1). Tensor names
/// in a shard are the field names, but `klass` for `class`; shapes below are those tensors', N scenes.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// Number of sources, 0 to 3. I64 `[N]`.
    pub count: usize,
    /// Unit vectors to the sources: x front, y left, z up. F32 `[N, 3, 3]` (slot, axis).
    pub direction: [[f32; 3]; SOURCES_MAX],
    /// Distances in metres. F32 `[N, 3]`.
    pub distance_m: [f32; SOURCES_MAX],
    /// Index into the class list of the set, -1 when there is none. I64 `klass` `[N, 3]`.
    pub class: [i64; SOURCES_MAX],
    /// 1 where the class is known and supervised, else 0. F32 `[N, 3]`.
    pub class_mask: [f32; SOURCES_MAX],
    /// Natural logarithm of the room's surface in square metres. F32 `[N]`.
    pub log_surface: f32,
    /// Mean energy absorption of the room. F32 `[N]`.
    pub absorption: f32,
    /// Reverberation time of the room in seconds. F32 `[N]`.
    pub rt60_s: f32,
    /// 1 where the room is known and supervised, else 0. F32 `[N]`.
    pub room_mask: f32,
    /// For each slot and each step of 0.1 s, 1 where the source sounds. U8 `[N, 3, steps]`.
    pub activity: [Vec<u8>; SOURCES_MAX],
    /// Where a source moves: for each slot and step its unit vector and distance; `direction` and `distance_m` are those at
    /// the middle of its activity. F32 `[N, 3, steps, 4]`, in shards with such a scene alone.
    pub path: Option<[Vec<[f32; 4]>; SOURCES_MAX]>,
}

impl Labels {
    /// Labels of a scene without sources in an unknown room, to be filled in; `frames` is the clip's length.
    pub fn empty(frames: usize) -> Self {
        let steps = activity_steps(frames);
        Labels {
            count: 0,
            direction: [[0.0; 3]; SOURCES_MAX],
            distance_m: [0.0; SOURCES_MAX],
            class: [-1; SOURCES_MAX],
            class_mask: [0.0; SOURCES_MAX],
            log_surface: 0.0,
            absorption: 0.0,
            rt60_s: 0.0,
            room_mask: 0.0,
            activity: std::array::from_fn(|_| vec![0; steps]),
            path: None,
        }
    }

    /// The labels of a scene, its sources in their order.
    ///
    /// # Errors
    /// `Data` for more than [`SOURCES_MAX`] sources: which of them a clip should be labelled with is nobody's guess.
    pub fn of(truth: &Truth) -> Result<Labels> {
        if truth.sources.len() > SOURCES_MAX {
            let message = format!("{}: {} sources, a clip has at most {SOURCES_MAX}", truth.id, truth.sources.len());
            return Err(Error::data(message).hint("cut it into clips in which fewer sources sound"));
        }
        let mut labels = Labels::empty((truth.seconds * f64::from(SAMPLE_RATE)).round() as usize);
        let n = labels.activity[0].len();
        labels.count = truth.sources.len();
        for (slot, track) in truth.sources.iter().enumerate() {
            labels.activity[slot] = scene::steps(&track.active_s, truth.seconds, n);
            let at = track.path.at((middle(&labels.activity[slot]) as f64 + 0.5) / STEPS_PER_SECOND as f64);
            labels.direction[slot] = at.direction().map(|x| x as f32);
            labels.distance_m[slot] = at.distance_m() as f32;
            labels.class[slot] = track.class_index.map_or(-1, |c| c as i64);
            labels.class_mask[slot] = if track.class_index.is_some() { 1.0 } else { 0.0 };
        }
        if truth.sources.iter().any(|track| track.path.standing().is_none()) {
            labels.path = Some(std::array::from_fn(|slot| {
                let place = |k: usize| {
                    let Some(track) = truth.sources.get(slot) else { return [0.0; 4] };
                    let at = track.path.at((k as f64 + 0.5) / STEPS_PER_SECOND as f64);
                    let [x, y, z] = at.direction();
                    [x, y, z, at.distance_m()].map(|v| v as f32)
                };
                (0..n).map(place).collect()
            }));
        }
        if let Some(room) = &truth.room {
            labels.log_surface = room.surface_m2.ln() as f32;
            labels.absorption = room.absorption as f32;
            labels.rt60_s = room.rt60_s as f32;
            labels.room_mask = 1.0;
        }
        Ok(labels)
    }

    /// What is true of the whole scene, also of sources that hardly sound.
    pub fn whole(&self) -> ClipTruth {
        self.truth((0..self.count).map(|slot| self.source(slot, &self.activity[slot], 0)).collect())
    }

    /// What is true of samples `begin..begin + n`. A source that sounds in less than 0.2 s of them (or not throughout a
    /// shorter crop) is dropped; one that moves is where it is at the middle of its activity there.
    pub fn crop(&self, begin: usize, n: usize) -> ClipTruth {
        let heard = |slot: usize| {
            let all = &self.activity[slot];
            let first = begin / STEP_SAMPLES;
            let steps = &all[first..(begin + n).div_ceil(STEP_SAMPLES).min(all.len())];
            let sounding = steps.iter().filter(|&&a| a != 0).count();
            (sounding >= ACTIVE_STEPS_MIN.min(steps.len())).then(|| self.source(slot, steps, first))
        };
        self.truth((0..self.count).filter_map(heard).collect())
    }

    fn truth(&self, sources: Vec<ClipSource>) -> ClipTruth {
        let room = ClipRoom { log_surface: self.log_surface.into(), absorption: self.absorption.into() };
        ClipTruth { sources, room: (self.room_mask > 0.0).then_some(room) }
    }

    /// Direction and distance of a slot that stands still.
    fn standing(&self, slot: usize) -> [f32; 4] {
        let [x, y, z] = self.direction[slot];
        [x, y, z, self.distance_m[slot]]
    }

    /// The source in `slot` while it sounds as `steps` say, of which the first is step `first` of the scene.
    fn source(&self, slot: usize, steps: &[u8], first: usize) -> ClipSource {
        let [x, y, z, distance_m] = match &self.path {
            Some(path) => path[slot][first + middle(steps)],
            None => self.standing(slot),
        };
        ClipSource {
            direction: [x, y, z].map(f64::from),
            distance_m: distance_m.into(),
            class: (self.class_mask[slot] > 0.0).then_some(self.class[slot] as usize),
        }
    }

    /// Whether everything is in range for a clip of `frames` and `classes` classes.
    ///
    /// # Errors
    /// The field that is out of range, in one line.
    pub fn check(&self, frames: usize, classes: usize) -> Result<(), String> {
        if self.count > SOURCES_MAX {
            return Err(format!("count is {}, at most {SOURCES_MAX}", self.count));
        }
        for slot in 0..SOURCES_MAX {
            let used = slot < self.count;
            check_place("direction", slot, used, &self.standing(slot))?;
            let path = self.path.as_ref().map(|path| &path[slot]);
            if path.is_some_and(|path| path.len() != activity_steps(frames)) {
                return Err(format!("path of slot {slot} has not {} steps", activity_steps(frames)));
            }
            path.into_iter().flatten().try_for_each(|place| check_place("path", slot, used, place))?;
            if self.class[slot] < -1 || self.class[slot] >= classes as i64 {
                return Err(format!("klass of slot {slot} is {}, there are {classes} classes", self.class[slot]));
            }
            let supervised = self.class_mask[slot];
            if supervised != 0.0 && (supervised != 1.0 || !used || self.class[slot] < 0) {
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

/// Whether a place (x, y, z of a unit vector, metres) is one, or zero in an unused slot.
fn check_place(name: &str, slot: usize, used: bool, &[x, y, z, distance_m]: &[f32; 4]) -> Result<(), String> {
    let norm = (x * x + y * y + z * z).sqrt();
    let off = (norm - if used { 1.0 } else { 0.0 }).abs();
    if off.is_nan() || off > 1e-3 {
        return Err(format!("{name} of slot {slot} has length {norm}"));
    }
    if !(distance_m.is_finite() && distance_m >= 0.0) {
        return Err(format!("distance_m of slot {slot} is {distance_m}"));
    }
    Ok(())
}

/// The step in the middle of the activity: the mean of those in which a source sounds; of all when it sounds in none.
fn middle(steps: &[u8]) -> usize {
    let sounding = || (0..steps.len()).filter(|&k| steps[k] != 0);
    match sounding().count() {
        0 => steps.len().saturating_sub(1) / 2,
        n => sounding().sum::<usize>() / n,
    }
}

/// Steps of [`Labels::activity`] in a clip of `frames` samples.
pub fn activity_steps(frames: usize) -> usize {
    frames.div_ceil(STEP_SAMPLES)
}

/// The label tensors of one shard, column by column.
pub(super) struct Columns {
    steps: usize,
    count: Vec<i64>,
    class: Vec<i64>,
    /// The F32 columns in the order of [`FLOATS`].
    floats: [Vec<f32>; FLOATS.len()],
    activity: Vec<u8>,
    /// Of every scene, also where nothing moves; stored when something does.
    path: Vec<f32>,
    moves: bool,
}

/// Names of the F32 tensors and their elements per scene.
const FLOATS: [(&str, &[usize]); 7] = [
    ("direction", &[SOURCES_MAX, 3]),
    ("distance_m", &[SOURCES_MAX]),
    ("class_mask", &[SOURCES_MAX]),
    ("log_surface", &[]),
    ("absorption", &[]),
    ("rt60_s", &[]),
    ("room_mask", &[]),
];

impl Columns {
    pub fn new(frames: usize) -> Self {
        let floats = std::array::from_fn(|_| Vec::new());
        let (count, class, activity, path) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Columns { steps: activity_steps(frames), count, class, floats, activity, path, moves: false }
    }

    pub fn push(&mut self, l: &Labels) {
        self.count.push(l.count as i64);
        self.class.extend(l.class);
        let room = [[l.log_surface], [l.absorption], [l.rt60_s], [l.room_mask]];
        let values: [&[f32]; FLOATS.len()] =
            [l.direction.as_flattened(), &l.distance_m, &l.class_mask, &room[0], &room[1], &room[2], &room[3]];
        for (column, value) in self.floats.iter_mut().zip(values) {
            column.extend(value);
        }
        for slot in &l.activity {
            self.activity.extend(slot);
        }
        match &l.path {
            Some(path) => self.path.extend(path.iter().flatten().flatten()),
            None => self.path.extend((0..SOURCES_MAX).flat_map(|slot| l.standing(slot).repeat(self.steps))),
        }
        self.moves |= l.path.is_some();
    }

    /// Calls `write` with the entries of all columns.
    pub fn with_entries<T>(&self, write: impl FnOnce(&[Entry]) -> T) -> T {
        let n = self.count.len();
        let shape = |rest: &[usize]| [&[n], rest].concat();
        let (count, class, activity) = (shape(&[]), shape(&[SOURCES_MAX]), shape(&[SOURCES_MAX, self.steps]));
        let shapes = FLOATS.map(|(_, rest)| shape(rest));
        let mut entries = vec![
            Entry::i64("count", &count, &self.count),
            Entry::i64("klass", &class, &self.class),
            Entry::u8("activity", &activity, &self.activity),
        ];
        for (((name, _), shape), values) in FLOATS.iter().zip(&shapes).zip(&self.floats) {
            entries.push(Entry::f32(name, shape, values));
        }
        let path = shape(&[SOURCES_MAX, self.steps, 4]);
        if self.moves {
            entries.push(Entry::f32("path", &path, &self.path));
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
        expect("klass", &[SOURCES_MAX])?;
        expect("activity", &[SOURCES_MAX, steps])?;
        let (count, class, activity) = (tensors.i64("count")?, tensors.i64("klass")?, tensors.bytes("activity")?);
        let mut floats = Vec::new();
        for (name, rest) in FLOATS {
            expect(name, rest)?;
            floats.push(tensors.f32(name)?);
        }
        let path = match tensors.contains("path") {
            true => {
                expect("path", &[SOURCES_MAX, steps, 4])?;
                Some(tensors.f32("path")?)
            }
            false => None,
        };
        let mut out = Vec::with_capacity(n);
        for i in 0..n {
            let slots = |column: usize| std::array::from_fn(|s| floats[column][i * SOURCES_MAX + s]);
            let active = |s: usize| activity[(i * SOURCES_MAX + s) * steps..][..steps].to_vec();
            let mut labels = Labels {
                count: usize::try_from(count[i]).unwrap_or(usize::MAX),
                direction: std::array::from_fn(|s| std::array::from_fn(|a| floats[0][(i * SOURCES_MAX + s) * 3 + a])),
                distance_m: slots(1),
                class: std::array::from_fn(|s| class[i * SOURCES_MAX + s]),
                class_mask: slots(2),
                log_surface: floats[3][i],
                absorption: floats[4][i],
                rt60_s: floats[5][i],
                room_mask: floats[6][i],
                activity: std::array::from_fn(active),
                path: None,
            };
            if let Some(path) = &path {
                let place = |row: usize| std::array::from_fn(|j| path[row * 4 + j]);
                let rows = |slot: usize| (0..steps).map(|k| place((i * SOURCES_MAX + slot) * steps + k)).collect();
                let rows: [Vec<[f32; 4]>; SOURCES_MAX] = std::array::from_fn(rows);
                let moves = (0..SOURCES_MAX).any(|slot| rows[slot].iter().any(|row| *row != labels.standing(slot)));
                labels.path = moves.then_some(rows);
            }
            labels
                .check(frames, classes)
                .map_err(|what| Error::data(format!("{}: scene {i} of the shard: {what}", tensors.path().display())))?;
            out.push(labels);
        }
        Ok(out)
    }
}
