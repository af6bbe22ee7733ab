//! One source over time: what sounds, when, and where the receiver hears it.

use crate::audio::foa::{angles_deg, unit_vector};
use crate::sources::Domain;
use serde::{Deserialize, Serialize};

/// One source of a scene, as the receiver hears it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Id of the dry recording; absent where there is none, as in a recorded scene.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// Class as its folder says it.
    pub class: String,
    /// Index into the class list of the set.
    pub class_index: Option<usize>,
    /// Environment, speech or music.
    pub domain: Domain,
    /// What is said, when known and nothing else sounds from there.
    pub transcript: Option<String>,
    /// A sentence about the sound, when known and nothing else sounds from there.
    pub caption: Option<String>,
    /// Further sentences about the sound, known as the first is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_captions: Vec<String>,
    /// Words for what is heard, known as captions are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Licence of the recording.
    pub licence: Option<String>,
    /// How fast the recording is played; other than 1 only in training scenes.
    #[serde(default = "as_recorded")]
    pub speed: f64,
    /// Ids of the takes that follow it instead of its own repetition; only in training scenes.
    #[serde(default)]
    pub followed_by: Vec<String>,
    /// Id of a second recording of the class at the same place; only in training scenes.
    #[serde(default)]
    pub layered_with: Option<String>,
    /// Where it is: `azimuth_deg`, `elevation_deg` and `distance_m`, or for a moving source `track`.
    #[serde(flatten)]
    pub path: Path,
    /// Where it stands in the room, when it stands still and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_m: Option<[f64; 3]>,
    /// Gain drawn for the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain_db: Option<f64>,
    /// Level on W relative to the sum of all sources' powers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_db: Option<f64>,
    /// Energy of the direct sound (within 2.5 ms of its peak) relative to the rest of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drr_db: Option<f64>,
    /// Stretches in seconds during which the source sounds, in steps of 0.1 s.
    pub active_s: Vec<[f64; 2]>,
}

fn as_recorded() -> f64 {
    1.0
}

/// Where a source is over time: one point for a source that stands still, points in order of time for one that moves.
///
/// Between two points it moves evenly on the straight line between them, as someone who walks; before the first and
/// after the last it stands still.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PathFields", into = "PathFields")]
pub struct Path(Vec<Point>);

impl Path {
    /// The path of a source that stands still.
    pub fn still(at: Point) -> Path {
        Path(vec![at])
    }

    /// The path through `points`.
    ///
    /// # Errors
    /// The sentence about what is wrong with them (none, or times that do not grow).
    pub fn through(points: Vec<Point>) -> Result<Path, String> {
        if points.is_empty() {
            return Err("a track without a point".into());
        }
        match points.windows(2).find(|pair| pair[0].time_s >= pair[1].time_s) {
            Some([a, b]) => Err(format!("a track's times grow: {} s stands before {} s", a.time_s, b.time_s)),
            _ => Ok(Path(points)),
        }
    }

    /// The points, at least one.
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// The only point of a source that stands still.
    pub fn standing(&self) -> Option<&Point> {
        match &self.0[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Where the source is at a time.
    pub fn at(&self, time_s: f64) -> Point {
        let after = self.0.partition_point(|point| point.time_s <= time_s);
        let [before, next] = [after.saturating_sub(1), after.min(self.0.len() - 1)].map(|i| &self.0[i]);
        if before.time_s >= next.time_s || time_s <= before.time_s {
            return Point { time_s, ..before.clone() };
        }
        let share = (time_s - before.time_s) / (next.time_s - before.time_s);
        let [from, to] = [before, next].map(Point::offset_m);
        let offset = std::array::from_fn(|axis| from[axis] + share * (to[axis] - from[axis]));
        Point::at_offset(time_s, offset)
    }
}

/// Where a source is at one time, seen from the receiver, which looks along +x: as angles, as a unit vector, and as an
/// offset, whichever it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "PointFields", into = "PointFields")]
pub struct Point {
    time_s: f64,
    direction: [f64; 3],
    azimuth_deg: f64,
    elevation_deg: f64,
    distance_m: f64,
}

impl Point {
    /// `offset_m` metres (x front, y left, z up) away from the receiver. A source in the receiver itself is in front, at
    /// distance 0.
    pub fn at_offset(time_s: f64, offset_m: [f64; 3]) -> Point {
        let (azimuth_deg, elevation_deg) = angles_deg(offset_m);
        let distance_m = offset_m.iter().map(|x| x * x).sum::<f64>().sqrt();
        let direction = if distance_m > 0.0 { offset_m.map(|x| x / distance_m) } else { [1.0, 0.0, 0.0] };
        Point { time_s, direction, azimuth_deg, elevation_deg, distance_m }
    }

    /// At `azimuth_deg` (counter-clockwise from the front), `elevation_deg` (up) and `distance_m`.
    pub fn at_angles(time_s: f64, azimuth_deg: f64, elevation_deg: f64, distance_m: f64) -> Point {
        Point { time_s, direction: unit_vector(azimuth_deg, elevation_deg), azimuth_deg, elevation_deg, distance_m }
    }

    /// Seconds from the start of the scene.
    pub fn time_s(&self) -> f64 {
        self.time_s
    }

    /// Unit vector towards the source: x front, y left, z up.
    pub fn direction(&self) -> [f64; 3] {
        self.direction
    }

    /// From the front counter-clockwise, in (-180, 180] where it was made from an offset.
    pub fn azimuth_deg(&self) -> f64 {
        self.azimuth_deg
    }

    /// Up from the horizon.
    pub fn elevation_deg(&self) -> f64 {
        self.elevation_deg
    }

    /// Metres from the receiver.
    pub fn distance_m(&self) -> f64 {
        self.distance_m
    }

    /// Metres from the receiver along x (front), y (left) and z (up).
    pub fn offset_m(&self) -> [f64; 3] {
        self.direction.map(|x| x * self.distance_m)
    }
}

/// A point of `track` as JSON has it.
#[derive(Serialize, Deserialize)]
struct PointFields {
    time_s: f64,
    azimuth_deg: f64,
    elevation_deg: f64,
    distance_m: f64,
}

impl From<PointFields> for Point {
    fn from(f: PointFields) -> Point {
        Point::at_angles(f.time_s, f.azimuth_deg, f.elevation_deg, f.distance_m)
    }
}

impl From<Point> for PointFields {
    fn from(p: Point) -> PointFields {
        let Point { time_s, azimuth_deg, elevation_deg, distance_m, .. } = p;
        PointFields { time_s, azimuth_deg, elevation_deg, distance_m }
    }
}

/// A path as JSON has it: three numbers of a source that stands still, else `track`.
#[derive(Serialize, Deserialize)]
struct PathFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    azimuth_deg: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    elevation_deg: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distance_m: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    track: Option<Vec<Point>>,
}

impl TryFrom<PathFields> for Path {
    type Error = String;
    fn try_from(f: PathFields) -> Result<Path, String> {
        match (f.azimuth_deg, f.elevation_deg, f.distance_m, f.track) {
            (Some(azimuth), Some(elevation), Some(distance), None) => {
                Ok(Path::still(Point::at_angles(0.0, azimuth, elevation, distance)))
            }
            (None, None, None, Some(points)) => Path::through(points),
            _ => Err("a source has azimuth_deg, elevation_deg and distance_m, or, when it moves, track alone".into()),
        }
    }
}

impl From<Path> for PathFields {
    fn from(path: Path) -> PathFields {
        match path.standing() {
            Some(p) => PathFields {
                azimuth_deg: Some(p.azimuth_deg),
                elevation_deg: Some(p.elevation_deg),
                distance_m: Some(p.distance_m),
                track: None,
            },
            None => PathFields { azimuth_deg: None, elevation_deg: None, distance_m: None, track: Some(path.0) },
        }
    }
}
