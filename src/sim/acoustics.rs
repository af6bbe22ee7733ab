//! Statistical room acoustics: surface, volume, mean absorption, Sabine's and Eyring's reverberation
//! times, and the reverberation time measured on an impulse response (Schroeder 1965).

use crate::sim::room::Room;

/// Areas in m^2 of the six walls in the order west (x=0), east, south (y=0), north, floor, ceiling.
pub fn wall_areas_m2(dimensions_m: [f64; 3]) -> [f64; 6] {
    let [x, y, z] = dimensions_m;
    [y * z, y * z, x * z, x * z, x * y, x * y]
}

/// Total wall area in m^2.
pub fn surface_m2(dimensions_m: [f64; 3]) -> f64 {
    wall_areas_m2(dimensions_m).iter().sum()
}

/// Volume in m^3.
pub fn volume_m3(dimensions_m: [f64; 3]) -> f64 {
    dimensions_m.iter().product()
}

/// Area-weighted mean of the energy absorption of six walls.
pub fn mean_absorption(dimensions_m: [f64; 3], walls: &[f64; 6]) -> f64 {
    let areas = wall_areas_m2(dimensions_m);
    areas.iter().zip(walls).map(|(s, a)| s * a).sum::<f64>() / surface_m2(dimensions_m)
}

/// Sabine's reverberation time in seconds: (24 ln 10 / c) V / (S a + 4 m V), infinite for hard walls in
/// air without losses. `air_per_m` is the energy attenuation of air in 1/m.
pub fn sabine_s(dimensions_m: [f64; 3], mean_absorption: f64, air_per_m: f64, speed_of_sound: f64) -> f64 {
    let (v, s) = (volume_m3(dimensions_m), surface_m2(dimensions_m));
    24.0 * std::f64::consts::LN_10 / speed_of_sound * v / (s * mean_absorption + 4.0 * air_per_m * v)
}

/// Eyring's reverberation time in seconds: as Sabine's with -ln(1 - a) in the place of a; 0 for a = 1.
pub fn eyring_s(dimensions_m: [f64; 3], mean_absorption: f64, air_per_m: f64, speed_of_sound: f64) -> f64 {
    sabine_s(dimensions_m, -(1.0 - mean_absorption).ln(), air_per_m, speed_of_sound)
}

/// Eyring's reverberation time of a room: the mean over the octave bands from 500 Hz to 1 kHz when the
/// room has bands there (the usual single number), else over all its bands.
pub fn room_eyring_s(room: &Room) -> f64 {
    let per_band: Vec<f64> = (0..room.absorption.len().max(room.air_absorption_per_m.len()))
        .map(|band| {
            let walls = room.absorption.get(band).unwrap_or(&room.absorption[0]);
            let air = room.air_absorption_per_m.get(band).copied().unwrap_or(0.0);
            eyring_s(room.dimensions_m, mean_absorption(room.dimensions_m, walls), air, room.speed_of_sound)
        })
        .collect();
    let middle: Vec<f64> =
        (room.bands_hz.iter().zip(&per_band)).filter(|(f, _)| (450.0..=1100.0).contains(*f)).map(|(_, t)| *t).collect();
    let chosen = if middle.is_empty() { &per_band } else { &middle };
    chosen.iter().sum::<f64>() / chosen.len() as f64
}

/// Schroeder's backward-integrated energy of a response, in dB relative to its total (index = sample).
pub fn energy_decay_db(response: &[f32]) -> Vec<f64> {
    let mut decay = vec![0.0f64; response.len()];
    let mut energy = 0.0;
    for (slot, &x) in decay.iter_mut().zip(response).rev() {
        energy += (x as f64) * (x as f64);
        *slot = energy;
    }
    let total = energy.max(f64::MIN_POSITIVE);
    decay.iter().map(|e| 10.0 * (e / total).max(1e-30).log10()).collect()
}

/// Reverberation time in seconds from the decay between -5 and -5 - `range_db` dB (T20: 20, T30: 30), as
/// the time for 60 dB of the line fitted there by least squares. `None` when the response does not
/// decay that far.
pub fn decay_time_s(response: &[f32], sample_rate: u32, range_db: f64) -> Option<f64> {
    let decay = energy_decay_db(response);
    let start = decay.iter().position(|&d| d <= -5.0)?;
    let end = decay.iter().position(|&d| d <= -5.0 - range_db)?;
    let n = (end - start) as f64;
    if n < 2.0 {
        return None;
    }
    let mean_x = (n - 1.0) / 2.0;
    let mean_y = decay[start..end].iter().sum::<f64>() / n;
    let (mut xy, mut xx) = (0.0, 0.0);
    for (i, d) in decay[start..end].iter().enumerate() {
        xy += (i as f64 - mean_x) * (d - mean_y);
        xx += (i as f64 - mean_x).powi(2);
    }
    let slope_per_s = xy / xx * sample_rate as f64;
    (slope_per_s < 0.0).then(|| -60.0 / slope_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_give_the_textbook_room() {
        // 6 x 5 x 3 m, absorption 0.2: the figures of every implementation with c = 343 m/s.
        let room = [6.0, 5.0, 3.0];
        assert_eq!(surface_m2(room), 126.0);
        assert!((sabine_s(room, 0.2, 0.0, 343.0) - 0.575407).abs() < 1e-6);
        assert!((eyring_s(room, 0.2, 0.0, 343.0) - 0.515728).abs() < 1e-6);
        assert_eq!(eyring_s(room, 1.0, 0.0, 343.0), 0.0);
    }

    #[test]
    fn an_exponential_decay_is_measured() {
        let rate = 16_000;
        let response: Vec<f32> = (0..rate).map(|i| 10f64.powf(-3.0 * i as f64 / rate as f64 / 0.4) as f32).collect();
        let t20 = decay_time_s(&response, rate, 20.0).unwrap();
        assert!((t20 - 0.4).abs() < 1e-3, "{t20}");
        assert!(decay_time_s(&[1.0; 10], rate, 20.0).is_none());
    }
}
