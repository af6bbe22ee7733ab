//! The whole path at pocket size on this machine: rooms, shards, a trained encoder, scores, a report.
//!
//! ```text
//! OUT/data/{train,dev,test}   simulated scenes as shards      OUT/encoder         the training run
//! OUT/scenes/*.wav            held-out scenes to listen to    OUT/results.json    scores beside the constants
//! OUT/report/index.html       tables, pictures, curves
//! ```
//! Every part continues where an earlier, interrupted quickstart stopped.

use crate::audio::{Audio, SAMPLE_RATE, foa, wav};
use crate::config;
use crate::device::Device;
use crate::encoder::Encoder;
use crate::error::{Context, Error, Result};
use crate::eval::encoder::{Evaluation, SCORE_TABLE_NOTE, TrainingScorer, evaluate, predict_clip, score_table};
use crate::eval::picture::{Marker, Picture};
use crate::eval::report::{Figure, Report};
use crate::files::{prepare_folder, write_bytes_atomic};
use crate::models::QUICKSTART_ENCODER;
use crate::shard::simulate::Simulation;
use crate::shard::{CHANNELS, ShardSet};
use crate::shard::{Check, Planned};
use crate::sim::config::SceneConfig;
use crate::sources::{Sources, Split};
use crate::train::encoder::Training;
use crate::train::encoder::recipe::EncoderRecipe;
use crate::train::run::Resume;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The recipe that is trained.
const RECIPE: &str = include_str!("../tools/recipes/encoder-pocket.toml");
/// Seeds of the three sets: the test scenes share neither recordings nor rooms with the training scenes.
const SEEDS: [(Split, &str, u64); 3] = [(Split::Train, "train", 1), (Split::Dev, "dev", 2), (Split::Test, "test", 3)];
/// Held-out scenes that are written as recordings, and shown in the report.
const SHOWN_SCENES: usize = 6;

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Training, dev and test scenes.
    scenes: [usize; 3],
    /// Optimizer steps; `None`: what the recipe says.
    steps: Option<u64>,
}

const FULL: Size = Size { scenes: [5000, 100, 500], steps: None };
const SMOKE: Size = Size { scenes: [240, 24, 48], steps: Some(120) };

/// What a quickstart does and where.
pub struct Quickstart<'a> {
    /// Output folder.
    pub out: &'a Path,
    /// Dry recordings.
    pub sources: &'a mut Sources,
    /// Go on without recordings that cannot be read.
    pub skip_unreadable: bool,
    /// The short version for tests: it runs through everything and learns little.
    pub smoke: bool,
}

/// What came out.
pub struct Outcome {
    /// Scores on the held-out scenes.
    pub evaluation: Evaluation,
    /// Where the report is.
    pub report: PathBuf,
}

impl Quickstart<'_> {
    /// Runs all parts; `say` gets a line before each.
    ///
    /// # Errors
    /// Those of the parts: `Stopped` (state saved) after a signal, `Usage` when the folder holds another quickstart.
    pub fn run(&mut self, say: &dyn Fn(&str)) -> Result<Outcome> {
        let size = if self.smoke { SMOKE } else { FULL };
        self.check(&size)?;
        self.simulate(&size, say)?;
        let folder = |name: &str| self.out.join("data").join(name);
        let mut recipe: EncoderRecipe = config::parse(RECIPE, &[])?;
        recipe.data.train = vec![path_text(&folder("train"))?];
        recipe.data.dev = vec![path_text(&folder("dev"))?];
        if let Some(steps) = size.steps {
            recipe.train.steps = steps;
            recipe.train.score_every = steps;
        }
        let settings = config::to_toml(&recipe);
        let clips = recipe.train.steps * recipe.train.batch as u64;
        say(&format!("training a spatial encoder on {clips} clips"));
        let training = Training::new(recipe, Device::Host, &TrainingScorer)?;
        let facts = training.describe();
        let run = self.out.join(QUICKSTART_ENCODER);
        let encoder = training.run(&run, Resume::Auto)?;
        say(&format!("scoring {} held-out scenes", size.scenes[2]));
        let test = ShardSet::open(&folder("test"))?;
        let evaluation = evaluate(&encoder, &test, None, || ())?;
        let figures = self.write_scenes(&encoder, &test)?;
        self.write_results(&evaluation)?;
        let report = self.write_report(&evaluation, figures, facts, settings, &run)?;
        Ok(Outcome { evaluation, report })
    }

    /// Looks at the recordings of all three sets before the first is begun.
    fn check(&mut self, size: &Size) -> Result<()> {
        let config = SceneConfig::default();
        let folders = SEEDS.map(|(_, name, _)| self.out.join("data").join(name));
        let sets = SEEDS.into_iter().zip(&folders).zip(size.scenes);
        let sets: Vec<Planned> =
            sets.map(|(((split, _, seed), out), scenes)| Planned { out, split, seed, scenes }).collect();
        Check { sets: &sets, config: &config, skip_unreadable: self.skip_unreadable }.run(self.sources)
    }

    fn simulate(&self, size: &Size, say: &dyn Fn(&str)) -> Result<()> {
        let config = SceneConfig::default();
        for ((split, name, seed), scenes) in SEEDS.into_iter().zip(size.scenes) {
            let recordings = self.sources.in_split(split).len();
            say(&format!("simulating {scenes} {name} scenes from {recordings} recordings"));
            let out = self.out.join("data").join(name);
            let simulation =
                Simulation { out: &out, config: &config, sources: self.sources, split, seed, scenes, wav: false };
            simulation.run(|_| ()).context_with(|| out.display())?;
        }
        Ok(())
    }

    /// Writes the first held-out scenes as recordings and draws what is heard in them beside the truth.
    fn write_scenes(&self, encoder: &Encoder, set: &ShardSet) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        prepare_folder(&self.out.join("scenes"))?;
        for i in 0..SHOWN_SCENES.min(set.len()) {
            let frames = set.frames(i);
            let mut samples = vec![0.0; CHANNELS * frames];
            set.read_f32(i, 0, &mut samples);
            let peak = samples.iter().fold(0f32, |p, v| p.max(v.abs()));
            samples.iter_mut().for_each(|v| *v *= 0.9 / peak.max(1e-9));
            let prediction = predict_clip(encoder, &samples);
            let name = format!("scene-{i:03}.wav");
            let audio = Audio { sample_rate: SAMPLE_RATE, channels: CHANNELS, samples };
            wav::write(&self.out.join("scenes").join(&name), &audio, wav::Format::Pcm16)?;
            let labels = set.labels(i);
            let marker = |direction: [f64; 3], distance_m: f64, label: String, existence: f64| {
                let (azimuth_deg, elevation_deg) = foa::angles_deg(direction);
                Marker { azimuth_deg, elevation_deg, distance_m, label, existence }
            };
            let class_name = |class: Option<usize>| class.map_or("unknown".into(), |c| set.classes()[c].clone());
            let truth = labels.whole();
            let there = truth.sources.iter().map(|s| marker(s.direction, s.distance_m, class_name(s.class), 1.0));
            let heard = prediction.slots.iter().take(prediction.count()).map(|slot| {
                let class = slot.class().map(|(class, _)| class);
                marker(slot.direction, slot.distance_m, class_name(class), slot.existence)
            });
            let picture = Picture {
                title: name.clone(),
                subtitle: format!("{} sources, {} heard", labels.count, prediction.count()),
                heard: heard.collect(),
                truth: there.collect(),
            };
            figures.push(Figure {
                caption: format!("{name}: filled markers are what was heard, hollow ones what was there"),
                svg: picture.to_svg()?,
                audio: Some(format!("../scenes/{name}")),
            });
        }
        Ok(figures)
    }

    fn write_results(&self, evaluation: &Evaluation) -> Result<()> {
        let results = json!({
            "encoder": evaluation.score,
            "constant": evaluation.constant,
            "stages": {"encoder": {"done": true, "smoke": self.smoke, "run": QUICKSTART_ENCODER}},
        });
        let text = serde_json::to_string_pretty(&results).expect("scores are plain data") + "\n";
        write_bytes_atomic(&self.out.join("results.json"), text.as_bytes())
    }

    fn write_report(
        &self,
        evaluation: &Evaluation,
        scenes: Vec<Figure>,
        facts: Vec<(String, String)>,
        config: String,
        run: &Path,
    ) -> Result<PathBuf> {
        let n = evaluation.score.n;
        let caption = format!("{n} held-out scenes; {SCORE_TABLE_NOTE}");
        let report = Report {
            title: "twnm quickstart: a spatial encoder".into(),
            summary: format!(
                "Rooms were simulated from {} dry recordings, a spatial encoder was trained on this machine's CPU and \
                 scored on scenes made of recordings and rooms it never met.",
                self.sources.recordings().len()
            ),
            tables: vec![score_table(caption, &evaluation.score, &evaluation.constant)],
            scenes,
            curves: curves(&run.join("plots"))?,
            facts,
            config,
            ..Report::default()
        };
        let path = self.out.join("report").join("index.html");
        write_bytes_atomic(&path, report.to_html().as_bytes())?;
        Ok(path)
    }
}

/// The run's plots, in the order of their names.
fn curves(folder: &Path) -> Result<Vec<Figure>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("read folder", folder, &e))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "svg"));
    paths.sort();
    let figure = |path: &PathBuf| -> Result<Figure> {
        let svg = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))?;
        let caption = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Figure { caption, svg, audio: None })
    };
    paths.iter().map(figure).collect()
}

fn path_text(path: &Path) -> Result<String> {
    let text = path.to_str().map(String::from);
    text.ok_or_else(|| Error::usage(format!("--out {}: the path must be UTF-8", path.display())))
}
