// y = x / max(|x|, eps) over the last axis.   x [N, C] -> y [N, C]
//
//   one warp per row:  norm = sqrt(sum x^2) ; y = x / max(norm, eps)
//                      dx = (dy - x (x . dy) / norm^2) / norm, below eps dy / eps
//
// 1. The rows are direction vectors (C = 3) and there are few of them: a warp per row leaves most lanes idle and is
//    still done within the time of the launch; any other C works as well.
// 2. Sums run over the lanes and then down a fixed shuffle tree: the same bits at every run. x is read again rather
//    than kept: it lies in the first-level cache.
//
// Bytes: forward 2 N C, backward 3 N C numbers; FLOPs 4 N C and 8 N C: memory-bound.
#include "common.cuh"

template <typename T>
static __device__ float dot(const T* a, const T* b, int C, int lane) {
    float sum = 0.0f;
    for (int c = lane; c < C; c += 32) sum = fmaf(to_float(a[c]), to_float(b[c]), sum);
    return warp_sum(sum);
}

template <typename T>
static __device__ void forward(T* y, const T* x, int N, int C, float eps) {
    int lane = threadIdx.x & 31;
    int row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    // Rows beyond the end are computed on the last one and not stored: shuffles need the whole warp.
    long long at = (long long)min(row, N - 1) * C;
    float divisor = fmaxf(sqrtf(dot(x + at, x + at, C, lane)), eps);
    if (row < N) {
        for (int c = lane; c < C; c += 32) y[at + c] = from_float<T>(to_float(x[at + c]) / divisor);
    }
}

template <typename T>
static __device__ void backward(T* dx, const T* x, const T* dy, int N, int C, float eps) {
    int lane = threadIdx.x & 31;
    int row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    long long at = (long long)min(row, N - 1) * C;
    float norm = sqrtf(dot(x + at, x + at, C, lane)), product = dot(x + at, dy + at, C, lane);
    // Below eps the divisor is a constant.
    float divisor = norm < eps ? eps : norm, along = norm < eps ? 0.0f : product / (norm * norm);
    if (row < N) {
        for (int c = lane; c < C; c += 32) {
            dx[at + c] = from_float<T>((to_float(dy[at + c]) - to_float(x[at + c]) * along) / divisor);
        }
    }
}

// x [N, C] -> y [N, C], rows of unit length. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
l2_normalize_fwd_f32(float* y, const float* x, int N, int C, float eps) {
    forward(y, x, N, C, eps);
}

// x [N, C] -> y [N, C], rows of unit length. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
l2_normalize_fwd_bf16(bf16* y, const bf16* x, int N, int C, float eps) {
    forward(y, x, N, C, eps);
}

// x dy [N, C] -> dx [N, C]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
l2_normalize_bwd_f32(float* dx, const float* x, const float* dy, int N, int C, float eps) {
    backward(dx, x, dy, N, C, eps);
}

// x dy [N, C] -> dx [N, C]. One warp per row.
extern "C" __global__ void __launch_bounds__(128)
l2_normalize_bwd_bf16(bf16* dx, const bf16* x, const bf16* dy, int N, int C, float eps) {
    backward(dx, x, dy, N, C, eps);
}
