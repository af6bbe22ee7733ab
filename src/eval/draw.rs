//! Drawing in pixels on an SVG: lines, discs, words, and the colours of all pictures.

use crate::error::{Error, Kind, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The crate's coordinates are whole numbers: drawing at ten units per pixel keeps arcs smooth.
const UNITS: f64 = 10.0;
/// Text.
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
/// Grids.
pub(super) const FAINT: RGBColor = RGBColor(212, 216, 220);
/// What stands back.
pub(super) const GREY: RGBColor = RGBColor(105, 112, 120);
/// Okabe and Ito's colours, which people with any colour vision can tell apart.
pub(super) const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Where is drawn.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What drawing returns.
pub(super) type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// One SVG element of this size in pixels, white behind what `draw` draws.
pub(super) fn svg(size: (u32, u32), draw: impl FnOnce(&Area) -> Drawn) -> Result<String> {
    let mut svg = String::new();
    let large = (size.0 * UNITS as u32, size.1 * UNITS as u32);
    {
        let area = SVGBackend::with_string(&mut svg, large).into_drawing_area();
        let drawn = area.fill(&WHITE).map_err(Into::into).and_then(|()| draw(&area)).and_then(|()| Ok(area.present()?));
        drawn.map_err(|e| Error::new(Kind::Internal, format!("cannot draw a picture: {e}")))?;
    }
    let before = format!("width=\"{}\" height=\"{}\"", large.0, large.1);
    Ok(svg.replacen(&before, &format!("width=\"{}\" height=\"{}\"", size.0, size.1), 1))
}

/// Pixels in the crate's units.
pub(super) fn units(pixels: f64) -> u32 {
    (pixels * UNITS).round() as u32
}

/// A point in pixels in the crate's units.
pub(super) fn to_units((x, y): (f64, f64)) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

/// A line through points in pixels.
pub(super) fn line(area: &Area, points: &[(f64, f64)], style: ShapeStyle) -> Drawn {
    let points: Vec<(i32, i32)> = points.iter().copied().map(to_units).collect();
    Ok(area.draw(&PathElement::new(points, style))?)
}

/// A circle.
pub(super) fn ring(area: &Area, at: (f64, f64), radius: f64, style: ShapeStyle) -> Drawn {
    Ok(area.draw(&Circle::new(to_units(at), units(radius), style))?)
}

/// A filled circle.
pub(super) fn disc(area: &Area, at: (f64, f64), radius: f64, style: ShapeStyle) -> Drawn {
    ring(area, at, radius, style)
}

/// Words, centred in height.
pub(super) fn text(
    area: &Area,
    at: (f64, f64),
    words: &str,
    size: f64,
    ink: RGBColor,
    anchor: HPos,
    style: FontStyle,
) -> Drawn {
    let font = FontDesc::new(FontFamily::SansSerif, size * UNITS, style);
    let style = font.color(&ink).pos(Pos::new(anchor, VPos::Center));
    Ok(area.draw(&Text::new(words.to_string(), to_units(at), style))?)
}

/// The text, cut off with an ellipsis beyond `limit` characters; control characters become spaces.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    let clean: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() <= limit {
        return clean.into_iter().collect();
    }
    clean[..limit.saturating_sub(1)].iter().chain(&['…']).collect()
}
