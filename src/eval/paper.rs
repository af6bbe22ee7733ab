//! The paper's Tables 1 to 3 (arXiv 2601.02954) as it prints them, with rows of this program's results below.
//!
//! What does not compare is said beside each table: the baselines of Table 1 come from another publication's test
//! set, Table 2 mixes units, and BAT's rows of Table 3 were scored by another protocol.

use super::answers::{BooleanScore, Score};
use super::encoder;
use super::statistics::{DcaseScore, percent, share};
use crate::table::Table;

/// What stands in the cell of an interval or number that the paper does not give.
const ABSENT: &str = "-";

/// A row of Table 3: system, then per cent at levels 1 to 3 and overall.
pub struct BenchmarkRow {
    /// Name in the paper.
    pub system: &'static str,
    /// How it was scored.
    pub protocol: &'static str,
    /// Levels 1, 2, 3, overall; per cent.
    pub percent: [f64; 4],
}

const CHOICE: &str = "four options";

/// Table 3: the benchmark.
pub const BENCHMARK: [BenchmarkRow; 4] = [
    BenchmarkRow {
        system: "BAT",
        protocol: "L1 generated; L2, L3 true/false per option",
        percent: [24.68, 31.39, 29.89, 28.30],
    },
    BenchmarkRow { system: "TWNM Align", protocol: CHOICE, percent: [53.25, 29.39, 43.15, 43.20] },
    BenchmarkRow { system: "TWNM SFT", protocol: CHOICE, percent: [65.19, 70.61, 51.19, 62.00] },
    BenchmarkRow { system: "TWNM SAPO", protocol: CHOICE, percent: [63.64, 69.89, 79.76, 70.80] },
];

/// Questions of the paper's benchmark at levels 1, 2, 3.
pub const BENCHMARK_QUESTIONS: [usize; 3] = [385, 279, 336];

/// Table 1, simulation: system, count accuracy in per cent, error in degrees, its kind, distance error in metres.
pub const SIMULATION: [(&str, f64, f64, &str, f64); 3] = [
    ("EINV2", 66.4, 86.1, "azimuth", 2.47),
    ("Sp-ACCDOA", 87.3, 21.8, "azimuth", 1.01),
    ("TWNM", 89.4, 7.9, "mean angle", 0.27),
];

/// Table 2, STARSS23: system, direction error in degrees, distance with its unit, detection in per cent with its kind.
pub const REAL: [(&str, f64, &str, f64, &str); 3] = [
    ("TWNM, simulation only", 25.7, "0.48 m", 30.6, "count accuracy"),
    ("DCASE 2024 baseline", 29.6, "0.31 (relative)", 18.0, "F20"),
    ("TWNM, simulation and real", 22.5, "0.38 m", 81.7, "count accuracy"),
];

fn table(caption: &str, header: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table { caption: caption.into(), header: header.iter().map(|c| c.to_string()).collect(), rows }
}

fn number(value: Option<f64>, digits: usize, unit: &str) -> String {
    value.map_or(ABSENT.into(), |v| format!("{v:.digits$}{unit}"))
}

/// Table 1 with the scores of encoders on scenes of this program.
pub fn simulation(ours: &[(String, &encoder::Score)]) -> Table {
    let quoted = SIMULATION.iter().map(|(system, count, angle, kind, distance)| {
        let test = if *system == "TWNM" { "paper's own" } else { "Du et al." };
        vec![
            system.to_string(),
            test.into(),
            format!("{count:.1}"),
            format!("{angle:.1}\u{b0} ({kind})"),
            format!("{distance:.2} m"),
        ]
    });
    let own = ours.iter().map(|(name, score)| {
        vec![
            format!("this run: {name}"),
            format!("{} clips", score.n),
            percent(score.count_accuracy),
            number(score.mean_angular_error_deg, 1, "\u{b0} (mean angle)"),
            number(score.distance_error_m, 2, " m"),
        ]
    });
    table(
        "Table 1, simulated scenes. EINV2 and Sp-ACCDOA are quoted by the paper from Du et al., that is from another \
         test set (FSD50K recordings, gpuRIR, Eigenmike), and their angle is the azimuth error: no row of theirs \
         compares with the others. Rows of this run come from the shards they were scored on.",
        &["system", "test set", "count accuracy %", "localisation error", "distance error"],
        quoted.chain(own).collect(),
    )
}

/// Table 2 with scores by the DCASE rules.
pub fn real(ours: &[(String, &DcaseScore)]) -> Table {
    let quoted = REAL.iter().map(|(system, angle, distance, detection, kind)| {
        vec![system.to_string(), format!("{angle:.1}\u{b0}"), distance.to_string(), format!("{detection:.1} ({kind})")]
    });
    let own = ours.iter().map(|(name, score)| {
        let distance = number(score.relative_distance_error, 2, " (relative)");
        let f20 = score.f20.map_or(ABSENT.into(), |f| format!("{:.1} (F20)", 100.0 * f));
        vec![format!("this run: {name}"), number(score.doa_error_deg, 1, "\u{b0}"), distance, f20]
    });
    table(
        "Table 2, STARSS23. The paper's columns mix units: \"detection\" is count accuracy in TWNM's rows and F20 in \
         the baseline's, \"distance\" is in metres or relative to the distance. The baseline's numbers differ from \
         the development-test row of its own repository (36.9\u{b0}, 0.33, 13.1 %). Only values of the same kind \
         compare.",
        &["system", "direction error", "distance error", "detection %"],
        quoted.chain(own).collect(),
    )
}

/// Table 3 with scores of answers.
pub fn benchmark(choices: &[(String, &Score)], booleans: &[(String, &BooleanScore)]) -> Table {
    let quoted = BENCHMARK.iter().map(|row| {
        let n: usize = BENCHMARK_QUESTIONS.iter().sum();
        let cells = [row.system.to_string(), row.protocol.into(), n.to_string()];
        cells.into_iter().chain(row.percent.map(|p| format!("{p:.2}"))).collect()
    });
    let chosen = choices.iter().map(|(name, score)| {
        let groups = &score.groups;
        let levels = ["1", "2", "3"].map(|level| groups.levels.get(level).map_or(ABSENT.into(), share));
        let cells = [format!("this run: {name}"), CHOICE.into(), groups.overall.n.to_string()];
        cells.into_iter().chain(levels).chain([share(&groups.overall)]).collect()
    });
    let judged = booleans.iter().map(|(name, score)| {
        let groups = &score.groups;
        let levels = ["1", "2", "3"].map(|level| groups.levels.get(level).map_or(ABSENT.into(), |s| share(&s.share)));
        let questions = groups.overall.strict.n.to_string();
        let cells = [format!("this run: {name}"), "true/false per option".into(), questions];
        cells.into_iter().chain(levels).chain([share(&groups.overall.share)]).collect()
    });
    table(
        "Table 3, multiple-choice questions, per cent right with 95 % intervals. BAT was scored by another protocol: \
         its L2 and L3 by judging each option true or false, for which the paper gives a chance of 50 % (always \
         saying \"false\" scores 75 %); choosing one of four has a chance of 25 %. The paper's questions are not \
         those of this run unless it was given them. Overall is the average over questions: the paper's levels have \
         385, 279 and 336, and with 1000 questions its overall values are good to about three points.",
        &["system", "protocol", "questions", "L1", "L2", "L3", "overall"],
        quoted.chain(chosen).chain(judged).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_averages_over_questions() {
        for row in &BENCHMARK {
            let right = |i: usize| row.percent[i] / 100.0 * BENCHMARK_QUESTIONS[i] as f64;
            let overall = (right(0) + right(1) + right(2)) / 10.0;
            assert!((overall - row.percent[3]).abs() < 0.01, "{}: {overall}", row.system);
        }
    }
}
