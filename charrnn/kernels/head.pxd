# cython: cdivision=True
"""The head: logits, losses, and the gradient that comes down from them, in blocks of positions side by side."""
from charrnn.kernels.network cimport Head, head_of
from charrnn.kernels.pack cimport TILE_VECTORS, in_place, matrix, pack, packed, panels_of
from charrnn.kernels.parallel cimport poll
from charrnn.kernels.product cimport multiply
from charrnn.kernels.rows cimport apply_mask
from charrnn.kernels.simd cimport LANES, real
from charrnn.kernels.softmax cimport cross_entropy_backward, cross_entropy_forward
from charrnn.kernels.work cimport Work, dh_rows, mask_rows, output_rows

cdef enum:
    # Positions of the head that share what is read of its weight on the way back; their dlogits stay in L1.
    HEAD_POSITIONS = 64


# Positions whose logits lie side by side.
cdef struct Block:
    Py_ssize_t first
    Py_ssize_t count            # 0 or less where there are none
    real *logits                # (V, logits_stride), then dlogits
    real *sums                  # (count) of exp(logits - max)


cdef inline Py_ssize_t blocks_of_chunk(Work *w, Py_ssize_t steps) noexcept nogil:
    return (steps * w.batch_size + w.logits_block - 1) // w.logits_block


cdef inline Block block_of(Work *w, Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t steps, Py_ssize_t i) noexcept nogil:
    """The i-th block of the steps t0 ... t1, chunks of `steps`. None lies in two chunks."""
    cdef Py_ssize_t blocks = blocks_of_chunk(w, steps), t = t0 + i // blocks * steps
    cdef Block block
    block.first = t * w.batch_size + i % blocks * w.logits_block
    block.count = min(w.logits_block, min(t + steps, t1) * w.batch_size - block.first)
    block.logits = w.logits + i % w.blocks * w.sizes.vocab_size * w.logits_stride
    block.sums = w.sums + i % w.blocks * w.logits_block
    return block


cdef inline void head_forward(
    Work *w,
    int rank,
    Py_ssize_t position,        # the first of at most HEAD_POSITIONS
    Py_ssize_t count,
    real *logits,               # OUT (V, logits_stride) without bias
) noexcept nogil:
    """logits := head.weight.h^T: the symbols are rows, the positions columns."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride
    cdef real *panels = w.scratch + rank * w.scratch_size
    pack(H, count, matrix(output_rows(w, w.sizes.num_layers - 1, 0) + position * ld, 1, ld), panels)
    multiply(w.sizes.vocab_size, count, H, matrix(head_of(&w.sizes, w.parameters).weight, ld, 1), packed(H, panels),
             NULL, logits, w.logits_stride)


cdef inline void head(Work *w, int rank, int threads, Block block) noexcept nogil:
    """Logits and losses of this thread's positions of a block and, for the backward pass, dlogits and the dh that it
    brings down to the upper layer."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, V = w.sizes.vocab_size, ls = w.logits_stride
    cdef Py_ssize_t panel = TILE_VECTORS * LANES, panels = panels_of(block.count)
    cdef Py_ssize_t first = panels * rank // threads * panel
    cdef Py_ssize_t stop = min(block.count, panels * (rank + 1) // threads * panel), column, position, n
    cdef real scale = <real>(1.0 / (w.seq_length * w.batch_size))
    cdef Head p = head_of(&w.sizes, w.parameters)
    cdef real *logits
    cdef real *dh
    for column from first <= column < stop by HEAD_POSITIONS:
        if w.interrupted:
            return
        position = block.first + column
        logits = block.logits + column
        n = min(<Py_ssize_t>HEAD_POSITIONS, stop - column)
        head_forward(w, rank, position, n, logits)
        cross_entropy_forward(V, n, ls, p.bias, logits, w.targets + position, w.losses + position, block.sums + column)
        if w.backward:
            cross_entropy_backward(V, n, ls, logits, w.targets + position, block.sums + column, scale)
            dh = dh_rows(w, w.sizes.num_layers - 1, 0) + position * ld
            multiply(n, H, V, matrix(logits, 1, ls), in_place(p.weight, ld), NULL, dh, ld)
            if w.dropout > 0:
                apply_mask(n, 0, H, ld, mask_rows(w, w.sizes.num_layers - 1, 0) + position * ld, dh)
        poll(w, rank, 4.0 * n * H * V * threads)
