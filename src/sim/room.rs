//! `room.json`: one shoebox room, its receiver and its sources, read strictly.
//!
//! Every mistake of a file is reported at once, with the field and what to do. Coordinates: x from west
//! to east, y from south to north, z from floor to ceiling, metres; the receiver looks along +x.

use crate::error::{Error, Number, Result};
use serde::Serialize;

/// What stands at the receiver position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Microphone {
    /// First-order Ambisonics, four channels W, Y, Z, X (ACN, SN3D).
    Foa,
    /// One omnidirectional channel.
    Omni,
}

impl Microphone {
    /// Number of channels of a response.
    pub fn channels(self) -> usize {
        match self {
            Microphone::Foa => 4,
            Microphone::Omni => 1,
        }
    }
}

/// How a fractional delay is turned into samples (81-tap sinc with a Hann window).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The window moves with the delay: the most accurate, time-invariant, and the default.
    Moving,
    /// The window stays on the sample grid.
    Fixed,
    /// pyroomacoustics' own: as `Fixed` through a table of 20 points a sample, in single precision.
    Lut,
}

/// Which images of the source are heard.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// At most this many reflections; the length follows from the latest arrival.
    MaxOrder(u32),
    /// Every image that arrives before this many seconds; exactly round(T * rate) samples.
    DurationS(f64),
}

/// A shoebox room with one receiver and any number of sources (`room.json`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Room {
    /// Length, width and height.
    pub dimensions_m: [f64; 3],
    /// Energy absorption of west (x=0), east, south (y=0), north, floor, ceiling, per band (one entry
    /// when the walls are the same at every frequency).
    #[serde(serialize_with = "serialize_absorption")]
    pub absorption: Vec<[f64; 6]>,
    /// Centres of the octave bands that `absorption` and `air_absorption_per_m` are given for; may be empty.
    pub bands_hz: Vec<f64>,
    /// Energy attenuation of air in 1/m, per band (one entry: all frequencies; none: no losses).
    pub air_absorption_per_m: Vec<f64>,
    /// Samples per second.
    pub sample_rate: u32,
    /// Which images are heard.
    #[serde(flatten)]
    pub extent: Extent,
    /// Metres per second.
    pub speed_of_sound: f64,
    /// What receives.
    pub microphone: Microphone,
    /// Position of the receiver.
    pub receiver_m: [f64; 3],
    /// Positions of the sources.
    pub sources_m: Vec<[f64; 3]>,
    /// Fractional-delay filter.
    pub filter: Filter,
    /// Samples of silence in front (pyroomacoustics: 40).
    pub delay_samples: u32,
    /// Zero-phase high-pass, order-2 Butterworth forward and backward; 0 is off (pyroomacoustics: 10).
    pub high_pass_hz: f64,
}

/// Samples that the fractional-delay filters reach to either side: with this delay nothing of them is ever cut.
pub const FILTER_HALF_SAMPLES: u32 = 40;
/// A sound that arrives earlier, or as near to the end, loses so many taps of its filter that its level is wrong by more
/// than 0.12 dB (1.1 dB at one centimetre and 16 kHz).
const EARLIEST_SAMPLES: f64 = 9.0;
/// Nearest that a source may be to the receiver, where the gain 1/d ends.
const NEAREST_M: f64 = 0.01;

/// Most images times bands computed for one room; more is refused before anything runs.
pub const MAX_IMAGES: f64 = 2e9;
/// Most samples of all responses of one room together, bands included (1 GiB).
pub const MAX_SAMPLES: f64 = (1u64 << 28) as f64;

impl Room {
    /// A room with flat walls, 343 m/s, the `moving` filter, no delay and no high-pass.
    pub fn new(dimensions_m: [f64; 3], absorption: [f64; 6], sample_rate: u32, extent: Extent) -> Room {
        Room {
            dimensions_m,
            absorption: vec![absorption],
            bands_hz: Vec::new(),
            air_absorption_per_m: Vec::new(),
            sample_rate,
            extent,
            speed_of_sound: 343.0,
            microphone: Microphone::Foa,
            receiver_m: dimensions_m.map(|d| d / 2.0),
            sources_m: Vec::new(),
            filter: Filter::Moving,
            delay_samples: 0,
            high_pass_hz: 0.0,
        }
    }

    /// When the direct sound of a source at `distance_m` arrives, in samples.
    pub fn arrival_samples(&self, distance_m: f64) -> f64 {
        distance_m / self.speed_of_sound * f64::from(self.sample_rate) + f64::from(self.delay_samples)
    }

    /// Whether the direct sound of a source at `distance_m` arrives so early that taps of its filter that matter would lie
    /// before the response begins.
    pub fn cuts_filter(&self, distance_m: f64) -> bool {
        self.arrival_samples(distance_m) < EARLIEST_SAMPLES
    }

    /// Number of frequency bands the room is described in (1: the same at every frequency).
    pub fn bands(&self) -> usize {
        self.absorption.len().max(self.air_absorption_per_m.len())
    }

    /// Images of one source, exactly for [`Extent::MaxOrder`], by volume for [`Extent::DurationS`].
    pub fn image_count(&self) -> f64 {
        match self.extent {
            Extent::MaxOrder(n) => {
                let n = n as f64;
                1.0 + 2.0 * n * (2.0 * n * n + 3.0 * n + 4.0) / 3.0
            }
            Extent::DurationS(t) => {
                // A sphere of radius c T over cells of one room each, grown by the room for small radii.
                let reach = self.speed_of_sound * t;
                let cells: f64 = self.dimensions_m.iter().map(|l| 2.0 * reach / l + 2.0).product();
                cells * std::f64::consts::PI / 6.0
            }
        }
    }

    /// Longest response in samples that the extent can lead to.
    pub fn longest_response(&self) -> f64 {
        let rate = self.sample_rate as f64;
        match self.extent {
            Extent::MaxOrder(n) => {
                let diagonal = self.dimensions_m.iter().map(|l| l * l).sum::<f64>().sqrt();
                let longest = self.dimensions_m.iter().copied().fold(0.0, f64::max);
                (diagonal + n as f64 * longest) / self.speed_of_sound * rate + self.delay_samples as f64 + 43.0
            }
            Extent::DurationS(t) => t * rate,
        }
    }

    /// Checks values, positions and cost.
    ///
    /// # Errors
    /// `Data` with everything that is wrong in one message.
    pub fn check(&self) -> Result<()> {
        let mut errors = Vec::new();
        self.check_values(&mut errors);
        if errors.is_empty() {
            self.check_bands(&mut errors);
            self.check_positions(&mut errors);
            self.check_cost(&mut errors);
        }
        all_at_once(errors)
    }

    fn check_values(&self, errors: &mut Vec<String>) {
        let mut need = |holds: bool, message: String| {
            if !holds {
                errors.push(message);
            }
        };
        let within = |x: f64, low: f64, high: f64| x.is_finite() && x >= low && x <= high;
        for (axis, &d) in ["x", "y", "z"].iter().zip(&self.dimensions_m) {
            need(within(d, 0.01, 1e4), format!("dimensions_m {axis} is {}; a room is 0.01 to 10000 m wide", Number(d)));
        }
        for (b, walls) in self.absorption.iter().enumerate() {
            for (w, &a) in ["west", "east", "south", "north", "floor", "ceiling"].iter().zip(walls) {
                let fix = "energy absorption is from 0 (hard) to 1 (open)";
                need(within(a, 0.0, 1.0), format!("absorption of wall {w}, band {b} is {}; {fix}", Number(a)));
            }
        }
        for (b, &m) in self.air_absorption_per_m.iter().enumerate() {
            need(within(m, 0.0, 1.0), format!("air_absorption_per_m[{b}] is {}; give 0 to 1 per metre", Number(m)));
        }
        need(
            (1000..=768_000).contains(&self.sample_rate),
            format!("sample_rate is {}; give 1000 to 768000 Hz", self.sample_rate),
        );
        need(
            within(self.speed_of_sound, 50.0, 10_000.0),
            format!("speed_of_sound is {}; give 50 to 10000 m/s (air: 343)", Number(self.speed_of_sound)),
        );
        need(
            within(self.high_pass_hz, 0.0, 0.49 * self.sample_rate as f64),
            format!("high_pass_hz is {}; give 0 (off) to 0.49 of sample_rate", Number(self.high_pass_hz)),
        );
        need(self.delay_samples <= 1_000_000, format!("delay_samples is {}; at most 1000000", self.delay_samples));
        match self.extent {
            Extent::MaxOrder(n) => need(n <= 100_000, format!("max_order is {n}; at most 100000")),
            Extent::DurationS(t) => {
                let one_sample = 1.0 / self.sample_rate as f64;
                need(within(t, one_sample, 600.0), format!("duration_s is {}; give one sample to 600 s", Number(t)));
            }
        }
    }

    fn check_bands(&self, errors: &mut Vec<String>) {
        let centres = &self.bands_hz;
        if !centres.iter().all(|f| f.is_finite() && *f > 0.0) || centres.windows(2).any(|w| w[1] <= w[0]) {
            errors.push("bands_hz must be positive and increasing".into());
        }
        let expected = if centres.is_empty() { 1 } else { centres.len() };
        if self.absorption.len() != 1 && self.absorption.len() != expected {
            let n = self.absorption.len();
            errors.push(format!("absorption has {n} bands and bands_hz {}; give one value per band", centres.len()));
        }
        let standard = standard_bands(self.sample_rate);
        let air = self.air_absorption_per_m.len();
        if air > 1 && air != centres.len() && !(centres.is_empty() && air == standard.len()) {
            errors.push(format!(
                "air_absorption_per_m has {air} values and bands_hz {}; give one per band, or without bands_hz \
                 one for each octave from 125 Hz ({} at this rate)",
                centres.len(),
                standard.len()
            ));
        }
    }

    fn check_positions(&self, errors: &mut Vec<String>) {
        let size = self.dimensions_m;
        let mut inside = |name: String, position: &[f64; 3]| {
            for ((axis, &p), &d) in ["x", "y", "z"].iter().zip(position).zip(&size) {
                if !(p >= 0.0 && p <= d) {
                    errors.push(format!(
                        "{name} {axis} is {}, outside the room; move it to between 0 and {d} m",
                        Number(p)
                    ));
                }
            }
        };
        inside("receiver_m".into(), &self.receiver_m);
        for (i, source) in self.sources_m.iter().enumerate() {
            inside(format!("sources_m[{i}]"), source);
        }
        if self.sources_m.is_empty() {
            errors.push("sources_m is empty; give at least one position [x, y, z]".into());
        }
        for (i, source) in self.sources_m.iter().enumerate() {
            let squared: f64 = source.iter().zip(&self.receiver_m).map(|(s, r)| (s - r).powi(2)).sum();
            let distance_m = squared.sqrt();
            let arrival = self.arrival_samples(distance_m);
            // Positions that are written a centimetre apart may be a rounding less.
            if distance_m < NEAREST_M * (1.0 - 1e-6) {
                errors.push(format!(
                    "sources_m[{i}] is {distance_m:.3} m from the receiver; keep at least {NEAREST_M} m between them"
                ));
            } else if self.cuts_filter(distance_m) {
                errors.push(format!(
                    "sources_m[{i}] is {distance_m:.3} m from the receiver: its sound arrives {arrival:.1} samples after \
                     it starts, which cuts the delay filter and falsifies its level; set delay_samples to \
                     {FILTER_HALF_SAMPLES}, or move it away"
                ));
            }
            if let Extent::DurationS(t) = self.extent
                && arrival + EARLIEST_SAMPLES > (t * f64::from(self.sample_rate)).round()
            {
                let travel_s = arrival / f64::from(self.sample_rate);
                errors.push(format!(
                    "sources_m[{i}] is {distance_m:.2} m away: its sound arrives after {travel_s:.4} s, and duration_s \
                     {t} ends before it is heard; give a duration_s that holds the reflections as well"
                ));
            }
        }
    }

    fn check_cost(&self, errors: &mut Vec<String>) {
        let sources = self.sources_m.len() as f64;
        let images = self.image_count() * sources * self.bands() as f64;
        if images > MAX_IMAGES {
            errors.push(format!(
                "{images:.3e} images (sources x bands included), at most {MAX_IMAGES:.0e} are computed; lower \
                 max_order or duration_s"
            ));
        }
        let samples = self.longest_response() * sources * (self.microphone.channels() * self.bands()) as f64;
        if samples > MAX_SAMPLES {
            errors.push(format!(
                "responses of up to {samples:.3e} samples, at most {MAX_SAMPLES:.0e}; lower max_order, duration_s, \
                 delay_samples or the number of sources"
            ));
        }
    }
}

/// Centres in Hz of the octave bands at a sample rate: 125 Hz and its octaves, floor(log2(rate / 125)) of them.
pub fn standard_bands(sample_rate: u32) -> Vec<f64> {
    let count = (sample_rate as f64 / 125.0).log2().floor().max(1.0) as i32;
    (0..count).map(|k| 125.0 * 2f64.powi(k)).collect()
}

/// One error for a list of messages; `Ok` when there is none.
pub(crate) fn all_at_once(mut errors: Vec<String>) -> Result<()> {
    const SHOWN: usize = 20;
    if errors.is_empty() {
        return Ok(());
    }
    if errors.len() > SHOWN {
        let more = errors.len() - SHOWN;
        errors.truncate(SHOWN);
        errors.push(format!("and {more} more"));
    }
    Err(Error::data(errors.join("\n  ")))
}

/// Writes absorption as it is read: six numbers, or six lists over the bands.
fn serialize_absorption<S: serde::Serializer>(bands: &[[f64; 6]], to: S) -> Result<S::Ok, S::Error> {
    match bands {
        [walls] => walls.serialize(to),
        _ => {
            let walls: [Vec<f64>; 6] = std::array::from_fn(|w| bands.iter().map(|b| b[w]).collect());
            walls.serialize(to)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const GOOD: &str = r#"{"dimensions_m":[6,5,3],"absorption":0.2,"sample_rate":16000,"max_order":17,
        "receiver_m":[4.1,1.7,1.7],"sources_m":[[2,3,1.5]]}"#;

    fn message(text: &str) -> String {
        let error = Room::from_json(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Data, "{error}");
        error.to_string()
    }

    #[test]
    fn defaults_are_filled_in_and_counts_are_exact() {
        let room = Room::from_json(GOOD).unwrap();
        assert_eq!(room.filter, Filter::Moving);
        assert_eq!(room.microphone, Microphone::Foa);
        assert_eq!(room.image_count(), 7175.0);
        let marked = Room::from_json(&format!("\u{feff}{GOOD}")).unwrap();
        assert_eq!(serde_json::to_string(&marked).unwrap(), serde_json::to_string(&room).unwrap());
        let again = Room::from_json(&serde_json::to_string(&room).unwrap()).unwrap();
        assert_eq!(again, room, "what is written is read back");
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_a_suggestion() {
        let text = message(
            r#"{"dimensions_m":[6,5],"absorbtion":0.2,"sample_rate":"high","max_order":1.5,
               "receiver_m":[1,1,1],"sources_m":[[2,3,1.5]]}"#,
        );
        for part in ["dimensions_m", "absorbtion", "did you mean \"absorption\"", "sample_rate", "max_order"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    #[test]
    fn impossible_rooms_are_refused_with_the_field() {
        let cases = [
            ("[2,3,1.5]", "[2,3,3.5]", "sources_m[0] z is 3.5, outside the room"),
            ("[2,3,1.5]", "[4.1,1.7,1.7]", "0.000 m from the receiver; keep at least 0.01 m"),
            ("[2,3,1.5]", "[4.1,1.7,1.75]", "set delay_samples to 40"),
            (
                "\"max_order\":17",
                "\"duration_s\":0.007",
                "sources_m[0] is 2.48 m away: its sound arrives after 0.0072 s",
            ),
            // Sample 115.6 of 117: its filter would be cut off.
            ("\"max_order\":17", "\"duration_s\":0.0073", "duration_s 0.0073 ends before it is heard"),
            ("0.2", "1.2", "absorption of wall west"),
            ("17", "5000", "images"),
            ("\"max_order\":17", "\"max_order\":17,\"duration_s\":1", "duration_s"),
            ("\"max_order\":17", "\"delay_samples\":0", "max_order"),
            ("\"max_order\":17", "\"duration_s\":1e9", "duration_s"),
            ("0.2", "[[0.1,0.2],[0.1],0.1,0.1,0.1,0.1]", "absorption"),
            ("0.2", "0.2,\"absorption\":0.3", "twice"),
            ("0.2", "1e999", "number"),
        ];
        for (from, to, expected) in cases {
            let text = message(&GOOD.replace(from, to));
            assert!(text.contains(expected), "{to}: {text}");
        }
    }
}
