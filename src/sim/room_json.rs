//! The strict reader behind [`crate::sim::room::Room::from_json`]: unknown, doubled and mistyped keys are
//! collected and reported together.

use crate::error::{Error, Result};
use crate::sim::room::{Extent, Filter, Microphone, Room, all_at_once};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::path::Path;

const KEYS: [&str; 14] = [
    "dimensions_m",
    "absorption",
    "bands_hz",
    "air_absorption_per_m",
    "sample_rate",
    "max_order",
    "duration_s",
    "speed_of_sound",
    "microphone",
    "receiver_m",
    "sources_m",
    "filter",
    "delay_samples",
    "high_pass_hz",
];

impl Room {
    /// Reads and checks a `room.json`.
    ///
    /// # Errors
    /// `Missing` or `Io` naming the file; `Data` naming file, field and fix.
    pub fn read(path: &Path) -> Result<Room> {
        let bytes = crate::files::read_limited(path, 16 << 20)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| Error::data(format!("{}: not UTF-8 text at byte {}", path.display(), e.valid_up_to())))
            .map_err(|e| e.hint("save the file as UTF-8; some editors write UTF-16"))?;
        Room::from_json(text).map_err(|e| e.context(path.display()))
    }

    /// Parses and checks the text of a `room.json`.
    ///
    /// # Errors
    /// `Data` naming field and fix.
    pub fn from_json(text: &str) -> Result<Room> {
        let room = parse(text)?;
        room.check()?;
        Ok(room)
    }
}

/// Types and keys only; values are checked by [`Room::check`].
fn parse(text: &str) -> Result<Room> {
    // Editors on Windows put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.starts_with('\u{feff}') {
        return Err(Error::data("it begins with two byte order marks").hint("save it as UTF-8 with one or none"));
    }
    if text.trim().is_empty() {
        return Err(
            Error::data("the file is empty, an object is expected").hint("see README.md for an example room.json")
        );
    }
    let pairs: Pairs = serde_json::from_str(text)
        .map_err(|e| Error::data(format!("not a JSON object: {e}")).hint("see README.md for an example room.json"))?;
    let mut fields = Fields { errors: Vec::new(), pairs: pairs.0 };
    fields.check_keys();
    let dimensions_m = fields.point("dimensions_m");
    let absorption = fields.absorption();
    let bands_hz = fields.list("bands_hz");
    let air_absorption_per_m = match fields.get("air_absorption_per_m") {
        Some(Value::Number(_)) => vec![fields.number("air_absorption_per_m", 0.0)],
        Some(Value::Null) => {
            let fix = "leave the key out, or give 0, for no losses in the air";
            fields.errors.push(format!("air_absorption_per_m is null; {fix}"));
            Vec::new()
        }
        _ => fields.list("air_absorption_per_m"),
    };
    let extent = fields.extent();
    let room = Room {
        dimensions_m,
        absorption,
        bands_hz,
        air_absorption_per_m,
        sample_rate: fields.whole("sample_rate", 16_000),
        extent,
        speed_of_sound: fields.number("speed_of_sound", 343.0),
        microphone: fields.choice("microphone", &[("foa", Microphone::Foa), ("omni", Microphone::Omni)]),
        receiver_m: fields.point("receiver_m"),
        sources_m: fields.sources(),
        filter: fields.choice("filter", &[("moving", Filter::Moving), ("fixed", Filter::Fixed), ("lut", Filter::Lut)]),
        delay_samples: fields.whole("delay_samples", 0),
        high_pass_hz: fields.number("high_pass_hz", 0.0),
    };
    all_at_once(fields.errors)?;
    Ok(room)
}

/// A JSON object with its keys in order, doubled ones kept.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Pairs;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

struct Fields {
    errors: Vec<String>,
    pairs: Vec<(String, Value)>,
}

impl Fields {
    fn check_keys(&mut self) {
        for (i, (key, _)) in self.pairs.iter().enumerate() {
            if !KEYS.contains(&key.as_str()) {
                let near = KEYS.iter().max_by(|a, b| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key)));
                let near = near.filter(|k| strsim::jaro(k, key) > 0.7);
                let hint = near.map_or(format!("known are {}", KEYS.join(", ")), |k| format!("did you mean \"{k}\"?"));
                let key: String = key.chars().take(60).collect();
                self.errors.push(format!("unknown key \"{key}\"; {hint}"));
            } else if self.pairs[..i].iter().any(|(k, _)| k == key) {
                self.errors.push(format!("{key} is given twice; remove one"));
            }
        }
    }

    fn get(&self, key: &str) -> Option<Value> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone())
    }

    fn number(&mut self, key: &str, default: f64) -> f64 {
        match self.get(key) {
            None => default,
            Some(v) => v.as_f64().unwrap_or_else(|| {
                self.errors.push(format!("{key} must be a number, is {}", short(&v)));
                default
            }),
        }
    }

    fn whole(&mut self, key: &str, default: u32) -> u32 {
        match self.get(key) {
            None => default,
            Some(v) => {
                let x = v.as_f64().filter(|x| x.fract() == 0.0 && (0.0..=u32::MAX as f64).contains(x));
                x.map(|x| x as u32).unwrap_or_else(|| {
                    self.errors.push(format!("{key} must be a whole number, not negative, is {}", short(&v)));
                    default
                })
            }
        }
    }

    fn extent(&mut self) -> Extent {
        match (self.get("max_order").is_some(), self.get("duration_s").is_some()) {
            (true, false) => Extent::MaxOrder(self.whole("max_order", 0)),
            (false, true) => Extent::DurationS(self.number("duration_s", 1.0)),
            (both, _) => {
                let problem = if both { "both given" } else { "missing" };
                self.errors.push(format!("max_order or duration_s, exactly one of them: {problem}"));
                Extent::MaxOrder(0)
            }
        }
    }

    fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let value = self.get(key);
        let named = value.as_ref().and_then(Value::as_str);
        if let Some((_, found)) = choices.iter().find(|(name, _)| Some(*name) == named) {
            return *found;
        }
        if let Some(v) = value {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.errors.push(format!("{key} is {}; give {}", short(&v), names.join(" or ")));
        }
        choices[0].1
    }

    fn list(&mut self, key: &str) -> Vec<f64> {
        match self.get(key) {
            None => Vec::new(),
            Some(v) => numbers(&v).unwrap_or_else(|| {
                self.errors.push(format!("{key} must be a list of numbers, is {}", short(&v)));
                Vec::new()
            }),
        }
    }

    fn point(&mut self, key: &str) -> [f64; 3] {
        let value = self.get(key);
        let point = value.as_ref().and_then(numbers).and_then(|v| <[f64; 3]>::try_from(v).ok());
        point.unwrap_or_else(|| {
            let is = value.map_or("missing".into(), |v| short(&v));
            self.errors.push(format!("{key} must be [x, y, z] in metres, is {is}"));
            [1.0; 3]
        })
    }

    fn sources(&mut self) -> Vec<[f64; 3]> {
        let Some(Value::Array(list)) = self.get("sources_m") else {
            self.errors.push("sources_m must be a list of positions [[x, y, z], ...]".into());
            return Vec::new();
        };
        let mut sources = Vec::new();
        for (i, v) in list.iter().enumerate() {
            match numbers(v).and_then(|v| <[f64; 3]>::try_from(v).ok()) {
                Some(p) => sources.push(p),
                None => self.errors.push(format!("sources_m[{i}] must be [x, y, z] in metres, is {}", short(v))),
            }
        }
        sources
    }

    /// A number, six numbers, or six lists over the bands; a number among lists is the same in every band.
    fn absorption(&mut self) -> Vec<[f64; 6]> {
        const FORMS: &str = "absorption must be a number, six numbers [west, east, south, north, floor, ceiling], or \
                             six lists with one number per entry of bands_hz";
        let walls: Option<Vec<Vec<f64>>> = match self.get("absorption") {
            Some(Value::Number(a)) => a.as_f64().map(|a| vec![vec![a]; 6]),
            Some(Value::Array(list)) if list.len() == 6 => {
                list.iter().map(|v| v.as_f64().map(|a| vec![a]).or_else(|| numbers(v))).collect()
            }
            _ => None,
        };
        let Some(walls) = walls else {
            self.errors.push(FORMS.into());
            return vec![[0.5; 6]];
        };
        let bands = walls.iter().map(Vec::len).max().unwrap_or(1);
        if bands == 0 || walls.iter().any(|w| w.len() != 1 && w.len() != bands) {
            self.errors.push(format!("absorption: lists of different lengths; {FORMS}"));
            return vec![[0.5; 6]];
        }
        (0..bands).map(|b| std::array::from_fn(|w| walls[w][b.min(walls[w].len() - 1)])).collect()
    }
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
