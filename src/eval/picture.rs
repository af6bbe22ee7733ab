//! The picture of a scene as SVG: the plan from above, the elevations from the side, and a table.
//!
//! In the plan the front is up and the left is left, so azimuth runs counter-clockwise as everywhere else; the radius
//! is the distance along the floor. In the side view the angle is the elevation and the radius the distance.

use super::draw::{Area, COLORS, Drawn, FAINT, GREY, INK, disc, line, ring, shortened, svg, text, to_units, units};
use super::listen::tidy;
use crate::audio::foa::unit_vector;
use crate::error::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const SIZE: (u32, u32) = (1080, 570);
const PLAN: (f64, f64, f64) = (290.0, 310.0, 205.0);
const SIDE: (f64, f64, f64) = (700.0, 208.0, 112.0);
/// One source in the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Marker {
    /// Counter-clockwise from the front.
    pub azimuth_deg: f64,
    /// Up from the horizon.
    pub elevation_deg: f64,
    /// Metres.
    pub distance_m: f64,
    /// What it is, for example its class.
    pub label: String,
    /// Probability that there is a source; it fades the marker.
    pub existence: f64,
}

/// A scene to draw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Heading.
    pub title: String,
    /// Line under the heading, for example the room.
    pub subtitle: String,
    /// What was heard: filled markers with numbers.
    pub heard: Vec<Marker>,
    /// What was there, when it is known: hollow markers.
    pub truth: Vec<Marker>,
}

impl Picture {
    /// The picture as one SVG element.
    ///
    /// # Errors
    /// `Data` when a number is not finite.
    pub fn to_svg(&self) -> Result<String> {
        for marker in self.heard.iter().chain(&self.truth) {
            if ![marker.azimuth_deg, marker.elevation_deg, marker.distance_m].iter().all(|v| v.is_finite()) {
                return Err(Error::data(format!("cannot draw {marker:?}: not finite")));
            }
        }
        svg(SIZE, |area| self.draw(area))
    }

    fn draw(&self, area: &Area) -> Drawn {
        let rings = Rings::up_to(self.heard.iter().chain(&self.truth).map(|m| m.distance_m).fold(0.0, f64::max));
        text(area, (36.0, 34.0), &shortened(&self.title, 90), 20.0, INK, HPos::Left, FontStyle::Bold)?;
        text(area, (36.0, 57.0), &shortened(&self.subtitle, 130), 13.5, GREY, HPos::Left, FontStyle::Normal)?;
        plan(area, &rings)?;
        side(area, &rings)?;
        for truth in &self.truth {
            for (at, _) in [plan_point(truth, &rings), side_point(truth, &rings)] {
                ring(area, at, 12.0, GREY.stroke_width(units(1.6)))?;
                disc(area, at, 2.2, GREY.filled())?;
            }
        }
        for (i, marker) in self.heard.iter().enumerate() {
            for (at, from) in [plan_point(marker, &rings), side_point(marker, &rings)] {
                marker_at(area, i, marker, from, at)?;
            }
        }
        self.labels(area, &rings)?;
        self.table(area)
    }

    /// Names above or below the markers of the plan, on the side that points away from the centre.
    fn labels(&self, area: &Area, rings: &Rings) -> Drawn {
        for (i, marker) in self.heard.iter().enumerate() {
            let ((x, y), (_, cy)) = plan_point(marker, rings);
            let at = (x, if y > cy { y + 20.0 } else { y - 20.0 });
            text(area, at, &shortened(&marker.label, 22), 13.0, color(i), HPos::Center, FontStyle::Bold)?;
        }
        Ok(())
    }

    fn table(&self, area: &Area) -> Drawn {
        let columns = [
            (590.0, HPos::Left),
            (815.0, HPos::Right),
            (888.0, HPos::Right),
            (962.0, HPos::Right),
            (1044.0, HPos::Right),
        ];
        let row = |y: f64, cells: [&str; 5], ink: RGBColor, style: FontStyle| -> Drawn {
            for ((x, anchor), cell) in columns.into_iter().zip(cells) {
                text(area, (x, y), cell, 13.0, ink, anchor, style)?;
            }
            Ok(())
        };
        let top = 368.0;
        row(top, ["source", "azimuth", "elevation", "distance", "existence"], GREY, FontStyle::Normal)?;
        line(area, &[(560.0, top + 12.0), (1044.0, top + 12.0)], FAINT.stroke_width(units(1.0)))?;
        if self.heard.is_empty() {
            text(area, (560.0, top + 32.0), "no source was heard", 13.0, INK, HPos::Left, FontStyle::Normal)?;
        }
        for (i, m) in self.heard.iter().enumerate() {
            let y = top + 32.0 + 26.0 * i as f64;
            badge(area, i, (571.0, y), 1.0)?;
            let (azimuth, elevation) =
                (format!("{}°", tidy(m.azimuth_deg, 1)), format!("{}°", tidy(m.elevation_deg, 1)));
            let (distance, existence) = (format!("{:.2} m", m.distance_m), format!("{:.2}", m.existence));
            row(y, [&shortened(&m.label, 26), &azimuth, &elevation, &distance, &existence], INK, FontStyle::Normal)?;
        }
        for (i, m) in self.truth.iter().enumerate() {
            let y = top + 32.0 + 26.0 * (self.heard.len().max(1) + i) as f64;
            ring(area, (571.0, y), 8.0, GREY.stroke_width(units(1.6)))?;
            disc(area, (571.0, y), 1.8, GREY.filled())?;
            let (azimuth, elevation) =
                (format!("{}°", tidy(m.azimuth_deg, 1)), format!("{}°", tidy(m.elevation_deg, 1)));
            let name = shortened(&format!("truth: {}", m.label), 26);
            row(y, [&name, &azimuth, &elevation, &format!("{:.2} m", m.distance_m), ""], GREY, FontStyle::Normal)?;
        }
        Ok(())
    }
}

/// Rings at round distances.
struct Rings {
    step_m: f64,
    count: usize,
}

impl Rings {
    /// At most five rings, the last at or beyond `distance_m`.
    fn up_to(distance_m: f64) -> Rings {
        let least = distance_m.max(1.0);
        let decade = 10f64.powf((least / 5.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|s| s * decade);
        let step_m = steps.into_iter().find(|s| least / s <= 5.0).unwrap_or(decade * 20.0);
        Rings { step_m, count: (least / step_m).ceil().max(1.0) as usize }
    }
    fn outer_m(&self) -> f64 {
        self.step_m * self.count as f64
    }
    /// Distance and share of the radius of each ring.
    fn each(&self) -> impl Iterator<Item = (f64, f64)> {
        (1..=self.count).map(|i| (i as f64 * self.step_m, i as f64 / self.count as f64))
    }
}

/// Where a source lies in the plan, and the centre.
fn plan_point(marker: &Marker, rings: &Rings) -> ((f64, f64), (f64, f64)) {
    let (cx, cy, radius) = PLAN;
    let [front, left, _] = unit_vector(marker.azimuth_deg, marker.elevation_deg);
    let scale = radius * marker.distance_m / rings.outer_m();
    ((cx - left * scale, cy - front * scale), (cx, cy))
}

/// Where a source lies in the side view, and the centre.
fn side_point(marker: &Marker, rings: &Rings) -> ((f64, f64), (f64, f64)) {
    let (cx, cy, radius) = SIDE;
    let (up, out) = marker.elevation_deg.to_radians().sin_cos();
    let scale = radius * marker.distance_m / rings.outer_m();
    ((cx + out * scale, cy - up * scale), (cx, cy))
}

/// The grid of the plan: rings, spokes, names of the sides, the listener's head.
fn plan(area: &Area, rings: &Rings) -> Drawn {
    let (cx, cy, radius) = PLAN;
    disc(area, (cx, cy), radius, RGBColor(250, 251, 252).filled())?;
    let spoke = |azimuth: f64, length: f64| {
        let (sin, cos) = azimuth.to_radians().sin_cos();
        (cx - sin * length, cy - cos * length)
    };
    for i in 0..12 {
        let azimuth = 30.0 * i as f64;
        line(area, &[(cx, cy), spoke(azimuth, radius)], FAINT.stroke_width(units(0.8)))?;
        if i % 3 != 0 {
            let signed = if azimuth > 180.0 { azimuth - 360.0 } else { azimuth };
            let at = spoke(azimuth, radius + 17.0);
            text(area, at, &format!("{signed}°"), 11.0, GREY, HPos::Center, FontStyle::Normal)?;
        }
    }
    for (distance, share) in rings.each() {
        ring(area, (cx, cy), radius * share, FAINT.stroke_width(units(1.0)))?;
        let (x, y) = spoke(-15.0, radius * share);
        text(area, (x + 3.0, y - 1.0), &metres(distance), 10.5, GREY, HPos::Left, FontStyle::Normal)?;
    }
    let names = [
        (0.0, "front 0°", HPos::Center),
        (90.0, "left +90°", HPos::Right),
        (180.0, "back 180°", HPos::Center),
        (270.0, "right -90°", HPos::Left),
    ];
    for (azimuth, name, anchor) in names {
        let out = if matches!(anchor, HPos::Center) { radius + 17.0 } else { radius + 9.0 };
        text(area, spoke(azimuth, out), name, 12.5, INK, anchor, FontStyle::Bold)?;
    }
    // The listener: a head with its nose to the front.
    let nose = [(cx - 4.0, cy - 6.5), (cx, cy - 12.5), (cx + 4.0, cy - 6.5)];
    area.draw(&Polygon::new(nose.map(to_units), GREY.filled()))?;
    disc(area, (cx, cy), 7.5, GREY.filled())
}

/// The grid of the side view: a half circle, elevations, rings.
fn side(area: &Area, rings: &Rings) -> Drawn {
    let (cx, cy, radius) = SIDE;
    let at = |elevation: f64, r: f64| {
        let (up, out) = elevation.to_radians().sin_cos();
        (cx + out * r, cy - up * r)
    };
    let arc = |r: f64| -> Vec<(f64, f64)> { (-45..=45).map(|i| at(2.0 * f64::from(i), r)).collect() };
    let outline: Vec<(i32, i32)> = arc(radius).into_iter().map(to_units).collect();
    area.draw(&Polygon::new(outline, RGBColor(250, 251, 252).filled()))?;
    for i in -3i32..=3 {
        let elevation = 30.0 * f64::from(i);
        line(area, &[(cx, cy), at(elevation, radius)], FAINT.stroke_width(units(0.8)))?;
        let sign = if i > 0 { "+" } else { "" };
        let (anchor, out) = if i.abs() == 3 { (HPos::Center, 11.0) } else { (HPos::Left, 7.0) };
        let name = format!("{sign}{elevation}°");
        text(area, at(elevation, radius + out), &name, 11.0, GREY, anchor, FontStyle::Normal)?;
    }
    for (_, share) in rings.each() {
        line(area, &arc(radius * share), FAINT.stroke_width(units(1.0)))?;
    }
    line(area, &[at(-90.0, radius), at(90.0, radius)], FAINT.stroke_width(units(1.0)))?;
    disc(area, (cx, cy), 4.0, GREY.filled())?;
    let step = format!("rings every {}", metres(rings.step_m));
    let below = cy - radius + 17.0;
    text(area, (cx + radius + 45.0, cy - radius), "elevation, from the side", 12.5, INK, HPos::Left, FontStyle::Bold)?;
    text(area, (cx + radius + 45.0, below), &step, 12.0, GREY, HPos::Left, FontStyle::Normal)
}

/// A source: a stem from the listener and a numbered badge, paler when its existence is doubtful.
fn marker_at(area: &Area, index: usize, marker: &Marker, from: (f64, f64), at: (f64, f64)) -> Drawn {
    let opacity = marker.existence.clamp(0.35, 1.0);
    line(area, &[from, at], color(index).mix(0.45 * opacity).stroke_width(units(2.0)))?;
    badge(area, index, at, opacity)
}

fn badge(area: &Area, index: usize, at: (f64, f64), opacity: f64) -> Drawn {
    // Mixed with white instead of made transparent, so that nothing shines through the number.
    let RGBColor(r, g, b) = color(index);
    let pale = [r, g, b].map(|v| (f64::from(v) * opacity + 255.0 * (1.0 - opacity)).round() as u8);
    disc(area, at, 9.5, RGBColor(pale[0], pale[1], pale[2]).filled())?;
    ring(area, at, 9.5, WHITE.stroke_width(units(1.0)))?;
    text(area, (at.0, at.1 + 0.3), &(index + 1).to_string(), 12.0, WHITE, HPos::Center, FontStyle::Bold)
}

fn color(index: usize) -> RGBColor {
    COLORS[index % COLORS.len()]
}

fn metres(distance_m: f64) -> String {
    format!("{} m", (distance_m * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(azimuth_deg: f64, elevation_deg: f64, distance_m: f64, label: &str) -> Marker {
        Marker { azimuth_deg, elevation_deg, distance_m, label: label.into(), existence: 0.9 }
    }

    #[test]
    fn left_is_left_and_front_is_up() {
        let rings = Rings::up_to(4.2);
        assert_eq!((rings.step_m, rings.count), (1.0, 5));
        let (x, y, radius) = PLAN;
        let close = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() < 1e-9 && (a.1 - b.1).abs() < 1e-9;
        assert!(close(plan_point(&marker(90.0, 0.0, 5.0, ""), &rings).0, (x - radius, y)));
        assert!(close(plan_point(&marker(0.0, 60.0, 5.0, ""), &rings).0, (x, y - radius / 2.0)));
        assert!(close(plan_point(&marker(-90.0, 0.0, 2.5, ""), &rings).0, (x + radius / 2.0, y)));
        let (sx, sy, side) = SIDE;
        assert!(close(side_point(&marker(77.0, 90.0, 5.0, ""), &rings).0, (sx, sy - side)));
    }

    #[test]
    fn rings_are_round_and_few() {
        for (distance, step, count) in
            [(0.0, 0.2, 5), (0.9, 0.2, 5), (2.4, 0.5, 5), (5.0, 1.0, 5), (5.1, 2.0, 3), (30.0, 10.0, 3)]
        {
            let rings = Rings::up_to(distance);
            assert!(
                (rings.step_m - step).abs() < 1e-12 && rings.count == count,
                "{distance}: {} {}",
                rings.step_m,
                rings.count
            );
            assert!(rings.outer_m() >= distance);
        }
    }

    #[test]
    fn hostile_names_stay_text_and_what_is_not_finite_is_refused() {
        let label = "<script>alert('x')</script>&\u{1}";
        let picture = Picture { title: label.into(), heard: vec![marker(10.0, 5.0, 1.0, label)], ..Picture::default() };
        let svg = picture.to_svg().unwrap();
        assert!(svg.starts_with("<svg width=\"1080\" height=\"570\" viewBox=\"0 0 10800 5700\""), "{}", &svg[..90]);
        assert!(!svg.contains("<script") && svg.contains("&lt;script") && !svg.contains('\u{1}'));
        let broken = Picture { heard: vec![marker(f64::NAN, 0.0, 1.0, "")], ..Picture::default() };
        assert!(broken.to_svg().is_err());
        assert!(Picture::default().to_svg().unwrap().contains("no source was heard"));
    }
}
