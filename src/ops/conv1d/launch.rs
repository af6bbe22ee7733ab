//! The convolution on a device: how `kernels/conv1d.cu` is launched.

use super::Sizes;
use crate::kernels::{self, Launch};
use crate::tensor::{DType, Tensor};

/// Channels of a bundle of groups: a few lines of memory, and shared memory for several blocks at a time.
const CHANNELS: usize = 48;
/// A warp's tile (`kernels/tile.cuh`).
const TILE: [usize; 2] = [32, 24];
/// Warps of a block, at most.
const WARPS: [usize; 2] = [10, 20];
/// What every supported GPU has per block.
const SHARED_BYTES_MAX: usize = 99 * 1024;
/// Blocks that keep a large GPU busy; each walks over its share of the tiles.
const BLOCKS: usize = 1024;
/// Partial sums of dw.
const SLICES_MAX: usize = 128;

/// A convolution in pieces.
struct Tiling {
    sizes: Sizes,
    steps: usize,
    bundle: usize,
    columns: usize,
    pitch: usize,
}

impl Sizes {
    /// The same convolution as dx sees it.
    fn exchanged(self) -> Sizes {
        Sizes { inputs: self.outputs, outputs: self.inputs, ..self }
    }
    /// Steps per tile: the multiple of `unit` that wastes the least at the end of a sequence, the largest of those.
    fn steps(&self, unit: usize) -> usize {
        let wasteful = |steps: &usize| (self.len.next_multiple_of(*steps), usize::MAX - steps);
        (1..=5).map(|k| k * unit).min_by_key(wasteful).expect("not empty")
    }
    fn bundle(&self) -> usize {
        (CHANNELS / self.inputs.max(self.outputs)).clamp(1, self.groups)
    }
}

impl Tiling {
    fn tiles(&self) -> usize {
        self.sizes.batch * self.sizes.len.div_ceil(self.steps)
    }
    /// Blocks that share a tile.
    fn slices(&self) -> usize {
        self.sizes.groups.div_ceil(self.bundle) * self.sizes.outputs.div_ceil(self.columns)
    }
    /// The sizes in the order of the kernels' arguments.
    fn arguments(&self) -> [usize; 10] {
        let Sizes { batch, len, groups, inputs, outputs, taps } = self.sizes;
        [batch, len, groups, inputs, outputs, taps, self.steps, self.bundle, self.columns, self.pitch]
    }
    /// For y and dx: what the kernel lays out in shared memory.
    fn windows_bytes(&self, dtype: DType) -> usize {
        let Sizes { taps, .. } = self.sizes;
        let run = taps * self.pitch;
        let (window, gap) = if dtype == DType::Bf16 { (run.next_multiple_of(16), 8) } else { (run, 1) };
        let tile = ((self.steps + taps - 1) * self.pitch + window - run).next_multiple_of(8);
        dtype.bytes() * self.bundle * (tile + self.columns.next_multiple_of(8) * (window + gap))
    }
    /// For dw.
    fn products_bytes(&self, dtype: DType) -> usize {
        let run = self.sizes.taps * self.pitch;
        let tile = ((self.steps - 1) * self.pitch + run.next_multiple_of(TILE[0])).next_multiple_of(8);
        dtype.bytes() * self.bundle * (tile + self.steps * self.columns.next_multiple_of(8))
    }
    /// The first of several that fits.
    #[track_caller]
    fn fitting(tilings: impl IntoIterator<Item = Tiling>, bytes: impl Fn(&Tiling) -> usize, sizes: Sizes) -> Tiling {
        let fitting = tilings.into_iter().find(|tiling| bytes(tiling) <= SHARED_BYTES_MAX);
        fitting.unwrap_or_else(|| panic!("conv1d: {sizes:?} does not fit the shared memory of a GPU; use more groups"))
    }
    /// For y, and with exchanged sizes for dx.
    #[track_caller]
    fn into_windows(sizes: Sizes, dtype: DType) -> Tiling {
        let pitch = if dtype == DType::Bf16 { sizes.inputs.next_multiple_of(2) } else { sizes.inputs };
        let (steps, bundle) = (sizes.steps(TILE[0]), sizes.bundle());
        let smaller = [(steps, bundle, 48), (steps, 1, 24), (TILE[0], 1, 24), (TILE[0], 1, 8)];
        let tilings = smaller.map(|(steps, bundle, columns)| {
            let columns = if bundle > 1 { sizes.outputs } else { sizes.outputs.min(columns) };
            Tiling { sizes, steps, bundle, columns, pitch }
        });
        Tiling::fitting(tilings, |tiling| tiling.windows_bytes(dtype), sizes)
    }
    /// For dw.
    #[track_caller]
    fn into_products(sizes: Sizes, dtype: DType) -> Tiling {
        let pitch = if dtype == DType::Bf16 { sizes.inputs.next_multiple_of(8) } else { sizes.inputs };
        let (steps, columns) = (sizes.steps(16), sizes.outputs.min(TILE[1]));
        let most = if columns < sizes.outputs { 1 } else { WARPS[1] / (sizes.taps * pitch).div_ceil(TILE[0]) };
        let bundle = sizes.bundle().min(most).max(1);
        let tilings = [(steps, bundle), (steps, 1), (16, 1)].map(|(steps, bundle)| Tiling {
            sizes,
            steps,
            bundle,
            columns,
            pitch,
        });
        Tiling::fitting(tilings, |tiling| tiling.products_bytes(dtype), sizes)
    }
    fn launch_windows(&self, dtype: DType) -> Launch {
        let items = self.bundle * self.columns.div_ceil(TILE[1]) * (self.steps / TILE[0]);
        let warps = items.div_ceil(items.div_ceil(WARPS[0]));
        let walking = self.tiles().min((BLOCKS / self.slices()).max(1));
        Launch::new([walking, self.slices(), 1], 32 * warps).shared(self.windows_bytes(dtype))
    }
}

/// y = conv(x) + bias, or of SiLU(x) with `is_of_silu`.
pub(super) fn forward(sizes: Sizes, is_of_silu: bool, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let mut y = x.like(&[sizes.batch, sizes.len, sizes.cout()]);
    let tiling = Tiling::into_windows(sizes, x.dtype());
    let [sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch] = tiling.arguments();
    let launch = tiling.launch_windows(x.dtype());
    let silu = is_of_silu.into();
    #[rustfmt::skip]
    kernels::Conv1dFwd {
        y: &mut y, x, w: weight, bias,
        sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch, silu,
    }
    .launch(launch);
    y
}

/// dx; `of_silu` is x where the convolution was one of SiLU(x).
pub(super) fn backward_x(sizes: Sizes, of_silu: Option<&Tensor>, dy: &Tensor, weight: &Tensor) -> Tensor {
    let mut dx = dy.like(&[sizes.batch, sizes.len, sizes.cin()]);
    let tiling = Tiling::into_windows(sizes.exchanged(), dy.dtype());
    let [sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch] = tiling.arguments();
    let launch = tiling.launch_windows(dy.dtype());
    let (silu, x) = (of_silu.is_some().into(), of_silu.unwrap_or(dy));
    #[rustfmt::skip]
    kernels::Conv1dBwdX {
        dx: &mut dx, dy, x, w: weight,
        sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch, silu,
    }
    .launch(launch);
    dx
}

/// dw and db, those of SiLU(x) with `is_of_silu`.
pub(super) fn backward_w(sizes: Sizes, is_of_silu: bool, x: &Tensor, dy: &Tensor) -> [Tensor; 2] {
    let (cout, weights) = (sizes.cout(), sizes.cout() * sizes.inputs * sizes.taps);
    let tiling = Tiling::into_products(sizes, x.dtype());
    let slices = tiling.tiles().min(SLICES_MAX);
    let mut partial = x.like_f32(&[slices, weights + cout]);
    let entries = (sizes.taps * tiling.pitch).div_ceil(TILE[0]);
    let warps = entries.min(WARPS[1] / tiling.bundle);
    let grid = [slices, tiling.slices(), entries.div_ceil(warps)];
    let launch = Launch::new(grid, 32 * warps * tiling.bundle).shared(tiling.products_bytes(x.dtype()));
    let [sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch] = tiling.arguments();
    let silu = is_of_silu.into();
    #[rustfmt::skip]
    kernels::Conv1dBwdW {
        partial: &mut partial, x, dy,
        sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch, silu,
    }
    .launch(launch);
    let [mut dw, mut db] = [x.like_f32(&[cout, sizes.inputs, sizes.taps]), x.like_f32(&[cout])];
    let launch = Launch::rows((weights + cout).div_ceil(32), 256);
    kernels::conv1d_bwd_reduce_f32(launch, &mut dw, &mut db, &partial, slices, weights, cout);
    [dw, db]
}
