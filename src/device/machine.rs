//! Facts about this machine: memory of the machine and of this process.

use crate::device::{Device, host, tally};

/// The most memory this process has held so far, in bytes (Linux: VmHWM); `None` where it cannot be read.
pub fn peak_memory_bytes() -> Option<u64> {
    field("/proc/self/status", "VmHWM:")
}

/// Bytes of this process's tensors on the host, and the most there were at once since [`watch_tensors`]. Mapped files, the
/// working memory of ops and blocks that are kept for later do not count.
pub fn tensor_bytes() -> [u64; 2] {
    tensor_bytes_on(Device::Host)
}

/// The same of the devices of a kind: bytes as they were asked for, before their allocator rounds them up.
pub fn tensor_bytes_on(device: Device) -> [u64; 2] {
    tally::of(device).bytes()
}

/// Bytes of freed blocks that a thread of the host keeps for later, and that all keep together of larger ones, at most.
pub fn kept_bytes_most() -> [u64; 2] {
    host::kept_bytes_most()
}

/// Begins to look for the most bytes of tensors anew.
pub fn watch_tensors() {
    watch_tensors_on(Device::Host);
}

/// The same of the devices of a kind.
pub fn watch_tensors_on(device: Device) {
    tally::of(device).watch();
}

/// Memory of the machine in bytes.
pub fn memory_bytes() -> Option<u64> {
    field("/proc/meminfo", "MemTotal:")
}

/// Memory that could be used without swapping, in bytes.
pub fn available_memory_bytes() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

/// Threads that computations use.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// The widest vector instructions in use.
pub fn instruction_set() -> &'static str {
    host::instruction_set()
}

/// A number of kibibytes in one of the system's tables, in bytes.
fn field(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_what_was_touched() {
        let block = vec![1u8; 64 << 20];
        let peak = peak_memory_bytes().unwrap();
        assert!(peak >= block.iter().map(|&b| b as u64).sum::<u64>(), "{peak}");
        assert!(peak <= memory_bytes().unwrap());
        assert!(available_memory_bytes().unwrap() > 0);
    }
}
