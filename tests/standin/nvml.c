/*
 * A stand-in for NVML (libnvidia-ml.so.1), for tests on machines without a GPU: start, driver version, devices.
 *
 *   STANDIN_NVML     the code that nvmlInit returns, `hang`, `crash`, or 200ms: it takes that long
 *                                                                   default 0
 *   STANDIN_DRIVER   the driver version                             default 550.54.14
 *   STANDIN_DEVICES  how many GPUs there are                        default 1
 *   STANDIN_NVML_DEVICES  how many of them NVML tells of            default STANDIN_DEVICES
 *   STANDIN_NVML_CUDA     the CUDA version that NVML reports        default STANDIN_CUDA
 *   STANDIN_CC       their compute capabilities                     default 9.0
 *   STANDIN_MODE     their compute mode, by number                  default 0
 *   STANDIN_MIG      1: MIG is on, with two instances
 *   STANDIN_FAIL     as in cuda.c: nvmlDeviceGetName=3
 *   STANDIN_ROWS     `pending`, `failed` or both: what is to be said of remapped rows
 *   STANDIN_PIDS     how many processes compute on each             default 0
 */
#include "inject.h"

#define API __attribute__((visibility("default")))
static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}
static int device_storage[64], instance_storage[64];
static int index_of(void *device) { return (int)((int *)device - device_storage); }
static int is_instance(void *device) { return (int *)device >= instance_storage && (int *)device < instance_storage + 64; }
enum { INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

API int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *how = getenv("STANDIN_NVML");
    if (how && !strcmp(how, "hang")) for (;;) sleep(100);
    if (how && !strcmp(how, "crash")) *(volatile int *)0 = 1;
    if (how && strstr(how, "ms")) {
        usleep((useconds_t)atoi(how) * 1000);
        return 0;
    }
    return number("STANDIN_NVML", 0);
}
API int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API int nvmlInit(void) { return nvmlInitWithFlags(0); }
API int nvmlShutdown(void) { return 0; }
API const char *nvmlErrorString(int code) { return code == 0 ? "Success" : code == 18 ? "Driver/library version mismatch" : "Unknown Error"; }
API int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    const char *version = getenv("STANDIN_DRIVER");
    snprintf(text, size, "%s", version && *version ? version : "550.54.14");
    return 0;
}
API int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = number("STANDIN_NVML_CUDA", number("STANDIN_CUDA", 12040)); return 0; }
API int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }
API int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)number("STANDIN_NVML_DEVICES", number("STANDIN_DEVICES", 1)); return 0; }
API int nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }
API int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = &device_storage[index & 63]; return 0; }
API int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device) { (void)address; *device = device_storage; return 0; }
API int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
    if (is_instance(device)) snprintf(text, size, "MIG-22222222-2222-2222-2222-%012d", (int)((int *)device - instance_storage));
    else snprintf(text, size, "GPU-%02x111111-1111-1111-1111-111111111111", 0x11 + index_of(device));
    return 0;
}
API int nvmlDeviceGetName(void *device, char *text, unsigned size) { busy = index_of(device); GIVE("nvmlDeviceGetName"); snprintf(text, size, "Stand-in GPU"); return 0; }

API int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    const char *text = getenv("STANDIN_CC");
    *major = 9; *minor = 0;
    for (int i = 0; i < index_of(device) && text && strchr(text, ','); i++) text = strchr(text, ',') + 1;
    if (text) sscanf(text, "%d.%d", major, minor);
    return 0;
}
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char address[32]; } Pci;
API int nvmlDeviceGetPciInfo_v3(void *device, Pci *pci) {
    memset(pci, 0, sizeof *pci);
    pci->bus = 1 + (unsigned)index_of(device);
    pci->id = 0x233010de;
    snprintf(pci->legacy, sizeof pci->legacy, "0000:%02X:00.0", pci->bus);
    snprintf(pci->address, sizeof pci->address, "00000000:%02X:00.0", pci->bus);
    return 0;
}
typedef struct { unsigned long long total, free, used; } Memory;
API int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    memory->total = is_instance(device) ? 10ull << 30 : 16ull << 30;
    memory->free = 2ull << 30;
    memory->used = memory->total - memory->free;
    return 0;
}
API int nvmlDeviceGetComputeMode(void *device, int *mode) { (void)device; *mode = number("STANDIN_MODE", 0); return 0; }
API int nvmlDeviceGetPersistenceMode(void *device, int *mode) { (void)device; *mode = 1; return 0; }
API int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *next) { (void)device; *now = *next = (unsigned)number("STANDIN_MIG", 0); return 0; }
API int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) { (void)device; *count = 7; return 0; }
API int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **instance) {
    if (index >= 2) return NOT_FOUND;
    *instance = &instance_storage[2 * (index_of(device) & 15) + (int)index];
    return 0;
}
API int nvmlDeviceGetEccMode(void *device, int *now, int *next) { (void)device; *now = *next = 1; return 0; }
API int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *count) { (void)device; (void)type; (void)counter; *count = 0; return 0; }
API int nvmlDeviceGetRemappedRows(void *device, unsigned *good, unsigned *bad, unsigned *pending, unsigned *failed) { (void)device; const char *rows = getenv("STANDIN_ROWS"); *good = 1; *bad = 0; *pending = rows && strstr(rows, "pending"); *failed = rows && strstr(rows, "failed"); return 0; }
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu, compute; } Process;
API int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *processes) {
    (void)device;
    unsigned there = (unsigned)number("STANDIN_PIDS", 0), room = *count;
    *count = there;
    if (there && room < there) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < there; i++) processes[i] = (Process){4242 + i, 1ull << 30, 0xffffffff, 0xffffffff};
    return 0;
}
