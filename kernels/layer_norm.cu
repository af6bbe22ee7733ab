// y = (x - mean) rstd w + b over the last axis.   x [N, C], w [C], b [C] -> y [N, C]
//
//   one warp per row:                                   one block per (32 columns, slice of rows):
//     mean = sum x / C          (registers, 1 shuffle     for each row of the slice:
//     var  = sum (x - mean)^2 / C         tree each)        dw += dy (x - mean) rstd ; db += dy
//     y    = (x - mean) rstd w + b                        8 row lanes -> shared -> partial[slice, 2, C]
//     dx   = rstd (g - mean(g) - xhat mean(g xhat)), g = dy w        then one sum over the slices, in order
//
// 1. A row of the encoder has 96 numbers: three per lane. It is read from memory once; the second and third pass over
//    it hit the first-level cache. Two passes for the variance instead of sum and sum of squares: no cancellation.
// 2. The backward pass recomputes mean and rstd (the row is being read anyway) and leaves them for the second kernel.
// 3. dw and db are sums over all rows. Slices of rows go to blocks, lanes run over columns so that reads are coalesced,
//    and the slices are added by a second kernel in their order: no atomics, the same bits at every run.
//
// Bytes: forward 2 N C, backward dx 3 N C, dw and db 2 N C numbers; FLOPs about 8 N C and 20 N C: all memory-bound.
#include "common.cuh"

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
static __device__ void forward(T* y, const T* x, const float* w, const float* b, int N, int C, float eps) {
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

// x [N, C], w b [C] -> y [N, C]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
layer_norm_fwd_f32(float* y, const float* x, const float* w, const float* b, int N, int C, float eps) {
    forward(y, x, w, b, N, C, eps);
}

// x [N, C], w b [C] -> y [N, C]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
layer_norm_fwd_bf16(bf16* y, const bf16* x, const float* w, const float* b, int N, int C, float eps) {
    forward(y, x, w, b, N, C, eps);
}

// x dy [N, C], w [C] -> dx [N, C], mean rstd [N]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
layer_norm_bwd_x_f32(float* dx, float* mean, float* rstd, const float* x, const float* w, const float* dy, int N, int C,
                     float eps) {
    backward_x(dx, mean, rstd, x, w, dy, N, C, eps);
}

// x dy [N, C], w [C] -> dx [N, C], mean rstd [N]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
layer_norm_bwd_x_bf16(bf16* dx, float* mean, float* rstd, const bf16* x, const float* w, const bf16* dy, int N, int C,
                      float eps) {
    backward_x(dx, mean, rstd, x, w, dy, N, C, eps);
}

// x dy [N, C], mean rstd [N] -> partial [slices, 2, C], the sums of dw and db over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
layer_norm_bwd_w_f32(float* partial, const float* x, const float* dy, const float* mean, const float* rstd, int N,
                     int C, int slice) {
    backward_w(partial, x, dy, mean, rstd, N, C, slice);
}

// x dy [N, C], mean rstd [N] -> partial [slices, 2, C], the sums of dw and db over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
layer_norm_bwd_w_bf16(float* partial, const bf16* x, const bf16* dy, const float* mean, const float* rstd, int N, int C,
                      int slice) {
    backward_w(partial, x, dy, mean, rstd, N, C, slice);
}

// partial [slices, 2, C] -> dw db [C], the slices added in their order.
extern "C" __global__ void __launch_bounds__(128)
layer_norm_bwd_reduce_f32(float* dw, float* db, const float* partial, int slices, int C) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < 2 * C) {
        float total = 0.0f;
        for (int s = 0; s < slices; s++) total += partial[(long long)s * 2 * C + i];
        if (i < C) dw[i] = total;
        else db[i - C] = total;
    }
}
