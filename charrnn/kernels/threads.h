/* A team of threads for one calculation, and the barrier at which they meet, up to thousands of times a second.
 *
 * Whoever waits spins for a moment and then sleeps, so that more threads than cores do not stand in each other's way.
 * A team lives for one call: nothing spins or sleeps between calls, and a fork finds no threads. It starts, meets and
 * ends without Python's lock, so that it waits for no other Python thread, and no signal handler runs halfway. */
#ifndef CHARRNN_THREADS_H
#define CHARRNN_THREADS_H

#include <stdlib.h>

#if defined(_WIN32)
/* No more of it than is needed: without these, `small`, `min` and other words are macros. */
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#include <process.h>
#else
#include <pthread.h>
#include <signal.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

/* Numbers that threads share. All operations are in one order that all threads see. */

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static inline int atomic_get(const int *p)
{
#if defined(_M_ARM64)
    int value = __iso_volatile_load32((const volatile __int32 *)p);
    __dmb(_ARM64_BARRIER_ISH);
#else
    int value = *(const volatile int *)p;
    _ReadWriteBarrier();
#endif
    return value;
}
#define atomic_add(p, n) (_InterlockedExchangeAdd((volatile long *)(p), (n)) + (n))
#define atomic_set(p, n) ((void)_InterlockedExchange((volatile long *)(p), (n)))
#if defined(_M_ARM64)
#define cpu_relax() __isb(_ARM64_BARRIER_SY)
#else
#define cpu_relax() _mm_pause()
#endif
#else
#define atomic_get(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define atomic_add(p, n) __atomic_add_fetch((p), (n), __ATOMIC_SEQ_CST)
#define atomic_set(p, n) __atomic_store_n((p), (n), __ATOMIC_SEQ_CST)
#if defined(__x86_64__) || defined(__i386__)
#define cpu_relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
/* About as long as x86's pause; yield is over at once on cores with one thread each. */
#define cpu_relax() __asm__ volatile("isb" ::: "memory")
#else
#define cpu_relax() __asm__ volatile("" ::: "memory")
#endif
#endif

/* A number, and threads that sleep until it changes. */

typedef struct {
    int value;
    int sleepers;
#if defined(_WIN32)
    SRWLOCK lock;
    CONDITION_VARIABLE changed;
#elif !defined(__linux__)
    pthread_mutex_t lock;
    pthread_cond_t changed;
#endif
} awaited;

#if defined(_WIN32)
#define lock_awaited(number) AcquireSRWLockExclusive(&(number)->lock)
#define unlock_awaited(number) ReleaseSRWLockExclusive(&(number)->lock)
#define sleep_unlocked(number) ((void)SleepConditionVariableSRW(&(number)->changed, &(number)->lock, INFINITE, 0))
#define wake_all(number) WakeAllConditionVariable(&(number)->changed)
#elif !defined(__linux__)
#define lock_awaited(number) ((void)pthread_mutex_lock(&(number)->lock))
#define unlock_awaited(number) ((void)pthread_mutex_unlock(&(number)->lock))
#define sleep_unlocked(number) ((void)pthread_cond_wait(&(number)->changed, &(number)->lock))
#define wake_all(number) ((void)pthread_cond_broadcast(&(number)->changed))
#endif

static inline void awaited_init(awaited *number)
{
    number->value = number->sleepers = 0;
#if defined(_WIN32)
    InitializeSRWLock(&number->lock);
    InitializeConditionVariable(&number->changed);
#elif !defined(__linux__)
    pthread_mutex_init(&number->lock, NULL);
    pthread_cond_init(&number->changed, NULL);
#endif
}

static inline void awaited_destroy(awaited *number)
{
#if !defined(_WIN32) && !defined(__linux__)
    pthread_mutex_destroy(&number->lock);
    pthread_cond_destroy(&number->changed);
#else
    (void)number;
#endif
}

static inline void awaited_set(awaited *number, int value)
{
    atomic_set(&number->value, value);
    /* Whoever counted itself before that is woken; whoever does so afterwards finds the new value. */
    if (atomic_get(&number->sleepers) == 0)
        return;
#if defined(__linux__)
    syscall(SYS_futex, &number->value, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
#else
    lock_awaited(number);
    wake_all(number);
    unlock_awaited(number);
#endif
}

static inline void sleep_while(awaited *number, int value)
{
    atomic_add(&number->sleepers, 1);
#if defined(__linux__)
    while (atomic_get(&number->value) == value)
        syscall(SYS_futex, &number->value, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
#else
    lock_awaited(number);
    while (atomic_get(&number->value) == value)
        sleep_unlocked(number);
    unlock_awaited(number);
#endif
    atomic_add(&number->sleepers, -1);
}

/* The barrier. Where threads have a core each, they arrive within microseconds, and to fall asleep would take longer.
 * Where one has slept after all, there are perhaps fewer cores than threads: the next ones sleep almost at once, and
 * try in every so many waits whether spinning has become worth while again. */

enum { MANY_SPINS = 4000, FEW_SPINS = 50, WAITS_TO_TRY_AGAIN = 16 };

typedef struct {
    int size;
    int arrived;
    int patient;                /* whether threads spin long */
    awaited generation;
} thread_barrier;

static inline void barrier_wait(thread_barrier *barrier)
{
    int generation, spins, i;
    if (barrier->size == 1)
        return;
    generation = atomic_get(&barrier->generation.value);
    if (atomic_add(&barrier->arrived, 1) == barrier->size) {
        atomic_set(&barrier->arrived, 0);
        awaited_set(&barrier->generation, (int)((unsigned)generation + 1));
        return;
    }
    spins = atomic_get(&barrier->patient) || generation % WAITS_TO_TRY_AGAIN == 0 ? MANY_SPINS : FEW_SPINS;
    for (i = 0; i < spins; i++) {
        if (atomic_get(&barrier->generation.value) != generation) {
            if (i > FEW_SPINS && !atomic_get(&barrier->patient))
                atomic_set(&barrier->patient, 1);
            return;
        }
        cpu_relax();
    }
    if (atomic_get(&barrier->patient))
        atomic_set(&barrier->patient, 0);
    sleep_while(&barrier->generation, generation);
}

/* A clock that never goes back; its zero means nothing. */
static inline double seconds_now(void)
{
#if defined(_WIN32)
    return GetTickCount64() * 1e-3;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
#endif
}

/* The team. */

typedef void (*thread_share)(void *work, int rank, int threads);

typedef struct {
    thread_share share;
    void *work;
    awaited threads;            /* 0 until all are started */
} thread_team;

typedef struct {
    thread_team *team;
    int rank;
#if defined(_WIN32)
    HANDLE thread;
#else
    pthread_t thread;
#endif
} team_helper;

#if defined(_WIN32)
static unsigned __stdcall helper_main(void *argument)
#else
static void *helper_main(void *argument)
#endif
{
    team_helper *helper = (team_helper *)argument;
    thread_team *team = helper->team;
    sleep_while(&team->threads, 0);
    team->share(team->work, helper->rank, atomic_get(&team->threads.value));
    return 0;
}

/* A share calls functions that keep a few tiles on the stack: some systems give a thread 128 KiB. */
enum { HELPER_STACK = 1 << 20 };

/* Starts as many of these helpers as the system allows; how many. */
static inline int start_helpers(team_helper *helpers, int count)
{
    int started = 0;
#if defined(_WIN32)
    for (; started < count; started++) {
        helpers[started].thread = (HANDLE)_beginthreadex(NULL, HELPER_STACK, helper_main, &helpers[started], 0, NULL);
        if (helpers[started].thread == 0)
            break;
    }
#else
    /* Signals are for the threads that run Python, but for those that say that this thread has failed. */
    sigset_t blocked, before;
    pthread_attr_t attributes;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    if (pthread_attr_init(&attributes) != 0)
        return 0;
    pthread_attr_setstacksize(&attributes, HELPER_STACK);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    while (started < count
           && pthread_create(&helpers[started].thread, &attributes, helper_main, &helpers[started]) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
#endif
    return started;
}

static inline void join_helper(team_helper *helper)
{
#if defined(_WIN32)
    WaitForSingleObject(helper->thread, INFINITE);
    CloseHandle(helper->thread);
#else
    pthread_join(helper->thread, NULL);
#endif
}

/* Calls share(work, rank, threads) in each thread of a team, of which the calling thread is the first, and returns when
 * all are done. The team has fewer threads than asked for where the system gives no more; the barrier is theirs. */
static inline void run_team(int threads, thread_share share, void *work, thread_barrier *barrier)
{
    thread_team team;
    team_helper *helpers = threads > 1 ? (team_helper *)malloc((threads - 1) * sizeof(team_helper)) : NULL;
    int started = 0, i;
    team.share = share;
    team.work = work;
    awaited_init(&team.threads);
    if (helpers != NULL) {
        for (i = 0; i < threads - 1; i++) {
            helpers[i].team = &team;
            helpers[i].rank = i + 1;
        }
        started = start_helpers(helpers, threads - 1);
    }
    barrier->size = 1 + started;
    barrier->arrived = 0;
    barrier->patient = 1;
    awaited_init(&barrier->generation);
    awaited_set(&team.threads, 1 + started);
    share(work, 0, 1 + started);
    for (i = 0; i < started; i++)
        join_helper(&helpers[i]);
    free(helpers);
    awaited_destroy(&team.threads);
    awaited_destroy(&barrier->generation);
}

#endif
