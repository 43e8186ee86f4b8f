/* Vector loads and stores without an alignment, the maximum, the square root, scaling by a power of two, and prefetches, as
   one instruction each or few.

   Why not Swift's own: `loadUnaligned(as:)` is generic, and where the optimiser does not inline it, its specialisation is a
   weak symbol that the linker merges with another module's, built for another instruction set. A static function cannot be
   merged. The vector types are Swift's SIMD4, SIMD8 and SIMD16 of Float. */
#ifndef DIM_VECTORS_H
#define DIM_VECTORS_H

#define DIM_INLINE static inline __attribute__((always_inline))

#define DIM_VECTOR(n)                                                                                          \
    typedef float dim_float##n __attribute__((ext_vector_type(n)));                                            \
    typedef float dim_unaligned##n __attribute__((ext_vector_type(n), aligned(4), may_alias));                 \
    DIM_INLINE dim_float##n dim_load##n(const float *_Nonnull p) { return *(const dim_unaligned##n *)p; }      \
    DIM_INLINE void dim_store##n(dim_float##n v, float *_Nonnull p) { *(dim_unaligned##n *)p = v; }            \
    /* b where either is NaN, as MAXPS has it */                                                               \
    DIM_INLINE dim_float##n dim_max##n(dim_float##n a, dim_float##n b) { return a > b ? a : b; }               \
    /* Swift's own calls the C library's sqrtf for every lane. */                                              \
    DIM_INLINE dim_float##n dim_sqrt##n(dim_float##n v) { return __builtin_elementwise_sqrt(v); }              \
    typedef unsigned dim_bits##n __attribute__((ext_vector_type(n)));                                          \
    /* v * 2^k, whole k in [-126, 128], given as 1.5 * 2^23 + k: its last bits are k. NaN stays NaN. */        \
    DIM_INLINE dim_float##n dim_scale##n(dim_float##n v, dim_float##n k) {                                     \
        dim_bits##n exponent = (dim_bits##n)k - 0x4b400000u + 254u, half = exponent >> 1;                      \
        return v * (dim_float##n)(half << 23) * (dim_float##n)((exponent - half) << 23);                       \
    }                                                                                                          \
    typedef double dim_double##n __attribute__((ext_vector_type(n)));                                          \
    typedef double dim_doubles##n __attribute__((ext_vector_type(n), aligned(8), may_alias));                  \
    /* sums += the sum of n floats of each row, in double; rows lie `step` floats apart. */                    \
    DIM_INLINE void dim_add_rows##n(const float *_Nonnull p, long rows, long step, double *_Nonnull sums) {    \
        dim_double##n s = *(dim_doubles##n *)sums;                                                             \
        for (; rows > 0; rows--, p += step) s += __builtin_convertvector(dim_load##n(p), dim_double##n);       \
        *(dim_doubles##n *)sums = s;                                                                           \
    }

/* Fetches a cache line that will be read, or written: from a distance where the hardware cannot guess it. */
DIM_INLINE void dim_prefetch(const float *_Nonnull p) { __builtin_prefetch(p, 0, 2); }
DIM_INLINE void dim_prefetch_for_write(const float *_Nonnull p) { __builtin_prefetch(p, 1, 2); }

DIM_VECTOR(4)
DIM_VECTOR(8)
DIM_VECTOR(16)

#endif
