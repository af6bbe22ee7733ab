//! Statistical room acoustics: surface, volume, mean absorption, Sabine's and Eyring's reverberation times.

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
}
