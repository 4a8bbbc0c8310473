# cython: cdivision=True
"""Backpropagation through time: dz[t] from the head and from dz[t+1], t = T-1 ... 0."""
from charrnn.kernels.cells cimport Step, cell_backward, gates_of, recurrent_slot
from charrnn.kernels.forward cimport alternating, product_of_steps, rows_without_end, step_of
from charrnn.kernels.pack cimport matrix, panels_from
from charrnn.kernels.parallel cimport Part, part_of, poll, should_stop, sync_step
from charrnn.kernels.product cimport multiply
from charrnn.kernels.rows cimport add_masked_row, apply_mask, zero_row
from charrnn.kernels.simd cimport real
from charrnn.kernels.work cimport (
    Work,
    backward_factor,
    carry_rows,
    dh_rows,
    dz_rows,
    gate_rows_stride,
    is_end,
    mask_rows,
    recurrent_mask_rows,
)


cdef inline void backward(Work *w, int rank, int threads, Py_ssize_t t0, Py_ssize_t t1) noexcept nogil:
    """Backpropagation through time: dz of every layer at the steps t1 - 1 ... t0, for this thread's part.

    dh[t] is from above, + dz[t+1].W_hh; dz[t] is the cell's; the layer below receives dz.W_ih.
    """
    cdef Py_ssize_t ld = w.sizes.stride, l, t, b, g
    cdef Part part = part_of(w, rank, threads, t0, t1)
    if part.b0 == part.b1:
        return
    for l in range(w.sizes.num_layers - 1, -1, -1):
        if t1 == w.seq_length:
            for b in range(part.b0, part.b1):
                zero_row(part.stop - part.first, carry_rows(w, l) + b * ld + part.first)
        for t in range(t1 - 1, t0 - 1, -1):
            backward_step(w, &part, l, t)
            poll(w, rank, 2.0 * w.batch_size * gates_of(w.sizes.cell) * w.sizes.hidden_size * w.sizes.hidden_size)
            if should_stop(w, &part):
                return
        if l > 0:
            for g in range(gates_of(w.sizes.cell)):
                product_of_steps(w, &part, dz_rows(w, l, t0) + g * ld, gate_rows_stride(w),
                                 backward_factor(w, l, False, g), g > 0, dh_rows(w, l - 1, t0), ld)
            if w.dropout > 0:
                for t in range(t0, t1):
                    apply_mask(part.b1 - part.b0, part.first, part.stop, ld,
                               mask_rows(w, l - 1, t) + part.b0 * ld, dh_rows(w, l - 1, t) + part.b0 * ld)


cdef inline void backward_step(Work *w, Part *part, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """What dz[t+1] brings to dh[t], then dz[t]."""
    cdef Py_ssize_t b
    cdef Step step
    if t + 1 < w.seq_length:
        add_recurrent_dh(w, part, layer, t)
    for b in range(part.b0, part.b1):
        step = step_of(w, layer, t, b)
        cell_backward(w.sizes.cell, part.first, part.stop, w.sizes.stride, &step)
        if is_end(w, t, b):
            zero_row(part.stop - part.first, step.carry + part.first)
    sync_step(w, part)


cdef inline void add_recurrent_dh(Work *w, Part *part, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """dh[t] += dz[t+1].W_hh; with recurrent dropout that is dh_in, and dh[t] += mask dh_in."""
    cdef Py_ssize_t ld = w.sizes.stride, zs = gate_rows_stride(w), width = part.stop - part.first, g, b
    cdef const real *dz = rows_without_end(w, part, dz_rows(w, layer, t + 1), zs, t + 1)
    cdef real *dh = dh_rows(w, layer, t) + part.first
    cdef real *dh_in = w.dh_in + part.first if w.recurrent_dropout > 0 else dh
    for b in range(part.b0, part.b1):
        part.start[b] = w.zeros if w.recurrent_dropout > 0 else dh + b * ld
    for g in range(gates_of(w.sizes.cell)):
        multiply(part.b1 - part.b0, width, w.sizes.hidden_size,
                 matrix(dz + part.b0 * zs + recurrent_slot(w.sizes.cell, g) * ld, zs, 1),
                 panels_from(alternating(w, t, backward_factor(w, layer, True, g)), part.first),
                 part.start + part.b0, dh_in + part.b0 * ld, ld)
        for b in range(part.b0, part.b1):
            part.start[b] = dh_in + b * ld
    if w.recurrent_dropout > 0:
        for b in range(part.b0, part.b1):
            add_masked_row(width, recurrent_mask_rows(w, layer) + part.first + b * ld, dh_in + b * ld, dh + b * ld)
