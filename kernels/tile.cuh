// Products of small matrices in shared memory, one warp each: what the convolution and the full-band maps are made of.
//
// A warp owns a tile of 32 rows and up to 24 columns. Its sums lie in registers as mma.m16n8k16 leaves them, for float
// as well, so that the code around the product is the same for both storage types. With g = lane / 4, t = lane % 4:
//
//     sums[m][n][2 h + c]   is row 16 m + 8 h + g, column 8 n + 2 t + c      (m, h, c in {0, 1}, n in {0, 1, 2})
//
// bf16 goes through the tensor cores; a lane fetches two neighbouring numbers of k at a time, or ldmatrix eight. float
// takes multiply-adds: 10 words from shared memory (most of them broadcast) feed 24 of them.
#ifndef TWNM_TILE_CUH
#define TWNM_TILE_CUH

#define TILE_ROWS 32
#define TILE_COLUMNS 24

typedef float TileSums[2][3][4];

static __device__ __forceinline__ void clear(TileSums& sums) {
#pragma unroll
    for (int i = 0; i < 24; i++) sums[i / 12][i / 4 % 3][i % 4] = 0.0f;
}

// Row and column of sums[m][n][j].
static __device__ __forceinline__ int tile_row(int m, int j) { return 16 * m + 8 * (j / 2) + (threadIdx.x & 31) / 4; }
static __device__ __forceinline__ int tile_column(int n, int j) { return 8 * n + 2 * (threadIdx.x & 3) + j % 2; }

static __device__ __forceinline__ unsigned two(const bf16* p) { return *reinterpret_cast<const unsigned*>(p); }

// sums += a b^T for a [32, k] and b [columns, k], rows a_row and b_row apart. b has rows up to the next multiple of 8.
static __device__ __forceinline__ void multiply(TileSums& sums, const float* a, int a_row, const float* b, int b_row,
                                                int k, int columns) {
    const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
    a += g * a_row;
    b += 2 * t * b_row;
#pragma unroll 2
    for (int i = 0; i < k; i++) {
        const float rows[4] = {a[i], a[8 * a_row + i], a[16 * a_row + i], a[24 * a_row + i]};
#pragma unroll
        for (int n = 0; n < 3; n++) {
            if (8 * n < columns) {
                const float left = b[8 * n * b_row + i], right = b[(8 * n + 1) * b_row + i];
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    sums[r / 2][n][r % 2 * 2] = fmaf(rows[r], left, sums[r / 2][n][r % 2 * 2]);
                    sums[r / 2][n][r % 2 * 2 + 1] = fmaf(rows[r], right, sums[r / 2][n][r % 2 * 2 + 1]);
                }
            }
        }
    }
}

// The same on the tensor cores. k is a multiple of 16; a_row and b_row are even, and a and b 4-byte aligned.
static __device__ __forceinline__ void multiply(TileSums& sums, const bf16* a, int a_row, const bf16* b, int b_row,
                                                int k, int columns) {
    const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
    a += g * a_row + 2 * t;
    b += g * b_row + 2 * t;
    for (int i = 0; i < k; i += 16) {
        unsigned left[2][4];
#pragma unroll
        for (int m = 0; m < 2; m++) {
            const bf16* upper = a + 16 * m * a_row + i;
            const bf16* lower = upper + 8 * a_row;
            left[m][0] = two(upper);
            left[m][1] = two(lower);
            left[m][2] = two(upper + 8);
            left[m][3] = two(lower + 8);
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

// The same where both lie in shared memory and rows begin at multiples of 16 bytes: ldmatrix brings 8 x 8 numbers at a
// time, four instructions instead of fourteen for 16 of k.
static __device__ __forceinline__ void multiply_chunks(TileSums& sums, const bf16* a, int a_row, const bf16* b,
                                                       int b_row, int k, int columns) {
    const int lane = threadIdx.x & 31;
    a += lane % 16 * a_row + lane / 16 * 8;
    const bf16* two_columns = b + (lane / 16 * 8 + lane % 8) * b_row + lane / 8 % 2 * 8;
    const bf16* last_columns = b + ((columns > 16 ? 16 : 0) + lane % 8) * b_row + lane / 8 % 2 * 8;
    for (int i = 0; i < k; i += 16) {
        unsigned left[2][4], right[6] = {};
        ldmatrix_x4(left[0], a + i);
        ldmatrix_x4(left[1], a + 16 * a_row + i);
        if (columns > 8) ldmatrix_x4(right, two_columns + i);
        if (columns > 16) ldmatrix_x2(right + 4, last_columns + i);
        if (columns <= 8) ldmatrix_x2(right, last_columns + i);
#pragma unroll
        for (int n = 0; n < 3; n++) {
            if (8 * n < columns) {
                mma_bf16_16816(sums[0][n], left[0], right + 2 * n);
                mma_bf16_16816(sums[1][n], left[1], right + 2 * n);
            }
        }
    }
}

// `multiply` for operands in shared memory.
static __device__ __forceinline__ void multiply_shared(TileSums& sums, const float* a, int a_row, const float* b,
                                                       int b_row, int k, int columns) {
    multiply(sums, a, a_row, b, b_row, k, columns);
}
static __device__ __forceinline__ void multiply_shared(TileSums& sums, const bf16* a, int a_row, const bf16* b,
                                                       int b_row, int k, int columns) {
    const bool whole = ((a_row | b_row) & 7) == 0 && (((unsigned long long)a | (unsigned long long)b) & 15) == 0;
    if (whole) multiply_chunks(sums, a, a_row, b, b_row, k, columns);
    else multiply(sums, a, a_row, b, b_row, k, columns);
}

// sums += a^T b for a [k, 32] and b [k, columns]. With with_totals, totals[n][c] += the sum of column 8 n + 2 t + c of
// b: the gradient of a bias is that of the weight of an input that is always 1.
static __device__ __forceinline__ void multiply_transposed(TileSums& sums, float (&totals)[3][4], const float* a,
                                                           int a_row, const float* b, int b_row, int k, int columns,
                                                           int with_totals) {
    const int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
    a += g;
    b += 2 * t;
    for (int i = 0; i < k; i++, a += a_row, b += b_row) {
        const float rows[4] = {a[0], a[8], a[16], a[24]};
#pragma unroll
        for (int n = 0; n < 3; n++) {
            if (8 * n < columns) {
                const float left = b[8 * n], right = b[8 * n + 1];
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    sums[r / 2][n][r % 2 * 2] = fmaf(rows[r], left, sums[r / 2][n][r % 2 * 2]);
                    sums[r / 2][n][r % 2 * 2 + 1] = fmaf(rows[r], right, sums[r / 2][n][r % 2 * 2 + 1]);
                }
                if (with_totals) {
                    totals[n][0] += left;
                    totals[n][1] += right;
                }
            }
        }
    }
}

// The same on the tensor cores: ldmatrix transposes on the way to the registers. k is a multiple of 16; a_row and b_row
// are multiples of 8, and a and b 16-byte aligned.
static __device__ __forceinline__ void multiply_transposed(TileSums& sums, float (&totals)[3][4], const bf16* a,
                                                           int a_row, const bf16* b, int b_row, int k, int columns,
                                                           int with_totals) {
    const unsigned ones[4] = {0x3f803f80u, 0x3f803f80u, 0x3f803f80u, 0x3f803f80u};
    const int lane = threadIdx.x & 31;
    a += (lane % 8 + lane / 16 * 8) * a_row + lane / 8 % 2 * 8;
    b += lane % 16 * b_row;
    for (int i = 0; i < k; i += 16, a += 16 * a_row, b += 16 * b_row) {
        unsigned left[2][4];
        ldmatrix_x4_trans(left[0], a);
        ldmatrix_x4_trans(left[1], a + 16);
#pragma unroll
        for (int n = 0; n < 3; n++) {
            if (8 * n < columns) {
                unsigned right[2];
                ldmatrix_x2_trans(right, b + 8 * n);
                mma_bf16_16816(sums[0][n], left[0], right);
                mma_bf16_16816(sums[1][n], left[1], right);
                if (with_totals) mma_bf16_16816(totals[n], ones, right);
            }
        }
    }
}

static __device__ __forceinline__ void store2(float* p, float low, float high) {
    *reinterpret_cast<float2*>(p) = make_float2(low, high);
}
static __device__ __forceinline__ void store2(bf16* p, float low, float high) {
    *reinterpret_cast<unsigned*>(p) = pack_bf16(low, high);
}

// Two neighbouring results of a row, of which `count` exist (at most 0: none); `paired`: p is aligned for both at once.
template <typename T>
static __device__ __forceinline__ void store_some(T* p, float low, float high, int count, int paired) {
    if (count >= 2 && paired) {
        store2(p, low, high);
    } else {
        if (count >= 1) p[0] = from_float<T>(low);
        if (count >= 2) p[1] = from_float<T>(high);
    }
}

#endif
