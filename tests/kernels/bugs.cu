// The mistakes that the emulator must see, each beside its right twin: a checker that stops catching bugs must fail
// its own tests. A kernel `bug_*` differs from `right_*` in the one thing its comment names. tests/kernels/emulator.rs holds
// the list of what each has to show: a fault with its words, a result that depends on the schedule, or a NaN.
#include "common.cuh"
#include "ptx.cuh"

// y[r, i] = x[r, 63 - i], rows of 64 through one tile. Bug: nothing keeps the next row's writes behind this row's
// reads.
template <bool RIGHT>
static __device__ void reverse_rows(float* y, const float* x, int rows) {
    SHARED(float, tile, 64);
    const int i = threadIdx.x;
    for (int r = 0; r < rows; r++) {
        tile[i] = x[r * 64 + i];
        __syncthreads();
        y[r * 64 + i] = tile[63 - i];
        if (RIGHT) __syncthreads();
    }
}
extern "C" __global__ void bug_tile_barrier(float* y, const float* x, int rows) { reverse_rows<false>(y, x, rows); }
extern "C" __global__ void right_tile_barrier(float* y, const float* x, int rows) { reverse_rows<true>(y, x, rows); }

// y[b, i] = x[b]: thread 0 reads for its block. Bug: the others do not wait for it.
template <bool RIGHT>
static __device__ void broadcast(float* y, const float* x) {
    SHARED(float, value, 1);
    if (threadIdx.x == 0) value[0] = x[blockIdx.x];
    if (RIGHT) __syncthreads();
    y[blockIdx.x * blockDim.x + threadIdx.x] = value[0];
}
extern "C" __global__ void bug_broadcast(float* y, const float* x) { broadcast<false>(y, x); }
extern "C" __global__ void right_broadcast(float* y, const float* x) { broadcast<true>(y, x); }

// y[i] = x[31 - i] within one warp. Bug: trusts that lanes march in step, untrue since Volta.
template <bool RIGHT>
static __device__ void reverse_warp(float* y, const float* x) {
    SHARED(float, tile, 32);
    tile[threadIdx.x] = x[threadIdx.x];
    if (RIGHT) __syncwarp();
    y[threadIdx.x] = tile[31 - threadIdx.x];
}
extern "C" __global__ void bug_warp_in_step(float* y, const float* x) { reverse_warp<false>(y, x); }
extern "C" __global__ void right_warp_in_step(float* y, const float* x) { reverse_warp<true>(y, x); }

// Bug: half of the threads skip a barrier and meet the rest at the next one.
extern "C" __global__ void bug_divergent_barrier(float* y, const float* x) {
    if (threadIdx.x < 32) __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
}
// Bug: the two halves wait at barriers of their own.
extern "C" __global__ void bug_two_barriers(float* y, const float* x) {
    if (threadIdx.x < 32) {
        y[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
    } else {
        y[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
    }
}
// Bug: threads without work return before a barrier.
extern "C" __global__ void bug_return_before_barrier(float* y, const float* x) {
    if (threadIdx.x >= 48) return;
    y[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
}
extern "C" __global__ void right_barrier(float* y, const float* x) {
    if (threadIdx.x < 64) y[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
}

// y[i] = x[i ^ 1]. Bug: a shuffle that names the whole warp is reached by half of it.
extern "C" __global__ void bug_half_warp_shuffle(float* y, const float* x) {
    const float own = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, own, 1);
}
// Bug: the halves of the warp meet in different shuffles.
extern "C" __global__ void bug_two_shuffles(float* y, const float* x) {
    float v = x[threadIdx.x];
    if (threadIdx.x % 32 < 16)
        v = __shfl_xor_sync(0xffffffffu, v, 1);
    else
        v = __shfl_xor_sync(0xffffffffu, v, 1);
    y[threadIdx.x] = v;
}
// Bug against the project's rule: part of a warp shuffles among itself.
extern "C" __global__ void bug_partial_mask(float* y, const float* x) {
    const float own = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, own, 1);
}
extern "C" __global__ void right_shuffle(float* y, const float* x) {
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
}

// y[r, i] = x[r, 127 - i]: rows of 128 by asynchronous copies, one row ahead, two buffers. LEFT is how many groups may
// stay in flight: with 2 the row about to be read may not have come. Without BARRIER the copy for the next row may
// come while slow threads still read the row that lies there.
template <int LEFT, bool BARRIER>
static __device__ void copy_rows(float* y, const float* x, int rows) {
    SHARED(float, tile, 2 * 128);
    const int i = 4 * threadIdx.x;
    cp_async_16(&tile[i], x + i, 1);
    cp_async_commit();
    for (int r = 0; r < rows; r++) {
        const int next = r + 1;
        cp_async_16(&tile[next % 2 * 128 + i], x + (next < rows ? next * 128 + i : 0), next < rows);
        cp_async_commit();
        cp_async_wait<LEFT>();
        __syncthreads();
        for (int k = i; k < i + 4; k++) y[r * 128 + k] = tile[r % 2 * 128 + 127 - k];
        if (BARRIER) __syncthreads();
    }
}
extern "C" __global__ void bug_weak_wait(float* y, const float* x, int rows) { copy_rows<2, true>(y, x, rows); }
extern "C" __global__ void bug_early_copy(float* y, const float* x, int rows) { copy_rows<1, false>(y, x, rows); }
extern "C" __global__ void right_copy(float* y, const float* x, int rows) { copy_rows<1, true>(y, x, rows); }

// y[i] = x[i + 1] within a block of 64, 0 at its end. Bugs: the last thread reads, or writes, one element too far.
template <int READ_END, int WRITE_AT>
static __device__ void shift(float* y, const float* x) {
    SHARED(float, tile, 64);
    const int i = threadIdx.x;
    tile[i + WRITE_AT] = x[i];
    __syncthreads();
    y[i] = i + 1 < READ_END ? tile[i + 1] : 0.0f;
}
extern "C" __global__ void bug_shared_read(float* y, const float* x) { shift<65, 0>(y, x); }
extern "C" __global__ void bug_shared_write(float* y, const float* x) { shift<64, 1>(y, x); }
extern "C" __global__ void right_shared(float* y, const float* x) { shift<64, 0>(y, x); }

// The same two mistakes behind a plain pointer, which carries no bounds: static and dynamic memory.
extern "C" __global__ void bug_shared_pointer(float* y, const float* x) {
    SHARED(float, tile, 64);
    float* const p = tile + 1;
    p[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = p[63 - threadIdx.x];
}
extern "C" __global__ void bug_dynamic_pointer(float* y, const float* x) {
    DYN_SHARED(float, tile);
    float* const p = tile + 1;
    p[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = p[63 - threadIdx.x];
}
extern "C" __global__ void bug_dynamic_index(float* y, const float* x) {
    DYN_SHARED(float, tile);
    tile[threadIdx.x + 1] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[63 - threadIdx.x];
}

// y[b] = the sum of 64 ones, in a cell that must first be 0. Bug: only block 0 clears it.
template <bool RIGHT>
static __device__ void accumulate(float* y) {
    SHARED(float, cell, 1);
    if (threadIdx.x == 0 && (RIGHT || blockIdx.x == 0)) cell[0] = 0.0f;
    __syncthreads();
    if (threadIdx.x == 0)
        for (int i = 0; i < 64; i++) cell[0] += 1.0f;
    __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = cell[0];
}
extern "C" __global__ void bug_uninitialised(float* y) { accumulate<false>(y); }
extern "C" __global__ void right_uninitialised(float* y) { accumulate<true>(y); }

// y[i] = 1 for i < n. Bug: the last block writes past n, into the red zone that the device keeps behind every buffer.
extern "C" __global__ void bug_global_write(float* y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] = 1.0f;
}
extern "C" __global__ void right_global_write(float* y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = 1.0f;
}

// y[b] = x[0] + .. + x[b]. Bug: takes the sum so far from the previous block, which may not have run.
extern "C" __global__ void bug_block_order(float* y, const float* x) {
    if (threadIdx.x == 0) y[blockIdx.x] = (blockIdx.x ? y[blockIdx.x - 1] : 0.0f) + x[blockIdx.x];
}
extern "C" __global__ void right_block_order(float* y, const float* x) {
    float sum = 0.0f;
    if (threadIdx.x == 0) {
        for (unsigned b = 0; b <= blockIdx.x; b++) sum += x[b];
        y[blockIdx.x] = sum;
    }
}

// Bug: a local array of 80 KiB, more than the emulator's stack (and on a GPU a spill of as much per thread).
extern "C" __global__ void bug_stack(float* y, const float* x, int n) {
    volatile float local[20480];
    for (int i = 20479; i >= 0; i--) local[i] = x[i % n];
    __syncthreads();
    y[threadIdx.x] = local[threadIdx.x];
}

// Bugs of address: wide access off its alignment, and a matrix row that leaves its array.
extern "C" __global__ void bug_misaligned(float* y, const float* x) {
    store4(y + 4 * threadIdx.x, load4(x + 4 * threadIdx.x + 1));
}
extern "C" __global__ void bug_ldmatrix_address(float* y, const float* x) {
    SHARED(bf16, tile, 32 * 8);
    for (int i = 0; i < 8; i++) tile[8 * threadIdx.x + i] = from_float<bf16>(x[threadIdx.x]);
    __syncwarp();
    unsigned r[4];
    ldmatrix_x4(r, tile + 8 * (threadIdx.x + 1));
    y[threadIdx.x] = __uint_as_float(r[0]);
}
