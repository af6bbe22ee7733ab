//! The official code's arithmetic, operation by operation, so that results agree to the last digits even at thresholds.

/// Python's `np.finfo(float).eps`.
pub(super) const EPS: f64 = f64::EPSILON;

/// Azimuth and elevation in degrees of a vector of any length; the zero vector is the front.
pub(super) fn angles_deg([x, y, z]: [f64; 3]) -> (f64, f64) {
    let degrees = |radians: f64| radians * 180.0 / std::f64::consts::PI;
    (degrees(y.atan2(x)), degrees(z.atan2((x * x + y * y).sqrt())))
}

/// The vector towards an azimuth and elevation in degrees.
pub(super) fn unit_vector((azimuth_deg, elevation_deg): (f64, f64)) -> [f64; 3] {
    let radians = |degrees: f64| degrees * std::f64::consts::PI / 180.0;
    let (azimuth, elevation) = (radians(azimuth_deg), radians(elevation_deg));
    [azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()]
}

/// Angle in degrees. The term that guards the length against zero makes a vector shorter than 1 by 5e-11, so that
/// equal directions are 0.0008 degrees apart.
pub(super) fn angle_deg(a: [f64; 3], b: [f64; 3]) -> f64 {
    let normalised = |v: [f64; 3]| {
        let length = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + 1e-10).sqrt();
        v.map(|c| c / length)
    };
    let (a, b) = (normalised(a), normalised(b));
    let cosine = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    cosine.clamp(-1.0, 1.0).acos() * 180.0 / std::f64::consts::PI
}
