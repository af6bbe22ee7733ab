//! `twnm-eval report`: results of several evaluations on one page, beside the paper's tables.

use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};
use twnm::error::Result;
use twnm::eval::results::{Results, read_results};

/// Flags of `twnm-eval report`.
#[derive(ClapArgs)]
pub struct Args {
    /// Folder for report.md, report.json and index.html.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A result of `twnm-eval mcq --json` and its name in the report; may be given several times, like the others.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    mcq: Vec<(String, PathBuf)>,
    /// A result of `twnm-eval boolean --json`.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    boolean: Vec<(String, PathBuf)>,
    /// A result of `twnm-eval encoder --json`.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    encoder: Vec<(String, PathBuf)>,
    /// A result of `twnm-eval dcase --json`.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    dcase: Vec<(String, PathBuf)>,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.trim().is_empty() && !file.is_empty() => Ok((name.trim().into(), file.into())),
        _ => Err("NAME=FILE is expected".into()),
    }
}

/// Reads all results, then writes the report.
pub fn run(args: Args) -> Result<()> {
    fn files(all: &[(String, PathBuf)]) -> Vec<(String, &Path)> {
        all.iter().map(|(name, path)| (name.clone(), path.as_path())).collect()
    }
    let results = Results {
        mcq: read_results("mcq", &files(&args.mcq))?,
        boolean: read_results("boolean", &files(&args.boolean))?,
        encoder: read_results("encoder", &files(&args.encoder))?,
        dcase: read_results("dcase", &files(&args.dcase))?,
    };
    results.write(&args.out)?;
    println!("{}", args.out.join("index.html").display());
    Ok(())
}
