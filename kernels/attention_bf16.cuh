// Attention in bf16: tensor cores (tricks 3 to 6 of attention.cu).

// Rows row.. row + 15 of a tile, elements 16 k.., as a left operand.
template <int D>
static __device__ __forceinline__ void left_rows(unsigned fragment[4], bf16* tile, int row, int k) {
    const int lane = threadIdx.x % 32;
    ldmatrix_x4(fragment, chunk_at<D>(tile, row + lane % 16, 2 * k + lane / 16));
}
// Rows row.. row + 7, elements 32 k.., as right operands of x y^T: two of two registers.
template <int D>
static __device__ __forceinline__ void right_rows(unsigned fragments[4], bf16* tile, int row, int k) {
    const int lane = threadIdx.x % 32;
    ldmatrix_x4(fragments, chunk_at<D>(tile, row + lane % 8, 4 * k + lane / 8));
}
// Rows row.. row + 31, elements 8 column.., as right operands of p y: two of two registers.
template <int D>
static __device__ __forceinline__ void right_columns(unsigned fragments[4], bf16* tile, int row, int column) {
    ldmatrix_x4_trans(fragments, chunk_at<D>(tile, row + threadIdx.x % 32, column));
}

// Rows row.. row + 15, elements 8 column.. and the eight after them, as above.
template <int D>
static __device__ __forceinline__ void right_column_pair(unsigned fragments[4], bf16* tile, int row, int column) {
    const int lane = threadIdx.x % 32;
    ldmatrix_x4_trans(fragments, chunk_at<D>(tile, row + lane % 16, column + lane / 16));
}

// d += 16 x 16 times 16 x 8 of the inner elements 16 k..; where the last eight are padding, only the first eight.
template <class Tiles>
static __device__ __forceinline__ void add_inner(float d[4], const unsigned a[4], const unsigned b[2], int k) {
    if (Tiles::OUT * 8 <= 16 * k + 8) mma_bf16_1688(d, a, b[0]);
    else mma_bf16_16816(d, a, b);
}

// Adds p [16, PART] times rows row.. row + PART - 1 of a tile.
template <int D, int OUT, int PART>
static __device__ __forceinline__ void add_product(float sum[OUT][4], const unsigned p[PART / 16][4], bf16* tile,
                                                   int row) {
    static_assert(PART == 32 || OUT % 2 == 0, "columns go in pairs where rows do not");
    unsigned right[4];
#pragma unroll
    for (int n = 0; n < OUT; n += PART == 32 ? 1 : 2) {
        if (PART == 32) {
            right_columns<D>(right, tile, row, n);
            mma_bf16_16816(sum[n], p[0], right);
            mma_bf16_16816(sum[n], p[PART / 32], right + 2);
        } else {
            right_column_pair<D>(right, tile, row, n);
            mma_bf16_16816(sum[n], p[0], right);
            mma_bf16_16816(sum[(n + 1) % OUT], p[0], right + 2);
        }
    }
}

// Two neighbouring 16 x 8 results as a 16 x 16 left operand (trick 4).
static __device__ __forceinline__ void left_of(unsigned fragment[4], const float a[4], const float b[4]) {
    fragment[0] = pack_bf16(a[0], a[1]);
    fragment[1] = pack_bf16(a[2], a[3]);
    fragment[2] = pack_bf16(b[0], b[1]);
    fragment[3] = pack_bf16(b[2], b[3]);
}

// 16 rows from `row` on, times factors of the upper and the lower eight.
template <int OUT>
static __device__ __forceinline__ void store_fragments(const Head<bf16>& to, const float sums[OUT][4], int row,
                                                       int count, int width, float upper, float lower) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int my_row = row + lane / 4 + 8 * half;
        if (my_row >= count) continue;
        bf16* const to_row = to.data + my_row * to.row;
        const float factor = half ? lower : upper;
#pragma unroll
        for (int n = 0; n < OUT; n++) {
            const int column = n * 8 + lane % 4 * 2;
            const float first = sums[n][2 * half] * factor, second = sums[n][2 * half + 1] * factor;
            bf16* const here = to_row + column;
            if (column + 1 < width && (unsigned long long)here % 4 == 0) {
                *(unsigned*)here = pack_bf16(first, second);
            } else {
                if (column < width) here[0] = from_float<bf16>(first);
                if (column + 1 < width) here[1] = from_float<bf16>(second);
            }
        }
    }
}

// The padded width D, of which OUT times 8 are results; a block of 16 WARPS rows meets tiles of COLS columns.
template <int D_, int OUT_, int WARPS_, int COLS_>
struct Tiling {
    static const int D = D_, OUT = OUT_, THREADS = 32 * WARPS_, ROWS = 16 * WARPS_, COLS = COLS_;
};

template <class Tiles>
static __device__ __forceinline__ void forward_bf16(bf16* out, float* lse, const Inputs<bf16>& in, float* memory) {
    const int D = Tiles::D, OUT = Tiles::OUT, ROWS = Tiles::ROWS, KEYS = Tiles::COLS, THREADS = Tiles::THREADS;
    static_assert(ROWS <= 2 * KEYS, "the queries pass through the second stage");
    const Place place = place_of_block(in.s.queries, ROWS, in.s.heads_q);
    const Sizes s = in.of_clip(place.clip);
    const int kv_head = place.head / (s.heads_q / s.heads_kv), lane = threadIdx.x % 32;
    const int warp_row = threadIdx.x / 32 * 16, my_row = place.first + warp_row + lane / 4;
    const Head<const bf16> k_head = in.k_head(place.clip, kv_head), v_head = in.v_head(place.clip, kv_head);
    bf16* const stages = (bf16*)memory;
    const int TILE = KEYS * D, keys = s.visible(min(place.first + ROWS, s.queries) - 1);

    load_tile<D, ROWS, THREADS>(stages + 2 * TILE, in.q_head(place.clip, place.head), place.first, s.queries, s.width);
    load_tile<D, KEYS, THREADS>(stages, k_head, 0, s.keys, s.width);
    load_tile<D, KEYS, THREADS>(stages + TILE, v_head, 0, s.keys, s.width);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    unsigned q[D / 16][4];
#pragma unroll
    for (int k = 0; k < D / 16; k++) left_rows<D>(q[k], stages + 2 * TILE, warp_row, k);

    float o[OUT][4] = {}, top[2] = {LOWEST, LOWEST}, sum[2] = {};
    const float scale = s.scale * LOG2_E;
    int stage = 0;
    for (int first = 0; first < keys; first += KEYS, stage ^= 1) {
        cp_async_wait<0>();
        __syncthreads();
        if (first + KEYS < keys) {
            bf16* const next = stages + (stage ^ 1) * 2 * TILE;
            load_tile<D, KEYS, THREADS>(next, k_head, first + KEYS, s.keys, s.width);
            load_tile<D, KEYS, THREADS>(next + TILE, v_head, first + KEYS, s.keys, s.width);
            cp_async_commit();
        }
        bf16 *const k_tile = stages + stage * 2 * TILE, *const v_tile = k_tile + TILE;
        float p[KEYS / 8][4] = {};
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int k = 0; k < D / 32; k++) {
                unsigned right[4];
                right_rows<D>(right, k_tile, n * 8, k);
                add_inner<Tiles>(p[n], q[2 * k], right, 2 * k);
                add_inner<Tiles>(p[n], q[2 * k + 1], right + 2, 2 * k + 1);
            }
        if (first + KEYS > s.visible(place.first)) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    if (first + n * 8 + lane % 4 * 2 + e % 2 >= s.visible(my_row + e / 2 * 8)) p[n][e] = MINUS_INFINITY;
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float most = MINUS_INFINITY, total = 0.0f;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) most = fmaxf(most, fmaxf(p[n][2 * half], p[n][2 * half + 1]));
            most = fmaxf(top[half], row_max(most, 4) * scale);
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int e = 2 * half; e < 2 * half + 2; e++) {
                    p[n][e] = exp2_fast(p[n][e] * scale - most);
                    total += p[n][e];
                }
            const float factor = exp2_fast(top[half] - most);
            sum[half] = sum[half] * factor + total;
            top[half] = most;
#pragma unroll
            for (int n = 0; n < OUT; n++) {
                o[n][2 * half] *= factor;
                o[n][2 * half + 1] *= factor;
            }
        }
#pragma unroll
        for (int k = 0; k < KEYS / 32; k++) {
            unsigned left[2][4];
            left_of(left[0], p[4 * k], p[4 * k + 1]);
            left_of(left[1], p[4 * k + 2], p[4 * k + 3]);
            add_product<D, OUT, 32>(o, left, v_tile, k * 32);
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        sum[half] = row_sum(sum[half], 4);
        const int row = my_row + 8 * half;
        if (lane % 4 == 0 && row < s.queries)
            lse[in.row_at(place.clip, place.head) + row] = sum[half] > 0.0f ? top[half] + log2f(sum[half]) : 0.0f;
        sum[half] = sum[half] > 0.0f ? 1.0f / sum[half] : 0.0f;
    }
    const Head<bf16> to = in.out_head(out, place.clip, place.head);
    store_fragments<OUT>(to, o, place.first + warp_row, s.queries, s.width, sum[0], sum[1]);
}

// The next tile of columns on its way into a stage: y1, y2 and, where columns are queries, their lse and delta.
template <bool ROWS_ARE_KEYS, class Tiles>
static __device__ __forceinline__ void load_columns(bf16* stage, float* stats, const Gradients<bf16>& g,
                                                    const Inputs<bf16>& in, const Sizes& s, const Columns& of,
                                                    int clip, int i) {
    const int D = Tiles::D, COLS = Tiles::COLS, THREADS = Tiles::THREADS;
    const int head = of.head + i / of.tiles, first = of.begin + i % of.tiles * COLS;
    const int columns = ROWS_ARE_KEYS ? s.queries : s.keys;
    load_tile<D, COLS, THREADS>(stage, ROWS_ARE_KEYS ? in.q_head(clip, head) : in.k_head(clip, head), first, columns,
                                s.width);
    load_tile<D, COLS, THREADS>(stage + COLS * D, ROWS_ARE_KEYS ? in.out_head(g.dy, clip, head) : in.v_head(clip, head),
                                first, columns, s.width);
    cp_async_commit();
    if (ROWS_ARE_KEYS && threadIdx.x < COLS) {
        const int query = first + threadIdx.x;
        const long long at = in.row_at(clip, head) + query;
        stats[threadIdx.x] = query < s.queries ? g.lse[at] : 0.0f;
        stats[COLS + threadIdx.x] = query < s.queries ? g.delta[at] : 0.0f;
    }
}

// s and ds exist for PART columns at a time. x1 and x2 are KEPT in registers where there is room, otherwise read from
// shared memory for each part.
template <bool ROWS_ARE_KEYS, class Tiles, int PART, bool KEPT>
static __device__ __forceinline__ void backward_bf16(const Gradients<bf16>& g, const Inputs<bf16>& in, float* memory) {
    const int D = Tiles::D, OUT = Tiles::OUT, ROWS = Tiles::ROWS, COLS = Tiles::COLS, THREADS = Tiles::THREADS;
    const int all_rows = ROWS_ARE_KEYS ? in.s.keys : in.s.queries;
    const Place place = place_of_block(all_rows, ROWS, ROWS_ARE_KEYS ? in.s.heads_kv : in.s.heads_q);
    const Sizes s = in.of_clip(place.clip);
    const int rows = ROWS_ARE_KEYS ? s.keys : s.queries;
    const Columns of = Columns::of<ROWS_ARE_KEYS, ROWS, COLS>(s, place);
    const int clip = place.clip, lane = threadIdx.x % 32, warp_row = threadIdx.x / 32 * 16;
    const int my_row = place.first + warp_row + lane / 4;
    bf16 *const x1 = (bf16*)memory, *const x2 = x1 + ROWS * D, *const stages = x2 + ROWS * D;
    float* const stats = (float*)(stages + 4 * COLS * D);
    load_tile<D, ROWS, THREADS>(x1, ROWS_ARE_KEYS ? in.k_head(clip, place.head) : in.q_head(clip, place.head),
                                place.first, rows, s.width);
    load_tile<D, ROWS, THREADS>(x2, ROWS_ARE_KEYS ? in.v_head(clip, place.head) : in.out_head(g.dy, clip, place.head),
                                place.first, rows, s.width);
    load_columns<ROWS_ARE_KEYS, Tiles>(stages, stats, g, in, s, of, clip, 0);
    float row_lse[2] = {}, row_delta[2] = {};
#pragma unroll
    for (int half = 0; half < 2; half++)
        if (!ROWS_ARE_KEYS && my_row + 8 * half < s.queries) {
            row_lse[half] = g.lse[in.row_at(clip, place.head) + my_row + 8 * half];
            row_delta[half] = g.delta[in.row_at(clip, place.head) + my_row + 8 * half];
        }
    unsigned kept1[D / 16][4], kept2[D / 16][4];
    if (KEPT) {
        cp_async_wait<0>();
        __syncthreads();
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
            left_rows<D>(kept1[k], x1, warp_row, k);
            left_rows<D>(kept2[k], x2, warp_row, k);
        }
    }
    float sum1[OUT][4] = {}, sum2[OUT][4] = {};
    const float scale = s.scale * LOG2_E;
    for (int i = 0; i < of.heads * of.tiles; i++) {
        cp_async_wait<0>();
        __syncthreads();
        const int stage = i % 2, next = 1 - stage;
        bf16 *const y1 = stages + stage * 2 * COLS * D, *const y2 = y1 + COLS * D;
        const float *const lse = stats + stage * 2 * COLS, *const delta = lse + COLS;
        if (i + 1 < of.heads * of.tiles)
            load_columns<ROWS_ARE_KEYS, Tiles>(stages + next * 2 * COLS * D, stats + next * 2 * COLS, g, in, s, of,
                                               clip, i + 1);
        const int first = of.begin + i % of.tiles * COLS;
        const bool edge = ROWS_ARE_KEYS ? place.first + ROWS > s.visible(first) : first + COLS > s.visible(place.first);
#pragma unroll 1
        for (int part = 0; part < COLS; part += PART) {
            float p[PART / 8][4] = {}, ds[PART / 8][4] = {};
#pragma unroll (KEPT ? D / 32 : 1)
            for (int k = 0; k < D / 32; k++) {
                unsigned left1[2][4], left2[2][4];
#pragma unroll
                for (int j = 0; j < 2; j++)
                    if (!KEPT) {
                        left_rows<D>(left1[j], x1, warp_row, 2 * k + j);
                        left_rows<D>(left2[j], x2, warp_row, 2 * k + j);
                    }
#pragma unroll
                for (int n = 0; n < PART / 8; n++) {
                    unsigned right[4];
                    right_rows<D>(right, y1, part + n * 8, k);
                    add_inner<Tiles>(p[n], KEPT ? kept1[2 * k] : left1[0], right, 2 * k);
                    add_inner<Tiles>(p[n], KEPT ? kept1[2 * k + 1] : left1[1], right + 2, 2 * k + 1);
                    right_rows<D>(right, y2, part + n * 8, k);
                    add_inner<Tiles>(ds[n], KEPT ? kept2[2 * k] : left2[0], right, 2 * k);
                    add_inner<Tiles>(ds[n], KEPT ? kept2[2 * k + 1] : left2[1], right + 2, 2 * k + 1);
                }
            }
#pragma unroll
            for (int n = 0; n < PART / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const int column = part + n * 8 + lane % 4 * 2 + e % 2, row = my_row + e / 2 * 8;
                    const int query = ROWS_ARE_KEYS ? first + column : row, key = ROWS_ARE_KEYS ? row : first + column;
                    const float my_lse = ROWS_ARE_KEYS ? lse[column] : row_lse[e / 2];
                    p[n][e] = edge && key >= s.visible(query) ? 0.0f : exp2_fast(p[n][e] * scale - my_lse);
                    ds[n][e] = p[n][e] * (ds[n][e] - (ROWS_ARE_KEYS ? delta[column] : row_delta[e / 2]));
                }
            unsigned left[PART / 16][4];
#pragma unroll
            for (int j = 0; j < PART / 16; j++) left_of(left[j], ds[2 * j], ds[2 * j + 1]);
            add_product<D, OUT, PART>(sum1, left, y1, part);
            if constexpr (ROWS_ARE_KEYS) {
#pragma unroll
                for (int j = 0; j < PART / 16; j++) left_of(left[j], p[2 * j], p[2 * j + 1]);
                add_product<D, OUT, PART>(sum2, left, y2, part);
            }
        }
    }
    const Head<bf16> to1 = ROWS_ARE_KEYS ? head_at(g.to, in.k_at, in.k_row, clip, in.s.keys, place.head, s.width)
                                         : head_at(g.to, in.q_at, in.q_row, clip, s.queries, place.head, s.width);
    store_fragments<OUT>(to1, sum1, place.first + warp_row, all_rows, s.width, s.scale, s.scale);
    if (ROWS_ARE_KEYS) {
        const Head<bf16> to2 = head_at(g.to, g.dv_at, in.v_row, clip, in.s.keys, place.head, s.width);
        store_fragments<OUT>(to2, sum2, place.first + warp_row, all_rows, s.width, 1.0f, 1.0f);
    }
}
