"""What the threads of one training step share: a barrier, and a number that one sets and all read. See threads.h."""

cdef extern from "threads.h" nogil:
    ctypedef struct thread_barrier:
        long size
        long arrived
        long generation
    void barrier_wait(thread_barrier *barrier)
    void atomic_set(long *number, long value)
