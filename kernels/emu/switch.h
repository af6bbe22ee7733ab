// Fibers at their smallest: a stack pointer each, and a switch that saves what the calling convention asks a function
// to preserve. x86_64 and aarch64 with the System V convention (Linux); the aarch64 half has not been run.
#ifndef CUEMU_SWITCH_H
#define CUEMU_SWITCH_H

extern "C" void cuemu_switch(void** save_stack_pointer, void* load_stack_pointer);

#if defined(__x86_64__)
asm(R"(
.text
.globl cuemu_switch
.hidden cuemu_switch
.type cuemu_switch,@function
cuemu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cuemu_switch,.-cuemu_switch
)");

// The stack pointer to switch to, so that `entry` begins on the stack that ends at `top` (a multiple of 16). The null
// return address of `entry`, which never returns, ends the walks of debuggers.
static void* fresh_stack(char* top, void (*entry)()) {
    void** frame = reinterpret_cast<void**>(top) - 8;
    for (int i = 0; i < 8; i++) frame[i] = nullptr;
    frame[6] = reinterpret_cast<void*>(entry);
    return frame;
}

#elif defined(__aarch64__)
asm(R"(
.text
.globl cuemu_switch
.hidden cuemu_switch
.type cuemu_switch,%function
cuemu_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x2, sp
    str x2, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size cuemu_switch,.-cuemu_switch
)");

static void* fresh_stack(char* top, void (*entry)()) {
    void** frame = reinterpret_cast<void**>(top) - 20;
    for (int i = 0; i < 20; i++) frame[i] = nullptr;
    frame[11] = reinterpret_cast<void*>(entry);
    return frame;
}

#else
#error "the emulator knows x86_64 and aarch64; write cuemu_switch and fresh_stack for this processor"
#endif

// AddressSanitizer wants to know of every change of stack, and what was left poisoned on one that is used again.
#if defined(__SANITIZE_ADDRESS__)
#define CUEMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUEMU_ASAN 1
#endif
#endif
#ifndef CUEMU_ASAN
#define CUEMU_ASAN 0
#endif

#if CUEMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
static void switch_stack(void** save, void* load, const void* low, unsigned long long bytes) {
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, low, bytes);
    cuemu_switch(save, load);
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}
static void announce_first_entry() { __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr); }
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
static inline void switch_stack(void** save, void* load, const void*, unsigned long long) { cuemu_switch(save, load); }
static inline void announce_first_entry() {}
#endif

#endif
