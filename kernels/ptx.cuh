// The only inline PTX of the project: tensor-core multiplication, the loads that feed it, asynchronous copies, rounding
// to bf16, and the special-function unit without the care for subnormal numbers that C++ asks for: all of them
// instructions of sm_80, which every later GPU runs as well. Under the emulator (CUEMU) each wrapper has a body in
// plain C++ that follows the fragment layouts of the PTX ISA; tests/kernels/emulator.rs holds those to plain loops.
//
// All functions here are called by all 32 lanes of a warp together, except cp_async_*, round_bf16, pack_bf16,
// exp2_fast and sigmoid_fast, which concern one thread.
#ifndef TWNM_PTX_CUH
#define TWNM_PTX_CUH

// The bits of v as bf16, rounded to nearest, ties to even. A NaN stays a (quiet) NaN; its payload is the GPU's affair.
static __device__ __forceinline__ unsigned short round_bf16(float v) {
#ifndef CUEMU
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
    return bits;
#else
    const unsigned bits = __float_as_uint(v);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return (unsigned short)(nan ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
}

// (low, high) as two bf16 in one register; `low` is the element at the lower address.
static __device__ __forceinline__ unsigned pack_bf16(float low, float high) {
#ifndef CUEMU
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
#else
    return round_bf16(low) | ((unsigned)round_bf16(high) << 16);
#endif
}

// d += a b for a 16 x 16 matrix a, a 16 x 8 matrix b and a 16 x 8 matrix d spread over the warp. With
// g = lane / 4 and t = lane % 4, a lane holds (two bf16 per register, the lower column or row in the low half):
//   a[0] = a(g, 2t..)   a[1] = a(g + 8, 2t..)   a[2] = a(g, 2t + 8..)   a[3] = a(g + 8, 2t + 8..)
//   b[0] = b(2t.., g)   b[1] = b(2t + 8.., g)
//   d[0] = d(g, 2t)     d[1] = d(g, 2t + 1)     d[2] = d(g + 8, 2t)     d[3] = d(g + 8, 2t + 1)
static __device__ __forceinline__ void mma_bf16_16816(float d[4], const unsigned a[4], const unsigned b[2]) {
#ifndef CUEMU
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    struct Fragments {
        unsigned a[4], b[2];
    };
    const Fragments mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const cuemu::Gathered<Fragments> warp = cuemu::gather(CUEMU_SITE("mma_bf16_16816"), mine);
    const unsigned g = cuemu::lane() / 4, t = cuemu::lane() % 4;
    for (unsigned pair = 0; pair < 8; pair++) {  // the columns 2 pair, 2 pair + 1 of a
        const unsigned owner = pair % 4, later = pair / 4;
        const unsigned upper = warp[g * 4 + owner].a[2 * later], lower = warp[g * 4 + owner].a[2 * later + 1];
        for (unsigned column = 0; column < 2; column++) {
            const unsigned right = warp[(2 * t + column) * 4 + owner].b[later];
            const float low = __uint_as_float(right << 16), high = __uint_as_float(right & 0xffff0000u);
            d[column] += __uint_as_float(upper << 16) * low + __uint_as_float(upper & 0xffff0000u) * high;
            d[2 + column] += __uint_as_float(lower << 16) * low + __uint_as_float(lower & 0xffff0000u) * high;
        }
    }
#endif
}

// As mma_bf16_16816 for a 16 x 8 matrix a and an 8 x 8 matrix b: half the work. Its operands are the first halves:
// a[0], a[1] and b[0] as above.
static __device__ __forceinline__ void mma_bf16_1688(float d[4], const unsigned a[2], unsigned b) {
#ifndef CUEMU
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
#else
    struct Fragments {
        unsigned a[2], b;
    };
    const Fragments mine = {{a[0], a[1]}, b};
    const cuemu::Gathered<Fragments> warp = cuemu::gather(CUEMU_SITE("mma_bf16_1688"), mine);
    const unsigned g = cuemu::lane() / 4, t = cuemu::lane() % 4;
    for (unsigned owner = 0; owner < 4; owner++) {  // of the columns 2 owner, 2 owner + 1 of a
        const unsigned upper = warp[g * 4 + owner].a[0], lower = warp[g * 4 + owner].a[1];
        for (unsigned column = 0; column < 2; column++) {
            const unsigned right = warp[(2 * t + column) * 4 + owner].b;
            const float low = __uint_as_float(right << 16), high = __uint_as_float(right & 0xffff0000u);
            d[column] += __uint_as_float(upper << 16) * low + __uint_as_float(upper & 0xffff0000u) * high;
            d[2 + column] += __uint_as_float(lower << 16) * low + __uint_as_float(lower & 0xffff0000u) * high;
        }
    }
#endif
}

// 2^x within 2 units in the last place; what would be subnormal is 0. exp2f has the same error and spends three more
// instructions on subnormal results.
static __device__ __forceinline__ float exp2_fast(float x) {
#ifndef CUEMU
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    const float y = exp2f(x);
    return y < 1.17549435e-38f ? 0.0f : y;
#endif
}

// 1 / (1 + e^-x) within 1e-5 of itself, 0 where e^-x overflows: enough where the result is rounded to bf16, in five
// instructions instead of twenty and a branch.
static __device__ __forceinline__ float sigmoid_fast(float x) {
    const float below = 1.0f + exp2_fast(-1.44269504f * x);
#ifndef CUEMU
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(below));
    return y;
#else
    return 1.0f / below;
#endif
}

#ifdef CUEMU
// Loads COUNT matrices of 8 x 8 bf16: lane 8 m + i names row i of matrix m (16 bytes). Each lane publishes its row.
template <int COUNT, bool TRANSPOSED>
static inline void emulate_ldmatrix(cuemu::Site site, unsigned* r, const void* shared) {
    struct Row {
        unsigned short x[8];
    };
    Row mine = {};
    if (cuemu::lane() < 8 * COUNT) {
        cuemu::check_shared(shared, sizeof mine, site.what);
        __builtin_memcpy(&mine, shared, sizeof mine);
    }
    const cuemu::Gathered<Row> warp = cuemu::gather(site, mine);
    const unsigned g = cuemu::lane() / 4, t = cuemu::lane() % 4;
    for (unsigned m = 0; m < COUNT; m++) {
        r[m] = TRANSPOSED ? warp[8 * m + 2 * t].x[g] | ((unsigned)warp[8 * m + 2 * t + 1].x[g] << 16)
                          : warp[8 * m + g].x[2 * t] | ((unsigned)warp[8 * m + g].x[2 * t + 1] << 16);
    }
}
#endif

// Matrices of 8 x 8 bf16 from shared memory into mma fragments. Lane 8 m + i gives the 16-byte aligned address of row
// i of matrix m; r[m] receives elements (g, 2t) and (g, 2t + 1) of matrix m, or with _trans (2t, g) and (2t + 1, g).
static __device__ __forceinline__ void ldmatrix_x4(unsigned r[4], const void* shared) {
#ifndef CUEMU
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(shared))
                 : "memory");
#else
    emulate_ldmatrix<4, false>(CUEMU_SITE("ldmatrix_x4"), r, shared);
#endif
}

static __device__ __forceinline__ void ldmatrix_x4_trans(unsigned r[4], const void* shared) {
#ifndef CUEMU
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(shared))
                 : "memory");
#else
    emulate_ldmatrix<4, true>(CUEMU_SITE("ldmatrix_x4_trans"), r, shared);
#endif
}

// Two matrices; only the addresses of lanes 0 to 15 count.
static __device__ __forceinline__ void ldmatrix_x2(unsigned r[2], const void* shared) {
#ifndef CUEMU
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"((unsigned)__cvta_generic_to_shared(shared))
                 : "memory");
#else
    emulate_ldmatrix<2, false>(CUEMU_SITE("ldmatrix_x2"), r, shared);
#endif
}

static __device__ __forceinline__ void ldmatrix_x2_trans(unsigned r[2], const void* shared) {
#ifndef CUEMU
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"((unsigned)__cvta_generic_to_shared(shared))
                 : "memory");
#else
    emulate_ldmatrix<2, true>(CUEMU_SITE("ldmatrix_x2_trans"), r, shared);
#endif
}

// Copies 16 bytes from global to shared memory, both 16-byte aligned, past the registers and without waiting; with
// valid = 0 nothing is read and 16 zero bytes are written, so tile edges need no branch. The bytes may be relied on by
// this thread after a cp_async_wait that covers them, by others after a __syncthreads() that follows it.
static __device__ __forceinline__ void cp_async_16(void* shared, const void* global, int valid) {
#ifndef CUEMU
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(shared)),
                 "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
                 : "memory");
#else
    cuemu::copy_async(shared, global, 16, valid);
#endif
}

// The same for 8 bytes, both 8-byte aligned.
static __device__ __forceinline__ void cp_async_8(void* shared, const void* global) {
#ifndef CUEMU
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"((unsigned)__cvta_generic_to_shared(shared)),
                 "l"(__cvta_generic_to_global(global))
                 : "memory");
#else
    cuemu::copy_async(shared, global, 8, 1);
#endif
}

// Closes the current group of copies (an empty one counts too).
static __device__ __forceinline__ void cp_async_commit() {
#ifndef CUEMU
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    cuemu::copy_commit();
#endif
}

// Waits until at most the N groups committed last are still on their way.
template <int N>
static __device__ __forceinline__ void cp_async_wait() {
#ifndef CUEMU
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#else
    cuemu::copy_wait(N);
#endif
}

#endif
