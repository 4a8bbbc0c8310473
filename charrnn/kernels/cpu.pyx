"""Which x86-64 level this CPU has; compiled for the baseline, so that it runs on every one of them."""

cdef extern from *:
    """
    #if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
    #define CPU_HAS(feature) (__builtin_cpu_supports(feature) != 0)
    static int cpu_level(void)
    {
        __builtin_cpu_init();
        if (!(CPU_HAS("ssse3") && CPU_HAS("sse4.2") && CPU_HAS("popcnt")))
            return 1;
        if (!(CPU_HAS("avx2") && CPU_HAS("fma") && CPU_HAS("bmi") && CPU_HAS("bmi2")))
            return 2;
        if (!(CPU_HAS("avx512f") && CPU_HAS("avx512bw") && CPU_HAS("avx512cd") && CPU_HAS("avx512dq")
              && CPU_HAS("avx512vl")))
            return 3;
        return 4;
    }
    #else
    static int cpu_level(void) { return 0; }
    #endif
    """
    int cpu_level() nogil


def x86_64_level():
    """1 to 4, the psABI's level of this CPU; 0 where it is no x86-64 or the compiler cannot tell."""
    return cpu_level()
