// Matrix products.   C[b] [M, N] = A[b] [M, K] B[b] [K, N] (+ bias[b] [N]) (+ R[b] [M, N])
//
// C and R are row-major without gaps. A and B lie anywhere: element (i, j) is at b batch + i row + j column. The three
// products of a linear layer are one kernel with different strides: y = x W^T (x row-major, W read by columns),
// dx = dy W, dW = dy^T x.
//
//     for each tile of C (one block):
//         sum = 0
//         for each slice of K:
//             shared memory <- the rows of A and the columns of B of this slice
//             sum += slice of A times slice of B, in registers
//         C = sum + bias + R
//
// Tricks:
//  1. B is handled as its transpose, N rows of length K. So both operands are "rows times K", and one loader with
//     its two directions (K contiguous, rows contiguous) serves NN, NT, TN and TT.
//  2. A block reads 16 bytes at a time along whichever direction is contiguous in memory. Where an operand is not
//     aligned to 16 bytes (129 columns) or ends inside the 16 bytes, those elements are read one by one.
//  3. float: 128 x 96 tiles, since the encoder's widths are multiples of 96; a thread owns 8 x 6 results, so one
//     shared-memory word feeds about seven multiply-adds. The next slice waits in registers meanwhile.
//  4. bf16: 128 x 128 tiles, eight warps of 64 x 32, mma m16n8k16 with float sums. Slices arrive by cp.async in three
//     stages. Slices with contiguous rows stay so in shared memory: `ldmatrix.trans` transposes on the way to
//     the registers, so no orientation costs an extra pass.
//  5. 16-byte chunks of a shared line are permuted by an exclusive-or with the line number: the eight lines of one
//     `ldmatrix` phase then lie in eight different bank groups.
//  6. Blocks run in groups of eight tile rows, columns outside: the blocks alive at one time share rows of A and
//     columns of B in the second-level cache.
//  7. dW has few tiles but K of 80,000: the grid's y axis splits K. Each split stores its partial product (C is then
//     [batch, splits, M, N] float) and `matmul_reduce` adds them in a fixed order: no atomics, same bits each time.
//  8. `small` variants have 32 x 32 tiles for skinny products (8 or 1 columns, the 4 rows of an LSTM step). In bf16
//     only they know unaligned operands: without that code the large kernels fit 128 registers.
//  9. R, what a residual adds, meets the sums in registers, before they are rounded. An addition of its own would read
//     two tensors and write one; here R is read, and that is all.
//
// FLOPs: 2 M N K per batch. Bytes: at least those of A, B, C and R once each; the rows of A are read N / 128 times and
// the columns of B M / 128 times, mostly from the cache. 80,754 x 96 -> 96 in bf16 moves 31 MB for 1.5 GFLOP: memory
// decides; 4096 x 3584 x 18944 has 556 GFLOP for 310 MB: the tensor cores decide.

#include "common.cuh"
#include "ptx.cuh"

// Rows of length K: A itself, or the transpose of B.
template <class T>
struct Operand {
    const T* data;
    long long row_stride;
    long long k_stride;
    int rows;
    int last_k;
    int vector;  // whether every 16 bytes along the contiguous direction are aligned
};

template <class T>
static __device__ __forceinline__ Operand<T> operand(const T* data, long long row_stride, long long k_stride,
                                                     long long batch_stride, int rows, int last_k) {
    const int per_16 = 16 / (int)sizeof(T);
    const long long other = k_stride == 1 ? row_stride : k_stride;
    const bool contiguous = k_stride == 1 || row_stride == 1;
    const T* here = data + blockIdx.z * batch_stride;
    const int vector = contiguous && other % per_16 == 0 && (unsigned long long)here % 16 == 0;
    return {here, row_stride, k_stride, rows, last_k, vector};
}

// Where the sums of this block go.
template <class T>
struct Result {
    T* data;
    const float* bias;  // null: none
    const T* addend;    // R; null: none
    int rows, columns;

    __device__ __forceinline__ void put(int row, int column, float value) const {
        if (row >= rows || column >= columns) return;
        if (bias) value += bias[column];
        data[(long long)row * columns + column] = from_float<T>(value);
    }
    // Two neighbours; `column` is even.
    __device__ __forceinline__ void put_pair(int row, int column, float first, float second) const {
        if (!has_pair(row, column)) {
            put(row, column, first);
            put(row, column + 1, second);
            return;
        }
        if (bias) {
            first += bias[column];
            second += bias[column + 1];
        }
        store_two(data + (long long)row * columns + column, first, second);
    }
    // The two numbers of R at the place of such a pair, zeros outside. A thread asks for several before it writes the
    // results that they belong to, so that they are on their way together.
    __device__ __forceinline__ float2 addends(int row, int column) const {
        const T* from = addend + (long long)row * columns + column;
        if (has_pair(row, column)) return load_two(from);
        const bool inside = row < rows;
        return make_float2(inside && column < columns ? to_float(from[0]) : 0.0f,
                           inside && column + 1 < columns ? to_float(from[1]) : 0.0f);
    }
    // Whether two neighbours exist and are aligned as one.
    __device__ __forceinline__ bool has_pair(int row, int column) const {
        return (columns & 1) == 0 && row < rows && column + 1 < columns;
    }
    static __device__ __forceinline__ void store_two(float* to, float first, float second) {
        *(float2*)to = make_float2(first, second);
    }
    static __device__ __forceinline__ void store_two(bf16* to, float first, float second) {
        *(unsigned*)to = pack_bf16(first, second);
    }
    static __device__ __forceinline__ float2 load_two(const float* from) { return *(const float2*)from; }
    static __device__ __forceinline__ float2 load_two(const bf16* from) {
        const unsigned two = *(const unsigned*)from;
        return make_float2(__uint_as_float(two << 16), __uint_as_float(two & 0xffff0000u));
    }
};

// C of all batches and splits, as the kernel was given it: taken apart after the product only, it costs no registers
// during it.
template <class T>
struct Results {
    T* data;
    const float* bias;
    const T* addend;
    int rows, columns;
    long long bias_batch;
    int has_bias, has_addend;

    // That of this block's batch and split.
    __device__ __forceinline__ Result<T> here() const {
        const long long size = (long long)rows * columns, place = (long long)blockIdx.z * gridDim.y + blockIdx.y;
        return {data + place * size, has_bias ? bias + blockIdx.z * bias_batch : nullptr,
                has_addend ? addend + blockIdx.z * size : nullptr, rows, columns};
    }
};

// The tile of this block (trick 6).
static __device__ __forceinline__ void tile_of_block(int tiles_m, int tiles_n, int& tile_m, int& tile_n) {
    const int GROUP = 8;
    const int group = blockIdx.x / (GROUP * tiles_n), within = blockIdx.x % (GROUP * tiles_n);
    const int height = tiles_m - group * GROUP < GROUP ? tiles_m - group * GROUP : GROUP;
    tile_m = group * GROUP + within % height;
    tile_n = within / height;
}

// ---- float: register tiles ---------------------------------------------------------------------------------------

const int SLICE = 16;  // K per step

// A slice of ROWS rows on its way from global to shared memory, four elements a time.
template <int ROWS, int THREADS>
struct Slice {
    static const int GROUPS = ROWS * SLICE / 4;
    static const int COUNT = CEIL_DIV(GROUPS, THREADS);
    static const int LINE = ROWS + 4;  // shared memory is [SLICE, LINE]: K outside, rows inside
    float4 held[COUNT];

    // The first row and K of group number `index`; the group runs along K or along the rows.
    static __device__ __forceinline__ void place(bool along_k, int index, int& row, int& k) {
        row = along_k ? index / (SLICE / 4) : index % (ROWS / 4) * 4;
        k = along_k ? index % (SLICE / 4) * 4 : index / (ROWS / 4);
    }
    __device__ __forceinline__ void fetch(const Operand<float>& x, int first_row, int first_k) {
        const bool along_k = x.row_stride != 1;
        const int rows = x.rows - first_row, depth = x.last_k - first_k;
        const float* from = x.data + first_row * x.row_stride + first_k * x.k_stride;
        const long long step = along_k ? x.k_stride : 1;
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int index = threadIdx.x + i * THREADS;
            int row, k;
            place(along_k, index, row, k);
            int inside = along_k ? depth - k : rows - row;
            if (along_k ? row >= rows : k >= depth) inside = 0;
            if (GROUPS % THREADS != 0 && index >= GROUPS) inside = 0;
            const float* here = from + row * x.row_stride + k * x.k_stride;
            if (x.vector && inside >= 4) {
                held[i] = *(const float4*)here;
            } else {
                held[i].x = inside > 0 ? here[0] : 0.0f;
                held[i].y = inside > 1 ? here[step] : 0.0f;
                held[i].z = inside > 2 ? here[2 * step] : 0.0f;
                held[i].w = inside > 3 ? here[3 * step] : 0.0f;
            }
        }
    }
    __device__ __forceinline__ void store(float* shared, bool along_k) const {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int index = threadIdx.x + i * THREADS;
            int row, k;
            place(along_k, index, row, k);
            if (GROUPS % THREADS != 0 && index >= GROUPS) continue;
            float* to = shared + k * LINE + row;
            if (along_k) {
                to[0] = held[i].x;
                to[LINE] = held[i].y;
                to[2 * LINE] = held[i].z;
                to[3 * LINE] = held[i].w;
            } else {
                *(float4*)to = held[i];
            }
        }
    }
};

// One tile of (4 FOURS THREADS_M) x (2 TWOS THREADS_N); thread (i, j) owns FOURS groups of four rows and TWOS pairs of
// columns, spread over the tile so that neighbouring threads read neighbouring words.
template <int FOURS, int TWOS, int THREADS_M, int THREADS_N>
struct RegisterTile {
    static const int THREADS = THREADS_M * THREADS_N;
    static const int M = 4 * FOURS * THREADS_M, N = 2 * TWOS * THREADS_N;
    typedef Slice<M, THREADS> SliceA;
    typedef Slice<N, THREADS> SliceB;
    static const int SHARED_A = SLICE * SliceA::LINE, SHARED_B = SLICE * SliceB::LINE;
    float sum[4 * FOURS][2 * TWOS];

    __device__ __forceinline__ void multiply(const float* a, const float* b) {
        const int my_m = threadIdx.x / THREADS_N * 4, my_n = threadIdx.x % THREADS_N * 2;
#pragma unroll 2
        for (int k = 0; k < SLICE; k++) {
            float rows[4 * FOURS], columns[2 * TWOS];
#pragma unroll
            for (int i = 0; i < FOURS; i++) {
                const float4 four = *(const float4*)(a + k * SliceA::LINE + i * 4 * THREADS_M + my_m);
                rows[4 * i] = four.x, rows[4 * i + 1] = four.y, rows[4 * i + 2] = four.z, rows[4 * i + 3] = four.w;
            }
#pragma unroll
            for (int j = 0; j < TWOS; j++) {
                const float2 two = *(const float2*)(b + k * SliceB::LINE + j * 2 * THREADS_N + my_n);
                columns[2 * j] = two.x, columns[2 * j + 1] = two.y;
            }
#pragma unroll
            for (int i = 0; i < 4 * FOURS; i++)
#pragma unroll
                for (int j = 0; j < 2 * TWOS; j++) sum[i][j] += rows[i] * columns[j];
        }
    }
    __device__ __forceinline__ void add(const Result<float>& c, int first_row, int first_column) {
        const int my_m = threadIdx.x / THREADS_N * 4, my_n = threadIdx.x % THREADS_N * 2;
#pragma unroll
        for (int i = 0; i < 4 * FOURS; i++)
#pragma unroll
            for (int j = 0; j < TWOS; j++) {
                const int row = first_row + i / 4 * 4 * THREADS_M + my_m + i % 4;
                const float2 two = c.addends(row, first_column + j * 2 * THREADS_N + my_n);
                sum[i][2 * j] += two.x, sum[i][2 * j + 1] += two.y;
            }
    }
    __device__ __forceinline__ void put(const Result<float>& c, int first_row, int first_column) const {
        const int my_m = threadIdx.x / THREADS_N * 4, my_n = threadIdx.x % THREADS_N * 2;
#pragma unroll
        for (int i = 0; i < 4 * FOURS; i++)
#pragma unroll
            for (int j = 0; j < TWOS; j++) {
                const int row = first_row + i / 4 * 4 * THREADS_M + my_m + i % 4;
                c.put_pair(row, first_column + j * 2 * THREADS_N + my_n, sum[i][2 * j], sum[i][2 * j + 1]);
            }
    }
};

template <class Tile>
static __device__ __forceinline__ void float_product(const Results<float>& results, const Operand<float>& a,
                                                     const Operand<float>& b, int first_k) {
    SHARED(float, memory_a, 2 * Tile::SHARED_A);
    SHARED(float, memory_b, 2 * Tile::SHARED_B);
    float *shared_a = memory_a, *shared_b = memory_b;
    int tile_m, tile_n;
    tile_of_block(CEIL_DIV(a.rows, Tile::M), CEIL_DIV(b.rows, Tile::N), tile_m, tile_n);
    const int row = tile_m * Tile::M, column = tile_n * Tile::N;
    const bool a_along_k = a.row_stride != 1, b_along_k = b.row_stride != 1;

    Tile tile = {};
    typename Tile::SliceA next_a;
    typename Tile::SliceB next_b;
    next_a.fetch(a, row, first_k);
    next_b.fetch(b, column, first_k);
    next_a.store(shared_a, a_along_k);
    next_b.store(shared_b, b_along_k);
    __syncthreads();
    int stage = 0;
    for (int k = first_k; k < a.last_k; k += SLICE) {
        const bool more = k + SLICE < a.last_k;
        if (more) {
            next_a.fetch(a, row, k + SLICE);
            next_b.fetch(b, column, k + SLICE);
        }
        tile.multiply(shared_a + stage * Tile::SHARED_A, shared_b + stage * Tile::SHARED_B);
        stage ^= 1;
        if (more) {
            next_a.store(shared_a + stage * Tile::SHARED_A, a_along_k);
            next_b.store(shared_b + stage * Tile::SHARED_B, b_along_k);
        }
        __syncthreads();
    }
    const Result<float> c = results.here();
    if (c.addend) tile.add(c, row, column);
    tile.put(c, row, column);
}

// ---- bf16: tensor cores ------------------------------------------------------------------------------------------

const int DEPTH = 32;   // K per stage
const int STAGES = 3;

// Position of a 16-byte chunk in a shared line of CHUNKS of them (trick 5). Lines of 64 bytes go in pairs.
template <int CHUNKS>
static __device__ __forceinline__ int swizzle(int line, int chunk) {
    return line * CHUNKS + (chunk ^ (CHUNKS >= 8 ? line & 7 : line >> 1 & 3));
}

// A stage of ROWS rows: shared lines of DEPTH elements along K, or DEPTH lines of ROWS elements.
// With ALIGNED, every chunk must be aligned and wholly inside or wholly outside the operand.
template <int ROWS, bool ALONG_K, bool ALIGNED, int THREADS>
struct Stage {
    static const int LINES = ALONG_K ? ROWS : DEPTH;
    static const int CHUNKS = (ALONG_K ? DEPTH : ROWS) / 8;
    static const int COUNT = LINES * CHUNKS / THREADS;
    static_assert(LINES * CHUNKS % THREADS == 0 && THREADS % (8 * CHUNKS) == 0, "threads keep their chunk");

    const bf16* from;  // this thread's chunk in the first of its lines of the next stage
    int lines, inside;  // lines left in the operand from there on, and elements from the chunk on

    __device__ __forceinline__ void begin(const Operand<bf16>& x, int first_row, int first_k) {
        const int line = threadIdx.x / CHUNKS, element = threadIdx.x % CHUNKS * 8;
        const int row = first_row + (ALONG_K ? line : element), k = first_k + (ALONG_K ? element : line);
        from = x.data + row * x.row_stride + k * x.k_stride;
        lines = ALONG_K ? x.rows - row : x.last_k - k;
        inside = ALONG_K ? x.last_k - k : x.rows - row;
    }
    // Starts copying the next stage; elements outside the operand become zeros.
    __device__ __forceinline__ void load(bf16* shared, const Operand<bf16>& x) {
        const long long step = ALONG_K ? x.k_stride : 1, line_stride = ALONG_K ? x.row_stride : x.k_stride;
        bf16* const to = shared + swizzle<CHUNKS>(threadIdx.x / CHUNKS, threadIdx.x % CHUNKS) * 8;
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            // The permutation of chunks repeats every eight lines.
            const int later = i * (THREADS / CHUNKS), count = later < lines ? inside : 0;
            bf16* const chunk = to + later * CHUNKS * 8;
            const bf16* const here = from + later * line_stride;
            if (ALIGNED || (x.vector && (count >= 8 || count <= 0))) {
                cp_async_16(chunk, here, count > 0);
            } else {
#pragma unroll 1
                for (int e = 0; e < 8; e++) chunk[e] = e < count ? here[e * step] : bf16{0};
            }
        }
        from += ALIGNED && ALONG_K ? DEPTH : DEPTH * x.k_stride;
        (ALONG_K ? inside : lines) -= DEPTH;
    }
    // The 16 x 16 fragment at (row, k), as the left operand of an mma.
    static __device__ __forceinline__ void left(unsigned fragment[4], const bf16* shared, int row, int k) {
        const int lane = threadIdx.x % 32;
        if (ALONG_K) {
            ldmatrix_x4(fragment, shared + swizzle<CHUNKS>(row + lane % 16, k / 8 + lane / 16) * 8);
        } else {
            const int line = k + lane % 8 + lane / 16 * 8;
            ldmatrix_x4_trans(fragment, shared + swizzle<CHUNKS>(line, row / 8 + lane / 8 % 2) * 8);
        }
    }
    // Sixteen rows by 16 of K as the right operand: two fragments of two registers.
    static __device__ __forceinline__ void right(unsigned fragments[4], const bf16* shared, int row, int k) {
        const int lane = threadIdx.x % 32;
        if (ALONG_K) {
            const int line = row + lane % 8 + lane / 16 * 8;
            ldmatrix_x4(fragments, shared + swizzle<CHUNKS>(line, k / 8 + lane / 8 % 2) * 8);
        } else {
            ldmatrix_x4_trans(fragments, shared + swizzle<CHUNKS>(k + lane % 16, row / 8 + lane / 16) * 8);
        }
    }
};

// One tile of M x N by WARPS_M x WARPS_N warps.
template <int TILE_M, int TILE_N, int W_M, int W_N, bool ONLY_ALIGNED>
struct WarpTiles {
    static const bool ALIGNED = ONLY_ALIGNED;
    static const int M = TILE_M, N = TILE_N, WARPS_M = W_M, WARPS_N = W_N, THREADS = 32 * W_M * W_N;
};
typedef WarpTiles<128, 128, 2, 4, true> Large;
typedef WarpTiles<32, 32, 2, 2, false> Small;

template <class Tile, bool A_ALONG_K, bool B_ALONG_K, class T>
static __device__ __forceinline__ void oriented_product(const Results<T>& results, const Operand<bf16>& a,
                                                        const Operand<bf16>& b, int first_k, float* memory) {
    typedef Stage<Tile::M, A_ALONG_K, Tile::ALIGNED, Tile::THREADS> StageA;
    typedef Stage<Tile::N, B_ALONG_K, Tile::ALIGNED, Tile::THREADS> StageB;
    const int SIZE_A = Tile::M * DEPTH, SIZE_B = Tile::N * DEPTH;
    const int WARP_M = Tile::M / Tile::WARPS_M, WARP_N = Tile::N / Tile::WARPS_N;
    bf16 *shared_a = (bf16*)memory, *shared_b = shared_a + STAGES * SIZE_A;
    int tile_m, tile_n;
    tile_of_block(CEIL_DIV(a.rows, Tile::M), CEIL_DIV(b.rows, Tile::N), tile_m, tile_n);
    const int row = tile_m * Tile::M, column = tile_n * Tile::N;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp / Tile::WARPS_N * WARP_M, warp_column = warp % Tile::WARPS_N * WARP_N;
    const int steps = CEIL_DIV(a.last_k - first_k, DEPTH);

    StageA stage_a;
    StageB stage_b;
    stage_a.begin(a, row, first_k);
    stage_b.begin(b, column, first_k);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) {
            stage_a.load(shared_a + s * SIZE_A, a);
            stage_b.load(shared_b + s * SIZE_B, b);
        }
        cp_async_commit();
    }
    float sum[WARP_M / 16][WARP_N / 8][4] = {};
    int stage = 0;
    for (int left_over = steps; left_over > 0; left_over--) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (left_over >= STAGES) {
            const int slot = stage == 0 ? STAGES - 1 : stage - 1;
            stage_a.load(shared_a + slot * SIZE_A, a);
            stage_b.load(shared_b + slot * SIZE_B, b);
        }
        cp_async_commit();
        const bf16 *here_a = shared_a + stage * SIZE_A, *here_b = shared_b + stage * SIZE_B;
#pragma unroll
        for (int k = 0; k < DEPTH; k += 16) {
            unsigned right[WARP_N / 16][4];
#pragma unroll
            for (int j = 0; j < WARP_N / 16; j++) StageB::right(right[j], here_b, warp_column + j * 16, k);
#pragma unroll
            for (int i = 0; i < WARP_M / 16; i++) {
                unsigned left[4];
                StageA::left(left, here_a, warp_row + i * 16, k);
#pragma unroll
                for (int j = 0; j < WARP_N / 8; j++) mma_bf16_16816(sum[i][j], left, right[j / 2] + j % 2 * 2);
            }
        }
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
    const Result<T> c = results.here();
    const int my_row = row + warp_row + lane / 4, my_column = column + warp_column + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < WARP_M / 16; i++) {
        if (c.addend) {
#pragma unroll
            for (int j = 0; j < WARP_N / 4; j++) {
                const float2 two = c.addends(my_row + i * 16 + j % 2 * 8, my_column + j / 2 * 8);
                sum[i][j / 2][j % 2 * 2] += two.x, sum[i][j / 2][j % 2 * 2 + 1] += two.y;
            }
        }
#pragma unroll
        for (int j = 0; j < WARP_N / 8; j++) {
            c.put_pair(my_row + i * 16, my_column + j * 8, sum[i][j][0], sum[i][j][1]);
            c.put_pair(my_row + i * 16 + 8, my_column + j * 8, sum[i][j][2], sum[i][j][3]);
        }
    }
}

template <class Tile, class T>
static __device__ __forceinline__ void bf16_product(const Results<T>& results, const Operand<bf16>& a,
                                                    const Operand<bf16>& b, int first_k, float* memory) {
    const bool a_along_k = a.row_stride != 1, b_along_k = b.row_stride != 1;
    if (a_along_k && b_along_k) oriented_product<Tile, true, true>(results, a, b, first_k, memory);
    else if (a_along_k) oriented_product<Tile, true, false>(results, a, b, first_k, memory);
    else if (!b_along_k) oriented_product<Tile, false, false>(results, a, b, first_k, memory);
    else if (!Tile::ALIGNED) oriented_product<Tile, false, true>(results, a, b, first_k, memory);
}

// ---- kernels -----------------------------------------------------------------------------------------------------
//
// Grid [tiles of C, splits of K, batches]. A split covers k_split of K, a multiple of 32. With one split C is the
// result; with several it is partial sums [batch, splits, M, N] float, without bias and R, for
// matmul_reduce.
//
// The large bf16 kernels want 16-byte alignment: pointers, the strides that are not 1 and the length of A and B along
// the contiguous direction are multiples of 8 elements. They do not know A^T B^T (both with contiguous columns). The
// small ones take everything.

// C [batch, M, N] = A B (+ bias [N] of each batch) (+ R [batch, M, N]).
// Tiles of 128 x 96, 256 threads.
extern "C" __global__ void __launch_bounds__(256, 2)
matmul_f32(float* c, const float* a, const float* b, const float* bias, const float* addend, int m, int n, int k,
    long long a_row, long long a_column, long long a_batch, long long b_row, long long b_column, long long b_batch,
    long long bias_batch, int k_split, int has_bias, int has_addend) {
    const int first_k = blockIdx.y * k_split, last_k = k - first_k > k_split ? first_k + k_split : k;
    float_product<RegisterTile<2, 3, 16, 16>>({c, bias, addend, m, n, bias_batch, has_bias, has_addend},
        operand(a, a_row, a_column, a_batch, m, last_k), operand(b, b_column, b_row, b_batch, n, last_k), first_k);
}

// C [batch, M, N] = A B (+ bias [N] of each batch) (+ R [batch, M, N]).
// Tiles of 32 x 32, 64 threads.
extern "C" __global__ void __launch_bounds__(64, 8)
matmul_small_f32(float* c, const float* a, const float* b, const float* bias, const float* addend, int m, int n, int k,
    long long a_row, long long a_column, long long a_batch, long long b_row, long long b_column, long long b_batch,
    long long bias_batch, int k_split, int has_bias, int has_addend) {
    const int first_k = blockIdx.y * k_split, last_k = k - first_k > k_split ? first_k + k_split : k;
    float_product<RegisterTile<1, 2, 8, 8>>({c, bias, addend, m, n, bias_batch, has_bias, has_addend},
        operand(a, a_row, a_column, a_batch, m, last_k), operand(b, b_column, b_row, b_batch, n, last_k), first_k);
}

// C [batch, M, N] = A B (+ bias [N] of each batch) (+ R [batch, M, N]).
// Tiles of 128 x 128, 256 threads, 49,152 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256, 2)
matmul_bf16(bf16* c, const bf16* a, const bf16* b, const float* bias, const bf16* addend, int m, int n, int k,
    long long a_row, long long a_column, long long a_batch, long long b_row, long long b_column, long long b_batch,
    long long bias_batch, int k_split, int has_bias, int has_addend) {
    const int first_k = blockIdx.y * k_split, last_k = k - first_k > k_split ? first_k + k_split : k;
    DYN_SHARED(float, memory);
    bf16_product<Large>(Results<bf16>{c, bias, addend, m, n, bias_batch, has_bias, has_addend},
        operand(a, a_row, a_column, a_batch, m, last_k), operand(b, b_column, b_row, b_batch, n, last_k), first_k,
        memory);
}

// C [batch, M, N] = A B (+ bias [N] of each batch) (+ R [batch, M, N]).
// Tiles of 32 x 32, 128 threads, 12,288 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(128, 4)
matmul_small_bf16(bf16* c, const bf16* a, const bf16* b, const float* bias, const bf16* addend, int m, int n, int k,
    long long a_row, long long a_column, long long a_batch, long long b_row, long long b_column, long long b_batch,
    long long bias_batch, int k_split, int has_bias, int has_addend) {
    const int first_k = blockIdx.y * k_split, last_k = k - first_k > k_split ? first_k + k_split : k;
    DYN_SHARED(float, memory);
    bf16_product<Small>(Results<bf16>{c, bias, addend, m, n, bias_batch, has_bias, has_addend},
        operand(a, a_row, a_column, a_batch, m, last_k), operand(b, b_column, b_row, b_batch, n, last_k), first_k,
        memory);
}

// C [batch, M, N] = A B (+ bias [N] of each batch) (+ R [batch, M, N]).
// bf16 factors, float C. Tiles of 128 x 128, 256 threads, 49,152 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256, 2)
matmul_bf16_f32(float* c, const bf16* a, const bf16* b, const float* bias, const float* addend, int m, int n, int k,
    long long a_row, long long a_column, long long a_batch, long long b_row, long long b_column, long long b_batch,
    long long bias_batch, int k_split, int has_bias, int has_addend) {
    const int first_k = blockIdx.y * k_split, last_k = k - first_k > k_split ? first_k + k_split : k;
    DYN_SHARED(float, memory);
    bf16_product<Large>(Results<float>{c, bias, addend, m, n, bias_batch, has_bias, has_addend},
        operand(a, a_row, a_column, a_batch, m, last_k), operand(b, b_column, b_row, b_batch, n, last_k), first_k,
        memory);
}

// C [batch, M, N] = A B (+ bias [N] of each batch) (+ R [batch, M, N]).
// bf16 factors, float C. Tiles of 32 x 32, 128 threads, 12,288 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(128, 4)
matmul_small_bf16_f32(float* c, const bf16* a, const bf16* b, const float* bias, const float* addend, int m, int n,
    int k, long long a_row, long long a_column, long long a_batch, long long b_row, long long b_column,
    long long b_batch, long long bias_batch, int k_split, int has_bias, int has_addend) {
    const int first_k = blockIdx.y * k_split, last_k = k - first_k > k_split ? first_k + k_split : k;
    DYN_SHARED(float, memory);
    bf16_product<Small>(Results<float>{c, bias, addend, m, n, bias_batch, has_bias, has_addend},
        operand(a, a_row, a_column, a_batch, m, last_k), operand(b, b_column, b_row, b_batch, n, last_k), first_k,
        memory);
}

// Adds the partial products of one batch: lanes are 32 neighbouring elements, each of eight warps adds every eighth
// split.
template <class T>
static __device__ __forceinline__ void reduce(T* c, const float* partials, const float* bias, const T* addend,
                                              int splits, int m, int n, long long bias_batch, int has_bias,
                                              int has_addend) {
    SHARED(float, shared, 8 * 32);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const long long size = (long long)m * n, at = (long long)blockIdx.x * 32 + lane;
    float sum = 0.0f;
    if (at < size) {
        const float* from = partials + (long long)blockIdx.y * splits * size + at;
#pragma unroll 4
        for (int s = warp; s < splits; s += 8) sum += from[s * size];
    }
    shared[warp * 32 + lane] = sum;
    __syncthreads();
    if (warp == 0 && at < size) {
#pragma unroll
        for (int w = 1; w < 8; w++) sum += shared[w * 32 + lane];
        const float* my_bias = has_bias ? bias + blockIdx.y * bias_batch : nullptr;
        if (has_addend) sum += to_float(addend[blockIdx.y * size + at]);
        const Result<T> to = {c + blockIdx.y * size, my_bias, nullptr, m, n};
        to.put((int)(at / n), (int)(at % n), sum);
    }
}

// C [batch, M, N] = sum of partials [batch, splits, M, N] (+ bias [N]) (+ R [batch, M, N]).
// Grid [M N / 32, batches], 256 threads.
extern "C" __global__ void __launch_bounds__(256)
matmul_reduce_f32(float* c, const float* partials, const float* bias, const float* addend, int splits, int m, int n,
    long long bias_batch, int has_bias, int has_addend) {
    reduce(c, partials, bias, addend, splits, m, n, bias_batch, has_bias, has_addend);
}

// C [batch, M, N] = sum of partials [batch, splits, M, N] (+ bias [N]) (+ R [batch, M, N]).
// Grid [M N / 32, batches], 256 threads.
extern "C" __global__ void __launch_bounds__(256)
matmul_reduce_bf16(bf16* c, const float* partials, const float* bias, const bf16* addend, int splits, int m, int n,
    long long bias_batch, int has_bias, int has_addend) {
    reduce(c, partials, bias, addend, splits, m, n, bias_batch, has_bias, has_addend);
}

// narrow [count] = wide [count], rounded: float weights next to bf16 activations. Grid [count / 1024], 256 threads.
extern "C" __global__ void __launch_bounds__(256) matmul_narrow_bf16(bf16* narrow, const float* wide, long long count) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const long long at = (long long)blockIdx.x * 1024 + i * 256 + threadIdx.x;
        if (at < count) narrow[at] = from_float<bf16>(wide[at]);
    }
}
