//! Scenes that play a script: sounds that fit its roles, one after the other, at places and in a room that its play asks for.

use super::{ATTEMPTS, Class, Scene, SceneSampler, SceneSource};
use crate::audio::foa::{angle_between_deg, angles_deg};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::sim::config::SceneConfig;
use crate::sim::room::Room;
use crate::sim::scripts::*;
use crate::text::stems::stems;

/// Draws of places in one room.
const PLACINGS: usize = 100;
/// Places keep so much more than scripts ask for: what is exactly at a border is neither.
const SAFETY_M: f64 = 0.05;
const SAFETY_DEG: f64 = 2.0;
/// Eyring's time of a room in which sounds are heard to die away at once, or to ring on: between smooth walls they last
/// about a sixth longer.
const DRY_EYRING_S: f64 = 0.76 * DRY_S;
const RINGING_EYRING_S: f64 = 1.05 * RINGING_S;

/// A script with the classes that can play it: (domain, class) in [`SceneSampler`]'s pools.
pub(super) struct Casting {
    script: &'static Script,
    roles: [Vec<(usize, usize)>; 2],
    beside: Vec<(usize, usize)>,
}

/// The scripts that the recordings of a split can play; none without `scripts_share`. Errors (`Usage`): none of them.
pub(super) fn castings(config: &SceneConfig, pools: &[Vec<Class>; 3], class_names: &[String]) -> Result<Vec<Casting>> {
    if config.scripts_share <= 0.0 {
        return Ok(vec![]);
    }
    let name = |class: &Class| stems(&class_names[class[0][0]]);
    let playing = |role: &Role| -> Vec<(usize, usize)> {
        let of_domain = |d: usize| (0..pools[d].len()).map(move |c| (d, c));
        let shared = (0..3).filter(|&d| config.domain_shares[d] > 0.0).flat_map(of_domain);
        shared.filter(|&(d, c)| role.fits(&name(&pools[d][c]))).collect()
    };
    let casting = |script: &'static Script| {
        let roles = script.roles.map(playing);
        // A sound that fits two roles leaves open who it is.
        let alone = |of: &(usize, usize)| !roles.iter().flatten().any(|r| r == of);
        let beside = script.beside.map_or(vec![], |role| playing(role).into_iter().filter(alone).collect());
        let apart = roles[0].iter().all(|r| !roles[1].contains(r));
        (apart && roles.iter().all(|r| !r.is_empty())).then_some(Casting { script, roles, beside })
    };
    let all: Vec<Casting> = SCRIPTS.iter().filter_map(casting).collect();
    if !all.is_empty() && config.max_sources >= 2 {
        return Ok(all);
    }
    let missing = SCRIPTS.iter().flat_map(|s| s.roles).filter(|r| playing(r).is_empty()).map(|r| r.name);
    let missing = missing.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ");
    let message = match config.max_sources < 2 {
        true => "scripts_share: a script has two sounds at least, max_sources allows one".to_string(),
        false => format!("scripts_share: no script can be played; no class is named like {missing}"),
    };
    Err(Error::usage(message).hint("give --sources with such classes, or set scripts_share to 0"))
}

impl SceneSampler {
    /// Scene `index` from a script.
    pub(super) fn scripted(&self, index: u64) -> Result<Scene> {
        let config = &self.config;
        let mut rng = Rng::new(self.seed, "script scene", index);
        let casting = &self.scripts[rng.below(self.scripts.len())];
        let play = Play::draw(&mut rng);
        let sources = self.cast(&mut rng, casting, play);
        for _ in 0..ATTEMPTS {
            let Some((size, finish, mut room, rt60_s)) = self.room(&mut rng) else { continue };
            if !rings_as_asked(casting.script, play, rt60_s) {
                continue;
            }
            let Some(positions) = self.placed(&mut rng, &room, casting.script, play, sources.len()) else { continue };
            let mut placed: Vec<_> = sources.iter().cloned().zip(positions).collect();
            rng.shuffle(&mut placed);
            let sources;
            (sources, room.sources_m) = placed.into_iter().unzip();
            return Ok(Scene {
                index,
                seed: self.seed,
                frames: config.frames(),
                size,
                finish,
                room,
                rt60_s,
                sources,
                equal_level: config.level == "equal",
                snr_db: rng.range(config.snr_db[0], config.snr_db[1]),
                pause_s: config.pause_s,
                script: Some(casting.script.id),
            });
        }
        Err(Error::usage(format!(
            "no room of {ATTEMPTS} drawn can stage the script {:?} with distance_m {:?}, elevation_deg {:?}, rt60_s {:?} and \
             min_separation_deg {}; relax one of them, or set scripts_share to 0",
            casting.script.id, config.distance_m, config.elevation_deg, config.rt60_s, config.min_separation_deg
        )))
    }

    /// Who sounds, and when: the first role, the second, what is beside them.
    fn cast(&self, rng: &mut Rng, casting: &Casting, play: Play) -> Vec<SceneSource> {
        let joints = std::array::from_fn(|_| rng.uniform());
        let mut windows = windows(casting.script.overlaps, joints);
        if play.reversed {
            windows.reverse();
        }
        let config = &self.config;
        let frames = config.frames();
        let mut variation = Rng::new(rng.next_u64(), "script variation", 0);
        let mut source = |rng: &mut Rng, playing: &[(usize, usize)], window: Option<[f64; 2]>| {
            let (domain, class) = playing[rng.below(playing.len())];
            let class = &self.pools[domain][class];
            let group = &class[rng.below(class.len())];
            let recording = group[rng.below(group.len())];
            let source = SceneSource::new(recording, rng.range(config.gain_db[0], config.gain_db[1]));
            let mut source = if self.varies { self.varied(&mut variation, source) } else { source };
            // Shortest windows are those of clips of two samples.
            let sample = |share: f64| (share * frames as f64).round() as usize;
            source.window = window.map(|[from, to]| [sample(from), sample(to).max(sample(from) + 1).min(frames)]);
            source
        };
        let mut all =
            vec![source(rng, &casting.roles[0], Some(windows[0])), source(rng, &casting.roles[1], Some(windows[1]))];
        if play.accompanied && config.max_sources >= 3 && !casting.beside.is_empty() {
            all.push(source(rng, &casting.beside, None));
        }
        all
    }

    /// Places of the roles, and of a sound beside them.
    fn placed(&self, rng: &mut Rng, room: &Room, script: &Script, play: Play, count: usize) -> Option<Vec<[f64; 3]>> {
        for _ in 0..PLACINGS {
            let places: Vec<([f64; 3], [f64; 3])> =
                (0..count).map(|_| self.candidate(rng, room)).collect::<Option<_>>()?;
            let separate = |i: usize| {
                (0..i).all(|j| angle_between_deg(places[i].0, places[j].0) >= self.config.min_separation_deg)
            };
            let offset = |i: usize| std::array::from_fn(|a| places[i].1[a] - room.receiver_m[a]);
            let (a, b) = (offset(0), offset(1));
            let sides = script.contrasts.iter().zip(play.sides);
            if (0..count).all(separate) && { sides }.all(|(contrast, side)| is_staged(*contrast, side, a, b)) {
                return Some(places.into_iter().map(|(_, at)| at).collect());
            }
        }
        None
    }
}

/// Whether the room lets sounds ring as the play asks.
fn rings_as_asked(script: &Script, play: Play, rt60_s: f64) -> bool {
    let asked = |(contrast, rings): (&Contrast, bool)| match (contrast, rings) {
        (Contrast::Ringing, false) => rt60_s <= DRY_EYRING_S,
        (Contrast::Ringing, true) => rt60_s >= RINGING_EYRING_S,
        _ => true,
    };
    script.contrasts.iter().zip(play.sides).all(asked)
}

/// Whether two places, seen from the receiver, are arranged as one side of a contrast asks.
fn is_staged(contrast: Contrast, side: bool, a: [f64; 3], b: [f64; 3]) -> bool {
    let distance = |p: [f64; 3]| p.iter().map(|x| x * x).sum::<f64>().sqrt();
    let near = |p| distance(p) <= NEAR_M - SAFETY_M;
    let far = |p| distance(p) >= FAR_M + SAFETY_M;
    let facing = |p, middle_deg: f64| {
        let ((azimuth, elevation), turned) = (angles_deg(p), FACING_DEG - SAFETY_DEG);
        let off = (azimuth - middle_deg).rem_euclid(360.0);
        off.min(360.0 - off) <= turned && elevation.abs() <= 50.0
    };
    let apart_deg = || angle_between_deg(a.map(|x| x / distance(a)), b.map(|x| x / distance(b)));
    match (contrast, side) {
        (Contrast::Nearness, false) => near(a) && far(b),
        (Contrast::Nearness, true) => near(b) && far(a),
        (Contrast::Direction, false) => apart_deg() <= ONE_DIRECTION_DEG - SAFETY_DEG,
        (Contrast::Direction, true) => apart_deg() >= OPPOSITE_DEG + SAFETY_DEG,
        (Contrast::Facing, false) => facing(a, 0.0) && facing(b, 180.0),
        (Contrast::Facing, true) => facing(b, 0.0) && facing(a, 180.0),
        (Contrast::Height, false) => angles_deg(a).1 >= HEIGHT_DEG + SAFETY_DEG,
        (Contrast::Height, true) => angles_deg(a).1 <= -HEIGHT_DEG - SAFETY_DEG,
        (Contrast::Ringing, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Sources, Split};

    fn sampler(config: &SceneConfig, split: Split) -> SceneSampler {
        SceneSampler::new(config, &Sources::procedural(1), split, 5).unwrap()
    }

    #[test]
    fn scenes_without_a_script_stay_as_they_are() {
        let without = sampler(&SceneConfig::default(), Split::Train);
        let half = sampler(&SceneConfig { scripts_share: 0.5, ..SceneConfig::default() }, Split::Train);
        let scenes: Vec<Scene> = (0..200).map(|i| half.scene(i).unwrap()).collect();
        let plain = scenes.iter().filter(|s| s.script.is_none());
        assert!(
            { plain }.all(|s| *s == without.scene(s.index).unwrap() && s.sources.iter().all(|x| x.window.is_none()))
        );
        let scripted = scenes.iter().filter(|s| s.script.is_some()).count();
        assert!((70..130).contains(&scripted), "{scripted}");
        assert!(scenes.iter().all(|s| *s == half.scene(s.index).unwrap()));
    }

    #[test]
    fn scripted_scenes_are_staged_as_their_script_asks() {
        let sources = Sources::procedural(1);
        let sampler = sampler(&SceneConfig { scripts_share: 1.0, ..SceneConfig::default() }, Split::All);
        let mut sides = std::collections::BTreeMap::<(&str, usize, bool), usize>::new();
        for index in 0..400 {
            let scene = sampler.scene(index).unwrap();
            scene.room.check().unwrap();
            let script = script(scene.script.unwrap()).unwrap();
            let names = scene.sources.iter().map(|s| stems(&sources.recordings()[s.recording].class_name));
            let names: Vec<_> = names.collect();
            let player = |role: &Role| names.iter().position(|n| role.fits(n)).unwrap();
            let [a, b] = script.roles.map(player);
            assert!(scene.sources.len() == 2 || script.beside.is_some_and(|r| r.fits(&names[3 - a - b])));
            let [first, second] = [a, b].map(|i| scene.sources[i].window.unwrap());
            let gap = first[0].abs_diff(second[0]) as f64 / scene.frames as f64;
            assert!(gap >= 0.3 && first[1].max(second[1]) <= scene.frames, "{first:?} {second:?}");
            *sides.entry((script.id, 2, first[0] > second[0])).or_default() += 1;
            let [x, y] = [a, b].map(|i| std::array::from_fn(|k| scene.room.sources_m[i][k] - scene.room.receiver_m[k]));
            for (k, contrast) in script.contrasts.into_iter().enumerate() {
                let of = |side: bool| match contrast {
                    Contrast::Ringing => {
                        if side {
                            scene.rt60_s > 0.7
                        } else {
                            scene.rt60_s < 0.35
                        }
                    }
                    other => is_staged(other, side, x, y),
                };
                assert!(of(false) != of(true), "{}: {contrast:?} is on one side", script.id);
                *sides.entry((script.id, k, of(true))).or_default() += 1;
            }
        }
        // 22 scripts that the bank can play, three coins each.
        assert_eq!(sides.len(), 22 * 6, "{sides:?}");
    }

    #[test]
    fn without_sounds_for_a_script_it_is_said_what_is_missing() {
        let config = SceneConfig { scripts_share: 0.2, domain_shares: [0.0, 1.0, 0.0], ..SceneConfig::default() };
        let error = SceneSampler::new(&config, &Sources::procedural(1), Split::All, 5).err().unwrap().to_string();
        assert!(error.contains("scripts_share") && error.contains("knock"), "{error}");
        let config = SceneConfig { scripts_share: 0.2, max_sources: 1, ..SceneConfig::default() };
        let error = SceneSampler::new(&config, &Sources::procedural(1), Split::All, 5).err().unwrap().to_string();
        assert!(error.contains("max_sources"), "{error}");
        let config = SceneConfig { scripts_share: 1.0, distance_m: [0.5, 1.0], ..SceneConfig::default() };
        let sampler = sampler(&config, Split::All);
        let error = (0..40).find_map(|i| sampler.scene(i).err()).unwrap().to_string();
        assert!(error.contains("can stage the script"), "{error}");
    }
}
