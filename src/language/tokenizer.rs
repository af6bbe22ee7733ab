//! Text to ids and back: byte-level byte-pair encoding as in Qwen2, from a `tokenizer.json`.
//!
//! Ids equal those of Transformers. What differs is trust: special tokens (all `added_tokens`) are recognised only where
//! the caller vouches for the text. In text that users supply, `<|im_end|>` is ten characters.

use super::byte_level::bytes_of;
use super::merges::Merger;
use super::normalize::Normalized;
use super::tokenizer_file::{self, Added, Content};
use crate::error::{Error, Result};
use regex::{Regex, RegexBuilder};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The anchor of the audio in a prompt: where the slots of the encoder are put in.
pub const ANCHOR: &str = "<AcousticTokens>";
/// The anchor of Audio Flamingo 3.
const ANCHOR_OF_AF3: &str = "<sound>";
/// Longest text that is encoded at once, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Largest tokenizer_config.json, in bytes.
const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Memory for the search of special tokens, in bytes.
const SEARCH_BYTES_MAX: usize = 64 << 20;

/// Ids, and for each the bytes of the text that it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// One id per token.
    pub ids: Vec<u32>,
    /// One range of bytes per token, in order. A token that holds part of a composed character names the whole of it.
    pub ranges: Vec<Range<usize>>,
}

/// Which parts of a text are what; ranges of bytes at the borders of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Text in which special tokens are ordinary characters.
    pub untrusted: Vec<Range<usize>>,
    /// What becomes the anchor of the audio, whether or not the tokenizer has an entry for it.
    pub anchor: Option<Range<usize>>,
}

/// A tokenizer.
pub struct Tokenizer {
    content: Content,
    added: BTreeMap<String, u32>,
    /// Bytes and whether the token is special, by id; `None` where the file has no entry.
    tokens: Vec<Option<(Box<[u8]>, bool)>>,
    /// Special tokens that are looked for before normalisation, and after it.
    searches: [Option<Regex>; 2],
    eos: Vec<u32>,
    path: PathBuf,
}

impl Tokenizer {
    /// Opens a `tokenizer.json`, or that of a folder.
    ///
    /// # Errors
    /// `Missing` without the file, `Data` naming file and field for content that is not acceptable or not supported.
    pub fn open(path: &Path) -> Result<Tokenizer> {
        let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
        let content = tokenizer_file::read(&path)?;
        Tokenizer::of(content, path)
    }

    /// A tokenizer from the bytes of a `tokenizer.json` that lies in no file.
    ///
    /// # Errors
    /// `Data` as [`Tokenizer::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Tokenizer> {
        Tokenizer::of(tokenizer_file::parse(bytes)?, PathBuf::new())
    }

    fn of(content: Content, path: PathBuf) -> Result<Tokenizer> {
        let searches = [search(&content.added, false)?, search(&content.added, true)?];
        let added: BTreeMap<String, u32> = content.added.iter().map(|t| (t.content.clone(), t.id)).collect();
        let mut tokens = Vec::new();
        let mut set = |id: u32, text: &str, special: bool| {
            let id = id as usize;
            tokens.resize(tokens.len().max(id + 1), None);
            tokens[id] = Some((bytes_of(text).into(), special));
        };
        content.vocabulary.iter().for_each(|(text, id)| set(*id, text, false));
        content.added.iter().for_each(|token| set(token.id, &token.content, token.special));
        let mut tokenizer = Tokenizer { content, added, tokens, searches, eos: Vec::new(), path };
        tokenizer.eos = tokenizer.find_eos()?;
        Ok(tokenizer)
    }

    /// The file it was read from; empty for one that lies in no file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ids of a text that is trusted: special tokens in it are special.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_marked`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encode_marked(text, &Marks::default())?.ids)
    }

    /// Ids of a text that users supply: special tokens in it are ordinary characters.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_marked`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        let marks = Marks { untrusted: std::iter::once(0..text.len()).collect(), anchor: None };
        Ok(self.encode_marked(text, &marks)?.ids)
    }

    /// Ids of a text in which special tokens are recognised only outside the `untrusted` ranges. Everything else is
    /// encoded as in the whole text: parts of it are cut and merged across the borders of the ranges.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_marked`].
    pub fn encode_spans(&self, text: &str, untrusted: &[Range<usize>]) -> Result<Encoded> {
        self.encode_marked(text, &Marks { untrusted: untrusted.to_vec(), anchor: None })
    }

    /// As [`Tokenizer::encode_spans`], with an anchor for the audio.
    ///
    /// # Errors
    /// `Data` for more than [`TEXT_BYTES_MAX`] bytes, and where a pre-tokenizer pattern that is not known meets a long
    /// text. Panics when a range is not within the text or cuts a character.
    #[track_caller]
    pub fn encode_marked(&self, text: &str, marks: &Marks) -> Result<Encoded> {
        let in_text = |r: &Range<usize>| text.get(r.clone()).is_some();
        assert!(marks.untrusted.iter().chain(&marks.anchor).all(in_text), "ranges within the text, between characters");
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::data(format!("a text of {} bytes, at most {TEXT_BYTES_MAX} are encoded", text.len())));
        }
        let mut run = Run { tokenizer: self, out: Encoded::default(), merger: Merger::default() };
        let trusted = gaps(marks.untrusted.iter().chain(&marks.anchor).cloned(), 0..text.len());
        let mut special = self.special(text, &trusted, false);
        special.extend(marks.anchor.clone().map(|range| (range, self.anchor())));
        special.sort_by_key(|(range, _)| range.start);
        let mut at = 0;
        for (range, id) in special {
            run.segment(text, at..range.start, &trusted)?;
            run.push(id, range.clone());
            at = range.end;
        }
        run.segment(text, at..text.len(), &trusted)?;
        Ok(run.out)
    }

    /// Special tokens within the given parts of a text, leftmost first and the longest of those.
    fn special(&self, text: &str, parts: &[Range<usize>], normalized: bool) -> Vec<(Range<usize>, u32)> {
        let Some(search) = &self.searches[usize::from(normalized)] else { return Vec::new() };
        let within = |part: &Range<usize>| {
            let from = part.start;
            search
                .find_iter(&text[part.clone()])
                .map(move |m| (from + m.start()..from + m.end(), self.added[m.as_str()]))
        };
        parts.iter().flat_map(within).collect()
    }

    /// The text of ids. Without `keep_special` special tokens are left out, as in Transformers' `skip_special_tokens`.
    /// Ids without an entry give nothing, bytes that are no UTF-8 give U+FFFD.
    pub fn decode(&self, ids: &[u32], keep_special: bool) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| self.bytes(*id, keep_special)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Decodes ids as they come.
    pub fn stream(&self, keep_special: bool) -> Stream<'_> {
        Stream { tokenizer: self, keep_special, pending: Vec::new() }
    }

    fn bytes(&self, id: u32, keep_special: bool) -> &[u8] {
        match self.tokens.get(id as usize) {
            Some(Some((bytes, special))) if keep_special || !special => bytes,
            _ => &[],
        }
    }

    /// The id of a token, written as in the file.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.added.get(token).or_else(|| self.content.vocabulary.get(token)).copied()
    }

    /// Whether an id is that of a token which is looked for in the text first: a special one, or one like `<think>`.
    pub fn is_added(&self, id: u32) -> bool {
        self.content.added.iter().any(|token| token.id == id)
    }

    /// The largest id + 1.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token, which no file has.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The id where the audio is put in: of `<AcousticTokens>`, else of Audio Flamingo's `<sound>`, else the first id
    /// without an entry (151646 in Qwen2), which may be [`Tokenizer::len`].
    pub fn anchor(&self) -> u32 {
        let own = [ANCHOR, ANCHOR_OF_AF3].iter().find_map(|name| self.added.get(*name));
        let free = || self.tokens.iter().position(Option::is_none).unwrap_or(self.tokens.len()) as u32;
        own.copied().unwrap_or_else(free)
    }

    /// How the anchor is written in a prompt.
    pub fn anchor_text(&self) -> &'static str {
        let is_af3 = !self.added.contains_key(ANCHOR) && self.added.contains_key(ANCHOR_OF_AF3);
        if is_af3 { ANCHOR_OF_AF3 } else { ANCHOR }
    }

    /// Ids that end an answer: `eos_token` of the tokenizer_config.json beside the file, `<|im_end|>`, `<|endoftext|>`.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    fn find_eos(&self) -> Result<Vec<u32>> {
        let mut names = vec!["<|im_end|>".to_string(), "<|endoftext|>".to_string()];
        let path = self.path.with_file_name("tokenizer_config.json");
        let is_there = !self.path.as_os_str().is_empty() && path.exists();
        let config = if is_there { read_config(&path)? } else { Default::default() };
        if let Some(name) = config.eos_token.map(Name::into_text) {
            let why = || Error::data(format!("{}: eos_token {name:?} is no added token", path.display()));
            self.added.get(&name).ok_or_else(why)?;
            names.insert(0, name);
        }
        let mut ids: Vec<u32> = Vec::new();
        for id in names.iter().filter_map(|name| self.added.get(name)) {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        Ok(ids)
    }
}

/// What this reads of a tokenizer_config.json.
#[derive(Default, serde::Deserialize)]
struct Config {
    #[serde(default)]
    eos_token: Option<Name>,
}

/// A token as a text or as Transformers' `AddedToken`.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Token { content: String },
}

impl Name {
    fn into_text(self) -> String {
        match self {
            Name::Text(text) | Name::Token { content: text } => text,
        }
    }
}

fn read_config(path: &Path) -> Result<Config> {
    let bytes = crate::files::read_text(path, CONFIG_BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::data(format!("{}: {e}", path.display())))
}

/// A search for the special tokens that are looked for before or after normalisation: the longest first.
fn search(added: &[Added], normalized: bool) -> Result<Option<Regex>> {
    let mut texts: Vec<&str> =
        added.iter().filter(|t| t.normalized == normalized).map(|t| t.content.as_str()).collect();
    if texts.is_empty() {
        return Ok(None);
    }
    texts.sort_by_key(|text| (std::cmp::Reverse(text.len()), *text));
    let pattern = texts.iter().map(|text| regex::escape(text)).collect::<Vec<_>>().join("|");
    let built = RegexBuilder::new(&pattern).size_limit(SEARCH_BYTES_MAX).build();
    built.map(Some).map_err(|_| Error::data("added_tokens are too many to be searched for"))
}

/// What lies between ranges, which may overlap and stand in any order.
fn gaps(ranges: impl Iterator<Item = Range<usize>>, whole: Range<usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = ranges.collect();
    ranges.sort_by_key(|r| r.start);
    let (mut found, mut at) = (Vec::new(), whole.start);
    for range in ranges {
        if range.start > at {
            found.push(at..range.start.min(whole.end));
        }
        at = at.max(range.end);
    }
    if at < whole.end {
        found.push(at..whole.end);
    }
    found
}

/// One encoding in progress.
struct Run<'a> {
    tokenizer: &'a Tokenizer,
    out: Encoded,
    merger: Merger,
}

impl Run<'_> {
    fn push(&mut self, id: u32, range: Range<usize>) {
        self.out.ids.push(id);
        self.out.ranges.push(range);
    }

    /// Text between special tokens: normalised, searched for the special tokens of normalised text, cut, merged.
    fn segment(&mut self, text: &str, at: Range<usize>, trusted: &[Range<usize>]) -> Result<()> {
        if at.is_empty() {
            return Ok(());
        }
        let tokenizer = self.tokenizer;
        let part = &text[at.clone()];
        let normalized = if tokenizer.content.is_nfc { Normalized::nfc(part) } else { Normalized::same(part) };
        let special = match &tokenizer.searches[1] {
            None => Vec::new(),
            Some(_) => {
                let whole = 0..normalized.text.len();
                let is_trusted = |(i, c): (usize, char)| {
                    let source = normalized.source(i..i + c.len_utf8());
                    let (start, end) = (at.start + source.start, at.start + source.end);
                    let cover = trusted.partition_point(|t| t.start <= start);
                    cover > 0 && trusted[cover - 1].end >= end
                };
                let untrusted = normalized.text.char_indices().filter(|c| !is_trusted(*c));
                let parts = gaps(untrusted.map(|(i, c)| i..i + c.len_utf8()), whole);
                tokenizer.special(&normalized.text, &parts, true)
            }
        };
        let mut from = 0;
        for (range, id) in special {
            self.plain(&normalized, from..range.start, at.start, 0)?;
            let source = normalized.source(range.clone());
            self.push(id, at.start + source.start..at.start + source.end);
            from = range.end;
        }
        self.plain(&normalized, from..normalized.text.len(), at.start, 0)
    }

    /// Cuts a part of a normalised segment by the patterns from `step` on, and merges what is left.
    fn plain(&mut self, normalized: &Normalized, at: Range<usize>, offset: usize, step: usize) -> Result<()> {
        let tokenizer = self.tokenizer;
        let Some(pattern) = tokenizer.content.patterns.get(step) else {
            self.word(normalized, at, offset);
            return Ok(());
        };
        let mut outcome = Ok(());
        pattern.parts(&normalized.text[at.clone()], |part| {
            if outcome.is_ok() {
                outcome = self.plain(normalized, at.start + part.start..at.start + part.end, offset, step + 1);
            }
        })?;
        outcome
    }

    fn word(&mut self, normalized: &Normalized, at: Range<usize>, offset: usize) {
        let content = &self.tokenizer.content;
        let word = &normalized.text[at.clone()];
        let source = |range| {
            let source = normalized.source(range);
            offset + source.start..offset + source.end
        };
        if content.ignores_merges {
            let token = super::byte_level::token_of(word.as_bytes());
            let known = content.vocabulary.get(&token).filter(|_| !self.tokenizer.added.contains_key(&token));
            if let Some(id) = known {
                self.out.ids.push(*id);
                self.out.ranges.push(source(at));
                return;
            }
        }
        let mut from = at.start;
        for (id, bytes) in self.merger.merge(&content.merges, word.bytes().map(|b| content.byte_ids[usize::from(b)])) {
            self.out.ids.push(id);
            self.out.ranges.push(source(from..from + bytes));
            from += bytes;
        }
    }
}

/// Text from ids that come one by one; see [`Tokenizer::stream`]. Together with [`Stream::finish`] it gives exactly what
/// [`Tokenizer::decode`] gives for all ids at once.
pub struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    keep_special: bool,
    /// The beginning of a character.
    pending: Vec<u8>,
}

impl Stream<'_> {
    /// Takes an id; gives the text that is complete now, if any.
    pub fn push(&mut self, id: u32) -> Option<String> {
        self.pending.extend_from_slice(self.tokenizer.bytes(id, self.keep_special));
        let open = self.pending.utf8_chunks().last().map_or(0, |chunk| open_bytes(chunk.invalid()));
        let complete = self.pending.len() - open;
        let text = String::from_utf8_lossy(&self.pending[..complete]).into_owned();
        self.pending.drain(..complete);
        Some(text).filter(|text| !text.is_empty())
    }

    /// What is left: a character that was begun and never ended, as U+FFFD.
    pub fn finish(mut self) -> Option<String> {
        self.rest()
    }

    /// The same, where the stream lives on: it is empty afterwards.
    pub fn rest(&mut self) -> Option<String> {
        let pending = std::mem::take(&mut self.pending);
        Some(String::from_utf8_lossy(&pending).into_owned()).filter(|text| !text.is_empty())
    }
}

/// How many bytes at the end of a text may still become a character: all of `invalid`, unless more cannot mend it.
fn open_bytes(invalid: &[u8]) -> usize {
    match std::str::from_utf8(invalid) {
        Err(error) if error.error_len().is_none() => invalid.len(),
        _ => 0,
    }
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
