/* Result of a call, and what it must not have done. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "support.h"

static const dim_status statuses[] = {
    DIM_OK, DIM_INVALID_ARGUMENT, DIM_INVALID_HANDLE, DIM_TOO_LARGE, DIM_UNKNOWN_NAME, DIM_SIZE_MISMATCH,
    DIM_MISSING_NETWORK, DIM_IO, DIM_FILE_FORMAT, DIM_FILE_CONTENT, DIM_OUT_OF_MEMORY, DIM_NOT_FINITE, DIM_CANCELLED,
    DIM_INTERNAL};
enum { KNOWN = sizeof statuses / sizeof statuses[0] };

tally *counts;
__thread int current_call;

int status_index(dim_status status) {
    for (int i = 0; i < KNOWN; i++)
        if (statuses[i] == status)
            return i;
    return STATUS_KINDS - 1;
}

dim_status status_at(int index) { return index < KNOWN ? statuses[index] : (dim_status)-1; }

void begin(context *c, const char *format, ...) {
    strncpy(c->error, dim_last_error(), sizeof c->error - 1);
    if (!c->trace)
        return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say("sequence %llu thread %d step %d: %s(%s)%s", (unsigned long long)c->sequence, c->thread, c->step, c->function,
        text, c->wrong_handle ? ", the handle is wrong" : c->wrong ? ", an argument is wrong" : "");
}

void violation(context *c, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say("seed %llu sequence %llu thread %d step %d: %s: %s", (unsigned long long)c->seed,
        (unsigned long long)c->sequence, c->thread, c->step, c->function, text);
    __atomic_add_fetch(&counts->violations, 1, __ATOMIC_RELAXED);
}

static void check_message(context *c, dim_status status) {
    const char *text = dim_last_error();
    if (text == NULL)
        violation(c, "dim_last_error is NULL");
    else if (status == DIM_OK && strncmp(text, c->error, sizeof c->error - 1) != 0)
        violation(c, "a call that succeeds changed the last error to \"%.100s\"", text);
    else if (status != DIM_OK && (text[0] == '\0' || text[strlen(text) - 1] == '\n'))
        violation(c, "%s leaves the message \"%.100s\"", dim_status_name(status), text);
}

bool finish(context *c, dim_status status, unsigned documented) {
    int index = status_index(status);
    const char *name = dim_status_name(status);
    if (status != DIM_OK && (index >= KNOWN || !(documented & 1u << index)))
        violation(c, "%s (%d), which dim.h does not name for it: %.200s", name, (int)status, dim_last_error());
    else if (c->wrong_handle ? status != DIM_INVALID_HANDLE : c->wrong && status == DIM_OK)
        violation(c, "%s, although %s", name, c->wrong_handle ? "the handle is wrong" : "an argument is wrong");
    else if (c->world->alone && !c->wrong_handle && status == DIM_INVALID_HANDLE)
        violation(c, "a live handle is refused: %.200s", dim_last_error());
    else if (c->world->alone && c->must_work && !c->wrong && !c->wrong_handle && status != DIM_OK)
        violation(c, "%s, although nothing is wrong: %.200s", name, dim_last_error());
    check_message(c, status);
    if (c->trace)
        say("    %s%s%.200s", name, status == DIM_OK ? "" : ": ", status == DIM_OK ? "" : dim_last_error());
    __atomic_add_fetch(&counts->outcomes[current_call][index], 1, __ATOMIC_RELAXED);
    return status == DIM_OK;
}

void finish_plain(context *c, bool holds, const char *what) {
    if (!holds)
        violation(c, "not so: %s", what);
    if (strncmp(dim_last_error(), c->error, sizeof c->error - 1) != 0)
        violation(c, "it changed the last error to \"%.100s\"", dim_last_error());
    __atomic_add_fetch(&counts->outcomes[current_call][0], 1, __ATOMIC_RELAXED);
}

void paint(void *block, size_t bytes) { memset(block, 0xA5, bytes); }

/* Of a large block some places: the ends, where a write would begin or run over, and the middle. */
void check_untouched(context *c, const void *block, size_t bytes) {
    const unsigned char *p = block;
    size_t window = bytes < 768 ? bytes : 256;
    for (int part = 0; part < (bytes < 768 ? 1 : 3); part++) {
        const unsigned char *start = part == 0 ? p : part == 1 ? p + bytes / 2 - window / 2 : p + bytes - window;
        for (size_t i = 0; i < window; i++) {
            if (start[i] != 0xA5) {
                violation(c, "failed, but wrote byte %zu of %zu of an output", (size_t)(start + i - p), bytes);
                return;
            }
        }
    }
}
