// Room impulse responses by the image-source method.   S paths (room, source, receiver) -> y [S, channels, samples]
//
//   y[c, n] = sum over the mirror images p = (px, py, pz):  a_c(p) h(n - tau(p))
//     position   p L + (p even ? s : L - s) - r along each axis, d its length, tau = d rate / c + delay
//     gains      losses[x][px] losses[y][py] losses[z][pz] exp(-m d / 2) / d times 1, u_y, u_z, u_x  (W, Y, Z, X)
//     h          81 taps of a sinc under a Hann window: moving with tau, fixed to the samples, or from a table
//
//   a block owns 64 samples; its 8 warps share the rows (py, pz); for 32 rows at a time a warp does:
//     lane: which px of my row arrive here?      (two intervals, in front and behind, by two square roots)
//     lane: one of the images of all 32 rows -> tau, gains -> shared memory, 32 at a time
//     all:  for each image: my 2 samples += tap * (4 gains)                     (accumulators in registers)
//   the 8 warps' sums are added in order and written.
//
// 1. Gather, not scatter: every sample is summed by one lane in one order. No atomics, the same bits at every run.
// 2. No list of images: a block meets only the shell of images that it hears, row by row. Float arithmetic finds the
//    shell with one sample to spare at both ends, so its rounding cannot lose an image; whether an image is heard and
//    when it arrives is computed in double precision, as whole samples and a fraction. Single precision would be off
//    by a thousandth of a sample at the end of a response. The square root is a float one with one Newton step in
//    double: five double operations, which matters where those are rare.
// 3. A row that touches the shell has many images, the others two or three: lanes take images by the running sum of
//    the counts (a search by five shuffles), which needs a third of the passes of a row per lane.
// 4. sin(pi (n - tau)) is (-1)^n times a number of the image alone, and cos(pi (n - tau) / 40) of the window is a
//    product of a pair of the lane and a pair of the image: a tap costs two additions, two FMA, and both taps of a
//    lane one reciprocal. The lane's sign is applied once, to the sums.
// 5. 64 samples: an image is met by (64 + 80) / 64 = 2.2 blocks. Wider windows would waste taps outside of the 81
//    (each lane evaluates both of its samples), narrower ones would repeat the search for rows more often.
// 6. Late windows have the most images, so they come first: the last blocks to start are the shortest.
//
// Frequency-dependent rooms are one path per octave band; convolve.cu filters each with its taps of the bank, and the
// bands are added here. The high-pass is a recursion over time, forward and backward, in double precision: one thread
// per row, about half a millisecond for responses of 5000 samples, few or many.
//
// Order 30 in a room of 6 x 5 x 3 m: 37,881 images, met 86,000 times at 36 instructions of a warp, found in 8,800
// groups of rows at 260 and 4,600 batches at 210: 6.4 million instructions, 0.1 GFLOP. 132 processors of 4 at 1.7 GHz
// issue 9e11 instructions a second: 140,000 responses at best; 40,000 need 28 % of that. A response of 0.5 s (257,000
// images) takes 29 million. Memory: the output, 16 bytes per sample, and some kilobytes of tables.
#include "common.cuh"

constexpr int WINDOW = 64;
constexpr int WARPS = 8;
constexpr int PARAMETERS = 24;
constexpr int HALF = 40;  // taps on either side
constexpr int TAPS = 81;

enum { MOVING, FIXED, TABLE };

// Places of a path's numbers; those that need more than 24 bits are sums of two. They are read where they are used,
// once per 32 images, from the first-level cache: held in registers they would cost a third of the warps.
enum {
    SIZE = 0,
    SOURCE = 3,
    RECEIVER = 6,
    RECEIVER_REST = 9,
    STEPS_PER_M = 12,
    RADIUS_SQUARED = 14,
    DELAY = 16,
    RATE = 17,
    AIR = 18
};

// A path's whole numbers: images of at most this many reflections are heard, in this many samples.
enum { ORDER = 0, HEARD = 1 };

static __device__ __forceinline__ double sum_of_two(const float* path, int first, int second) {
    return (double)path[first] + (double)path[second];
}

#ifndef CUEMU
// 2 ulp, and no slow path for denormal results.
static __device__ __forceinline__ float quotient(float a, float b) { return __fdividef(a, b); }
#else
static inline float quotient(float a, float b) { return a / b; }
#endif

// (sin pi v, cos pi v), Taylor series after reduction to an eighth of a turn: error below 1e-7 of the result for the
// sine, of one for the cosine. The library's own carry a path for huge arguments along.
static __device__ __forceinline__ float2 sine_cosine(float v) {
    const float quarter = rintf(2.0f * v);
    const float r = v - 0.5f * quarter, z = r * r;
    const float sine = r * fmaf(z, fmaf(z, fmaf(z, fmaf(z, 0.08214589f, -0.59926453f), 2.5501640f), -5.1677128f),
                                3.14159265f);
    const float cosine = fmaf(z, fmaf(z, fmaf(z, fmaf(z, 0.23533063f, -1.3352628f), 4.0587121f), -4.9348022f), 1.0f);
    const int n = (int)quarter;
    const float s = n & 1 ? cosine : sine, c = n & 1 ? sine : cosine;
    return make_float2(n & 2 ? -s : s, (n + 1) & 2 ? -c : c);
}

// Image p along an axis, relative to the receiver. pyroomacoustics (TABLE) rounds every step to a float; the product
// is made in double so that no compiler fuses it with the sum.
template <int FILTER>
static __device__ __forceinline__ double image_offset(const float* path, int a, int p) {
    const float size = path[SIZE + a], source = path[SOURCE + a];
    const double receiver = sum_of_two(path, RECEIVER + a, RECEIVER_REST + a);
    if (FILTER == TABLE) {
        const float corner = (float)((double)p * size);
        return (double)(corner + (p & 1 ? size - source : source)) - receiver;
    }
    return (double)p * size + (p & 1 ? (double)size - source : (double)source) - receiver;
}

// The images of one row that may arrive in a shell: px = first[0].. and then first[1].., count[] of each.
struct Candidates {
    int first[2], count[2];
};

static __device__ __forceinline__ Candidates candidates(const float* path, float near, float far, float yz_squared,
                                                        int limit) {
    const float outer = far * far - yz_squared, inner = near * near - yz_squared;
    Candidates c = {{0, 0}, {0, 0}};
    if (outer <= 0.0f || limit < 0) return c;
    const float size = path[SIZE], source = path[SOURCE], x = path[RECEIVER], cells = 1.0f / size;
    const float reach = sqrtf(outer), gap = inner > 0.0f ? sqrtf(inner) : 0.0f;
    auto cell = [&](float at) { return (int)floorf((x + at) * cells); };
    auto image = [&](int p) { return p * size + (p & 1 ? size - source : source) - x; };
    // Image p lies in cell [p L, (p + 1) L]: only those of the outermost cells can lie outside of the shell.
    int low_first = cell(-reach), low_last = cell(-gap), high_first = cell(gap), high_last = cell(reach);
    low_first += image(low_first) < -reach;
    low_last -= image(low_last) > -gap;
    high_first += image(high_first) < gap;
    high_last -= image(high_last) > reach;
    high_first = max(high_first, low_last + 1);
    c.first[0] = max(low_first, -limit);
    c.first[1] = max(high_first, -limit);
    c.count[0] = max(min(low_last, limit) - c.first[0] + 1, 0);
    c.count[1] = max(min(high_last, limit) - c.first[1] + 1, 0);
    return c;
}

// What the sample loop needs of an image, as 8 floats: whole samples behind the window's start, two numbers of its
// taps, and the gains of W, Y, Z, X.
struct Image {
    float position, fraction, cosine, sine, gain[4];
};

// Time and gains of the image at x of the row at y and z; without gains when it is not heard at all.
template <int FILTER>
static __device__ __forceinline__ Image make_image(const float* path, double x, float y, float z, double yz_squared,
                                                   float amplitude, int start) {
    const double squared = x * x + yz_squared;
    const float inverse = rsqrtf((float)squared), root = (float)squared * inverse;
    const double rest = squared - (double)root * root;
    const double distance = (double)root + rest * (0.5 * inverse);
    double tau = distance * sum_of_two(path, STEPS_PER_M, STEPS_PER_M + 1) + path[DELAY];
    if (FILTER == TABLE) {
        const float seconds = (float)(tau / path[RATE]);
        tau = (float)((double)path[RATE] * seconds);
    }
    const double whole = floor(tau);
    const int position = (int)whole - start;
    const float fraction = (float)(tau - whole);
    float w = squared < sum_of_two(path, RADIUS_SQUARED, RADIUS_SQUARED + 1) ? amplitude * inverse : 0.0f;
    if (path[AIR] != 0.0f) w *= expf(path[AIR] * (float)distance);
    Image image;
    image.position = (float)position;
    if (FILTER == TABLE) {
        const float phase = (float)((1.0 - (double)fraction) * 20.0), row = floorf(phase);
        image.fraction = phase - row;
        image.cosine = row;
        image.sine = 0.0f;
    } else {
        // At a whole delay the quotient is 0/0; a hundred-millionth of a sample beside it, it is not.
        const float f = fminf(fmaxf(fraction, 1e-8f), 1.0f - 5.9604645e-8f);
        const float2 turn = sine_cosine((FILTER == MOVING ? (float)position + f : (float)position) * (1.0f / HALF));
        image.fraction = f;
        image.sine = 0.5f * turn.x;
        image.cosine = 0.5f * turn.y;
        w *= sine_cosine(f).x * (position & 1 ? -0.31830989f : 0.31830989f);
    }
    image.gain[0] = w;
    image.gain[1] = w * (y * inverse);
    image.gain[2] = w * (z * inverse);
    image.gain[3] = w * ((float)x * inverse);
    return image;
}

// Sum over the lanes before this one and this one.
static __device__ __forceinline__ int running_sum(int v, int lane) {
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
        const int before = __shfl_up_sync(0xffffffffu, v, offset);
        if (lane >= offset) v += before;
    }
    return v;
}

// The two samples of a lane: where they are on the window's circle, and their sums.
struct Samples {
    float at[2], cosine[2], sine[2], sum[2][4];
};

template <int FILTER>
static __device__ __forceinline__ void hear(Samples& mine, const float* image, const float* table) {
    const Pack4 head = load4(image), gain = load4(image + 4);
    float j[2], tap[2];
#pragma unroll
    for (int q = 0; q < 2; q++) j[q] = mine.at[q] - head.v[0];
    if (FILTER == TABLE) {
#pragma unroll
        for (int q = 0; q < 2; q++) {
            const bool inside = fabsf(j[q]) <= (float)HALF;
            const float* row = table + (int)head.v[2] * TAPS + (inside ? (int)j[q] + HALF : 0);
            tap[q] = inside ? fmaf(head.v[1], row[TAPS] - row[0], row[0]) : 0.0f;
        }
    } else {
        // Both quotients from one: 1 / x = y / (x y).
        const float x[2] = {head.v[1] - j[0], head.v[1] - j[1]};
        const float both = quotient(1.0f, x[0] * x[1]);
#pragma unroll
        for (int q = 0; q < 2; q++) {
            const float w = fmaf(mine.cosine[q], head.v[2], fmaf(mine.sine[q], head.v[3], 0.5f));
            tap[q] = fabsf(x[q]) <= (float)HALF ? w * (x[1 - q] * both) : 0.0f;
        }
    }
#pragma unroll
    for (int q = 0; q < 2; q++)
#pragma unroll
        for (int c = 0; c < 4; c++) mine.sum[q][c] = fmaf(tap[q], gain.v[c], mine.sum[q][c]);
}

// All images of the rows of this warp that arrive in the window.
template <int FILTER>
static __device__ __forceinline__ void walk(Samples& mine, float* packed, const float* path, int order,
                                            const float* losses, const float* table, int reach, int start, int lane, int warp) {
    const float m_per_step = 1.0f / path[STEPS_PER_M];
    const float far = ((float)(start + WINDOW + HALF + 1) - path[DELAY]) * m_per_step;
    const float near = fmaxf((float)(start - HALF - 1) - path[DELAY], 0.0f) * m_per_step;
    if (far <= 0.0f) return;
    const int most = min(reach, order), width = 2 * reach + 1;
    const int ys = min(most, (int)(far / path[SIZE + 1]) + 1), zs = min(most, (int)(far / path[SIZE + 2]) + 1);
    const int row_length = 2 * ys + 1, rows = row_length * (2 * zs + 1);
    for (int base = warp * 32; base < rows; base += WARPS * 32) {
        const int row = min(base + lane, rows - 1);
        const int py = row % row_length - ys, pz = row / row_length - zs;
        const double y = image_offset<FILTER>(path, 1, py), z = image_offset<FILTER>(path, 2, pz);
        const double yz_squared = z * z + y * y;
        const float loss = losses[width + reach + py] * losses[2 * width + reach + pz];
        const bool is_mine = base + lane < rows && loss != 0.0f;
        const int left = order - (py < 0 ? -py : py) - (pz < 0 ? -pz : pz);
        const Candidates c = candidates(path, near, far, (float)yz_squared, is_mine ? min(left, reach) : -1);
        const int count = c.count[0] + c.count[1], end = running_sum(count, lane);
        const int total = __shfl_sync(0xffffffffu, end, 31);
        for (int done = 0; done < total; done += 32) {
            // Rows have many images or none: lanes take images, not rows. Mine is number k of the row of lane `owner`.
            const int number = min(done + lane, total - 1);
            int owner = 0;
#pragma unroll
            for (int step = 16; step > 0; step /= 2)
                owner += __shfl_sync(0xffffffffu, end, owner + step - 1) <= number ? step : 0;
            const int k = number - __shfl_sync(0xffffffffu, end - count, owner);
            const int lows = __shfl_sync(0xffffffffu, c.count[0], owner);
            const int low = __shfl_sync(0xffffffffu, c.first[0], owner);
            const int high = __shfl_sync(0xffffffffu, c.first[1], owner);
            const int p = k < lows ? low + k : high + k - lows;
            const double squared = __shfl_sync(0xffffffffu, yz_squared, owner);
            const float row_y = __shfl_sync(0xffffffffu, (float)y, owner);
            const float row_z = __shfl_sync(0xffffffffu, (float)z, owner);
            const float amplitude = __shfl_sync(0xffffffffu, loss, owner) * losses[reach + p];
            const Image image = make_image<FILTER>(path, image_offset<FILTER>(path, 0, p), row_y, row_z, squared,
                                                   amplitude, start);
            store4(packed + 8 * lane, {{image.position, image.fraction, image.cosine, image.sine}});
            store4(packed + 8 * lane + 4, {{image.gain[0], image.gain[1], image.gain[2], image.gain[3]}});
            __syncwarp();
            const int heard = min(total - done, 32);
#pragma unroll 2
            for (int i = 0; i < heard; i++) hear<FILTER>(mine, packed + 8 * i, table);
            __syncwarp();
        }
    }
}

template <int FILTER>
static __device__ __forceinline__ void respond(float* y, const float* paths, const int* limits, const float* losses,
                                               const float* table, int channels, int samples, int reach) {
    SHARED(float, packed, WARPS * 32 * 8);
    SHARED(float, sums, WARPS * WINDOW * 4);
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int windows = CEIL_DIV(samples, WINDOW), source = blockIdx.x / windows;
    const int start = (windows - 1 - blockIdx.x % windows) * WINDOW;
    const float* const path = paths + (long long)source * PARAMETERS;
    const int order = limits[2 * source + ORDER], heard = limits[2 * source + HEARD];
    Samples mine;
#pragma unroll
    for (int q = 0; q < 2; q++) {
        mine.at[q] = (float)(lane + 32 * q);
        const float2 turn = sine_cosine(mine.at[q] * (1.0f / HALF));
        mine.sine[q] = turn.x;
        mine.cosine[q] = turn.y;
#pragma unroll
        for (int c = 0; c < 4; c++) mine.sum[q][c] = 0.0f;
    }
    if (start < heard)
        walk<FILTER>(mine, packed + warp * 32 * 8, path, order, losses + (long long)source * 3 * (2 * reach + 1), table,
                     reach, start, lane, warp);
    const float sign = FILTER != TABLE && (lane & 1) ? -1.0f : 1.0f;
#pragma unroll
    for (int q = 0; q < 2; q++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[(warp * 4 + c) * WINDOW + 32 * q + lane] = sign * mine.sum[q][c];
    __syncthreads();
    const int n = threadIdx.x % WINDOW, channel = threadIdx.x / WINDOW;
    if (channel < channels && start + n < samples) {
        float total = 0.0f;
        for (int w = 0; w < WARPS; w++) total += sums[(w * 4 + channel) * WINDOW + n];
        y[((long long)source * channels + channel) * samples + start + n] = start + n < heard ? total : 0.0f;
    }
}

// paths [S, 24], limits [S, 2], losses [S, 3, 2 reach + 1] -> y [S, channels, samples]; the window moves with the delay.
// Grid: S times the windows of 64 samples.
extern "C" __global__ void __launch_bounds__(256, 3)
image_source_moving_f32(float* y, const float* paths, const int* limits, const float* losses, int channels, int samples,
                        int reach) {
    respond<MOVING>(y, paths, limits, losses, nullptr, channels, samples, reach);
}

// paths [S, 24], limits [S, 2], losses [S, 3, 2 reach + 1] -> y [S, channels, samples]; the window stays on the samples.
// Grid: S times the windows of 64 samples.
extern "C" __global__ void __launch_bounds__(256, 3)
image_source_fixed_f32(float* y, const float* paths, const int* limits, const float* losses, int channels, int samples,
                       int reach) {
    respond<FIXED>(y, paths, limits, losses, nullptr, channels, samples, reach);
}

// paths [S, 24], limits [S, 2], losses [S, 3, 2 reach + 1], table [22, 81] (windowed taps by twentieths of a sample)
// -> y [S, channels, samples]; pyroomacoustics' arithmetic. Grid: S times the windows of 64 samples.
extern "C" __global__ void __launch_bounds__(256, 2)
image_source_table_f32(float* y, const float* paths, const int* limits, const float* losses, const float* table,
                       int channels, int samples, int reach) {
    respond<TABLE>(y, paths, limits, losses, table, channels, samples, reach);
}

// bands [S * B, 4, 2 longest - 1] (each response through its filter, whose middle tap is longest - 1), lengths [S]
// -> y [S, channels, longest], the sum over the bands, and zeros behind a response's length. One thread per element.
extern "C" __global__ void __launch_bounds__(256)
image_source_bands_f32(float* y, const float* bands, const int* lengths, int S, int B, int channels, int longest) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < (long long)S * channels * longest) {
        const int t = (int)(i % longest), c = (int)(i / longest % channels), s = (int)(i / longest / channels);
        float sum = 0.0f;
        for (int b = 0; b < B; b++)
            sum += bands[(((long long)s * B + b) * 4 + c) * (2 * longest - 1) + longest - 1 + t];
        y[i] = t < lengths[s] ? sum : 0.0f;
    }
}

constexpr int EXTENSION = 9;  // samples of odd extension at both ends of a row

// Sample k of the extended row, counted from its first extension sample.
static __device__ __forceinline__ double extended(const float* x, int samples, int edge, int k) {
    const int t = k - edge;
    if (t < 0) return 2.0 * x[0] - x[-t];
    if (t >= samples) return 2.0 * x[samples - 1] - x[2 * (samples - 1) - t];
    return x[t];
}

// One step of the recursion on second differences: b = n (1, -2, 1), a = (1, a1, a2).
struct HighPass {
    double n, a1, a2, in[2], out[2];

    __device__ __forceinline__ double next(double x) {
        const double y = n * (x - 2.0 * in[0] + in[1]) - a1 * out[0] - a2 * out[1];
        in[1] = in[0];
        in[0] = x;
        out[1] = out[0];
        out[0] = y;
        return y;
    }
};

// y [S, channels, longest], lengths [S], filter [6] (n, a1, a2, each a sum of two), forward [S, channels, longest + 18]
// (scratch) -> y, filtered in place over each response's length. One thread per row.
extern "C" __global__ void __launch_bounds__(32)
image_source_high_pass_f32(float* y, float* forward, const int* lengths, const float* filter, int S, int channels,
                           int longest) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    const int samples = row < S * channels ? lengths[row / channels] : 0;
    if (samples > 0) {
        float* const x = y + (long long)row * longest;
        float* const once = forward + (long long)row * (longest + 2 * EXTENSION);
        const int edge = min(EXTENSION, samples - 1), length = samples + 2 * edge;
        HighPass state = {sum_of_two(filter, 0, 1), sum_of_two(filter, 2, 3), sum_of_two(filter, 4, 5)};
        // As if the first value had stood there for ever: no output.
        state.in[0] = state.in[1] = extended(x, samples, edge, 0);
        state.out[0] = state.out[1] = 0.0;
        for (int k = 0; k < length; k++) once[k] = (float)state.next(extended(x, samples, edge, k));
        state.in[0] = state.in[1] = once[length - 1];
        state.out[0] = state.out[1] = 0.0;
        for (int k = length - 1; k >= edge; k--) {
            const float value = (float)state.next(once[k]);
            if (k < edge + samples) x[k - edge] = value;
        }
    }
}
