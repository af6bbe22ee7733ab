//! The kernels without a GPU: the emulator that runs them is held to its promises, NVRTC and the assembler compile them.

mod compile;
mod emulator;
mod predicted;
