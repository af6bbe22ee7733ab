//! `tokenizer.json` as Hugging Face's tokenizers write it, read strictly: byte-level byte-pair encoding and nothing else.
//!
//! Every list is bounded while it is read, so a file cannot take more memory than a real one. What is not known to be
//! without effect is refused by name. `truncation` and `padding` are left alone, as in Transformers, where the call decides.

use super::byte_level::char_of;
use super::merges::MergeTable;
use super::normalize::Normalized;
use super::split::{GPT2, Pattern};
use crate::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

/// Largest file, in bytes; that of Qwen2 has 7 MB.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Ids and numbers of entries are below this.
pub const IDS_MAX: u32 = 1 << 20;
/// Longest token of the vocabulary and of the special tokens, in bytes.
const TOKEN_BYTES_MAX: usize = 1 << 10;

/// A token that is looked for in the text before anything else.
#[derive(serde::Deserialize)]
pub struct Added {
    /// Its number.
    pub id: u32,
    /// Its text.
    pub content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    /// Whether it is looked for after normalisation.
    #[serde(default)]
    pub normalized: bool,
    /// Whether decoding leaves it out.
    #[serde(default)]
    pub special: bool,
}

#[derive(serde::Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Bounded<Added, { 1 << 14 }>,
    #[serde(default)]
    normalizer: Option<Part>,
    #[serde(default)]
    pre_tokenizer: Option<Part>,
    #[serde(default)]
    post_processor: Option<Part>,
    #[serde(default)]
    decoder: Option<Part>,
    model: Model,
}

/// A step before, after or around the model; the fields of all kinds of steps.
#[derive(serde::Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, alias = "normalizers", alias = "processors", alias = "decoders")]
    pretokenizers: Bounded<Part, 16>,
    #[serde(default)]
    pattern: Option<PatternText>,
    #[serde(default)]
    behavior: Option<String>,
    #[serde(default)]
    invert: bool,
    #[serde(default)]
    use_regex: Option<bool>,
    #[serde(default)]
    add_prefix_space: bool,
}

#[derive(serde::Deserialize)]
enum PatternText {
    Regex(String),
    String(String),
}

#[derive(serde::Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    vocab: Vocabulary,
    merges: Bounded<Merge, { IDS_MAX as usize }>,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// A merge, written as a pair or as a text with a space; both are read without keeping anything else.
struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Merge;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a merge: [\"a\", \"b\"] or \"a b\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge, E> {
                let (left, right) = text.split_once(' ').ok_or_else(|| E::custom("a merge without a space"))?;
                Ok(Merge(left.into(), right.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merge, A::Error> {
                let mut next =
                    || seq.next_element()?.ok_or_else(|| A::Error::custom("a merge of fewer than two tokens"));
                Ok(Merge(next()?, next()?))
            }
        }
        from.deserialize_any(Either)
    }
}

/// A list with an upper bound that holds while it is read.
struct Bounded<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Bounded(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a list of at most {MAX}")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if all.len() == MAX {
                        return Err(A::Error::custom(format!("a list of more than {MAX}")));
                    }
                    all.push(item);
                }
                Ok(all)
            }
        }
        from.deserialize_seq(List::<T, MAX>(PhantomData)).map(Bounded)
    }
}

/// Tokens and their ids, each once.
struct Vocabulary(BTreeMap<String, u32>);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map from tokens to ids, as byte-pair encoding has")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let (mut all, mut seen) = (BTreeMap::new(), Vec::<bool>::new());
                while let Some((token, id)) = map.next_entry::<String, u64>()? {
                    let shown = || token.chars().take(40).collect::<String>();
                    if id >= u64::from(IDS_MAX) {
                        return Err(A::Error::custom(format!("id {id} of {:?}: below {IDS_MAX} is needed", shown())));
                    }
                    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
                        return Err(A::Error::custom(format!(
                            "the token with id {id} has {} bytes, 1 to {TOKEN_BYTES_MAX} are accepted",
                            token.len()
                        )));
                    }
                    if seen.len() <= id as usize {
                        seen.resize(id as usize + 1, false);
                    }
                    if std::mem::replace(&mut seen[id as usize], true) {
                        return Err(A::Error::custom(format!(
                            "id {id} is given twice, the second time to {:?}",
                            shown()
                        )));
                    }
                    if all.contains_key(&token) {
                        return Err(A::Error::custom(format!("the token {:?} stands twice", shown())));
                    }
                    all.insert(token, id as u32);
                }
                Ok(Vocabulary(all))
            }
        }
        from.deserialize_map(Entries)
    }
}

/// What a file says, checked.
pub struct Content {
    /// Ids of the tokens of the model.
    pub vocabulary: BTreeMap<String, u32>,
    /// Which pairs are merged.
    pub merges: MergeTable,
    /// The ids of the single bytes.
    pub byte_ids: [u32; 256],
    /// Tokens that are looked for in the text first, in the order of the file.
    pub added: Vec<Added>,
    /// Whether text is brought to normalisation form C.
    pub is_nfc: bool,
    /// Where text is cut, one after the other.
    pub patterns: Vec<Pattern>,
    /// Whether a part that is a token as a whole is taken as such, whatever the merges say.
    pub ignores_merges: bool,
}

/// Reads `path`.
///
/// # Errors
/// `Missing` without the file, `Data` naming the file and the field.
pub fn read(path: &Path) -> Result<Content> {
    let bytes = crate::files::read_text(path, FILE_BYTES_MAX)?;
    parse(&bytes).map_err(|error| error.context(path.display()))
}

/// What a file of these bytes says.
///
/// # Errors
/// `Data` for content that is not acceptable or not supported.
pub fn parse(bytes: &[u8]) -> Result<Content> {
    let file: File = serde_json::from_slice(bytes).map_err(|e| Error::data(format!("not a tokenizer: {e}")))?;
    check_steps(&file)?;
    let model = file.model;
    let unsupported = [
        (model.kind.as_deref().is_some_and(|kind| kind != "BPE"), "model.type other than BPE"),
        (model.dropout.is_some_and(|d| d != 0.0), "model.dropout"),
        (model.continuing_subword_prefix.is_some_and(|p| !p.is_empty()), "model.continuing_subword_prefix"),
        (model.end_of_word_suffix.is_some_and(|s| !s.is_empty()), "model.end_of_word_suffix"),
        (model.byte_fallback, "model.byte_fallback"),
    ];
    if let Some((_, what)) = unsupported.iter().find(|(is, _)| *is) {
        return Err(
            Error::data(format!("{what} is not supported")).hint("byte-level BPE as in Qwen2 is what twnm reads")
        );
    }
    let vocabulary = model.vocab.0;
    let byte_ids = byte_ids(&vocabulary)?;
    let merges = resolve(&model.merges.0, &vocabulary)?;
    let is_nfc = is_nfc(file.normalizer.as_ref())?;
    check_added(&file.added_tokens.0, &vocabulary, &byte_ids, &merges, is_nfc)?;
    let table = MergeTable::new(&merges)
        .map_err(|rank| Error::data(format!("model.merges: merge {} stands twice", rank + 1)))?;
    Ok(Content {
        merges: table,
        byte_ids,
        added: file.added_tokens.0,
        is_nfc,
        patterns: patterns(file.pre_tokenizer.as_ref())?,
        ignores_merges: model.ignore_merges,
        vocabulary,
    })
}

fn unsupported(field: &str, part: &Part) -> Error {
    let kind: String = part.kind.chars().take(40).collect();
    Error::data(format!("{field}: {kind:?} with these settings is not supported"))
        .hint("byte-level BPE as in Qwen2 is what twnm reads: NFC, Split by a regex in isolation, ByteLevel")
}

/// The steps of a part: its own, or those of a sequence.
fn steps(part: Option<&Part>) -> &[Part] {
    match part {
        Some(part) if part.kind == "Sequence" => &part.pretokenizers.0,
        Some(part) => std::slice::from_ref(part),
        None => &[],
    }
}

/// After the model nothing may change ids, and decoding is that of bytes.
fn check_steps(file: &File) -> Result<()> {
    let after = steps(file.post_processor.as_ref());
    if let Some(part) = after.iter().find(|part| part.kind != "ByteLevel") {
        return Err(unsupported("post_processor", part));
    }
    match steps(file.decoder.as_ref()) {
        [part] if part.kind == "ByteLevel" => Ok(()),
        [] => Err(Error::data("decoder is missing, ByteLevel is needed")),
        [part, ..] => Err(unsupported("decoder", part)),
    }
}

fn is_nfc(part: Option<&Part>) -> Result<bool> {
    let steps = steps(part);
    match steps.iter().find(|part| part.kind != "NFC") {
        Some(part) => Err(unsupported("normalizer", part)),
        None => Ok(!steps.is_empty()),
    }
}

fn patterns(part: Option<&Part>) -> Result<Vec<Pattern>> {
    let (mut found, mut is_bytes) = (Vec::new(), false);
    for part in steps(part) {
        match part.kind.as_str() {
            "ByteLevel" if !part.add_prefix_space && !is_bytes => {
                is_bytes = true;
                if part.use_regex.unwrap_or(true) {
                    found.push(Pattern::new(GPT2)?);
                }
            }
            "Split" if part.behavior.as_deref() == Some("Isolated") && !part.invert && !is_bytes => {
                found.push(match &part.pattern {
                    Some(PatternText::Regex(text)) => Pattern::new(text)?,
                    Some(PatternText::String(text)) => Pattern::new(&regex::escape(text))?,
                    None => return Err(Error::data("pre_tokenizer: Split without a pattern")),
                });
            }
            _ => return Err(unsupported("pre_tokenizer", part)),
        }
    }
    match is_bytes {
        true => Ok(found),
        false => Err(Error::data("pre_tokenizer: ByteLevel is missing, which byte-level BPE needs")),
    }
}

fn byte_ids(vocabulary: &BTreeMap<String, u32>) -> Result<[u32; 256]> {
    let mut ids = [0; 256];
    for byte in 0..=255u8 {
        let token = char_of(byte).to_string();
        ids[usize::from(byte)] = *vocabulary
            .get(&token)
            .ok_or_else(|| Error::data(format!("model.vocab: no token {token:?}, which stands for byte {byte}")))?;
    }
    Ok(ids)
}

/// Merges as ids: left, right, result.
fn resolve(merges: &[Merge], vocabulary: &BTreeMap<String, u32>) -> Result<Vec<(u32, u32, u32)>> {
    let mut joined = String::new();
    let one = |(i, merge): (usize, &Merge)| {
        let Merge(left, right) = merge;
        joined.clear();
        joined += left;
        joined += right;
        let id = |token: &str| {
            let shown: String = token.chars().take(40).collect();
            let why = || Error::data(format!("model.merges: merge {}: {shown:?} is not in model.vocab", i + 1));
            vocabulary.get(token).copied().ok_or_else(why)
        };
        Ok((id(left)?, id(right)?, id(&joined)?))
    };
    merges.iter().enumerate().map(one).collect()
}

/// Special tokens have an id of their own that no plain text can reach.
fn check_added(
    added: &[Added],
    vocabulary: &BTreeMap<String, u32>,
    byte_ids: &[u32; 256],
    merges: &[(u32, u32, u32)],
    is_nfc: bool,
) -> Result<()> {
    // Hugging Face's tokenizers number by the order of the list what the vocabulary does not know, whatever `id` says.
    let (size, mut highest) = (vocabulary.len() as u32, None::<u32>);
    let mut misplaced = None;
    let names: BTreeMap<u32, &str> = vocabulary.iter().map(|(token, id)| (*id, token.as_str())).collect();
    let (mut by_id, mut by_text) = (BTreeMap::new(), BTreeMap::new());
    for token in added {
        let shown: String = token.content.chars().take(40).collect();
        let bad = |why: String| Err(Error::data(format!("added_tokens: {shown:?} (id {}): {why}", token.id)));
        let known = vocabulary.get(&token.content).copied();
        if token.content.is_empty() || token.content.len() > TOKEN_BYTES_MAX {
            return bad(format!("1 to {TOKEN_BYTES_MAX} bytes of content are needed"));
        } else if token.id >= IDS_MAX {
            return bad(format!("an id below {IDS_MAX} is needed"));
        } else if token.single_word || token.lstrip || token.rstrip {
            return bad("single_word, lstrip and rstrip are not supported".into());
        } else if known.is_some_and(|id| id != token.id) {
            return bad(format!("model.vocab gives it the id {}", known.unwrap_or_default()));
        } else if known.is_none() && names.contains_key(&token.id) {
            return bad(format!("model.vocab gives this id to {:?}", names[&token.id]));
        } else if by_id.insert(token.id, ()).is_some() || by_text.insert(token.content.as_str(), ()).is_some() {
            return bad("stands twice".into());
        } else if byte_ids.contains(&token.id) {
            return bad("is a single byte, so that plain text would become it".into());
        } else if is_nfc && token.normalized && Normalized::nfc(&token.content).text != token.content {
            return bad("normalized is true, and the content is not in NFC".into());
        }
        let expected = known.unwrap_or(highest.map_or(size, |id| (id + 1).max(size)));
        if token.id != expected && misplaced.is_none() {
            misplaced =
                Some(bad(format!("by its place in the list Hugging Face's tokenizers give it the id {expected}")));
        }
        highest = highest.max(Some(token.id));
    }
    match merges.iter().position(|merge| by_id.contains_key(&merge.2)) {
        None => misplaced.unwrap_or(Ok(())),
        Some(rank) => Err(Error::data(format!(
            "model.merges: merge {} gives id {}, which is an added token: plain text would become it",
            rank + 1,
            merges[rank].2
        ))),
    }
}
