//! Against what others computed: PyTorch's models and ops, the official DCASE code, SciPy's assignment.

mod dcase;
mod ops;
mod verify;
