// A stand-in for the CUDA driver: two GPUs whose memory is the host's. Work is done when it is asked for, or written
// down while a stream is being recorded. At the end of the process it notes what was not given back.
#include "record.h"

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NOT_FOUND = 500, UNKNOWN = 999 };
enum { GPUS = 2, OBJECTS = 4096, WORDS = 4096 };

// Live objects: streams, events, pools, contexts, modules, graphs, instances, pinned memory and blocks.
typedef struct { const char *kind; void *at; size_t bytes; } Object;
static Object live[OBJECTS];

static void *keep(const char *kind, void *at, size_t bytes) {
    for (int i = 0; i < OBJECTS; i++)
        if (!live[i].at) { live[i] = (Object){kind, at, bytes}; return at; }
    abort();
}
static Object *find(const char *kind, const void *at) {
    for (int i = 0; i < OBJECTS; i++)
        if (live[i].at == at && strcmp(live[i].kind, kind) == 0) return &live[i];
    note("! %s that is not there", kind);
    return NULL;
}
static int drop(const char *kind, void *at) {
    Object *object = find(kind, at);
    if (!object) return INVALID_VALUE;
    free(object->at);
    object->at = NULL;
    return OK;
}
// The block around an address range, or a note.
static int inside(uint64_t address, size_t bytes) {
    for (int i = 0; i < OBJECTS; i++) {
        uint64_t begin = (uint64_t)live[i].at;
        if (begin && !strcmp(live[i].kind, "block") && address >= begin && address + bytes <= begin + live[i].bytes)
            return 1;
    }
    note("! %zu bytes outside every block", bytes);
    return 0;
}
__attribute__((destructor)) static void end(void) {
    const char *kinds[] = {"context", "stream", "event", "pool", "pinned", "block", "module", "graph", "instance"};
    for (int k = 0; k < 9; k++) {
        int count = 0;
        for (int i = 0; i < OBJECTS; i++) count += live[i].at && strcmp(live[i].kind, kinds[k]) == 0;
        if (count) note("left %s %d", kinds[k], count);
    }
}

#define BEGIN(name, ...) CALL(UNKNOWN, name, __VA_ARGS__)
#define NEW(kind, bytes) keep(kind, calloc(1, bytes), bytes)

// Before CUDA 12.8 a function had its first form only.
#ifdef CUDA_12_4
#define DRIVER_VERSION 12040
#define ELAPSED_TIME cuEventElapsedTime
#else
#define DRIVER_VERSION 12080
#define ELAPSED_TIME cuEventElapsedTime_v2
#endif

int cuDriverGetVersion(int *version) { BEGIN("cuDriverGetVersion"); *version = DRIVER_VERSION; return OK; }
int cuGetErrorName(unsigned error, const char **name) {
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN";
    return OK;
}
// As the driver: numbers up to the first that is no GPU's.
static int visible(void) {
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    if (!list) return GPUS;
    int count = 0;
    for (char *end; *list; list = *end ? end + 1 : end, count++) {
        long gpu = strtol(list, &end, 10);
        if (end == list || gpu < 0 || gpu >= GPUS) break;
    }
    return count;
}
int cuInit(unsigned flags) { BEGIN("cuInit", " %u", flags); return visible() ? OK : NO_DEVICE; }
int cuDeviceGetCount(int *count) { BEGIN("cuDeviceGetCount"); *count = visible(); return OK; }
int cuDeviceGet(int *device, int ordinal) { BEGIN("cuDeviceGet", " %d", ordinal); *device = ordinal; return OK; }
int cuDeviceGetName(char *name, int bytes, int device) {
    BEGIN("cuDeviceGetName");
    snprintf(name, bytes, "Stand-in %d", device);
    return OK;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    BEGIN("cuDeviceTotalMem_v2");
    *bytes = (size_t)1 << 35;
    return OK;
}
int cuDeviceGetAttribute(int *value, int which, int device) {
    BEGIN("cuDeviceGetAttribute", " %d", which);
    const char *wanted = getenv("TWNM_STANDIN_ARCH");
    int arch = wanted ? atoi(wanted) : 90;
    *value = which == 75 ? arch / 10 : which == 76 ? arch % 10 : which == 16 ? 132 : 1;
    return OK;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    BEGIN("cuDevicePrimaryCtxRetain");
    *context = NEW("context", 8);
    return OK;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
    BEGIN("cuDevicePrimaryCtxRelease_v2");
    for (int i = 0; i < OBJECTS; i++)
        if (live[i].at && strcmp(live[i].kind, "context") == 0) return drop("context", live[i].at);
    return INVALID_VALUE;
}
int cuCtxSetCurrent(void *context) { BEGIN("cuCtxSetCurrent", " %s", context ? "some" : "none"); return OK; }

// Recorded work: a stream that is being recorded appends to its graph, and a replay does it again.
typedef struct Step { struct Step *next; int kind; uint64_t to, from, bytes; float *y; const float *x; int n; } Step;
typedef struct { Step *first, **last; } Graph;
typedef struct { Graph *recording; } Stream;

static void work(const Step *step) {
    switch (step->kind) {
    case 0: memmove((void *)step->to, (void *)step->from, step->bytes); break;
    case 1: case 2: case 4:
        for (uint64_t i = 0; i < step->bytes; i++) memcpy((char *)step->to + i * step->kind, &step->from, step->kind);
        break;
    case 5: for (int i = 0; i < step->n; i++) step->y[i] += step->x[i];
    }
}
static int put(Stream *stream, Step step) {
    if (!find("stream", stream)) return INVALID_VALUE;
    if (!stream->recording) { work(&step); return OK; }
    Step *copy = malloc(sizeof step);
    *copy = step;
    copy->next = NULL;
    *stream->recording->last = copy;
    stream->recording->last = &copy->next;
    return OK;
}

int cuStreamCreate(void **stream, unsigned flags) {
    BEGIN("cuStreamCreate", " %u", flags);
    *stream = NEW("stream", sizeof(Stream));
    return OK;
}
int cuStreamDestroy_v2(void *stream) { BEGIN("cuStreamDestroy_v2"); return drop("stream", stream); }
int cuStreamSynchronize(Stream *stream) {
    BEGIN("cuStreamSynchronize");
    return find("stream", stream) && !stream->recording ? OK : INVALID_VALUE;
}
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    BEGIN("cuStreamWaitEvent");
    return find("stream", stream) && find("event", event) ? OK : INVALID_VALUE;
}
int cuEventCreate(void **event, unsigned flags) {
    BEGIN("cuEventCreate", " %u", flags);
    *event = NEW("event", 8);
    return OK;
}
int cuEventDestroy_v2(void *event) { BEGIN("cuEventDestroy_v2"); return drop("event", event); }
int cuEventRecord(void *event, void *stream) {
    BEGIN("cuEventRecord");
    return find("stream", stream) && find("event", event) ? OK : INVALID_VALUE;
}
int cuEventSynchronize(void *event) { BEGIN("cuEventSynchronize"); return find("event", event) ? OK : INVALID_VALUE; }
int ELAPSED_TIME(float *milliseconds, void *start, void *end) {
    BEGIN("cuEventElapsedTime");
    *milliseconds = 1.5f;
    return find("event", start) && find("event", end) ? OK : INVALID_VALUE;
}

int cuMemPoolCreate(void **pool, const int *properties) {
    // Kind of memory, kind of export, kind of place, its number.
    BEGIN("cuMemPoolCreate", " %d %d %d %d", properties[0], properties[1], properties[2], properties[3]);
    *pool = NEW("pool", 8);
    return OK;
}
int cuMemPoolDestroy(void *pool) { BEGIN("cuMemPoolDestroy"); return drop("pool", pool); }
int cuMemPoolSetAttribute(void *pool, int which, uint64_t *value) {
    BEGIN("cuMemPoolSetAttribute", " %d %llx", which, (unsigned long long)*value);
    return find("pool", pool) ? OK : INVALID_VALUE;
}
int cuMemPoolTrimTo(void *pool, size_t bytes) {
    BEGIN("cuMemPoolTrimTo", " %zu", bytes);
    return find("pool", pool) ? OK : INVALID_VALUE;
}
static uint64_t used;
int cuMemAllocFromPoolAsync(uint64_t *address, size_t bytes, void *pool, Stream *stream) {
    BEGIN("cuMemAllocFromPoolAsync", " %zu", bytes);
    const char *limit = getenv("TWNM_STANDIN_MEMORY");
    if (bytes >= (size_t)1 << 40 || (limit && used + bytes > (uint64_t)atoll(limit))) return OUT_OF_MEMORY;
    if (bytes == 0 || !find("pool", pool) || !find("stream", stream) || stream->recording) return INVALID_VALUE;
    void *memory;
    if (posix_memalign(&memory, 256, bytes)) return OUT_OF_MEMORY;
    memset(memory, getenv("TWNM_STANDIN_ZERO_MEMORY") ? 0 : 0xff, bytes);
    *address = (uint64_t)keep("block", memory, bytes);
    used += bytes;
    return OK;
}
int cuMemFreeAsync(uint64_t address, Stream *stream) {
    Object *object = find("block", (void *)address);
    BEGIN("cuMemFreeAsync", " %zu", object ? object->bytes : 0);
    if (!object || !find("stream", stream) || stream->recording) return INVALID_VALUE;
    used -= object->bytes;
    return drop("block", (void *)address);
}
int cuMemGetInfo_v2(size_t *free, size_t *total) {
    BEGIN("cuMemGetInfo_v2");
    *total = (size_t)1 << 35;
    *free = *total - used;
    return OK;
}
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    BEGIN("cuMemHostAlloc", " %zu %u", bytes, flags);
    *memory = NEW("pinned", bytes);
    return OK;
}
int cuMemFreeHost(void *memory) { BEGIN("cuMemFreeHost"); return drop("pinned", memory); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, Stream *stream) {
    BEGIN("cuMemcpyHtoDAsync_v2", " %zu", bytes);
    if (!inside(to, bytes) || stream->recording) return INVALID_VALUE;
    return put(stream, (Step){.to = to, .from = (uint64_t)from, .bytes = bytes});
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, Stream *stream) {
    BEGIN("cuMemcpyDtoHAsync_v2", " %zu", bytes);
    if (!inside(from, bytes) || stream->recording) return INVALID_VALUE;
    return put(stream, (Step){.to = (uint64_t)to, .from = from, .bytes = bytes});
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, Stream *stream) {
    BEGIN("cuMemcpyDtoDAsync_v2", " %zu", bytes);
    if (!inside(to, bytes) || !inside(from, bytes)) return INVALID_VALUE;
    return put(stream, (Step){.to = to, .from = from, .bytes = bytes});
}
static int fill(uint64_t to, uint64_t value, size_t count, int width, Stream *stream) {
    if (!inside(to, count * width)) return INVALID_VALUE;
    return put(stream, (Step){.kind = width, .to = to, .from = value, .bytes = count});
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, Stream *stream) {
    BEGIN("cuMemsetD8Async", " %u %zu", value, count);
    return fill(to, value, count, 1, stream);
}
int cuMemsetD16Async(uint64_t to, unsigned short value, size_t count, Stream *stream) {
    BEGIN("cuMemsetD16Async", " %u %zu", value, count);
    return fill(to, value, count, 2, stream);
}
int cuMemsetD32Async(uint64_t to, unsigned value, size_t count, Stream *stream) {
    BEGIN("cuMemsetD32Async", " %u %zu", value, count);
    return fill(to, value, count, 4, stream);
}

int cuModuleLoadData(void **module, const char *image) {
    BEGIN("cuModuleLoadData", " %.8s", image);
    *module = NEW("module", 8);
    return OK;
}
int cuModuleUnload(void *module) { BEGIN("cuModuleUnload"); return drop("module", module); }
// Where this is set every kernel is there and does nothing.
static int any_kernel(void) { return getenv("TWNM_STANDIN_ANY_KERNEL") != NULL; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    BEGIN("cuModuleGetFunction", " %s", name);
    *function = module;
    return (strcmp(name, "add") == 0 || any_kernel()) && find("module", module) ? OK : NOT_FOUND;
}
int cuFuncSetAttribute(void *function, int which, int value) {
    BEGIN("cuFuncSetAttribute", " %d %d", which, value);
    return find("module", function) ? OK : INVALID_VALUE;
}
// The one kernel there is: add(float* y, const float* x, int n).
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, Stream *stream, void **arguments, void **extra) {
    BEGIN("cuLaunchKernel", " %u %u %u %u %u %u %u", gx, gy, gz, bx, by, bz, shared);
    if (!find("module", function) || !gx || !gy || !gz || gy > 65535 || gz > 65535 || bx * by * bz > 1024 || extra)
        return INVALID_VALUE;
    if (any_kernel()) return OK;
    Step step = {.kind = 5, .n = *(int *)arguments[2]};
    step.y = *(float **)arguments[0];
    step.x = *(const float **)arguments[1];
    if (!inside((uint64_t)step.y, step.n * 4) || !inside((uint64_t)step.x, step.n * 4)) return INVALID_VALUE;
    return put(stream, step);
}

int cuStreamBeginCapture_v2(Stream *stream, int mode) {
    BEGIN("cuStreamBeginCapture_v2", " %d", mode);
    stream->recording = NEW("graph", sizeof(Graph));
    stream->recording->last = &stream->recording->first;
    return OK;
}
int cuStreamEndCapture(Stream *stream, Graph **graph) {
    Graph *recorded = stream->recording;
    stream->recording = NULL;
    note("cuStreamEndCapture");
    if (!has_to_fail("cuStreamEndCapture")) { *graph = recorded; return OK; }
    drop("graph", recorded);
    return UNKNOWN;
}
int cuGraphInstantiateWithFlags(Graph **instance, Graph *graph, uint64_t flags) {
    BEGIN("cuGraphInstantiateWithFlags", " %llu", (unsigned long long)flags);
    *instance = NEW("instance", sizeof(Graph));
    (*instance)->first = graph->first;
    return OK;
}
int cuGraphLaunch(Graph *instance, Stream *stream) {
    BEGIN("cuGraphLaunch");
    if (!find("instance", instance) || !find("stream", stream)) return INVALID_VALUE;
    for (Step *step = instance->first; step; step = step->next) {
        // A replay touches only memory that is still there.
        int there = step->kind == 5 ? inside((uint64_t)step->y, step->n * 4) && inside((uint64_t)step->x, step->n * 4)
                                    : inside(step->to, step->bytes * (step->kind ? step->kind : 1));
        if (!there) return INVALID_VALUE;
        work(step);
    }
    return OK;
}
int cuGraphExecDestroy(void *instance) { BEGIN("cuGraphExecDestroy"); return drop("instance", instance); }
int cuGraphDestroy(void *graph) { BEGIN("cuGraphDestroy"); return drop("graph", graph); }
