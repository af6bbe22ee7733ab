//! Scores during and after a training run: a few numbers per dev pass, tables for the run's card.

use super::{Score, evaluate, score_clips};
use crate::encoder::Encoder;
use crate::error::Result;
use crate::shard::ShardSet;
use crate::train::encoder::Scorer;
use crate::train::run::Table;

/// The scorer that `twnm-train encoder` and the quickstart use.
pub struct TrainingScorer;

impl Scorer for TrainingScorer {
    fn watch(&self, encoder: &Encoder, set: &ShardSet, limit: usize) -> Result<Vec<(String, f64)>> {
        let score = Score::of(&score_clips(encoder, set, Some(limit), || ())?);
        let named = [
            ("dev/count_accuracy", score.count_accuracy),
            ("dev/mean_angular_error_deg", score.mean_angular_error_deg),
            ("dev/median_angular_error_deg", score.median_angular_error_deg),
            ("dev/distance_error_m", score.distance_error_m),
            ("dev/class_accuracy", score.class_accuracy),
        ];
        Ok(named.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect())
    }

    fn report(&self, encoder: &Encoder, set: &ShardSet) -> Result<Vec<Table>> {
        let result = evaluate(encoder, set, None, || ())?;
        let caption = format!("Test scenes: {}. Angles with the true count, optimal assignment.", result.score.n);
        Ok(vec![score_table(caption, &result.score, &result.constant)])
    }
}

/// One row per number of sources and one for all, the model beside the best constants.
pub fn score_table(caption: String, model: &Score, constant: &Score) -> Table {
    let header = [
        "sources",
        "n",
        "count",
        "(constant)",
        "angle mean/median deg",
        "(constant)",
        "full angle deg",
        "distance m",
        "(constant)",
        "class",
        "(constant)",
    ];
    let mut rows = vec![row("all", model, Some(constant))];
    for (count, score) in &model.by_count {
        rows.push(row(count, score, constant.by_count.get(count)));
    }
    Table { caption, header: header.map(String::from).to_vec(), rows }
}

fn row(name: &str, m: &Score, c: Option<&Score>) -> Vec<String> {
    let show = |v: Option<f64>, digits: usize| v.map_or("-".into(), |v| format!("{v:.digits$}"));
    let of = |get: fn(&Score) -> Option<f64>, digits| show(c.and_then(get), digits);
    vec![
        name.into(),
        m.n.to_string(),
        show(m.count_accuracy, 3),
        of(|s| s.count_accuracy, 3),
        format!("{} / {}", show(m.mean_angular_error_deg, 1), show(m.median_angular_error_deg, 1)),
        of(|s| s.mean_angular_error_deg, 1),
        show(m.mean_angular_error_full_deg, 1),
        show(m.distance_error_m, 3),
        of(|s| s.distance_error_m, 3),
        show(m.class_accuracy, 3),
        of(|s| s.class_accuracy, 3),
    ]
}
