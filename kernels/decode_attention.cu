// One query per sequence, no gradient: out = softmax(q k^T / sqrt(D)) v per head.
//   q [B,Hq D], k, v [B,C,Hkv D] of which the first lengths[b] positions are valid -> out [B,Hq D]
//
// A block of the general kernels (attention.cu) owns many queries; here there is one, and what limits is reading k and v
// once. So the keys are cut into parts of 64, one block each, and a second kernel combines the parts in order:
//
//     for each part of the keys:                            combine, per head:
//         s   = q k^T scale log2 e                              m   = max m_part
//         m   = max s                                           l   = sum l_part 2^(m_part - m)
//         p   = 2^(s - m)                                       out = sum o_part 2^(m_part - m) / l
//         l,o = sum p, p v
//
// Tricks:
//  1. The query heads of a KV head are rows of one product, so each key and value is read once for all of them: up to 16
//     rows a block (7 for Qwen2), more heads take more blocks.
//  2. bf16: mma m16n8k16. Each of four warps has 16 of the 64 keys; its o is added to those of the others in shared
//     memory, in order.
//  3. k and v travel by cp.async in two groups: the scores are formed while the values are still on their way.
//  4. The size of a part is fixed, so a sequence gets the same bits alone and in any batch. Blocks behind the last valid
//     key do nothing: lengths come by pointer and the grid is that of the full cache, as a captured graph needs it.
//
// FLOPs: 4 B Hq N D. Bytes: k and v once, and 4 (D + 2) per head and part, written and read, mostly in the cache: for
// 7 heads of 128 per KV head a ninth of k and v in bf16.

#include "common.cuh"
#include "ptx.cuh"
#include "attention_tiles.cuh"
#include "attention_bf16.cuh"

const int PART = 64, ROWS = 16;

// What a block has: `count` keys from `first` on (none: nothing to do), `rows` query heads from `head` on.
struct Part {
    int first, count, kv_head, head, rows, clip, index;

    // Block by part, then by chunks of query heads, KV heads and clips.
    static __device__ __forceinline__ Part of_block(const int* lengths, int capacity, int heads_q, int heads_kv) {
        const int parts = CEIL_DIV(capacity, PART), group = heads_q / heads_kv, chunks = CEIL_DIV(group, ROWS);
        int rest = blockIdx.x;
        Part part;
        part.index = rest % parts;
        rest /= parts;
        const int chunk = rest % chunks;
        rest /= chunks;
        part.kv_head = rest % heads_kv;
        part.clip = rest / heads_kv;
        part.head = part.kv_head * group + chunk * ROWS;
        part.rows = min(group - chunk * ROWS, ROWS);
        part.first = part.index * PART;
        part.count = max(min(min(lengths[part.clip], capacity) - part.first, PART), 0);
        return part;
    }
};

// The operands of a call: a cache of `capacity` positions.
template <class T>
struct Operands {
    const T *q, *k, *v;
    int capacity, heads_q, heads_kv, width;
    float scale;  // of base-2 logits

    // Query heads as positions.
    __device__ __forceinline__ Head<const T> queries(const Part& part) const {
        return {q + ((long long)part.clip * heads_q + part.head) * width, width};
    }
    __device__ __forceinline__ Head<const T> keys(const T* data, const Part& part) const {
        const long long row = (long long)heads_kv * width;
        return {data + ((long long)part.clip * capacity + part.first) * row + part.kv_head * width, row};
    }
    // Where the results of row `row` lie: [B,Hq,parts].
    __device__ __forceinline__ long long result_at(const Part& part, int row) const {
        return ((long long)part.clip * heads_q + part.head + row) * CEIL_DIV(capacity, PART) + part.index;
    }
};

// Largest logit and sum of one row of a part.
static __device__ __forceinline__ void store_stats(float* stats, long long at, float top, float sum) {
    stats[2 * at] = top;
    stats[2 * at + 1] = sum;
}

// ---- float -------------------------------------------------------------------------------------------------------

// 256 threads. Scores: a key per thread, four query heads at once. Values: a number of the head per thread.
template <int D>
static __device__ __forceinline__ void part_float(float* sums, float* stats, const Operands<float>& in,
                                                  const Part& part, float* memory) {
    const int THREADS = 256;
    float *q = memory, *k = q + tile_size<float, D>(ROWS), *v = k + tile_size<float, D>(PART);
    float* const p = v + tile_size<float, D>(PART);
    load_tile<D, ROWS, THREADS>(q, in.queries(part), 0, part.rows, in.width);
    load_tile<D, PART, THREADS>(k, in.keys(in.k, part), 0, part.count, in.width);
    cp_async_commit();
    load_tile<D, PART, THREADS>(v, in.keys(in.v, part), 0, part.count, in.width);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    const int key = threadIdx.x % PART;
    for (int row = threadIdx.x / PART; row < part.rows; row += THREADS / PART) {
        float dot = 0.0f;
#pragma unroll 4
        for (int chunk = 0; chunk < CEIL_DIV(in.width, 4); chunk++) {
            const Pack4 a = load4(chunk_at<D>(q, row, chunk)), b = load4(chunk_at<D>(k, key, chunk));
#pragma unroll
            for (int e = 0; e < 4; e++) dot += a.v[e] * b.v[e];
        }
        p[row * PART + key] = key < part.count ? dot * in.scale : MINUS_INFINITY;
    }
    cp_async_wait<0>();
    __syncthreads();
    for (int row = threadIdx.x / 32; row < part.rows; row += THREADS / 32) {
        float* const mine = p + row * PART + threadIdx.x % 32;
        const float top = warp_max(fmaxf(mine[0], mine[32]));
        mine[0] = exp2_fast(mine[0] - top);
        mine[32] = exp2_fast(mine[32] - top);
        const float sum = warp_sum(mine[0] + mine[32]);
        if (threadIdx.x % 32 == 0) store_stats(stats, in.result_at(part, row), top, sum);
    }
    __syncthreads();
    const int number = threadIdx.x % D;
    for (int row = threadIdx.x / D; row < part.rows; row += THREADS / D) {
        float sum = 0.0f;
#pragma unroll 4
        for (int i = 0; i < part.count; i++) sum += p[row * PART + i] * v[i * (D + 4) + number];
        if (number < in.width) sums[in.result_at(part, row) * in.width + number] = sum;
    }
}

// ---- bf16 --------------------------------------------------------------------------------------------------------

// Adds up what four warps have of a part: o [4,16,D], top and sum [4,16] in shared memory.
template <int D>
static __device__ __forceinline__ void add_warps(float* sums, float* stats, const Operands<bf16>& in, const Part& part,
                                                 const float* o, const float* tops, const float* totals) {
    for (int row = threadIdx.x / D; row < part.rows; row += 128 / D) {
        const int number = threadIdx.x % D;
        float top = tops[row];
#pragma unroll
        for (int w = 1; w < 4; w++) top = fmaxf(top, tops[w * ROWS + row]);
        float sum = 0.0f, total = 0.0f;
#pragma unroll
        for (int w = 0; w < 4; w++) {
            const float factor = exp2_fast(tops[w * ROWS + row] - top);
            sum += factor * o[(w * ROWS + row) * D + number];
            total += factor * totals[w * ROWS + row];
        }
        const long long at = in.result_at(part, row);
        if (number < in.width) sums[at * in.width + number] = sum;
        if (number == 0) store_stats(stats, at, top, total);
    }
}

// Four warps of 16 keys each.
template <int D>
static __device__ __forceinline__ void part_bf16(float* sums, float* stats, const Operands<bf16>& in, const Part& part,
                                                 float* memory) {
    const int THREADS = 128, OUT = D / 8, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    bf16 *const q_tile = (bf16*)memory, *const k_tile = q_tile + ROWS * D, *const v_tile = k_tile + PART * D;
    load_tile<D, ROWS, THREADS>(q_tile, in.queries(part), 0, part.rows, in.width);
    load_tile<D, PART, THREADS>(k_tile, in.keys(in.k, part), 0, part.count, in.width);
    cp_async_commit();
    load_tile<D, PART, THREADS>(v_tile, in.keys(in.v, part), 0, part.count, in.width);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    float p[2][4] = {}, o[OUT][4] = {};
#pragma unroll
    for (int k = 0; k < D / 32; k++) {
        unsigned left[2][4];
        left_rows<D>(left[0], q_tile, 0, 2 * k);
        left_rows<D>(left[1], q_tile, 0, 2 * k + 1);
#pragma unroll
        for (int n = 0; n < 2; n++) {
            unsigned right[4];
            right_rows<D>(right, k_tile, 16 * warp + 8 * n, k);
            mma_bf16_16816(p[n], left[0], right);
            mma_bf16_16816(p[n], left[1], right + 2);
        }
    }
    float top[2], total[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float most = LOWEST;
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                const int key = 16 * warp + 8 * n + lane % 4 * 2 + e % 2;
                p[n][e] = key < part.count ? p[n][e] * in.scale : MINUS_INFINITY;
                most = fmaxf(most, p[n][e]);
            }
        top[half] = row_max(most, 4);
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                p[n][e] = exp2_fast(p[n][e] - top[half]);
                sum += p[n][e];
            }
        total[half] = row_sum(sum, 4);
    }
    cp_async_wait<0>();
    __syncthreads();
    unsigned left[1][4];
    left_of(left[0], p[0], p[1]);
    add_product<D, OUT, 16>(o, left, v_tile, 16 * warp);
    // All warps are done with k and v: their 32 KB (D = 128) take the four o.
    __syncthreads();
    float *const all = (float*)k_tile, *const tops = all + 4 * ROWS * D, *const totals = tops + 4 * ROWS;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = warp * ROWS + lane / 4 + 8 * half;
#pragma unroll
        for (int n = 0; n < OUT; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) all[row * D + n * 8 + lane % 4 * 2 + e] = o[n][2 * half + e];
        if (lane % 4 == 0) {
            tops[row] = top[half];
            totals[row] = total[half];
        }
    }
    __syncthreads();
    add_warps<D>(sums, stats, in, part, all, tops, totals);
}

// ---- both --------------------------------------------------------------------------------------------------------

// A number of a head per thread; D is at most 128.
template <class T>
static __device__ __forceinline__ void combine(T* out, const float* sums, const float* stats, const int* lengths,
                                               int capacity, int heads_q, int width) {
    const int clip = blockIdx.x / heads_q, length = max(min(lengths[clip], capacity), 0);
    const int parts = CEIL_DIV(length, PART), number = threadIdx.x;
    const long long row = (long long)blockIdx.x * CEIL_DIV(capacity, PART);
    float top = LOWEST, sum = 0.0f, total = 0.0f;
#pragma unroll 4
    for (int i = 0; i < parts; i++) top = fmaxf(top, stats[2 * (row + i)]);
#pragma unroll 4
    for (int i = 0; i < parts; i++) {
        const float factor = exp2_fast(stats[2 * (row + i)] - top);
        total += factor * stats[2 * (row + i) + 1];
        if (number < width) sum += factor * sums[(row + i) * width + number];
    }
    if (number < width) out[(long long)blockIdx.x * width + number] = from_float<T>(total > 0.0f ? sum / total : 0.0f);
}

// ---- kernels -----------------------------------------------------------------------------------------------------
//
// Grid x of the parts = CEIL_DIV(C, 64) x CEIL_DIV(Hq / Hkv, 16) x Hkv x B. D is at most 128.

// q [B,Hq D], k v [B,C,Hkv D], lengths [B] -> sums [B,Hq,CEIL_DIV(C, 64),D], stats [B,Hq,CEIL_DIV(C, 64),2]: what parts
// behind the last valid key would be is not written. 43,264 bytes of dynamic shared memory for D <= 64, 80,128 beyond.
extern "C" __global__ void __launch_bounds__(256)
decode_attention_part_f32(float* sums, float* stats, const float* q, const float* k, const float* v,
    const int* lengths, int capacity, int heads_q, int heads_kv, int width, float scale) {
    DYN_SHARED(float, memory);
    const Part part = Part::of_block(lengths, capacity, heads_q, heads_kv);
    const Operands<float> in = {q, k, v, capacity, heads_q, heads_kv, width, scale * LOG2_E};
    if (part.count > 0) {
        if (width <= 64) part_float<64>(sums, stats, in, part, memory);
        else part_float<128>(sums, stats, in, part, memory);
    }
}

// The same for D <= 64. 18,944 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(128)
decode_attention_part_d64_bf16(float* sums, float* stats, const bf16* q, const bf16* k, const bf16* v,
    const int* lengths, int capacity, int heads_q, int heads_kv, int width, float scale) {
    DYN_SHARED(float, memory);
    const Part part = Part::of_block(lengths, capacity, heads_q, heads_kv);
    const Operands<bf16> in = {q, k, v, capacity, heads_q, heads_kv, width, scale * LOG2_E};
    if (part.count > 0) part_bf16<64>(sums, stats, in, part, memory);
}

// The same for D <= 128. 37,376 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(128)
decode_attention_part_d128_bf16(float* sums, float* stats, const bf16* q, const bf16* k, const bf16* v,
    const int* lengths, int capacity, int heads_q, int heads_kv, int width, float scale) {
    DYN_SHARED(float, memory);
    const Part part = Part::of_block(lengths, capacity, heads_q, heads_kv);
    const Operands<bf16> in = {q, k, v, capacity, heads_q, heads_kv, width, scale * LOG2_E};
    if (part.count > 0) part_bf16<128>(sums, stats, in, part, memory);
}

// sums [B,Hq,parts,D], stats [B,Hq,parts,2], lengths [B] -> out [B,Hq D], zeros for a sequence without keys. A block of
// 128 threads per head and clip.
extern "C" __global__ void __launch_bounds__(128)
decode_attention_combine_f32(float* out, const float* sums, const float* stats, const int* lengths, int capacity,
    int heads_q, int width) {
    combine(out, sums, stats, lengths, capacity, heads_q, width);
}

// sums [B,Hq,parts,D], stats [B,Hq,parts,2], lengths [B] -> out [B,Hq D], zeros for a sequence without keys. A block of
// 128 threads per head and clip.
extern "C" __global__ void __launch_bounds__(128)
decode_attention_combine_bf16(bf16* out, const float* sums, const float* stats, const int* lengths, int capacity,
    int heads_q, int width) {
    combine(out, sums, stats, lengths, capacity, heads_q, width);
}
