// y = f(x) and dx = dy f'(x) for every number.   x [n] -> y [n]
//
//   0 silu      x s, s = 1 / (1 + e^-x)      s (1 + x (1 - s))
//   1 gelu      x Phi(x)                     Phi(x) + x e^(-x^2 / 2) / sqrt(2 pi)
//   2 sigmoid   s                            s (1 - s)
//   3 softplus  max(x, 0) + ln(1 + e^-|x|)   s
//   4 tanh      t                            1 - t^2
//
// 1. The function is a number, not a template parameter: every thread takes the same branch, and four kernels do the
//    work of twenty.
// 2. One thread takes four neighbours in one transaction; the last numbers of a tensor and tensors that start
//    anywhere (views) go one by one.
// 3. Phi(x) = erfc(-x / sqrt 2) / 2: unlike 1 + erf it keeps its digits in the left tail.
// 4. The backward pass recomputes from x: nothing but the input is kept.
// 5. bf16 moves half the bytes in the same time as f32 only if it computes in half: its sigmoid is sigmoid_fast.
//
// Bytes: 2 n forward, 3 n backward; 10 to 40 FLOPs per number: memory-bound.
#include "common.cuh"

enum Kind { SILU, GELU, SIGMOID, SOFTPLUS, TANH };

static __device__ float normal_cdf(float x) { return 0.5f * erfcf(-0.70710678f * x); }

template <typename T>
static __device__ float value(int kind, float x) {
    switch (kind) {
        case SILU: return x * sigmoid_for<T>(x);
        case GELU: return x * normal_cdf(x);
        case SIGMOID: return sigmoid_for<T>(x);
        case SOFTPLUS: return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
        default: return tanhf(x);
    }
}

template <typename T>
static __device__ float slope(int kind, float x) {
    switch (kind) {
        case SILU: {
            float s = sigmoid_for<T>(x);
            return s * (1.0f + x * (1.0f - s));
        }
        case GELU: return normal_cdf(x) + x * (0.39894228f * expf(-0.5f * x * x));
        case SIGMOID: {
            float s = sigmoid_for<T>(x);
            return s * (1.0f - s);
        }
        case SOFTPLUS: return sigmoid_for<T>(x);
        default: {
            float t = tanhf(x);
            return 1.0f - t * t;
        }
    }
}

template <typename T>
static __device__ void forward(T* y, const T* x, int kind, long long n) {
    long long i = 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 4 <= n && is_aligned(x) && is_aligned(y)) {
        Pack4 a = load4(x + i);
#pragma unroll
        for (int k = 0; k < 4; k++) a.v[k] = value<T>(kind, a.v[k]);
        store4(y + i, a);
        return;
    }
    for (long long j = i; j < min(i + 4, n); j++) y[j] = from_float<T>(value<T>(kind, to_float(x[j])));
}

template <typename T>
static __device__ void backward(T* dx, const T* x, const T* dy, int kind, long long n) {
    long long i = 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 4 <= n && is_aligned(x) && is_aligned(dy) && is_aligned(dx)) {
        Pack4 a = load4(x + i), d = load4(dy + i);
#pragma unroll
        for (int k = 0; k < 4; k++) a.v[k] = d.v[k] * slope<T>(kind, a.v[k]);
        store4(dx + i, a);
        return;
    }
    for (long long j = i; j < min(i + 4, n); j++) {
        dx[j] = from_float<T>(to_float(dy[j]) * slope<T>(kind, to_float(x[j])));
    }
}

// x [n] -> y [n] = f(x). Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256) activation_fwd_f32(float* y, const float* x, int kind, long long n) {
    forward(y, x, kind, n);
}

// x [n] -> y [n] = f(x). Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256) activation_fwd_bf16(bf16* y, const bf16* x, int kind, long long n) {
    forward(y, x, kind, n);
}

// x dy [n] -> dx [n] = dy f'(x). Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
activation_bwd_f32(float* dx, const float* x, const float* dy, int kind, long long n) {
    backward(dx, x, dy, kind, n);
}

// x dy [n] -> dx [n] = dy f'(x). Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
activation_bwd_bf16(bf16* dx, const bf16* x, const bf16* dy, int kind, long long n) {
    backward(dx, x, dy, kind, n);
}
