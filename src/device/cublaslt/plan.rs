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
    /// Describes a product and asks for its algorithm; `alignments` are those of A, B and C in bytes.
    pub(super) fn new(
        f: &'static Functions,
        handle: sys::cublasLtHandle_t,
        matmul: &Matmul,
        [align_a, align_b, align_c]: [u32; 3],
    ) -> Result<Plan> {
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
            plan.layouts[i] = layout(f, kinds[i], rows, columns, matmul.batch, matmul.strides[i])?;
        }
        plan.algorithm = plan.choose(handle, [align_b, align_a, align_c])?;
        Ok(plan)
    }

    /// Asks the library for its best algorithm within the workspace.
    fn choose(&self, library: sys::cublasLtHandle_t, alignments: [u32; 3]) -> Result<sys::cublasLtMatmulAlgo_t> {
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
        let [a, b, c] = self.layouts;
        let (mut found, mut count) = (MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::zeroed(), 0);
        // SAFETY: descriptions of this library and one place for an answer.
        unsafe {
            let (to, handle, preference) = (found.as_mut_ptr(), library, preference.1);
            let asked =
                call!(f, cublasLtMatmulAlgoGetHeuristic(handle, self.work, b, a, c, c, preference, 1, to, &mut count));
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
