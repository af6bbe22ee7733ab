//! Speech-like sounds: syllables of a consonant and a vowel through moving formants, with sentence melody.

use super::synth::*;
use crate::rng::Rng;

/// First three formants in Hz of ten vowels of an average adult (after Peterson and Barney, 1952).
const VOWELS: [[f64; 3]; 10] = [
    [270.0, 2290.0, 3010.0],
    [390.0, 1990.0, 2550.0],
    [530.0, 1840.0, 2480.0],
    [660.0, 1720.0, 2410.0],
    [730.0, 1090.0, 2440.0],
    [570.0, 840.0, 2410.0],
    [440.0, 1020.0, 2240.0],
    [300.0, 870.0, 2240.0],
    [640.0, 1190.0, 2390.0],
    [490.0, 1350.0, 1690.0],
];

#[derive(Clone, Copy)]
enum Consonant {
    None,
    /// Noise around this frequency.
    Fricative(f64),
    /// Silence, then a burst around this frequency.
    Plosive(f64),
    /// Voice through the nose.
    Nasal,
}

struct Speaker {
    pitch: f64,
    liveliness: f64,
    tract: f64,
    breath: f64,
    syllable_s: f64,
}

/// One to four seconds of one speaker's babble: words of one to four syllables with pauses between them.
pub fn babble(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let speaker = Speaker {
        pitch: log_range(individual, 85.0, 260.0),
        liveliness: individual.range(0.06, 0.25),
        tract: individual.range(0.88, 1.2),
        breath: individual.range(0.02, 0.12),
        syllable_s: individual.range(0.14, 0.26),
    };
    let seconds = take.range(1.2, 4.0);
    let mut out = Vec::with_capacity(frames(seconds + 1.0));
    let mut voice = Voice::new(&speaker);
    while out.len() < frames(seconds) {
        for _ in 0..1 + take.below(4) {
            // Pitch falls over the sentence and jumps on stressed syllables.
            let place = out.len() as f64 / RATE / seconds;
            let stress = take.range(-1.0, 1.0) * speaker.liveliness;
            let pitch = speaker.pitch * (1.12 - 0.22 * place + stress);
            syllable(&mut out, &mut voice, &speaker, pitch, take);
        }
        let pause = frames(take.range(0.04, 0.22));
        for _ in 0..pause {
            let x = voice.next(0.0, take);
            out.push(x);
        }
    }
    out
}

fn syllable(out: &mut Vec<f64>, voice: &mut Voice, speaker: &Speaker, pitch: f64, take: &mut Rng) {
    let consonant = match take.below(8) {
        0 => Consonant::None,
        1..=3 => Consonant::Fricative(log_range(take, 2200.0, 6500.0)),
        4..=6 => Consonant::Plosive(log_range(take, 600.0, 4500.0)),
        _ => Consonant::Nasal,
    };
    consonant_sound(out, voice, consonant, pitch, take);
    let target = VOWELS[take.below(VOWELS.len())].map(|f| f * speaker.tract);
    let from = voice.formants;
    let n = frames(vary(take, speaker.syllable_s, 0.3));
    let strength = take.range(0.6, 1.0);
    let bend = take.range(-0.08, 0.12);
    for t in 0..n {
        let x = t as f64 / n as f64;
        if t % 32 == 0 {
            let mix = (x / 0.35).min(1.0);
            voice.shape(std::array::from_fn(|k| from[k] + mix * (target[k] - from[k])));
        }
        let glottis = voice.glottis(pitch * (1.0 + bend * x), take) * strength * hump(x, 0.18);
        let sample = voice.next(glottis, take);
        out.push(sample);
    }
}

fn consonant_sound(out: &mut Vec<f64>, voice: &mut Voice, consonant: Consonant, pitch: f64, take: &mut Rng) {
    let (hz, seconds, silence) = match consonant {
        Consonant::None => return,
        Consonant::Fricative(hz) => (hz, take.range(0.06, 0.14), 0.0),
        Consonant::Plosive(hz) => (hz, take.range(0.012, 0.03), take.range(0.03, 0.07)),
        Consonant::Nasal => {
            let n = frames(take.range(0.05, 0.1));
            voice.shape([250.0, 1100.0, 2300.0]);
            for t in 0..n {
                let glottis = 0.5 * voice.glottis(pitch, take) * hump(t as f64 / n as f64, 0.2);
                let sample = voice.next(glottis, take);
                out.push(sample);
            }
            return;
        }
    };
    for _ in 0..frames(silence) {
        let sample = voice.next(0.0, take);
        out.push(sample);
    }
    let mut band = Resonator::new(hz, 0.35 * hz + 300.0);
    let n = frames(seconds);
    for t in 0..n {
        let noise = 0.7 * band.next(white(take)) * hump(t as f64 / n as f64, 0.3);
        let sample = voice.next(0.0, take) + noise;
        out.push(sample);
    }
}

/// Glottis and vocal tract of a speaker.
struct Voice {
    phase: Phase,
    tilt: LowPass,
    tract: [Resonator; 4],
    formants: [f64; 3],
    upper: f64,
    breath: f64,
}

impl Voice {
    fn new(speaker: &Speaker) -> Voice {
        let mut voice = Voice {
            phase: Phase::default(),
            tilt: LowPass::new(700.0),
            tract: std::array::from_fn(|_| Resonator::default()),
            formants: VOWELS[9].map(|f| f * speaker.tract),
            upper: 3600.0 * speaker.tract,
            breath: speaker.breath,
        };
        voice.shape(voice.formants);
        voice
    }

    fn shape(&mut self, formants: [f64; 3]) {
        self.formants = formants;
        for (resonator, (hz, width)) in self.tract.iter_mut().zip([
            (formants[0], 80.0),
            (formants[1], 110.0),
            (formants[2], 170.0),
            (self.upper, 350.0),
        ]) {
            resonator.tune(hz, width);
        }
    }

    fn glottis(&mut self, pitch: f64, rng: &mut Rng) -> f64 {
        let saw = self.phase.saw(pitch * (1.0 + 0.01 * white(rng)));
        0.6 * self.tilt.next(saw) + 0.12 * saw + self.breath * white(rng)
    }

    /// Parallel formants; the fourth and a little of the source keep the top of the spectrum alive.
    fn next(&mut self, source: f64, rng: &mut Rng) -> f64 {
        let gains = [1.0, 0.7, 0.4, 0.25];
        let formants: f64 = self.tract.iter_mut().zip(gains).map(|(r, g)| g * r.next(source)).sum();
        formants + 0.03 * source + 0.0005 * white(rng)
    }
}
