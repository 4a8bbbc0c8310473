"""What this CPU has and can do at most, whatever the kernels were compiled for. See cpu.h."""
import time

cdef extern from "cpu.h" nogil:
    ctypedef struct cpu_features:
        unsigned leaf_1_ecx
        unsigned leaf_7_ebx
        unsigned extended_1_ecx
        unsigned saved
    enum:
        NUM_SUMS
    int cpu_level()
    int level_of(cpu_features cpu)
    int vector_bytes()
    double multiply_adds(int bytes, int is_double, long n)


def x86_64_level():
    """1 to 4, the psABI's level of this CPU; 0 where it is no x86-64."""
    return cpu_level()


def level_by_features(unsigned leaf_1_ecx, unsigned leaf_7_ebx, unsigned extended_1_ecx, unsigned saved):
    """1 to 4, the level of an x86-64 CPU with these words of the instructions cpuid and xgetbv."""
    return level_of(cpu_features(leaf_1_ecx, leaf_7_ebx, extended_1_ecx, saved))


def fma_peak(double seconds, bint is_double):
    """Floating-point operations a second of one core: multiply-adds of independent vectors, the best of many runs.

    No kernel can do more. Each number multiplied and added counts as two operations.
    """
    cdef int bytes = vector_bytes(), number = 8 if is_double else 4
    cdef long n = 100_000
    cdef double best = 0, total
    cdef double operations = 2.0 * n * NUM_SUMS * bytes / number
    end = time.perf_counter() + seconds
    while best == 0 or time.perf_counter() < end:
        start = time.perf_counter()
        with nogil:
            total = multiply_adds(bytes, is_double, n)
        best = max(best, operations / (time.perf_counter() - start))
        # Each sum goes to 0.5; that all of them are asked for keeps all of the loop alive.
        assert abs(total - 0.5 * NUM_SUMS) < 1e-3
    return best
