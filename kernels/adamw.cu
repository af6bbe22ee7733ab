// AdamW with decoupled decay and clipping by the global norm, over one flat buffer of n parameters.
//
//   partial[s] = sum of g^2 over slice s                     one block per slice, in f64
//   norm = sqrt(sum of partial), factor = min(1, clip / (norm + 1e-6))              one block
//   g' = g factor;  m = b1 m + (1 - b1) g';  v = b2 v + (1 - b2) g'^2                four numbers per thread
//   p = p (1 - lr decay) - step_size m / (sqrt(v) inverse_root + eps)
//
// with step_size = lr / (1 - b1^t), inverse_root = 1 / sqrt(1 - b2^t) from the host; decay only where decays[i] is 1.
//
// 1. All tensors of a model lie in one buffer, so that a step is three launches whatever their number.
// 2. The norm is summed in f64 over fixed slices and trees: the same bits at every run. A sum travels between the two
//    kernels as two floats, the rounded one and what the rounding lost.
// 3. The clip factor stays on the device, where the update reads it: the host waits for nothing. A norm that is not
//    finite makes it NaN, and every thread leaves its numbers as they were.
// 4. The bf16 variant also stores a rounded copy of p, the weights that the next forward pass reads.
//
// Bytes: 4 n for the norm, 32 n for the update (34 n with the copy); about 15 FLOPs per parameter: memory-bound.
#include "common.cuh"

// Over the 256 threads of a block, the same tree as block_sum; the result is thread 0's.
static __device__ double block_sum_f64(double v) {
    SHARED(double, sums, 256);
    sums[threadIdx.x] = v;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    return sums[0];
}

static __device__ double square(float g) { return (double)g * (double)g; }

// g [n] -> partial [slices, 2], the sum of squares of each slice of `slice` numbers (a multiple of 4) as a float and
// its rounding error. One block per slice.
extern "C" __global__ void __launch_bounds__(256)
adamw_norm_partial_f32(float* partial, const float* g, long long slice, long long n) {
    long long first = blockIdx.x * slice, last = min(n, first + slice);
    bool is_aligned = reinterpret_cast<unsigned long long>(g) % 16 == 0;
    double sum = 0.0;
    for (long long i = first + 4 * (int)threadIdx.x; i < last; i += 1024) {
        if (is_aligned && i + 4 <= last) {
            Pack4 a = load4(g + i);
            sum += (square(a.v[0]) + square(a.v[1])) + (square(a.v[2]) + square(a.v[3]));
        } else {
            for (long long j = i; j < min(i + 4, last); j++) sum += square(g[j]);
        }
    }
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0) {
        partial[2 * blockIdx.x] = (float)sum;
        partial[2 * blockIdx.x + 1] = (float)(sum - (double)(float)sum);
    }
}

// partial [slices, 2] -> norm [] of the whole gradient and the factor [] that clips it, NaN for a norm that is not
// finite. One block.
extern "C" __global__ void __launch_bounds__(256)
adamw_norm_finish_f32(float* norm, float* factor, const float* partial, int slices, float clip) {
    double sum = 0.0;
    for (int s = threadIdx.x; s < slices; s += 256) sum += (double)partial[2 * s] + (double)partial[2 * s + 1];
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0) {
        float length = (float)sqrt(sum);
        bool is_finite = length <= 3.402823466e38f;
        norm[0] = length;
        factor[0] = is_finite ? fminf(1.0f, (float)((double)clip / (sqrt(sum) + 1e-6))) : __uint_as_float(0x7fc00000u);
    }
}

// What every element shares.
struct Step {
    float beta1, beta2, eps, step_size, inverse_root, decay;  // decay: lr times the decay
};

// One parameter; returns its new value.
static __device__ float updated(float p, float& m, float& v, float g, float decays, const Step& s) {
    m = s.beta1 * m + (1.0f - s.beta1) * g;
    v = s.beta2 * v + (1.0f - s.beta2) * g * g;
    return p * (1.0f - s.decay * decays) - s.step_size * m / (sqrtf(v) * s.inverse_root + s.eps);
}

// Four neighbours per thread; `narrow` is null where no copy is wanted.
static __device__ void update(bf16* narrow, float* p, float* m, float* v, const float* g, const float* decays,
                              const float* clip, const Step& s, long long n) {
    float factor = clip[0];
    if (!(factor >= 0.0f)) return;
    long long first = 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x);
    unsigned long long all = reinterpret_cast<unsigned long long>(p) | reinterpret_cast<unsigned long long>(m) |
                             reinterpret_cast<unsigned long long>(v) | reinterpret_cast<unsigned long long>(g) |
                             reinterpret_cast<unsigned long long>(decays) |
                             2 * reinterpret_cast<unsigned long long>(narrow);
    if (all % 16 == 0 && first + 4 <= n) {
        Pack4 p4 = load4(p + first), m4 = load4(m + first), v4 = load4(v + first);
        Pack4 g4 = load4(g + first), d4 = load4(decays + first);
#pragma unroll
        for (int k = 0; k < 4; k++) p4.v[k] = updated(p4.v[k], m4.v[k], v4.v[k], g4.v[k] * factor, d4.v[k], s);
        store4(p + first, p4);
        store4(m + first, m4);
        store4(v + first, v4);
        if (narrow) store4(narrow + first, p4);
        return;
    }
    for (long long i = first; i < min(first + 4, n); i++) {
        p[i] = updated(p[i], m[i], v[i], g[i] * factor, decays[i], s);
        if (narrow) narrow[i] = from_float<bf16>(p[i]);
    }
}

// p m v [n] in place, g decays [n], factor []; decay is lr times the decay. Four numbers per thread.
extern "C" __global__ void __launch_bounds__(256)
adamw_update_f32(float* p, float* m, float* v, const float* g, const float* decays, const float* factor, float beta1,
                 float beta2, float eps, float step_size, float inverse_root, float decay, long long n) {
    update(nullptr, p, m, v, g, decays, factor, {beta1, beta2, eps, step_size, inverse_root, decay}, n);
}

// p m v [n] in place, g decays [n], factor [] -> narrow [n], p rounded to bf16. Four numbers per thread. Where the
// update is skipped, narrow keeps what it held.
extern "C" __global__ void __launch_bounds__(256)
adamw_update_bf16(bf16* narrow, float* p, float* m, float* v, const float* g, const float* decays, const float* factor,
                  float beta1, float beta2, float eps, float step_size, float inverse_root, float decay, long long n) {
    update(narrow, p, m, v, g, decays, factor, {beta1, beta2, eps, step_size, inverse_root, decay}, n);
}
