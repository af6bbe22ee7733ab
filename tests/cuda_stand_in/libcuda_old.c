// A driver of CUDA 11.0: it starts and lacks what came later.
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 11000; return 0; }
int cuGetErrorName(unsigned error, const char **name) { *name = "CUDA_ERROR_OLD"; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
