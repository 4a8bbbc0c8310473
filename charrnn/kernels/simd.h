/* The number type of a build and its vector.
 *
 * `real` is float, or double where CHARRNN_FLOAT64 is defined. A `vreal` holds LANES of them and is as wide as
 * the instruction set that the file is compiled for; operators work on it as on a real, so that the kernels
 * need no intrinsics. A compiler without vector types (or -DCHARRNN_SCALAR) gets LANES = 1 and the same kernels. */
#ifndef CHARRNN_SIMD_H
#define CHARRNN_SIMD_H

#include <math.h>
#include <stdint.h>

#ifdef CHARRNN_FLOAT64
typedef double real;
typedef uint64_t real_bits;
#define REAL_IS_DOUBLE 1
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define ROUNDER 6755399441055744.0 /* 1.5 * 2^52: added to x, it leaves x rounded to an integer in the low bits */
#define real_sqrt sqrt
#else
typedef float real;
typedef uint32_t real_bits;
#define REAL_IS_DOUBLE 0
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define ROUNDER 12582912.0f /* 1.5 * 2^23 */
#define real_sqrt sqrtf
#endif

#if (defined(__GNUC__) || defined(__clang__)) && !defined(CHARRNN_SCALAR)

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES (VECTOR_BYTES / (REAL_IS_DOUBLE ? 8 : 4))

typedef real vreal __attribute__((vector_size(VECTOR_BYTES)));
typedef real_bits vbits __attribute__((vector_size(VECTOR_BYTES)));
typedef real vreal_in_memory __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define vload(p) ((vreal)(*(const vreal_in_memory *)(p)))
#define vstore(p, x) ((void)(*(vreal_in_memory *)(p) = (x)))
#define vsplat(x) ((real)(x) - (vreal){0}) /* x - 0 is x, for -0 too, and compiles to a broadcast */
#define vlane(x, i) ((x)[i])
#define prefetch(p) __builtin_prefetch(p)

static inline vreal vselect(vbits mask, vreal yes, vreal no)
{
    return (vreal)(((vbits)yes & mask) | ((vbits)no & ~mask));
}
#define VSELECT(condition, yes, no) vselect((vbits)(condition), yes, no)

#else

#if defined(_MSC_VER)
#pragma message("charrnn: this compiler has no vector types, and the kernels will be very slow; clang-cl has them")
#endif

/* GCC makes vectors of the products in some tiles, adds them up one by one, and fuses product and sum in others: the
 * bits would depend on the tile that an element falls into, and so on the number of threads. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#endif

#define LANES 1
typedef real vreal;
typedef real_bits vbits;
#define vload(p) (*(const real *)(p))
#define vstore(p, x) ((void)(*(real *)(p) = (x)))
#define vsplat(x) ((real)(x))
#define vlane(x, i) (x)
#define prefetch(p) ((void)(p))
#define VSELECT(condition, yes, no) ((condition) ? (yes) : (no))

#endif

/* Where x is NaN, x. This is an instruction of x86, which compilers do not make of a selection. */
#if defined(__SSE2__) && LANES > 1
#include <immintrin.h>
#if defined(__AVX512F__)
#define INTRINSIC(name, type) _mm512_##name##_##type
#elif defined(__AVX__)
#define INTRINSIC(name, type) _mm256_##name##_##type
#else
#define INTRINSIC(name, type) _mm_##name##_##type
#endif
#if REAL_IS_DOUBLE
static inline vreal vmin(vreal x, vreal bound) { return INTRINSIC(min, pd)(bound, x); }
static inline vreal vmax(vreal x, vreal bound) { return INTRINSIC(max, pd)(bound, x); }
#else
static inline vreal vmin(vreal x, vreal bound) { return INTRINSIC(min, ps)(bound, x); }
static inline vreal vmax(vreal x, vreal bound) { return INTRINSIC(max, ps)(bound, x); }
#endif
#else
static inline vreal vmin(vreal x, vreal bound) { return VSELECT(x > bound, bound, x); }
static inline vreal vmax(vreal x, vreal bound) { return VSELECT(x < bound, bound, x); }
#endif

/* How often a number of A is written side by side for a tile: SSE cannot load it into all lanes. */
#if defined(__SSE2__) && !defined(__AVX__) && LANES > 1
#define COPIES LANES
/* x in a register: compilers would load it as often as they multiply by it. */
static inline vreal held(vreal x)
{
    __asm__("" : "+x"(x));
    return x;
}
#else
#define COPIES 1
#define held(x) (x)
#endif

/* 2^n, where shifted = n + ROUNDER and 2^n is a normal number. */
static inline vreal vpow2(vreal shifted)
{
    union { vreal x; vbits bits; } u;
    u.x = shifted;
    u.bits = (u.bits << MANTISSA_BITS) + ((real_bits)EXPONENT_BIAS << MANTISSA_BITS);
    return u.x;
}

/* rows[i][j] := rows[j][i] of a square of vectors. In stage s the lanes whose number has bit s change places with
 * those of the row s further on whose number has it not: log2(LANES) stages of LANES shuffles. */
#if defined(__has_builtin) && LANES > 1
#if __has_builtin(__builtin_shufflevector)
#define HAS_TRANSPOSE 1
#endif
#endif
#if HAS_TRANSPOSE
#define UPPER(lane, s) ((lane) & (s) ? LANES + (lane) - (s) : (lane))
#define LOWER(lane, s) ((lane) & (s) ? LANES + (lane) : (lane) + (s))
#define LANES_2(F, l, s) F(l, s), F(l + 1, s)
#define LANES_4(F, l, s) LANES_2(F, l, s), LANES_2(F, l + 2, s)
#define LANES_8(F, l, s) LANES_4(F, l, s), LANES_4(F, l + 4, s)
#define LANES_16(F, l, s) LANES_8(F, l, s), LANES_8(F, l + 8, s)
#if VECTOR_BYTES == 64 && !REAL_IS_DOUBLE
#define ALL_LANES LANES_16
#elif VECTOR_BYTES == 64 || (VECTOR_BYTES == 32 && !REAL_IS_DOUBLE)
#define ALL_LANES LANES_8
#elif VECTOR_BYTES == 32 || !REAL_IS_DOUBLE
#define ALL_LANES LANES_4
#else
#define ALL_LANES LANES_2
#endif
#define TRANSPOSE_STAGE(s)                                                          \
    for (int i = 0; i < LANES; i++)                                                 \
        if (!(i & (s)) && (s) < LANES) {                                            \
            vreal a = rows[i], b = rows[(i + (s)) % LANES];                         \
            rows[i] = __builtin_shufflevector(a, b, ALL_LANES(UPPER, 0, (s) % LANES));    \
            rows[(i + (s)) % LANES] = __builtin_shufflevector(a, b, ALL_LANES(LOWER, 0, (s) % LANES)); \
        }
static inline void vtranspose(vreal *rows)
{
    TRANSPOSE_STAGE(1)
    TRANSPOSE_STAGE(2)
    TRANSPOSE_STAGE(4)
    TRANSPOSE_STAGE(8)
}

/* The sum of the lanes, by halves. */
#define ROTATED(lane, s) (((lane) + (s)) % LANES)
#define SUM_STAGE(s) \
    if ((s) < LANES) \
        x += __builtin_shufflevector(x, x, ALL_LANES(ROTATED, 0, s));
static inline real vsum(vreal x)
{
    SUM_STAGE(8)
    SUM_STAGE(4)
    SUM_STAGE(2)
    SUM_STAGE(1)
    return x[0];
}
#else
#define HAS_TRANSPOSE 0
static inline void vtranspose(vreal *rows) { (void)rows; }
static inline real vsum(vreal x)
{
    real total = 0;
    for (int i = 0; i < LANES; i++)
        total += vlane(x, i);
    return total;
}
#endif

/* The result type, always 0, of a function that has to be inlined for its loops to unroll. */
#if defined(__GNUC__) || defined(__clang__)
#define inlined_int __attribute__((always_inline)) int
#else
#define inlined_int int
#endif

/* Rows of the register tile, two vectors wide: its sums, a row of B and a number of A must fit the 32 registers
 * of AVX-512 and NEON, or the 16 of AVX2 and SSE. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define TILE_ROWS 8
#else
#define TILE_ROWS 6
#endif

#endif
