// A stand-in for NVRTC 12.8: every source compiles to the same bytes, but one that says `#error`.
#include "record.h"

typedef struct { char *source; } Program;
static const char CUBIN[] = "\177ELF cubin";
static const char PTX[] = ".entry add";
static const char LOG[] = "ptxas info    : Compiling entry function 'add' for 'sm_90'\n"
                          "ptxas info    : Used 8 registers, 360 bytes cmem[0]\n";
static int programs;

__attribute__((destructor)) static void end(void) { if (programs) note("left program %d", programs); }

#define BEGIN(name, ...) CALL(11, name, __VA_ARGS__)

int nvrtcVersion(int *major, int *minor) {
    BEGIN("nvrtcVersion");
    *major = getenv("TWNM_STANDIN_NEW_NVRTC") ? 13 : 12;
    *minor = 8;
    return 0;
}
// With TWNM_STANDIN_OLD_NVRTC it is older than sm_120.
static const int ARCHS[] = {75, 80, 86, 89, 90, 120};
int nvrtcGetNumSupportedArchs(int *count) {
    BEGIN("nvrtcGetNumSupportedArchs");
    *count = getenv("TWNM_STANDIN_OLD_NVRTC") ? 5 : 6;
    return 0;
}
int nvrtcGetSupportedArchs(int *archs) {
    BEGIN("nvrtcGetSupportedArchs");
    memcpy(archs, ARCHS, (getenv("TWNM_STANDIN_OLD_NVRTC") ? 5 : 6) * sizeof *archs);
    return 0;
}
int nvrtcCreateProgram(Program **program, const char *source, const char *name, int count, const char **texts,
                       const char **names) {
    BEGIN("nvrtcCreateProgram", " %s %zu", name, strlen(source));
    *program = malloc(sizeof **program);
    (*program)->source = strdup(source);
    programs++;
    return 0;
}
int nvrtcDestroyProgram(Program **program) {
    // Destroyed also when it says that it failed, so that a leak is the caller's.
    free((*program)->source);
    free(*program);
    *program = NULL;
    programs--;
    BEGIN("nvrtcDestroyProgram");
    return 0;
}
int nvrtcCompileProgram(Program *program, int count, const char **options) {
    char all[256] = "";
    for (int i = 0; i < count; i++) strcat(strcat(all, " "), options[i]);
    BEGIN("nvrtcCompileProgram", "%s", all);
    return strstr(program->source, "#error") ? 6 : 0;
}
#define TEXT(call, text)                                                                                \
    int call##Size(Program *program, size_t *bytes) { BEGIN(#call "Size"); *bytes = sizeof text; return 0; } \
    int call(Program *program, char *to) { BEGIN(#call); memcpy(to, text, sizeof text); return 0; }
TEXT(nvrtcGetCUBIN, CUBIN)
TEXT(nvrtcGetPTX, PTX)
TEXT(nvrtcGetProgramLog, LOG)
