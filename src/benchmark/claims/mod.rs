//! What an option asserts, in a form that a machine can check against the RTSD.

mod beyond;
mod measures;
mod terms;
mod times;
mod transcripts;

#[cfg(test)]
mod tests;

use super::facts::{Facts, around, turn_between_deg};
use super::verdict::Verdict;
use crate::sim::scripts;
pub use beyond::sort_of;
use measures::*;
pub use measures::{FADING_MARGINS, LENGTH_MARGINS, about};
use serde::{Deserialize, Serialize};
pub use terms::{Extreme, Region, Side, Sort};
pub use times::together_s;
pub use transcripts::{overlap, plain};

/// An assertion about a scene. Sources are named by their index in the RTSD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "claim", rename_all = "snake_case")]
pub enum Claim {
    /// There are `n` sources in `region`.
    Count {
        /// Where.
        region: Region,
        /// How many.
        n: usize,
    },
    /// A source is called `label`.
    Present {
        /// What a source may be called.
        label: String,
    },
    /// The source is called `label`.
    Called {
        /// Which source.
        source: usize,
        /// What it may be called.
        label: String,
    },
    /// The source says `text`.
    Says {
        /// Which source.
        source: usize,
        /// The transcript.
        text: String,
    },
    /// Azimuth of a source after a turn to the left.
    Azimuth {
        /// Which source.
        source: usize,
        /// Counter-clockwise from the front, [0, 360).
        deg: f64,
        /// How far the listener has turned to the left.
        turn_deg: f64,
    },
    /// Elevation of a source.
    Elevation {
        /// Which source.
        source: usize,
        /// Up from the horizon.
        deg: f64,
    },
    /// Elevation of a source within a range.
    ElevationWithin {
        /// Which source.
        source: usize,
        /// From.
        low_deg: f64,
        /// To.
        high_deg: f64,
    },
    /// Distance of a source.
    Distance {
        /// Which source.
        source: usize,
        /// Metres.
        m: f64,
    },
    /// A source lies at a direction.
    Direction {
        /// Which source.
        source: usize,
        /// Counter-clockwise from the front, [0, 360).
        azimuth_deg: f64,
        /// Up from the horizon.
        elevation_deg: f64,
    },
    /// A source lies in the sector of `width_deg` around `centre_deg` after a turn to the left.
    Sector {
        /// Which source.
        source: usize,
        /// Middle of the sector.
        centre_deg: f64,
        /// 90 or 45.
        width_deg: f64,
        /// How far the listener has turned to the left.
        turn_deg: f64,
    },
    /// `a` is closer than `b` by about `m`.
    CloserBy {
        /// The closer one.
        a: usize,
        /// The farther one.
        b: usize,
        /// Difference in metres.
        m: f64,
    },
    /// `a` is closer than `b`, by a difference within a range.
    CloserWithin {
        /// The closer one.
        a: usize,
        /// The farther one.
        b: usize,
        /// Difference in metres, from.
        low_m: f64,
        /// To.
        high_m: f64,
    },
    /// `a` is to the left (or right) of `b`.
    Beside {
        /// The one whose place is told.
        a: usize,
        /// The one it is told from.
        b: usize,
        /// To the left, else to the right.
        left: bool,
        /// For a listener who has turned to `b`. Otherwise for one who looks straight ahead, for whom left means both a turn to
        /// the left and farther to the left side: where the two disagree, nothing is said.
        #[serde(default)]
        facing: bool,
    },
    /// `a` is higher (or lower) than `b`, by elevation.
    Above {
        /// The one whose place is told.
        a: usize,
        /// The one it is told from.
        b: usize,
        /// Higher, else lower.
        higher: bool,
    },
    /// The source stands out among all but `without`.
    StandsOut {
        /// Which source.
        source: usize,
        /// In what.
        what: Extreme,
        /// A source that does not count.
        without: Option<usize>,
    },
    /// The room has this size.
    RoomSize {
        /// `small`, `medium` or `large`.
        size: String,
    },
    /// The walls have this finish.
    RoomFinish {
        /// `reflective`, `moderate` or `absorptive`.
        finish: String,
    },
    /// Reverberation time.
    ReverberationTime {
        /// Seconds.
        s: f64,
    },
    /// The source plays a role of a script ([`scripts`]).
    Plays {
        /// Which source.
        source: usize,
        /// Name of the role.
        role: String,
    },
    /// The source is near: up to [`scripts::NEAR_M`]; or far: from [`scripts::FAR_M`] on.
    Near {
        /// Which source.
        source: usize,
        /// Near, else far.
        near: bool,
    },
    /// Two sources lie in one direction, or on opposite sides of the listener.
    Together {
        /// One.
        a: usize,
        /// The other.
        b: usize,
        /// In one direction, else opposite.
        together: bool,
    },
    /// Who stands at one source is closer to (or farther from) another than the listener is now.
    Reaching {
        /// Where somebody goes.
        goal: usize,
        /// The source whose distance changes.
        other: usize,
        /// Closer, else farther.
        closer: bool,
    },
    /// Of all sources this one begins last.
    BeginsLast {
        /// Which source.
        source: usize,
    },
    /// Sounds ring on in the room, or die away at once.
    Rings {
        /// Ring on.
        rings: bool,
    },
    /// A side of the room is so far away. False when a source stands beyond that.
    Wall {
        /// Which side.
        side: Side,
        /// Metres from the listener.
        m: f64,
    },
    /// The room reaches so far: a sound could come from there.
    Reach {
        /// In which direction.
        side: Side,
        /// Metres from the listener.
        m: f64,
    },
    /// Of the sources but one there are `n` in `region`.
    Remain {
        /// Where.
        region: Region,
        /// How many.
        n: usize,
        /// The one that does not count.
        without: usize,
    },
    /// `a` begins before `b`.
    BeginsBefore {
        /// The earlier one.
        a: usize,
        /// The later one.
        b: usize,
    },
    /// `a` sounds already when `b` begins, and goes on.
    StillHeard {
        /// The earlier one.
        a: usize,
        /// The later one.
        b: usize,
    },
    /// `a` has ended when `b` begins.
    EndedBefore {
        /// The earlier one.
        a: usize,
        /// The later one.
        b: usize,
    },
    /// Two sounds are both under way for a time within a range, pauses included.
    TogetherFor {
        /// One.
        a: usize,
        /// The other.
        b: usize,
        /// From.
        low_s: f64,
        /// To.
        high_s: f64,
    },
    /// The source begins so long after the start of the recording.
    Begins {
        /// Which source.
        source: usize,
        /// Seconds.
        s: f64,
    },
    /// From the source's beginning to its end it takes so long.
    Lasts {
        /// Which source.
        source: usize,
        /// Seconds.
        s: f64,
    },
    /// `a` is closer than `b`.
    Nearer {
        /// The closer one.
        a: usize,
        /// The farther one.
        b: usize,
    },
    /// `a` is higher than `b` by about `deg`, as angles of elevation.
    HigherBy {
        /// The higher one.
        a: usize,
        /// The lower one.
        b: usize,
        /// Difference of the elevations.
        deg: f64,
    },
    /// The directions of two sources are so far apart.
    AngleBetween {
        /// One.
        a: usize,
        /// The other.
        b: usize,
        /// Degrees of arc.
        deg: f64,
    },
    /// Who faces `from` turns by about `deg` to face `to`, in the shorter way.
    TurnTo {
        /// The one that is faced.
        from: usize,
        /// The one that is turned to.
        to: usize,
        /// How far.
        deg: f64,
        /// To the left, else to the right.
        left: bool,
    },
    /// There are `n` sources of a sort.
    CountOf {
        /// Which sort.
        sort: Sort,
        /// How many.
        n: usize,
    },
    /// Not so.
    Not {
        /// What is denied.
        of: Box<Claim>,
    },
    /// All of these.
    All {
        /// The parts.
        of: Vec<Claim>,
    },
}

impl Claim {
    /// Both of two claims.
    pub fn both(a: Claim, b: Claim) -> Claim {
        Claim::All { of: vec![a, b] }
    }

    /// The claim with its measured numbers as options print them, with two decimals: what is asserted is what is read.
    pub fn as_printed(mut self) -> Claim {
        let print = |x: &mut f64| *x = format!("{x:.2}").parse().expect("a number");
        match &mut self {
            Claim::Azimuth { deg, .. } => {
                print(deg);
                *deg = around(*deg);
            }
            Claim::Direction { azimuth_deg, elevation_deg, .. } => {
                print(azimuth_deg);
                *azimuth_deg = around(*azimuth_deg);
                print(elevation_deg);
            }
            Claim::Elevation { deg: x, .. }
            | Claim::Distance { m: x, .. }
            | Claim::CloserBy { m: x, .. }
            | Claim::ReverberationTime { s: x }
            | Claim::Wall { m: x, .. }
            | Claim::Reach { m: x, .. } => print(x),
            Claim::Not { of } => **of = of.clone().as_printed(),
            Claim::All { of } => of.iter_mut().for_each(|c| *c = c.clone().as_printed()),
            _ => {}
        }
        self
    }

    /// Whether the claim holds in a scene, with a margin on both sides. An index of a source that is not there is
    /// [`Verdict::False`].
    pub fn verdict(&self, facts: &Facts) -> Verdict {
        if self.sources().iter().any(|&s| s >= facts.count()) {
            return Verdict::False;
        }
        match self {
            Claim::Not { of } => not(of.verdict(facts)),
            Claim::All { of } => all(of.iter().map(|c| c.verdict(facts))),
            Claim::Count { region, n } => count(facts, *region, *n, None),
            Claim::Remain { region, n, without } => count(facts, *region, *n, Some(*without)),
            Claim::Present { label } => surely(facts.labels.contains(label)),
            Claim::Called { source, label } => surely(facts.labels[*source] == *label),
            Claim::Says { source, text } => match facts.transcript(*source).map(|said| (plain(said), plain(text))) {
                Some((said, asked)) if said == asked => Verdict::True,
                Some((said, asked)) if !overlap(&said, &asked) => Verdict::False,
                _ => Verdict::Unclear,
            },
            Claim::Plays { source, role } => {
                surely(scripts::role(role).is_some_and(|role| role.fits(facts.senses[*source].stems())))
            }
            Claim::BeginsLast { source } => begins_last(facts, *source),
            Claim::Rings { rings } => rings_on(facts, *rings),
            Claim::Wall { side, m } => wall(facts, *side, *m),
            Claim::Reach { side, m } => reach(facts, *side, *m),
            Claim::RoomSize { size } => room_size(facts, size),
            Claim::RoomFinish { finish } => room_finish(facts, finish),
            Claim::ReverberationTime { s } => {
                facts.reverberation_s().map_or(Verdict::Unclear, |measured| about(measured, *s, FADING_MARGINS))
            }
            _ => self.place(facts),
        }
    }

    /// The claims about where sources are.
    fn place(&self, facts: &Facts) -> Verdict {
        match *self {
            Claim::Azimuth { source, .. } | Claim::Sector { source, .. } if !facts.has_azimuth(source) => {
                Verdict::Unclear
            }
            Claim::Azimuth { source, deg, turn_deg } => {
                near(turn_between_deg(facts.azimuth_deg(source, turn_deg), deg).abs(), 1.0, 20.0)
            }
            Claim::Elevation { source, deg } => near((facts.elevation_deg(source) - deg).abs(), 1.0, 10.0),
            Claim::ElevationWithin { source, low_deg, high_deg } => {
                let elevation = facts.elevation_deg(source);
                let outside = (low_deg - elevation).max(elevation - high_deg);
                near(outside, 0.0, 10.0)
            }
            Claim::Distance { source, m } => {
                let distance = facts.distance_m(source);
                near((distance - m).abs(), 0.05, (0.25 * distance.max(m)).max(0.4))
            }
            Claim::Direction { source, azimuth_deg, elevation_deg } => {
                near(facts.angle_to_deg(source, azimuth_deg, elevation_deg), 1.0, 15.0)
            }
            Claim::Sector { source, centre_deg, width_deg, turn_deg } => {
                let off = turn_between_deg(facts.azimuth_deg(source, turn_deg), around(centre_deg)).abs();
                let margin = width_deg / 9.0;
                near(off, width_deg / 2.0 - margin, width_deg / 2.0 + margin)
            }
            Claim::CloserBy { a, b, m } => {
                let (near_m, far_m) = (facts.distance_m(a), facts.distance_m(b));
                near((far_m - near_m - m).abs(), 0.05, (0.2 * near_m.max(far_m)).max(0.5))
            }
            Claim::CloserWithin { a, b, low_m, high_m } => closer_within(facts, (a, b), low_m, high_m),
            Claim::Beside { a, b, left, facing } => beside(facts, (a, b), left, facing),
            Claim::Above { a, b, higher } => {
                let verdict = is_higher(facts, a, b);
                if higher { verdict } else { not(verdict) }
            }
            Claim::StandsOut { source, what, without } => stands_out(facts, source, what, without),
            Claim::Near { source, near: true } => near(facts.distance_m(source), scripts::NEAR_M, BETWEEN_M),
            Claim::Near { source, near: false } => near(-facts.distance_m(source), -scripts::FAR_M, -BETWEEN_M),
            Claim::Reaching { goal, other, closer } => reaching(facts, goal, other, closer),
            Claim::Together { a, b, together } => lie_together(facts, a, b, together),
            _ => self.beyond(facts),
        }
    }

    /// The sources that the claim names.
    pub fn sources(&self) -> Vec<usize> {
        match self {
            Claim::Called { source, .. }
            | Claim::Says { source, .. }
            | Claim::Azimuth { source, .. }
            | Claim::Elevation { source, .. }
            | Claim::ElevationWithin { source, .. }
            | Claim::Distance { source, .. }
            | Claim::Direction { source, .. }
            | Claim::Sector { source, .. }
            | Claim::Plays { source, .. }
            | Claim::Near { source, .. }
            | Claim::BeginsLast { source }
            | Claim::Begins { source, .. }
            | Claim::Lasts { source, .. } => vec![*source],
            Claim::Remain { without, .. } => vec![*without],
            Claim::StandsOut { source, without, .. } => std::iter::once(*source).chain(*without).collect(),
            Claim::CloserBy { a, b, .. }
            | Claim::CloserWithin { a, b, .. }
            | Claim::Beside { a, b, .. }
            | Claim::Above { a, b, .. }
            | Claim::Together { a, b, .. }
            | Claim::BeginsBefore { a, b }
            | Claim::StillHeard { a, b }
            | Claim::EndedBefore { a, b }
            | Claim::TogetherFor { a, b, .. }
            | Claim::Nearer { a, b }
            | Claim::HigherBy { a, b, .. }
            | Claim::AngleBetween { a, b, .. }
            | Claim::TurnTo { from: a, to: b, .. }
            | Claim::Reaching { goal: a, other: b, .. } => vec![*a, *b],
            Claim::Not { of } => of.sources(),
            Claim::All { of } => of.iter().flat_map(Claim::sources).collect(),
            _ => vec![],
        }
    }
}
