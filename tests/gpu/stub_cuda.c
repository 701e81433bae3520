/* A driver with one device, whose memory is the host's and whose kernels do nothing, the probe but for. It finds the
   parameters of a kernel in its cubin as the driver does, and tells stub_launched, where that is set, what was launched.
   What is passed has the types of cuda.h; functions that are not here are refused (stub_cuda.py). */
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct Stream { int number; } *CUstream;
typedef struct Event { CUstream recorded; } *CUevent;
typedef struct Context { int number; } *CUcontext;
typedef struct { char *image; } *CUmodule;
typedef struct {
    char name[256];
    unsigned count, size;
    unsigned offsets[64], sizes[64];
} *CUfunction;

enum { INVALID_VALUE = 1, INVALID_DEVICE = 101, NO_BINARY = 209, INVALID_CONTEXT = 201, NOT_FOUND = 500 };

/* What tests look at. */
unsigned long long stub_launches, stub_synchronized, stub_allocated;
void (*stub_launched)(const char *name, const unsigned *sizes, void *stream, const void *packed, unsigned size);
void (*stub_waited)(void *stream, void *on);

static struct Context primary;
static __thread CUcontext stack[16];
static __thread int depth;

#define CURRENT (depth ? stack[depth - 1] : NULL)
#define NEEDS_CONTEXT if (!CURRENT) return INVALID_CONTEXT

CUresult cuInit(unsigned flags) { return flags; }
CUresult cuGetErrorString(CUresult error, const char **text) { *text = "stub"; return error < 0; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return 0; }
CUresult cuDeviceGetCount(int *count) { *count = 1; return 0; }
CUresult cuDeviceGet(CUdevice *device, int number) { *device = number; return number ? INVALID_DEVICE : 0; }
CUresult cuDeviceGetName(char *name, int size, CUdevice device) { strncpy(name, "Stub", size); return device; }
CUresult cuDeviceTotalMem_v2(size_t *size, CUdevice device) { *size = (size_t)1 << 37; return device; }
CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break;                       /* threads of a block */
    case 4: *value = 64; break;
    case 5: *value = 0x7fffffff; break;                                 /* blocks of a grid */
    case 6: case 7: *value = 65535; break;
    case 10: *value = 32; break;                                        /* lanes of a warp */
    case 75: *value = 9; break;                                         /* compute capability */
    case 76: *value = 0; break;
    case 97: *value = 232448; break;                                    /* shared memory of a block */
    default: *value = 132;
    }
    return device;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    *major = 9;
    *minor = 0;
    return device;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) { *context = &primary; return device; }
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) { return device; }
CUresult cuCtxDetach(CUcontext context) { return 0; }
CUresult cuCtxGetApiVersion(CUcontext context, unsigned *version) { *version = 13000; return 0; }
CUresult cuCtxGetDevice(CUdevice *device) { *device = 0; NEEDS_CONTEXT; return 0; }
CUresult cuCtxGetCurrent(CUcontext *context) { *context = CURRENT; return 0; }
CUresult cuCtxSetCurrent(CUcontext context) {
    depth = depth ? depth : 1;
    stack[depth - 1] = context;
    return 0;
}
CUresult cuCtxPushCurrent_v2(CUcontext context) { stack[depth++] = context; return 0; }
CUresult cuCtxPopCurrent_v2(CUcontext *context) {
    NEEDS_CONTEXT;
    *context = stack[--depth];
    return 0;
}
CUresult cuCtxSynchronize(void) { NEEDS_CONTEXT; stub_synchronized++; return 0; }

CUresult cuStreamCreate(CUstream *stream, unsigned flags) { *stream = malloc(sizeof **stream); return flags > 1; }
CUresult cuStreamDestroy_v2(CUstream stream) { free(stream); return 0; }
CUresult cuStreamSynchronize(CUstream stream) { stub_synchronized++; return 0; }
CUresult cuStreamQuery(CUstream stream) { return 0; }
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
    if (stub_waited)
        stub_waited(stream, event->recorded);
    return flags;
}
CUresult cuEventCreate(CUevent *event, unsigned flags) { NEEDS_CONTEXT; *event = malloc(sizeof **event); return 0; }
CUresult cuEventDestroy_v2(CUevent event) { free(event); return 0; }
CUresult cuEventRecord(CUevent event, CUstream stream) { event->recorded = stream; return 0; }
CUresult cuEventSynchronize(CUevent event) { stub_synchronized++; return 0; }

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    NEEDS_CONTEXT;
    stub_allocated++;
    *address = (CUdeviceptr)aligned_alloc(256, (size + 255) / 256 * 256);
    return 0;
}
CUresult cuMemFree_v2(CUdeviceptr address) { NEEDS_CONTEXT; stub_synchronized++; free((void *)address); return 0; }
CUresult cuMemGetInfo_v2(size_t *unused, size_t *all) { *unused = *all = (size_t)1 << 37; return 0; }
static CUresult copy(void *target, const void *source, size_t size) {
    NEEDS_CONTEXT;
    stub_synchronized++;
    memcpy(target, source, size);
    return 0;
}
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) { return copy(to, (void *)from, size); }
CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) { return copy((void *)to, from, size); }
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) { return copy((void *)to, (void *)from, size); }
CUresult cuPointerGetAttribute(void *value, int attribute, CUdeviceptr address) {
    *(int *)value = 0;
    return attribute == 9 ? 0 : INVALID_VALUE;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    const Elf64_Ehdr *head = image;
    if (memcmp(image, ELFMAG, SELFMAG))
        return NO_BINARY;
    size_t sections = head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
    size_t segments = head->e_phoff + (size_t)head->e_phnum * head->e_phentsize;
    size_t size = sections > segments ? sections : segments;
    *module = malloc(sizeof **module);
    (*module)->image = memcpy(malloc(size), image, size);
    return CURRENT ? 0 : INVALID_CONTEXT;
}
CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, int *options, void **values) {
    return cuModuleLoadData(module, image);
}
CUresult cuModuleUnload(CUmodule module) { free(module->image); free(module); return 0; }

/* The section .nv.info.KERNEL is a list of attributes; one of format 4 and number 0x17 is a parameter: its ordinal,
   its offset, and in the upper bits of the last word its size. */
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    char *image = module->image, wanted[300] = ".nv.info.";
    const Elf64_Ehdr *head = (void *)image;
    const Elf64_Shdr *sections = (void *)(image + head->e_shoff);
    const char *names = image + sections[head->e_shstrndx].sh_offset;
    strcat(wanted, name);
    for (int i = 0; i < head->e_shnum; i++) {
        if (strcmp(names + sections[i].sh_name, wanted))
            continue;
        *function = calloc(1, sizeof **function);
        strcpy((*function)->name, name);
        const unsigned char *at = (void *)(image + sections[i].sh_offset), *end = at + sections[i].sh_size;
        while (at < end) {
            uint16_t payload, ordinal, offset;
            uint32_t word;
            memcpy(&payload, at + 2, 2);
            if (at[0] == 4 && at[1] == 0x17) {
                memcpy(&ordinal, at + 8, 2), memcpy(&offset, at + 10, 2), memcpy(&word, at + 12, 4);
                (*function)->offsets[ordinal] = offset;
                (*function)->sizes[ordinal] = word >> 18;
                if ((*function)->size < offset + (word >> 18))
                    (*function)->size = offset + (word >> 18);
                (*function)->count++;
            }
            at += at[0] == 4 ? 4 + payload : 4;
        }
        return 0;
    }
    return NOT_FOUND;
}
CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
    if (index >= function->count)
        return INVALID_VALUE;
    *offset = function->offsets[index];
    *size = function->sizes[index];
    return 0;
}
CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction function) { *value = attribute ? 0 : 1024; return 0; }
CUresult cuFuncSetBlockShape(CUfunction function, int x, int y, int z) { return x < 1 || y < 1 || z < 1; }
CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) { return value < 0; }

typedef struct {
    unsigned grid[3], block[3], shared;
    CUstream stream;
    void *attributes;
    unsigned count;
} CUlaunchConfig;

CUresult cuLaunchKernelEx(const CUlaunchConfig *at, CUfunction function, void **parameters, void **extra) {
    NEEDS_CONTEXT;
    for (int i = 0; i < 3; i++)
        if (!at->grid[i] || !at->block[i] || (i && at->grid[i] > 65535))
            return INVALID_VALUE;
    if (at->block[0] * at->block[1] * at->block[2] > 1024 || at->attributes || at->count || extra)
        return INVALID_VALUE;
    stub_launches++;
    if (!strcmp(function->name, "probe"))
        for (unsigned i = 0; i < at->block[0]; i++)
            (*(int **)parameters[0])[i] = 3 * i + 1;
    if (stub_launched) {
        char packed[4096] = {0};
        for (unsigned i = 0; i < function->count; i++)
            memcpy(packed + function->offsets[i], parameters[i], function->sizes[i]);
        stub_launched(function->name, at->grid, at->stream, packed, function->size);
    }
    return 0;
}

/* What PyCUDA's own kernels are launched by, with their arguments in one buffer: the second word of extra. */
CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream stream, void **parameters, void **extra) {
    CUlaunchConfig at = {{gx, gy, gz}, {bx, by, bz}, shared, stream, NULL, 0};
    void *addresses[64];
    for (unsigned i = 0; i < function->count; i++)
        addresses[i] = parameters ? parameters[i] : (char *)extra[1] + function->offsets[i];
    return cuLaunchKernelEx(&at, function, addresses, NULL);
}
