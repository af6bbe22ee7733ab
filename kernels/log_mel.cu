// Whisper's log-mel spectrogram.   x [B, L], filters [M, 201] -> y [B, T, M], windows of 400 samples every 160
//
//   p[f] = |sum over k of hann[k] x[160 t + k - 200] e^(-2 pi i f k / 400)|^2     the clip padded with zeros to 160 T samples,
//   v[t, m] = log10(max(sum over f of filters[m, f] p[f], 1e-10))                  then mirrored at both ends
//   y = (max(v, max over the clip of v - 8) + 4) / 4
//
// 1. 400 is no power of two and a frame is short: a block per frame sums the terms of 201 frequencies directly, a thread
//    each, from shared memory. Frames of nothing but padding skip it: their value is known.
// 2. Sines and cosines are exact turns (turn.cuh), found once per block; the window is 1 - cos of the same table.
// 3. The maximum of a clip is needed before the last step: every frame leaves its own, and the second kernel takes the
//    largest of them. A maximum does not depend on the order, so the bits are the same at every run.
//
// Bytes: x 2.5 times (from the caches), y three times; FLOPs 4 * 201 * 400 per frame that holds sound.
#include "turn.cuh"

// x [B, samples], filters [bands, 201] -> y [B, frames, bands] = v, maxima [B, frames]. Grid frames x B.
extern "C" __global__ void __launch_bounds__(256)
log_mel_bands_f32(float* y, float* maxima, const float* x, const float* filters, int samples, int frames, int bands) {
    SHARED(float2, table, 400);
    SHARED(float, windowed, 400);
    SHARED(float, power, 201);
    const int t = blockIdx.x, first = 160 * t - 200, total = 160 * frames;
    const float* clip = x + (long long)blockIdx.y * samples;
    const bool has_sound = first < samples;
    for (int k = threadIdx.x; k < 400; k += 256) {
        const float2 w = turn(k, 400);
        int at = first + k;
        if (at < 0) at = -at;
        if (at >= total) at = 2 * (total - 1) - at;
        table[k] = w;
        windowed[k] = has_sound && at < samples ? (0.5f - 0.5f * w.x) * clip[at] : 0.0f;
    }
    __syncthreads();
    if (threadIdx.x < 201) {
        float re = 0.0f, im = 0.0f;
        for (int k = 0, at = 0; has_sound && k < 400; k++) {
            const float2 w = table[at];
            re = fmaf(windowed[k], w.x, re);
            im = fmaf(-windowed[k], w.y, im);
            at += threadIdx.x;
            if (at >= 400) at -= 400;
        }
        power[threadIdx.x] = re * re + im * im;
    }
    __syncthreads();
    float value = -10.0f;
    if (threadIdx.x < bands) {
        float sum = 0.0f;
        for (int f = 0; has_sound && f < 201; f++) sum = fmaf(filters[threadIdx.x * 201 + f], power[f], sum);
        value = log10f(fmaxf(sum, 1e-10f));
        y[((long long)blockIdx.y * frames + t) * bands + threadIdx.x] = value;
    }
    const float largest = block_max<256>(value);
    if (threadIdx.x == 0) maxima[(long long)blockIdx.y * frames + t] = largest;
}

// y [B, n] in place, maxima [B, frames]. Four numbers per thread; grid blocks of a clip x B.
extern "C" __global__ void __launch_bounds__(256)
log_mel_floor_f32(float* y, const float* maxima, int frames, int n) {
    float largest = -10.0f;
    for (int t = threadIdx.x; t < frames; t += 256) largest = fmaxf(largest, maxima[(long long)blockIdx.y * frames + t]);
    const float least = block_max<256>(largest) - 8.0f;
    float* clip = y + (long long)blockIdx.y * n;
    for (int k = 0; k < 4; k++) {
        const int i = (blockIdx.x * 4 + k) * 256 + threadIdx.x;
        if (i < n) clip[i] = (fmaxf(clip[i], least) + 4.0f) / 4.0f;
    }
}
