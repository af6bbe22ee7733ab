//! Kernels compiled at run time: source text to machine code (cubin) by NVRTC, kept on disk between runs.
//!
//! The text holds everything (no header is included), so the result depends on the text, the flags, the architecture
//! and the compiler's version, and these are the key of the [cache]. Fast math stays off: gradients of some activations
//! overflow under it. `sm_XX` rather than `compute_XX` makes the assembler run here, so that what it refuses is an
//! error now and not on a user's machine, and its report on registers and spills is in the log. For a GPU that is newer
//! than the compiler there is PTX of the newest architecture that it knows, which the driver translates.

pub mod cache;
pub mod ptxas;

use crate::device::cuda::driver;
use crate::device::library::{Library, NVRTC, table};
use crate::error::{Error, Kind, Result};
use cudarc::nvrtc::sys;
use std::ffi::{CString, c_char, c_int};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Flags of every compilation, before the architecture.
pub const FLAGS: [&str; 3] = ["-std=c++17", "--fmad=true", "--ptxas-options=-v"];

table! {
    /// The functions of NVRTC that are used.
    Functions, sys::nvrtcResult {
        fn nvrtcVersion(major: *mut c_int, minor: *mut c_int);
        fn nvrtcGetNumSupportedArchs(count: *mut c_int);
        fn nvrtcGetSupportedArchs(archs: *mut c_int);
        fn nvrtcCreateProgram(
            program: *mut sys::nvrtcProgram, source: *const c_char, name: *const c_char,
            headers: c_int, texts: *const *const c_char, names: *const *const c_char,
        );
        fn nvrtcCompileProgram(program: sys::nvrtcProgram, count: c_int, options: *const *const c_char);
        fn nvrtcDestroyProgram(program: *mut sys::nvrtcProgram);
        fn nvrtcGetProgramLogSize(program: sys::nvrtcProgram, bytes: *mut usize);
        fn nvrtcGetProgramLog(program: sys::nvrtcProgram, log: *mut c_char);
        fn nvrtcGetCUBINSize(program: sys::nvrtcProgram, bytes: *mut usize);
        fn nvrtcGetCUBIN(program: sys::nvrtcProgram, cubin: *mut c_char);
        fn nvrtcGetPTXSize(program: sys::nvrtcProgram, bytes: *mut usize);
        fn nvrtcGetPTX(program: sys::nvrtcProgram, ptx: *mut c_char);
    }
}

/// An architecture of GPUs, written `sm_90`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arch {
    /// Major compute capability.
    pub major: u32,
    /// Minor compute capability.
    pub minor: u32,
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sm_{}{}", self.major, self.minor)
    }
}

/// A file of kernels compiled, with what the compiler said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Machine code (cubin), or PTX with its zero byte: ready for the driver to load.
    pub code: Vec<u8>,
    /// The compiler's and the assembler's log.
    pub log: String,
}

impl Compiled {
    /// What each kernel needs, from the log; nothing where PTX left the assembler to the driver.
    pub fn resources(&self) -> Vec<ptxas::Resources> {
        ptxas::parse(&self.log)
    }
}

/// The compiler, found once per process.
pub struct Nvrtc {
    functions: Functions,
    version: (u32, u32),
    place: String,
    /// Architectures that it makes machine code for.
    archs: Vec<Arch>,
    /// Whether it was said that the GPU is newer.
    is_ptx_said: AtomicBool,
}

/// The compiler of this process.
///
/// # Errors
/// [`Kind::Unavailable`] when it is not found or lacks a function; the next call looks again.
pub fn open() -> Result<&'static Nvrtc> {
    static FOUND: Mutex<Option<&'static Nvrtc>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(nvrtc) = *found {
        return Ok(nvrtc);
    }
    let newest = driver::newest_major();
    let library = Box::leak(Box::new(Library::open(&NVRTC, newest)?));
    let functions = Functions::load(library)
        .map_err(|name| Error::unavailable(format!("NVRTC at {} has no {name}", library.place())).hint(NVRTC.hint))?;
    let unusable = |error: Error| error.with_kind(Kind::Unavailable).hint(NVRTC.hint);
    let (mut major, mut minor) = (0, 0);
    // SAFETY: two numbers to write to.
    check("nvrtcVersion", unsafe { (functions.nvrtcVersion)(&mut major, &mut minor) }).map_err(unusable)?;
    let version = (major.unsigned_abs(), minor.unsigned_abs());
    if newest.is_some_and(|newest| version.0 > newest) {
        let (place, newest) = (library.place(), newest.unwrap_or_default());
        let text = format!("NVRTC {major}.{minor} at {place} is too new for the driver, which supports CUDA {newest}");
        return Err(Error::unavailable(text).hint(NVRTC.hint));
    }
    let archs = archs(&functions).map_err(unusable)?;
    let (place, is_ptx_said) = (library.place().to_string(), AtomicBool::new(false));
    let nvrtc = &*Box::leak(Box::new(Nvrtc { functions, version, place, archs, is_ptx_said }));
    *found = Some(nvrtc);
    Ok(nvrtc)
}

/// The architectures that the compiler knows.
fn archs(functions: &Functions) -> Result<Vec<Arch>> {
    let mut count = 0;
    // SAFETY: one number to write to.
    check("nvrtcGetNumSupportedArchs", unsafe { (functions.nvrtcGetNumSupportedArchs)(&mut count) })?;
    let mut numbers = vec![0; count.max(0) as usize];
    // SAFETY: as many numbers to write to as the library said.
    check("nvrtcGetSupportedArchs", unsafe { (functions.nvrtcGetSupportedArchs)(numbers.as_mut_ptr()) })?;
    // 120 is compute capability 12.0.
    Ok(numbers
        .into_iter()
        .map(|n: c_int| Arch { major: n.unsigned_abs() / 10, minor: n.unsigned_abs() % 10 })
        .collect())
}

/// What a file is compiled to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Target {
    arch: Arch,
    is_ptx: bool,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_ptx {
            true => write!(f, "compute_{}{}", self.arch.major, self.arch.minor),
            false => self.arch.fmt(f),
        }
    }
}

impl Nvrtc {
    /// Major and minor version.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Where the library was found.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// `source` compiled for a GPU of `arch`, from the cache or compiled and put there. A cache that cannot be used
    /// costs time, never the result. `name` (the kernel's file) appears in messages only.
    ///
    /// # Errors
    /// [`Kind::Internal`] with the compiler's log when the source does not compile; [`Kind::Unavailable`] when the
    /// compiler knows no architecture that runs on this GPU.
    pub fn compiled(&self, name: &str, source: &str, arch: Arch) -> Result<Compiled> {
        let target = self.target(arch)?;
        let key = cache::key(source, &FLAGS, &target.to_string(), self.version);
        let folder = cache::folder();
        if let Some(compiled) = folder.as_deref().and_then(|folder| cache::load(folder, &key)) {
            return Ok(compiled);
        }
        let program = self.program(name, source, target)?;
        let compiled = if target.is_ptx { program.ptx()? } else { program.cubin()? };
        if let Some(Err(error)) = folder.map(|folder| cache::store(&folder, &key, &compiled)) {
            tracing::warn!("{name} was compiled but not kept for the next run: {}", error.message());
        }
        Ok(compiled)
    }

    /// Compiles to machine code without the cache; also returns the PTX text.
    ///
    /// # Errors
    /// As [`Nvrtc::compiled`]; an architecture that the compiler does not know is one.
    pub fn compile(&self, name: &str, source: &str, arch: Arch) -> Result<(Compiled, String)> {
        let program = self.program(name, source, Target { arch, is_ptx: false })?;
        Ok((program.cubin()?, as_text(program.ptx()?.code)))
    }

    /// Machine code where the compiler knows the GPU, else PTX of the newest architecture before it.
    fn target(&self, arch: Arch) -> Result<Target> {
        if self.archs.contains(&arch) {
            return Ok(Target { arch, is_ptx: false });
        }
        let (major, minor) = self.version;
        let newest = self.archs.iter().copied().filter(|known| *known < arch).max().ok_or_else(|| {
            let text = format!("NVRTC {major}.{minor} at {} knows no architecture that runs on {arch}", self.place);
            Error::unavailable(text).hint(NVRTC.hint)
        })?;
        let target = Target { arch: newest, is_ptx: true };
        if !self.is_ptx_said.swap(true, Ordering::Relaxed) {
            tracing::info!(
                "NVRTC {major}.{minor} does not know {arch}: kernels are compiled to {target}, which the driver \
                 translates; a newer NVRTC (TWNM_NVRTC) makes them faster"
            );
        }
        Ok(target)
    }

    fn program(&self, name: &str, source: &str, target: Target) -> Result<Program<'_>> {
        let text = |what: &str, text: &str| {
            CString::new(text).map_err(|_| Error::new(Kind::Internal, format!("{name}: a NUL byte in the {what}")))
        };
        let (source, title) = (text("source", source)?, text("name", name)?);
        let flags = FLAGS.map(String::from).into_iter().chain([format!("-arch={target}")]);
        let options: Vec<CString> = flags.map(|flag| text("flags", &flag)).collect::<Result<_>>()?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let f = &self.functions;
        let mut program = Program { functions: f, handle: std::ptr::null_mut() };
        let (none, count) = (std::ptr::null(), pointers.len() as c_int);
        // SAFETY: the library copies the strings; `Program` destroys the program.
        check("nvrtcCreateProgram", unsafe {
            (f.nvrtcCreateProgram)(&mut program.handle, source.as_ptr(), title.as_ptr(), 0, none, none)
        })?;
        // SAFETY: a program of this library and `count` strings.
        let status = unsafe { (f.nvrtcCompileProgram)(program.handle, count, pointers.as_ptr()) };
        if let Err(error) = check("nvrtcCompileProgram", status) {
            let log = program.log().unwrap_or_default();
            let (major, minor) = self.version;
            let error = error.context(format!("{name} for {target} with NVRTC {major}.{minor}"));
            let full = format!("{}\n{}", error.message(), log.trim_end());
            return Err(Error::new(error.kind(), full).hint(
                "the log says which line; when it does not know the architecture, a newer NVRTC is needed (TWNM_NVRTC)",
            ));
        }
        Ok(program)
    }
}

/// A program that is destroyed with its owner.
struct Program<'a> {
    functions: &'a Functions,
    handle: sys::nvrtcProgram,
}

impl Program<'_> {
    fn log(&self) -> Result<String> {
        let f = self.functions;
        self.bytes("nvrtcGetProgramLog", f.nvrtcGetProgramLogSize, f.nvrtcGetProgramLog).map(as_text)
    }

    fn cubin(&self) -> Result<Compiled> {
        let f = self.functions;
        let code = self.bytes("nvrtcGetCUBIN", f.nvrtcGetCUBINSize, f.nvrtcGetCUBIN)?;
        Ok(Compiled { code, log: self.log()? })
    }

    fn ptx(&self) -> Result<Compiled> {
        let f = self.functions;
        let code = self.bytes("nvrtcGetPTX", f.nvrtcGetPTXSize, f.nvrtcGetPTX)?;
        Ok(Compiled { code, log: self.log()? })
    }

    /// A result that the library gives by a size and a copy.
    fn bytes(
        &self,
        call: &str,
        size: unsafe extern "C" fn(sys::nvrtcProgram, *mut usize) -> u32,
        copy: unsafe extern "C" fn(sys::nvrtcProgram, *mut c_char) -> u32,
    ) -> Result<Vec<u8>> {
        let mut bytes = 0;
        // SAFETY: a program of this library; the buffer has the size that was asked for.
        unsafe {
            check(&format!("{call}Size"), size(self.handle, &mut bytes))?;
            let mut buffer = vec![0u8; bytes];
            check(call, copy(self.handle, buffer.as_mut_ptr().cast()))?;
            Ok(buffer)
        }
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: created by this library and not destroyed before.
            let status = unsafe { (self.functions.nvrtcDestroyProgram)(&mut self.handle) };
            if let Err(error) = check("nvrtcDestroyProgram", status) {
                tracing::warn!("{error}");
            }
        }
    }
}

/// Text of the library: up to its NUL.
fn as_text(bytes: Vec<u8>) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// An error naming the call and its status.
fn check(call: &str, status: u32) -> Result<()> {
    use sys::nvrtcResult as R;
    let known = [
        R::NVRTC_ERROR_OUT_OF_MEMORY,
        R::NVRTC_ERROR_PROGRAM_CREATION_FAILURE,
        R::NVRTC_ERROR_INVALID_INPUT,
        R::NVRTC_ERROR_INVALID_PROGRAM,
        R::NVRTC_ERROR_INVALID_OPTION,
        R::NVRTC_ERROR_COMPILATION,
        R::NVRTC_ERROR_BUILTIN_OPERATION_FAILURE,
        R::NVRTC_ERROR_INTERNAL_ERROR,
    ];
    if status == R::NVRTC_SUCCESS as u32 {
        return Ok(());
    }
    let name = known.iter().find(|r| **r as u32 == status).map_or(format!("status {status}"), |r| format!("{r:?}"));
    Err(Error::new(Kind::Internal, format!("{call}: {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_kernel_compiles_or_its_log_is_the_error() {
        let nvrtc = match open() {
            Ok(nvrtc) => nvrtc,
            Err(error) => {
                // Past the test runner's capture, so that it is seen and counted.
                let _ = writeln!(std::io::stderr(), "skipped: NVRTC is not tested: {}", error.message());
                return;
            }
        };
        let source = "extern \"C\" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }";
        let arch = Arch { major: 9, minor: 0 };
        let (cubin, ptx) = nvrtc.compile("twice.cu", source, arch).unwrap();
        let resources = cubin.resources();
        assert_eq!((resources.len(), resources[0].kernel.as_str(), resources[0].spill_bytes), (1, "twice", 0));
        assert!(resources[0].registers > 0 && cubin.code.starts_with(b"\x7fELF") && ptx.contains(".entry twice"));
        let error = nvrtc.compile("half.cu", "__global__ void half(", arch).unwrap_err();
        assert!(
            error.message().contains("NVRTC_ERROR_COMPILATION") && error.message().contains("half.cu(1)"),
            "{error}"
        );
        let newer = Arch { major: 99, minor: 0 };
        assert!(nvrtc.compile("new.cu", source, newer).is_err());
        let target = nvrtc.target(newer).unwrap();
        assert!(target.is_ptx && target.arch >= arch && nvrtc.target(arch).unwrap() == Target { arch, is_ptx: false });
        let ptx = nvrtc.program("new.cu", source, target).unwrap().ptx().unwrap();
        assert!(ptx.code.ends_with(b"\0") && as_text(ptx.code).contains(".entry twice"));
    }
}
