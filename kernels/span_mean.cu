// Means over spans of rows.   x [N, C], spans [K, 2] -> y [K, C] = mean of x over rows start .. end, zeros where empty
//
//   dx[n, c] = sum over the spans k that hold row n of dy[k, c] / (end_k - start_k)
//
// 1. Starts and ends of spans never go back, so the spans that hold a row are neighbours: the host gives their range,
//    users [N, 2], and the backward pass gathers. No atomics, the same bits at every run.
// 2. One thread per number written: neighbours read neighbouring columns of the same rows.
//
// Bytes: x once, y once; one FLOP per number read: memory-bound.
#include "common.cuh"

// One thread per number of y; n = K C.
template <typename T>
static __device__ void forward(T* y, const T* x, const int* spans, int C, long long n) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int c = (int)(i % C), start = spans[2 * (i / C)], end = spans[2 * (i / C) + 1];
    float sum = 0.0f;
    for (int row = start; row < end; row++) sum += to_float(x[(long long)row * C + c]);
    y[i] = from_float<T>(end > start ? sum / (float)(end - start) : 0.0f);
}

// One thread per number of dx; n = N C.
template <typename T>
static __device__ void backward(T* dx, const T* dy, const int* spans, const int* users, int C, long long n) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int c = (int)(i % C), first = users[2 * (i / C)], last = users[2 * (i / C) + 1];
    float sum = 0.0f;
    for (int k = first; k < last; k++) {
        sum += to_float(dy[(long long)k * C + c]) / (float)(spans[2 * k + 1] - spans[2 * k]);
    }
    dx[i] = from_float<T>(sum);
}

// x [N, C], spans [K, 2] -> y [K, C] with n numbers. One thread per number of y.
extern "C" __global__ void __launch_bounds__(256)
span_mean_fwd_f32(float* y, const float* x, const int* spans, int C, long long n) {
    forward(y, x, spans, C, n);
}

// x [N, C], spans [K, 2] -> y [K, C] with n numbers. One thread per number of y.
extern "C" __global__ void __launch_bounds__(256)
span_mean_fwd_bf16(bf16* y, const bf16* x, const int* spans, int C, long long n) {
    forward(y, x, spans, C, n);
}

// dy [K, C], spans [K, 2], users [N, 2] -> dx [N, C] with n numbers. One thread per number of dx.
extern "C" __global__ void __launch_bounds__(256)
span_mean_bwd_f32(float* dx, const float* dy, const int* spans, const int* users, int C, long long n) {
    backward(dx, dy, spans, users, C, n);
}

// dy [K, C], spans [K, 2], users [N, 2] -> dx [N, C] with n numbers. One thread per number of dx.
extern "C" __global__ void __launch_bounds__(256)
span_mean_bwd_bf16(bf16* dx, const bf16* dy, const int* spans, const int* users, int C, long long n) {
    backward(dx, dy, spans, users, C, n);
}
