//! Scores during and after a training run: a few numbers per dev pass, tables for the run's card.

use super::{Score, evaluate, score_clips};
use crate::encoder::Encoder;
use crate::error::Result;
use crate::shard::ShardSet;
use crate::table::Table;
use crate::train::encoder::Scorer;

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
        let caption = format!("Test scenes: {}. In the table: {SCORE_TABLE_NOTE}", result.score.n);
        Ok(vec![score_table(caption, &result.score, &result.constant)])
    }
}

/// [`score_table_of`] the model and, below it, the best constants.
pub fn score_table(caption: String, model: &Score, constant: &Score) -> Table {
    score_table_of(caption, &[("model", model), ("constant", constant)])
}

/// For all clips and for each number of sources a row for every predictor, named. They were scored on the same clips.
pub fn score_table_of(caption: String, predictors: &[(&str, &Score)]) -> Table {
    let header = ["sources", "clips", "predictor", "count", "angle", "median", "full angle", "distance", "class"];
    let mut rows = Vec::new();
    let mut add = |name: &str, of: &dyn Fn(&Score) -> Option<Score>| {
        let scored = predictors.iter().filter_map(|(predictor, score)| Some((predictor, of(score)?)));
        for (place, (predictor, score)) in scored.enumerate() {
            rows.push(row(if place == 0 { name } else { "" }, predictor, &score));
        }
    };
    add("all", &|score| Some(score.clone()));
    for count in predictors.first().into_iter().flat_map(|(_, score)| score.by_count.keys()) {
        add(count, &|score| score.by_count.get(count).cloned());
    }
    Table { caption, header: header.map(String::from).to_vec(), rows }
}

/// What the columns of [`score_table`] mean, for captions.
pub const SCORE_TABLE_NOTE: &str = "count: share of clips with the right number; angle, median: mean and median \
    degrees with the true count and the optimal assignment; full angle: with the predicted count, a miss or false \
    alarm counts 180; distance: mean error in metres; class: share right. constant: the best predictor that never \
    listens, fitted to these very clips.";

fn row(name: &str, predictor: &str, s: &Score) -> Vec<String> {
    let show = |v: Option<f64>, digits: usize, unit: &str| v.map_or("-".into(), |v| format!("{v:.digits$}{unit}"));
    vec![
        name.into(),
        if name.is_empty() { String::new() } else { s.n.to_string() },
        predictor.into(),
        show(s.count_accuracy, 3, ""),
        show(s.mean_angular_error_deg, 1, "°"),
        show(s.median_angular_error_deg, 1, "°"),
        show(s.mean_angular_error_full_deg, 1, "°"),
        show(s.distance_error_m, 2, " m"),
        show(s.class_accuracy, 3, ""),
    ]
}
