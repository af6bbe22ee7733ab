//! Products on a device: which kernel of `kernels/matmul.cu` takes which product, and how it is launched.

use crate::device::cuda::cublaslt::{self, Addends, Matmul};
use crate::device::{Device, raise};
use crate::kernels::{self, Launch};
use crate::tensor::{DType, Tensor};
use std::sync::OnceLock;

/// A factor of a product: element (i, j) of batch b is number `b batch + i row + j column` of the tensor.
#[derive(Clone, Copy)]
pub(crate) struct Factor<'a> {
    pub tensor: &'a Tensor,
    pub row: usize,
    pub column: usize,
    pub batch: usize,
}

impl<'a> Factor<'a> {
    /// For a single product.
    pub(crate) fn of(tensor: &'a Tensor, row: usize, column: usize) -> Factor<'a> {
        Factor { tensor, row, column, batch: 0 }
    }
    /// Whether 16-byte pieces along the contiguous direction are aligned and lie wholly inside, given the extents along
    /// rows and columns.
    fn is_aligned(&self, rows: usize, columns: usize) -> bool {
        let (contiguous, length, other) = match (self.row, self.column) {
            (_, 1) => (true, columns, self.row),
            (1, _) => (true, rows, self.column),
            _ => (false, 0, 0),
        };
        let is_multiple = |n: usize| n.is_multiple_of(16 / self.tensor.dtype().bytes());
        contiguous
            && [length, other, self.batch].map(is_multiple) == [true; 3]
            && self.tensor.address().is_multiple_of(16)
    }
}

type Kernel = fn(
    Launch,
    &mut Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    i32,
    i32,
    i32,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i32,
    i32,
    i32,
);

/// A kernel and the tiles that it cuts C into.
struct Shape {
    kernel: Kernel,
    tile: [usize; 2],
    threads: usize,
    shared_bytes: usize,
}

impl Shape {
    /// The kernel for C of type `to` and these factors.
    #[track_caller]
    fn of(to: DType, (m, n, k): (usize, usize, usize), a: Factor, b: Factor) -> Shape {
        let from = a.tensor.dtype();
        assert_eq!(b.tensor.dtype(), from, "a product of two types");
        // Below this a large tile would be mostly empty.
        let is_large = m >= 64 && n >= 64;
        let is_both_transposed = a.row == 1 && b.row == 1;
        let is_streamable = !is_both_transposed && a.is_aligned(m, k) && b.is_aligned(k, n);
        let large = |kernel| Shape { kernel, tile: [128, 128], threads: 256, shared_bytes: 49_152 };
        let small = |kernel| Shape { kernel, tile: [32, 32], threads: 128, shared_bytes: 12_288 };
        match (from, to, is_large) {
            (DType::F32, DType::F32, true) => {
                Shape { kernel: kernels::matmul_f32, tile: [128, 96], threads: 256, shared_bytes: 0 }
            }
            (DType::F32, DType::F32, false) => {
                Shape { kernel: kernels::matmul_small_f32, tile: [32, 32], threads: 64, shared_bytes: 0 }
            }
            (DType::Bf16, DType::Bf16, true) if is_streamable => large(kernels::matmul_bf16),
            (DType::Bf16, DType::Bf16, _) => small(kernels::matmul_small_bf16),
            (DType::Bf16, DType::F32, true) if is_streamable => large(kernels::matmul_bf16_f32),
            (DType::Bf16, DType::F32, _) => small(kernels::matmul_small_bf16_f32),
            (from, to, _) => panic!("a product of {from:?} numbers is not stored as {to:?}"),
        }
    }
}

/// Blocks that keep a GPU busy: with fewer tiles than that, a long K is split.
const BLOCKS: usize = 128;
/// K of one split, at least.
const SPLIT_MIN: usize = 256;
/// K that a split is a multiple of: the kernels' stages.
const STAGE: usize = 32;

/// What is added to a product, in registers: nothing by default.
#[derive(Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// A number per column, f32 [N], the same for each batch.
    pub bias: Option<&'a Tensor>,
    /// A tensor like the product, [batch, M, N].
    pub addend: Option<&'a Tensor>,
}

/// C [batch, M, N] = A [M, K] B [K, N] (+ bias [N]) (+ addend [batch, M, N]).
#[track_caller]
pub(crate) fn product_on_device(
    c: &mut Tensor,
    batch: usize,
    (m, n, k): (usize, usize, usize),
    a: Factor,
    b: Factor,
    epilogue: Epilogue,
) {
    assert_eq!(c.len(), batch * m * n, "a product of {batch} x {m} x {n} numbers");
    assert!(epilogue.addend.is_none_or(|r| r.len() == c.len()), "what is added to a product is of its size");
    if c.is_empty() {
        return;
    }
    if by_library(c, batch, (m, n, k), a, b, epilogue) {
        return;
    }
    let tiles_of = |shape: &Shape| m.div_ceil(shape.tile[0]) * n.div_ceil(shape.tile[1]);
    let whole = Shape::of(c.dtype(), (m, n, k), a, b);
    let splits = (BLOCKS / (tiles_of(&whole) * batch)).min(k / SPLIT_MIN).max(1);
    let k_split = k.div_ceil(splits).next_multiple_of(STAGE);
    let splits = k.div_ceil(k_split).max(1);
    let none = a.tensor.like_f32(&[1]);
    let run = |shape: &Shape, to: &mut Tensor, splits: usize, epilogue: Epilogue| {
        // Pointers that the kernel does not follow; their types are checked all the same.
        let no_addend = if a.tensor.dtype() == to.dtype() { a.tensor } else { &none };
        let (bias, addend) = (epilogue.bias.unwrap_or(&none), epilogue.addend.unwrap_or(no_addend));
        let [has_bias, has_addend] = [epilogue.bias, epilogue.addend].map(|t| t.is_some().into());
        let launch = Launch::new([tiles_of(shape), splits, batch], shape.threads).shared(shape.shared_bytes);
        let [m, n, k, k_split] = [m, n, k, k_split].map(|v| v as i32);
        let [a_row, a_column, a_batch] = [a.row, a.column, a.batch].map(|v| v as i64);
        let [b_row, b_column, b_batch] = [b.row, b.column, b.batch].map(|v| v as i64);
        (shape.kernel)(
            launch, to, a.tensor, b.tensor, bias, addend, m, n, k, a_row, a_column, a_batch, b_row, b_column, b_batch,
            0, k_split, has_bias, has_addend,
        );
    };
    if splits == 1 {
        return run(&whole, c, 1, epilogue);
    }
    let mut partials = c.like_f32(&[batch, splits, m, n]);
    run(&Shape::of(DType::F32, (m, n, k), a, b), &mut partials, splits, Epilogue::default());
    add_partials(c, &partials, [batch, splits, m, n], epilogue);
}

/// The product by cuBLASLt, on a GPU where the library is found and for factors without gaps; whether it was done.
fn by_library(
    c: &mut Tensor,
    batch: usize,
    (m, n, k): (usize, usize, usize),
    a: Factor,
    b: Factor,
    epilogue: Epilogue,
) -> bool {
    let is_plain = |f: &Factor, rows: usize, columns: usize| (f.row, f.column) == (columns.max(1), 1) || rows == 0;
    let is_transposed = |f: &Factor, rows: usize| (f.row, f.column) == (1, rows);
    let (transpose_a, transpose_b) = (!is_plain(&a, m, k), !is_plain(&b, k, n));
    let has_gaps = transpose_a && !is_transposed(&a, m) || transpose_b && !is_transposed(&b, k);
    if has_gaps || k == 0 || !matches!(c.device(), Device::Cuda(_)) || !library_is_there() {
        return false;
    }
    let (inputs, output, strides) = (a.tensor.dtype(), c.dtype(), [a.batch, b.batch, m * n]);
    let matmul = Matmul { m, n, k, batch, transpose_a, transpose_b, strides, inputs, output, alpha: 1.0 };
    let addends = Addends { bias: epilogue.bias.map(Tensor::place), matrix: epilogue.addend.map(Tensor::place) };
    matmul.run(a.tensor.place(), b.tensor.place(), addends, c.place()).unwrap_or_else(|error| raise(error))
}

/// Whether cuBLASLt is there; looked for once, and said in one line.
fn library_is_there() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let found = cublaslt::probe();
        match &found {
            Ok(()) => tracing::info!("matrix products: cuBLASLt"),
            Err(error) => tracing::info!("matrix products: own kernels, because {}", error.message()),
        }
        found.is_ok()
    })
}

/// C [batch, M, N] = sum of partials [batch, splits, M, N] (+ bias [N]) (+ addend [batch, M, N]), in a fixed order.
pub(crate) fn add_partials(
    c: &mut Tensor,
    partials: &Tensor,
    [batch, splits, m, n]: [usize; 4],
    Epilogue { bias, addend }: Epilogue,
) {
    let launch = Launch::new([(m * n).div_ceil(32), batch, 1], 256);
    let [has_bias, has_addend] = [bias, addend].map(|t| t.is_some());
    // Where there is none, pointers of the right type that the kernel does not follow.
    let narrow = (c.dtype() == DType::Bf16).then(|| c.like(&[1]));
    let (bias, addend) = (bias.unwrap_or(partials), addend.or(narrow.as_ref()).unwrap_or(partials));
    kernels::matmul_reduce(launch, c, partials, bias, addend, splits, m, n, 0i64, has_bias, has_addend);
}

/// A tensor as a factor next to bf16 numbers: rounded, unless it is bf16 already.
pub(crate) fn narrowed(wide: &Tensor) -> Tensor {
    if wide.dtype() == DType::Bf16 {
        return wide.clone();
    }
    let mut narrow = Tensor::uninit_on(wide.device(), DType::Bf16, wide.shape());
    let launch = Launch::new([wide.len().div_ceil(1024), 1, 1], 256);
    kernels::matmul_narrow_bf16(launch, &mut narrow, wide, wide.len() as i64);
    narrow
}
