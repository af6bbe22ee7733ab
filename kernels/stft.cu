// Short-time Fourier transform into the feature map.   x [C, L] -> y [F, T, 2 C], F = n / 2 + 1, T = 1 + L / hop
//
//   y[f, t, 2 c] + i y[f, t, 2 c + 1] = sum over k of hann[k] x_c[t hop + k - n / 2] e^(-2 pi i f k / n)
//
//   fft, n a power of two, a block per COUNT transforms:    dft, any n, a block per frame and channel:
//     z = hann (x_c + i x_(c+1))      (window on load)         a = hann x              (shared memory)
//     radix-4 passes over shared memory, one of radix 2        y[f] = sum a[k] (cos | -sin)(2 pi f k / n)
//     X_c = (Z[f] + Z*[n - f]) / 2, X_(c+1) = (Z[f] - Z*[n - f]) / 2i
//
// 1. Two real channels make one complex transform; the symmetries of their spectra take them apart again.
// 2. Stockham passes: the order sorts itself, reads of a pass are contiguous over the threads, a butterfly's four
//    numbers meet in registers, and two buffers take turns, so that a pass costs one barrier.
// 3. Transforms are numbered frame by frame, the pairs of a frame together, and a block takes COUNT neighbours: they
//    write runs of 16 COUNT bytes (f32) of the map at every frequency, straight in its layout.
// 4. Sines and cosines of whole fractions of a turn: the octant is found in integers, and a short polynomial over half
//    a quarter turn is exact to the last bit or two. The window is 1 - cos of the same table.
// 5. Centred frames reach over both ends, where the signal is mirrored; L > n / 2 keeps it to one reflection.
//
// Bytes: x about n / hop times (from the caches), y once; FLOPs about 2 n log2 n per transform: memory-bound.
#include "common.cuh"
#include "turn.cuh"

// a times the conjugate of w.
static __device__ float2 times_conjugate(float2 a, float2 w) {
    return make_float2(a.x * w.x + a.y * w.y, a.y * w.x - a.x * w.y);
}

// One pass: `to` receives the butterflies of `from`, over `count` transforms of n points. `stride` is the product of
// the radices before; table[k] = (cos, sin)(2 pi k / n), conjugated as the transform is the forward one. Barrier by the
// caller.
static __device__ void pass_radix4(float2* to, const float2* from, const float2* table, int n, int stride, int count) {
    int quarter = n / 4;
    for (int i = threadIdx.x; i < count * quarter; i += 256) {
        int base = i / quarter * n, at = i % quarter, p = at / stride, q = at % stride;
        const float2* in = from + base + at;
        float2 a = in[0], b = in[quarter], c = in[2 * quarter], d = in[3 * quarter];
        float2 sum_ac = make_float2(a.x + c.x, a.y + c.y), diff_ac = make_float2(a.x - c.x, a.y - c.y);
        float2 sum_bd = make_float2(b.x + d.x, b.y + d.y), turned = make_float2(d.y - b.y, b.x - d.x);  // i (b - d)
        float2* out = to + base + q + 4 * stride * p;
        float2 first = make_float2(diff_ac.x - turned.x, diff_ac.y - turned.y);
        float2 second = make_float2(sum_ac.x - sum_bd.x, sum_ac.y - sum_bd.y);
        float2 third = make_float2(diff_ac.x + turned.x, diff_ac.y + turned.y);
        out[0] = make_float2(sum_ac.x + sum_bd.x, sum_ac.y + sum_bd.y);
        out[stride] = times_conjugate(first, table[p * stride]);
        out[2 * stride] = times_conjugate(second, table[2 * p * stride]);
        out[3 * stride] = times_conjugate(third, table[3 * p * stride]);
    }
}

// The last pass where n is no power of four: all its factors are 1.
static __device__ void pass_radix2(float2* to, const float2* from, int n, int count) {
    int half = n / 2;
    for (int i = threadIdx.x; i < count * half; i += 256) {
        int at = i / half * n + i % half;
        float2 a = from[at], b = from[at + half];
        to[at] = make_float2(a.x + b.x, a.y + b.y);
        to[at + half] = make_float2(a.x - b.x, a.y - b.y);
    }
}

// shared: table [n], then two buffers [count, n].
template <typename T>
static __device__ void transform(float2* shared, T* y, const float* x, int C, int samples, int n, int hop, int frames,
                                 int count) {
    float2 *table = shared, *from = table + n, *to = from + count * n;
    int pairs = CEIL_DIV(C, 2), first = blockIdx.x * count, live = min(count, frames * pairs - first);
    for (int k = threadIdx.x; k < n; k += 256) table[k] = turn(k, n);
    __syncthreads();
    for (int i = threadIdx.x; i < live * n; i += 256) {
        int id = first + i / n, k = i % n, c = id % pairs * 2, index = id / pairs * hop + k - n / 2;
        const float* channel = x + (long long)c * samples;
        float w = 0.5f - 0.5f * table[k].x;
        float second = c + 1 < C ? mirrored(channel + samples, index, samples) : 0.0f;
        from[i] = make_float2(w * mirrored(channel, index, samples), w * second);
    }
    __syncthreads();
    for (int stride = 1; stride < n; stride *= 4) {
        if (n / stride == 2) pass_radix2(to, from, n, live);
        else pass_radix4(to, from, table, n, stride, live);
        __syncthreads();
        float2* swap = from;
        from = to;
        to = swap;
    }
    for (int i = threadIdx.x; i < (n / 2 + 1) * live; i += 256) {
        int f = i / live, id = first + i % live, c = id % pairs * 2;
        const float2* z = from + i % live * n;
        float2 a = z[f], b = z[(n - f) % n];
        Pack4 out = {{0.5f * (a.x + b.x), 0.5f * (a.y - b.y), 0.5f * (a.y + b.y), 0.5f * (b.x - a.x)}};
        T* to_map = y + ((long long)f * frames + id / pairs) * 2 * C + 2 * c;
        if (C % 2 == 0) {
            store4(to_map, out);
        } else {
            for (int k = 0; k < (c + 1 < C ? 4 : 2); k++) to_map[k] = from_float<T>(out.v[k]);
        }
    }
}

// shared: table [n], then the windowed samples [n]. blockIdx.x = frame C + channel.
template <typename T>
static __device__ void direct(float2* table, T* y, const float* x, int C, int samples, int n, int hop, int frames) {
    float* a = reinterpret_cast<float*>(table + n);
    int c = blockIdx.x % C, frame = blockIdx.x / C;
    for (int k = threadIdx.x; k < n; k += 256) {
        table[k] = turn(k, n);
        a[k] = (0.5f - 0.5f * table[k].x) * mirrored(x + (long long)c * samples, frame * hop + k - n / 2, samples);
    }
    __syncthreads();
    for (int f = threadIdx.x; f <= n / 2; f += 256) {
        float re = 0.0f, im = 0.0f;
        for (int k = 0, at = 0; k < n; k++) {
            float2 w = table[at];
            re = fmaf(a[k], w.x, re);
            im = fmaf(-a[k], w.y, im);
            at += f;
            if (at >= n) at -= n;
        }
        long long to = ((long long)f * frames + frame) * 2 * C + 2 * c;
        y[to] = from_float<T>(re);
        y[to + 1] = from_float<T>(im);
    }
}

// x [C, samples] -> y [n / 2 + 1, frames, 2 C]; n a power of two from 4 on. One block per `count` pairs of channels and
// frames, 8 n (1 + 2 count) bytes of shared memory.
extern "C" __global__ void __launch_bounds__(256)
stft_fft_f32(float* PACKED y, const float* x, int C, int samples, int n, int hop, int frames, int count) {
    DYN_SHARED(float2, shared);
    transform(shared + 0, y, x, C, samples, n, hop, frames, count);
}

// x [C, samples] -> y [n / 2 + 1, frames, 2 C]; n a power of two from 4 on. One block per `count` pairs of channels and
// frames, 8 n (1 + 2 count) bytes of shared memory.
extern "C" __global__ void __launch_bounds__(256)
stft_fft_bf16(bf16* PACKED y, const float* x, int C, int samples, int n, int hop, int frames, int count) {
    DYN_SHARED(float2, shared);
    transform(shared + 0, y, x, C, samples, n, hop, frames, count);
}

// x [C, samples] -> y [n / 2 + 1, frames, 2 C]; any even n. One block per frame and channel, 12 n bytes of shared
// memory.
extern "C" __global__ void __launch_bounds__(256)
stft_dft_f32(float* y, const float* x, int C, int samples, int n, int hop, int frames) {
    DYN_SHARED(float2, shared);
    direct(shared + 0, y, x, C, samples, n, hop, frames);
}

// x [C, samples] -> y [n / 2 + 1, frames, 2 C]; any even n. One block per frame and channel, 12 n bytes of shared
// memory.
extern "C" __global__ void __launch_bounds__(256)
stft_dft_bf16(bf16* y, const float* x, int C, int samples, int n, int hop, int frames) {
    DYN_SHARED(float2, shared);
    direct(shared + 0, y, x, C, samples, n, hop, frames);
}
