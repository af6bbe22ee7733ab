//! Learning byte-level byte-pair encoding from texts: the pocket decoder's vocabulary.
//!
//! The most frequent pair of neighbours becomes a token, again and again; among equals the pair of the smallest ids, so
//! the result depends on nothing but the texts. Every piece of text (see [`super::split`]) is kept once with its count,
//! and a merge touches only the places where its pair stands: counts change by what neighbours change, nothing is
//! recounted. With `phrases`, pieces are whole lines between digits: the questions here are templated, and tokens that
//! hold several words halve them (60 to 35 tokens). Digits always stand alone.

use super::byte_level::char_of;
use super::normalize::Normalized;
use super::split::{PHRASES, Pattern, QWEN2};
use super::tokenizer::{ANCHOR, Tokenizer};
use crate::error::{Error, Result};
use crate::files::write_bytes_atomic;
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;

/// Tokens that stand behind the learned ones, as in Qwen2's files, and whether decoding may leave them out. The tags of
/// a response are tokens but not special: who reads an answer looks for them (Qwen3 does the same with `<think>`).
pub const ADDED: [(&str, bool); 8] = [
    ("<|endoftext|>", true),
    ("<|im_start|>", true),
    ("<|im_end|>", true),
    (ANCHOR, true),
    ("<think>", false),
    ("</think>", false),
    ("<answer>", false),
    ("</answer>", false),
];
/// Largest vocabulary.
pub const VOCABULARY_MAX: usize = 1 << 16;
/// Most bytes of different pieces.
const BYTES_MAX: usize = 1 << 30;

/// What is learned.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Tokens in all: 256 bytes, merges and the eight of [`ADDED`].
    pub vocabulary: usize,
    /// Whether tokens may hold spaces inside, so several words.
    pub phrases: bool,
    /// How often a pair must stand to become a token.
    pub count_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { vocabulary: 2000, phrases: true, count_min: 2 }
    }
}

/// A learned vocabulary.
pub struct Learned {
    /// Pairs of ids in the order in which they became tokens. Bytes have the ids 0 to 255 in the order of the characters
    /// that stand for them.
    pub merges: Vec<(u32, u32)>,
    pattern: &'static str,
}

/// Learns from texts. Fewer tokens come out where the texts have no more pairs.
///
/// # Errors
/// `Usage` for a vocabulary out of range; `Data` for more than a gigabyte of different pieces.
pub fn learn<'a>(texts: impl IntoIterator<Item = &'a str>, options: Options) -> Result<Learned> {
    let least = 256 + ADDED.len();
    if !(least..=VOCABULARY_MAX).contains(&options.vocabulary) {
        let message =
            format!("a vocabulary of {} tokens, {least} to {VOCABULARY_MAX} can be learned", options.vocabulary);
        return Err(Error::usage(message));
    }
    let pattern = if options.phrases { PHRASES } else { QWEN2 };
    let pieces = count_pieces(texts, pattern)?;
    let mut state = State::new(&pieces);
    drop(pieces);
    let mut merges = Vec::new();
    while merges.len() < options.vocabulary - least {
        let Some((pair, count)) = state.most_frequent() else { break };
        if count < options.count_min.max(1) as i64 {
            break;
        }
        state.merge(pair, 256 + merges.len() as u32);
        merges.push(pair);
    }
    Ok(Learned { merges, pattern })
}

/// How often each piece stands in the texts, between the tokens of [`ADDED`].
fn count_pieces<'a>(texts: impl IntoIterator<Item = &'a str>, pattern: &str) -> Result<BTreeMap<Box<str>, u64>> {
    let pattern = Pattern::new(pattern)?;
    let names: Vec<String> = ADDED.iter().map(|(name, _)| regex::escape(name)).collect();
    let added = regex::Regex::new(&names.join("|")).expect("names of tokens");
    let (mut pieces, mut bytes) = (BTreeMap::<Box<str>, u64>::new(), 0);
    for part in texts.into_iter().flat_map(|text| added.split(text)) {
        let text = Normalized::nfc(part).text;
        pattern.parts(&text, |range| {
            let piece = &text[range];
            match pieces.get_mut(piece) {
                Some(count) => *count += 1,
                None => {
                    bytes += piece.len();
                    pieces.insert(piece.into(), 1);
                }
            }
        })?;
        if bytes > BYTES_MAX {
            return Err(Error::data(format!(
                "more than {BYTES_MAX} bytes of different text to learn a vocabulary from"
            )));
        }
    }
    Ok(pieces)
}

type Pair = (u32, u32);

/// No position, no token.
const NONE: u32 = u32::MAX;

/// A pair: how often it stands, and where. Places are not taken back when a neighbour is merged: they are looked at.
#[derive(Default)]
struct Found {
    count: i64,
    places: Vec<u32>,
}

/// The pieces as lists of tokens in one array, and the pairs in them.
struct State {
    ids: Vec<u32>,
    before: Vec<u32>,
    after: Vec<u32>,
    /// Which piece a place belongs to, and how often each piece stands.
    piece: Vec<u32>,
    weights: Vec<i64>,
    pairs: BTreeMap<Pair, Found>,
    /// Counts that were true once: they are looked up before they are believed.
    heap: BinaryHeap<(i64, Reverse<Pair>)>,
}

impl State {
    fn new(pieces: &BTreeMap<Box<str>, u64>) -> State {
        let size = pieces.keys().map(|piece| piece.len()).sum();
        let mut state = State {
            ids: Vec::with_capacity(size),
            before: Vec::with_capacity(size),
            after: Vec::with_capacity(size),
            piece: Vec::with_capacity(size),
            weights: pieces.values().map(|count| *count as i64).collect(),
            pairs: BTreeMap::new(),
            heap: BinaryHeap::new(),
        };
        let id_of_byte = byte_ids();
        let mut found: Vec<Found> = (0..256 * 256).map(|_| Found::default()).collect();
        for (number, piece) in pieces.keys().enumerate() {
            let start = state.ids.len() as u32;
            for (place, byte) in (start..).zip(piece.bytes()) {
                let id = id_of_byte[usize::from(byte)];
                if place > start {
                    let pair = &mut found[(state.ids[place as usize - 1] * 256 + id) as usize];
                    pair.count += state.weights[number];
                    pair.places.push(place - 1);
                }
                state.ids.push(id);
                state.before.push(if place > start { place - 1 } else { NONE });
                state.after.push(place + 1);
                state.piece.push(number as u32);
            }
            if let Some(last) = state.after.last_mut() {
                *last = NONE;
            }
        }
        let pairs = (0..).zip(found).filter(|(_, f)| f.count > 0).map(|(i, f)| ((i / 256, i % 256), f));
        state.pairs = pairs.collect();
        state.heap = state.pairs.iter().map(|(pair, found)| (found.count, Reverse(*pair))).collect();
        state
    }

    /// The most frequent pair, the smallest among equals, and its count.
    fn most_frequent(&mut self) -> Option<(Pair, i64)> {
        while let Some((count, Reverse(pair))) = self.heap.pop() {
            match self.pairs.get(&pair).map_or(0, |found| found.count) {
                0 => {}
                now if now == count => return Some((pair, count)),
                now => self.heap.push((now, Reverse(pair))),
            }
        }
        None
    }

    /// Makes a pair a token everywhere, from left to right.
    fn merge(&mut self, pair: Pair, new: u32) {
        let mut places = self.pairs.remove(&pair).unwrap_or_default().places;
        places.sort_unstable();
        places.dedup();
        // What stood before the pair and what behind it, how often and where the new pairs are.
        let (mut left, mut right) = (BTreeMap::<u32, Found>::new(), BTreeMap::<u32, Found>::new());
        for at in places {
            let next = self.after[at as usize];
            if self.ids[at as usize] != pair.0 || next == NONE || self.ids[next as usize] != pair.1 {
                continue;
            }
            let weight = self.weights[self.piece[at as usize] as usize];
            let (previous, following) = (self.before[at as usize], self.after[next as usize]);
            let note = |side: &mut BTreeMap<u32, Found>, id: u32, place: u32| {
                let found = side.entry(id).or_default();
                found.count += weight;
                found.places.push(place);
            };
            if previous != NONE {
                note(&mut left, self.ids[previous as usize], previous);
            }
            if following != NONE {
                note(&mut right, self.ids[following as usize], at);
                self.before[following as usize] = at;
            }
            self.ids[at as usize] = new;
            self.ids[next as usize] = NONE;
            self.after[at as usize] = following;
        }
        let mut changed = Vec::new();
        for (id, found) in left {
            self.change((id, pair.0), -found.count, Vec::new(), pair, &mut changed);
            self.change((id, new), found.count, found.places, pair, &mut changed);
        }
        for (id, found) in right {
            self.change((pair.1, id), -found.count, Vec::new(), pair, &mut changed);
            self.change((new, id), found.count, found.places, pair, &mut changed);
        }
        changed.sort_unstable();
        changed.dedup();
        for pair in changed {
            match self.pairs.get(&pair).map_or(0, |found| found.count) {
                count if count > 0 => self.heap.push((count, Reverse(pair))),
                _ => _ = self.pairs.remove(&pair),
            }
        }
    }

    /// Changes a count, but for the pair that is being merged, which is gone.
    fn change(&mut self, pair: Pair, by: i64, places: Vec<u32>, merged: Pair, changed: &mut Vec<Pair>) {
        if pair != merged {
            let found = self.pairs.entry(pair).or_default();
            found.count += by;
            found.places.extend(places);
            changed.push(pair);
        }
    }
}

/// Ids of the bytes: the order of the characters that stand for them.
fn byte_ids() -> [u32; 256] {
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.sort_by_key(|byte| char_of(*byte));
    let mut ids = [0; 256];
    (0..).zip(bytes).for_each(|(id, byte)| ids[usize::from(byte)] = id);
    ids
}

impl Learned {
    /// The tokens without those of [`ADDED`], by id.
    fn tokens(&self) -> Vec<String> {
        let mut tokens = vec![String::new(); 256];
        (0..=255u8).zip(byte_ids()).for_each(|(byte, id)| tokens[id as usize] = char_of(byte).into());
        for (left, right) in &self.merges {
            tokens.push(tokens[*left as usize].clone() + &tokens[*right as usize]);
        }
        tokens
    }

    /// The content of a `tokenizer.json` that Hugging Face's tokenizers read to the same ids.
    pub fn to_json(&self) -> Value {
        let tokens = self.tokens();
        let merges: Vec<Value> =
            self.merges.iter().map(|(a, b)| json!([tokens[*a as usize], tokens[*b as usize]])).collect();
        let added = (tokens.len()..).zip(ADDED).map(|(id, (content, special))| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special})
        });
        let vocabulary: Map<String, Value> = tokens.iter().cloned().zip((0u32..).map(Value::from)).collect();
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
        let split =
            json!({"type": "Split", "pattern": {"Regex": self.pattern}, "behavior": "Isolated", "invert": false});
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes]},
            "post_processor": bytes, "decoder": bytes,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocabulary, "merges": merges,
            },
        })
    }

    /// The tokenizer that [`Learned::save`] writes.
    ///
    /// # Errors
    /// `Data` when what was learned cannot be read back.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_bytes(self.to_json().to_string().as_bytes())
    }

    /// Names and contents of `tokenizer.json` and of the `tokenizer_config.json` that Transformers' `AutoTokenizer` needs
    /// beside it.
    pub fn files(&self) -> [(&'static str, Vec<u8>); 2] {
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
            "clean_up_tokenization_spaces": false, "chat_template": super::template::CHATML,
        });
        [("tokenizer.json", self.to_json()), ("tokenizer_config.json", config)].map(|(name, content)| {
            let text = serde_json::to_string_pretty(&content).expect("plain data") + "\n";
            (name, text.into_bytes())
        })
    }

    /// Writes [`Learned::files`].
    ///
    /// # Errors
    /// `Io` naming the file.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.files().iter().try_for_each(|(name, bytes)| write_bytes_atomic(&folder.join(name), bytes))
    }
}

#[cfg(test)]
#[path = "bpe_tests.rs"]
mod tests;
