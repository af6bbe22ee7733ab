//! What is known about a sound: the kinds that its names may mean, and the words of its names.

use super::alike::Kinds;
use super::names;
use crate::scene::Track;
use crate::text::stems::stems;

/// What is known about a sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Sense {
    kinds: Kinds,
    /// Stems of its class and its name.
    stems: Vec<String>,
    /// Stems of what captions and keywords say: of other sounds that may be heard with it as well.
    told: Vec<String>,
}

impl Sense {
    /// The sense of a label.
    pub fn new(label: &str) -> Sense {
        Sense { kinds: Kinds::of([label]), stems: stems(label), told: vec![] }
    }

    /// The sense of a source.
    pub fn of(source: &Track, name: Option<&str>) -> Sense {
        let class = names::label(&source.class);
        let own = std::iter::once(class.as_str()).chain(name).flat_map(stems).collect();
        let told = names::about(source).flat_map(stems).collect();
        Sense { kinds: names::kinds(source, name), stems: own, told }
    }

    /// Stems of its class and its name.
    pub fn stems(&self) -> &[String] {
        &self.stems
    }

    /// Stems of what else is said to be heard.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// Whether something that is said of the sound belongs to a group of kinds, such as `music`.
    pub fn is_in(&self, group: &str) -> bool {
        self.kinds.is_in(group)
    }

    /// Whether a sound of one label might be called by the other: they share a word, or one is a word for the other's
    /// kind of sound.
    pub fn is_alike(&self, other: &Sense) -> bool {
        self.kinds.is_alike(&other.kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_may_name_one_sound() {
        let alike = |a: &str, b: &str| Sense::new(a).is_alike(&Sense::new(b));
        for (a, b) in [
            ("rain", "rain"),
            ("dog", "bark"),
            ("dog bark", "barking"),
            ("animal misc", "rooster"),
            ("music", "piano"),
            ("engine idling", "chainsaw"),
            ("water drops", "rain"),
            ("church bells", "bell"),
            ("speech", "voice"),
        ] {
            assert!(alike(a, b) && alike(b, a), "{a}, {b}");
        }
        for (a, b) in [("rain", "wind"), ("dog bark", "rooster"), ("bell", "alarm beep"), ("sound of x", "call of y")] {
            assert!(!alike(a, b) && !alike(b, a), "{a}, {b}");
        }
    }
}
