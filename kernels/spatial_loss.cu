// The permutation-matched loss of the spatial encoder and its gradients in one pass over B clips.
//
//   exist [B, K], direction [B, K, 3], distance [B, K], class [B, K, C], surface absorption [B]
//   truth [B, 14] = ln surface | absorption | 3 x (direction [3], ln(1 + distance))
//   known [B, 5]  = S | has room | 3 x (class or -1)
//
//   one warp per clip, S sources (S <= 3, S <= K):
//     exist  mean over steps k < min(S + 1, K) of the cross-entropy with [k < S]
//     match  min over the orders of S slots of the mean over sources of cost(slot, source),
//            cost = w_dir (1 - cos) + w_dist smoothL1(ln(1 + d), ln(1 + d*)) + w_class (logsumexp - logit)
//     room   smoothL1(ln surface) + smoothL1(absorption), where known
//   loss = mean over the clips; gradients of the chosen order only; a second kernel multiplies them by dy
//
// 1. The nine costs and six orders are a few hundred operations: every lane of the warp computes them all, in registers
//    and with the same bits, so that nobody waits and nothing is exchanged. Only the sums over C classes use the lanes.
// 2. Slots and sources that a clip lacks cost 0 with each other and far too much with others: the six orders of three
//    serve every S, in lexicographic order, the first of equals wins.
// 3. Predictions are f32 whatever the storage of the activations: they are few, and logarithms of rounded metres and
//    differences of rounded logits would be rounded twice.
// 4. Gradients are written whole, zeros included; the loss per clip goes to a second kernel that adds them in a fixed
//    order: no atomics, no memset, the same bits at every run. dy is read on the device.
//
// Bytes: B (K (C + 5) + 2) numbers read and written once; bound by the launches.
#include "common.cuh"

struct Weights {
    float exist, direction, distance, classes, room;
};

// Value and slope of the smooth L1 distance with unit transition.
static __device__ float2 smooth_l1(float a, float b) {
    float d = a - b;
    if (fabsf(d) < 1.0f) return make_float2(0.5f * d * d, d);
    return make_float2(fabsf(d) - 0.5f, d > 0.0f ? 1.0f : -1.0f);
}

// ln sum e^x over x [C], by the whole warp.
static __device__ float log_sum_exp(const float* x, int C, int lane) {
    float top = -3.402823466e38f, sum = 0.0f;
    for (int c = lane; c < C; c += 32) top = fmaxf(top, x[c]);
    top = warp_max(top);
    for (int c = lane; c < C; c += 32) sum += expf(x[c] - top);
    return top + logf(warp_sum(sum));
}

// The terms of one slot against one source = (x, y, z, ln(1 + metres)) of a class, -1: not known.
static __device__ float pair_cost(const float* direction, float distance, const float* logits, float total,
                                  const float* source, int wanted, Weights w) {
    float cosine = direction[0] * source[0] + direction[1] * source[1] + direction[2] * source[2];
    float cost = w.direction * (1.0f - cosine) + w.distance * smooth_l1(log1pf(distance), source[3]).x;
    return wanted < 0 ? cost : cost + w.classes * (total - logits[wanted]);
}

// Existence: the loss, the same in every lane; gradients of all K steps.
static __device__ float existence(float* slopes, const float* logits, int K, int S, float scale, int lane) {
    int steps = min(S + 1, K);
    float sum = 0.0f;
    for (int k = lane; k < K; k += 32) {
        float x = logits[k], target = k < S ? 1.0f : 0.0f;
        bool counts = k < steps;
        if (counts) sum += fmaxf(x, 0.0f) - x * target + log1pf(expf(-fabsf(x)));
        slopes[k] = counts ? scale / (float)steps * (sigmoid(x) - target) : 0.0f;
    }
    return scale / (float)steps * warp_sum(sum);
}

// The slot of each source in the cheapest order, and its cost.
struct Match {
    float cost;
    int slots[3];
};

static __device__ Match cheapest(const float cost[3][3]) {
    Match best = {cost[0][0] + cost[1][1] + cost[2][2], {0, 1, 2}};
#define TRY(i, j, k)                                                  \
    {                                                                 \
        float sum = cost[i][0] + cost[j][1] + cost[k][2];             \
        if (sum < best.cost) best = {sum, {i, j, k}};                 \
    }
    TRY(0, 2, 1)
    TRY(1, 0, 2)
    TRY(1, 2, 0)
    TRY(2, 0, 1)
    TRY(2, 1, 0)
#undef TRY
    return best;
}

// exist [B, K], direction [B, K, 3], distance [B, K], classes [B, K, C], surface absorption [B], truth [B, 14], known [B, 5] ->
// the gradients of all six and losses [B], each clip's share of the mean. One block of one warp per clip.
extern "C" __global__ void __launch_bounds__(32)
spatial_loss_fwd_f32(float* losses, float* d_exist, float* d_direction, float* d_distance, float* d_classes,
                     float* d_surface, float* d_absorption, const float* exist, const float* direction,
                     const float* distance, const float* classes, const float* surface, const float* absorption,
                     const float* truth, const int* known, int B, int K, int C, float w_exist, float w_direction,
                     float w_distance, float w_class, float w_room) {
    int lane = threadIdx.x, clip = blockIdx.x;
    const float* label = truth + clip * 14;
    const int* whole = known + clip * 5;
    const Weights w = {w_exist, w_direction, w_distance, w_class, w_room};
    int S = whole[0];
    float share = 1.0f / (float)B, loss = existence(d_exist + clip * K, exist + clip * K, K, S, w.exist * share, lane);

    long long first = (long long)clip * K;
    float totals[3], cost[3][3];
#pragma unroll
    for (int slot = 0; slot < 3; slot++) {
        bool is_slot = slot < S;
        totals[slot] = is_slot ? log_sum_exp(classes + (first + slot) * C, C, lane) : 0.0f;
#pragma unroll
        for (int j = 0; j < 3; j++) {
            if (is_slot && j < S) {
                cost[slot][j] = pair_cost(direction + (first + slot) * 3, distance[first + slot],
                                          classes + (first + slot) * C, totals[slot], label + 2 + 4 * j, whole[2 + j], w);
            } else {
                cost[slot][j] = slot == j ? 0.0f : 1e30f;
            }
        }
    }
    Match match = cheapest(cost);
    float scale = S > 0 ? share / (float)S : 0.0f;
    loss += scale * match.cost;

    for (int slot = 0; slot < K; slot++) {
        int source = -1;
#pragma unroll
        for (int j = 0; j < 3; j++) {
            if (j < S && match.slots[j] == slot) source = j;
        }
        const float* wanted = label + 2 + 4 * max(source, 0);
        float here = source < 0 ? 0.0f : scale, metres = source < 0 ? 0.0f : distance[first + slot];
        if (lane < 3) d_direction[(first + slot) * 3 + lane] = -here * w.direction * wanted[lane];
        float slope = smooth_l1(log1pf(metres), wanted[3]).y / (1.0f + metres);
        if (lane == 0) d_distance[first + slot] = here * w.distance * slope;
        int target = whole[2 + max(source, 0)];
        float of_class = target < 0 ? 0.0f : here * w.classes;
        float total = slot == 0 ? totals[0] : slot == 1 ? totals[1] : totals[2];
        for (int c = lane; c < C; c += 32) {
            // Slots without a source have no `total`, and their logits may be anything.
            float p = source < 0 ? 0.0f : expf(classes[(first + slot) * C + c] - total);
            d_classes[(first + slot) * C + c] = of_class * (p - (c == target ? 1.0f : 0.0f));
        }
    }
    float room = whole[1] ? share * w.room : 0.0f;
    float2 of_surface = smooth_l1(surface[clip], label[0]), of_absorption = smooth_l1(absorption[clip], label[1]);
    if (lane == 0) {
        d_surface[clip] = room * of_surface.y;
        d_absorption[clip] = room * of_absorption.y;
        losses[clip] = loss + room * (of_surface.x + of_absorption.x);
    }
}

// losses [B] -> loss [], their sum. One block.
extern "C" __global__ void __launch_bounds__(256) spatial_loss_fwd_reduce_f32(float* loss, const float* losses, int B) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < B; i += 256) sum += losses[i];
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) loss[0] = sum;
}

// saved [n], dy [] -> d [n] = dy saved. One thread per number.
extern "C" __global__ void __launch_bounds__(256)
spatial_loss_bwd_f32(float* d, const float* saved, const float* dy, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) d[i] = dy[0] * saved[i];
}
