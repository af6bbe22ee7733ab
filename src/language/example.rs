//! A training row as ids, with the tokens that the loss counts.

use super::rows::Row;
use super::template::{Role, Template};
use super::tokenizer::{Marks, Tokenizer};
use crate::error::{Error, Result};
use std::ops::Range;

/// Which tokens the loss counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// What follows `<answer>`; without that tag what follows `</think>`, and without both the whole response. A token
    /// that holds part of it counts.
    AnswerOnly,
    /// Everything that the model says: reasoning and answer.
    Response,
    /// Everything but the anchor of the audio: pre-training.
    All,
}

/// Token ids, and which of them are to be predicted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// One id per token.
    pub ids: Vec<u32>,
    /// Whether the loss counts the prediction of the token; one per id. The first token follows nothing and never counts.
    pub is_target: Vec<bool>,
    /// The place of the audio's anchor.
    pub anchor: Option<usize>,
}

/// Tags of a response that are trusted where they form it, and what they stand for inside it is not.
const TAGS: [&str; 4] = ["<think>", "</think>", "<answer>", "</answer>"];

/// The answer within a response, in bytes: see [`Mask::AnswerOnly`].
pub fn answer_of(response: &str) -> Range<usize> {
    let after = |tag: &str| response.rfind(tag).map(|at| at + tag.len());
    after("<answer>").or_else(|| after("</think>")).unwrap_or(0)..response.len()
}

/// The tags of a response that has the form `<think>..</think><answer>..</answer>`, either part alone, or none; in bytes.
/// A tag at another place is text: it was said, not meant.
pub fn tags_of(response: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for [open, close] in [[TAGS[0], TAGS[1]], [TAGS[2], TAGS[3]]] {
        let start = at + (response[at..].len() - response[at..].trim_start().len());
        let Some(inside) = response[start..].strip_prefix(open) else { continue };
        let Some(length) = inside.find(close) else { continue };
        let from = start + open.len();
        found.extend([start..from, from + length..from + length + close.len()]);
        at = from + length + close.len();
    }
    found
}

/// A prompt as ids: the conversation up to where the model answers.
///
/// # Errors
/// Those of [`Template::render`] and of encoding, with the place of the row.
pub fn prompt(tokenizer: &Tokenizer, template: &Template, row: &Row) -> Result<Example> {
    let mut conversation = row.content.conversation.clone();
    if conversation.turns.last().is_some_and(|turn| turn.role == Role::Assistant) {
        conversation.turns.pop();
    }
    let anchor = (!row.content.recordings.is_empty()).then(|| tokenizer.anchor_text());
    let rendered = template.render(&conversation, anchor, true).map_err(|e| e.context(&row.place))?;
    let encoded = tokenizer.encode_marked(&rendered.text, &rendered.marks()).map_err(|e| e.context(&row.place))?;
    let anchor = rendered.anchor.and_then(|range| encoded.ranges.iter().position(|r| *r == range));
    Ok(Example { is_target: vec![false; encoded.ids.len()], ids: encoded.ids, anchor })
}

/// A row as an example of at most `tokens_max` tokens. The token that ends a turn of the model belongs to what it says;
/// what the template writes after the last of them is left out.
///
/// # Errors
/// `Data` naming the row: no response, more tokens than the limit (nothing is cut), a template under which training and
/// generation begin an answer differently.
pub fn example(
    tokenizer: &Tokenizer,
    template: &Template,
    row: &Row,
    mask: Mask,
    tokens_max: usize,
) -> Result<Example> {
    build(tokenizer, template, row, mask, tokens_max).map_err(|e| e.context(&row.place))
}

fn build(tokenizer: &Tokenizer, template: &Template, row: &Row, mask: Mask, tokens_max: usize) -> Result<Example> {
    let mut conversation = row.content.conversation.clone();
    if conversation.turns.last().is_none_or(|turn| turn.role != Role::Assistant) {
        return Err(Error::data("the row has no response to learn from").hint("stage 4 samples responses to such rows"));
    }
    let anchor = (!row.content.recordings.is_empty()).then(|| tokenizer.anchor_text());
    let rendered = template.render(&conversation, anchor, false)?;
    let last = conversation.turns.pop();
    let begun = template.render(&conversation, anchor, true)?;
    let start = rendered.turns.last().map_or(0, |range| range.start);
    if rendered.text[..start] != begun.text && last.is_some_and(|turn| !turn.content.is_empty()) {
        return Err(Error::data("the chat template begins an answer in training otherwise than in generation"));
    }
    let said: Vec<Range<usize>> = (row.content.conversation.turns.iter().zip(&rendered.turns))
        .filter(|(turn, _)| turn.role == Role::Assistant)
        .map(|(_, range)| range.clone())
        .collect();
    let encoded = tokenizer.encode_marked(&rendered.text, &marks(&rendered.marks(), &rendered.text, &said))?;
    // The end of each turn of the model: the first token behind its content, when that is a special one.
    let end_of = |range: &Range<usize>| {
        let next = encoded.ranges.partition_point(|r| r.start < range.end);
        (next < encoded.ids.len() && tokenizer.is_added(encoded.ids[next])).then_some(next)
    };
    let ends: Vec<usize> = said.iter().filter_map(end_of).collect();
    let length = ends.last().map_or(encoded.ids.len(), |end| end + 1);
    if length > tokens_max {
        return Err(Error::data(format!(
            "{length} tokens, {} more than the limit of {tokens_max}; nothing is cut",
            length - tokens_max
        ))
        .hint("raise the limit, shorten the row or leave it out"));
    }
    let anchor = rendered.anchor.and_then(|range| encoded.ranges.iter().position(|r| *r == range));
    let targets: Vec<Range<usize>> = match mask {
        Mask::All => std::iter::once(0..rendered.text.len()).collect(),
        Mask::Response => said,
        Mask::AnswerOnly => {
            said.iter().map(|range| shifted(answer_of(&rendered.text[range.clone()]), range.start)).collect()
        }
    };
    let is_target = (0..length)
        .map(|i| {
            let range = &encoded.ranges[i];
            let is_said = targets.iter().any(|t| range.start < t.end && range.end > t.start);
            i > 0 && Some(i) != anchor && (is_said || ends.contains(&i))
        })
        .collect();
    Ok(Example { ids: encoded.ids[..length].to_vec(), is_target, anchor })
}

fn shifted(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// Contents are untrusted, but for the tags that give a response its form.
fn marks(all: &Marks, text: &str, said: &[Range<usize>]) -> Marks {
    let mut untrusted = Vec::new();
    for range in &all.untrusted {
        let tags = if said.contains(range) { tags_of(&text[range.clone()]) } else { Vec::new() };
        let mut at = range.start;
        for tag in tags {
            untrusted.push(at..range.start + tag.start);
            at = range.start + tag.end;
        }
        untrusted.push(at..range.end);
    }
    untrusted.retain(|range| !range.is_empty());
    Marks { untrusted, anchor: all.anchor.clone() }
}

#[cfg(test)]
#[path = "example_tests.rs"]
mod tests;
