/* What Porcupine 4's interface looks like to its caller, and nothing of what it does: Solo's own, for its tests. The first
   line of the parameters' file says how init is to answer: a status, and what its error stack is made of. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int count;
    float sensitivities[16];
} pv_porcupine_t;

static char message[65536];

const char *pv_porcupine_version(void) { return VERSION; }
int32_t pv_porcupine_frame_length(void) { return 512; }
int32_t pv_sample_rate(void) { return 16000; }

const char *pv_status_to_string(int status) {
    static const char *const names[] = {"SUCCESS", "OUT_OF_MEMORY", "IO_ERROR", "INVALID_ARGUMENT", "STOP_ITERATION",
        "KEY_ERROR", "INVALID_STATE", "RUNTIME_ERROR", "ACTIVATION_ERROR", "ACTIVATION_LIMIT_REACHED",
        "ACTIVATION_THROTTLED", "ACTIVATION_REFUSED"};
    return names[status];
}

int pv_porcupine_init(const char *key, const char *model, const char *device, int32_t count, const char *const *paths,
    const float *sensitivities, pv_porcupine_t **object) {
    FILE *file = fopen(model, "r");
    int status = 0;
    char words[32] = "";
    if (file) {
        if (fscanf(file, "%d %31s", &status, words) < 1) status = 0;
        fclose(file);
    }
    if (strcmp(words, "echo-key") == 0) snprintf(message, sizeof message, "0 1: Failed to parse AccessKey `%s`.", key);
    else snprintf(message, sizeof message, "0 1: %s on %s for %s", words, device, paths[0]);
    if (status) return status;
    *object = calloc(1, sizeof **object);
    (*object)->count = count;
    memcpy((*object)->sensitivities, sensitivities, (size_t)count * sizeof *sensitivities);
    return 0;
}

void pv_porcupine_delete(pv_porcupine_t *object) { free(object); }

int pv_porcupine_process(pv_porcupine_t *object, const int16_t *frame, int32_t *keyword) {
    int wanted = frame[0] - 1000;
    int enough = wanted >= 0 && wanted < object->count && object->sensitivities[wanted] * 100.0f >= frame[1] - 0.5f;
    *keyword = enough ? wanted : -1;
    return 0;
}

int pv_get_error_stack(char ***stack, int32_t *depth) {
    *stack = malloc(sizeof **stack);
    (*stack)[0] = message;
    *depth = 1;
    return 0;
}

void pv_free_error_stack(char **stack) { free(stack); }
