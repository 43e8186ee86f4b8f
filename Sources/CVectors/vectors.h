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

#ifdef __AVX512BF16__
/* Words of two bfloat16, the first one below; they are kept in vectors of floats, whose bits they are. */
typedef __bf16 dim_halves16 __attribute__((ext_vector_type(16)));
typedef __bf16 dim_halves32 __attribute__((ext_vector_type(32)));
typedef __bf16 dim_stored_halves16 __attribute__((ext_vector_type(16), aligned(4), may_alias));

/* c + the product of the second halves, then + that of the first ones. */
DIM_INLINE dim_float16 dim_add_pairs16(dim_float16 a, dim_float16 b, dim_float16 c) {
    typedef float v16 __attribute__((__vector_size__(64)));
    typedef __bf16 v32 __attribute__((__vector_size__(64)));
    return (dim_float16)__builtin_ia32_dpbf16ps_512((v16)c, (v32)a, (v32)b);
}

/* Rounded to nearest even. */
DIM_INLINE void dim_store_rounded16(dim_float16 v, float *_Nonnull p) {
    *(dim_stored_halves16 *)p = __builtin_convertvector(v, dim_halves16);
}
DIM_INLINE dim_float16 dim_round_pair16(dim_float16 first, dim_float16 second) {
    dim_halves16 a = __builtin_convertvector(first, dim_halves16), b = __builtin_convertvector(second, dim_halves16);
    return (dim_float16)__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25,
                                                10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#endif

#endif
