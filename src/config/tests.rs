//! Recipes with typos, wrong types, values out of range and hostile syntax.

use super::*;
use crate::error::Kind;
use serde::Deserialize;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Toy {
    steps: usize,
    name: String,
    limit_s: Option<f64>,
    optimizer: Optimizer,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Optimizer {
    learning_rate: f64,
    schedule: String,
    betas: [f64; 2],
    warm: bool,
    tags: Vec<String>,
}

impl Default for Toy {
    fn default() -> Self {
        Toy { steps: 100, name: "toy".into(), limit_s: None, optimizer: Optimizer::default() }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer { learning_rate: 1e-3, schedule: "cosine".into(), betas: [0.9, 0.98], warm: true, tags: vec![] }
    }
}

impl Recipe for Toy {
    fn settings() -> Vec<Setting> {
        vec![
            Setting::integer("steps", "steps", 1, 1_000_000, "Optimizer steps"),
            Setting::text("name", "Name of the run"),
            Setting::number("limit_s", "s", 0.0, f64::INFINITY, "Time limit").optional(),
            Setting::number_above("optimizer.learning_rate", "", 0.0, 1.0, "Peak learning rate"),
            Setting::choice("optimizer.schedule", &["cosine", "constant"], "Shape after the warm-up"),
            Setting::numbers("optimizer.betas", "", 0.0, 0.9999, (2, 2), "Decay of the moments"),
            Setting::flag("optimizer.warm", "Whether to warm up"),
            Setting::texts("optimizer.tags", "Free words"),
        ]
    }
    fn check(&self, errors: &mut Vec<String>) {
        if self.optimizer.warm && self.steps < 10 {
            errors.push("optimizer.warm needs steps of at least 10".into());
        }
    }
}

fn refused(text: &str, sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
    let error = parse::<Toy>(text, &sets).expect_err(text);
    assert_eq!(error.kind(), Kind::Usage, "{error}");
    error.message().to_string()
}

#[test]
fn the_registry_is_complete() {
    check_registry::<Toy>();
    assert!(reference::<Toy>().contains("optimizer.learning_rate"));
    assert!(
        to_toml(&Toy::default()).contains("# Peak learning rate; a finite number above 0, at most 1; default 0.001")
    );
}

#[test]
fn file_and_overrides_apply_in_order() {
    let text = "\u{feff}steps = 7\r\n[optimizer]\r\nlearning_rate = 1\r\nwarm = false\r\n";
    let sets = ["optimizer.learning_rate=3e-4", "name=run 7", "limit_s=5", "optimizer.betas=[0, 0.5]"];
    let toy: Toy = parse(text, &sets.map(String::from)).unwrap();
    assert_eq!((toy.steps, toy.optimizer.learning_rate, toy.name.as_str()), (7, 3e-4, "run 7"));
    assert_eq!((toy.limit_s, toy.optimizer.betas, toy.optimizer.warm), (Some(5.0), [0.0, 0.5], false));
    assert_eq!(parse::<Toy>("", &[]).unwrap(), Toy::default());
    let quoted: Toy = parse("", &["name=\"7\"".into(), "optimizer.schedule=constant".into()]).unwrap();
    assert_eq!((quoted.name.as_str(), quoted.optimizer.schedule.as_str()), ("7", "constant"));
    assert_eq!(parse::<Toy>("", &["name=7".into()]).unwrap().name, "7");
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let text = "step = 3\nsteps = 0\n[optimizer]\nlearning_rate = nan\nschedul = 'cosine'\nbetas = [0.9]\nwarm = 1\n";
    let message = refused(text, &["optimizer.lr=1", "nonsense", "limit_s=-1", "zzzzzzzzzzzz=1"]);
    for part in [
        "10 problems",
        "line 1: step: unknown setting, did you mean `steps`?",
        "line 2: steps: 0 is not accepted, needed is a whole number from 1 to 1000000 (steps)",
        "line 4: optimizer.learning_rate: nan is not accepted, needed is a finite number above 0, at most 1",
        "line 5: optimizer.schedul: unknown setting, did you mean `optimizer.schedule`?",
        "line 6: optimizer.betas: [0.9] is not accepted, needed is a list of 2 finite numbers from 0 to 0.9999",
        "line 7: optimizer.warm: 1 is not accepted, needed is true or false",
        "--set optimizer.lr=1: optimizer.lr: unknown setting",
        "--set nonsense: needed is KEY=VALUE",
        "--set limit_s=-1: limit_s: -1 is not accepted, needed is a finite number of at least 0 (s)",
        "zzzzzzzzzzzz: unknown setting",
    ] {
        assert!(message.contains(part), "{part} is not in\n{message}");
    }
    assert!(refused("steps = 5\n", &[]).contains("optimizer.warm needs steps"));
    assert!(refused("learning_rate = 1.0", &[]).contains("did you mean `optimizer.learning_rate`?"));
    assert!(refused("[optimzer]\nwarm = true", &[]).contains("did you mean `optimizer`?"));
    assert!(refused("optimizer = 3", &[]).contains("a table [optimizer] is needed"));
    assert!(refused("[steps]\na = 1", &[]).contains("a single value is needed"));
}

#[test]
fn a_typo_in_any_key_finds_the_key() {
    let mut rng = crate::rng::Rng::new(4, "typos", 0);
    let (mut right, mut total) = (0, 0);
    for setting in Toy::settings() {
        for _ in 0..50 {
            let mut key: Vec<char> = setting.key.chars().collect();
            let at = rng.below(key.len());
            match rng.below(3) {
                0 => drop(key.remove(at)),
                1 => key.insert(at, (b'a' + rng.below(26) as u8) as char),
                _ => key[at] = (b'a' + rng.below(26) as u8) as char,
            }
            let key: String = key.into_iter().collect();
            if Toy::settings().iter().any(|s| s.key == key) {
                continue;
            }
            total += 1;
            right += refused("", &[&format!("{key}=1")]).contains(&format!("`{}`", setting.key)) as usize;
        }
    }
    assert!(right * 100 >= total * 95, "{right} of {total} typos found their key");
}

#[test]
fn hostile_syntax_is_refused_quickly() {
    let deep = format!("a = {}", "[".repeat(100_000));
    let dotted = format!("{}a = 1", "a.".repeat(100_000));
    let inline = format!("a = {}", "{a=".repeat(100_000));
    for text in [
        deep.as_str(),
        &dotted,
        &inline,
        "steps = 1\nsteps = 2",
        "steps = ",
        "steps = 99999999999999999999",
        "\0",
        "[[optimizer]]",
    ] {
        refused(text, &[]);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    std::fs::write(&path, b"name = '\xff'").unwrap();
    assert_eq!(load::<Toy>(Some(&path), &[]).unwrap_err().kind(), Kind::Usage);
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(load::<Toy>(Some(&path), &[]).unwrap_err().kind(), Kind::Usage);
    assert_eq!(load::<Toy>(Some(&folder.path().join("none")), &[]).unwrap_err().kind(), Kind::Missing);
    std::fs::write(&path, "steps = 'x'").unwrap();
    assert!(load::<Toy>(Some(&path), &[]).unwrap_err().message().contains("r.toml"));
}
