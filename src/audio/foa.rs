//! First-Order-Ambisonics: channel conventions, directions, encoding gains and rotations, in one place.
//!
//! Inside the project: AmbiX, i.e. ACN order W, Y, Z, X with SN3D weights, so that a plane wave `s` from the
//! unit vector `u` is `[1, u_y, u_z, u_x] * s`. Axes are right-handed: x front, y left, z up. Azimuth is
//! counter-clockwise from the front (+90 is left), in (-180, 180]; elevation is up from the horizon.

use super::Audio;
use crate::error::{Error, Result};
use crate::rng::Rng;

/// How the four channels of a file are ordered and weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// W, Y, Z, X with SN3D weights (ACN order): the project's own.
    Ambix,
    /// W, Y, Z, X with N3D weights: Y, Z and X are sqrt 3 times those of AmbiX.
    N3d,
    /// W, X, Y, Z with W scaled by 1/sqrt 2 (Furse-Malham, `.amb`).
    Fuma,
    /// W, X, Y, Z with SN3D weights.
    Wxyz,
}

impl std::str::FromStr for Convention {
    type Err = Error;
    /// `ambix`, `n3d`, `fuma` or `wxyz`, in any case; anything else is a usage error.
    fn from_str(name: &str) -> Result<Convention> {
        match name.to_ascii_lowercase().as_str() {
            "ambix" => Ok(Convention::Ambix),
            "n3d" => Ok(Convention::N3d),
            "fuma" => Ok(Convention::Fuma),
            "wxyz" => Ok(Convention::Wxyz),
            _ => Err(Error::usage(format!("convention `{name}` is not one of ambix, n3d, fuma, wxyz"))),
        }
    }
}

impl std::fmt::Display for Convention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Convention::Ambix => "ambix",
            Convention::N3d => "n3d",
            Convention::Fuma => "fuma",
            Convention::Wxyz => "wxyz",
        })
    }
}

/// Reorders and rescales four channels from `convention` to AmbiX. Panics unless `audio` has 4 channels.
#[track_caller]
pub fn to_ambix(audio: &mut Audio, convention: Convention) {
    assert_eq!(audio.channels, 4, "First-Order Ambisonics has 4 channels");
    let frames = audio.frames();
    if matches!(convention, Convention::Fuma | Convention::Wxyz) {
        // X, Y, Z becomes Y, Z, X.
        audio.samples[frames..].rotate_left(frames);
    }
    weigh(audio, convention, |weight| 1.0 / weight);
}

/// The inverse of [`to_ambix`]: four AmbiX channels become `convention`. Panics unless there are 4 channels.
#[track_caller]
pub fn from_ambix(audio: &mut Audio, convention: Convention) {
    assert_eq!(audio.channels, 4, "First-Order Ambisonics has 4 channels");
    let frames = audio.frames();
    if matches!(convention, Convention::Fuma | Convention::Wxyz) {
        audio.samples[frames..].rotate_right(frames);
    }
    weigh(audio, convention, |weight| weight);
}

/// Scales W and the three others by a function of their weight against AmbiX.
fn weigh(audio: &mut Audio, convention: Convention, scale: impl Fn(f64) -> f64) {
    let (w, others) = match convention {
        Convention::Ambix | Convention::Wxyz => return,
        Convention::N3d => (1.0, 3f64.sqrt()),
        Convention::Fuma => (0.5f64.sqrt(), 1.0),
    };
    let frames = audio.frames();
    let (front, rest) = audio.samples.split_at_mut(frames);
    for (samples, weight) in [(front, w), (rest, others)] {
        let factor = scale(weight) as f32;
        if weight != 1.0 {
            samples.iter_mut().for_each(|x| *x *= factor);
        }
    }
}

/// The unit vector (x, y, z) towards an azimuth and elevation in degrees.
pub fn unit_vector(azimuth_deg: f64, elevation_deg: f64) -> [f64; 3] {
    let (sin_az, cos_az) = azimuth_deg.to_radians().sin_cos();
    let (sin_el, cos_el) = elevation_deg.to_radians().sin_cos();
    [cos_el * cos_az, cos_el * sin_az, sin_el]
}

/// Azimuth in (-180, 180] and elevation in [-90, 90], both in degrees, of a vector of any length. The zero
/// vector and the poles have azimuth 0.
pub fn angles_deg([x, y, z]: [f64; 3]) -> (f64, f64) {
    let horizontal = x.hypot(y);
    // At a pole the azimuth is undefined; rounding noise of cos 90 degrees must not pick one at random.
    let at_pole = horizontal <= 1e-15 * z.abs();
    let azimuth = if at_pole { 0.0 } else { y.atan2(x).to_degrees() };
    let azimuth = if azimuth <= -180.0 { 180.0 } else { azimuth };
    (azimuth, z.atan2(horizontal).to_degrees())
}

/// The angle between two directions of any length, in degrees in [0, 180]; exact for tiny and for nearly
/// opposite angles, where the arc cosine is not. A zero vector gives 0.
pub fn angle_between_deg(a: [f64; 3], b: [f64; 3]) -> f64 {
    let cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    cross[0].hypot(cross[1]).hypot(cross[2]).atan2(dot).to_degrees()
}

/// AmbiX gains [W, Y, Z, X] of a plane wave from the unit vector (x, y, z).
pub fn gains([x, y, z]: [f64; 3]) -> [f64; 4] {
    [1.0, y, z, x]
}

/// An orthogonal 3 x 3 matrix in row-major order, acting on (x, y, z): rotations (determinant 1) and
/// reflections (determinant -1) alike. First-order Ambisonics is closed under both, so a scene can be
/// turned or mirrored exactly without simulating it again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotation(pub [[f64; 3]; 3]);

impl Rotation {
    /// No rotation.
    pub const IDENTITY: Rotation = Rotation([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);

    /// Turns directions counter-clockwise about z: azimuth becomes azimuth + `deg`.
    pub fn yaw(deg: f64) -> Rotation {
        let (s, c) = deg.to_radians().sin_cos();
        Rotation([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    }

    /// The mirror at the plane through the origin with this `normal` (any length but 0). Panics on a zero normal.
    #[track_caller]
    pub fn mirror(normal: [f64; 3]) -> Rotation {
        let n = normalised(normal);
        let mut m = Rotation::IDENTITY.0;
        for (row, a) in m.iter_mut().zip(n) {
            row.iter_mut().zip(n).for_each(|(cell, b)| *cell -= 2.0 * a * b);
        }
        Rotation(m)
    }

    /// A rotation drawn uniformly from all proper rotations (a uniform unit quaternion).
    pub fn random(rng: &mut Rng) -> Rotation {
        loop {
            let q: [f64; 4] = std::array::from_fn(|_| rng.normal());
            let norm = q.iter().map(|v| v * v).sum::<f64>().sqrt();
            if norm > 1e-6 {
                let [w, x, y, z] = q.map(|v| v / norm);
                return Rotation([
                    [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
                    [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
                    [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
                ]);
            }
        }
    }

    /// First `self`, then `next`.
    pub fn then(&self, next: &Rotation) -> Rotation {
        let [c0, c1, c2] = self.inverse().0.map(|column| next.apply_vector(column));
        Rotation([c0, c1, c2]).inverse()
    }

    /// The inverse, which for an orthogonal matrix is the transpose.
    pub fn inverse(&self) -> Rotation {
        let m = self.0;
        Rotation(std::array::from_fn(|i| std::array::from_fn(|j| m[j][i])))
    }

    /// The rotated vector.
    pub fn apply_vector(&self, v: [f64; 3]) -> [f64; 3] {
        self.0.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
    }

    /// Rotates an AmbiX signal `[4, frames]`, channel-major W, Y, Z, X, in place; W does not change. Panics
    /// when the length is no multiple of 4.
    #[track_caller]
    pub fn apply_foa(&self, samples: &mut [f32]) {
        assert_eq!(samples.len() % 4, 0, "[4, frames] samples");
        let frames = samples.len() / 4;
        let m = self.0.map(|row| row.map(|v| v as f32));
        let (ys, rest) = samples[frames..].split_at_mut(frames);
        let (zs, xs) = rest.split_at_mut(frames);
        for ((y, z), x) in ys.iter_mut().zip(zs).zip(xs) {
            let v = [*x, *y, *z];
            [*x, *y, *z] = m.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
        }
    }
}

#[track_caller]
fn normalised(v: [f64; 3]) -> [f64; 3] {
    let norm = v[0].hypot(v[1]).hypot(v[2]);
    assert!(norm > 0.0 && norm.is_finite(), "an axis needs a direction, got {v:?}");
    v.map(|c| c / norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane_wave(direction: [f64; 3], signal: &[f32]) -> Audio {
        let samples = gains(direction).iter().flat_map(|&g| signal.iter().map(move |&s| s * g as f32)).collect();
        Audio { sample_rate: 16_000, channels: 4, samples }
    }

    #[test]
    fn left_is_plus_ninety_and_the_back_is_plus_180() {
        let close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-15);
        assert!(close(unit_vector(90.0, 0.0), [0.0, 1.0, 0.0]));
        assert!(close(unit_vector(0.0, 90.0), [0.0, 0.0, 1.0]));
        assert_eq!(angles_deg([-1.0, -0.0, 0.0]), (180.0, 0.0));
        assert_eq!(angles_deg([0.0, -2.0, 0.0]), (-90.0, 0.0));
        assert_eq!(angles_deg([0.0, 0.0, -3.0]), (0.0, -90.0));
        assert_eq!(angles_deg(unit_vector(77.0, 90.0)).0, 0.0);
    }

    #[test]
    fn angles_are_exact_where_the_arc_cosine_is_not() {
        let near = angle_between_deg(unit_vector(10.0, 5.0), unit_vector(10.0 + 1e-7, 5.0));
        assert!((near / (1e-7 * 5f64.to_radians().cos()) - 1.0).abs() < 1e-6, "{near}");
        assert!((angle_between_deg([1.0, 0.0, 0.0], [-2.0, 1e-9, 0.0]) - 180.0).abs() < 1e-6);
    }

    #[test]
    fn conventions_round_trip_and_fuma_follows_its_definition() {
        // FuMa of a plane wave: W = s / sqrt 2, X = s cos az cos el, Y = s sin az cos el, Z = s sin el.
        let direction = unit_vector(30.0, -20.0);
        let ambix = plane_wave(direction, &[1.0, -0.5]);
        let mut fuma = ambix.clone();
        from_ambix(&mut fuma, Convention::Fuma);
        let expected = [std::f64::consts::FRAC_1_SQRT_2, direction[0], direction[1], direction[2]];
        for (c, e) in expected.into_iter().enumerate() {
            assert!((fuma.channel(c)[0] as f64 - e).abs() < 1e-7);
        }
        // N3D of a plane wave: sqrt(2 n + 1) times SN3D, so sqrt 3 at degree 1, in ACN order.
        let mut n3d = ambix.clone();
        from_ambix(&mut n3d, Convention::N3d);
        let expected = [1.0, 3f64.sqrt() * direction[1], 3f64.sqrt() * direction[2], 3f64.sqrt() * direction[0]];
        for (c, e) in expected.into_iter().enumerate() {
            assert!((n3d.channel(c)[0] as f64 - e).abs() < 1e-6);
        }
        for convention in [Convention::Ambix, Convention::N3d, Convention::Fuma, Convention::Wxyz] {
            let mut audio = ambix.clone();
            from_ambix(&mut audio, convention);
            to_ambix(&mut audio, convention);
            assert!(audio.samples.iter().zip(&ambix.samples).all(|(a, b)| (a - b).abs() < 1e-6));
            assert_eq!(convention.to_string().parse::<Convention>().unwrap(), convention);
        }
        assert!("b-format".parse::<Convention>().is_err());
    }

    #[test]
    fn rotating_the_signal_moves_the_source() {
        let mut rng = Rng::new(5, "foa test", 0);
        for i in 0..50 {
            let mut r = Rotation::random(&mut rng);
            if i % 2 == 1 {
                r = r.then(&Rotation::mirror([rng.normal(), rng.normal(), rng.normal()]));
            }
            let direction = unit_vector(rng.range(-180.0, 180.0), rng.range(-90.0, 90.0));
            let mut audio = plane_wave(direction, &[1.0, 0.3, -2.0]);
            r.apply_foa(&mut audio.samples);
            let moved = plane_wave(r.apply_vector(direction), &[1.0, 0.3, -2.0]);
            assert!(audio.samples.iter().zip(&moved.samples).all(|(a, b)| (a - b).abs() < 1e-6));
            let back = r.then(&r.inverse());
            for (i, row) in back.0.iter().enumerate() {
                for (j, v) in row.iter().enumerate() {
                    assert!((v - f64::from(u8::from(i == j))).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn yaw_turns_to_the_left_and_composition_is_first_then_next() {
        let v = unit_vector(20.0, 10.0);
        let (azimuth, elevation) = angles_deg(Rotation::yaw(40.0).apply_vector(v));
        assert!((azimuth - 60.0).abs() < 1e-12 && (elevation - 10.0).abs() < 1e-12);
        // Front, turned left by 90 degrees, then tipped about x (y goes to z): up.
        let tip = Rotation([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]);
        let both = Rotation::yaw(90.0).then(&tip);
        assert!(angle_between_deg(both.apply_vector([1.0, 0.0, 0.0]), [0.0, 0.0, 1.0]) < 1e-10);
        let mirrored = Rotation::mirror([0.0, 1.0, 0.0]).apply_vector(v);
        assert!((angles_deg(mirrored).0 + 20.0).abs() < 1e-12);
    }

    #[test]
    fn random_rotations_are_uniform_in_the_mean() {
        let mut rng = Rng::new(1, "foa test", 1);
        let mut mean = [0.0; 3];
        let n = 20_000;
        for _ in 0..n {
            let v = Rotation::random(&mut rng).apply_vector([0.6, 0.0, 0.8]);
            mean.iter_mut().zip(v).for_each(|(m, c)| *m += c / n as f64);
        }
        // Each component has variance 1/3: five standard errors are 0.02.
        assert!(mean.iter().all(|m| m.abs() < 0.0205), "{mean:?}");
    }
}
