//! One setting: its key, what it may be, its unit and its meaning.

use toml::Value;

/// What values a setting accepts.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// A finite number in `min..=max` (above `min` when `above`); whole numbers are accepted too.
    Number {
        /// Smallest value.
        min: f64,
        /// Largest value.
        max: f64,
        /// Whether `min` itself is excluded.
        above: bool,
    },
    /// A whole number in `min..=max`.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
    /// A list of `lengths` finite numbers, each in `min..=max`.
    Numbers {
        /// Smallest value.
        min: f64,
        /// Largest value.
        max: f64,
        /// Fewest and most entries.
        lengths: (usize, usize),
    },
    /// A list of texts.
    Texts,
}

/// An entry of a recipe's registry.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Dotted key, as in `optimizer.learning_rate`.
    pub key: String,
    /// Accepted values.
    pub domain: Domain,
    /// Unit, or empty.
    pub unit: &'static str,
    /// One sentence of meaning.
    pub doc: &'static str,
    /// Whether the default leaves it out (an `Option` that is `None`).
    pub optional: bool,
}

impl Setting {
    /// A setting of any domain.
    pub fn new(key: &str, domain: Domain, unit: &'static str, doc: &'static str) -> Self {
        Setting { key: key.into(), domain, unit, doc, optional: false }
    }
    /// A number in `min..=max`.
    pub fn number(key: &str, unit: &'static str, min: f64, max: f64, doc: &'static str) -> Self {
        Self::new(key, Domain::Number { min, max, above: false }, unit, doc)
    }
    /// A number above `min`, at most `max`.
    pub fn number_above(key: &str, unit: &'static str, min: f64, max: f64, doc: &'static str) -> Self {
        Self::new(key, Domain::Number { min, max, above: true }, unit, doc)
    }
    /// A whole number in `min..=max`.
    pub fn integer(key: &str, unit: &'static str, min: i64, max: i64, doc: &'static str) -> Self {
        Self::new(key, Domain::Integer { min, max }, unit, doc)
    }
    /// `true` or `false`.
    pub fn flag(key: &str, doc: &'static str) -> Self {
        Self::new(key, Domain::Flag, "", doc)
    }
    /// One of `words`.
    pub fn choice(key: &str, words: &'static [&'static str], doc: &'static str) -> Self {
        Self::new(key, Domain::Choice(words), "", doc)
    }
    /// Any text.
    pub fn text(key: &str, doc: &'static str) -> Self {
        Self::new(key, Domain::Text, "", doc)
    }
    /// A list of `lengths` numbers in `min..=max`.
    pub fn numbers(
        key: &str,
        unit: &'static str,
        min: f64,
        max: f64,
        lengths: (usize, usize),
        doc: &'static str,
    ) -> Self {
        Self::new(key, Domain::Numbers { min, max, lengths }, unit, doc)
    }
    /// A list of texts.
    pub fn texts(key: &str, doc: &'static str) -> Self {
        Self::new(key, Domain::Texts, "", doc)
    }
    /// The default leaves it out.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
    /// The settings of a recipe that is embedded as the table `prefix` of another.
    pub fn within(prefix: &str, settings: Vec<Setting>) -> Vec<Setting> {
        settings.into_iter().map(|s| Setting { key: format!("{prefix}.{}", s.key), ..s }).collect()
    }

    /// The value in its canonical type, or what is wrong with it.
    pub(super) fn accept(&self, value: Value) -> Result<Value, String> {
        match &self.domain {
            Domain::Number { .. } => Ok(Value::Float(self.number_in_range(&value)?)),
            Domain::Integer { min, max } => match value {
                Value::Integer(n) if (min..=max).contains(&&n) => Ok(Value::Integer(n)),
                other => Err(self.refusal(&other)),
            },
            Domain::Flag => match value {
                Value::Boolean(_) => Ok(value),
                other => Err(self.refusal(&other)),
            },
            Domain::Choice(words) => match value {
                Value::String(word) if words.contains(&word.as_str()) => Ok(Value::String(word)),
                other => Err(self.refusal(&other)),
            },
            Domain::Text => match value {
                Value::String(_) => Ok(value),
                other => Err(self.refusal(&other)),
            },
            Domain::Numbers { lengths, .. } => match &value {
                Value::Array(items) if (lengths.0..=lengths.1).contains(&items.len()) => {
                    let numbers: Result<Vec<f64>, String> = items.iter().map(|v| self.number_in_range(v)).collect();
                    Ok(Value::Array(numbers?.into_iter().map(Value::Float).collect()))
                }
                other => Err(self.refusal(other)),
            },
            Domain::Texts => match &value {
                Value::Array(items) if items.iter().all(Value::is_str) => Ok(value),
                other => Err(self.refusal(other)),
            },
        }
    }

    fn number_in_range(&self, value: &Value) -> Result<f64, String> {
        let (min, max, above) = match self.domain {
            Domain::Number { min, max, above } => (min, max, above),
            Domain::Numbers { min, max, .. } => (min, max, false),
            _ => unreachable!("only number domains ask for a number"),
        };
        let number = match value {
            Value::Float(f) => *f,
            Value::Integer(n) => *n as f64,
            other => return Err(self.refusal(other)),
        };
        if number.is_finite() && number >= min && number <= max && !(above && number == min) {
            Ok(number)
        } else {
            Err(self.refusal(value))
        }
    }

    fn refusal(&self, value: &Value) -> String {
        let shown: String = value.to_string().chars().take(60).collect();
        format!("{shown} is not accepted, needed is {}", self.wanted())
    }

    /// What is accepted, in words.
    pub(super) fn wanted(&self) -> String {
        let bounds = |min: f64, max: f64| match (min.is_finite(), max.is_finite()) {
            (true, true) => format!(" from {min} to {max}"),
            (true, false) => format!(" of at least {min}"),
            (false, true) => format!(" of at most {max}"),
            (false, false) => String::new(),
        };
        let what = match &self.domain {
            Domain::Number { min, max, above: true } if max.is_finite() => {
                format!("a finite number above {min}, at most {max}")
            }
            Domain::Number { min, above: true, .. } => format!("a finite number above {min}"),
            Domain::Number { min, max, .. } => format!("a finite number{}", bounds(*min, *max)),
            Domain::Integer { min, max: i64::MAX } => format!("a whole number of at least {min}"),
            Domain::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Domain::Flag => "true or false".into(),
            Domain::Choice(words) => format!("one of {}", words.join(", ")),
            Domain::Text => "a text in quotes".into(),
            Domain::Numbers { min, max, lengths: (a, b) } => {
                let count = if a == b { format!("{a}") } else { format!("{a} to {b}") };
                format!("a list of {count} finite numbers{}", bounds(*min, *max))
            }
            Domain::Texts => "a list of texts".into(),
        };
        if self.unit.is_empty() { what } else { format!("{what} ({})", self.unit) }
    }

    /// Meaning, accepted values and default in one line.
    pub(super) fn describe(&self, default: Option<&Value>) -> String {
        let default = default.map_or("none".to_string(), |v| v.to_string());
        format!("{}; {}; default {default}", self.doc, self.wanted())
    }
}
