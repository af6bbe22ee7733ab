// The emulated memory: the fibers' stacks, and the shared arrays of a block with the asynchronous copies into them.
// Part of cuemu.cpp.
#ifndef CUEMU_MEMORY_H
#define CUEMU_MEMORY_H

#include "machine.h"

#include <sys/mman.h>

namespace cuemu {

// Pages come zeroed and are not touched before they are needed: most kernels use a few stacks of the 1024.
static void* map_pages(unsigned long long bytes) {
    void* const p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
}

// ---- Stacks -------------------------------------------------------------------------------------------------------

static char* stack_low(const Machine& m, unsigned stack) {
    return m.stacks + (unsigned long long)stack * STACK_DISTANCE + SLACK;
}

static unsigned take_stack(Machine& m) {
    if (m.free_stack_count) return m.free_stacks[--m.free_stack_count];
    unsigned long long* const canary = reinterpret_cast<unsigned long long*>(stack_low(m, m.stacks_made));
    for (unsigned i = 0; i < STACK_CANARY_WORDS; i++) canary[i] = STACK_CANARY;
    return m.stacks_made++;
}

// The canary lies at the far end of the stack; its uppermost word is the first to be overwritten.
static bool stack_overflowed(const Machine& m, unsigned stack, bool thorough) {
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

static unsigned open_array(Machine& m, unsigned slot, const SharedSite* site, unsigned bytes) {
    const unsigned offset = (m.arena_used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    m.arrays[slot] = {site, offset, bytes};
    m.arena_used = offset + bytes + CANARY;
    ASAN_UNPOISON_MEMORY_REGION(m.arena + offset, bytes);
    memset(m.arena + offset, POISON, bytes);
    if (!CUEMU_ASAN)  // which finds these accesses itself, and at once
        for (unsigned i = 0; i < CANARY; i += 8) memcpy(m.arena + offset + bytes + i, &CANARY_WORD, 8);
    return offset;
}

static void reset_shared(Machine& m) {
    ASAN_POISON_MEMORY_REGION(m.arena, ARENA);
    m.arena_used = m.static_bytes = 0;
    m.array_count = 1;
    open_array(m, 0, nullptr, m.launch.shared_bytes);
}

static const Array* overwritten_canary(const Machine& m, unsigned length) {
    if (CUEMU_ASAN) return nullptr;
    for (unsigned a = 0; a < m.array_count; a++)
        for (unsigned i = 0; i < length; i += 8) {
            unsigned long long word;
            memcpy(&word, m.arena + m.arrays[a].offset + m.arrays[a].bytes + i, 8);
            if (word != CANARY_WORD) return &m.arrays[a];
        }
    return nullptr;
}

static void record_canary(Machine& m, const Thread* thread, const Array& array) {
    if (array.site)
        record(m, thread, "wrote past the end of shared array `%s` (%s:%d)", array.site->name, array.site->file,
               array.site->line);
    else
        record(m, thread, "wrote past the end of the %u bytes of dynamic shared memory", array.bytes);
}

// ---- What kernels call --------------------------------------------------------------------------------------------

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

static void land(const Copy& copy) {
    if (copy.valid)
        memcpy(copy.shared, copy.global, copy.bytes);
    else
        memset(copy.shared, 0, copy.bytes);
}

// Nothing moves before a wait asks for it: the latest moment at which a GPU may deliver. Under the random schedule
// half of the copies are delivered at once, the earliest moment; a kernel must be right with both.
void copy_async(void* shared, const void* global, unsigned bytes, int valid) {
    Machine& m = *machine;
    Thread& t = *m.current;
    check_shared(shared, bytes, bytes == 16 ? "cp_async_16" : "cp_async_8");
    check_aligned(global, bytes);
    const Copy copy = {shared, global, bytes, valid, t.copy_group};
    if (m.launch.schedule == RANDOM && random_below(m, 2)) return land(copy);
    if (t.copy_count == MAX_COPIES) FAULT(m, "more than %u copies by cp.async on their way", MAX_COPIES);
    m.copies[t.number][t.copy_count++] = copy;
}

void copy_commit() { machine->current->copy_group++; }

void copy_wait(unsigned groups_left) {
    Thread& t = *machine->current;
    Copy* const copies = machine->copies[t.number];
    unsigned kept = 0;
    for (unsigned i = 0; i < t.copy_count; i++)
        if (copies[i].group + groups_left < t.copy_group)
            land(copies[i]);
        else
            copies[kept++] = copies[i];
    t.copy_count = kept;
}

}  // namespace cuemu

#endif
