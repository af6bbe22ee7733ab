// The emulator: runs the blocks of a launch one after another and the threads of a block as fibers on the calling host
// thread. All state belongs to the host thread, so several can launch at once.
//
// A pass resumes each runnable thread once. A thread runs until it blocks in a barrier or a warp operation, or ends;
// then it hands over to the next of the pass directly. A thread that never blocks costs no switch at all: its stack
// runs the next thread. Warp operations complete when all 32 lanes have arrived, barriers when all threads of the
// block have; both are checked after a pass.
//
//   forward, reverse   warp by warp: one warp runs to its barrier before the next begins, so that a missing barrier
//                      shows as the largest possible lead
//   random             one pass over all runnable threads of the block, permuted anew each time
//
// The order of blocks follows the schedule too. Faults are recorded once, by the thread that meets them, which then
// leaves for the scheduler and is never resumed; abandoned stacks are simply used again, for kernels own nothing.
#include "cuemu.h"
#include "switch.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace cuemu {

__thread Context now;

namespace {

constexpr unsigned WARP = 32, MAX_THREADS = 1024, MAX_WARPS = MAX_THREADS / WARP;
constexpr unsigned FORWARD = 0, RANDOM = 2;

// Limits of sm_89 and sm_120, and of ptxas for static arrays.
constexpr unsigned long long MAX_SHARED = 99 * 1024, MAX_STATIC_SHARED = 48 * 1024;
constexpr unsigned MAX_ARRAYS = 64, CANARY = 64, ALIGNMENT = 16;
constexpr unsigned ARENA = MAX_SHARED + (MAX_ARRAYS + 1) * (CANARY + ALIGNMENT);

// A stack that grows past STACK meets the canary, and then SLACK before it would meet another stack. The odd distance
// between stacks spreads their tops, all used at the same depth, over the sets of the caches.
constexpr unsigned STACK = 64 * 1024, SLACK = 64 * 1024, STACK_DISTANCE = STACK + SLACK + 4096 + 576;
constexpr unsigned long long STACK_CANARY = 0x7fb1c0de7fb1c0deull;
constexpr unsigned STACK_CANARY_WORDS = 32;

enum class State : unsigned char { Fresh, Runnable, AtBarrier, InWarpOperation, Ended };

struct Copy {
    void* shared;
    const void* global;
    int valid;
    unsigned group;
};

struct Thread {
    void* stack_pointer;
    const Site* site;  // where it waits
    uint3 index;
    unsigned number, stack;
    State state;
    Copy* copies;  // cp.async, issued and not yet landed
    unsigned copy_count, copy_capacity, copy_group;
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
};

__thread Machine* machine;

// ---- Faults -------------------------------------------------------------------------------------------------------

struct Place {
    char text[48];
};
Place place(const Thread& t) {
    Place p;
    snprintf(p.text, sizeof p.text, "thread (%u,%u,%u)", t.index.x, t.index.y, t.index.z);
    return p;
}

__attribute__((format(printf, 3, 4))) void record(Machine& m, const Thread* thread, const char* format, ...) {
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

[[noreturn]] void abandon(Machine& m) {
    switch_stack(&m.current->stack_pointer, m.scheduler, m.host_stack, m.host_stack_bytes);
    __builtin_unreachable();
}

#define FAULT(m, ...) (record(m, (m).current, __VA_ARGS__), abandon(m))

// ---- Stacks -------------------------------------------------------------------------------------------------------

char* stack_low(const Machine& m, unsigned stack) {
    return m.stacks + (unsigned long long)stack * STACK_DISTANCE + SLACK;
}

unsigned take_stack(Machine& m) {
    if (m.free_stack_count) return m.free_stacks[--m.free_stack_count];
    unsigned long long* const canary = reinterpret_cast<unsigned long long*>(stack_low(m, m.stacks_made));
    for (unsigned i = 0; i < STACK_CANARY_WORDS; i++) canary[i] = STACK_CANARY;
    return m.stacks_made++;
}

// The canary lies at the far end of the stack; its uppermost word is the first to be overwritten.
bool stack_overflowed(const Machine& m, unsigned stack, bool thorough) {
    unsigned long long* const canary = reinterpret_cast<unsigned long long*>(stack_low(m, stack));
    bool whole = canary[STACK_CANARY_WORDS - 1] == STACK_CANARY;
    if (thorough)
        for (unsigned i = 0; i < STACK_CANARY_WORDS; i++) whole &= canary[i] == STACK_CANARY;
    return !whole;
}

// ---- Shared memory ------------------------------------------------------------------------------------------------

// Poison and canary are NaN both as float and as bf16, and tell each other apart.
constexpr unsigned char POISON = 0xff;
constexpr unsigned long long CANARY_WORD = 0xffe5ffe5ffe5ffe5ull;

unsigned open_array(Machine& m, unsigned slot, const SharedSite* site, unsigned bytes) {
    const unsigned offset = (m.arena_used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    m.arrays[slot] = {site, offset, bytes};
    m.arena_used = offset + bytes + CANARY;
    ASAN_UNPOISON_MEMORY_REGION(m.arena + offset, bytes);
    memset(m.arena + offset, POISON, bytes);
    if (!CUEMU_ASAN)  // which finds these accesses itself, and at once
        for (unsigned i = 0; i < CANARY; i += 8) memcpy(m.arena + offset + bytes + i, &CANARY_WORD, 8);
    return offset;
}

void reset_shared(Machine& m) {
    ASAN_POISON_MEMORY_REGION(m.arena, ARENA);
    m.arena_used = m.static_bytes = 0;
    m.array_count = 1;
    open_array(m, 0, nullptr, m.launch.shared_bytes);
}

const Array* overwritten_canary(const Machine& m, unsigned length) {
    if (CUEMU_ASAN) return nullptr;
    for (unsigned a = 0; a < m.array_count; a++)
        for (unsigned i = 0; i < length; i += 8) {
            unsigned long long word;
            memcpy(&word, m.arena + m.arrays[a].offset + m.arrays[a].bytes + i, 8);
            if (word != CANARY_WORD) return &m.arrays[a];
        }
    return nullptr;
}

void record_canary(Machine& m, const Thread* thread, const Array& array) {
    if (array.site)
        record(m, thread, "wrote past the end of shared array `%s` (%s:%d)", array.site->name, array.site->file,
               array.site->line);
    else
        record(m, thread, "wrote past the end of the %u bytes of dynamic shared memory", array.bytes);
}

// After each turn of a thread the nearest bytes are looked at, so that the fault can name it.
void check_turn(Machine& m, const Thread& t) {
    if (__builtin_expect(stack_overflowed(m, t.stack, false), 0))
        record(m, &t, "overflowed its stack of %u KiB (large local arrays?)", STACK / 1024);
    if (const Array* array = overwritten_canary(m, 8)) record_canary(m, &t, *array);
}

// ---- Fibers -------------------------------------------------------------------------------------------------------

void start_turn(Machine& m, Thread& t) {
    m.current = &t;
    now.thread_index = t.index;
    now.lane = t.number % WARP;
}

void begin(Machine& m, Thread& t, unsigned stack) {
    t.stack = stack;
    t.state = State::Runnable;
    t.copy_count = t.copy_group = 0;
    start_turn(m, t);
}

void fiber();

// Hands over to the next thread of the pass, or to the scheduler after the last one or a fault.
void hand_over(Machine& m, void** save) {
    if (m.pass_at == m.pass_length || m.faulted)
        return switch_stack(save, m.scheduler, m.host_stack, m.host_stack_bytes);
    Thread& next = m.threads[m.pass[m.pass_at++]];
    if (next.state == State::Fresh) {
        const unsigned stack = take_stack(m);
        char* const low = stack_low(m, stack);
        ASAN_UNPOISON_MEMORY_REGION(low + STACK_CANARY_WORDS * 8, STACK - STACK_CANARY_WORDS * 8);
        next.stack_pointer = fresh_stack(reinterpret_cast<char*>((unsigned long long)(low + STACK) & ~15ull), fiber);
        begin(m, next, stack);
    } else {
        next.state = State::Runnable;
        start_turn(m, next);
    }
    switch_stack(save, next.stack_pointer, stack_low(m, next.stack), STACK);
}

// What runs on a stack: a thread, and after it every following thread of the pass that has not begun.
void fiber() {
    announce_first_entry();
    Machine& m = *machine;
    for (;;) {
        m.entry(m.args);
        Thread& self = *m.current;
        self.state = State::Ended;
        m.ended++;
        check_turn(m, self);
        const bool more = m.pass_at < m.pass_length && !m.faulted;
        if (more && m.threads[m.pass[m.pass_at]].state == State::Fresh) {
            begin(m, m.threads[m.pass[m.pass_at++]], self.stack);
            continue;
        }
        m.free_stacks[m.free_stack_count++] = self.stack;
        hand_over(m, &self.stack_pointer);
    }
}

void block_here(Machine& m, State state, const Site& site) {
    Thread& self = *m.current;
    self.state = state;
    self.site = &site;
    check_turn(m, self);
    hand_over(m, &self.stack_pointer);
}

// ---- Scheduler ----------------------------------------------------------------------------------------------------

unsigned random_below(Machine& m, unsigned bound) {
    unsigned long long z = m.random += 0x9e3779b97f4a7c15ull;  // splitmix64
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (unsigned)(((z ^ (z >> 31)) >> 32) * bound >> 32);
}

void append(Machine& m, unsigned first, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const unsigned number = first + (m.launch.schedule == 1 ? count - 1 - i : i);
        m.pass[m.pass_length++] = number;
    }
}

// Runs threads [first, first + count) until each waits at the barrier, has ended, or waits for a lane that does not
// come.
void run_group(Machine& m, unsigned first, unsigned count) {
    m.pass_length = 0;
    append(m, first, count);
    while (m.pass_length && !m.faulted) {
        if (m.launch.schedule == RANDOM)
            for (unsigned i = m.pass_length; i > 1; i--) {
                const unsigned j = random_below(m, i), swapped = m.pass[j];
                m.pass[j] = m.pass[i - 1];
                m.pass[i - 1] = swapped;
            }
        m.pass_at = m.complete_count = 0;
        hand_over(m, &m.scheduler);
        m.pass_length = 0;
        for (unsigned w = 0; w < m.complete_count; w++) append(m, m.complete[w] * WARP, WARP);
    }
}

// No thread can run and the barrier is not full: says who waits for whom.
void record_divergence(Machine& m) {
    const Thread *waiting = nullptr, *missing = nullptr;
    for (unsigned i = 0; i < m.thread_count && !(waiting && waiting->state == State::InWarpOperation); i++)
        if (m.threads[i].state == State::InWarpOperation || (!waiting && m.threads[i].state == State::AtBarrier))
            waiting = &m.threads[i];
    const bool in_warp = waiting->state == State::InWarpOperation;
    const unsigned first = in_warp ? waiting->number / WARP * WARP : 0;
    const unsigned end = in_warp ? first + WARP : m.thread_count;
    for (unsigned i = first; i < end && !missing; i++)
        if (m.threads[i].state != waiting->state) missing = &m.threads[i];
    const char* const whole = in_warp ? "its whole warp" : "the whole block";
    if (missing->state == State::Ended)
        record(m, waiting, "waits in %s (%s:%d) for %s, but %s has returned", waiting->site->what, waiting->site->file,
               waiting->site->line, whole, place(*missing).text);
    else
        record(m, waiting, "waits in %s (%s:%d) for %s, but %s waits in %s (%s:%d)", waiting->site->what,
               waiting->site->file, waiting->site->line, whole, place(*missing).text, missing->site->what,
               missing->site->file, missing->site->line);
}

void check_block_end(Machine& m) {
    for (unsigned s = 0; s < m.stacks_made; s++)
        if (stack_overflowed(m, s, true))
            record(m, nullptr, "overflowed its stack of %u KiB (large local arrays?)", STACK / 1024);
    if (const Array* array = overwritten_canary(m, CANARY)) record_canary(m, nullptr, *array);
}

void run_block(Machine& m) {
    const unsigned n = m.thread_count, group = m.launch.schedule == RANDOM ? n : WARP;
    const unsigned groups = (n + group - 1) / group;
    for (unsigned i = 0; i < n; i++) m.threads[i].state = State::Fresh;
    for (unsigned w = 0; w * WARP < n; w++) m.warps[w].arrived = 0;
    m.ended = m.at_barrier = 0;
    reset_shared(m);
    while (!m.faulted) {
        for (unsigned g = 0; g < groups && !m.faulted; g++) {
            const unsigned first = (m.launch.schedule == FORWARD || groups == 1 ? g : groups - 1 - g) * group;
            run_group(m, first, n - first < group ? n - first : group);
        }
        if (m.faulted || m.ended == n) break;
        if (m.at_barrier != n) return record_divergence(m);
        m.at_barrier = 0;
        for (unsigned i = 0; i < n; i++) m.threads[i].state = State::Runnable;
    }
    if (!m.faulted) check_block_end(m);
}

unsigned common_divisor(unsigned a, unsigned b) { return b ? common_divisor(b, a % b) : a; }

void run_grid(Machine& m) {
    const unsigned* const grid = m.launch.grid;
    const unsigned blocks = grid[0] * grid[1] * grid[2];
    // i -> i step + start modulo blocks, a permutation without a table.
    unsigned step = m.launch.schedule == FORWARD ? 1 : blocks - 1, start = m.launch.schedule == FORWARD ? 0 : blocks - 1;
    if (m.launch.schedule == RANDOM) {
        start = random_below(m, blocks);
        do step = random_below(m, blocks) | (blocks == 1);
        while (common_divisor(step, blocks) != 1);
    }
    for (unsigned i = 0; i < blocks && !m.faulted; i++) {
        const unsigned b = (unsigned)(((unsigned long long)i * step + start) % blocks);
        now.block_index = {b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]};
        run_block(m);
    }
}

// ---- Launch -------------------------------------------------------------------------------------------------------

const char* refusal(const EmuLaunch& l) {
    const auto volume = [](const unsigned* d) { return (unsigned long long)d[0] * d[1] * d[2]; };
    if (!l.grid[0] || l.grid[0] > 0x7fffffffu || !l.grid[1] || l.grid[1] > 65535 || !l.grid[2] || l.grid[2] > 65535)
        return "the grid must be 1 to 2^31-1 by 1 to 65535 by 1 to 65535 blocks";
    if ((unsigned long long)l.grid[0] * l.grid[1] > 0xffffffffull / l.grid[2]) return "the grid has 2^32 blocks or more";
    for (int d = 0; d < 3; d++)
        if (!l.block[d] || l.block[d] > MAX_THREADS || (d == 2 && l.block[d] > 64)) return "a block dimension is out of range";
    if (volume(l.block) > MAX_THREADS) return "a block has at most 1024 threads";
    if (l.shared_bytes > MAX_SHARED) return "more than 99 KiB of dynamic shared memory";
    if (l.schedule > RANDOM) return "the schedule must be 0 (forward), 1 (reverse) or 2 (random)";
    return nullptr;
}

pthread_key_t release_key;
pthread_once_t release_once = PTHREAD_ONCE_INIT;

void release(void* pointer) {
    Machine* const m = static_cast<Machine*>(pointer);
    for (Thread& t : m->threads) free(t.copies);
    ASAN_UNPOISON_MEMORY_REGION(m->arena, ARENA);
    ASAN_UNPOISON_MEMORY_REGION(m->stacks, (unsigned long long)MAX_THREADS * STACK_DISTANCE);
    munmap(m->stacks, (unsigned long long)MAX_THREADS * STACK_DISTANCE);
    munmap(m, sizeof *m);
    machine = nullptr;
}

// Pages come zeroed and are not touched before they are needed: most kernels use a few stacks of the 1024.
void* map_pages(unsigned long long bytes) {
    void* const p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
}

Machine* this_threads_machine() {
    if (machine) return machine;
    pthread_once(&release_once, [] { pthread_key_create(&release_key, release); });
    Machine* const m = static_cast<Machine*>(map_pages(sizeof(Machine)));
    char* const stacks = static_cast<char*>(map_pages((unsigned long long)MAX_THREADS * STACK_DISTANCE));
    if (!m || !stacks) {
        if (m) munmap(m, sizeof *m);
        return nullptr;
    }
    m->stacks = stacks;
#if CUEMU_ASAN
    pthread_attr_t attributes;
    void* low = nullptr;
    size_t bytes = 0;
    if (!pthread_getattr_np(pthread_self(), &attributes)) {
        pthread_attr_getstack(&attributes, &low, &bytes);
        pthread_attr_destroy(&attributes);
    }
    m->host_stack = low;
    m->host_stack_bytes = bytes;
#endif
    pthread_setspecific(release_key, m);
    return machine = m;
}

}  // namespace

int launch(const char* kernel, void (*entry)(void**), const EmuLaunch& launch, void** args, char* message,
           unsigned long long message_bytes) {
    Machine* const m = this_threads_machine();
    const char* const refused = m ? refusal(launch) : "no memory for the emulator";
    if (refused) {
        snprintf(message, message_bytes, "kernel %s: launch refused: %s", kernel, refused);
        return 1;
    }
    m->kernel = kernel;
    m->entry = entry;
    m->args = args;
    m->launch = launch;
    m->random = launch.seed;
    m->faulted = false;
    m->thread_count = launch.block[0] * launch.block[1] * launch.block[2];
    now.block_dim = {launch.block[0], launch.block[1], launch.block[2]};
    now.grid_dim = {launch.grid[0], launch.grid[1], launch.grid[2]};
    for (unsigned i = 0; i < m->thread_count; i++) {
        m->threads[i].number = i;
        m->threads[i].index = {i % launch.block[0], i / launch.block[0] % launch.block[1],
                               i / launch.block[0] / launch.block[1]};
    }
    // A fault may have left anything on the stacks, canaries included: begin with new ones.
    m->free_stack_count = m->stacks_made = 0;
    run_grid(*m);
    if (m->faulted) snprintf(message, message_bytes, "%s", m->fault);
    return m->faulted;
}

// ---- What kernels call --------------------------------------------------------------------------------------------

void sync_block(const Site& site) {
    Machine& m = *machine;
    // Nobody leaves before all have come, so the first to wait speaks for all who do.
    if (!m.at_barrier++) m.first_at_barrier = m.current;
    const Thread& first = *m.first_at_barrier;
    if (m.at_barrier > 1 && first.site->id != site.id)
        FAULT(m, "is at __syncthreads (%s:%d) while %s waits at another __syncthreads (%s:%d)", site.file, site.line,
              place(first).text, first.site->file, first.site->line);
    block_here(m, State::AtBarrier, site);
}

const void* gather_bytes(const Site& site, unsigned mask, const void* value, unsigned bytes) {
    Machine& m = *machine;
    const unsigned number = m.current->number, first = number / WARP * WARP;
    Warp& w = m.warps[number / WARP];
    if (mask != 0xffffffffu)
        FAULT(m, "%s (%s:%d) with mask 0x%08x: only whole warps are supported", site.what, site.file, site.line, mask);
    if (first + WARP > m.thread_count)
        FAULT(m, "%s (%s:%d) in a block of %u threads: warp operations need a multiple of 32", site.what, site.file,
              site.line, m.thread_count);
    if (!w.arrived++)
        w.site = &site;
    else if (w.site->id != site.id)
        FAULT(m, "is in %s (%s:%d) while another lane of its warp waits in %s (%s:%d)", site.what, site.file, site.line,
              w.site->what, w.site->file, w.site->line);
    unsigned char(*const slots)[SLOT_BYTES] = w.slots[w.generation & 1];
    memcpy(slots[number % WARP], value, bytes == 4 ? 4 : bytes);  // the usual size without a call
    if (w.arrived == WARP) {
        w.arrived = 0;
        w.generation++;
        m.complete[m.complete_count++] = number / WARP;
    }
    block_here(m, State::InWarpOperation, site);
    return slots;
}

void* shared_static(const SharedSite* site, unsigned long long bytes) {
    Machine& m = *machine;
    for (unsigned a = 1; a < m.array_count; a++)
        if (m.arrays[a].site == site) return m.arena + m.arrays[a].offset;
    if (bytes > MAX_STATIC_SHARED - m.static_bytes || bytes + m.static_bytes + m.launch.shared_bytes > MAX_SHARED)
        FAULT(m, "shared array `%s` (%s:%d): with %llu bytes more than 48 KiB are static or 99 KiB shared in all",
              site->name, site->file, site->line, bytes);
    if (m.array_count > MAX_ARRAYS)
        FAULT(m, "shared array `%s` (%s:%d): more than %u arrays", site->name, site->file, site->line, MAX_ARRAYS);
    m.static_bytes += (unsigned)bytes;
    return m.arena + open_array(m, m.array_count++, site, (unsigned)bytes);
}

void* shared_dynamic(const SharedSite* site, unsigned long long* bytes) {
    Machine& m = *machine;
    m.arrays[0].site = site;
    *bytes = m.launch.shared_bytes;
    return m.arena + m.arrays[0].offset;
}

void fault_index(const SharedSite* site, long long index, long long count) {
    FAULT(*machine, "index %lld of shared array `%s` (%s:%d), which has %lld elements", index, site->name, site->file,
          site->line, count);
}

void fault_alignment(const void* pointer, unsigned bytes) {
    FAULT(*machine, "address %p of an access of %u bytes is not a multiple of them", pointer, bytes);
}

void check_shared(const void* pointer, unsigned bytes, const char* what) {
    Machine& m = *machine;
    const unsigned long long offset = static_cast<const unsigned char*>(pointer) - m.arena;
    bool inside = false;
    for (unsigned a = 0; a < m.array_count; a++)
        inside |= offset >= m.arrays[a].offset && offset + bytes <= m.arrays[a].offset + m.arrays[a].bytes;
    if (!inside) FAULT(m, "%s: the %u bytes at its shared address are not inside one shared array", what, bytes);
    if (offset % bytes) FAULT(m, "%s: its shared address is not a multiple of %u bytes", what, bytes);
}

namespace {
void land(const Copy& copy) {
    if (copy.valid)
        memcpy(copy.shared, copy.global, 16);
    else
        memset(copy.shared, 0, 16);
}
}  // namespace

// Nothing moves before a wait asks for it: the latest moment at which a GPU may deliver. Under the random schedule
// half of the copies are delivered at once, the earliest moment; a kernel must be right with both.
void copy_async(void* shared, const void* global, int valid) {
    Machine& m = *machine;
    Thread& t = *m.current;
    check_shared(shared, 16, "cp_async_16");
    check_aligned(global, 16);
    const Copy copy = {shared, global, valid, t.copy_group};
    if (m.launch.schedule == RANDOM && random_below(m, 2)) return land(copy);
    if (t.copy_count == t.copy_capacity) {
        const unsigned capacity = t.copy_capacity ? 2 * t.copy_capacity : 16;
        Copy* const grown = static_cast<Copy*>(realloc(t.copies, capacity * sizeof(Copy)));
        if (!grown) FAULT(m, "no memory for its pending cp.async copies");
        t.copies = grown;
        t.copy_capacity = capacity;
    }
    t.copies[t.copy_count++] = copy;
}

void copy_commit() { machine->current->copy_group++; }

void copy_wait(unsigned groups_left) {
    Thread& t = *machine->current;
    unsigned kept = 0;
    for (unsigned i = 0; i < t.copy_count; i++)
        if (t.copies[i].group + groups_left < t.copy_group)
            land(t.copies[i]);
        else
            t.copies[kept++] = t.copies[i];
    t.copy_count = kept;
}

}  // namespace cuemu
