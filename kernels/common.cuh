// What every kernel file shares: the bf16 storage type, vector access, reductions over a warp and over a block, and
// shared memory. The same text is compiled by NVRTC for the GPU and, with CUEMU defined by emu/cuemu.h, by the host
// C++ compiler for the emulator. No CUDA header is included anywhere: NVRTC knows the built-ins by itself.
//
// Block helpers expect one-dimensional blocks whose size is a multiple of 32.
#ifndef TWNM_COMMON_CUH
#define TWNM_COMMON_CUH

#include "ptx.cuh"

#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))

// Shared memory, only through these two, always flat. SHARED is a static array of COUNT (compile-time) elements;
// DYN_SHARED, at most one per kernel, is the memory whose size the launch gives. 16-byte alignment serves vector
// access, cp.async and ldmatrix. The emulator replaces both by handles that check `name[i]` and otherwise convert to
// T*. A handle is a class: where a pointer must be deduced or cast, write `name + 0`, as in f(name + 0) and
// reinterpret_cast<float4*>(name + 0), or name the type, f<float>(name).
#ifndef CUEMU
#define SHARED(T, name, COUNT) __shared__ __align__(16) T name[COUNT]
#define DYN_SHARED(T, name)                                              \
    extern __shared__ __align__(16) unsigned char twnm_dynamic_shared[]; \
    T* const name = reinterpret_cast<T*>(twnm_dynamic_shared)
#endif

// The upper half of a float: same range, 8 bits of precision. Storage only, all arithmetic is in float.
struct bf16 {
    unsigned short x;
};

static __device__ __forceinline__ float to_float(float v) { return v; }
static __device__ __forceinline__ float to_float(bf16 v) { return __uint_as_float((unsigned)v.x << 16); }

static __device__ __forceinline__ void convert(float v, float& out) { out = v; }

static __device__ __forceinline__ void convert(float v, bf16& out) { out.x = round_bf16(v); }

template <class T>
static __device__ __forceinline__ T from_float(float v) {
    T out;
    convert(v, out);
    return out;
}

// Four neighbouring elements in one memory transaction, as floats. The address must be a multiple of the 16 (float) or
// 8 (bf16) bytes that move: the GPU traps otherwise, and so does the emulator.
struct Pack4 {
    float v[4];
};

#ifdef CUEMU
#define TWNM_CHECK_ALIGNED(pointer, bytes) cuemu::check_aligned(pointer, bytes)
#else
#define TWNM_CHECK_ALIGNED(pointer, bytes)
#endif

static __device__ __forceinline__ Pack4 load4(const float* p) {
    TWNM_CHECK_ALIGNED(p, 16);
    const float4 q = *reinterpret_cast<const float4*>(p);
    return {{q.x, q.y, q.z, q.w}};
}

static __device__ __forceinline__ Pack4 load4(const bf16* p) {
    TWNM_CHECK_ALIGNED(p, 8);
    const uint2 q = *reinterpret_cast<const uint2*>(p);
    return {{__uint_as_float(q.x << 16), __uint_as_float(q.x & 0xffff0000u),
             __uint_as_float(q.y << 16), __uint_as_float(q.y & 0xffff0000u)}};
}

static __device__ __forceinline__ void store4(float* p, const Pack4& a) {
    TWNM_CHECK_ALIGNED(p, 16);
    *reinterpret_cast<float4*>(p) = make_float4(a.v[0], a.v[1], a.v[2], a.v[3]);
}

static __device__ __forceinline__ void store4(bf16* p, const Pack4& a) {
    TWNM_CHECK_ALIGNED(p, 8);
    *reinterpret_cast<uint2*>(p) = make_uint2(pack_bf16(a.v[0], a.v[1]), pack_bf16(a.v[2], a.v[3]));
}

// Whether packs at multiples of four from p may be moved at once: a view of a buffer may start anywhere.
template <class T>
static __device__ __forceinline__ bool is_aligned(const T* p) {
    return reinterpret_cast<unsigned long long>(p) % (4 * sizeof(T)) == 0;
}

// The numbers i .. i + 3 of p [n], zeros beyond the end; i is a multiple of 4.
template <class T>
static __device__ __forceinline__ Pack4 load_up_to4(const T* p, long long i, long long n) {
    if (i + 4 <= n && is_aligned(p)) return load4(p + i);
    Pack4 a;
#pragma unroll
    for (int k = 0; k < 4; k++) a.v[k] = i + k < n ? to_float(p[i + k]) : 0.0f;
    return a;
}

template <class T>
static __device__ __forceinline__ void store_up_to4(T* p, long long i, long long n, const Pack4& a) {
    if (i + 4 <= n && is_aligned(p)) {
        store4(p + i, a);
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (i + k < n) p[i + k] = from_float<T>(a.v[k]);
    }
}

// Butterflies: after log2(32) exchanges every lane holds the result. In each exchange both partners add the same two
// numbers, so all lanes hold the same bits.
static __device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}

static __device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, offset));
    return v;
}

// Over a block of THREADS threads, result in all of them. One partial result per warp goes through shared memory and
// every thread adds them in the same order (broadcast reads; cheaper than a second butterfly up to 32 warps). The
// second barrier keeps the next call's writes behind this call's reads.
template <int THREADS>
static __device__ float block_sum(float v) {
    static_assert(THREADS % 32 == 0 && THREADS >= 32 && THREADS <= 1024, "whole warps, at most 1024 threads");
    SHARED(float, partial, THREADS / 32);
    v = warp_sum(v);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    float sum = partial[0];
#pragma unroll
    for (int warp = 1; warp < THREADS / 32; warp++) sum += partial[warp];
    __syncthreads();
    return sum;
}

template <int THREADS>
static __device__ float block_max(float v) {
    static_assert(THREADS % 32 == 0 && THREADS >= 32 && THREADS <= 1024, "whole warps, at most 1024 threads");
    SHARED(float, partial, THREADS / 32);
    v = warp_max(v);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    float largest = partial[0];
#pragma unroll
    for (int warp = 1; warp < THREADS / 32; warp++) largest = fmaxf(largest, partial[warp]);
    __syncthreads();
    return largest;
}

// The sum of partial [slices, count] over its slices for the number that lane 32 blockIdx.x + lane stands for: right in
// warp 0 of a block of 32 WARPS threads. Each warp adds every WARPS-th slice, then the warps' sums are added, all in a
// fixed order: as many loads are on their way at once as there are warps.
template <int WARPS>
static __device__ __forceinline__ float column_total(const float* partial, int slices, long long count) {
    SHARED(float, totals, 32 * WARPS);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const long long i = (long long)blockIdx.x * 32 + lane;
    float total = 0.0f;
    if (i < count) {
#pragma unroll 4
        for (int s = warp; s < slices; s += WARPS) total += partial[s * count + i];
    }
    totals[threadIdx.x] = total;
    __syncthreads();
    if (warp == 0) {
        for (int w = 1; w < WARPS; w++) total += totals[32 * w + lane];
    }
    return total;
}

// For very negative x expf overflows to infinity and the quotient is 0, as it should be.
static __device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// The sigmoid of a kernel that stores T.
template <typename T>
static __device__ __forceinline__ float sigmoid_for(float x) {
    return sizeof(T) == 2 ? sigmoid_fast(x) : sigmoid(x);
}

#endif
