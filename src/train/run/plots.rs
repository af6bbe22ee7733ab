//! Curves of a run as SVG: one picture per metric, its train and dev lines together.

use super::metrics::Series;
use crate::error::{Error, Kind, Result};
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Most points of one line; longer series are thinned evenly.
const MAX_POINTS: usize = 2000;

type Lines = Vec<(String, Vec<(f64, f64)>)>;

/// Draws every metric into `folder` and returns the file names. `train/loss` and `dev/loss` share `loss.svg`.
pub(super) fn draw_all(folder: &Path, series: &Series) -> Result<Vec<String>> {
    let mut pictures = BTreeMap::<String, Lines>::new();
    for (name, points) in series {
        let (line, metric) = name.split_once('/').unwrap_or(("", name));
        let stride = points.len().div_ceil(MAX_POINTS).max(1);
        let thinned = points.iter().step_by(stride).map(|&(step, v)| (step as f64, v)).collect();
        pictures.entry(metric.to_string()).or_default().push((line.to_string(), thinned));
    }
    let mut names = Vec::new();
    for (metric, lines) in &pictures {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let name = format!("{}.svg", metric.chars().map(safe).collect::<String>());
        let svg = draw(metric, lines).map_err(|e| Error::new(Kind::Internal, format!("cannot draw {metric}: {e}")))?;
        crate::files::write_bytes_atomic(&folder.join(&name), svg.as_bytes())?;
        names.push(name);
    }
    Ok(names)
}

fn draw(metric: &str, lines: &Lines) -> Result<String, Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|(_, points)| points.iter());
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        // A constant still needs a band around it.
        let margin = if high > low { 0.04 * (high - low) } else { 0.5 * high.abs().max(1.0) };
        low - margin..high + margin
    };
    let x = range(&mut points().map(|p| p.0));
    let y = range(&mut points().map(|p| p.1));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (720, 420)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(metric, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)?;
        chart.configure_mesh().x_desc("step").light_line_style(WHITE).draw()?;
        let colors = [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44), RGBColor(148, 103, 189)];
        for (i, (name, points)) in lines.iter().enumerate() {
            let style = colors[i % colors.len()].stroke_width(2);
            let key = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style);
            let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            if !name.is_empty() {
                drawn.label(name).legend(key);
            }
            if let [only] = points[..] {
                chart.draw_series([Circle::new(only, 3, style)])?;
            }
        }
        if lines.iter().any(|(name, _)| !name.is_empty()) {
            chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
        }
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_metric_share_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let line = |scale: f64| (0..5000u64).map(|i| (i, scale / (i + 1) as f64)).collect::<Vec<_>>();
        let series = Series::from([
            ("train/loss".into(), line(1.0)),
            ("dev/loss".into(), vec![(10, 0.5)]),
            ("learning_rate".into(), vec![(0, 0.1), (9, 0.1)]),
        ]);
        assert_eq!(draw_all(folder.path(), &series).unwrap(), ["learning_rate.svg", "loss.svg"]);
        let svg = std::fs::read_to_string(folder.path().join("loss.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("train") && svg.contains("dev") && svg.contains("<circle"));
        let points = svg.split("<polyline").map(|p| p.matches(',').count()).max().unwrap();
        assert!((1000..=MAX_POINTS).contains(&points), "{points} points");
    }
}
