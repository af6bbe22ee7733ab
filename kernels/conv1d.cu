// y[b, l, o] = bias[o] + sum over i, t of w[o, i, t] f(x[b, l + t - k/2, first(o) + i]), f(x) = x or x / (1 + e^-x)
//
// x [B, L, Cin], w [Cout, Cin/G, k] float, bias [Cout] float -> y [B, L, Cout]; odd k, zeros around each sequence. The
// gradient dx is the same convolution of dy, with the taps reversed and inputs and outputs exchanged, times f'(x).
//
//     y, dx:                                              dw, db (per slice of the tiles, then summed in order):
//       shared <- weights of some groups                    for each tile of steps:
//       for each tile of steps of this block:                 shared <- f(x) and dy of the tile
//         shared <- f(x) or dy of the tile, k/2 steps more    a warp's sums (32 window entries x 24 outputs)
//         a warp: 32 steps x 24 outputs = windows weights^T     += windows^T dy
//         y <- sums + bias, dx <- sums f'(x)                partial[slice] <- sums
//
// 1. The channels of one group lie in shared memory as [step][channel] without gaps, so the k Cin/G numbers that an
//    output depends on are one run, and the runs of neighbouring steps overlap: the matrix of an implicit product
//    needs no copy per tap. For k = 3 and 24 channels its inner length is 72, padded to 80 for the tensor cores.
// 2. Groups are narrow (12 or 24 channels), a line of memory is not: a block takes a bundle of groups, as many as make
//    48 channels. Weights are staged once per block, which then walks over tiles of any sequence.
// 3. bf16 needs channel pairs for y and 8 channels for ldmatrix in dw: `pitch` is the padded number of channels.
//    What is padding (channels, the end of a window, columns) is zero from the beginning and never written again.
//    Behind a window's end lie numbers of the next step, which meet zero weights: an infinite x may make a NaN of the y
//    one step beside those that see it.
// 4. dw keeps all sums of a block's tiles in registers. Slices of tiles are added by a second kernel in their order: no
//    atomics, the same bits at every run. db rides along as the weight of an input that is always 1.
// 5. f = SiLU (the argument `silu`) is applied on the way to shared memory, rounded as if it had been stored, and f'(x)
//    to the sums of dx: f(x) never exists in memory. A pass of its own reads and writes the tensor once in forward and
//    reads two and writes one in backward; here dx reads x, and that is all. f(0) = 0, so zeros around stay zeros.
// 6. A thread asks for several pieces of its column before it writes the first of them to shared memory: with one
//    request at a time it would wait for memory most of the time. dw has registers for two, y and dx for four.
//
// Bytes: y and dx read and write their tensors once (dx with SiLU reads x besides), dw reads x and dy once; 2 B L Cout
// Cin/G k FLOPs each, and about 20 per number for SiLU. The encoder's 80,754 x 192 in 8 groups moves 62 MB in bf16 for
// 2.2 GFLOP (dx with SiLU 93 MB): memory-bound on tensor cores.
#include "common.cuh"
#include "ptx.cuh"
#include "tile.cuh"

// A convolution and how it is cut; for dx, inputs and outputs are exchanged.
struct Job {
    int sequences, len, groups;
    int inputs, outputs;  // channels per group
    int taps;
    int steps;    // per tile
    int bundle;   // groups per block
    int columns;  // outputs per group and block
    int pitch;    // inputs and padding
    int silu;     // whether x passes through SiLU first
};

// Neighbours that move at once.
template <int COUNT, typename T>
struct alignas(COUNT * sizeof(T)) Piece {
    T v[COUNT];
};

template <int COUNT, typename T>
static __device__ __forceinline__ Piece<COUNT, T> load_piece(const T* p) {
    TWNM_CHECK_ALIGNED(p, COUNT * sizeof(T));
    return *reinterpret_cast<const Piece<COUNT, T>*>(p);
}

template <int COUNT, typename T>
static __device__ __forceinline__ void store_piece(T* p, const Piece<COUNT, T>& piece) {
    TWNM_CHECK_ALIGNED(p, COUNT * sizeof(T));
    *reinterpret_cast<Piece<COUNT, T>*>(p) = piece;
}

// Two neighbours of which `count` exist (at most 0: none), zeros for others; `paired`: p is aligned for both at once.
template <typename T>
static __device__ __forceinline__ Piece<2, T> load_some(const T* p, int count, int paired) {
    if (count >= 2 && paired) return load_piece<2>(p);
    const T zero = from_float<T>(0.0f);
    return {{count >= 1 ? p[0] : zero, count >= 2 ? p[1] : zero}};
}

template <typename T>
static __device__ __forceinline__ float silu_slope(float x) {
    const float s = sigmoid_for<T>(x);
    return s * (1.0f + x * (1.0f - s));
}

static __device__ __forceinline__ int up_to(int n, int multiple) { return CEIL_DIV(n, multiple) * multiple; }

template <typename T>
static __device__ void clear_shared(T* p, int count) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) p[i] = from_float<T>(0.0f);
}

// Brings `rows` steps from `first` on of channels [channel, channel + width) of a sequence [len, all] to shared memory
// as [group][step][pitch], through SiLU or as they are; steps outside the sequence are zero. VECTOR channels move at
// once, AHEAD pieces of them are on their way at a time.
template <int AHEAD, int VECTOR, typename T>
static __device__ void stage_by(T* tile, int group_stride, int pitch, const T* sequence, int len, int all, int channel,
                                int width, int inputs, int first, int rows, int silu) {
    const int lanes = min(CEIL_DIV(width, VECTOR), (int)blockDim.x), at_once = blockDim.x / lanes;
    for (int c = threadIdx.x % lanes * VECTOR; c < width; c += lanes * VECTOR) {
        T* to = tile + c / inputs * group_stride + c % inputs;
        const T* from = sequence + channel + c;
        const int start = threadIdx.x / lanes;
        for (int row = start < at_once ? start : rows; row < rows; row += AHEAD * at_once) {
            Piece<VECTOR, T> held[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                const int step = first + row + i * at_once;
                const bool inside = row + i * at_once < rows && step >= 0 && step < len;
                held[i] = Piece<VECTOR, T>{};
                if (inside) held[i] = load_piece<VECTOR>(from + (long long)step * all);
            }
            if (silu) {
#pragma unroll
                for (int e = 0; e < AHEAD * VECTOR; e++) {
                    const float v = to_float(held[e / VECTOR].v[e % VECTOR]);
                    held[e / VECTOR].v[e % VECTOR] = from_float<T>(v * sigmoid_for<T>(v));
                }
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                const int here = row + i * at_once;
                if (here < rows) store_piece(to + here * pitch, held[i]);
            }
        }
    }
}

// `inputs` of each group are taken from the group's `all_inputs`, starting at `skipped`.
template <int AHEAD, typename T>
static __device__ void stage(T* tile, int group_stride, int pitch, const T* sequence, int len, int groups, int group,
                             int bundle, int all_inputs, int skipped, int inputs, int first, int rows, int silu) {
    const int present = min(bundle, groups - group), all = groups * all_inputs;
    if (inputs == all_inputs) {
        const int channel = group * inputs, width = present * inputs;
        if (inputs % 4 == 0) {
            stage_by<AHEAD, 4>(tile, group_stride, pitch, sequence, len, all, channel, width, inputs, first, rows,
                               silu);
        } else {
            stage_by<AHEAD, 1>(tile, group_stride, pitch, sequence, len, all, channel, width, inputs, first, rows,
                               silu);
        }
    } else {
        // Part of one wide group.
        stage_by<AHEAD, 1>(tile, group_stride, pitch, sequence, len, all, group * all_inputs + skipped, inputs, inputs,
                           first, rows, silu);
    }
}

// One row of weights per output column: the window's entries in the order of `tile`, entry t pitch + i. Forward takes
// w[o, i, t] with o as the column; backward w[i, o, k - 1 - t], where i counts the outputs of the forward direction.
template <typename T>
static __device__ void stage_weights(T* weights, int row, const float* w, const Job& job, int group, int column,
                                     int backward) {
    const int per_column = job.inputs * job.taps, columns = min(job.columns, job.outputs - column);
    const int present = min(job.bundle, job.groups - group);
    for (int e = threadIdx.x; e < present * columns * per_column; e += blockDim.x) {
        const int t = e % job.taps, i = e / job.taps % job.inputs, n = e / per_column % columns;
        const int bundled = e / per_column / columns;
        const int matrix = (group + bundled) * job.outputs * per_column;
        const int at = backward ? (i * job.outputs + column + n) * job.taps + job.taps - 1 - t
                                : ((column + n) * job.inputs + i) * job.taps + t;
        weights[(bundled * up_to(job.columns, 8) + n) * row + t * job.pitch + i] = from_float<T>(w[matrix + at]);
    }
}

// Where a tile of results belongs: `count` columns of `height` rows (or more than the tile has), `all` numbers apart.
struct Corner {
    long long at;
    int all, height, count;
    int paired;  // whether neighbours at even places may move together
};

// to <- (sums + bias) f'(before). WHOLE: the tile has all its rows and columns, in pairs; then addresses are one pointer
// per row and constants, where checks of every pair would cost more than the product.
template <bool WHOLE, bool BIASED, bool SLOPES, typename T>
static __device__ __forceinline__ void put_tile(T* to, const T* before, const float* bias, const TileSums& sums,
                                                const Corner& corner) {
    const int row = tile_row(0, 0), column = tile_column(0, 0), left = corner.count - column;
    const long long mine = corner.at + (long long)row * corner.all + column;
    float low[3] = {}, high[3] = {};
#pragma unroll
    for (int n = 0; n < 3; n++) {
        if (BIASED && (WHOLE || 8 * n < left)) low[n] = bias[column + 8 * n];
        if (BIASED && (WHOLE || 8 * n + 1 < left)) high[n] = bias[column + 8 * n + 1];
    }
#pragma unroll
    for (int r = 0; r < 4; r++) {
        if (!WHOLE && row + 8 * r >= corner.height) continue;
        const long long here = mine + (long long)(8 * r) * corner.all;
        Piece<2, T> x[3];
#pragma unroll
        for (int n = 0; n < 3; n++) {
            if (SLOPES && WHOLE) x[n] = load_piece<2>(before + here + 8 * n);
            if (SLOPES && !WHOLE) x[n] = load_some(before + here + 8 * n, left - 8 * n, corner.paired);
        }
#pragma unroll
        for (int n = 0; n < 3; n++) {
            float first = sums[r / 2][n][r % 2 * 2] + low[n], second = sums[r / 2][n][r % 2 * 2 + 1] + high[n];
            if (SLOPES) {
                first *= silu_slope<T>(to_float(x[n].v[0]));
                second *= silu_slope<T>(to_float(x[n].v[1]));
            }
            if (WHOLE) store2(to + here + 8 * n, first, second);
            else store_some(to + here + 8 * n, first, second, left - 8 * n, corner.paired);
        }
    }
}

template <bool BIASED, bool SLOPES, typename T>
static __device__ __forceinline__ void put(T* to, const T* before, const float* bias, const TileSums& sums,
                                           const Corner& corner) {
    if (corner.paired && corner.height >= TILE_ROWS && corner.count == TILE_COLUMNS) {
        put_tile<true, BIASED, SLOPES>(to, before, bias, sums, corner);
    } else {
        put_tile<false, BIASED, SLOPES>(to, before, bias, sums, corner);
    }
}

// Forward: y = conv(f(x)) + bias. Backward, where y is dx, x is dy and there is no bias: y = conv(x) f'(before).
template <bool BACKWARD, typename T>
static __device__ void convolve(T* shared, T* y, const T* x, const T* before, const float* w, const float* bias,
                                const Job& job) {
    const int is_narrow = sizeof(T) == 2;
    const int run = job.taps * job.pitch, window = is_narrow ? up_to(run, 16) : run;
    const int weight_row = window + (is_narrow ? 8 : 1);
    const int padded_columns = up_to(job.columns, 8), rows = job.steps + job.taps - 1;
    const int group_stride = up_to(rows * job.pitch + window - run, 8);
    const int tile_size = job.bundle * group_stride, weights_size = job.bundle * padded_columns * weight_row;
    T* tile = shared;
    T* weights = shared + tile_size;

    const int cuts = CEIL_DIV(job.outputs, job.columns);
    const int group = blockIdx.y / cuts * job.bundle, column = blockIdx.y % cuts * job.columns;
    const int columns = min(job.columns, job.outputs - column), present = min(job.bundle, job.groups - group);
    clear_shared(shared, tile_size + weights_size);
    __syncthreads();
    stage_weights(weights, weight_row, w, job, group, column, BACKWARD);

    const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int column_tiles = CEIL_DIV(columns, TILE_COLUMNS), row_tiles = job.steps / TILE_ROWS;
    const int parts = CEIL_DIV(job.len, job.steps), cout = job.groups * job.outputs;
    for (int at = blockIdx.x; at < job.sequences * parts; at += gridDim.x) {
        const int sequence = at / parts, first = at % parts * job.steps;
        __syncthreads();  // the tile before has been read, and the weights are there
        stage<4>(tile, group_stride, job.pitch, x + (long long)sequence * job.len * job.groups * job.inputs, job.len,
                 job.groups, group, job.bundle, job.inputs, 0, job.inputs, first - job.taps / 2, rows,
                 !BACKWARD && job.silu);
        __syncthreads();
        for (int item = warp; item < present * column_tiles * row_tiles; item += warps) {
            const int row = item % row_tiles * TILE_ROWS, bundled = item / row_tiles % present;
            const int left = item / row_tiles / present * TILE_COLUMNS, count = min(TILE_COLUMNS, columns - left);
            const int channel = (group + bundled) * job.outputs + column + left;
            TileSums sums;
            clear(sums);
            multiply_shared(sums, tile + bundled * group_stride + row * job.pitch, job.pitch,
                            weights + (bundled * padded_columns + left) * weight_row, weight_row, window, count);
            const long long at_row = (long long)sequence * job.len + first + row;
            const Corner corner = {at_row * cout + channel, cout, job.len - first - row, count, job.outputs % 2 == 0};
            if (!BACKWARD) put<true, false>(y, before, bias + channel, sums, corner);
            else if (job.silu) put<false, true>(y, before, bias, sums, corner);
            else put<false, false>(y, before, bias, sums, corner);
        }
    }
}

// The sums of dw and db over this block's tiles. A warp owns 32 window entries of one group, blockIdx.z counts further
// entries of wide groups.
template <typename T>
static __device__ void weight_gradient(T* shared, float* partial, const T* x, const T* dy, const Job& job) {
    const int warp = threadIdx.x / 32, warps_per_group = blockDim.x / 32 / job.bundle;
    const int run = job.taps * job.pitch, cuts = CEIL_DIV(job.outputs, job.columns);
    const int group = blockIdx.y / cuts * job.bundle, column = blockIdx.y % cuts * job.columns;
    const int columns = min(job.columns, job.outputs - column), dy_pitch = up_to(job.columns, 8);
    const int rows = job.steps + job.taps - 1;
    const int group_stride = up_to((job.steps - 1) * job.pitch + up_to(run, TILE_ROWS), 8);
    const int dy_stride = job.steps * dy_pitch;
    T* tile = shared;
    T* slopes = shared + job.bundle * group_stride;
    clear_shared(shared, job.bundle * (group_stride + dy_stride));

    const int bundled = warp / warps_per_group;
    const int entry = (blockIdx.z * warps_per_group + warp % warps_per_group) * TILE_ROWS;
    const int works = entry < run && group + bundled < job.groups;
    TileSums sums;
    clear(sums);
    float totals[3][4] = {};
    const int parts = CEIL_DIV(job.len, job.steps);
    for (int at = blockIdx.x; at < job.sequences * parts; at += gridDim.x) {
        const int first = at % parts * job.steps;
        const long long start = (long long)(at / parts) * job.len * job.groups;
        __syncthreads();
        stage<2>(tile, group_stride, job.pitch, x + start * job.inputs, job.len, job.groups, group, job.bundle,
                 job.inputs, 0, job.inputs, first - job.taps / 2, rows, job.silu);
        stage<2>(slopes, dy_stride, dy_pitch, dy + start * job.outputs, job.len, job.groups, group, job.bundle,
                 job.outputs, column, columns, first, job.steps, 0);
        __syncthreads();
        if (works) {
            multiply_transposed(sums, totals, tile + bundled * group_stride + entry, job.pitch,
                                slopes + bundled * dy_stride, dy_pitch, job.steps, columns, entry == 0);
        }
    }

    const int cout = job.groups * job.outputs, o0 = (group + bundled) * job.outputs + column;
    float* out = partial + (long long)blockIdx.x * (cout * job.inputs * job.taps + cout);
#pragma unroll
    for (int e = 0; e < 24; e++) {
        const int m = e / 12, n = e / 4 % 3, j = e % 4;
        const int c = tile_column(n, j), at = entry + tile_row(m, j), t = at / job.pitch, i = at % job.pitch;
        if (works && c < columns && at < run && i < job.inputs) {
            out[((o0 + c) * job.inputs + i) * job.taps + t] = sums[m][n][j];
            if (at == 0) out[cout * job.inputs * job.taps + o0 + c] = totals[n][j % 2];
        }
    }
}

// x [sequences, len, groups inputs], w [groups outputs, inputs, taps], bias [groups outputs] -> y [sequences, len,
// groups outputs]. The grid walks over tiles (x) and over bundles of groups (y). With silu, of SiLU(x) instead of x.
extern "C" __global__ void __launch_bounds__(320)
conv1d_fwd_f32(float* PACKED y, const float* PACKED x, const float* w, const float* bias, int sequences, int len,
               int groups, int inputs, int outputs, int taps, int steps, int bundle, int columns, int pitch, int silu) {
    DYN_SHARED(float, shared);
    convolve<false, float>(shared, y, x, nullptr, w, bias,
                           {sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch, silu});
}

// As conv1d_fwd_f32, for activations stored as bf16.
extern "C" __global__ void __launch_bounds__(320)
conv1d_fwd_bf16(bf16* PACKED y, const bf16* PACKED x, const float* w, const float* bias, int sequences, int len,
                int groups, int inputs, int outputs, int taps, int steps, int bundle, int columns, int pitch,
                int silu) {
    DYN_SHARED(bf16, shared);
    convolve<false, bf16>(shared, y, x, nullptr, w, bias,
                          {sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch, silu});
}

// dy [sequences, len, groups inputs], w [groups inputs, outputs, taps] -> dx [sequences, len, groups outputs]: inputs
// and outputs as this product sees them. With silu, times SiLU'(x), x [sequences, len, groups outputs].
extern "C" __global__ void __launch_bounds__(320)
conv1d_bwd_x_f32(float* PACKED dx, const float* PACKED dy, const float* PACKED x, const float* w, int sequences,
                 int len, int groups, int inputs, int outputs, int taps, int steps, int bundle, int columns, int pitch,
                 int silu) {
    DYN_SHARED(float, shared);
    convolve<true, float>(shared, dx, dy, x, w, nullptr,
                          {sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch, silu});
}

// As conv1d_bwd_x_f32, for activations stored as bf16.
extern "C" __global__ void __launch_bounds__(320)
conv1d_bwd_x_bf16(bf16* PACKED dx, const bf16* PACKED dy, const bf16* PACKED x, const float* w, int sequences,
                  int len, int groups, int inputs, int outputs, int taps, int steps, int bundle, int columns, int pitch,
                  int silu) {
    DYN_SHARED(bf16, shared);
    convolve<true, bf16>(shared, dx, dy, x, w, nullptr,
                         {sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch, silu});
}

// x [sequences, len, groups inputs], dy [sequences, len, groups outputs] -> partial [slices, |w| + groups outputs]: the
// sums of dw, then of db, over the tiles of each slice (grid x). Grid y: bundles of groups, z: window entries. With
// silu, of SiLU(x) instead of x.
extern "C" __global__ void __launch_bounds__(640)
conv1d_bwd_w_f32(float* partial, const float* PACKED x, const float* PACKED dy, int sequences, int len, int groups,
                 int inputs, int outputs, int taps, int steps, int bundle, int columns, int pitch, int silu) {
    DYN_SHARED(float, shared);
    weight_gradient<float>(shared, partial, x, dy,
                           {sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch, silu});
}

// As conv1d_bwd_w_f32, for activations stored as bf16.
extern "C" __global__ void __launch_bounds__(640)
conv1d_bwd_w_bf16(float* partial, const bf16* PACKED x, const bf16* PACKED dy, int sequences, int len, int groups,
                  int inputs, int outputs, int taps, int steps, int bundle, int columns, int pitch, int silu) {
    DYN_SHARED(bf16, shared);
    weight_gradient<bf16>(shared, partial, x, dy,
                          {sequences, len, groups, inputs, outputs, taps, steps, bundle, columns, pitch, silu});
}

// partial [slices, weights + outputs] -> dw [weights], db [outputs]. Grid (weights + outputs) / 32.
extern "C" __global__ void __launch_bounds__(256)
conv1d_bwd_reduce_f32(float* dw, float* db, const float* partial, int slices, int weights, int outputs) {
    const float total = column_total<8>(partial, slices, weights + outputs);
    const int i = blockIdx.x * 32 + threadIdx.x;
    if (threadIdx.x >= 32 || i >= weights + outputs) return;
    if (i < weights) dw[i] = total;
    else db[i - weights] = total;
}
