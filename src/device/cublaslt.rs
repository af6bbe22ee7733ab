//! Matrix products by cuBLASLt: row-major, in strided batches, f32 or bf16 in, f32 sums.
//!
//! cuBLAS counts columns first. A row-major matrix read that way is its transpose, and `C = A B` becomes
//! `Cᵀ = Bᵀ Aᵀ`: the operands change places and nothing is copied. What the library chooses for a shape is asked once
//! and kept. Sums are split over blocks only through f32 partial sums in the workspace, added in a fixed order: the
//! same bytes in every run.

mod functions;
mod plan;

use crate::device::DType;
use crate::device::cuda::{Block, Gpu};
use crate::error::Result;
use cudarc::cublaslt::sys;
use functions::{Functions, call, warn};
use plan::Plan;
use std::collections::BTreeMap;
use std::ffi::c_void;

/// What NVIDIA recommends for the newest architectures; the library refuses algorithms that need more.
const WORKSPACE_BYTES: usize = 32 << 20;

/// `C[i] = alpha op(A[i]) op(B[i]) + beta C[i]` for every `i < batch`: `op(A)` is `[m, k]`, `op(B)` is `[k, n]`, `C` is
/// `[m, n]`, all row-major without gaps.
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
    /// Factor of what `C` held; 0: it is only written.
    pub beta: f32,
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
    plans: BTreeMap<Key, Plan>,
}

// SAFETY: the library's objects may be used from every thread, by one at a time: the mutex of the GPU sees to it.
unsafe impl Send for CublasLt {}

/// What the choice of an algorithm depends on: everything but the two factors, and the alignment of the operands.
type Key = ([usize; 4], [bool; 2], [usize; 3], [DType; 2], [u32; 3]);

/// Whether matrix products can use cuBLASLt.
///
/// # Errors
/// [`Kind::Unavailable`](crate::error::Kind::Unavailable) when the library is not found or lacks a function; the next
/// call looks again.
pub fn probe() -> Result<()> {
    functions::open().map(|_| ())
}

impl Matmul {
    /// Puts the product into the compute stream.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::error::Kind::Unavailable) without the library; else when it refuses the product or
    /// memory for its workspace is short.
    ///
    /// # Panics
    /// When a matrix reaches beyond its block or the blocks lie on different GPUs.
    #[track_caller]
    pub fn run(&self, a: Place, b: Place, c: Place) -> Result<()> {
        let gpu = c.block.gpu();
        self.check_places(gpu, [a, b, c]);
        if self.m == 0 || self.n == 0 || self.batch == 0 {
            return Ok(());
        }
        gpu.enter()?;
        let mut state = gpu.blas.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let done = match state.as_mut() {
            Some(blas) => blas.run(gpu, self, [a, b, c]),
            None => CublasLt::new(gpu).and_then(|blas| state.insert(blas).run(gpu, self, [a, b, c])),
        };
        done.map_err(|error| {
            let Matmul { m, n, k, batch, .. } = self;
            gpu.named(error.context(format!("product of {batch} x [{m}, {k}] and [{k}, {n}]")))
        })
    }

    #[track_caller]
    fn check_places(&self, gpu: &Gpu, places: [Place; 3]) {
        let sizes = [self.m * self.k, self.k * self.n, self.m * self.n];
        let widths = [self.inputs.bytes(), self.inputs.bytes(), self.output.bytes()];
        assert!(self.k > 0, "a product with sums of length 0");
        assert!(self.strides[2] >= sizes[2] || self.batch < 2, "the results of a batch overlap");
        for (i, place) in places.iter().enumerate() {
            assert!(std::ptr::eq(place.block.gpu(), gpu), "operands on different GPUs");
            let elements = self.strides[i] * self.batch.saturating_sub(1) + sizes[i];
            let (end, bytes) = (place.offset + elements * widths[i], place.block.bytes());
            assert!(end <= bytes, "operand {i} of {self:?} ends at byte {end} of a block of {bytes}");
        }
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
        Ok(CublasLt { functions, handle, workspace, plans: BTreeMap::new() })
    }

    fn run(&mut self, gpu: &Gpu, matmul: &Matmul, places: [Place; 3]) -> Result<()> {
        let addresses = places.map(|place| place.block.address() + place.offset as u64);
        // Blocks are aligned to 256 bytes, and no algorithm asks for more.
        let alignments = addresses.map(|address| 1 << address.trailing_zeros().min(8));
        let Matmul { m, n, k, batch, strides, .. } = *matmul;
        let transposes = [matmul.transpose_a, matmul.transpose_b];
        let key = ([m, n, k, batch], transposes, strides, [matmul.inputs, matmul.output], alignments);
        if !self.plans.contains_key(&key) {
            self.plans.insert(key, Plan::new(self.functions, self.handle, matmul, alignments)?);
        }
        let plan = &self.plans[&key];
        let [a, b, c] = addresses.map(|address| address as *mut c_void);
        let [a_layout, b_layout, c_layout] = plan.layouts;
        let (alpha, beta) = ((&raw const matmul.alpha).cast(), (&raw const matmul.beta).cast());
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
                    c,
                    c_layout,
                    c,
                    c_layout,
                    &plan.algorithm,
                    workspace,
                    WORKSPACE_BYTES,
                    stream,
                )
            )
        }
    }
}
