//! Which task may ask about which scene, where the questions of a scene are limited.

use super::super::draft::Pool;
use super::super::extended;
use super::super::facts::Facts;
use super::super::integration;
use super::super::situations;
use super::super::task::Task;
use super::Settings;
use crate::rng::Rng;
use crate::sources::Domain;

/// Scenes that a task gets for each of its questions at most, where there are as many: a choice among drafts.
const CHOICE_MAX: f64 = 6.0;

/// The scenes that nobody asked about yet, each as often as it may be.
pub(super) struct Slots<'a> {
    pool: &'a Pool,
    seed: u64,
    /// Indices into the pool; `None` where any number of questions may be asked.
    left: Option<Vec<usize>>,
}

impl<'a> Slots<'a> {
    /// All scenes but for the questions about `taken` ones.
    pub(super) fn new(pool: &'a Pool, settings: Settings, taken: impl Iterator<Item = usize>) -> Slots<'a> {
        let left = settings.per_scene.map(|per_scene| {
            let mut often = vec![per_scene; pool.scenes.len()];
            taken.for_each(|scene| often[scene] = often[scene].saturating_sub(1));
            often.iter().enumerate().flat_map(|(scene, &n)| std::iter::repeat_n(scene, n)).collect()
        });
        Slots { pool, seed: settings.seed, left }
    }

    /// Whether scenes run out.
    pub(super) fn is_limited(&self) -> bool {
        self.left.is_some()
    }

    /// Everything that is left.
    pub(super) fn take_all(&mut self) -> Option<Vec<usize>> {
        self.left.as_mut().map(std::mem::take)
    }

    /// What was not used.
    pub(super) fn put_back(&mut self, unused: Vec<Option<Vec<usize>>>) {
        if let Some(left) = &mut self.left {
            unused.into_iter().flatten().for_each(|scenes| left.extend(scenes));
        }
    }

    /// Scenes for tasks that need so many questions: first for the tasks that the fewest scenes suit. What no task gets
    /// stays here.
    pub(super) fn divide(&mut self, needs: &[(Task, usize)], round: u64) -> Vec<Option<Vec<usize>>> {
        let Some(left) = &mut self.left else { return vec![None; needs.len()] };
        left.sort_unstable();
        Rng::new(self.seed, "benchmark scenes", round).shuffle(left);
        let missing: usize = needs.iter().map(|(_, n)| n).sum();
        let choice = (left.len() as f64 / missing.max(1) as f64).clamp(1.0, CHOICE_MAX);
        let pool = self.pool;
        let fitting = |task: Task| left.iter().filter(|&&scene| suits(task, &pool.scenes[scene])).count();
        let mut order: Vec<(usize, usize)> = (0..needs.len())
            .filter(|&i| needs[i].1 > 0)
            .map(|i| (1000 * fitting(needs[i].0) / needs[i].1, i))
            .collect();
        order.sort_unstable();
        let mut shares = vec![vec![]; needs.len()];
        for (_, i) in order {
            let ((task, n), share) = (needs[i], &mut shares[i]);
            let most = (choice * n as f64) as usize;
            left.retain(|&scene| {
                let takes = share.len() < most && suits(task, &pool.scenes[scene]);
                if takes {
                    share.push(scene);
                }
                !takes
            });
        }
        shares.into_iter().map(Some).collect()
    }
}

/// Whether a scene may have material for a task.
fn suits(task: Task, facts: &Facts) -> bool {
    match task {
        Task::IdentifySpeechTranscript => {
            let speech = (0..facts.count()).filter(|&i| facts.source(i).domain == Domain::Speech);
            speech.clone().count() == 1 && { speech }.all(|i| facts.transcript(i).is_some())
        }
        Task::EnvironmentAcoustics => facts.reverberation_s().is_some(),
        Task::LocalizeAzimuth | Task::LocalizeElevation | Task::EstimateDistance | Task::RotateObserver => {
            !facts.named.is_empty()
        }
        Task::BindIdentityLocationDistance | Task::QueryLocation => integration::can_mix_places(facts),
        Task::CompareDistances => integration::can_compare(facts),
        Task::RelativeDirection => integration::can_relate(facts),
        Task::QueryIdentity | Task::MultiHopQuery => facts.named.len() >= 2,
        Task::SourceRemoval => facts.named.len() == 3,
        Task::SceneAbduction => !situations::casts(facts).is_empty(),
        Task::CausalIntent => {
            facts.named.len() >= 2 || situations::casts(facts).iter().any(|cast| cast.purpose(false, false).is_some())
        }
        Task::CountObjects | Task::IdentifyEventClass | Task::PhysicalConsistency => true,
        _ => extended::suits(task, facts),
    }
}
