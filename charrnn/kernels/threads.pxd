"""What the threads of one calculation share: their team, a barrier, an interrupt flag, and a clock."""

cdef extern from "threads.h" nogil:
    ctypedef struct thread_barrier:
        pass
    ctypedef void (*thread_share)(void *work, int rank, int threads) noexcept nogil
    void barrier_wait(thread_barrier *barrier)
    void run_team(int threads, thread_share share, void *work, thread_barrier *barrier)
    void atomic_set(int *number, int value)
    double seconds_now()
