// The windows of a strided convolution side by side.   x [B, L, C] -> y [B, L', C k], L' = (L - 1) / s + 1
//
//   y[b, l, c k + t] = x[b, l s + t - k / 2, c], zero beyond the ends;   dx[b, i, c] = sum over l, t of the dy it went to
//
// 1. One thread per number written. Neighbours in y read the same k rows of x around each other: the caches serve all
//    but the first read, and writes are contiguous.
// 2. Backward gathers instead of scattering: number i of x went to at most ceil(k / s) windows, which are found from i.
//    No atomics, the same bits at every run.
//
// Bytes: x once and y once; no FLOPs forward: memory-bound. The product that follows reads y once more.
#include "common.cuh"

// One thread per number of y; n numbers.
template <typename T>
static __device__ void forward(T* y, const T* x, int len, int out_len, int C, int taps, int stride, long long n) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int t = (int)(i % taps), c = (int)(i / taps % C), l = (int)(i / taps / C % out_len);
    long long b = i / taps / C / out_len;
    int at = l * stride + t - taps / 2;
    y[i] = at >= 0 && at < len ? x[(b * len + at) * C + c] : from_float<T>(0.0f);
}

// One thread per number of dx; n numbers.
template <typename T>
static __device__ void backward(T* dx, const T* dy, int len, int out_len, int C, int taps, int stride, long long n) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int c = (int)(i % C), at = (int)(i / C % len);
    long long b = i / C / len;
    float sum = 0.0f;
    for (int t = 0; t < taps; t++) {
        int from = at + taps / 2 - t;
        if (from < 0 || from % stride != 0 || from / stride >= out_len) continue;
        sum += to_float(dy[((b * out_len + from / stride) * C + c) * taps + t]);
    }
    dx[i] = from_float<T>(sum);
}

// x [B, len, C] -> y [B, out_len, C taps] with n numbers. One thread per number of y.
extern "C" __global__ void __launch_bounds__(256)
unfold_fwd_f32(float* y, const float* x, int len, int out_len, int C, int taps, int stride, long long n) {
    forward(y, x, len, out_len, C, taps, stride, n);
}

// x [B, len, C] -> y [B, out_len, C taps] with n numbers. One thread per number of y.
extern "C" __global__ void __launch_bounds__(256)
unfold_fwd_bf16(bf16* y, const bf16* x, int len, int out_len, int C, int taps, int stride, long long n) {
    forward(y, x, len, out_len, C, taps, stride, n);
}

// dy [B, out_len, C taps] -> dx [B, len, C] with n numbers. One thread per number of dx.
extern "C" __global__ void __launch_bounds__(256)
unfold_bwd_f32(float* dx, const float* dy, int len, int out_len, int C, int taps, int stride, long long n) {
    backward(dx, dy, len, out_len, C, taps, stride, n);
}

// dy [B, out_len, C taps] -> dx [B, len, C] with n numbers. One thread per number of dx.
extern "C" __global__ void __launch_bounds__(256)
unfold_bwd_bf16(bf16* dx, const bf16* dy, int len, int out_len, int C, int taps, int stride, long long n) {
    backward(dx, dy, len, out_len, C, taps, stride, n);
}
