"""The recurrent network over T steps and B rows, and backpropagation through time.

    forward              h[t] = cell(x[t], h[t-1]) for every layer
    head                 logits, loss, and the gradient that comes down from them
    backward             BPTT: dz[t] from the head and from dz[t+1], t = T-1 ... 0
    head_gradients       dweight, dbias of the head
    weight_gradients     those of the layers: sums over all T B positions

Shapes: T time, B batch, V symbols, H hidden units, L layers. Arrays are (T, B, ...), and a position is the number
t B + b. A row of H numbers takes `stride`, which is H rounded up, with zeros behind.

Design. Rows of the batch know nothing of one another in `forward` and `backward`, positions nothing in `head`,
and the elements of a weight gradient nothing in the last two. So each function does the share of one thread, a
range of rows, positions or columns, between barriers; no sum is split between threads, and the bits of the
result do not depend on their number. What must be done one step after another is just h[t-1] W_hh and
dz[t] W_hh. All else is large products: the input of the upper layers, the logits, the weight gradients.

Where an input is END, the state before it is zero: its row takes no part in h[t-1] W_hh, nor in its gradients.
The input of layer 0 is a symbol, so its product is a row of `table` = weight_ih + biases.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from charrnn.kernels.gemm cimport (
    BLOCK_K,
    BLOCK_M,
    TILE_VECTORS,
    Matrix,
    Panels,
    in_place,
    matrix,
    multiply,
    multiply_panels,
    pack_panel,
    packed,
    panel_width,
    round_up,
)
from charrnn.kernels.rnn cimport rnn_backward, rnn_forward
from charrnn.kernels.simd cimport LANES, real, vload, vreal, vsplat, vstore, vsum
from charrnn.kernels.softmax cimport cross_entropy_backward, cross_entropy_forward
from charrnn.kernels.threads cimport barrier_wait, thread_barrier

cdef enum:
    # Rows of a weight gradient that are made at once: with BLOCK_K steps, 256 KiB in float32.
    TASK_ROWS = 256
    # A right factor up to this size is read in place: the core's first-level TLB reaches about so far.
    IN_PLACE_BYTES = 288 << 10


cdef struct Layer:
    real *weight_ih             # (V or H, H): the transpose of PyTorch's, so that a symbol's weights are a row
    real *weight_hh             # (H, H): the transpose of PyTorch's
    real *bias_ih               # (H)
    real *bias_hh               # (H)


cdef struct Head:
    real *weight                # (V, H)
    real *bias                  # (V)


cdef struct Sizes:
    Py_ssize_t vocab_size
    Py_ssize_t hidden_size
    Py_ssize_t num_layers
    Py_ssize_t stride           # of a row of H


cdef struct Work:
    Sizes sizes
    Py_ssize_t seq_length       # T of this pass
    Py_ssize_t batch_size
    Py_ssize_t max_seq_length   # T that the buffers have room for
    Py_ssize_t block            # positions whose logits are held at once
    int end                     # index of END, or -1
    bint backward               # whether the buffers for gradients are there
    real *parameters
    real *gradients
    int *inputs                 # (T, B)
    int *targets                # (T, B)
    double *losses              # (T, B), nats
    real *h                     # (L, T + 1, B, H); [:, 0] is the state before the first step
    real *up                    # (L, T, B, H): the output after dropout; without dropout h[:, 1:] itself
    real *mask                  # (L, T, B, H) of dropout
    real *dz                    # (L, T, B, H)
    real *logits                # (V, block), then dlogits
    real *sums                  # (block)
    real *no_end                # (B, H)
    const real **start          # (T, B)
    real *table                 # (V, H): weight_ih + bias_ih + bias_hh of layer 0
    real *bias                  # (L, H): bias_ih + bias_hh
    bint in_place               # the forward products of weight_hh read it where it lies
    real *forward_panels        # weight_ih, weight_hh of each layer, packed for the forward products
    real *backward_panels       # their transposes, for the backward products
    real *scratch               # of each thread: scratch_size
    Py_ssize_t scratch_size
    double dropout
    uint64_t dropout_key        # of this step
    thread_barrier barrier
    long interrupted
    double unpolled             # floating-point operations since the last look at signals
    void (*look_at_signals)(Work *w) noexcept nogil
    void *owner                 # whoever look_at_signals tells of an exception


cdef inline Py_ssize_t layer_size(Sizes *s, Py_ssize_t layer) noexcept nogil:
    return ((s.vocab_size if layer == 0 else s.hidden_size) + s.hidden_size + 2) * s.stride


cdef inline Layer layer_of(Sizes *s, real *arena, Py_ssize_t layer) noexcept nogil:
    """The parameters, or the gradients, of a layer in their arena."""
    cdef Layer p
    cdef Py_ssize_t l
    for l in range(layer):
        arena += layer_size(s, l)
    p.weight_ih = arena
    p.weight_hh = p.weight_ih + (s.vocab_size if layer == 0 else s.hidden_size) * s.stride
    p.bias_ih = p.weight_hh + s.hidden_size * s.stride
    p.bias_hh = p.bias_ih + s.stride
    return p


cdef inline Head head_of(Sizes *s, real *arena) noexcept nogil:
    cdef Head p
    cdef Py_ssize_t l
    for l in range(s.num_layers):
        arena += layer_size(s, l)
    p.weight = arena
    p.bias = p.weight + s.vocab_size * s.stride
    return p


cdef inline real *state_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """h of a layer before step t, (B, H); after it, that is before step t + 1."""
    return w.h + (layer * (w.max_seq_length + 1) + t) * w.batch_size * w.sizes.stride


cdef inline real *output_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """What a layer hands up at step t, (B, H)."""
    if w.dropout == 0:
        return state_rows(w, layer, t + 1)
    return w.up + (layer * w.max_seq_length + t) * w.batch_size * w.sizes.stride


cdef inline real *mask_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    return w.mask + (layer * w.max_seq_length + t) * w.batch_size * w.sizes.stride


cdef inline real *dz_rows(Work *w, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    return w.dz + (layer * w.max_seq_length + t) * w.batch_size * w.sizes.stride


cdef inline real *layer_panels(Work *w, real *panels, Py_ssize_t layer, bint recurrent) noexcept nogil:
    """The panels of a layer's weight_hh, or of its weight_ih (layer > 0)."""
    return panels + (2 * layer + recurrent) * w.sizes.hidden_size * round_up(w.sizes.hidden_size, LANES)


cdef inline void poll(Work *w, int rank, double operations) noexcept nogil:
    """Lets the first thread see Ctrl-C now and then, however large a step is."""
    if rank == 0:
        w.unpolled += operations
        if w.unpolled > 1e9:
            w.unpolled = 0
            w.look_at_signals(w)


# Packing ----------------------------------------------------------------------------------------------------


cdef inline Py_ssize_t pack_share(
    Py_ssize_t task,            # number of the first panel
    int rank,
    int threads,
    Py_ssize_t k,
    Py_ssize_t n,
    Matrix b,                   # IN (k, n)
    real *panels,               # OUT
) noexcept nogil:
    """Packs this thread's panels of b; the number of the panel after the last."""
    cdef Py_ssize_t first = 0, width
    while first < n:
        width = panel_width(n, first)
        if task % threads == rank:
            pack_panel(k, width, min(width, n - first),
                       matrix(b.data + first * b.column_stride, b.row_stride, b.column_stride), panels + k * first)
        task += 1
        first += width
    return task


cdef inline void pack_parameters(Work *w, int rank, int threads) noexcept nogil:
    """Everything that is computed from the parameters alone, once for all that follows."""
    cdef Sizes *s = &w.sizes
    cdef Py_ssize_t H = s.hidden_size, ld = s.stride, l, v, j, task = 0
    cdef Layer p = layer_of(s, w.parameters, 0)
    for v in range(s.vocab_size * rank // threads, s.vocab_size * (rank + 1) // threads):
        for j in range(ld):
            w.table[v * ld + j] = p.weight_ih[v * ld + j] + (p.bias_ih[j] + p.bias_hh[j])
    for l in range(s.num_layers):
        p = layer_of(s, w.parameters, l)
        if rank == 0:
            for j in range(ld):
                w.bias[l * ld + j] = p.bias_ih[j] + p.bias_hh[j]
        if not w.in_place:
            task = pack_share(task, rank, threads, H, H, matrix(p.weight_hh, ld, 1),
                              layer_panels(w, w.forward_panels, l, True))
        if l > 0:
            task = pack_share(task, rank, threads, H, H, matrix(p.weight_ih, ld, 1),
                              layer_panels(w, w.forward_panels, l, False))
        if w.backward:
            task = pack_share(task, rank, threads, H, H, matrix(p.weight_hh, 1, ld),
                              layer_panels(w, w.backward_panels, l, True))
            if l > 0:
                task = pack_share(task, rank, threads, H, H, matrix(p.weight_ih, 1, ld),
                                  layer_panels(w, w.backward_panels, l, False))


# Forward ----------------------------------------------------------------------------------------------------


cdef inline const real *rows_without_end(
    Work *w, const real *rows, Py_ssize_t t, Py_ssize_t b0, Py_ssize_t b1
) noexcept nogil:
    """rows (B, H) with zeros in those of b0 ... b1 whose input at step t is END."""
    cdef const int *inputs = w.inputs + t * w.batch_size
    cdef Py_ssize_t ld = w.sizes.stride, b
    cdef bint found = False
    if w.end < 0:
        return rows
    for b in range(b0, b1):
        found |= inputs[b] == w.end
    if not found:
        return rows
    for b in range(b0, b1):
        if inputs[b] == w.end:
            memset(w.no_end + b * ld, 0, ld * sizeof(real))
        else:
            memcpy(w.no_end + b * ld, rows + b * ld, ld * sizeof(real))
    return w.no_end


cdef inline void product_of_all_steps(
    Work *w,
    int rank,
    Py_ssize_t b0,
    Py_ssize_t b1,
    const real *a,              # IN (T, B, H)
    Panels b,                   # IN (H, H)
    const real *start,          # IN (H), or NULL for zeros
    real *c,                    # OUT (T, B, H)
) noexcept nogil:
    """c[:, b0:b1] := start + a[:, b0:b1].b"""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, B = w.batch_size, T = w.seq_length, t, i
    cdef Py_ssize_t first, rows
    cdef const real **starts = w.start + b0
    if b0 == 0 and b1 == B:     # one product of T B rows
        b1 = T * B
        T = 1
    for i in range(min(b1 - b0, <Py_ssize_t>BLOCK_M)):
        starts[i] = start
    for t in range(T):
        for first from b0 <= first < b1 by BLOCK_M:
            rows = min(b1 - first, <Py_ssize_t>BLOCK_M)
            multiply(rows, H, H, matrix(a + (t * B + first) * ld, ld, 1), b, NULL if start == NULL else starts,
                     c + (t * B + first) * ld, ld)
            poll(w, rank, 2.0 * rows * H * H)
            if w.interrupted:
                return


cdef inline uint32_t hash32(uint32_t x) noexcept nogil:
    """A bijection whose output bits each depend on all input bits (the finaliser of MurmurHash3, Appleby)."""
    x ^= x >> 16
    x *= <uint32_t>0x85ebca6b
    x ^= x >> 13
    x *= <uint32_t>0xc2b2ae35
    return x ^ (x >> 16)


cdef inline void dropout_forward(Work *w, Py_ssize_t layer, Py_ssize_t t, Py_ssize_t b0, Py_ssize_t b1) noexcept nogil:
    """up := h mask, where mask is 1 / (1 - dropout) or 0 by a hash of the step, the layer, t, b and the unit, so
    that it is the same whichever thread asks."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, b, j
    cdef const real *h = state_rows(w, layer, t + 1)
    cdef real *mask = mask_rows(w, layer, t)
    cdef real *up = output_rows(w, layer, t)
    cdef real keep = <real>(1 / (1 - w.dropout))
    cdef uint32_t key, threshold = <uint32_t>(w.dropout * 4294967296.0)
    for b in range(b0, b1):
        key = hash32(<uint32_t>w.dropout_key + hash32(<uint32_t>(w.dropout_key >> 32)
                     + hash32(<uint32_t>((layer * w.seq_length + t) * w.batch_size + b))))
        for j in range(H):
            mask[b * ld + j] = keep if hash32(key + <uint32_t>j) >= threshold else 0
        for j in range(H):
            up[b * ld + j] = h[b * ld + j] * mask[b * ld + j]


cdef inline void forward(Work *w, int rank, int threads) noexcept nogil:
    """h of every layer and step, for this thread's rows."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, T = w.seq_length, B = w.batch_size, l, t, b
    cdef Py_ssize_t b0 = B * rank // threads, b1 = B * (rank + 1) // threads
    cdef const real **start = w.start + b0
    cdef const real *h_prev
    cdef real *h
    cdef Panels weight_hh
    if b0 == b1:
        return
    for l in range(w.sizes.num_layers):
        weight_hh = packed(H, layer_panels(w, w.forward_panels, l, True))
        if w.in_place:
            weight_hh = in_place(layer_of(&w.sizes, w.parameters, l).weight_hh, ld)
        if l > 0:
            product_of_all_steps(w, rank, b0, b1, output_rows(w, l - 1, 0),
                                 packed(H, layer_panels(w, w.forward_panels, l, False)), w.bias + l * ld,
                                 state_rows(w, l, 1))
        for t in range(T):
            h = state_rows(w, l, t + 1)
            for b in range(b0, b1):
                w.start[b] = w.table + w.inputs[t * B + b] * ld if l == 0 else h + b * ld
            h_prev = rows_without_end(w, state_rows(w, l, t), t, b0, b1)
            multiply(b1 - b0, H, H, matrix(h_prev + b0 * ld, ld, 1), weight_hh, start, h + b0 * ld, ld)
            rnn_forward(b1 - b0, H, ld, h + b0 * ld)
            if w.dropout > 0:
                dropout_forward(w, l, t, b0, b1)
            poll(w, rank, 2.0 * w.batch_size * H * H)
            if w.interrupted:
                return


cdef inline void head_forward(
    Work *w,
    int rank,
    Py_ssize_t position,        # the first of at most TILE_VECTORS * LANES
    Py_ssize_t count,
    real *logits,               # OUT (V, w.block) without bias
) noexcept nogil:
    """logits := head.weight.h^T: the symbols are rows, the positions columns."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, V = w.sizes.vocab_size
    cdef Py_ssize_t width = round_up(count, LANES)
    cdef real *h_panel = w.scratch + rank * w.scratch_size
    pack_panel(H, width, count, matrix(output_rows(w, w.sizes.num_layers - 1, 0) + position * ld, 1, ld), h_panel)
    multiply_panels(V, width, H, matrix(head_of(&w.sizes, w.parameters).weight, ld, 1), packed(H, h_panel), NULL, 0,
                    logits, w.block)


cdef inline void head(Work *w, int rank, int threads, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Logits and losses of this thread's positions among first ... first + count and, for the backward pass,
    dlogits and the dh that it brings down to the upper layer."""
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, V = w.sizes.vocab_size
    cdef Py_ssize_t panel = TILE_VECTORS * LANES, panels = (count + panel - 1) // panel
    cdef Py_ssize_t column, position, n, i
    cdef real scale = <real>(1.0 / (w.seq_length * w.batch_size))
    cdef Head p = head_of(&w.sizes, w.parameters)
    cdef real *dh
    for i in range(panels * rank // threads, panels * (rank + 1) // threads):
        column = i * panel
        position = first + column
        n = min(panel, count - column)
        head_forward(w, rank, position, n, w.logits + column)
        cross_entropy_forward(V, n, w.block, p.bias, w.logits + column, w.targets + position, w.losses + position,
                              w.sums + column)
        if w.backward:
            cross_entropy_backward(V, n, w.block, w.logits + column, w.targets + position, w.sums + column, scale)
            dh = dz_rows(w, w.sizes.num_layers - 1, 0) + position * ld
            multiply(n, H, V, matrix(w.logits + column, 1, w.block), in_place(p.weight, ld), NULL, dh, ld)
            if w.dropout > 0:
                apply_mask(n, H, ld, mask_rows(w, w.sizes.num_layers - 1, 0) + position * ld, dh)
        poll(w, rank, 4.0 * n * H * V * threads)
        if w.interrupted:
            return


cdef inline void apply_mask(
    Py_ssize_t rows, Py_ssize_t hidden_size, Py_ssize_t stride, const real *mask, real *dh
) noexcept nogil:
    cdef Py_ssize_t row, j
    for row in range(rows):
        for j in range(hidden_size):
            dh[row * stride + j] *= mask[row * stride + j]


# Backward ---------------------------------------------------------------------------------------------------


cdef inline void backward(Work *w, int rank, int threads) noexcept nogil:
    """Backpropagation through time: dz of every layer and step, for this thread's rows.

    dz[t] = (dh[t] from above + dz[t+1].W_hh) * tanh'(z[t]); the layer below receives dh = dz.W_ih.
    """
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, T = w.seq_length, B = w.batch_size, l, t, b
    cdef Py_ssize_t b0 = B * rank // threads, b1 = B * (rank + 1) // threads
    cdef real *dz
    cdef real *dh_prev
    if b0 == b1:
        return
    for l in range(w.sizes.num_layers - 1, -1, -1):
        for t in range(T - 1, -1, -1):
            dz = dz_rows(w, l, t)
            rnn_backward(b1 - b0, H, ld, state_rows(w, l, t + 1) + b0 * ld, dz + b0 * ld)
            if t == 0:
                break
            dh_prev = dz_rows(w, l, t - 1)
            for b in range(b0, b1):
                w.start[b] = dh_prev + b * ld
            multiply(b1 - b0, H, H, matrix(rows_without_end(w, dz, t, b0, b1) + b0 * ld, ld, 1),
                     packed(H, layer_panels(w, w.backward_panels, l, True)), w.start + b0, dh_prev + b0 * ld, ld)
            poll(w, rank, 2.0 * B * H * H)
            if w.interrupted:
                return
        if l > 0:
            product_of_all_steps(w, rank, b0, b1, dz_rows(w, l, 0),
                                 packed(H, layer_panels(w, w.backward_panels, l, False)), NULL, dz_rows(w, l - 1, 0))
            if w.dropout > 0:
                for t in range(T):
                    apply_mask(b1 - b0, H, ld, mask_rows(w, l - 1, t) + b0 * ld, dz_rows(w, l - 1, t) + b0 * ld)


# Weight gradients -------------------------------------------------------------------------------------------


# Which of the tasks are a thread's: those whose middle, by cost, lies in its part of the whole.
cdef struct Share:
    int rank
    int threads
    double total
    double done


cdef inline bint is_mine(Share *share, double cost) noexcept nogil:
    cdef double middle = share.done + cost / 2
    share.done += cost
    return <int>(middle * share.threads / share.total) == share.rank


cdef inline void accumulate_product(
    Work *w,
    Share *share,
    Py_ssize_t m,
    Py_ssize_t k,
    Matrix a,                   # IN (m, k)
    const real *b,              # IN (k, H)
    const int *inputs,          # IN (k): rows of b where this is END count as zero; NULL where there are none
    bint add,                   # to what c holds
    real *c,                    # OUT (m, H)
) noexcept nogil:
    """c := a.b, or c += a.b: this thread's panels of it.

    A block of TASK_ROWS columns of a^T by BLOCK_K steps stays in L2 while all panels of b go by.
    """
    cdef Py_ssize_t H = w.sizes.hidden_size, ld = w.sizes.stride, first = 0, stop = 0, width, row, rows, step, steps, i
    cdef real *panel = w.scratch + share.rank * w.scratch_size
    cdef const real *start[TASK_ROWS]
    cdef Py_ssize_t mine = H
    cdef Panels panels
    while first < H:
        width = panel_width(H, first)
        if is_mine(share, m * width):
            mine = min(mine, first)
            stop = first + width
        first += width
    for row from 0 <= row < m by TASK_ROWS:
        rows = min(<Py_ssize_t>TASK_ROWS, m - row)
        for i in range(rows):
            start[i] = c + (row + i) * ld
        for step from 0 <= step < k by BLOCK_K:
            steps = min(<Py_ssize_t>BLOCK_K, k - step)
            first = mine
            while first < stop and not w.interrupted:
                width = panel_width(H, first)
                panels = in_place(b + step * ld + first, ld)
                if inputs != NULL or BLOCK_K * ld * <Py_ssize_t>sizeof(real) > IN_PLACE_BYTES:
                    pack_panel(steps, width, width, matrix(panels.data, ld, 1), panel)
                    panels = packed(steps, panel)
                if inputs != NULL:
                    for i in range(steps):
                        if inputs[step + i] == w.end:
                            zero_row(width, panel + i * width)
                multiply_panels(
                    rows, width, steps,
                    matrix(a.data + row * a.row_stride + step * a.column_stride, a.row_stride, a.column_stride),
                    panels, NULL if step == 0 and not add else start, first, c + row * ld, ld)
                poll(w, share.rank, 2.0 * rows * width * steps * share.threads)
                first += width


cdef inline void head_gradients(Work *w, int rank, int threads, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """dweight = dlogits.h and dbias = sum dlogits, added up over the blocks of positions."""
    cdef Py_ssize_t V = w.sizes.vocab_size, H = w.sizes.hidden_size, ld = w.sizes.stride, v, i
    cdef Head d = head_of(&w.sizes, w.gradients)
    cdef Share share = Share(rank, threads, <double>V * round_up(H, LANES), 0)
    cdef vreal total
    accumulate_product(w, &share, V, count, matrix(w.logits, w.block, 1),
                       output_rows(w, w.sizes.num_layers - 1, 0) + first * ld, NULL, first > 0, d.weight)
    for v in range(V * rank // threads, V * (rank + 1) // threads):
        total = vload(w.logits + v * w.block)
        for i from LANES <= i < count by LANES:
            total = total + vload(w.logits + v * w.block + i)
        d.bias[v] = vsum(total) + (d.bias[v] if first > 0 else 0)


cdef inline void column_sums(
    Py_ssize_t rows, Py_ssize_t width, Py_ssize_t stride, const real *x, real *sums
) noexcept nogil:
    cdef Py_ssize_t row, j
    cdef vreal total
    for j from 0 <= j < width by LANES:
        total = vsplat(0)
        for row in range(rows):
            total = total + vload(x + row * stride + j)
        vstore(sums + j, total)


cdef inline void weight_gradients(Work *w, int rank, int threads) noexcept nogil:
    """dweight_hh = sum h[t-1]^T.dz[t], dweight_ih = sum x[t]^T.dz[t], dbias = sum dz[t]; all overwritten."""
    cdef Py_ssize_t V = w.sizes.vocab_size, H = w.sizes.hidden_size, ld = w.sizes.stride, L = w.sizes.num_layers
    cdef Py_ssize_t N = w.seq_length * w.batch_size, l, i, first, width
    cdef Share share = Share(rank, threads, ((2 * L - 1) * H + 4 * L) * <double>round_up(H, LANES), 0)
    cdef const real *dz
    cdef Layer d
    for l in range(L):
        d = layer_of(&w.sizes, w.gradients, l)
        dz = dz_rows(w, l, 0)
        accumulate_product(w, &share, H, N, matrix(state_rows(w, l, 0), 1, ld), dz, w.inputs if w.end >= 0 else NULL,
                           False, d.weight_hh)
        if l > 0:
            accumulate_product(w, &share, H, N, matrix(output_rows(w, l - 1, 0), 1, ld), dz, NULL, False, d.weight_ih)
        first = 0
        while first < H:
            width = panel_width(H, first)
            if is_mine(&share, 4 * width):
                if l == 0:
                    for i in range(V):
                        zero_row(width, d.weight_ih + i * ld + first)
                    for i in range(N):
                        add_row(width, dz + i * ld + first, d.weight_ih + w.inputs[i] * ld + first)
                    # Every position has one symbol: the sum over symbols is the sum over positions.
                    column_sums(V, width, ld, d.weight_ih + first, d.bias_ih + first)
                else:
                    column_sums(N, width, ld, dz + first, d.bias_ih + first)
                for i in range(width):
                    d.bias_hh[first + i] = d.bias_ih[first + i]
            first += width


cdef inline void add_row(Py_ssize_t width, const real *x, real *sums) noexcept nogil:
    cdef Py_ssize_t j
    for j from 0 <= j < width by LANES:
        vstore(sums + j, vload(sums + j) + vload(x + j))


cdef inline void zero_row(Py_ssize_t width, real *x) noexcept nogil:
    cdef Py_ssize_t j
    for j from 0 <= j < width by LANES:
        vstore(x + j, vsplat(0))


# All of it --------------------------------------------------------------------------------------------------


cdef inline void loss_and_gradients(Work *w, int rank, int threads) noexcept nogil:
    """losses and, where w.backward, gradients of their mean; after pack_parameters and a barrier."""
    cdef Py_ssize_t N = w.seq_length * w.batch_size, first, count
    forward(w, rank, threads)
    barrier_wait(&w.barrier)
    for first from 0 <= first < N by w.block:
        count = min(w.block, N - first)
        head(w, rank, threads, first, count)
        barrier_wait(&w.barrier)
        if w.backward:
            head_gradients(w, rank, threads, first, count)
            if first + count < N:
                barrier_wait(&w.barrier)
    if w.backward:
        backward(w, rank, threads)
        barrier_wait(&w.barrier)
        weight_gradients(w, rank, threads)
