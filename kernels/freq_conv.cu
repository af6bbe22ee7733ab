// The backward pass of y = x + prelu(conv(layer_norm(x)) + bias), a convolution across frequency, in one kernel.
//
// x dy dx [N, F, H]: N frames, F bands, H channels in G groups; norm weight and bias [H], w [H, H/G, k], bias [H], one
// slope per channel [H]; zeros around each frame. From x and dy:
//
//     one block per run of frames, for each frame:                          each block, once, behind its last frame:
//       whole <- x;  tile <- dy of a bundle of groups                         partial[block] <- dw, dbias, dslope,
//       a warp per row: mean, rstd;  whole <- a = xhat weight + bias              the norm's dweight, dbias
//       for each bundle of groups:                                            then one sum over the blocks
//         c = windows(a) w^T + bias
//         tile <- dc = dy (c > 0 ? 1 : slope);  dbias += sum of dc;  dslope += sum of dy c over c <= 0
//         dw += windows(a)^T dc
//         whole <- da = windows(dc) w'^T, w' with the taps reversed, inputs and outputs exchanged
//       a warp per row: the norm's dweight += da xhat, dbias += da;  with g = da weight
//         dx <- dy + rstd (g - mean(g) - xhat mean(g xhat))
//
// 1. All of it is local to a frame, 24.8 KB in bf16 for F = 129, H = 96. The separate ops move such a tensor 26 times
//    for the same gradients, this kernel three times: what it needs of x and dy for the last step comes from the
//    second-level cache, where it arrived a few microseconds ago.
// 2. `whole` holds all groups, as the layer norm's backward needs all channels of da: [group][F + k - 1][channels],
//    with the zeros of the convolution around. da of a group takes the place of a, which nobody else reads. `tile` and
//    the weights hold one bundle of groups; if that is all of them (bf16 at the paper's size), weights are staged once
//    per block. The next frame's dy is on its way, past the registers, as soon as this one's dc has been read, its x as
//    soon as da has.
// 3. As in conv1d.cu a window is one run of neighbouring numbers, and windows of neighbouring bands overlap. Rows of 12
//    channels are not aligned for ldmatrix, and padding them to 16 would need more shared memory than there is: the
//    product over the bands collects its fragments in halves of a word. In dw its inner axis ends at F: what follows
//    in the tile belongs to the next group.
// 4. The sums of dw stay in registers over all frames of a block: a warp owns 32 window entries x 24 outputs of a
//    group. dbias and dslope have places in shared memory, one per channel and tile of rows: one warp adds to each, in
//    the order of the frames. So have the norm's gradients, one per channel and warp, whose rows are always the same.
// 5. Blocks are added by a second kernel, eight interleaved sums first: no atomics, the same bits at every run.
// 6. A number of a lane's row lies at `place(channel) + pitch row`: divisions are done once per step, not per number.
//
// Bytes: 3 N F H numbers, and twice H H/G k + 4 H floats per block. FLOPs: 6 N F H H/G k, a third of them to compute
// c again: on tensor cores in bf16, memory-bound.
#include "common.cuh"
#include "ptx.cuh"
#include "tile.cuh"

#define THREADS 512
#define WARPS (THREADS / 32)
// Channels of a lane in steps that give a row to a warp; so H is at most 128.
#define PER_LANE 4

// The padded length of a product's inner axis, and the gap between such rows that spreads them over the banks.
#define INNER(T, n) (sizeof(T) == 2 ? CEIL_DIV(n, 16) * 16 : (n))
#define ROW(T, n) (INNER(T, n) + (sizeof(T) == 2 ? 8 : 1))
#define EVEN(T, n) (sizeof(T) == 2 ? CEIL_DIV(n, 2) * 2 : (n))
#define UP8(n) (CEIL_DIV(n, 8) * 8)

struct Sizes {
    int N, F, H, groups, taps;
    int frames, bundle;  // per block; groups per tile
    float eps;
};

struct Parameters {
    const float *norm_weight, *norm_bias, *weight, *bias, *slope;
};

// The sizes, and what lies where in shared memory, from its beginning in numbers of T; floats from `mean` on.
struct Layout {
    Sizes sizes;
    int inputs, pitch, plane, window, weight_row, row_tiles;
    int tile, weights, reversed, mean;
};

template <typename T>
static __device__ Layout layout_of(const Sizes& z) {
    Layout at;
    at.sizes = z;
    at.inputs = z.H / z.groups;
    at.pitch = EVEN(T, at.inputs);
    at.plane = (z.F + z.taps - 1) * at.pitch;
    at.window = INNER(T, z.taps * at.pitch);
    at.weight_row = ROW(T, z.taps * at.pitch);
    at.row_tiles = CEIL_DIV(z.F, TILE_ROWS);
    // Products read whole tiles of rows, also behind the last frequency, and whole columns of weights.
    const int behind = TILE_ROWS * at.pitch + 32, weights = UP8((z.bundle * at.inputs + 8) * at.weight_row);
    at.tile = UP8(z.groups * at.plane + behind);
    at.weights = at.tile + UP8(z.bundle * at.plane + behind);
    at.reversed = at.weights + weights;
    at.mean = at.reversed + weights;
    return at;
}

// The same as pointers. Each step makes its own from the layout in shared memory, which it cannot know before the
// barrier in front of it: kept over all frames, they and what follows from them cost registers that the sums need.
template <typename T>
struct Places {
    T *whole, *tile, *weights, *reversed;
    float *mean, *rstd, *biases, *slopes, *norms;
    int inputs, pitch, plane, window, weight_row, row_tiles, zeros;

    __device__ Places(T* shared, const Layout* kept) {
        const Layout at = *kept;
        const Sizes& z = at.sizes;
        inputs = at.inputs;
        pitch = at.pitch;
        plane = at.plane;
        window = at.window;
        weight_row = at.weight_row;
        row_tiles = at.row_tiles;
        zeros = z.taps / 2 * pitch;
        whole = shared;
        tile = shared + at.tile;
        weights = shared + at.weights;
        reversed = shared + at.reversed;
        mean = reinterpret_cast<float*>(shared + at.mean);
        rstd = mean + UP8(z.F);
        biases = rstd + UP8(z.F);
        slopes = biases + row_tiles * z.H;
        norms = slopes + row_tiles * z.H;
    }
    // Of a channel's number at the first frequency; the convolution's zeros lie before it.
    __device__ int place(int channel) const { return channel / inputs * plane + zeros + channel % inputs; }
};

// Four neighbouring numbers on their way to shared memory.
static __device__ __forceinline__ void send4(float* to, const float* from) { cp_async_16(to, from, 1); }
static __device__ __forceinline__ void send4(bf16* to, const bf16* from) { cp_async_8(to, from); }

// Sends for whole, or tile, [group][F + k - 1][pitch] the channels of the `present` groups from `group` on of a frame
// [F, H]. They are there after a wait and a barrier.
template <typename T>
static __device__ void stage(T* shared, const Layout* kept, int is_whole, const T* frame, int group, int present) {
    const Places<T> p(shared, kept);
    const Sizes z = kept->sizes;
    const int step = p.inputs % 4 == 0 ? 4 : 1, width = present * p.inputs;
    const int lanes = min(width / step, THREADS), at_once = THREADS / lanes;
    const int start = threadIdx.x / lanes < at_once ? threadIdx.x / lanes : z.F;
    for (int c = threadIdx.x % lanes * step; c < width; c += lanes * step) {
        T* to = (is_whole ? p.whole : p.tile) + p.place(c);
        const T* from = frame + group * p.inputs + c;
        for (int f = start; f < z.F; f += at_once) {
            if (step == 4) send4(to + f * p.pitch, from + f * z.H);
            else to[f * p.pitch] = from[f * z.H];
        }
    }
    cp_async_commit();
}

// A row of weights per output, entry t pitch + i of its window; and reversed, where a row is an input.
template <typename T>
static __device__ void stage_weights(T* shared, const Layout* kept, const float* weight, int group, int present) {
    const Places<T> p(shared, kept);
    const Sizes z = kept->sizes;
    const int per_output = p.inputs * z.taps, first = group * p.inputs;
    for (int e = threadIdx.x; e < present * p.inputs * per_output; e += THREADS) {
        const int t = e % z.taps, i = e / z.taps % p.inputs, o = e / per_output, bundled = o / p.inputs;
        const T w = from_float<T>(weight[first * per_output + e]);
        p.weights[o * p.weight_row + t * p.pitch + i] = w;
        p.reversed[(bundled * p.inputs + i) * p.weight_row + (z.taps - 1 - t) * p.pitch + o % p.inputs] = w;
    }
}

// whole <- layer_norm(whole), and the moments of its rows; a warp each.
template <typename T>
static __device__ void normalise(T* shared, const Layout* kept, const Parameters& of) {
    const Places<T> p(shared, kept);
    const Sizes z = kept->sizes;
    const int lane = threadIdx.x & 31;
    int place[PER_LANE];
    float weight[PER_LANE], bias[PER_LANE];
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
        const int h = min(lane + 32 * i, z.H - 1);
        place[i] = p.place(h);
        weight[i] = of.norm_weight[h];
        bias[i] = of.norm_bias[h];
    }
    for (int f = threadIdx.x / 32; f < z.F; f += WARPS) {
        T* row = p.whole + f * p.pitch;
        float x[PER_LANE], sum = 0.0f, squares = 0.0f;
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            x[i] = lane + 32 * i < z.H ? to_float(row[place[i]]) : 0.0f;
            sum += x[i];
        }
        const float mean = warp_sum(sum) / (float)z.H;
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            if (lane + 32 * i < z.H) squares = fmaf(x[i] - mean, x[i] - mean, squares);
        }
        const float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)z.H + z.eps);
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            if (lane + 32 * i < z.H) row[place[i]] = from_float<T>(fmaf((x[i] - mean) * rstd, weight[i], bias[i]));
        }
        if (lane == 0) {
            p.mean[f] = mean;
            p.rstd[f] = rstd;
        }
    }
}

// As multiply of tile.cuh, in bf16 one step of its inner axis at a time: unrolled, its loads run ahead into registers
// that the sums of dw hold.
static __device__ __forceinline__ void multiply_windows(TileSums& sums, const float* a, int a_row, const float* b,
                                                        int b_row, int k, int columns) {
    multiply(sums, a, a_row, b, b_row, k, columns);
}
static __device__ __forceinline__ void multiply_windows(TileSums& sums, const bf16* a, int a_row, const bf16* b,
                                                        int b_row, int k, int columns) {
#pragma unroll 1
    for (int i = 0; i < k; i += 16) multiply(sums, a + i, a_row, b + i, b_row, 16, columns);
}

// tile <- dc where dy was; and what the frame adds to the gradients of biases and slopes.
template <typename T>
static __device__ void through_prelu(T* shared, const Layout* kept, const Parameters& of, int group, int present) {
    const Places<T> p(shared, kept);
    const Sizes z = kept->sizes;
    const int column_tiles = CEIL_DIV(p.inputs, TILE_COLUMNS);
    for (int item = threadIdx.x / 32; item < present * p.row_tiles * column_tiles; item += WARPS) {
        const int row = item % p.row_tiles * TILE_ROWS, bundled = item / p.row_tiles % present;
        const int left = item / p.row_tiles / present * TILE_COLUMNS, here = min(TILE_COLUMNS, p.inputs - left);
        TileSums sums;
        clear(sums);
        multiply_windows(sums, p.whole + (group + bundled) * p.plane + row * p.pitch, p.pitch,
                         p.weights + (bundled * p.inputs + left) * p.weight_row, p.weight_row, p.window, here);
        const int channel = (group + bundled) * p.inputs + left;
        T* tile = p.tile + bundled * p.plane + (row + z.taps / 2) * p.pitch + left;
        float* biases = p.biases + row / TILE_ROWS * z.H + channel;
        float* slopes = p.slopes + row / TILE_ROWS * z.H + channel;
#pragma unroll
        for (int pair = 0; pair < 6; pair++) {
            const int n = pair / 2, c = tile_column(n, pair % 2);
            const float bias = c < here ? of.bias[channel + c] : 0.0f, slope = c < here ? of.slope[channel + c] : 0.0f;
            float dbias = 0.0f, dslope = 0.0f;
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const int j = r % 2 * 2 + pair % 2, f = tile_row(r / 2, j);
                if (c < here && row + f < z.F) {
                    T* at = tile + f * p.pitch + c;
                    const float v = sums[r / 2][n][j] + bias, dy = to_float(*at);
                    if (!(v > 0.0f)) {
                        dslope = fmaf(dy, v, dslope);
                        *at = from_float<T>(dy * slope);
                    }
                    dbias += to_float(*at);
                }
            }
            // Eight lanes hold the tile's rows of a column.
#pragma unroll
            for (int offset = 4; offset < 32; offset *= 2) {
                dbias += __shfl_xor_sync(0xffffffffu, dbias, offset);
                dslope += __shfl_xor_sync(0xffffffffu, dslope, offset);
            }
            if ((threadIdx.x & 31) < 4 && c < here) {
                biases[c] += dbias;
                slopes[c] += dslope;
            }
        }
    }
}

// As multiply_transposed of tile.cuh: sums += a^T b for a [k, 32] and b [k, columns].
static __device__ __forceinline__ void multiply_over_rows(TileSums& sums, const float* a, const float* b, int pitch,
                                                          int k, int columns) {
    float totals[3][4];
    multiply_transposed(sums, totals, a, pitch, b, pitch, k, columns, 0);
}

static __device__ __forceinline__ unsigned two(const bf16* p, int pitch) {
    return p[0].x | ((unsigned)p[pitch].x << 16);
}

// Here rows need no alignment, and b counts as zero behind its k rows.
static __device__ __forceinline__ void multiply_over_rows(TileSums& sums, const bf16* a, const bf16* b, int pitch,
                                                          int k, int columns) {
    const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
    a += 2 * t * pitch + g;
    b += 2 * t * pitch + g;
    for (int i = 0; i < k; i += 16, a += 16 * pitch, b += 16 * pitch) {
        unsigned left[2][4];
#pragma unroll
        for (int e = 0; e < 8; e++) {
            // Entry 16 m + 8 (e % 2) + g, the first or second eight of the rows.
            left[e / 4][e % 4] = two(a + e / 4 * 16 + e % 2 * 8 + e / 2 % 2 * 8 * pitch, pitch);
        }
        // Which of a pair of rows exist.
        unsigned mask[2];
#pragma unroll
        for (int later = 0; later < 2; later++) {
            const int present = k - i - 8 * later - 2 * t;
            mask[later] = present >= 2 ? 0xffffffffu : present == 1 ? 0xffffu : 0u;
        }
#pragma unroll
        for (int n = 0; n < 3; n++) {
            if (8 * n < columns) {
                const unsigned right[2] = {two(b + 8 * n, pitch) & mask[0],
                                           two(b + 8 * n + 8 * pitch, pitch) & mask[1]};
                mma_bf16_16816(sums[0][n], left[0], right);
                mma_bf16_16816(sums[1][n], left[1], right);
            }
        }
    }
}

// whole <- da of the groups, where a was.
template <typename T>
static __device__ void through_convolution(T* shared, const Layout* kept, int group, int present) {
    const Places<T> p(shared, kept);
    const Sizes z = kept->sizes;
    const int column_tiles = CEIL_DIV(p.inputs, TILE_COLUMNS);
    for (int item = threadIdx.x / 32; item < present * p.row_tiles * column_tiles; item += WARPS) {
        const int row = item % p.row_tiles * TILE_ROWS, bundled = item / p.row_tiles % present;
        const int left = item / p.row_tiles / present * TILE_COLUMNS, here = min(TILE_COLUMNS, p.inputs - left);
        TileSums sums;
        clear(sums);
        multiply_windows(sums, p.tile + bundled * p.plane + row * p.pitch, p.pitch,
                         p.reversed + (bundled * p.inputs + left) * p.weight_row, p.weight_row, p.window, here);
        T* whole = p.whole + (group + bundled) * p.plane + (row + z.taps / 2) * p.pitch + left;
#pragma unroll
        for (int r = 0; r < 4; r++) {
            const int f = tile_row(r / 2, 0) + r % 2 * 8, j = r % 2 * 2;
            if (row + f < z.F) {
#pragma unroll
                for (int n = 0; n < 3; n++) {
                    const int c = tile_column(n, 0);
                    store_some(whole + f * p.pitch + c, sums[r / 2][n][j], sums[r / 2][n][j + 1], here - c,
                               p.inputs % 2 == 0);
                }
            }
        }
    }
}

// dx of a frame from da, x and dy; a warp per row, which asks for its next row before it works on this one.
template <typename T>
static __device__ void through_norm(T* shared, const Layout* kept, T* dx, const T* x, const T* dy,
                                    const float* norm_weight) {
    const Places<T> p(shared, kept);
    const Sizes z = kept->sizes;
    const int lane = threadIdx.x & 31;
    int place[PER_LANE];
    float weight[PER_LANE], dweight[PER_LANE], dbias[PER_LANE], next_x[PER_LANE] = {}, next_dy[PER_LANE] = {};
    int f = threadIdx.x / 32;
    float* norms = p.norms + f * 2 * z.H;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
        const int h = lane + 32 * i;
        place[i] = p.place(min(h, z.H - 1));
        weight[i] = h < z.H ? norm_weight[h] : 0.0f;
        dweight[i] = h < z.H ? norms[h] : 0.0f;
        dbias[i] = h < z.H ? norms[z.H + h] : 0.0f;
        if (h < z.H && f < z.F) {
            next_x[i] = to_float(x[f * z.H + h]);
            next_dy[i] = to_float(dy[f * z.H + h]);
        }
    }
    for (; f < z.F; f += WARPS) {
        const float mean = p.mean[f], rstd = p.rstd[f];
        float xhat[PER_LANE], g[PER_LANE], d[PER_LANE], sum_g = 0.0f, sum_gx = 0.0f;
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            const int h = lane + 32 * i;
            xhat[i] = (next_x[i] - mean) * rstd;
            d[i] = next_dy[i];
            if (h < z.H && f + WARPS < z.F) {
                next_x[i] = to_float(x[(f + WARPS) * z.H + h]);
                next_dy[i] = to_float(dy[(f + WARPS) * z.H + h]);
            }
            const float da = h < z.H ? to_float(p.whole[place[i] + f * p.pitch]) : 0.0f;
            dweight[i] = fmaf(da, xhat[i], dweight[i]);
            dbias[i] += da;
            g[i] = da * weight[i];
            sum_g += g[i];
            sum_gx = fmaf(g[i], xhat[i], sum_gx);
        }
        const float mean_g = warp_sum(sum_g) / (float)z.H, mean_gx = warp_sum(sum_gx) / (float)z.H;
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            const int h = lane + 32 * i;
            if (h < z.H) dx[f * z.H + h] = from_float<T>(d[i] + rstd * (g[i] - mean_g - xhat[i] * mean_gx));
        }
    }
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
        const int h = lane + 32 * i;
        if (h < z.H) {
            norms[h] = dweight[i];
            norms[z.H + h] = dbias[i];
        }
    }
}

// partial <- the gradients of bias, slope, norm weight and norm bias, [H] each.
template <typename T>
static __device__ void write_rows(T* shared, const Layout* kept, float* partial) {
    __syncthreads();  // the last frame has been added
    const Places<T> p(shared, kept);
    const Sizes z = kept->sizes;
    for (int e = threadIdx.x; e < 2 * z.H; e += THREADS) {
        const float* of_rows = e < z.H ? p.biases + e : p.slopes + e - z.H;
        float total = 0.0f, of_norm = 0.0f;
        for (int row = 0; row < p.row_tiles; row++) total += of_rows[row * z.H];
        for (int w = 0; w < WARPS; w++) of_norm += p.norms[w * 2 * z.H + e];
        partial[e] = total;
        partial[2 * z.H + e] = of_norm;
    }
}

// What a warp has of dw: entries of the window, outputs of a group.
struct Part {
    int entry, group, left, columns;
};

// sums += its part of dw for a frame, if the bundle holds its group.
template <typename T>
static __device__ void add_products(TileSums& sums, T* shared, const Layout* kept, const Part& part, int group,
                                    int present) {
    const Places<T> p(shared, kept);
    const Sizes z = kept->sizes;
    if (part.columns > 0 && part.group >= group && part.group < group + present) {
        multiply_over_rows(sums, p.whole + part.group * p.plane + part.entry,
                           p.tile + (part.group - group) * p.plane + p.zeros + part.left, p.pitch, z.F, part.columns);
    }
}

// partial [block] <- dw
template <typename T>
static __device__ void write_products(T* shared, const Layout* kept, float* partial, const TileSums& sums,
                                      const Part& part) {
    __syncthreads();  // nothing of this is worked out while there are frames
    const Places<T> p(shared, kept);
    const Sizes z = kept->sizes;
    const int per_output = p.inputs * z.taps;
    partial += (part.group * p.inputs + part.left) * per_output;
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const int at = part.entry + tile_row(r / 2, r % 2 * 2), t = at / p.pitch, i = at % p.pitch;
        if (t < z.taps && i < p.inputs) {
#pragma unroll
            for (int pair = 0; pair < 6; pair++) {
                const int c = tile_column(pair / 2, pair % 2);
                if (c < part.columns) {
                    partial[c * per_output + i * z.taps + t] = sums[r / 2][pair / 2][r % 2 * 2 + pair % 2];
                }
            }
        }
    }
}

template <typename T>
static __device__ void backward(T* shared, T* dx, float* partial, const T* x, const T* dy, const Parameters& of,
                                const Sizes& z) {
    SHARED(Layout, layout, 1);
    const Layout* const kept = layout + 0;
    const Layout at = layout_of<T>(z);
    if (threadIdx.x == 0) layout[0] = at;
    for (int i = threadIdx.x; i < at.mean; i += THREADS) shared[i] = from_float<T>(0.0f);
    float* floats = reinterpret_cast<float*>(shared + at.mean);
    for (int i = threadIdx.x; i < 2 * (UP8(z.F) + (at.row_tiles + WARPS) * z.H); i += THREADS) floats[i] = 0.0f;
    const int entry_tiles = CEIL_DIV(z.taps * at.pitch, TILE_ROWS), warp = threadIdx.x / 32;
    const int left = warp / entry_tiles / z.groups * TILE_COLUMNS;
    const Part part = {warp % entry_tiles * TILE_ROWS, warp / entry_tiles % z.groups, left,
                       min(TILE_COLUMNS, at.inputs - left)};
    TileSums sums;
    clear(sums);
    const int first = blockIdx.x * z.frames, last = min(z.N, first + z.frames), bundled = min(z.bundle, z.groups);
    const long long frame = z.F * z.H;
    __syncthreads();  // all is zero, and the layout there
    stage(shared, kept, 1, x + first * frame, 0, z.groups);
    stage(shared, kept, 0, dy + first * frame, 0, bundled);
    for (int n = first; n < last; n++) {
        for (int group = 0; group < z.groups; group += z.bundle) {
            const int present = min(z.bundle, z.groups - group);
            if (group > 0) {
                __syncthreads();  // the bundle before has been read
                stage(shared, kept, 0, dy + n * frame, group, present);
            }
            if (z.bundle < z.groups || n == first) stage_weights(shared, kept, of.weight, group, present);
            cp_async_wait<0>();
            __syncthreads();
            if (group == 0) {
                normalise(shared, kept, of);
                __syncthreads();
            }
            through_prelu(shared, kept, of, group, present);
            __syncthreads();
            add_products(sums, shared, kept, part, group, present);
            __syncthreads();
            through_convolution(shared, kept, group, present);
        }
        __syncthreads();
        if (n + 1 < last) stage(shared, kept, 0, dy + (n + 1) * frame, 0, bundled);
        through_norm(shared, kept, dx + n * frame, x + n * frame, dy + n * frame, of.norm_weight);
        __syncthreads();  // da has been read
        if (n + 1 < last) stage(shared, kept, 1, x + (n + 1) * frame, 0, z.groups);
    }
    const int weights = z.H * at.inputs * z.taps;
    partial += (long long)blockIdx.x * (weights + 4 * z.H);
    write_products(shared, kept, partial, sums, part);
    write_rows(shared, kept, partial + weights);
}

// x dy [N, F, H] and the parameters -> dx [N, F, H], partial [blocks, |w| + 4 H]: the sums of dw, dbias, dslope, the
// norm's dweight and dbias over each block's frames. One block per `frames` frames, a tile for `bundle` groups.
extern "C" __global__ void __launch_bounds__(THREADS)
freq_conv_bwd_f32(float* PACKED dx, float* partial, const float* PACKED x, const float* PACKED dy,
                  const float* norm_weight, const float* norm_bias, const float* weight, const float* bias,
                  const float* slope, int N, int F, int H, int groups, int taps, int frames, int bundle, float eps) {
    DYN_SHARED(float, shared);
    backward<float>(shared, dx, partial, x, dy, {norm_weight, norm_bias, weight, bias, slope},
                    {N, F, H, groups, taps, frames, bundle, eps});
}

// As freq_conv_bwd_f32, for activations stored as bf16.
extern "C" __global__ void __launch_bounds__(THREADS)
freq_conv_bwd_bf16(bf16* PACKED dx, float* partial, const bf16* PACKED x, const bf16* PACKED dy,
                   const float* norm_weight, const float* norm_bias, const float* weight, const float* bias,
                   const float* slope, int N, int F, int H, int groups, int taps, int frames, int bundle, float eps) {
    DYN_SHARED(bf16, shared);
    backward<bf16>(shared, dx, partial, x, dy, {norm_weight, norm_bias, weight, bias, slope},
                   {N, F, H, groups, taps, frames, bundle, eps});
}

// partial [blocks, weights + 4 H] -> dw [weights], dbias, dslope, the norm's dweight and dbias [H]: eight sums over
// every eighth block, then those in their order. Threads: 32 numbers x 8.
extern "C" __global__ void __launch_bounds__(256)
freq_conv_bwd_reduce_f32(float* dw, float* dbias, float* dslope, float* norm_dweight, float* norm_dbias,
                         const float* partial, int blocks, int weights, int H) {
    SHARED(float, sums, 256);
    const int i = blockIdx.x * 32 + (threadIdx.x & 31), count = weights + 4 * H;
    float sum = 0.0f;
    if (i < count) {
        for (int b = threadIdx.x / 32; b < blocks; b += 8) sum += partial[(long long)b * count + i];
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x < 32 && i < count) {
        float total = 0.0f;
        for (int k = 0; k < 8; k++) total += sums[k * 32 + threadIdx.x];
        const int row = i - weights;
        if (row < 0) dw[i] = total;
        else if (row < H) dbias[row] = total;
        else if (row < 2 * H) dslope[row - H] = total;
        else if (row < 3 * H) norm_dweight[row - 2 * H] = total;
        else norm_dbias[row - 3 * H] = total;
    }
}
