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
#include <immintrin.h>
#define IS_X86_64 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#define IS_X86_64 0
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
#define MULTIPLY_ADDS(name, attributes, vector, number, SUMS, splat, fma)      \
    attributes static double name(long n)                                      \
    {                                                                          \
        vector x = splat((number)0.5), y = splat((number)0.25) SUMS(NAME, _);  \
        number lanes[sizeof(vector) / sizeof(number)];                         \
        double total = 0;                                                      \
        SUMS(BEGIN, splat)                                                     \
        while (n-- > 0) {                                                      \
            SUMS(STEP, fma)                                                    \
        }                                                                      \
        SUMS(ADD_UP, _)                                                        \
        return total;                                                          \
    }

/* multiply_adds works on NUM_SUMS of the CPU's widest vectors, which have vector_bytes(); 0 stands for single numbers. */
#if IS_X86_64
#define SSE_FMA_PS(a, x, y) _mm_add_ps(_mm_mul_ps(a, x), y)
#define SSE_FMA_PD(a, x, y) _mm_add_pd(_mm_mul_pd(a, x), y)
MULTIPLY_ADDS(peak_sse_float, , __m128, float, TWELVE, _mm_set1_ps, SSE_FMA_PS)
MULTIPLY_ADDS(peak_sse_double, , __m128d, double, TWELVE, _mm_set1_pd, SSE_FMA_PD)
MULTIPLY_ADDS(peak_avx2_float, TARGET("avx2,fma"), __m256, float, TWELVE, _mm256_set1_ps, _mm256_fmadd_ps)
MULTIPLY_ADDS(peak_avx2_double, TARGET("avx2,fma"), __m256d, double, TWELVE, _mm256_set1_pd, _mm256_fmadd_pd)
MULTIPLY_ADDS(peak_avx512_float, TARGET("avx512f"), __m512, float, TWELVE, _mm512_set1_ps, _mm512_fmadd_ps)
MULTIPLY_ADDS(peak_avx512_double, TARGET("avx512f"), __m512d, double, TWELVE, _mm512_set1_pd, _mm512_fmadd_pd)
#define NUM_SUMS 12
static int vector_bytes(void) { return cpu_level() == 4 ? 64 : cpu_level() == 3 ? 32 : 16; }
static double multiply_adds(int bytes, int is_double, long n)
{
    if (bytes == 64)
        return is_double ? peak_avx512_double(n) : peak_avx512_float(n);
    if (bytes == 32)
        return is_double ? peak_avx2_double(n) : peak_avx2_float(n);
    return is_double ? peak_sse_double(n) : peak_sse_float(n);
}
#elif defined(__aarch64__) || defined(_M_ARM64)
#define NEON_FMA_F32(a, x, y) vfmaq_f32(y, a, x)
#define NEON_FMA_F64(a, x, y) vfmaq_f64(y, a, x)
MULTIPLY_ADDS(peak_neon_float, , float32x4_t, float, TWENTY_FOUR, vdupq_n_f32, NEON_FMA_F32)
MULTIPLY_ADDS(peak_neon_double, , float64x2_t, double, TWENTY_FOUR, vdupq_n_f64, NEON_FMA_F64)
#define NUM_SUMS 24
static int vector_bytes(void) { return 16; }
static double multiply_adds(int bytes, int is_double, long n)
{
    (void)bytes;
    return is_double ? peak_neon_double(n) : peak_neon_float(n);
}
#else
#define IDENTITY(x) (x)
#define PLAIN_FMA(a, x, y) ((a) * (x) + (y))
#if defined(__GNUC__) || defined(__clang__)
typedef float four_floats __attribute__((vector_size(16)));
typedef double two_doubles __attribute__((vector_size(16)));
#define SPLAT_FLOATS(x) ((float)(x) - (four_floats){0})
#define SPLAT_DOUBLES(x) ((double)(x) - (two_doubles){0})
MULTIPLY_ADDS(peak_float, , four_floats, float, TWELVE, SPLAT_FLOATS, PLAIN_FMA)
MULTIPLY_ADDS(peak_double, , two_doubles, double, TWELVE, SPLAT_DOUBLES, PLAIN_FMA)
static int vector_bytes(void) { return 16; }
#else
MULTIPLY_ADDS(peak_float, , float, float, TWELVE, IDENTITY, PLAIN_FMA)
MULTIPLY_ADDS(peak_double, , double, double, TWELVE, IDENTITY, PLAIN_FMA)
static int vector_bytes(void) { return 0; }
#endif
#define NUM_SUMS 12
static double multiply_adds(int bytes, int is_double, long n)
{
    (void)bytes;
    return is_double ? peak_double(n) : peak_float(n);
}
#endif

#endif
