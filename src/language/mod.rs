//! The language model: text, a Qwen2 decoder with LoRA adapters, and decoding, in the files of Hugging Face and PEFT.
//!
//! Text: [`tokenizer`] turns text into ids and back, [`template`] a conversation into text, [`rows`] reads training rows and
//! [`example`] makes tokens with loss masks of them. Model: [`decoder`] over packed documents, [`config`] what its
//! `config.json` says, [`lora`] what an `adapter_config.json` says, [`store`] the weights of both in files, [`merge`] an adapter that becomes part of its base, [`loss`] what is
//! learned, [`generate`] tokens one by one.

pub mod bpe;
mod byte_level;
pub mod config;
pub mod decoder;
pub mod example;
pub mod generate;
mod jinja_guard;
mod jinja_values;
pub mod lora;
pub mod loss;
pub mod merge;
mod merges;
mod normalize;
mod row_forms;
pub mod rows;
mod split;
pub mod store;
pub mod template;
pub mod tokenizer;
mod tokenizer_file;

#[cfg(test)]
mod tests;
