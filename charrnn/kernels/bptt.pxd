# cython: cdivision=True
"""The recurrent network over T steps and B rows, and backpropagation through time.

    forward              h[t] = cell(x[t], h[t-1]) for every layer
    head                 logits, loss, and the gradient that comes down from them
    head_gradients       dweight, dbias of the head
    backward             BPTT: dz[t] from the head and from dz[t+1], t = T-1 ... 0
    weight_gradients     those of the layers: sums over all T B positions

Shapes: as in network.pxd.

Design. All of it goes by chunks of steps, some BLOCK_K positions: the first three for each chunk forward in time, the
last two for each chunk back, so that what one writes is still in the cache when the next one reads it. Several threads
take a group of chunks between two barriers, and add up chunk by chunk all the same.

Rows of the batch know nothing of one another in `forward` and `backward`, positions nothing in `head`,
and the elements of a weight gradient nothing in the last two. So each function does the share of one thread, a
range of rows, positions or columns, between barriers; no sum is split between threads, and the bits of the
result do not depend on their number. What must be done one step after another is just h[t-1] W_hh and
dz[t] W_hh. All else is large products: the input of the upper layers, the logits, the weight gradients.

Where rows are too few to share, the threads share the columns of each step instead, and meet after each: a product
needs all of h[t-1], or of dz[t], and makes some columns of the next.

Where an input is END, the state before it is zero: its row takes no part in h[t-1] W_hh, nor in its gradients.
The input of layer 0 is a symbol, so its product is a row of the transposed weight_ih.
"""
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from charrnn.kernels.cells cimport LSTM, Step, cell_backward, cell_forward, gates_of, recurrent_slot
from charrnn.kernels.gemm cimport (
    BLOCK_K,
    BLOCK_M,
    CACHE_LINE,
    TILE_VECTORS,
    Matrix,
    Panels,
    in_place,
    matrix,
    multiply,
    pack,
    pack_rows,
    packed,
    packed_rows,
    panel_width,
    panels_from,
    panels_of,
    round_up,
)
from charrnn.kernels.network cimport (
    Head,
    Layer,
    Work,
    backward_factor,
    carry_rows,
    dh_rows,
    dz_rows,
    forward_factor,
    head_of,
    layer_of,
    mask_rows,
    memory_rows,
    output_rows,
    slots_stride,
    state_rows,
    z_rows,
)
from charrnn.kernels.simd cimport LANES, TILE_ROWS, real, vload, vreal, vsplat, vstore, vsum
from charrnn.kernels.softmax cimport cross_entropy_backward, cross_entropy_forward
from charrnn.kernels.threads cimport barrier_wait

cdef enum:
    # Factors of weight gradients up to this size are read in place: they stay in L1.
    IN_PLACE_BYTES = 24 << 10
    # Positions of the head that share what is read of its weight on the way back; their dlogits stay in L1.
    HEAD_POSITIONS = 64
    # Columns of layer 0's weight_ih gradient that are summed at once: with 65 symbols in float32, 33 KiB.
    GATHER_COLUMNS = 128
    # A thread has at least so many rows of the batch, or shares columns
    ROWS_TO_SHARE = 4
    # of steps of at least so many floating-point operations for each thread: some ten times what a barrier costs.
    OPERATIONS_TO_MEET = 300_000


# What is a thread's of the steps t0 ... t1: rows b0 ... b1, and the units first ... stop of them.
cdef struct Part:
    int rank
    Py_ssize_t t0
    Py_ssize_t t1
    Py_ssize_t b0
    Py_ssize_t b1
    Py_ssize_t first
    Py_ssize_t stop
    bint together
    const real **start          # (B)
    real *no_end                # (B, slots, H)


cdef inline int column_threads(Work *w, int threads) noexcept nogil:
    """How many of these threads share the columns of each step, a panel or more for each; 0 where they share rows."""
    cdef double operations = 2.0 * w.batch_size * gates_of(w.sizes.cell) * w.sizes.hidden_size * w.sizes.hidden_size
    cdef int sharers = <int>min(<Py_ssize_t>threads, panels_of(w.sizes.hidden_size))
    if w.batch_size >= ROWS_TO_SHARE * threads:
        return 0
    if operations < OPERATIONS_TO_MEET * sharers:
        sharers = <int>(operations / OPERATIONS_TO_MEET)
        if sharers <= w.batch_size:     # as many have a row
            return 0
    return sharers if sharers > 1 else 0


cdef inline Part part_of(Work *w, int rank, int threads, Py_ssize_t t0, Py_ssize_t t1) noexcept nogil:
    cdef Part part
    cdef Py_ssize_t B = w.batch_size, H = w.sizes.hidden_size, panel = TILE_VECTORS * LANES, panels = panels_of(H)
    cdef int sharers = column_threads(w, threads)
    part.rank = rank
    part.t0 = t0
    part.t1 = t1
    part.together = sharers > 0
    if part.together:           # the threads beyond the sharers have no columns
        part.b0 = 0
        part.b1 = B
        part.first = min(H, panels * min(rank, sharers) // sharers * panel)
        part.stop = min(H, panels * min(rank + 1, sharers) // sharers * panel)
        part.start = w.start + rank * B
        part.no_end = w.no_end + rank * B * slots_stride(w)
    else:
        part.b0 = B * rank // threads
        part.b1 = B * (rank + 1) // threads
        part.first = 0
        part.stop = H
        part.start = w.start
        part.no_end = w.no_end
    return part


cdef inline void meet(Work *w, Part *part) noexcept nogil:
    if part.together:
        barrier_wait(&w.barrier)


cdef inline bint stops(Work *w, Part *part) noexcept nogil:
    """Whether to leave a pass halfway: not where the other threads would wait for this one."""
    return w.interrupted and not part.together


cdef inline void poll(Work *w, int rank, double operations) noexcept nogil:
    """Lets the first thread see Ctrl-C now and then, however large a step is."""
    if rank == 0:
        w.unpolled += operations
        if w.unpolled > 1e9:
            w.unpolled = 0
            w.look_at_signals(w)


# Forward ----------------------------------------------------------------------------------------------------


cdef inline bint is_end(Work *w, Py_ssize_t t, Py_ssize_t b) noexcept nogil:
    return w.end >= 0 and w.inputs[t * w.batch_size + b] == w.end


cdef inline const real *rows_without_end(
    Work *w, Part *part, const real *rows, Py_ssize_t stride, Py_ssize_t t
) noexcept nogil:
    """rows (B, stride) with zeros in those whose input at step t is END."""
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
            if stops(w, part):
                return


cdef inline uint32_t hash32(uint32_t x) noexcept nogil:
    """A bijection whose output bits each depend on all input bits (the finaliser of MurmurHash3, Appleby)."""
    x ^= x >> 16
    x *= <uint32_t>0x85ebca6b
    x ^= x >> 13
    x *= <uint32_t>0xc2b2ae35
    return x ^ (x >> 16)


cdef inline void dropout_forward(Work *w, Part *part, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """up := h mask, where mask is 1 / (1 - dropout) or 0 by a hash of the step, the layer, t, b and the unit, so
    that it is the same whichever thread asks."""
    cdef Py_ssize_t ld = w.sizes.stride, b, j
    cdef const real *h = state_rows(w, layer, t + 1)
    cdef real *mask = mask_rows(w, layer, t)
    cdef real *up = output_rows(w, layer, t)
    cdef real keep = <real>(1 / (1 - w.dropout))
    cdef uint32_t key, threshold = <uint32_t>(w.dropout * 4294967296.0)
    for b in range(part.b0, part.b1):
        key = hash32(<uint32_t>w.dropout_key + hash32(<uint32_t>(w.dropout_key >> 32)
                     + hash32(<uint32_t>((layer * w.seq_length + t) * w.batch_size + b))))
        for j in range(part.first, part.stop):
            mask[b * ld + j] = keep if hash32(key + <uint32_t>j) >= threshold else 0
        for j in range(part.first, part.stop):
            up[b * ld + j] = h[b * ld + j] * mask[b * ld + j]


cdef inline Panels alternating(Work *w, Py_ssize_t t, Panels b) noexcept nogil:
    """From the first panel on at one step, from the last at the next, which finds some of them still in the cache. With
    more rows it is the arithmetic that takes the time."""
    b.last_first = w.batch_size <= TILE_ROWS and (w.steps_before + t) % 2
    return b


cdef inline Step step_of(Work *w, Py_ssize_t layer, Py_ssize_t t, Py_ssize_t b) noexcept nogil:
    """What step t of a layer touches for row b."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, last = gates_of(w.sizes.cell) - 1
    cdef bint ended = is_end(w, t, b)
    cdef Step s
    s.slots = z_rows(w, layer, t) + b * slots_stride(w)
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
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, zs = slots_stride(w), B = w.batch_size, g, b, slot
    cdef const real *weight_ih = layer_of(&w.sizes, w.parameters, 0).weight_ih
    cdef const real *h_prev = rows_without_end(w, part, state_rows(w, layer, t), ld, t)
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
    for l in range(w.sizes.num_layers):
        if l > 0:
            for g in range(gates_of(w.sizes.cell)):
                product_of_steps(w, &part, output_rows(w, l - 1, t0), ld, forward_factor(w, l, False, g), False,
                                 z_rows(w, l, t0) + g * ld, slots_stride(w))
        for t in range(t0, t1):
            recurrent_products(w, &part, l, t)
            for b in range(part.b0, part.b1):
                step = step_of(w, l, t, b)
                cell_forward(w.sizes.cell, part.first, part.stop, ld, w.bias + l * slots_stride(w), &step)
                if part.first < part.stop == H:     # the last thread zeroes what lies behind
                    for j in range(H, round_up(H, LANES)):
                        step.h[j] = 0
            if w.dropout > 0:
                dropout_forward(w, &part, l, t)
            meet(w, &part)
            poll(w, rank, 2.0 * w.batch_size * gates_of(w.sizes.cell) * H * H)
            if stops(w, &part):
                return


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


cdef inline void apply_mask(
    Py_ssize_t rows, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t stride, const real *mask, real *dh
) noexcept nogil:
    cdef Py_ssize_t row, j
    for row in range(rows):
        for j in range(first, stop):
            dh[row * stride + j] *= mask[row * stride + j]


# Backward ---------------------------------------------------------------------------------------------------


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
            if stops(w, &part):
                return
        if l > 0:
            for g in range(gates_of(w.sizes.cell)):
                product_of_steps(w, &part, dz_rows(w, l, t0) + g * ld, slots_stride(w),
                                 backward_factor(w, l, False, g), g > 0, dh_rows(w, l - 1, t0), ld)
            if w.dropout > 0:
                for t in range(t0, t1):
                    apply_mask(part.b1 - part.b0, part.first, part.stop, ld,
                               mask_rows(w, l - 1, t) + part.b0 * ld, dh_rows(w, l - 1, t) + part.b0 * ld)


cdef inline void backward_step(Work *w, Part *part, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """What dz[t+1] brings to dh[t], then dz[t]."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, zs = slots_stride(w), g, b
    cdef real *dh = dh_rows(w, layer, t)
    cdef const real *dz
    cdef Step step
    if t + 1 < w.seq_length:
        for b in range(part.b0, part.b1):
            part.start[b] = dh + b * ld + part.first
        dz = rows_without_end(w, part, dz_rows(w, layer, t + 1), zs, t + 1)
        for g in range(gates_of(w.sizes.cell)):
            multiply(part.b1 - part.b0, part.stop - part.first, H,
                     matrix(dz + part.b0 * zs + recurrent_slot(w.sizes.cell, g) * ld, zs, 1),
                     panels_from(alternating(w, t, backward_factor(w, layer, True, g)), part.first),
                     part.start + part.b0, dh + part.b0 * ld + part.first, ld)
    for b in range(part.b0, part.b1):
        step = step_of(w, layer, t, b)
        cell_backward(w.sizes.cell, part.first, part.stop, ld, &step)
        if is_end(w, t, b):
            zero_row(part.stop - part.first, step.carry + part.first)
    meet(w, part)


# Weight gradients: some rows of each are a thread's ---------------------------------------------------------


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
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, zs = slots_stride(w), N = (t1 - t0) * w.batch_size
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
    """Zeroes the rows of packed panels whose input is END."""
    cdef Py_ssize_t H = w.sizes.hidden_size, i, column, width
    for i in range(count):
        if w.inputs[first + i] != w.end:
            continue
        column = 0
        while column < H:
            width = panel_width(H, column)
            zero_row(width, panels + column * count + i * width)
            column += width


cdef inline void weight_gradients(Work *w, int rank, int threads, Py_ssize_t t0, Py_ssize_t t1) noexcept nogil:
    """dweight_hh = sum dz[t]^T.h[t-1], dweight_ih = sum dz[t]^T.x[t], dbias = sum dz[t]: the terms of the steps
    t0 ... t1, added up over the chunks."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, N = (t1 - t0) * w.batch_size, zs = slots_stride(w)
    cdef Py_ssize_t V = w.sizes.vocab_size, l, g, slot
    # Of the sums that are no products, some columns: whole cache lines.
    cdef Py_ssize_t line = CACHE_LINE // <Py_ssize_t>sizeof(real)
    cdef Py_ssize_t first = min(H, round_up(H * rank // threads, line))
    cdef Py_ssize_t stop = min(H, round_up(H * (rank + 1) // threads, line))
    cdef bint add = t1 < w.seq_length
    cdef const real *dz
    cdef Layer d
    for l in range(w.sizes.num_layers):
        d = layer_of(&w.sizes, w.gradients, l)
        layer_gradients(w, rank, threads, l, True, t0, t1, state_rows(w, l, t0), d.weight_hh)
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


cdef inline void sum_rows(
    Py_ssize_t rows, Py_ssize_t first, Py_ssize_t stop, const real *x, Py_ssize_t stride, bint add, real *sums
) noexcept nogil:
    """sums[first:stop] := those columns of x, added up over its rows; or +=."""
    cdef Py_ssize_t row
    if not add:
        zero_row(stop - first, sums + first)
    for row in range(rows):
        add_row(stop - first, x + row * stride + first, sums + first)


cdef inline void sum_by_symbol(
    Work *w,
    Py_ssize_t t0,
    Py_ssize_t t1,
    Py_ssize_t first,
    Py_ssize_t stop,
    const real *dz,             # IN (T, B, dz_stride), from step t0 on
    Py_ssize_t dz_stride,
    real *sums,                 # OUT (V, gates_stride)
) noexcept nogil:
    """sums[v, first:stop] := those columns of dz, added up over the positions whose input is v; += but for the last
    chunk."""
    cdef Py_ssize_t stride = w.sizes.gates_stride, j, width, v, i
    cdef const int *inputs = w.inputs + t0 * w.batch_size
    for j from first <= j < stop by GATHER_COLUMNS:
        width = min(<Py_ssize_t>GATHER_COLUMNS, stop - j)
        if t1 == w.seq_length:
            for v in range(w.sizes.vocab_size):
                zero_row(width, sums + v * stride + j)
        for i in range((t1 - t0) * w.batch_size):
            add_row(width, dz + i * dz_stride + j, sums + inputs[i] * stride + j)


cdef inline void zero_row(Py_ssize_t width, real *x) noexcept nogil:
    """x := 0. Compilers make a string instruction of memset, which takes as long as a row of some hundred numbers."""
    cdef Py_ssize_t whole = width // LANES * LANES, j
    for j from 0 <= j < whole by LANES:
        vstore(x + j, vsplat(0))
    for j in range(whole, width):
        x[j] = 0


cdef inline void add_row(Py_ssize_t width, const real *x, real *sums) noexcept nogil:
    """sums += x, and nothing behind them is touched."""
    cdef Py_ssize_t whole = width // LANES * LANES, j
    for j from 0 <= j < whole by LANES:
        vstore(sums + j, vload(sums + j) + vload(x + j))
    for j in range(whole, width):
        sums[j] += x[j]


# All of it --------------------------------------------------------------------------------------------------


cdef inline void loss_and_gradients(Work *w, int rank, int threads) noexcept nogil:
    """losses and, where w.backward, gradients of their mean; after pack_parameters and a barrier."""
    cdef Py_ssize_t T = w.seq_length, chunks = (T + w.chunk - 1) // w.chunk, steps = (T + chunks - 1) // chunks
    cdef Py_ssize_t group = steps * w.group, t, stop, chunk, blocks, first, last, i
    for t from 0 <= t < T by group:
        stop = min(t + group, T)
        forward(w, rank, threads, t, stop)
        barrier_wait(&w.barrier)
        blocks = (stop - t + steps - 1) // steps * blocks_of_chunk(w, steps)
        for first from 0 <= first < blocks by w.blocks:
            last = min(first + w.blocks, blocks)
            for i in range(first, last):
                head(w, rank, threads, block_of(w, t, stop, steps, i))
            barrier_wait(&w.barrier)
            if w.backward:
                for i in range(first, last):
                    head_gradients(w, rank, threads, block_of(w, t, stop, steps, i))
                if last < blocks:
                    barrier_wait(&w.barrier)
    if not w.backward:
        return
    for t from (T - 1) // group * group >= t >= 0 by group:
        stop = min(t + group, T)
        backward(w, rank, threads, t, stop)
        barrier_wait(&w.barrier)
        for chunk from t + (stop - t - 1) // steps * steps >= chunk >= t by steps:
            weight_gradients(w, rank, threads, chunk, min(chunk + steps, stop))
