// Recurrent part of an LSTM.   g [B, T, 4 D], W [4 D, D], h0 c0 [B, D] -> y [B, T, 2 D] = (h_t | c_t)
//
//   one block per sequence, a step at a time:            backward, from the last step:
//     a = g_t + W h              (a thread per gate)       dh = dy_h + W^T da of the step after ; dc = dy_c + f dc
//     i f u o = sigmoid, sigmoid, tanh, sigmoid of a       dc += dh o (1 - tanh(c)^2)
//     c = f c + i u ; h = o tanh(c)                        da = (dc u i' | dc c_prev f' | dc i u' | dh tanh(c) o')
//     keep i f u o c in f32                                dg_t = da
//   dW = sum over steps of dg_t h_(t-1)^T: a tiled product of its own, [4 D, N] by [N, D] with N = B T
//
// 1. Steps depend on each other, sequences do not: h, c and the gates of a sequence stay in the shared memory of one
//    block from the first step to the last; there is one launch for all T steps.
// 2. The forward product reads W transposed, [D, 4 D], so that neighbouring threads (gates) read neighbouring numbers;
//    the backward product reads W as it is, as there neighbouring threads are columns. lstm_transpose makes the former.
// 3. W is read at every step. It is copied to shared memory when it fits (4 D D numbers, D up to 78); larger ones (D =
//    192: 590 KB) come from the L2 cache, which all blocks share, 5 microseconds a step.
// 4. W, the kept activations and the recursion are f32 whatever the storage of g and y: rounding c at every step would
//    add up over the sequence.
// 5. The product W^T da has D columns for 4 D threads: four threads share a column, each takes every fourth gate, and
//    the four sums are added in order. dW cuts the steps into slices, added in order: the same bits at every run.
//
// FLOPs: 8 D D per step and sequence forward, 16 D D backward; bound by the latency of the steps.
#include "common.cuh"

// W [rows, columns] -> [columns, rows]. One block per 32 x 32 tile.
extern "C" __global__ void __launch_bounds__(256) lstm_transpose_f32(float* y, const float* W, int rows, int columns) {
    SHARED(float, tile, 32 * 33);
    int lane = threadIdx.x & 31, group = threadIdx.x >> 5, r0 = blockIdx.x * 32, c0 = blockIdx.y * 32;
    for (int r = group; r < 32; r += 8) {
        if (r0 + r < rows && c0 + lane < columns) tile[r * 33 + lane] = W[(long long)(r0 + r) * columns + c0 + lane];
    }
    __syncthreads();
    for (int c = group; c < 32; c += 8) {
        if (c0 + c < columns && r0 + lane < rows) y[(long long)(c0 + c) * rows + r0 + lane] = tile[lane * 33 + c];
    }
}

// W, or its copy at the start of shared memory when it fits; `rest` is what follows. The caller's next barrier
// publishes the copy.
static __device__ const float* near_weights(float* shared, const float* W, int count, int fits, float** rest) {
    *rest = shared + (fits ? count : 0);
    if (!fits) return W;
    for (int i = threadIdx.x; i < count; i += blockDim.x) shared[i] = W[i];
    return shared;
}

template <typename T>
static __device__ void forward(float* shared, T* y, float* kept, const T* g, const float* W_t, const T* h0, const T* c0,
                               int steps, int D, int fits) {
    float* a;
    const float* weights = near_weights(shared, W_t, 4 * D * D, fits, &a);
    float *h = a + 4 * D, *c = h + D;
    for (int j = threadIdx.x; j < D; j += blockDim.x) {
        h[j] = to_float(h0[(long long)blockIdx.x * D + j]);
        c[j] = to_float(c0[(long long)blockIdx.x * D + j]);
    }
    __syncthreads();
    for (int t = 0; t < steps; t++) {
        long long step = (long long)blockIdx.x * steps + t;
        for (int r = threadIdx.x; r < 4 * D; r += blockDim.x) {
            float input = to_float(g[step * 4 * D + r]), sum = 0.0f;
#pragma unroll 8
            for (int j = 0; j < D; j++) sum = fmaf(weights[j * 4 * D + r], h[j], sum);
            float act = r / D == 2 ? tanhf(input + sum) : sigmoid(input + sum);
            a[r] = act;
            kept[step * 5 * D + r] = act;
        }
        __syncthreads();
        for (int j = threadIdx.x; j < D; j += blockDim.x) {
            c[j] = a[D + j] * c[j] + a[j] * a[2 * D + j];
            h[j] = a[3 * D + j] * tanhf(c[j]);
            kept[step * 5 * D + 4 * D + j] = c[j];
            y[step * 2 * D + j] = from_float<T>(h[j]);
            y[step * 2 * D + D + j] = from_float<T>(c[j]);
        }
        __syncthreads();
    }
}

template <typename T>
static __device__ void backward(float* shared, T* dg, T* dh0, T* dc0, const T* dy, const float* kept, const float* W,
                                const T* c0, int steps, int D, int fits) {
    float* da;
    const float* weights = near_weights(shared, W, 4 * D * D, fits, &da);
    // W^T da in four parts, and dc.
    float *parts = da + 4 * D, *dc = parts + 4 * D;
    for (int i = threadIdx.x; i < 5 * D; i += blockDim.x) parts[i] = 0.0f;
    __syncthreads();
    for (int t = steps - 1; t >= 0; t--) {
        long long step = (long long)blockIdx.x * steps + t;
        const float* act = kept + step * 5 * D;
        for (int j = threadIdx.x; j < D; j += blockDim.x) {
            float i = act[j], f = act[D + j], u = act[2 * D + j], o = act[3 * D + j], tc = tanhf(act[4 * D + j]);
            float before = t > 0 ? act[j - D] : to_float(c0[(long long)blockIdx.x * D + j]);
            float later = ((parts[j] + parts[D + j]) + parts[2 * D + j]) + parts[3 * D + j];
            float dh = to_float(dy[step * 2 * D + j]) + later;
            float d = dc[j] + to_float(dy[step * 2 * D + D + j]) + dh * o * (1.0f - tc * tc);
            da[j] = d * u * i * (1.0f - i);
            da[D + j] = d * before * f * (1.0f - f);
            da[2 * D + j] = d * i * (1.0f - u * u);
            da[3 * D + j] = dh * tc * o * (1.0f - o);
            dc[j] = d * f;
        }
        __syncthreads();
        for (int r = threadIdx.x; r < 4 * D; r += blockDim.x) {
            dg[step * 4 * D + r] = from_float<T>(da[r]);
            int part = r / D, j = r % D;
            float sum = 0.0f;
#pragma unroll 8
            for (int k = part; k < 4 * D; k += 4) sum = fmaf(weights[(long long)k * D + j], da[k], sum);
            parts[r] = sum;
        }
        __syncthreads();
    }
    for (int j = threadIdx.x; j < D; j += blockDim.x) {
        float dh = ((parts[j] + parts[D + j]) + parts[2 * D + j]) + parts[3 * D + j];
        dh0[(long long)blockIdx.x * D + j] = from_float<T>(dh);
        dc0[(long long)blockIdx.x * D + j] = from_float<T>(dc[j]);
    }
}

// partial [slices, 4 D, D]: dg^T h_prev over a slice of steps. One block per 64 x 32 tile and slice; a thread holds
// 4 x 2 sums.
template <typename T>
static __device__ void backward_w(float* partial, const T* dg, const T* y, const T* h0, int N, int steps, int D,
                                  int slice) {
    SHARED(float, left, 16 * 64);
    SHARED(float, right, 16 * 32);
    int r0 = blockIdx.x * 64, c0 = blockIdx.y * 32, first = blockIdx.z * slice, last = min(N, first + slice);
    int row = threadIdx.x / 16, column = threadIdx.x % 16;
    float sums[4][2] = {};
    for (int n0 = first; n0 < last; n0 += 16) {
        for (int i = threadIdx.x; i < 16 * 64; i += 256) {
            int n = n0 + i / 64, r = r0 + i % 64;
            left[i] = n < last && r < 4 * D ? to_float(dg[(long long)n * 4 * D + r]) : 0.0f;
        }
        for (int i = threadIdx.x; i < 16 * 32; i += 256) {
            int n = n0 + i / 32, c = c0 + i % 32;
            float h = 0.0f;
            if (n < last && c < D) {
                // The state before a step is the output of the step before; before the first it is h0.
                const T* state = n % steps == 0 ? h0 + (long long)(n / steps) * D : y + (long long)(n - 1) * 2 * D;
                h = to_float(state[c]);
            }
            right[i] = h;
        }
        __syncthreads();
#pragma unroll
        for (int n = 0; n < 16; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    sums[i][j] = fmaf(left[n * 64 + row + 16 * i], right[n * 32 + column + 16 * j], sums[i][j]);
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            int r = r0 + row + 16 * i, c = c0 + column + 16 * j;
            if (r < 4 * D && c < D) partial[((long long)blockIdx.z * 4 * D + r) * D + c] = sums[i][j];
        }
    }
}

// g [B, steps, 4 D], W_t [D, 4 D], h0 c0 [B, D] -> y [B, steps, 2 D], kept [B, steps, 5 D] = i f u o c. One block per
// sequence; 24 D bytes of shared memory, and 16 D D more if `fits`.
extern "C" __global__ void __launch_bounds__(1024)
lstm_fwd_f32(float* y, float* kept, const float* g, const float* W_t, const float* h0, const float* c0, int steps,
             int D, int fits) {
    DYN_SHARED(float, shared);
    forward(shared + 0, y, kept, g, W_t, h0, c0, steps, D, fits);
}

// g [B, steps, 4 D], W_t [D, 4 D], h0 c0 [B, D] -> y [B, steps, 2 D], kept [B, steps, 5 D] = i f u o c. One block per
// sequence; 24 D bytes of shared memory, and 16 D D more if `fits`.
extern "C" __global__ void __launch_bounds__(1024)
lstm_fwd_bf16(bf16* y, float* kept, const bf16* g, const float* W_t, const bf16* h0, const bf16* c0, int steps, int D,
              int fits) {
    DYN_SHARED(float, shared);
    forward(shared + 0, y, kept, g, W_t, h0, c0, steps, D, fits);
}

// dy [B, steps, 2 D], kept [B, steps, 5 D], W [4 D, D], c0 [B, D] -> dg [B, steps, 4 D], dh0 dc0 [B, D]. One block per
// sequence; 36 D bytes of shared memory, and 16 D D more if `fits`.
extern "C" __global__ void __launch_bounds__(1024)
lstm_bwd_f32(float* dg, float* dh0, float* dc0, const float* dy, const float* kept, const float* W, const float* c0,
             int steps, int D, int fits) {
    DYN_SHARED(float, shared);
    backward(shared + 0, dg, dh0, dc0, dy, kept, W, c0, steps, D, fits);
}

// dy [B, steps, 2 D], kept [B, steps, 5 D], W [4 D, D], c0 [B, D] -> dg [B, steps, 4 D], dh0 dc0 [B, D]. One block per
// sequence; 36 D bytes of shared memory, and 16 D D more if `fits`.
extern "C" __global__ void __launch_bounds__(1024)
lstm_bwd_bf16(bf16* dg, bf16* dh0, bf16* dc0, const bf16* dy, const float* kept, const float* W, const bf16* c0,
              int steps, int D, int fits) {
    DYN_SHARED(float, shared);
    backward(shared + 0, dg, dh0, dc0, dy, kept, W, c0, steps, D, fits);
}

// dg [N, 4 D], y [N, 2 D], h0 [B, D], N = B steps -> partial [slices, 4 D, D] of dW. One block per 64 x 32 tile and
// slice of steps.
extern "C" __global__ void __launch_bounds__(256)
lstm_bwd_w_f32(float* partial, const float* dg, const float* y, const float* h0, int N, int steps, int D, int slice) {
    backward_w(partial, dg, y, h0, N, steps, D, slice);
}

// dg [N, 4 D], y [N, 2 D], h0 [B, D], N = B steps -> partial [slices, 4 D, D] of dW. One block per 64 x 32 tile and
// slice of steps.
extern "C" __global__ void __launch_bounds__(256)
lstm_bwd_w_bf16(float* partial, const bf16* dg, const bf16* y, const bf16* h0, int N, int steps, int D, int slice) {
    backward_w(partial, dg, y, h0, N, steps, D, slice);
}

// partial [slices, count] -> dW [count]. Grid count / 32.
extern "C" __global__ void __launch_bounds__(256)
lstm_bwd_reduce_f32(float* dW, const float* partial, int slices, int count) {
    const float total = column_total<8>(partial, slices, count);
    const int i = blockIdx.x * 32 + threadIdx.x;
    if (threadIdx.x < 32 && i < count) dW[i] = total;
}
