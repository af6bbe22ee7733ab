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
#include "memory.h"

#include <pthread.h>

namespace cuemu {

__thread Context now;
__thread Machine* machine;

namespace {

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

void append(Machine& m, unsigned first, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        m.pass[m.pass_length++] = first + (m.launch.schedule == REVERSE ? count - 1 - i : i);
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
    unsigned step = 1, start = 0;
    if (m.launch.schedule == REVERSE) step = start = blocks - 1;
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
    if ((unsigned long long)l.grid[0] * l.grid[1] > 0xffffffffull / l.grid[2])
        return "the grid has 2^32 blocks or more";
    for (int d = 0; d < 3; d++)
        if (!l.block[d] || l.block[d] > (d == 2 ? 64 : MAX_THREADS)) return "a block dimension is out of range";
    if (volume(l.block) > MAX_THREADS) return "a block has at most 1024 threads";
    if (l.shared_bytes > MAX_SHARED) return "more than 99 KiB of dynamic shared memory";
    if (l.schedule > RANDOM) return "the schedule must be 0 (forward), 1 (reverse) or 2 (random)";
    return nullptr;
}

pthread_key_t release_key;
pthread_once_t release_once = PTHREAD_ONCE_INIT;

void release(void* pointer) {
    Machine* const m = static_cast<Machine*>(pointer);
    ASAN_UNPOISON_MEMORY_REGION(m->arena, ARENA);
    ASAN_UNPOISON_MEMORY_REGION(m->stacks, (unsigned long long)MAX_THREADS * STACK_DISTANCE);
    munmap(m->stacks, (unsigned long long)MAX_THREADS * STACK_DISTANCE);
    munmap(m, sizeof *m);
    machine = nullptr;
}

Machine* this_threads_machine() {
    if (machine) return machine;
    pthread_once(&release_once, [] { pthread_key_create(&release_key, release); });
    Machine* const m = static_cast<Machine*>(map_pages(sizeof(Machine)));
    char* const stacks = static_cast<char*>(map_pages((unsigned long long)MAX_THREADS * STACK_DISTANCE));
    if (!m || !stacks) {
        if (m) munmap(m, sizeof *m);
        if (stacks) munmap(stacks, (unsigned long long)MAX_THREADS * STACK_DISTANCE);
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

}  // namespace cuemu
