// Sums and products, one number at a time: what lies between the layers, on the tape and in the trainer.
//
//   add            a b [n] -> y = a + b                      scale           x [n] -> y = factor x
//   accumulate     sum += x                                  accumulate_parts   sum[at + i] += x[i] for many x
//   to_bf16        y = round(x)                              to_f32          y = x, exact
//   scale_channels x [N, C], w [C] -> y[r, c] = x[r, c] w[c]    and dw[c] = sum over r of dy[r, c] x[r, c]
//   glu            x [N, 2 C] = (a | b) -> y [N, C] = a s, s = sigmoid(b);   da = dy s, db = dy a s (1 - s)
//
// 1. One thread takes four neighbours: one 16-byte (f32) or 8-byte (bf16) transaction per operand. A tensor may be a
//    view that starts anywhere; what is not aligned, and the last numbers, go one by one. The test is uniform but for
//    the last thread.
// 2. glu recomputes the sigmoid in its backward pass: arithmetic is free next to another tensor in memory.
// 3. dw is summed in two passes, as in layer_norm.cu: 32 columns and a slice of rows per block, then the slices in
//    order. No atomics, the same bits at every run.
//
// Bytes: one read per operand and one write per result; at most a dozen FLOPs per number: all memory-bound.
#include "common.cuh"

// The first of this thread's four numbers.
static __device__ long long first_of_four() { return 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x); }

// y = a + b; y may be a.
template <typename T>
static __device__ void add(T* y, const T* a, const T* b, long long n) {
    long long i = first_of_four();
    Pack4 left = load_up_to4(a, i, n), right = load_up_to4(b, i, n);
#pragma unroll
    for (int k = 0; k < 4; k++) left.v[k] += right.v[k];
    store_up_to4(y, i, n, left);
}

template <typename T>
static __device__ void scale(T* y, const T* x, float factor, long long n) {
    long long i = first_of_four();
    Pack4 a = load_up_to4(x, i, n);
#pragma unroll
    for (int k = 0; k < 4; k++) a.v[k] *= factor;
    store_up_to4(y, i, n, a);
}

template <typename To, typename From>
static __device__ void store_as(To* y, const From* x, long long n) {
    long long i = first_of_four();
    store_up_to4(y, i, n, load_up_to4(x, i, n));
}

template <typename T>
static __device__ void scale_channels(T* y, const T* x, const float* w, int C, long long n) {
    long long i = first_of_four();
    Pack4 a = load_up_to4(x, i, n);
    int c = (int)(i % C);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        a.v[k] *= w[c];
        c = c + 1 < C ? c + 1 : 0;
    }
    store_up_to4(y, i, n, a);
}

template <typename T>
static __device__ void scale_channels_bwd_w(float* partial, const T* x, const T* dy, int N, int C, int slice) {
    SHARED(float, sums, 256);
    int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
    int c = blockIdx.x * 32 + lane;
    int first = blockIdx.y * slice, last = min(N, first + slice);
    float dw = 0.0f;
    if (c < C) {
        for (int row = first + group; row < last; row += 8) {
            long long at = (long long)row * C + c;
            dw = fmaf(to_float(dy[at]), to_float(x[at]), dw);
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

// Four gated units; n = N C outputs. Rows of a multiple of four channels keep every part aligned.
template <typename T>
static __device__ void glu_fwd(T* y, const T* x, int C, long long n) {
    long long i = first_of_four();
    if (i >= n) return;
    if (C % 4 == 0 && is_aligned(x)) {
        const T* row = x + i / C * 2 * C + i % C;
        Pack4 a = load4(row), b = load4(row + C);
#pragma unroll
        for (int k = 0; k < 4; k++) a.v[k] *= sigmoid_for<T>(b.v[k]);
        store_up_to4(y, i, n, a);
        return;
    }
    for (long long j = i; j < min(i + 4, n); j++) {
        const T* row = x + j / C * 2 * C + j % C;
        y[j] = from_float<T>(to_float(row[0]) * sigmoid_for<T>(to_float(row[C])));
    }
}

template <typename T>
static __device__ float2 glu_slopes(float a, float b, float dy) {
    float s = sigmoid_for<T>(b);
    return make_float2(dy * s, dy * a * s * (1.0f - s));
}

template <typename T>
static __device__ void glu_bwd(T* dx, const T* x, const T* dy, int C, long long n) {
    long long i = first_of_four();
    if (i >= n) return;
    if (C % 4 == 0 && is_aligned(x) && is_aligned(dx)) {
        long long at = i / C * 2 * C + i % C;
        Pack4 a = load4(x + at), b = load4(x + at + C), d = load_up_to4(dy, i, n);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float2 g = glu_slopes<T>(a.v[k], b.v[k], d.v[k]);
            a.v[k] = g.x;
            b.v[k] = g.y;
        }
        store4(dx + at, a);
        store4(dx + at + C, b);
        return;
    }
    for (long long j = i; j < min(i + 4, n); j++) {
        long long at = j / C * 2 * C + j % C;
        float2 g = glu_slopes<T>(to_float(x[at]), to_float(x[at + C]), to_float(dy[j]));
        dx[at] = from_float<T>(g.x);
        dx[at + C] = from_float<T>(g.y);
    }
}

// a b [n] -> y = a + b. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_add_f32(float* y, const float* a, const float* b, long long n) {
    add(y, a, b, n);
}

// a b [n] -> y = a + b. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_add_bf16(bf16* y, const bf16* a, const bf16* b, long long n) {
    add(y, a, b, n);
}

// sum += x [n] in place. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256) elementwise_accumulate_f32(float* sum, const float* x, long long n) {
    add(sum, sum, x, n);
}

// sum += x [n] in place. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256) elementwise_accumulate_bf16(bf16* sum, const bf16* x, long long n) {
    add(sum, sum, x, n);
}

// Up to 64 tensors and where each goes. A parameter of a kernel, so that no table has to be copied to the GPU first.
struct Parts {
    const float* x[64];
    long long at[64], n[64];
};

// sum[at + i] += x[i] for every x [n] of the parts: gradients into the flat buffer. Four numbers per thread.
// Grid: blocks of the longest part, parts.
extern "C" __global__ void __launch_bounds__(256) elementwise_accumulate_parts_f32(float* sum, Parts parts) {
    float* to = sum + parts.at[blockIdx.y];
    add(to, to, parts.x[blockIdx.y], parts.n[blockIdx.y]);
}

// x [n] -> y = factor x. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_scale_f32(float* y, const float* x, float factor, long long n) {
    scale(y, x, factor, n);
}

// x [n] -> y = factor x. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_scale_bf16(bf16* y, const bf16* x, float factor, long long n) {
    scale(y, x, factor, n);
}

// x [n] -> y, rounded to nearest, ties to even. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256) elementwise_to_bf16(bf16* y, const float* x, long long n) {
    store_as(y, x, n);
}

// x [n] -> y, exact. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256) elementwise_to_f32(float* y, const bf16* x, long long n) {
    store_as(y, x, n);
}

// x [N, C], w [C] -> y [N, C] = x w, n = N C. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_scale_channels_f32(float* y, const float* x, const float* w, int C, long long n) {
    scale_channels(y, x, w, C, n);
}

// x [N, C], w [C] -> y [N, C] = x w, n = N C. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_scale_channels_bf16(bf16* y, const bf16* x, const float* w, int C, long long n) {
    scale_channels(y, x, w, C, n);
}

// x dy [N, C] -> partial [slices, C], the sums of dw over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
elementwise_scale_channels_bwd_w_f32(float* partial, const float* x, const float* dy, int N, int C, int slice) {
    scale_channels_bwd_w(partial, x, dy, N, C, slice);
}

// x dy [N, C] -> partial [slices, C], the sums of dw over each slice of rows.
extern "C" __global__ void __launch_bounds__(256)
elementwise_scale_channels_bwd_w_bf16(float* partial, const bf16* x, const bf16* dy, int N, int C, int slice) {
    scale_channels_bwd_w(partial, x, dy, N, C, slice);
}

// partial [slices, C] -> dw [C]. Grid C / 32.
extern "C" __global__ void __launch_bounds__(1024)
elementwise_scale_channels_bwd_reduce_f32(float* dw, const float* partial, int slices, int C) {
    const float total = column_total<32>(partial, slices, C);
    const int i = blockIdx.x * 32 + threadIdx.x;
    if (threadIdx.x < 32 && i < C) dw[i] = total;
}

// x [N, 2 C] -> y [N, C] = a sigmoid(b), n = N C. Four outputs per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_glu_fwd_f32(float* y, const float* x, int C, long long n) {
    glu_fwd(y, x, C, n);
}

// x [N, 2 C] -> y [N, C] = a sigmoid(b), n = N C. Four outputs per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_glu_fwd_bf16(bf16* y, const bf16* x, int C, long long n) {
    glu_fwd(y, x, C, n);
}

// x [N, 2 C], dy [N, C] -> dx [N, 2 C], n = N C. Four numbers of dy per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_glu_bwd_f32(float* dx, const float* x, const float* dy, int C, long long n) {
    glu_bwd(dx, x, dy, C, n);
}

// x [N, 2 C], dy [N, C] -> dx [N, 2 C], n = N C. Four numbers of dy per thread.
extern "C" __global__ void __launch_bounds__(256)
elementwise_glu_bwd_bf16(bf16* dx, const bf16* x, const bf16* dy, int C, long long n) {
    glu_bwd(dx, x, dy, C, n);
}
