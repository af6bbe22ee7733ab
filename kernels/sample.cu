// The next token of every sequence.   logits [B, V], seen [B, V], uniforms [B] -> ids [B], log_probs [B]
//
//   s[v]  = logits[v], penalised where seen, / temperature
//   greedy: the lowest v with the largest s
//   k     = the largest number with at least top_k scores >= k                          search over bits of scores
//   t     = the smallest score with mass{s > t} < p mass{s >= k}                        search over bits of scores
//   ties  = of the scores equal to t, the first so many that what stands before is < p  search over ids
//   id    = the first with mass{left, ids up to it} > u mass{left}                      search over ids
//   log_prob = logits[id] - m - ln sum e^(logits - m)
//
// 1. Nothing is sorted. Each step asks for a limit such that a sum over the row, of ones or of e^(s - largest), passes a
//    number; limits are found bit by bit, one sum over the row for each. Floats become unsigned numbers of the same order.
// 2. A block of 1024 threads owns a sequence. Its scores stay in the cache of the GPU: a sum over 152 thousand of them
//    takes about 6 us, a plain draw 20 of them, top k and top p up to 32 more each, and a batch no longer than one sequence.
//    The search for k ends early where exactly top_k scores are left, which is nearly always.
// 3. Every sum adds the same numbers in the same order, zeros where a token is out. So a limit that differs by one token
//    gives the same bits unless that token counts, and the token that is found is one that is left.
// 4. Counts are floats: exact below 2^24, and a vocabulary has fewer tokens.
// 5. A row with a NaN, with +infinity or with nothing above -infinity gets the id -1.
#include "common.cuh"

#define THREADS 1024

// In the order of the floats; never 0 for a number.
static __device__ __forceinline__ unsigned key_of(float v) {
    const unsigned bits = __float_as_uint(v);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// What is left of a row: scores above `limit`, and those equal to it with ids below `ids`.
struct Left {
    unsigned limit;
    int ids;

    __device__ __forceinline__ bool holds(unsigned key, int id) const { return key > limit || (key == limit && id < ids); }
};

// A row of scores.
struct Row {
    const float* scores;
    int V;
    float most;

    // The sum of f(score, key, id) over the row, the same in all threads.
    template <typename F>
    __device__ float sum(const F& f) const {
        float total = 0.0f;
        for (int v = 4 * threadIdx.x; v < V; v += 4 * THREADS) {
            const Pack4 a = load_up_to4(scores, v, V);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                if (v + k < V) total += f(a.v[k], key_of(a.v[k]), v + k);
            }
        }
        return block_sum<THREADS>(total);
    }
    __device__ __forceinline__ float mass(float score) const { return expf(score - most); }

    // The largest key that at least `count` scores reach.
    __device__ unsigned kth(int count) const {
        unsigned key = 0;
        for (int bit = 31; bit >= 0; bit--) {
            const unsigned next = key | (1u << bit);
            const float above = sum([next](float, unsigned k, int) { return k >= next ? 1.0f : 0.0f; });
            if (above >= (float)count) key = next;
            if (above == (float)count) break;
        }
        return key;
    }
    // The smallest key above which there is less mass than `limit`, of the scores from `lowest` on.
    __device__ unsigned nucleus(float limit) const {
        unsigned key = 0;
        for (int bit = 31; bit >= 0; bit--) {
            const unsigned last = key | ((1u << bit) - 1);
            const Row row = *this;
            const float above = sum([row, last](float s, unsigned k, int) { return k > last ? row.mass(s) : 0.0f; });
            if (above >= limit) key |= 1u << bit;
        }
        return key;
    }
    // The smallest number of ids below which f adds up to more than `limit`, which all of them together do.
    template <typename F>
    __device__ int first_beyond(float limit, const F& f) const {
        int low = 0, high = V;
        while (high - low > 1) {
            const int middle = low + (high - low) / 2;
            const float below = sum([&f, middle](float s, unsigned k, int id) { return id < middle ? f(s, k, id) : 0.0f; });
            if (below > limit) high = middle;
            else low = middle;
        }
        return high;
    }
};

// What top k and top p leave.
static __device__ Left left_of(const Row& row, int top_k, float top_p) {
    Left left = {0u, row.V};
    if (top_k < row.V) left.limit = row.kth(top_k);
    if (top_p >= 1.0f) return left;
    const unsigned lowest = left.limit;
    const float all = row.sum([&row, lowest](float s, unsigned k, int) { return k >= lowest ? row.mass(s) : 0.0f; });
    const float limit = top_p * all;
    const unsigned t = row.nucleus(limit);
    const float above = row.sum([&row, t](float s, unsigned k, int) { return k > t ? row.mass(s) : 0.0f; });
    const float equals = row.sum([t](float, unsigned k, int) { return k == t ? 1.0f : 0.0f; });
    const float each = row.mass(__uint_as_float(t & 0x80000000u ? t & 0x7fffffffu : ~t));
    const float kept = each > 0.0f ? fminf(equals, fmaxf(1.0f, ceilf((limit - above) / each))) : equals;
    left.limit = t;
    if (kept < equals) {
        left.ids = row.first_beyond(kept - 0.5f, [t](float, unsigned k, int) { return k == t ? 1.0f : 0.0f; });
    }
    return left;
}

template <typename T>
static __device__ void choose(int* ids, float* log_probs, float* scores, const T* logits, const unsigned char* seen,
                              const float* uniforms, int V, float penalty, float temperature, int top_k, float top_p,
                              int is_greedy) {
    const long long at = (long long)blockIdx.x * V;
    const T* from = logits + at;
    float* to = scores + at;
    const float infinity = __uint_as_float(0x7f800000u);
    float most_raw = -infinity, most = -infinity, wrong = 0.0f;
    for (int v = 4 * threadIdx.x; v < V; v += 4 * THREADS) {
        Pack4 a = load_up_to4(from, v, V);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (v + k >= V) continue;
            float s = a.v[k];
            most_raw = fmaxf(most_raw, s);
            if (seen && seen[at + v + k]) s = s < 0.0f ? s * penalty : s / penalty;
            s = s / temperature + 0.0f;
            // Comparisons with a NaN are false.
            if (!(s < infinity)) wrong = 1.0f;
            most = fmaxf(most, s);
            a.v[k] = s;
        }
        store_up_to4(to, v, V, a);
    }
    most_raw = block_max<THREADS>(most_raw);
    most = block_max<THREADS>(most);
    // Behind this barrier every thread sees all scores, too.
    wrong = block_max<THREADS>(wrong);
    const bool is_wrong = wrong > 0.0f || most == -infinity;
    const Row row = {to, V, most};
    int id = 0;
    if (is_wrong) {
        id = -1;
    } else if (is_greedy) {
        id = row.first_beyond(0.5f, [most](float s, unsigned, int) { return s == most ? 1.0f : 0.0f; }) - 1;
    } else {
        const Left left = left_of(row, top_k, top_p);
        const auto counted = [&row, left](float s, unsigned k, int i) { return left.holds(k, i) ? row.mass(s) : 0.0f; };
        id = row.first_beyond(uniforms[blockIdx.x] * row.sum(counted), counted) - 1;
    }
    float total = 0.0f;
    for (int v = threadIdx.x; v < V; v += THREADS) total += expf(to_float(from[v]) - most_raw);
    total = block_sum<THREADS>(total);
    if (threadIdx.x == 0) {
        ids[blockIdx.x] = id;
        log_probs[blockIdx.x] =
            is_wrong ? __uint_as_float(0x7fc00000u) : to_float(from[id]) - most_raw - logf(total);
    }
}

// logits [B, V], seen [B, V] (none: nothing), uniforms [B] -> ids [B], log_probs [B]; scores [B, V] is room for the work. A
// block per sequence.
extern "C" __global__ void __launch_bounds__(THREADS)
sample_choose_f32(int* ids, float* log_probs, float* scores, const float* logits, const unsigned char* optional_seen,
                  const float* uniforms, int V, float penalty, float temperature, int top_k, float top_p,
                  int is_greedy) {
    choose(ids, log_probs, scores, logits, optional_seen, uniforms, V, penalty, temperature, top_k, top_p, is_greedy);
}

// logits [B, V], seen [B, V] (none: nothing), uniforms [B] -> ids [B], log_probs [B]; scores [B, V] is room for the work. A
// block per sequence.
extern "C" __global__ void __launch_bounds__(THREADS)
sample_choose_bf16(int* ids, float* log_probs, float* scores, const bf16* logits, const unsigned char* optional_seen,
                   const float* uniforms, int V, float penalty, float temperature, int top_k, float top_p,
                   int is_greedy) {
    choose(ids, log_probs, scores, logits, optional_seen, uniforms, V, penalty, temperature, top_k, top_p, is_greedy);
}

// ids [B, T], n of them -> seen [B, V], 1 there. A thread per id; ids outside the vocabulary are padding.
extern "C" __global__ void __launch_bounds__(128)
sample_add_seen(unsigned char* seen, const int* ids, int T, int V, int n) {
    const int i = blockIdx.x * 128 + threadIdx.x;
    if (i < n && ids[i] >= 0 && ids[i] < V) seen[(long long)(i / T) * V + ids[i]] = 1;
}
