// Attention in float: register tiles of 16 x 16 threads (tricks 3 and 7 of attention.cu).

const int FLOAT_THREADS = 256;

// dot[i][j] = row `mine R + i` of x times row `16 j + lane` of y, over the padded width.
template <int D, int R, int C>
static __device__ __forceinline__ void dot_tiles(float dot[R][C], float* x, float* y, int width) {
    const int lane = threadIdx.x % 16, mine = threadIdx.x / 16;
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
        for (int j = 0; j < C; j++) dot[i][j] = 0.0f;
#pragma unroll 1
    for (int chunk = 0; chunk * 4 < width; chunk++) {
        Pack4 b[C];
#pragma unroll
        for (int j = 0; j < C; j++) b[j] = load4(chunk_at<D>(y, 16 * j + lane, chunk));
#pragma unroll
        for (int i = 0; i < R; i++) {
            const Pack4 a = load4(chunk_at<D>(x, mine * R + i, chunk));
#pragma unroll
            for (int j = 0; j < C; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) dot[i][j] += a.v[e] * b[j].v[e];
        }
    }
}

// The column that is this thread's number j of D / 16.
template <int D>
static __device__ __forceinline__ int own_column(int j) {
    const int group = D / 16 < 4 ? D / 16 : 4;
    return j / group * 16 * group + threadIdx.x % 16 * group + j % group;
}

template <int D>
static __device__ __forceinline__ void load_columns(float columns[D / 16], const float* row) {
    if constexpr (D == 32) {
        const float2 two = *(const float2*)(row + own_column<D>(0));
        columns[0] = two.x;
        columns[1] = two.y;
    } else {
#pragma unroll
        for (int j = 0; j < D / 16; j += 4) {
            const Pack4 four = load4(row + own_column<D>(j));
#pragma unroll
            for (int e = 0; e < 4; e++) columns[j + e] = four.v[e];
        }
    }
}

// sum[i] += rows of p [.., COUNT + 4] times y [COUNT, D], after p was written by the lanes of the same rows.
template <int D, int R, int COUNT>
static __device__ __forceinline__ void add_product(float sum[R][D / 16], const float* p, float* y) {
    const int mine = threadIdx.x / 16;
#pragma unroll 1
    for (int k = 0; k < COUNT; k += 4) {
        Pack4 a[R];
#pragma unroll
        for (int i = 0; i < R; i++) a[i] = load4(p + (mine * R + i) * (COUNT + 4) + k);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float b[D / 16];
            load_columns<D>(b, y + (k + e) * (D + 4));
#pragma unroll
            for (int i = 0; i < R; i++)
#pragma unroll
                for (int j = 0; j < D / 16; j++) sum[i][j] += a[i].v[e] * b[j];
        }
    }
}

// Writes this thread's p [R][C] into its rows of shared memory.
template <int R, int C>
static __device__ __forceinline__ void share(float* shared, const float p[R][C]) {
    const int lane = threadIdx.x % 16, mine = threadIdx.x / 16;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < R; i++)
#pragma unroll
        for (int j = 0; j < C; j++) shared[(mine * R + i) * (16 * C + 4) + 16 * j + lane] = p[i][j];
    __syncwarp();
}

template <int D, int R>
static __device__ __forceinline__ void store_rows(const Head<float>& to, const float rows[R][D / 16], int first,
                                                  int count, int width, const float factor[R]) {
#pragma unroll
    for (int i = 0; i < R; i++) {
        const int row = first + threadIdx.x / 16 * R + i;
#pragma unroll
        for (int j = 0; j < D / 16; j++)
            if (row < count && own_column<D>(j) < width)
                to.data[row * to.row + own_column<D>(j)] = rows[i][j] * factor[i];
    }
}

template <int D, int KEYS>
static __device__ __forceinline__ void forward_float(float* out, float* lse, const Inputs<float>& in, float* memory) {
    const int R = 4, ROWS = 16 * R, C = KEYS / 16, lane = threadIdx.x % 16;
    const Place place = place_of_block(in.s.queries, ROWS, in.s.heads_q);
    const Sizes s = in.of_clip(place.clip);
    const int kv_head = place.head / (s.heads_q / s.heads_kv), my_row = place.first + threadIdx.x / 16 * R;
    float *q = memory, *k = q + tile_size<float, D>(ROWS), *v = k + tile_size<float, D>(KEYS);
    float* shared_p = v + tile_size<float, D>(KEYS);
    load_tile<D, ROWS, FLOAT_THREADS>(q, in.q_head(place.clip, place.head), place.first, s.queries, s.width);
    float top[R], sum[R] = {}, o[R][D / 16] = {};
#pragma unroll
    for (int i = 0; i < R; i++) top[i] = LOWEST;
    const int keys = s.visible(min(place.first + ROWS, s.queries) - 1);
    const float scale = s.scale * LOG2_E;
    for (int first = 0; first < keys; first += KEYS) {
        __syncthreads();
        load_tile<D, KEYS, FLOAT_THREADS>(k, in.k_head(place.clip, kv_head), first, s.keys, s.width);
        load_tile<D, KEYS, FLOAT_THREADS>(v, in.v_head(place.clip, kv_head), first, s.keys, s.width);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        float p[R][C];
        dot_tiles<D, R, C>(p, q, k, s.width);
#pragma unroll
        for (int i = 0; i < R; i++) {
            const int seen = s.visible(my_row + i) - first;
            float most = top[i], total = 0.0f;
#pragma unroll
            for (int j = 0; j < C; j++) {
                p[i][j] = 16 * j + lane < seen ? p[i][j] * scale : MINUS_INFINITY;
                most = fmaxf(most, p[i][j]);
            }
            most = row_max(most, 16);
#pragma unroll
            for (int j = 0; j < C; j++) {
                p[i][j] = exp2_fast(p[i][j] - most);
                total += p[i][j];
            }
            const float factor = exp2_fast(top[i] - most);
            sum[i] = sum[i] * factor + total;
            top[i] = most;
#pragma unroll
            for (int j = 0; j < D / 16; j++) o[i][j] *= factor;
        }
        share<R, C>(shared_p, p);
        add_product<D, R, KEYS>(o, shared_p, v);
    }
    float factor[R];
#pragma unroll
    for (int i = 0; i < R; i++) {
        const float total = row_sum(sum[i], 16);
        factor[i] = total > 0.0f ? 1.0f / total : 0.0f;
        if (lane == 0 && my_row + i < s.queries)
            lse[in.row_at(place.clip, place.head) + my_row + i] = total > 0.0f ? top[i] + log2f(total) : 0.0f;
    }
    store_rows<D, R>(in.out_head(out, place.clip, place.head), o, place.first, s.queries, s.width, factor);
}

template <bool ROWS_ARE_KEYS, int D, int ROWS, int COLS>
static __device__ __forceinline__ void backward_float(const Gradients<float>& g, const Inputs<float>& in,
                                                      float* memory) {
    const int R = ROWS / 16, C = COLS / 16, lane = threadIdx.x % 16, mine = threadIdx.x / 16 * R;
    const int all_rows = ROWS_ARE_KEYS ? in.s.keys : in.s.queries;
    const Place place = place_of_block(all_rows, ROWS, ROWS_ARE_KEYS ? in.s.heads_kv : in.s.heads_q);
    const Sizes s = in.of_clip(place.clip);
    const int rows = ROWS_ARE_KEYS ? s.keys : s.queries, columns = ROWS_ARE_KEYS ? s.queries : s.keys;
    const Columns of = Columns::of<ROWS_ARE_KEYS, ROWS, COLS>(s, place);
    const int clip = place.clip, row_tile = tile_size<float, D>(ROWS), column_tile = tile_size<float, D>(COLS);
    float *x1 = memory, *x2 = x1 + row_tile, *y1 = x2 + row_tile, *y2 = y1 + column_tile, *shared_p = y2 + column_tile;
    float *lse = shared_p + ROWS * (COLS + 4), *delta = lse + (ROWS_ARE_KEYS ? COLS : ROWS);
    const Head<const float> dy_rows = in.out_head(g.dy, clip, place.head);
    load_tile<D, ROWS, FLOAT_THREADS>(x1, ROWS_ARE_KEYS ? in.k_head(clip, place.head) : in.q_head(clip, place.head),
                                      place.first, rows, s.width);
    load_tile<D, ROWS, FLOAT_THREADS>(x2, ROWS_ARE_KEYS ? in.v_head(clip, place.head) : dy_rows, place.first, rows,
                                      s.width);
    float sum1[R][D / 16] = {}, sum2[R][D / 16] = {};
    const float scale = s.scale * LOG2_E;
    for (int i = 0; i < of.heads * of.tiles; i++) {
        const int head = of.head + i / of.tiles, first = of.begin + i % of.tiles * COLS;
        const int query_head = ROWS_ARE_KEYS ? head : place.head, first_query = ROWS_ARE_KEYS ? first : place.first;
        __syncthreads();
        load_tile<D, COLS, FLOAT_THREADS>(y1, ROWS_ARE_KEYS ? in.q_head(clip, head) : in.k_head(clip, head), first,
                                          columns, s.width);
        load_tile<D, COLS, FLOAT_THREADS>(y2, ROWS_ARE_KEYS ? in.out_head(g.dy, clip, head) : in.v_head(clip, head),
                                          first, columns, s.width);
        if (threadIdx.x < (ROWS_ARE_KEYS ? COLS : ROWS)) {
            const int query = first_query + threadIdx.x;
            const long long at = in.row_at(clip, query_head) + query;
            lse[threadIdx.x] = query < s.queries ? g.lse[at] : 0.0f;
            delta[threadIdx.x] = query < s.queries ? g.delta[at] : 0.0f;
        }
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        float p[R][C], ds[R][C];
        dot_tiles<D, R, C>(p, x1, y1, s.width);
        dot_tiles<D, R, C>(ds, x2, y2, s.width);
#pragma unroll
        for (int a = 0; a < R; a++)
#pragma unroll
            for (int b = 0; b < C; b++) {
                const int row = mine + a, column = 16 * b + lane, at = ROWS_ARE_KEYS ? column : row;
                const int key = ROWS_ARE_KEYS ? place.first + row : first + column;
                const bool seen = key < s.visible(first_query + at);
                p[a][b] = seen ? exp2_fast(p[a][b] * scale - lse[at]) : 0.0f;
                ds[a][b] = p[a][b] * (ds[a][b] - delta[at]);
            }
        if (ROWS_ARE_KEYS) {
            share<R, C>(shared_p, p);
            add_product<D, R, COLS>(sum2, shared_p, y2);
        }
        share<R, C>(shared_p, ds);
        add_product<D, R, COLS>(sum1, shared_p, y1);
    }
    float one[R], scales[R];
#pragma unroll
    for (int a = 0; a < R; a++) one[a] = 1.0f, scales[a] = s.scale;
    const Head<float> to1 = ROWS_ARE_KEYS ? head_at(g.to, in.k_at, in.k_row, clip, in.s.keys, place.head, s.width)
                                          : head_at(g.to, in.q_at, in.q_row, clip, s.queries, place.head, s.width);
    store_rows<D, R>(to1, sum1, place.first, all_rows, s.width, scales);
    if (ROWS_ARE_KEYS) {
        const Head<float> to2 = head_at(g.to, g.dv_at, in.v_row, clip, in.s.keys, place.head, s.width);
        store_rows<D, R>(to2, sum2, place.first, all_rows, s.width, one);
    }
}
