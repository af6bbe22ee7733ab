//! Host memory: 64-byte aligned buffers with a small free list per thread, counted in f32.
//!
//! Ops work on chunks that fit the second-level cache; taking the block that was freed last keeps the working
//! set of a chunk in that cache instead of walking through fresh pages. Large blocks bypass the C library: its arenas
//! keep what several threads allocated and freed in turn, which cost a step of the encoder a third of its peak.

use super::tally::HOST;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const ALIGN_BYTES: usize = 64;
/// Larger blocks are kept by no thread, so that the peak of a step is what the step really needs.
const POOLED_MAX_FLOATS: usize = 1 << 20;
const POOLED_TOTAL_FLOATS: usize = 8 << 20;
/// What all threads together keep of larger blocks: enough that the maps of one layer after another share their pages.
const LARGE_TOTAL_FLOATS: usize = 96 << 20;
/// The usual huge page.
#[cfg(target_os = "linux")]
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// All bits set: a NaN, and two NaNs for a reader of bf16.
const POISON: f32 = f32::from_bits(u32::MAX);
static FRESH_IS_POISONED: AtomicBool = AtomicBool::new(cfg!(any(test, debug_assertions)));

/// From now on fresh blocks are filled with NaN also in a release build, so that a test sees who reads before it
/// writes; unit tests and debug builds always do so.
pub fn poison_fresh_blocks() {
    FRESH_IS_POISONED.store(true, Ordering::Relaxed);
}

/// An owned, aligned block of f32 on the host.
pub struct Buffer {
    pointer: NonNull<f32>,
    len: usize,
    capacity: usize,
}

// SAFETY: a Buffer owns its memory exclusively; access follows the usual rules of & and &mut.
unsafe impl Send for Buffer {}
unsafe impl Sync for Buffer {}

/// A block that holds a tensor: counted, where the working memory of ops is not.
pub struct Counted(Buffer);

impl Counted {
    /// A block of `len` floats as [`Buffer::uninit`] gives it, within the budget.
    pub fn uninit(len: usize) -> Counted {
        HOST.take(4 * len as u64);
        Counted(Buffer::uninit(len))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        HOST.give(4 * self.0.len as u64);
    }
}

impl std::ops::Deref for Counted {
    type Target = Buffer;
    fn deref(&self) -> &Buffer {
        &self.0
    }
}

impl std::ops::DerefMut for Counted {
    fn deref_mut(&mut self) -> &mut Buffer {
        &mut self.0
    }
}

/// Bytes of blocks that a thread keeps for later, and that all keep together of larger ones, at most.
pub fn kept_bytes_most() -> [u64; 2] {
    [POOLED_TOTAL_FLOATS, LARGE_TOTAL_FLOATS].map(|floats| 4 * floats as u64)
}

#[derive(Default)]
struct Pool {
    /// One stack of free blocks per capacity class.
    classes: Vec<(usize, Vec<NonNull<f32>>)>,
    held: usize,
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (capacity, stack) in self.classes.drain(..) {
            for pointer in stack {
                // SAFETY: the block was allocated with this capacity and sits in no Buffer any more.
                unsafe { release(pointer, capacity) };
            }
        }
    }
}

/// Large blocks that were freed last, the latest at the end.
struct Large {
    free: Vec<(NonNull<f32>, usize)>,
    held: usize,
}

// SAFETY: a free block belongs to the list alone.
unsafe impl Send for Large {}

static LARGE: Mutex<Large> = Mutex::new(Large { free: Vec::new(), held: 0 });

impl Large {
    fn take(&mut self, capacity: usize) -> Option<NonNull<f32>> {
        let at = self.free.iter().rposition(|block| block.1 == capacity)?;
        self.held -= capacity;
        Some(self.free.remove(at).0)
    }

    /// Hands back all blocks.
    fn empty(&mut self) -> Vec<(NonNull<f32>, usize)> {
        self.held = 0;
        std::mem::take(&mut self.free)
    }

    /// Keeps a block in place of those that were freed longest ago, and hands back what there is no room for.
    fn put(&mut self, pointer: NonNull<f32>, capacity: usize) -> Vec<(NonNull<f32>, usize)> {
        self.free.push((pointer, capacity));
        self.held += capacity;
        let mut over = 0;
        while self.held > LARGE_TOTAL_FLOATS {
            self.held -= self.free[over].1;
            over += 1;
        }
        self.free.drain(..over).collect()
    }
}

fn large() -> MutexGuard<'static, Large> {
    LARGE.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// What the C library is asked for: room to align the block in, since a block of glibc's that was asked for aligned
/// and then freed has no room for its like, and a training step of a decoder took 80 MiB more.
fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity * 4 + ALIGN_BYTES, 16).expect("a tensor is smaller than the address space")
}

/// The first aligned address behind the start of a block, with that start in front of it.
///
/// # Safety
/// `start` is null or begins a block of [`layout`], at a multiple of 16.
unsafe fn align(start: *mut u8) -> *mut f32 {
    if start.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: 16 to 64 bytes further on lies within the block, and so does the pointer in front.
    unsafe {
        let aligned = start.add(ALIGN_BYTES - start as usize % ALIGN_BYTES);
        aligned.cast::<*mut u8>().sub(1).write(start);
        aligned.cast()
    }
}

/// Zeros, so that a slice over a fresh block never exposes undefined bytes: from the C library, which knows what is zero already,
/// or, above [`POOLED_MAX_FLOATS`], from the system in huge pages where it has some.
///
/// # Safety
/// `capacity` is not zero.
unsafe fn allocate(capacity: usize) -> NonNull<f32> {
    // SAFETY: the size is not zero; a new anonymous mapping overlaps nothing.
    let raw = unsafe {
        if capacity <= POOLED_MAX_FLOATS {
            align(alloc_zeroed(layout(capacity)))
        } else {
            let mut mapped = map(capacity * 4);
            // Where memory is short, what is kept for later goes back first.
            if mapped.is_null() {
                large().empty().into_iter().for_each(|(pointer, capacity)| release(pointer, capacity));
                mapped = map(capacity * 4);
            }
            mapped.cast()
        }
    };
    NonNull::new(raw).unwrap_or_else(|| handle_alloc_error(layout(capacity)))
}

/// # Safety
/// [`allocate`] made the block with this capacity, and nobody uses it any more.
unsafe fn release(pointer: NonNull<f32>, capacity: usize) {
    let raw = pointer.as_ptr();
    // SAFETY: by the contract of this function.
    unsafe {
        if capacity <= POOLED_MAX_FLOATS {
            dealloc(raw.cast::<*mut u8>().sub(1).read(), layout(capacity));
        } else {
            // The system merges neighbours, and may refuse to split them again when a process has too many mappings:
            // then the addresses stay taken, and their pages go back.
            if rustix::mm::munmap(raw.cast(), capacity * 4).is_err() {
                #[cfg(target_os = "linux")]
                rustix::mm::madvise(raw.cast(), capacity * 4, rustix::mm::Advice::LinuxDontNeed).ok();
            }
        }
    }
}

/// Null where the system has no memory left.
fn map(bytes: usize) -> *mut std::ffi::c_void {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    // SAFETY: without a fixed address a mapping overlaps nothing.
    let mapped =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
    let Ok(pointer) = mapped else { return std::ptr::null_mut() };
    // Only where whole huge pages lie: one at the end would make memory resident that nobody touches.
    #[cfg(target_os = "linux")]
    // SAFETY: the range lies within the mapping just made. Advice only: a system without huge pages refuses it.
    unsafe {
        rustix::mm::madvise(pointer, bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES, rustix::mm::Advice::LinuxHugepage).ok();
    }
    pointer
}

/// Rounds up to 16 floats below 1024 and to an eighth of a power of two above: few classes, little waste.
fn capacity_class(len: usize) -> usize {
    if len <= 1024 {
        return len.max(1).next_multiple_of(16);
    }
    let step = (len.next_power_of_two() / 16).max(16);
    len.next_multiple_of(step)
}

impl Buffer {
    /// A block of `len` floats with unspecified content: write before reading ([`poison_fresh_blocks`] shows who does not).
    pub fn uninit(len: usize) -> Buffer {
        let capacity = capacity_class(len);
        let recycled = match capacity {
            ..=POOLED_MAX_FLOATS => POOL.try_with(|pool| pool.borrow_mut().take(capacity)).ok().flatten(),
            _ => large().take(capacity),
        };
        let pointer = recycled.unwrap_or_else(|| {
            // SAFETY: a capacity is never zero.
            unsafe { allocate(capacity) }
        });
        let mut buffer = Buffer { pointer, len, capacity };
        if FRESH_IS_POISONED.load(Ordering::Relaxed) {
            buffer.as_mut_slice().fill(POISON);
        }
        buffer
    }

    /// A block of `len` zeros.
    pub fn zeroed(len: usize) -> Buffer {
        let mut buffer = Buffer::uninit(len);
        buffer.as_mut_slice().fill(0.0);
        buffer
    }

    /// The floats.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: pointer and length describe the owned, initialised block.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }

    /// The floats, writable.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_slice`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.capacity > POOLED_MAX_FLOATS {
            let over = large().put(self.pointer, self.capacity);
            // SAFETY: each was allocated with its capacity, and nobody else holds it.
            return over.into_iter().for_each(|(pointer, capacity)| unsafe { release(pointer, capacity) });
        }
        let kept = POOL.try_with(|pool| pool.borrow_mut().put(self.capacity, self.pointer)).unwrap_or(false);
        if !kept {
            // SAFETY: allocated with this capacity, and nobody else holds the pointer.
            unsafe { release(self.pointer, self.capacity) };
        }
    }
}

impl Pool {
    fn take(&mut self, capacity: usize) -> Option<NonNull<f32>> {
        let stack = &mut self.classes.iter_mut().find(|(class, _)| *class == capacity)?.1;
        let pointer = stack.pop()?;
        self.held -= capacity;
        Some(pointer)
    }

    fn put(&mut self, capacity: usize, pointer: NonNull<f32>) -> bool {
        if self.held + capacity > POOLED_TOTAL_FLOATS {
            return false;
        }
        self.held += capacity;
        match self.classes.iter_mut().find(|(class, _)| *class == capacity) {
            Some((_, stack)) => stack.push(pointer),
            None => self.classes.push((capacity, vec![pointer])),
        }
        true
    }
}

/// The vector instructions in use.
pub fn instruction_set() -> &'static str {
    match crate::device::simd::Isa::current().name() {
        "avx512" => "AVX-512",
        "avx2" => "AVX2",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_sized_and_reused() {
        for len in [0, 1, 15, 16, 17, 1023, 1025, 100_003] {
            let buffer = Buffer::zeroed(len);
            assert_eq!(buffer.as_slice().as_ptr() as usize % ALIGN_BYTES, 0);
            assert_eq!(buffer.as_slice(), vec![0.0; len]);
        }
        let first = Buffer::zeroed(5000).as_slice().as_ptr();
        assert_eq!(Buffer::zeroed(5000).as_slice().as_ptr(), first);
    }

    #[test]
    fn large_blocks_are_kept_within_a_limit_and_zeroed_on_request() {
        let len = POOLED_MAX_FLOATS + 12_345;
        let mut buffer = Buffer::zeroed(len);
        assert_eq!(buffer.as_slice().as_ptr() as usize % ALIGN_BYTES, 0);
        buffer.as_mut_slice().fill(1.0);
        drop(buffer);
        assert!(Buffer::zeroed(len).as_slice().iter().all(|&x| x == 0.0));

        let mut list = Large { free: Vec::new(), held: 0 };
        let block = |i: usize| NonNull::new((i * ALIGN_BYTES) as *mut f32).unwrap();
        let third = LARGE_TOTAL_FLOATS / 3;
        for i in 1..=3 {
            assert_eq!(list.put(block(i), third), []);
        }
        assert_eq!(list.take(third + 1), None);
        assert_eq!(list.put(block(4), third), [(block(1), third)]);
        assert_eq!(list.take(third), Some(block(4)));
        assert_eq!(list.held, 2 * third);
        // More than there is room for at all goes back at once, with everything that was freed before it.
        let all = [(block(2), third), (block(3), third), (block(5), LARGE_TOTAL_FLOATS + 1)];
        assert_eq!(list.put(block(5), LARGE_TOTAL_FLOATS + 1), all);
        assert_eq!(list.held, 0);
        assert_eq!(list.put(block(6), third), []);
        assert_eq!((list.empty(), list.held, list.take(third)), (vec![(block(6), third)], 0, None));
    }
}
