//! Drafts to rows: quotas, checks, balance, letters.

mod kinds;
mod maker;
mod slots;

#[cfg(test)]
pub(super) mod tests;

use super::chain::concluded;
use super::claims::Claim;
use super::draft::{Choice, Context, Draft, Pool};
use super::task::{Task, TaskSet, quotas_of};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::text::questions::{EXTENDED, EXTENDED_LEVEL, Letter, Question};
use maker::Maker;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use slots::Slots;

/// Characters of a question, as in the official set.
const QUESTION_CHARS: std::ops::RangeInclusive<usize> = 27..=409;
/// Characters of a chain of thought.
const CHAIN_CHARS: std::ops::RangeInclusive<usize> = 40..=400;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// How many questions.
    pub questions: usize,
    /// The same seed, scenes and settings give the same questions.
    pub seed: u64,
    /// Azimuths in (-180, 180] instead of [0, 360).
    pub signed_azimuth: bool,
    /// Only questions that can be asked without options.
    pub open: bool,
    /// Whether every question turns its scene about the listener by an angle of its own, so that what other questions say
    /// of directions in the same scene tells nothing.
    pub turned: bool,
    /// Questions about one scene, at most; `None` for any number.
    pub per_scene: Option<usize>,
    /// Which tasks.
    pub tasks: TaskSet,
}

/// Why the key of a question is right: a line of `derivations.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Derivation {
    /// Which question.
    pub sample_id: String,
    /// The RTSD it is derived from.
    pub scene: String,
    /// How far the scene was turned to the left about the listener before: azimuths are those of the RTSD plus this.
    #[serde(default)]
    pub yaw_deg: f64,
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
    /// How far that scene was turned when it was asked about.
    pub yaw_deg: f64,
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

/// A draft of `task` about the context's scene, of any of its kinds, or `None` when the scene has nothing to offer or this
/// try fails.
pub fn draft(task: Task, context: &Context, rng: &mut Rng) -> Option<Draft> {
    let kinds = kinds::of(task);
    let shares: Vec<f64> = kinds.iter().map(|kind| f64::from(kind.share)).collect();
    draft_of(kinds[rng.weighted(&shares)].make, context, rng)
}

/// A draft of one kind, checked.
fn draft_of(make: kinds::Make, context: &Context, rng: &mut Rng) -> Option<Draft> {
    let mut draft = make(context, rng)?;
    // Checked is what is printed, not what it was rounded from.
    draft.choices = draft.choices.map(|choice| Choice { claim: choice.claim.as_printed(), ..choice });
    draft.reasoning = concluded(&draft.reasoning, &draft.choices[0].text, rng);
    let fits = QUESTION_CHARS.contains(&draft.question.chars().count())
        && CHAIN_CHARS.contains(&draft.reasoning.chars().count());
    (fits && draft.holds(context.facts)).then_some(draft)
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
    let plan = quotas_of(settings.tasks, settings.questions);
    let mut makers: Vec<Maker> = plan.iter().map(|&(task, _)| Maker::new(pool, settings, task)).collect();
    for (maker, &(task, n)) in makers.iter_mut().zip(&plan) {
        let own: Vec<&Given> = given.iter().filter(|g| g.task == task).collect();
        assert!(own.len() <= n, "{n} questions of {task:?} are wanted, {} are given", own.len());
        own.into_iter().for_each(|g| maker.take(g.scene, g.yaw_deg, g.draft.clone()));
    }
    let mut left = Slots::new(pool, settings, given.iter().map(|g| g.scene));
    make_planned(&mut makers, &plan, &mut left);
    for level in (1..=3).chain([EXTENDED_LEVEL]) {
        fill_level(&mut makers, &plan, level, &mut left)?;
    }
    let filled = makers.iter().zip(&plan).filter(|(m, (_, planned))| m.rows.len() != *planned);
    let filled = filled.map(|(m, &(task, planned))| (task, planned, m.rows.len())).collect();
    let again = makers.iter().map(|m| m.again).sum();
    let rows: Vec<Row> = makers.into_iter().flat_map(|m| m.rows).collect();
    Ok(Generated { rows: numbered(rows, settings), filled, again })
}

/// Rows in random order, with their numbers.
fn numbered(mut rows: Vec<Row>, settings: Settings) -> Vec<Row> {
    Rng::new(settings.seed, "benchmark order", 0).shuffle(&mut rows);
    let width = sample_id_width(rows.len());
    for (i, row) in rows.iter_mut().enumerate() {
        let id = sample_id(i, width);
        if settings.turned {
            // Every question has a recording of its own.
            row.question.file_name = format!("audio/{id}.wav");
        }
        row.derivation.sample_id = id.clone();
        row.question.sample_id = id;
    }
    rows
}

/// Missing questions of a task that are made in one round.
const LAST_ROUND: usize = 16;

/// The planned number of questions of every task, as far as its scenes go. Where the questions of a scene are limited, the
/// scenes are divided among the tasks, each makes half of what it lacks, and the scenes that it did not choose are divided
/// again: so every question is chosen among several scenes, and what is left over by one task's choice serves others.
fn make_planned(makers: &mut [Maker], plan: &[(Task, usize)], left: &mut Slots) {
    for round in 0.. {
        let needs: Vec<(Task, usize)> =
            plan.iter().zip(makers.iter()).map(|(&(task, n), maker)| (task, n - maker.rows.len())).collect();
        let missing: usize = needs.iter().map(|(_, n)| n).sum();
        if missing == 0 {
            return;
        }
        let shares = left.divide(&needs, round);
        let work = makers.par_iter_mut().zip(shares).zip(plan);
        let unused: Vec<Option<Vec<usize>>> = work
            .map(|((maker, share), &(_, n))| {
                let lacks = n - maker.rows.len();
                let now = if share.is_none() || lacks <= LAST_ROUND { lacks } else { lacks.div_ceil(2) };
                maker.scenes = share;
                maker.make(maker.rows.len() + now);
                maker.scenes.take()
            })
            .collect();
        left.put_back(unused);
        let made: usize =
            makers.iter().zip(&needs).zip(plan).map(|((m, (_, n)), (_, all))| m.rows.len() + n - all).sum();
        if made == 0 || !left.is_limited() {
            return;
        }
    }
}

/// What is missing in a level is made by its tasks that have material, in turns: at first about new facts, and when there
/// are none left, about known ones.
fn fill_level(makers: &mut [Maker], plan: &[(Task, usize)], level: u8, left: &mut Slots) -> Result<()> {
    let of_level: Vec<usize> = (0..plan.len()).filter(|&i| plan[i].0.level() == level).collect();
    let missing_of = |makers: &[Maker]| -> usize {
        let planned: usize = of_level.iter().map(|&i| plan[i].1).sum();
        planned - of_level.iter().map(|&i| makers[i].rows.len()).sum::<usize>()
    };
    let mut missing = missing_of(makers);
    of_level.iter().for_each(|&i| makers[i].exhausted = false);
    while missing > 0 {
        let mut made = 0;
        for &i in of_level.iter().filter(|&&i| !makers[i].exhausted).collect::<Vec<_>>() {
            if made < missing {
                makers[i].scenes = left.take_all();
                made += usize::from(makers[i].make_one());
                left.put_back(vec![makers[i].scenes.take()]);
            }
        }
        if made == 0 && of_level.iter().any(|&i| !makers[i].repeats) {
            of_level.iter().for_each(|&i| (makers[i].repeats, makers[i].exhausted) = (true, false));
        } else if made == 0 {
            return Err(too_few(missing, level, makers[0].settings.per_scene));
        }
        missing -= made;
    }
    Ok(())
}

fn too_few(missing: usize, level: u8, per_scene: Option<usize>) -> Error {
    let level = if level == EXTENDED_LEVEL { EXTENDED.to_string() } else { level.to_string() };
    let message = format!("the scenes offer {missing} questions of level {level} too few");
    match per_scene {
        None => Error::data(message).hint("give more scenes, or ask for fewer --questions"),
        Some(n) => {
            let each = if n == 1 { "one question".into() } else { format!("{n} questions") };
            let hint = "simulate more scenes, ask for fewer --questions, or raise --per-scene: questions about one scene then \
                        tell something of each other";
            Error::data(format!("{message}, at {each} about a scene")).hint(hint)
        }
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
