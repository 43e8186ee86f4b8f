#include "reserve.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What the linker's --wrap leads to: `malloc` in the library is __wrap_malloc, __real_malloc the system's. Weak, because
   links without these flags (the tests of single modules, builds with sanitizers) have none, and do not come here. C++'s
   operators are left alone: a program may replace them, for libstdc++ and this library alike. */
#define WEAK __attribute__((weak))
extern WEAK void *__real_malloc(size_t);
extern WEAK void *__real_calloc(size_t, size_t);
extern WEAK void *__real_realloc(void *, size_t);
extern WEAK void __real_free(void *);
extern WEAK int __real_posix_memalign(void **, size_t, size_t);
extern WEAK size_t __real_malloc_usable_size(void *);

/* ---- The reserve ------------------------------------------------------------------------------------- */

/* Blocks of three sizes. What is larger than the largest is asked for in a way that can fail. */
enum { SIZES = 3, SMALL = 256, MIDDLE = 4096, LARGE = 32768 };
enum { SMALL_BLOCKS = 2048, MIDDLE_BLOCKS = 128, LARGE_BLOCKS = 16 };

#define ALIGNED 64
static _Alignas(ALIGNED) unsigned char small[SMALL_BLOCKS][SMALL];
static _Alignas(ALIGNED) unsigned char middle[MIDDLE_BLOCKS][MIDDLE], large[LARGE_BLOCKS][LARGE];
static unsigned char small_used[SMALL_BLOCKS], middle_used[MIDDLE_BLOCKS], large_used[LARGE_BLOCKS];

static const struct shelf {
    unsigned char *blocks;
    size_t size, count;
    unsigned char *used;
} shelves[SIZES] = {
    {small[0], SMALL, SMALL_BLOCKS, small_used},
    {middle[0], MIDDLE, MIDDLE_BLOCKS, middle_used},
    {large[0], LARGE, LARGE_BLOCKS, large_used},
};

static void *take(size_t bytes) {
    for (int s = 0; s < SIZES; s++) {
        const struct shelf *shelf = &shelves[s];
        for (size_t i = 0; bytes <= shelf->size && i < shelf->count; i++)
            if (!__atomic_exchange_n(&shelf->used[i], 1, __ATOMIC_ACQUIRE))
                return shelf->blocks + i * shelf->size;
    }
    errno = ENOMEM;
    return NULL;
}

/* NULL where the block is not from here. */
static const struct shelf *shelf_of(const void *block) {
    for (int s = 0; s < SIZES; s++) {
        const struct shelf *shelf = &shelves[s];
        if ((uintptr_t)block - (uintptr_t)shelf->blocks < shelf->size * shelf->count)
            return shelf;
    }
    return NULL;
}

static bool give_back(const void *block) {
    const struct shelf *shelf = shelf_of(block);
    if (shelf == NULL)
        return false;
    __atomic_store_n(&shelf->used[((uintptr_t)block - (uintptr_t)shelf->blocks) / shelf->size], 0, __ATOMIC_RELEASE);
    return true;
}

/* ---- What the library's code calls ------------------------------------------------------------------- */

void *__wrap_malloc(size_t bytes) {
    void *block = __real_malloc(bytes);
    return block != NULL ? block : take(bytes);
}

void *__wrap_calloc(size_t count, size_t size) {
    void *block = __real_calloc(count, size);
    if (block != NULL || (size != 0 && count > LARGE / size))
        return block;
    block = take(count * size);
    return block != NULL ? memset(block, 0, count * size) : NULL;
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes) {
    int failure = __real_posix_memalign(out, alignment, bytes);
    void *block;
    if (failure != ENOMEM || alignment > ALIGNED || (block = take(bytes)) == NULL)
        return failure;
    *out = block;
    return 0;
}

void __wrap_free(void *block) {
    if (!give_back(block))
        __real_free(block);
}

size_t __wrap_malloc_usable_size(void *block) {
    const struct shelf *shelf = shelf_of(block);
    return shelf != NULL ? shelf->size : __real_malloc_usable_size(block);
}

void *__wrap_realloc(void *block, size_t bytes) {
    const struct shelf *shelf = shelf_of(block);
    if (shelf == NULL) {
        void *moved = __real_realloc(block, bytes);
        if (moved != NULL || bytes == 0 || (moved = take(bytes)) == NULL)
            return moved;
        size_t held = block != NULL ? __real_malloc_usable_size(block) : 0;
        memcpy(moved, block != NULL ? block : moved, held < bytes ? held : bytes);
        __real_free(block);
        return moved;
    }
    if (bytes <= shelf->size)
        return block;
    void *moved = __wrap_malloc(bytes);
    if (moved != NULL) {
        memcpy(moved, block, shelf->size);
        give_back(block);
    }
    return moved;
}
