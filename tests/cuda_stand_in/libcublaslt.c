// A stand-in for cuBLASLt: products of columns-first matrices in plain loops, as the library documents them.
#include "record.h"

typedef struct { int transposes[2], epilogue; const float *bias; } Work;
typedef struct { int kind; uint64_t rows, columns; int64_t step; int count; int64_t stride; } Layout;
typedef struct { uint64_t algorithm[8]; size_t workspace; int state; float waves; int reserved[4]; } Answer;
static int objects;

__attribute__((destructor)) static void end(void) { if (objects) note("left cublaslt %d", objects); }

#define BEGIN(name, ...) CALL(14, name, __VA_ARGS__)
static void *make(size_t bytes) { objects++; return calloc(1, bytes); }
static int give_back(void *object) { objects--; free(object); return 0; }

int cublasLtCreate(void **handle) { BEGIN("cublasLtCreate"); *handle = make(8); return 0; }
int cublasLtDestroy(void *handle) { BEGIN("cublasLtDestroy"); return give_back(handle); }
int cublasLtMatmulDescCreate(Work **work, int sums, int scale) {
    BEGIN("cublasLtMatmulDescCreate", " %d %d", sums, scale);
    *work = make(sizeof **work);
    return 0;
}
int cublasLtMatmulDescDestroy(Work *work) { BEGIN("cublasLtMatmulDescDestroy"); return give_back(work); }
int cublasLtMatmulDescSetAttribute(Work *work, int which, const int *value, size_t bytes) {
    BEGIN("cublasLtMatmulDescSetAttribute", " %d %zu", which, bytes);
    if (which == 8 && bytes == 8) work->bias = *(const float *const *)value;
    else if (which == 7 && bytes == 4) work->epilogue = *value;
    else if ((which == 3 || which == 4) && bytes == 4) work->transposes[which - 3] = *value;
    // The bias is f32.
    else if (which != 26 || bytes != 4 || *value != 0) return 7;
    return 0;
}
int cublasLtMatrixLayoutCreate(Layout **layout, int kind, uint64_t rows, uint64_t columns, int64_t step) {
    BEGIN("cublasLtMatrixLayoutCreate", " %d %d %d", kind, (int)rows, (int)columns);
    *layout = make(sizeof **layout);
    **layout = (Layout){kind, rows, columns, step, 1, 0};
    return 0;
}
int cublasLtMatrixLayoutDestroy(Layout *layout) { BEGIN("cublasLtMatrixLayoutDestroy"); return give_back(layout); }
int cublasLtMatrixLayoutSetAttribute(Layout *layout, int which, const void *value, size_t bytes) {
    BEGIN("cublasLtMatrixLayoutSetAttribute", " %d %zu", which, bytes);
    if (which == 5 && bytes == 4) layout->count = *(const int *)value;
    else if (which == 6 && bytes == 8) layout->stride = *(const int64_t *)value;
    else return 7;
    return 0;
}
int cublasLtMatmulPreferenceCreate(void **preference) {
    BEGIN("cublasLtMatmulPreferenceCreate");
    *preference = make(8);
    return 0;
}
int cublasLtMatmulPreferenceDestroy(void *preference) {
    BEGIN("cublasLtMatmulPreferenceDestroy");
    return give_back(preference);
}
int cublasLtMatmulPreferenceSetAttribute(void *preference, int which, const void *value, size_t bytes) {
    BEGIN("cublasLtMatmulPreferenceSetAttribute", " %d %zu %u", which, bytes, *(const unsigned *)value);
    return bytes == (which == 1 ? 8 : 4) ? 0 : 7;
}
int cublasLtMatmulAlgoGetHeuristic(void *handle, Work *work, Layout *a, Layout *b, Layout *c, Layout *d,
                                   void *preference, int wanted, Answer *answers, int *count) {
    BEGIN("cublasLtMatmulAlgoGetHeuristic", " %d", wanted);
    // It knows no algorithm and says so in one of its two ways.
    const char *none = getenv("TWNM_STANDIN_NO_ALGORITHM");
    *count = 0;
    if (none) return strcmp(none, "status") == 0 ? 15 : 0;
    *answers = (Answer){.algorithm = {42}};
    *count = 1;
    return 0;
}

static float get(const void *matrix, int kind, int64_t i) {
    if (kind == 0) return ((const float *)matrix)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)matrix)[i] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static void set(void *matrix, int kind, int64_t i, float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (kind == 0) ((float *)matrix)[i] = value;
    else ((uint16_t *)matrix)[i] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
int cublasLtMatmul(void *handle, Work *work, const float *alpha, const void *a, Layout *la, const void *b, Layout *lb,
                   const float *beta, const void *c, Layout *lc, void *d, Layout *ld, const uint64_t *algorithm,
                   void *workspace, size_t bytes, void *stream) {
    BEGIN("cublasLtMatmul", " %zu", bytes);
    if (getenv("TWNM_STANDIN_NO_PRODUCTS")) return 0;
    int ta = work->transposes[0], tb = work->transposes[1];
    uint64_t m = ta ? la->columns : la->rows, k = ta ? la->rows : la->columns, n = tb ? lb->rows : lb->columns;
    if ((work->epilogue != 0 && work->epilogue != 4) || (work->epilogue == 4 && !work->bias)) return 7;
    if (k != (tb ? lb->columns : lb->rows) || m != ld->rows || n != ld->columns || *algorithm != 42) return 7;
    for (int64_t i = 0; i < ld->count; i++)
        for (uint64_t row = 0; row < m; row++)
            for (uint64_t column = 0; column < n; column++) {
                float sum = 0;
                for (uint64_t l = 0; l < k; l++) {
                    int64_t at_a = ta ? l + row * la->step : row + l * la->step;
                    int64_t at_b = tb ? column + l * lb->step : l + column * lb->step;
                    sum += get(a, la->kind, at_a + i * la->stride) * get(b, lb->kind, at_b + i * lb->stride);
                }
                int64_t at = row + column * ld->step + i * ld->stride;
                float old = *beta == 0 ? 0 : *beta * get(c, lc->kind, at);
                float bias = work->epilogue == 4 ? work->bias[row] : 0;
                set(d, ld->kind, at, *alpha * sum + old + bias);
            }
    return 0;
}
