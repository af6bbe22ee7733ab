//! The operations: one file per op with its formula, shape checks, forward, backward, reference and cases.
//!
//! Host code of an op runs on one thread, unless [`crate::tape::Tape::with_products`] says otherwise to products, decoding
//! and rows of logits: parallelism lies above, over clips and over the chunks of a map ([`crate::nn::chunks`]), where the working
//! set fits a core's cache. To add an op:
//! write `ops/<op>.rs` (and `kernels/<op>.cu`), add its line here and its cases to [`cases`].

pub mod activation;
pub mod adamw;
pub mod arrange;
pub mod attention;
pub mod band_pool;
pub mod bce;
pub mod conv1d;
pub mod convolve;
pub mod cross_band;
pub mod decode_attention;
pub mod dequantize;
pub mod dora_linear;
pub mod elementwise;
pub mod embedding;
pub mod freq_conv;
pub mod full_band;
pub mod group_norm;
pub mod image_source;
pub mod kv_cache;
pub mod l2_normalize;
pub mod layer_norm;
pub mod linear;
pub mod linear_cross_entropy;
pub mod log_mel;
pub mod lora_linear;
pub mod lstm;
pub mod matmul;
pub mod packed;
pub mod prelu;
pub mod quantize;
pub mod rms_norm;
pub mod rope;
pub mod sample;
pub mod span_mean;
pub mod spatial_loss;
pub mod stft;
pub mod swiglu;
pub mod unfold;

use crate::check::Case;

/// Every case of every op.
pub fn cases() -> Vec<Case> {
    let groups = [
        matmul::cases(),
        linear::cases(),
        lora_linear::cases(),
        layer_norm::cases(),
        activation::cases(),
        prelu::cases(),
        group_norm::cases(),
        full_band::cases(),
        lstm::cases(),
        band_pool::cases(),
        l2_normalize::cases(),
        elementwise::cases(),
        arrange::cases(),
        stft::cases(),
        log_mel::cases(),
        unfold::cases(),
        span_mean::cases(),
        bce::cases(),
        spatial_loss::cases(),
        conv1d::cases(),
        freq_conv::cases(),
        cross_band::cases(),
        attention::cases(),
        decode_attention::cases(),
        rms_norm::cases(),
        rope::cases(),
        swiglu::cases(),
        embedding::cases(),
        linear_cross_entropy::cases(),
    ];
    groups.into_iter().flatten().collect()
}

/// How a sum over `n` rows is cut for a kernel: slices of `rows` rows, whose sums are added in order afterwards.
struct Slices {
    rows: usize,
    count: usize,
}

/// At least `rows_min` rows per slice, and not more slices than keep a GPU busy.
fn slices(n: usize, rows_min: usize) -> Slices {
    const SLICES_MAX: usize = 256;
    let rows = n.div_ceil(SLICES_MAX).max(rows_min);
    Slices { rows, count: n.div_ceil(rows).max(1) }
}

/// Number of rows of length `last` in a shape.
fn row_count(shape: &[usize]) -> usize {
    shape[..shape.len().saturating_sub(1)].iter().product()
}
