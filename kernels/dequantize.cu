// Weights stored in eight or four bits, as f32 or bf16.
//
//   int8   w[r, c] = q[r, c] absmax[r] / 127              q signed bytes [R, C], absmax [R]
//   nf4    w[i]    = NF4[q[i]] absmax[i / 64]             q half bytes, the first in the high half, over all of a weight
//          absmax[b] = code[byte[b]] scale[b / 256] + offset    where they are quantised themselves
//          rounded to the type that the weight had: `dropped` bits of the f32 go, 0, 13 (f16) or 16 (bf16)
//
// 1. A thread takes four neighbours, which are one store. Their bytes are read one by one: neighbours share the sectors, and
//    the reads are an eighth (nf4) or a quarter (int8) of the stores.
// 2. The sixteen numbers of NF4 lie in shared memory: threads of a warp ask for different ones at once, which constant
//    memory would answer one after the other.
//
// Bytes: per number 1 or 1/2 read, 4 or 2 written; a dozen instructions: memory-bound.
#include "common.cuh"

template <typename T>
static __device__ void int8_rows(T* out, const unsigned char* q, const float* absmax, int rows, int C) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const int packs = CEIL_DIV(C, 4), first = 4 * (int)(i % packs);
    const long long row = i / packs;
    if (row >= rows) return;
    const float scale = absmax[row];
    Pack4 a = {};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (first + k < C) a.v[k] = (float)(signed char)q[row * C + first + k] * scale * (1.0f / 127.0f);
    }
    store_up_to4(out + row * C, first, C, a);
}

// The absmax of a block: plain, or quantised.
struct Plain {
    const float* absmax;
    __device__ __forceinline__ float operator()(long long block) const { return absmax[block]; }
};
struct Double {
    const unsigned char* bytes;
    const float *code, *scale;
    float offset;
    __device__ __forceinline__ float operator()(long long block) const {
        return code[bytes[block]] * scale[block / 256] + offset;
    }
};

// v without its last bits, to the nearest; of two the even one. Below 2^-14 an f16 has steps of 2^-24, those of f32 near 1/2.
static __device__ __forceinline__ float rounded(float v, int dropped) {
    if (dropped == 0) return v;
    if (dropped == 13 && fabsf(v) < 6.103515625e-5f) return v < 0.0f ? (v - 0.5f) + 0.5f : (v + 0.5f) - 0.5f;
    const unsigned bits = __float_as_uint(v), half = (1u << (dropped - 1)) - 1u;
    return __uint_as_float((bits + half + ((bits >> dropped) & 1u)) & ~((1u << dropped) - 1u));
}

template <typename T, typename Absmax>
static __device__ void nf4(T* out, const unsigned char* q, const Absmax& absmax, long long start, long long n, int dropped) {
    SHARED(float, code, 16);
    if (threadIdx.x < 16) {
        const float numbers[16] = {-1.0f,
                                   -0.6961928009986877f,
                                   -0.5250730514526367f,
                                   -0.39491748809814453f,
                                   -0.28444138169288635f,
                                   -0.18477343022823334f,
                                   -0.09105003625154495f,
                                   0.0f,
                                   0.07958029955625534f,
                                   0.16093020141124725f,
                                   0.24611230194568634f,
                                   0.33791524171829224f,
                                   0.44070982933044434f,
                                   0.5626170039176941f,
                                   0.7229568362236023f,
                                   1.0f};
#pragma unroll
        for (int k = 0; k < 16; k++)
            if (k == threadIdx.x) code[k] = numbers[k];
    }
    __syncthreads();
    const long long i = 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
    Pack4 a = {};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (i + k >= n) continue;
        const long long at = start + i + k;
        const int byte = q[at / 2], place = at % 2 == 0 ? byte >> 4 : byte & 15;
        a.v[k] = rounded(code[place] * absmax(at / 64), dropped);
    }
    store_up_to4(out, i, n, a);
}

// q [rows, C] signed bytes, absmax [rows] -> out [rows, C]. A thread per four neighbours of a row.
extern "C" __global__ void __launch_bounds__(256)
dequantize_int8_f32(float* out, const unsigned char* q, const float* absmax, int rows, int C) {
    int8_rows(out, q, absmax, rows, C);
}

// q [rows, C] signed bytes, absmax [rows] -> out [rows, C]. A thread per four neighbours of a row.
extern "C" __global__ void __launch_bounds__(256)
dequantize_int8_bf16(bf16* out, const unsigned char* q, const float* absmax, int rows, int C) {
    int8_rows(out, q, absmax, rows, C);
}

// The numbers start .. start + n of a weight: q half bytes, absmax [blocks] -> out [n]. A thread per four.
extern "C" __global__ void __launch_bounds__(256)
dequantize_nf4_f32(float* out, const unsigned char* q, const float* absmax, long long start, long long n, int dropped) {
    nf4(out, q, Plain{absmax}, start, n, dropped);
}

// The numbers start .. start + n of a weight: q half bytes, absmax [blocks] -> out [n]. A thread per four.
extern "C" __global__ void __launch_bounds__(256)
dequantize_nf4_bf16(bf16* out, const unsigned char* q, const float* absmax, long long start, long long n, int dropped) {
    nf4(out, q, Plain{absmax}, start, n, dropped);
}

// The numbers start .. start + n of a weight: q half bytes, bytes [blocks], code [256], scale [blocks / 256] -> out [n]. A
// thread per four.
extern "C" __global__ void __launch_bounds__(256)
dequantize_nf4_double_f32(float* out, const unsigned char* q, const unsigned char* bytes, const float* code,
                          const float* scale, float offset, long long start, long long n, int dropped) {
    nf4(out, q, Double{bytes, code, scale, offset}, start, n, dropped);
}

// The numbers start .. start + n of a weight: q half bytes, bytes [blocks], code [256], scale [blocks / 256] -> out [n]. A
// thread per four.
extern "C" __global__ void __launch_bounds__(256)
dequantize_nf4_double_bf16(bf16* out, const unsigned char* q, const unsigned char* bytes, const float* code,
                           const float* scale, float offset, long long start, long long n, int dropped) {
    nf4(out, q, Double{bytes, code, scale, offset}, start, n, dropped);
}
