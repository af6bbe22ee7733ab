//! Scenario scripts: which sounds meet, in which order, where, and in what kind of room.
//!
//! A script has two roles, each with a choice of sounds, an order (who begins), two further opposites that no list of sounds
//! tells (places, the room), and perhaps a sound in the background. Each opposite has two sides, drawn like a coin, so one
//! script gives eight scenes of the same sounds that mean different things. What they mean is said in
//! `benchmark::situations`.

mod table;
mod terms;

use crate::rng::Rng;
pub use table::SCRIPTS;
pub use terms::{Contrast, Role, Script};

/// One way in which a script is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Play {
    /// The sides of [`Script::contrasts`].
    pub sides: [bool; 2],
    /// Whether the second role sounds first.
    pub reversed: bool,
    /// Whether [`Script::beside`] sounds, where there is one.
    pub accompanied: bool,
}

/// How scripts are played, in words: changes with how scenes are drawn from them, as `sim::scene::DRAWING` does.
pub const SCRIPTED: &str = "script, play, classes, recordings, room, places; windows with fades";

/// The script of this id.
pub fn script(id: &str) -> Option<&'static Script> {
    SCRIPTS.iter().find(|s| s.id == id)
}

/// The role of this name.
pub fn role(name: &str) -> Option<&'static Role> {
    SCRIPTS.iter().flat_map(|s| s.roles).find(|r| r.name == name)
}

impl Play {
    /// Draws everything that a script leaves open.
    pub fn draw(rng: &mut Rng) -> Play {
        let mut coin = || rng.below(2) == 1;
        Play { sides: [coin(), coin()], reversed: coin(), accompanied: coin() }
    }
}

/// Near is up to this far away.
pub const NEAR_M: f64 = 1.4;
/// Far is from here on.
pub const FAR_M: f64 = 2.6;
/// One direction: up to this angle between two sounds.
pub const ONE_DIRECTION_DEG: f64 = 40.0;
/// Opposite sides: from this angle on.
pub const OPPOSITE_DEG: f64 = 110.0;
/// In front or behind: so much from the middle at most.
pub const FACING_DEG: f64 = 60.0;
/// Above or below ear level by so much.
pub const HEIGHT_DEG: f64 = 14.0;
/// Sounds die away at once up to this reverberation time, as it is heard.
pub const DRY_S: f64 = 0.4;
/// They ring on from this one.
pub const RINGING_S: f64 = 0.75;

/// Parts of the clip in which the first sound and the second one sound, from a draw in [0, 1) for each of three joints.
pub fn windows(overlaps: bool, joints: [f64; 3]) -> [[f64; 2]; 2] {
    let [begin, change, end] = joints;
    let change = 0.42 + 0.16 * change;
    match overlaps {
        true => [[0.06 * begin, 0.75 + 0.25 * end], [change, 1.0]],
        false => [[0.06 * begin, change - 0.04], [change + 0.04, 0.9 + 0.1 * end]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Sources;
    use crate::text::stems::stems;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn scripts_share_their_sounds_and_the_bank_can_play_most() {
        let ids: BTreeSet<&str> = SCRIPTS.iter().map(|s| s.id).collect();
        assert!(ids.len() == SCRIPTS.len() && (15..=24).contains(&SCRIPTS.len()), "{}", SCRIPTS.len());
        let mut uses = BTreeMap::<&str, usize>::new();
        for role in SCRIPTS.iter().flat_map(|s| s.roles) {
            *uses.entry(role.name).or_default() += 1;
        }
        assert!(uses.values().all(|n| *n >= 2), "a sound of one script alone gives it away: {uses:?}");
        let bank = Sources::procedural(0);
        let playable = |r: &Role| bank.classes().iter().any(|c| r.fits(&stems(c)));
        let of_bank = SCRIPTS.iter().filter(|s| s.roles.iter().all(|r| playable(r))).count();
        assert!(of_bank >= 15, "{of_bank}");
        for script in SCRIPTS {
            assert!(script.roles[0].stems.iter().all(|s| !script.roles[1].stems.contains(s)), "{}", script.id);
            assert_ne!(script.contrasts[0], script.contrasts[1]);
            assert_eq!(self::script(script.id), Some(script));
        }
        assert_eq!(self::script("nobody"), None);
    }

    #[test]
    fn windows_follow_or_overlap() {
        for joints in [[0.0; 3], [0.5; 3], [0.999; 3]] {
            let [first, second] = windows(false, joints);
            assert!(0.0 <= first[0] && first[1] < second[0] && second[1] <= 1.0);
            let [first, second] = windows(true, joints);
            assert!(first[0] + 0.3 < second[0] && second[0] < first[1] && first[1] <= 1.0);
        }
    }
}
