// The frame-local half of an encoder block, forward, in one pass over memory.   x [N, F, H] -> y [N, F, H]
// For the backward pass: x1 and x2, the inputs of its second and third part, from the same pass without the last part.
//
//     x += prelu(conv1(layer_norm(x)))                             along F, k taps, G groups
//     x += silu(unsqueeze(full_band(silu(squeeze(layer_norm(x))))))       H -> S, F -> F for each s, S -> H
//     x += prelu(conv2(layer_norm(x)))
//
//     one block per up to three frames, which stay in shared memory:
//       frames <- x
//       twice, around the map across frequency:
//         mean, rstd of every row;  for each bundle of groups:
//           tile <- normalised channels of the groups, zeros around;  frames += prelu(windows weights^T + bias)
//       z [s][frame][f] <- silu(normalised rows times squeeze);  u [frame][f][s] <- maps z
//       frames += silu(unsqueeze u)
//       y <- frames
//
// 1. All of it is local to a frame: 24.8 KB in bf16 for F = 129, H = 96. The separate ops read and write such a tensor
//    32 times, this kernel twice. Three frames share each read of the maps' weights, which come from the second-level
//    cache: 0.3 MB per block in bf16, rounded and padded by a first kernel (`packed`, T [S, F up to 32, F up to 16]).
// 2. A group's convolution reads and changes the channels of that group only, and the moments of the rows are taken
//    before: so frames can be updated in place, bundle by bundle, and a tile is needed for one bundle only.
// 3. The maps are products with the weights as rows and the frames as columns: of eight columns of the tensor cores
//    three are used, which costs nothing, as the weights have to be read once anyway.
// 4. The second norm never lies in memory. Its weight is folded into that of the squeeze, its bias into the bias, and
//    the rows are centred and scaled while they become fragments.
// 5. A tile's numbers beyond the padded end of a window, and what lies behind it, meet zero weights: they are cleared
//    beforehand, for zero times NaN is NaN. Rows beyond the last frequency are computed and dropped.
//
// Bytes from memory: 2 N F H numbers, 3 N F H with x1 and x2. FLOPs: 2 N F (2 H H/G k + 2 H S + F S).
#include "common.cuh"
#include "ptx.cuh"
#include "tile.cuh"

#define THREADS 512
#define WARPS (THREADS / 32)

// The padded length of a product's inner axis, and the gap between such rows that spreads them over the banks.
#define INNER(T, n) (sizeof(T) == 2 ? CEIL_DIV(n, 16) * 16 : (n))
#define ROW(T, n) (INNER(T, n) + (sizeof(T) == 2 ? 8 : 1))
#define EVEN(T, n) (sizeof(T) == 2 ? CEIL_DIV(n, 2) * 2 : (n))
#define UP8(n) (CEIL_DIV(n, 8) * 8)

struct Sizes {
    int N, F, H, groups, taps, S;
    int frames, bundle;  // per block; groups per tile
    float eps;
};

struct FreqConv {
    const float *norm_weight, *norm_bias, *weight, *bias, *slope;
};

struct FullBand {
    const float *norm_weight, *norm_bias, *squeeze_weight, *squeeze_bias, *bias, *unsqueeze_weight, *unsqueeze_bias;
};

// Mean and 1 / sqrt(var + eps) of every row, a warp each.
template <typename T>
static __device__ void row_moments(const T* frames, float* mean, float* rstd, int rows, const Sizes& z) {
    const int lane = threadIdx.x & 31;
    for (int row = threadIdx.x / 32; row < rows; row += WARPS) {
        const T* x = frames + row * z.H;
        float sum = 0.0f, squares = 0.0f;
        for (int h = lane; h < z.H; h += 32) sum += to_float(x[h]);
        const float centre = warp_sum(sum) / (float)z.H;
        for (int h = lane; h < z.H; h += 32) squares = fmaf(to_float(x[h]) - centre, to_float(x[h]) - centre, squares);
        squares = warp_sum(squares);
        if (lane == 0) {
            mean[row] = centre;
            rstd[row] = 1.0f / sqrtf(squares / (float)z.H + z.eps);
        }
    }
}

template <typename T>
static __device__ void clear_shared(T* p, int count) {
    for (int i = threadIdx.x; i < count; i += THREADS) p[i] = from_float<T>(0.0f);
}

// tile [bundled][frame][F + taps - 1][pitch] <- the normalised channels of the groups; a thread keeps its channel.
template <typename T>
static __device__ void stage_tile(T* tile, const T* frames, const float* mean, const float* rstd, const FreqConv& conv,
                                  int group, int present, int count, int pitch, const Sizes& z) {
    const int inputs = z.H / z.groups, width = present * inputs, lanes = min(width, THREADS);
    const int at_once = THREADS / lanes, start = threadIdx.x / lanes, plane = (z.F + z.taps - 1) * pitch;
    for (int c = threadIdx.x % lanes; c < width; c += lanes) {
        const int channel = group * inputs + c;
        const float weight = conv.norm_weight[channel], bias = conv.norm_bias[channel];
        T* to = tile + c / inputs * z.frames * plane + c % inputs + z.taps / 2 * pitch;
        for (int frame = 0; frame < count; frame++) {
            for (int f = start < at_once ? start : z.F; f < z.F; f += at_once) {
                const int row = frame * z.F + f;
                const float xhat = (to_float(frames[row * z.H + channel]) - mean[row]) * rstd[row];
                to[frame * plane + f * pitch] = from_float<T>(fmaf(xhat, weight, bias));
            }
        }
    }
}

// frames += prelu(conv(layer_norm(frames)))
template <typename T>
static __device__ void freq_conv(T* frames, T* area, float* mean, float* rstd, const FreqConv& conv, int count,
                                 const Sizes& z) {
    const int inputs = z.H / z.groups, pitch = EVEN(T, inputs), window = INNER(T, z.taps * pitch);
    const int weight_row = ROW(T, z.taps * pitch), columns = UP8(inputs), per_column = inputs * z.taps;
    const int plane = (z.F + z.taps - 1) * pitch;
    const int tile_size = UP8(z.bundle * z.frames * plane + TILE_ROWS * pitch);
    T* tile = area;
    T* weights = area + tile_size;
    clear_shared(area, tile_size + z.bundle * columns * weight_row);
    row_moments(frames, mean, rstd, count * z.F, z);
    const int row_tiles = CEIL_DIV(z.F, TILE_ROWS), column_tiles = CEIL_DIV(inputs, TILE_COLUMNS);
    for (int group = 0; group < z.groups; group += z.bundle) {
        const int present = min(z.bundle, z.groups - group);
        __syncthreads();
        stage_tile(tile, frames, mean, rstd, conv, group, present, count, pitch, z);
        for (int e = threadIdx.x; e < present * inputs * per_column; e += THREADS) {
            const int t = e % z.taps, i = e / z.taps % inputs, o = e / per_column;
            weights[(o / inputs * columns + o % inputs) * weight_row + t * pitch + i] =
                from_float<T>(conv.weight[group * inputs * per_column + e]);
        }
        __syncthreads();
        for (int item = threadIdx.x / 32; item < present * count * row_tiles * column_tiles; item += WARPS) {
            const int row = item % row_tiles * TILE_ROWS, frame = item / row_tiles % count;
            const int bundled = item / row_tiles / count % present;
            const int left = item / row_tiles / count / present * TILE_COLUMNS, here = min(TILE_COLUMNS, inputs - left);
            TileSums sums;
            clear(sums);
            multiply(sums, tile + (bundled * z.frames + frame) * plane + row * pitch, pitch,
                     weights + (bundled * columns + left) * weight_row, weight_row, window, here);
            const int channel = (group + bundled) * inputs + left;
#pragma unroll
            for (int e = 0; e < 24; e++) {
                const int m = e / 12, n = e / 4 % 3, j = e % 4, c = tile_column(n, j), f = row + tile_row(m, j);
                if (c < here && f < z.F) {
                    T* at = frames + (frame * z.F + f) * z.H + channel + c;
                    const float v = sums[m][n][j] + conv.bias[channel + c];
                    *at = from_float<T>(to_float(*at) + (v > 0.0f ? v : v * conv.slope[channel + c]));
                }
            }
        }
    }
    __syncthreads();
}

// As `multiply`, with the rows of a centred and scaled on the way; mean and rstd are those of the tile's rows.
static __device__ __forceinline__ void multiply_normalised(TileSums& sums, const float* a, int a_row, const float* mean,
                                                           const float* rstd, const float* b, int b_row, int k,
                                                           int columns) {
    const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
    float centre[4], scale[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
        centre[r] = mean[g + 8 * r];
        scale[r] = rstd[g + 8 * r];
    }
    for (int i = 0; i < k; i++) {
        float rows[4];
#pragma unroll
        for (int r = 0; r < 4; r++) rows[r] = (a[(g + 8 * r) * a_row + i] - centre[r]) * scale[r];
#pragma unroll
        for (int n = 0; n < 3; n++) {
            if (8 * n < columns) {
                const float left = b[(8 * n + 2 * t) * b_row + i], right = b[(8 * n + 2 * t + 1) * b_row + i];
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    sums[r / 2][n][r % 2 * 2] = fmaf(rows[r], left, sums[r / 2][n][r % 2 * 2]);
                    sums[r / 2][n][r % 2 * 2 + 1] = fmaf(rows[r], right, sums[r / 2][n][r % 2 * 2 + 1]);
                }
            }
        }
    }
}

static __device__ __forceinline__ void multiply_normalised(TileSums& sums, const bf16* a, int a_row, const float* mean,
                                                           const float* rstd, const bf16* b, int b_row, int k,
                                                           int columns) {
    const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
    float centre[4], scale[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
        centre[r] = mean[g + 8 * r];
        scale[r] = rstd[g + 8 * r];
    }
    a += g * a_row + 2 * t;
    b += g * b_row + 2 * t;
    for (int i = 0; i < k; i += 16) {
        unsigned left[2][4];
#pragma unroll
        for (int e = 0; e < 8; e++) {
            // Row 8 r + g, the first or second eight of k.
            const int r = e / 4 * 2 + e % 2, later = e / 2 % 2;
            const unsigned pair = two(a + 8 * r * a_row + i + 8 * later);
            left[e / 4][e % 4] = pack_bf16((__uint_as_float(pair << 16) - centre[r]) * scale[r],
                                           (__uint_as_float(pair & 0xffff0000u) - centre[r]) * scale[r]);
        }
#pragma unroll
        for (int n = 0; n < 3; n++) {
            if (8 * n < columns) {
                const bf16* column = b + 8 * n * b_row + i;
                const unsigned right[2] = {two(column), two(column + 8)};
                mma_bf16_16816(sums[0][n], left[0], right);
                mma_bf16_16816(sums[1][n], left[1], right);
            }
        }
    }
}

// Where the full-band part keeps its numbers, in the order of their offsets.
template <typename T>
struct Places {
    T *u, *z, *squeeze, *unsqueeze;
    float* bias;
    int u_pitch, z_row, size;  // size: of everything but the bias

    __device__ Places(T* area, const Sizes& s) {
        u_pitch = EVEN(T, s.S);
        z_row = ROW(T, s.F);
        u = area;
        z = u + UP8((s.frames * s.F + TILE_ROWS) * u_pitch + 16);
        squeeze = z + UP8((s.S * s.frames + 8) * z_row);
        unsqueeze = squeeze + UP8(UP8(s.S) * ROW(T, s.H));
        size = (int)(unsqueeze - area) + UP8(UP8(s.H) * ROW(T, s.S));
        bias = reinterpret_cast<float*>(area + size);
    }
};

// The weights of squeeze and unsqueeze, and the biases of the squeeze, with the norm's weight and bias folded in.
template <typename T>
static __device__ void stage_squeeze(const Places<T>& p, const FullBand& full, const Sizes& z) {
    for (int e = threadIdx.x; e < z.S * z.H; e += THREADS) {
        const int s = e / z.H, h = e % z.H;
        p.squeeze[s * ROW(T, z.H) + h] = from_float<T>(full.squeeze_weight[e] * full.norm_weight[h]);
    }
    for (int e = threadIdx.x; e < z.S * z.H; e += THREADS) {
        const int h = e / z.S, s = e % z.S;
        p.unsqueeze[h * ROW(T, z.S) + s] = from_float<T>(full.unsqueeze_weight[e]);
    }
    for (int s = threadIdx.x / 32; s < z.S; s += WARPS) {
        float sum = 0.0f;
        for (int h = threadIdx.x & 31; h < z.H; h += 32) {
            sum = fmaf(full.squeeze_weight[s * z.H + h], full.norm_bias[h], sum);
        }
        sum = warp_sum(sum);
        if ((threadIdx.x & 31) == 0) p.bias[s] = sum + full.squeeze_bias[s];
    }
}

// frames += silu(unsqueeze(full_band(silu(squeeze(layer_norm(frames))))))
template <typename T>
static __device__ void full_band(T* frames, T* area, float* mean, float* rstd, const FullBand& full, const T* packed,
                                 int count, const Sizes& z) {
    const Places<T> p(area, z);
    const int row_tiles = CEIL_DIV(z.F, TILE_ROWS), warp = threadIdx.x / 32;
    clear_shared(area, p.size);
    row_moments(frames, mean, rstd, count * z.F, z);
    __syncthreads();
    stage_squeeze(p, full, z);
    __syncthreads();
    for (int item = warp; item < row_tiles * count * CEIL_DIV(z.S, TILE_COLUMNS); item += WARPS) {
        const int row = item % row_tiles * TILE_ROWS, frame = item / row_tiles % count;
        const int left = item / row_tiles / count * TILE_COLUMNS, at = frame * z.F + row;
        TileSums sums;
        clear(sums);
        multiply_normalised(sums, frames + at * z.H, z.H, mean + at, rstd + at, p.squeeze + left * ROW(T, z.H),
                            ROW(T, z.H), INNER(T, z.H), min(TILE_COLUMNS, z.S - left));
#pragma unroll
        for (int e = 0; e < 24; e++) {
            const int m = e / 12, n = e / 4 % 3, j = e % 4, s = left + tile_column(n, j), f = row + tile_row(m, j);
            if (s < z.S && f < z.F) {
                const float v = sums[m][n][j] + p.bias[s];
                p.z[(s * z.frames + frame) * p.z_row + f] = from_float<T>(v * sigmoid_for<T>(v));
            }
        }
    }
    __syncthreads();
    const int map_row = INNER(T, z.F);
    for (int item = warp; item < row_tiles * z.S; item += WARPS) {
        const int row = item % row_tiles * TILE_ROWS, s = item / row_tiles;
        TileSums sums;
        clear(sums);
        multiply(sums, packed + (long long)(s * row_tiles * TILE_ROWS + row) * map_row, map_row,
                 p.z + s * z.frames * p.z_row, p.z_row, map_row, count);
#pragma unroll
        for (int e = 0; e < 24; e++) {
            const int m = e / 12, n = e / 4 % 3, j = e % 4, frame = tile_column(n, j), f = row + tile_row(m, j);
            if (frame < count && f < z.F) {
                p.u[(frame * z.F + f) * p.u_pitch + s] = from_float<T>(sums[m][n][j] + full.bias[s * z.F + f]);
            }
        }
    }
    __syncthreads();
    for (int item = warp; item < row_tiles * count * CEIL_DIV(z.H, TILE_COLUMNS); item += WARPS) {
        const int row = item % row_tiles * TILE_ROWS, frame = item / row_tiles % count;
        const int left = item / row_tiles / count * TILE_COLUMNS;
        TileSums sums;
        clear(sums);
        multiply(sums, p.u + (frame * z.F + row) * p.u_pitch, p.u_pitch, p.unsqueeze + left * ROW(T, z.S), ROW(T, z.S),
                 INNER(T, z.S), min(TILE_COLUMNS, z.H - left));
#pragma unroll
        for (int e = 0; e < 24; e++) {
            const int m = e / 12, n = e / 4 % 3, j = e % 4, h = left + tile_column(n, j), f = row + tile_row(m, j);
            if (h < z.H && f < z.F) {
                T* at = frames + (frame * z.F + f) * z.H + h;
                const float v = sums[m][n][j] + full.unsqueeze_bias[h];
                *at = from_float<T>(to_float(*at) + v * sigmoid_for<T>(v));
            }
        }
    }
    __syncthreads();
}

// `count` numbers between memory and shared memory, four at a time where they are aligned.
template <typename T>
static __device__ void copy(T* to, const T* from, int count, int aligned) {
    if (aligned) {
        for (int i = 4 * threadIdx.x; i < count; i += 4 * THREADS) store4(to + i, load4(from + i));
    } else {
        for (int i = threadIdx.x; i < count; i += THREADS) to[i] = from[i];
    }
}

// Where y is null, what the second and the third part begin with: x1 and x2.
template <typename T>
static __device__ void forward(T* shared, T* y, T* x1, T* x2, const T* x, const T* packed, const FreqConv& conv1,
                               const FullBand& full, const FreqConv& conv2, const Sizes& z) {
    const int frame_size = z.F * z.H, frames_size = UP8(z.frames * frame_size + 16);
    const int moments = UP8(z.frames * z.F + TILE_ROWS);
    T* frames = shared;
    float* mean = reinterpret_cast<float*>(shared + frames_size);
    float* rstd = mean + moments;
    T* area = reinterpret_cast<T*>(rstd + moments);
    const int first = blockIdx.x * z.frames, count = min(z.frames, z.N - first);
    const long long start = (long long)first * frame_size;
    clear_shared(frames + count * frame_size, 16);
    copy(frames, x + start, count * frame_size, z.H % 4 == 0);
    __syncthreads();
    freq_conv(frames, area, mean, rstd, conv1, count, z);
    if (x1 != nullptr) copy(x1 + start, frames, count * frame_size, z.H % 4 == 0);
    full_band(frames, area, mean, rstd, full, packed, count, z);
    if (y != nullptr) freq_conv(frames, area, mean, rstd, conv2, count, z);
    copy((y != nullptr ? y : x2) + start, frames, count * frame_size, z.H % 4 == 0);
}

// w [S, F, F] -> packed [S, rows, columns], zero where w ends.
template <typename T>
static __device__ void pack(T* packed, const float* w, int S, int F, int rows, int columns) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < S * rows * columns) {
        const int f = i % columns, g = i / columns % rows, s = i / columns / rows;
        packed[i] = from_float<T>(f < F && g < F ? w[((long long)s * F + g) * F + f] : 0.0f);
    }
}

// w [S, F, F] -> packed [S, rows, columns], zero where w ends.
extern "C" __global__ void __launch_bounds__(256)
cross_band_pack_f32(float* packed, const float* w, int S, int F, int rows, int columns) {
    pack(packed, w, S, F, rows, columns);
}

// w [S, F, F] -> packed [S, rows, columns], zero where w ends, rounded to bf16.
extern "C" __global__ void __launch_bounds__(256)
cross_band_pack_bf16(bf16* packed, const float* w, int S, int F, int rows, int columns) {
    pack(packed, w, S, F, rows, columns);
}

// x [N, F, H], packed (see cross_band_pack_f32), the parameters of the three parts -> y [N, F, H]. One block per
// `frames` frames, a tile for `bundle` groups.
extern "C" __global__ void __launch_bounds__(THREADS)
cross_band_fwd_f32(float* PACKED y, const float* PACKED x, const float* packed, const float* norm1_weight,
                   const float* norm1_bias, const float* conv1_weight, const float* conv1_bias, const float* slope1,
                   const float* norm_weight, const float* norm_bias, const float* squeeze_weight,
                   const float* squeeze_bias, const float* bias, const float* unsqueeze_weight,
                   const float* unsqueeze_bias, const float* norm2_weight, const float* norm2_bias,
                   const float* conv2_weight, const float* conv2_bias, const float* slope2, int N, int F, int H,
                   int groups, int taps, int S, int frames, int bundle, float eps) {
    DYN_SHARED(float, shared);
    forward<float>(shared, y, nullptr, nullptr, x, packed, {norm1_weight, norm1_bias, conv1_weight, conv1_bias, slope1},
                   {norm_weight, norm_bias, squeeze_weight, squeeze_bias, bias, unsqueeze_weight, unsqueeze_bias},
                   {norm2_weight, norm2_bias, conv2_weight, conv2_bias, slope2},
                   {N, F, H, groups, taps, S, frames, bundle, eps});
}

// As cross_band_fwd_f32, for activations stored as bf16; H is even.
extern "C" __global__ void __launch_bounds__(THREADS)
cross_band_fwd_bf16(bf16* PACKED y, const bf16* PACKED x, const bf16* packed, const float* norm1_weight,
                    const float* norm1_bias, const float* conv1_weight, const float* conv1_bias, const float* slope1,
                    const float* norm_weight, const float* norm_bias, const float* squeeze_weight,
                    const float* squeeze_bias, const float* bias, const float* unsqueeze_weight,
                    const float* unsqueeze_bias, const float* norm2_weight, const float* norm2_bias,
                    const float* conv2_weight, const float* conv2_bias, const float* slope2, int N, int F, int H,
                    int groups, int taps, int S, int frames, int bundle, float eps) {
    DYN_SHARED(bf16, shared);
    forward<bf16>(shared, y, nullptr, nullptr, x, packed, {norm1_weight, norm1_bias, conv1_weight, conv1_bias, slope1},
                  {norm_weight, norm_bias, squeeze_weight, squeeze_bias, bias, unsqueeze_weight, unsqueeze_bias},
                  {norm2_weight, norm2_bias, conv2_weight, conv2_bias, slope2},
                  {N, F, H, groups, taps, S, frames, bundle, eps});
}

// As cross_band_fwd_f32, with the inputs of the second and the third part instead of the third part's output, for the
// backward pass: x [N, F, H] -> x1 = x + prelu(conv1(..)) and x2 = x1 + silu(..), both [N, F, H].
extern "C" __global__ void __launch_bounds__(THREADS)
cross_band_inputs_f32(float* PACKED x1, float* PACKED x2, const float* PACKED x, const float* packed,
                      const float* norm1_weight, const float* norm1_bias, const float* conv1_weight,
                      const float* conv1_bias, const float* slope1, const float* norm_weight, const float* norm_bias,
                      const float* squeeze_weight, const float* squeeze_bias, const float* bias,
                      const float* unsqueeze_weight, const float* unsqueeze_bias, int N, int F, int H, int groups,
                      int taps, int S, int frames, int bundle, float eps) {
    DYN_SHARED(float, shared);
    forward<float>(shared, nullptr, x1, x2, x, packed, {norm1_weight, norm1_bias, conv1_weight, conv1_bias, slope1},
                  {norm_weight, norm_bias, squeeze_weight, squeeze_bias, bias, unsqueeze_weight, unsqueeze_bias}, {},
                  {N, F, H, groups, taps, S, frames, bundle, eps});
}

// As cross_band_inputs_f32, for activations stored as bf16; H is even.
extern "C" __global__ void __launch_bounds__(THREADS)
cross_band_inputs_bf16(bf16* PACKED x1, bf16* PACKED x2, const bf16* PACKED x, const bf16* packed,
                       const float* norm1_weight, const float* norm1_bias, const float* conv1_weight,
                       const float* conv1_bias, const float* slope1, const float* norm_weight, const float* norm_bias,
                       const float* squeeze_weight, const float* squeeze_bias, const float* bias,
                       const float* unsqueeze_weight, const float* unsqueeze_bias, int N, int F, int H, int groups,
                       int taps, int S, int frames, int bundle, float eps) {
    DYN_SHARED(bf16, shared);
    forward<bf16>(shared, nullptr, x1, x2, x, packed, {norm1_weight, norm1_bias, conv1_weight, conv1_bias, slope1},
                  {norm_weight, norm_bias, squeeze_weight, squeeze_bias, bias, unsqueeze_weight, unsqueeze_bias}, {},
                  {N, F, H, groups, taps, S, frames, bundle, eps});
}
