//! The truth about a simulated scene: what was drawn, and what is measured on its responses.

use crate::audio::SAMPLE_RATE;
use crate::error::Result;
use crate::scene::{Path, Point, RoomTruth, Track, Truth, stretches};
use crate::sim::acoustics::{mean_absorption, surface_m2};
use crate::sim::decay::{middle_s, octaves_s};
use crate::sim::image_source::Rir;
use crate::sim::room::Extent;
use crate::sim::scene::{Scene, SceneSource};
use crate::sources::Sources;

/// What is known of a scene before its responses: everything but the levels, the direct-to-reverberant ratios, the
/// measured decay, the responses' length and the hashes of the recordings. `activity` has for each source 1 for each
/// tenth of a second in which it sounds.
pub fn drawn_truth(scene: &Scene, sources: &Sources, activity: &[Vec<u8>]) -> Truth {
    let seconds = scene.frames as f64 / SAMPLE_RATE as f64;
    let describe = |(slot, source): (usize, &SceneSource)| {
        let recording = &sources.recordings()[source.recording];
        let position_m = scene.room.sources_m[slot];
        let offset = std::array::from_fn(|axis| position_m[axis] - scene.room.receiver_m[axis]);
        let alone = source.layer.is_none() && source.following.is_empty();
        let id = |i: usize| sources.recordings()[i].id.clone();
        Track {
            recording: Some(recording.id.clone()),
            class: recording.class_name.clone(),
            class_index: recording.class,
            domain: recording.domain,
            transcript: alone.then(|| recording.transcript.clone()).flatten(),
            caption: alone.then(|| recording.caption.clone()).flatten(),
            other_captions: if alone { recording.other_captions.clone() } else { vec![] },
            keywords: if alone { recording.keywords.clone() } else { vec![] },
            licence: recording.licence.clone(),
            speed: source.speed,
            followed_by: source.following.iter().map(|&i| id(i)).collect(),
            layered_with: source.layer.as_ref().map(|l| id(l.recording)),
            path: Path::still(Point::at_offset(0.0, offset)),
            position_m: Some(position_m),
            gain_db: Some(source.gain_db),
            level_db: None,
            drr_db: None,
            active_s: stretches(&activity[slot], seconds),
        }
    };
    let (dimensions_m, walls) = (scene.room.dimensions_m, scene.room.absorption[0]);
    Truth {
        id: format!("scene-{:08}", scene.index),
        index: scene.index,
        seed: Some(scene.seed),
        seconds,
        sample_rate: SAMPLE_RATE,
        sources: scene.sources.iter().enumerate().map(describe).collect(),
        recordings: Default::default(),
        room: Some(RoomTruth {
            size: scene.size.into(),
            finish: scene.finish.into(),
            dimensions_m,
            surface_m2: surface_m2(dimensions_m),
            absorption: mean_absorption(dimensions_m, &walls),
            wall_absorption: walls,
            rt60_s: scene.rt60_s,
            t20_s: None,
            t20_octaves_s: Default::default(),
            rir_s: None,
        }),
        receiver_m: Some(scene.room.receiver_m),
        snr_db: Some(scene.snr_db),
        script: scene.script.map(String::from),
    }
}

/// Adds what the responses and the recordings tell; `heard` has the power on W of each source.
pub(super) fn measure(truth: &mut Truth, scene: &Scene, sources: &Sources, rir: &Rir, heard: &[f64]) -> Result<()> {
    let total: f64 = heard.iter().sum();
    for (slot, track) in truth.sources.iter_mut().enumerate() {
        let distance_m = track.path.points()[0].distance_m();
        let direct = scene.room.arrival_samples(distance_m);
        track.level_db = Some(10.0 * (heard[slot].max(1e-30) / total.max(1e-30)).log10());
        track.drr_db = Some(direct_to_reverberant_db(rir.channel(slot, 0), direct, rir.sample_rate));
    }
    if let Some(room) = &mut truth.room {
        let octaves = octaves_s(rir.channel(0, 0), rir.sample_rate);
        room.t20_s = middle_s(&octaves);
        room.t20_octaves_s = octaves.iter().filter_map(|o| Some((o.center_hz as u32, o.t20_s?))).collect();
        room.rir_s = Some(match scene.room.extent {
            Extent::DurationS(t) => t,
            Extent::MaxOrder(_) => rir.samples(0) as f64 / rir.sample_rate as f64,
        });
    }
    let used = scene.sources.iter().flat_map(SceneSource::recordings);
    let known = |i: usize| Ok((sources.recordings()[i].id.clone(), sources.audio_hash(i)?));
    truth.recordings = used.map(known).collect::<Result<_>>()?;
    Ok(())
}

/// Energy within 2.5 ms of the direct sound's peak over the energy of the rest, in dB.
pub fn direct_to_reverberant_db(w: &[f32], direct_sample: f64, sample_rate: u32) -> f64 {
    let half = 0.0025 * sample_rate as f64;
    let near = |i: usize| (i as f64 - direct_sample).abs() <= half;
    let (mut direct, mut rest) = (0.0f64, 0.0f64);
    for (i, x) in w.iter().enumerate() {
        *(if near(i) { &mut direct } else { &mut rest }) += (*x as f64).powi(2);
    }
    10.0 * (direct.max(1e-30) / rest.max(1e-30)).log10()
}
