//! The questions of one task: kinds in their shares, drafts weighed against each other, rows with their letters.

use super::super::balance::{Balance, LetterDeck};
use super::super::claims::Claim;
use super::super::draft::{Context, Draft, Pool};
use super::super::task::Task;
use super::kinds::{self, KindOf};
use super::{Derivation, Row, Settings, draft_of};
use crate::rng::Rng;
use crate::text::questions::Question;
use std::collections::BTreeSet;

/// Drafts among which the most balanced one is taken.
const DRAFTS: usize = 8;
/// What it costs to ask about a scene again, in the currency of [`Balance::cost`]: as much as some uneven words.
const AGAIN_COST: i64 = 40;
/// Tries for one question before a kind counts as without material.
const TRIES: usize = 3000;
/// Tries after which a choice among fewer drafts will do.
const TRIES_FOR_CHOICE: usize = 300;

/// The questions of one task.
pub(super) struct Maker<'a> {
    pool: &'a Pool,
    pub(super) settings: Settings,
    task: Task,
    kinds: &'static [KindOf],
    /// Questions of each kind.
    made: Vec<usize>,
    /// Kinds without material.
    dry: Vec<bool>,
    rng: Rng,
    balance: Balance,
    letters: LetterDeck,
    seen: BTreeSet<[u8; 16]>,
    /// Facts that have been asked about.
    asked: BTreeSet<String>,
    /// Questions about each scene.
    of_scene: Vec<i64>,
    pub(super) rows: Vec<Row>,
    /// The scenes that may be asked about, each as often as it stands here; `None` for all of them at any time.
    pub(super) scenes: Option<Vec<usize>>,
    /// Whether a fact may be asked about again.
    pub(super) repeats: bool,
    /// Questions that do.
    pub(super) again: usize,
    pub(super) exhausted: bool,
}

/// A draft and where it comes from.
struct Found {
    cost: i64,
    /// Where the scene stands in [`Maker::scenes`].
    at: usize,
    scene: usize,
    yaw_deg: f64,
    draft: Draft,
}

impl<'a> Maker<'a> {
    pub(super) fn new(pool: &'a Pool, settings: Settings, task: Task) -> Maker<'a> {
        let kinds = kinds::of(task);
        Maker {
            pool,
            settings,
            task,
            kinds,
            made: vec![0; kinds.len()],
            dry: vec![false; kinds.len()],
            rng: Rng::new(settings.seed, "benchmark task", task as u64),
            balance: Balance::default(),
            letters: LetterDeck::default(),
            seen: BTreeSet::new(),
            asked: BTreeSet::new(),
            of_scene: vec![0; pool.scenes.len()],
            rows: vec![],
            scenes: None,
            repeats: false,
            again: 0,
            exhausted: false,
        }
    }

    /// Questions until there are `n`, as far as there is material.
    pub(super) fn make(&mut self, n: usize) {
        self.exhausted = false;
        self.dry.fill(false);
        while self.rows.len() < n && self.make_one() {}
    }

    /// One question more; `false` when the task has no material left.
    pub(super) fn make_one(&mut self) -> bool {
        // The kind that lacks most of its share comes first: which kind is asked does not depend on its words.
        let (total, next) = (self.kinds.iter().map(|k| k.share as i64).sum::<i64>(), self.rows.len() as i64 + 1);
        let lack = |k: usize| i64::from(self.kinds[k].share) * next - self.made[k] as i64 * total;
        let mut order: Vec<usize> = (0..self.kinds.len()).collect();
        order.sort_by_key(|&k| (std::cmp::Reverse(lack(k)), k));
        for kind in order {
            // What was dry may no longer be, once a fact may be asked about again or other scenes are there.
            if self.dry[kind] && !self.repeats && self.scenes.is_none() {
                continue;
            }
            let Some(Found { at, scene, yaw_deg, draft, .. }) = self.best_of(kind) else {
                self.dry[kind] = true;
                continue;
            };
            if let Some(scenes) = &mut self.scenes {
                scenes.swap_remove(at);
            }
            self.made[kind] += 1;
            self.take(scene, yaw_deg, draft);
            return true;
        }
        self.exhausted = true;
        false
    }

    /// The draft of a kind that leaves the words most even.
    fn best_of(&mut self, kind: usize) -> Option<Found> {
        let mut best: Option<Found> = None;
        let mut found = 0;
        // Few scenes are soon known to offer nothing.
        let tries = self.scenes.as_ref().map_or(TRIES, |scenes| TRIES.min(40 * scenes.len()));
        for tried in 0..tries {
            if found == DRAFTS || found > 0 && tried >= TRIES_FOR_CHOICE {
                break;
            }
            let (at, scene) = match &self.scenes {
                None => (0, self.rng.below(self.pool.scenes.len())),
                Some(scenes) => {
                    let at = self.rng.below(scenes.len());
                    (at, scenes[at])
                }
            };
            let yaw_deg = if self.settings.turned { self.yaw_deg() } else { 0.0 };
            let Some(draft) = self.draft(kind, scene, yaw_deg) else { continue };
            if self.seen.contains(&mark(scene, &draft)) || self.settings.open && draft.open.is_none() {
                continue;
            }
            let known = self.asked.contains(&fact(self.task, scene, &draft));
            if known && !self.repeats {
                continue;
            }
            let cost = self.balance.cost(&draft) + AGAIN_COST * self.of_scene[scene];
            if best.as_ref().is_none_or(|best| cost < best.cost) {
                best = Some(Found { cost, at, scene, yaw_deg, draft });
            }
            found += 1;
        }
        best
    }

    /// How far a scene is turned. Where walls are spoken of they must lie ahead, behind and to the sides.
    fn yaw_deg(&mut self) -> f64 {
        match self.task {
            Task::PhysicalConsistency => 90.0 * self.rng.below(4) as f64,
            _ => self.rng.below(3600) as f64 / 10.0,
        }
    }

    fn draft(&mut self, kind: usize, scene: usize, yaw_deg: f64) -> Option<Draft> {
        let turned;
        let facts = if yaw_deg == 0.0 {
            &self.pool.scenes[scene]
        } else {
            turned = self.pool.scenes[scene].turned(yaw_deg);
            &turned
        };
        let context = Context { facts, pool: self.pool, signed: self.settings.signed_azimuth };
        draft_of(self.kinds[kind].make, &context, &mut self.rng)
    }

    /// Makes `draft` a row.
    pub(super) fn take(&mut self, scene: usize, yaw_deg: f64, draft: Draft) {
        let facts = self.pool.scenes[scene].turned(yaw_deg);
        assert!(draft.holds(&facts), "a question that does not hold: {draft:?}");
        self.seen.insert(mark(scene, &draft));
        self.again += usize::from(!self.asked.insert(fact(self.task, scene, &draft)));
        self.of_scene[scene] += 1;
        self.balance.add(&draft);
        let row = self.row(scene, yaw_deg, draft);
        self.rows.push(row);
    }

    fn row(&mut self, scene: usize, yaw_deg: f64, draft: Draft) -> Row {
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
            yaw_deg,
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
