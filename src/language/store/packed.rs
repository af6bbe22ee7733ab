//! Linear weights in eight and four bits as bitsandbytes writes them into safetensors files.
//!
//! **int8**: `X.weight` I8 [M,K], `X.SCB` f32 [M] (the largest magnitude of every row), `X.weight_format` (0: rows).
//!
//! **NF4**: `X.weight` U8, two numbers per byte; `X.weight.absmax` per block of 64, f32 or, quantised themselves, U8 beside
//! `X.weight.nested_absmax` and `X.weight.nested_quant_map`; `X.weight.quant_map`, the sixteen numbers;
//! `X.weight.quant_state.bitsandbytes__nf4`, JSON as bytes with shape, sizes of blocks and the offset of quantised magnitudes.

use crate::error::{Context as _, Error, Result};
use crate::ops::dequantize::{Absmax, Int8, NF4, NF4_BLOCK, Nf4, Rounding, SCALE_BLOCK};
use crate::ops::packed::{Packed, Packing};
use crate::tensor::Tensor;
use crate::weights::{Dtype, Tensors};
use serde::Deserialize;

const NF4_STATE: &str = ".quant_state.bitsandbytes__nf4";
const FP4_STATE: &str = ".quant_state.bitsandbytes__fp4";
const NF4_PARTS: [&str; 5] = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", NF4_STATE];
const INT8_PARTS: [&str; 2] = [".SCB", ".weight_format"];
/// Longest description of a weight that is read.
const MAX_STATE_BYTES: usize = 64 << 10;

/// What the files say of a weight in NF4.
#[derive(Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    dtype: String,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_offset: Option<f64>,
}

/// How the weight `name` of a linear layer is packed; `None` where it is plain or missing. Bytes in four bits may be written
/// as tensors of another type (`bnb_4bit_quant_storage`).
pub(super) fn packing(source: &Tensors, name: &str) -> Option<Packing> {
    let is = |dtype: Dtype| source.dtype(name).is_ok_and(|stored| stored == dtype);
    if is(Dtype::I8) {
        return Some(Packing::Int8);
    }
    let has_state = [NF4_STATE, FP4_STATE].iter().any(|state| source.contains(&format!("{name}{state}")));
    (is(Dtype::U8) || has_state).then_some(Packing::Nf4)
}

/// Refuses a table or a norm that is packed.
///
/// # Errors
/// `Data` naming it.
pub(super) fn expect_plain(source: &Tensors, name: &str) -> Result<()> {
    if packing(source, name).is_none() {
        return Ok(());
    }
    let path = source.path().display();
    Err(Error::data(format!(
        "{path}: tensor {name} is packed; only linear layers inside the decoder's layers are read so"
    ))
    .hint("pack the model with llm_int8_skip_modules=[\"lm_head\", ..], or give the model that it was made from"))
}

impl State {
    /// What unpacked numbers are rounded to.
    fn rounding(&self) -> Option<Rounding> {
        match self.dtype.as_str() {
            "float32" => Some(Rounding::None),
            "float16" => Some(Rounding::F16),
            "bfloat16" => Some(Rounding::Bf16),
            _ => None,
        }
    }
}

/// The names of the tensors that belong to the packed weight `name`.
pub(super) fn parts(source: &Tensors, name: &str) -> Vec<String> {
    let names: Vec<String> = match packing(source, name) {
        None => Vec::new(),
        Some(Packing::Nf4) => NF4_PARTS.map(|part| format!("{name}{part}")).to_vec(),
        Some(Packing::Int8) => INT8_PARTS.map(|part| format!("{}{part}", module(name))).to_vec(),
    };
    names.into_iter().filter(|name| source.contains(name)).collect()
}

/// The linear layer of a weight.
fn module(name: &str) -> &str {
    name.strip_suffix(".weight").unwrap_or(name)
}

/// Bytes of a packed weight in memory, scales included.
pub(super) fn bytes(source: &Tensors, name: &str) -> Result<u64> {
    let mut all = source.bytes(name)?.len();
    for part in parts(source, name) {
        let is_scale = [".absmax", ".nested_absmax", ".nested_quant_map", ".SCB"].iter().any(|end| part.ends_with(end));
        all += if is_scale { source.bytes(&part)?.len() } else { 0 };
    }
    Ok(all as u64)
}

/// Those of them that the host reads where they lie: values and packed magnitudes.
pub(super) fn mapped(source: &Tensors, name: &str) -> Result<u64> {
    let (absmax, mut all) = (format!("{name}.absmax"), source.bytes(name)?.len());
    if source.contains(&absmax) && source.dtype(&absmax)? == Dtype::U8 {
        all += source.bytes(&absmax)?.len();
    }
    Ok(all as u64)
}

/// Compares the headers of the packed weight `name` with its shape, before anything is allocated.
///
/// # Errors
/// `Data` naming file, tensor and what is wrong.
pub(super) fn expect(source: &Tensors, name: &str, [rows, columns]: [usize; 2]) -> Result<()> {
    let place = || format!("{}: tensor {name}", source.path().display());
    if packing(source, name) == Some(Packing::Int8) {
        super::names::expect_shape(source, name, &[rows, columns])?;
        return super::names::expect_shape(source, &format!("{}.SCB", module(name)), &[rows]);
    }
    if source.contains(&format!("{name}{FP4_STATE}")) {
        return Err(Error::data(format!("{}: it is packed in FP4, NF4 is read", place()))
            .hint("quantise the model with bnb_4bit_quant_type=\"nf4\", or give the model that it was made from"));
    }
    let state = state(source, name).context_with(place)?;
    let count = rows * columns;
    let wrong = |what: String| Err(Error::data(format!("{}: {what}", place())));
    if state.quant_type != "nf4" || state.blocksize != NF4_BLOCK {
        let State { quant_type, blocksize, .. } = state;
        return wrong(format!("{quant_type} in blocks of {blocksize}; nf4 in blocks of {NF4_BLOCK} is read"));
    }
    if state.shape != [rows, columns] {
        return wrong(format!("its state has shape {:?}, [{rows}, {columns}] is needed", state.shape));
    }
    if state.rounding().is_none() {
        return wrong(format!("its state has dtype {:?}: float32, float16 or bfloat16 is needed", state.dtype));
    }
    let stored = source.bytes(name)?.len();
    if stored != count.div_ceil(2) {
        return wrong(format!("{stored} bytes, {} are needed for [{rows}, {columns}]", count.div_ceil(2)));
    }
    let blocks = count.div_ceil(NF4_BLOCK);
    super::names::expect_shape(source, &format!("{name}.absmax"), &[blocks])?;
    super::names::expect_shape(source, &format!("{name}.quant_map"), &[NF4.len()])?;
    if source.dtype(&format!("{name}.absmax"))? == Dtype::U8 {
        let has_offset = state.nested_offset.is_some_and(|offset| (offset as f32).is_finite());
        if state.nested_blocksize.is_some_and(|size| size != SCALE_BLOCK) || !has_offset {
            return wrong(format!("magnitudes of blocks are read with a scale per {SCALE_BLOCK} and a finite offset"));
        }
        super::names::expect_shape(source, &format!("{name}.nested_absmax"), &[blocks.div_ceil(SCALE_BLOCK)])?;
        super::names::expect_shape(source, &format!("{name}.nested_quant_map"), &[256])?;
    }
    Ok(())
}

fn state(source: &Tensors, name: &str) -> Result<State> {
    let name = format!("{name}{NF4_STATE}");
    let bytes = source.bytes(&name).map_err(|e| e.hint("bytes are read as weights that bitsandbytes packed in NF4"))?;
    if bytes.len() > MAX_STATE_BYTES {
        return Err(Error::data(format!("{name}: a description of {} bytes", bytes.len())));
    }
    serde_json::from_slice(bytes).map_err(|e| Error::data(format!("{name}: {e}")))
}

/// Reads the packed weight `name` of this shape, its bytes where they lie in their file; `None` where it is plain.
///
/// # Errors
/// `Data` naming file and tensor: what [`expect`] refuses, scales that are not finite, another code than NF4's.
pub(super) fn read(source: &Tensors, name: &str, shape: [usize; 2]) -> Result<Option<Packed>> {
    let Some(packing) = packing(source, name) else { return Ok(None) };
    expect(source, name, shape)?;
    let numbers = |name: &str, shape: &[usize]| -> Result<Tensor> {
        Ok(Tensor::from_slice(shape, &source.parameter(name, shape)?))
    };
    if packing == Packing::Int8 {
        let module = module(name);
        let format = format!("{module}.weight_format");
        if source.contains(&format) && source.i64(&format)?.iter().any(|&v| v != 0) {
            return Err(Error::data(format!("{}: {format} is not 0 (rows)", source.path().display())));
        }
        let absmax = numbers(&format!("{module}.SCB"), &[shape[0]])?;
        return Ok(Some(Packed::Int8(Int8::new(source.raw(name, &shape)?, absmax))));
    }
    let code = source.parameter(&format!("{name}.quant_map"), &[NF4.len()])?;
    if code.iter().zip(NF4).any(|(found, wanted)| (found - wanted).abs() > 1e-6) {
        return Err(Error::data(format!("{}: {name}.quant_map is not the code of NF4", source.path().display())));
    }
    let state = state(source, name)?;
    let rounding = state.rounding().expect("checked with the headers");
    let (count, absmax) = (shape[0] * shape[1], format!("{name}.absmax"));
    let blocks = count.div_ceil(NF4_BLOCK);
    let absmax = if source.dtype(&absmax)? == Dtype::U8 {
        Absmax::Double {
            bytes: source.raw(&absmax, &[blocks])?,
            code: numbers(&format!("{name}.nested_quant_map"), &[256])?,
            scale: numbers(&format!("{name}.nested_absmax"), &[blocks.div_ceil(SCALE_BLOCK)])?,
            offset: state.nested_offset.expect("checked with the headers") as f32,
        }
    } else {
        Absmax::Plain(numbers(&absmax, &[blocks])?)
    };
    Ok(Some(Packed::Nf4(Nf4::new(shape, source.raw(name, &[count.div_ceil(2)])?, absmax, rounding))))
}
