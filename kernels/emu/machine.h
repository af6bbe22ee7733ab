// The state of one emulated launch, all of it owned by the host thread that launches, and how faults are recorded.
#ifndef CUEMU_MACHINE_H
#define CUEMU_MACHINE_H

#include "cuemu.h"
#include "switch.h"

#include <stdarg.h>
#include <stdio.h>

namespace cuemu {

constexpr unsigned WARP = 32, MAX_THREADS = 1024, MAX_WARPS = MAX_THREADS / WARP;
constexpr unsigned FORWARD = 0, REVERSE = 1, RANDOM = 2;
constexpr unsigned MAX_COPIES = 256;

// Limits of sm_89 and sm_120, and of ptxas for static arrays.
constexpr unsigned long long MAX_SHARED = 99 * 1024, MAX_STATIC_SHARED = 48 * 1024;
constexpr unsigned MAX_ARRAYS = 64, CANARY = 64, ALIGNMENT = 16;
constexpr unsigned ARENA = MAX_SHARED + (MAX_ARRAYS + 1) * (CANARY + ALIGNMENT);

// A stack that grows past STACK meets the canary, and then SLACK before it would meet another stack. The odd distance
// between stacks spreads their tops, all used at the same depth, over the sets of the caches.
constexpr unsigned STACK = 64 * 1024, SLACK = 64 * 1024, STACK_DISTANCE = STACK + SLACK + 4096 + 576;
constexpr unsigned long long STACK_CANARY = 0x7fb1c0de7fb1c0deull;
constexpr unsigned STACK_CANARY_WORDS = 8;  // a cache line, looked at after every block

enum class State : unsigned char { Fresh, Runnable, AtBarrier, InWarpOperation, Ended };

struct Copy {
    void* shared;
    const void* global;
    unsigned bytes;
    int valid;
    unsigned group;
};

struct Thread {
    void* stack_pointer;
    const Site* site;  // where it waits
    uint3 index;
    unsigned number, stack;
    State state;
    unsigned copy_count, copy_group;  // cp.async: on their way, groups closed
};

struct Warp {
    unsigned arrived, generation;
    const Site* site;
    // By parity of the generation: a lane that is ahead fills the other half while the slow ones still read this one.
    alignas(16) unsigned char slots[2][WARP][SLOT_BYTES];
};

struct Array {
    const SharedSite* site;
    unsigned offset, bytes;
};

struct Machine {
    const char* kernel;
    void (*entry)(void**);
    void** args;
    EmuLaunch launch;
    unsigned long long random;
    unsigned thread_count, ended, at_barrier;
    Thread *current, *first_at_barrier;
    void* scheduler;  // its stack pointer while a fiber runs
    const void* host_stack;
    unsigned long long host_stack_bytes;

    unsigned pass[MAX_THREADS], pass_length, pass_at;
    unsigned complete[MAX_WARPS], complete_count;  // warps whose lanes have all arrived in this pass

    char* stacks;
    unsigned free_stacks[MAX_THREADS], free_stack_count, stacks_made;

    Array arrays[MAX_ARRAYS + 1];  // [0] is the dynamic one
    unsigned array_count, arena_used, static_bytes;

    bool faulted;
    char fault[640];

    Thread threads[MAX_THREADS];
    Warp warps[MAX_WARPS];
    alignas(64) unsigned char arena[ARENA];
    Copy copies[MAX_THREADS][MAX_COPIES];
};

extern __thread Machine* machine;  // of this host thread, null before its first launch

static unsigned random_below(Machine& m, unsigned bound) {
    unsigned long long z = m.random += 0x9e3779b97f4a7c15ull;  // splitmix64
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (unsigned)(((z ^ (z >> 31)) >> 32) * bound >> 32);
}

// ---- Faults -------------------------------------------------------------------------------------------------------

struct Place {
    char text[48];
};
static Place place(const Thread& t) {
    Place p;
    snprintf(p.text, sizeof p.text, "thread (%u,%u,%u)", t.index.x, t.index.y, t.index.z);
    return p;
}

__attribute__((format(printf, 3, 4))) static void record(Machine& m, const Thread* thread, const char* format, ...) {
    if (m.faulted) return;
    m.faulted = true;
    const Place where = thread ? place(*thread) : Place{"some thread"};
    int n = snprintf(m.fault, sizeof m.fault, "kernel %s, block (%u,%u,%u), %s: ", m.kernel, now.block_index.x,
                     now.block_index.y, now.block_index.z, where.text);
    va_list list;
    va_start(list, format);
    if (n > 0 && n < (int)sizeof m.fault) vsnprintf(m.fault + n, sizeof m.fault - n, format, list);
    va_end(list);
}

[[noreturn]] static void abandon(Machine& m) {
    switch_stack(&m.current->stack_pointer, m.scheduler, m.host_stack, m.host_stack_bytes);
    __builtin_unreachable();
}

#define FAULT(m, ...) (record(m, (m).current, __VA_ARGS__), abandon(m))

}  // namespace cuemu

#endif
