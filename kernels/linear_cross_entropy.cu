// Rows of logits: log-probabilities of targets, and gradients of weighted cross entropies.
//
//   logits [R, V], targets [R], weights [R] -> log_probs [R], slopes [R, V]
//
//   m = largest logit, s = sum e^(l - m)          one pass: each thread has its own m and s and raises m when it must
//   log_prob = l[target] - m - ln s
//   slopes   = w (e^(l - m) / s - [v = target])   second pass
//
// 1. A block owns a row of a whole vocabulary. Its logits are read twice, the second time often from the cache; f32 slopes
//    take their place, bf16 ones go where the next product reads them.
// 2. A pack raises the largest number at most once: a handful of times in 37 packs a thread.
// 3. A row of weight 0 has the log-probability 0 and zeros for slopes, whatever its target is. A target outside the
//    vocabulary gives NaN: the mistake is seen.
// 4. The loss adds strided sums in a fixed order: the same bits at every run.
//
// Bytes: 12 R V (f32) or 10 R V (bf16), against 2 R V C multiplications of the products around it: of no account.
#include "common.cuh"

#define ROW_THREADS 1024

struct Softmax {
    float most, sum;
};

// Over a row, the same in all threads of the block.
static __device__ Softmax softmax_of(const float* logits, int V) {
    float most = __uint_as_float(0xff800000u), sum = 0.0f;
    for (int v = 4 * threadIdx.x; v < V; v += 4 * ROW_THREADS) {
        const Pack4 a = load_up_to4(logits, v, V);
        const int count = min(4, V - v);
        float larger = most;
        for (int k = 0; k < count; k++) larger = fmaxf(larger, a.v[k]);
        if (larger > most) {
            sum *= expf(most - larger);
            most = larger;
        }
        for (int k = 0; k < count; k++) sum += expf(a.v[k] - most);
    }
    const float all = block_max<ROW_THREADS>(most);
    // A thread without numbers has a sum of 0 and nothing to scale.
    const float mine = sum == 0.0f ? 0.0f : sum * expf(most - all);
    return {all, block_sum<ROW_THREADS>(mine)};
}

// What a row's numbers become: w (p - e).
struct Slope {
    Softmax of;
    float weight, scale;
    int target;

    __device__ __forceinline__ Pack4 operator()(Pack4 a, int v) const {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            a.v[k] = weight == 0.0f ? 0.0f : scale * expf(a.v[k] - of.most) - (v + k == target ? weight : 0.0f);
        }
        return a;
    }
};

// The row's log-probability goes to `log_prob`, and how to make its slopes comes back.
static __device__ Slope row_of(float* log_prob, const float* logits, int target, float weight, int V) {
    const Softmax softmax = softmax_of(logits, V);
    const bool is_inside = target >= 0 && target < V;
    const float nan = __uint_as_float(0x7fc00000u), safe = is_inside || weight == 0.0f ? weight : nan;
    if (threadIdx.x == 0) {
        const float value = is_inside ? logits[target] - softmax.most - logf(softmax.sum) : nan;
        *log_prob = weight == 0.0f ? 0.0f : value;
    }
    // The slopes may take the place of the logits, of which thread 0 just read one.
    __syncthreads();
    return {softmax, safe, safe / softmax.sum, target};
}

// logits [R, V], targets [R], weights [R] (none: 1) -> log_probs [R]; with `wants_slopes`, logits become slopes. A block
// per row.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
linear_cross_entropy_rows_f32(float* logits, float* log_probs, const int* targets, const float* optional_weights, int V,
                              int wants_slopes) {
    const int r = blockIdx.x;
    float* row = logits + (long long)r * V;
    const Slope slope = row_of(log_probs + r, row, targets[r], optional_weights ? optional_weights[r] : 1.0f, V);
    for (int v = 4 * threadIdx.x; wants_slopes && v < V; v += 4 * ROW_THREADS)
        store_up_to4(row, v, V, slope(load_up_to4(row, v, V), v));
}

// logits [R, V], targets [R], weights [R] (none: 1) -> log_probs [R], slopes [R, V]. A block per row.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
linear_cross_entropy_slopes_bf16(bf16* slopes, float* log_probs, const float* logits, const int* targets,
                                 const float* optional_weights, int V) {
    const int r = blockIdx.x;
    const float* row = logits + (long long)r * V;
    const Slope slope = row_of(log_probs + r, row, targets[r], optional_weights ? optional_weights[r] : 1.0f, V);
    bf16* to = slopes + (long long)r * V;
    for (int v = 4 * threadIdx.x; v < V; v += 4 * ROW_THREADS) store_up_to4(to, v, V, slope(load_up_to4(row, v, V), v));
}

// log_probs weights [n] -> loss [1] = sum of -weight log_prob, without rows of weight 0. One block.
extern "C" __global__ void __launch_bounds__(1024)
linear_cross_entropy_loss_f32(float* loss, const float* log_probs, const float* weights, int n) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < n; i += 1024) {
        if (weights[i] != 0.0f) sum = fmaf(-weights[i], log_probs[i], sum);
    }
    sum = block_sum<1024>(sum);
    if (threadIdx.x == 0) loss[0] = sum;
}

template <typename T>
static __device__ void scale_by(T* x, const float* factor, long long n) {
    const long long i = 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
    const float by = factor[0];
    Pack4 a = load_up_to4(x, i, n);
#pragma unroll
    for (int k = 0; k < 4; k++) a.v[k] *= by;
    store_up_to4(x, i, n, a);
}

// x [n] times factor [1]. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
linear_cross_entropy_scale_f32(float* x, const float* factor, long long n) {
    scale_by(x, factor, n);
}

// x [n] times factor [1]. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
linear_cross_entropy_scale_bf16(bf16* x, const float* factor, long long n) {
    scale_by(x, factor, n);
}
