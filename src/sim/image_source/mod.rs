//! The image-source method for shoebox rooms (Allen and Berkley 1979) with first-order Ambisonic receivers.
//!
//! Every image is a plane wave with gain 1/d, delay d/c and the products of its wall reflections
//! sqrt(1 - absorption). Delays are computed in double precision. Few images are written tap by tap
//! ([`direct`]), many are spread on a grid and transformed ([`grid`]); frequency-dependent rooms are computed
//! per octave band and joined ([`bands`]).

pub mod bands;
mod block;
mod device;
mod direct;
mod grid;
mod images;
mod lut;
mod spread;

use crate::device::simd::Isa;
use crate::error::Result;
use crate::sim::high_pass::high_pass;
use crate::sim::room::{Extent, Filter, Room};
pub use device::impulse_responses_on;
use images::{Images, Walls};
use rayon::prelude::*;

/// Impulse responses of one room.
#[derive(Clone, Debug, PartialEq)]
pub struct Rir {
    /// 4 (W, Y, Z, X; ACN/SN3D) or 1.
    pub channels: usize,
    /// Samples per second.
    pub sample_rate: u32,
    /// Per source: [channels, samples] channel-major; the lengths may differ.
    pub responses: Vec<Vec<f32>>,
}

impl Rir {
    /// Samples of source `index`.
    pub fn samples(&self, index: usize) -> usize {
        self.responses[index].len() / self.channels
    }

    /// Channel `channel` of source `index`.
    pub fn channel(&self, index: usize, channel: usize) -> &[f32] {
        let samples = self.samples(index);
        &self.responses[index][channel * samples..][..samples]
    }

    /// All responses as one tensor [sources, channels, samples], the shorter ones followed by zeros.
    pub fn to_tensor(&self) -> (Vec<f32>, [usize; 3]) {
        let longest = (0..self.responses.len()).map(|i| self.samples(i)).max().unwrap_or(0);
        let shape = [self.responses.len(), self.channels, longest];
        let mut tensor = vec![0.0; shape.iter().product()];
        for (row, to) in tensor.chunks_mut(longest.max(1)).enumerate() {
            let from = self.channel(row / self.channels, row % self.channels);
            to[..from.len()].copy_from_slice(from);
        }
        (tensor, shape)
    }
}

/// The responses of every source of `room`. Sources are computed in parallel; the result does not depend on the number
/// of threads.
///
/// # Errors
/// What [`Room::check`] refuses.
pub fn impulse_responses(room: &Room) -> Result<Rir> {
    impulse_responses_with(room, Isa::current())
}

/// [`impulse_responses`] with a chosen instruction set (the results agree within rounding).
///
/// # Errors
/// What [`Room::check`] refuses.
pub fn impulse_responses_with(room: &Room, isa: Isa) -> Result<Rir> {
    room.check()?;
    keep_freed_memory();
    let prepared = Prepared::new(room, isa);
    let responses = (0..room.sources_m.len()).into_par_iter().map(|i| prepared.response(i)).collect();
    Ok(Rir { channels: room.microphone.channels(), sample_rate: room.sample_rate, responses })
}

/// Responses come and go by the megabyte, and a C library that hands every freed one back to the kernel makes each
/// next one fault its pages in again (a sixth of the time of a response of order 17). glibc keeps twice the largest
/// block that it has seen freed, so it is shown one; the block's pages are never touched.
fn keep_freed_memory() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(24 << 20))));
}

/// Number of images of source `index` that are heard.
///
/// # Errors
/// What [`Room::check`] refuses.
pub fn heard_images(room: &Room, index: usize) -> Result<usize> {
    room.check()?;
    let walls = Walls::new(room, &room.absorption[..1], vec![0.0]);
    Ok(Images::new(room, &walls, index).count_and_farthest().0)
}

/// Samples of the response of source `index`.
fn response_samples(room: &Room, images: &Images, index: usize) -> usize {
    let rate = room.sample_rate as f64;
    match room.extent {
        Extent::DurationS(t) => (t * rate).round() as usize,
        Extent::MaxOrder(_) => {
            let latest_s = match room.filter {
                Filter::Lut => lut::latest_s(room, index),
                _ => images.count_and_farthest().1.sqrt() / room.speed_of_sound,
            };
            let latest = (latest_s + room.delay_samples as f64 / rate) * rate;
            (latest + 41.0).ceil() as usize + 1
        }
    }
}

/// What the sources of a room share.
struct Prepared<'a> {
    room: &'a Room,
    bands: Vec<[f64; 6]>,
    walls: Walls,
    isa: Isa,
}

impl Prepared<'_> {
    fn new(room: &Room, isa: Isa) -> Prepared<'_> {
        let (bands, air_per_m) = bands::resampled(room);
        Prepared { room, walls: Walls::new(room, &bands, air_per_m), bands, isa }
    }

    fn response(&self, index: usize) -> Vec<f32> {
        let room = self.room;
        let channels = room.microphone.channels();
        let images = Images::new(room, &self.walls, index);
        let count = images.count_and_farthest().0;
        let samples = response_samples(room, &images, index);
        let mut per_band = match room.filter {
            Filter::Lut => lut::responses(room, &self.bands, &self.walls.air_per_m, index, samples),
            Filter::Fixed => self.direct(&images, samples),
            Filter::Moving if grid_is_faster(count, samples) => self.gridded(&images, samples),
            Filter::Moving => self.direct(&images, samples),
        };
        let mut response = if per_band.len() == 1 {
            per_band.swap_remove(0)
        } else {
            let bank = bands::Bank::for_samples(room.sample_rate, samples);
            let mut sum = bank.start(channels);
            for (band, response) in per_band.iter().enumerate() {
                bank.add(self.isa, &mut sum, band, response, channels);
            }
            bank.finish(sum, channels, samples)
        };
        if room.high_pass_hz > 0.0 {
            high_pass(self.isa, &mut response, channels, room.high_pass_hz, room.sample_rate);
        }
        response
    }

    fn direct(&self, images: &Images, samples: usize) -> Vec<Vec<f32>> {
        let room = self.room;
        let channels = room.microphone.channels();
        let stride = direct::padded_length(samples);
        let mut out = vec![vec![0.0; channels * stride]; self.bands.len()];
        let grid = direct::time_grid(room.sample_rate, room.speed_of_sound, room.delay_samples);
        let moving = room.filter == Filter::Moving;
        block::for_each_block(self.isa, images, &self.walls, grid, |block| {
            for (band, out) in out.iter_mut().enumerate() {
                direct::add(self.isa, block, band, moving, channels, out);
            }
        });
        let heard = |padded: Vec<f32>| {
            padded.chunks(stride).flat_map(|c| &c[direct::MARGIN..direct::MARGIN + samples]).copied().collect()
        };
        out.into_iter().map(heard).collect()
    }

    fn gridded(&self, images: &Images, samples: usize) -> Vec<Vec<f32>> {
        let room = self.room;
        let plan = grid::Plan::for_samples(samples);
        let time = grid::Plan::time_grid(room.sample_rate, room.speed_of_sound, room.delay_samples);
        grid::with_grids(self.bands.len(), plan.grid_len(), |grids| {
            block::for_each_block(self.isa, images, &self.walls, time, |block| {
                spread::spread(self.isa, block, grids);
            });
            grids.iter().map(|grid| plan.response(self.isa, grid, room.microphone.channels(), samples)).collect()
        })
    }
}

/// Writing taps costs in proportion to the images, the transforms in proportion to the samples.
fn grid_is_faster(images: usize, samples: usize) -> bool {
    images > 512 + samples / 5
}
