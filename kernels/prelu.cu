// y = x > 0 ? x : a[c] x with one slope per channel.   x [N, C], a [C] -> y [N, C]
//
//   dx = dy (x > 0 ? 1 : a[c])                 four neighbours per thread
//   da[c] = sum over rows of dy x, x <= 0      one block per (32 columns, slice of rows) -> partial, then the slices
//
// 1. Four numbers move in one transaction; the last ones, and tensors that start anywhere (views), go one by one.
// 2. da is summed in two passes: lanes run over columns so that reads are coalesced, eight rows at a time, and a second
//    kernel adds the slices in their order. No atomics, the same bits at every run.
//
// Bytes: 2 n forward, 3 n for dx, 2 n for da with n = N C; at most 4 FLOPs per number: memory-bound.
#include "common.cuh"

// y = x > 0 ? by : a by: the output for by = x, the gradient of x for by = dy.
template <typename T>
static __device__ void select(T* y, const T* x, const T* by, const float* a, int C, long long n) {
    long long i = 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
    int c = (int)(i % C);
    if (i + 4 <= n && is_aligned(x) && is_aligned(by) && is_aligned(y)) {
        Pack4 at = load4(x + i), out = load4(by + i);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (!(at.v[k] > 0.0f)) out.v[k] *= a[c];
            c = c + 1 < C ? c + 1 : 0;
        }
        store4(y + i, out);
        return;
    }
    for (long long j = i; j < min(i + 4, n); j++) {
        float v = to_float(by[j]);
        y[j] = from_float<T>(to_float(x[j]) > 0.0f ? v : a[j % C] * v);
    }
}

template <typename T>
static __device__ void backward_a(float* partial, const T* x, const T* dy, int N, int C, int slice) {
    SHARED(float, sums, 256);
    int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
    int c = blockIdx.x * 32 + lane;
    int first = blockIdx.y * slice, last = min(N, first + slice);
    float da = 0.0f;
    if (c < C) {
        for (int row = first + group; row < last; row += 8) {
            float v = to_float(x[(long long)row * C + c]), d = to_float(dy[(long long)row * C + c]);
            if (!(v > 0.0f)) da = fmaf(d, v, da);
        }
    }
    sums[threadIdx.x] = da;
    __syncthreads();
    if (group == 0 && c < C) {
        float total = 0.0f;
        for (int i = 0; i < 8; i++) total += sums[i * 32 + lane];
        partial[(long long)blockIdx.y * C + c] = total;
    }
}

// x [N, C], a [C] -> y [N, C], n = N C. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
prelu_fwd_f32(float* y, const float* x, const float* a, int C, long long n) {
    select(y, x, x, a, C, n);
}

// x [N, C], a [C] -> y [N, C], n = N C. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
prelu_fwd_bf16(bf16* y, const bf16* x, const float* a, int C, long long n) {
    select(y, x, x, a, C, n);
}

// x dy [N, C], a [C] -> dx [N, C], n = N C. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
prelu_bwd_x_f32(float* dx, const float* x, const float* dy, const float* a, int C, long long n) {
    select(dx, x, dy, a, C, n);
}

// x dy [N, C], a [C] -> dx [N, C], n = N C. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
prelu_bwd_x_bf16(bf16* dx, const bf16* x, const bf16* dy, const float* a, int C, long long n) {
    select(dx, x, dy, a, C, n);
}

// x dy [N, C] -> partial [slices, C], the sums of da over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
prelu_bwd_a_f32(float* partial, const float* x, const float* dy, int N, int C, int slice) {
    backward_a(partial, x, dy, N, C, slice);
}

// x dy [N, C] -> partial [slices, C], the sums of da over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
prelu_bwd_a_bf16(float* partial, const bf16* x, const bf16* dy, int N, int C, int slice) {
    backward_a(partial, x, dy, N, C, slice);
}

// partial [slices, C] -> da [C]. Grid C / 32.
extern "C" __global__ void __launch_bounds__(1024)
prelu_bwd_reduce_f32(float* da, const float* partial, int slices, int C) {
    const float total = column_total<32>(partial, slices, C);
    const int i = blockIdx.x * 32 + threadIdx.x;
    if (threadIdx.x < 32 && i < C) da[i] = total;
}
