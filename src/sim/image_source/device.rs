//! Responses made by the kernels: the numbers of [`Room`]s as [`crate::ops::image_source`] takes them.

use super::images::{AxisAmplitudes, Images, PADDING, Walls};
use super::{bands, impulse_responses, lut};
use crate::device::Device;
use crate::error::Result;
use crate::ops::image_source::{self, Path, Taps, image_source, join_bands};
use crate::sim::high_pass;
use crate::sim::room::{Extent, Filter, Room};
use crate::tensor::Tensor;

/// The responses of all sources of `rooms`, room by room, as one tensor [sources, channels, samples] on `device`, the
/// shorter ones followed by zeros. The rooms agree on filter, microphone, rate, high-pass and in how many bands they
/// are computed.
///
/// # Errors
/// What [`Room::check`] refuses.
#[track_caller]
pub fn impulse_responses_on(device: Device, rooms: &[&Room]) -> Result<Tensor> {
    let first = *rooms.first().expect("at least one room");
    let kind = |r: &Room| (r.filter, r.microphone, r.sample_rate, r.high_pass_hz, bands::resampled(r).0.len());
    rooms.iter().try_for_each(|room| room.check())?;
    assert!(rooms.iter().all(|room| kind(room) == kind(first)), "rooms of a batch are computed alike");
    if device == Device::Host {
        return on_host(rooms);
    }
    let mut paths = Vec::new();
    for room in rooms {
        let (bands, air_per_m) = bands::resampled(room);
        let walls = Walls::new(room, &bands, air_per_m);
        paths.extend((0..room.sources_m.len()).flat_map(|index| banded_paths(room, &walls, index)));
    }
    let bands = kind(first).4;
    let lengths: Vec<usize> = paths.iter().step_by(bands).map(|path| path.samples).collect();
    // The bank is made for four channels.
    let channels = if bands > 1 { 4 } else { first.microphone.channels() };
    let mut responses = match first.filter {
        Filter::Moving => image_source(device, &paths, &Taps::Moving, channels),
        Filter::Fixed => image_source(device, &paths, &Taps::Fixed, channels),
        Filter::Lut => image_source(device, &paths, &Taps::Table(&lut::windowed_table()), channels),
    };
    if bands > 1 {
        let longest = responses.shape()[2];
        let filters: Vec<f32> = lengths.iter().flat_map(|&n| bands::filters(first.sample_rate, n, longest)).collect();
        let bank = Tensor::from_slice(&[paths.len(), 2 * longest - 1], &filters).to(device);
        responses = join_bands(&responses, &bank, &lengths, first.microphone.channels());
    }
    if first.high_pass_hz > 0.0 {
        let filter = high_pass::coefficients(first.high_pass_hz, first.sample_rate);
        responses = image_source::high_pass(responses, &lengths, filter);
    }
    Ok(responses)
}

fn on_host(rooms: &[&Room]) -> Result<Tensor> {
    let all = rooms.iter().map(|room| impulse_responses(room)).collect::<Result<Vec<_>>>()?;
    let (sample_rate, channels) = (all[0].sample_rate, all[0].channels);
    let responses = all.into_iter().flat_map(|rir| rir.responses).collect();
    let (values, shape) = super::Rir { channels, sample_rate, responses }.to_tensor();
    Ok(Tensor::from_slice(&shape, &values))
}

/// The paths of source `index`, one per band.
fn banded_paths(room: &Room, walls: &Walls, index: usize) -> Vec<Path> {
    let images = Images::new(room, walls, index);
    let samples = super::response_samples(room, &images, index);
    let order = match room.extent {
        Extent::MaxOrder(n) => n as usize,
        Extent::DurationS(_) => usize::MAX,
    };
    let path = |(amplitudes, &air_per_m): (&AxisAmplitudes, &f64)| Path {
        size_m: room.dimensions_m.map(|d| d as f32),
        source_m: room.sources_m[index].map(|s| s as f32),
        receiver_m: room.receiver_m,
        sample_rate: room.sample_rate,
        speed_of_sound: room.speed_of_sound,
        delay_samples: room.delay_samples,
        radius_squared: images.radius_squared(),
        order,
        air_per_m,
        samples,
        losses: std::array::from_fn(|axis| amplitudes[axis][..amplitudes[axis].len() - PADDING].to_vec()),
    };
    walls.amplitudes.iter().zip(&walls.air_per_m).map(path).collect()
}
