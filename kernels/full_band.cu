// Linear maps across frequency, one per channel s.   x [N, F, S], w [S, F, F], b [S, F] -> y [N, F, S]
//
//     y[n, g, s]  = b[s, g] + sum over f of w[s, g, f] x[n, f, s]
//     dx[n, f, s] = sum over g of w[s, g, f] dy[n, g, s]                    the same map with w transposed
//     dw[s, g, f] = sum over n of dy[n, g, s] x[n, f, s],   db[s, g] = sum over n of dy[n, g, s]
//
//     y, dx, one block per 32 frames, 24 outputs:       dw, db, one block per 32 f, 24 g and slice of the frames:
//       for each slice of f:                              for each 32 frames of the slice:
//         shared <- x [s][frame][f], w [s][g][f]            shared <- x [s][frame][f], dy [s][frame][g]
//         warp s: sums += x w^T                             warp s: sums += x^T dy
//       y <- sums + b                                     partial[slice] <- sums; the slices are added in order
//
// 1. The channel is the fastest axis of x and the slowest of w. A block reads x as it lies, whole lines, and shared
//    memory turns it: eight channels are eight warps, each with its own product of 32 x 24 (tile.cuh).
// 2. bf16 goes through the tensor cores; the weights, float, are rounded to bf16 when they are staged, as x was when it
//    was stored. float takes multiply-adds.
// 3. The weights are read N / 32 times, all but the first time from the second-level cache: half a megabyte of them.
// 4. dw is a sum over thousands of frames into few tiles: slices of frames go to different blocks, and a second kernel
//    adds their sums in their order. db rides along as the weight of an input that is always 1.
//
// Bytes: the tensors once, x and w again from the cache; 2 N F F S FLOPs each: 0.17 G for the 626 frames of a clip.
#include "common.cuh"
#include "ptx.cuh"
#include "tile.cuh"

#define CHANNELS 8
// Frequencies (for dw, frames) per step.
#define DEPTH(T) (sizeof(T) == 2 ? 32 : 16)
// Rows of `columns` numbers in shared memory, padded: for `multiply` neighbouring rows lie in different banks, for
// `multiply_transposed` in bf16 they are 16-byte aligned as well. The planes of the channels are 16 bytes further apart
// than they need, so that eight channels of one number are written to different banks.
#define ROW(T, columns) (sizeof(T) == 2 ? (columns) + 8 : (columns) + 1)
#define PLANE(T, rows, columns) ((rows) * ROW(T, columns) + 16 / (int)sizeof(T))

// out[s][row][column] <- x[first_row + row, first_column + column, first_s + s] of x [N, F, S], zero outside.
template <int ROWS, int COLUMNS, typename T>
static __device__ void turn(T* out, const T* x, int N, int F, int S, int first_row, int first_column, int first_s) {
    for (int e = threadIdx.x; e < ROWS * COLUMNS * CHANNELS; e += blockDim.x) {
        const int s = e % CHANNELS, column = e / CHANNELS % COLUMNS, row = e / CHANNELS / COLUMNS;
        const int n = first_row + row, f = first_column + column, channel = first_s + s;
        const bool inside = n < N && f < F && channel < S;
        out[s * PLANE(T, ROWS, COLUMNS) + row * ROW(T, COLUMNS) + column] =
            inside ? x[((long long)n * F + f) * S + channel] : from_float<T>(0.0f);
    }
}

// out[n, j, s] = sum over k of m(j, k) in[n, k, s] + b[s, j], where m is w[s] or its transpose.
template <typename T>
static __device__ void map(T* out, const T* in, const float* w, const float* b, int N, int F, int S, int transposed) {
    const int depth = DEPTH(T), row_stride = ROW(T, DEPTH(T));
    const int frames_plane = PLANE(T, TILE_ROWS, DEPTH(T)), weights_plane = PLANE(T, TILE_COLUMNS, DEPTH(T));
    SHARED(T, frames, CHANNELS * PLANE(T, TILE_ROWS, DEPTH(T)));
    SHARED(T, weights, CHANNELS * PLANE(T, TILE_COLUMNS, DEPTH(T)));
    const int warp = threadIdx.x / 32;
    const int first = blockIdx.x * TILE_ROWS, left = blockIdx.y * TILE_COLUMNS, channel = blockIdx.z * CHANNELS;
    TileSums sums;
    clear(sums);
    for (int k = 0; k < F; k += depth) {
        __syncthreads();
        turn<TILE_ROWS, DEPTH(T), T>(frames, in, N, F, S, first, k, channel);
        for (int e = threadIdx.x; e < CHANNELS * TILE_COLUMNS * depth; e += blockDim.x) {
            // Along the direction in which w lies in memory.
            const int s = e / (TILE_COLUMNS * depth);
            const int row = transposed ? e % TILE_COLUMNS : e / depth % TILE_COLUMNS;
            const int column = transposed ? e / TILE_COLUMNS % depth : e % depth;
            const int j = left + row, at = k + column;
            const bool inside = channel + s < S && j < F && at < F;
            const long long start = (long long)(channel + s) * F * F;
            const float value = inside ? w[start + (transposed ? at * F + j : j * F + at)] : 0.0f;
            weights[s * weights_plane + row * row_stride + column] = from_float<T>(value);
        }
        __syncthreads();
        multiply(sums, frames + warp * frames_plane, row_stride, weights + warp * weights_plane, row_stride, depth,
                 TILE_COLUMNS);
    }
    const int s = channel + warp;
#pragma unroll
    for (int e = 0; e < 24; e++) {
        const int m = e / 12, n = e / 4 % 3, j = e % 4;
        const int frame = first + tile_row(m, j), g = left + tile_column(n, j);
        if (frame < N && g < F && s < S) {
            const float bias = b != nullptr ? b[s * F + g] : 0.0f;
            out[((long long)frame * F + g) * S + s] = from_float<T>(sums[m][n][j] + bias);
        }
    }
}

// The shares of dw and db of the frames [blockIdx.z / channel blocks] of `slice` frames each.
template <typename T>
static __device__ void weight_gradient(float* partial, const T* x, const T* dy, int N, int F, int S, int slice) {
    const int depth = DEPTH(T), frames_plane = PLANE(T, DEPTH(T), TILE_ROWS);
    const int slopes_plane = PLANE(T, DEPTH(T), TILE_COLUMNS);
    SHARED(T, frames, CHANNELS * PLANE(T, DEPTH(T), TILE_ROWS));
    SHARED(T, slopes, CHANNELS * PLANE(T, DEPTH(T), TILE_COLUMNS));
    const int warp = threadIdx.x / 32, parts = CEIL_DIV(S, CHANNELS);
    const int top = blockIdx.x * TILE_ROWS, left = blockIdx.y * TILE_COLUMNS;
    const int channel = blockIdx.z % parts * CHANNELS, part = blockIdx.z / parts;
    const int last = min(N, (part + 1) * slice);
    TileSums sums;
    clear(sums);
    float totals[3][4] = {};
    for (int n = part * slice; n < last; n += depth) {
        __syncthreads();
        turn<DEPTH(T), TILE_ROWS, T>(frames, x, last, F, S, n, top, channel);
        turn<DEPTH(T), TILE_COLUMNS, T>(slopes, dy, last, F, S, n, left, channel);
        __syncthreads();
        multiply_transposed(sums, totals, frames + warp * frames_plane, ROW(T, TILE_ROWS),
                            slopes + warp * slopes_plane, ROW(T, TILE_COLUMNS), depth, TILE_COLUMNS, top == 0);
    }
    const int s = channel + warp;
    float* out = partial + (long long)part * S * F * (F + 1);
#pragma unroll
    for (int e = 0; e < 24; e++) {
        const int m = e / 12, n = e / 4 % 3, j = e % 4;
        const int f = top + tile_row(m, j), g = left + tile_column(n, j);
        if (f < F && g < F && s < S) {
            out[((long long)s * F + g) * F + f] = sums[m][n][j];
            if (f == 0) out[(long long)S * F * F + s * F + g] = totals[n][j % 2];
        }
    }
}

// x [N, F, S], w [S, F, F], b [S, F] -> y [N, F, S]. Blocks: tiles of frames, tiles of outputs, eights of channels.
extern "C" __global__ void __launch_bounds__(256, 2)
full_band_fwd_f32(float* y, const float* x, const float* w, const float* b, int N, int F, int S) {
    map(y, x, w, b, N, F, S, 0);
}

// As full_band_fwd_f32, for activations stored as bf16.
extern "C" __global__ void __launch_bounds__(256, 2)
full_band_fwd_bf16(bf16* y, const bf16* x, const float* w, const float* b, int N, int F, int S) {
    map(y, x, w, b, N, F, S, 0);
}

// dy [N, F, S], w [S, F, F] -> dx [N, F, S]. Blocks as in the forward pass.
extern "C" __global__ void __launch_bounds__(256, 2)
full_band_bwd_x_f32(float* dx, const float* dy, const float* w, int N, int F, int S) {
    map(dx, dy, w, nullptr, N, F, S, 1);
}

// As full_band_bwd_x_f32, for activations stored as bf16.
extern "C" __global__ void __launch_bounds__(256, 2)
full_band_bwd_x_bf16(bf16* dx, const bf16* dy, const float* w, int N, int F, int S) {
    map(dx, dy, w, nullptr, N, F, S, 1);
}

// x dy [N, F, S] -> partial [slices, S F F + S F]: dw, then db, of each slice of frames. Blocks: tiles of f, tiles of
// g, and slices times eights of channels.
extern "C" __global__ void __launch_bounds__(256, 2)
full_band_bwd_w_f32(float* partial, const float* x, const float* dy, int N, int F, int S, int slice) {
    weight_gradient(partial, x, dy, N, F, S, slice);
}

// As full_band_bwd_w_f32, for activations stored as bf16.
extern "C" __global__ void __launch_bounds__(256, 2)
full_band_bwd_w_bf16(float* partial, const bf16* x, const bf16* dy, int N, int F, int S, int slice) {
    weight_gradient(partial, x, dy, N, F, S, slice);
}

// partial [slices, weights + outputs] -> dw [weights], db [outputs]. Grid (weights + outputs) / 32.
extern "C" __global__ void __launch_bounds__(256)
full_band_bwd_reduce_f32(float* dw, float* db, const float* partial, int slices, int weights, int outputs) {
    const float total = column_total<8>(partial, slices, weights + outputs);
    const int i = blockIdx.x * 32 + threadIdx.x;
    if (threadIdx.x >= 32 || i >= weights + outputs) return;
    if (i < weights) dw[i] = total;
    else db[i - weights] = total;
}
