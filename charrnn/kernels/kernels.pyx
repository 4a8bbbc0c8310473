"""What Python sees of the compiled kernels of one build: see charrnn.kernels."""
import threading
import time

import numpy as np

from charrnn.errors import as_array, choice, integer, number
from charrnn.system import check_memory

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, ceil, isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

from charrnn.kernels.activations cimport vexp, vsigmoid, vtanh
from charrnn.kernels.bptt cimport (
    HEAD_POSITIONS,
    ROWS_TO_SHARE,
    column_threads,
    forward,
    head_forward,
    loss_and_gradients,
    poll,
)
from charrnn.kernels.cells cimport (
    GRU,
    LSTM,
    RNN,
    Cell,
    Step,
    cell_backward,
    cell_forward,
    gates_of,
    recurrent_slot,
    slots_of,
)
from charrnn.kernels.gemm cimport BLOCK_K, BLOCK_M, TILE_VECTORS, matrix, multiply, pack, packed, round_up
from charrnn.kernels.network cimport (
    Head,
    Sizes,
    Work,
    head_of,
    layer_size,
    memory_rows,
    pack_parameters,
    slots_stride,
    state_rows,
)
from charrnn.kernels.optimizers cimport (
    ADAGRAD,
    ADAM,
    NORM_BLOCK,
    RMSPROP,
    SGD,
    Optimizer,
    clip_element,
    clip_scale,
    optimizer_update,
    sum_of_squares,
)
from charrnn.kernels.sampling cimport Candidate, Distribution, draw, probability_weights
from charrnn.kernels.simd cimport LANES, REAL_IS_DOUBLE, TILE_ROWS, inlined, real, vlane, vload, vreal, vsplat, vstore
from charrnn.kernels.softmax cimport cross_entropy_backward, cross_entropy_forward, mean_loss, softmax_column
from charrnn.kernels.threads cimport atomic_set, barrier_wait

DTYPE = np.dtype(np.float64 if REAL_IS_DOUBLE else np.float32)

cdef enum:
    ALIGNMENT = 64              # bytes: a cache line, and the widest vector
    LARGE_PAGE = 2 << 20        # bytes, on x86-64 and mostly on arm64
    PADDING = 16                # rows of a parameter are a multiple of this in every build
    # The first-level TLB of a core reaches about so far.
    TLB_REACH = 288 << 10
    # The largest recurrent weights of a layer with which a pass goes by chunks of steps.
    CHUNK_BYTES = 2 << 20
    # What a thread takes between two barriers, if there are others.
    CHUNKS_A_THREAD = 2
    # Logits held at once; with a larger vocabulary fewer positions fit.
    LOGITS = 1 << 22
    # Independent sums that hide the latency of a multiply-add: 4 cycles, two a cycle.
    PEAK_SUMS = 12


def aligned_zeros(Py_ssize_t n):
    """A zeroed vector of n numbers that begins on a cache line, or on a large page if it is as large as one."""
    cdef Py_ssize_t size = sizeof(real), alignment = ALIGNMENT, least = 0
    if n * size >= LARGE_PAGE:
        # For arrays of `least` NumPy asks the system for large pages: fewer addresses to look up, and no small pages
        # that share their places in the cache by chance.
        alignment, least = LARGE_PAGE, 2 * LARGE_PAGE
    array = np.zeros(max(n + alignment // size, least // size), DTYPE)
    cdef real[::1] view = array
    cdef Py_ssize_t start = (-<Py_ssize_t>&view[0] % alignment + alignment) % alignment // size
    return array[start:start + n]


cdef check_at_least(str name, double value, double least):
    if not value >= least:
        raise ValueError(f"{name} must be at least {least:g}, got {value:g}")


cdef check_length(str name, Py_ssize_t got, Py_ssize_t wanted):
    if got != wanted:
        raise ValueError(f"{name} must have length {wanted} where the other arguments say so, got {got}")


cdef numbers(str name, value, int ndim, bint written=False):
    """value as a C-contiguous array of this module's number type, and itself where it is written to."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    if value.dtype != DTYPE:
        raise TypeError(f"{name} must have dtype {DTYPE}, as the other arrays, got {value.dtype}")
    if value.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {value.shape}")
    if not written:
        return np.ascontiguousarray(value)
    if not value.flags.c_contiguous or not value.flags.writeable:
        what = "writeable" if value.flags.c_contiguous else "C-contiguous"
        raise ValueError(f"{name} must be {what}, for it is written to in place")
    return value


cdef indices(str name, value, int ndim, Py_ssize_t n):
    """value as a C-contiguous array of int32 from 0 to n - 1."""
    value = as_array(name, value)
    if value.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an array of integers, got dtype {value.dtype}")
    if value.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {value.shape}")
    if value.size and (value.min() < 0 or value.max() >= n):
        raise ValueError(f"{name} must be from 0 to {n - 1}, got {value[(value < 0) | (value >= n)][0]}")
    return np.ascontiguousarray(value, np.int32)


CELLS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


cdef Py_ssize_t padded(Py_ssize_t n):
    """Where the row after one of n numbers begins."""
    n = round_up(n, PADDING)
    # Rows a power of two apart would share few sets of the cache.
    return n + PADDING if n % 256 == 0 else n


cdef class Network:
    """The sizes of a recurrent network, and where each of its parameters lies in one flat arena.

    The arena holds layer after layer weight_ih, weight_hh, bias_ih, bias_hh, then the head's weight and bias, in rows
    that are padded with zeros which stay zero. weight_ih of layer 0 is transposed: the weights of a symbol are a row.
    """
    cdef Sizes sizes
    cdef readonly str cell

    def __init__(self, vocab_size, hidden_size, num_layers, cell="rnn"):
        vocab_size = integer("vocab_size", vocab_size, 1)
        hidden_size = integer("hidden_size", hidden_size, 1)
        num_layers = integer("num_layers", num_layers, 1)
        cell = choice("cell", cell, CELLS)
        # Before anything is multiplied that might overflow.
        GH = 1.0 * gates_of(CELLS[cell]) * hidden_size
        check_memory((vocab_size * (GH + hidden_size) + num_layers * GH * hidden_size) * sizeof(real),
                     vocab_size=vocab_size, hidden_size=hidden_size, num_layers=num_layers)
        self.cell = cell
        self.sizes.cell = CELLS[cell]
        self.sizes.vocab_size = vocab_size
        self.sizes.hidden_size = hidden_size
        self.sizes.num_layers = num_layers
        self.sizes.stride = padded(hidden_size)
        self.sizes.gates_stride = padded(gates_of(self.sizes.cell) * hidden_size)

    @property
    def vocab_size(self):
        return self.sizes.vocab_size

    @property
    def hidden_size(self):
        return self.sizes.hidden_size

    @property
    def num_layers(self):
        return self.sizes.num_layers

    @property
    def arena_size(self):
        """Numbers that an arena of parameters, gradients or optimizer state takes."""
        cdef Sizes *s = &self.sizes
        cdef Py_ssize_t head = s.vocab_size * s.stride + round_up(s.vocab_size, PADDING)
        return head + layer_size(s, 0) + (s.num_layers - 1) * layer_size(s, 1)

    @property
    def gates(self):
        """G: weight_ih, weight_hh and the biases of a layer have G H rows."""
        return gates_of(self.sizes.cell)

    def state_shape(self, Py_ssize_t batch_size):
        """(L, B, H), the h of each layer; (2, L, B, H) of an LSTM, whose c comes after h."""
        shape = (self.sizes.num_layers, batch_size, self.sizes.hidden_size)
        return (2, *shape) if self.sizes.cell == LSTM else shape

    def views(self, arena):
        """The parameters in an arena as arrays of PyTorch's names and shapes that share its memory.

        None stands for an arena that takes no memory, where the shapes alone are wanted.
        """
        cdef Py_ssize_t V = self.sizes.vocab_size, H = self.sizes.hidden_size, GH = H * self.gates, at = 0
        views = {}
        if arena is None:
            arena = np.broadcast_to(np.zeros(1, DTYPE), self.arena_size)

        def rows(Py_ssize_t n, Py_ssize_t width):
            nonlocal at
            at += n * padded(width)
            return arena[at - n * padded(width):at].reshape(n, padded(width))[:, :width]

        for l in range(self.sizes.num_layers):
            views[f"rnn.weight_ih_l{l}"] = rows(V, GH).T if l == 0 else rows(GH, H)
            views[f"rnn.weight_hh_l{l}"] = rows(GH, H)
            views[f"rnn.bias_ih_l{l}"] = rows(1, GH)[0]
            views[f"rnn.bias_hh_l{l}"] = rows(1, GH)[0]
        views["head.weight"] = rows(V, H)
        views["head.bias"] = arena[at:at + V]
        return views


cdef class Engine:
    """Runs a network forward, and backward where `gradients` is given, over batches of up to (T, B) symbols.

    It reads the parameters anew at each call and keeps everything else it needs in buffers of its own.
    """
    cdef Work work
    cdef readonly Network network
    cdef readonly int num_threads
    cdef object error
    cdef object _buffer
    cdef real *free                 # what is left of it
    cdef readonly double num_bytes  # of it
    cdef real[::1] _parameters
    cdef real[::1] _gradients
    cdef int threads            # of the running call

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
        int num_threads=1,
    ):
        check_at_least("seq_length", seq_length, 1)
        check_at_least("batch_size", batch_size, 1)
        check_at_least("num_threads", num_threads, 1)
        check_length("parameters", parameters.shape[0], network.arena_size)
        if gradients is not None:
            check_length("gradients", gradients.shape[0], network.arena_size)
        self._lay_out(network, seq_length, batch_size, gradients is not None, dropout, num_threads)
        check_memory(self.num_bytes, hidden_size=network.hidden_size, num_layers=network.num_layers,
                     batch_size=batch_size, seq_length=seq_length, num_threads=num_threads)
        # One array, in large pages: some strides are so long that the core would wait for the addresses of small ones.
        cdef real[::1] buffer = aligned_zeros(<Py_ssize_t>(self.num_bytes / sizeof(real)))
        self._buffer = buffer
        self.free = &buffer[0]
        self._reserve_all()
        self._parameters = parameters
        self._gradients = gradients
        self.work.parameters = &parameters[0]
        if gradients is not None:
            self.work.gradients = &gradients[0]
        self.work.end = end
        self.work.owner = <void *>self
        self.work.look_at_signals = look_at_signals

    @classmethod
    def bytes_for(cls, Network network not None, Py_ssize_t seq_length, Py_ssize_t batch_size, bint backward,
                  double dropout, int num_threads):
        """What an engine of these sizes takes, beside the arenas."""
        cdef Engine engine = Engine.__new__(Engine)
        engine._lay_out(network, seq_length, batch_size, backward, dropout, num_threads)
        return engine.num_bytes

    cdef _lay_out(self, Network network, Py_ssize_t seq_length, Py_ssize_t batch_size, bint backward, double dropout,
                  int num_threads):
        """Everything but memory; num_bytes is what that will be."""
        cdef Work *w = &self.work
        cdef Sizes *s = &network.sizes
        cdef Py_ssize_t panel = TILE_VECTORS * LANES
        cdef double positions
        self.network = network
        w.sizes = s[0]
        w.max_seq_length = w.seq_length = seq_length
        w.batch_size = batch_size
        self.num_threads = num_threads
        if batch_size == 1 and not backward:    # the others would have nothing to do but some logits
            self.num_threads = max(column_threads(w, num_threads), 1)
        w.backward = backward
        w.dropout = dropout
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
        self._reserve_all()

    cdef _reserve_all(self):
        """The parts of the buffer; where there is none yet they are counted only."""
        cdef Work *w = &self.work
        cdef Sizes *s = &w.sizes
        # As doubles: they may be too large for an integer.
        cdef double B = w.batch_size, N = B * w.max_seq_length, L = s.num_layers, row = s.stride
        cdef double panels = 2 * L * gates_of(s.cell) * s.hidden_size * round_up(s.hidden_size, LANES)
        # Threads that share columns each have rows of their own for all of the batch.
        cdef double rows = B * (self.num_threads if B < <double>ROWS_TO_SHARE * self.num_threads else 1)
        w.inputs = <int *>self._reserve_bytes(N * sizeof(int))
        w.targets = <int *>self._reserve_bytes(N * sizeof(int))
        w.start = <const real **>self._reserve_bytes(rows * sizeof(real *))
        w.losses = <double *>self._reserve_bytes(N * sizeof(double))
        w.h = self._reserve(L * (N + B) * row)
        if s.cell == LSTM:
            w.c = self._reserve(L * (N + B) * row)
        if slots_of(s.cell) > 1:
            w.slots = self._reserve(L * N * slots_stride(w))
        w.zeros = self._reserve(row)
        w.bias = self._reserve(L * slots_stride(w))
        w.forward_panels = self._reserve(panels)
        w.logits = self._reserve(<double>s.vocab_size * w.logits_stride * w.blocks)
        w.sums = self._reserve(<double>w.logits_block * w.blocks)
        w.scratch = self._reserve(<double>w.scratch_size * self.num_threads)
        w.no_end = self._reserve(rows * slots_stride(w))
        if w.dropout > 0:
            w.up = self._reserve(L * N * row)
            w.mask = self._reserve(L * N * row)
        if w.backward:
            w.dh = self._reserve(L * N * row)
            w.backward_panels = self._reserve(panels)
            w.carry = self._reserve(L * B * row)

    @property
    def seq_length(self):
        """The most steps of a call."""
        return self.work.max_seq_length

    cdef real *_reserve(self, double n) except? NULL:
        cdef real *start = self.free
        n = ceil(n / PADDING) * PADDING
        if start == NULL:
            self.num_bytes += n * sizeof(real)
        else:
            self.free += <Py_ssize_t>n
        return start

    cdef void *_reserve_bytes(self, double n) except? NULL:
        return self._reserve(ceil(n / sizeof(real)))

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
        w.seq_length = inputs.shape[0]
        memcpy(w.inputs, &inputs[0, 0], w.seq_length * w.batch_size * sizeof(int))
        if targets is not None:
            memcpy(w.targets, &targets[0, 0], w.seq_length * w.batch_size * sizeof(int))

    cdef _carry(self):
        """The state after the last step becomes the state before the first one."""
        carry_state(&self.work, 0, self.work.batch_size, False)

    # Threads live for one call: nothing spins between calls, and a fork finds none.

    cdef _run(self):
        """Does work_share on num_threads threads; raises what Ctrl-C raised meanwhile."""
        helpers = []
        ready = threading.Event()
        self.threads = 1
        try:
            for rank in range(1, self.num_threads):
                helper = threading.Thread(target=self._help, args=(rank, ready), daemon=True)
                try:
                    helper.start()
                except RuntimeError:    # no more threads to be had: the result is the same with fewer
                    break
                helpers.append(helper)
            self.threads = 1 + len(helpers)
        except BaseException:
            self.threads = 0
            raise
        finally:
            self.work.barrier.size = self.threads
            ready.set()
        with nogil:
            self.work_share(0, self.threads)
        for helper in helpers:
            helper.join()
        self._finish()

    def _help(self, int rank, ready):
        ready.wait()
        if rank < self.threads:
            with nogil:
                self.work_share(rank, self.threads)

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


cdef void look_at_signals(Work *w) noexcept nogil:
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            (<Engine>w.owner).error = error
            atomic_set(&w.interrupted, 1)


cdef class Trainer(Engine):
    """An engine that reads a stream of symbols by itself and updates the parameters, many steps a call.

    Reader b of the batch begins at starts[b] and reads `length` symbols in chunks of seq_length, the last one
    shorter; then all begin again, from a zero state. Where `period` is not 0 they read on at its multiples from 0.
    """
    cdef Optimizer optimizer
    cdef real[::1] _moments
    cdef real[::1] _squares
    cdef const uint8_t[::1] _codes
    cdef const uint8_t[::1] _table
    cdef const int64_t[::1] _starts
    cdef int itemsize
    cdef int64_t length, period
    cdef readonly int64_t position      # symbols of each reader that are read
    cdef readonly long long passes      # over the stream that are complete
    cdef uint64_t seed
    cdef double[::1] _norms             # sums of squares of the gradient's blocks
    cdef const double[::1] _learning_rates
    cdef double[::1] _step_losses
    cdef Py_ssize_t steps_done
    cdef readonly double last_loss
    cdef readonly double last_norm

    def __init__(
        self,
        Network network not None,
        real[::1] parameters not None,
        Py_ssize_t seq_length,
        Py_ssize_t batch_size,
        *,
        real[::1] moments not None,
        real[::1] squares not None,
        str optimizer not None,
        double momentum,
        double beta1,
        double beta2,
        double eps,
        double weight_decay,
        double clip_norm,
        double clip_value,
        uint64_t seed,
        int end=-1,
        double dropout=0,
        int num_threads=1,
    ):
        Engine.__init__(self, network, parameters, seq_length, batch_size, end=end, dropout=dropout,
                        gradients=aligned_zeros(network.arena_size), num_threads=num_threads)
        self._moments = moments
        self._squares = squares
        self.optimizer = Optimizer(OPTIMIZERS[optimizer], momentum, beta1, beta2, eps, weight_decay, clip_norm,
                                   clip_value, 0)
        self.seed = seed
        self._norms = np.zeros((network.arena_size + NORM_BLOCK - 1) // NORM_BLOCK)

    @property
    def step(self):
        """Updates made so far."""
        return self.optimizer.step

    def read(
        self,
        codes not None,                     # (n,) of uint8, uint16 or int32
        const uint8_t[::1] table not None,  # (256,) from codes to symbols where codes are uint8
        const int64_t[::1] starts not None,
        int64_t length,
        int64_t period,
    ):
        """Read this stream from its beginning on, from a zero state."""
        check_length("table", table.shape[0], 256)
        check_length("starts", starts.shape[0], self.work.batch_size)
        self.set_state(None)
        self.itemsize = codes.itemsize
        self._codes = codes.view(np.uint8)
        self._table = table
        self._starts = starts
        self.length = length
        self.period = period
        self.position = 0

    def restore(self, long long step, int64_t position, long long passes, state not None):
        """Go on where another trainer of the same sizes and stream was."""
        if step < 0 or passes < 0 or not 0 <= position < self.length or position % self.work.max_seq_length != 0:
            raise ValueError(f"position must be one that a trainer of this stream comes to, got {position}")
        self.optimizer.step = step
        self.position = position
        self.passes = passes
        self.set_state(state)

    def steps_left(self):
        """Steps until the stream has been read once more."""
        return (self.length - self.position + self.work.max_seq_length - 1) // self.work.max_seq_length

    def train(self, const double[::1] learning_rates not None, double[::1] losses not None):
        """A step with each learning rate, its loss into `losses`; the number of steps made.

        It is smaller than asked where the loss or the gradient's norm stopped being finite: then the parameters
        are those before that step, whose loss and norm are last_loss and last_norm.
        """
        check_length("losses", losses.shape[0], learning_rates.shape[0])
        self._learning_rates = learning_rates
        self._step_losses = losses
        self.steps_done = 0
        self._run()
        return self.steps_done

    cdef void work_share(self, int rank, int threads) noexcept nogil:
        # Each thread counts for itself; what they all read, the first one writes where none of them reads it.
        cdef Work *w = &self.work
        cdef Optimizer o = self.optimizer
        cdef int64_t position = self.position
        cdef Py_ssize_t i
        cdef double norm
        for i in range(self._learning_rates.shape[0]):
            o.step += 1
            position = self.load_batch(position, o.step, rank, threads)
            pack_parameters(w, rank, threads)
            barrier_wait(&w.barrier)
            loss_and_gradients(w, rank, threads)
            barrier_wait(&w.barrier)
            self.measure(rank, threads)
            barrier_wait(&w.barrier)
            norm = self.gradient_norm()
            if rank == 0:
                self.last_norm = norm
            if w.interrupted or not isfinite(norm) or not isfinite(self.last_loss):
                return
            self.update(&o, norm, self._learning_rates[i], rank, threads)
            carry_state(w, w.batch_size * rank // threads, w.batch_size * (rank + 1) // threads, position == 0)
            barrier_wait(&w.barrier)
            if rank == 0:
                self.optimizer.step = o.step
                self.position = position
                self.passes += position == 0
                self._step_losses[i] = self.last_loss
                self.steps_done = i + 1

    cdef int64_t load_batch(self, int64_t position, long long step, int rank, int threads) noexcept nogil:
        """This thread's rows of the chunk at this position; the position after it, 0 for the beginning."""
        cdef Work *w = &self.work
        cdef Py_ssize_t B = w.batch_size, T = min(<int64_t>w.max_seq_length, self.length - position), b, t
        cdef int64_t at
        if rank == 0:
            w.seq_length = T
            w.dropout_key = self.seed ^ (<uint64_t>step << 32)
        for b in range(B * rank // threads, B * (rank + 1) // threads):
            for t in range(T):
                at = self._starts[b] + position + t
                if self.period != 0:
                    at = at % self.period
                w.inputs[t * B + b] = self.symbol(at)
                w.targets[t * B + b] = self.symbol(at + 1)
        return position + T if position + T < self.length else 0

    cdef int symbol(self, int64_t at) noexcept nogil:
        if self.itemsize == 1:
            return self._table[self._codes[at]]
        if self.itemsize == 2:
            return (<const uint16_t *>&self._codes[0])[at]
        return (<const int32_t *>&self._codes[0])[at]

    cdef void measure(self, int rank, int threads) noexcept nogil:
        """This thread's blocks of the gradient's norm; the first thread's part is the loss as well."""
        cdef Py_ssize_t size = self._gradients.shape[0], blocks = self._norms.shape[0], i
        for i in range(blocks * rank // threads, blocks * (rank + 1) // threads):
            self._norms[i] = sum_of_squares(min(<Py_ssize_t>NORM_BLOCK, size - i * NORM_BLOCK),
                                            &self._gradients[i * NORM_BLOCK])
        if rank == 0:
            self.last_loss = mean_loss(self.work.seq_length * self.work.batch_size, self.work.losses)

    cdef double gradient_norm(self) noexcept nogil:
        cdef double total = 0
        cdef Py_ssize_t i
        for i in range(self._norms.shape[0]):
            total += self._norms[i]
        return sqrt(total)

    cdef void update(self, Optimizer *o, double norm, double learning_rate, int rank, int threads) noexcept nogil:
        """Clips and updates this thread's blocks of the parameters."""
        cdef Py_ssize_t size = self._gradients.shape[0], blocks = self._norms.shape[0]
        cdef Py_ssize_t first = blocks * rank // threads * NORM_BLOCK
        cdef Py_ssize_t stop = min(size, blocks * (rank + 1) // threads * NORM_BLOCK)
        if first < stop:
            optimizer_update(o, stop - first, clip_scale(norm, o.clip_norm), learning_rate, &self._parameters[first],
                             &self._gradients[first], &self._moments[first], &self._squares[first])


OPTIMIZERS = {"sgd": SGD, "adagrad": ADAGRAD, "rmsprop": RMSPROP, "adam": ADAM}


cdef class Sampler(Engine):
    """An engine for one symbol at a time in each of its rows, with the logits a row for each of them."""
    cdef real *logits_panels        # (H, V)
    cdef real *row_logits           # (B, V rounded up)
    cdef const real **bias_rows     # (B)
    cdef Py_ssize_t logits_stride
    cdef Distribution distribution
    cdef uint8_t[::1] _candidates
    cdef double[::1] _cumulative

    def __init__(
        self,
        Network network not None,
        real[::1] parameters not None,
        Py_ssize_t batch_size,
        *,
        double temperature=1,
        Py_ssize_t top_k=0,
        double top_p=1,
        int end=-1,
    ):
        cdef Work *w = &self.work
        cdef Py_ssize_t V = network.sizes.vocab_size, H = network.sizes.hidden_size, b
        Engine.__init__(self, network, parameters, 1, batch_size, end=end)
        cdef Head head = head_of(&w.sizes, w.parameters)
        self._candidates = np.zeros(V * sizeof(Candidate), np.uint8)
        self._cumulative = np.zeros(V)
        self.distribution = Distribution(temperature, top_k, top_p, <Candidate *>&self._candidates[0],
                                         &self._cumulative[0])
        pack_parameters(w, 0, 1)
        pack(H, V, matrix(head.weight, 1, w.sizes.stride), self.logits_panels)
        for b in range(batch_size):
            self.bias_rows[b] = head.bias

    cdef _reserve_all(self):
        cdef double H = self.work.sizes.hidden_size, B = self.work.batch_size
        Engine._reserve_all(self)
        self.logits_stride = round_up(self.work.sizes.vocab_size, PADDING)
        self.logits_panels = self._reserve(H * self.logits_stride)
        self.row_logits = self._reserve(B * self.logits_stride)
        self.bias_rows = <const real **>self._reserve_bytes(B * sizeof(real *))

    def feed(self, const int[:, ::1] inputs not None):
        """Read (T, B) symbols; what `draw` and `weights` say next is what follows them."""
        cdef Py_ssize_t t, b
        with nogil:
            for t in range(inputs.shape[0]):
                memcpy(self.work.inputs, &inputs[t, 0], self.work.batch_size * sizeof(int))
                self.advance()
                if self.work.interrupted:
                    break
            self.compute_logits()
            for b in range(self.work.batch_size):
                self.compute_weights(b)
        self._finish()

    def weights(self):
        """Probabilities up to a factor, (B, V), of the next symbol of each row, after temperature, top_k and top_p."""
        cdef Py_ssize_t b, B = self.work.batch_size, V = self.work.sizes.vocab_size
        array = np.empty((B, V), DTYPE)
        cdef real[:, ::1] weights = array
        for b in range(B):
            memcpy(&weights[b, 0], self.row_logits + b * self.logits_stride, V * sizeof(real))
        return array

    # To draw, next_double and bit_generator are the addresses in a NumPy bit generator's ctypes interface.

    def draw(self, size_t next_double, size_t bit_generator, int[::1] symbols not None):
        """Draw symbols in the only row, each from what precedes it, until there are so many or one is END; how many."""
        cdef Py_ssize_t t = 0
        check_length("symbols of a step", self.work.batch_size, 1)
        with nogil:
            while t < symbols.shape[0]:
                self.work.inputs[0] = symbols[t] = self.one_symbol(0, next_double, bit_generator)
                t += 1
                if symbols[t - 1] == self.work.end:
                    break
                self.advance()
                self.compute_logits()
                self.compute_weights(0)
                if self.work.interrupted:
                    break
        self._finish()
        return t

    def draw_texts(
        self,
        size_t next_double,
        size_t bit_generator,
        const int[::1] prompt not None,     # what stands before each text
        int[:, ::1] texts not None,         # OUT (n, length)
        Py_ssize_t[::1] lengths not None,   # OUT (n): with the END that ended a text
    ):
        """Draw n texts of at most so many symbols. Where a row's text is done it begins the next one, so that all rows
        have work while there are texts left. A step takes one double for each row that draws, in their order."""
        cdef Work *w = &self.work
        cdef Py_ssize_t n = texts.shape[0], length = texts.shape[1], B = w.batch_size, begun = 0, done = 0, b
        cdef Py_ssize_t[::1] text_of = np.full(B, -1, np.intp)  # -1 for a row that has none
        cdef Py_ssize_t[::1] drawn = np.zeros(B, np.intp)       # symbols of it; negative while the prompt is read
        check_length("lengths", lengths.shape[0], n)
        with nogil:
            while done < n and not w.interrupted:
                for b in range(B):
                    if text_of[b] < 0 and begun < n:
                        text_of[b] = begun
                        drawn[b] = -prompt.shape[0]
                        begun += 1
                        carry_state(w, b, b + 1, True)
                    if text_of[b] < 0:
                        continue
                    if drawn[b] < 0:
                        w.inputs[b] = prompt[prompt.shape[0] + drawn[b]]
                        drawn[b] += 1
                    elif drawn[b] > 0:
                        w.inputs[b] = texts[text_of[b], drawn[b] - 1]
                self.advance()
                for b in range(B):
                    if prompt.shape[0] == 0 and drawn[b] == 0:
                        carry_state(w, b, b + 1, True)  # it has read nothing yet
                self.compute_logits()
                for b in range(B):
                    if text_of[b] < 0 or drawn[b] < 0:
                        continue
                    if drawn[b] < length:
                        self.compute_weights(b)
                        texts[text_of[b], drawn[b]] = self.one_symbol(b, next_double, bit_generator)
                        drawn[b] += 1
                    if drawn[b] == length or texts[text_of[b], drawn[b] - 1] == w.end:
                        lengths[text_of[b]] = drawn[b]
                        text_of[b] = -1
                        done += 1
        self._finish()

    cdef void advance(self) noexcept nogil:
        """One step of all rows from work.inputs."""
        forward(&self.work, 0, 1, 0, 1)
        self.work.steps_before += 1
        carry_state(&self.work, 0, self.work.batch_size, False)

    cdef void compute_logits(self) noexcept nogil:
        """The logits of the next symbol of each row."""
        cdef Work *w = &self.work
        multiply(w.batch_size, w.sizes.vocab_size, w.sizes.hidden_size,
                 matrix(state_rows(w, w.sizes.num_layers - 1, 0), w.sizes.stride, 1),
                 packed(w.sizes.hidden_size, self.logits_panels), self.bias_rows, self.row_logits, self.logits_stride)

    cdef void compute_weights(self, Py_ssize_t b) noexcept nogil:
        """A row's logits become weights, the distribution of its next symbol."""
        probability_weights(self.work.sizes.vocab_size, &self.distribution, self.row_logits + b * self.logits_stride)

    cdef int one_symbol(self, Py_ssize_t b, size_t next_double, size_t bit_generator) noexcept nogil:
        """A symbol by a row's weights and one double of the generator."""
        return draw(self.work.sizes.vocab_size, self.row_logits + b * self.logits_stride,
                    (<double (*)(void *) noexcept nogil>next_double)(<void *>bit_generator),
                    self.distribution.cumulative)


# Functions by themselves ------------------------------------------------------------------------------------


def exp(x, out=None):
    """exp(x) of each element, (n,).

    Examples
    --------
    >>> kernels.exp(np.array([0.0, 1.0])).round(4)
    array([1.    , 2.7183])
    """
    return elementwise(x, out, 0)


def tanh(x, out=None):
    """tanh(x) of each element, (n,).

    Examples
    --------
    >>> kernels.tanh(np.array([0.0, 1.0])).round(4)
    array([0.    , 0.7616])
    """
    return elementwise(x, out, 1)


def sigmoid(x, out=None):
    """1 / (1 + exp(-x)) of each element, (n,).

    Examples
    --------
    >>> kernels.sigmoid(np.array([0.0, 1.0])).round(4)
    array([0.5   , 0.7311])
    """
    return elementwise(x, out, 2)


cdef elementwise(values, result, int function):
    cdef const real[::1] x = numbers("x", values, 1)
    cdef Py_ssize_t n = x.shape[0], i, lane
    cdef real[::1] out = np.empty(n, DTYPE) if result is None else numbers("out", result, 1, written=True)
    cdef real[16] block
    cdef vreal y
    check_length("out", out.shape[0], n)
    with nogil:
        for i from 0 <= i < n by LANES:
            for lane in range(LANES):
                block[lane] = x[i + lane] if i + lane < n else 0
            y = vload(block)
            vstore(block, vexp(y) if function == 0 else vtanh(y) if function == 1 else vsigmoid(y))
            for lane in range(min(<Py_ssize_t>LANES, n - i)):
                out[i + lane] = block[lane]
    return np.asarray(out)


cdef inline inlined multiply_add(Py_ssize_t n, vreal x, vreal y, vreal *sums) noexcept nogil:
    """n times sums := sums x + y of PEAK_SUMS vectors that stay in registers."""
    cdef vreal s[PEAK_SUMS]
    cdef Py_ssize_t _
    cdef int j
    for j in range(PEAK_SUMS):
        s[j] = sums[j]
    for _ in range(n):
        for j in range(PEAK_SUMS):
            s[j] = s[j] * x + y
    for j in range(PEAK_SUMS):
        sums[j] = s[j]
    return 0


def fma_peak(seconds=0.2):
    """Floating-point operations a second of one core: multiply-adds of independent vectors, the best of many runs.

    No kernel can do more. Each number multiplied and added counts as two operations.
    """
    cdef vreal sums[PEAK_SUMS]
    cdef Py_ssize_t n = 100_000
    cdef int j
    cdef double best = 0
    for j in range(PEAK_SUMS):
        sums[j] = vsplat(j)
    end = time.perf_counter() + number("seconds", seconds, 0)
    while best == 0 or time.perf_counter() < end:
        start = time.perf_counter()
        with nogil:
            multiply_add(n, vsplat(<real>0.5), vsplat(<real>0.25), sums)
        best = max(best, 2.0 * n * PEAK_SUMS * LANES / (time.perf_counter() - start))
    # Each sum converges to 0.5; that all of them are asked for keeps all of the loop alive.
    assert abs(sum([vlane(sums[j], 0) for j in range(PEAK_SUMS)]) - 0.5 * PEAK_SUMS) < 1e-3
    return best


def softmax(logits, probs=None):
    """probs = exp(logits - max) / sum exp(logits - max) in each row.

    Parameters
    ----------
    logits : (N, V) array
    probs : (N, V) array, optional
        OUT; a new array where it is not given.

    Returns
    -------
    (N, V) array

    Examples
    --------
    >>> kernels.softmax(np.log([[1.0, 3.0]])).round(4)
    array([[0.25, 0.75]])
    """
    cdef const real[:, ::1] x = numbers("logits", logits, 2)
    cdef Py_ssize_t N = x.shape[0], V = x.shape[1], n, v, i, count
    cdef real[:, ::1] y = np.empty((N, V), DTYPE) if probs is None else numbers("probs", probs, 2, written=True)
    cdef real[:, ::1] columns = np.zeros((V, LANES), DTYPE)
    cdef real[16] sums
    cdef vreal total
    check_length("probs", y.shape[0], N)
    check_length("a row of probs", y.shape[1], V)
    if V == 0:
        return np.asarray(y)
    with nogil:
        for n from 0 <= n < N by LANES:
            count = min(<Py_ssize_t>LANES, N - n)
            for i in range(count):
                for v in range(V):
                    columns[v, i] = x[n + i, v]
            softmax_column(V, LANES, NULL, &columns[0, 0], NULL, count, NULL, &total)
            vstore(sums, total)
            for i in range(count):
                for v in range(V):
                    y[n + i, v] = columns[v, i] / sums[i]
    return np.asarray(y)


def cross_entropy(logits, targets, dlogits=None):
    """loss = mean of log sum exp(logits) - logits[target], in nats, finite for all finite logits.

    Parameters
    ----------
    logits : (N, V) array
    targets : (N,) array of int32
    dlogits : (N, V) array, optional
        OUT, overwritten: (probs - onehot(targets)) / N.

    Returns
    -------
    float

    Examples
    --------
    >>> dlogits = np.empty((1, 4))
    >>> round(kernels.cross_entropy(np.zeros((1, 4)), np.array([2]), dlogits), 4)     # log 4
    1.3863
    >>> dlogits
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """
    logits = numbers("logits", logits, 2)
    cdef Py_ssize_t N = logits.shape[0], V = logits.shape[1], stride = round_up(N, LANES)
    if N == 0 or V == 0:
        raise ValueError(f"logits must have at least one row and one column, got shape ({N}, {V})")
    cdef const int[::1] wanted = indices("targets", targets, 1, V)
    check_length("targets", wanted.shape[0], N)
    if dlogits is not None:
        check_shape("dlogits", numbers("dlogits", dlogits, 2, written=True), N, V)
    columns = np.zeros((V, stride), DTYPE)
    columns[:, :N] = logits.T
    cdef real[:, ::1] x = columns
    cdef real[::1] sums = np.zeros(stride, DTYPE), bias = np.zeros(V, DTYPE)
    cdef double[::1] losses = np.zeros(stride)
    with nogil:
        cross_entropy_forward(V, N, stride, &bias[0], &x[0, 0], &wanted[0], &losses[0], &sums[0])
        if dlogits is not None:
            cross_entropy_backward(V, N, stride, &x[0, 0], &wanted[0], &sums[0], <real>(1.0 / N))
    if dlogits is not None:
        dlogits[:] = columns[:, :N].T
    return mean_loss(N, &losses[0])


cdef product(a, b):
    """a.b of arrays (m, k) and (k, n) with any strides, as an array whose rows are whole vectors."""
    cdef const real[:, :] x = a, y = b
    check_length("a row of the left factor", x.shape[1], y.shape[0])
    cdef Py_ssize_t m = x.shape[0], k = x.shape[1], n = y.shape[1], size = sizeof(real), stride = round_up(n, LANES)
    out = aligned_zeros(m * stride).reshape(m, stride)
    cdef real[:, ::1] c = out
    cdef real[::1] panels = aligned_zeros(k * stride)
    with nogil:
        pack(k, n, matrix(&y[0, 0], y.strides[0] // size, y.strides[1] // size), &panels[0])
        multiply(m, n, k, matrix(&x[0, 0], x.strides[0] // size, x.strides[1] // size), packed(k, &panels[0]), NULL,
                 &c[0, 0], stride)
    return out


cdef check_shape(str name, array, rows, columns):
    if array.shape != (rows, columns):
        wanted = (rows, columns)
        raise ValueError(f"{name} must have shape {wanted} where the other arguments say so, got {array.shape}")


cdef class CellStep:
    """One step of a cell on (B, input) and (B, H), for the functions below."""
    cdef Cell cell
    cdef Py_ssize_t width               # of a row of H numbers
    cdef object x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh, slots, bias, h, c

    def __init__(self, str cell, x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh):
        cdef Py_ssize_t g, G = gates_of(CELLS[cell]), H, slot
        x, h_prev = numbers("x", x, 2), numbers("h_prev", h_prev, 2)
        weight_ih, weight_hh = numbers("weight_ih", weight_ih, 2), numbers("weight_hh", weight_hh, 2)
        bias_ih, bias_hh = numbers("bias_ih", bias_ih, 1), numbers("bias_hh", bias_hh, 1)
        B, H = h_prev.shape
        check_shape("x", x, B, x.shape[1])
        check_shape("weight_ih", weight_ih, G * H, x.shape[1])
        check_shape("weight_hh", weight_hh, G * H, H)
        check_length("bias_ih", len(bias_ih), G * H)
        check_length("bias_hh", len(bias_hh), G * H)
        if CELLS[cell] == LSTM:
            c_prev = numbers("c_prev", c_prev, 2)
            check_shape("c_prev", c_prev, B, H)
        self.cell = CELLS[cell]
        self.width = round_up(H, LANES)
        self.x, self.h_prev, self.weight_ih, self.weight_hh = x, h_prev, weight_ih, weight_hh
        self.bias = self.rows(slots_of(self.cell))
        self.slots = self.rows(B * slots_of(self.cell)).reshape(B, -1, self.width)
        self.h = self.rows(B) if slots_of(self.cell) > 1 else self.slots[:, 0]
        self.c = self.rows(B)
        self.c_prev = self.rows(B, c_prev)
        of_x, of_h = product(x, weight_ih.T), product(h_prev, weight_hh.T)
        for g in range(G):
            slot = recurrent_slot(self.cell, g)
            gate = slice(g * H, (g + 1) * H)
            self.slots[:, g, :H] += of_x[:, gate]
            self.slots[:, slot, :H] += of_h[:, gate]
            self.bias[g, :H] += bias_ih[gate]
            self.bias[slot, :H] += bias_hh[gate]

    cdef rows(self, Py_ssize_t n, values=None):
        """n rows of H numbers, padded with zeros."""
        rows = aligned_zeros(n * self.width).reshape(n, self.width)
        if values is not None:
            rows[:, :values.shape[1]] = values
        return rows

    cdef run(self, dh=None, carry=None):
        """The step forward; where there is dh, the step backward."""
        cdef real[:, :, ::1] slots = self.slots
        cdef real[:, ::1] bias = self.bias, h = self.h, c = self.c, h_prev = self.rows(len(self.h), self.h_prev)
        cdef real[:, ::1] c_prev = self.c_prev, dh_rows = dh, carry_rows = carry
        cdef Step step
        cdef Py_ssize_t b
        for b in range(h.shape[0]):
            step.slots = &slots[b, 0, 0]
            step.x = &slots[b, gates_of(self.cell) - 1, 0]
            step.h_prev = &h_prev[b, 0]
            step.h = &h[b, 0]
            step.c_prev = &c_prev[b, 0]
            step.c = &c[b, 0]
            if dh is None:
                cell_forward(self.cell, 0, self.width, self.width, &bias[0, 0], &step)
            else:
                step.dh = &dh_rows[b, 0]
                step.carry = &carry_rows[b, 0]
                cell_backward(self.cell, 0, self.width, self.width, &step)

    cdef outputs(self):
        """h, or (h, c)."""
        self.run()
        H = self.h_prev.shape[1]
        h, c = np.ascontiguousarray(self.h[:, :H]), np.ascontiguousarray(self.c[:, :H])
        return (h, c) if self.cell == LSTM else h

    cdef gradients(self, dh, dc):
        """dx, dh_prev, dc_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh, after `outputs`."""
        cdef Py_ssize_t g
        B, H = self.h_prev.shape
        dh = numbers("dh", dh, 2)
        check_shape("dh", dh, B, H)
        if self.cell == LSTM:
            dc = numbers("dc", dc, 2)
            check_shape("dc", dc, B, H)
        dh, carry = self.rows(B, dh), self.rows(B, dc)
        self.run(dh, carry)
        carry = np.ascontiguousarray(carry[:, :H])
        slots = dh[:, None] if slots_of(self.cell) == 1 else self.slots
        of_h = [recurrent_slot(self.cell, g) for g in range(gates_of(self.cell))]
        dz_x = np.concatenate([slots[:, g, :H] for g in range(len(of_h))], axis=1)
        dz_h = np.concatenate([slots[:, slot, :H] for slot in of_h], axis=1)
        return (
            np.ascontiguousarray(product(dz_x, self.weight_ih)[:, :self.x.shape[1]]),
            product(dz_h, self.weight_hh)[:, :H] + (carry if self.cell == GRU else 0),
            carry,
            np.ascontiguousarray(product(dz_x.T, self.x)[:, :self.x.shape[1]]),
            np.ascontiguousarray(product(dz_h.T, self.h_prev)[:, :H]),
            dz_x.sum(axis=0),
            dz_h.sum(axis=0),
        )


def rnn_cell(
    x,                          # IN (B, input)
    h_prev,                     # IN (B, H)
    weight_ih,                  # IN (H, input)
    weight_hh,                  # IN (H, H)
    bias_ih,                    # IN (H)
    bias_hh,                    # IN (H)
):
    """h = tanh(x.weight_ih^T + bias_ih + h_prev.weight_hh^T + bias_hh), (B, H): one step of a tanh RNN.

    Examples
    --------
    >>> one, zero = np.ones((1, 1)), np.zeros(1)
    >>> kernels.rnn_cell(one, one, one, one, zero, zero).round(4)     # tanh(1 + 1)
    array([[0.964]])
    """
    return CellStep("rnn", x, h_prev, None, weight_ih, weight_hh, bias_ih, bias_hh).outputs()


def rnn_cell_backward(
    dh,                         # IN (B, H)
    x,                          # IN (B, input)
    h_prev,                     # IN (B, H)
    h,                          # IN (B, H): what rnn_cell gave
    weight_ih,                  # IN (H, input)
    weight_hh,                  # IN (H, H)
):
    """dz = dh (1 - h^2), and from it (dx, dh_prev, dweight_ih, dweight_hh, dbias); dbias is that of either bias.

    Examples
    --------
    >>> one, zero = np.ones((1, 1)), np.zeros(1)
    >>> h = kernels.rnn_cell(one, one, one, one, zero, zero)
    >>> dx, *_ = kernels.rnn_cell_backward(one, one, one, h, one, one)
    >>> dx.round(4)     # 1 - tanh(2)^2
    array([[0.0707]])
    """
    zeros = np.zeros(len(numbers("weight_hh", weight_hh, 2)), DTYPE)
    cdef CellStep step = CellStep("rnn", x, h_prev, None, weight_ih, weight_hh, zeros, zeros)
    check_shape("h", numbers("h", h, 2), h_prev.shape[0], h_prev.shape[1])
    step.h = step.rows(len(h), h)
    dx, dh_prev, _, dweight_ih, dweight_hh, dbias, _ = step.gradients(dh, None)
    return dx, dh_prev, dweight_ih, dweight_hh, dbias


def gru_cell(
    x,                          # IN (B, input)
    h_prev,                     # IN (B, H)
    weight_ih,                  # IN (3 H, input): reset, update, new, as in torch.nn.GRUCell
    weight_hh,                  # IN (3 H, H)
    bias_ih,                    # IN (3 H)
    bias_hh,                    # IN (3 H)
):
    """h, (B, H), after one step of a gated recurrent unit: the equations are in gru.pxd.

    Examples
    --------
    >>> weights = np.zeros((6, 3)), np.zeros((6, 2)), np.zeros(6), np.zeros(6)
    >>> kernels.gru_cell(np.ones((1, 3)), np.ones((1, 2)), *weights)      # every gate half open, nothing new
    array([[0.5, 0.5]])
    """
    return CellStep("gru", x, h_prev, None, weight_ih, weight_hh, bias_ih, bias_hh).outputs()


def gru_cell_backward(
    dh,                         # IN (B, H)
    x,                          # IN, and the rest: what gru_cell was given
    h_prev,
    weight_ih,
    weight_hh,
    bias_ih,
    bias_hh,
):
    """(dx, dh_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh).

    Examples
    --------
    >>> weights = np.zeros((6, 3)), np.zeros((6, 2)), np.zeros(6), np.zeros(6)
    >>> _, dh_prev, *_ = kernels.gru_cell_backward(np.ones((1, 2)), np.ones((1, 3)), np.ones((1, 2)), *weights)
    >>> dh_prev
    array([[0.5, 0.5]])
    """
    cdef CellStep step = CellStep("gru", x, h_prev, None, weight_ih, weight_hh, bias_ih, bias_hh)
    step.outputs()
    dx, dh_prev, _, *others = step.gradients(dh, None)
    return dx, dh_prev, *others


def lstm_cell(
    x,                          # IN (B, input)
    h_prev,                     # IN (B, H)
    c_prev,                     # IN (B, H)
    weight_ih,                  # IN (4 H, input): input, forget, cell, output, as in torch.nn.LSTMCell
    weight_hh,                  # IN (4 H, H)
    bias_ih,                    # IN (4 H)
    bias_hh,                    # IN (4 H)
):
    """(h, c), each (B, H), after one step of a long short-term memory: the equations are in lstm.pxd.

    Examples
    --------
    >>> weights = np.zeros((8, 3)), np.zeros((8, 2)), np.zeros(8), np.zeros(8)
    >>> h, c = kernels.lstm_cell(np.ones((1, 3)), np.ones((1, 2)), np.ones((1, 2)), *weights)
    >>> h.round(4), c     # every gate half open, nothing new
    (array([[0.2311, 0.2311]]), array([[0.5, 0.5]]))
    """
    return CellStep("lstm", x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh).outputs()


def lstm_cell_backward(
    dh,                         # IN (B, H)
    dc,                         # IN (B, H)
    x,                          # IN, and the rest: what lstm_cell was given
    h_prev,
    c_prev,
    weight_ih,
    weight_hh,
    bias_ih,
    bias_hh,
):
    """(dx, dh_prev, dc_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh).

    Examples
    --------
    >>> weights = np.zeros((8, 3)), np.zeros((8, 2)), np.zeros(8), np.zeros(8)
    >>> dh, dc, x, h_prev, c_prev = np.zeros((1, 2)), *np.ones((4, 1, 2))
    >>> _, _, dc_prev, *_ = kernels.lstm_cell_backward(dh, dc, np.ones((1, 3)), h_prev, c_prev, *weights)
    >>> dc_prev
    array([[0.5, 0.5]])
    """
    cdef CellStep step = CellStep("lstm", x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh)
    step.outputs()
    return step.gradients(dh, dc)


def clip_norm(gradients, max_norm):
    """Scale gradients, (n,), in place so that their L2 norm is at most max_norm; the norm that they had.

    Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks" (2013).

    Examples
    --------
    >>> gradients = np.array([3.0, 4.0])
    >>> kernels.clip_norm(gradients, 1.0)
    5.0
    >>> gradients
    array([0.6, 0.8])
    """
    cdef real[::1] g = numbers("gradients", gradients, 1, written=True)
    cdef Py_ssize_t n = g.shape[0], i
    cdef double total = 0, scale, limit = number("max_norm", max_norm, 0)
    with nogil:
        for i from 0 <= i < n by NORM_BLOCK:
            total += sum_of_squares(min(<Py_ssize_t>NORM_BLOCK, n - i), &g[i])
        total = sqrt(total)
        scale = clip_scale(total, limit)
        if scale != 1:
            for i in range(n):
                g[i] = g[i] * <real>scale
    return total


def clip_value(gradients, limit):
    """Bring each of gradients, (n,), into -limit ... limit, in place.

    Examples
    --------
    >>> gradients = np.array([-3.0, 0.5])
    >>> kernels.clip_value(gradients, 1.0)
    >>> gradients
    array([-1. ,  0.5])
    """
    cdef real[::1] g = numbers("gradients", gradients, 1, written=True)
    cdef real most = <real>(<double>number("limit", limit, 0))
    cdef Py_ssize_t i
    with nogil:
        for i in range(g.shape[0]):
            g[i] = clip_element(g[i], most)


cdef update_in_place(Optimizer o, learning_rate, weight_decay, parameters, gradients, moments, squares):
    cdef real[::1] p = numbers("parameters", parameters, 1, written=True), m = None, s = None
    cdef const real[::1] g = numbers("gradients", gradients, 1)
    cdef double rate = number("learning_rate", learning_rate, 0)
    cdef Py_ssize_t n = p.shape[0]
    o.weight_decay = number("weight_decay", weight_decay, 0)
    o.clip_norm = o.clip_value = INFINITY
    check_length("gradients", g.shape[0], n)
    if o.kind == SGD or o.kind == ADAM:
        m = numbers("moments", moments, 1, written=True)
        check_length("moments", m.shape[0], n)
    if o.kind != SGD:
        s = numbers("squares", squares, 1, written=True)
        check_length("squares", s.shape[0], n)
    if n:
        with nogil:
            optimizer_update(&o, n, 1, rate, &p[0], &g[0], NULL if m is None else &m[0], NULL if s is None else &s[0])


cdef double decay(str name, value) except -1:
    return number(name, value, 0, 1, below=True)


def sgd(
    parameters,                 # IN OUT (n)
    gradients,                  # IN (n)
    moments,                    # IN OUT (n), zeros at first
    *,
    learning_rate,
    momentum=0,
    weight_decay=0,
):
    """v = momentum v + g; p -= learning_rate v, after p -= learning_rate weight_decay p. One step, in place.

    Examples
    --------
    >>> parameters = np.array([1.0])
    >>> kernels.sgd(parameters, np.array([0.5]), np.zeros(1), learning_rate=0.1)
    >>> parameters
    array([0.95])
    """
    cdef Optimizer o = Optimizer(kind=SGD, momentum=decay("momentum", momentum), step=1)
    update_in_place(o, learning_rate, weight_decay, parameters, gradients, moments, None)


def adagrad(
    parameters,                 # IN OUT (n)
    gradients,                  # IN (n)
    squares,                    # IN OUT (n), zeros at first
    *,
    learning_rate,
    eps=1e-10,
    weight_decay=0,
):
    """s += g^2; p -= learning_rate g / (sqrt(s) + eps), after p -= learning_rate weight_decay p. One step, in place.

    Examples
    --------
    >>> parameters = np.array([1.0])
    >>> kernels.adagrad(parameters, np.array([0.5]), np.zeros(1), learning_rate=0.1)
    >>> parameters.round(4)
    array([0.9])
    """
    cdef Optimizer o = Optimizer(kind=ADAGRAD, eps=number("eps", eps, 0), step=1)
    update_in_place(o, learning_rate, weight_decay, parameters, gradients, None, squares)


def rmsprop(
    parameters,                 # IN OUT (n)
    gradients,                  # IN (n)
    squares,                    # IN OUT (n), zeros at first
    *,
    learning_rate,
    rho=0.99,
    eps=1e-8,
    weight_decay=0,
):
    """s = rho s + (1 - rho) g^2; p -= learning_rate g / (sqrt(s) + eps), after p -= learning_rate weight_decay p.
    One step, in place.

    Examples
    --------
    >>> parameters = np.array([1.0])
    >>> kernels.rmsprop(parameters, np.array([0.5]), np.zeros(1), learning_rate=0.01)
    >>> parameters.round(4)
    array([0.9])
    """
    cdef Optimizer o = Optimizer(kind=RMSPROP, beta2=decay("rho", rho), eps=number("eps", eps, 0), step=1)
    update_in_place(o, learning_rate, weight_decay, parameters, gradients, None, squares)


def adam(
    parameters,                 # IN OUT (n)
    gradients,                  # IN (n)
    moments,                    # IN OUT (n), zeros at first
    squares,                    # IN OUT (n), zeros at first
    *,
    step,                       # the number of this update, from 1
    learning_rate,
    beta1=0.9,
    beta2=0.999,
    eps=1e-8,
    weight_decay=0,
):
    """m = beta1 m + (1 - beta1) g; s = beta2 s + (1 - beta2) g^2; p -= learning_rate m' / (sqrt(s') + eps), where
    m' = m / (1 - beta1^step), s' = s / (1 - beta2^step), after p -= learning_rate weight_decay p. In place.

    Examples
    --------
    >>> parameters = np.array([1.0])
    >>> kernels.adam(parameters, np.array([0.5]), np.zeros(1), np.zeros(1), step=1, learning_rate=0.1)
    >>> parameters.round(4)
    array([0.9])
    """
    cdef Optimizer o = Optimizer(kind=ADAM, beta1=decay("beta1", beta1), beta2=decay("beta2", beta2),
                                 eps=number("eps", eps, 0), step=integer("step", step, 1))
    update_in_place(o, learning_rate, weight_decay, parameters, gradients, moments, squares)


def bptt(
    network,
    parameters,                 # IN arena
    inputs,                     # IN (T, B)
    targets,                    # IN (T, B)
    gradients,                  # OUT arena, overwritten
    state=None,                 # IN, in the network's state_shape; None for zeros
    *,
    end=-1,
    num_threads=1,
):
    """The mean loss of the targets, its exact gradients by backpropagation through time, and the last state.

    Parameters and gradients are arenas of `network` (`network.views` names what is in them). No gradient flows into
    the state before the first step, nor through an input that is `end`, before which the state is zero.

    Returns
    -------
    loss : float
        Nats per symbol.
    state : array, in the network's state_shape

    References
    ----------
    Werbos, "Backpropagation through time: what it does and how to do it" (1990).

    Examples
    --------
    >>> network = kernels.Network(vocab_size=3, hidden_size=4, dtype="float64")
    >>> parameters, gradients = np.zeros((2, network.arena_size))
    >>> loss, state = kernels.bptt(network, parameters, np.array([[0], [1]]), np.array([[1], [2]]), gradients)
    >>> round(loss, 4)     # log 3
    1.0986
    >>> network.views(gradients)["head.bias"].round(4)
    array([ 0.3333, -0.1667, -0.1667])
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network of {DTYPE}, as the arrays, got {type(network).__name__}")
    parameters = numbers("parameters", parameters, 1, written=True)
    gradients = numbers("gradients", gradients, 1, written=True)
    inputs, targets = (indices(name, value, 2, network.vocab_size)
                       for name, value in (("inputs", inputs), ("targets", targets)))
    if inputs.size == 0:
        raise ValueError(f"inputs must have at least one step and one row, got shape {inputs.shape}")
    if targets.shape != inputs.shape:
        raise ValueError(f"targets must have the shape of inputs, {inputs.shape}, got {targets.shape}")
    if state is not None:
        state = numbers("state", state, len(network.state_shape(1)))
    engine = Engine(network, parameters, *inputs.shape, end=integer("end", end, -1, network.vocab_size - 1),
                    gradients=gradients, num_threads=integer("num_threads", num_threads, 1, 1024))
    engine.set_state(state)
    gradients[:] = 0                    # what lies behind the rows too
    engine.losses(inputs, targets)
    return engine.mean_loss(), engine.get_state()
