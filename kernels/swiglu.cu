// y = silu(gate) up for every number.   gate up [n] -> y [n]
//
//   s = 1 / (1 + e^-gate)     y = gate s up     dgate = dy up s (1 + gate (1 - s))     dup = dy gate s
//
// 1. One thread takes four neighbours in one transaction per tensor; the last numbers of a tensor and tensors that start
//    anywhere (views) go one by one.
// 2. Both gradients come from one pass, which reads gate and dy once and computes the exponential once. Where up alone is
//    tracked, its gradient is the forward kernel with dy in place of up.
// 3. bf16 moves half the bytes in the same time as f32 only if it computes in half: its sigmoid is sigmoid_fast.
//
// Bytes: forward 3 n, backward 5 n numbers; about 20 FLOPs per number: memory-bound.
#include "common.cuh"

static __device__ __forceinline__ long long first_of_four() {
    return 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
}

template <typename T>
static __device__ void forward(T* y, const T* gate, const T* up, long long n) {
    const long long i = first_of_four();
    Pack4 g = load_up_to4(gate, i, n);
    const Pack4 u = load_up_to4(up, i, n);
#pragma unroll
    for (int k = 0; k < 4; k++) g.v[k] = g.v[k] * sigmoid_for<T>(g.v[k]) * u.v[k];
    store_up_to4(y, i, n, g);
}

// The gradient of the gate, and that of up where BOTH.
template <bool BOTH, typename T>
static __device__ void backward(T* dgate, T* dup, const T* gate, const T* up, const T* dy, long long n) {
    const long long i = first_of_four();
    Pack4 g = load_up_to4(gate, i, n), u = load_up_to4(up, i, n);
    const Pack4 d = load_up_to4(dy, i, n);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const float x = g.v[k], s = sigmoid_for<T>(x);
        g.v[k] = d.v[k] * u.v[k] * (s * (1.0f + x * (1.0f - s)));
        u.v[k] = d.v[k] * x * s;
    }
    store_up_to4(dgate, i, n, g);
    if constexpr (BOTH) store_up_to4(dup, i, n, u);
}

// gate up [n] -> y [n]. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
swiglu_fwd_f32(float* y, const float* gate, const float* up, long long n) {
    forward(y, gate, up, n);
}

// gate up [n] -> y [n]. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
swiglu_fwd_bf16(bf16* y, const bf16* gate, const bf16* up, long long n) {
    forward(y, gate, up, n);
}

// gate up dy [n] -> dgate dup [n]. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
swiglu_bwd_f32(float* dgate, float* dup, const float* gate, const float* up, const float* dy, long long n) {
    backward<true>(dgate, dup, gate, up, dy, n);
}

// gate up dy [n] -> dgate dup [n]. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
swiglu_bwd_bf16(bf16* dgate, bf16* dup, const bf16* gate, const bf16* up, const bf16* dy, long long n) {
    backward<true>(dgate, dup, gate, up, dy, n);
}

// gate up dy [n] -> dgate [n]. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
swiglu_bwd_gate_f32(float* dgate, const float* gate, const float* up, const float* dy, long long n) {
    backward<false>(dgate, dgate, gate, up, dy, n);
}

// gate up dy [n] -> dgate [n]. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
swiglu_bwd_gate_bf16(bf16* dgate, const bf16* gate, const bf16* up, const bf16* dy, long long n) {
    backward<false>(dgate, dgate, gate, up, dy, n);
}
