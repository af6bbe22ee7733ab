//! The filter `lut`: pyroomacoustics' arithmetic, in single precision step by step, so that its samples
//! can be reproduced (its sinc comes from a table of 20 points a sample, linearly interpolated).

use crate::sim::image_source::images::hits;
use crate::sim::room::{Extent, Room};

const TAPS: usize = 81;
const HALF: usize = 40;
const PER_SAMPLE: usize = 20;

/// The sinc table by phase: `at[phase][k]` is entry phase + 20 k; phases 0..=21 are read.
struct Table {
    at: [[f32; TAPS]; PER_SAMPLE + 2],
    hann: [f32; TAPS],
}

impl Table {
    fn new() -> Table {
        let step = 1.0 / PER_SAMPLE as f32;
        let mut n = -(HALF as f32) - 1.0;
        let mut sinc = vec![0.0f32; (TAPS + 2) * PER_SAMPLE];
        for entry in &mut sinc {
            let x = std::f32::consts::PI * n;
            *entry = if n == 0.0 { 1.0 } else { (x as f64).sin() as f32 / x };
            // The drift of this sum is part of the table.
            n += step;
        }
        let at = std::array::from_fn(|phase| std::array::from_fn(|k| sinc[phase + PER_SAMPLE * k]));
        let hann = std::array::from_fn(|k| {
            let x = std::f32::consts::PI * (2 * k) as f32 / (TAPS - 1) as f32;
            0.5 - 0.5 * (x as f64).cos() as f32
        });
        Table { at, hann }
    }
}

/// The taps under the window, [phase, tap], as kernels take them.
pub(crate) fn windowed_table() -> Vec<f32> {
    let table = Table::new();
    table.at.iter().flat_map(|taps| taps.iter().zip(&table.hann).map(|(tap, w)| tap * w)).collect()
}

/// Responses of source `index` per band, channel-major, with the walls of each band given.
pub(crate) fn responses(
    room: &Room,
    bands: &[[f64; 6]],
    air_per_m: &[f64],
    index: usize,
    samples: usize,
) -> Vec<Vec<f32>> {
    let channels = room.microphone.channels();
    let table = Table::new();
    let walls: Vec<[f32; 6]> = bands.iter().map(|b| b.map(|a| (1.0f32 - a as f32).sqrt())).collect();
    let margin = HALF + 1;
    // Behind the end as well: the first taps of images that a delay moves past it.
    let stride = samples + 3 * margin;
    let mut out = vec![vec![0.0f32; channels * stride]; bands.len()];
    for_each_image(room, index, |p, image| {
        let offset: [f64; 3] = std::array::from_fn(|a| image[a] as f64 - room.receiver_m[a]);
        let distance = offset.iter().map(|x| x * x).sum::<f64>().sqrt();
        if matches!(room.extent, Extent::DurationS(t) if distance >= room.speed_of_sound * t) {
            return;
        }
        let rate = room.sample_rate as f32;
        let time = (distance / room.speed_of_sound + room.delay_samples as f64 / room.sample_rate as f64) as f32;
        let arrival = rate * time;
        let (whole, rest) = (arrival.floor(), arrival - arrival.floor());
        let phase = ((1.0 - rest as f64) * PER_SAMPLE as f64) as f32;
        let (row, t) = (phase.floor() as usize, phase - phase.floor());
        let first = whole as usize + margin - HALF;
        if first + TAPS > stride {
            return;
        }
        let gains = [1.0, offset[1] / distance, offset[2] / distance, offset[0] / distance];
        for (band, out) in out.iter_mut().enumerate() {
            let air = (-0.5 * air_per_m[band] * distance).exp();
            let amplitude = attenuation(&walls[band], p) as f64 / distance * air;
            for c in 0..channels {
                let amplitude = (amplitude * gains[c]) as f32;
                let to = &mut out[c * stride + first..][..TAPS];
                for k in 0..TAPS {
                    let (a, b) = (table.at[row][k], table.at[row + 1][k]);
                    to[k] += amplitude * table.hann[k] * (a + t * (b - a));
                }
            }
        }
    });
    let heard = |padded: Vec<f32>| padded.chunks(stride).flat_map(|c| c[margin..margin + samples].to_vec()).collect();
    out.into_iter().map(heard).collect()
}

/// Latest arrival in seconds (without delay), in pyroomacoustics' arithmetic.
pub(crate) fn latest_s(room: &Room, index: usize) -> f64 {
    let mut latest = 0.0f64;
    for_each_image(room, index, |_, image| {
        let squared: f64 = (0..3).map(|a| (image[a] as f64 - room.receiver_m[a]).powi(2)).sum();
        latest = latest.max(squared.sqrt() / room.speed_of_sound);
    });
    latest
}

/// Calls `visit` with the indices and the single-precision position of every image, z outermost.
fn for_each_image(room: &Room, index: usize, mut visit: impl FnMut([i64; 3], [f32; 3])) {
    let size = room.dimensions_m.map(|d| d as f32);
    let source = room.sources_m[index].map(|s| s as f32);
    let at =
        |axis: usize, p: i64| p as f32 * size[axis] + if p % 2 == 0 { source[axis] } else { size[axis] - source[axis] };
    let reach: [i64; 3] = match room.extent {
        Extent::MaxOrder(n) => [n as i64; 3],
        Extent::DurationS(t) => room.dimensions_m.map(|l| (room.speed_of_sound * t / l).ceil() as i64 + 1),
    };
    let order = match room.extent {
        Extent::MaxOrder(n) => n as i64,
        Extent::DurationS(_) => i64::MAX,
    };
    for pz in -reach[2]..=reach[2] {
        for py in -reach[1].min(order - pz.abs())..=reach[1].min(order - pz.abs()) {
            let width = reach[0].min(order - pz.abs() - py.abs());
            for px in -width..=width {
                visit([px, py, pz], [at(0, px), at(1, py), at(2, pz)]);
            }
        }
    }
}

/// Product of wall losses by repeated single-precision products, as the tables of powers are made there.
fn attenuation(walls: &[f32; 6], p: [i64; 3]) -> f32 {
    let power = |r: f32, n: i64| (1..n).fold(if n > 0 { r } else { 1.0 }, |x, _| x * r);
    let mut product = 1.0f32;
    for axis in 0..3 {
        let (low, high) = hits(p[axis]);
        product *= power(walls[2 * axis], low);
        product *= power(walls[2 * axis + 1], high);
    }
    product
}
