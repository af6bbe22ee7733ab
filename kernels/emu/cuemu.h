// The emulator's side of CUDA C: what a kernel file sees instead of NVRTC's built-ins when the host C++ compiler
// builds it for the tests. A translation unit is this header, a kernel file, and EMU_ENTRY(kernel) for each kernel.
//
// The threads of a block are fibers on one host thread (cuemu.cpp), so a kernel runs exactly as written, barrier for
// barrier, but in an order of the emulator's choosing. Everything that a GPU leaves undefined and that can be seen
// from here is a fault: it ends the launch with a message and never the process. What cannot be seen: accesses far
// from a plain pointer's array (build with -fsanitize=address for those), memory ordering, bank conflicts, and loops
// that never end.
//
// Build with -std=c++17 -O2 -ffp-contract=off (the reference does not fuse either) -fno-exceptions -fno-rtti
// -fno-strict-aliasing (kernels reinterpret memory) -Wno-unknown-pragmas (#pragma unroll).
#ifndef CUEMU_H
#define CUEMU_H
#define CUEMU 1

#include <math.h>
#include <string.h>
#include <type_traits>
#include <utility>

// ---- The C interface ----------------------------------------------------------------------------------------------

struct EmuLaunch {
    unsigned grid[3], block[3];
    unsigned shared_bytes;  // of DYN_SHARED
    unsigned schedule;      // 0 forward, 1 reverse, 2 random: the order of threads and of blocks
    unsigned long long seed;
};

// extern "C" int twnm_emu_<kernel>(launch, args, message, message_bytes): args is byte for byte what cuLaunchKernel
// takes. Returns 0, or 1 with a message that names kernel, block, thread and fault.
#define EMU_ENTRY(kernel)                                                                             \
    extern "C" int twnm_emu_##kernel(const EmuLaunch* launch, void** args, char* message,             \
                                     unsigned long long message_bytes) {                              \
        return cuemu::launch(#kernel, cuemu::call<kernel>, *launch, args, message, message_bytes);    \
    }

// ---- Types and qualifiers -----------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __restrict__ __restrict

struct uint3 {
    unsigned x, y, z;
};
using dim3 = uint3;

// Kernels reinterpret memory as these for wide access, which the host compiler must not take for a promise.
#define CUEMU_VECTOR(bytes) __attribute__((aligned(bytes), may_alias))
struct CUEMU_VECTOR(8) float2 { float x, y; };
struct CUEMU_VECTOR(16) float4 { float x, y, z, w; };
struct CUEMU_VECTOR(8) int2 { int x, y; };
struct CUEMU_VECTOR(16) int4 { int x, y, z, w; };
struct CUEMU_VECTOR(8) uint2 { unsigned x, y; };
struct CUEMU_VECTOR(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// ---- What cuemu.cpp offers ----------------------------------------------------------------------------------------

namespace cuemu {

// A place in the source at which threads meet. `id` tells places apart: compilers duplicate code, so that neither the
// return address nor (two on a line) the line number would do.
struct Site {
    const char* what;
    const char* file;
    int line, id;
};
#define CUEMU_SITE(what) (cuemu::Site{what, __FILE__, __LINE__, __COUNTER__})

// A shared array in the source; its address is its identity, one per template instantiation as on the GPU.
struct SharedSite {
    const char* name;
    const char* file;
    int line;
};

struct Context {
    uint3 thread_index, block_index, block_dim, grid_dim;
    unsigned lane;
};
extern __thread Context now;
static inline unsigned lane() { return now.lane; }

void sync_block(const Site& site);
const void* gather_bytes(const Site& site, unsigned mask, const void* value, unsigned bytes);

void* shared_static(const SharedSite* site, unsigned long long bytes);
void* shared_dynamic(const SharedSite* site, unsigned long long* bytes);
[[noreturn]] void fault_index(const SharedSite* site, long long index, long long count);
[[noreturn]] void fault_alignment(const void* pointer, unsigned bytes);
void check_shared(const void* pointer, unsigned bytes, const char* what);

void copy_async(void* shared, const void* global, unsigned bytes, int valid);
void copy_commit();
void copy_wait(unsigned groups_left);

int launch(const char* kernel, void (*entry)(void**), const EmuLaunch& launch, void** args, char* message,
           unsigned long long message_bytes);

template <class... A, size_t... I>
static inline void unpack(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<A>*>(args[I])...);
}
template <class... A>
static inline void unpack(void (*kernel)(A...), void** args) {
    unpack(kernel, args, std::index_sequence_for<A...>());
}
template <auto kernel>
static void call(void** args) {
    unpack(kernel, args);
}

static inline void check_aligned(const void* pointer, unsigned bytes) {
    if (reinterpret_cast<unsigned long long>(pointer) % bytes) fault_alignment(pointer, bytes);
}

// ---- Warp operations: every lane leaves a value and, once all 32 have, sees those of the others -----------------

constexpr unsigned SLOT_BYTES = 32;

template <class T>
struct Gathered {
    const unsigned char* slots;
    const T& operator[](unsigned lane) const { return *reinterpret_cast<const T*>(slots + lane * SLOT_BYTES); }
};

// The reference holds until this lane's next warp operation.
template <class T>
static inline Gathered<T> gather(const Site& site, const T& value, unsigned mask = 0xffffffffu) {
    static_assert(sizeof(T) <= SLOT_BYTES, "value too large for a warp operation");
    return {static_cast<const unsigned char*>(gather_bytes(site, mask, &value, sizeof value))};
}

struct Shuffle {
    Site site;
    template <class T>
    T from(unsigned mask, T value, unsigned source) const {
        static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles numbers");
        return gather(site, value, mask)[source];
    }
};
struct ShuffleIndexed : Shuffle {
    template <class T>
    T operator()(unsigned mask, T value, int source) const { return from(mask, value, source & 31); }
};
struct ShuffleXor : Shuffle {
    template <class T>
    T operator()(unsigned mask, T value, int bits) const { return from(mask, value, (lane() ^ bits) & 31); }
};
// Lanes whose partner lies outside the warp keep their own value.
struct ShuffleDown : Shuffle {
    template <class T>
    T operator()(unsigned mask, T value, unsigned delta) const {
        return from(mask, value, delta < 32 - lane() ? lane() + delta : lane());
    }
};
struct ShuffleUp : Shuffle {
    template <class T>
    T operator()(unsigned mask, T value, unsigned delta) const {
        return from(mask, value, delta <= lane() ? lane() - delta : lane());
    }
};
struct SyncWarp {
    Site site;
    void operator()(unsigned mask = 0xffffffffu) const { gather(site, 0, mask); }
};

// ---- Shared memory: a checked index, and otherwise a pointer -------------------------------------------------------

template <class T>
struct Shared {
    T* base;
    long long count;
    const SharedSite* site;

    operator T*() const { return base; }
    template <class I>
    T& operator[](I index) const {
        const long long i = static_cast<long long>(index);
        if (i < 0 || i >= count) fault_index(site, i, count);
        return base[i];
    }
};

template <class T>
static inline Shared<T> static_array(const SharedSite* site, long long count) {
    return {static_cast<T*>(shared_static(site, count * sizeof(T))), count, site};
}
template <class T>
static inline Shared<T> dynamic_array(const SharedSite* site) {
    unsigned long long bytes;
    T* const base = static_cast<T*>(shared_dynamic(site, &bytes));
    return {base, static_cast<long long>(bytes / sizeof(T)), site};
}

}  // namespace cuemu

// The sites are not const, so that no compiler may merge two that look alike.
#define SHARED(T, name, COUNT)                                              \
    static_assert((COUNT) > 0, "the size of a static shared array");        \
    static cuemu::SharedSite name##_site = {#name, __FILE__, __LINE__};     \
    const cuemu::Shared<T> name = cuemu::static_array<T>(&name##_site, COUNT)
#define DYN_SHARED(T, name)                                                 \
    static cuemu::SharedSite name##_site = {#name, __FILE__, __LINE__};     \
    const cuemu::Shared<T> name = cuemu::dynamic_array<T>(&name##_site)

// ---- Built-in variables and functions -----------------------------------------------------------------------------

#define threadIdx (cuemu::now.thread_index)
#define blockIdx (cuemu::now.block_index)
#define blockDim (cuemu::now.block_dim)
#define gridDim (cuemu::now.grid_dim)

#define __syncthreads() cuemu::sync_block(CUEMU_SITE("__syncthreads"))
#define __syncwarp cuemu::SyncWarp{CUEMU_SITE("__syncwarp")}
#define __shfl_sync cuemu::ShuffleIndexed{{CUEMU_SITE("__shfl_sync")}}
#define __shfl_xor_sync cuemu::ShuffleXor{{CUEMU_SITE("__shfl_xor_sync")}}
#define __shfl_down_sync cuemu::ShuffleDown{{CUEMU_SITE("__shfl_down_sync")}}
#define __shfl_up_sync cuemu::ShuffleUp{{CUEMU_SITE("__shfl_up_sync")}}

// CUDA's min and max: mixed signs compare as unsigned, and of a NaN and a number the number is returned.
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
static inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
static inline unsigned min(int a, unsigned b) { return min((unsigned)a, b); }
static inline unsigned max(int a, unsigned b) { return max((unsigned)a, b); }
static inline unsigned min(unsigned a, int b) { return min(a, (unsigned)b); }
static inline unsigned max(unsigned a, int b) { return max(a, (unsigned)b); }
static inline long long min(long long a, long long b) { return a < b ? a : b; }
static inline long long max(long long a, long long b) { return a > b ? a : b; }
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }

// Recent C libraries have one of their own: hence the macro.
static inline float cuemu_rsqrtf(float x) { return 1.0f / sqrtf(x); }
#define rsqrtf cuemu_rsqrtf

template <class To, class From>
static inline To cuemu_bits(From value) {
    To bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline unsigned __float_as_uint(float x) { return cuemu_bits<unsigned>(x); }
static inline int __float_as_int(float x) { return cuemu_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return cuemu_bits<float>(x); }
static inline float __int_as_float(int x) { return cuemu_bits<float>(x); }

template <class T>
static inline T __ldg(const T* pointer) {
    return *pointer;
}

#endif
