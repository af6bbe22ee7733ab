//! Matrix products by cuBLASLt: row-major, in strided batches, f32 or bf16 in, f32 sums, with what is added to them.
//!
//! cuBLAS counts columns first. A row-major matrix read that way is its transpose, and `C = A B` becomes
//! `Cᵀ = Bᵀ Aᵀ`: the operands change places and nothing is copied. What the library chooses for a shape is asked once
//! and kept. Sums are split over blocks only through f32 partial sums in the workspace, added in a fixed order: the
//! same bytes in every run.

mod functions;
mod plan;

use super::{Block, Gpu};
use crate::device::DType;
use crate::error::Result;
use cudarc::cublaslt::sys;
use functions::{Functions, call, warn};
use plan::Plan;
use std::collections::BTreeMap;
use std::ffi::c_void;

/// What NVIDIA recommends for the newest architectures; the library refuses algorithms that need more.
const WORKSPACE_BYTES: usize = 32 << 20;

/// `C[i] = alpha op(A[i]) op(B[i])` and its [`Addends`] for every `i < batch`: `op(A)` is `[m, k]`, `op(B)` is `[k, n]`,
/// `C` is `[m, n]`, all row-major without gaps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matmul {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// Number of products.
    pub batch: usize,
    /// Whether `A` is stored as `[k, m]`.
    pub transpose_a: bool,
    /// Whether `B` is stored as `[n, k]`, as the weights of a linear layer are.
    pub transpose_b: bool,
    /// Elements from one `A`, `B` and `C` to the next; 0 uses the same matrix for all.
    pub strides: [usize; 3],
    /// How `A` and `B` are stored.
    pub inputs: DType,
    /// How `C` is stored.
    pub output: DType,
    /// Factor of the product.
    pub alpha: f32,
}

/// What is added to a product before it is rounded to the type of the result.
#[derive(Clone, Copy, Default)]
pub struct Addends<'a> {
    /// `[n]` in f32: a number per column, the same for each product of the batch.
    pub bias: Option<Place<'a>>,
    /// A matrix per product, stored as `C` is; `C` itself to add to what it held.
    pub matrix: Option<Place<'a>>,
}

/// A matrix on the device: a block and the byte where the matrix begins.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The memory.
    pub block: &'a Block,
    /// Bytes from its begin.
    pub offset: usize,
}

/// The library's state for one GPU.
pub(crate) struct CublasLt {
    functions: &'static Functions,
    handle: sys::cublasLtHandle_t,
    workspace: Block,
    /// `None` for a product that the library has no algorithm for.
    plans: BTreeMap<Key, Option<Plan>>,
    /// Whether it was said that there is such a product.
    is_refusal_said: bool,
}

// SAFETY: the library's objects may be used from every thread, by one at a time: the mutex of the GPU sees to it.
unsafe impl Send for CublasLt {}

/// What the choice of an algorithm depends on: everything but the factor, and the alignment of the operands; 0 for a
/// bias that is not there.
type Key = ([usize; 4], [bool; 2], [usize; 3], [DType; 2], [u32; 5]);

/// Whether matrix products can use cuBLASLt.
///
/// # Errors
/// [`Kind::Unavailable`](crate::error::Kind::Unavailable) when the library is not found or lacks a function; the next
/// call looks again.
pub fn probe() -> Result<()> {
    functions::open().map(|_| ())
}

impl Matmul {
    /// Puts the product into the compute stream; false when the library has no algorithm for it and nothing was done.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::error::Kind::Unavailable) without the library; else when it refuses the product or
    /// memory for its workspace is short.
    ///
    /// # Panics
    /// When a matrix reaches beyond its block or the blocks lie on different GPUs.
    #[track_caller]
    pub fn run(&self, a: Place, b: Place, addends: Addends, c: Place) -> Result<bool> {
        let gpu = c.block.gpu();
        self.check_places(gpu, [a, b, c], addends);
        if self.m == 0 || self.n == 0 || self.batch == 0 {
            return Ok(true);
        }
        gpu.enter()?;
        gpu.touch([Some(a), Some(b), Some(c), addends.bias, addends.matrix].into_iter().flatten().map(|p| p.block));
        let mut state = gpu.blas.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let done = match state.as_mut() {
            Some(blas) => blas.run(gpu, self, [a, b, c], addends),
            None => CublasLt::new(gpu).and_then(|blas| state.insert(blas).run(gpu, self, [a, b, c], addends)),
        };
        done.map_err(|error| {
            let Matmul { m, n, k, batch, .. } = self;
            gpu.named(error.context(format!("product of {batch} x [{m}, {k}] and [{k}, {n}]")))
        })
    }

    #[track_caller]
    fn check_places(&self, gpu: &Gpu, places: [Place; 3], addends: Addends) {
        let sizes = [self.m * self.k, self.k * self.n, self.m * self.n];
        let widths = [self.inputs.bytes(), self.inputs.bytes(), self.output.bytes()];
        assert!(self.k > 0, "a product with sums of length 0");
        assert!(self.strides[2] >= sizes[2] || self.batch < 2, "the results of a batch overlap");
        let check = |what: &str, place: Place, bytes: usize| {
            assert!(std::ptr::eq(place.block.gpu(), gpu), "operands on different GPUs");
            let (end, all) = (place.offset + bytes, place.block.bytes());
            assert!(end <= all, "{what} of {self:?} ends at byte {end} of a block of {all}");
        };
        let bytes = |i: usize| (self.strides[i] * self.batch.saturating_sub(1) + sizes[i]) * widths[i];
        (0..3).for_each(|i| check(["a", "b", "c"][i], places[i], bytes(i)));
        addends.bias.into_iter().for_each(|bias| check("the bias", bias, 4 * self.n));
        addends.matrix.into_iter().for_each(|matrix| check("the added matrix", matrix, bytes(2)));
    }
}

/// The library's name of a storage type. Panics for integers, which are not multiplied.
#[track_caller]
fn kind(dtype: DType) -> sys::cudaDataType {
    match dtype {
        DType::F32 => sys::cudaDataType::CUDA_R_32F,
        DType::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        other => panic!("matrices of {other:?} are not multiplied"),
    }
}

impl Drop for CublasLt {
    fn drop(&mut self) {
        // SAFETY: made by this library, given back once; plans do not refer to it.
        warn(unsafe { call!(self.functions, cublasLtDestroy(self.handle)) });
    }
}

impl CublasLt {
    fn new(gpu: &'static Gpu) -> Result<CublasLt> {
        let (functions, workspace) = (functions::open()?, gpu.alloc(WORKSPACE_BYTES)?);
        let mut handle = std::ptr::null_mut();
        // SAFETY: a place for the handle; the GPU's context is current.
        unsafe { call!(functions, cublasLtCreate(&mut handle))? };
        Ok(CublasLt { functions, handle, workspace, plans: BTreeMap::new(), is_refusal_said: false })
    }

    fn run(&mut self, gpu: &Gpu, matmul: &Matmul, places: [Place; 3], addends: Addends) -> Result<bool> {
        let address = |place: Place| place.block.address() + place.offset as u64;
        let [a, b, c] = places.map(address);
        // Without a matrix to add the library does not read what C held.
        let (added, beta) = (addends.matrix.map_or(c, address), if addends.matrix.is_some() { 1f32 } else { 0.0 });
        let bias = addends.bias.map(address);
        // Blocks are aligned to 256 bytes, and no algorithm asks for more.
        let alignment = |address: u64| 1 << address.trailing_zeros().min(8);
        let alignments = [alignment(a), alignment(b), alignment(added), alignment(c), bias.map_or(0, alignment)];
        let Matmul { m, n, k, batch, strides, .. } = *matmul;
        let transposes = [matmul.transpose_a, matmul.transpose_b];
        let key = ([m, n, k, batch], transposes, strides, [matmul.inputs, matmul.output], alignments);
        if !self.plans.contains_key(&key) {
            self.plans.insert(key, Plan::new(self.functions, self.handle, matmul, bias, alignments)?);
        }
        let Some(plan) = &self.plans[&key] else {
            if !self.is_refusal_said {
                tracing::info!(
                    "cuBLASLt has no algorithm for {batch} x [{m}, {k}] and [{k}, {n}]: products that it refuses go to \
                     own kernels"
                );
            }
            self.is_refusal_said = true;
            return Ok(false);
        };
        gpu.touch([&self.workspace]);
        bias.map_or(Ok(()), |bias| plan.set_bias(bias))?;
        let [a, b, c, added] = [a, b, c, added].map(|address| address as *mut c_void);
        let [a_layout, b_layout, c_layout] = plan.layouts;
        let (alpha, beta) = ((&raw const matmul.alpha).cast(), (&raw const beta).cast());
        let (workspace, stream) = (self.workspace.address() as *mut c_void, gpu.compute.handle.cast());
        // SAFETY: the places were checked; operands change places, see above. The workspace is used in stream order.
        unsafe {
            call!(
                self.functions,
                cublasLtMatmul(
                    self.handle,
                    plan.work,
                    alpha,
                    b,
                    b_layout,
                    a,
                    a_layout,
                    beta,
                    added,
                    c_layout,
                    c,
                    c_layout,
                    &plan.algorithm,
                    workspace,
                    WORKSPACE_BYTES,
                    stream,
                )
            )?;
        }
        Ok(true)
    }
}
