// Binary cross-entropy of logits against probabilities, averaged.   x target [n] -> loss [], and back dx [n]
//
//   partial[s] = sum over slice s of max(x, 0) - x t + ln(1 + e^-|x|)      one block per slice
//   loss       = sum of partial / n                                       one block
//   dx         = (sigmoid(x) - t) dy / n                                  one thread per number
//
// 1. Two passes with fixed trees instead of atomics: the same bits at every run.
// 2. The gradient of the loss, dy, is a number on the device and is read there: nothing waits for the host.
//
// Bytes: 2 n forward, 3 n backward numbers; about 40 FLOPs per number: memory-bound.
#include "common.cuh"

template <typename T>
static __device__ void forward(float* partial, const T* x, const float* target, int slice, long long n) {
    long long first = (long long)blockIdx.x * slice, last = min(n, first + slice);
    float sum = 0.0f;
    for (long long i = first + threadIdx.x; i < last; i += 256) {
        float v = to_float(x[i]);
        sum += fmaxf(v, 0.0f) - v * target[i] + log1pf(expf(-fabsf(v)));
    }
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <typename T>
static __device__ void backward(T* dx, const T* x, const float* target, const float* dy, long long n) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) dx[i] = from_float<T>((sigmoid(to_float(x[i])) - target[i]) * (dy[0] / (float)n));
}

// x target [n] -> partial [slices], the sums of the terms over slices of `slice` numbers. One block per slice.
extern "C" __global__ void __launch_bounds__(256)
bce_fwd_f32(float* partial, const float* x, const float* target, int slice, long long n) {
    forward(partial, x, target, slice, n);
}

// x target [n] -> partial [slices], the sums of the terms over slices of `slice` numbers. One block per slice.
extern "C" __global__ void __launch_bounds__(256)
bce_fwd_bf16(float* partial, const bf16* x, const float* target, int slice, long long n) {
    forward(partial, x, target, slice, n);
}

// partial [slices] -> loss [], the sum divided by n. One block.
extern "C" __global__ void __launch_bounds__(256)
bce_fwd_reduce_f32(float* loss, const float* partial, int slices, long long n) {
    float sum = 0.0f;
    for (int s = threadIdx.x; s < slices; s += 256) sum += partial[s];
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) loss[0] = sum / (float)n;
}

// x target [n], dy [] -> dx [n]. One thread per number.
extern "C" __global__ void __launch_bounds__(256)
bce_bwd_f32(float* dx, const float* x, const float* target, const float* dy, long long n) {
    backward(dx, x, target, dy, n);
}

// x target [n], dy [] -> dx [n]. One thread per number.
extern "C" __global__ void __launch_bounds__(256)
bce_bwd_bf16(bf16* dx, const bf16* x, const float* target, const float* dy, long long n) {
    backward(dx, x, target, dy, n);
}
