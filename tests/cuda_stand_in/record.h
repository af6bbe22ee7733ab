// What the stand-in libraries share: every call is a line of the file TWNM_STANDIN_RECORD, and the call that
// TWNM_STANDIN_FAIL names (its number in the record, from 1, or its name) fails.
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Appends a line; the three libraries of a process write to the same file.
static void note(const char *format, ...) {
    const char *path = getenv("TWNM_STANDIN_RECORD");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fputc('\n', file);
    fclose(file);
}

// The number of lines so far.
static int lines(void) {
    const char *path = getenv("TWNM_STANDIN_RECORD");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    int count = 0;
    for (int c; (c = fgetc(file)) != EOF;) count += c == '\n';
    fclose(file);
    return count;
}

// Whether this call, which was just noted, is the one that has to fail.
static int has_to_fail(const char *name) {
    const char *wanted = getenv("TWNM_STANDIN_FAIL");
    return wanted && (strcmp(wanted, name) == 0 || atoi(wanted) == lines());
}

// Begins a function: notes the call with what follows the name, and returns `failure` when it has to fail.
#define CALL(failure, name, ...)            \
    do {                                    \
        note(name __VA_ARGS__);             \
        if (has_to_fail(name)) return failure; \
    } while (0)
