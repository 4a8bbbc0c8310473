# cython: cdivision=True
"""All that a pass over T steps works on: its buffers, the rows of a step in them, and the packed parameters.

Shapes: T time, B batch, and those of network.pxd. Arrays are (T, B, ...), and a position is the number t B + b.
"""
from libc.stdint cimport uint64_t

from charrnn.kernels.cells cimport gates_of, recurrent_slot, slots_of
from charrnn.kernels.network cimport Layer, Sizes, layer_of
from charrnn.kernels.pack cimport (
    CACHE_LINE,
    Matrix,
    Panels,
    in_place,
    matrix,
    pack_panel,
    packed,
    panel_width,
    round_up,
)
from charrnn.kernels.simd cimport LANES, real
from charrnn.kernels.threads cimport thread_barrier


cdef struct Work:
    Sizes sizes
    Py_ssize_t seq_length       # T of this pass
    Py_ssize_t batch_size
    Py_ssize_t steps_before     # of a sampler, whose passes are of one step
    Py_ssize_t max_seq_length   # T that the buffers have room for
    Py_ssize_t chunk            # steps that go through the network together
    Py_ssize_t group            # chunks between two barriers
    int end                     # index of END, or -1
    bint backward               # whether the buffers for gradients are there
    real *parameters
    real *gradients
    int *inputs                 # (T, B)
    int *targets                # (T, B)
    double *losses              # (T, B), nats
    real *h                     # (L, T + 1, B, H); [:, 0] is the state before the first step
    real *c                     # the same of an LSTM's c
    real *gate_rows             # (L, T, B, slots, H); of a cell with one slot h[:, 1:], and dh for the gradients
    real *dh                    # (L, T, B, H)
    real *carry                 # (L, B, H) of a cell that has a Step.carry
    real *dropped_h             # (L, T, B, H): the output after dropout; without dropout h[:, 1:] itself
    real *mask                  # (L, T, B, H) of dropout
    real *h_in                  # (L, T, B, H): h[t-1] after recurrent dropout; without it h[:, :-1] itself
    real *recurrent_mask        # (L, B, H)
    real *dh_in                 # (B, H) of one step
    real *logits                # (blocks, V, logits_stride), then dlogits
    Py_ssize_t blocks           # that are held at once
    Py_ssize_t logits_block     # positions in one, side by side
    Py_ssize_t logits_stride
    real *sums                  # (blocks, logits_block)
    real *zeros                 # (H)
    real *bias                  # (L, slots, H): bias_ih + bias_hh
    real *forward_panels        # weight_ih, weight_hh of each layer, transposed and packed for the forward products
    real *backward_panels       # the same for the backward products
    bint in_place               # the backward products of weight_hh read it where it lies
    real *no_end                # (B, slots, H), of each thread where threads share columns
    const real **start          # (B), the same
    real *scratch               # of each thread: scratch_size
    Py_ssize_t scratch_size
    double dropout
    double recurrent_dropout
    uint64_t dropout_key        # of this step
    thread_barrier barrier
    int interrupted
    bint sees_signals           # whether the call is in Python's main thread: no other one handles signals
    double signals_seen_at      # seconds_now() of the last look at them
    double flops_since_clock
    void (*look_at_signals)(Work *w) noexcept nogil
    void *engine                # the Engine, which keeps the exception that look_at_signals raised


# END and labels ----------------------------------------------------------------------------------------------


cdef inline bint begins_document(Work *w, int symbol) noexcept nogil:
    """Whether the state before this input is zero: it is END, or a label, which stands in the place of END."""
    return w.end >= 0 and (symbol == w.end or symbol >= w.sizes.vocab_size)


cdef inline int as_target(Work *w, int symbol) noexcept nogil:
    """What is to be predicted where this symbol comes next: a label is END."""
    return symbol if symbol < w.sizes.vocab_size else w.end


# Rows of a step ----------------------------------------------------------------------------------------------


cdef inline real *state_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """h of a layer before step t, (B, H); after it, that is before step t + 1."""
    return w.h + (layer * (w.max_seq_length + 1) + t) * w.batch_size * w.sizes.stride


cdef inline real *memory_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """The same of c."""
    return w.c + (layer * (w.max_seq_length + 1) + t) * w.batch_size * w.sizes.stride


cdef inline real *dh_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    return w.dh + (layer * w.max_seq_length + t) * w.batch_size * w.sizes.stride


cdef inline real *carry_rows(Work *w, Py_ssize_t layer) noexcept nogil:
    """The carry of a layer between two steps backward, (B, H)."""
    return w.carry + layer * w.batch_size * w.sizes.stride


cdef inline Py_ssize_t gate_rows_stride(Work *w) noexcept nogil:
    """Of a row of slots; of several, an odd number of cache lines, which spreads a column of them over the cache."""
    cdef Py_ssize_t slots = slots_of(w.sizes.cell)
    return slots * w.sizes.stride + (CACHE_LINE // <Py_ssize_t>sizeof(real) if slots > 1 else 0)


cdef inline real *z_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """The slots at step t, (B, slots, H), in the forward pass."""
    if w.gate_rows == NULL:
        return state_rows(w, layer, t + 1)
    return w.gate_rows + (layer * w.max_seq_length + t) * w.batch_size * gate_rows_stride(w)


cdef inline real *dz_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """The gradients that take their place in the backward pass."""
    return dh_rows(w, layer, t) if w.gate_rows == NULL else z_rows(w, layer, t)


cdef inline real *output_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """What a layer hands up at step t, (B, H)."""
    if w.dropout == 0:
        return state_rows(w, layer, t + 1)
    return w.dropped_h + (layer * w.max_seq_length + t) * w.batch_size * w.sizes.stride


cdef inline real *mask_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    return w.mask + (layer * w.max_seq_length + t) * w.batch_size * w.sizes.stride


cdef inline real *h_in_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """What step t of a layer multiplies by weight_hh, (B, H); an END among its inputs is not seen to where it is h."""
    if w.recurrent_dropout == 0:
        return state_rows(w, layer, t)
    return w.h_in + (layer * w.max_seq_length + t) * w.batch_size * w.sizes.stride


cdef inline real *recurrent_mask_rows(Work *w, Py_ssize_t layer) noexcept nogil:
    return w.recurrent_mask + layer * w.batch_size * w.sizes.stride


cdef inline bint is_end(Work *w, Py_ssize_t t, Py_ssize_t b) noexcept nogil:
    return begins_document(w, w.inputs[t * w.batch_size + b])


# Packed parameters -------------------------------------------------------------------------------------------


cdef inline real *gate_panels(
    Work *w, real *panels, Py_ssize_t layer, bint recurrent, Py_ssize_t gate
) noexcept nogil:
    """The panels of a gate's part of weight_hh, or of weight_ih (layer > 0)."""
    return (panels + ((2 * layer + recurrent) * gates_of(w.sizes.cell) + gate)
            * w.sizes.hidden_size * round_up(w.sizes.hidden_size, LANES))


cdef inline Panels forward_factor(Work *w, Py_ssize_t layer, bint recurrent, Py_ssize_t gate) noexcept nogil:
    """The right factor W^T of a gate's product with h_prev, or with x."""
    return packed(w.sizes.hidden_size, gate_panels(w, w.forward_panels, layer, recurrent, gate))


cdef inline Panels backward_factor(Work *w, Py_ssize_t layer, bint recurrent, Py_ssize_t gate) noexcept nogil:
    """The right factor W of its gradient's product."""
    if recurrent and w.in_place:
        return in_place(layer_of(&w.sizes, w.parameters, layer).weight_hh
                        + gate * w.sizes.hidden_size * w.sizes.stride, w.sizes.stride)
    return packed(w.sizes.hidden_size, gate_panels(w, w.backward_panels, layer, recurrent, gate))


cdef inline Py_ssize_t pack_share(
    Py_ssize_t task,            # number of the first panel
    int rank,
    int threads,
    Py_ssize_t n,
    Matrix b,                   # IN (n, n)
    real *panels,               # OUT
) noexcept nogil:
    """Packs this thread's panels of b; the number of the panel after the last."""
    cdef Py_ssize_t first = 0, width
    while first < n:
        width = panel_width(n, first)
        if task % threads == rank:
            pack_panel(n, width, min(width, n - first),
                       matrix(b.data + first * b.column_stride, b.row_stride, b.column_stride), panels + n * first)
        task += 1
        first += width
    return task


cdef inline void pack_parameters(Work *w, int rank, int threads) noexcept nogil:
    """Everything that is computed from the parameters alone, once for all that follows."""
    cdef Sizes *s = &w.sizes
    cdef Py_ssize_t H = s.hidden_size, ld = s.stride, l, g, task = 0
    cdef const real *weight
    cdef bint recurrent
    for l in range(s.num_layers):
        if rank == 0:
            pack_biases(s, layer_of(s, w.parameters, l), w.bias + l * gate_rows_stride(w))
        for recurrent in range(l == 0, 2):
            for g in range(gates_of(s.cell)):
                weight = layer_of(s, w.parameters, l).weight_hh if recurrent else layer_of(s, w.parameters, l).weight_ih
                weight += g * H * ld
                task = pack_share(task, rank, threads, H, matrix(weight, 1, ld),
                                  gate_panels(w, w.forward_panels, l, recurrent, g))
                if w.backward and not (recurrent and w.in_place):
                    task = pack_share(task, rank, threads, H, matrix(weight, ld, 1),
                                      gate_panels(w, w.backward_panels, l, recurrent, g))


cdef inline void pack_biases(Sizes *s, Layer p, real *bias) noexcept nogil:
    """bias_ih and bias_hh, (G H), added up in their slots, (slots, H)."""
    cdef Py_ssize_t H = s.hidden_size, g, j
    cdef real *slot
    for g in range(gates_of(s.cell)):
        slot = bias + recurrent_slot(s.cell, g) * s.stride
        for j in range(H):
            slot[j] = p.bias_hh[g * H + j]
        if recurrent_slot(s.cell, g) == g:
            for j in range(H):
                slot[j] += p.bias_ih[g * H + j]
        else:
            for j in range(H):
                bias[g * s.stride + j] = p.bias_ih[g * H + j]
