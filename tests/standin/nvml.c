/*
 * A stand-in for NVML (libnvidia-ml.so.1), for tests on machines without a GPU: start, driver version, devices.
 *
 *   STANDIN_NVML     the code that nvmlInit returns                 default 0
 *   STANDIN_DRIVER   the driver version                             default 550.54.14
 *   STANDIN_DEVICES  how many GPUs there are                        default 1
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}
static int device_storage[64];

API int nvmlInitWithFlags(unsigned flags) { (void)flags; return number("STANDIN_NVML", 0); }
API int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API int nvmlInit(void) { return nvmlInitWithFlags(0); }
API int nvmlShutdown(void) { return 0; }
API const char *nvmlErrorString(int code) { return code == 0 ? "Success" : code == 18 ? "Driver/library version mismatch" : "Unknown Error"; }
API int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    const char *version = getenv("STANDIN_DRIVER");
    snprintf(text, size, "%s", version && *version ? version : "550.54.14");
    return 0;
}
API int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = number("STANDIN_CUDA", 12040); return 0; }
API int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }
API int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)number("STANDIN_DEVICES", 1); return 0; }
API int nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }
API int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = &device_storage[index & 63]; return 0; }
API int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device) { (void)address; *device = device_storage; return 0; }
API int nvmlDeviceGetUUID(void *device, char *text, unsigned size) { (void)device; snprintf(text, size, "GPU-11111111-1111-1111-1111-111111111111"); return 0; }
API int nvmlDeviceGetName(void *device, char *text, unsigned size) { (void)device; snprintf(text, size, "Stand-in GPU"); return 0; }
