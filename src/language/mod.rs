//! The language model: a Qwen2 decoder with LoRA adapters, in the files of Hugging Face and PEFT.
//!
//! [`decoder`] is the model over packed documents, [`config`] what its `config.json` says, [`lora`] what an
//! `adapter_config.json` says, [`store`] the weights of both in files.

pub mod config;
pub mod decoder;
pub mod generate;
pub mod lora;
pub mod loss;
pub mod store;

#[cfg(test)]
mod tests;
