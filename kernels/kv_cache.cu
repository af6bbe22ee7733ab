// A key-value cache: k, v [B,C,W] per layer, of which the first lengths[b] positions of sequence b are valid.
//
//     advance:  first[b] = lengths[b],  lengths[b] += count of b                    once per step
//     store:    k[b, first[b] + i] = new_k[b / times, i], v likewise, i < lengths[b] - first[b]    once per layer
//
// Lengths live on the device, so a captured graph of a step can be replayed: every replay appends where the one before
// stopped. A sequence never grows beyond its capacity, whatever the counts say.
//
// Bytes: the new rows, read and written once.

#include "common.cuh"

// Four neighbouring numbers of one row of k and of v per thread.
template <class T>
static __device__ __forceinline__ void store_rows(T* k, T* v, const T* new_k, const T* new_v, const int* first,
                                                  const int* lengths, int capacity, int rows, int wide, int times,
                                                  const int* starts) {
    const int quads = CEIL_DIV(wide, 4), clip = blockIdx.y, begin = first[clip];
    const long long i = (long long)blockIdx.x * 256 + threadIdx.x;
    const int row = (int)(i / quads), number = (int)(i % quads) * 4;
    if (row >= min(rows, lengths[clip] - begin)) return;
    const long long from = ((starts ? starts[clip] : (long long)(clip / times) * rows) + row) * wide;
    const long long to = ((long long)clip * capacity + begin + row) * wide;
    store_up_to4(k + to, number, wide, load_up_to4(new_k + from, number, wide));
    store_up_to4(v + to, number, wide, load_up_to4(new_v + from, number, wide));
}

// first lengths [B], counts [B] (none: `rows` for every sequence). A thread per sequence.
extern "C" __global__ void __launch_bounds__(128)
kv_cache_advance(int* first, int* lengths, const int* optional_counts, int rows, int capacity, int clips) {
    const int clip = blockIdx.x * 128 + threadIdx.x;
    if (clip < clips) {
        const int length = lengths[clip], count = optional_counts ? optional_counts[clip] : rows;
        first[clip] = length;
        lengths[clip] = min(length + max(count, 0), capacity);
    }
}

// new_k new_v [B / times,rows,W] -> k v [B,C,W], where first and lengths [B] say; with starts [B] the new rows of sequence
// b begin at row starts[b] of one block of rows. Grid = four numbers a thread of the rows, 256 threads a block, x B.
extern "C" __global__ void __launch_bounds__(256)
kv_cache_store_f32(float* k, float* v, const float* new_k, const float* new_v, const int* first, const int* lengths,
    int capacity, int rows, int wide, int times, const int* optional_starts) {
    store_rows(k, v, new_k, new_v, first, lengths, capacity, rows, wide, times, optional_starts);
}

// new_k new_v [B / times,rows,W] -> k v [B,C,W], where first and lengths [B] say; with starts [B] the new rows of sequence
// b begin at row starts[b] of one block of rows. Grid = four numbers a thread of the rows, 256 threads a block, x B.
extern "C" __global__ void __launch_bounds__(256)
kv_cache_store_bf16(bf16* k, bf16* v, const bf16* new_k, const bf16* new_v, const int* first, const int* lengths,
    int capacity, int rows, int wide, int times, const int* optional_starts) {
    store_rows(k, v, new_k, new_v, first, lengths, capacity, rows, wide, times, optional_starts);
}
