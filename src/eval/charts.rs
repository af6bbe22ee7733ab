//! Charts of shares: grouped bars, and rows of points for many groups, both with intervals and chance lines.

use super::draw::{Area, COLORS, Drawn, FAINT, GREY, INK, disc, line, shortened, svg, text, to_units, units};
use crate::error::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// A share in [0, 1] with its interval, if it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    pub value: f64,
    pub interval: Option<[f64; 2]>,
}

/// What is drawn: for each series one bar per group; absent ones are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Chart {
    pub groups: Vec<String>,
    pub series: Vec<(String, Vec<Option<Bar>>)>,
    /// Levels as dashed lines with their names.
    pub lines: Vec<(String, f64)>,
}

const WIDTH: f64 = 1080.0;
const RIGHT: f64 = 1050.0;
const TOP: f64 = 58.0;
/// Names beyond this many characters are cut off.
const NAME_CHARS: usize = 40;

impl Chart {
    /// Upright bars; for a handful of groups.
    pub fn bars(&self, width: f64) -> Result<String> {
        let (left, bottom) = (56.0, 300.0);
        // Names of lines stand to the right of the chart.
        let names = self.lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let right = width - 24.0 - 7.0 * names as f64;
        let full = self.full_scale();
        svg((width as u32, 340), |area| {
            self.legend(area, left, right)?;
            let y = |share: f64| bottom - (share / full).clamp(0.0, 1.0) * (bottom - TOP);
            for i in 0..=4 {
                let share = 0.25 * full * f64::from(i);
                line(area, &[(left, y(share)), (right, y(share))], FAINT.stroke_width(units(1.0)))?;
                text(area, (left - 8.0, y(share)), &percent(share), 12.0, GREY, HPos::Right, FontStyle::Normal)?;
            }
            let slot = (right - left) / self.groups.len().max(1) as f64;
            let wide = (0.76 * slot / self.series.len().max(1) as f64).min(70.0);
            for (g, group) in self.groups.iter().enumerate() {
                let centre = left + (g as f64 + 0.5) * slot;
                text(area, (centre, bottom + 18.0), &shortened(group, 22), 14.0, INK, HPos::Center, FontStyle::Normal)?;
                let begin = centre - 0.5 * wide * self.series.len() as f64;
                for (s, (_, bars)) in self.series.iter().enumerate() {
                    let Some(bar) = bars.get(g).copied().flatten() else { continue };
                    let (x0, x1) = (begin + s as f64 * wide + 1.5, begin + (s + 1) as f64 * wide - 1.5);
                    let corners = [to_units((x0, y(bar.value))), to_units((x1, bottom))];
                    area.draw(&Rectangle::new(corners, color(s).filled()))?;
                    let top = bar.interval.map_or(bar.value, |[_, high]| high);
                    let at = (0.5 * (x0 + x1), y(top) - 9.0);
                    whisker(area, bar, |share| (at.0, y(share)), (5.0, 0.0))?;
                    if wide > 26.0 {
                        let label = format!("{:.1}", 100.0 * bar.value);
                        text(area, at, &label, 12.0, INK, HPos::Center, FontStyle::Normal)?;
                    }
                }
            }
            line(area, &[(left, bottom), (right, bottom)], GREY.stroke_width(units(1.2)))?;
            for (name, share) in &self.lines {
                dashed(area, (left, y(*share)), (right, y(*share)))?;
                text(area, (right + 8.0, y(*share)), name, 12.5, GREY, HPos::Left, FontStyle::Normal)?;
            }
            Ok(())
        })
    }

    /// One row per group with a point for each series; for many groups.
    pub fn points(&self) -> Result<String> {
        let left = 320.0;
        let height = 10.0 + 15.0 * self.series.len().max(1) as f64;
        let bottom = TOP + height * self.groups.len() as f64;
        svg((WIDTH as u32, (bottom + 40.0) as u32), |area| {
            self.legend(area, 24.0, RIGHT)?;
            let x = |share: f64| left + share.clamp(0.0, 1.0) * (RIGHT - left);
            for (g, group) in self.groups.iter().enumerate() {
                let begin = TOP + g as f64 * height;
                if g % 2 == 0 {
                    let corners = [to_units((20.0, begin)), to_units((RIGHT, begin + height))];
                    area.draw(&Rectangle::new(corners, RGBColor(246, 248, 250).filled()))?;
                }
                let at = (left - 14.0, begin + 0.5 * height);
                text(area, at, &shortened(group, NAME_CHARS), 13.5, INK, HPos::Right, FontStyle::Normal)?;
            }
            for i in 0..=4 {
                let share = 0.25 * f64::from(i);
                line(area, &[(x(share), TOP), (x(share), bottom)], FAINT.stroke_width(units(1.0)))?;
                text(area, (x(share), bottom + 16.0), &percent(share), 12.0, GREY, HPos::Center, FontStyle::Normal)?;
            }
            for (name, share) in &self.lines {
                dashed(area, (x(*share), TOP - 4.0), (x(*share), bottom))?;
                text(area, (x(*share), TOP - 13.0), name, 12.5, GREY, HPos::Center, FontStyle::Normal)?;
            }
            for g in 0..self.groups.len() {
                for (s, (_, bars)) in self.series.iter().enumerate() {
                    let Some(bar) = bars.get(g).copied().flatten() else { continue };
                    let y = TOP + g as f64 * height + 5.0 + 15.0 * (s as f64 + 0.5);
                    if let Some([low, high]) = bar.interval {
                        line(area, &[(x(low), y), (x(high), y)], color(s).mix(0.55).stroke_width(units(2.0)))?;
                    }
                    disc(area, (x(bar.value), y), 4.5, color(s).filled())?;
                }
            }
            Ok(())
        })
    }

    /// What the top of upright bars stands for: 1, or 1/2 when everything fits below.
    fn full_scale(&self) -> f64 {
        let bars = self.series.iter().flat_map(|(_, bars)| bars.iter().flatten());
        let tops = bars.map(|bar| bar.interval.map_or(bar.value, |[_, high]| high.max(bar.value)));
        let top = tops.chain(self.lines.iter().map(|(_, share)| *share)).fold(0.0, f64::max);
        if top <= 0.46 { 0.5 } else { 1.0 }
    }

    /// The names of the series in one row above the chart, as many as fit.
    fn legend(&self, area: &Area, left: f64, right: f64) -> Drawn {
        let mut x = left;
        let fits = |x: f64, name: &str| x + 24.0 + 7.4 * name.chars().count() as f64;
        for (s, (name, _)) in self.series.iter().enumerate() {
            let name = shortened(name, NAME_CHARS);
            if fits(x, &name) > right {
                return text(area, (x, 26.0), "\u{2026}", 13.0, GREY, HPos::Left, FontStyle::Normal);
            }
            let corners = [to_units((x, 20.0)), to_units((x + 12.0, 32.0))];
            area.draw(&Rectangle::new(corners, color(s).filled()))?;
            text(area, (x + 18.0, 26.0), &name, 13.0, INK, HPos::Left, FontStyle::Normal)?;
            x = fits(x, &name) + 12.0;
        }
        Ok(())
    }
}

fn color(index: usize) -> RGBColor {
    COLORS[index % COLORS.len()]
}

fn percent(share: f64) -> String {
    format!("{} %", (1000.0 * share).round() / 10.0)
}

/// The interval of a bar: a line with ends that are `end` to either side.
fn whisker(area: &Area, bar: Bar, at: impl Fn(f64) -> (f64, f64), end: (f64, f64)) -> Drawn {
    let Some([low, high]) = bar.interval else { return Ok(()) };
    let style = INK.stroke_width(units(1.2));
    line(area, &[at(low), at(high)], style)?;
    for share in [low, high] {
        let (x, y) = at(share);
        line(area, &[(x - end.0, y - end.1), (x + end.0, y + end.1)], style)?;
    }
    Ok(())
}

fn dashed(area: &Area, from: (f64, f64), to: (f64, f64)) -> Drawn {
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let at = |d: f64| (from.0 + (to.0 - from.0) * d / length, from.1 + (to.1 - from.1) * d / length);
    let mut begin = 0.0;
    while begin < length {
        line(area, &[at(begin), at((begin + 6.0).min(length))], GREY.stroke_width(units(1.5)))?;
        begin += 10.0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_show_every_bar_and_keep_names_as_text() {
        let bar = |value: f64| Some(Bar { value, interval: Some([value - 0.1, value + 0.1]) });
        let chart = Chart {
            groups: vec!["one".into(), "<b>two".into(), "three".into()],
            series: vec![("first & only".into(), vec![bar(0.5), None, bar(0.25)])],
            lines: vec![("chance".into(), 0.25)],
        };
        let bars = chart.bars(WIDTH).unwrap();
        assert!(bars.starts_with("<svg width=\"1080\" height=\"340\" viewBox=\"0 0 10800 3400\""), "{}", &bars[..90]);
        // 50 % is half of the height, 25 % a quarter: the tops of the two bars, in tenths of a pixel.
        for top in ["y=\"1790\"", "y=\"2395\""] {
            assert!(bars.contains(top), "{top}");
        }
        let points = chart.points().unwrap();
        // 320 + 0.5 * 730 = 685.
        assert!(points.contains("cx=\"6850\"") && points.contains("cx=\"5025\""));
        for picture in [bars, points] {
            assert!(picture.contains("&lt;b&gt;two") && picture.contains("first &amp; only"), "{picture}");
        }
        assert!(Chart::default().bars(400.0).is_ok() && Chart::default().points().is_ok());
    }
}
