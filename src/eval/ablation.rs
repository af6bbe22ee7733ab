//! What is taken from the audio, to see whether an answer uses it.

use crate::error::{Error, Result};
use crate::rng::Rng;

/// What a model is given in place of a scene's audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ablation {
    /// The audio as it is.
    None,
    /// Y, Z and X are zero: one omnidirectional channel, nothing that tells directions but the reverberation.
    WOnly,
    /// The audio of another scene of the set.
    Shuffle,
    /// Silence.
    NoAudio,
}

impl Ablation {
    /// Every ablation.
    pub const ALL: [Ablation; 4] = [Ablation::None, Ablation::WOnly, Ablation::Shuffle, Ablation::NoAudio];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Ablation::None => "none",
            Ablation::WOnly => "w-only",
            Ablation::Shuffle => "shuffle",
            Ablation::NoAudio => "no-audio",
        }
    }

    /// Changes audio [4, L] (AmbiX W, Y, Z, X; channel-major) in place. [`Ablation::Shuffle`] changes nothing here: it
    /// decides whose audio this is, see [`Inputs`].
    #[track_caller]
    pub fn apply(self, audio: &mut [f32]) {
        assert!(audio.len().is_multiple_of(4), "First-Order Ambisonics has 4 channels");
        let kept = match self {
            Ablation::None | Ablation::Shuffle => audio.len(),
            Ablation::WOnly => audio.len() / 4,
            Ablation::NoAudio => 0,
        };
        audio[kept..].fill(0.0);
    }
}

impl std::str::FromStr for Ablation {
    type Err = Error;
    /// One of the names; anything else is a usage error.
    fn from_str(name: &str) -> Result<Ablation> {
        let names = Ablation::ALL.map(Ablation::name).join(", ");
        let found = Ablation::ALL.into_iter().find(|ablation| ablation.name() == name);
        found.ok_or_else(|| Error::usage(format!("ablation {name:?} is not one of {names}")))
    }
}

impl std::fmt::Display for Ablation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What is given for each of the first `n` scenes of a set.
#[derive(Clone, Debug)]
pub struct Inputs {
    ablation: Ablation,
    n: usize,
    /// Whose audio each scene gets; `None`: its own.
    order: Option<Vec<usize>>,
}

impl Inputs {
    /// The inputs under `ablation`; `seed` decides who gets whose audio.
    ///
    /// # Errors
    /// `Usage`: fewer than two scenes cannot be shuffled.
    pub fn new(ablation: Ablation, n: usize, seed: u64) -> Result<Inputs> {
        if ablation == Ablation::Shuffle && n < 2 {
            return Err(Error::usage(format!("ablation shuffle: {n} scenes, another one is needed for each")));
        }
        let order = (ablation == Ablation::Shuffle).then(|| derangement(n, seed));
        Ok(Inputs { ablation, n, order })
    }

    /// Everything as it is.
    pub fn plain(n: usize) -> Inputs {
        Inputs { ablation: Ablation::None, n, order: None }
    }

    /// How many scenes.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there is no scene.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The scene whose audio scene `i` gets.
    #[track_caller]
    pub fn scene(&self, i: usize) -> usize {
        assert!(i < self.n, "scene {i} of {}", self.n);
        self.order.as_ref().map_or(i, |order| order[i])
    }

    /// What happens to that audio.
    pub fn ablation(&self) -> Ablation {
        self.ablation
    }
}

/// A permutation of 0..n that leaves nothing in its place, drawn uniformly from all of them by `seed`. Panics for n = 1,
/// for which there is none.
#[track_caller]
pub fn derangement(n: usize, seed: u64) -> Vec<usize> {
    assert!(n != 1, "one item cannot be elsewhere");
    let mut rng = Rng::new(seed, "derangement", n as u64);
    // One draw of e succeeds.
    loop {
        let mut order: Vec<usize> = (0..n).collect();
        rng.shuffle(&mut order);
        if order.iter().enumerate().all(|(i, &j)| i != j) {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_keeps_their_own_and_all_orders_occur() {
        for n in [0, 2, 3, 7, 500] {
            for seed in 0..20 {
                let order = derangement(n, seed);
                assert_eq!(order, derangement(n, seed));
                assert!(order.iter().enumerate().all(|(i, &j)| i != j), "{order:?}");
                let mut sorted = order;
                sorted.sort_unstable();
                assert!(sorted.into_iter().eq(0..n));
            }
        }
        // Four items have nine derangements.
        let mut counts = std::collections::BTreeMap::<Vec<usize>, usize>::new();
        (0..1800).for_each(|seed| *counts.entry(derangement(4, seed)).or_default() += 1);
        // 200 draws of each on average, with a standard deviation of 13.
        assert!(counts.len() == 9 && counts.values().all(|n| (140..260).contains(n)), "{counts:?}");
    }

    #[test]
    fn names_come_back_and_others_are_refused() {
        for ablation in Ablation::ALL {
            assert_eq!(ablation.to_string().parse::<Ablation>().unwrap(), ablation);
        }
        let error = "w_only".parse::<Ablation>().unwrap_err();
        assert!(
            error.kind() == crate::error::Kind::Usage && error.message().contains("none, w-only, shuffle, no-audio")
        );
        assert!(Inputs::new(Ablation::Shuffle, 1, 0).is_err() && Inputs::new(Ablation::WOnly, 1, 0).is_ok());
    }

    #[test]
    fn channels_are_silenced_in_place() {
        let audio: Vec<f32> = (1..=8).map(|v| v as f32).collect();
        let after = |ablation: Ablation| {
            let mut audio = audio.clone();
            ablation.apply(&mut audio);
            audio
        };
        assert_eq!(after(Ablation::None), audio);
        assert_eq!(after(Ablation::Shuffle), audio);
        assert_eq!(after(Ablation::WOnly), [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(after(Ablation::NoAudio), [0.0; 8]);
        let inputs = Inputs::new(Ablation::Shuffle, 5, 3).unwrap();
        assert!((0..5).all(|i| inputs.scene(i) == derangement(5, 3)[i]) && Inputs::plain(5).scene(4) == 4);
    }
}
