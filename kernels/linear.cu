// Column sums of a matrix, the gradient of a linear layer's bias.   dy [N, C] -> partial [slices, C], db = sum of slices
//
//     one block per (32 columns, slice of rows):
//         each of eight warps adds every eighth row of the slice, a column per lane
//         the eight sums of a column meet in shared memory and are added in order
//     then matmul_reduce_f32 adds the slices, in order as well
//
// 1. Lanes run over columns, so a warp reads 128 (bf16: 64) neighbouring bytes. The layer's products are in matmul.cu.
// 2. Two passes instead of atomics: the same bits at every run.
//
// Bytes: N C numbers, once; one addition each: memory-bound.
#include "common.cuh"

template <typename T>
static __device__ void column_sums(float* partial, const T* dy, int rows, int columns, int slice) {
    SHARED(float, sums, 8 * 32);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
    const int first = blockIdx.y * slice, last = min(rows, first + slice);
    float sum = 0.0f;
    if (column < columns)
        for (int row = first + warp; row < last; row += 8) sum += to_float(dy[(long long)row * columns + column]);
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (warp == 0 && column < columns) {
#pragma unroll
        for (int i = 1; i < 8; i++) sum += sums[i * 32 + lane];
        partial[(long long)blockIdx.y * columns + column] = sum;
    }
}

// dy [N, C] -> partial [slices, C]. Grid [C / 32, slices of `slice` rows], 256 threads.
extern "C" __global__ void __launch_bounds__(256)
linear_column_sums_f32(float* partial, const float* dy, int rows, int columns, int slice) {
    column_sums(partial, dy, rows, columns, slice);
}

// dy [N, C] -> partial [slices, C]. Grid [C / 32, slices of `slice` rows], 256 threads.
extern "C" __global__ void __launch_bounds__(256)
linear_column_sums_bf16(float* partial, const bf16* dy, int rows, int columns, int slice) {
    column_sums(partial, dy, rows, columns, slice);
}
