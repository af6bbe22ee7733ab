//! The launchers of all kernels, generated from the C signatures in `kernels/` (see `kernels/build.rs`).
//!
//! A launcher checks that its tensors have the right type and lie on one device, and hands the same argument list to
//! the emulator or to the driver. Everything that differs between those two is below this line; ops never see it.

use crate::device::{Device, cuda, raise};
use crate::tensor::{DType, Tensor};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// One kernel: its name, its file, its text.
pub struct Kernel {
    /// The name in C.
    pub name: &'static str,
    /// The stem of its file, which is also the op's name.
    pub file: &'static str,
    /// Which of [`SOURCES`] holds it.
    pub source: usize,
    #[cfg(feature = "emu")]
    entry: crate::device::emu::EmuEntry,
}

thread_local! {
    static WATCHED: RefCell<Option<BTreeSet<&'static str>>> = const { RefCell::new(None) };
}

/// Runs `f` and says which kernels this thread launched meanwhile.
pub fn watched<T>(f: impl FnOnce() -> T) -> (T, BTreeSet<&'static str>) {
    let outer = WATCHED.replace(Some(BTreeSet::new()));
    let result = f();
    let names = WATCHED.replace(outer).unwrap_or_default();
    (result, names)
}

/// A launch that was asked for and not done.
#[cfg(feature = "emu")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The kernel.
    pub name: &'static str,
    /// Bytes of all tensors it was given; what lies in several of them counts once.
    pub bytes: u64,
    /// Its blocks.
    pub blocks: u64,
}

#[cfg(feature = "emu")]
thread_local! {
    static PLANNED: RefCell<Option<Vec<Planned>>> = const { RefCell::new(None) };
}

/// Runs `f` without the launches of this thread on the emulator and says what they would have been: how much work of
/// real sizes moves is known without doing it, and without its memory, which is zero and never written.
#[cfg(feature = "emu")]
pub fn planned(f: impl FnOnce()) -> Vec<Planned> {
    let outer = PLANNED.replace(Some(Vec::new()));
    crate::device::emu::with_blank_memory(f);
    PLANNED.replace(outer).unwrap_or_default()
}

/// How many blocks of how many threads.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    grid: [u32; 3],
    threads: u32,
    shared_bytes: u32,
}

impl Launch {
    /// `grid` blocks of `threads` threads.
    #[track_caller]
    pub fn new(grid: [usize; 3], threads: usize) -> Launch {
        let [x, y, z] = grid;
        assert!(x < 1 << 31 && y < 1 << 16 && z < 1 << 16, "grid {grid:?} is too large");
        assert!((1..=1024).contains(&threads), "{threads} threads per block");
        Launch { grid: grid.map(|n| n as u32), threads: threads as u32, shared_bytes: 0 }
    }
    /// One block for each of `n` rows.
    #[track_caller]
    pub fn rows(n: usize, threads: usize) -> Launch {
        Launch::new([n, 1, 1], threads)
    }
    /// As many blocks as it takes for one thread per element.
    #[track_caller]
    pub fn elements(n: usize, threads: usize) -> Launch {
        Launch::new([n.div_ceil(threads), 1, 1], threads)
    }
    /// As many blocks as it takes for one thread per four elements.
    #[track_caller]
    pub fn quads(n: usize) -> Launch {
        Launch::elements(n.div_ceil(4), 256)
    }
    /// With dynamic shared memory.
    pub fn shared(self, bytes: usize) -> Launch {
        Launch { shared_bytes: bytes as u32, ..self }
    }
}

const ARGUMENTS_MAX: usize = 40;
/// Tensors of one `Parts` argument (`kernels/elementwise.cu`).
pub const PARTS_MAX: usize = 64;

/// A launch while its arguments are collected.
struct Call<'a> {
    kernel: &'static Kernel,
    launch: Launch,
    device: Option<Device>,
    values: [u64; ARGUMENTS_MAX],
    count: usize,
    /// The argument that is a [`PARTS_MAX`]-fold structure, and its words.
    parts: Option<(usize, Vec<u64>)>,
    tensors: Vec<&'a Tensor>,
}

/// Numbers that kernels take by value.
trait Scalar {
    fn bits(self) -> u64;
}

macro_rules! scalars {
    ($($t:ty => $bits:expr),*) => {
        $(impl Scalar for $t {
            fn bits(self) -> u64 {
                let bits: fn($t) -> u64 = $bits;
                bits(self)
            }
        })*
    };
}
scalars!(f32 => |v| v.to_bits().into(), i32 => |v| (v as u32).into(), u32 => |v| v.into(), i64 => |v| v as u64);

/// What a launcher takes for an `int` of a kernel: extents as they are counted here, or numbers that may be negative.
pub trait Int: Copy {
    /// The number, when an `int` holds it.
    fn as_int(self) -> Option<i32>;
}

impl Int for i32 {
    fn as_int(self) -> Option<i32> {
        Some(self)
    }
}

impl Int for usize {
    fn as_int(self) -> Option<i32> {
        self.try_into().ok()
    }
}

impl Int for bool {
    fn as_int(self) -> Option<i32> {
        Some(self.into())
    }
}

/// What a launcher takes for a `long long` of a kernel.
pub trait Long: Copy {
    /// The number.
    fn as_long(self) -> i64;
}

impl Long for i64 {
    fn as_long(self) -> i64 {
        self
    }
}

impl Long for usize {
    fn as_long(self) -> i64 {
        self.try_into().expect("no tensor has 2^63 numbers")
    }
}

impl<'a> Call<'a> {
    fn new(kernel: &'static Kernel, launch: Launch) -> Call<'a> {
        Call { kernel, launch, device: None, values: [0; ARGUMENTS_MAX], count: 0, parts: None, tensors: Vec::new() }
    }

    #[track_caller]
    fn push(&mut self, bits: u64) {
        assert!(self.count < ARGUMENTS_MAX, "{}: too many arguments", self.kernel.name);
        self.values[self.count] = bits;
        self.count += 1;
    }

    #[track_caller]
    fn scalar(&mut self, value: impl Scalar) {
        self.push(value.bits());
    }

    #[track_caller]
    fn int(&mut self, name: &str, value: impl Int) {
        let kernel = self.kernel.name;
        self.scalar(value.as_int().unwrap_or_else(|| panic!("{kernel}: {name} does not fit an int")));
    }

    #[track_caller]
    fn input(&mut self, name: &str, tensor: &'a Tensor, dtype: DType) {
        self.expect(name, tensor, dtype);
        self.push(tensor.address());
        self.tensors.push(tensor);
    }

    /// Addresses, places and lengths, as the structure `Parts` holds them.
    #[track_caller]
    fn parts(&mut self, name: &str, parts: &'a [(Tensor, usize)]) {
        let kernel = self.kernel.name;
        assert!(parts.len() <= PARTS_MAX, "{kernel}: {} {name}", parts.len());
        let mut words = vec![0; 3 * PARTS_MAX];
        for (i, (tensor, at)) in parts.iter().enumerate() {
            self.expect(name, tensor, DType::F32);
            words[i] = tensor.address();
            words[PARTS_MAX + i] = *at as u64;
            words[2 * PARTS_MAX + i] = tensor.len() as u64;
            self.tensors.push(tensor);
        }
        self.parts = Some((self.count, words));
        self.push(0);
    }

    /// Panics unless the tensor stores `dtype` on the device of the others.
    #[track_caller]
    fn expect(&mut self, name: &str, tensor: &Tensor, dtype: DType) {
        let kernel = self.kernel.name;
        assert_eq!(tensor.dtype(), dtype, "{kernel}: {name} has the wrong type");
        let device = *self.device.get_or_insert(tensor.device());
        assert_eq!(tensor.device(), device, "{kernel}: {name} lies on another device");
    }

    /// A null pointer where there is no tensor.
    #[track_caller]
    fn optional(&mut self, name: &str, tensor: Option<&'a Tensor>, dtype: DType) {
        match tensor {
            Some(tensor) => self.input(name, tensor, dtype),
            None => self.push(0),
        }
    }

    #[track_caller]
    fn output(&mut self, name: &str, tensor: &'a mut Tensor, dtype: DType) {
        assert!(tensor.is_unshared(), "{}: {name} is written to while somebody else holds it", self.kernel.name);
        self.input(name, tensor, dtype);
    }

    /// Whether rows of the `which`-th tensor begin where the kernel can move two or four of their numbers at once.
    #[track_caller]
    fn expect_aligned(&self, which: usize) {
        let tensor = self.tensors[which];
        let together = 1 << tensor.shape().last().map_or(0, |row| row.trailing_zeros().min(2));
        let bytes = (together * tensor.dtype().bytes()) as u64;
        let kernel = self.kernel.name;
        assert!(
            tensor.address().is_multiple_of(bytes),
            "{kernel}: {tensor:?} begins in the midst of {together} numbers that move at once: give it a copy"
        );
    }

    #[track_caller]
    fn run(mut self) {
        if self.launch.grid.contains(&0) {
            return;
        }
        WATCHED.with_borrow_mut(|watched| watched.as_mut().map(|names| names.insert(self.kernel.name)));
        let count = self.count;
        let mut args: Vec<*mut std::ffi::c_void> =
            self.values[..count].iter_mut().map(|v| std::ptr::from_mut(v).cast()).collect();
        if let Some((at, words)) = &mut self.parts {
            args[*at] = words.as_mut_ptr().cast();
        }
        match self.device.expect("a kernel has tensors") {
            Device::Host => unreachable!("{}: host tensors have no address", self.kernel.name),
            Device::Emu => self.emulate(&mut args),
            Device::Cuda(ordinal) => self.put_into_stream(ordinal, &mut args),
        }
    }

    fn put_into_stream(&self, ordinal: u8, args: &mut [*mut std::ffi::c_void]) {
        let Kernel { name, file, source, .. } = *self.kernel;
        let kernel = cuda::KernelRef { name, file, source: SOURCES[source].1 };
        let (grid, block) = (self.launch.grid, [self.launch.threads, 1, 1]);
        let touched = self.tensors.iter().map(|tensor| tensor.place().block);
        // SAFETY: the launcher was generated from the kernel's signature; memory is freed in the order of the stream.
        let result = cuda::open(ordinal)
            .and_then(|gpu| unsafe { gpu.launch(&kernel, grid, block, self.launch.shared_bytes, args, touched) });
        result.unwrap_or_else(|error| raise(error));
    }

    /// Bytes between the first and the last of every tensor, those of several once.
    #[cfg(feature = "emu")]
    fn bytes(&self) -> u64 {
        let range = |t: &&Tensor| (t.address(), t.address() + (t.len() * t.dtype().bytes()) as u64);
        let mut ranges: Vec<(u64, u64)> = self.tensors.iter().map(range).collect();
        ranges.sort_unstable();
        let mut end = 0;
        let mut beyond = |(from, to): (u64, u64)| {
            let bytes = to.saturating_sub(from.max(end));
            end = end.max(to);
            bytes
        };
        ranges.into_iter().map(&mut beyond).sum()
    }

    #[cfg(feature = "emu")]
    #[track_caller]
    fn emulate(&self, args: &mut [*mut std::ffi::c_void]) {
        use crate::device::emu;
        let blocks = self.launch.grid.iter().map(|&n| u64::from(n)).product();
        let launch = || Planned { name: self.kernel.name, bytes: self.bytes(), blocks };
        let plan = |list: &mut Vec<Planned>| list.push(launch());
        if PLANNED.with_borrow_mut(|list| list.as_mut().map(plan)).is_some() {
            return;
        }
        let raw = emu::RawLaunch::new(self.launch.grid, [self.launch.threads, 1, 1], self.launch.shared_bytes);
        // SAFETY: the launcher was generated from the kernel's signature; tensors outlive the launch, which ends here.
        let result = unsafe { emu::launch_raw(self.kernel.entry, &raw, args) };
        result.unwrap_or_else(|fault| panic!("{fault}"));
        for tensor in &self.tensors {
            assert!(tensor.zones_are_intact(), "{} wrote outside a tensor {:?}", self.kernel.name, tensor.shape());
        }
    }

    #[cfg(not(feature = "emu"))]
    #[track_caller]
    fn emulate(&self, _: &mut [*mut std::ffi::c_void]) {
        panic!("{}", crate::device::NO_EMULATOR);
    }
}

macro_rules! kernel {
    ($name:ident, $entry:ident, $file:expr, $source:expr) => {
        Kernel {
            name: stringify!($name),
            file: $file,
            source: $source,
            #[cfg(feature = "emu")]
            entry: emulated::$entry,
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/launchers.rs"));

#[cfg(all(test, feature = "emu"))]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    /// A view that begins at the second number of a buffer.
    fn skewed(shape: &[usize]) -> Tensor {
        let shape = Shape::new(shape);
        Tensor::zeros_on(Device::Emu, DType::F32, &[shape.len() + 1]).part(1, shape)
    }

    fn launch(x: &Tensor, channels: usize) {
        let new = |shape: &[usize]| Tensor::zeros_on(Device::Emu, DType::F32, shape);
        let (mut y, mut mean, mut rstd, w) = (x.like(x.shape()), new(&[1, 1]), new(&[1, 1]), new(&[channels]));
        let (launch, c) = (Launch::rows(1, 512), channels as i32);
        group_norm_fwd_f32(launch, &mut y, &mut mean, &mut rstd, x, &w, &w, 2, c, 1, 1, 1e-5);
    }

    #[test]
    fn rows_of_odd_length_may_begin_anywhere() {
        launch(&skewed(&[1, 2, 3]), 3);
    }

    #[test]
    #[should_panic(expected = "group_norm_fwd_f32: Tensor F32 [1, 2, 4] on Emu begins in the midst of 4 numbers")]
    fn packs_begin_at_multiples_of_their_bytes() {
        launch(&skewed(&[1, 2, 4]), 4);
    }
}
