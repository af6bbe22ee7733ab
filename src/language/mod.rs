//! The language model's side of the pipeline. Text: [`tokenizer`] turns text into ids and back,
//! [`template`] a conversation into text.

pub mod bpe;
mod byte_level;
pub mod example;
mod jinja_guard;
mod merges;
mod normalize;
mod row_forms;
pub mod rows;
mod split;
pub mod template;
pub mod tokenizer;
mod tokenizer_file;
