//! A localiser without learning: the reference point of signal processing beside a trained encoder.
//!
//! In every time-frequency bin the active intensity Re(conj(W) · [X, Y, Z]) of a plane wave points to its source. Sums
//! over 3 x 3 bins give a mean intensity I and a mean energy E = (|W|² + |X|² + |Y|² + |Z|²) / 2; |I| / E is 1 for one
//! plane wave and 0 in a diffuse field (1 - diffuseness). Neighbourhoods above a threshold vote for the direction of I
//! with a weight that grows with |I| / E and, slowly, with E. Votes are collected in cells of about five degrees; the
//! three heaviest peaks, kept apart, are the directions, and a peak that holds a fair share of the first one's weight
//! counts as a source. It knows nothing about distances and classes.

use crate::audio::foa::{angle_between_deg, angles_deg};
use crate::encoder::stft_map;
use crate::scene::SOURCES_MAX;

/// STFT window and hop in samples at 16 kHz: those of the encoder.
const N_FFT: usize = 256;
const HOP: usize = 128;
/// Bins that vote: 125 Hz to 7 kHz.
const BINS: std::ops::Range<usize> = 2..113;
/// Bins on either side that are summed, along time and frequency.
const REACH: usize = 1;
/// Least |I| / E of a neighbourhood that votes.
const COHERENCE_MIN: f64 = 0.8;
/// Least energy of a neighbourhood that votes, relative to the mean.
const ENERGY_MIN: f64 = 0.1;
/// A vote grows with this power of the energy: quiet sources count nearly as much as loud ones.
const ENERGY_POWER: f64 = 0.25;
/// Height of a cell in degrees; its width is about the same everywhere.
const CELL_DEG: f64 = 5.0;
/// Concentration of the kernel that makes a smooth map of the votes: it falls to 1/e at 13 degrees.
const KERNEL: f64 = 40.0;
/// Peaks are at least this far apart, and own the votes this near to them.
const SEPARATION_DEG: f64 = 20.0;
/// Weight, relative to the first peak, from which a further one counts. Best of a few values on 500 dev scenes.
const SHARE_MIN: f64 = 0.06;
/// Steps from the heaviest cell to the centre of its peak.
const STEPS: usize = 5;

/// The fewest samples a clip may have.
pub const SAMPLES_MIN: usize = N_FFT / 2 + 1;

/// Where sound comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Localisation {
    /// Unit vectors (x front, y left, z up), the heaviest first. Those beyond what was heard point away from the others.
    pub directions: [[f64; 3]; SOURCES_MAX],
    /// Weight of each direction, as a share of all votes; zero for silence.
    pub weights: [f64; SOURCES_MAX],
}

impl Localisation {
    /// The number of sources.
    pub fn count(&self) -> usize {
        let [first, ..] = self.weights;
        self.weights.iter().take_while(|&&weight| weight > 0.0 && weight >= SHARE_MIN * first).count()
    }
}

/// Localises the sources in a clip [4, L] (AmbiX W, Y, Z, X; channel-major) at 16 kHz. Panics below [`SAMPLES_MIN`]
/// samples.
#[track_caller]
pub fn localise(audio: &[f32]) -> Localisation {
    let mut cells = votes(audio);
    let total: f64 = cells.iter().map(|cell| cell.weight).sum();
    let (mut directions, mut weights): (Vec<[f64; 3]>, _) = (Vec::new(), [0.0; SOURCES_MAX]);
    for weight in &mut weights {
        let Some(peak) = peak(&cells, &directions) else {
            directions.push(away_from(&directions));
            continue;
        };
        let (own, others): (Vec<Cell>, Vec<Cell>) =
            cells.into_iter().partition(|cell| angle_between_deg(cell.direction, peak) < SEPARATION_DEG);
        *weight = own.iter().map(|cell| cell.weight).sum::<f64>() / total;
        cells = others;
        directions.push(peak);
    }
    Localisation { directions: directions.try_into().expect("one for each weight"), weights }
}

/// The votes for directions near each other.
struct Cell {
    weight: f64,
    /// Mean direction, a unit vector.
    direction: [f64; 3],
}

/// Sums over a neighbourhood of bins.
#[derive(Clone, Copy, Default)]
struct Sums {
    intensity: [f64; 3],
    energy: f64,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.energy += other.energy;
        self.intensity.iter_mut().zip(other.intensity).for_each(|(a, b)| *a += b);
    }
}

/// The occupied cells, in a fixed order.
fn votes(audio: &[f32]) -> Vec<Cell> {
    let map = stft_map(audio, N_FFT, HOP);
    let [_, _, frames, _] = map.dims("stft map");
    let point = |bin: usize, t: usize| {
        let at = (bin * frames + t) * 8;
        let p: [f64; 8] = std::array::from_fn(|i| f64::from(map.data()[at + i]));
        // W, Y, Z, X, each real and imaginary.
        let with_w = |c: usize| p[0] * p[2 * c] + p[1] * p[2 * c + 1];
        Sums { intensity: [with_w(3), with_w(1), with_w(2)], energy: 0.5 * p.iter().map(|v| v * v).sum::<f64>() }
    };
    let points: Vec<Vec<Sums>> = BINS.map(|bin| (0..frames).map(|t| point(bin, t)).collect()).collect();
    let around = |i: usize, n: usize| i.saturating_sub(REACH)..(i + REACH + 1).min(n);
    let mut sums = Vec::with_capacity(points.len() * frames);
    for bin in 0..points.len() {
        for t in 0..frames {
            let mut sum = Sums::default();
            around(bin, points.len()).for_each(|b| points[b][around(t, frames)].iter().for_each(|p| sum.add(p)));
            sums.push(sum);
        }
    }
    let least = ENERGY_MIN * sums.iter().map(|sum| sum.energy).sum::<f64>() / sums.len() as f64;
    let mut grid = Grid::new();
    for Sums { intensity, energy } in sums {
        let length = intensity.iter().map(|v| v * v).sum::<f64>().sqrt();
        let coherence = length / energy.max(f64::MIN_POSITIVE);
        if energy > least && coherence > COHERENCE_MIN {
            let weight = (coherence - COHERENCE_MIN) / (1.0 - COHERENCE_MIN) * energy.powf(ENERGY_POWER);
            grid.add(intensity.map(|v| v / length), weight);
        }
    }
    grid.cells()
}

/// Votes in rings of equal elevation, each cut into cells of about equal width.
struct Grid {
    /// For each ring and cell the weight and the weighted sum of directions.
    rings: Vec<Vec<(f64, [f64; 3])>>,
}

impl Grid {
    fn new() -> Grid {
        let rings = (180.0 / CELL_DEG) as usize;
        let cells = |ring: usize| {
            let elevation_deg = (ring as f64 + 0.5) * CELL_DEG - 90.0;
            (elevation_deg.to_radians().cos() * 360.0 / CELL_DEG).ceil() as usize
        };
        Grid { rings: (0..rings).map(|ring| vec![(0.0, [0.0; 3]); cells(ring)]).collect() }
    }

    fn add(&mut self, direction: [f64; 3], weight: f64) {
        let (azimuth_deg, elevation_deg) = angles_deg(direction);
        // A float below 0 becomes cell 0; the upper ends belong to the last cells.
        let ring = (((elevation_deg + 90.0) / CELL_DEG) as usize).min(self.rings.len() - 1);
        let n = self.rings[ring].len();
        let cell = (((azimuth_deg + 180.0) / 360.0 * n as f64) as usize).min(n - 1);
        let (total, sum) = &mut self.rings[ring][cell];
        *total += weight;
        sum.iter_mut().zip(direction).for_each(|(s, d)| *s += weight * d);
    }

    fn cells(self) -> Vec<Cell> {
        let occupied = self.rings.into_iter().flatten().filter(|(weight, _)| *weight > 0.0);
        occupied.filter_map(|(weight, sum)| Some(Cell { weight, direction: unit(sum)? })).collect()
    }
}

fn unit(v: [f64; 3]) -> Option<[f64; 3]> {
    let length = v.iter().map(|c| c * c).sum::<f64>().sqrt();
    (length > 0.0).then(|| v.map(|c| c / length))
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The heaviest place of the smoothed map that is not too near to `taken`; `None` without votes there.
fn peak(cells: &[Cell], taken: &[[f64; 3]]) -> Option<[f64; 3]> {
    let is_free = |at: [f64; 3]| taken.iter().all(|&t| angle_between_deg(at, t) >= SEPARATION_DEG);
    let height = |at: [f64; 3]| -> f64 {
        cells.iter().map(|cell| cell.weight * (KERNEL * (dot(cell.direction, at) - 1.0)).exp()).sum()
    };
    let places = cells.iter().map(|cell| cell.direction).filter(|&at| is_free(at)).map(|at| (height(at), at));
    let (_, mut at) = places.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    for _ in 0..STEPS {
        // The mean of the votes around, with a narrower kernel, which a neighbour draws less.
        let mut sum = [0.0; 3];
        for cell in cells {
            let weight = cell.weight * (2.0 * KERNEL * (dot(cell.direction, at) - 1.0)).exp();
            sum.iter_mut().zip(cell.direction).for_each(|(s, d)| *s += weight * d);
        }
        match unit(sum).filter(|&next| is_free(next)) {
            Some(next) => at = next,
            None => break,
        }
    }
    Some(at)
}

/// The axis that is farthest from all of `taken`; the front when there are none.
fn away_from(taken: &[[f64; 3]]) -> [f64; 3] {
    let axes = [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]];
    let nearest = |axis: [f64; 3]| taken.iter().map(|&t| angle_between_deg(axis, t)).fold(180.0, f64::min);
    axes.into_iter().reduce(|best, next| if nearest(next) > nearest(best) { next } else { best }).expect("four axes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::foa::{Rotation, unit_vector};
    use crate::rng::Rng;
    use crate::sim::render::render;
    use crate::sim::room::{Extent, Room};
    use crate::sim::scene::{Scene, SceneSource};
    use crate::sources::Sources;

    /// Two seconds in a room that swallows everything, without noise: recordings from directions, 1.5 m away.
    fn anechoic(sources: &Sources, heard: &[(usize, [f64; 3])]) -> Vec<f32> {
        let mut room = Room::new([8.0, 8.0, 8.0], [1.0; 6], 16_000, Extent::DurationS(0.05));
        let place = |d: [f64; 3]| std::array::from_fn(|axis| room.receiver_m[axis] + 1.5 * d[axis]);
        room.sources_m = heard.iter().map(|&(_, direction)| place(direction)).collect();
        let source = |&(recording, _): &(usize, [f64; 3])| SceneSource::new(recording, 0.0);
        let scene = Scene {
            index: 0,
            seed: 1,
            frames: 32_000,
            size: "large",
            finish: "absorptive",
            room,
            rt60_s: 0.1,
            sources: heard.iter().map(source).collect(),
            equal_level: true,
            snr_db: 200.0,
            pause_s: [0.1, 0.5],
            script: None,
        };
        render(&scene, sources).unwrap().samples
    }

    /// The first recording of each class of the bank.
    fn one_of_each(sources: &Sources) -> Vec<usize> {
        let class = |i: usize| sources.recordings()[i].class;
        let classes = 0..sources.classes().len();
        classes.filter_map(|c| (0..sources.recordings().len()).find(|&i| class(i) == Some(c))).collect()
    }

    #[test]
    fn one_source_without_a_room_is_found_within_a_degree_from_anywhere() {
        let sources = Sources::procedural(3);
        let recordings = one_of_each(&sources);
        assert_eq!(recordings.len(), 14);
        let mut rng = Rng::new(5, "intensity test", 0);
        for (i, &recording) in recordings.iter().enumerate() {
            let drawn: [f64; 3] = std::array::from_fn(|_| rng.normal());
            let poles = [unit_vector(0.0, 90.0), unit_vector(180.0, 0.0), unit_vector(-90.0, -45.0)];
            let direction = poles.get(i).copied().unwrap_or_else(|| unit(drawn).unwrap());
            let found = localise(&anechoic(&sources, &[(recording, direction)]));
            let error_deg = angle_between_deg(found.directions[0], direction);
            let name = &sources.recordings()[recording].id;
            assert!(error_deg < 1.0, "{name} from {direction:?}: {error_deg} degrees off");
            assert_eq!(found.count(), 1, "{name}: {:?}", found.weights);
        }
    }

    #[test]
    fn two_and_three_sources_without_a_room_are_told_apart() {
        let sources = Sources::procedural(3);
        let recordings = one_of_each(&sources);
        let places = [unit_vector(30.0, 10.0), unit_vector(150.0, -20.0), unit_vector(-80.0, 0.0)];
        // Speech, music, an alarm.
        let heard = [(recordings[12], places[0]), (recordings[13], places[1]), (recordings[0], places[2])];
        for n in [2, 3] {
            let found = localise(&anechoic(&sources, &heard[..n]));
            assert_eq!(found.count(), n, "{:?}", found.weights);
            for place in &places[..n] {
                let nearest = found.directions.iter().map(|&d| angle_between_deg(d, *place)).fold(180.0, f64::min);
                assert!(nearest < 5.0, "{n} sources: {nearest} degrees off");
            }
        }
    }

    #[test]
    fn turning_the_recording_turns_what_is_found() {
        let sources = Sources::procedural(3);
        let recordings = one_of_each(&sources);
        let pair = [(recordings[12], unit_vector(30.0, 10.0)), (recordings[13], unit_vector(150.0, -20.0))];
        let audio = anechoic(&sources, &pair);
        let before = localise(&audio);
        let mut rng = Rng::new(6, "intensity test", 1);
        for _ in 0..4 {
            let rotation = Rotation::random(&mut rng);
            let mut turned = audio.clone();
            rotation.apply_foa(&mut turned);
            let after = localise(&turned);
            for (a, b) in before.directions.iter().zip(after.directions).take(2) {
                // The cells do not turn with it.
                assert!(angle_between_deg(rotation.apply_vector(*a), b) < 2.0);
            }
        }
    }

    #[test]
    fn silence_and_noise_are_no_exception() {
        let silent = localise(&[0.0; 4 * 1000]);
        assert_eq!((silent.count(), silent.weights), (0, [0.0; 3]));
        let apart = |a: usize, b: usize| angle_between_deg(silent.directions[a], silent.directions[b]);
        assert!(apart(0, 1) > 80.0 && apart(1, 2) > 80.0 && apart(0, 2) > 80.0, "{silent:?}");
        // W alone has no intensity, so nothing votes.
        let mut rng = Rng::new(7, "intensity test", 2);
        let mut mono: Vec<f32> = (0..4 * 8000).map(|_| rng.normal() as f32).collect();
        let noise = localise(&mono);
        assert!(noise.directions.iter().flatten().chain(&noise.weights).all(|v| v.is_finite()));
        mono[8000..].fill(0.0);
        assert_eq!(localise(&mono).count(), 0);
    }
}
