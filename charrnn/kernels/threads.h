/* A barrier for a few threads that meet many times a millisecond: it spins for a moment, then gives its core
 * away, so that more threads than cores do not stand in each other's way. */
#ifndef CHARRNN_THREADS_H
#define CHARRNN_THREADS_H

#if defined(_MSC_VER)
#include <intrin.h>
#include <windows.h>
#define atomic_get(p) _InterlockedOr((volatile long *)(p), 0)
#define atomic_add(p, n) (_InterlockedExchangeAdd((volatile long *)(p), (n)) + (n))
#define atomic_set(p, n) ((void)_InterlockedExchange((volatile long *)(p), (n)))
#define cpu_relax() YieldProcessor()
#define thread_yield() ((void)SwitchToThread())
#else
#include <sched.h>
#define atomic_get(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define atomic_add(p, n) __atomic_add_fetch((p), (n), __ATOMIC_ACQ_REL)
#define atomic_set(p, n) __atomic_store_n((p), (n), __ATOMIC_RELEASE)
#define thread_yield() ((void)sched_yield())
#if defined(__x86_64__)
#define cpu_relax() __builtin_ia32_pause()
#else
#define cpu_relax() ((void)0)
#endif
#endif

typedef struct {
    long size;
    long arrived;
    long generation;
} thread_barrier;

static inline void barrier_wait(thread_barrier *barrier)
{
    long generation, spins = 0;
    if (barrier->size == 1)
        return;
    generation = atomic_get(&barrier->generation);
    if (atomic_add(&barrier->arrived, 1) == barrier->size) {
        atomic_set(&barrier->arrived, 0);
        atomic_add(&barrier->generation, 1);
        return;
    }
    while (atomic_get(&barrier->generation) == generation) {
        if (++spins < 4000)
            cpu_relax();
        else
            thread_yield();
    }
}

#endif
