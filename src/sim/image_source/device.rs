//! Responses made by the kernels: the numbers of [`Room`]s as [`crate::ops::image_source`] takes them.

use super::images::{Images, PADDING, Walls};
use super::{bands, impulse_responses, lut};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::image_source::{Path, Taps, image_source};
use crate::sim::room::{Extent, Filter, Room};
use crate::tensor::Tensor;

/// The responses of all sources of `rooms`, room by room, as one tensor [sources, channels, samples] on `device`, the
/// shorter ones followed by zeros. The rooms have one filter and one microphone. Errors: what [`Room::check`] refuses;
/// on devices other than the host octave bands and high-passes ([`crate::error::Kind::Unavailable`]).
pub fn impulse_responses_on(device: Device, rooms: &[&Room]) -> Result<Tensor> {
    let first = *rooms.first().expect("at least one room");
    let is_alike = |room: &&Room| room.filter == first.filter && room.microphone == first.microphone;
    assert!(rooms.iter().all(is_alike), "rooms of a batch have one filter and one microphone");
    if device == Device::Host {
        return on_host(rooms);
    }
    let mut paths = Vec::new();
    for room in rooms {
        room.check()?;
        if room.bands() > 1 || room.high_pass_hz > 0.0 {
            let what = "octave bands and high-passes are computed on the host only";
            return Err(Error::unavailable(what).hint("use --device host for such rooms"));
        }
        let (bands, air_per_m) = bands::resampled(room);
        let walls = Walls::new(room, &bands, air_per_m);
        paths.extend((0..room.sources_m.len()).map(|index| path(room, &walls, index)));
    }
    let channels = first.microphone.channels();
    Ok(match first.filter {
        Filter::Moving => image_source(device, &paths, &Taps::Moving, channels),
        Filter::Fixed => image_source(device, &paths, &Taps::Fixed, channels),
        Filter::Lut => image_source(device, &paths, &Taps::Table(&lut::windowed_table()), channels),
    })
}

fn on_host(rooms: &[&Room]) -> Result<Tensor> {
    let all = rooms.iter().map(|room| impulse_responses(room)).collect::<Result<Vec<_>>>()?;
    let (sample_rate, channels) = (all[0].sample_rate, all[0].channels);
    let responses = all.into_iter().flat_map(|rir| rir.responses).collect();
    let (values, shape) = super::Rir { channels, sample_rate, responses }.to_tensor();
    Ok(Tensor::from_slice(&shape, &values))
}

fn path(room: &Room, walls: &Walls, index: usize) -> Path {
    let images = Images::new(room, walls, index);
    let order = match room.extent {
        Extent::MaxOrder(n) => n as usize,
        Extent::DurationS(_) => usize::MAX,
    };
    Path {
        size_m: room.dimensions_m.map(|d| d as f32),
        source_m: room.sources_m[index].map(|s| s as f32),
        receiver_m: room.receiver_m,
        sample_rate: room.sample_rate,
        speed_of_sound: room.speed_of_sound,
        delay_samples: room.delay_samples,
        radius_squared: images.radius_squared(),
        order,
        air_per_m: walls.air_per_m[0],
        samples: super::response_samples(room, &images, index),
        losses: std::array::from_fn(|axis| {
            let table = &walls.amplitudes[0][axis];
            table[..table.len() - PADDING].to_vec()
        }),
    }
}
