// y = x rstd w over the last axis, rstd = 1 / sqrt(mean(x^2) + eps).   x [N, C], w [C] -> y [N, C], rstd [N]
//
//   rstd = 1 / sqrt(sum x^2 / C + eps)              dx = rstd (dy w - x rstd^2 sum(dy w x) / C)
//   y    = x rstd w                                 dw = sum over rows of dy x rstd
//
// 1. A warp owns a row and walks over it in packs of four, twice: the second time the row comes from the cache. A row of
//    a decoder has 896 numbers and more, seven packs for a lane: enough loads on their way, and a step of generation with
//    one row per sequence needs no block to meet.
// 2. rstd is stored (one number per row), so that the backward pass sums one product per number and not two.
// 3. dw is a kernel of its own, asked for where the weight is trained: 32 columns and a slice of rows per block, the
//    slices added in order by matmul_reduce. No atomics, the same bits at every run.
//
// Bytes: forward 2 N C, backward 3 N C numbers and 2 N C more for dw; FLOPs about 4 N C and 8 N C: memory-bound.
#include "common.cuh"

// The row of this warp; rows beyond the end are computed on the last one and not stored: shuffles need the whole warp.
struct WarpRow {
    int row, lane;
    bool counts;
};

static __device__ __forceinline__ WarpRow warp_row(int N) {
    const int row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    return {min(row, N - 1), (int)(threadIdx.x & 31), row < N};
}

template <typename T>
static __device__ void forward(T* y, float* rstd, const T* x, const float* w, int N, int C, float eps) {
    const WarpRow r = warp_row(N);
    const T* from = x + (long long)r.row * C;
    float squares = 0.0f;
    for (int c = 4 * r.lane; c < C; c += 128) {
        const Pack4 a = load_up_to4(from, c, C);
#pragma unroll
        for (int k = 0; k < 4; k++) squares = fmaf(a.v[k], a.v[k], squares);
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / (float)C + eps);
    if (!r.counts) return;
    T* to = y + (long long)r.row * C;
    for (int c = 4 * r.lane; c < C; c += 128) {
        Pack4 a = load_up_to4(from, c, C);
        const Pack4 weight = load_up_to4(w, c, C);
#pragma unroll
        for (int k = 0; k < 4; k++) a.v[k] = a.v[k] * scale * weight.v[k];
        store_up_to4(to, c, C, a);
    }
    if (r.lane == 0) rstd[r.row] = scale;
}

template <typename T>
static __device__ void backward_x(T* dx, const T* x, const float* w, const T* dy, const float* rstd, int N, int C) {
    const WarpRow r = warp_row(N);
    const long long at = (long long)r.row * C;
    float sum = 0.0f;
    for (int c = 4 * r.lane; c < C; c += 128) {
        const Pack4 a = load_up_to4(x + at, c, C), d = load_up_to4(dy + at, c, C), weight = load_up_to4(w, c, C);
#pragma unroll
        for (int k = 0; k < 4; k++) sum = fmaf(d.v[k] * weight.v[k], a.v[k], sum);
    }
    const float scale = rstd[r.row], pull = warp_sum(sum) / (float)C * scale * scale;
    if (!r.counts) return;
    for (int c = 4 * r.lane; c < C; c += 128) {
        Pack4 a = load_up_to4(x + at, c, C);
        const Pack4 d = load_up_to4(dy + at, c, C), weight = load_up_to4(w, c, C);
#pragma unroll
        for (int k = 0; k < 4; k++) a.v[k] = scale * fmaf(-a.v[k], pull, d.v[k] * weight.v[k]);
        store_up_to4(dx + at, c, C, a);
    }
}

template <typename T>
static __device__ void backward_w(float* partial, const T* x, const T* dy, const float* rstd, int N, int C, int slice) {
    SHARED(float, sums, 256);
    const int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
    const int c = blockIdx.x * 32 + lane, first = blockIdx.y * slice, last = min(N, first + slice);
    float dw = 0.0f;
    if (c < C) {
        for (int row = first + group; row < last; row += 8) {
            const long long at = (long long)row * C + c;
            dw = fmaf(to_float(dy[at]), to_float(x[at]) * rstd[row], dw);
        }
    }
    sums[threadIdx.x] = dw;
    __syncthreads();
    if (group == 0 && c < C) {
        float total = 0.0f;
        for (int i = 0; i < 8; i++) total += sums[i * 32 + lane];
        partial[(long long)blockIdx.y * C + c] = total;
    }
}

// x [N, C], w [C] -> y [N, C], rstd [N]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
rms_norm_fwd_f32(float* y, float* rstd, const float* x, const float* w, int N, int C, float eps) {
    forward(y, rstd, x, w, N, C, eps);
}

// x [N, C], w [C] -> y [N, C], rstd [N]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
rms_norm_fwd_bf16(bf16* y, float* rstd, const bf16* x, const float* w, int N, int C, float eps) {
    forward(y, rstd, x, w, N, C, eps);
}

// x dy [N, C], w [C], rstd [N] -> dx [N, C]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
rms_norm_bwd_x_f32(float* dx, const float* x, const float* w, const float* dy, const float* rstd, int N, int C) {
    backward_x(dx, x, w, dy, rstd, N, C);
}

// x dy [N, C], w [C], rstd [N] -> dx [N, C]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
rms_norm_bwd_x_bf16(bf16* dx, const bf16* x, const float* w, const bf16* dy, const float* rstd, int N, int C) {
    backward_x(dx, x, w, dy, rstd, N, C);
}

// x dy [N, C], rstd [N] -> partial [slices, C], the sums of dw over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
rms_norm_bwd_w_f32(float* partial, const float* x, const float* dy, const float* rstd, int N, int C, int slice) {
    backward_w(partial, x, dy, rstd, N, C, slice);
}

// x dy [N, C], rstd [N] -> partial [slices, C], the sums of dw over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
rms_norm_bwd_w_bf16(float* partial, const bf16* x, const bf16* dy, const float* rstd, int N, int C, int slice) {
    backward_w(partial, x, dy, rstd, N, C, slice);
}
