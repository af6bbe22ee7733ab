//! A teacher that writes freely and says what it means, and a fool who reads again: he repeats what was meant.

use super::server::{Act, Request, Server};
use super::{SCENES, checked, command, expect, ledger_lines, other, right_row, row_json};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use twnm::benchmark::Task;
use twnm::benchmark::claims::Claim;
use twnm::benchmark::draft::{Context, Pool};
use twnm::benchmark::generate::draft;
use twnm::rng::Rng;
use twnm::text::questions::Letter;

/// What was meant by each question and its options.
type Meant = Arc<Mutex<BTreeMap<String, [Claim; 4]>>>;

/// A question about the source that a claim is about, in words that no form of ours has.
fn question(task: Task, label: &str) -> Option<String> {
    Some(match task {
        Task::EstimateDistance => format!("Roughly how far from you is the {label}?"),
        Task::LocalizeAzimuth => format!("Along which horizontal angle does the {label} arrive at the listener?"),
        Task::QueryLocation => format!("What is the position of the {label} in space?"),
        Task::BindIdentityLocationDistance => {
            "One of the following places a sound where it really is. Which one?".into()
        }
        Task::EnvironmentAcoustics => "How would you describe the reverberation of the room?".into(),
        Task::PhysicalConsistency => "Which claim contradicts the geometry of the space?".into(),
        Task::SceneAbduction => "What situation would best account for this soundscape?".into(),
        _ => return None,
    })
}

/// A right row in free words, with its claims; `None` where the task is asked in our words.
fn free_row(pool: &Pool, request: &Request) -> Option<(String, [String; 4], Letter, [Claim; 4])> {
    let data = request.data();
    let task = Task::from_id(data["task"].as_str().unwrap()).unwrap();
    let facts = pool.scenes.iter().find(|f| data["scene"] == f.truth.id.as_str()).unwrap();
    let context = Context { facts, pool, signed: false };
    let mut rng = Rng::new(request.hash(), "free row", 0);
    let made = (0..1000).find_map(|_| draft(task, &context, &mut rng))?;
    let source = made.choices[0].claim.sources().first().copied().unwrap_or(0);
    let question = question(task, &facts.labels[source])?;
    let letter = Letter::ALL[rng.below(4)];
    let mut choices = made.choices;
    choices.swap(0, letter.index());
    Some((question, choices.each_ref().map(|c| c.text.clone()), letter, choices.map(|c| c.claim)))
}

fn is_reading(request: &Request) -> bool {
    request.prompt().contains("say for each of its four options what it asserts")
}

/// What identifies a text that is read again.
fn text_of(question: &Value, options: &Value) -> String {
    format!("{question} {options}")
}

/// Writes freely where it can. What it does depends on the body of the request alone.
fn free(pool: &Pool, meant: &Meant, request: &Request) -> Act {
    let data = request.data();
    if is_reading(request) {
        let claims = meant.lock().unwrap()[&text_of(&data["question"], &data["options"])].clone();
        let mut claims = claims.to_vec();
        if request.hash().is_multiple_of(8) {
            claims.rotate_left(1);
        }
        return Act::Say(format!("So it says: {}", json!({"reasoning": "I repeat it", "claims": claims})));
    }
    let Some((question, options, letter, claims)) = free_row(pool, request) else {
        let (question, options, letter) = right_row(pool, request);
        let letter = if request.hash().is_multiple_of(6) { other(letter) } else { letter };
        return Act::Say(row_json(&question, &options, letter));
    };
    meant.lock().unwrap().insert(text_of(&json!(question), &json!(options)), claims.clone());
    let letter = if request.hash().is_multiple_of(6) { other(letter) } else { letter };
    let row =
        json!({"question": question, "options": options, "answer": letter, "claims": claims, "reasoning": "as heard"});
    Act::Say(format!("Here it is:\n```json\n{row}\n```\nDone."))
}

/// Who writes and who reads again may be two servers.
fn free_server(meant: &Meant) -> Server {
    let (pool, meant) = (SCENES.pool.clone(), meant.clone());
    Server::start(move |request| free(&pool, &meant, request))
}

const FILES: [&str; 7] = [
    "metadata.jsonl",
    "public/metadata.jsonl",
    "key.jsonl",
    "derivations.jsonl",
    "benchmark.json",
    "teacher.jsonl",
    "audit.md",
];

#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    for file in FILES {
        let [one, other] = [a, b].map(|folder| std::fs::read(folder.join(file)).unwrap());
        assert!(one == other, "{file} differs");
    }
}

#[test]
fn jobs_and_kills_do_not_change_a_byte() {
    let home = tempfile::tempdir().unwrap();
    let meant = Meant::default();
    let (first, second) = (free_server(&meant), free_server(&meant));
    let arguments = |jobs: &'static str| {
        let url = second.url();
        move |out: &Path, first: &str| {
            let more = ["--questions", "40", "--teacher", &url, "--teacher-jobs", jobs, "--audit", "5"];
            let sampling = ["--teacher-temperature", "0.7", "--teacher-seed", "11", "--teacher-max-tokens", "900"];
            command(&SCENES, out, first, &[&more[..], &sampling[..]].concat())
        }
    };
    let [one, eight, killed] = ["one", "eight", "killed"].map(|name| home.path().join(name));
    expect(&arguments("1")(&one, &first.url()).output().unwrap(), 0);
    let counts = checked(&SCENES, &one, 40);
    assert!(counts["reread"] > 5 && counts["disagrees"] > 0 && counts["wrong_key"] > 0, "{counts:?}");
    assert!(counts["accepted"] >= 30, "{counts:?}");
    let requests = first.requests();
    let body: Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!((&body["temperature"], &body["seed"], &body["max_tokens"]), (&json!(0.7), &json!(11), &json!(900)));
    assert!(requests.len().abs_diff(second.requests().len()) < 12, "the servers are asked in turn");
    let reads = requests.iter().filter(|r| is_reading(r));
    assert!(reads.into_iter().all(|r| r.data().get("scene").is_none() && !r.prompt().contains("\"answer\"")));
    expect(&arguments("8")(&eight, &first.url()).output().unwrap(), 0);
    assert_same(&one, &eight);
    for lines in [2, 15, 31] {
        let mut child: Child =
            arguments("8")(&killed, &first.url()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while ledger_lines(&killed) < lines && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    expect(&arguments("3")(&killed, &first.url()).output().unwrap(), 0);
    assert_same(&one, &killed);
    let cold = command(&SCENES, &killed, &first.url(), &["--questions", "40", "--teacher-temperature", "0.1"]);
    assert!(expect(&{ cold }.output().unwrap(), 2).contains("sampling"));
}

#[test]
fn eight_jobs_wait_together() {
    let home = tempfile::tempdir().unwrap();
    let pool = SCENES.pool.clone();
    let server = Server::start(move |request| {
        let (question, options, letter) = right_row(&pool, request);
        std::thread::sleep(Duration::from_millis(500));
        Act::Say(row_json(&question, &options, letter))
    });
    let begin = Instant::now();
    let flags = ["--questions", "60", "--teacher-jobs", "8", "--teacher-requests-max", "60"];
    let mut command = command(&SCENES, &home.path().join("out"), &server.url(), &[]);
    expect(&command.args(flags).output().unwrap(), 0);
    let (took, n) = (begin.elapsed(), server.requests().len());
    eprintln!("{n} requests of 0.5 s with 8 jobs took {took:?}");
    assert!(n >= 50 && took < Duration::from_millis(500) * n as u32 / 2, "{n} requests took {took:?}");
}

#[test]
fn a_teacher_that_only_rewords_loses_no_question() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let server = Server::start(move |request| {
        let data = request.data();
        if is_reading(request) {
            return Act::Say("I cannot read this.".into());
        }
        assert!(!request.prompt().contains("\"answer\"") && request.prompt().contains("Reword"));
        match request.hash() % 3 {
            // As it was: read here.
            0 => Act::Say(json!({"question": data["question"], "options": data["options"]}).to_string()),
            1 => Act::Say(json!({"question": "What is not so?", "options": data["options"]}).to_string()),
            _ => Act::Say("Sorry.".into()),
        }
    });
    let flags = ["--questions", "40", "--teacher-mode", "reword", "--teacher-jobs", "4"];
    let log = expect(&command(&SCENES, &out, &server.url(), &flags).output().unwrap(), 0);
    let counts = checked(&SCENES, &out, 40);
    let manifest: Value = serde_json::from_slice(&std::fs::read(out.join("benchmark.json")).unwrap()).unwrap();
    let kept = manifest["teacher"]["kept"].as_u64().unwrap();
    assert!(counts["accepted"] > 0 && kept > 10 && counts["accepted"] + kept >= 35, "{counts:?} {kept}");
    assert!(log.contains(&format!("{kept} of 40 questions keep our words")), "{log}");
}
