/* The yardstick of benches/kernel.rs: what any CUDA program must do to run one kernel, and nothing more. */

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 256u

static uint32_t mix(uint32_t value) {
    value ^= value >> 16;
    value *= 0x7feb352du;
    value ^= value >> 15;
    value *= 0x846ca68bu;
    return value ^ (value >> 16);
}

static void *driver;

static void *find(const char *name) {
    void *function = dlsym(driver, name);
    if (!function) {
        fprintf(stderr, "no %s\n", name);
        exit(1);
    }
    return function;
}

static void hold(int code, const char *what) {
    if (code != 0) {
        fprintf(stderr, "%s: error %d\n", what, code);
        exit(1);
    }
}

#define CALL(name, types, ...) hold(((int(*) types)find(#name))(__VA_ARGS__), #name)

int main(int argc, char **argv) {
    if (argc != 3) {
        return 2;
    }
    FILE *file = fopen(argv[2], "rb");
    static char ptx[1 << 16];
    if (!file || fread(ptx, 1, sizeof ptx - 1, file) == 0) {
        return 2;
    }
    driver = dlopen(argv[1], RTLD_NOW);
    if (!driver) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    int device, processors;
    void *context, *module, *function;
    CALL(cuInit, (unsigned), 0);
    CALL(cuDeviceGet, (int *, int), &device, 0);
    CALL(cuDeviceGetAttribute, (int *, int, int), &processors, 16, device);
    CALL(cuDevicePrimaryCtxRetain, (void **, int), &context, device);
    CALL(cuCtxSetCurrent, (void *), context);
    CALL(cuModuleLoadData, (void **, const void *), &module, ptx);
    CALL(cuModuleGetFunction, (void **, void *, const char *), &function, module, "gpu_doctor_smoke");
    unsigned blocks = 2 * (unsigned)processors, count = blocks * BLOCK * 3 - 57;
    size_t size = count * sizeof(uint32_t);
    uint32_t *in = malloc(size), *out = malloc(size);
    for (uint32_t at = 0; at < count; at++) {
        in[at] = mix(at ^ 0x5bd1e995u);
    }
    memset(out, 0xa5, size);
    unsigned long long in_there, out_there, total_there;
    uint64_t total = 0, sum = 0;
    CALL(cuMemAlloc_v2, (unsigned long long *, size_t), &in_there, size);
    CALL(cuMemAlloc_v2, (unsigned long long *, size_t), &out_there, size);
    CALL(cuMemAlloc_v2, (unsigned long long *, size_t), &total_there, sizeof total);
    CALL(cuMemcpyHtoD_v2, (unsigned long long, const void *, size_t), in_there, in, size);
    CALL(cuMemcpyHtoD_v2, (unsigned long long, const void *, size_t), out_there, out, size);
    CALL(cuMemcpyHtoD_v2, (unsigned long long, const void *, size_t), total_there, &total, sizeof total);
    void *parameters[] = {&in_there, &out_there, &total_there, &count};
    CALL(cuLaunchKernel,
         (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **),
         function, blocks, 1, 1, BLOCK, 1, 1, 0, NULL, parameters, NULL);
    CALL(cuCtxSynchronize, (void));
    CALL(cuMemcpyDtoH_v2, (void *, unsigned long long, size_t), out, out_there, size);
    CALL(cuMemcpyDtoH_v2, (void *, unsigned long long, size_t), &total, total_there, sizeof total);
    uint32_t tile[BLOCK];
    for (uint32_t base = 0; base < count; base += BLOCK) {
        for (uint32_t thread = 0; thread < BLOCK; thread++) {
            uint32_t at = base + thread;
            tile[thread] = mix((at < count ? in[at] : 0) + at);
        }
        for (uint32_t thread = 0; thread < BLOCK && base + thread < count; thread++) {
            uint32_t want = tile[thread] + mix(tile[BLOCK - 1 - thread] ^ thread);
            if (out[base + thread] != want) {
                fprintf(stderr, "wrong number at %u\n", base + thread);
                return 1;
            }
            sum += want;
        }
    }
    if (sum != total) {
        fprintf(stderr, "wrong total\n");
        return 1;
    }
    return 0;
}
