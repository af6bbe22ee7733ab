//! Results of several evaluations in one report: `report.md`, `report.json` and a page that needs nothing else.

use super::answers::{BooleanScore, CHANCE, Groups, STRATA_ROWS_MAX, Score};
use super::charts::{Bar, Chart};
use super::encoder;
use super::paper;
use super::report::{Figure, Report, Section};
use super::statistics::{DcaseScore, Share, percent, share};
use crate::error::{Error, Result};
use crate::files::{read_limited, write_bytes_atomic};
use crate::table::Table;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Largest result file.
const BYTES_MAX: u64 = 64 << 20;
/// Most results of one kind: more cannot be told apart in a picture.
pub const RESULTS_MAX: usize = 12;
/// Most rows of a table of tasks, and of a picture of them; `report.json` holds all.
const TASKS_MAX: [usize; 2] = [400, 60];

/// One result under the name it has in the report.
#[derive(Clone, Debug)]
pub struct Named<T> {
    /// Name in tables and pictures.
    pub name: String,
    /// What was read.
    pub score: T,
    /// All of it, as it was written.
    pub json: Value,
}

/// Everything that goes into one report.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// Results of `twnm-eval mcq`.
    pub mcq: Vec<Named<Score>>,
    /// Results of `twnm-eval boolean`.
    pub boolean: Vec<Named<BooleanScore>>,
    /// Results of `twnm-eval encoder`.
    pub encoder: Vec<Named<encoder::Score>>,
    /// Results of `twnm-eval dcase`.
    pub dcase: Vec<Named<DcaseScore>>,
}

/// Reads the results of one kind; `kind` is the flag's name.
///
/// # Errors
/// `Usage` for a name twice or too many; `Missing`, `Data` naming file and field.
pub fn read_results<T: DeserializeOwned + Checked>(kind: &str, files: &[(String, &Path)]) -> Result<Vec<Named<T>>> {
    if files.len() > RESULTS_MAX {
        return Err(Error::usage(format!("--{kind}: {} results, at most {RESULTS_MAX} are shown", files.len())));
    }
    let mut names = BTreeSet::new();
    let read = |(name, path): &(String, &Path)| {
        if !names.insert(name.clone()) {
            return Err(Error::usage(format!("--{kind}: the name {name:?} is given twice")));
        }
        let bad = |e: String| {
            Error::data(format!("{}: {e}", path.display()))
                .hint(format!("a result is what `twnm-eval {kind} --json` prints"))
        };
        let json: Value = serde_json::from_slice(&read_limited(path, BYTES_MAX)?).map_err(|e| bad(e.to_string()))?;
        let score = T::deserialize(&json).map_err(|e| bad(e.to_string()))?;
        score.check().map_err(bad)?;
        Ok(Named { name: name.clone(), score, json })
    };
    files.iter().map(read).collect()
}

/// Results from files: numbers must be what they claim to be before they are drawn.
pub trait Checked {
    /// What is wrong with it, naming the field.
    ///
    /// # Errors
    /// What is wrong, in one line.
    fn check(&self) -> Result<(), String>;
}

fn check_share(field: &str, share: &Share) -> Result<(), String> {
    let values = [Some(0.0), share.low, share.accuracy, share.high, Some(1.0)];
    let known: Vec<f64> = values.into_iter().flatten().collect();
    let is_whole = [2, 5].contains(&known.len());
    // Rounding may put an interval's end beyond the share by an ulp.
    let rises = known.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12);
    if is_whole && rises && share.correct <= share.n {
        Ok(())
    } else {
        Err(format!("{field}: no share with an interval: {share:?}"))
    }
}

impl Checked for Score {
    fn check(&self) -> Result<(), String> {
        let groups = &self.groups;
        check_share("overall", &groups.overall)?;
        check_share("location", &groups.location)?;
        groups.extended.iter().try_for_each(|share| check_share("extended", share))?;
        let apart = &groups.extended_tasks;
        for (name, share) in groups.levels.iter().chain(&groups.tasks).chain(&groups.families).chain(apart) {
            check_share(name, share)?;
        }
        for row in &self.strata {
            check_share(&row.value, &row.share)?;
        }
        self.letters.iter().try_for_each(|(name, letter)| check_share(name, &letter.share))
    }
}

impl Checked for BooleanScore {
    fn check(&self) -> Result<(), String> {
        let groups = &self.groups;
        let named = [("overall".to_string(), groups.overall), ("location".to_string(), groups.location)];
        let named = named.into_iter().chain(groups.extended.map(|group| ("extended".to_string(), group)));
        let all = groups.levels.iter().chain(&groups.tasks).chain(&groups.families).chain(&groups.extended_tasks);
        for (name, group) in all.map(|(name, group)| (name.clone(), *group)).chain(named) {
            check_share(&name, &group.share)?;
            check_share(&name, &group.strict)?;
        }
        Ok(())
    }
}

impl Checked for encoder::Score {
    fn check(&self) -> Result<(), String> {
        match self.count_accuracy {
            Some(share) if !(0.0..=1.0).contains(&share) => Err(format!("count_accuracy: {share} is no share")),
            _ => Ok(()),
        }
    }
}

impl Checked for DcaseScore {
    fn check(&self) -> Result<(), String> {
        match self.f20 {
            Some(share) if !(0.0..=1.0).contains(&share) => Err(format!("f20: {share} is no share")),
            None if self.doa_error_deg.is_none() => Err("neither f20 nor doa_error_deg is in it".into()),
            _ => Ok(()),
        }
    }
}

fn bar(share: &Share) -> Option<Bar> {
    Some(Bar { value: share.accuracy?, interval: share.low.zip(share.high).map(|(low, high)| [low, high]) })
}

/// Name and BLAKE3 of each result.
fn facts<T>(kind: &str, all: &[Named<T>]) -> Vec<(String, String)> {
    let hash = |json: &Value| blake3::hash(json.to_string().as_bytes()).to_hex().to_string();
    all.iter().map(|named| (format!("{kind} {}", named.name), hash(&named.json))).collect()
}

fn strings(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_string()).collect()
}

fn figure(caption: &str, svg: String) -> Figure {
    Figure { caption: caption.into(), svg, audio: None }
}

fn scores<T>(all: &[Named<T>]) -> Vec<(String, &T)> {
    all.iter().map(|named| (named.name.clone(), &named.score)).collect()
}

/// What the row of that name says.
const MONO: &str = "Mono ceiling: what is expected of a listener who knows every sound, word, time and count exactly \
                    and nothing of space, and guesses among the options that leaves. A score that is not above it shows no spatial hearing.";

const PARTS: [&str; 5] = ["overall", "L1", "L2", "L3", "location"];

/// The tasks of one part of the report: its heading, what is said, and where shares and mono ceilings stand.
struct Part {
    heading: &'static str,
    text: Vec<String>,
    shares: fn(&Groups<Share>) -> &BTreeMap<String, Share>,
    mono: fn(&Groups<Option<f64>>) -> &BTreeMap<String, Option<f64>>,
}

/// Overall, the three levels and location of some groups.
fn parts<T>(groups: &Groups<T>) -> [Option<&T>; 5] {
    let level = |level: &str| groups.levels.get(level);
    [Some(&groups.overall), level("1"), level("2"), level("3"), Some(&groups.location)]
}

impl Results {
    /// Writes `report.md`, `report.json` and `index.html` into `folder`, each as a whole or not at all.
    ///
    /// # Errors
    /// `Usage` without any result; `Io` when a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let report = self.report()?;
        let json = serde_json::to_string_pretty(&self.json()).expect("results are plain data") + "\n";
        write_bytes_atomic(&folder.join("report.json"), json.as_bytes())?;
        write_bytes_atomic(&folder.join("report.md"), report.to_markdown().as_bytes())?;
        write_bytes_atomic(&folder.join("index.html"), report.to_html().as_bytes())
    }

    /// All results by kind and name, and the paper's tables.
    pub fn json(&self) -> Value {
        fn named<T>(all: &[Named<T>]) -> Value {
            all.iter().map(|n| (n.name.clone(), n.json.clone())).collect::<serde_json::Map<_, _>>().into()
        }
        let rows = |table: Table| json!({"note": table.caption, "header": table.header, "rows": table.rows});
        json!({
            "mcq": named(&self.mcq),
            "boolean": named(&self.boolean),
            "encoder": named(&self.encoder),
            "dcase": named(&self.dcase),
            "paper": {
                "table1": rows(paper::simulation(&[])),
                "table2": rows(paper::real(&[])),
                "table3": rows(paper::benchmark(&[], &[])),
            },
        })
    }

    /// The report.
    ///
    /// # Errors
    /// `Usage` without any result.
    pub fn report(&self) -> Result<Report> {
        let facts = [
            facts("mcq", &self.mcq),
            facts("boolean", &self.boolean),
            facts("encoder", &self.encoder),
            facts("dcase", &self.dcase),
        ]
        .concat();
        if facts.is_empty() {
            return Err(Error::usage("a report of nothing").hint("give at least one result: --mcq NAME=RESULT.json"));
        }
        let mut sections = self.sections()?;
        let tables = vec![
            paper::benchmark(&scores(&self.mcq), &scores(&self.boolean)),
            paper::simulation(&scores(&self.encoder)),
            paper::real(&scores(&self.dcase)),
        ];
        let text = vec!["The paper's numbers are quoted as it prints them; rows of this run say so.".to_string()];
        sections.push(Section { heading: "Beside the paper".into(), text, tables, ..Section::default() });
        Ok(Report {
            title: "twnm: evaluation".into(),
            summary:
                "Shares are in per cent, in brackets the 95 % interval: Wilson's, over scenes where some have several \
                      questions. BLAKE3 of each result stands below."
                    .into(),
            sections,
            facts,
            ..Report::default()
        })
    }

    /// What was answered, without the paper's tables.
    ///
    /// # Errors
    /// `Internal` when a picture cannot be drawn.
    pub fn sections(&self) -> Result<Vec<Section>> {
        let mut sections = Vec::new();
        if !self.mcq.is_empty() {
            sections.push(self.choices()?);
            sections.extend(self.tasks()?);
            sections.extend(self.extended()?);
            sections.extend(self.strata());
            sections.push(self.letters()?);
        }
        if !self.boolean.is_empty() {
            sections.push(self.judgements()?);
        }
        Ok(sections)
    }

    fn choices(&self) -> Result<Section> {
        let header = ["answers", "n"].into_iter().chain(PARTS).chain(["unparsed", "missing"]);
        let mut table = Table { header: header.map(String::from).collect(), ..Table::default() };
        let mut chart = Chart { groups: strings(&PARTS), lines: vec![("chance".into(), CHANCE)], ..Chart::default() };
        let mut text = vec![
            "One option of four is chosen; guessing scores 25 %. Overall is the average over questions; an answer that \
             names no option or several, and a question without an answer, count as wrong. Location: the tasks whose \
             answer is or needs a place."
                .to_string(),
        ];
        for Named { name, score, .. } in &self.mcq {
            let groups = parts(&score.groups);
            let mut row = vec![name.clone(), score.groups.overall.n.to_string()];
            row.extend(groups.map(|group| group.map_or("-".into(), share)));
            row.extend([score.unparsed.to_string(), score.missing.to_string()]);
            table.rows.push(row);
            chart.series.push((name.clone(), groups.map(|group| group.and_then(bar)).to_vec()));
            if let Some(test) = &score.compare {
                text.push(format!(
                    "{name} against the other answers: {:+.1} points [{:+.1}, {:+.1}], {} to {} questions that only one \
                     had right, McNemar's p = {}.",
                    100.0 * test.difference,
                    100.0 * test.low,
                    100.0 * test.high,
                    test.only_first,
                    test.only_second,
                    if test.p < 1e-3 { format!("{:.1e}", test.p) } else { format!("{:.3}", test.p) }
                ));
            }
            if let Some(again) = &score.shuffled {
                text.push(format!(
                    "{name} with options in another order: the same option in {:.1} % [{:.1}, {:.1}] of the questions.",
                    100.0 * again.consistency,
                    100.0 * again.low,
                    100.0 * again.high
                ));
            }
        }
        text.extend(self.intervals());
        let questions: BTreeSet<&str> = self.mcq.iter().map(|n| n.score.questions_blake3.as_str()).collect();
        if questions.len() > 1 {
            text.push("These results are about different questions: their rows do not compare.".into());
        }
        let chance = std::iter::once("chance".to_string()).chain([String::new()]).chain(PARTS.map(|_| "25.0".into()));
        table.rows.push(chance.chain([String::new(), String::new()]).collect());
        if let Some(mono) = self.mono() {
            let cells = parts(mono).map(|share| percent(share.copied().flatten()));
            let row = std::iter::once("mono ceiling".to_string()).chain([String::new()]).chain(cells);
            table.rows.push(row.chain([String::new(), String::new()]).collect());
            text.push(MONO.into());
        }
        let figures = vec![figure("Share of questions answered right; lines: 95 % intervals.", chart.bars(1080.0)?)];
        Ok(Section { heading: "Multiple choice".into(), text, figures, tables: vec![table] })
    }

    /// The mono ceiling, where all results are about the same questions and the scenes of one are known.
    fn mono(&self) -> Option<&Groups<Option<f64>>> {
        let of_one_set = self.mcq.windows(2).all(|two| two[0].score.questions_blake3 == two[1].score.questions_blake3);
        self.mcq.iter().find_map(|named| named.score.mono_ceiling.as_ref()).filter(|_| of_one_set)
    }

    /// Which intervals stand in the tables.
    fn intervals(&self) -> Option<String> {
        let clustering = self.mcq.iter().find_map(|named| named.score.clustering.as_ref())?;
        let (by, scenes) = (&clustering.by, clustering.scenes);
        Some(match clustering.matters() {
            true => format!(
                "Intervals: Wilson's at the effective number of questions, clustered by scene ({by}: {scenes} scenes, at \
                 most {} questions about one).",
                clustering.largest
            ),
            false => format!("Intervals: Wilson's ({by}: one question per scene)."),
        })
    }

    /// Results by source count, room, DRR and kind.
    fn strata(&self) -> Option<Section> {
        let header = strings(&["answers", "by", "part", "n", "chance", "mono ceiling", "accuracy"]);
        let mut table = Table { header, ..Table::default() };
        for Named { name, score, .. } in &self.mcq {
            for (i, row) in score.strata.iter().take(STRATA_ROWS_MAX).enumerate() {
                let is_first = i == 0 || score.strata[i - 1].by != row.by;
                let by = if is_first { row.by.replace('_', " ") } else { String::new() };
                let first = if i == 0 { name.clone() } else { String::new() };
                let shares = [percent(Some(CHANCE)), percent(Some(row.mono_ceiling)), share(&row.share)];
                table
                    .rows
                    .push([first, by, row.value.clone(), row.share.n.to_string()].into_iter().chain(shares).collect());
            }
        }
        let text = vec![
            "By number of sources, size and finish of the room, least direct-to-reverberant ratio of the sources, and kind \
             of question within its task."
                .to_string(),
        ];
        let heading = "Sources, rooms and kinds".into();
        (!table.rows.is_empty()).then(|| Section { heading, text, tables: vec![table], ..Section::default() })
    }

    /// Every task of the paper, or that was scored under its own name.
    fn tasks(&self) -> Result<Option<Section>> {
        let part = Part { heading: "Tasks", text: vec![], shares: |g| &g.tasks, mono: |g| &g.tasks };
        self.by_task(part, vec![])
    }

    /// The tasks beyond the paper's, apart from the others.
    fn extended(&self) -> Result<Option<Section>> {
        let of = |n: &Named<Score>| n.score.groups.extended;
        let n = self.mcq.iter().filter_map(of).map(|share| share.n).max().unwrap_or(0);
        let cells = self.mcq.iter().map(|named| of(named).map_or("-".into(), |all| share(&all)));
        let mono = self.mono().map(|mono| percent(mono.extended.flatten()));
        let all =
            ["all of them".to_string(), n.to_string(), percent(Some(CHANCE))].into_iter().chain(mono).chain(cells);
        let text = "Order and overlap in time, when and how long, elevations compared, counts per sort, ranks, angles, \
                    directions in degrees, who says what where. They count in no other number of this report but in the \
                    letters and the kinds."
            .to_string();
        let part = Part {
            heading: "Beyond the paper's tasks",
            text: vec![text],
            shares: |g| &g.extended_tasks,
            mono: |g| &g.extended_tasks,
        };
        self.by_task(part, all.collect())
    }

    /// A table and a picture by task; `None` without tasks. `first` is a row above them, unless it is empty.
    fn by_task(&self, part: Part, first: Vec<String>) -> Result<Option<Section>> {
        let Part { heading, mut text, shares, mono } = part;
        let ids: BTreeSet<&String> = self.mcq.iter().flat_map(|n| shares(&n.score.groups).keys()).collect();
        if ids.is_empty() {
            return Ok(None);
        }
        let of = |id: &String| self.mcq.iter().map(|n| shares(&n.score.groups).get(id)).collect::<Vec<_>>();
        let row = |id: &&String| {
            let n = of(id).iter().flatten().map(|s| s.n).max().unwrap_or(0);
            let cells = of(id).into_iter().map(|s| s.map_or("-".into(), share));
            let mono = self.mono().map(|groups| percent(mono(groups).get(*id).copied().flatten()));
            [id.to_string(), n.to_string(), percent(Some(CHANCE))].into_iter().chain(mono).chain(cells).collect()
        };
        let names = self.mcq.iter().map(|n| n.name.clone());
        let ceiling = self.mono().map(|_| "mono ceiling".to_string());
        let rows = ids.iter().take(TASKS_MAX[0]).map(row);
        let table = Table {
            header: strings(&["task", "n", "chance"]).into_iter().chain(ceiling).chain(names).collect(),
            rows: Some(first).filter(|row| !row.is_empty()).into_iter().chain(rows).collect(),
            ..Table::default()
        };
        let shown: Vec<&String> = ids.iter().take(TASKS_MAX[1]).copied().collect();
        let series = |(i, named): (usize, &Named<Score>)| {
            (named.name.clone(), shown.iter().map(|id| of(id)[i].and_then(bar)).collect())
        };
        let chart = Chart {
            groups: shown.iter().map(|id| id.to_string()).collect(),
            series: self.mcq.iter().enumerate().map(series).collect(),
            lines: vec![("chance".into(), CHANCE)],
        };
        if ids.len() > TASKS_MAX[1] {
            text.push(format!(
                "{} tasks: the picture shows {}, the table at most {}, report.json all.",
                ids.len(),
                TASKS_MAX[1],
                TASKS_MAX[0]
            ));
        }
        let figures =
            vec![figure("Share of questions answered right by task; lines: 95 % intervals.", chart.points()?)];
        Ok(Some(Section { heading: heading.into(), text, figures, tables: vec![table] }))
    }

    fn letters(&self) -> Result<Section> {
        let header = strings(&["answers", "letter", "is right", "was said", "accuracy where it is right"]);
        let mut table = Table { header, ..Table::default() };
        let mut figures = Vec::new();
        for Named { name, score, .. } in &self.mcq {
            let all = score.letters.values().map(|letter| letter.share.n).sum::<usize>().max(1) as f64;
            let part = |count: usize| Some(Bar { value: (count as f64 / all).min(1.0), interval: None });
            for (i, (letter, of)) in score.letters.iter().enumerate() {
                let first = if i == 0 { name.clone() } else { String::new() };
                let counts = [of.share.n.to_string(), of.said.to_string(), share(&of.share)];
                table.rows.push([first, letter.clone()].into_iter().chain(counts).collect());
            }
            let letters = || score.letters.values();
            let chart = Chart {
                groups: score.letters.keys().cloned().collect(),
                series: vec![
                    ("is right".into(), letters().map(|l| part(l.share.n)).collect()),
                    ("was said".into(), letters().map(|l| part(l.said)).collect()),
                ],
                ..Chart::default()
            };
            figures.push(figure(name, chart.bars(520.0)?));
        }
        let text = vec![
            "An answerer without a preference says each letter as often as it is right. Shares of all questions."
                .to_string(),
        ];
        Ok(Section { heading: "Letters".into(), text, figures, tables: vec![table] })
    }

    fn judgements(&self) -> Result<Section> {
        let header = strings(&[
            "answers",
            "part",
            "statements",
            "accuracy",
            "balanced",
            "always true",
            "always false",
            "coin",
            "strict",
        ]);
        let mut table = Table { header, ..Table::default() };
        let mut chart = Chart { groups: strings(&PARTS), ..Chart::default() };
        if let Some(Named { score, .. }) = self.boolean.first() {
            let chances = score.groups.overall;
            let named = [
                ("always true", chances.always_true),
                ("coin", Some(chances.coin)),
                ("always false", chances.always_false),
            ];
            chart.lines = named.into_iter().filter_map(|(name, share)| Some((name.to_string(), share?))).collect();
        }
        for Named { name, score, .. } in &self.boolean {
            let groups = parts(&score.groups);
            let apart = ("extended", score.groups.extended.as_ref());
            for (i, (part, group)) in PARTS.into_iter().zip(groups).chain([apart]).enumerate() {
                let Some(group) = group.filter(|group| group.share.n > 0) else { continue };
                let chances = [group.balanced_accuracy, group.always_true, group.always_false, Some(group.coin)];
                let mut row = vec![if i == 0 { name.clone() } else { String::new() }, part.into()];
                row.extend([group.share.n.to_string(), share(&group.share)]);
                row.extend(chances.map(percent));
                row.push(share(&group.strict));
                table.rows.push(row);
            }
            chart.series.push((name.clone(), groups.map(|group| group.and_then(|g| bar(&g.share))).to_vec()));
        }
        let text = vec![
            "Each option is judged true or false on its own. Three of four statements are false, so these accuracies \
             stand beside their own chance lines and not beside those of multiple choice. Balanced: mean of the \
             shares right among true and among false statements, chance 50 %. Strict: questions with all four \
             statements right; a coin has 6.25 %, calling one option at random true 25 %. The intervals take \
             statements as independent, which those of one question are not."
                .to_string(),
        ];
        let figures = vec![figure("Share of statements judged right.", chart.bars(1080.0)?)];
        Ok(Section { heading: "True or false".into(), text, figures, tables: vec![table] })
    }
}
