// Dry sounds through impulse responses, levels, mixture and noise.   dry [V, L], responses [V, 4, taps] -> y [4, L]
//
//   y_v[c, t] = sum_k responses[v, c, k] dry[v, t - k]                     (what rings on behind L is cut)
//   y[c, t]   = sum_v gain_v y_v[c, t] + size_c noise                      (gains from the energies on channel 0)
//
//   uniformly partitioned overlap-save with blocks of H = 2048 samples and transforms of N = 2 H points:
//     X[v, b]    = FFT(dry[v, (b - 1) H .. (b + 1) H])        two blocks per transform, as real and imaginary part
//     R[v, q, p] = FFT(taps p H .. (p + 1) H, then zeros)     two channels per transform: W + iY and Z + iX
//     y_v[b]     = last half of IFFT(sum_p X[v, b - p] R[v, q, p]), its real and imaginary part two channels
//
// 1. One transform is one block of 256 threads with all N points in shared memory (32 KB): six passes of radix 4
//    (4^6 = 4096) in Stockham's order, which needs no bit reversal. A thread takes its 16 points to registers, so one
//    buffer is enough. A table of N roots of unity made in double precision keeps the error at that of the sums.
// 2. The product of a real sound's spectrum with that of W + iY is the spectrum of both results; nothing is separated.
// 3. The sum over partitions stays in registers and goes straight into the inverse transform.
// 4. Sources stay apart until their energies are known: gains depend on them and must not visit the host.
// 5. Energies: a sum per slice, then over the slices in order. Noise is Philox 4x32-10 by position: sample s of the
//    four channels in a row is word s % 4 of block s / 4, exactly the numbers that the host draws one by one.
//
// A scene of 5 s with two sources and responses of 1 s (V = 2, 40 blocks, 8 partitions): 40 + 32 + 160 transforms of
// 5 N log2 N = 0.25 MFLOP, 2 * 2 * 40 * 8 * N products of 8 FLOP: 0.1 GFLOP; 85 MB of spectra read, all from the
// second-level cache (they are 4 MB).
#include "common.cuh"

constexpr int N = 4096;
constexpr int HOP = N / 2;
constexpr int THREADS = 256;
constexpr int BUTTERFLIES = N / 4 / THREADS;  // of a thread, per pass
constexpr int SLICE = 4096;                   // samples of a partial energy

struct Complex {
    float re, im;
};

static __device__ __forceinline__ Complex load_complex(const float* from, long long i) {
    const float2 v = reinterpret_cast<const float2*>(from)[i];
    return {v.x, v.y};
}

static __device__ __forceinline__ Complex times(Complex a, Complex b) {
    return {a.re * b.re - a.im * b.im, fmaf(a.re, b.im, a.im * b.re)};
}

// In place on re[N], im[N] in shared memory; INVERSE without the factor 1 / N. Begins and ends with a barrier.
template <bool INVERSE>
static __device__ __forceinline__ void transform(float* re, float* im, const float* roots) {
    for (int size = 1; size < N; size *= 4) {
        Complex v[BUTTERFLIES][4];
        __syncthreads();
#pragma unroll
        for (int i = 0; i < BUTTERFLIES; i++) {
            const int t = threadIdx.x + i * THREADS, k = t % size;
#pragma unroll
            for (int m = 0; m < 4; m++) {
                const Complex root = load_complex(roots, k * m * (N / 4 / size));
                v[i][m] = times({re[t + m * (N / 4)], im[t + m * (N / 4)]}, {root.re, INVERSE ? -root.im : root.im});
            }
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < BUTTERFLIES; i++) {
            const int t = threadIdx.x + i * THREADS, k = t % size, to = (t - k) * 4 + k;
            const Complex a = v[i][0], b = v[i][1], c = v[i][2], d = v[i][3];
            const Complex even = {a.re + c.re, a.im + c.im}, odd = {b.re + d.re, b.im + d.im};
            const Complex rest = {a.re - c.re, a.im - c.im};
            // (b - d) times -i, or i for the inverse.
            const Complex turned = {INVERSE ? d.im - b.im : b.im - d.im, INVERSE ? b.re - d.re : d.re - b.re};
            re[to] = even.re + odd.re;
            im[to] = even.im + odd.im;
            re[to + size] = rest.re + turned.re;
            im[to + size] = rest.im + turned.im;
            re[to + 2 * size] = even.re - odd.re;
            im[to + 2 * size] = even.im - odd.im;
            re[to + 3 * size] = rest.re - turned.re;
            im[to + 3 * size] = rest.im - turned.im;
        }
    }
    __syncthreads();
}

// dry [V, L], roots [4096, 2] = exp(-2 pi i k / 4096) -> spectra [V, blocks, 4096, 2]. Grid: pairs of blocks, V.
extern "C" __global__ void __launch_bounds__(256)
convolve_dry_f32(float* spectra, const float* dry, const float* roots, int blocks, int L) {
    SHARED(float, re, N);
    SHARED(float, im, N);
    const int block = 2 * blockIdx.x;
    const float* const x = dry + (long long)blockIdx.y * L;
    for (int i = threadIdx.x; i < N; i += THREADS) {
        const long long t = (long long)(block - 1) * HOP + i;
        re[i] = t >= 0 && t < L ? x[t] : 0.0f;
        im[i] = t + HOP < L ? x[t + HOP] : 0.0f;
    }
    transform<false>(re, im, roots);
    float2* const first = reinterpret_cast<float2*>(spectra) + ((long long)blockIdx.y * blocks + block) * N;
    for (int k = threadIdx.x; k < N; k += THREADS) {
        // The spectrum of a real signal is its own mirrored conjugate: the two part by their symmetry.
        const int mirrored = (N - k) % N;
        first[k] = make_float2(0.5f * (re[k] + re[mirrored]), 0.5f * (im[k] - im[mirrored]));
        if (block + 1 < blocks)
            first[N + k] = make_float2(0.5f * (im[k] + im[mirrored]), -0.5f * (re[k] - re[mirrored]));
    }
}

// responses [V, 4, taps], roots [4096, 2] -> spectra [V, 2, partitions, 4096, 2] of W + iY and Z + iX.
// Grid: partitions, 2, V.
extern "C" __global__ void __launch_bounds__(256)
convolve_response_f32(float* spectra, const float* responses, const float* roots, int partitions, int taps) {
    SHARED(float, re, N);
    SHARED(float, im, N);
    const int pair = blockIdx.y, voice = blockIdx.z;
    const float* const h = responses + ((long long)voice * 4 + 2 * pair) * taps;
    for (int i = threadIdx.x; i < N; i += THREADS) {
        const int tap = blockIdx.x * HOP + i;
        const bool is_there = i < HOP && tap < taps;
        re[i] = is_there ? h[tap] : 0.0f;
        im[i] = is_there ? h[taps + tap] : 0.0f;
    }
    transform<false>(re, im, roots);
    const long long place = (voice * 2 + pair) * (long long)partitions + blockIdx.x;
    float2* const to = reinterpret_cast<float2*>(spectra) + place * N;
    for (int k = threadIdx.x; k < N; k += THREADS) to[k] = make_float2(re[k], im[k]);
}

// sounds [V, blocks, 4096, 2], responses [V, 2, partitions, 4096, 2], roots [4096, 2] -> y [V, 4, L].
// Grid: blocks, 2, V.
extern "C" __global__ void __launch_bounds__(256)
convolve_join_f32(float* y, const float* sounds, const float* responses, const float* roots, int blocks, int partitions,
                  int L) {
    SHARED(float, re, N);
    SHARED(float, im, N);
    const int block = blockIdx.x, pair = blockIdx.y, voice = blockIdx.z;
    Complex sum[N / THREADS];
#pragma unroll
    for (int i = 0; i < N / THREADS; i++) sum[i] = {0.0f, 0.0f};
    for (int p = 0; p < partitions && p <= block; p++) {
        const float* const x = sounds + 2 * (((long long)voice * blocks + block - p) * N);
        const float* const h = responses + 2 * (((voice * 2 + pair) * (long long)partitions + p) * N);
#pragma unroll
        for (int i = 0; i < N / THREADS; i++) {
            const int k = threadIdx.x + i * THREADS;
            const Complex a = load_complex(x, k), b = load_complex(h, k);
            sum[i].re = fmaf(a.re, b.re, fmaf(-a.im, b.im, sum[i].re));
            sum[i].im = fmaf(a.re, b.im, fmaf(a.im, b.re, sum[i].im));
        }
    }
#pragma unroll
    for (int i = 0; i < N / THREADS; i++) {
        re[threadIdx.x + i * THREADS] = sum[i].re;
        im[threadIdx.x + i * THREADS] = sum[i].im;
    }
    transform<true>(re, im, roots);
    float* const to = y + ((long long)voice * 4 + 2 * pair) * L;
    for (int i = threadIdx.x; i < HOP; i += THREADS) {
        const int t = block * HOP + i;
        if (t < L) {
            to[t] = re[HOP + i] * (1.0f / N);
            to[L + t] = im[HOP + i] * (1.0f / N);
        }
    }
}

// voices [V, 4, L] -> partial [V, slices], the energy of channel 0 over each slice of 4096 samples. Grid: slices, V.
extern "C" __global__ void __launch_bounds__(256)
convolve_energy_f32(float* partial, const float* voices, int slices, int L) {
    const float* const x = voices + (long long)blockIdx.y * 4 * L;
    const int last = min((int)(blockIdx.x + 1) * SLICE, L);
    float sum = 0.0f;
    for (int t = blockIdx.x * SLICE + threadIdx.x; t < last; t += THREADS) sum = fmaf(x[t], x[t], sum);
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) partial[blockIdx.y * slices + blockIdx.x] = sum;
}

// partial [V, slices]; wanted [V, 2]: the level, and the power that has level 1 (negative: the voice's own, as heard)
// -> levels [V + 1]: gains, and the size of noise on channel 0 whose power is noise_ratio of the mixture's.
extern "C" __global__ void __launch_bounds__(32)
convolve_levels_f32(float* levels, const float* partial, const float* wanted, int V, int slices, int L,
                    float noise_ratio) {
    if (threadIdx.x == 0) {
        float mixture = 0.0f;
        for (int v = 0; v < V; v++) {
            float energy = 0.0f;
            for (int s = 0; s < slices; s++) energy += partial[v * slices + s];
            const float power = energy / (float)L, given = wanted[2 * v + 1];
            const float gain = wanted[2 * v] / sqrtf(fmaxf(given < 0.0f ? power : given, 1e-20f));
            levels[v] = gain;
            mixture += power * gain * gain;
        }
        levels[V] = sqrtf(mixture * noise_ratio);
    }
}

struct Words {
    unsigned w[4];
};

// Philox 4x32-10 (Salmon et al., SC'11).
static __device__ __forceinline__ Words philox(Words counter, unsigned key0, unsigned key1) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned long long a = 0xD2511F53ull * counter.w[0], b = 0xCD9E8D57ull * counter.w[2];
        counter = {{(unsigned)(b >> 32) ^ counter.w[1] ^ key0, (unsigned)b, (unsigned)(a >> 32) ^ counter.w[3] ^ key1,
                    (unsigned)a}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// Nearly normal, variance 1: the sum of the eight nibbles of a word, each uniform over 16 values.
static __device__ __forceinline__ float bell(unsigned bits) {
    const unsigned pairs = (bits & 0x0f0f0f0fu) + ((bits >> 4) & 0x0f0f0f0fu);
    return ((float)((pairs * 0x01010101u) >> 24) - 60.0f) * (1.0f / 13.038405f);
}

// voices [V, 4, L], levels [V + 1] -> y [4, L]: the sum at its gains and isotropic noise, the dipoles with a third of
// the power of channel 0. Key and counter address the noise. One thread per four samples of the flattened y.
extern "C" __global__ void __launch_bounds__(256)
convolve_mix_f32(float* y, const float* voices, const float* levels, int V, int L, unsigned key0, unsigned key1,
                 unsigned counter1, unsigned counter2, unsigned counter3) {
    const unsigned n = blockIdx.x * blockDim.x + threadIdx.x;
    const long long all = 4ll * L;
    if (4ll * n < all) {
        const Words noise = philox({{n, counter1, counter2, counter3}}, key0, key1);
        const float omni = levels[V], dipole = omni * 0.57735027f;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const long long s = 4ll * n + i;
            float sum = (s < L ? omni : dipole) * bell(noise.w[i]);
            for (int v = 0; v < V; v++) sum = fmaf(levels[v], voices[v * all + s], sum);
            y[s] = sum;
        }
    }
}
