// y = (x - mean) rstd w + b with the moments of a sequence's group of channels.   x [N, L, C], w b [C] -> y [N, L, C]
//
//     one block per (sequence n, bundle of groups):        backward, one block per (n, bundle):
//       mean = sum of x / (L C/G)                            per channel: s = sum of dy, sx = sum of dy xhat
//       var  = sum of (x - mean)^2 / (L C/G)                 per group: mean(g), mean(g xhat) from w s and w sx
//       y    = x scale + shift     (per channel)             dx = rstd (g - mean(g) - xhat mean(g xhat)),  g = dy w
//                                                            dw, db = sums of sx and s over n, in a second kernel
//
// 1. A thread keeps its channels (four neighbours where C/G allows) and walks over the steps, so scale and shift are
//    in registers. Rows of a bundle, about 96 channels, fill whole sectors of memory, those of one group would not.
// 2. The variance takes a second pass over the block's data instead of sums of squares, which would cancel. Between
//    them the blocks at work hold 30 MB at most: the second and third pass read from the second-level cache.
// 3. Every sum has a fixed order: threads over their steps, then lanes over the threads of a group, then a warp's
//    butterfly; dw and db over the sequences in 32 interleaved runs. No atomics, the same bits at every run.
// 4. The moments are kept for the backward pass: 2 G numbers per sequence.
//
// Bytes from memory: forward 2 N L C, backward 3 N L C numbers (dx reads x and dy again, from the cache).
#include "common.cuh"

#define THREADS 512
#define WIDTH_MAX 512

// Which channels a thread works on.
struct Place {
    int n;           // sequence
    int group;       // first group of the block
    int present;     // groups of the block
    int per_group;   // channels
    int lanes;       // threads per row
    int at_once;     // rows that the block handles at a time
    int lane, row;   // of this thread; row >= L for those that are left over
    int local;       // first channel of this thread, within the block
    int channel;     // the same within the row
};

template <int VECTOR>
static __device__ Place place(int L, int C, int groups, int bundle) {
    Place p;
    const int bundles = CEIL_DIV(groups, bundle);
    p.n = blockIdx.x / bundles;
    p.group = blockIdx.x % bundles * bundle;
    p.present = min(bundle, groups - p.group);
    p.per_group = C / groups;
    p.lanes = p.present * p.per_group / VECTOR;
    p.at_once = THREADS / p.lanes;
    p.lane = threadIdx.x % p.lanes;
    p.row = (int)threadIdx.x < p.lanes * p.at_once ? (int)threadIdx.x / p.lanes : L;
    p.local = p.lane * VECTOR;
    p.channel = p.group * p.per_group + p.local;
    return p;
}

template <int VECTOR, typename T>
static __device__ __forceinline__ void load(float (&v)[VECTOR], const T* p) {
    if (VECTOR == 4) {
        const Pack4 pack = load4(p);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) v[i] = pack.v[i];
    } else {
        v[0] = to_float(p[0]);
    }
}

template <int VECTOR, typename T>
static __device__ __forceinline__ void store(T* p, const float (&v)[VECTOR]) {
    if (VECTOR == 4) {
        Pack4 pack;
#pragma unroll
        for (int i = 0; i < VECTOR; i++) pack.v[i] = v[i];
        store4(p, pack);
    } else {
        p[0] = from_float<T>(v[0]);
    }
}

// The sum of v over all threads that work on this thread's group.
template <int VECTOR>
static __device__ float group_sum(float v, const Place& p) {
    SHARED(float, values, THREADS);
    SHARED(float, sums, WIDTH_MAX);
    const int per_row = p.per_group / VECTOR;
    values[threadIdx.x] = v;
    __syncthreads();
    for (int group = threadIdx.x / 32; group < p.present; group += THREADS / 32) {
        float sum = 0.0f;
        for (int i = threadIdx.x & 31; i < per_row * p.at_once; i += 32) {
            sum += values[i / per_row * p.lanes + group * per_row + i % per_row];
        }
        sum = warp_sum(sum);
        if ((threadIdx.x & 31) == 0) sums[group] = sum;
    }
    __syncthreads();
    return sums[p.local / p.per_group];
}

template <int VECTOR, typename T>
static __device__ void forward(T* y, float* mean, float* rstd, const T* x, const float* w, const float* b, int L, int C,
                               int groups, int bundle, float eps) {
    const Place p = place<VECTOR>(L, C, groups, bundle);
    const float count = (float)L * (float)p.per_group;
    const long long start = (long long)p.n * L * C + p.channel;
    float v[VECTOR], sum = 0.0f, squares = 0.0f;
#pragma unroll 4
    for (int row = p.row; row < L; row += p.at_once) {
        load<VECTOR>(v, x + start + (long long)row * C);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) sum += v[i];
    }
    const float centre = group_sum<VECTOR>(sum, p) / count;
#pragma unroll 4
    for (int row = p.row; row < L; row += p.at_once) {
        load<VECTOR>(v, x + start + (long long)row * C);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) squares = fmaf(v[i] - centre, v[i] - centre, squares);
    }
    const float inverse = 1.0f / sqrtf(group_sum<VECTOR>(squares, p) / count + eps);
    float scale[VECTOR], shift[VECTOR];
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        scale[i] = inverse * w[p.channel + i];
        shift[i] = b[p.channel + i];
    }
#pragma unroll 4
    for (int row = p.row; row < L; row += p.at_once) {
        load<VECTOR>(v, x + start + (long long)row * C);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) v[i] = fmaf(v[i] - centre, scale[i], shift[i]);
        store<VECTOR>(y + start + (long long)row * C, v);
    }
    if (p.row == 0 && p.local % p.per_group == 0) {
        const int group = p.group + p.local / p.per_group;
        mean[p.n * groups + group] = centre;
        rstd[p.n * groups + group] = inverse;
    }
}

template <int VECTOR, typename T>
static __device__ void backward(T* dx, float* partial, const T* x, const float* w, const T* dy, const float* mean,
                                const float* rstd, int L, int C, int groups, int bundle) {
    SHARED(float, by_thread, 2 * THREADS * VECTOR);
    SHARED(float, by_channel, 2 * WIDTH_MAX);
    SHARED(float, means, 2 * WIDTH_MAX);
    const Place p = place<VECTOR>(L, C, groups, bundle);
    const int at_group = p.n * groups + p.group + p.local / p.per_group;
    const float centre = mean[at_group], inverse = rstd[at_group];
    const long long start = (long long)p.n * L * C + p.channel;
    float v[VECTOR], d[VECTOR], slope[VECTOR] = {}, slope_x[VECTOR] = {};
#pragma unroll 2
    for (int row = p.row; row < L; row += p.at_once) {
        load<VECTOR>(v, x + start + (long long)row * C);
        load<VECTOR>(d, dy + start + (long long)row * C);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            slope[i] += d[i];
            slope_x[i] = fmaf(d[i], (v[i] - centre) * inverse, slope_x[i]);
        }
    }
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        by_thread[threadIdx.x * VECTOR + i] = slope[i];
        by_thread[(THREADS + threadIdx.x) * VECTOR + i] = slope_x[i];
    }
    __syncthreads();
    const int width = p.present * p.per_group;
    for (int c = threadIdx.x; c < 2 * width; c += THREADS) {
        const int which = c / width, local = c % width;
        float sum = 0.0f;
        for (int row = 0; row < p.at_once; row++) sum += by_thread[which * THREADS * VECTOR + row * width + local];
        const int channel = p.group * p.per_group + local;
        partial[((long long)p.n * 2 + 1 - which) * C + channel] = sum;
        by_channel[c] = sum * w[channel];
    }
    __syncthreads();
    for (int i = threadIdx.x / 32; i < 2 * p.present; i += THREADS / 32) {
        float sum = 0.0f;
        for (int c = threadIdx.x & 31; c < p.per_group; c += 32) sum += by_channel[i * p.per_group + c];
        sum = warp_sum(sum);
        if ((threadIdx.x & 31) == 0) means[i] = sum / ((float)L * (float)p.per_group);
    }
    __syncthreads();
    // dx = dy a + (x - mean) b + c for every channel.
    const int group = p.local / p.per_group;
    const float b = -inverse * inverse * means[p.present + group], c = -inverse * means[group];
    float a[VECTOR];
#pragma unroll
    for (int i = 0; i < VECTOR; i++) a[i] = inverse * w[p.channel + i];
#pragma unroll 2
    for (int row = p.row; row < L; row += p.at_once) {
        load<VECTOR>(v, x + start + (long long)row * C);
        load<VECTOR>(d, dy + start + (long long)row * C);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) v[i] = fmaf(d[i], a[i], fmaf(v[i] - centre, b, c));
        store<VECTOR>(dx + start + (long long)row * C, v);
    }
}

// x [N, L, C], w b [C] -> y [N, L, C], mean rstd [N, groups]. One block per sequence and bundle of groups.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
group_norm_fwd_f32(float* PACKED y, float* mean, float* rstd, const float* PACKED x, const float* w, const float* b,
                   int L, int C, int groups, int bundle, float eps) {
    if (C / groups % 4 == 0) forward<4>(y, mean, rstd, x, w, b, L, C, groups, bundle, eps);
    else forward<1>(y, mean, rstd, x, w, b, L, C, groups, bundle, eps);
}

// x [N, L, C], w b [C] -> y [N, L, C], mean rstd [N, groups]. One block per sequence and bundle of groups.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
group_norm_fwd_bf16(bf16* PACKED y, float* mean, float* rstd, const bf16* PACKED x, const float* w, const float* b,
                    int L, int C, int groups, int bundle, float eps) {
    if (C / groups % 4 == 0) forward<4>(y, mean, rstd, x, w, b, L, C, groups, bundle, eps);
    else forward<1>(y, mean, rstd, x, w, b, L, C, groups, bundle, eps);
}

// x dy [N, L, C], w [C], mean rstd [N, groups] -> dx [N, L, C], partial [N, 2, C]: the shares of dw and db.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
group_norm_bwd_f32(float* PACKED dx, float* partial, const float* PACKED x, const float* w, const float* PACKED dy,
                   const float* mean, const float* rstd, int L, int C, int groups, int bundle) {
    if (C / groups % 4 == 0) backward<4>(dx, partial, x, w, dy, mean, rstd, L, C, groups, bundle);
    else backward<1>(dx, partial, x, w, dy, mean, rstd, L, C, groups, bundle);
}

// x dy [N, L, C], w [C], mean rstd [N, groups] -> dx [N, L, C], partial [N, 2, C]: the shares of dw and db.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
group_norm_bwd_bf16(bf16* PACKED dx, float* partial, const bf16* PACKED x, const float* w, const bf16* PACKED dy,
                    const float* mean, const float* rstd, int L, int C, int groups, int bundle) {
    if (C / groups % 4 == 0) backward<4>(dx, partial, x, w, dy, mean, rstd, L, C, groups, bundle);
    else backward<1>(dx, partial, x, w, dy, mean, rstd, L, C, groups, bundle);
}

// partial [N, 2, C] -> dw db [C], N slices. Grid 2 C / 32.
extern "C" __global__ void __launch_bounds__(1024)
group_norm_bwd_reduce_f32(float* dw, float* db, const float* partial, int slices, int C) {
    const float total = column_total<32>(partial, slices, 2 * C);
    const int i = blockIdx.x * 32 + threadIdx.x;
    if (threadIdx.x >= 32 || i >= 2 * C) return;
    if (i < C) dw[i] = total;
    else db[i - C] = total;
}
