//! What a scene holds, derived anew from positions, wall areas and responses in the RTSD: no angle or distance is taken
//! over.

use serde_json::Value;

/// One sound source as the listener hears it.
#[derive(Clone, Debug)]
pub struct Source {
    pub label: String,
    pub is_speech: bool,
    pub is_music: bool,
    pub transcript: Option<String>,
    /// Counter-clockwise from the front, [0, 360).
    pub azimuth: f64,
    pub elevation: f64,
    pub distance: f64,
    /// From the ears: to the front, to the left, upwards.
    pub offset: [f64; 3],
    /// When it is first heard.
    pub begins_s: f64,
    /// When it is last heard.
    pub ends_s: f64,
}

/// A scene.
#[derive(Clone, Debug)]
pub struct Truth {
    pub sources: Vec<Source>,
    pub floor_m2: f64,
    /// Mean energy absorption of the walls.
    pub absorption: f64,
    /// Measured on a response.
    pub fades_s: Option<f64>,
    /// From the ears to the walls in front, to the left, behind and to the right, and to the ceiling.
    pub sides_m: [f64; 5],
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn triple(value: &Value) -> [f64; 3] {
    std::array::from_fn(|i| number(&value[i]))
}

/// What a class is called in a sentence: by hand for the classes of these tests, whose names are not their words.
fn spoken(class: &str) -> String {
    let by_hand = [
        ("baby_cry", "crying baby"),
        ("bird_chirp", "chirping bird"),
        ("can_opening", "can being opened"),
        ("clock_alarm", "alarm clock"),
        ("clock_tick", "ticking clock"),
        ("dog_bark", "barking dog"),
        ("door_wood_knock", "knock on a door"),
        ("drinking_sipping", "person drinking"),
        ("glass_breaking", "breaking glass"),
        ("knock", "knocking"),
        ("laughing", "laughter"),
        ("person_sneeze", "sneeze"),
        ("sneezing", "sneeze"),
        ("speech", "person speaking"),
        ("toilet_flush", "flushing toilet"),
    ];
    if let Some((_, name)) = by_hand.iter().find(|(c, _)| *c == class) {
        return name.to_string();
    }
    let words = class.split(['_', '-', ' ']).filter(|w| !["", "misc", "other"].contains(w));
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// Degrees in [0, 360).
pub fn circle(degrees: f64) -> f64 {
    degrees - 360.0 * (degrees / 360.0).floor()
}

/// Smallest angle between two azimuths.
pub fn apart(a: f64, b: f64) -> f64 {
    let d = circle(a - b);
    d.min(360.0 - d)
}

/// Angle between two directions, by the chord: accurate for small angles as well.
pub fn angle(a: (f64, f64), b: (f64, f64)) -> f64 {
    let point = |(azimuth, elevation): (f64, f64)| {
        let (az, el) = (azimuth.to_radians(), elevation.to_radians());
        [el.cos() * az.cos(), el.cos() * az.sin(), el.sin()]
    };
    let (p, q) = (point(a), point(b));
    let chord: f64 = (0..3).map(|i| (p[i] - q[i]).powi(2)).sum::<f64>().sqrt();
    2.0 * (chord / 2.0).min(1.0).asin().to_degrees()
}

impl Truth {
    /// From a line of `scenes.jsonl`.
    pub fn new(rtsd: &Value) -> Truth {
        let (room, ear) = (&rtsd["room"], triple(&rtsd["receiver_m"]));
        let size = triple(&room["dimensions_m"]);
        let source = |s: &Value| {
            assert!(s["layered_with"].is_null(), "a layered source is one or two sounds: not to be asked about");
            assert!(!s["active_s"].as_array().unwrap().is_empty(), "a silent source cannot be heard");
            let at = triple(&s["position_m"]);
            let [x, y, z] = std::array::from_fn(|i| at[i] - ear[i]);
            Source {
                label: spoken(s["class"].as_str().unwrap()),
                is_speech: s["domain"] == "speech",
                is_music: s["domain"] == "music",
                transcript: s["transcript"].as_str().map(String::from),
                azimuth: circle(y.atan2(x).to_degrees()),
                elevation: z.atan2(x.hypot(y)).to_degrees(),
                distance: x.hypot(y).hypot(z),
                offset: [x, y, z],
                begins_s: s["active_s"].as_array().unwrap().iter().map(|a| number(&a[0])).fold(f64::MAX, f64::min),
                ends_s: s["active_s"].as_array().unwrap().iter().map(|a| number(&a[1])).fold(0.0, f64::max),
            }
        };
        // West and east are y by z, south and north x by z, floor and ceiling x by y.
        let areas = [size[1] * size[2], size[0] * size[2], size[0] * size[1]];
        let walls: Vec<f64> = (0..6).map(|i| number(&room["wall_absorption"][i])).collect();
        let absorbed: f64 = (0..6).map(|i| areas[i / 2] * walls[i]).sum();
        let sources: Vec<Source> = rtsd["sources"].as_array().unwrap().iter().map(source).collect();
        let levels: Vec<f64> = rtsd["sources"].as_array().unwrap().iter().map(|s| number(&s["level_db"])).collect();
        let loudest = levels.iter().copied().fold(f64::MIN, f64::max);
        assert!(levels.iter().all(|l| *l > loudest - 18.0), "a source so far below another may be masked: {levels:?}");
        Truth {
            sources,
            floor_m2: areas[2],
            absorption: absorbed / (2.0 * areas.iter().sum::<f64>()),
            fades_s: room["t20_s"].as_f64(),
            sides_m: [size[0] - ear[0], size[1] - ear[1], ear[0], ear[1], size[2] - ear[2]],
        }
    }

    /// The same scene turned to the left about the listener. Sides of the room are the listener's only after whole quarters.
    pub fn turned(&self, degrees: f64) -> Truth {
        let mut turned = self.clone();
        let (sin, cos) = degrees.to_radians().sin_cos();
        for s in &mut turned.sources {
            let [x, y, z] = s.offset;
            s.azimuth = circle(s.azimuth + degrees);
            s.offset = [cos * x - sin * y, sin * x + cos * y, z];
        }
        let quarters = degrees / 90.0;
        let walls = &mut turned.sides_m[..4];
        if quarters.fract() == 0.0 {
            // What was in front is then to the left.
            walls.rotate_right(quarters as usize % 4);
        } else {
            walls.fill(f64::NAN);
        }
        turned
    }

    /// The sources whose label a text names after "the", in the order of the text. A longer label goes before a shorter
    /// one that it contains.
    pub fn named_in(&self, text: &str) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sources.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(self.sources[i].label.len()));
        let (mut found, mut rest) = (Vec::new(), text.to_lowercase());
        for i in order {
            let name = format!("the {}", self.sources[i].label);
            for (at, _) in rest.clone().match_indices(&name) {
                let end = at + name.len();
                let starts = rest[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
                if starts && rest[end..].chars().next().is_none_or(|c| !c.is_alphanumeric()) {
                    found.push((at, i));
                    rest.replace_range(at..end, &"~".repeat(name.len()));
                }
            }
        }
        found.sort_unstable();
        let mut order: Vec<usize> = found.into_iter().map(|(_, i)| i).collect();
        order.dedup();
        order
    }

    /// The only source that may be called `label`.
    pub fn only(&self, label: &str) -> Result<usize, String> {
        let fits: Vec<usize> =
            (0..self.sources.len()).filter(|&i| super::words::may_be_called(&self.sources[i].label, label)).collect();
        match fits[..] {
            [i] if self.sources[i].label == label => Ok(i),
            _ => Err(format!("{label:?} names {} sources", fits.len())),
        }
    }

    /// The only source that a question is about.
    pub fn subject(&self, question: &str) -> Result<usize, String> {
        match self.named_in(question)[..] {
            [i] => self.only(&self.sources[i].label),
            ref all => Err(format!("{} sources are named in {question:?}", all.len())),
        }
    }
}
