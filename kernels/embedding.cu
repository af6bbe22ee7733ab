// Rows of a table by number, and rows in the place of others.
//
//   rows / take   table [V, C], ids [n]  -> y[n] = table[ids[n]]
//   bwd           dy [n, C], ids [n]     -> dtable[v] = sum of dy[n] with ids[n] = v, from the first n to the last
//   put / clear   y[rows[m]] = new[m], or zeros
//
// 1. A thread moves four neighbours. An id outside the table gives NaN, a row outside y is left out: neither reads nor
//    writes what is not there.
// 2. The gradient is a scatter without atomics, whose sums must not depend on who comes first. A block stands for one row
//    of dy; the blocks of an id's first row add up all its rows, in order, and the others have nothing to do. The ids
//    pass through shared memory, 256 at a time, and all threads read the same one of them at once.
//
// Bytes: two rows per id; the gradient reads n^2 / 2 ids more, from the cache: 8 MB a block for n = 4096, at most.
#include "common.cuh"

// The pack of C that a thread stands for: row and first column.
struct Place {
    int row, column;
};

static __device__ __forceinline__ Place place(int C) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const int packs = CEIL_DIV(C, 4);
    return {(int)(i / packs), 4 * (int)(i % packs)};
}

template <typename To, typename T>
static __device__ void take(To* y, const T* table, const int* ids, int n, int V, int C) {
    const Place at = place(C);
    if (at.row >= n) return;
    const int id = ids[at.row];
    const float nan = __uint_as_float(0x7fc00000u);
    Pack4 a = {{nan, nan, nan, nan}};
    if (id >= 0 && id < V) a = load_up_to4(table + (long long)id * C, at.column, C);
    store_up_to4(y + (long long)at.row * C, at.column, C, a);
}

template <typename T>
static __device__ void put(T* y, const T* fresh, const int* rows, int m, int N, int C) {
    const Place at = place(C);
    if (at.row >= m) return;
    const int row = rows[at.row];
    if (row >= 0 && row < N)
        store_up_to4(y + (long long)row * C, at.column, C, load_up_to4(fresh + (long long)at.row * C, at.column, C));
}

template <typename T>
static __device__ void clear(T* y, const int* rows, int m, int N, int C) {
    const Place at = place(C);
    if (at.row >= m) return;
    const int row = rows[at.row];
    if (row >= 0 && row < N) store_up_to4(y + (long long)row * C, at.column, C, Pack4{});
}

// table [V, C], ids [n] -> y [n, C]. A thread per four neighbours.
extern "C" __global__ void __launch_bounds__(256)
embedding_rows_f32(float* y, const float* table, const int* ids, int n, int V, int C) {
    take(y, table, ids, n, V, C);
}

// table [V, C], ids [n] -> y [n, C]. A thread per four neighbours.
extern "C" __global__ void __launch_bounds__(256)
embedding_rows_bf16(float* y, const bf16* table, const int* ids, int n, int V, int C) {
    take(y, table, ids, n, V, C);
}

// table [V, C], ids [n] -> y [n, C]. A thread per four neighbours.
extern "C" __global__ void __launch_bounds__(256)
embedding_take_bf16(bf16* y, const bf16* table, const int* ids, int n, int V, int C) {
    take(y, table, ids, n, V, C);
}

// new [m, C], rows [m] -> y [N, C]. A thread per four neighbours.
extern "C" __global__ void __launch_bounds__(256)
embedding_put_f32(float* y, const float* fresh, const int* rows, int m, int N, int C) {
    put(y, fresh, rows, m, N, C);
}

// new [m, C], rows [m] -> y [N, C]. A thread per four neighbours.
extern "C" __global__ void __launch_bounds__(256)
embedding_put_bf16(bf16* y, const bf16* fresh, const int* rows, int m, int N, int C) {
    put(y, fresh, rows, m, N, C);
}

// rows [m] -> y [N, C], zero there. A thread per four neighbours.
extern "C" __global__ void __launch_bounds__(256)
embedding_clear_f32(float* y, const int* rows, int m, int N, int C) {
    clear(y, rows, m, N, C);
}

// rows [m] -> y [N, C], zero there. A thread per four neighbours.
extern "C" __global__ void __launch_bounds__(256)
embedding_clear_bf16(bf16* y, const int* rows, int m, int N, int C) {
    clear(y, rows, m, N, C);
}

// dy [n, C], ids [n] -> dtable [V, C], which is zero before. A block per row of dy.
extern "C" __global__ void __launch_bounds__(256)
embedding_bwd_f32(float* dtable, const float* dy, const int* ids, int n, int V, int C) {
    SHARED(int, some, 256);
    const int own = blockIdx.x, id = ids[own];
    float earlier = 0.0f;
    for (int m = threadIdx.x; m < own; m += 256) earlier = ids[m] == id ? 1.0f : earlier;
    const bool is_first = block_max<256>(earlier) == 0.0f && id >= 0 && id < V;
    // 1024 columns at a time: four per thread.
    for (int column = 0; is_first && column < C; column += 1024) {
        float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int first = own; first < n; first += 256) {
            __syncthreads();
            const int m = first + threadIdx.x;
            some[threadIdx.x] = m < n ? ids[m] : -1;
            __syncthreads();
            for (int i = 0; i < min(256, n - first); i++) {
                if (some[i] != id) continue;
                const float* row = dy + (long long)(first + i) * C;
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    const int c = column + k * 256 + threadIdx.x;
                    if (c < C) sums[k] += row[c];
                }
            }
        }
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const int c = column + k * 256 + threadIdx.x;
            if (c < C) dtable[(long long)id * C + c] = sums[k];
        }
    }
}
