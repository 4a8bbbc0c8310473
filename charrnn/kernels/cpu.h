/* What the CPU that this runs on has, and what it can do at most, whatever the kernels were compiled for.
 *
 * This file is compiled for the oldest CPU of its kind. It uses more only in functions that are marked for it and are
 * called where the CPU has it. */
#ifndef CHARRNN_CPU_H
#define CHARRNN_CPU_H

#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define TARGET(features)
#else
#define TARGET(features) __attribute__((target(features)))
#endif

#if defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC))
#define IS_X86_64 1
#else
#define IS_X86_64 0
#endif

/* What decides on the level of an x86-64 CPU: words of the instruction cpuid, and which registers the system saves. */
typedef struct {
    unsigned leaf_1_ecx, leaf_7_ebx, extended_1_ecx;
    unsigned saved;
} cpu_features;

#define BIT(n) (1u << (n))
#define HAS(word, bits) (((word) & (bits)) == (bits))

/* The psABI's level, 1 to 4. A level is there only with each of its features: compilers use them all, and a hypervisor
 * may mask any. */
static int level_of(cpu_features cpu)
{
    /* sse3 ssse3 cmpxchg16b sse4.1 sse4.2 popcnt; lahf */
    unsigned v2 = BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23), v2_extended = BIT(0);
    /* fma movbe osxsave avx f16c; bmi1 avx2 bmi2; lzcnt */
    unsigned v3 = BIT(12) | BIT(22) | BIT(27) | BIT(28) | BIT(29), v3_leaf_7 = BIT(3) | BIT(5) | BIT(8);
    unsigned v3_extended = BIT(5);
    /* avx512 f, dq, cd, bw, vl */
    unsigned v4_leaf_7 = BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31);
    unsigned ymm = BIT(1) | BIT(2), zmm = BIT(5) | BIT(6) | BIT(7);
    if (!HAS(cpu.leaf_1_ecx, v2) || !HAS(cpu.extended_1_ecx, v2_extended))
        return 1;
    if (!HAS(cpu.leaf_1_ecx, v3) || !HAS(cpu.leaf_7_ebx, v3_leaf_7) || !HAS(cpu.extended_1_ecx, v3_extended)
        || !HAS(cpu.saved, ymm))
        return 2;
    return HAS(cpu.leaf_7_ebx, v4_leaf_7) && HAS(cpu.saved, zmm) ? 4 : 3;
}

#if IS_X86_64
static void ask_cpu(unsigned leaf, unsigned words[4])
{
#if defined(_MSC_VER) && !defined(__clang__)
    __cpuidex((int *)words, (int)leaf, 0);
#else
    __asm__ volatile("cpuid" : "=a"(words[0]), "=b"(words[1]), "=c"(words[2]), "=d"(words[3]) : "a"(leaf), "c"(0));
#endif
}

static unsigned saved_registers(void)
{
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned saved = (unsigned)_xgetbv(0);
#else
    unsigned saved, high;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
#endif
#if defined(__APPLE__)
    saved |= BIT(5) | BIT(6) | BIT(7); /* macOS begins to save them with their first use */
#endif
    return saved;
}

static cpu_features features_of_cpu(void)
{
    cpu_features cpu = {0, 0, 0, 0};
    unsigned words[4], leaves, extended_leaves;
    ask_cpu(0, words);
    leaves = words[0];
    ask_cpu(0x80000000u, words);
    extended_leaves = words[0];
    ask_cpu(1, words);
    cpu.leaf_1_ecx = words[2];
    if (leaves >= 7) {
        ask_cpu(7, words);
        cpu.leaf_7_ebx = words[1];
    }
    if (extended_leaves >= 0x80000001u) {
        ask_cpu(0x80000001u, words);
        cpu.extended_1_ecx = words[2];
    }
    if (HAS(cpu.leaf_1_ecx, BIT(27)))
        cpu.saved = saved_registers();
    return cpu;
}

static int cpu_level(void) { return level_of(features_of_cpu()); }
#else
static int cpu_level(void) { return 0; }
#endif

/* Independent sums hide the latency of a multiply-add: 4 cycles, two a cycle on x86-64 and up to four on arm64. They
 * are variables, for not every compiler keeps an array in registers. */
#define TWELVE(DO, f) \
    DO(f, 0) DO(f, 1) DO(f, 2) DO(f, 3) DO(f, 4) DO(f, 5) DO(f, 6) DO(f, 7) DO(f, 8) DO(f, 9) DO(f, 10) DO(f, 11)
#define TWENTY_FOUR(DO, f)                                                                                    \
    TWELVE(DO, f) DO(f, 12) DO(f, 13) DO(f, 14) DO(f, 15) DO(f, 16) DO(f, 17) DO(f, 18) DO(f, 19) DO(f, 20)   \
    DO(f, 21) DO(f, 22) DO(f, 23)
#define BEGIN(splat, i) sum_##i = splat(i);
#define STEP(fma, i) sum_##i = fma(sum_##i, x, y);
#define ADD_UP(_, i) memcpy(lanes, &sum_##i, sizeof(lanes)), total += lanes[0];
#define NAME(_, i) , sum_##i

/* n times sum := x sum + y with each of the sums, which go to 0.5; their total. */
#define MULTIPLY_ADDS(name, attributes, vector, number, sums, splat, fma)      \
    attributes static double name(long n)                                      \
    {                                                                          \
        vector x = splat(0.5f), y = splat(0.25f) sums(NAME, _);                \
        number lanes[sizeof(vector) / sizeof(number)];                         \
        double total = 0;                                                      \
        sums(BEGIN, splat)                                                     \
        while (n-- > 0) {                                                      \
            sums(STEP, fma)                                                    \
        }                                                                      \
        sums(ADD_UP, _)                                                        \
        return total;                                                          \
    }

/* Vectors of so many bytes: of GCC and clang, whose operators need no intrinsics (in clang-cl those of a level are there
 * only for files that are compiled for it), else Microsoft's. */
#if defined(__GNUC__) || defined(__clang__)
#define VECTORS(bytes)                                                     \
    typedef float floats_##bytes __attribute__((vector_size(bytes)));      \
    typedef double doubles_##bytes __attribute__((vector_size(bytes)));
VECTORS(16)
VECTORS(32)
VECTORS(64)
#define FMA(a, x, y) ((a) * (x) + (y))
#define FLOATS_16(x) ((float)(x) - (floats_16){0})
#define FLOATS_32(x) ((float)(x) - (floats_32){0})
#define FLOATS_64(x) ((float)(x) - (floats_64){0})
#define DOUBLES_16(x) ((double)(x) - (doubles_16){0})
#define DOUBLES_32(x) ((double)(x) - (doubles_32){0})
#define DOUBLES_64(x) ((double)(x) - (doubles_64){0})
#define FMA_FLOATS_16 FMA
#define FMA_FLOATS_32 FMA
#define FMA_FLOATS_64 FMA
#define FMA_DOUBLES_16 FMA
#define FMA_DOUBLES_32 FMA
#define FMA_DOUBLES_64 FMA
#elif IS_X86_64
#include <immintrin.h>
typedef __m128 floats_16;
typedef __m256 floats_32;
typedef __m512 floats_64;
typedef __m128d doubles_16;
typedef __m256d doubles_32;
typedef __m512d doubles_64;
#define FLOATS_16 _mm_set1_ps
#define FLOATS_32 _mm256_set1_ps
#define FLOATS_64 _mm512_set1_ps
#define DOUBLES_16 _mm_set1_pd
#define DOUBLES_32 _mm256_set1_pd
#define DOUBLES_64 _mm512_set1_pd
#define FMA_FLOATS_16(a, x, y) _mm_add_ps(_mm_mul_ps(a, x), y)
#define FMA_FLOATS_32 _mm256_fmadd_ps
#define FMA_FLOATS_64 _mm512_fmadd_ps
#define FMA_DOUBLES_16(a, x, y) _mm_add_pd(_mm_mul_pd(a, x), y)
#define FMA_DOUBLES_32 _mm256_fmadd_pd
#define FMA_DOUBLES_64 _mm512_fmadd_pd
#else
#include <arm_neon.h>
typedef float32x4_t floats_16;
typedef float64x2_t doubles_16;
#define FLOATS_16 vdupq_n_f32
#define DOUBLES_16 vdupq_n_f64
#define FMA_FLOATS_16(a, x, y) vfmaq_f32(y, a, x)
#define FMA_DOUBLES_16(a, x, y) vfmaq_f64(y, a, x)
#endif

#if defined(__aarch64__) || defined(_M_ARM64)
#define SUMS TWENTY_FOUR
#define NUM_SUMS 24
#else
#define SUMS TWELVE
#define NUM_SUMS 12
#endif

/* multiply_adds works on NUM_SUMS of the CPU's widest vectors, which have vector_bytes(). */
MULTIPLY_ADDS(peak_floats_16, , floats_16, float, SUMS, FLOATS_16, FMA_FLOATS_16)
MULTIPLY_ADDS(peak_doubles_16, , doubles_16, double, SUMS, DOUBLES_16, FMA_DOUBLES_16)
#if IS_X86_64
MULTIPLY_ADDS(peak_floats_32, TARGET("avx2,fma"), floats_32, float, SUMS, FLOATS_32, FMA_FLOATS_32)
MULTIPLY_ADDS(peak_doubles_32, TARGET("avx2,fma"), doubles_32, double, SUMS, DOUBLES_32, FMA_DOUBLES_32)
MULTIPLY_ADDS(peak_floats_64, TARGET("avx512f"), floats_64, float, SUMS, FLOATS_64, FMA_FLOATS_64)
MULTIPLY_ADDS(peak_doubles_64, TARGET("avx512f"), doubles_64, double, SUMS, DOUBLES_64, FMA_DOUBLES_64)
#endif

static int vector_bytes(void) { return cpu_level() == 4 ? 64 : cpu_level() == 3 ? 32 : 16; }

static double multiply_adds(int bytes, int is_double, long n)
{
#if IS_X86_64
    if (bytes == 64)
        return is_double ? peak_doubles_64(n) : peak_floats_64(n);
    if (bytes == 32)
        return is_double ? peak_doubles_32(n) : peak_floats_32(n);
#endif
    return is_double ? peak_doubles_16(n) : peak_floats_16(n);
}

#endif
