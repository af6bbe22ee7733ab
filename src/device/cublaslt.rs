//! Matrix products by cuBLASLt: row-major, in strided batches, f32 or bf16 in, f32 sums.
//!
//! cuBLAS counts columns first. A row-major matrix read that way is its transpose, and `C = A B` becomes
//! `Cᵀ = Bᵀ Aᵀ`: the operands change places and nothing is copied. What the library chooses for a shape is asked once
//! and kept. Sums are split over blocks only through f32 partial sums in the workspace, added in a fixed order: the same
//! bytes in every run.

use crate::device::cuda::{self, Block, Gpu};
use crate::device::library::{CUBLASLT, Library, table};
use crate::error::{Error, Kind, Result};
use cudarc::cublaslt::sys;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Mutex;

/// What NVIDIA recommends for the newest architectures; the library refuses algorithms that need more.
const WORKSPACE_BYTES: usize = 32 << 20;

table! {
    /// The functions of cuBLASLt that are used.
    Functions, sys::cublasStatus_t {
        fn cublasLtCreate(handle: *mut sys::cublasLtHandle_t);
        fn cublasLtDestroy(handle: sys::cublasLtHandle_t);
        fn cublasLtMatmulDescCreate(
            work: *mut sys::cublasLtMatmulDesc_t, sums: sys::cublasComputeType_t, scale: sys::cudaDataType,
        );
        fn cublasLtMatmulDescDestroy(work: sys::cublasLtMatmulDesc_t);
        fn cublasLtMatmulDescSetAttribute(
            work: sys::cublasLtMatmulDesc_t, which: sys::cublasLtMatmulDescAttributes_t,
            value: *const c_void, bytes: usize,
        );
        fn cublasLtMatrixLayoutCreate(
            layout: *mut sys::cublasLtMatrixLayout_t, kind: sys::cudaDataType, rows: u64, columns: u64, step: i64,
        );
        fn cublasLtMatrixLayoutDestroy(layout: sys::cublasLtMatrixLayout_t);
        fn cublasLtMatrixLayoutSetAttribute(
            layout: sys::cublasLtMatrixLayout_t, which: sys::cublasLtMatrixLayoutAttribute_t,
            value: *const c_void, bytes: usize,
        );
        fn cublasLtMatmulPreferenceCreate(preference: *mut sys::cublasLtMatmulPreference_t);
        fn cublasLtMatmulPreferenceDestroy(preference: sys::cublasLtMatmulPreference_t);
        fn cublasLtMatmulPreferenceSetAttribute(
            preference: sys::cublasLtMatmulPreference_t, which: sys::cublasLtMatmulPreferenceAttributes_t,
            value: *const c_void, bytes: usize,
        );
        fn cublasLtMatmulAlgoGetHeuristic(
            handle: sys::cublasLtHandle_t, work: sys::cublasLtMatmulDesc_t,
            a: sys::cublasLtMatrixLayout_t, b: sys::cublasLtMatrixLayout_t,
            c: sys::cublasLtMatrixLayout_t, d: sys::cublasLtMatrixLayout_t,
            preference: sys::cublasLtMatmulPreference_t, wanted: c_int,
            found: *mut sys::cublasLtMatmulHeuristicResult_t, count: *mut c_int,
        );
        fn cublasLtMatmul(
            handle: sys::cublasLtHandle_t, work: sys::cublasLtMatmulDesc_t,
            alpha: *const c_void, a: *const c_void, a_layout: sys::cublasLtMatrixLayout_t,
            b: *const c_void, b_layout: sys::cublasLtMatrixLayout_t,
            beta: *const c_void, c: *const c_void, c_layout: sys::cublasLtMatrixLayout_t,
            d: *mut c_void, d_layout: sys::cublasLtMatrixLayout_t,
            algorithm: *const sys::cublasLtMatmulAlgo_t, workspace: *mut c_void, bytes: usize,
            stream: sys::cudaStream_t,
        );
    }
}

/// Calls a function of the library; its failure is an error that begins with its name. Stands in unsafe code.
macro_rules! call {
    ($functions:expr, $name:ident($($argument:expr),* $(,)?)) => {
        check(stringify!($name), ($functions.$name)($($argument),*))
    };
}

/// How the numbers of a matrix are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Storage {
    /// Four bytes.
    F32,
    /// Two bytes.
    Bf16,
}

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
    pub inputs: Storage,
    /// How `C` is stored.
    pub output: Storage,
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
type Key = ([usize; 4], [bool; 2], [usize; 3], [Storage; 2], [u32; 3]);

/// Descriptions of a product and the algorithm for it.
struct Plan {
    functions: &'static Functions,
    work: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Drop for Plan {
    fn drop(&mut self) {
        let f = self.functions;
        // SAFETY: made by this library, given back once; a null pointer is one that was not made.
        unsafe {
            for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
                warn(call!(f, cublasLtMatrixLayoutDestroy(layout)));
            }
            if !self.work.is_null() {
                warn(call!(f, cublasLtMatmulDescDestroy(self.work)));
            }
        }
    }
}

/// Search limits, given back after use.
struct Preference(&'static Functions, sys::cublasLtMatmulPreference_t);

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: made by this library, given back once.
        warn(unsafe { call!(self.0, cublasLtMatmulPreferenceDestroy(self.1)) });
    }
}

/// Whether matrix products can use cuBLASLt.
///
/// # Errors
/// [`Kind::Unavailable`] when the library is not found or lacks a function; the next call looks again.
pub fn probe() -> Result<()> {
    functions().map(|_| ())
}

fn functions() -> Result<&'static Functions> {
    static FOUND: Mutex<Option<&'static Functions>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(functions) = *found {
        return Ok(functions);
    }
    let library = Box::leak(Box::new(Library::open(&CUBLASLT, cuda::newest_major())?));
    let functions = Functions::load(library).map_err(|name| {
        Error::unavailable(format!("cuBLASLt at {} has no {name}", library.place())).hint(CUBLASLT.hint)
    })?;
    let functions = &*Box::leak(Box::new(functions));
    *found = Some(functions);
    Ok(functions)
}

impl Matmul {
    /// Puts the product into the compute stream.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] without the library; else when it refuses the product or memory for its workspace is short.
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

impl Storage {
    fn bytes(self) -> usize {
        match self {
            Storage::F32 => 4,
            Storage::Bf16 => 2,
        }
    }

    fn kind(self) -> sys::cudaDataType {
        match self {
            Storage::F32 => sys::cudaDataType::CUDA_R_32F,
            Storage::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        }
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
        let (functions, workspace) = (functions()?, gpu.alloc(WORKSPACE_BYTES)?);
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
            self.plans.insert(key, self.plan(matmul, alignments)?);
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

    fn plan(&self, matmul: &Matmul, [align_a, align_b, align_c]: [u32; 3]) -> Result<Plan> {
        let f = self.functions;
        let null = std::ptr::null_mut();
        // SAFETY: plain numbers, for all of which zero is a value.
        let algorithm = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut plan = Plan { functions: f, work: null, layouts: [null.cast(); 3], algorithm };
        let sums = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        // SAFETY: places for the handles.
        unsafe { call!(f, cublasLtMatmulDescCreate(&mut plan.work, sums, sys::cudaDataType::CUDA_R_32F))? };
        use sys::cublasLtMatmulDescAttributes_t as Work;
        // The library's first operand is our second.
        let operations = [
            (Work::CUBLASLT_MATMUL_DESC_TRANSA, matmul.transpose_b),
            (Work::CUBLASLT_MATMUL_DESC_TRANSB, matmul.transpose_a),
        ];
        for (which, transpose) in operations {
            let value = i32::from(transpose);
            // SAFETY: these attributes are 32 bits wide; 0 leaves as is, 1 transposes.
            unsafe { call!(f, cublasLtMatmulDescSetAttribute(plan.work, which, (&raw const value).cast(), 4))? };
        }
        let Matmul { m, n, k, .. } = *matmul;
        // Columns-first: extents of the stored matrix from its last axis.
        let stored_a = if matmul.transpose_a { (m, k) } else { (k, m) };
        let stored_b = if matmul.transpose_b { (k, n) } else { (n, k) };
        let kinds = [matmul.inputs, matmul.inputs, matmul.output];
        for (i, (rows, columns)) in [stored_a, stored_b, (n, m)].into_iter().enumerate() {
            plan.layouts[i] = self.layout(kinds[i], rows, columns, matmul.batch, matmul.strides[i])?;
        }
        plan.algorithm = self.algorithm(&plan, [align_b, align_a, align_c])?;
        Ok(plan)
    }

    /// Describes a stored matrix and its batch; what was made is given back on failure.
    fn layout(
        &self,
        kind: Storage,
        rows: usize,
        columns: usize,
        batch: usize,
        stride: usize,
    ) -> Result<sys::cublasLtMatrixLayout_t> {
        use sys::cublasLtMatrixLayoutAttribute_t as Layout;
        let f = self.functions;
        let (mut layout, step) = (std::ptr::null_mut(), rows.max(1) as i64);
        let (count, stride) = (batch as i32, stride as i64);
        // SAFETY: a place for the handle; the batch count is 32 bits wide, the stride 64.
        unsafe {
            call!(f, cublasLtMatrixLayoutCreate(&mut layout, kind.kind(), rows as u64, columns as u64, step))?;
            let set = |which, value: *const c_void, bytes| {
                call!(f, cublasLtMatrixLayoutSetAttribute(layout, which, value, bytes))
            };
            let described = set(Layout::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, (&raw const count).cast(), 4)
                .and_then(|()| set(Layout::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, (&raw const stride).cast(), 8));
            if let Err(error) = described {
                warn(call!(f, cublasLtMatrixLayoutDestroy(layout)));
                return Err(error);
            }
        }
        Ok(layout)
    }

    /// Asks the library for its best algorithm within the workspace.
    fn algorithm(&self, plan: &Plan, alignments: [u32; 3]) -> Result<sys::cublasLtMatmulAlgo_t> {
        use sys::cublasLtMatmulPreferenceAttributes_t as P;
        let f = self.functions;
        let mut handle = std::ptr::null_mut();
        // SAFETY: a place for the handle.
        unsafe { call!(f, cublasLtMatmulPreferenceCreate(&mut handle))? };
        let preference = Preference(f, handle);
        let (bytes, [a, b, c]) = (WORKSPACE_BYTES, alignments);
        // Partial sums in f32 in the workspace: no atomics, and no rounding to bf16 on the way.
        let reduction = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
        let words = [
            (P::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, a),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, b),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c),
        ];
        let set = |which, value: *const c_void, bytes| {
            // SAFETY: the workspace's size is 64 bits wide, the others 32.
            unsafe { call!(f, cublasLtMatmulPreferenceSetAttribute(preference.1, which, value, bytes)) }
        };
        set(P::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (&raw const bytes).cast(), size_of::<usize>())?;
        for (which, value) in words {
            set(which, (&raw const value).cast(), 4)?;
        }
        let [a, b, c] = plan.layouts;
        let (mut found, mut count) = (MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::zeroed(), 0);
        // SAFETY: descriptions of this library and one place for an answer.
        unsafe {
            let (to, handle, preference) = (found.as_mut_ptr(), self.handle, preference.1);
            let asked =
                call!(f, cublasLtMatmulAlgoGetHeuristic(handle, plan.work, b, a, c, c, preference, 1, to, &mut count));
            asked?;
            // As a number: the library may know more values than the bindings.
            check("cublasLtMatmulAlgoGetHeuristic", (&raw const (*to).state).cast::<u32>().read())?;
            if count == 0 {
                let status = sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED;
                check("cublasLtMatmulAlgoGetHeuristic", status as u32)?;
            }
            Ok((&raw const (*to).algo).read())
        }
    }
}

fn warn(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!("{}", error.message());
    }
}

/// An error naming the call and its status.
fn check(call: &str, status: u32) -> Result<()> {
    use sys::cublasStatus_t as S;
    let known = [
        S::CUBLAS_STATUS_NOT_INITIALIZED,
        S::CUBLAS_STATUS_ALLOC_FAILED,
        S::CUBLAS_STATUS_INVALID_VALUE,
        S::CUBLAS_STATUS_ARCH_MISMATCH,
        S::CUBLAS_STATUS_EXECUTION_FAILED,
        S::CUBLAS_STATUS_INTERNAL_ERROR,
        S::CUBLAS_STATUS_NOT_SUPPORTED,
    ];
    if status == S::CUBLAS_STATUS_SUCCESS as u32 {
        return Ok(());
    }
    let name = known.iter().find(|s| **s as u32 == status).map_or(format!("status {status}"), |s| format!("{s:?}"));
    Err(Error::new(Kind::Other, format!("{call}: {name}")))
}
