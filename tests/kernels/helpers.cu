// Every helper of common.cuh and ptx.cuh in a kernel of its own, for tests/kernels/emulator.rs to compare with plain loops.
#include "common.cuh"
#include "ptx.cuh"

// y[0..32] = the 32 values of x by __shfl_sync from lane 31 - i, then by xor 5, down 3 and up 3, then warp_sum and
// warp_max, then an integer, i, shuffled from lane i + 33: [7, 32].
extern "C" __global__ void help_shuffles(float* y, const float* x) {
    const int i = threadIdx.x;
    const float v = x[i];
    y[i] = __shfl_sync(0xffffffffu, v, 31 - i);
    y[32 + i] = __shfl_xor_sync(0xffffffffu, v, 5);
    y[64 + i] = __shfl_down_sync(0xffffffffu, v, 3);
    y[96 + i] = __shfl_up_sync(0xffffffffu, v, 3);
    y[128 + i] = warp_sum(v);
    y[160 + i] = warp_max(v);
    y[192 + i] = (float)__shfl_sync(0xffffffffu, i, i + 33);
}

// y[b, 0] = sum of row b of x, y[b, 1] = its maximum, as the last thread of the block sees them; called twice, so that
// the second use of the same shared array is tested too.
template <int THREADS>
static __device__ void block_reductions(float* y, const float* x) {
    const float v = x[blockIdx.x * THREADS + threadIdx.x];
    const float sum = block_sum<THREADS>(v), largest = block_max<THREADS>(v), twice = block_sum<THREADS>(2.0f * v);
    if (threadIdx.x == THREADS - 1) {
        y[3 * blockIdx.x] = sum;
        y[3 * blockIdx.x + 1] = largest;
        y[3 * blockIdx.x + 2] = twice;
    }
}
extern "C" __global__ void help_block_32(float* y, const float* x) { block_reductions<32>(y, x); }
extern "C" __global__ void help_block_64(float* y, const float* x) { block_reductions<64>(y, x); }
extern "C" __global__ void help_block_128(float* y, const float* x) { block_reductions<128>(y, x); }
extern "C" __global__ void help_block_256(float* y, const float* x) { block_reductions<256>(y, x); }
extern "C" __global__ void help_block_512(float* y, const float* x) { block_reductions<512>(y, x); }
extern "C" __global__ void help_block_1024(float* y, const float* x) { block_reductions<1024>(y, x); }

// d[16, 8] += a[16, 16] b[16, 8], row-major, every element placed by the formulas of the PTX ISA for m16n8k16:
// groupID = lane / 4, threadID_in_group = lane % 4.
extern "C" __global__ void help_mma(float* d, const bf16* a, const bf16* b) {
    const int group = threadIdx.x / 4, thread = threadIdx.x % 4;
    unsigned short a_elements[8], b_elements[4];
    for (int i = 0; i < 8; i++) {
        const int row = i < 2 || (4 <= i && i < 6) ? group : group + 8;
        const int column = thread * 2 + (i & 1) + (i < 4 ? 0 : 8);
        a_elements[i] = a[row * 16 + column].x;
    }
    for (int i = 0; i < 4; i++) b_elements[i] = b[(thread * 2 + (i & 1) + (i < 2 ? 0 : 8)) * 8 + group].x;
    unsigned a_fragment[4], b_fragment[2];
    for (int i = 0; i < 4; i++) a_fragment[i] = a_elements[2 * i] | ((unsigned)a_elements[2 * i + 1] << 16);
    for (int i = 0; i < 2; i++) b_fragment[i] = b_elements[2 * i] | ((unsigned)b_elements[2 * i + 1] << 16);
    float c[4];
    for (int i = 0; i < 4; i++) c[i] = d[(i < 2 ? group : group + 8) * 8 + thread * 2 + (i & 1)];
    mma_bf16_16816(c, a_fragment, b_fragment);
    for (int i = 0; i < 4; i++) d[(i < 2 ? group : group + 8) * 8 + thread * 2 + (i & 1)] = c[i];
}

// d[16, 8] += the first eight columns of a[16, 16] times the first eight rows of b[16, 8], placed likewise for m16n8k8.
extern "C" __global__ void help_mma_half(float* d, const bf16* a, const bf16* b) {
    const int group = threadIdx.x / 4, thread = threadIdx.x % 4;
    unsigned short a_elements[4], b_elements[2];
    for (int i = 0; i < 4; i++) a_elements[i] = a[(i < 2 ? group : group + 8) * 16 + thread * 2 + (i & 1)].x;
    for (int i = 0; i < 2; i++) b_elements[i] = b[(thread * 2 + (i & 1)) * 8 + group].x;
    unsigned a_fragment[2];
    for (int i = 0; i < 2; i++) a_fragment[i] = a_elements[2 * i] | ((unsigned)a_elements[2 * i + 1] << 16);
    float c[4];
    for (int i = 0; i < 4; i++) c[i] = d[(i < 2 ? group : group + 8) * 8 + thread * 2 + (i & 1)];
    mma_bf16_1688(c, a_fragment, b_elements[0] | ((unsigned)b_elements[1] << 16));
    for (int i = 0; i < 4; i++) d[(i < 2 ? group : group + 8) * 8 + thread * 2 + (i & 1)] = c[i];
}

// d[2, 16, 8] = a[16, 16] b as a kernel would do it: both through shared memory by cp.async and ldmatrix. The first
// result takes b as [8, 16] (a row per column, no transposition), the second as [16, 8] (transposed on the way).
extern "C" __global__ void help_ldmatrix(float* d, const bf16* a, const bf16* b_columns, const bf16* b_rows) {
    SHARED(bf16, a_tile, 16 * 16);
    SHARED(bf16, b_tile, 2 * 8 * 16);
    const int lane = threadIdx.x;
    cp_async_16(&a_tile[8 * lane], a + 8 * lane, 1);
    cp_async_16(&b_tile[8 * lane], lane < 16 ? b_columns + 8 * lane : b_rows + 8 * (lane - 16), 1);
    cp_async_commit();
    cp_async_wait<0>();
    __syncwarp();
    unsigned a_fragment[4], b_fragment[2];
    ldmatrix_x4(a_fragment, a_tile + lane % 16 * 16 + lane / 16 * 8);
    for (int transposed = 0; transposed < 2; transposed++) {
        if (transposed)
            ldmatrix_x2_trans(b_fragment, b_tile + 128 + lane % 16 * 8);
        else
            ldmatrix_x2(b_fragment, b_tile + lane % 8 * 16 + lane / 8 % 2 * 8);
        float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        mma_bf16_16816(c, a_fragment, b_fragment);
        for (int i = 0; i < 4; i++) d[transposed * 128 + (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = c[i];
    }
}

// y[lane, 2 m + h] = element h of what ldmatrix_x4 (first half of y) and ldmatrix_x4_trans (second half) give for
// matrix m of x[4, 8, 8].
extern "C" __global__ void help_ldmatrix_elements(float* y, const bf16* x) {
    SHARED(bf16, tile, 4 * 64);
    for (int i = 0; i < 8; i++) tile[8 * threadIdx.x + i] = x[8 * threadIdx.x + i];
    __syncwarp();
    unsigned r[2][4];
    ldmatrix_x4(r[0], tile + 8 * threadIdx.x);
    ldmatrix_x4_trans(r[1], tile + 8 * threadIdx.x);
    for (int m = 0; m < 8; m++) {
        y[(m / 4 * 32 + threadIdx.x) * 8 + m % 4 * 2] = __uint_as_float(r[m / 4][m % 4] << 16);
        y[(m / 4 * 32 + threadIdx.x) * 8 + m % 4 * 2 + 1] = __uint_as_float(r[m / 4][m % 4] & 0xffff0000u);
    }
}

// y[i] = pack_bf16(x[i], -x[i]) with its halves added: 0 unless they differ; bits[i] = the low half.
extern "C" __global__ void help_bf16(float* y, unsigned* bits, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned packed = pack_bf16(x[i], -x[i]);
    bits[i] = packed & 0xffffu;
    y[i] = to_float(from_float<bf16>(x[i])) + __uint_as_float(packed & 0xffff0000u);
}

// y = x for n elements, n a multiple of 4, in packs: float to bf16, and bf16 back to float.
extern "C" __global__ void help_pack_down(bf16* y, const float* x, int n) {
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) store4(y + i, load4(x + i));
}
extern "C" __global__ void help_pack_up(float* y, const bf16* x, int n) {
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) store4(y + i, load4(x + i));
}

// cp_async_16 with valid = 0 writes zeros: y[4 i ..] = x[4 i ..] for even threads, 0 for odd ones.
extern "C" __global__ void help_copy_valid(float* y, const float* x) {
    SHARED(float, tile, 4 * 32);
    cp_async_16(&tile[4 * threadIdx.x], x + 4 * threadIdx.x, threadIdx.x % 2 == 0);
    cp_async_commit();
    cp_async_wait<0>();
    store4(y + 4 * threadIdx.x, load4(tile + 4 * threadIdx.x));
}

// cp_async_8 moves two floats: y[2 i ..] = x[2 i ..].
extern "C" __global__ void help_copy_pairs(float* y, const float* x) {
    SHARED(float, tile, 2 * 32);
    cp_async_8(&tile[2 * threadIdx.x], x + 2 * threadIdx.x);
    cp_async_commit();
    cp_async_wait<0>();
    for (int i = 0; i < 2; i++) y[2 * threadIdx.x + i] = tile[2 * threadIdx.x + i];
}

// y[b, i] = sum over the other threads' x of the block: static and dynamic arrays in one kernel.
extern "C" __global__ void help_both_shared(float* y, const float* x, int n) {
    SHARED(float, total, 1);
    DYN_SHARED(float, row);
    row[threadIdx.x] = (int)threadIdx.x < n ? x[blockIdx.x * n + threadIdx.x] : 0.0f;
    __syncthreads();
    if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (int i = 0; i < n; i++) sum += row[i];
        total[0] = sum;
    }
    __syncthreads();
    if ((int)threadIdx.x < n) y[blockIdx.x * n + threadIdx.x] = total[0] - row[threadIdx.x];
}

// Where each thread of a three-dimensional launch is: y[thread] = its number if all coordinates are right.
extern "C" __global__ void help_indices(int* y) {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const unsigned at = block * blockDim.x * blockDim.y * blockDim.z + thread;
    y[at] = (int)at;
}

// Every thread of one block in turn adds to a chain of shuffles: switches and nothing else, to time them.
extern "C" __global__ void help_switches(float* y, int rounds) {
    float v = (float)threadIdx.x;
    for (int i = 0; i < rounds; i++) v = __shfl_xor_sync(0xffffffffu, v, 1);
    y[threadIdx.x] = v;
}

// No barrier at all: y[i] = 2 x[i], to time the entry of a thread.
extern "C" __global__ void help_flat(float* y, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = 2.0f * x[i];
}
