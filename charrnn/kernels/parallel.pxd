# cython: cdivision=True
"""The part of a pass that one thread computes, and where threads wait for each other or look at signals.

Threads split the batch rows in `forward` and `backward`, the positions in `head`, and the output rows in the two
gradient functions: within each, the parts are independent. No sum is split between threads, so the bits of the result
do not depend on their number.

Where rows are too few to split, the threads split the columns of each step instead, and wait for each other after each:
a product needs all of h[t-1], or of dz[t], and makes some columns of the next.
"""
from charrnn.kernels.cells cimport gates_of
from charrnn.kernels.pack cimport TILE_VECTORS, panels_of
from charrnn.kernels.simd cimport LANES, real
from charrnn.kernels.threads cimport barrier_wait, seconds_now
from charrnn.kernels.work cimport Work, gate_rows_stride

cdef enum:
    # With fewer rows for each thread, threads split the columns of each step instead.
    MIN_ROWS_PER_THREAD = 4
    # They do so only if a step has this much work for each of them: some ten times what a barrier costs.
    MIN_FLOPS_PER_COLUMN_THREAD = 300_000
    # Between two looks at the clock, which take some 30 ns: a few dozen microseconds.
    FLOPS_PER_CLOCK = 2_000_000


# The part of steps t0 ... t1 that one thread computes: rows b0 ... b1, units first ... stop.
cdef struct Part:
    int rank
    Py_ssize_t t0
    Py_ssize_t t1
    Py_ssize_t b0
    Py_ssize_t b1
    Py_ssize_t first
    Py_ssize_t stop
    bint splits_columns
    const real **start          # (B)
    real *no_end                # (B, slots, H)


cdef inline int num_column_threads(Work *w, int threads) noexcept nogil:
    """How many of these threads split the columns of each step, a panel or more for each; 0 where they split rows."""
    cdef double operations = 2.0 * w.batch_size * gates_of(w.sizes.cell) * w.sizes.hidden_size * w.sizes.hidden_size
    cdef int column_threads = <int>min(<Py_ssize_t>threads, panels_of(w.sizes.hidden_size))
    if w.batch_size >= MIN_ROWS_PER_THREAD * threads:
        return 0
    if operations < MIN_FLOPS_PER_COLUMN_THREAD * column_threads:
        column_threads = <int>(operations / MIN_FLOPS_PER_COLUMN_THREAD)
        if column_threads <= w.batch_size:      # as many have a row
            return 0
    return column_threads if column_threads > 1 else 0


cdef inline Part part_of(Work *w, int rank, int threads, Py_ssize_t t0, Py_ssize_t t1) noexcept nogil:
    cdef Part part
    cdef Py_ssize_t B = w.batch_size, H = w.sizes.hidden_size, panel = TILE_VECTORS * LANES, panels = panels_of(H)
    cdef int column_threads = num_column_threads(w, threads)
    part.rank = rank
    part.t0 = t0
    part.t1 = t1
    part.splits_columns = column_threads > 0
    if part.splits_columns:     # the threads beyond the column_threads have no columns
        part.b0 = 0
        part.b1 = B
        part.first = min(H, panels * min(rank, column_threads) // column_threads * panel)
        part.stop = min(H, panels * min(rank + 1, column_threads) // column_threads * panel)
        part.start = w.start + rank * B
        part.no_end = w.no_end + rank * B * gate_rows_stride(w)
    else:
        part.b0 = B * rank // threads
        part.b1 = B * (rank + 1) // threads
        part.first = 0
        part.stop = H
        part.start = w.start
        part.no_end = w.no_end
    return part


cdef inline void sync_step(Work *w, Part *part) noexcept nogil:
    """After a step, threads that split its columns wait for one another."""
    if part.splits_columns:
        barrier_wait(&w.barrier)


cdef inline bint should_stop(Work *w, Part *part) noexcept nogil:
    """Whether to leave a pass halfway: not where the other threads would wait for this one."""
    return w.interrupted and not part.splits_columns


cdef inline void poll(Work *w, int rank, double operations) noexcept nogil:
    """Lets the first thread see Ctrl-C ten times a second, however large or small a step is."""
    cdef double now
    if rank != 0 or not w.sees_signals:
        return
    w.flops_since_clock += operations
    if w.flops_since_clock < FLOPS_PER_CLOCK:
        return
    w.flops_since_clock = 0
    now = seconds_now()
    if now - w.signals_seen_at > 0.1:
        w.signals_seen_at = now
        w.look_at_signals(w)
