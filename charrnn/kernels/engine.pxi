# Engine: the buffers of a pass, its threads, and the calls that read symbols. Knows nothing of optimizers or drawing.
import threading

import numpy as np

from charrnn.system import check_memory

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport ceil
from libc.string cimport memcpy, memset

from charrnn.kernels.bptt cimport loss_and_gradients
from charrnn.kernels.cells cimport LSTM, gates_of, slots_of
from charrnn.kernels.forward cimport forward
from charrnn.kernels.head cimport HEAD_POSITIONS, head_forward
from charrnn.kernels.network cimport Sizes, head_of
from charrnn.kernels.pack cimport BLOCK_K, BLOCK_M, TILE_VECTORS, round_up
from charrnn.kernels.parallel cimport MIN_ROWS_PER_THREAD, num_column_threads, poll
from charrnn.kernels.simd cimport LANES, TILE_ROWS, real
from charrnn.kernels.softmax cimport mean_loss
from charrnn.kernels.threads cimport atomic_set, barrier_wait, run_team, seconds_now
from charrnn.kernels.work cimport Work, as_target, gate_rows_stride, memory_rows, pack_parameters, state_rows

cdef enum:
    # The first-level TLB of a core reaches about so far.
    TLB_REACH = 288 << 10
    # The largest recurrent weights of a layer with which a pass goes by chunks of steps.
    CHUNK_BYTES = 2 << 20
    # What a thread takes between two barriers, if there are others.
    CHUNKS_A_THREAD = 2
    # Logits held at once; with a larger vocabulary fewer positions fit.
    LOGITS = 1 << 22


# A buffer that is dealt out in parts, one after another; of no memory yet (start is NULL) the parts are only counted.
cdef struct Layout:
    real *start
    double size                 # numbers dealt out: a double, for they may be more than an integer holds


cdef real *part(Layout *layout, double n) noexcept:
    """The next n numbers of the buffer."""
    cdef real *start = layout.start
    if start != NULL:
        start += <Py_ssize_t>layout.size
    layout.size += ceil(n / PADDING) * PADDING
    return start


cdef void *bytes_part(Layout *layout, double n) noexcept:
    """The next n bytes of the buffer."""
    return part(layout, ceil(n / sizeof(real)))


cdef class Engine:
    """Runs a network forward, and backward where `gradients` is given, over batches of up to (T, B) symbols.

    It reads the parameters anew at each call and keeps everything else it needs in buffers of its own.
    """
    cdef Work work
    cdef readonly Network network
    cdef readonly int num_threads
    cdef object error
    cdef object _buffer
    cdef readonly double num_bytes  # of the buffer
    cdef real[::1] _parameters
    cdef real[::1] _gradients

    def __init__(
        self,
        Network network not None,
        real[::1] parameters not None,
        Py_ssize_t seq_length,
        Py_ssize_t batch_size,
        *,
        int end=-1,
        real[::1] gradients=None,
        double dropout=0,
        double recurrent_dropout=0,
        int num_threads=1,
    ):
        check_at_least("seq_length", seq_length, 1)
        check_at_least("batch_size", batch_size, 1)
        check_at_least("num_threads", num_threads, 1)
        check_length("parameters", parameters.shape[0], network.arena_size)
        if gradients is not None:
            check_length("gradients", gradients.shape[0], network.arena_size)
        if network.num_labels > 0 and end < 0:
            raise ValueError(f"end must be the index of END where there are labels, got {end}")
        self._set_sizes(network, seq_length, batch_size, gradients is not None, dropout, recurrent_dropout, num_threads)
        check_memory(self.num_bytes, hidden_size=network.hidden_size, num_layers=network.num_layers,
                     batch_size=batch_size, seq_length=seq_length, num_threads=num_threads)
        # One array, in large pages: some strides are so long that the core would wait for the addresses of small ones.
        cdef real[::1] buffer = aligned_zeros(<Py_ssize_t>(self.num_bytes / sizeof(real)))
        cdef Layout layout = Layout(&buffer[0], 0)
        self._buffer = buffer
        self._lay_out(&layout)
        self._parameters = parameters
        self._gradients = gradients
        self.work.parameters = &parameters[0]
        if gradients is not None:
            self.work.gradients = &gradients[0]
        self.work.end = end
        self.work.engine = <void *>self
        self.work.look_at_signals = look_at_signals

    @classmethod
    def bytes_for(cls, Network network not None, Py_ssize_t seq_length, Py_ssize_t batch_size, bint backward,
                  double dropout, double recurrent_dropout, int num_threads):
        """What an engine of these sizes takes, beside the arenas."""
        cdef Engine engine = Engine.__new__(Engine)
        engine._set_sizes(network, seq_length, batch_size, backward, dropout, recurrent_dropout, num_threads)
        return engine.num_bytes

    cdef _set_sizes(self, Network network, Py_ssize_t seq_length, Py_ssize_t batch_size, bint backward, double dropout,
                    double recurrent_dropout, int num_threads):
        """Everything but memory; num_bytes is what that will be."""
        cdef Layout counted = Layout(NULL, 0)
        cdef Work *w = &self.work
        cdef Sizes *s = &network.sizes
        cdef Py_ssize_t panel = TILE_VECTORS * LANES
        cdef double positions
        memset(w, 0, sizeof(Work))
        self.network = network
        w.sizes = s[0]
        w.max_seq_length = w.seq_length = seq_length
        w.batch_size = batch_size
        self.num_threads = num_threads
        if batch_size == 1 and not backward:    # the others would have nothing to do but some logits
            self.num_threads = max(num_column_threads(w, num_threads), 1)
        w.backward = backward
        w.dropout = dropout
        w.recurrent_dropout = recurrent_dropout
        # Where one tile takes all rows, to pack would cost as much as a product.
        w.in_place = batch_size <= TILE_ROWS and s.hidden_size * s.stride * sizeof(real) <= TLB_REACH
        # Chunks of steps stay in the cache if the weights that each of them meets leave room there.
        w.chunk = seq_length
        if gates_of(s.cell) * s.hidden_size * s.stride * sizeof(real) <= CHUNK_BYTES:
            w.chunk = min(seq_length, max(BLOCK_K // batch_size, 1))
        # Threads wait for each other now and then, and whatever holds up one of them holds up all.
        w.group = 1 if self.num_threads == 1 else CHUNKS_A_THREAD * self.num_threads
        positions = min(<double>w.chunk * batch_size, BLOCK_K)
        w.logits_block = round_up(<Py_ssize_t>min(positions, max(LOGITS // s.vocab_size, 1)), panel)
        w.logits_stride = padded(w.logits_block)
        positions = min(<double>w.chunk * w.group, seq_length) * batch_size
        w.blocks = <Py_ssize_t>min(ceil(positions / w.logits_block), max(LOGITS // (s.vocab_size * w.logits_stride), 1))
        w.scratch_size = s.hidden_size * HEAD_POSITIONS
        if w.backward:
            w.scratch_size = max(w.scratch_size, BLOCK_K * (round_up(s.hidden_size, LANES) + BLOCK_M) + LANES)
        w.scratch_size = round_up(w.scratch_size, PADDING)
        self._lay_out(&counted)
        self.num_bytes = counted.size * sizeof(real)

    cdef _lay_out(self, Layout *layout):
        """Gives each array of a pass its part of the buffer."""
        cdef Work *w = &self.work
        cdef Sizes *s = &w.sizes
        # As doubles: they may be too large for an integer.
        cdef double B = w.batch_size, N = B * w.max_seq_length, L = s.num_layers, row = s.stride
        cdef double panels = 2 * L * gates_of(s.cell) * s.hidden_size * round_up(s.hidden_size, LANES)
        # Threads that share columns each have rows of their own for all of the batch.
        cdef double rows = B * (self.num_threads if B < <double>MIN_ROWS_PER_THREAD * self.num_threads else 1)
        w.inputs = <int *>bytes_part(layout, N * sizeof(int))
        w.targets = <int *>bytes_part(layout, N * sizeof(int))
        w.start = <const real **>bytes_part(layout, rows * sizeof(real *))
        w.losses = <double *>bytes_part(layout, N * sizeof(double))
        w.h = part(layout, L * (N + B) * row)
        if s.cell == LSTM:
            w.c = part(layout, L * (N + B) * row)
        if slots_of(s.cell) > 1:
            w.gate_rows = part(layout, L * N * gate_rows_stride(w))
        w.zeros = part(layout, row)
        w.bias = part(layout, L * gate_rows_stride(w))
        w.forward_panels = part(layout, panels)
        w.logits = part(layout, <double>s.vocab_size * w.logits_stride * w.blocks)
        w.sums = part(layout, <double>w.logits_block * w.blocks)
        w.scratch = part(layout, <double>w.scratch_size * self.num_threads)
        w.no_end = part(layout, rows * gate_rows_stride(w))
        if w.dropout > 0:
            w.dropped_h = part(layout, L * N * row)
            w.mask = part(layout, L * N * row)
        if w.recurrent_dropout > 0:
            w.h_in = part(layout, L * N * row)
            w.recurrent_mask = part(layout, L * B * row)
            w.dh_in = part(layout, B * row)
        if w.backward:
            w.dh = part(layout, L * N * row)
            w.backward_panels = part(layout, panels)
            w.carry = part(layout, L * B * row)

    @property
    def seq_length(self):
        """The most steps of a call."""
        return self.work.max_seq_length

    # State: that before the first step of the next call, in the network's state_shape.

    cdef real *state_row(self, Py_ssize_t i) noexcept nogil:
        """The i-th row of H numbers of the state."""
        cdef Py_ssize_t L = self.work.sizes.num_layers, B = self.work.batch_size, row = i % B * self.work.sizes.stride
        i = i // B
        return (state_rows(&self.work, i, 0) if i < L else memory_rows(&self.work, i - L, 0)) + row

    def get_state(self):
        """A copy of the state after the last step."""
        state = np.empty(self.network.state_shape(self.work.batch_size), DTYPE)
        cdef real[:, ::1] rows = state.reshape(-1, self.work.sizes.hidden_size)
        cdef Py_ssize_t i
        for i in range(rows.shape[0]):
            memcpy(&rows[i, 0], self.state_row(i), self.work.sizes.hidden_size * sizeof(real))
        return state

    def set_state(self, state):
        """Start the next call from this state, from zero where it is None."""
        shape = self.network.state_shape(self.work.batch_size)
        if state is None:
            state = np.zeros(shape, DTYPE)
        if state.shape != shape:
            raise ValueError(f"state must have shape {shape}, got {state.shape}")
        cdef const real[:, ::1] rows = np.ascontiguousarray(state, DTYPE).reshape(-1, self.work.sizes.hidden_size)
        cdef Py_ssize_t i
        for i in range(rows.shape[0]):
            memcpy(self.state_row(i), &rows[i, 0], self.work.sizes.hidden_size * sizeof(real))

    # Calls: each reads (T, B) symbols, T at most seq_length, and carries the state on.

    def logits(self, const int[:, ::1] inputs not None):
        """Logits (T, B, V) of these inputs."""
        cdef Work *w = &self.work
        cdef Py_ssize_t V = w.sizes.vocab_size, panel = TILE_VECTORS * LANES, N, position, count, i, v
        cdef real *bias = head_of(&w.sizes, w.parameters).bias
        N = inputs.shape[0] * w.batch_size
        check_memory(<double>N * V * sizeof(real), vocab_size=V, seq_length=inputs.shape[0], batch_size=w.batch_size)
        self._load(inputs, None)
        array = np.empty((N, V), DTYPE)
        cdef real[:, ::1] logits = array
        self._begin()
        with nogil:
            pack_parameters(w, 0, 1)
            forward(w, 0, 1, 0, w.seq_length)
            for position from 0 <= position < N by panel:
                count = min(panel, N - position)
                head_forward(w, 0, position, count, w.logits)
                for i in range(count):
                    for v in range(V):
                        logits[position + i, v] = w.logits[v * w.logits_stride + i] + bias[v]
                poll(w, 0, 2.0 * count * V * w.sizes.hidden_size)
                if w.interrupted:
                    break
        self._finish()
        self._carry()
        return array.reshape(w.seq_length, w.batch_size, V)

    def losses(self, const int[:, ::1] inputs not None, const int[:, ::1] targets not None):
        """The loss (T, B), nats, of each target; where the engine has gradients, those of their mean as well."""
        cdef Work *w = &self.work
        self._load(inputs, targets)
        self._run()
        losses = np.empty((w.seq_length, w.batch_size), np.float64)
        cdef double[:, ::1] view = losses
        memcpy(&view[0, 0], w.losses, w.seq_length * w.batch_size * sizeof(double))
        self._carry()
        return losses

    def mean_loss(self):
        """The mean of what `losses` gave last."""
        return mean_loss(self.work.seq_length * self.work.batch_size, self.work.losses)

    cdef _load(self, const int[:, ::1] inputs, const int[:, ::1] targets):
        cdef Work *w = &self.work
        cdef Py_ssize_t i
        w.seq_length = inputs.shape[0]
        memcpy(w.inputs, &inputs[0, 0], w.seq_length * w.batch_size * sizeof(int))
        if targets is not None:
            for i in range(w.seq_length * w.batch_size):
                w.targets[i] = as_target(w, (&targets[0, 0])[i])

    cdef _carry(self):
        """The state after the last step becomes the state before the first one."""
        carry_state(&self.work, 0, self.work.batch_size, False)

    cdef _begin(self):
        """Before the work of a call: whether it is to look at signals, for which it would need Python's lock."""
        self.work.sees_signals = threading.get_ident() == threading.main_thread().ident
        self.work.signals_seen_at = seconds_now()

    cdef _run(self):
        """Does work_share on num_threads threads; raises what Ctrl-C raised meanwhile."""
        self._begin()
        with nogil:
            run_team(self.num_threads, share_of_engine, <void *>self, &self.work.barrier)
        self._finish()

    cdef void work_share(self, int rank, int threads) noexcept nogil:
        pack_parameters(&self.work, rank, threads)
        barrier_wait(&self.work.barrier)
        loss_and_gradients(&self.work, rank, threads)
        barrier_wait(&self.work.barrier)

    cdef _finish(self):
        error, self.error = self.error, None
        atomic_set(&self.work.interrupted, 0)
        if error is not None:
            raise error


cdef void carry_state(Work *w, Py_ssize_t b0, Py_ssize_t b1, bint restart) noexcept nogil:
    """The state of rows b0 ... b1 before the first step: the one after the last step, or zero."""
    cdef Py_ssize_t first = b0 * w.sizes.stride, size = (b1 - b0) * w.sizes.stride * sizeof(real), l
    for l in range(w.sizes.num_layers):
        carry_over(state_rows(w, l, 0) + first, state_rows(w, l, w.seq_length) + first, size, restart)
        if w.sizes.cell == LSTM:
            carry_over(memory_rows(w, l, 0) + first, memory_rows(w, l, w.seq_length) + first, size, restart)


cdef inline void carry_over(real *before, const real *after, size_t size, bint restart) noexcept nogil:
    if restart:
        memset(before, 0, size)
    else:
        memcpy(before, after, size)


cdef void share_of_engine(void *engine, int rank, int threads) noexcept nogil:
    (<Engine>engine).work_share(rank, threads)


cdef void look_at_signals(Work *w) noexcept nogil:
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            (<Engine>w.engine).error = error
            atomic_set(&w.interrupted, 1)
