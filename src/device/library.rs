//! Finding and opening NVIDIA's shared libraries at run time, without ever panicking.
//!
//! cudarc's own loader panics when a library or a symbol is missing, and knows neither `.so.13` nor the folders of
//! Python wheels. So cudarc gives the types and signatures, and the libraries are opened here: first where the
//! variable of the family points (nowhere else then), next by the system's search path, then in the folders of the
//! CUDA toolkit and of PyTorch's wheels. A library stays open until the process ends.

use crate::error::{Error, Result};
use libloading::os::unix::{Library as Handle, RTLD_LOCAL, RTLD_NOW};
use std::path::{Path, PathBuf};

/// A library that may be installed in several places and versions.
pub struct Family {
    /// What to call it in messages.
    pub title: &'static str,
    /// Names that the system's search path may know, best first; in folders, each is a prefix of a file name.
    pub names: &'static [&'static str],
    /// The variable that points to a file or folder to use instead of searching.
    pub variable: Option<&'static str>,
    /// Folders of a Python installation's `site-packages` that hold it.
    pub wheels: &'static [&'static str],
    /// A library beside it that has to be open before it, by the beginning of its file name.
    pub companion: Option<&'static str>,
    /// What to do when it is not found.
    pub hint: &'static str,
}

/// The driver: part of the system, so no variable and no folders.
pub const DRIVER: Family = Family {
    title: "the CUDA driver",
    names: &["libcuda.so.1", "libcuda.so"],
    variable: None,
    wheels: &[],
    companion: None,
    hint: "install NVIDIA's driver, or use --device host",
};

/// The run-time compiler of kernels. Version 13.0 does not look for its builtins beside itself.
pub const NVRTC: Family = Family {
    title: "NVRTC",
    names: &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"],
    variable: Some("TWNM_NVRTC"),
    wheels: &["nvidia/cu13/lib", "nvidia/cu12/lib", "nvidia/cuda_nvrtc/lib"],
    companion: Some("libnvrtc-builtins.so."),
    hint: "pip install nvidia-cuda-nvrtc-cu12, or set TWNM_NVRTC to libnvrtc.so.12 or its folder",
};

/// Matrix products.
pub const CUBLASLT: Family = Family {
    title: "cuBLASLt",
    names: &["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"],
    variable: Some("TWNM_CUBLASLT"),
    wheels: &["nvidia/cu13/lib", "nvidia/cu12/lib", "nvidia/cublas/lib"],
    companion: None,
    hint: "pip install nvidia-cublas-cu12, or set TWNM_CUBLASLT to libcublasLt.so.12 or its folder",
};

/// An open library.
pub struct Library {
    handle: Handle,
    place: String,
}

impl Library {
    /// Opens the first member of `family` that can be opened. Members of a major version above `newest` are passed
    /// over: the driver does not run what they make. A file that the variable names is used whatever it is.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::error::Kind::Unavailable), naming every file that is there but cannot be opened.
    pub fn open(family: &Family, newest: Option<u32>) -> Result<Library> {
        let is_used = |name: &&str| newest.is_none_or(|newest| major(name).is_none_or(|major| major <= newest));
        let names: Vec<&str> = family.names.iter().copied().filter(is_used).collect();
        let mut failures = Vec::new();
        let mut attempt = |path: &Path| match open_one(family, path) {
            Ok(library) => Some(library),
            Err(failure) => {
                failures.push(failure);
                None
            }
        };
        let chosen = family.variable.and_then(|v| Some((v, PathBuf::from(std::env::var_os(v)?))));
        if let Some((variable, path)) = chosen.filter(|(_, path)| !path.as_os_str().is_empty()) {
            let files = if path.is_dir() { members(&names, &path) } else { vec![path.clone()] };
            let found = files.iter().find_map(|file| attempt(file));
            return found.ok_or_else(|| {
                let why = failures.first().cloned().unwrap_or_else(|| format!("none of {} is there", names.join(", ")));
                let text =
                    format!("{} cannot be opened where {variable}={} points: {why}", family.title, path.display());
                Error::unavailable(text).hint(family.hint)
            });
        }
        let by_name = names.iter().find_map(|name| attempt(Path::new(name)));
        let by_folder = || folders(family).iter().flat_map(|f| members(&names, f)).find_map(|file| attempt(&file));
        by_name.or_else(by_folder).ok_or_else(|| {
            // What lies in a folder but does not open says more than a name that the system does not know.
            let is_file = |failure: &&String| failure.starts_with('/') && !failure.contains("No such file");
            let why = failures.iter().find(is_file).map(|f| format!(": {f}")).unwrap_or_default();
            let text = format!("{} was not found ({}){why}", family.title, names.join(", "));
            Error::unavailable(text).hint(family.hint)
        })
    }

    /// Where it was found, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The address of a function as a function pointer of type `F`; `None` when the library has no such symbol.
    ///
    /// # Safety
    /// `F` is a function pointer type with the signature that the library gives this function.
    pub unsafe fn function<F: Copy>(&self, name: &str) -> Option<F> {
        // SAFETY: the caller vouches for the type; the library stays open as long as `self`, which users keep for good.
        unsafe { self.handle.get::<F>(name).ok().map(|symbol| *symbol) }
    }
}

fn open_one(family: &Family, path: &Path) -> std::result::Result<Library, String> {
    // SAFETY: opening runs the initialisers of NVIDIA's libraries, which have no requirements.
    let open = |path: &Path| unsafe { Handle::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    if let (Some(prefix), Some(folder)) = (family.companion, path.parent()) {
        // The library finds its companion by name, and an open one is found wherever it lies. When this does not work
        // the library says so itself at first use.
        for file in starting_with(prefix, folder) {
            let _ = open(&file).map(std::mem::forget);
        }
    }
    match open(path) {
        Ok(handle) => Ok(Library { handle, place: path.display().to_string() }),
        Err(error) => Err(error.to_string()),
    }
}

/// The major version at the end of a name.
fn major(name: &str) -> Option<u32> {
    name.rsplit_once(".so.")?.1.parse().ok()
}

/// Files of a folder, best first: in the order of `names`, the plain name first.
fn members(names: &[&str], folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for name in names {
        let versions = starting_with(&format!("{name}."), folder);
        for file in std::iter::once(folder.join(name)).chain(versions) {
            if file.is_file() && !all.contains(&file) {
                all.push(file);
            }
        }
    }
    all
}

/// Files of a folder whose names begin with `prefix` and go on with digits and dots, the last in order first.
fn starting_with(prefix: &str, folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_member = |path: &PathBuf| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_member).collect();
    found.sort();
    found.reverse();
    found
}

/// The folders of CUDA toolkits and Python wheels on this machine.
fn folders(family: &Family) -> Vec<PathBuf> {
    if family.wheels.is_empty() {
        return Vec::new();
    }
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut toolkits: Vec<PathBuf> = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(|v| variable(v)).collect();
    toolkits.extend(children(Path::new("/usr/local"), "cuda"));
    let mut all: Vec<PathBuf> = toolkits.iter().flat_map(|root| ["lib64", "lib"].map(|l| root.join(l))).collect();
    let mut prefixes: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(|v| variable(v)).collect();
    prefixes.extend(variable("HOME").map(|home| home.join(".local")));
    prefixes.extend(["/usr/local", "/usr"].map(PathBuf::from));
    for python in prefixes.iter().flat_map(|prefix| children(&prefix.join("lib"), "python3")) {
        for packages in ["site-packages", "dist-packages"] {
            all.extend(family.wheels.iter().map(|wheel| python.join(packages).join(wheel)));
        }
    }
    all
}

/// Entries of a folder whose names begin with `prefix`: the plain name first, then the last in order.
fn children(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let begins = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix));
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(begins).collect();
    found.sort_by(|a, b| b.cmp(a));
    found.sort_by_key(|path| path.file_name().is_none_or(|name| name != prefix));
    found
}

/// A table of functions of a library, all resolved at once.
///
/// `table!(Name, Result { fn f(a: A); .. })` makes a struct with a field per function and a `load`. The compiler
/// compares every line with the function of that name in the `sys` module in scope (cudarc's bindings), so that no
/// signature is written by guess. The status comes back as a plain number: a library newer than the bindings may
/// return values that their enum does not have, and such an enum must never exist.
macro_rules! table {
    ($(#[$doc:meta])* $table:ident, $status:ty { $(fn $name:ident($($arg:ident: $kind:ty),* $(,)?);)* }) => {
        $(#[$doc])*
        #[allow(non_snake_case)]
        pub(crate) struct $table { $(pub(crate) $name: unsafe extern "C" fn($($kind),*) -> std::ffi::c_uint,)* }

        impl $table {
            /// Resolves every function; the error is the name of the first that is missing.
            pub(crate) fn load(
                library: &$crate::device::library::Library,
            ) -> std::result::Result<$table, &'static str> {
                $(const _: unsafe fn($($kind),*) -> $status = sys::$name;)*
                // SAFETY: the line above holds each signature against the bindings; the status enums are c_uint wide.
                unsafe { Ok($table { $($name: library.function(stringify!($name)).ok_or(stringify!($name))?,)* }) }
            }
        }
    };
}
pub(crate) use table;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const NONE: Family = Family {
        title: "a library",
        names: &["libtwnm-none.so.2", "libtwnm-none.so.1"],
        variable: Some("TWNM_TEST_NO_SUCH_VARIABLE"),
        wheels: &["nvidia/none/lib"],
        companion: Some("libtwnm-none-builtins.so."),
        hint: "no",
    };

    #[test]
    fn a_missing_library_is_an_error_that_names_it() {
        let error = Library::open(&NONE, None).err().unwrap();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert_eq!(error.message(), "a library was not found (libtwnm-none.so.2, libtwnm-none.so.1)");
        let error = Library::open(&NONE, Some(1)).err().unwrap();
        assert_eq!(error.message(), "a library was not found (libtwnm-none.so.1)");
    }

    #[test]
    fn the_best_version_of_a_folder_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libtwnm-none.so.1.9", "libtwnm-none.so.1", "libtwnm-none.so.2.1", "libtwnm-none.so.2.0.alt"] {
            std::fs::write(folder.path().join(name), "no library").unwrap();
        }
        let found = members(NONE.names, folder.path());
        let names: Vec<&str> = found.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["libtwnm-none.so.2.1", "libtwnm-none.so.1", "libtwnm-none.so.1.9"]);
        assert!(open_one(&NONE, &found[0]).is_err());
    }
}
