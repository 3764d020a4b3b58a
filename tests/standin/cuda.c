/*
 * A stand-in for NVIDIA's user-space driver (libcuda.so.1), for tests on machines without a GPU.
 *
 * It answers what frameworks ask before they list a device: version, count, properties, contexts, memory (plain
 * host memory), streams, events, modules. Of kernels it knows two by their names, gpu_doctor_smoke and gpu_doctor_generation, and
 * computes what those compute; every other launched kernel returns success and leaves memory alone. So it tells whether a framework
 * gets as far as a device, and not whether its numbers are right.
 *
 * Variables that steer it (all optional):
 *   STANDIN_DEVICES   how many GPUs there are                                   default 1
 *   STANDIN_CC        their compute capabilities, such as 9.0 or 8.0,9.0; the last one counts for all that follow
 *                                                                               default 9.0
 *   STANDIN_CUDA      what cuDriverGetVersion reports                           default 12040
 *   STANDIN_FAIL      NAME=CODE pairs, comma-separated: that call returns the code, such as cuInit=803; with NAME@GPU
 *                     only on that GPU. In place of a code: `hang`, `crash`, `exit`, `garbage` on standard output, or
 *                     200ms: it takes that long and succeeds; 200busy: and it works meanwhile
 *   STANDIN_MODE      the compute mode of every GPU, by number                  default 0
 *   STANDIN_MIG       1: the devices are MIG instances
 *   STANDIN_WRONG     `number` or `total`: what the kernel computes wrongly; `nothing`: it does not touch its results;
 *                     `generation`: the second kernel, gpu_doctor_generation, computes a wrong number
 *   STANDIN_FREE      free memory of every GPU in MiB                           default 2048
 *   STANDIN_TRACE     1: each call whose name is asked for through cuGetProcAddress goes to stderr
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inject.h"

#if defined(__GLIBC__) && defined(__x86_64__)
/* The old versions of these, so that it loads where glibc is older than here. */
__asm__(".symver dlopen,dlopen@GLIBC_2.2.5");
__asm__(".symver dlsym,dlsym@GLIBC_2.2.5");
__asm__(".symver dlclose,dlclose@GLIBC_2.2.5");
__asm__(".symver dladdr,dladdr@GLIBC_2.2.5");
#endif

#define API __attribute__((visibility("default")))
typedef int CUresult;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, NOT_FOUND = 500, NOT_SUPPORTED = 801 };

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}

/* Devices left by CUDA_VISIBLE_DEVICES: ordinals in order, cut at the first entry that names no device. */
static int visible(int *count) {
    int all = number("STANDIN_DEVICES", 1);
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    if (!list) { *count = all; return OK; }
    int seen = 0;
    while (*list && seen < 64) {
        char *end;
        long ordinal = strtol(list, &end, 10);
        if (end == list || ordinal < 0 || ordinal >= all) break;
        seen++;
        list = *end == ',' ? end + 1 : "";
    }
    *count = seen;
    return OK;
}

static int started = 0;
static int context_storage[16];
static void *current = 0;

API CUresult cuInit(unsigned flags) {
    (void)flags;
    GIVE("cuInit");
    int count;
    visible(&count);
    if (count == 0) return NO_DEVICE;
    started = 1;
    return OK;
}
API CUresult cuDriverGetVersion(int *version) { *version = number("STANDIN_CUDA", 12040); return injected("cuDriverGetVersion"); }
API CUresult cuDeviceGetCount(int *count) { GIVE("cuDeviceGetCount"); return visible(count); }
API CUresult cuDeviceGet(int *device, int ordinal) {
    int count;
    visible(&count);
    if (ordinal < 0 || ordinal >= count) return INVALID_DEVICE;
    *device = busy = ordinal;
    return injected("cuDeviceGet");
}
API CUresult cuDeviceGetName(char *name, int size, int device) { GIVE("cuDeviceGetName"); snprintf(name, (size_t)size, number("STANDIN_MIG", 0) ? "Stand-in GPU MIG 1g.10gb %d" : "Stand-in GPU %d", device); return OK; }
API CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = (size_t)16 << 30; return OK; }
API CUresult cuDeviceGetUuid_v2(unsigned char *uuid, int device) { memset(uuid, 0x11 + device, 16); return OK; }
API CUresult cuDeviceGetUuid(unsigned char *uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
API CUresult cuDeviceGetPCIBusId(char *text, int size, int device) { snprintf(text, (size_t)size, "0000:%02x:00.0", 1 + device); return OK; }
API CUresult cuDeviceGetByPCIBusId(int *device, const char *text) { (void)text; *device = 0; return OK; }
API CUresult cuDeviceGetLuid(char *luid, unsigned *mask, int device) { (void)device; memset(luid, 0, 8); *mask = 1; return OK; }
API CUresult cuDeviceComputeCapability(int *major, int *minor, int device) {
    const char *text = getenv("STANDIN_CC");
    *major = 9; *minor = 0;
    for (int i = 0; i < device && text && strchr(text, ','); i++) text = strchr(text, ',') + 1;
    if (text) sscanf(text, "%d.%d", major, minor);
    return OK;
}
API CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    int major, minor;
    cuDeviceComputeCapability(&major, &minor, device);
    switch (attribute) {
    case 1: *value = 1024; break;             /* threads in a block */
    case 2: case 3: *value = 1024; break;     /* block x, y */
    case 4: *value = 64; break;               /* block z */
    case 5: *value = 2147483647; break;       /* grid x */
    case 6: case 7: *value = 65535; break;    /* grid y, z */
    case 8: *value = 49152; break;            /* shared memory of a block */
    case 9: *value = 65536; break;            /* constant memory */
    case 10: *value = 32; break;              /* warp */
    case 11: *value = 2147483647; break;      /* pitch */
    case 12: case 82: *value = 65536; break;  /* registers of a block, of a multiprocessor */
    case 13: *value = 1500000; break;         /* clock in kHz */
    case 14: *value = 512; break;             /* texture alignment */
    case 16: *value = 30; break;              /* multiprocessors */
    case 17: *value = 0; break;               /* time limit */
    case 20: *value = number("STANDIN_MODE", 0); break;
    case 33: *value = 1 + device; break;      /* PCI bus */
    case 34: case 50: *value = 0; break;      /* PCI device, domain */
    case 36: *value = 7000000; break;         /* memory clock */
    case 37: *value = 256; break;             /* memory bus */
    case 38: *value = 4194304; break;         /* second-level cache */
    case 39: *value = 1536; break;            /* threads of a multiprocessor */
    case 75: *value = major; break;
    case 76: *value = minor; break;
    case 81: *value = 102400; break;          /* shared memory of a multiprocessor */
    case 97: *value = 101376; break;          /* opt-in shared memory of a block */
    case 102: case 115: case 116: case 119: case 124: case 128: *value = 0; break; /* virtual memory, pools, RDMA, multicast */
    default: *value = attribute > 90 ? 0 : 1;
    }
    return injected("cuDeviceGetAttribute");
}
API CUresult cuDeviceGetProperties(int *properties, int device) { (void)device; memset(properties, 0, 44); return OK; }
API CUresult cuDeviceCanAccessPeer(int *can, int a, int b) { (void)a; (void)b; *can = 0; return OK; }
API CUresult cuDeviceGetDefaultMemPool(void **pool, int device) { (void)device; *pool = context_storage; return NOT_SUPPORTED; }
API CUresult cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) { (void)device; (void)flags; return OK; }
API CUresult cuDevicePrimaryCtxSetFlags(int device, unsigned flags) { (void)device; (void)flags; return OK; }
API CUresult cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { (void)device; *flags = 0; *active = current != 0; return OK; }
API CUresult cuDevicePrimaryCtxRetain(void **context, int device) { GIVE("cuDevicePrimaryCtxRetain"); *context = &context_storage[device & 15]; return OK; }
API CUresult cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return OK; }
API CUresult cuDevicePrimaryCtxRelease(int device) { (void)device; return OK; }
API CUresult cuDevicePrimaryCtxReset_v2(int device) { (void)device; return OK; }
#ifndef WITHOUT_CONTEXTS
API CUresult cuCtxCreate_v2(void **context, unsigned flags, int device) { (void)flags; busy = device; GIVE("cuCtxCreate"); current = *context = &context_storage[device & 15]; return OK; }
#endif
API CUresult cuCtxDestroy_v2(void *context) { (void)context; GIVE("cuCtxDestroy"); current = 0; return OK; }
API CUresult cuCtxSetCurrent(void *context) { current = context; return OK; }
API CUresult cuCtxGetCurrent(void **context) { *context = current; return OK; }
API CUresult cuCtxGetDevice(int *device) { *device = current ? (int)((int *)current - context_storage) : 0; return OK; }
API CUresult cuCtxPushCurrent_v2(void *context) { current = context; return OK; }
API CUresult cuCtxPopCurrent_v2(void **context) { if (context) *context = current; return OK; }
API CUresult cuCtxSynchronize(void) { return injected("cuCtxSynchronize"); }
API CUresult cuCtxGetApiVersion(void *context, unsigned *version) { (void)context; *version = 3020; return OK; }
API CUresult cuCtxGetFlags(unsigned *flags) { *flags = 0; return OK; }
API CUresult cuCtxGetLimit(size_t *value, int limit) { (void)limit; *value = 1024; return OK; }
API CUresult cuCtxSetLimit(int limit, size_t value) { (void)limit; (void)value; return OK; }
API CUresult cuCtxGetCacheConfig(int *config) { *config = 0; return OK; }
API CUresult cuCtxGetSharedMemConfig(int *config) { *config = 0; return OK; }
API CUresult cuCtxSetSharedMemConfig(int config) { (void)config; return OK; }
API CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return OK; }
API CUresult cuCtxEnablePeerAccess(void *context, unsigned flags) { (void)context; (void)flags; return OK; }

/* Memory: the host's. Overcommitted pages cost nothing until they are touched. */
static CUresult get_memory(void **pointer, size_t bytes, const char *call) {
    GIVE(call);
    *pointer = aligned_alloc(512, (bytes + 511) & ~(size_t)511);
    return *pointer ? OK : OUT_OF_MEMORY;
}
API CUresult cuMemGetInfo_v2(size_t *free_, size_t *total) { *free_ = (size_t)number("STANDIN_FREE", 2048) << 20; *total = (size_t)16 << 30; return injected("cuMemGetInfo"); }
API CUresult cuMemAlloc_v2(void **pointer, size_t bytes) { return get_memory(pointer, bytes, "cuMemAlloc"); }
API CUresult cuMemAllocManaged(void **pointer, size_t bytes, unsigned flags) { (void)flags; return get_memory(pointer, bytes, "cuMemAllocManaged"); }
API CUresult cuMemAllocHost_v2(void **pointer, size_t bytes) { return get_memory(pointer, bytes, "cuMemAllocHost"); }
API CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) { (void)flags; return get_memory(pointer, bytes, "cuMemHostAlloc"); }
API CUresult cuMemHostGetDevicePointer_v2(void **device, void *host, unsigned flags) { (void)flags; *device = host; return OK; }
API CUresult cuMemHostRegister_v2(void *host, size_t bytes, unsigned flags) { (void)host; (void)bytes; (void)flags; return OK; }
API CUresult cuMemHostUnregister(void *host) { (void)host; return OK; }
API CUresult cuMemFree_v2(void *pointer) { free(pointer); return OK; }
API CUresult cuMemFreeHost(void *pointer) { free(pointer); return OK; }
API CUresult cuMemAllocAsync(void **pointer, size_t bytes, void *stream) { (void)stream; return get_memory(pointer, bytes, "cuMemAllocAsync"); }
API CUresult cuMemFreeAsync(void *pointer, void *stream) { (void)stream; free(pointer); return OK; }
API CUresult cuMemGetAddressRange_v2(void **base, size_t *size, void *pointer) { if (base) *base = pointer; if (size) *size = 0; return OK; }
static CUresult copy(void *to, const void *from, size_t bytes) { memmove(to, from, bytes); return OK; }
API CUresult cuMemcpyHtoD_v2(void *to, const void *from, size_t bytes) { GIVE("cuMemcpyHtoD"); return copy(to, from, bytes); }
API CUresult cuMemcpyDtoH_v2(void *to, const void *from, size_t bytes) { GIVE("cuMemcpyDtoH"); return copy(to, from, bytes); }
API CUresult cuMemcpyDtoD_v2(void *to, const void *from, size_t bytes) { return copy(to, from, bytes); }
API CUresult cuMemcpy(void *to, const void *from, size_t bytes) { return copy(to, from, bytes); }
API CUresult cuMemcpyAsync(void *to, const void *from, size_t bytes, void *stream) { (void)stream; return copy(to, from, bytes); }
API CUresult cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) { (void)stream; return copy(to, from, bytes); }
API CUresult cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t bytes, void *stream) { (void)stream; return copy(to, from, bytes); }
API CUresult cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) { (void)stream; return copy(to, from, bytes); }
API CUresult cuMemsetD8_v2(void *to, unsigned char value, size_t count) { memset(to, value, count); return OK; }
API CUresult cuMemsetD8Async(void *to, unsigned char value, size_t count, void *stream) { (void)stream; memset(to, value, count); return OK; }
API CUresult cuMemsetD32_v2(void *to, unsigned value, size_t count) { for (size_t i = 0; i < count; i++) ((unsigned *)to)[i] = value; return OK; }
API CUresult cuMemsetD32Async(void *to, unsigned value, size_t count, void *stream) { (void)stream; return cuMemsetD32_v2(to, value, count); }
API CUresult cuPointerGetAttribute(void *data, int attribute, void *pointer) { (void)data; (void)attribute; (void)pointer; return INVALID_VALUE; }
API CUresult cuPointerGetAttributes(unsigned count, int *attributes, void **data, void *pointer) { (void)count; (void)attributes; (void)data; (void)pointer; return INVALID_VALUE; }

static int handle;
static int smoke, second;
API CUresult cuStreamCreate(void **stream, unsigned flags) { (void)flags; *stream = &handle; return OK; }
API CUresult cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) { (void)flags; (void)priority; *stream = &handle; return OK; }
API CUresult cuStreamDestroy_v2(void *stream) { (void)stream; return OK; }
API CUresult cuStreamSynchronize(void *stream) { (void)stream; return injected("cuStreamSynchronize"); }
API CUresult cuStreamQuery(void *stream) { (void)stream; return OK; }
API CUresult cuStreamWaitEvent(void *stream, void *event, unsigned flags) { (void)stream; (void)event; (void)flags; return OK; }
API CUresult cuStreamGetPriority(void *stream, int *priority) { (void)stream; *priority = 0; return OK; }
API CUresult cuStreamIsCapturing(void *stream, int *status) { (void)stream; *status = 0; return OK; }
API CUresult cuStreamGetCtx(void *stream, void **context) { (void)stream; *context = current; return OK; }
API CUresult cuStreamAddCallback(void *stream, void (*callback)(void *, int, void *), void *data, unsigned flags) { (void)flags; callback(stream, OK, data); return OK; }
API CUresult cuLaunchHostFunc(void *stream, void (*function)(void *), void *data) { (void)stream; function(data); return OK; }
API CUresult cuThreadExchangeStreamCaptureMode(int *mode) { *mode = 0; return OK; }
API CUresult cuEventCreate(void **event, unsigned flags) { (void)flags; *event = &handle; return OK; }
API CUresult cuEventDestroy_v2(void *event) { (void)event; return OK; }
API CUresult cuEventRecord(void *event, void *stream) { (void)event; (void)stream; return OK; }
API CUresult cuEventQuery(void *event) { (void)event; return OK; }
API CUresult cuEventSynchronize(void *event) { (void)event; return OK; }
API CUresult cuEventElapsedTime(float *ms, void *a, void *b) { (void)a; (void)b; *ms = 0.1f; return OK; }

/* What a driver says of an image: machine code must be a GPU's, and our kernel's PTX neither newer than the driver nor for
   a newer GPU. Others' images are taken as they are. */
static int taken(const void *image) {
    const char *text = image, *version, *target;
    int major, minor, isa = 0, arch = 0;
    if (!memcmp(text, "\177ELF", 4)) return ((const unsigned short *)image)[9] == 190 ? OK : 200;
    if ((memcmp(text, "//", 2) && memcmp(text, ".version", 8)) || !strstr(text, ".entry gpu_doctor_smoke(")) return OK;
    version = strstr(text, "\n.version ");
    target = strstr(text, "\n.target sm_");
    if (!version || !target || sscanf(version, "\n.version %d", &isa) != 1 || sscanf(target, "\n.target sm_%d", &arch) != 1) return 218;
    /* PTX 7 came with CUDA 11, 8 with 12, 9 with 13. */
    if (isa > 6 && isa + 4 > number("STANDIN_CUDA", 12040) / 1000) return 222;
    cuDeviceComputeCapability(&major, &minor, busy);
    return arch > 10 * major + minor ? 209 : OK;
}
API CUresult cuModuleLoadData(void **module, const void *image) {
    GIVE("cuModuleLoadData");
    int code = taken(image);
    if (code == OK) *module = &handle;
    return code;
}
API CUresult cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
    CUresult code = cuModuleLoadData(module, image);
    /* What the driver's compiler says goes to the buffer of errors. */
    if (code && count > 0 && options[0] == 5) strcpy(values[0], "\nptxas application ptx input, line 9; fatal : stand-in");
    return code;
}
API CUresult cuModuleLoadFatBinary(void **module, const void *image) { return cuModuleLoadData(module, image); }
API CUresult cuModuleUnload(void *module) { (void)module; return OK; }
API CUresult cuModuleGetLoadingMode(int *mode) { *mode = 2; return OK; }
API CUresult cuModuleGetFunction(void **function, void *module, const char *name) { (void)module; *function = !strcmp(name, "gpu_doctor_smoke") ? &smoke : !strcmp(name, "gpu_doctor_generation") ? &second : &handle; return injected("cuModuleGetFunction"); }
API CUresult cuModuleGetGlobal_v2(void **pointer, size_t *bytes, void *module, const char *name) { (void)module; (void)name; if (pointer) *pointer = calloc(1, 4096); if (bytes) *bytes = 4096; return OK; }
API CUresult cuFuncGetAttribute(int *value, int attribute, void *function) { (void)attribute; (void)function; *value = 64; return OK; }
API CUresult cuFuncSetAttribute(void *function, int attribute, int value) { (void)function; (void)attribute; (void)value; return OK; }
API CUresult cuFuncSetCacheConfig(void *function, int config) { (void)function; (void)config; return OK; }
API CUresult cuFuncGetModule(void **module, void *function) { (void)function; *module = &handle; return OK; }
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *function, int size, size_t shared) { (void)function; (void)size; (void)shared; *blocks = 1; return OK; }
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, void *function, int size, size_t shared, unsigned flags) { (void)flags; return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, size, shared); }
/* What smoke.cu says, block by block; barriers are the ends of loops. */
static unsigned mix(unsigned value) {
    value ^= value >> 16; value *= 0x7feb352du; value ^= value >> 15; value *= 0x846ca68bu; value ^= value >> 16;
    return value;
}
static void compute(unsigned blocks, unsigned threads, void **arguments) {
    const unsigned *in = *(unsigned **)arguments[0];
    unsigned *out = *(unsigned **)arguments[1];
    unsigned long long *total = *(unsigned long long **)arguments[2];
    unsigned count = *(unsigned *)arguments[3], tile[1024];
    const char *wrong = getenv("STANDIN_WRONG");
    if (threads > 1024 || (wrong && !strcmp(wrong, "nothing"))) return;
    for (unsigned block = 0; block < blocks; block++) {
        unsigned long long sum = 0;
        for (unsigned base = block * threads; base < count; base += blocks * threads) {
            for (unsigned thread = 0; thread < threads; thread++) {
                unsigned at = base + thread;
                tile[thread] = mix((at < count ? in[at] : 0u) + at);
            }
            for (unsigned thread = 0; thread < threads && base + thread < count; thread++) {
                unsigned result = tile[thread] + mix(tile[threads - 1 - thread] ^ thread);
                out[base + thread] = result;
                sum += result;
            }
        }
        *total += sum;
    }
    if (wrong && !strcmp(wrong, "number")) out[count / 2] ^= 1u << 7;
    if (wrong && !strcmp(wrong, "total")) *total -= 1;
}
/* What generation.cu says. */
static unsigned products(const unsigned *in, unsigned count, unsigned at) {
    unsigned value = at < count ? in[at] : 0, far = (at ^ 256) < count ? in[at ^ 256] : 0;
    return far + (value & 255) * 4 + (value >> 8 & 255) * 3 + (value >> 16 & 255) * 2 + (value >> 24);
}
static void compute_second(void **arguments) {
    const unsigned *in = *(unsigned **)arguments[0];
    unsigned *out = *(unsigned **)arguments[1];
    unsigned long long *total = *(unsigned long long **)arguments[2];
    unsigned count = *(unsigned *)arguments[3];
    const char *wrong = getenv("STANDIN_WRONG");
    for (unsigned at = 0; at < count; at++) {
        unsigned all = 0;
        for (unsigned lane = at & ~31u; lane <= (at | 31u); lane++) all += products(in, count, lane);
        out[at] = mix(products(in, count, at)) + all;
        *total += out[at];
    }
    if (wrong && !strcmp(wrong, "generation")) out[count / 3] += 1;
}
API CUresult cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream, void **arguments, void **extra) {
    (void)gy; (void)gz; (void)by; (void)bz; (void)shared; (void)stream; (void)extra;
    GIVE("cuLaunchKernel");
    if (function == &smoke) compute(gx, bx, arguments);
    if (function == &second) compute_second(arguments);
    return OK;
}
API CUresult cuLaunchKernelEx(const void *config, void *function, void **arguments, void **extra) { (void)config; (void)function; (void)arguments; (void)extra; return injected("cuLaunchKernel"); }

static const struct { int code; const char *name; const char *text; } errors[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {35, "CUDA_ERROR_INSUFFICIENT_DRIVER", "driver too old for the runtime"},
    {36, "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER", "API call is not supported in the installed CUDA driver"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "device busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
API CUresult cuGetErrorName(int code, const char **name) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) if (errors[i].code == code) { *name = errors[i].name; return OK; }
    *name = 0;
    return INVALID_VALUE;
}
API CUresult cuGetErrorString(int code, const char **text) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) if (errors[i].code == code) { *text = errors[i].text; return OK; }
    *text = 0;
    return INVALID_VALUE;
}

/*
 * CUDA's runtime asks for tables that are not documented and ends without them, so nothing that goes through
 * libcudart gets further than the version and the list of devices that frameworks take from the driver directly.
 */
API CUresult cuGetExportTable(const void **table, const unsigned char *id) {
    (void)id;
    *table = 0;
    return NOT_FOUND;
}

/* How newer runtimes get at every call: by name, without its suffix. */
API CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status) {
    (void)flags;
    /* Before CUDA 12 the call had no last argument; who asks in that version's name calls what it gets so. */
    int old = version < 12000 && !strcmp(symbol, "cuGetProcAddress");
    static const char *const suffixes[] = {"_v3", "_v2", ""};
    Dl_info self;
    *function = 0;
    if (dladdr((void *)&cuGetProcAddress_v2, &self)) {
        void *library = dlopen(self.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
        for (size_t i = old ? 2 : 0; library && i < 3 && !*function; i++) {
            char name[160];
            snprintf(name, sizeof name, "%s%s", symbol, suffixes[i]);
            *function = dlsym(library, name);
        }
        if (library) dlclose(library);
    }
    if (getenv("STANDIN_TRACE")) fprintf(stderr, "stand-in: %s %s\n", symbol, *function ? "given" : "not there");
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
API CUresult cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) { return cuGetProcAddress_v2(symbol, function, version, flags, 0); }
