//! Words with what they mean, and phrases that mean nothing.

use super::super::claims::{Extreme, Region, Side};

/// What stands in a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A label of the set.
    Label(String),
    /// A number in the unit of its place.
    Number(f64),
    /// One of [`super::super::facts::OCTANTS`].
    Octant(usize),
    /// One of two.
    Flag(bool),
    /// A region.
    Region(Region),
    /// An extreme.
    Extreme(Extreme),
    /// A side of the room.
    Side(Side),
    /// A word of a closed list.
    Name(&'static str),
}

/// The eight directions.
static OCT: &[(&str, Value)] = &[
    ("front", Value::Octant(0)),
    ("straight? ahead", Value::Octant(0)),
    ("front left", Value::Octant(1)),
    ("left front", Value::Octant(1)),
    ("left", Value::Octant(2)),
    ("back left", Value::Octant(3)),
    ("left back", Value::Octant(3)),
    ("back", Value::Octant(4)),
    ("behind", Value::Octant(4)),
    ("back right", Value::Octant(5)),
    ("right back", Value::Octant(5)),
    ("right", Value::Octant(6)),
    ("front right", Value::Octant(7)),
    ("right front", Value::Octant(7)),
];
/// Regions.
static REGION: &[(&str, Value)] = &[
    ("to/on left side? [ of listener/you ]", Value::Region(Region::Left)),
    ("left of listener/you", Value::Region(Region::Left)),
    ("to/on listener/your left side?", Value::Region(Region::Left)),
    ("to/on right side? [ of listener/you ]", Value::Region(Region::Right)),
    ("right of listener/you", Value::Region(Region::Right)),
    ("to/on listener/your right side?", Value::Region(Region::Right)),
    ("in front [ of listener/you ]", Value::Region(Region::Front)),
    ("behind listener/you", Value::Region(Region::Behind)),
    ("behind", Value::Region(Region::Behind)),
    ("above EAR", Value::Region(Region::Above)),
    ("higher than EAR", Value::Region(Region::Above)),
    ("below EAR", Value::Region(Region::Below)),
    ("lower than EAR", Value::Region(Region::Below)),
    ("less/closer than 2 m away? [ from/to listener/you ]", Value::Region(Region::Near)),
    ("within 2 m [ of listener/you ]", Value::Region(Region::Near)),
];
/// Extremes.
static EXTREME: &[(&str, Value)] = &[
    ("nearest", Value::Extreme(Extreme::Nearest)),
    ("farthest", Value::Extreme(Extreme::Farthest)),
    ("most distant", Value::Extreme(Extreme::Farthest)),
    ("highest up?", Value::Extreme(Extreme::Highest)),
    ("lowest down?", Value::Extreme(Extreme::Lowest)),
];
/// Finishes of walls.
static FINISH: &[(&str, Value)] = &[
    ("hard? reflective walls/surfaces", Value::Name("reflective")),
    ("hard walls/surfaces", Value::Name("reflective")),
    ("hard walls that absorb less than 20 percent of sound", Value::Name("reflective")),
    ("walls that absorb 20 to 40 percent of sound", Value::Name("moderate")),
    ("soft walls that absorb more than 40 percent of sound", Value::Name("absorptive")),
    ("walls/surfaces that absorb moderately", Value::Name("moderate")),
    ("moderately absorbing/absorptive walls/surfaces", Value::Name("moderate")),
    ("moderate absorption", Value::Name("moderate")),
    ("soft? absorptive/absorbing walls/surfaces", Value::Name("absorptive")),
    ("soft walls/surfaces", Value::Name("absorptive")),
];
/// Sizes of rooms.
static SIZE: &[(&str, Value)] = &[
    ("small room [ up to 20 m squared of floor ]", Value::Name("small")),
    ("medium sized/size? room [ 30 to 55 m squared of floor ]", Value::Name("medium")),
    ("large room [ 70 m squared of floor or more ]", Value::Name("large")),
];
static SIDE: &[(&str, Value)] = &[("to/on? left side?", Value::Flag(true)), ("to/on? right side?", Value::Flag(false))];
/// Higher (true) or lower.
static HEIGHT: &[(&str, Value)] = &[
    ("higher up?", Value::Flag(true)),
    ("above", Value::Flag(true)),
    ("above it", Value::Flag(true)),
    ("higher than it", Value::Flag(true)),
    ("lower down?", Value::Flag(false)),
    ("below", Value::Flag(false)),
    ("below it", Value::Flag(false)),
    ("lower than it", Value::Flag(false)),
];
/// Above (true) or below.
static UP: &[(&str, Value)] = &[("above", Value::Flag(true)), ("below", Value::Flag(false))];
/// More (true) or less.
static MORE: &[(&str, Value)] = &[("more than", Value::Flag(true)), ("less than", Value::Flag(false))];

/// Sides of the room from where the listener stands.
static WAY: &[(&str, Value)] = &[
    ("in front of listener/you", Value::Side(Side::Front)),
    ("ahead of listener/you", Value::Side(Side::Front)),
    ("to left of listener/you", Value::Side(Side::Left)),
    ("behind listener/you", Value::Side(Side::Back)),
    ("to right of listener/you", Value::Side(Side::Right)),
    ("above listener/you", Value::Side(Side::Up)),
];

/// A table of words with what they mean.
pub(super) fn values(place: &str) -> Option<&'static [(&'static str, Value)]> {
    Some(match place {
        "OCT" => OCT,
        "REGION" => REGION,
        "EXTREME" => EXTREME,
        "FINISH" => FINISH,
        "SIZE" => SIZE,
        "SIDE" => SIDE,
        "HEIGHT" => HEIGHT,
        "UP" => UP,
        "MORE" => MORE,
        "WAY" => WAY,
        _ => return None,
    })
}

/// Phrases that change nothing about what is asked.
pub(super) fn phrases(place: &str) -> Option<&'static [&'static str]> {
    Some(match place {
        "LEAD" => &[
            "based on/upon this/what recording/scene/audio/clip",
            "based on/upon recording/scene/audio/clip",
            "based on what you/is hear/heard",
            "listen to this? recording/scene/audio/clip",
            "listening to this? recording/scene/audio/clip",
            "in this? recording/scene/audio/clip",
            "from listener perspective",
            "from perspective of listener",
            "from listener point of view",
        ],
        "TAIL" => &[
            "in/from this? recording/scene/audio/clip",
            "from listener perspective",
            "from perspective of listener",
            "from listener point of view",
            "relative to listener",
            "choose/select/pick best/right/correct? answer/option",
        ],
        "EAR" => &["ear level/height", "ears", "listener ear/ears level/height?", "horizon", "horizontal plane"],
        // How azimuths are counted.
        "CCW" => &[
            "in deg",
            "counted/measured? counterclockwise",
            "counted/measured? counterclockwise from front/0",
            "counted/measured? counterclockwise from straight ahead",
            "0 deg is front counterclockwise",
            "0 deg is front and? angles? increase/increasing counterclockwise",
            "where/with 0 deg is/at? front and? angles? increase/increasing counterclockwise",
            "0 deg is front 90 deg is left",
        ],
        "STATEMENT" => &[
            "which statement/description/option/answer/combination is right/correct/true/accurate",
            "which of these/following statements/descriptions/options is right/correct/true/accurate",
            // "about" is left out by the tokens.
            "which statement scene/sources/sounds is right/correct/true/accurate",
            "which statement sound sources is right/correct/true/accurate",
        ],
        "COMES" => {
            &["is coming", "comes", "arrives", "is arriving", "is", "is heard", "can be heard", "reaches listener/you"]
        }
        _ => return None,
    })
}
