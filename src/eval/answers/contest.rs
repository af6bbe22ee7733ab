//! Several answerers on the same questions: each one's accuracy, and every difference with a test that knows how many tests
//! there are.

use super::compare::compare;
use super::parse::Reading;
use super::scenes::Scenes;
use super::score::{CHANCE, Score};
use crate::eval::clusters::{Clustering, holm};
use crate::eval::report::Section;
use crate::eval::statistics::{McNemar, Share, percent, share};
use crate::table::Table;
use crate::text::questions::Question;
use serde::Serialize;

/// Most answerers of one contest: 190 pairs.
pub const ANSWERERS_MAX: usize = 20;
/// p below which a difference is called one.
const LEVEL: f64 = 0.05;

/// One answerer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answerer {
    /// Name.
    pub name: String,
    /// Overall accuracy.
    #[serde(flatten)]
    pub share: Share,
    /// Answers that name no option or several.
    pub unparsed: usize,
    /// Questions without an answer.
    pub missing: usize,
}

/// Two answerers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Name of the first.
    pub first: String,
    /// Name of the second.
    pub second: String,
    /// First minus second, with its interval and test.
    #[serde(flatten)]
    pub test: McNemar,
    /// p after Holm's correction for all differences of the contest.
    pub p_holm: f64,
}

/// Several answerers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contest {
    /// In the order given.
    pub answerers: Vec<Answerer>,
    /// All pairs, or all against one.
    pub differences: Vec<Difference>,
    /// How questions were put together for intervals and tests.
    pub clustering: Clustering,
    /// What guessing scores.
    pub chance: f64,
    /// What is expected of a listener who knows all but space, where the scenes are known.
    pub mono_ceiling: Option<f64>,
    /// BLAKE3 of the questions.
    pub questions_blake3: String,
}

impl Contest {
    /// Compares the sheets of named answerers pair by pair, or all with number `against`. Panics when a sheet does not fit the
    /// questions, or there is none of them.
    #[track_caller]
    pub fn of(
        questions: &[Question],
        sheets: &[(String, Vec<Option<Reading>>)],
        scenes: &Scenes,
        against: Option<usize>,
    ) -> Contest {
        let scores: Vec<Score> = sheets.iter().map(|(_, sheet)| Score::of(questions, sheet, scenes)).collect();
        let pairs: Vec<(usize, usize)> = match against {
            Some(base) => (0..sheets.len()).filter(|i| *i != base).map(|i| (i, base)).collect(),
            None => (0..sheets.len()).flat_map(|i| (i + 1..sheets.len()).map(move |j| (i, j))).collect(),
        };
        let tests: Vec<McNemar> =
            pairs.iter().map(|(i, j)| compare(questions, &sheets[*i].1, &sheets[*j].1, scenes)).collect();
        let corrected = holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>());
        let difference = |((&(i, j), test), p_holm): ((&(usize, usize), McNemar), f64)| Difference {
            first: sheets[i].0.clone(),
            second: sheets[j].0.clone(),
            test,
            p_holm,
        };
        let answerer = |((name, _), score): (&(String, Vec<Option<Reading>>), &Score)| Answerer {
            name: name.clone(),
            share: *score.groups.main(|share| share.n == 0),
            unparsed: score.unparsed,
            missing: score.missing,
        };
        Contest {
            answerers: sheets.iter().zip(&scores).map(answerer).collect(),
            differences: pairs.iter().zip(tests).zip(corrected).map(difference).collect(),
            clustering: scenes.clustering().clone(),
            chance: CHANCE,
            mono_ceiling: scores.first().and_then(|score| *score.mono_ceiling.as_ref()?.main(Option::is_none)),
            questions_blake3: scores.first().map_or(String::new(), |score| score.questions_blake3.clone()),
        }
    }

    /// The contest as tables.
    pub fn section(&self) -> Section {
        let strings = |cells: &[&str]| cells.iter().map(|cell| cell.to_string()).collect::<Vec<_>>();
        let mut scores =
            Table { header: strings(&["answers", "n", "accuracy", "unparsed", "missing"]), ..Table::default() };
        for one in &self.answerers {
            let counts = [one.unparsed.to_string(), one.missing.to_string()];
            let row = [one.name.clone(), one.share.n.to_string(), share(&one.share)].into_iter().chain(counts);
            scores.rows.push(row.collect());
        }
        let lines = [("chance", Some(self.chance)), ("mono ceiling", self.mono_ceiling)];
        for (name, value) in lines.into_iter().filter(|(_, value)| value.is_some()) {
            scores.rows.push(vec![name.into(), String::new(), percent(value), String::new(), String::new()]);
        }
        let header = strings(&["first", "second", "points", "only first", "only second", "p", "p (Holm)", "at 5 %"]);
        let mut pairs = Table { header, ..Table::default() };
        for Difference { first, second, test, p_holm } in &self.differences {
            let points =
                format!("{:+.1} [{:+.1}, {:+.1}]", 100.0 * test.difference, 100.0 * test.low, 100.0 * test.high);
            let better = match () {
                _ if *p_holm > LEVEL => "no difference shown",
                _ if test.difference > 0.0 => "the first is better",
                _ => "the second is better",
            };
            let counts = [test.only_first.to_string(), test.only_second.to_string()];
            let row = [first.clone(), second.clone(), points].into_iter().chain(counts);
            pairs.rows.push(row.chain([p_value(test.p), p_value(*p_holm), better.into()]).collect());
        }
        Section { heading: "Differences".into(), text: self.text(), tables: vec![scores, pairs], ..Section::default() }
    }

    fn text(&self) -> Vec<String> {
        let Clustering { by, scenes, largest } = &self.clustering;
        let test = match self.clustering.matters() {
            true => format!(
                "Intervals are clustered by scene ({by}: {scenes} scenes, at most {largest} questions about one); p is that \
                 of swapping the answerers by scene."
            ),
            false => format!(
                "Intervals are Wilson's and those of pairs ({by}: one question per scene); p is McNemar's, exact."
            ),
        };
        let n = self.differences.len();
        vec![
            test,
            format!(
                "p (Holm) is corrected for {n} differences: the chance of any false finding among them stays at 5 %."
            ),
        ]
    }
}

/// A p-value as tables show it.
pub fn p_value(p: f64) -> String {
    if p < 1e-3 { format!("{p:.1e}") } else { format!("{p:.3}") }
}

#[cfg(test)]
mod tests {
    use super::super::scenes::Scenes;
    use super::*;
    use crate::text::questions::Letter;

    fn question(i: usize) -> Question {
        Question {
            file_name: format!("{i}.wav"),
            sample_id: format!("q{i:03}"),
            question: "?".into(),
            option_a: "a1".into(),
            option_b: "b1".into(),
            option_c: "c1".into(),
            option_d: "d1".into(),
            answer_letter: Some(Letter::A),
            answer_text: None,
            level: 1,
            task: "t".into(),
        }
    }

    /// Right in a range of 20 questions.
    fn sheet(name: &str, range: std::ops::Range<usize>) -> (String, Vec<Option<Reading>>) {
        let letter = |i| if range.contains(&i) { Letter::A } else { Letter::B };
        (name.into(), (0..20).map(|i| Some(Reading::Chosen(letter(i)))).collect())
    }

    #[test]
    fn all_pairs_are_tested_and_corrected_together() {
        let questions: Vec<Question> = (0..20).map(question).collect();
        let scenes = Scenes::by_recording(&questions);
        let sheets = [sheet("good", 0..16), sheet("fair", 0..8), sheet("bad", 0..6)];
        let contest = Contest::of(&questions, &sheets, &scenes, None);
        let found: Vec<_> = contest.differences.iter().map(|d| (d.first.as_str(), d.second.as_str())).collect();
        assert_eq!(found, [("good", "fair"), ("good", "bad"), ("fair", "bad")]);
        // Sign tests of 8, 10 and 2 one-sided discordant pairs: 2 / 2^n; Holm: times 2, 3 and 1.
        let expected = [(2.0 / 256.0, 4.0 / 256.0), (2.0 / 1024.0, 6.0 / 1024.0), (0.5, 0.5)];
        for (difference, (p, p_holm)) in contest.differences.iter().zip(expected) {
            assert!((difference.test.p - p).abs() < 1e-15 && (difference.p_holm - p_holm).abs() < 1e-15);
        }
        let one = Contest::of(&questions, &sheets, &scenes, Some(2));
        let found: Vec<_> = one.differences.iter().map(|d| (d.first.as_str(), d.second.as_str())).collect();
        assert_eq!(found, [("good", "bad"), ("fair", "bad")]);
        assert!((one.differences[0].p_holm - 4.0 / 1024.0).abs() < 1e-15);
        let section = contest.section();
        assert_eq!(section.tables[1].rows[0][7], "the first is better");
        assert_eq!(section.tables[1].rows[2][7], "no difference shown");
        assert!(section.text[0].contains("McNemar's") && section.text[1].contains("3 differences"), "{section:?}");
    }
}
