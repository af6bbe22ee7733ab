//! `metrics.jsonl`: appended line by line, cut back on resume, and the table and curves made from it.

use crate::error::{Error, Result};
use crate::files::{read_limited, sync_folder, write_atomic};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// File name in the run folder.
pub(super) const METRICS_FILE: &str = "metrics.jsonl";
/// Longest file that tables and curves are made from.
const MAX_METRICS_BYTES: u64 = 1 << 30;

/// One curve: (step, value) in order; values that are not finite are left out.
pub(super) type Series = BTreeMap<String, Vec<(u64, f64)>>;

/// The open file with its length and the hash of everything in it.
pub(super) struct MetricsLog {
    folder: PathBuf,
    file: File,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl MetricsLog {
    /// Opens the log at the length a checkpoint recorded ([`MetricsLog::sync`]), or empty without one.
    /// Errors: [`crate::error::Kind::Integrity`] when what was recorded is not there any more.
    pub fn open(folder: &Path, recorded: Option<&Value>) -> Result<Self> {
        let path = folder.join(METRICS_FILE);
        let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = open.map_err(|e| Error::io("open", &path, &e))?;
        let io = |e: std::io::Error| Error::io("read", &path, &e);
        let length = recorded.and_then(|r| r["bytes"].as_u64()).unwrap_or(0);
        let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
        let mut buffer = vec![0; 1 << 16];
        while bytes < length {
            let want = buffer.len().min((length - bytes) as usize);
            let n = file.read(&mut buffer[..want]).map_err(io)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            bytes += n as u64;
        }
        let hash = hasher.finalize().to_hex().to_string();
        if let Some(recorded) = recorded.filter(|r| bytes != length || r["blake3"] != json!(hash)) {
            let message = format!("{}: its first {length} bytes are not what the checkpoint recorded", path.display());
            tracing::debug!("recorded {recorded}, found {bytes} bytes with {hash}");
            return Err(
                Error::integrity(message).hint("the file was edited or damaged: restore it, or start a new run")
            );
        }
        file.set_len(length).map_err(io)?;
        sync_folder(folder)?;
        Ok(MetricsLog { folder: folder.to_path_buf(), file, bytes, hasher })
    }

    /// Appends one line.
    pub fn append(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut record = Map::new();
        record.insert("step".into(), json!(step));
        for &(name, value) in values {
            record.insert(name.into(), number(value));
        }
        let line = format!("{}\n", Value::Object(record));
        self.file.write_all(line.as_bytes()).map_err(|e| Error::io("write", &self.path(), &e))?;
        self.bytes += line.len() as u64;
        self.hasher.update(line.as_bytes());
        Ok(())
    }

    /// Makes everything durable and returns its length and hash for a checkpoint.
    pub fn sync(&mut self) -> Result<Value> {
        self.file.sync_data().map_err(|e| Error::io("sync", &self.path(), &e))?;
        Ok(json!({"bytes": self.bytes, "blake3": self.hasher.finalize().to_hex().to_string()}))
    }

    /// Writes `metrics.csv`: one row per step, one column per name in order of first appearance.
    pub fn write_csv(&self) -> Result<()> {
        let (mut names, mut rows) = (Vec::<String>::new(), BTreeMap::<u64, Map<String, Value>>::new());
        for (step, record) in self.records()? {
            for (name, value) in record {
                if !names.contains(&name) {
                    names.push(name.clone());
                }
                rows.entry(step).or_default().insert(name, value);
            }
        }
        write_atomic(&self.folder.join("metrics.csv"), |out| {
            writeln!(out, "step,{}", names.iter().map(|n| quote(n)).collect::<Vec<_>>().join(","))?;
            for (step, row) in &rows {
                write!(out, "{step}")?;
                for name in &names {
                    match row.get(name) {
                        Some(Value::String(text)) => write!(out, ",{text}")?,
                        Some(value) => write!(out, ",{value}")?,
                        None => write!(out, ",")?,
                    }
                }
                writeln!(out)?;
            }
            Ok(())
        })
    }

    /// All curves by name.
    pub fn series(&self) -> Result<Series> {
        let mut series = Series::new();
        for (step, record) in self.records()? {
            for (name, value) in record {
                if let Some(value) = value.as_f64() {
                    series.entry(name).or_default().push((step, value));
                }
            }
        }
        Ok(series)
    }

    fn records(&self) -> Result<Vec<(u64, Map<String, Value>)>> {
        let bytes = read_limited(&self.path(), MAX_METRICS_BYTES)?;
        let mut out = Vec::new();
        for line in bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            let record: Map<String, Value> = serde_json::from_slice(line)
                .map_err(|e| Error::data(format!("{} line {}: {e}", self.path().display(), out.len() + 1)))?;
            let step = record.get("step").and_then(Value::as_u64).unwrap_or(0);
            out.push((step, record.into_iter().filter(|(name, _)| name != "step").collect()));
        }
        Ok(out)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(METRICS_FILE)
    }
}

/// JSON has no NaN and no infinity: they become texts that Python's and Rust's `float` parse.
fn number(value: f64) -> Value {
    match value {
        v if v.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        v => json!(v),
    }
}

fn quote(name: &str) -> String {
    if name.contains([',', '"', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_string() }
}
