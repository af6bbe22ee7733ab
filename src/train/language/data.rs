//! Rows of text as tokens, and the order in which they are learned.

use super::gate::Question;
use super::recipe::Data;
use crate::error::{Context as _, Error, Result};
use crate::language::bpe::{Learned, Options, learn};
use crate::language::example::{self, Example, Mask, example};
use crate::language::rows::{Row, Rows};
use crate::language::template::Template;
use crate::language::tokenizer::Tokenizer;
use crate::rng::Rng;
use crate::weights::hash_file;
use rayon::prelude::*;
use std::path::Path;

/// The file of rows in a folder of `twnm benchmark`.
const ROWS_FILE: &str = "metadata.jsonl";

/// Rows as they were read, with a hash of their files.
pub struct Texts {
    rows: Vec<Row>,
    fingerprint: String,
}

impl Texts {
    /// Reads the rows of files, and of folders of `twnm benchmark`.
    ///
    /// # Errors
    /// `Missing` or `Data` naming file, line and field; `Data` for a row that names a recording.
    pub fn read(data: &Data, files: &[String]) -> Result<Texts> {
        let (mut rows, mut hasher) = (Vec::new(), blake3::Hasher::new());
        for file in files {
            let named = Path::new(file);
            let path = if named.is_dir() { named.join(ROWS_FILE) } else { named.to_path_buf() };
            hasher.update(hash_file(&path)?.blake3.as_bytes());
            for row in Rows::open(&path, data.form()?)? {
                let row = row?;
                if !row.content.recordings.is_empty() {
                    return Err(Error::data(format!("{}: the row names a recording", row.place))
                        .hint("a decoder learns from text alone: twnm benchmark --kind text makes such rows"));
                }
                rows.push(row);
            }
        }
        Ok(Texts { rows, fingerprint: hasher.finalize().to_hex()[..16].to_string() })
    }

    /// Learns a vocabulary from at most `most` rows, spread evenly over all, as the template writes them.
    ///
    /// # Errors
    /// Those of the template and of [`learn`].
    pub fn vocabulary(&self, template: &Template, options: Options, most: usize) -> Result<Learned> {
        let (all, count) = (self.rows.len(), self.rows.len().min(most));
        let texts: Vec<String> = (0..count)
            .into_par_iter()
            .map(|i| {
                let row = &self.rows[i * all / count];
                let rendered = template.render(&row.content.conversation, None, false);
                rendered.map(|rendered| rendered.text).context_with(|| &row.place)
            })
            .collect::<Result<_>>()?;
        learn(texts.iter().map(String::as_str), options)
    }
}

/// A row as tokens.
pub struct Document {
    /// One id per token.
    pub ids: Vec<u32>,
    /// Whether the model says the token; one per id.
    pub is_said: Vec<bool>,
}

impl Document {
    /// What the prediction of each token weighs in the loss; the first is predicted by none.
    pub fn weights(&self, prompt_weight: f32) -> Vec<f32> {
        let weight = |(i, &is_said): (usize, &bool)| match (i, is_said) {
            (0, _) => 0.0,
            (_, true) => 1.0,
            (_, false) => prompt_weight,
        };
        self.is_said.iter().enumerate().map(weight).collect()
    }
}

/// Rows as documents.
pub struct Supply {
    documents: Vec<Document>,
    /// The rows whose answer is a letter.
    questions: Vec<Question>,
    /// Rows from the shortest to the longest.
    by_length: Vec<u32>,
    skipped: usize,
    fingerprint: String,
}

impl Supply {
    /// Makes documents of rows.
    ///
    /// # Errors
    /// `Data` naming a row without a response or longer than `data.tokens_max`.
    pub fn new(texts: Texts, tokenizer: &Tokenizer, template: &Template, data: &Data) -> Result<Supply> {
        let made: Vec<(Example, Option<Question>)> = (texts.rows.par_iter())
            .map(|row| {
                let made = example(tokenizer, template, row, Mask::Response, usize::MAX)?;
                let question = Question::of(tokenizer, &example::prompt(tokenizer, template, row)?, &made);
                Ok((made, question))
            })
            .collect::<Result<_>>()?;
        let (mut documents, mut questions, mut skipped) = (Vec::new(), Vec::new(), 0);
        for ((made, question), row) in made.into_iter().zip(&texts.rows) {
            let tokens = made.ids.len();
            if tokens > data.tokens_max && !data.skip_long {
                let why = format!("{tokens} tokens, data.tokens_max is {}; nothing is cut", data.tokens_max);
                return Err(Error::data(format!("{}: {why}", row.place))
                    .hint("raise data.tokens_max, or leave long rows out with data.skip_long"));
            }
            if tokens > data.tokens_max {
                skipped += 1;
                continue;
            }
            documents.push(Document { ids: made.ids, is_said: made.is_target });
            questions.extend(question);
        }
        if documents.is_empty() && skipped > 0 {
            return Err(Error::data("every row is longer than data.tokens_max"));
        }
        if skipped > 0 {
            tracing::warn!("{skipped} rows are longer than data.tokens_max and left out");
        }
        let mut by_length: Vec<u32> = (0..documents.len() as u32).collect();
        by_length.sort_by_key(|&row| documents[row as usize].ids.len());
        Ok(Supply { documents, questions, by_length, skipped, fingerprint: texts.fingerprint })
    }

    /// All documents, in the order of the files.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The questions whose answer is a letter, in the order of the files.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// Rows that were too long and left out.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Tokens of all documents.
    pub fn tokens(&self) -> usize {
        self.documents.iter().map(|document| document.ids.len()).sum()
    }

    /// A short hash of the rows' files.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// In which order rows are learned: at first drawn from the shortest, whose share grows, then in shuffled passes over all.
pub struct Order {
    seed: u64,
    /// Steps in which short rows come first.
    short_steps: f64,
    /// Share of the rows that the first step draws from.
    short_rows: f64,
    pass: u64,
    rows: Vec<u32>,
}

impl Order {
    /// An order that `seed` decides.
    pub fn new(seed: u64, short_steps: f64, short_rows: f64) -> Order {
        Order { seed, short_steps, short_rows, pass: u64::MAX, rows: Vec::new() }
    }

    /// The row at a position of the endless sequence, asked for by a step.
    fn row(&mut self, supply: &Supply, position: u64, step: u64) -> usize {
        let n = supply.documents.len();
        if (step as f64) < self.short_steps {
            let share = self.short_rows + (1.0 - self.short_rows) * step as f64 / self.short_steps;
            let among = ((share * n as f64).ceil() as usize).clamp(1, n);
            return supply.by_length[Rng::new(self.seed, "short rows", position).below(among)] as usize;
        }
        let pass = position / n as u64;
        if pass != self.pass {
            self.pass = pass;
            self.rows = (0..n as u32).collect();
            Rng::new(self.seed, "order of texts", pass).shuffle(&mut self.rows);
        }
        self.rows[(position % n as u64) as usize] as usize
    }

    /// The rows from `position` on that fit `tokens`, and the position after them. Panics for a row that does not fit alone.
    #[track_caller]
    pub fn batch(&mut self, supply: &Supply, mut position: u64, step: u64, tokens: usize) -> (Vec<usize>, u64) {
        let (mut rows, mut used) = (Vec::new(), 0);
        loop {
            let row = self.row(supply, position, step);
            used += supply.documents[row].ids.len();
            if used > tokens {
                assert!(!rows.is_empty(), "a row of more tokens than a micro-batch");
                return (rows, position);
            }
            rows.push(row);
            position += 1;
        }
    }
}
