/* Replays a trace of NVIDIA cards: a stand-in for libnvidia-ml.so.1 on machines without a card.
 *
 * Compiled against NVIDIA's own nvml.h, so that the compiler checks every signature and structure.
 * A function that is missing here is "Function Not Found" to pynvml, as with an old driver.
 *
 * $NVML_REPLAY names the trace, that of the parent process where the own has none; without one the library says that the driver is not loaded.
 * One statement a line, words apart by spaces, '-' for what NVML does not support, '#' for a comment:
 *   driver VERSION
 *   cuda NUMBER                                   1000 * major + 10 * minor
 *   gpu INDEX UUID MEMORY_BYTES PCI_ADDRESS NAME  in order of INDEX from 0, before other lines with INDEX;
 *                                                 NAME may have spaces
 *   mig INDEX                                     the card is in MIG mode
 *   slice INDEX CARD GI CI UUID MEMORY_BYTES NAME a MIG device of a card in MIG mode, after all cards, its INDEX the next
 *                                                 one; lines with an INDEX may tell of it
 *   near INDEX MASK                               CPUs near the card, a hexadecimal mask, CPU 0 in its last digit
 *   process INDEX PID BYTES                       PID 'self' is the process that loads this library
 *   client INDEX PID BYTES                        the same of a process that computes through MPS
 *   broken NUMBER                                 NVML cannot be used, with this nvmlReturn_t
 *   denied INDEX                                  the user has no permission to ask about the card
 *   sample T_MS INDEX UTILIZATION MEMORY_BYTES POWER_MW ENERGY_MJ TEMPERATURE_C SM_MHZ REASONS
 *   lost T_MS INDEX [unknown]                     from then on every answer is "GPU is lost", or "Unknown Error"
 * Times count from the first nvmlInit. The sample in force is the last one whose time has come.
 */
#include <nvml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_GPUS 256
#define MAX_SLICES_OF_A_CARD 7
#define MAX_PROCESSES 512
#define MAX_SAMPLES 20000
#define UNKNOWN (-1LL)

enum { UTILIZATION, MEMORY, POWER, ENERGY, TEMPERATURE, SM_CLOCK, REASONS, VALUES };

struct nvmlDevice_st {
    char uuid[96], pci_address[96], name[96], near_cpus[96];
    long long memory_bytes, lost_ms;
    nvmlReturn_t lost_with;
    struct nvmlDevice_st *card; /* of a slice, else NULL */
    unsigned gpu_instance, compute_instance;
    int is_in_mig_mode;
};
struct process {
    int gpu;
    unsigned pid;
    long long bytes;
    int is_mps_client;
};
struct sample {
    long time_ms;
    int gpu;
    long long values[VALUES];
};

static struct nvmlDevice_st gpus[MAX_GPUS];
static struct process processes[MAX_PROCESSES];
static struct sample samples[MAX_SAMPLES];
/* Slices lie behind the cards. */
static int gpu_count, slice_count, process_count, sample_count, users, broken, cuda_version = -1;
static char driver[80] = "-";
static struct timespec start;

static int is_unknown(const char *word) { return strcmp(word, "-") == 0; }
static long long number(const char *word) { return is_unknown(word) ? UNKNOWN : atoll(word); }

static long elapsed_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
}

static int is_gpu(const char *word) { return atoi(word) >= 0 && atoi(word) < gpu_count + slice_count; }

static struct nvmlDevice_st *add(const char *uuid, const char *memory_bytes, const char *pci_address, const char *name) {
    struct nvmlDevice_st *gpu = &gpus[gpu_count + slice_count];
    memset(gpu, 0, sizeof *gpu);
    strcpy(gpu->uuid, uuid);
    gpu->memory_bytes = number(memory_bytes);
    strcpy(gpu->pci_address, pci_address);
    snprintf(gpu->name, sizeof gpu->name, "%s", name);
    gpu->lost_ms = UNKNOWN;
    strcpy(gpu->near_cpus, "-");
    return gpu;
}

/* Takes one line of the trace; returns 0 for a line that is no statement. */
static int take(char *line) {
    char w[9][96];
    int name_at = 0;
    line[strcspn(line, "\n")] = 0;
    if (!*line || *line == '#') return 1;
    if (sscanf(line, "driver %79s", driver) == 1) return 1;
    if (sscanf(line, "cuda %d", &cuda_version) == 1) return 1;
    if (sscanf(line, "gpu %95s %95s %95s %95s %n", w[0], w[1], w[2], w[3], &name_at) == 4 && name_at) {
        if (gpu_count == MAX_GPUS || atoi(w[0]) != gpu_count || slice_count) return 0;
        add(w[1], w[2], w[3], line + name_at);
        gpu_count++;
        return 1;
    }
    if (sscanf(line, "mig %95s", w[0]) == 1) {
        if (!is_gpu(w[0])) return 0;
        gpus[atoi(w[0])].is_in_mig_mode = 1;
        return 1;
    }
    name_at = 0;
    if (sscanf(line, "slice %95s %95s %95s %95s %95s %95s %n", w[0], w[1], w[2], w[3], w[4], w[5], &name_at) == 6 &&
        name_at) {
        struct nvmlDevice_st *slice;
        if (gpu_count + slice_count == MAX_GPUS || atoi(w[0]) != gpu_count + slice_count) return 0;
        if (!is_gpu(w[1]) || !gpus[atoi(w[1])].is_in_mig_mode) return 0;
        slice = add(w[4], w[5], "-", line + name_at);
        slice->card = &gpus[atoi(w[1])];
        slice->gpu_instance = (unsigned)atoi(w[2]);
        slice->compute_instance = (unsigned)atoi(w[3]);
        slice_count++;
        return 1;
    }
    if (sscanf(line, "broken %d", &broken) == 1) return 1;
    if (sscanf(line, "denied %95s", w[0]) == 1) {
        if (!is_gpu(w[0])) return 0;
        gpus[atoi(w[0])].lost_ms = 0;
        gpus[atoi(w[0])].lost_with = NVML_ERROR_NO_PERMISSION;
        return 1;
    }
    if (sscanf(line, "near %95s %95s", w[0], w[1]) == 2) {
        if (!is_gpu(w[0]) || (!is_unknown(w[1]) && w[1][strspn(w[1], "0123456789abcdefABCDEF")])) return 0;
        strcpy(gpus[atoi(w[0])].near_cpus, w[1]);
        return 1;
    }
    if (sscanf(line, "process %95s %95s %95s", w[0], w[1], w[2]) == 3 ||
        sscanf(line, "client %95s %95s %95s", w[0], w[1], w[2]) == 3) {
        struct process *process = &processes[process_count];
        if (process_count == MAX_PROCESSES || !is_gpu(w[0])) return 0;
        process_count++;
        process->gpu = atoi(w[0]);
        process->pid = strcmp(w[1], "self") ? (unsigned)atoll(w[1]) : (unsigned)getpid();
        process->bytes = number(w[2]);
        process->is_mps_client = *line == 'c';
        return 1;
    }
    if (sscanf(line, "sample %95s %95s %95s %95s %95s %95s %95s %95s %95s", w[0], w[1], w[2], w[3], w[4], w[5],
               w[6], w[7], w[8]) == 9) {
        struct sample *sample = &samples[sample_count];
        if (sample_count == MAX_SAMPLES || !is_gpu(w[1])) return 0;
        sample_count++;
        sample->time_ms = atol(w[0]);
        sample->gpu = atoi(w[1]);
        for (int value = 0; value < VALUES; value++) sample->values[value] = number(w[value + 2]);
        return 1;
    }
    strcpy(w[2], "");
    if (sscanf(line, "lost %95s %95s %95s", w[0], w[1], w[2]) >= 2) {
        if (!is_gpu(w[1])) return 0;
        gpus[atoi(w[1])].lost_ms = atol(w[0]);
        gpus[atoi(w[1])].lost_with = strcmp(w[2], "unknown") ? NVML_ERROR_GPU_IS_LOST : NVML_ERROR_UNKNOWN;
        return 1;
    }
    return 0;
}

/* Runs start in a clean environment: the trace of their monitor is that of the process which started it. */
static const char *trace_path(void) {
    static const char begin[] = "NVML_REPLAY=";
    static char environment[1 << 18];
    const char *path = getenv("NVML_REPLAY"), *entry;
    char name[64];
    size_t length;
    FILE *file;
    if (path) return path;
    snprintf(name, sizeof name, "/proc/%d/environ", (int)getppid());
    file = fopen(name, "r");
    if (!file) return NULL;
    length = fread(environment, 1, sizeof environment - 1, file);
    fclose(file);
    for (entry = environment; entry < environment + length; entry += strlen(entry) + 1)
        if (!strncmp(entry, begin, sizeof begin - 1)) return entry + sizeof begin - 1;
    return NULL;
}

static nvmlReturn_t load(void) {
    const char *path = trace_path();
    FILE *trace;
    char line[512];
    if (users) {
        users++;
        return NVML_SUCCESS;
    }
    trace = path ? fopen(path, "r") : NULL;
    if (!trace) return NVML_ERROR_DRIVER_NOT_LOADED;
    gpu_count = slice_count = process_count = sample_count = broken = 0;
    while (fgets(line, sizeof line, trace)) {
        if (!take(line)) {
            fprintf(stderr, "nvml_replay: %s: cannot take the line: %s\n", path, line);
            abort();
        }
    }
    fclose(trace);
    if (broken) return (nvmlReturn_t)broken;
    if (!start.tv_sec) clock_gettime(CLOCK_MONOTONIC, &start);
    users = 1;
    return NVML_SUCCESS;
}

/* Tells whether the card can be asked at all. */
static nvmlReturn_t check(nvmlDevice_t gpu) {
    if (!users) return NVML_ERROR_UNINITIALIZED;
    if (gpu < gpus || gpu >= gpus + gpu_count + slice_count) return NVML_ERROR_INVALID_ARGUMENT;
    if (gpu->lost_ms != UNKNOWN && elapsed_ms() >= gpu->lost_ms) return gpu->lost_with;
    return NVML_SUCCESS;
}

static const struct sample *in_force(nvmlDevice_t gpu) {
    const struct sample *last = NULL;
    long now = elapsed_ms();
    for (int i = 0; i < sample_count; i++)
        if (&gpus[samples[i].gpu] == gpu && samples[i].time_ms <= now) last = &samples[i];
    return last;
}

static nvmlReturn_t sampled(nvmlDevice_t gpu, int value, long long *result) {
    nvmlReturn_t state = check(gpu);
    const struct sample *sample;
    if (state != NVML_SUCCESS) return state;
    sample = in_force(gpu);
    if (!sample || sample->values[value] == UNKNOWN) return NVML_ERROR_NOT_SUPPORTED;
    *result = sample->values[value];
    return NVML_SUCCESS;
}

static nvmlReturn_t text(const char *known, char *result, unsigned length) {
    if (is_unknown(known)) return NVML_ERROR_NOT_SUPPORTED;
    return snprintf(result, length, "%s", known) < (int)length ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

#define CHECK(gpu)                                    \
    do {                                              \
        nvmlReturn_t state_ = check(gpu);             \
        if (state_ != NVML_SUCCESS) return state_;    \
    } while (0)
#define SAMPLED(gpu, value, target)                             \
    do {                                                        \
        long long value_;                                       \
        nvmlReturn_t state_ = sampled(gpu, value, &value_);     \
        if (state_ != NVML_SUCCESS) return state_;              \
        (target) = value_;                                      \
    } while (0)

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    return load();
}
nvmlReturn_t nvmlInit_v2(void) { return load(); }
nvmlReturn_t nvmlShutdown(void) {
    if (!users) return NVML_ERROR_UNINITIALIZED;
    users--;
    return NVML_SUCCESS;
}
const char *nvmlErrorString(nvmlReturn_t result) {
    static char sentence[32];
    snprintf(sentence, sizeof sentence, "replayed error %d", result);
    return sentence;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    return users ? text(driver, version, length) : NVML_ERROR_UNINITIALIZED;
}
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    if (!users) return NVML_ERROR_UNINITIALIZED;
    if (cuda_version < 0) return NVML_ERROR_NOT_SUPPORTED;
    *version = cuda_version;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    if (!users) return NVML_ERROR_UNINITIALIZED;
    *count = gpu_count;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    if (index >= (unsigned)gpu_count) return NVML_ERROR_INVALID_ARGUMENT;
    CHECK(&gpus[index]);
    *device = &gpus[index];
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    for (int i = 0; i < gpu_count + slice_count; i++) {
        if (strcmp(gpus[i].uuid, uuid)) continue;
        CHECK(&gpus[i]);
        *device = &gpus[i];
        return NVML_SUCCESS;
    }
    return users ? NVML_ERROR_NOT_FOUND : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    CHECK(device);
    if (!device->is_in_mig_mode) return NVML_ERROR_NOT_SUPPORTED;
    *current = *pending = NVML_DEVICE_MIG_ENABLE;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count) {
    CHECK(device);
    *count = device->is_in_mig_mode ? MAX_SLICES_OF_A_CARD : 0;
    return NVML_SUCCESS;
}
/* Index 0 is free, as where a slice was destroyed. */
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *slice) {
    unsigned number = 0;
    CHECK(device);
    for (int i = gpu_count; i < gpu_count + slice_count; i++) {
        if (gpus[i].card != device || ++number != index) continue;
        *slice = &gpus[i];
        return NVML_SUCCESS;
    }
    return NVML_ERROR_NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t slice, nvmlDevice_t *device) {
    CHECK(slice);
    if (!slice->card) return NVML_ERROR_INVALID_ARGUMENT;
    *device = slice->card;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t slice, unsigned int *id) {
    CHECK(slice);
    if (!slice->card) return NVML_ERROR_NOT_SUPPORTED;
    *id = slice->gpu_instance;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t slice, unsigned int *id) {
    CHECK(slice);
    if (!slice->card) return NVML_ERROR_NOT_SUPPORTED;
    *id = slice->compute_instance;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    CHECK(device);
    return text(device->name, name, length);
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    CHECK(device);
    return text(device->uuid, uuid, length);
}
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    CHECK(device);
    return text(device->pci_address, pci->busId, sizeof pci->busId);
}

nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t device, unsigned int words, unsigned long *mask) {
    const unsigned bits = 8 * sizeof *mask;
    unsigned digits;
    CHECK(device);
    if (is_unknown(device->near_cpus)) return NVML_ERROR_NOT_SUPPORTED;
    memset(mask, 0, words * sizeof *mask);
    digits = strlen(device->near_cpus);
    for (unsigned i = 0; i < digits && 4 * i < words * bits; i++) {
        char digit[2] = {device->near_cpus[digits - 1 - i], 0};
        mask[4 * i / bits] |= strtoul(digit, NULL, 16) << 4 * i % bits;
    }
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization) {
    utilization->memory = 0;
    SAMPLED(device, UTILIZATION, utilization->gpu);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    const struct sample *sample;
    CHECK(device);
    sample = in_force(device);
    if (device->memory_bytes == UNKNOWN) return NVML_ERROR_NOT_SUPPORTED;
    if (sample && sample->values[MEMORY] == UNKNOWN) return NVML_ERROR_NOT_SUPPORTED;
    memory->used = sample ? sample->values[MEMORY] : 0;
    memory->total = device->memory_bytes;
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    nvmlMemory_t first;
    nvmlReturn_t state = nvmlDeviceGetMemoryInfo(device, &first);
    if (state != NVML_SUCCESS) return state;
    if (memory->version != nvmlMemory_v2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->used = first.used;
    memory->total = first.total;
    memory->free = first.free;
    memory->reserved = 0;
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts) {
    SAMPLED(device, POWER, *milliwatts);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules) {
    SAMPLED(device, ENERGY, *millijoules);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned int *celsius) {
    if (sensor != NVML_TEMPERATURE_GPU) return NVML_ERROR_INVALID_ARGUMENT;
    SAMPLED(device, TEMPERATURE, *celsius);
    return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz) {
    if (type != NVML_CLOCK_SM) return NVML_ERROR_NOT_SUPPORTED;
    SAMPLED(device, SM_CLOCK, *mhz);
    return NVML_SUCCESS;
}
/* By its older name only, so that a caller has to know both, as drivers before 535 ask of it. */
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons) {
    SAMPLED(device, REASONS, *reasons);
    return NVML_SUCCESS;
}
static nvmlReturn_t list(nvmlDevice_t device, int mps_clients, unsigned int *count, nvmlProcessInfo_t *infos) {
    unsigned room = *count;
    CHECK(device);
    *count = 0;
    for (int i = 0; i < process_count; i++) {
        if (&gpus[processes[i].gpu] != device || processes[i].is_mps_client != mps_clients) continue;
        if (*count < room) {
            nvmlProcessInfo_t *info = &infos[*count];
            memset(info, 0, sizeof *info);
            info->pid = processes[i].pid;
            info->usedGpuMemory = processes[i].bytes; /* UNKNOWN is NVML_VALUE_NOT_AVAILABLE: all bits set */
            info->gpuInstanceId = info->computeInstanceId = 0xFFFFFFFF;
        }
        (*count)++;
    }
    return *count > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                     nvmlProcessInfo_t *infos) {
    return list(device, 0, count, infos);
}
nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
                                                        nvmlProcessInfo_t *infos) {
    return list(device, 1, count, infos);
}
