//! What scenes mean: for each script ([`crate::sim::scripts`]) the situations that its plays amount to, and what the sound
//! that begins last is for. All of a script's situations are about the same sounds; only places, room and order tell them
//! apart. They hold wherever their conditions do, whether the scene was drawn from a script or not.

mod table;

use super::claims::Claim;
use super::facts::Facts;
use crate::sim::scripts::{Contrast, Role, SCRIPTS, Script};
use table::{Meanings, RINGING, TABLE};

/// A script whose roles are played in a scene, each by one source.
#[derive(Clone, Copy)]
pub(super) struct Cast {
    /// The script.
    pub script: &'static Script,
    meanings: &'static Meanings,
    /// Who plays its roles.
    pub players: [usize; 2],
}

/// All scripts whose roles the sources of a scene play, if each is played once and by a source that can be named.
pub(super) fn casts(facts: &Facts) -> Vec<Cast> {
    let player = |role: &'static Role| {
        let fit: Vec<usize> = (0..facts.count()).filter(|&i| role.fits(facts.senses[i].stems())).collect();
        let told = |only: usize| (0..facts.count()).any(|i| i != only && role.fits(facts.senses[i].told()));
        match fit[..] {
            [only] if facts.named.contains(&only) && !told(only) => Some(only),
            _ => None,
        }
    };
    let cast = |script: &'static Script| {
        let (a, b) = (player(script.roles[0])?, player(script.roles[1])?);
        let meanings = TABLE.iter().find(|m| m.script == script.id)?;
        (a != b).then_some(Cast { script, meanings, players: [a, b] })
    };
    SCRIPTS.iter().filter_map(cast).collect()
}

/// How many wordings a situation has.
pub(super) const WORDINGS: usize = RINGING.len();

impl Cast {
    /// The situation at these sides of the contrasts, in words.
    pub fn situation(&self, sides: [bool; 2], wording: usize) -> String {
        let first = self.meanings.first[usize::from(sides[0])];
        let second = self.meanings.second.unwrap_or(RINGING[wording])[usize::from(sides[1])];
        format!("{first}, {second}")
    }

    /// What it asserts.
    pub fn situation_claim(&self, sides: [bool; 2]) -> Claim {
        let contrasts = self.script.contrasts.into_iter().zip(sides);
        let arranged = contrasts.flat_map(|(contrast, side)| self.arranged(contrast, side));
        Claim::All { of: self.played().into_iter().chain(arranged).collect() }
    }

    /// What the sound that begins last is for, when the second role began first (`reversed`) or not; `None` for scripts in
    /// which nobody wants anything.
    pub fn purpose(&self, reversed: bool, side: bool) -> Option<&'static str> {
        self.meanings.purposes.map(|all| all[usize::from(reversed)][usize::from(side)])
    }

    /// What it asserts.
    pub fn purpose_claim(&self, reversed: bool, side: bool) -> Claim {
        let last = Claim::BeginsLast { source: self.players[usize::from(!reversed)] };
        let arranged = self.arranged(self.script.contrasts[0], side);
        Claim::All { of: self.played().into_iter().chain([last]).chain(arranged).collect() }
    }

    fn played(&self) -> [Claim; 2] {
        [0, 1].map(|k| Claim::Plays { source: self.players[k], role: self.script.roles[k].name.into() })
    }

    /// What one side of a contrast asserts of the players.
    fn arranged(&self, contrast: Contrast, side: bool) -> Vec<Claim> {
        let [a, b] = self.players;
        let half = |source, centre_deg| Claim::Sector { source, centre_deg, width_deg: 180.0, turn_deg: 0.0 };
        let within = |low_deg, high_deg| vec![Claim::ElevationWithin { source: a, low_deg, high_deg }];
        match (contrast, side) {
            (Contrast::Nearness, side) => {
                vec![Claim::Near { source: a, near: !side }, Claim::Near { source: b, near: side }]
            }
            (Contrast::Direction, side) => vec![Claim::Together { a, b, together: !side }],
            (Contrast::Facing, false) => vec![half(a, 0.0), half(b, 180.0)],
            (Contrast::Facing, true) => vec![half(a, 180.0), half(b, 0.0)],
            (Contrast::Height, false) => within(12.0, 90.0),
            (Contrast::Height, true) => within(-90.0, -12.0),
            (Contrast::Ringing, rings) => vec![Claim::Rings { rings }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{facts, source};
    use super::super::verdict::Verdict::{False, True};
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_script_has_its_sentences_and_no_two_are_alike() {
        let mut seen = BTreeSet::new();
        assert_eq!(TABLE.len(), SCRIPTS.len());
        for script in SCRIPTS {
            let meanings = TABLE.iter().find(|m| m.script == script.id).unwrap_or_else(|| panic!("{}", script.id));
            assert_eq!(meanings.second.is_none(), script.contrasts[1] == Contrast::Ringing, "{}", script.id);
            assert_ne!(script.contrasts[0], Contrast::Ringing);
            let purposes = meanings.purposes.into_iter().flatten().flatten();
            for text in meanings.first.into_iter().chain(meanings.second.into_iter().flatten()).chain(purposes) {
                assert!(seen.insert(text), "{text}");
                assert!(text.len() < 120 && !text.ends_with(['.', ' ']), "{text}");
            }
            assert!(meanings.purposes.into_iter().flatten().flatten().all(|p| p.starts_with("to ")));
        }
        let with_purpose = TABLE.iter().filter(|m| m.purposes.is_some()).count();
        assert!(with_purpose >= 15, "{with_purpose}");
    }

    #[test]
    fn one_situation_of_a_script_holds_and_the_others_do_not() {
        let scene = facts(vec![source("alarm_beep", 30.0, 0.0, 1.0), source("speech", -100.0, 5.0, 3.0)]);
        let scene = scene.changed(|truth| truth.sources[1].active_s = vec![[1.2, 4.0]]);
        let all = casts(&scene);
        assert_eq!((all.len(), all[0].script.id, all[0].players), (1, "alarm and voice", [0, 1]));
        let verdicts = [[false, false], [false, true], [true, false], [true, true]];
        let verdicts = verdicts.map(|sides| all[0].situation_claim(sides).verdict(&scene));
        // The alarm is near, and the room rings for 0.9 s.
        assert_eq!(verdicts, [False, True, False, False]);
        let purposes = [(false, false), (false, true), (true, false), (true, true)];
        let purposes = purposes.map(|(reversed, side)| all[0].purpose_claim(reversed, side).verdict(&scene));
        assert_eq!(purposes, [True, False, False, False]);
        // Two voices: who is meant?
        let voices = vec![
            source("alarm_beep", 30.0, 0.0, 1.0),
            source("speech", 90.0, 0.0, 2.0),
            source("voice", 0.0, 0.0, 2.0),
        ];
        assert!(casts(&facts(voices)).is_empty());
    }
}
