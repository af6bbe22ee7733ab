//! The functions of cuBLASLt, resolved once, and its errors.

use crate::device::cuda::driver;
use crate::device::library::{CUBLASLT, Library, table};
use crate::error::{Error, Kind, Result};
use cudarc::cublaslt::sys;
use std::ffi::{c_int, c_void};
use std::sync::Mutex;

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
        $crate::device::cuda::cublaslt::functions::check(stringify!($name), ($functions.$name)($($argument),*))
    };
}
pub(super) use call;

/// The library of this process; the next call looks again after an error.
pub(super) fn open() -> Result<&'static Functions> {
    static FOUND: Mutex<Option<&'static Functions>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(functions) = *found {
        return Ok(functions);
    }
    let library = Box::leak(Box::new(Library::open(&CUBLASLT, driver::newest_major())?));
    let functions = Functions::load(library).map_err(|name| {
        Error::unavailable(format!("cuBLASLt at {} has no {name}", library.place())).hint(CUBLASLT.hint)
    })?;
    let functions = &*Box::leak(Box::new(functions));
    *found = Some(functions);
    Ok(functions)
}

/// For destructors: a failure is logged, because nothing can be done about it.
pub(super) fn warn(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!("{}", error.message());
    }
}

/// An error naming the call and its status.
pub(super) fn check(call: &str, status: u32) -> Result<()> {
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
