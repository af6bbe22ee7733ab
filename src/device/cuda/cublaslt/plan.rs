//! What the library has to know about a product, and the algorithm that it chooses.

use super::functions::{Functions, call, check, warn};
use super::{Matmul, WORKSPACE_BYTES, kind};
use crate::device::DType;
use crate::error::Result;
use cudarc::cublaslt::sys;
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// Descriptions of a product and the algorithm for it.
pub(super) struct Plan {
    functions: &'static Functions,
    pub(super) work: sys::cublasLtMatmulDesc_t,
    pub(super) layouts: [sys::cublasLtMatrixLayout_t; 3],
    pub(super) algorithm: sys::cublasLtMatmulAlgo_t,
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

impl Plan {
    /// Describes a product and asks for its algorithm; `None` when there is none. `bias` is the address of one number
    /// per column; `alignments` are those of A, B, the added matrix, C and the bias in bytes.
    pub(super) fn new(
        f: &'static Functions,
        handle: sys::cublasLtHandle_t,
        matmul: &Matmul,
        bias: Option<u64>,
        alignments: [u32; 5],
    ) -> Result<Option<Plan>> {
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
        if let Some(bias) = bias {
            // The library's rows are our columns.
            let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as u32;
            let stored = sys::cudaDataType::CUDA_R_32F as u32;
            let words =
                [(Work::CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue), (Work::CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, stored)];
            for (which, value) in words {
                // SAFETY: these attributes are 32 bits wide.
                unsafe { call!(f, cublasLtMatmulDescSetAttribute(plan.work, which, (&raw const value).cast(), 4))? };
            }
            plan.set_bias(bias)?;
        }
        let Matmul { m, n, k, .. } = *matmul;
        // Columns-first: extents of the stored matrix from its last axis.
        let stored_a = if matmul.transpose_a { (m, k) } else { (k, m) };
        let stored_b = if matmul.transpose_b { (k, n) } else { (n, k) };
        let kinds = [matmul.inputs, matmul.inputs, matmul.output];
        for (i, (rows, columns)) in [stored_a, stored_b, (n, m)].into_iter().enumerate() {
            plan.layouts[i] = layout(f, kinds[i], rows, columns, matmul.batch, matmul.strides[i])?;
        }
        let found = plan.choose(handle, alignments)?;
        Ok(found.map(|algorithm| {
            plan.algorithm = algorithm;
            plan
        }))
    }

    /// The address of the bias of the next product.
    pub(super) fn set_bias(&self, address: u64) -> Result<()> {
        let which = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
        // SAFETY: a description of this library; the attribute is an address.
        unsafe {
            call!(self.functions, cublasLtMatmulDescSetAttribute(self.work, which, (&raw const address).cast(), 8))
        }
    }

    /// Asks the library for its best algorithm within the workspace; `None` when it has none.
    fn choose(
        &self,
        library: sys::cublasLtHandle_t,
        [align_a, align_b, align_added, align_c, _]: [u32; 5],
    ) -> Result<Option<sys::cublasLtMatmulAlgo_t>> {
        use sys::cublasLtMatmulPreferenceAttributes_t as P;
        let f = self.functions;
        let mut handle = std::ptr::null_mut();
        // SAFETY: a place for the handle.
        unsafe { call!(f, cublasLtMatmulPreferenceCreate(&mut handle))? };
        let preference = Preference(f, handle);
        let bytes = WORKSPACE_BYTES;
        // Partial sums in f32 in the workspace: no atomics, and no rounding to bf16 on the way.
        let reduction = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
        let words = [
            (P::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction),
            // The library's first operand is our second.
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, align_b),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, align_a),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, align_added),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, align_c),
        ];
        let set = |which, value: *const c_void, bytes| {
            // SAFETY: the workspace's size is 64 bits wide, the others 32.
            unsafe { call!(f, cublasLtMatmulPreferenceSetAttribute(preference.1, which, value, bytes)) }
        };
        set(P::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (&raw const bytes).cast(), size_of::<usize>())?;
        for (which, value) in words {
            set(which, (&raw const value).cast(), 4)?;
        }
        let [a, b, c] = self.layouts;
        let (mut found, mut count) = (MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::zeroed(), 0);
        // SAFETY: descriptions of this library and one place for an answer.
        unsafe {
            let (to, handle, preference) = (found.as_mut_ptr(), library, preference.1);
            let asked =
                (f.cublasLtMatmulAlgoGetHeuristic)(handle, self.work, b, a, c, c, preference, 1, to, &mut count);
            // The library says in three ways that there is none. The state is read as a number: it may know more values
            // than the bindings.
            let state = (&raw const (*to).state).cast::<u32>().read();
            let has_none = |status| status == sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED as u32;
            if has_none(asked) || asked == 0 && (count == 0 || has_none(state)) {
                return Ok(None);
            }
            check("cublasLtMatmulAlgoGetHeuristic", asked)?;
            check("cublasLtMatmulAlgoGetHeuristic", state)?;
            Ok(Some((&raw const (*to).algo).read()))
        }
    }
}

/// Describes a stored matrix and its batch; what was made is given back on failure.
fn layout(
    f: &'static Functions,
    dtype: DType,
    rows: usize,
    columns: usize,
    batch: usize,
    stride: usize,
) -> Result<sys::cublasLtMatrixLayout_t> {
    use sys::cublasLtMatrixLayoutAttribute_t as Layout;
    let (mut layout, step) = (std::ptr::null_mut(), rows.max(1) as i64);
    let (count, stride) = (batch as i32, stride as i64);
    // SAFETY: a place for the handle; the batch count is 32 bits wide, the stride 64.
    unsafe {
        call!(f, cublasLtMatrixLayoutCreate(&mut layout, kind(dtype), rows as u64, columns as u64, step))?;
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
