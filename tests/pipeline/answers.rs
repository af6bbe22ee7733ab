//! Stages 2 and 3 and questions, from the programs: continued to the same bytes, the same on the emulator, and ablations
//! that take away what they name and nothing else.

use crate::common::{assert_same, lasting};
use crate::family::{MODELS, make};
use std::path::Path;
use std::process::{Command, Output};
use twnm::audio::read_foa;
use twnm::device::Device;
use twnm::eval::answers::heard::{Exam, Taken};
use twnm::family::answer::{Answering, Asking};
use twnm::family::{AdapterChoice, Choice, Family, Parts, ProjectorChoice};
use twnm::language::lora::LoraConfig;
use twnm::language::rows::Rows;
use twnm::nn::Forward;
use twnm::ops::sample::{Choice as Chosen, Sampling};
use twnm::projector::{Ablation, Clip};
use twnm::tape::Tape;
use twnm::text::questions::{Said, read_questions};

const TRAIN: &str = env!("CARGO_BIN_EXE_twnm-train");

fn run(program: &str, folder: &Path, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).current_dir(folder).env("RAYON_NUM_THREADS", "2").output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn what_the_encoders_heard_is_kept_on_disk_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make(here);
    let losses = train(here, "align", "plain", &[]);
    let kept = ["data.cache=heard", "data.cache_mib=0"];
    assert_eq!(train(here, "align", "first", &kept), losses);
    let files = || {
        let all = std::fs::read_dir(here.join("heard")).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = all.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).collect();
        all.sort();
        all
    };
    let heard = files();
    assert_eq!(heard.len(), 6, "a file for every recording");
    // Heard anew they would be written anew.
    let changed = || files().iter().map(|path| path.metadata().unwrap().modified().unwrap()).collect::<Vec<_>>();
    let before = changed();
    assert_eq!(train(here, "align", "second", &kept), losses);
    assert_eq!((files(), changed()), (heard.clone(), before));
    for name in ["adapter_model.safetensors", "model.safetensors"] {
        let at = |out: &str| std::fs::read(here.join(out).join("projector").join(name)).ok();
        assert_eq!(at("plain"), at("second"));
    }
    let mut bytes = std::fs::read(&heard[0]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&heard[0], bytes).unwrap();
    let more = ["train.steps=4", "train.batch=8", "data.train=[\"align.jsonl\"]"];
    let sets = MODELS.iter().chain(&more).chain(&kept).flat_map(|&set| ["--set", set]);
    let mut command = Command::new(TRAIN);
    command.arg("align").args(["--device", "host", "--out", "no"]).args(sets).current_dir(here);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_string();
    let refused = output.status.code() == Some(78) && said.contains("heard") && said.contains("remove the file");
    assert!(refused, "a damaged file is named: {said}");
    // What was made of one recording under the name of another.
    std::fs::copy(&heard[1], &heard[2]).unwrap();
    std::fs::remove_file(&heard[0]).unwrap();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(output.status.code() == Some(78) && said.contains("another recording"), "{said}");
}

/// Trains a stage for some steps; the losses, one per step.
fn train(folder: &Path, stage: &str, out: &str, more: &[&str]) -> Vec<f64> {
    let data = format!("data.train=[\"{stage}.jsonl\"]");
    let rhythm = ["train.batch=2", "train.accumulate=2", "train.log_every=1", "train.save_every=2", "train.steps=4"];
    let data = [data.as_str()];
    let sets = MODELS.iter().chain(&rhythm).chain(&data).chain(more).flat_map(|&set| ["--set", set]);
    let device = if out.ends_with("emu") { "emu" } else { "host" };
    let args: Vec<&str> = [stage, "--device", device, "--out", out].into_iter().chain(sets).collect();
    run(TRAIN, folder, &args);
    let metrics = std::fs::read_to_string(folder.join(out).join("metrics.jsonl")).unwrap();
    let loss = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["train/loss"].as_f64();
    metrics.lines().filter_map(loss).collect()
}

#[test]
fn both_stages_continue_to_the_same_bytes_and_answer() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make(here);
    let dev = ["data.dev=[\"align.jsonl\"]", "train.score_every=2", "train.score_rows=3"];
    assert_eq!(train(here, "align", "al", &dev).len(), 4);
    let sets = [&dev[1..], &["model.family=al", "data.dev=[\"sft.jsonl\"]"]].concat();
    train(here, "sft", "sf", &sets);
    for (stage, out, sets) in [("align", "al", &dev[..]), ("sft", "sf", &sets)] {
        let expected = lasting(&here.join(out));
        // As if the process had died after its second step.
        std::fs::remove_dir_all(here.join(out).join("checkpoints/step-4")).unwrap();
        train(here, stage, out, sets);
        assert_same(&expected, &here.join(out));
    }
    for checkpoint in ["al", "sf", "sf/checkpoints/step-2"] {
        let args = ["ask", "audio/0.wav", "Where is it?", "--checkpoint", checkpoint, "--max-new", "5", "--json"];
        let output = run(env!("CARGO_BIN_EXE_twnm"), here, &args);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(answer["text"].is_string() && answer["tokens"].as_u64().unwrap() <= 5, "{answer}");
    }
    let args = ["mcq", "--benchmark", "sft.jsonl", "--checkpoint", "sf", "--max-new", "4", "--batch", "4", "--json"];
    let output = run(env!("CARGO_BIN_EXE_twnm-eval"), here, &args);
    let score: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(score["overall"]["n"], 6);
    assert_eq!(score["location"]["n"], 6);
}

#[test]
fn the_emulator_takes_the_steps_of_the_host_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make(here);
    let close = |host: &[f64], emu: &[f64]| {
        let fits = host.iter().zip(emu).all(|(h, e)| (h - e).abs() <= 1e-4 * h.abs());
        assert!(host.len() == 3 && emu.len() == 3 && fits, "host {host:?}, emulator {emu:?}");
    };
    let sets = ["train.steps=3", "train.batch=1"];
    close(&train(here, "align", "al-host", &sets), &train(here, "align", "al-emu", &sets));
    let sets = ["train.steps=3", "train.batch=1", "model.projector=al-host/projector", "train.recompute=units"];
    close(&train(here, "sft", "sf-host", &sets), &train(here, "sft", "sf-emu", &sets));
    let ask = |device: &str| {
        let args = ["ask", "audio/1.wav", "Where is it?", "--checkpoint", "sf-host", "--max-new", "6", "--json"];
        let output = run(env!("CARGO_BIN_EXE_twnm"), here, &[&args[..], &["--device", device]].concat());
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["text"].clone()
    };
    assert_eq!(ask("host"), ask("emu"));
}

#[test]
fn a_decoder_is_packed_as_it_is_read_and_answers_as_it_was_trained() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make(here);
    let losses =
        |out: &str, more: &[&str]| train(here, "align", out, &[&["train.steps=3", "train.batch=1"], more].concat());
    let plain = losses("al-plain", &[]);
    for packing in ["int8", "nf4"] {
        let out = format!("al-{packing}");
        let packed = losses(&out, &[&format!("model.weights={packing}")]);
        let differs = plain.iter().zip(&packed).any(|(a, b)| a != b);
        let is_near = plain.iter().zip(&packed).all(|(a, b)| (a - b).abs() < 0.2 * a);
        assert!(differs && is_near, "{packing}: {plain:?} {packed:?}");
        // Stage 3 takes the family as it is, and its checkpoint remembers.
        let more = ["train.steps=2", "train.batch=1", &format!("model.family={out}"), "model.decoder=", "lora.rank=2"];
        train(here, "sft", &format!("sf-{packing}"), &more);
        let checkpoint = here.join(format!("sf-{packing}/checkpoints/step-2/parts.json"));
        let parts: serde_json::Value = serde_json::from_slice(&std::fs::read(checkpoint).unwrap()).unwrap();
        assert_eq!(parts["weights"], packing);
        let args = ["ask", "audio/1.wav", "Where is it?", "--checkpoint", &format!("sf-{packing}"), "--max-new", "5"];
        run(env!("CARGO_BIN_EXE_twnm"), here, &args);
    }
}

/// What a program that must fail says, and its exit code.
fn fails(program: &str, folder: &Path, args: &[&str]) -> (i32, String) {
    let output = Command::new(program).args(args).current_dir(folder).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Replaces text in a file, which must hold it.
fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}: {from:?}", path.display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// Changes all numbers of a file of weights a little.
fn perturb(path: &Path) {
    let tensors = twnm::weights::Tensors::open(path).unwrap();
    let all: Vec<(String, Vec<usize>, Vec<f32>)> = tensors
        .names()
        .map(|name| {
            let numbers = tensors.f32(name).unwrap().iter().map(|v| v * 1.01 + 1e-3).collect();
            (name.to_string(), tensors.shape(name).unwrap().to_vec(), numbers)
        })
        .collect();
    let entries: Vec<_> = all.iter().map(|(name, shape, v)| twnm::weights::Entry::f32(name, shape, v)).collect();
    let strings: Vec<(String, String)> = tensors.strings().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    drop(tensors);
    let strings: Vec<(&str, &str)> = strings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    twnm::weights::write(path, &entries, &strings).unwrap();
}

/// Neither a run nor an answer goes on with models or recordings that lie where others lay when training began.
#[test]
fn nothing_goes_on_with_other_models_at_the_same_place() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make(here);
    train(here, "sft", "sf", &["train.steps=2"]);
    let sets = MODELS.iter().chain(&["train.batch=2", "train.accumulate=2", "train.log_every=1", "train.save_every=2"]);
    let sets = sets.chain(&["train.steps=2", "data.train=[\"sft.jsonl\"]"]).flat_map(|&set| ["--set", set]);
    let again: Vec<&str> = ["sft", "--device", "host", "--out", "sf"].into_iter().chain(sets).collect();
    let ask = ["ask", "audio/0.wav", "Where is it?", "--checkpoint", "sf", "--max-new", "2"];
    let twnm = env!("CARGO_BIN_EXE_twnm");
    run(TRAIN, here, &again);
    run(twnm, here, &ask);
    type Change = fn(&Path);
    let changes: [(&str, &str, Change); 6] = [
        ("dec/config.json", "model.decoder", |path| edit(path, "\"rope_theta\": 1000000", "\"rope_theta\": 100")),
        ("dec/model.safetensors", "model.decoder", perturb),
        ("dec/tokenizer_config.json", "model.text", |path| edit(path, "helpful", "cheerful")),
        ("enc/model.safetensors", "model.encoder", perturb),
        ("sem/model.safetensors", "model.semantic", perturb),
        ("audio/3.wav", "training rows", |path| assert!(std::fs::copy(path.with_file_name("4.wav"), path).is_ok())),
    ];
    for (file, part, change) in changes {
        let path = here.join(file);
        let before = std::fs::read(&path).unwrap();
        change(&path);
        let (code, said) = fails(TRAIN, here, &again);
        assert!(code == 2 && said.contains("other content of") && said.contains(part), "{file}: {code} {said}");
        if part.starts_with("model.") {
            let (code, said) = fails(twnm, here, &ask);
            assert!(code == 78 && said.contains("not the one that the checkpoint was trained with"), "{file}: {said}");
            let (code, _) = fails(
                TRAIN,
                here,
                &[
                    "align",
                    "--device",
                    "host",
                    "--out",
                    "on",
                    "--set",
                    "model.family=sf",
                    "--set",
                    "data.train=[\"align.jsonl\"]",
                ],
            );
            assert_eq!(code, 78, "{file}");
        }
        std::fs::write(&path, before).unwrap();
    }
    run(TRAIN, here, &again);
    run(twnm, here, &ask);
}

/// An adapter that is trained further keeps its settings; others are refused, not ignored.
#[test]
fn settings_of_an_adapter_do_not_contradict_the_one_that_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make(here);
    train(here, "sft", "sf", &["train.steps=1", "lora.rank=4"]);
    let on = ["train.steps=1", "model.adapter=sf/adapter"];
    train(here, "sft", "plain", &on);
    train(here, "sft", "same", &[&on[..], &["lora.rank=4"]].concat());
    let sets = MODELS.iter().chain(&on).chain(&["data.train=[\"sft.jsonl\"]", "lora.rank=3"]);
    let args: Vec<&str> =
        ["sft", "--device", "host", "--out", "no"].into_iter().chain(sets.flat_map(|&set| ["--set", set])).collect();
    let (code, said) = fails(TRAIN, here, &args);
    assert!(code == 2 && said.contains("lora") && said.contains("sf/adapter"), "{code}: {said}");
}

/// What can be seen to be wrong with a question is said before the first is answered; letters are those that were offered.
#[test]
fn an_exam_looks_at_all_questions_first() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make(here);
    train(here, "sft", "sf", &["train.steps=1"]);
    let eval = env!("CARGO_BIN_EXE_twnm-eval");
    let exam = |rows: &str| {
        std::fs::write(here.join("some.jsonl"), rows).unwrap();
        fails(eval, here, &["mcq", "--benchmark", "some.jsonl", "--checkpoint", "sf", "--max-new", "4", "--batch", "1"])
    };
    let rows = std::fs::read_to_string(here.join("sft.jsonl")).unwrap();
    let (code, said) = exam(&rows.replace("audio/5.wav", "audio/none.wav").replace("audio/4.wav", "audio/no.wav"));
    assert!(code == 66 && said.contains("question 004") && said.contains("2 questions"), "{code}: {said}");
    assert!(!said.contains("answered"), "nothing was answered: {said}");
    let (head, last) = rows.trim_end().rsplit_once('\n').unwrap();
    let long = last.replace("Where is it?", &"Where is it? ".repeat(400));
    let (code, said) = exam(&format!("{head}\n{long}\n"));
    assert!(code == 65 && said.contains("question 005") && said.contains("takes 512"), "{code}: {said}");
    assert!(!said.contains("answered"), "nothing was answered: {said}");
    let twnm = env!("CARGO_BIN_EXE_twnm");
    let ask = ["ask", "audio/0.wav", "Which?", "--checkpoint", "sf", "--max-new", "4", "--json", "--option", "a dog"];
    let found = run(twnm, here, &[&ask[..], &["--option", "rain"]].concat());
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let answer = &found["answer"];
    assert!(answer.is_null() || ["A", "B"].map(serde_json::Value::from).contains(answer), "{found}");
    let (code, said) = fails(twnm, here, &[&ask[..], &["--option", "a dog"]].concat());
    assert!(code == 2 && said.contains("twice"), "{code}: {said}");
}

#[test]
fn rows_of_text_teach_the_adapter_and_say_nothing_to_the_projector() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make(here);
    let row = |i: usize| {
        format!(r#"{{"instruction": "How many are {i} and 1?", "input": "", "output": "They are {}."}}"#, i + 1)
    };
    std::fs::write(here.join("words.jsonl"), (0..6).map(row).collect::<Vec<_>>().join("\n")).unwrap();
    // Micro-batches of one row: some have no recording.
    let more = ["data.train=[\"sft.jsonl\", \"words.jsonl\"]", "train.batch=1", "train.accumulate=1", "train.steps=12"];
    let losses = train(here, "sft", "mixed", &more);
    assert!(losses.len() == 12 && losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    let words = ["data.train=[\"words.jsonl\"]", "train.steps=2"];
    assert_eq!(train(here, "sft", "words", &words).len(), 2);
    let sets = MODELS.iter().chain(&words).flat_map(|&set| ["--set", set]);
    let output = Command::new(TRAIN)
        .arg("align")
        .args(["--device", "host", "--out", "no"])
        .args(sets)
        .current_dir(here)
        .output();
    let (code, text) = output.map(|o| (o.status.code(), String::from_utf8_lossy(&o.stderr).to_string())).unwrap();
    assert!(code == Some(65) && text.contains("words.jsonl") && text.contains("no recording"), "{text}");
}

/// A family whose adapter and projector are fresh, so that everything it hears changes what it says.
fn family(here: &Path) -> Family {
    make(here);
    let parts =
        Parts { encoder: here.join("enc"), semantic: here.join("sem"), decoder: here.join("dec"), ..Parts::default() };
    let recipe: twnm::train::answers::recipe::AlignRecipe =
        twnm::config::load(None, &["projector.bottleneck=8".into(), "projector.frames_per_token=10".into()]).unwrap();
    let choice = Choice {
        projector: ProjectorChoice::Fresh(recipe.projector.config()),
        trains_projector: true,
        adapters: vec![AdapterChoice::Fresh(LoraConfig::new(2, 4.0, &["q_proj"]))],
        seed: 5,
    };
    Family::open(&parts, &choice, Device::Host).unwrap()
}

/// The rows that the projector makes of a clip.
fn rows(family: &Family, clip: &Clip, ablation: Ablation) -> Vec<f32> {
    let batch = family.audio_rows(std::slice::from_ref(clip), ablation).unwrap();
    let mut c = Forward::new(Tape::without_gradients(), &family.params);
    family.projector.forward(&mut c, &batch).data().to_vec()
}

#[test]
fn ablations_take_away_what_they_name_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let family = family(folder.path());
    let read = |i: usize| read_foa(&folder.path().join(format!("audio/{i}.wav")), None).unwrap().samples;
    let (one, other) = (read(2), read(3));
    let mut w_only = one.clone();
    w_only[one.len() / 4..].fill(0.0);
    let hear = |audio: &[f32], spatial: Option<&[f32]>| family.hear(audio, spatial).unwrap();
    let (plain, shuffled, muffled) = (hear(&one, None), hear(&one, Some(&other)), hear(&w_only, None));
    let elsewhere = hear(&other, None);
    // What is heard stays, where it is heard changes.
    assert_eq!(plain.semantic.data(), shuffled.semantic.data());
    assert_eq!(plain.semantic.data(), muffled.semantic.data());
    assert_eq!(shuffled.spatial.frames.data(), elsewhere.spatial.frames.data());
    assert_ne!(plain.spatial.frames.data(), muffled.spatial.frames.data());
    let all = |ablation| [&plain, &shuffled, &muffled].map(|clip| rows(&family, clip, ablation));
    let [a, b, c] = all(Ablation::None);
    assert!(a != b && a != c && b != c);
    let [a, b, c] = all(Ablation::ZeroSpatial);
    assert!(a == b && a == c, "the same sound from elsewhere");
    assert_ne!(a, rows(&family, &elsewhere, Ablation::ZeroSpatial)[..a.len()], "another sound");
    let [a, _, _] = all(Ablation::NoAudio);
    assert_eq!(a, rows(&family, &elsewhere, Ablation::NoAudio)[..a.len()], "nothing is heard");
}

#[test]
fn an_exam_gives_each_ablation_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let family = family(folder.path());
    let questions = read_questions(&folder.path().join("sft.jsonl")).unwrap();
    let answers = |taken| {
        let answering = answering(false);
        let exam = Exam { family: &family, folder: folder.path(), taken, answering, batch: 4, seed: 3 };
        let found = exam.answers(&questions, |_| {}).unwrap();
        let texts = found.into_iter().map(|answer| match answer.said {
            Said::Text(text) => text,
            Said::Letter(letter) => panic!("a letter: {letter}"),
        });
        texts.collect::<Vec<String>>()
    };
    let all = Taken::ALL.map(answers);
    assert!(all[1..].iter().all(|other| *other != all[0]), "each of them changes something: {all:?}");
    // Where nothing is heard only the length of the recording is left, and all of these are asked the same.
    assert_eq!(answers(Taken::NoAudio), all[4]);
}

fn answering(is_batch_invariant: bool) -> Answering {
    let choice = Chosen::Draw { temperature: 1.0, top_k: Some(20), top_p: 0.9 };
    let sampling = Sampling { choice, repetition_penalty: 1.1 };
    Answering { sampling, seed: 4, new_max: 12, stops: vec![], ablation: Ablation::None, is_batch_invariant }
}

#[test]
fn an_answer_has_the_same_bytes_alone_and_among_others() {
    let folder = tempfile::tempdir().unwrap();
    let family = family(folder.path());
    let rows: Vec<_> = Rows::open(&folder.path().join("sft.jsonl"), None).unwrap().map(|row| row.unwrap()).collect();
    let clips: Vec<Clip> = (0..rows.len())
        .map(|i| {
            family.hear(&read_foa(&folder.path().join(format!("audio/{i}.wav")), None).unwrap().samples, None).unwrap()
        })
        .collect();
    let ask = |which: &[usize]| {
        let asked: Vec<Asking> =
            which.iter().map(|&i| Asking { row: &rows[i], heard: Some(&clips[i]), number: i as u32 }).collect();
        let mut pieces = vec![String::new(); which.len()];
        let answers = family.answer(&asked, &answering(true), |i, piece| pieces[i] += piece).unwrap();
        assert!(
            answers.iter().zip(&pieces).all(|(answer, shown)| answer.text == *shown),
            "what is shown is the answer"
        );
        answers
    };
    let together = ask(&[0, 1, 2, 3, 4, 5]);
    for i in [0, 3, 5] {
        assert_eq!(ask(&[i])[0], together[i]);
    }
    assert_eq!(ask(&[5, 2])[1], together[2]);
}
