/*
 * A stand-in for libcudnn.so.9 and one of its parts, for tests on machines without a GPU. The door opens the part by name
 * when a handle is made, as the real one does; the part (-DPART) convolves in the memory of the stand-in driver, which is
 * the host's. STANDIN_FAIL gives any of its calls a code, or a crash or a hang (inject.h).
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#ifndef PART
#include "inject.h"
#endif

#define API __attribute__((visibility("default")))
#ifndef RELEASE
#define RELEASE 92800
#endif

#ifdef PART
API int cudnn_part_release(void) { return RELEASE; }
API void cudnn_part_convolve(const float *x, const int *shape, const float *w, const int *filter, const int *pad, float *y) {
    for (int row = 0; row < shape[0]; row++)
        for (int column = 0; column < shape[1]; column++) {
            float sum = 0;
            for (int i = 0; i < filter[0]; i++)
                for (int j = 0; j < filter[1]; j++) {
                    int from_row = row + i - pad[0], from_column = column + j - pad[1];
                    if (from_row < 0 || from_row >= shape[0] || from_column < 0 || from_column >= shape[1]) continue;
                    sum += x[from_row * shape[1] + from_column] * w[i * filter[1] + j];
                }
            y[row * shape[1] + column] = sum;
        }
}
#else
static int handle;
static void (*convolve)(const float *, const int *, const float *, const int *, const int *, float *);

struct shape { int size[2]; };

API int cudnnGetProperty(int which, int *value) {
    *value = which == 0 ? RELEASE / 10000 : which == 1 ? RELEASE / 100 % 100 : RELEASE % 100;
    return 0;
}
API size_t cudnnGetCudartVersion(void) { return 12090; }
API const char *cudnnGetErrorString(int status) { return status == 1002 ? "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH" : "CUDNN_STATUS_OTHER"; }
API void cudnnGetLastErrorString(char *text, size_t size) { snprintf(text, size, "said by the stand-in"); }
API int cudnnCreate(void **made) {
    GIVE("cudnnCreate");
    void *part = dlopen("libcudnn_ops.so.9", RTLD_NOW);
    if (!part) {
        fprintf(stderr, "Unable to load any of {libcudnn_ops.so.9}\n");
        abort();
    }
    int (*release)(void) = (int (*)(void))dlsym(part, "cudnn_part_release");
    if (!release || release() != RELEASE) return 1002;
    convolve = (void (*)(const float *, const int *, const float *, const int *, const int *, float *))dlsym(part, "cudnn_part_convolve");
    *made = &handle;
    return 0;
}
API int cudnnDestroy(void *given) { return given == &handle ? 0 : 2000; }
static int shaped(void **made) { *made = calloc(1, sizeof(struct shape)); return 0; }
API int cudnnCreateTensorDescriptor(void **made) { return shaped(made); }
API int cudnnCreateFilterDescriptor(void **made) { return shaped(made); }
API int cudnnCreateConvolutionDescriptor(void **made) { return shaped(made); }
static int fill(struct shape *shape, int first, int second) { shape->size[0] = first; shape->size[1] = second; return 0; }
API int cudnnSetTensor4dDescriptor(void *shape, int format, int type, int n, int c, int h, int w) {
    return format || type || n != 1 || c != 1 ? 2000 : fill(shape, h, w);
}
API int cudnnSetFilter4dDescriptor(void *shape, int type, int format, int k, int c, int h, int w) {
    return format || type || k != 1 || c != 1 ? 2000 : fill(shape, h, w);
}
API int cudnnSetConvolution2dDescriptor(void *shape, int pad_h, int pad_w, int u, int v, int dh, int dw, int mode, int type) {
    return u != 1 || v != 1 || dh != 1 || dw != 1 || mode != 1 || type ? 2000 : fill(shape, pad_h, pad_w);
}
API int cudnnConvolutionForward(void *given, const float *alpha, const struct shape *xs, const float *x, const struct shape *ws, const float *w, const struct shape *how, int algorithm, void *space, size_t bytes, const float *beta, const struct shape *ys, float *y) {
    GIVE("cudnnConvolutionForward");
    if (given != &handle || algorithm || space || bytes || *alpha != 1 || *beta != 0 || memcmp(xs, ys, sizeof *xs)) return 2000;
    convolve(x, xs->size, w, ws->size, how->size, y);
    return 0;
}
#endif
