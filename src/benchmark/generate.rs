//! Drafts to rows: quotas, checks, balance, letters.

use super::balance::{Balance, LetterDeck};
use super::claims::Claim;
use super::draft::{Choice, Context, Draft, Pool};
use super::task::{Task, quotas};
use super::{integration, perception, reasoning};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::text::questions::{Letter, Question};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Drafts among which the most balanced one is taken.
const DRAFTS: usize = 8;
/// What it costs to ask about a scene again, in the currency of [`Balance::cost`]: as much as some uneven words.
const AGAIN_COST: i64 = 40;
/// Tries for one question before a task counts as without material.
const TRIES: usize = 3000;
/// Tries after which a choice among fewer drafts will do.
const TRIES_FOR_CHOICE: usize = 300;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many questions.
    pub questions: usize,
    /// The same seed, scenes and settings give the same questions.
    pub seed: u64,
    /// Azimuths in (-180, 180] instead of [0, 360).
    pub signed_azimuth: bool,
    /// Only questions that can be asked without options.
    pub open: bool,
}

/// Why the key of a question is right: a line of `derivations.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Derivation {
    /// Which question.
    pub sample_id: String,
    /// The RTSD it is derived from.
    pub scene: String,
    /// Task.
    pub task: Task,
    /// Kind of question within the task.
    pub kind: String,
    /// The right option.
    pub answer_letter: Letter,
    /// What the options assert, in the order of their letters: exactly the right one holds.
    pub claims: [Claim; 4],
    /// What is heard and what follows from it.
    pub reasoning: String,
    /// An open question and its answer, where there is one.
    pub open: Option<[String; 2]>,
}

/// A question and its derivation; `scene` is the index into [`Pool::scenes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Scene.
    pub scene: usize,
    /// Official columns.
    pub question: Question,
    /// Proof.
    pub derivation: Derivation,
}

/// A question that somebody else wrote, checked already.
#[derive(Clone, Debug)]
pub struct Given {
    /// Task.
    pub task: Task,
    /// Index into [`Pool::scenes`].
    pub scene: usize,
    /// The question.
    pub draft: Draft,
}

/// All questions, and where they differ from the plan.
#[derive(Debug)]
pub struct Generated {
    /// The rows, in random order.
    pub rows: Vec<Row>,
    /// Task, planned and made, where the two differ.
    pub filled: Vec<(Task, usize, usize)>,
    /// Questions about facts that others ask about as well, for want of scenes: who has seen those knows the answer.
    pub again: usize,
}

/// A draft of `task` about the context's scene, or `None` when the scene has nothing to offer or this try fails.
pub fn draft(task: Task, context: &Context, rng: &mut Rng) -> Option<Draft> {
    let make = match task {
        Task::CountObjects => perception::count_objects,
        Task::IdentifyEventClass => perception::identify_event_class,
        Task::IdentifySpeechTranscript => perception::identify_speech_transcript,
        Task::LocalizeAzimuth => perception::localize_azimuth,
        Task::LocalizeElevation => perception::localize_elevation,
        Task::EstimateDistance => perception::estimate_distance,
        Task::EnvironmentAcoustics => perception::environment_acoustics,
        Task::BindIdentityLocationDistance => integration::bind_identity,
        Task::QueryLocation => integration::query_location,
        Task::QueryIdentity => integration::query_identity,
        Task::CompareDistances => integration::compare_distances,
        Task::RelativeDirection => integration::relative_direction,
        Task::SceneAbduction => reasoning::scene_abduction,
        Task::CausalIntent => reasoning::causal_intent,
        Task::RotateObserver => reasoning::rotate_observer,
        Task::SourceRemoval => reasoning::source_removal,
        Task::MultiHopQuery => reasoning::multi_hop_query,
        Task::PhysicalConsistency => reasoning::physical_consistency,
    };
    let mut draft = make(context, rng)?;
    // Checked is what is printed, not what it was rounded from.
    draft.choices = draft.choices.map(|choice| Choice { claim: choice.claim.as_printed(), ..choice });
    draft.holds(context.facts).then_some(draft)
}

/// Makes the questions.
///
/// # Errors
/// `Data` when no task of a level has material: a level cannot be filled from itself.
pub fn generate(pool: &Pool, settings: Settings) -> Result<Generated> {
    generate_beside(pool, settings, &[])
}

/// [`generate`] beside questions that are there: they count towards their tasks, and what is missing is made. Panics when
/// a task is given more than its share, or a question that does not hold.
///
/// # Errors
/// As [`generate`].
#[track_caller]
pub fn generate_beside(pool: &Pool, settings: Settings, given: &[Given]) -> Result<Generated> {
    if pool.scenes.is_empty() {
        return Err(Error::data("none of the scenes can be asked about")
            .hint("questions need one to three sources per scene that stand still, are audible and have a name"));
    }
    let plan = quotas(settings.questions);
    let make = |&(task, n): &(Task, usize)| {
        let mut maker = Maker::new(pool, settings, task);
        given.iter().filter(|g| g.task == task).for_each(|g| maker.take(g.scene, g.draft.clone()));
        assert!(maker.rows.len() <= n, "{n} questions of {task:?} are wanted, {} are given", maker.rows.len());
        maker.make(n)
    };
    let mut makers: Vec<Maker> = plan.par_iter().map(make).collect();
    for level in 1..=3 {
        fill_level(&mut makers, &plan, level)?;
    }
    let filled = makers.iter().zip(&plan).filter(|(m, (_, planned))| m.rows.len() != *planned);
    let filled = filled.map(|(m, &(task, planned))| (task, planned, m.rows.len())).collect();
    let again = makers.iter().map(|m| m.again).sum();
    let mut rows: Vec<Row> = makers.into_iter().flat_map(|m| m.rows).collect();
    Rng::new(settings.seed, "benchmark order", 0).shuffle(&mut rows);
    let width = sample_id_width(rows.len());
    for (i, row) in rows.iter_mut().enumerate() {
        row.question.sample_id = sample_id(i, width);
        row.derivation.sample_id = row.question.sample_id.clone();
    }
    Ok(Generated { rows, filled, again })
}

/// What is missing in a level is made by its tasks that have material, in turns: at first about new facts, and when there
/// are none left, about known ones.
fn fill_level(makers: &mut [Maker], plan: &[(Task, usize)], level: u8) -> Result<()> {
    let of_level: Vec<usize> = (0..plan.len()).filter(|&i| plan[i].0.level() == level).collect();
    let mut missing: usize = of_level.iter().map(|&i| plan[i].1 - makers[i].rows.len()).sum();
    while missing > 0 {
        let mut made = 0;
        for &i in of_level.iter().filter(|&&i| !makers[i].exhausted).collect::<Vec<_>>() {
            if made < missing {
                made += usize::from(makers[i].make_one());
            }
        }
        if made == 0 && of_level.iter().any(|&i| !makers[i].repeats) {
            of_level.iter().for_each(|&i| (makers[i].repeats, makers[i].exhausted) = (true, false));
        } else if made == 0 {
            let message = format!("the scenes offer {missing} questions of level {level} too few");
            return Err(Error::data(message).hint("give more scenes, or ask for fewer --questions"));
        }
        missing -= made;
    }
    Ok(())
}

/// The questions of one task.
struct Maker<'a> {
    pool: &'a Pool,
    settings: Settings,
    task: Task,
    rng: Rng,
    balance: Balance,
    letters: LetterDeck,
    seen: BTreeSet<[u8; 16]>,
    /// Facts that have been asked about.
    asked: BTreeSet<String>,
    /// Questions about each scene.
    of_scene: Vec<i64>,
    rows: Vec<Row>,
    /// Whether a fact may be asked about again.
    repeats: bool,
    /// Questions that do.
    again: usize,
    exhausted: bool,
}

impl<'a> Maker<'a> {
    fn new(pool: &'a Pool, settings: Settings, task: Task) -> Maker<'a> {
        let rng = Rng::new(settings.seed, "benchmark task", task as u64);
        let (balance, letters, seen, asked, rows) = Default::default();
        let of_scene = vec![0; pool.scenes.len()];
        let (repeats, again, exhausted) = (false, 0, false);
        Maker { pool, settings, task, rng, balance, letters, seen, asked, of_scene, rows, repeats, again, exhausted }
    }

    fn make(mut self, n: usize) -> Self {
        while self.rows.len() < n && self.make_one() {}
        self
    }

    /// One question more; `false` when the task has no material left.
    fn make_one(&mut self) -> bool {
        let mut best: Option<(i64, usize, Draft)> = None;
        let mut found = 0;
        for tried in 0..TRIES {
            if found == DRAFTS || found > 0 && tried >= TRIES_FOR_CHOICE {
                break;
            }
            let scene = self.rng.below(self.pool.scenes.len());
            let facts = &self.pool.scenes[scene];
            let context = Context { facts, pool: self.pool, signed: self.settings.signed_azimuth };
            let Some(draft) = draft(self.task, &context, &mut self.rng) else { continue };
            if self.seen.contains(&mark(scene, &draft)) || self.settings.open && draft.open.is_none() {
                continue;
            }
            let known = self.asked.contains(&fact(self.task, scene, &draft));
            if known && !self.repeats {
                continue;
            }
            let cost = self.balance.cost(&draft) + AGAIN_COST * self.of_scene[scene];
            if best.as_ref().is_none_or(|(lowest, ..)| cost < *lowest) {
                best = Some((cost, scene, draft));
            }
            found += 1;
        }
        let Some((_, scene, draft)) = best else {
            self.exhausted = true;
            return false;
        };
        self.take(scene, draft);
        true
    }

    /// Makes `draft` a row.
    fn take(&mut self, scene: usize, draft: Draft) {
        assert!(draft.holds(&self.pool.scenes[scene]), "a question that does not hold: {draft:?}");
        self.seen.insert(mark(scene, &draft));
        self.again += usize::from(!self.asked.insert(fact(self.task, scene, &draft)));
        self.of_scene[scene] += 1;
        self.balance.add(&draft);
        let row = self.row(scene, draft);
        self.rows.push(row);
    }

    fn row(&mut self, scene: usize, draft: Draft) -> Row {
        let letter = self.letters.next(&mut self.rng);
        let [right, rest @ ..] = draft.choices;
        let mut choices = rest.to_vec();
        self.rng.shuffle(&mut choices);
        choices.insert(letter.index(), right);
        let id = &self.pool.scenes[scene].truth.id;
        let text = |i: usize| choices[i].text.clone();
        let question = Question {
            file_name: format!("audio/{id}.wav"),
            sample_id: String::new(),
            question: draft.question,
            option_a: text(0),
            option_b: text(1),
            option_c: text(2),
            option_d: text(3),
            answer_letter: Some(letter),
            answer_text: Some(text(letter.index())),
            level: self.task.level(),
            task: self.task.id(),
        };
        let claims: Vec<Claim> = choices.into_iter().map(|c| c.claim).collect();
        let derivation = Derivation {
            sample_id: String::new(),
            scene: id.clone(),
            task: self.task,
            kind: draft.kind.into(),
            answer_letter: letter,
            claims: claims.try_into().expect("four options"),
            reasoning: draft.reasoning,
            open: draft.open,
        };
        Row { scene, question, derivation }
    }
}

/// Tells questions that say the same about the same scene, whatever the order of their options.
fn mark(scene: usize, draft: &Draft) -> [u8; 16] {
    let mut texts = draft.choices.each_ref().map(|c| c.text.as_str());
    texts.sort_unstable();
    let mut hash = blake3::Hasher::new();
    hash.update(&scene.to_le_bytes());
    for text in [draft.kind].iter().chain(&texts) {
        hash.update(text.as_bytes()).update(b"\0");
    }
    // The wording may differ: the same options about another sound are another question.
    hash.update(serde_json::to_string(&draft.choices[0].claim).expect("plain data").as_bytes());
    hash.finalize().as_bytes()[..16].try_into().expect("a hash has 32 bytes")
}

/// What must not be asked twice: who has seen the answer knows it, whatever the wrong options. Where wrong options are
/// values of the same scene, that is the scene: its other questions tell which value belongs to what.
fn fact(task: Task, scene: usize, draft: &Draft) -> String {
    match task {
        Task::BindIdentityLocationDistance | Task::PhysicalConsistency => scene.to_string(),
        _ => format!("{scene} {}", serde_json::to_string(&draft.choices[0].claim).expect("plain data")),
    }
}

/// Three characters, as in the official set, or as many as are needed.
fn sample_id_width(n: usize) -> usize {
    (3..).find(|&w| 36usize.pow(w as u32) >= n).expect("36^12 exceeds every count")
}

fn sample_id(mut i: usize, width: usize) -> String {
    let mut id = vec![b'0'; width];
    for digit in id.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[i % 36];
        i /= 36;
    }
    String::from_utf8(id).expect("digits and letters")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::facts::Facts;
    use super::super::verdict::Verdict;
    use super::*;
    use crate::sim::config::SceneConfig;
    use crate::sim::render::drawn_truth;
    use crate::sim::scene::SceneSampler;
    use crate::sources::{Domain, Sources, Split};
    use std::collections::BTreeMap;

    /// Scenes as `twnm simulate` draws them, equally loud, with a word for every speaker.
    pub(in crate::benchmark) fn scenes(n: u64) -> Vec<Facts> {
        let sources = Sources::procedural(1);
        let sampler = SceneSampler::new(&SceneConfig::default(), &sources, Split::All, 5).unwrap();
        let facts = |index| {
            let scene = sampler.scene(index).unwrap();
            let mut truth = drawn_truth(&scene, &sources, &vec![vec![1; 50]; scene.sources.len()]);
            let level_db = Some(-10.0 * (scene.sources.len() as f64).log10());
            for track in &mut truth.sources {
                let words = ["nine", "seven", "please close the door", "good morning", "two"];
                let said = (track.domain == Domain::Speech).then(|| words[index as usize % 5].to_string());
                (track.transcript, track.level_db) = (said, level_db);
            }
            truth.snr_db = Some(30.0);
            let room = truth.room.as_mut().unwrap();
            room.t20_s = Some(1.2 * scene.rt60_s);
            room.t20_octaves_s = [500, 1000, 2000].map(|hz| (hz, 1.2 * scene.rt60_s)).into();
            Facts::new(truth)
        };
        (0..n).filter_map(|index| facts(index).ok()).collect()
    }

    #[test]
    fn every_task_has_its_share_and_every_key_is_the_only_truth() {
        let pool = Pool::new(scenes(400));
        let settings = Settings { questions: 2000, seed: 3, signed_azimuth: false, open: false };
        let made = generate(&pool, settings).unwrap();
        assert!(made.filled.is_empty(), "{:?}", made.filled);
        let again = generate(&pool, settings).unwrap();
        assert_eq!(made.rows, again.rows);
        let mut counts = BTreeMap::<(Task, Letter), usize>::new();
        for row in &made.rows {
            let facts = &pool.scenes[row.scene];
            let verdicts = row.derivation.claims.each_ref().map(|c| c.verdict(facts));
            let letter = row.question.answer_letter.unwrap();
            for (l, v) in Letter::ALL.into_iter().zip(verdicts) {
                assert_eq!(v, if l == letter { Verdict::True } else { Verdict::False }, "{row:?}");
            }
            assert_eq!(row.question.options()[letter.index()], row.question.answer_text.as_deref().unwrap());
            let reasoning = row.derivation.reasoning.as_str();
            assert!((40..=400).contains(&reasoning.chars().count()) && reasoning.contains("hear"), "{reasoning}");
            for described in ["text", "description", "prompt", "RTSD", "metadata"] {
                assert!(!reasoning.contains(described), "{reasoning}");
            }
            *counts.entry((row.derivation.task, letter)).or_default() += 1;
        }
        for (task, n) in quotas(2000) {
            for letter in Letter::ALL {
                assert!(counts[&(task, letter)].abs_diff(n / 4) <= 1, "{task:?} {letter}");
            }
        }
        let ids: BTreeSet<&str> = made.rows.iter().map(|r| r.question.sample_id.as_str()).collect();
        assert_eq!((ids.len(), ids.first().unwrap().len()), (2000, 3));
    }

    #[test]
    fn what_a_task_lacks_its_level_gives_and_nothing_is_repeated() {
        let mut silent = scenes(60);
        silent.iter_mut().for_each(|f| f.truth.sources.iter_mut().for_each(|s| s.transcript = None));
        let pool = Pool::new(silent);
        let made = generate(&pool, Settings { questions: 360, seed: 3, signed_azimuth: true, open: false }).unwrap();
        let transcripts = made.filled.iter().find(|(t, ..)| *t == Task::IdentifySpeechTranscript).unwrap();
        assert!(transcripts.1 > 0 && transcripts.2 == 0);
        let of_level = |l| made.rows.iter().filter(|r| r.question.level == l).count();
        assert_eq!((1..=3).map(of_level).collect::<Vec<_>>(), [139, 100, 121]);
        let open = Settings { questions: 100, seed: 3, signed_azimuth: false, open: true };
        assert!(generate(&pool, open).unwrap().rows.iter().all(|r| r.derivation.open.is_some()));
        let too_many = Settings { questions: 100_000, seed: 3, signed_azimuth: true, open: false };
        assert!(generate(&Pool::new(scenes(2)), too_many).unwrap_err().to_string().contains("too few"));
        assert!(generate(&Pool::new(vec![]), too_many).unwrap_err().to_string().contains("asked about"));
    }
}
