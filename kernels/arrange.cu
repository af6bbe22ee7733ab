// Kernels that only move numbers, and the mean over an axis.
//
//   swap_axes     x [A, M, N, C] -> y [A, N, M, C]: rows of C numbers change places
//   copy_columns  y[r, y_start + i] = x[r, x_start + i], i < width: concat part by part, its gradient, take_last
//   take_last_bwd dy [N, width] -> dx [N, total], zeros outside of the columns that were taken
//   mean          x [B, N, C] -> y [B, C] = sum over n of x / N, and back dx[b, n, c] = dy[b, c] / N
//
// 1. Rows of at least eight numbers are copied as they are: reads are coalesced throughout, writes in pieces of C
//    numbers, which fill most sectors of 32 bytes. Where C is a multiple of four a thread moves four numbers at once.
// 2. Shorter rows would write a few bytes per sector. Tiles of 32 x 32 rows go through shared memory instead, so that
//    both sides move runs of 32 C numbers; a tile row has one number more than it holds, against bank conflicts.
// 3. The mean adds rows in eight groups, then the groups in order: no atomics, the same bits at every run.
//
// Bytes: every number is read once and written once; no FLOPs but the mean's additions: all memory-bound.
#include "common.cuh"

// One thread per four numbers of a row (the last four may be fewer).
template <typename T>
static __device__ void swap_rows(T* y, const T* x, int A, int M, int N, int C) {
    long long quads = CEIL_DIV(C, 4), i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)A * M * N * quads) return;
    long long row = i / quads;
    int c = (int)(i % quads) * 4, n = (int)(row % N), m = (int)(row / N % M);
    const T* from = x + row * C + c;
    T* to = y + ((row / N / M * N + n) * M + m) * C + c;
    if (C % 4 == 0 && is_aligned(x) && is_aligned(y)) {
        store4(to, load4(from));
        return;
    }
    for (int k = 0; k < min(4, C - c); k++) to[k] = from[k];
}

// One block per tile of 32 x 32 rows; tile [32, 32 C + 1].
template <typename T>
static __device__ void swap_tiles(float* tile, T* y, const T* x, int M, int N, int C) {
    int tiles_n = CEIL_DIV(N, 32), tiles = CEIL_DIV(M, 32) * tiles_n;
    int a = blockIdx.x / tiles, m0 = blockIdx.x % tiles / tiles_n * 32, n0 = blockIdx.x % tiles_n * 32;
    int rows = min(32, M - m0), columns = min(32, N - n0), pitch = 32 * C + 1;
    int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
    for (int m = group; m < rows; m += 8) {
        const T* from = x + (((long long)a * M + m0 + m) * N + n0) * C;
        for (int i = lane; i < columns * C; i += 32) tile[m * pitch + i] = to_float(from[i]);
    }
    __syncthreads();
    for (int n = group; n < columns; n += 8) {
        T* to = y + (((long long)a * N + n0 + n) * M + m0) * C;
        for (int i = lane; i < rows * C; i += 32) to[i] = from_float<T>(tile[i / C * pitch + n * C + i % C]);
    }
}

// One thread per four columns of a row (the last four may be fewer).
template <typename T>
static __device__ void copy_columns(T* y, const T* x, int N, int width, int y_pitch, int y_start, int x_pitch,
                                    int x_start) {
    long long quads = CEIL_DIV(width, 4), i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= N * quads) return;
    long long row = i / quads;
    int c = (int)(i % quads) * 4;
    const T* from = x + row * x_pitch + x_start + c;
    T* to = y + row * y_pitch + y_start + c;
    if (c + 4 <= width && is_aligned(from) && is_aligned(to)) {
        store4(to, load4(from));
        return;
    }
    for (int k = 0; k < min(4, width - c); k++) to[k] = from[k];
}

template <typename T>
static __device__ void take_last_bwd(T* dx, const T* dy, int total, int start, int width, long long n) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int c = (int)(i % total) - start;
    dx[i] = c >= 0 && c < width ? dy[i / total * width + c] : from_float<T>(0.0f);
}

// One block per 32 columns of one b; blockIdx.x = b ceil(C / 32) + column block.
template <typename T>
static __device__ void mean_fwd(T* y, const T* x, int N, int C) {
    SHARED(float, sums, 256);
    int blocks = CEIL_DIV(C, 32), lane = threadIdx.x & 31, group = threadIdx.x >> 5;
    int b = blockIdx.x / blocks, c = blockIdx.x % blocks * 32 + lane;
    float sum = 0.0f;
    if (c < C) {
        for (int n = group; n < N; n += 8) sum += to_float(x[((long long)b * N + n) * C + c]);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (group == 0 && c < C) {
        float total = 0.0f;
        for (int i = 0; i < 8; i++) total += sums[i * 32 + lane];
        y[(long long)b * C + c] = from_float<T>(total / (float)N);
    }
}

template <typename T>
static __device__ void mean_bwd(T* dx, const T* dy, int N, int C, long long n) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) dx[i] = from_float<T>(to_float(dy[i / C / N * C + i % C]) / (float)N);
}

// x [A, M, N, C] -> y [A, N, M, C]. One thread per four numbers of a row.
extern "C" __global__ void __launch_bounds__(256)
arrange_swap_rows_f32(float* y, const float* x, int A, int M, int N, int C) {
    swap_rows(y, x, A, M, N, C);
}

// x [A, M, N, C] -> y [A, N, M, C]. One thread per four numbers of a row.
extern "C" __global__ void __launch_bounds__(256)
arrange_swap_rows_bf16(bf16* y, const bf16* x, int A, int M, int N, int C) {
    swap_rows(y, x, A, M, N, C);
}

// x [A, M, N, C] -> y [A, N, M, C], C < 8. One block per 32 x 32 rows, 128 (32 C + 1) bytes of shared memory.
extern "C" __global__ void __launch_bounds__(256)
arrange_swap_tiles_f32(float* y, const float* x, int M, int N, int C) {
    DYN_SHARED(float, tile);
    swap_tiles(tile + 0, y, x, M, N, C);
}

// x [A, M, N, C] -> y [A, N, M, C], C < 8. One block per 32 x 32 rows, 128 (32 C + 1) bytes of shared memory.
extern "C" __global__ void __launch_bounds__(256)
arrange_swap_tiles_bf16(bf16* y, const bf16* x, int M, int N, int C) {
    DYN_SHARED(float, tile);
    swap_tiles(tile + 0, y, x, M, N, C);
}

// y[r, y_start + i] = x[r, x_start + i] for i < width, r < N. One thread per four columns of a row.
extern "C" __global__ void __launch_bounds__(256)
arrange_copy_columns_f32(float* y, const float* x, int N, int width, int y_pitch, int y_start, int x_pitch,
                         int x_start) {
    copy_columns(y, x, N, width, y_pitch, y_start, x_pitch, x_start);
}

// y[r, y_start + i] = x[r, x_start + i] for i < width, r < N. One thread per four columns of a row.
extern "C" __global__ void __launch_bounds__(256)
arrange_copy_columns_bf16(bf16* y, const bf16* x, int N, int width, int y_pitch, int y_start, int x_pitch,
                          int x_start) {
    copy_columns(y, x, N, width, y_pitch, y_start, x_pitch, x_start);
}

// dy [N, width] -> dx [N, total] with n numbers, zero but in columns start .. start + width. One thread per number.
extern "C" __global__ void __launch_bounds__(256)
arrange_take_last_bwd_f32(float* dx, const float* dy, int total, int start, int width, long long n) {
    take_last_bwd(dx, dy, total, start, width, n);
}

// dy [N, width] -> dx [N, total] with n numbers, zero but in columns start .. start + width. One thread per number.
extern "C" __global__ void __launch_bounds__(256)
arrange_take_last_bwd_bf16(bf16* dx, const bf16* dy, int total, int start, int width, long long n) {
    take_last_bwd(dx, dy, total, start, width, n);
}

// x [B, N, C] -> y [B, C], the mean over N. One block per 32 columns of one b.
extern "C" __global__ void __launch_bounds__(256) arrange_mean_fwd_f32(float* y, const float* x, int N, int C) {
    mean_fwd(y, x, N, C);
}

// x [B, N, C] -> y [B, C], the mean over N. One block per 32 columns of one b.
extern "C" __global__ void __launch_bounds__(256) arrange_mean_fwd_bf16(bf16* y, const bf16* x, int N, int C) {
    mean_fwd(y, x, N, C);
}

// dy [B, C] -> dx [B, N, C] with n_all numbers. One thread per number.
extern "C" __global__ void __launch_bounds__(256)
arrange_mean_bwd_f32(float* dx, const float* dy, int N, int C, long long n_all) {
    mean_bwd(dx, dy, N, C, n_all);
}

// dy [B, C] -> dx [B, N, C] with n_all numbers. One thread per number.
extern "C" __global__ void __launch_bounds__(256)
arrange_mean_bwd_bf16(bf16* dx, const bf16* dy, int N, int C, long long n_all) {
    mean_bwd(dx, dy, N, C, n_all);
}
