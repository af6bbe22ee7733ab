//! `twnm-eval shuffle`: a benchmark with its options in another order.

use super::eval_mcq::benchmark_path;
use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};
use twnm::error::{Context, Error, Result};
use twnm::eval::answers::shuffle::{order, reordered, reordered_stratum};
use twnm::eval::answers::strata_beside;
use twnm::files;
use twnm::text::questions::{KeyRow, Question, apply_key, read_key, read_questions};
use twnm::text::strata::{STRATA_FILE, read_strata};

/// Flags of `twnm-eval shuffle`.
#[derive(ClapArgs)]
pub struct Args {
    /// The questions: metadata.jsonl, or its folder.
    #[arg(long, value_name = "FILE", value_parser = benchmark_path())]
    benchmark: PathBuf,
    /// The right letters of a public set, which move along.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Decides the order of each question's options, together with its sample_id.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Folder for metadata.jsonl, and with answers public/metadata.jsonl and key.jsonl; recordings stay where they are, and
    /// file_name leads there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Shuffles and writes.
pub fn run(args: Args) -> Result<()> {
    let file = args.benchmark.clone();
    let strata = strata_beside(&file);
    let inputs: Vec<&Path> =
        [Some(&file), args.key.as_ref(), strata.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    let names = ["metadata.jsonl", "public/metadata.jsonl", "key.jsonl", STRATA_FILE];
    names.iter().try_for_each(|name| files::check_apart(&args.out.join(name), &inputs)).context_with(|| "--out")?;
    files::check_output_folder(&args.out).context_with(|| "--out")?;
    let mut questions = read_questions(&file)?;
    if let Some(key) = &args.key {
        apply_key(&mut questions, &file, &read_key(key)?, key)?;
    }
    let rows = strata.as_deref().map(read_strata).transpose()?;
    let orders: Vec<[usize; 4]> = questions.iter().map(|question| order(question, args.seed)).collect();
    let kept = orders.iter().filter(|order| **order == [0, 1, 2, 3]).count();
    if kept > 0 {
        tracing::info!("{kept} questions keep their order: an option speaks of others by letter or place");
    }
    let way = way_to_recordings(&file, &args.out, &questions)?;
    let turned: Vec<Question> = questions
        .iter()
        .zip(&orders)
        .map(|(question, order)| Question {
            file_name: named(&way, &question.file_name),
            ..reordered(question, *order)
        })
        .collect();
    let write = |name: &str, bytes: Vec<u8>| files::write_bytes_atomic(&args.out.join(name), &bytes);
    if let Some(rows) = rows {
        let place: std::collections::BTreeMap<&str, [usize; 4]> =
            questions.iter().map(|q| q.sample_id.as_str()).zip(orders.iter().copied()).collect();
        let moved = rows.iter().filter_map(|row| Some(reordered_stratum(row, *place.get(row.sample_id.as_str())?)));
        write(STRATA_FILE, lines(moved))?;
    }
    if turned.iter().all(|question| question.answer_letter.is_some()) {
        write("public/metadata.jsonl", lines(turned.iter().map(Question::without_answer)))?;
        let key = |q: &Question| Some(KeyRow { sample_id: q.sample_id.clone(), answer_letter: q.answer_letter? });
        write("key.jsonl", lines(turned.iter().filter_map(key)))?;
    }
    write("metadata.jsonl", lines(turned.iter()))
}

fn lines<T: serde::Serialize>(rows: impl Iterator<Item = T>) -> Vec<u8> {
    rows.flat_map(|row| (serde_json::to_string(&row).expect("rows are plain data") + "\n").into_bytes()).collect()
}

/// A recording's name behind `way`, without detours through folders that are left again.
fn named(way: &str, name: &str) -> String {
    if Path::new(name).is_absolute() {
        return name.into();
    }
    let whole = format!("{way}{name}");
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/').filter(|part| *part != ".") {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// What stands before a recording's name so that it leads from `out` to the folder of the questions' file (of a public set, to
/// the folder around it): empty, or parts that each end in a slash.
fn way_to_recordings(file: &Path, out: &Path, questions: &[Question]) -> Result<String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_there = |folder: &Path| questions.first().is_some_and(|q| folder.join(&q.file_name).is_file());
    let is_public = folder.file_name().is_some_and(|name| name == "public") && !is_there(folder);
    let folder = if is_public { folder.join("..") } else { folder.to_path_buf() };
    std::fs::create_dir_all(out).map_err(|e| Error::io("create", out, &e))?;
    let whole = |path: &Path| path.canonicalize().map_err(|e| Error::io("find", path, &e));
    let (from, to) = (whole(out)?, whole(&folder)?);
    let parts = |path: &Path| path.components().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let (from, to) = (parts(&from), parts(&to));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut way = "../".repeat(from.len() - common);
    for part in &to[common..] {
        let name = part.to_str().ok_or_else(|| Error::usage(format!("--benchmark: {part:?} is no text")))?;
        way += &format!("{name}/");
    }
    Ok(way)
}
