//! The emulator: kernels compiled by the host's C++ compiler, one fiber per CUDA thread (`kernels/emu`).
//!
//! It exists so that no kernel is shipped unexecuted: the same .cu text, the same launch code, on any machine. It is
//! built for finding faults, not for speed: fresh memory is NaN, red zones lie around every block, threads and blocks
//! run in a chosen order ([`Schedule`]), and what the hardware would forgive is an error.

use super::tally::EMU;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;

const ALIGN_BYTES: usize = 256;
/// Bytes before and behind every block that nothing may write to.
const RED_ZONE_BYTES: usize = 1024;
/// Fresh memory and red zones: a NaN as f32 and as bf16.
const POISON: u8 = 0xff;

/// A block of the emulator's memory.
pub struct Block {
    /// What was allocated; it begins somewhat before `start`.
    allocated: NonNull<u8>,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a Block owns its memory exclusively; access follows the usual rules of & and &mut.
unsafe impl Send for Block {}
unsafe impl Sync for Block {}

impl Block {
    /// With room for alignment, which the allocator would pay for by writing to all of the memory.
    fn layout(bytes: usize) -> Layout {
        Layout::array::<u8>(bytes + 2 * RED_ZONE_BYTES + ALIGN_BYTES).expect("smaller than the address space")
    }
    /// A block of `bytes`, all of it NaN.
    pub fn new(bytes: usize) -> Block {
        EMU.take(bytes as u64);
        let layout = Block::layout(bytes);
        // SAFETY: the layout is never empty, and has room for the zones and the block behind the first aligned byte.
        let (allocated, start) = unsafe {
            let allocated = NonNull::new(alloc_zeroed(layout)).unwrap_or_else(|| handle_alloc_error(layout));
            let start = allocated.add(allocated.align_offset(ALIGN_BYTES));
            if !IS_BLANK.get() {
                start.as_ptr().write_bytes(POISON, bytes + 2 * RED_ZONE_BYTES);
            }
            (allocated, start)
        };
        Block { allocated, start, bytes }
    }
    fn all(&self) -> &[u8] {
        // SAFETY: allocated and initialised with this length in `new`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes + 2 * RED_ZONE_BYTES) }
    }
    /// The bytes between the red zones.
    pub fn bytes(&self) -> &[u8] {
        &self.all()[RED_ZONE_BYTES..RED_ZONE_BYTES + self.bytes]
    }
    /// The bytes between the red zones, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: within the allocation, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(RED_ZONE_BYTES), self.bytes) }
    }
    /// The address that kernels are given.
    pub fn address(&self) -> u64 {
        self.bytes().as_ptr() as u64
    }
    /// Whether nothing was written outside the block.
    pub fn zones_are_intact(&self) -> bool {
        let all = self.all();
        let is_poison = |zone: &[u8]| zone.iter().all(|&b| b == POISON);
        is_poison(&all[..RED_ZONE_BYTES]) && is_poison(&all[RED_ZONE_BYTES + self.bytes..])
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        EMU.give(self.bytes as u64);
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.allocated.as_ptr(), Block::layout(self.bytes)) };
    }
}

/// The order in which blocks, and threads between barriers, run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// By number.
    Forward,
    /// Against it.
    Reverse,
    /// Shuffled anew at every pass, seeded.
    Random(u64),
}

/// The schedules that a kernel must give the same bits under.
pub const SCHEDULES: [Schedule; 3] = [Schedule::Forward, Schedule::Reverse, Schedule::Random(1)];

thread_local! {
    static SCHEDULE: Cell<Schedule> = const { Cell::new(Schedule::Forward) };
    static IS_BLANK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with new blocks of this thread as the system gives them: zero, and no memory before something is written.
/// For launches that are not done.
pub fn with_blank_memory<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IS_BLANK.set(self.0);
        }
    }
    let _restore = Restore(IS_BLANK.replace(true));
    f()
}

/// Runs `f` with the launches of this thread under `schedule`.
pub fn with_schedule<T>(schedule: Schedule, f: impl FnOnce() -> T) -> T {
    struct Restore(Schedule);
    impl Drop for Restore {
        fn drop(&mut self) {
            SCHEDULE.set(self.0);
        }
    }
    let _restore = Restore(SCHEDULE.replace(schedule));
    f()
}

/// `EmuLaunch` of cuemu.h.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawLaunch {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads per block.
    pub block: [u32; 3],
    /// Dynamic shared memory.
    pub shared_bytes: u32,
    /// 0 forward, 1 reverse, 2 random.
    pub schedule: u32,
    /// Of the random schedule.
    pub seed: u64,
}

impl RawLaunch {
    /// A launch under the schedule of this thread.
    pub fn new(grid: [u32; 3], block: [u32; 3], shared_bytes: u32) -> RawLaunch {
        let (schedule, seed) = match SCHEDULE.get() {
            Schedule::Forward => (0, 0),
            Schedule::Reverse => (1, 0),
            Schedule::Random(seed) => (2, seed),
        };
        RawLaunch { grid, block, shared_bytes, schedule, seed }
    }
}

/// A kernel compiled for the emulator.
pub type EmuEntry = unsafe extern "C" fn(*const RawLaunch, *mut *mut c_void, *mut c_char, u64) -> c_int;

/// Runs a kernel to its end. `args` are pointers to the arguments, as cuLaunchKernel takes them.
///
/// # Errors
/// What the emulator found: kernel, block, thread and fault.
///
/// # Safety
/// `args` match the kernel's parameters, and every pointer among them is valid for what the kernel does with it.
pub unsafe fn launch_raw(entry: EmuEntry, launch: &RawLaunch, args: &mut [*mut c_void]) -> Result<(), String> {
    let mut message = [0u8; 1024];
    // SAFETY: promised by the caller; the message buffer has the length that is passed.
    let code = unsafe { entry(launch, args.as_mut_ptr(), message.as_mut_ptr().cast(), message.len() as u64) };
    if code == 0 {
        return Ok(());
    }
    let end = message.iter().position(|&b| b == 0).unwrap_or(message.len());
    Err(String::from_utf8_lossy(&message[..end]).into_owned())
}
