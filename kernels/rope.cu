// Rotary position embedding.   x [N, H, 2 P], positions [N], cos sin [positions, P] -> y [N, H, 2 P]
//
//   y[i]     = x[i] cos - x[i + P] sin        for i < P, cos and sin of row positions[n]
//   y[i + P] = x[i + P] cos + x[i] sin        the backward pass is the same with -sin
//
// 1. A thread takes four neighbouring pairs: two packs of x, two of the table. The heads of a row read the same part of
//    the table, which stays in the cache.
// 2. A position outside the table gives NaN, not what happens to lie there: the mistake is seen.
//
// Bytes: 2 N H 2 P numbers; 6 FLOPs per pair: memory-bound.
#include "common.cuh"

template <typename T>
static __device__ void turn(T* y, const T* x, const float* cos, const float* sin, const int* positions, int heads,
                            int half, int count, float direction, long long n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int packs = CEIL_DIV(half, 4), at = 4 * (int)(i % packs);
    const long long head = i / packs;
    const int position = positions[head / heads];
    const bool is_inside = position >= 0 && position < count;
    const long long row = (long long)(is_inside ? position : 0) * half, from = head * 2 * half;
    const Pack4 c = load_up_to4(cos + row, at, half), s = load_up_to4(sin + row, at, half);
    const Pack4 low = load_up_to4(x + from, at, half), high = load_up_to4(x + from + half, at, half);
    Pack4 a, b;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const float turned = is_inside ? direction * s.v[k] : __uint_as_float(0x7fc00000u);
        a.v[k] = fmaf(-high.v[k], turned, low.v[k] * c.v[k]);
        b.v[k] = fmaf(low.v[k], turned, high.v[k] * c.v[k]);
    }
    store_up_to4(y + from, at, half, a);
    store_up_to4(y + from + half, at, half, b);
}

// x [N, H, 2 P], cos sin [count, P], positions [N] -> y [N, H, 2 P]. n threads: N H times the packs of P.
extern "C" __global__ void __launch_bounds__(256)
rope_turn_f32(float* y, const float* x, const float* cos, const float* sin, const int* positions, int heads, int half,
              int count, float direction, long long n) {
    turn(y, x, cos, sin, positions, heads, half, count, direction, n);
}

// x [N, H, 2 P], cos sin [count, P], positions [N] -> y [N, H, 2 P]. n threads: N H times the packs of P.
extern "C" __global__ void __launch_bounds__(256)
rope_turn_bf16(bf16* y, const bf16* x, const float* cos, const float* sin, const int* positions, int heads, int half,
               int count, float direction, long long n) {
    turn(y, x, cos, sin, positions, heads, half, count, direction, n);
}
