//! Impulse responses of shoebox rooms on a device.   paths -> y [paths, channels, samples]
//!
//! The kernels' side of [`crate::sim::image_source`], which is the Host's way and says what a response is: from plain
//! numbers per path (one source, one receiver, one room), so that a batch may mix rooms. The numbers of a path travel
//! as 24 floats, those that need double precision as the sum of two; the products of wall losses per axis travel as
//! tables. Nothing of the size of the images exists anywhere.

use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::ops::convolve::convolve;
use crate::tensor::Tensor;

/// What a whole and a fractional delay are turned into.
pub enum Taps<'a> {
    /// 81 taps of a sinc under a Hann window that moves with the delay.
    Moving,
    /// The same under a window that stays on the samples.
    Fixed,
    /// From a table `[22, 81]`: windowed taps by twentieths of a sample, linearly interpolated.
    Table(&'a [f32]),
}

/// One source heard by one receiver in one room.
pub struct Path {
    /// Length, width and height, single precision.
    pub size_m: [f32; 3],
    /// Position of the source, single precision.
    pub source_m: [f32; 3],
    /// Position of the receiver.
    pub receiver_m: [f64; 3],
    /// Samples per second.
    pub sample_rate: u32,
    /// Metres per second.
    pub speed_of_sound: f64,
    /// Samples of silence in front.
    pub delay_samples: u32,
    /// Images at a smaller squared distance are heard; infinite: all of the order.
    pub radius_squared: f64,
    /// Images of at most this many reflections are heard.
    pub order: usize,
    /// Energy attenuation of air in 1/m.
    pub air_per_m: f64,
    /// Samples of this response; zeros follow.
    pub samples: usize,
    /// Per axis the product of wall losses of image p, at `p + len / 2`.
    pub losses: [Vec<f32>; 3],
}

/// Floats per path.
const PARAMETERS: usize = 24;
/// Samples of a block.
const WINDOW: usize = 64;
/// Phases of [`Taps::Table`], and taps of each.
pub const TABLE_SHAPE: [usize; 2] = [22, 81];
/// An order that no image within a table's reach has.
const NO_ORDER: usize = 1 << 20;

/// `value` as a float and what is missing.
fn in_two(value: f64) -> [f32; 2] {
    let high = value as f32;
    [high, if high.is_finite() { (value - high as f64) as f32 } else { 0.0 }]
}

impl Path {
    fn parameters(&self) -> [f32; PARAMETERS] {
        let receiver = self.receiver_m.map(in_two);
        let steps = in_two(self.sample_rate as f64 / self.speed_of_sound);
        let radius = in_two(self.radius_squared);
        let mut all = [0.0; PARAMETERS];
        all[..3].copy_from_slice(&self.size_m);
        all[3..6].copy_from_slice(&self.source_m);
        all[6..9].copy_from_slice(&receiver.map(|r| r[0]));
        all[9..12].copy_from_slice(&receiver.map(|r| r[1]));
        all[12..14].copy_from_slice(&steps);
        all[14..16].copy_from_slice(&radius);
        all[16] = self.delay_samples as f32;
        all[17] = self.sample_rate as f32;
        all[18] = -0.5 * self.air_per_m as f32;
        all
    }
}

/// The responses of `paths` at W, Y, Z, X (or at W alone), each followed by zeros up to the longest.
/// Panics for [`Device::Host`], which has its own way, and for responses beyond 2^24 samples.
#[track_caller]
pub fn image_source(device: Device, paths: &[Path], taps: &Taps, channels: usize) -> Tensor {
    assert!(device != Device::Host, "image_source: the host's way is sim::image_source");
    assert!(channels == 1 || channels == 4, "image_source: {channels} channels");
    let samples = paths.iter().map(|p| p.samples).max().unwrap_or(0);
    assert!(samples <= 1 << 24, "image_source: {samples} samples are more than single precision counts");
    let reach = paths.iter().flat_map(|p| &p.losses).map(|table| table.len() / 2).max().unwrap_or(0);
    let width = 2 * reach + 1;
    let mut losses = vec![0.0; paths.len() * 3 * width];
    for (to, table) in losses.chunks_exact_mut(width).zip(paths.iter().flat_map(|p| &p.losses)) {
        assert!(!table.len().is_multiple_of(2), "image_source: a table of losses has a middle");
        to[reach - table.len() / 2..][..table.len()].copy_from_slice(table);
    }
    let parameters: Vec<f32> = paths.iter().flat_map(Path::parameters).collect();
    let parameters = Tensor::from_slice(&[paths.len(), PARAMETERS], &parameters).to(device);
    let limits: Vec<i32> = paths.iter().flat_map(|p| [p.order.min(NO_ORDER), p.samples].map(as_int)).collect();
    let limits = Tensor::from_slice(&[paths.len(), 2], &limits).to(device);
    let losses = Tensor::from_slice(&[paths.len(), 3, width], &losses).to(device);
    let mut y = parameters.like(&[paths.len(), channels, samples]);
    let launch = Launch::rows(samples.div_ceil(WINDOW) * paths.len(), 256);
    match taps {
        Taps::Moving => {
            kernels::image_source_moving_f32(launch, &mut y, &parameters, &limits, &losses, channels, samples, reach)
        }
        Taps::Fixed => {
            kernels::image_source_fixed_f32(launch, &mut y, &parameters, &limits, &losses, channels, samples, reach)
        }
        Taps::Table(table) => {
            let table = Tensor::from_slice(&TABLE_SHAPE, table).to(device);
            kernels::image_source_table_f32(
                launch,
                &mut y,
                &parameters,
                &limits,
                &losses,
                &table,
                channels,
                samples,
                reach,
            );
        }
    }
    y
}

/// Samples by which rows are extended for the high-pass, at each end.
const EXTENSION: usize = 9;

fn as_int(n: usize) -> i32 {
    n.try_into().expect("no response has 2^31 samples")
}

fn lengths_on(device: Device, lengths: &[usize]) -> Tensor {
    let lengths: Vec<i32> = lengths.iter().copied().map(as_int).collect();
    Tensor::from_slice(&[lengths.len()], &lengths).to(device)
}

/// Joins `responses` `[S * bands, 4, longest]` of octave bands: each through its row of `bank`
/// `[S * bands, 2 longest - 1]` (middle tap `longest - 1`), then the sum over the bands of a source, of which the first
/// `lengths[s]` samples are kept: `[S, channels, longest]`.
#[track_caller]
pub fn join_bands(responses: &Tensor, bank: &Tensor, lengths: &[usize], channels: usize) -> Tensor {
    let [paths, _, longest] = responses.dims("join_bands responses");
    bank.expect_shape("join_bands bank", &[paths, 2 * longest - 1]);
    let sources = lengths.len();
    assert!(paths.is_multiple_of(sources), "join_bands: {paths} responses of {sources} sources");
    let filtered = convolve(bank, responses);
    let mut y = responses.like(&[sources, channels, longest]);
    let lengths = lengths_on(responses.device(), lengths);
    let [s, b, c, n] = [sources, paths / sources, channels, longest];
    let launch = Launch::elements(sources * channels * longest, 256);
    kernels::image_source_bands_f32(launch, &mut y, &filtered, &lengths, s, b, c, n);
    y
}

/// Zero-phase high-pass of `responses` `[S, channels, longest]` over their `lengths`: an order-2 filter forward and
/// backward, b = n (1, -2, 1), a = (1, a1, a2), given as `[n, a1, a2]`.
#[track_caller]
pub fn high_pass(mut responses: Tensor, lengths: &[usize], filter: [f64; 3]) -> Tensor {
    let [sources, channels, longest] = responses.dims("high_pass responses");
    assert_eq!(lengths.len(), sources, "high_pass: one length per source");
    let filter = Tensor::from_slice(&[6], filter.map(in_two).as_flattened()).to(responses.device());
    let mut forward = responses.like(&[sources, channels, longest + 2 * EXTENSION]);
    let lengths = lengths_on(responses.device(), lengths);
    let launch = Launch::elements(sources * channels, 32);
    let [s, c, n] = [sources, channels, longest];
    kernels::image_source_high_pass_f32(launch, &mut responses, &mut forward, &lengths, &filter, s, c, n);
    responses
}
