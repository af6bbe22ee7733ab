//! A block of memory on any device.

use super::{Device, cuda, host, raise};
use crate::error::Result;
use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "emu")]
use super::emu;

/// Bytes that something else owns, such as a mapped file.
pub type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A block on the host, in the emulator or on a GPU.
pub enum Buffer {
    /// Memory of the host.
    Host(host::Counted),
    /// A part of a mapped file or of other foreign bytes, on the host and never written to.
    Mapped(Owner, Range<usize>),
    /// Bytes of the emulator, between red zones.
    #[cfg(feature = "emu")]
    Emu(emu::Block),
    /// Bytes of a GPU.
    Cuda(cuda::Block),
}

fn must<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| raise(error))
}

impl Buffer {
    /// A block of `bytes` with unspecified content.
    #[track_caller]
    pub fn uninit(device: Device, bytes: usize) -> Buffer {
        match device {
            Device::Host => Buffer::Host(host::Counted::uninit(bytes.div_ceil(4))),
            #[cfg(feature = "emu")]
            Device::Emu => Buffer::Emu(emu::Block::new(bytes)),
            #[cfg(not(feature = "emu"))]
            Device::Emu => panic!("{}", super::NO_EMULATOR),
            Device::Cuda(n) => Buffer::Cuda(must(cuda::open(n).and_then(|gpu| gpu.alloc(bytes)))),
        }
    }

    /// Where the block lies.
    pub fn device(&self) -> Device {
        match self {
            Buffer::Host(_) | Buffer::Mapped(..) => Device::Host,
            #[cfg(feature = "emu")]
            Buffer::Emu(_) => Device::Emu,
            Buffer::Cuda(block) => Device::Cuda(block.gpu().info().ordinal),
        }
    }

    /// Whether kernels and writers may change the bytes: foreign bytes are read only.
    pub fn is_writable(&self) -> bool {
        !matches!(self, Buffer::Mapped(..))
    }

    /// The bytes of a host block. Panics for a device block: its numbers must be copied first.
    #[track_caller]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Buffer::Host(block) => bytemuck::cast_slice(block.as_slice()),
            Buffer::Mapped(owner, range) => &(**owner).as_ref()[range.clone()],
            other => panic!("the numbers lie on {:?}: copy the tensor to the host first", other.device()),
        }
    }

    /// The bytes of a host block, writable. Panics for foreign bytes and for a device block.
    #[track_caller]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::Host(block) => bytemuck::cast_slice_mut(block.as_mut_slice()),
            Buffer::Mapped(..) => panic!("a mapped file is not written to"),
            other => panic!("the numbers lie on {:?}: copy the tensor to the host first", other.device()),
        }
    }

    /// The address of the first byte, as kernels take it.
    #[track_caller]
    pub fn address(&self) -> u64 {
        match self {
            Buffer::Host(_) | Buffer::Mapped(..) => panic!("kernels do not run on host memory"),
            #[cfg(feature = "emu")]
            Buffer::Emu(block) => block.address(),
            Buffer::Cuda(block) => block.address(),
        }
    }

    /// Fills the block with zero bytes.
    pub fn fill_zero(&mut self) {
        match self {
            Buffer::Host(_) | Buffer::Mapped(..) => self.bytes_mut().fill(0),
            #[cfg(feature = "emu")]
            Buffer::Emu(block) => block.bytes_mut().fill(0),
            Buffer::Cuda(block) => must(block.gpu().fill(block, cuda::Fill::Zero)),
        }
    }

    /// Copies host bytes to `offset` of the block.
    #[track_caller]
    pub fn upload(&mut self, offset: usize, bytes: &[u8]) {
        match self {
            Buffer::Host(_) | Buffer::Mapped(..) => {
                self.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(bytes)
            }
            #[cfg(feature = "emu")]
            Buffer::Emu(block) => block.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(bytes),
            Buffer::Cuda(block) => must(block.gpu().upload(block, offset, bytes)),
        }
    }

    /// Copies bytes from `offset` of the block to the host, after all launches before it.
    #[track_caller]
    pub fn download(&self, offset: usize, bytes: &mut [u8]) {
        match self {
            Buffer::Host(_) | Buffer::Mapped(..) => bytes.copy_from_slice(&self.bytes()[offset..offset + bytes.len()]),
            #[cfg(feature = "emu")]
            Buffer::Emu(block) => bytes.copy_from_slice(&block.bytes()[offset..offset + bytes.len()]),
            Buffer::Cuda(block) => must(block.gpu().download(block, offset, bytes)),
        }
    }

    /// Copies `bytes` bytes from `offset` of a block on the same device to byte `at` of this one.
    #[track_caller]
    pub fn copy_from(&mut self, at: usize, source: &Buffer, offset: usize, bytes: usize) {
        match (self, source) {
            (Buffer::Host(to), from @ (Buffer::Host(_) | Buffer::Mapped(..))) => {
                let to: &mut [u8] = bytemuck::cast_slice_mut(to.as_mut_slice());
                to[at..at + bytes].copy_from_slice(&from.bytes()[offset..offset + bytes]);
            }
            #[cfg(feature = "emu")]
            (Buffer::Emu(to), Buffer::Emu(from)) => {
                to.bytes_mut()[at..at + bytes].copy_from_slice(&from.bytes()[offset..offset + bytes]);
            }
            (Buffer::Cuda(to), Buffer::Cuda(from)) => must(to.gpu().copy(to, at, from, offset, bytes)),
            (to, from) => panic!("a copy from {:?} to {:?}", from.device(), to.device()),
        }
    }
}
