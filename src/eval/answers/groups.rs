//! One value for all questions of the paper's tasks, for each level, task and family, and for those about places; and apart
//! from these one for the tasks beyond the paper's.

use super::tasks::{family_of, is_location};
use crate::text::questions::{EXTENDED_LEVEL, Question};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The parts into which a benchmark is divided for scoring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Groups<T> {
    /// All questions but those of the tasks beyond the paper's.
    pub overall: T,
    /// By level, "1" to "3"; each is there even if no question has it.
    pub levels: BTreeMap<String, T>,
    /// By task id, as it stands in the benchmark.
    pub tasks: BTreeMap<String, T>,
    /// By family of the paper's Table 5, those that occur; a task of another level than the family's is in none.
    #[serde(default)]
    pub families: BTreeMap<String, T>,
    /// The questions about places (see [`is_location`]).
    pub location: T,
    /// The questions of the tasks beyond the paper's, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended: Option<T>,
    /// The same by task id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extended_tasks: BTreeMap<String, T>,
}

impl<T: Default> Groups<T> {
    /// Every group empty.
    pub fn new() -> Self {
        let levels = ["1", "2", "3"].map(|level| (level.to_string(), T::default())).into();
        Groups {
            overall: T::default(),
            levels,
            tasks: BTreeMap::new(),
            families: BTreeMap::new(),
            location: T::default(),
            extended: None,
            extended_tasks: BTreeMap::new(),
        }
    }

    /// The value of all questions that a set is about: the paper's, or where it has none of those, the others.
    pub fn main(&self, is_empty: impl Fn(&T) -> bool) -> &T {
        self.extended.as_ref().filter(|_| is_empty(&self.overall)).unwrap_or(&self.overall)
    }

    /// Applies `count` to every group that the question belongs to.
    pub fn count(&mut self, question: &Question, mut count: impl FnMut(&mut T)) {
        if question.level == EXTENDED_LEVEL {
            count(self.extended.get_or_insert_default());
            return count(self.extended_tasks.entry(question.task.clone()).or_default());
        }
        count(&mut self.overall);
        count(self.levels.entry(question.level.to_string()).or_default());
        if !self.tasks.contains_key(&question.task) {
            self.tasks.insert(question.task.clone(), T::default());
        }
        count(self.tasks.get_mut(&question.task).expect("it was just put in"));
        if let Some(family) = family_of(&question.task).filter(|family| family.level == question.level) {
            count(self.families.entry(family.name.to_string()).or_default());
        }
        if is_location(&question.task) {
            count(&mut self.location);
        }
    }

    /// Every value replaced.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Groups<U> {
        let all = |values: BTreeMap<String, T>| values.into_iter().map(|(key, value)| (key, to(value))).collect();
        Groups {
            levels: all(self.levels),
            tasks: all(self.tasks),
            families: all(self.families),
            overall: to(self.overall),
            location: to(self.location),
            extended: self.extended.map(&to),
            extended_tasks: all(self.extended_tasks),
        }
    }
}
