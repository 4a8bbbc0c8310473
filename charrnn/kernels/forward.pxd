# cython: cdivision=True
"""Forward: h[t] = cell(x[t], h[t-1]) for every layer.

The input of layer 0 is a symbol, so its product is a row of the transposed weight_ih; the input of an upper layer is
multiplied for many steps at once. What must be done one step after another is just h[t-1].W_hh.
"""
from libc.string cimport memcpy

from charrnn.kernels.cells cimport LSTM, Step, cell_forward, gates_of, recurrent_slot
from charrnn.kernels.dropout cimport draw_recurrent_mask, output_dropout, recurrent_dropout
from charrnn.kernels.network cimport layer_of
from charrnn.kernels.pack cimport BLOCK_M, Panels, matrix, panels_from, round_up
from charrnn.kernels.parallel cimport Part, part_of, poll, should_stop, sync_step
from charrnn.kernels.product cimport multiply
from charrnn.kernels.rows cimport zero_row
from charrnn.kernels.simd cimport LANES, TILE_ROWS, real
from charrnn.kernels.work cimport (
    Work,
    carry_rows,
    dh_rows,
    forward_factor,
    gate_rows_stride,
    h_in_rows,
    is_end,
    memory_rows,
    output_rows,
    state_rows,
    z_rows,
)


cdef inline const real *rows_without_end(
    Work *w, Part *part, const real *rows, Py_ssize_t stride, Py_ssize_t t
) noexcept nogil:
    """rows (B, stride) with zeros in those whose input at step t is END or a label."""
    cdef Py_ssize_t b
    cdef bint found = False
    for b in range(part.b0, part.b1):
        found |= is_end(w, t, b)
    if not found:
        return rows
    for b in range(part.b0, part.b1):
        if is_end(w, t, b):
            zero_row(stride, part.no_end + b * stride)
        else:
            memcpy(part.no_end + b * stride, rows + b * stride, stride * sizeof(real))
    return part.no_end


cdef inline void product_of_steps(
    Work *w,
    Part *part,
    const real *a,              # IN (T, B, a_stride), from step t0 on
    Py_ssize_t a_stride,
    Panels b,                   # IN (H, H)
    bint add,                   # to what c holds
    real *c,                    # OUT (T, B, c_stride), from step t0 on
    Py_ssize_t c_stride,
) noexcept nogil:
    """c := a.b, or c += a.b: this thread's part of the steps t0 ... t1."""
    cdef Py_ssize_t H = w.sizes.hidden_size, B = w.batch_size, T = part.t1 - part.t0, t, i, row, rows
    cdef Py_ssize_t b0 = part.b0, b1 = part.b1
    cdef const real *start[BLOCK_M]
    if b0 == 0 and b1 == B:     # one product of T B rows
        b1 = T * B
        T = 1
    for t in range(T):
        for row from b0 <= row < b1 by BLOCK_M:
            rows = min(b1 - row, <Py_ssize_t>BLOCK_M)
            for i in range(rows):
                start[i] = c + (t * B + row + i) * c_stride + part.first
            multiply(rows, part.stop - part.first, H, matrix(a + (t * B + row) * a_stride, a_stride, 1),
                     panels_from(b, part.first), start if add else NULL, c + (t * B + row) * c_stride + part.first,
                     c_stride)
            poll(w, part.rank, 2.0 * rows * H * H)
            if should_stop(w, part):
                return


cdef inline Panels alternating(Work *w, Py_ssize_t t, Panels b) noexcept nogil:
    """b, to be walked forwards and backwards in alternate steps: the panels used last are still in the cache. With more
    rows it is the arithmetic that takes the time."""
    b.last_first = w.batch_size <= TILE_ROWS and (w.steps_before + t) % 2
    return b


cdef inline Step step_of(Work *w, Py_ssize_t layer, Py_ssize_t t, Py_ssize_t b) noexcept nogil:
    """What step t of a layer touches for row b."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, last = gates_of(w.sizes.cell) - 1
    cdef bint ended = is_end(w, t, b)
    cdef Step s
    s.slots = z_rows(w, layer, t) + b * gate_rows_stride(w)
    s.x = s.slots + last * ld
    if layer == 0:
        s.x = layer_of(&w.sizes, w.parameters, 0).weight_ih
        s.x += w.inputs[t * w.batch_size + b] * w.sizes.gates_stride + last * H
    s.h_prev = w.zeros if ended else state_rows(w, layer, t) + b * ld
    s.h = state_rows(w, layer, t + 1) + b * ld
    s.c_prev = s.c = s.dh = s.carry = NULL
    if w.sizes.cell == LSTM:
        s.c_prev = w.zeros if ended else memory_rows(w, layer, t) + b * ld
        s.c = memory_rows(w, layer, t + 1) + b * ld
    if w.backward:
        s.dh = dh_rows(w, layer, t) + b * ld
        s.carry = carry_rows(w, layer) + b * ld
    return s


cdef inline void recurrent_products(Work *w, Part *part, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """The slots of step t: each gate's product with h_prev, added to that with x where the two share a slot."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, zs = gate_rows_stride(w), B = w.batch_size, g, b, slot
    cdef const real *weight_ih = layer_of(&w.sizes, w.parameters, 0).weight_ih
    cdef const real *h_prev = rows_without_end(w, part, h_in_rows(w, layer, t), ld, t)
    cdef real *z = z_rows(w, layer, t)
    for g in range(gates_of(w.sizes.cell)):
        slot = recurrent_slot(w.sizes.cell, g)
        for b in range(part.b0, part.b1):
            if slot != g:
                part.start[b] = w.zeros
            elif layer == 0:
                part.start[b] = weight_ih + w.inputs[t * B + b] * w.sizes.gates_stride + g * H + part.first
            else:
                part.start[b] = z + b * zs + slot * ld + part.first
        multiply(part.b1 - part.b0, part.stop - part.first, H, matrix(h_prev + part.b0 * ld, ld, 1),
                 panels_from(alternating(w, t, forward_factor(w, layer, True, g)), part.first), part.start + part.b0,
                 z + part.b0 * zs + slot * ld + part.first, zs)


cdef inline void forward(Work *w, int rank, int threads, Py_ssize_t t0, Py_ssize_t t1) noexcept nogil:
    """h of every layer at the steps t0 ... t1, for this thread's part."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, l, t, b, g, j
    cdef Part part = part_of(w, rank, threads, t0, t1)
    cdef Step step
    if part.b0 == part.b1:
        return
    if w.recurrent_dropout > 0 and t0 == 0:
        for l in range(w.sizes.num_layers):
            draw_recurrent_mask(w, &part, l)
            recurrent_dropout(w, &part, l, 0)
        sync_step(w, &part)
    for l in range(w.sizes.num_layers):
        if l > 0:
            for g in range(gates_of(w.sizes.cell)):
                product_of_steps(w, &part, output_rows(w, l - 1, t0), ld, forward_factor(w, l, False, g), False,
                                 z_rows(w, l, t0) + g * ld, gate_rows_stride(w))
        for t in range(t0, t1):
            recurrent_products(w, &part, l, t)
            for b in range(part.b0, part.b1):
                step = step_of(w, l, t, b)
                cell_forward(w.sizes.cell, part.first, part.stop, ld, w.bias + l * gate_rows_stride(w), &step)
                if part.first < part.stop == H:     # the last thread zeroes what lies behind
                    for j in range(H, round_up(H, LANES)):
                        step.h[j] = 0
            if w.dropout > 0:
                output_dropout(w, &part, l, t)
            if w.recurrent_dropout > 0 and t + 1 < w.seq_length:
                recurrent_dropout(w, &part, l, t + 1)
            sync_step(w, &part)
            poll(w, rank, 2.0 * w.batch_size * gates_of(w.sizes.cell) * H * H)
            if should_stop(w, &part):
                return
