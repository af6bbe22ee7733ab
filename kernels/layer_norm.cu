// y = (x - mean) rstd w + b over the last axis.   x [N, C], w [C], b [C] -> y [N, C]
//
//   8, 16 or 32 lanes per row, up to 384 columns:          and in the same pass, for each lane's columns:
//     x    = the lane's columns, in registers                dw += dy xhat ; db += dy        over the block's rows
//     mean = sum x / C                                     at its end the groups of lanes meet in shared memory:
//     var  = sum (x - mean)^2 / C                            partial[block, 2, C] = sums in order
//     y    = (x - mean) rstd w + b                         then one sum over the blocks, in order
//     dx   = rstd (g - mean(g) - xhat mean(g xhat)), g = dy w
//
// 1. A lane owns up to three packs of four neighbouring columns and keeps them in registers: every number is read from
//    memory once. Two passes for the variance instead of sum and sum of squares: no cancellation.
// 2. A row of the encoder has 96 numbers. With a whole warp per row, three numbers per lane, most instructions would be
//    shuffles and addresses; with 8 lanes a warp has four rows, three shuffles per sum, and 12 numbers per lane.
// 3. Blocks walk over rows, so that w and b are read once per block and the sums of dw and db stay in registers: no
//    second reading of x and dy, no atomics, the same bits at every run.
// 4. Rows that do not start at a pack (odd C, views) are read number by number, into the same registers.
// 5. Rows of more than 384 columns take a warp each, which reads them again for each sum (from the cache); their dw and
//    db are a kernel of their own, with lanes along columns and slices of rows.
//
// Bytes: forward 2 N C, backward 3 N C numbers (5 N C beyond 384 columns); FLOPs about 8 N C and 20 N C: memory-bound.
#include "common.cuh"

#define PACKS 3
#define ROW_THREADS 128

// The columns 4 (lane + i lanes) .. + 3 of a row, i < PACKS; zeros beyond the end.
struct Part {
    Pack4 pack[PACKS];
};

// How a row lies under its lanes: as many as are known to the compiler (0: as many as the launch says), in packs that
// move at once (WHOLE) or number by number.
template <int LANES, bool WHOLE>
struct Row {
    int C, given_lanes;

    __device__ __forceinline__ int lanes() const { return LANES ? LANES : given_lanes; }
    __device__ __forceinline__ int column(int i) const { return 4 * ((int)threadIdx.x % lanes() + i * lanes()); }
    // Whether a pack has columns of the row; in a WHOLE row all of them.
    __device__ __forceinline__ bool has(int i) const { return column(i) < C; }
    __device__ __forceinline__ bool has(int i, int k) const { return WHOLE || column(i) + k < C; }

    template <typename T>
    __device__ __forceinline__ Part load(const T* row) const {
        Part part = {};
#pragma unroll
        for (int i = 0; i < PACKS; i++) {
            if (!has(i)) continue;
            if constexpr (WHOLE) {
                part.pack[i] = load4(row + column(i));
            } else {
#pragma unroll
                for (int k = 0; k < 4; k++)
                    if (has(i, k)) part.pack[i].v[k] = to_float(row[column(i) + k]);
            }
        }
        return part;
    }

    template <typename T>
    __device__ __forceinline__ void store(T* row, const Part& part) const {
#pragma unroll
        for (int i = 0; i < PACKS; i++) {
            if (!has(i)) continue;
            if constexpr (WHOLE) {
                store4(row + column(i), part.pack[i]);
            } else {
#pragma unroll
                for (int k = 0; k < 4; k++)
                    if (has(i, k)) row[column(i) + k] = from_float<T>(part.pack[i].v[k]);
            }
        }
    }

    // Over the row's lanes, the same bits in each.
    __device__ __forceinline__ float sum(float v) const {
#pragma unroll
        for (int offset = lanes() / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
        return v;
    }

    // Mean and 1 / sqrt(var + eps).
    __device__ __forceinline__ float2 moments(const Part& x, float eps) const {
        const float over = 1.0f / (float)C;
        float total = 0.0f, squares = 0.0f;
#pragma unroll
        for (int e = 0; e < 4 * PACKS; e++) total += x.pack[e / 4].v[e % 4];
        const float mean = sum(total) * over;
#pragma unroll
        for (int i = 0; i < PACKS; i++) {
            if (!has(i)) continue;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const float centred = has(i, k) ? x.pack[i].v[k] - mean : 0.0f;
                squares = fmaf(centred, centred, squares);
            }
        }
        return make_float2(mean, 1.0f / sqrtf(sum(squares) * over + eps));
    }
};

template <int LANES, bool WHOLE, typename T>
static __device__ __forceinline__ void forward_rows(T* y, const T* x, const float* w, const float* b, int N, int C,
                                                    int lanes, float eps) {
    const Row<LANES, WHOLE> r = {C, lanes};
    const Part weight = r.load(w), bias = r.load(b);
    const int at_once = ROW_THREADS / r.lanes();
    for (long long first = (long long)blockIdx.x * at_once; first < N; first += (long long)gridDim.x * at_once) {
        // Rows beyond the end are computed on the last one and not stored: shuffles need the whole warp.
        const long long row = first + threadIdx.x / r.lanes(), at = min(row, (long long)N - 1) * C;
        Part part = r.load(x + at);
        const float2 m = r.moments(part, eps);
#pragma unroll
        for (int e = 0; e < 4 * PACKS; e++) {
            float& v = part.pack[e / 4].v[e % 4];
            v = fmaf((v - m.x) * m.y, weight.pack[e / 4].v[e % 4], bias.pack[e / 4].v[e % 4]);
        }
        if (row < N) r.store(y + at, part);
    }
}

// sums: [group of lanes][dw, db][column, padded to 12 lanes]
template <int LANES, bool WHOLE, typename T>
static __device__ __forceinline__ void backward_rows(float* sums, T* dx, float* partial, const T* x, const float* w,
                                                     const T* dy, int N, int C, int lanes, float eps) {
    const Row<LANES, WHOLE> r = {C, lanes};
    const Part weight = r.load(w);
    const float over = 1.0f / (float)C;
    Part dw = {}, db = {};
    const int at_once = ROW_THREADS / r.lanes(), group = threadIdx.x / r.lanes();
    for (long long first = (long long)blockIdx.x * at_once; first < N; first += (long long)gridDim.x * at_once) {
        const long long row = first + group, at = min(row, (long long)N - 1) * C;
        Part part = r.load(x + at), d = r.load(dy + at);
        const float2 m = r.moments(part, eps);
        float sum_g = 0.0f, sum_gx = 0.0f;
#pragma unroll
        for (int i = 0; i < PACKS; i++) {
            if (!r.has(i)) continue;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const float xhat = (part.pack[i].v[k] - m.x) * m.y, slope = row < N ? d.pack[i].v[k] : 0.0f;
                dw.pack[i].v[k] = fmaf(slope, xhat, dw.pack[i].v[k]);
                db.pack[i].v[k] += slope;
                const float g = slope * weight.pack[i].v[k];
                sum_g += g;
                sum_gx = fmaf(g, xhat, sum_gx);
                part.pack[i].v[k] = xhat;
                d.pack[i].v[k] = g;
            }
        }
        const float mean_g = r.sum(sum_g) * over, mean_gx = r.sum(sum_gx) * over;
#pragma unroll
        for (int i = 0; i < PACKS; i++) {
            if (!r.has(i)) continue;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                float& v = part.pack[i].v[k];
                v = m.y * (d.pack[i].v[k] - mean_g - v * mean_gx);
            }
        }
        if (row < N) r.store(dx + at, part);
    }
    const int pitch = 4 * PACKS * r.lanes();
#pragma unroll
    for (int e = 0; e < 4 * PACKS; e++) {
        const int at = 2 * group * pitch + r.column(e / 4) + e % 4;
        sums[at] = dw.pack[e / 4].v[e % 4];
        sums[at + pitch] = db.pack[e / 4].v[e % 4];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * C; i += ROW_THREADS) {
        float total = 0.0f;
        for (int g = 0; g < at_once; g++) total += sums[2 * g * pitch + i / C * pitch + i % C];
        partial[(long long)blockIdx.x * 2 * C + i] = total;
    }
}

// A block takes the way that its row allows.
template <typename T>
static __device__ void forward(T* y, const T* x, const float* w, const float* b, int N, int C, int lanes, float eps) {
    const bool whole = C % 4 == 0 && is_aligned(x) && is_aligned(y) && is_aligned(w) && is_aligned(b);
    if (!whole) forward_rows<0, false>(y, x, w, b, N, C, lanes, eps);
    else if (lanes == 8) forward_rows<8, true>(y, x, w, b, N, C, lanes, eps);
    else if (lanes == 16) forward_rows<16, true>(y, x, w, b, N, C, lanes, eps);
    else forward_rows<32, true>(y, x, w, b, N, C, lanes, eps);
}

template <typename T>
static __device__ void backward(T* dx, float* partial, const T* x, const float* w, const T* dy, int N, int C, int lanes,
                                float eps) {
    SHARED(float, sums, 2 * 4 * PACKS * ROW_THREADS);
    const bool whole = C % 4 == 0 && is_aligned(x) && is_aligned(dx) && is_aligned(dy) && is_aligned(w);
    if (!whole) backward_rows<0, false>(sums + 0, dx, partial, x, w, dy, N, C, lanes, eps);
    else if (lanes == 8) backward_rows<8, true>(sums + 0, dx, partial, x, w, dy, N, C, lanes, eps);
    else if (lanes == 16) backward_rows<16, true>(sums + 0, dx, partial, x, w, dy, N, C, lanes, eps);
    else backward_rows<32, true>(sums + 0, dx, partial, x, w, dy, N, C, lanes, eps);
}

// ---- rows of more than 384 columns -------------------------------------------------------------------------------

// Mean and 1 / sqrt(var + eps) of a row of C numbers, the same in every lane of the warp.
template <typename T>
static __device__ float2 row_moments(const T* x, int C, float eps, int lane) {
    float sum = 0.0f;
    for (int c = lane; c < C; c += 32) sum += to_float(x[c]);
    float mean = warp_sum(sum) / (float)C;
    float squares = 0.0f;
    for (int c = lane; c < C; c += 32) {
        float centred = to_float(x[c]) - mean;
        squares = fmaf(centred, centred, squares);
    }
    return make_float2(mean, 1.0f / sqrtf(warp_sum(squares) / (float)C + eps));
}

template <typename T>
static __device__ void forward_wide(T* y, const T* x, const float* w, const float* b, int N, int C, float eps) {
    int lane = threadIdx.x & 31;
    int row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    // Rows beyond the end are computed on the last one and not stored: shuffles need the whole warp.
    const T* in = x + (long long)min(row, N - 1) * C;
    float2 m = row_moments(in, C, eps, lane);
    if (row < N) {
        T* out = y + (long long)row * C;
        for (int c = lane; c < C; c += 32) {
            float xhat = (to_float(in[c]) - m.x) * m.y;
            out[c] = from_float<T>(fmaf(xhat, w[c], b[c]));
        }
    }
}

template <typename T>
static __device__ void backward_x(T* dx, float* mean, float* rstd, const T* x, const float* w, const T* dy, int N,
                                  int C, float eps) {
    int lane = threadIdx.x & 31;
    int row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    long long at = (long long)min(row, N - 1) * C;
    float2 m = row_moments(x + at, C, eps, lane);
    float sum_g = 0.0f, sum_gx = 0.0f;
    for (int c = lane; c < C; c += 32) {
        float g = to_float(dy[at + c]) * w[c];
        sum_g += g;
        sum_gx = fmaf(g, (to_float(x[at + c]) - m.x) * m.y, sum_gx);
    }
    float mean_g = warp_sum(sum_g) / (float)C, mean_gx = warp_sum(sum_gx) / (float)C;
    if (row < N) {
        for (int c = lane; c < C; c += 32) {
            float xhat = (to_float(x[at + c]) - m.x) * m.y;
            float g = to_float(dy[at + c]) * w[c];
            dx[at + c] = from_float<T>(m.y * (g - mean_g - xhat * mean_gx));
        }
        if (lane == 0) {
            mean[row] = m.x;
            rstd[row] = m.y;
        }
    }
}

template <typename T>
static __device__ void backward_w(float* partial, const T* x, const T* dy, const float* mean, const float* rstd, int N,
                                  int C, int slice) {
    SHARED(float, sums, 2 * 8 * 32);
    int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
    int c = blockIdx.x * 32 + lane;
    int first = blockIdx.y * slice, last = min(N, first + slice);
    float dw = 0.0f, db = 0.0f;
    if (c < C) {
        for (int row = first + group; row < last; row += 8) {
            float d = to_float(dy[(long long)row * C + c]);
            float xhat = (to_float(x[(long long)row * C + c]) - mean[row]) * rstd[row];
            dw = fmaf(d, xhat, dw);
            db += d;
        }
    }
    sums[threadIdx.x] = dw;
    sums[256 + threadIdx.x] = db;
    __syncthreads();
    if (group < 2 && c < C) {
        float total = 0.0f;
        for (int i = 0; i < 8; i++) total += sums[group * 256 + i * 32 + lane];
        partial[((long long)blockIdx.y * 2 + group) * C + c] = total;
    }
}

// ---- kernels -----------------------------------------------------------------------------------------------------

// x [N, C], w b [C] -> y [N, C], C <= 384. `lanes` per row (8, 16, 32; 12 lanes >= C); any number of blocks.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
layer_norm_fwd_f32(float* y, const float* x, const float* w, const float* b, int N, int C, int lanes, float eps) {
    forward(y, x, w, b, N, C, lanes, eps);
}

// x [N, C], w b [C] -> y [N, C], C <= 384. `lanes` per row (8, 16, 32; 12 lanes >= C); any number of blocks.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
layer_norm_fwd_bf16(bf16* y, const bf16* x, const float* w, const float* b, int N, int C, int lanes, float eps) {
    forward(y, x, w, b, N, C, lanes, eps);
}

// x dy [N, C], w [C] -> dx [N, C], partial [blocks, 2, C], the sums of dw and db over each block's rows. As above.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
layer_norm_bwd_f32(float* dx, float* partial, const float* x, const float* w, const float* dy, int N, int C, int lanes,
                   float eps) {
    backward(dx, partial, x, w, dy, N, C, lanes, eps);
}

// x dy [N, C], w [C] -> dx [N, C], partial [blocks, 2, C], the sums of dw and db over each block's rows. As above.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
layer_norm_bwd_bf16(bf16* dx, float* partial, const bf16* x, const float* w, const bf16* dy, int N, int C, int lanes,
                    float eps) {
    backward(dx, partial, x, w, dy, N, C, lanes, eps);
}

// x [N, C], w b [C] -> y [N, C]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
layer_norm_fwd_wide_f32(float* y, const float* x, const float* w, const float* b, int N, int C, float eps) {
    forward_wide(y, x, w, b, N, C, eps);
}

// x [N, C], w b [C] -> y [N, C]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
layer_norm_fwd_wide_bf16(bf16* y, const bf16* x, const float* w, const float* b, int N, int C, float eps) {
    forward_wide(y, x, w, b, N, C, eps);
}

// x dy [N, C], w [C] -> dx [N, C], mean rstd [N]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
layer_norm_bwd_wide_x_f32(float* dx, float* mean, float* rstd, const float* x, const float* w, const float* dy, int N,
                          int C, float eps) {
    backward_x(dx, mean, rstd, x, w, dy, N, C, eps);
}

// x dy [N, C], w [C] -> dx [N, C], mean rstd [N]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
layer_norm_bwd_wide_x_bf16(bf16* dx, float* mean, float* rstd, const bf16* x, const float* w, const bf16* dy, int N,
                           int C, float eps) {
    backward_x(dx, mean, rstd, x, w, dy, N, C, eps);
}

// x dy [N, C], mean rstd [N] -> partial [slices, 2, C], the sums of dw and db over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
layer_norm_bwd_wide_w_f32(float* partial, const float* x, const float* dy, const float* mean, const float* rstd, int N,
                          int C, int slice) {
    backward_w(partial, x, dy, mean, rstd, N, C, slice);
}

// x dy [N, C], mean rstd [N] -> partial [slices, 2, C], the sums of dw and db over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
layer_norm_bwd_wide_w_bf16(float* partial, const bf16* x, const bf16* dy, const float* mean, const float* rstd, int N,
                           int C, int slice) {
    backward_w(partial, x, dy, mean, rstd, N, C, slice);
}

// partial [slices, 2, C] -> dw db [C]. Grid 2 C / 32.
extern "C" __global__ void __launch_bounds__(1024)
layer_norm_bwd_reduce_f32(float* dw, float* db, const float* partial, int slices, int C) {
    const float total = column_total<32>(partial, slices, 2 * C);
    const int i = blockIdx.x * 32 + threadIdx.x;
    if (threadIdx.x >= 32 || i >= 2 * C) return;
    if (i < C) dw[i] = total;
    else db[i - C] = total;
}
