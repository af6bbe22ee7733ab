//! Kernels: compiled and loaded by file at first use, then launched.

use super::driver::call;
use super::gpu::Gpu;
use super::memory::Block;
use super::owned::Module;
use crate::device::nvrtc;
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{CString, c_void};

/// A kernel and the file that holds it.
#[derive(Clone, Copy, Debug)]
pub struct KernelRef {
    /// Its name in the source.
    pub name: &'static str,
    /// The file, which is loaded as a whole.
    pub file: &'static str,
    /// The text of the file with everything it includes.
    pub source: &'static str,
}

/// The loaded files of a GPU.
#[derive(Default)]
pub(super) struct Modules {
    files: BTreeMap<&'static str, File>,
}

struct File {
    module: Module,
    functions: BTreeMap<&'static str, Function>,
}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// The most dynamic shared memory that was asked for in a launch so far.
    shared_bytes: u32,
}

// SAFETY: the driver's handles may be used from every thread in which their context is current.
unsafe impl Send for Function {}

impl Modules {
    /// The function of a kernel, ready for `shared_bytes` of dynamic shared memory.
    fn function(&mut self, gpu: &Gpu, kernel: &KernelRef, shared_bytes: u32) -> Result<sys::CUfunction> {
        let file = match self.files.entry(kernel.file) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(File { module: load(gpu, kernel)?, functions: BTreeMap::new() }),
        };
        let function = match file.functions.entry(kernel.name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(find(&file.module, kernel)?),
        };
        // Needed above 48 KiB, static shared memory included, and right for less.
        if shared_bytes > function.shared_bytes {
            let which = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a function of an open module.
            unsafe { call!(gpu.driver, cuFuncSetAttribute(function.handle, which, shared_bytes as i32))? };
            function.shared_bytes = shared_bytes;
        }
        Ok(function.handle)
    }
}

fn load(gpu: &Gpu, kernel: &KernelRef) -> Result<Module> {
    let compiled = nvrtc::open()?.compiled(kernel.file, kernel.source, gpu.info().arch)?;
    let mut handle = std::ptr::null_mut();
    // SAFETY: the compiler's output or a copy whose hash was checked; the driver checks its header, and text ends with
    // a zero byte.
    unsafe { call!(gpu.driver, cuModuleLoadData(&mut handle, compiled.code.as_ptr().cast()))? };
    Ok(Module { driver: gpu.driver, handle })
}

fn find(module: &Module, kernel: &KernelRef) -> Result<Function> {
    let name = CString::new(kernel.name).map_err(|_| Error::new(Kind::Internal, "a NUL byte in a kernel's name"))?;
    let mut handle = std::ptr::null_mut();
    // SAFETY: an open module and a string.
    unsafe { call!(module.driver, cuModuleGetFunction(&mut handle, module.handle, name.as_ptr()))? };
    Ok(Function { handle, shared_bytes: 0 })
}

impl Gpu {
    /// Puts a kernel into the compute stream: `grid` blocks of `block` threads with `shared_bytes` of dynamic shared
    /// memory. `arguments` point to the values of its parameters; they are read before this returns. `touched` are the
    /// blocks that it works on: a graph that is being recorded keeps them.
    ///
    /// # Errors
    /// When the file does not compile or load, or the driver refuses the launch. What happens inside the kernel shows
    /// in a later call.
    ///
    /// # Safety
    /// `arguments` has one valid pointer per parameter of the kernel, to a value of its type, and the kernel stays
    /// within the memory that it is given at this grid and block, which lives on this GPU and is all of `touched`.
    pub unsafe fn launch<'a>(
        &self,
        kernel: &KernelRef,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        arguments: &mut [*mut c_void],
        touched: impl IntoIterator<Item = &'a Block>,
    ) -> Result<()> {
        self.enter()?;
        self.touch(touched);
        let mut modules = self.modules.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let function = modules.function(self, kernel, shared_bytes);
        drop(modules);
        let ([gx, gy, gz], [bx, by, bz], stream) = (grid, block, self.compute.handle);
        let (arguments, none) = (arguments.as_mut_ptr(), std::ptr::null_mut());
        // SAFETY: the caller vouches for the arguments and the kernel.
        let launched = function.and_then(|function| unsafe {
            call!(self.driver, cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared_bytes, stream, arguments, none))
        });
        launched.map_err(|error| {
            let KernelRef { name, file, .. } = kernel;
            self.named(
                error.context(format!("{name} of {file}, grid {grid:?}, block {block:?}, {shared_bytes} bytes shared")),
            )
        })
    }
}
