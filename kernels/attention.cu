// out = softmax(q k^T / sqrt(D)) v per head.   q [B,Nq,Hq D], k, v [B,Nk,Hkv D] -> out [B,Nq,Hq D], lse [B,Hq,Nq]
//
// Query head h reads KV head h Hkv / Hq. q, k and v lie anywhere: number d of head h at position n of clip b is element
// at + (b N + n) row + h D + d. So the same kernels take three tensors and one tensor of q | k | v. lse is the base-2
// logarithm of a row's sum of 2^(logit log2 e), 0 for a row that sees no key; its out is 0 as well.
//
// Of the Nk keys of clip b the first lengths[b] are valid (all without lengths): a cache with spare capacity, or rows
// padded at the end. What lies behind is not read; its gradient is 0. Causal, query i of clip b stands at position
// p = first[b] + i and sees the valid keys 0..=p; without first, p = i (causal 1) or i + lengths[b] - Nq (causal 2).
// Both come by pointer, because a captured graph replays the numbers that it was given but reads memory anew.
//
//     forward: for each block of queries                    backward, with delta = row sums of dy out:
//         m, l, o = -inf, 0, 0                                  p  = 2^(s - lse)            s = q k^T
//         for each tile of keys:                                ds = p (dp - delta)         dp = dy v^T
//             s = q k^T scale log2 e                            dq = ds k scale             (sum over keys)
//             m' = max(m, rows of s)                            dk = ds^T q scale           (sum over queries
//             p  = 2^(s - m')                                   dv = p^T dy                  and query heads)
//             l, o = l 2^(m - m') + sum p, o 2^(m - m') + p v
//         out, lse = o / l, m + log2 l
//
// Tricks:
//  1. The Nq x Nk matrix never reaches memory: the forward pass keeps a running maximum, the backward recomputes tiles.
//  2. Two backward kernels, one summing over keys and one over queries, cost seven products instead of five, but need
//     neither atomics nor a buffer of partial sums: the same bits each time.
//  3. Both are one function. Its block owns rows (of queries or of keys) and streams columns (keys or queries): with
//     x1 = q, x2 = dy and y1 = k, y2 = v, or the other way round, s = x1 y1^T, dp = x2 y2^T and the result is
//     ds y1, to which only the keys add p y2. A KV head's rows meet the columns of every query head it serves.
//  4. bf16: 16 rows a warp, mma m16n8k16. The registers in which an mma leaves s are those in which the next one
//     wants its left operand, so p and ds never leave them. ldmatrix reads a tile of k both as it is (for s) and
//     transposed (for ds k).
//  5. Column tiles arrive by cp.async in two stages: the next one travels during the products of this one, and one
//     barrier per tile suffices, since it separates reading a stage from filling it again.
//  6. 16-byte chunks of a shared row are permuted by an exclusive-or with the row number: eight rows of an ldmatrix
//     phase lie in different bank groups. float rows are padded by four words to the same end.
//  7. float: 16 x 16 threads own small tiles of s and of the results; both products read shared memory four numbers at
//     a time along rows, so nothing is transposed. p passes through shared memory, within one warp.
//  8. Tiles of keys that no query of a block sees are skipped, and only tiles at an edge are masked.
//  9. D = 24 (the encoder) is padded to 32 in shared memory, not in the products: an mma of 16 and one of 8 inner
//     elements for q k^T, 3 tiles of 8 columns for p v. On the RTX 5090, whose tensor cores are the limit, 24 units
//     instead of 28 in the forward pass.
// 10. Exponentials are the special-function unit's own (exp2_fast): exp2f would spend as many instructions again on
//     results below 2^-126.
//
// FLOPs: 4 B Hq Nq Nk D forward, 14 backward with the recomputation, half of that when causal; one exponential per
// element of s and pass. Bytes: q, k, v, out once each; k and v once more per block of queries, from the cache.
// 129 x 626 x 626, 4 heads of 24: 19.4 GFLOP for 62 MB of bf16: the exponentials and the tensor cores decide.

#include "common.cuh"
#include "ptx.cuh"
#include "attention_tiles.cuh"
#include "attention_float.cuh"
#include "attention_bf16.cuh"

// delta [B,Hq,Nq] = sum dy out. Eight numbers a lane: 4, 8 or 16 lanes per head and position.
template <class T>
static __device__ __forceinline__ void row_products(float* delta, const T* out, const T* dy, int clips, int queries,
                                                    int heads, int width) {
    const int lanes = width <= 32 ? 4 : width <= 64 ? 8 : 16, lane = threadIdx.x % lanes;
    const long long row = (long long)blockIdx.x * (256 / lanes) + threadIdx.x / lanes;
    const long long rows = (long long)clips * queries * heads;
    const bool vector = width % 4 == 0 && is_aligned(out) && is_aligned(dy);
    float sum = 0.0f;
#pragma unroll
    for (int first = 8 * lane, part = 0; part < 2; part++, first += 4) {
        const long long at = row * width + first;
        if (row >= rows || first >= width) continue;
        if (vector) {
            const Pack4 a = load4(dy + at), b = load4(out + at);
#pragma unroll
            for (int k = 0; k < 4; k++) sum = fmaf(a.v[k], b.v[k], sum);
        } else {
            for (int k = 0; k < min(4, width - first); k++) sum = fmaf(to_float(dy[at + k]), to_float(out[at + k]), sum);
        }
    }
    sum = row_sum(sum, lanes);
    if (lane == 0 && row < rows) {
        const long long position = row / heads, head = row % heads;
        delta[(position / queries * heads + head) * queries + position % queries] = sum;
    }
}

// ---- kernels -----------------------------------------------------------------------------------------------------
//
// The float kernels serve every head dim up to 128; of the bf16 ones the launch picks the narrowest that suffices.
// Grid x = CEIL_DIV(rows, rows per block) x heads x B: rows and heads are those of the queries, for dkv of the keys.

typedef Tiling<32, 3, 4, 64> Narrow;
typedef Tiling<64, 8, 8, 64> Middle;
typedef Tiling<128, 16, 8, 64> Wide;
typedef Tiling<128, 16, 8, 32> WideBackward;

// q, k, v -> out [B,Nq,Hq D], lse [B,Hq,Nq]. 64 queries a block; 45,056 bytes of dynamic shared memory for D <= 32,
// 69,632 for D <= 64, 76,800 beyond.
extern "C" __global__ void __launch_bounds__(256, 2)
attention_fwd_f32(float* out, float* lse, const float* q, const float* k, const float* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, const int* optional_lengths, const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<float> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    if (width <= 32) forward_float<32, 64>(out, lse, in, memory);
    else if (width <= 64) forward_float<64, 64>(out, lse, in, memory);
    else forward_float<128, 32>(out, lse, in, memory);
}

// q, k, v -> out [B,Nq,Hq D], lse [B,Hq,Nq] for D <= 24. 64 queries a block, 16,384 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(128)
attention_fwd_d24_bf16(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, const int* optional_lengths, const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<bf16> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    forward_bf16<Narrow>(out, lse, in, memory);
}

// q, k, v -> out [B,Nq,Hq D], lse [B,Hq,Nq] for D <= 64. 128 queries a block, 32,768 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256)
attention_fwd_d64_bf16(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, const int* optional_lengths, const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<bf16> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    forward_bf16<Middle>(out, lse, in, memory);
}

// q, k, v -> out [B,Nq,Hq D], lse [B,Hq,Nq] for D <= 128. 128 queries a block, 65,536 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256)
attention_fwd_d128_bf16(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, const int* optional_lengths, const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<bf16> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    forward_bf16<Wide>(out, lse, in, memory);
}

// out dy [B,Nq,Hq D] -> delta [B,Hq,Nq], the row sums of their product. 256 threads a block, which has 64 rows
// for D <= 32, 32 for D <= 64, 16 beyond.
extern "C" __global__ void __launch_bounds__(256)
attention_bwd_delta_f32(float* delta, const float* out, const float* dy, int clips, int queries, int heads, int width) {
    row_products(delta, out, dy, clips, queries, heads, width);
}

// out dy [B,Nq,Hq D] -> delta [B,Hq,Nq], the row sums of their product. 256 threads a block, which has 64 rows
// for D <= 32, 32 for D <= 64, 16 beyond.
extern "C" __global__ void __launch_bounds__(256)
attention_bwd_delta_bf16(float* delta, const bf16* out, const bf16* dy, int clips, int queries, int heads, int width) {
    row_products(delta, out, dy, clips, queries, heads, width);
}

// dq, in the layout of q.
// 64 queries a block (32 for D > 64); 54,784 bytes of dynamic shared memory for D <= 32, 61,952 for D <= 64,
// 72,448 beyond.
extern "C" __global__ void __launch_bounds__(256, 2)
attention_bwd_dq_f32(float* dq, const float* lse, const float* delta, const float* dy, const float* q,
    const float* k, const float* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, const int* optional_lengths, const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<float> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    const Gradients<float> g = {dq, lse, delta, dy, 0};
    if (width <= 32) backward_float<false, 32, 64, 64>(g, in, memory);
    else if (width <= 64) backward_float<false, 64, 64, 32>(g, in, memory);
    else backward_float<false, 128, 32, 32>(g, in, memory);
}

// dq, in the layout of q. D <= 24.
// 64 queries a block, 25,600 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(128, 3)
attention_bwd_dq_d24_bf16(bf16* dq, const float* lse, const float* delta, const bf16* dy, const bf16* q,
    const bf16* k, const bf16* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, const int* optional_lengths, const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<bf16> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    const Gradients<bf16> g = {dq, lse, delta, dy, 0};
    backward_bf16<false, Narrow, 32, true>(g, in, memory);
}

// dq, in the layout of q. D <= 64.
// 128 queries a block, 66,560 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256, 2)
attention_bwd_dq_d64_bf16(bf16* dq, const float* lse, const float* delta, const bf16* dy, const bf16* q,
    const bf16* k, const bf16* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, const int* optional_lengths, const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<bf16> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    const Gradients<bf16> g = {dq, lse, delta, dy, 0};
    backward_bf16<false, Middle, 16, true>(g, in, memory);
}

// dq, in the layout of q. D <= 128.
// 128 queries a block, 98,816 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256)
attention_bwd_dq_d128_bf16(bf16* dq, const float* lse, const float* delta, const bf16* dy, const bf16* q,
    const bf16* k, const bf16* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, const int* optional_lengths, const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<bf16> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    const Gradients<bf16> g = {dq, lse, delta, dy, 0};
    backward_bf16<false, WideBackward, 16, true>(g, in, memory);
}

// dk, in the layout of k, and dv, in that of v but from element dv_at on, in one tensor.
// 64 keys a block (32 for D > 64); 54,784 bytes of dynamic shared memory for D <= 32, 61,952 for D <= 64,
// 72,448 beyond.
extern "C" __global__ void __launch_bounds__(256, 2)
attention_bwd_dkv_f32(float* dkv, const float* lse, const float* delta, const float* dy, const float* q,
    const float* k, const float* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, long long dv_at, const int* optional_lengths,
    const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<float> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    const Gradients<float> g = {dkv, lse, delta, dy, dv_at};
    if (width <= 32) backward_float<true, 32, 64, 64>(g, in, memory);
    else if (width <= 64) backward_float<true, 64, 64, 32>(g, in, memory);
    else backward_float<true, 128, 32, 32>(g, in, memory);
}

// dk, in the layout of k, and dv, in that of v but from element dv_at on, in one tensor. D <= 24.
// 64 keys a block, 25,600 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(128, 3)
attention_bwd_dkv_d24_bf16(bf16* dkv, const float* lse, const float* delta, const bf16* dy, const bf16* q,
    const bf16* k, const bf16* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, long long dv_at, const int* optional_lengths,
    const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<bf16> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    const Gradients<bf16> g = {dkv, lse, delta, dy, dv_at};
    backward_bf16<true, Narrow, 32, true>(g, in, memory);
}

// dk, in the layout of k, and dv, in that of v but from element dv_at on, in one tensor. D <= 64.
// 128 keys a block, 66,560 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256)
attention_bwd_dkv_d64_bf16(bf16* dkv, const float* lse, const float* delta, const bf16* dy, const bf16* q,
    const bf16* k, const bf16* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, long long dv_at, const int* optional_lengths,
    const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<bf16> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    const Gradients<bf16> g = {dkv, lse, delta, dy, dv_at};
    backward_bf16<true, Middle, 16, true>(g, in, memory);
}

// dk, in the layout of k, and dv, in that of v but from element dv_at on, in one tensor. D <= 128.
// 128 keys a block, 98,816 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256)
attention_bwd_dkv_d128_bf16(bf16* dkv, const float* lse, const float* delta, const bf16* dy, const bf16* q,
    const bf16* k, const bf16* v, int queries, int keys,
    int heads_q, int heads_kv, int width, int causal, float scale, long long q_at, long long q_row, long long k_at,
    long long k_row, long long v_at, long long v_row, long long dv_at, const int* optional_lengths,
    const int* optional_first) {
    DYN_SHARED(float, memory);
    const Inputs<bf16> in = {q, k, v, q_at, q_row, k_at, k_row, v_at, v_row,
        {queries, keys, heads_q, heads_kv, width, causal, scale, 0}, optional_lengths, optional_first};
    const Gradients<bf16> g = {dkv, lse, delta, dy, dv_at};
    backward_bf16<true, WideBackward, 16, false>(g, in, memory);
}
