/*
 * harness.h - the little that the contract's tests need: checks that report and continue, and a count at the end.
 * Helpers return where they cannot fail in a sound library and end the program otherwise.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dim.h>

/* Counts failures of the test that runs. May be called from any thread. */
void harness_check(bool holds, const char *file, int line, const char *format, ...);
void harness_run(const char *name, void (*test)(void));
/* Prints "N passed, N failed"; the exit status. */
int harness_finish(void);

/* Failed checks of the test that runs, for a child process to tell its parent. */
int harness_failures(void);
/* This process has no more to do with the folder of scratch_path: for a child that calls exit. */
void harness_forget(void);

#define CHECK(condition) harness_check((condition), __FILE__, __LINE__, "%s", #condition)

/* The call must come to this status; a failing call must leave a message. */
#define CHECK_STATUS(expected, call) harness_status((expected), (call), #call, __FILE__, __LINE__)
void harness_status(dim_status expected, dim_status found, const char *call, const char *file, int line);

/* The last message must contain the text. */
#define CHECK_MESSAGE(text) harness_message((text), __FILE__, __LINE__)
void harness_message(const char *text, const char *file, int line);

#define RUN(test) harness_run(#test, test)

/* Ends the program unless the call succeeds: for the steps that lead to a test. */
#define MUST(call) harness_must((call), #call, __FILE__, __LINE__)
void harness_must(dim_status status, const char *call, const char *file, int line);

/* malloc that cannot fail. */
void *take(size_t bytes);

/* n floats of a fixed sequence in [0, 1), the same for the same seed. */
void fill(float *values, size_t count, unsigned seed);
float *new_images(size_t n, unsigned seed);

/* Whether two models hold the same entries, byte for byte; two without any are not the same. */
bool same_parameters(const dim_model *a, const dim_model *b);

/* Seconds of a clock that only goes forward. */
double now(void);

/* What one thread tells the others: continue until stopped() is true. */
void tell_to_stop(bool yes);
bool stopped(void);

/* A block of bytes that must not change: filled with a pattern, then looked at. */
void paint(void *block, size_t bytes);
bool painted(const void *block, size_t bytes);

/* A model of all networks, made once for all tests of the program and kept in evaluation mode. */
dim_model *shared_model(void);

/* A path in a folder of this program's own, which harness_finish removes. Valid until four more calls. */
const char *scratch_path(const char *name);

/* Handles that no call of this library has made and that are safe to pass anywhere. */
enum { FOREIGN_HANDLES = 8 };
void *foreign_handle(int index);

/* Counts that no call can take. */
enum { LARGE_COUNTS = 6 };
size_t large_count(int index);

#endif
