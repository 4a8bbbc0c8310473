# cython: cdivision=True
"""Gradients of the weights and biases: sums over all T B positions. Each thread computes some rows of each."""
from libc.string cimport memcpy

from charrnn.kernels.cells cimport gates_of, recurrent_slot
from charrnn.kernels.head cimport Block
from charrnn.kernels.network cimport Head, Layer, head_of, layer_of, num_inputs
from charrnn.kernels.pack cimport (
    BLOCK_K,
    BLOCK_M,
    CACHE_LINE,
    Matrix,
    Panels,
    in_place,
    matrix,
    pack,
    pack_rows,
    packed,
    packed_rows,
    panel_width,
    round_up,
)
from charrnn.kernels.parallel cimport poll
from charrnn.kernels.product cimport multiply
from charrnn.kernels.rows cimport add_row, sum_rows, zero_row
from charrnn.kernels.simd cimport LANES, real, vload, vreal, vsplat, vsum
from charrnn.kernels.work cimport Work, begins_document, dz_rows, gate_rows_stride, h_in_rows, output_rows

cdef enum:
    # Factors of weight gradients up to this size are read in place: they stay in L1.
    IN_PLACE_BYTES = 24 << 10
    # Columns of layer 0's weight_ih gradient that are summed at once: with 65 symbols in float32, 33 KiB.
    GATHER_COLUMNS = 128


cdef inline void head_gradients(Work *w, int rank, int threads, Block block) noexcept nogil:
    """dweight = dlogits.h and dbias = sum dlogits, added up over the blocks of positions."""
    cdef Py_ssize_t H = w.sizes.hidden_size, V = w.sizes.vocab_size, ld = w.sizes.stride, row, rows, v, i
    cdef Py_ssize_t v0 = V * rank // threads, v1 = V * (rank + 1) // threads
    cdef Head d = head_of(&w.sizes, w.gradients)
    cdef const real *h = output_rows(w, w.sizes.num_layers - 1, 0) + block.first * ld
    cdef const real *start[BLOCK_M]
    cdef real *dlogits
    cdef bint add = block.first > 0
    cdef vreal total
    if block.count <= 0:
        return
    for row from v0 <= row < v1 by BLOCK_M:
        rows = min(<Py_ssize_t>BLOCK_M, v1 - row)
        dlogits = block.logits + row * w.logits_stride
        for i in range(rows):
            start[i] = d.weight + (row + i) * ld
        multiply(rows, H, block.count, matrix(dlogits, w.logits_stride, 1), in_place(h, ld), start if add else NULL,
                 d.weight + row * ld, ld)
        for v in range(rows):
            total = vsplat(0)
            for i from 0 <= i < block.count by LANES:
                total = total + vload(dlogits + v * w.logits_stride + i)
            d.bias[row + v] = vsum(total) + (d.bias[row + v] if add else 0)
        poll(w, rank, 2.0 * rows * H * block.count * threads)
        if w.interrupted:
            return


cdef inline void layer_gradients(
    Work *w,
    int rank,
    int threads,
    Py_ssize_t layer,
    bint recurrent,
    Py_ssize_t t0,
    Py_ssize_t t1,
    const real *x,              # IN (T B, H), from step t0 on
    real *dweight,              # OUT (G H, H)
) noexcept nogil:
    """dweight := sum dz[t]^T.x[t] of weight_hh, or of weight_ih (layer > 0); += but for the last chunk.

    BLOCK_M columns of dz are packed at a time, which stay in L2 while the panels of x go by. The x of a chunk lies
    there already; of more positions a block of BLOCK_K is packed, once for all gates.
    """
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, zs = gate_rows_stride(w), N = (t1 - t0) * w.batch_size
    cdef Py_ssize_t first = H * rank // threads, stop = H * (rank + 1) // threads, step, steps, g, row, rows, i
    cdef Py_ssize_t blocks = (N + BLOCK_K - 1) // BLOCK_K, block = (N + blocks - 1) // blocks
    cdef bint small = N * zs * <Py_ssize_t>sizeof(real) <= IN_PLACE_BYTES
    cdef real *panels = w.scratch + rank * w.scratch_size
    cdef real *tiles = panels + BLOCK_K * round_up(H, LANES)
    cdef const real *start[BLOCK_M]
    cdef Panels b
    cdef Matrix a
    cdef real *c
    for step from 0 <= step < N by block:
        steps = min(block, N - step)
        b = in_place(x + step * ld, ld)
        if N > BLOCK_K or (recurrent and w.end >= 0):
            pack(steps, H, matrix(x + step * ld, ld, 1), panels)
            b = packed(steps, panels)
            if recurrent and w.end >= 0:
                zero_ends(w, t0 * w.batch_size + step, steps, panels)
        for g in range(gates_of(w.sizes.cell)):
            for row from first <= row < stop by BLOCK_M:
                rows = min(<Py_ssize_t>BLOCK_M, stop - row)
                c = dweight + (g * H + row) * ld
                for i in range(rows):
                    start[i] = c + i * ld
                a = matrix(dz_rows(w, layer, t0) + step * zs + row
                           + (recurrent_slot(w.sizes.cell, g) if recurrent else g) * ld, 1, zs)
                if not small:
                    pack_rows(rows, steps, a, tiles)
                    a = packed_rows(tiles)
                multiply(rows, H, steps, a, b, start if step > 0 or t1 < w.seq_length else NULL, c, ld)
                poll(w, rank, 2.0 * rows * H * steps * threads)
                if w.interrupted:
                    return


cdef inline void zero_ends(Work *w, Py_ssize_t first, Py_ssize_t count, real *panels) noexcept nogil:
    """Zeroes the rows of packed panels whose input is END or a label."""
    cdef Py_ssize_t H = w.sizes.hidden_size, i, column, width
    for i in range(count):
        if not begins_document(w, w.inputs[first + i]):
            continue
        column = 0
        while column < H:
            width = panel_width(H, column)
            zero_row(width, panels + column * count + i * width)
            column += width


cdef inline void weight_gradients(Work *w, int rank, int threads, Py_ssize_t t0, Py_ssize_t t1) noexcept nogil:
    """dweight_hh = sum dz[t]^T.h[t-1], dweight_ih = sum dz[t]^T.x[t], dbias = sum dz[t]: the terms of the steps
    t0 ... t1, added up over the chunks."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, N = (t1 - t0) * w.batch_size, zs = gate_rows_stride(w)
    cdef Py_ssize_t V = num_inputs(&w.sizes), l, g, slot
    # Of the sums that are no products, some columns: whole cache lines.
    cdef Py_ssize_t line = CACHE_LINE // <Py_ssize_t>sizeof(real)
    cdef Py_ssize_t first = min(H, round_up(H * rank // threads, line))
    cdef Py_ssize_t stop = min(H, round_up(H * (rank + 1) // threads, line))
    cdef bint add = t1 < w.seq_length
    cdef const real *dz
    cdef Layer d
    for l in range(w.sizes.num_layers):
        d = layer_of(&w.sizes, w.gradients, l)
        layer_gradients(w, rank, threads, l, True, t0, t1, h_in_rows(w, l, t0), d.weight_hh)
        if l > 0:
            layer_gradients(w, rank, threads, l, False, t0, t1, output_rows(w, l - 1, t0), d.weight_ih)
        if first == stop:
            continue
        for g in range(gates_of(w.sizes.cell)):
            slot = recurrent_slot(w.sizes.cell, g)
            dz = dz_rows(w, l, t0)
            if l == 0:
                sum_by_symbol(w, t0, t1, first, stop, dz + g * ld, zs, d.weight_ih + g * H)
            if l > 0 or V > w.seq_length * w.batch_size:
                sum_rows(N, first, stop, dz + g * ld, zs, add, d.bias_ih + g * H)
            elif t0 == 0:   # every position has one symbol: the sum over symbols is the sum over positions
                sum_rows(V, first, stop, d.weight_ih + g * H, w.sizes.gates_stride, False, d.bias_ih + g * H)
            if slot != g:
                sum_rows(N, first, stop, dz + slot * ld, zs, add, d.bias_hh + g * H)
            elif t0 == 0:
                memcpy(d.bias_hh + g * H + first, d.bias_ih + g * H + first, (stop - first) * sizeof(real))


cdef inline void sum_by_symbol(
    Work *w,
    Py_ssize_t t0,
    Py_ssize_t t1,
    Py_ssize_t first,
    Py_ssize_t stop,
    const real *dz,             # IN (T, B, dz_stride), from step t0 on
    Py_ssize_t dz_stride,
    real *sums,                 # OUT (V + K, gates_stride)
) noexcept nogil:
    """sums[v, first:stop] := those columns of dz, added up over the positions whose input is v; += but for the last
    chunk."""
    cdef Py_ssize_t stride = w.sizes.gates_stride, j, width, v, i
    cdef const int *inputs = w.inputs + t0 * w.batch_size
    for j from first <= j < stop by GATHER_COLUMNS:
        width = min(<Py_ssize_t>GATHER_COLUMNS, stop - j)
        if t1 == w.seq_length:
            for v in range(num_inputs(&w.sizes)):
                zero_row(width, sums + v * stride + j)
        for i in range((t1 - t0) * w.batch_size):
            add_row(width, dz + i * dz_stride + j, sums + inputs[i] * stride + j)
