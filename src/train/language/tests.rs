//! Tiny runs: stopped and continued to the same bytes, on any number of threads and in the emulator; the folder that they
//! leave, read again.

use super::data::{Order, Supply, Texts};
use super::*;
use crate::error::Kind;
use crate::language::config::DecoderConfig;
use crate::weights::Tensors;
use std::path::PathBuf;

/// Rows of one to three sounds, whose letter is what they say.
fn write_rows(path: &Path, count: usize, first: usize) {
    const NAMES: [&str; 4] = ["bell", "dog", "rain", "siren"];
    let row = |n: usize| {
        let heard: Vec<String> =
            (0..n % 3 + 1).map(|i| format!("The {} sounds {}.{} m away.", NAMES[(n + i) % 4], i + 1, n % 10)).collect();
        let options: [&str; 4] = std::array::from_fn(|i| NAMES[(n * 7 / 5 + i) % 4]);
        let letter = ["A", "B", "C", "D"][options.iter().position(|name| *name == NAMES[n % 4]).unwrap()];
        let reasoning = format!("I hear that the {} is near.", NAMES[n % 4]);
        serde_json::json!({
            "sample_id": n.to_string(), "question": "What is near?", "option_a": options[0], "option_b": options[1],
            "option_c": options[2], "option_d": options[3], "answer_letter": letter, "answer_text": NAMES[n % 4],
            "level": 1, "task": "l1_identify_event_class", "reasoning": reasoning,
            "response": format!("<think>{reasoning}</think><answer>{letter}</answer>"), "description": heard.join(" "),
        })
    };
    let lines: String = (first..first + count).map(|n| format!("{}\n", row(n))).collect();
    std::fs::write(path, lines).unwrap();
}

fn recipe(folder: &Path, more: &[&str]) -> LanguageRecipe {
    let [train, dev] = [("train.jsonl", 40, 0), ("dev.jsonl", 20, 100)].map(|(name, count, first)| {
        let path: PathBuf = folder.join(name);
        write_rows(&path, count, first);
        path
    });
    let sets = [
        "model.hidden=16",
        "model.intermediate=24",
        "model.layers=2",
        "model.heads=2",
        "model.heads_kv=1",
        "tokenizer.vocabulary=320",
        "train.steps=3",
        "train.tokens=256",
        "data.tokens_max=200",
        "train.short_share=0.5",
        "train.save_every=1",
        "train.log_every=1",
        "train.score_every=2",
        "train.answer_tokens=8",
        "optimizer.learning_rate=0.01",
        "optimizer.warmup_ratio=0.0",
    ];
    let mut sets: Vec<String> = sets.iter().chain(more).map(|set| set.to_string()).collect();
    sets.push(format!("data.train=[{:?}]", train.to_str().unwrap()));
    sets.push(format!("data.dev=[{:?}]", dev.to_str().unwrap()));
    crate::config::load(None, &sets).unwrap()
}

fn run(recipe: &LanguageRecipe, out: &Path, device: Device) {
    Training::new(recipe.clone(), device).unwrap().run(out, Resume::Auto).unwrap();
}

fn same(a: &Path, b: &Path) {
    for file in [
        "metrics.jsonl",
        "README.md",
        "decoder/model.safetensors",
        "decoder/tokenizer.json",
        "decoder/config.json",
        "checkpoints/step-3/optimizer.safetensors",
    ] {
        assert!(std::fs::read(a.join(file)).unwrap() == std::fs::read(b.join(file)).unwrap(), "{file}");
    }
}

#[test]
fn a_run_is_the_same_after_a_resume_and_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &["train.accumulate=3"]);
    let [whole, resumed, alone] = ["whole", "resumed", "alone"].map(|name| folder.path().join(name));
    run(&recipe, &whole, Device::Host);
    // The state after two steps as if a signal had come, then the rest.
    run(&recipe, &resumed, Device::Host);
    std::fs::remove_dir_all(resumed.join("checkpoints/step-3")).unwrap();
    std::fs::remove_dir_all(resumed.join(DECODER_FOLDER)).unwrap();
    run(&recipe, &resumed, Device::Host);
    same(&whole, &resumed);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| run(&recipe, &alone, Device::Host));
    same(&whole, &alone);
}

/// `train/loss` of every step.
fn losses(out: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    rows.filter_map(|row| row["train/loss"].as_f64()).collect()
}

#[test]
fn the_emulator_learns_what_the_host_learns() {
    let folder = tempfile::tempdir().unwrap();
    // Grouped heads and an output layer of its own, responses alone, one micro-batch and two.
    for (name, more) in [
        ("a", &["train.accumulate=1", "data.prompt_weight=0.0"][..]),
        ("b", &["train.accumulate=2", "model.tied=false"]),
    ] {
        let recipe = recipe(folder.path(), more);
        let [host, emu] = ["host", "emu"].map(|device| folder.path().join(format!("{name}-{device}")));
        run(&recipe, &host, Device::Host);
        run(&recipe, &emu, Device::parse("emu").unwrap());
        let (a, b) = (losses(&host), losses(&emu));
        assert!(a.len() == 3 && b.len() == 3 && a[2] < a[0], "{a:?} {b:?}");
        a.iter().zip(&b).for_each(|(a, b)| assert!((a - b).abs() < 1e-4 * a, "{name}: {a} on the host, {b} emulated"));
    }
}

#[test]
fn the_folder_is_a_qwen2_model_with_its_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &[]);
    let training = Training::new(recipe.clone(), Device::Host).unwrap();
    let (ids, trained) = (training.rows.documents()[7].ids.clone(), training.tokenizer.len());
    let out = folder.path().join("run");
    training.run(&out, Resume::Never).unwrap();
    let decoder = out.join(DECODER_FOLDER);
    let (config, weights) = store::open_base(&decoder).unwrap();
    let expected = DecoderConfig { vocabulary: trained, ..recipe.model.config(trained) };
    assert_eq!(config, expected);
    // Names and shapes of Qwen2ForCausalLM with tied embeddings, as Transformers writes them.
    let mut names: Vec<String> = ["model.embed_tokens.weight", "model.norm.weight"].map(String::from).to_vec();
    for layer in 0..2 {
        for name in [
            "input_layernorm.weight",
            "mlp.down_proj.weight",
            "mlp.gate_proj.weight",
            "mlp.up_proj.weight",
            "post_attention_layernorm.weight",
            "self_attn.k_proj.bias",
            "self_attn.k_proj.weight",
            "self_attn.o_proj.weight",
            "self_attn.q_proj.bias",
            "self_attn.q_proj.weight",
            "self_attn.v_proj.bias",
            "self_attn.v_proj.weight",
        ] {
            names.push(format!("model.layers.{layer}.{name}"));
        }
    }
    names.sort_unstable();
    let mut found: Vec<&str> = weights.names().collect();
    found.sort_unstable();
    assert_eq!(found, names);
    assert_eq!(weights.shape("model.layers.1.self_attn.k_proj.weight").unwrap(), [8, 16]);
    assert_eq!(weights.shape("model.layers.0.mlp.down_proj.weight").unwrap(), [16, 24]);
    // What is read back says the same ids, and the parameters are those of the last checkpoint.
    let tokenizer = Tokenizer::open(&decoder).unwrap();
    let template = Template::open(&decoder).unwrap();
    let texts = Texts::read(&recipe.data, &recipe.data.train).unwrap();
    let again = Supply::new(texts, &tokenizer, &template, &recipe.data).unwrap();
    assert_eq!(again.documents()[7].ids, ids);
    assert_eq!(tokenizer.eos(), [tokenizer.id_of("<|im_end|>").unwrap(), tokenizer.id_of("<|endoftext|>").unwrap()]);
    let saved = Tensors::open(&out.join("checkpoints/step-3/model.safetensors")).unwrap();
    for name in &names {
        assert_eq!(saved.f32(name).unwrap(), weights.f32(name).unwrap(), "{name}");
    }
    let generation = store::read_json(&decoder.join("generation_config.json")).unwrap();
    assert_eq!(generation["eos_token_id"], serde_json::json!(tokenizer.eos()));
    // A checkpoint is such a folder, too.
    assert_eq!(store::open_base(&out.join("checkpoints/step-3")).unwrap().0, config);
}

#[test]
fn short_rows_come_first_and_then_every_row_once_a_pass() {
    let folder = tempfile::tempdir().unwrap();
    let training = Training::new(recipe(folder.path(), &[]), Device::Host).unwrap();
    let rows = &training.rows;
    let n = rows.documents().len();
    let mut order = Order::new(1, 10.0, 0.25);
    let length = |row: usize| rows.documents()[row].ids.len();
    let mut sorted: Vec<usize> = (0..n).map(length).collect();
    sorted.sort_unstable();
    let (first, _) = order.batch(rows, 0, 0, 2000);
    assert!(first.len() > 10 && first.iter().all(|&row| length(row) <= sorted[n / 4 - 1]), "the shortest quarter");
    // After them, from the begin of a pass, all rows; a row that does not fit begins the next batch.
    let (mut position, mut seen) = (2 * n as u64, Vec::new());
    while position < 3 * n as u64 {
        let (rows, next) = order.batch(rows, position, 10, 300);
        assert!(rows.iter().map(|&row| length(row)).sum::<usize>() <= 300);
        assert_eq!(next - position, rows.len() as u64);
        (position, seen) = (next, [seen, rows].concat());
    }
    seen.truncate(n);
    seen.sort_unstable();
    assert_eq!(seen, (0..n).collect::<Vec<_>>());
}

#[test]
fn letters_are_counted_where_an_answer_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let recipe = recipe(folder.path(), &[]);
    let training = Training::new(recipe, Device::Host).unwrap();
    let supply = |row: &str| {
        std::fs::write(&path, row).unwrap();
        let texts = Texts::read(&training.recipe.data, &[path.to_str().unwrap().to_string()]).unwrap();
        Supply::new(texts, &training.tokenizer, &Template::chatml(), &training.recipe.data).unwrap()
    };
    let alpaca = |output: &str| format!(r#"{{"instruction": "Q", "input": "", "output": "{output}"}}"#);
    for (output, count) in [
        ("<think>r</think><answer>B</answer>", 1),
        ("<answer>D</answer>", 1),
        ("<answer>E</answer>", 0),
        ("<answer>the bell</answer>", 0),
        ("B", 0),
        ("<answer>B", 0),
    ] {
        assert_eq!(supply(&alpaca(output)).questions().len(), count, "{output}");
    }
    let table = results(1.5, &Gate { asked: 20, formed: 20, right: 16, right_given_chain: 18 });
    let gates: Vec<&str> = table.rows.iter().map(|row| row[3].as_str()).collect();
    assert_eq!(gates, ["", "met", "not met", ""]);
}

#[test]
fn rows_that_cannot_be_learned_from_are_refused_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &[]);
    let path = folder.path().join("bad.jsonl");
    let refusal = |text: &str, change: &dyn Fn(&mut LanguageRecipe)| {
        std::fs::write(&path, text).unwrap();
        let mut recipe = recipe.clone();
        recipe.data.train = vec![path.to_str().unwrap().to_string()];
        change(&mut recipe);
        Training::new(recipe, Device::Host).err().expect("refused")
    };
    let keep = |_: &mut LanguageRecipe| ();
    let sft = r#"{"file_name": "a.wav", "sample_id": "1", "question": "Q", "option_a": "1", "option_b": "2", "option_c": "3",
        "option_d": "4", "answer_letter": "A", "answer_text": "1", "level": 1, "task": "t", "reasoning": "r",
        "response": "<think>r</think><answer>A</answer>"}"#;
    let one_line = sft.replace('\n', " ");
    for (text, named) in [(one_line.as_str(), "names a recording"), ("", "no row"), ("[1]\n", "bad.jsonl:1")] {
        let error = refusal(text, &keep);
        assert!(error.kind() == Kind::Data && error.to_string().contains(named), "{named}: {error}");
        assert!(error.to_string().contains("data.train"), "{error}");
    }
    let long = format!(r#"{{"instruction": "{}", "input": "", "output": "o"}}"#, "1 2 3 ".repeat(200));
    let error = refusal(&long, &keep);
    assert!(error.to_string().contains("data.tokens_max is 200"), "{error}");
    let error = refusal(&long, &|recipe| recipe.data.skip_long = true);
    assert!(error.to_string().contains("every row is longer"), "{error}");
    let error = refusal("", &|recipe| recipe.data.train.clear());
    assert!(error.kind() == Kind::Usage && error.to_string().contains("data.train"), "{error}");
    let error = refusal("", &|recipe| recipe.data.train = vec!["nowhere.jsonl".into()]);
    assert_eq!(error.kind(), Kind::Missing);
}
