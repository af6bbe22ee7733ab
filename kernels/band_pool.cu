// From the map to frames.   x [B, F, T, H], w [H], b [1] -> z [B, T, 2 H] = (mean over F | attention over F)
//
//   one block per frame (b, t):                        backward, one block per frame:
//     score[f] = w . x[f] + b       (a warp per f)       along[f] = dz_pool . x[f]         (a warp per f)
//     a = softmax(score)            (the block)          ds[f] = a[f] (along[f] - sum of a along)
//     z = (sum x[f] / F | sum a[f] x[f])                 dx[f] = dz_mean / F + a[f] dz_pool + ds[f] w
//         (32 columns x 8 groups of f)                   partial[b, t] = sum over f of ds[f] x[f], then dw
//
// 1. The F rows of a frame (129 x 96 numbers) are needed twice, for the scores and for the sums. They fit the caches:
//    the second time they come from there, and memory sees one read.
// 2. Only a [B, T, F] is kept for the backward pass, in f32; neither sum over F is needed again, as the mean of
//    `along` under a is dz_pool . z_pool.
// 3. dw has a row per frame; a second kernel adds slices of rows, and then the slices, in a fixed order: no atomics,
//    the same bits at every run.
// 4. The bias shifts every score alike, so that its gradient is zero: nothing is computed for it.
//
// Bytes: forward x once, backward x once and dx once; about 4 and 8 FLOPs per number: memory-bound.
#include "common.cuh"

// values[f] = row[f] . v for all f, rows `pitch` apart; a warp per f. The caller's next barrier publishes them.
template <typename T, typename V>
static __device__ void row_products(float* values, const T* x, const V* v, int F, long long pitch, int H) {
    int lane = threadIdx.x & 31;
    for (int f = threadIdx.x >> 5; f < F; f += 8) {
        float sum = 0.0f;
        for (int h = lane; h < H; h += 32) sum = fmaf(to_float(x[f * pitch + h]), to_float(v[h]), sum);
        sum = warp_sum(sum);
        if (lane == 0) values[f] = sum;
    }
}

// The eight groups' contributions to a column, added in order; in group 0. Contains barriers.
static __device__ float add_groups(float v) {
    SHARED(float, sums, 256);
    __syncthreads();
    sums[threadIdx.x] = v;
    __syncthreads();
    float total = 0.0f;
    for (int i = 0; i < 8; i++) total += sums[i * 32 + (threadIdx.x & 31)];
    return total;
}

template <typename T>
static __device__ void forward(float* scores, T* z, float* attention, const T* x, const float* w, const float* b,
                               int F, int T_, int H) {
    long long frame = blockIdx.x, pitch = (long long)T_ * H;
    const T* rows = x + (frame / T_ * F * T_ + frame % T_) * H;
    int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
    row_products(scores, rows, w, F, pitch, H);
    __syncthreads();
    float top = -3.402823466e38f, total = 0.0f;
    for (int f = threadIdx.x; f < F; f += 256) top = fmaxf(top, scores[f] + b[0]);
    top = block_max<256>(top);
    for (int f = threadIdx.x; f < F; f += 256) {
        float e = expf(scores[f] + b[0] - top);
        scores[f] = e;
        total += e;
    }
    total = block_sum<256>(total);
    for (int f = threadIdx.x; f < F; f += 256) {
        float a = scores[f] / total;
        scores[f] = a;
        attention[frame * F + f] = a;
    }
    __syncthreads();
    for (int first = 0; first < H; first += 32) {
        int h = first + lane;
        float mean = 0.0f, pool = 0.0f;
        for (int f = group; f < F && h < H; f += 8) {
            float v = to_float(rows[f * pitch + h]);
            mean += v;
            pool = fmaf(scores[f], v, pool);
        }
        mean = add_groups(mean);
        pool = add_groups(pool);
        if (group == 0 && h < H) {
            z[frame * 2 * H + h] = from_float<T>(mean / (float)F);
            z[frame * 2 * H + H + h] = from_float<T>(pool);
        }
    }
}

template <typename T>
static __device__ void backward_x(float* slopes, T* dx, float* partial, const T* x, const float* w,
                                  const float* attention, const T* dz, int F, int T_, int H) {
    long long frame = blockIdx.x, pitch = (long long)T_ * H, at = (frame / T_ * F * T_ + frame % T_) * H;
    const T* d_mean = dz + frame * 2 * H;
    const T* d_pool = d_mean + H;
    const float* a = attention + frame * F;
    int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
    row_products(slopes, x + at, d_pool, F, pitch, H);
    __syncthreads();
    float center = 0.0f;
    for (int f = threadIdx.x; f < F; f += 256) center = fmaf(a[f], slopes[f], center);
    center = block_sum<256>(center);
    for (int f = threadIdx.x; f < F; f += 256) slopes[f] = a[f] * (slopes[f] - center);
    __syncthreads();
    for (int first = 0; first < H; first += 32) {
        int h = first + lane;
        float dw = 0.0f;
        if (h < H) {
            float mean = to_float(d_mean[h]) / (float)F, pool = to_float(d_pool[h]), weight = w[h];
            for (int f = group; f < F; f += 8) {
                long long i = at + f * pitch + h;
                dw = fmaf(slopes[f], to_float(x[i]), dw);
                dx[i] = from_float<T>(mean + a[f] * pool + slopes[f] * weight);
            }
        }
        dw = add_groups(dw);
        if (group == 0 && h < H) partial[frame * H + h] = dw;
    }
}

// x [B, F, T, H], w [H], b [1] -> z [B, T, 2 H], attention [B, T, F]. One block per frame, 4 F bytes of shared memory.
extern "C" __global__ void __launch_bounds__(256)
band_pool_fwd_f32(float* z, float* attention, const float* x, const float* w, const float* b, int F, int T, int H) {
    DYN_SHARED(float, scores);
    forward(scores + 0, z, attention, x, w, b, F, T, H);
}

// x [B, F, T, H], w [H], b [1] -> z [B, T, 2 H], attention [B, T, F]. One block per frame, 4 F bytes of shared memory.
extern "C" __global__ void __launch_bounds__(256)
band_pool_fwd_bf16(bf16* z, float* attention, const bf16* x, const float* w, const float* b, int F, int T, int H) {
    DYN_SHARED(float, scores);
    forward(scores + 0, z, attention, x, w, b, F, T, H);
}

// x [B, F, T, H], attention [B, T, F], dz [B, T, 2 H] -> dx, partial [B T, H] of dw. One block per frame, 4 F bytes of
// shared memory.
extern "C" __global__ void __launch_bounds__(256)
band_pool_bwd_x_f32(float* dx, float* partial, const float* x, const float* w, const float* attention, const float* dz,
                    int F, int T, int H) {
    DYN_SHARED(float, slopes);
    backward_x(slopes + 0, dx, partial, x, w, attention, dz, F, T, H);
}

// x [B, F, T, H], attention [B, T, F], dz [B, T, 2 H] -> dx, partial [B T, H] of dw. One block per frame, 4 F bytes of
// shared memory.
extern "C" __global__ void __launch_bounds__(256)
band_pool_bwd_x_bf16(bf16* dx, float* partial, const bf16* x, const float* w, const float* attention, const bf16* dz,
                     int F, int T, int H) {
    DYN_SHARED(float, slopes);
    backward_x(slopes + 0, dx, partial, x, w, attention, dz, F, T, H);
}

// rows [N, H] -> sums [slices, H], each slice of rows in eight groups and the groups in order; run twice, the second
// time with one slice, it leaves dw [H]. One block per 32 columns and slice.
extern "C" __global__ void __launch_bounds__(256)
band_pool_bwd_reduce_f32(float* sums, const float* rows, int N, int H, int slice) {
    int h = blockIdx.x * 32 + (threadIdx.x & 31), first = blockIdx.y * slice, last = min(N, first + slice);
    float sum = 0.0f;
    for (int n = first + (threadIdx.x >> 5); n < last && h < H; n += 8) sum += rows[(long long)n * H + h];
    sum = add_groups(sum);
    if (threadIdx.x < 32 && h < H) sums[(long long)blockIdx.y * H + h] = sum;
}
