"""What the threads of one calculation share: their team, a barrier, and a number that one sets and all read."""

cdef extern from "threads.h" nogil:
    ctypedef struct thread_barrier:
        pass
    ctypedef void (*thread_share)(void *work, int rank, int threads) noexcept nogil
    void barrier_wait(thread_barrier *barrier)
    void run_team(int threads, thread_share share, void *work, thread_barrier *barrier)
    void atomic_set(int *number, int value)
