// Attention: where heads lie in memory, which columns a block of rows meets, and tiles in shared memory.

const float LOG2_E = 1.44269504f;
// Below every logit, and finite: a row that sees no key has a sum of 0 instead of the NaN of -inf - -inf.
const float LOWEST = -1e30f;
#define MINUS_INFINITY __int_as_float(0xff800000)

// `causal`, as the launch code gives it: 0 every query sees every valid key, 1 query i stands at position i, 2 the last
// query stands at the last valid key.
const int CAUSAL_UPPER_LEFT = 1;

struct Sizes {
    int queries, keys, heads_q, heads_kv, width, causal;
    float scale;
    int first;  // the position of query 0; beyond all keys where the mask is not causal

    // Keys that query i sees: none where it is zero or less.
    __device__ __forceinline__ int visible(int i) const { return min(first + i + 1, keys); }
};

// Positions of one head, `row` elements apart.
template <class T>
struct Head {
    T* data;
    long long row;
};

template <class T>
static __device__ __forceinline__ Head<T> head_at(T* data, long long at, long long row, int clip, int positions,
                                                  int head, int width) {
    return {data + at + (long long)clip * positions * row + (long long)head * width, row};
}

template <class T>
struct Inputs {
    const T *q, *k, *v;
    long long q_at, q_row, k_at, k_row, v_at, v_row;
    Sizes s;  // with the keys that lie in memory
    const int *lengths, *first;

    // The sizes of a clip, with the keys that are valid there.
    __device__ __forceinline__ Sizes of_clip(int clip) const {
        Sizes of = s;
        if (lengths) of.keys = min(max(lengths[clip], 0), s.keys);
        of.first = s.causal == CAUSAL_UPPER_LEFT ? 0 : of.keys - s.queries;
        if (first) of.first = first[clip];
        if (!s.causal) of.first = 1 << 30;
        return of;
    }
    __device__ __forceinline__ Head<const T> q_head(int clip, int head) const {
        return head_at(q, q_at, q_row, clip, s.queries, head, s.width);
    }
    __device__ __forceinline__ Head<const T> k_head(int clip, int head) const {
        return head_at(k, k_at, k_row, clip, s.keys, head, s.width);
    }
    __device__ __forceinline__ Head<const T> v_head(int clip, int head) const {
        return head_at(v, v_at, v_row, clip, s.keys, head, s.width);
    }
    // A head of a tensor [B,Nq,Hq D]: out and dy.
    template <class U>
    __device__ __forceinline__ Head<U> out_head(U* out, int clip, int head) const {
        return head_at(out, 0, (long long)s.heads_q * s.width, clip, s.queries, head, s.width);
    }
    // Place of a row's lse and delta.
    __device__ __forceinline__ long long row_at(int clip, int head) const {
        return ((long long)clip * s.heads_q + head) * s.queries;
    }
};

// Which rows, head and clip a block has: row tiles inside, so that neighbours share columns.
struct Place {
    int first, head, clip;
};

static __device__ __forceinline__ Place place_of_block(int rows, int rows_per_block, int heads) {
    const int tiles = CEIL_DIV(rows, rows_per_block), rest = blockIdx.x / tiles;
    return {(int)(blockIdx.x % tiles) * rows_per_block, rest % heads, rest / heads};
}

// What the backward pass has beyond the inputs.
template <class T>
struct Gradients {
    T* to;  // dq, or dk and dv
    const float *lse, *delta;
    const T* dy;
    long long dv_at;
};

// The columns of a block of rows (trick 3): tiles begin, begin + COLS .. of each of `heads` heads.
struct Columns {
    int head, heads, begin, tiles;

    // At least one tile, of which nothing may be seen: rows that meet no column get zeros by the mask.
    template <bool ROWS_ARE_KEYS, int ROWS, int COLS>
    static __device__ __forceinline__ Columns of(const Sizes& s, const Place& place) {
        const int group = s.heads_q / s.heads_kv;
        if (ROWS_ARE_KEYS) {
            const int unseen = max(place.first - s.first, 0) / COLS * COLS;
            if (place.first >= s.keys || unseen >= s.queries) return {place.head * group, 1, 0, 1};
            return {place.head * group, group, unseen, CEIL_DIV(s.queries - unseen, COLS)};
        }
        return {place.head / group, 1, 0, max(CEIL_DIV(s.visible(min(place.first + ROWS, s.queries) - 1), COLS), 1)};
    }
};

// ---- tiles in shared memory --------------------------------------------------------------------------------------

// Where 16-byte chunk `chunk` of row `row` lies. bf16 rows of 64 bytes are permuted in pairs.
template <int D>
static __device__ __forceinline__ bf16* chunk_at(bf16* tile, int row, int chunk) {
    const int chunks = D / 8, span = chunks < 8 ? chunks : 8;
    const int key = chunks >= 8 ? row & 7 : row >> 1 & 3;
    return tile + (row * chunks + chunk / span * span + (chunk % span ^ key)) * 8;
}
template <int D>
static __device__ __forceinline__ float* chunk_at(float* tile, int row, int chunk) {
    return tile + row * (D + 4) + chunk * 4;
}

// Elements of a tile.
template <class T, int D>
static __device__ __forceinline__ int tile_size(int rows) {
    return rows * (sizeof(T) == 2 ? D : D + 4);
}

// Starts copying ROWS positions from `first` on; what lies beyond `count` positions or the width becomes zero.
template <int D, int ROWS, int THREADS, class T>
static __device__ __forceinline__ void load_tile(T* tile, const Head<const T>& head, int first, int count, int width) {
    const int per_chunk = 16 / (int)sizeof(T), chunks = D / per_chunk;
    static_assert(THREADS % chunks == 0 && ROWS * chunks % THREADS == 0, "threads keep their chunk");
    const bool aligned = ((unsigned long long)head.data | (unsigned long long)head.row * sizeof(T)) % 16 == 0;
    const int chunk = threadIdx.x % chunks, row = threadIdx.x / chunks, step = THREADS / chunks;
    const int inside = width - chunk * per_chunk;
    const T* from = head.data + (first + row) * head.row + chunk * per_chunk;
#pragma unroll
    for (int i = 0; i < ROWS / step; i++, from += step * head.row) {
        const int valid = first + row + i * step < count ? inside : 0;
        T* to = chunk_at<D>(tile, row + i * step, chunk);
        if (aligned && (valid <= 0 || valid >= per_chunk)) {
            cp_async_16(to, from, valid > 0);
        } else {
#pragma unroll 1
            for (int e = 0; e < per_chunk; e++) to[e] = e < valid ? from[e] : from_float<T>(0.0f);
        }
    }
}

// Sum and maximum over the neighbouring lanes that share a row.
static __device__ __forceinline__ float row_sum(float v, int lanes) {
#pragma unroll
    for (int offset = lanes / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}
static __device__ __forceinline__ float row_max(float v, int lanes) {
#pragma unroll
    for (int offset = lanes / 2; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, offset));
    return v;
}
