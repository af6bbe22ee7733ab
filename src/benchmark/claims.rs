//! What an option asserts, in a form that a machine can check against the RTSD.

use super::facts::{Facts, around, turn_between_deg};
use super::knowledge;
use super::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// Which sources a count is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// All of them.
    Anywhere,
    /// Azimuth in (0, 180).
    Left,
    /// Azimuth in (180, 360).
    Right,
    /// Less than 90 degrees from the front.
    Front,
    /// More than 90 degrees from the front.
    Behind,
    /// Elevation above 0.
    Above,
    /// Elevation below 0.
    Below,
    /// Less than 2 m away.
    Near,
}

/// A property in which one source of a scene stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extreme {
    /// Smallest distance.
    Nearest,
    /// Largest distance.
    Farthest,
    /// Largest elevation.
    Highest,
    /// Smallest elevation.
    Lowest,
}

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
    /// Seen by the listener, `a` is to the left (or right) of `b`.
    Beside {
        /// The one whose place is told.
        a: usize,
        /// The one it is told from.
        b: usize,
        /// To the left, else to the right.
        left: bool,
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
    /// Time that the direct sound of a source travels to the listener.
    TravelTime {
        /// Which source.
        source: usize,
        /// Milliseconds.
        ms: f64,
    },
    /// Distance from the listener to the farthest corner of the room.
    FarthestCorner {
        /// Metres.
        m: f64,
    },
    /// Height of the ceiling above the listener's ears.
    CeilingAbove {
        /// Metres.
        m: f64,
    },
    /// The sound of this event is in the scene (knowledge table).
    Event {
        /// A situation of the table.
        situation: String,
    },
    /// Somebody with this intention is moving towards the source (knowledge table).
    Intends {
        /// Which source.
        source: usize,
        /// An intention of the table.
        intention: String,
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

/// Factors up to which a reverberation time is right, and from which it is wrong.
pub const FADING_MARGINS: (f64, f64) = (1.05, 1.4);
/// The same for lengths and travel times.
pub const LENGTH_MARGINS: (f64, f64) = (1.05, 1.3);

/// Sizes whose floor area is near the next size's are left out.
const SMALL_M2: f64 = 20.0;
const MEDIUM_M2: [f64; 2] = [30.0, 55.0];
const LARGE_M2: f64 = 70.0;

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
            | Claim::TravelTime { ms: x, .. }
            | Claim::FarthestCorner { m: x }
            | Claim::CeilingAbove { m: x } => print(x),
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
            Claim::Count { region, n } => count(facts, *region, *n),
            Claim::Present { label } => surely(facts.labels.contains(label)),
            Claim::Called { source, label } => surely(facts.labels[*source] == *label),
            Claim::Says { source, text } => match facts.transcript(*source).map(|said| (plain(said), plain(text))) {
                Some((said, asked)) if said == asked => Verdict::True,
                Some((said, asked)) if !overlap(&said, &asked) => Verdict::False,
                _ => Verdict::Unclear,
            },
            Claim::Event { situation } => knowledge::happens(situation, &facts.senses),
            Claim::Intends { source, intention } => knowledge::intends(intention, &facts.senses[*source]),
            Claim::RoomSize { size } => room_size(facts, size),
            Claim::RoomFinish { finish } => room_finish(facts, finish),
            Claim::ReverberationTime { s } => {
                facts.reverberation_s().map_or(Verdict::Unclear, |measured| about(measured, *s, FADING_MARGINS))
            }
            Claim::FarthestCorner { m } => about(facts.farthest_corner_m(), *m, LENGTH_MARGINS),
            Claim::CeilingAbove { m } => about(facts.ceiling_above_m(), *m, LENGTH_MARGINS),
            Claim::TravelTime { source, ms } => about(facts.travel_ms(*source), *ms, LENGTH_MARGINS),
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
            Claim::Beside { a, b, left } => {
                let turn = turn_between_deg(facts.azimuth_deg(a, 0.0), facts.azimuth_deg(b, 0.0));
                // Nearly in line or nearly opposite, left and right mean nothing.
                match turn.abs() {
                    off if !(15.0..=150.0).contains(&off) => Verdict::Unclear,
                    _ if !(facts.has_azimuth(a) && facts.has_azimuth(b)) => Verdict::Unclear,
                    _ => surely((turn > 0.0) == left),
                }
            }
            Claim::Above { a, b, higher } => {
                let verdict = is_higher(facts, a, b);
                if higher { verdict } else { not(verdict) }
            }
            Claim::StandsOut { source, what, without } => stands_out(facts, source, what, without),
            _ => unreachable!("the other claims are not about places"),
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
            | Claim::TravelTime { source, .. }
            | Claim::Intends { source, .. } => vec![*source],
            Claim::StandsOut { source, without, .. } => std::iter::once(*source).chain(*without).collect(),
            Claim::CloserBy { a, b, .. } | Claim::Beside { a, b, .. } | Claim::Above { a, b, .. } => vec![*a, *b],
            Claim::Not { of } => of.sources(),
            Claim::All { of } => of.iter().flat_map(Claim::sources).collect(),
            _ => vec![],
        }
    }
}

/// Words alone, as they sound: what counts when transcripts are compared.
pub fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|w| !w.is_empty());
    let heard = |word: &str| match word.to_lowercase().as_str() {
        "1" | "won" => "one".into(),
        "2" | "to" | "too" => "two".into(),
        "4" | "for" => "four".into(),
        "8" | "ate" => "eight".into(),
        other => other.to_string(),
    };
    words.map(heard).collect::<Vec<_>>().join(" ")
}

/// Whether one plain text is part of the other: who hears "close the door please" also hears "close the door".
pub fn overlap(a: &str, b: &str) -> bool {
    let within = |part: &str, whole: &str| format!(" {whole} ").contains(&format!(" {part} "));
    within(a, b) || within(b, a)
}

fn surely(holds: bool) -> Verdict {
    if holds { Verdict::True } else { Verdict::False }
}

fn not(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::True => Verdict::False,
        Verdict::False => Verdict::True,
        Verdict::Unclear => Verdict::Unclear,
    }
}

/// False as soon as one part is clearly false.
fn all(parts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut whole = Verdict::True;
    for part in parts {
        match part {
            Verdict::False => return Verdict::False,
            Verdict::Unclear => whole = Verdict::Unclear,
            Verdict::True => {}
        }
    }
    whole
}

/// True up to `inner`, false from `outer`.
fn near(distance: f64, inner: f64, outer: f64) -> Verdict {
    match distance {
        d if d <= inner => Verdict::True,
        d if d >= outer => Verdict::False,
        _ => Verdict::Unclear,
    }
}

/// True within the first factor, false beyond the second.
pub fn about(a: f64, b: f64, (inner, outer): (f64, f64)) -> Verdict {
    near((a / b).ln().abs(), inner.ln(), outer.ln())
}

fn count(facts: &Facts, region: Region, n: usize) -> Verdict {
    let mut inside = 0;
    for i in 0..facts.count() {
        // Positive inside; how far from the border, and how far it must be.
        let from = |centre_deg: f64| 90.0 - turn_between_deg(facts.azimuth_deg(i, 0.0), centre_deg).abs();
        let (depth, margin) = match region {
            Region::Anywhere => (1.0, 0.0),
            Region::Left => (from(90.0), 10.0),
            Region::Right => (from(270.0), 10.0),
            Region::Front => (from(0.0), 10.0),
            Region::Behind => (from(180.0), 10.0),
            Region::Above => (facts.elevation_deg(i), 5.0),
            Region::Below => (-facts.elevation_deg(i), 5.0),
            Region::Near => (2.0 - facts.distance_m(i), 0.3),
        };
        let by_azimuth = matches!(region, Region::Left | Region::Right | Region::Front | Region::Behind);
        if depth.abs() < margin || by_azimuth && !facts.has_azimuth(i) {
            return Verdict::Unclear;
        }
        inside += usize::from(depth > 0.0);
    }
    surely(inside == n)
}

fn room_size(facts: &Facts, size: &str) -> Verdict {
    let [length, width, _] = facts.room().dimensions_m;
    let area = length * width;
    let clear = match facts.room().size.as_str() {
        "small" => area <= SMALL_M2,
        "medium" => (MEDIUM_M2[0]..=MEDIUM_M2[1]).contains(&area),
        _ => area >= LARGE_M2,
    };
    if clear { surely(facts.room().size == size) } else { Verdict::Unclear }
}

/// Finishes whose absorption is near the next one's are left out.
const REFLECTIVE_UP_TO: f64 = 0.17;
const MODERATE: [f64; 2] = [0.24, 0.34];
const ABSORPTIVE_FROM: f64 = 0.47;

fn room_finish(facts: &Facts, finish: &str) -> Verdict {
    let room = facts.room();
    let clear = match room.finish.as_str() {
        "reflective" => room.absorption <= REFLECTIVE_UP_TO,
        "moderate" => (MODERATE[0]..=MODERATE[1]).contains(&room.absorption),
        _ => room.absorption >= ABSORPTIVE_FROM,
    };
    if clear { surely(room.finish == finish) } else { Verdict::Unclear }
}

/// Higher both as an angle and in metres: a far source slightly above the ears may hang higher than a near one that is
/// steeply above them.
fn is_higher(facts: &Facts, a: usize, b: usize) -> Verdict {
    let (rise_deg, rise_m) = (facts.elevation_deg(a) - facts.elevation_deg(b), facts.height_m(a) - facts.height_m(b));
    let clear = rise_deg.abs() >= 8.0 && rise_m.abs() >= 0.1 && (rise_deg > 0.0) == (rise_m > 0.0);
    if clear { surely(rise_deg > 0.0) } else { Verdict::Unclear }
}

/// Closer by a clear difference.
fn is_closer(facts: &Facts, a: usize, b: usize) -> Verdict {
    let (a, b) = (facts.distance_m(a), facts.distance_m(b));
    if (a - b).abs() < (0.2 * a.max(b)).max(0.4) { Verdict::Unclear } else { surely(a < b) }
}

fn stands_out(facts: &Facts, source: usize, what: Extreme, without: Option<usize>) -> Verdict {
    if without == Some(source) {
        return Verdict::False;
    }
    let others = (0..facts.count()).filter(|&i| i != source && Some(i) != without);
    all(others.map(|i| match what {
        Extreme::Nearest => is_closer(facts, source, i),
        Extreme::Farthest => is_closer(facts, i, source),
        Extreme::Highest => is_higher(facts, source, i),
        Extreme::Lowest => is_higher(facts, i, source),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{facts, source};
    use super::Verdict::*;
    use super::*;

    fn scene() -> Facts {
        let mut speech = source("speech", 200.0 - 360.0, -20.0, 4.0);
        speech.transcript = Some("Seven, please!".into());
        facts(vec![source("dog_bark", 30.0, 15.0, 1.0), speech, source("rain", 100.0, 2.0, 2.5)])
    }

    #[test]
    fn claims_about_places_keep_their_margins() {
        let scene = scene();
        let azimuth = |deg, turn_deg| Claim::Azimuth { source: 0, deg, turn_deg }.verdict(&scene);
        assert_eq!(
            [azimuth(30.5, 0.0), azimuth(45.0, 0.0), azimuth(300.0, 90.0), azimuth(60.0, 0.0)],
            [True, Unclear, True, False]
        );
        let distance = |m| Claim::Distance { source: 1, m }.verdict(&scene);
        assert_eq!([distance(4.01), distance(4.5), distance(5.5)], [True, Unclear, False]);
        let sector = |source, centre_deg, turn_deg| {
            Claim::Sector { source, centre_deg, width_deg: 90.0, turn_deg }.verdict(&scene)
        };
        assert_eq!([sector(0, 0.0, 0.0), sector(1, 180.0, 0.0), sector(1, 0.0, 0.0)], [True, True, False]);
        assert_eq!(sector(0, 270.0, 90.0), True);
        assert_eq!(sector(0, 0.0, -10.0), Unclear);
        let beside = |a, b, left| Claim::Beside { a, b, left }.verdict(&scene);
        assert_eq!([beside(2, 0, true), beside(0, 2, true), beside(1, 0, true)], [True, False, Unclear]);
        let out = |source, what, without| Claim::StandsOut { source, what, without }.verdict(&scene);
        assert_eq!(out(0, Extreme::Nearest, None), True);
        assert_eq!(out(2, Extreme::Nearest, Some(0)), True);
        assert_eq!(out(0, Extreme::Nearest, Some(0)), False);
        assert_eq!(out(1, Extreme::Lowest, None), True);
        // 20 degrees at 1 m are 0.34 m, 10 degrees at 4 m are 0.69 m: which one is higher?
        let steep = facts(vec![source("dog_bark", 0.0, 20.0, 1.0), source("rain", 90.0, 10.0, 4.0)]);
        assert_eq!(Claim::Above { a: 0, b: 1, higher: true }.verdict(&steep), Unclear);
        assert_eq!(Claim::StandsOut { source: 1, what: Extreme::Highest, without: None }.verdict(&steep), Unclear);
        let overhead = facts(vec![source("dog_bark", 30.0, 80.0, 1.0)]);
        let at = Claim::Azimuth { source: 0, deg: 30.0, turn_deg: 0.0 };
        assert_eq!(at.verdict(&overhead), Unclear, "an azimuth says little overhead");
        assert_eq!(Claim::CloserBy { a: 0, b: 1, m: 3.0 }.verdict(&scene), True);
        assert_eq!(Claim::CloserBy { a: 1, b: 0, m: 3.0 }.verdict(&scene), False);
        assert_eq!(Claim::Distance { source: 7, m: 1.0 }.verdict(&scene), False);
    }

    #[test]
    fn claims_about_contents_counts_and_rooms() {
        let scene = scene();
        let count = |region, n| Claim::Count { region, n }.verdict(&scene);
        assert_eq!([count(Region::Anywhere, 3), count(Region::Left, 2), count(Region::Right, 1)], [True, True, True]);
        assert_eq!([count(Region::Above, 2), count(Region::Near, 1), count(Region::Near, 2)], [Unclear, True, False]);
        // 6 degrees from the middle of the rear, left and right mean nothing.
        let rear = facts(vec![source("rain", -174.0, 0.0, 3.0)]);
        let left = Claim::Count { region: Region::Left, n: 0 };
        assert_eq!((left.verdict(&rear), plain("Too late, Anna!")), (Unclear, "two late anna".into()));
        let says = |text: &str| Claim::Says { source: 1, text: text.into() }.verdict(&scene);
        assert_eq!(
            [says("seven please"), says("seven"), says("sevenths"), says("nine")],
            [True, Unclear, False, False]
        );
        let size = |size: &str| Claim::RoomSize { size: size.into() }.verdict(&scene);
        assert_eq!([size("small"), size("large")], [True, False]);
        let both = |a: usize, m: f64| {
            let called = Claim::Called { source: 0, label: "barking dog".into() };
            Claim::both(called, Claim::Distance { source: a, m }).verdict(&scene)
        };
        assert_eq!([both(0, 1.0), both(0, 1.2), both(0, 3.0)], [True, Unclear, False]);
        // 343 m/s: 2.5 m are 7.29 ms. The ceiling of 2.7 m is 1 m above the ears.
        let travels = |ms| Claim::TravelTime { source: 2, ms }.verdict(&scene);
        assert_eq!([travels(7.3), travels(8.5), travels(12.0)], [True, Unclear, False]);
        let ceiling = |m| Claim::Not { of: Box::new(Claim::CeilingAbove { m }) }.verdict(&scene);
        assert_eq!([ceiling(1.0), ceiling(2.0), ceiling(1.2)], [False, True, Unclear]);
        let pair = |deg, ms| Claim::both(Claim::Elevation { source: 0, deg }, Claim::TravelTime { source: 0, ms });
        let (printed, read) = (pair(-0.004, 1.115), pair(0.0, 1.11));
        let turned = |deg| Claim::Azimuth { source: 0, deg, turn_deg: 0.0 };
        assert_eq!(turned(359.996).as_printed(), turned(0.0));
        assert_eq!(Claim::Not { of: Box::new(printed) }.as_printed(), Claim::Not { of: Box::new(read) });
        // Measured 0.9 s: what is heard, not the 0.6 s of Eyring's formula.
        let fades = |s| Claim::ReverberationTime { s }.verdict(&scene);
        assert_eq!([fades(0.9), fades(1.1), fades(0.6)], [True, Unclear, False]);
        let finish = |scene: &Facts, finish: &str| Claim::RoomFinish { finish: finish.into() }.verdict(scene);
        assert_eq!([finish(&scene, "reflective"), finish(&scene, "moderate")], [True, False]);
        let mut border = scene.clone();
        border.truth.room.as_mut().unwrap().absorption = 0.19;
        assert_eq!([finish(&border, "reflective"), finish(&border, "moderate")], [Unclear, Unclear]);
        let text = serde_json::to_string(&Claim::CeilingAbove { m: 0.4 }).unwrap();
        assert_eq!(text, r#"{"claim":"ceiling_above","m":0.4}"#);
    }
}
