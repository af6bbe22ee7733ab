//! Music: plucked or struck melodies in a key, often with chords or drums under them.

use super::synth::*;
use crate::rng::Rng;

const SCALES: [[i32; 7]; 4] =
    [[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10], [0, 2, 3, 5, 7, 9, 10], [0, 2, 4, 6, 7, 9, 11]];

struct Piece {
    tonic_hz: f64,
    scale: [i32; 7],
    beat_s: f64,
    instrument: Instrument,
    chords: bool,
    drums: bool,
}

#[derive(Clone, Copy)]
enum Instrument {
    /// Karplus-Strong string: brightness of the pluck in [0, 1].
    String(f64),
    /// Struck bar: decay in seconds.
    Bar(f64),
    /// Bowed or blown: cut-off of its low-pass as a multiple of the pitch.
    Reed(f64),
}

/// Three to five and a half seconds of a piece; takes of one piece share key, tempo and instrument.
pub fn phrase(individual: &mut Rng, take: &mut Rng) -> Vec<f64> {
    let piece = Piece {
        tonic_hz: log_range(individual, 130.0, 330.0),
        scale: SCALES[individual.below(4)],
        beat_s: individual.range(0.22, 0.5),
        instrument: match individual.below(3) {
            0 => Instrument::String(individual.range(0.3, 1.0)),
            1 => Instrument::Bar(individual.range(0.15, 0.6)),
            _ => Instrument::Reed(individual.range(4.0, 10.0)),
        },
        chords: chance(individual, 0.6),
        drums: chance(individual, 0.5),
    };
    let seconds = take.range(3.0, 5.5);
    let mut track = vec![0.0; frames(seconds)];
    melody(&mut track, &piece, take);
    if piece.chords {
        chords(&mut track, &piece, take);
    }
    if piece.drums {
        drums(&mut track, &piece, take);
    }
    track
}

fn pitch(piece: &Piece, degree: i32) -> f64 {
    let semitones = piece.scale[degree.rem_euclid(7) as usize] + 12 * degree.div_euclid(7);
    piece.tonic_hz * 2f64.powf(f64::from(semitones) / 12.0)
}

fn melody(track: &mut [f64], piece: &Piece, take: &mut Rng) {
    let (mut at, mut degree) = (0.0, 4 + take.below(6) as i32);
    while frames(at) < track.len() {
        let beats = [0.5, 0.5, 1.0, 1.0, 1.5, 2.0][take.below(6)];
        let seconds = beats * piece.beat_s;
        if !chance(take, 0.08) {
            let sound = note(piece.instrument, pitch(piece, degree), 1.3 * seconds, take);
            add(track, at, take.range(0.6, 1.0), sound);
        }
        degree = (degree + take.below(7) as i32 - 3).clamp(0, 13);
        at += seconds;
    }
}

fn chords(track: &mut [f64], piece: &Piece, take: &mut Rng) {
    let bar = 4.0 * piece.beat_s;
    let mut at = 0.0;
    while frames(at) < track.len() {
        let root = [0, 3, 4, 5][take.below(4)] - 7;
        for third in 0..3 {
            let sound = note(Instrument::String(0.35), pitch(piece, root + 2 * third + 7 * (third % 2)), bar, take);
            add(track, at + 0.012 * f64::from(third), 0.35, sound);
        }
        at += bar;
    }
}

fn drums(track: &mut [f64], piece: &Piece, take: &mut Rng) {
    let mut at = 0.0;
    for half_beat in 0.. {
        if frames(at) >= track.len() {
            break;
        }
        let mut low = LowPass::new(6000.0);
        let hat: Vec<f64> = (0..frames(0.06))
            .map(|t| {
                let x = white(take);
                (x - low.next(x)) * (-(t as f64) / RATE / 0.015).exp()
            })
            .collect();
        add(track, at, 0.35, hat);
        if half_beat % 4 == 0 {
            let mut phase = Phase::default();
            let kick = (0..frames(0.2)).map(|t| {
                let time = t as f64 / RATE;
                phase.sine(50.0 + 120.0 * (-time / 0.03).exp()) * pluck_envelope(time, 0.002, 0.07)
            });
            add(track, at, 1.0, kick);
        } else if half_beat % 4 == 2 {
            let sound = strike(take, &[(190.0, 0.05, 0.7), (330.0, 0.03, 0.4)], 0.0, 0.15);
            add(track, at, 0.6, sound);
            let mut band = Resonator::new(2500.0, 3000.0);
            let rattle: Vec<f64> =
                (0..frames(0.15)).map(|t| band.next(white(take)) * (-(t as f64) / RATE / 0.04).exp()).collect();
            add(track, at, 0.9, rattle);
        }
        at += 0.5 * piece.beat_s;
    }
}

fn note(instrument: Instrument, hz: f64, seconds: f64, rng: &mut Rng) -> Vec<f64> {
    match instrument {
        Instrument::String(bright) => string(hz, seconds, bright, rng),
        Instrument::Bar(decay) => {
            let modes = [(hz, decay, 1.0), (2.76 * hz, 0.4 * decay, 0.5), (5.4 * hz, 0.2 * decay, 0.3)];
            strike(rng, &modes, 0.25, seconds)
        }
        Instrument::Reed(cutoff) => {
            let n = frames(seconds);
            let (mut a, mut b, mut low) = (Phase::default(), Phase::default(), LowPass::new((cutoff * hz).min(7000.0)));
            let mut vibrato = Phase::default();
            (0..n)
                .map(|t| {
                    let now = hz * (1.0 + 0.006 * vibrato.sine(5.5));
                    let x = 0.5 * a.saw(now) + 0.5 * b.saw(1.004 * now) + 0.03 * white(rng);
                    0.7 * low.next(x) * hump(t as f64 / n as f64, 0.12)
                })
                .collect()
        }
    }
}

/// A plucked string after Karplus and Strong (1983): noise in a loop with an averaging filter.
fn string(hz: f64, seconds: f64, bright: f64, rng: &mut Rng) -> Vec<f64> {
    let delay = RATE / hz - 0.5;
    let whole = delay.floor().max(2.0) as usize;
    let rest = delay - delay.floor();
    let mut tone = LowPass::new(800.0 + 6500.0 * bright);
    let mut line: Vec<f64> = (0..whole + 1).map(|_| 1.6 * tone.next(white(rng))).collect();
    let loss = 0.9985f64.powf(220.0 / hz.max(60.0));
    let mut at = 0;
    (0..frames(seconds))
        .map(|_| {
            let n = line.len();
            let (now, next) = (line[at], line[(at + 1) % n]);
            // Linear interpolation tunes the loop between whole samples; the mean of two damps its treble.
            let out = now + (1.0 - rest) * (next - now);
            line[at] = loss * 0.5 * (now + next);
            at = (at + 1) % n;
            out
        })
        .collect()
}
