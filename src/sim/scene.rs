//! Scenes as pure data: room, positions, recordings and levels of scene i follow from (seed, i) alone.

use crate::audio::foa::{angle_between_deg, unit_vector};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::sim::acoustics::{eyring_s, mean_absorption};
use crate::sim::config::SceneConfig;
use crate::sim::room::{Extent, FILTER_HALF_SAMPLES, Room};
use crate::sources::{Domain, Sources, Split};
use std::collections::BTreeMap;

mod scripted;

/// A scene before it is rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Number in its set.
    pub index: u64,
    /// Seed of the set.
    pub seed: u64,
    /// Samples per channel.
    pub frames: usize,
    /// `small`, `medium` or `large`.
    pub size: &'static str,
    /// `reflective`, `moderate` or `absorptive`.
    pub finish: &'static str,
    /// The room with its receiver and one position per source.
    pub room: Room,
    /// Reverberation time by Eyring's formula.
    pub rt60_s: f64,
    /// The sources, in the order of the room's positions.
    pub sources: Vec<SceneSource>,
    /// Whether sources are made equally loud before their gains.
    pub equal_level: bool,
    /// Noise below the mixture on W.
    pub snr_db: f64,
    /// Pauses between repetitions.
    pub pause_s: [f64; 2],
    /// The script that it plays ([`crate::sim::scripts`]).
    pub script: Option<&'static str>,
}

/// One source of a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneSource {
    /// Index into [`Sources::recordings`].
    pub recording: usize,
    /// Gain.
    pub gain_db: f64,
    /// How fast the recording is played: 1.1 is a tenth faster and higher.
    pub speed: f64,
    /// Other recordings of its group that follow in turn, where a short recording would otherwise be repeated.
    pub following: Vec<usize>,
    /// A second recording of the class that sounds from the same place.
    pub layer: Option<Layer>,
    /// First sample in which it sounds and the one after the last, where that is not the whole scene.
    pub window: Option<[usize; 2]>,
}

impl SceneSource {
    /// A recording as it stands.
    pub fn new(recording: usize, gain_db: f64) -> SceneSource {
        SceneSource { recording, gain_db, speed: 1.0, following: vec![], layer: None, window: None }
    }

    /// Amplitude of its gain. A source that sounds for a part of the scene is as loud there as one that sounds all the
    /// time, though its power over the scene is less.
    pub fn amplitude(&self, frames: usize) -> f64 {
        let share = self.window.map_or(1.0, |[start, end]| (end - start) as f64 / frames as f64);
        10f64.powf(self.gain_db / 20.0) * share.sqrt()
    }

    /// All recordings that sound.
    pub fn recordings(&self) -> impl Iterator<Item = usize> + '_ {
        let layer = self.layer.iter().map(|l| l.recording);
        std::iter::once(self.recording).chain(self.following.iter().copied()).chain(layer)
    }
}

/// A second recording in one source: two dogs at one spot, a duet. It teaches that many voices are not many places.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Index into [`Sources::recordings`].
    pub recording: usize,
    /// Power relative to the first recording's.
    pub level_db: f64,
    /// How fast it is played.
    pub speed: f64,
}

const SIZES: [&str; 3] = ["small", "medium", "large"];
const FINISHES: [&str; 3] = ["reflective", "moderate", "absorptive"];
/// Draws before a choice that cannot be met is reported.
const ATTEMPTS: usize = 1000;

/// Power of a second recording relative to the first.
const LAYER_LEVEL_DB: [f64; 2] = [-9.0, 0.0];
/// Takes that follow before they come round again: with the shortest words more than a scene.
const FOLLOWING: usize = 11;

/// How scenes are drawn, in words: changes whenever the same seed gives other scenes, so that no set is continued with
/// scenes of another kind.
pub const DRAWING: &str = "domain, class, group, recording; speeds, sequences and layers in training; high-pass";

/// The recordings of a class by group: one speaker, one piece, takes of one recording.
type Class = Vec<Vec<usize>>;

/// Draws scenes from the recordings of one split.
pub struct SceneSampler {
    config: SceneConfig,
    seed: u64,
    /// Per domain, class and group, the recordings of the split.
    pools: [Vec<Class>; 3],
    /// Class per recording, for distinct classes.
    class_names: Vec<String>,
    /// Whether speeds and layers vary: in training scenes alone.
    varies: bool,
    /// What scripts can be played with.
    scripts: Vec<scripted::Casting>,
}

impl SceneSampler {
    /// A sampler over the recordings of `split`.
    ///
    /// # Errors
    /// A split without recordings, or with fewer than a scene may need (`Usage`).
    pub fn new(config: &SceneConfig, sources: &Sources, split: Split, seed: u64) -> Result<SceneSampler> {
        let recordings = sources.recordings();
        let members = sources.in_split(split);
        let mut pools: [Vec<Class>; 3] = Default::default();
        for (pool, domain) in pools.iter_mut().zip(Domain::ALL) {
            let mut named = BTreeMap::<&str, BTreeMap<String, Vec<usize>>>::new();
            for &i in members.iter().filter(|&&i| recordings[i].domain == domain) {
                let (class, group) = (&recordings[i].class_name, recordings[i].group_key());
                named.entry(class).or_default().entry(group).or_default().push(i);
            }
            *pool = named.into_values().map(|groups| groups.into_values().collect()).collect();
        }
        let usable: usize = (pools.iter().zip(config.domain_shares))
            .filter(|(_, share)| *share > 0.0)
            .map(|(pool, _)| pool.iter().flatten().map(Vec::len).sum::<usize>())
            .sum();
        if usable < config.max_sources as usize {
            return Err(Error::usage(format!(
                "{usable} recordings in split {split:?} with a share, scenes need up to {}; give more --sources or \
                 another --split",
                config.max_sources
            )));
        }
        let class_names: Vec<String> = recordings.iter().map(|r| r.class_name.clone()).collect();
        let varies = split == Split::Train;
        let scripts = scripted::castings(config, &pools, &class_names)?;
        Ok(SceneSampler { config: config.clone(), seed, pools, class_names, varies, scripts })
    }

    /// Scene `index`.
    ///
    /// # Errors
    /// Settings that no room can meet (`Usage`).
    pub fn scene(&self, index: u64) -> Result<Scene> {
        let config = &self.config;
        if config.scripts_share > 0.0 && Rng::new(self.seed, "script", index).uniform() < config.scripts_share {
            return self.scripted(index);
        }
        let mut rng = Rng::new(self.seed, "scene", index);
        let count = 1 + rng.below(config.max_sources as usize);
        for _ in 0..ATTEMPTS {
            let Some((size, finish, mut room, rt60_s)) = self.room(&mut rng) else { continue };
            let Some(positions) = self.positions(&mut rng, &room, count) else { continue };
            room.sources_m = positions;
            let sources = self.recordings(&mut rng, count);
            let gain = |rng: &mut Rng| rng.range(config.gain_db[0], config.gain_db[1]);
            let mut variation = Rng::new(self.seed, "variation", index);
            let mut source = |recording| {
                let source = SceneSource::new(recording, gain(&mut rng));
                if self.varies { self.varied(&mut variation, source) } else { source }
            };
            return Ok(Scene {
                index,
                seed: self.seed,
                frames: config.frames(),
                size,
                finish,
                room,
                rt60_s,
                sources: sources.into_iter().map(&mut source).collect(),
                equal_level: config.level == "equal",
                snr_db: rng.range(config.snr_db[0], config.snr_db[1]),
                pause_s: config.pause_s,
                script: None,
            });
        }
        Err(Error::usage(format!(
            "no room of {ATTEMPTS} drawn fits rt60_s {:?} and {count} sources at {:?} m, {} deg apart; relax one of them",
            config.rt60_s, config.distance_m, config.min_separation_deg
        )))
    }

    /// A room with its receiver, when its reverberation time is acceptable.
    fn room(&self, rng: &mut Rng) -> Option<(&'static str, &'static str, Room, f64)> {
        let c = &self.config;
        let size = rng.weighted(&c.room_shares);
        let (side, height) = [
            (c.small_side_m, c.small_height_m),
            (c.medium_side_m, c.medium_height_m),
            (c.large_side_m, c.large_height_m),
        ][size];
        let dimensions_m = [rng.range(side[0], side[1]), rng.range(side[0], side[1]), rng.range(height[0], height[1])];
        let finish = rng.weighted(&c.absorption_shares);
        let [low, high] = [c.reflective, c.moderate, c.absorptive][finish];
        let absorption = rng.range(low, high);
        let spread = c.wall_spread;
        let walls = std::array::from_fn(|_| (absorption * rng.range(1.0 - spread, 1.0 + spread)).clamp(0.01, 1.0));
        let mut room = Room::new(dimensions_m, walls, crate::audio::SAMPLE_RATE, Extent::DurationS(1.0));
        let rt60_s = eyring_s(dimensions_m, mean_absorption(dimensions_m, &walls), 0.0, room.speed_of_sound);
        if !(c.rt60_s[0]..=c.rt60_s[1]).contains(&rt60_s) {
            return None;
        }
        room.high_pass_hz = c.high_pass_hz;
        if room.cuts_filter(c.distance_m[0]) {
            room.delay_samples = FILTER_HALF_SAMPLES;
        }
        // The direct sound of the farthest source and its first reflections are always heard.
        let delay_s = f64::from(room.delay_samples) / f64::from(room.sample_rate);
        let least_s = delay_s + c.distance_m[1] / room.speed_of_sound + 0.05;
        room.extent = Extent::DurationS((delay_s + c.rir_rt60 * rt60_s).min(c.rir_max_s).max(least_s));
        let clear = |length: f64| (c.wall_clearance_m, length - c.wall_clearance_m);
        let [(x0, x1), (y0, y1)] = [clear(dimensions_m[0]), clear(dimensions_m[1])];
        room.receiver_m = [rng.range(x0, x1), rng.range(y0, y1), c.receiver_height_m];
        Some((SIZES[size], FINISHES[finish], room, rt60_s))
    }

    /// `count` of the candidate positions, far enough apart; `None` when the candidates do not allow it.
    fn positions(&self, rng: &mut Rng, room: &Room, count: usize) -> Option<Vec<[f64; 3]>> {
        let mut chosen: Vec<([f64; 3], [f64; 3])> = Vec::new();
        for _ in 0..self.config.candidates {
            let (direction, position) = self.candidate(rng, room)?;
            let apart =
                |other: &([f64; 3], [f64; 3])| angle_between_deg(direction, other.0) >= self.config.min_separation_deg;
            if chosen.iter().all(apart) {
                chosen.push((direction, position));
            }
            if chosen.len() == count {
                return Some(chosen.into_iter().map(|(_, position)| position).collect());
            }
        }
        None
    }

    /// A direction in which the room is deep enough, and a distance within it.
    fn candidate(&self, rng: &mut Rng, room: &Room) -> Option<([f64; 3], [f64; 3])> {
        let c = &self.config;
        for _ in 0..ATTEMPTS {
            let azimuth_deg = rng.range(-180.0, 180.0);
            let direction = unit_vector(azimuth_deg, rng.range(c.elevation_deg[0], c.elevation_deg[1]));
            let depth = (0..3).map(|axis| {
                let (low, high) = (c.wall_clearance_m, room.dimensions_m[axis] - c.wall_clearance_m);
                let wall = if direction[axis] > 0.0 { high } else { low };
                let way = (wall - room.receiver_m[axis]) / direction[axis];
                if direction[axis] == 0.0 { f64::INFINITY } else { way.max(0.0) }
            });
            let farthest = depth.fold(c.distance_m[1], f64::min);
            if farthest >= c.distance_m[0] {
                let distance_m = rng.range(c.distance_m[0], farthest);
                let at = std::array::from_fn(|axis| room.receiver_m[axis] + distance_m * direction[axis]);
                return Some((direction, at));
            }
        }
        None
    }

    /// `count` different recordings: domain by share, then class, then group, then recording, each uniformly. Without the
    /// step by group, a speaker with five hundred short takes would drown one who reads a single long text.
    fn recordings(&self, rng: &mut Rng, count: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < count {
            let taken = |i: &usize, classes: bool| {
                chosen.contains(i) || classes && chosen.iter().any(|c| self.class_names[*c] == self.class_names[*i])
            };
            let free = |classes: bool| -> Vec<Vec<&Class>> {
                let open = |class: &&Class| class.iter().flatten().any(|i| !taken(i, classes));
                self.pools.iter().map(|pool| pool.iter().filter(open).collect()).collect()
            };
            let weights = |free: &[Vec<&Class>]| -> Vec<f64> {
                let share = |(pool, share): (&Vec<&Class>, f64)| if pool.is_empty() { 0.0 } else { share };
                free.iter().zip(self.config.domain_shares).map(share).collect()
            };
            let mut distinct = self.config.distinct_classes;
            let mut pools = free(distinct);
            if distinct && weights(&pools).iter().sum::<f64>() <= 0.0 {
                distinct = false;
                pools = free(false);
            }
            let domain = rng.weighted(&weights(&pools));
            let class = pools[domain][rng.below(pools[domain].len())];
            let free_in =
                |group: &Vec<usize>| -> Vec<usize> { group.iter().copied().filter(|i| !taken(i, distinct)).collect() };
            let open: Vec<Vec<usize>> = class.iter().map(free_in).filter(|group| !group.is_empty()).collect();
            let group = &open[rng.below(open.len())];
            let recording = group[rng.below(group.len())];
            chosen.push(recording);
        }
        chosen
    }

    /// A source of a training scene: at another speed, followed by other takes, under another recording of its class.
    fn varied(&self, rng: &mut Rng, mut source: SceneSource) -> SceneSource {
        let [slowest, fastest] = self.config.train_speed;
        source.speed = rng.range(slowest, fastest);
        let recording = source.recording;
        let class = self.pools.iter().flatten().find(|class| class.iter().flatten().any(|&r| r == recording));
        let class = class.expect("a recording of a scene is in a pool");
        let group = class.iter().find(|group| group.contains(&recording)).expect("and in a group of its class");
        if rng.uniform() < self.config.train_sequence_share && group.len() > 1 {
            source.following = (0..FOLLOWING).map(|_| group[rng.below(group.len())]).collect();
        }
        if rng.uniform() < self.config.train_layered_share {
            let others =
                |group: &Vec<usize>| -> Vec<usize> { group.iter().copied().filter(|&r| r != recording).collect() };
            let open: Vec<Vec<usize>> = class.iter().map(others).filter(|group| !group.is_empty()).collect();
            let [quietest, loudest] = LAYER_LEVEL_DB;
            source.layer = (!open.is_empty()).then(|| {
                let group = &open[rng.below(open.len())];
                let (recording, level_db) = (group[rng.below(group.len())], rng.range(quietest, loudest));
                Layer { recording, level_db, speed: rng.range(slowest, fastest) }
            });
        }
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(config: &SceneConfig) -> SceneSampler {
        SceneSampler::new(config, &Sources::procedural(1), Split::Train, 5).unwrap()
    }

    #[test]
    fn a_long_text_is_heard_as_often_as_a_speaker_with_many_takes() {
        use crate::audio::{Audio, wav};
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("speech/speech");
        std::fs::create_dir_all(&folder).unwrap();
        let takes = (0..20).map(|i| format!("3_anna_{i}")).chain(["5703-47212-0000".into(), "198-209-0000".into()]);
        for name in takes {
            let noise = Audio { sample_rate: 16_000, channels: 1, samples: vec![0.1; 8000] };
            wav::write(&folder.join(format!("{name}.wav")), &noise, wav::Format::Pcm16).unwrap();
        }
        let dir = home.path().to_str().unwrap().parse().unwrap();
        let sources = Sources::open(&[dir], None).unwrap();
        let config = SceneConfig { max_sources: 1, ..SceneConfig::default() };
        let sampler = SceneSampler::new(&config, &sources, Split::All, 3).unwrap();
        let mut rng = Rng::new(1, "groups", 0);
        let mut counts = BTreeMap::<String, usize>::new();
        for _ in 0..3000 {
            let chosen = sampler.recordings(&mut rng, 1)[0];
            *counts.entry(sources.recordings()[chosen].group_key()).or_default() += 1;
        }
        // Three groups of 1000 draws on average; the standard deviation is 26.
        assert_eq!(counts.len(), 3, "{counts:?}");
        assert!(counts.values().all(|n| n.abs_diff(1000) < 130), "{counts:?}");
    }

    #[test]
    fn scenes_keep_every_promise_and_follow_from_their_index() {
        let config = SceneConfig::default();
        let sampler = sampler(&config);
        let (mut counts, mut sizes) = ([0; 3], [0; 3]);
        for index in 0..600 {
            let scene = sampler.scene(index).unwrap();
            assert_eq!(scene, sampler.scene(index).unwrap());
            scene.room.check().unwrap();
            counts[scene.sources.len() - 1] += 1;
            sizes[SIZES.iter().position(|s| *s == scene.size).unwrap()] += 1;
            assert!((0.15..=1.3).contains(&scene.rt60_s));
            let seen: Vec<[f64; 3]> = (scene.room.sources_m.iter())
                .map(|p| std::array::from_fn(|a| p[a] - scene.room.receiver_m[a]))
                .collect();
            for (i, v) in seen.iter().enumerate() {
                let distance = v.iter().map(|x| x * x).sum::<f64>().sqrt();
                assert!((0.5 - 1e-9..=5.0 + 1e-9).contains(&distance), "{distance}");
                assert!((v[2] / distance).asin().to_degrees().abs() <= 45.0 + 1e-6);
                assert!(seen[..i].iter().all(|other| angle_between_deg(*v, *other) >= 20.0));
                assert!(scene.sources[..i].iter().all(|s| s.recording != scene.sources[i].recording));
                for (p, d) in scene.room.sources_m[i].iter().zip(scene.room.dimensions_m) {
                    assert!((0.5 - 1e-9..=d - 0.5 + 1e-9).contains(p));
                }
            }
        }
        assert!(counts.iter().all(|&n| (150..250).contains(&n)), "{counts:?}");
        assert!((300..420).contains(&sizes[0]) && (30..100).contains(&sizes[2]), "{sizes:?}");
    }

    #[test]
    fn impossible_wishes_are_an_error_and_not_an_endless_loop() {
        let config = SceneConfig { rt60_s: [90.0, 95.0], ..SceneConfig::default() };
        let error = sampler(&config).scene(0).unwrap_err();
        assert!(error.to_string().contains("rt60_s"), "{error}");
    }

    #[test]
    fn speeds_sequences_and_layers_vary_in_training_scenes_alone() {
        let (config, sources) = (SceneConfig::default(), Sources::procedural(1));
        let all = |split| {
            let sampler = SceneSampler::new(&config, &sources, split, 5).unwrap();
            (0..400).flat_map(|i| sampler.scene(i).unwrap().sources).collect::<Vec<_>>()
        };
        for split in [Split::All, Split::Dev, Split::Test] {
            assert!(all(split).iter().all(|s| *s == SceneSource::new(s.recording, s.gain_db)));
        }
        let train = all(Split::Train);
        let class = |i: usize| &sources.recordings()[i].class_name;
        let layered: Vec<_> = train.iter().filter_map(|s| Some((s.recording, s.layer.as_ref()?))).collect();
        assert!(layered.iter().all(|(r, l)| l.recording != *r && class(l.recording) == class(*r)));
        assert!(layered.iter().all(|(_, l)| sources.split_of(l.recording) == Split::Train));
        let group = |i: usize| sources.recordings()[i].group_key();
        let sequences: Vec<_> = train.iter().filter(|s| !s.following.is_empty()).collect();
        assert!(sequences.iter().all(|s| s.following.iter().all(|&f| group(f) == group(s.recording))));
        assert!(sequences.len() > train.len() / 4, "{}", sequences.len());
        let share = layered.len() as f64 / train.len() as f64;
        assert!((share - 0.25).abs() < 0.06, "{share}");
        assert!(train.iter().any(|s| s.speed < 0.9) && train.iter().any(|s| s.speed > 1.1));
        let plain = SceneConfig {
            train_speed: [1.0, 1.0],
            train_layered_share: 0.0,
            train_sequence_share: 0.0,
            ..config.clone()
        };
        let sampler = SceneSampler::new(&plain, &sources, Split::Train, 5).unwrap();
        let mut sources = (0..100).flat_map(|i| sampler.scene(i).unwrap().sources);
        assert!(sources.all(|s| s == SceneSource::new(s.recording, s.gain_db)));
    }

    #[test]
    fn classes_differ_when_asked() {
        let config = SceneConfig { distinct_classes: true, ..SceneConfig::default() };
        let (sampler, sources) = (sampler(&config), Sources::procedural(1));
        for index in 0..200 {
            let scene = sampler.scene(index).unwrap();
            let names: std::collections::BTreeSet<_> =
                scene.sources.iter().map(|s| &sources.recordings()[s.recording].class_name).collect();
            assert_eq!(names.len(), scene.sources.len());
        }
    }
}
