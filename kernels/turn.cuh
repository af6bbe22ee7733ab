// What kernels of Fourier transforms share: exact turns, and samples of a signal that is mirrored at its ends.
#ifndef TWNM_TURN_CUH
#define TWNM_TURN_CUH

#include "common.cuh"

// (cos, sin) of 2 pi k / n for 0 <= k < n.
static __device__ float2 turn(int k, int n) {
    int octant = (int)(8LL * k / n);
    int within = (int)(8LL * k - (long long)octant * n);
    // Odd octants are measured from their end, so that angles stay within an eighth of a turn of an axis.
    if (octant & 1) within = n - within;
    float a = 0.78539816f * ((float)within / (float)n), a2 = a * a;
    float s = a * (1.0f + a2 * (-1.6666667e-1f + a2 * (8.3333333e-3f + a2 * (-1.9841270e-4f + a2 * 2.7557319e-6f))));
    float tail = a2 * (4.1666667e-2f + a2 * (-1.3888889e-3f + a2 * (2.4801587e-5f - a2 * 2.7557319e-7f)));
    float c = 1.0f + a2 * (-0.5f + tail);
    if (octant & 1) s = -s;
    switch ((octant + 1) / 2 % 4) {
        case 0: return make_float2(c, s);
        case 1: return make_float2(-s, c);
        case 2: return make_float2(-c, -s);
        default: return make_float2(s, -c);
    }
}

// x_c at an index that may lie beyond either end.
static __device__ float mirrored(const float* x, int index, int samples) {
    if (index < 0) index = -index;
    if (index >= samples) index = 2 * (samples - 1) - index;
    return x[index];
}

#endif
