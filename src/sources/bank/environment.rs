//! Twelve environmental classes, each a short sketch of how the sound comes about.

use super::synth::*;
use crate::rng::Rng;

/// Beeps of one or two tones, square or with a few harmonics, in a fixed pattern.
pub fn alarm_beep(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let hz = log_range(individual, 1500.0, 3400.0);
    let second = if chance(individual, 0.5) { hz * individual.range(0.7, 0.9) } else { hz };
    let (on, off) = (log_range(individual, 0.06, 0.35), log_range(individual, 0.04, 0.3));
    let (in_row, pause) = (1 + individual.below(5), individual.range(0.1, 0.6));
    let square = chance(individual, 0.6);
    let mut track = vec![0.0; frames(take.range(2.0, 4.5))];
    let (mut at, mut n) = (take.range(0.0, 0.1), 0);
    while frames(at) < track.len() {
        let tone = vary(take, if n % 2 == 0 { hz } else { second }, 0.002);
        let (mut phase, mut low, length) = (Phase::default(), LowPass::new(6000.0), frames(on));
        let beep = (0..length).map(|t| {
            let x = if square { low.next(phase.square(tone)) } else { phase.sine(tone) };
            x * hump(t as f64 / length as f64, 0.05)
        });
        add(&mut track, at, 1.0, beep);
        n += 1;
        at += on + off + if n % in_row == 0 { pause } else { 0.0 };
    }
    // The buzzer's case rattles a little: without it a pure tone is hard to localise.
    track.iter_mut().for_each(|x| *x += 0.02 * *x * white(take) + 0.002 * white(take));
    track
}

/// Inharmonic partials of a church or hand bell, struck once to four times.
pub fn bell(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    const RATIOS: [f64; 10] = [0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 3.01, 4.17, 5.43, 6.8];
    let hz = log_range(individual, 180.0, 1000.0);
    let decay = log_range(individual, 0.3, 1.6);
    let modes: Vec<(f64, f64, f64)> = RATIOS
        .iter()
        .map(|ratio| {
            let gain = individual.range(0.3, 1.0) / ratio.sqrt();
            (vary(individual, hz * ratio, 0.01), decay / ratio.powf(0.7), gain)
        })
        .collect();
    let (strokes, gap) = (1 + take.below(4), individual.range(0.35, 1.3));
    let mut track = vec![0.0; frames((strokes as f64 * gap + decay).min(5.0))];
    for n in 0..strokes {
        let sound = strike(take, &modes, 0.8, 2.5 * decay);
        add(&mut track, n as f64 * vary(take, gap, 0.02), take.range(0.7, 1.0), sound);
    }
    track
}

/// Phrases of short whistled sweeps between 1.8 and 7 kHz.
pub fn bird_chirp(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let centre = log_range(individual, 2200.0, 5000.0);
    let length = log_range(individual, 0.04, 0.18);
    let (sweep, trill) = (individual.range(-0.45, 0.45), individual.range(0.0, 0.12));
    let trill_hz = individual.range(20.0, 70.0);
    let per_phrase = 2 + individual.below(6);
    let mut track = vec![0.0; frames(take.range(1.5, 4.0))];
    let mut at = take.range(0.0, 0.15);
    while frames(at) < track.len() {
        for _ in 0..1 + take.below(per_phrase) {
            let (hz, seconds) = (vary(take, centre, 0.15), vary(take, length, 0.2));
            let (n, bend) = (frames(seconds), vary(take, sweep, 0.3));
            let (mut carrier, mut wobble) = (Phase::default(), Phase::default());
            let chirp = (0..n).map(|t| {
                let x = t as f64 / n as f64;
                let now = hz * (1.0 + bend * (x - 0.5) + trill * wobble.sine(trill_hz));
                let whistle = carrier.sine(now.min(7400.0));
                (whistle + 0.15 * whistle * whistle) * hump(x, 0.25)
            });
            add(&mut track, at, take.range(0.5, 1.0), chirp);
            at += seconds + take.range(0.01, 0.09);
        }
        at += take.range(0.15, 0.7);
    }
    track.iter_mut().for_each(|x| *x += 0.003 * white(take));
    track
}

/// Alternating tick and tock: damped clicks in a resonant case.
pub fn clock_tick(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let period = log_range(individual, 0.18, 0.6);
    let mut modes = |low: f64| -> Vec<(f64, f64, f64)> {
        (0..6)
            .map(|k| {
                let hz = log_range(individual, low * 1.35f64.powi(k), low * 1.35f64.powi(k + 1));
                (hz, log_range(individual, 0.002, 0.012), individual.range(0.3, 1.0))
            })
            .collect()
    };
    let bodies = [modes(1300.0), modes(1000.0)];
    let mut track = vec![0.0; frames(take.range(2.5, 5.0))];
    let (mut at, mut n) = (take.range(0.0, period), 0);
    while frames(at) < track.len() {
        let sound = strike(take, &bodies[n % 2], 0.5, 0.08);
        add(&mut track, at, take.range(0.85, 1.0), sound);
        at += period * if n % 2 == 0 { 1.03 } else { 0.97 };
        n += 1;
    }
    track
}

/// Barks: a rough voiced glide through an animal's formants with breath in it.
pub fn dog_bark(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let pitch = log_range(individual, 180.0, 700.0);
    let size = individual.range(0.8, 1.4);
    let roughness = individual.range(0.05, 0.25);
    let breath = individual.range(0.15, 0.5);
    let mut track = vec![0.0; frames(take.range(0.8, 3.0))];
    let mut at = take.range(0.0, 0.1);
    while frames(at) < track.len() {
        let seconds = vary(take, 0.16, 0.35);
        let n = frames(seconds);
        let hz = vary(take, pitch, 0.12);
        let mut mouth = [(700.0, 200.0, 1.0), (1500.0, 300.0, 0.7), (2900.0, 600.0, 0.4), (4800.0, 1200.0, 0.2)]
            .map(|(f, w, g): (f64, f64, f64)| (Resonator::new(f * size, w), g));
        let mut phase = Phase::default();
        let bark: Vec<f64> = (0..n)
            .map(|t| {
                let x = t as f64 / n as f64;
                let glide = hz * (0.8 + 0.5 * hump(x.powf(0.6), 0.5));
                let source = phase.saw(glide * (1.0 + roughness * white(take))) + breath * white(take);
                let voice: f64 = mouth.iter_mut().map(|(r, g)| *g * r.next(source)).sum();
                voice * pluck_envelope(x, 0.08, 0.35) * hump(x, 0.1).sqrt()
            })
            .collect();
        add(&mut track, at, take.range(0.7, 1.0), bark);
        at += seconds + if chance(take, 0.3) { take.range(0.3, 0.8) } else { take.range(0.08, 0.25) };
    }
    track
}

/// Combustion pulses through a resonant exhaust, with mechanical hiss that follows the pulses.
pub fn engine(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let firing = log_range(individual, 28.0, 110.0);
    let mut pipes: [(Resonator, f64); 5] = std::array::from_fn(|k| {
        let hz = log_range(individual, 90.0 * 2.1f64.powi(k as i32), 160.0 * 2.1f64.powi(k as i32));
        (Resonator::new(hz, 0.35 * hz), individual.range(0.4, 1.0))
    });
    let (hiss, knock) = (individual.range(0.1, 0.5), individual.range(0.1, 0.5));
    let unevenness: [f64; 4] = std::array::from_fn(|_| individual.range(0.7, 1.0));
    let restless = take.range(0.5, 2.0);
    let mut drift = Drift::new(take, restless);
    let (mut phase, mut last, mut cylinder, mut since) = (Phase::default(), 0.0, 0, 0.0);
    (0..frames(take.range(3.0, 5.0)))
        .map(|_| {
            let t = phase.next(firing * (1.0 + 0.12 * drift.next(take)));
            if t < last {
                cylinder = (cylinder + 1) % 4;
                since = 0.0;
            }
            last = t;
            since += 1.0 / RATE;
            let pulse = unevenness[cylinder] * (-since / 0.0025).exp();
            let source = pulse * (1.0 + knock * white(take));
            let body: f64 = pipes.iter_mut().map(|(r, g)| *g * r.next(source)).sum();
            body + 0.4 * hiss * white(take) * (0.2 + pulse)
        })
        .collect()
}

/// Steps: a low thump of the heel, then the scuff of the sole.
pub fn footsteps(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let period = individual.range(0.38, 0.7);
    let thump = log_range(individual, 70.0, 180.0);
    let (scuff_hz, scuff) = (log_range(individual, 700.0, 3500.0), individual.range(1.0, 3.0));
    let heel = [(thump, 0.035, 1.0), (2.3 * thump, 0.02, 0.6), (log_range(individual, 500.0, 1500.0), 0.008, 0.5)];
    let mut track = vec![0.0; frames(take.range(2.5, 4.5))];
    let mut at = take.range(0.0, 0.2);
    while frames(at) < track.len() {
        let sound = strike(take, &heel, 0.7, 0.2);
        add(&mut track, at, take.range(0.7, 1.0), sound);
        let (n, mut band) = (frames(vary(take, 0.13, 0.3)), Resonator::new(vary(take, scuff_hz, 0.2), 0.8 * scuff_hz));
        let sole: Vec<f64> = (0..n).map(|t| band.next(white(take)) * hump(t as f64 / n as f64, 0.4)).collect();
        add(&mut track, at + vary(take, 0.07, 0.3), scuff * take.range(0.6, 1.0), sole);
        at += vary(take, period, 0.06);
    }
    track
}

/// Two to five raps on wood, again after a pause.
pub fn knock(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let wood = log_range(individual, 160.0, 420.0);
    let modes: Vec<(f64, f64, f64)> = [1.0, 1.58, 2.24, 2.92, 3.9, 5.6, 8.3]
        .iter()
        .map(|ratio| {
            let hz = vary(individual, wood * ratio, 0.08);
            (hz, log_range(individual, 0.012, 0.045) / ratio.sqrt(), individual.range(0.3, 1.0) / ratio.powf(0.4))
        })
        .collect();
    let gap = individual.range(0.12, 0.3);
    let mut track = vec![0.0; frames(take.range(1.2, 3.5))];
    let mut at = take.range(0.0, 0.05);
    while frames(at) < track.len() {
        for _ in 0..2 + take.below(4) {
            let sound = strike(take, &modes, 0.6, 0.25);
            add(&mut track, at, take.range(0.6, 1.0), sound);
            at += vary(take, gap, 0.1);
        }
        at += take.range(0.4, 0.9);
    }
    track
}

/// A bed of filtered noise under thousands of small drops.
pub fn rain(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let (low, high) = (log_range(individual, 300.0, 1200.0), log_range(individual, 3000.0, 7000.0));
    let bed = individual.range(0.2, 0.8);
    let per_second = log_range(individual, 60.0, 900.0);
    let (mut below, mut above) = (LowPass::new(low), LowPass::new(high));
    let mut drift = Drift::new(take, 1.5);
    let mut track: Vec<f64> = (0..frames(take.range(3.0, 5.0)))
        .map(|_| {
            let x = above.next(white(take));
            bed * (x - below.next(x)) * (1.0 + 0.25 * drift.next(take))
        })
        .collect();
    let seconds = track.len() as f64 / RATE;
    for _ in 0..(per_second * seconds) as usize {
        let modes = [(log_range(take, 900.0, 7000.0), log_range(take, 0.0006, 0.003), 1.0)];
        let gain = 0.25 * log_range(take, 0.1, 2.0);
        let sound = strike(take, &modes, 0.5, 0.012);
        add(&mut track, take.range(0.0, seconds), gain, sound);
    }
    track
}

/// A siren's wail or yelp: a bright tone sweeping up and down.
pub fn siren(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let (low, high) = (log_range(individual, 450.0, 700.0), log_range(individual, 1000.0, 1600.0));
    let period = log_range(individual, 0.3, 4.0);
    let two_tone = chance(individual, 0.3);
    let mut horn = Resonator::new(log_range(individual, 900.0, 2200.0), 900.0);
    let bright = individual.range(0.2, 0.7);
    let (mut phase, mut sweep) = (Phase::default(), Phase::default());
    let start = take.uniform();
    (0..frames(take.range(3.0, 5.0)))
        .map(|_| {
            let x = (sweep.next(1.0 / period) + start).fract();
            let up = if two_tone { f64::from(u8::from(x < 0.5)) } else { hump(x, 0.5) };
            let tone = phase.saw(low * (high / low).powf(up));
            horn.next(tone) + bright * tone + 0.01 * white(take)
        })
        .collect()
}

/// Drops into water: bubbles whose pitch rises as they close.
pub fn water_drops(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let centre = log_range(individual, 500.0, 1800.0);
    let rate = log_range(individual, 1.5, 8.0);
    let decay = log_range(individual, 0.012, 0.05);
    let mut track = vec![0.0; frames(take.range(2.0, 4.5))];
    let mut at = take.range(0.0, 0.1);
    while frames(at) < track.len() {
        let hz = log_range(take, 0.6 * centre, 1.7 * centre);
        let (fall, rise) = (vary(take, decay, 0.3), take.range(0.3, 1.2));
        let mut phase = Phase::default();
        let drop: Vec<f64> = (0..frames(6.0 * fall))
            .map(|t| {
                let time = t as f64 / RATE;
                let splash = 0.4 * white(take) * (-time / 0.0015).exp();
                phase.sine((hz * (1.0 + rise * time / fall * 0.3)).min(7000.0)) * pluck_envelope(time, 0.001, fall)
                    + splash
            })
            .collect();
        add(&mut track, at, log_range(take, 0.3, 1.0), drop);
        at += -(1.0 - take.uniform()).ln() / rate;
    }
    track
}

/// Gusts: noise in a band that wanders with its strength, over a deep rumble.
pub fn wind(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let centre = log_range(individual, 250.0, 700.0);
    let (gusts, depth) = (individual.range(0.6, 2.5), individual.range(0.5, 0.9));
    let whistle = if chance(individual, 0.4) { individual.range(0.2, 0.6) } else { 0.0 };
    let (mut body, mut edge, mut low) =
        (Resonator::new(centre, centre), Resonator::new(2.5 * centre, 200.0), LowPass::new(120.0));
    let mut strength = Drift::new(take, gusts);
    (0..frames(take.range(3.5, 5.5)))
        .enumerate()
        .map(|(t, _)| {
            let now = 1.0 + depth * strength.next(take);
            if t % 64 == 0 {
                body.tune(centre * (0.6 + 0.5 * now), 0.9 * centre);
                edge.tune(2.2 * centre * (0.5 + 0.6 * now), 60.0);
            }
            let x = white(take);
            now * now * (body.next(x) + whistle * edge.next(x) + 0.04 * x) + 0.4 * now * low.next(x)
        })
        .collect()
}
