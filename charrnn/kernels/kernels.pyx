"""What Python sees of the compiled kernels of one build: see charrnn.kernels."""
import threading
import time

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

from charrnn.kernels.activations cimport vexp, vtanh
from charrnn.kernels.bptt cimport (
    IN_PLACE_BYTES,
    Head,
    Sizes,
    Work,
    forward,
    head_forward,
    head_of,
    layer_size,
    loss_and_gradients,
    pack_parameters,
    poll,
    state_rows,
)
from charrnn.kernels.gemm cimport BLOCK_K, TILE_VECTORS, matrix, multiply, pack, packed, round_up
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
from charrnn.kernels.rnn cimport rnn_backward, rnn_forward
from charrnn.kernels.sampling cimport Candidate, Distribution, draw, probability_weights
from charrnn.kernels.simd cimport LANES, REAL_IS_DOUBLE, TILE_ROWS, inlined, real, vlane, vload, vreal, vsplat, vstore
from charrnn.kernels.softmax cimport cross_entropy_backward, cross_entropy_forward, mean_loss, softmax_column
from charrnn.kernels.threads cimport atomic_set, barrier_wait

DTYPE = np.dtype(np.float64 if REAL_IS_DOUBLE else np.float32)

cdef enum:
    ALIGNMENT = 64              # bytes: a cache line, and the widest vector
    PADDING = 16                # rows of a parameter are a multiple of this in every build
    # Logits held at once; with a larger vocabulary fewer positions fit.
    LOGITS = 1 << 22
    # Independent sums that hide the latency of a multiply-add: 4 cycles, two a cycle.
    PEAK_SUMS = 12


def aligned_zeros(Py_ssize_t n):
    """A zeroed vector of n numbers that begins on a cache line."""
    cdef Py_ssize_t size = sizeof(real)
    array = np.zeros(n + ALIGNMENT // size, DTYPE)
    cdef real[::1] view = array
    cdef Py_ssize_t start = (-<Py_ssize_t>&view[0] % ALIGNMENT + ALIGNMENT) % ALIGNMENT // size
    return array[start:start + n]


cdef check_at_least(str name, double value, double least):
    if not value >= least:
        raise ValueError(f"{name} must be at least {least:g}, got {value:g}")


cdef check_length(str name, Py_ssize_t got, Py_ssize_t wanted):
    if got != wanted:
        raise ValueError(f"{name} must have length {wanted} where the other arguments say so, got {got}")


cdef class Network:
    """The sizes of a recurrent network, and where each of its parameters lies in one flat arena.

    The arena holds layer after layer weight_ih and weight_hh (both transposed, so that the weights of a symbol and
    those of a hidden unit are rows), bias_ih, bias_hh, then the head's weight and bias. Each row takes `stride`
    numbers; what lies behind the hidden_size-th is zero and stays zero.
    """
    cdef Sizes sizes

    def __init__(self, Py_ssize_t vocab_size, Py_ssize_t hidden_size, Py_ssize_t num_layers):
        check_at_least("vocab_size", vocab_size, 1)
        check_at_least("hidden_size", hidden_size, 1)
        check_at_least("num_layers", num_layers, 1)
        self.sizes.vocab_size = vocab_size
        self.sizes.hidden_size = hidden_size
        self.sizes.num_layers = num_layers
        self.sizes.stride = round_up(hidden_size, PADDING)
        if self.sizes.stride % 256 == 0:
            self.sizes.stride += PADDING    # rows a power of two apart would share few sets of the cache

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
        cdef Py_ssize_t total = self.sizes.vocab_size * self.sizes.stride + round_up(self.sizes.vocab_size, PADDING), l
        for l in range(self.sizes.num_layers):
            total += layer_size(&self.sizes, l)
        return total

    def views(self, arena):
        """The parameters in an arena as arrays of PyTorch's names and shapes that share its memory."""
        cdef Py_ssize_t V = self.sizes.vocab_size, H = self.sizes.hidden_size, ld = self.sizes.stride, at = 0
        views = {}

        def rows(Py_ssize_t n):
            nonlocal at
            at += n * ld
            return arena[at - n * ld:at].reshape(n, ld)[:, :H]

        for l in range(self.sizes.num_layers):
            views[f"rnn.weight_ih_l{l}"] = rows(V if l == 0 else H).T
            views[f"rnn.weight_hh_l{l}"] = rows(H).T
            views[f"rnn.bias_ih_l{l}"] = rows(1)[0]
            views[f"rnn.bias_hh_l{l}"] = rows(1)[0]
        views["head.weight"] = rows(V)
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
    cdef list _buffers
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
        cdef Work *w = &self.work
        cdef Sizes *s = &network.sizes
        cdef Py_ssize_t N = seq_length * batch_size, panel = TILE_VECTORS * LANES
        cdef Py_ssize_t row = s.stride, layer_panels = s.hidden_size * round_up(s.hidden_size, LANES)
        check_at_least("seq_length", seq_length, 1)
        check_at_least("batch_size", batch_size, 1)
        check_at_least("num_threads", num_threads, 1)
        check_length("parameters", parameters.shape[0], network.arena_size)
        if gradients is not None:
            check_length("gradients", gradients.shape[0], network.arena_size)
        self.network = network
        self.num_threads = num_threads
        self._buffers = []
        self._parameters = parameters
        self._gradients = gradients
        w.sizes = s[0]
        w.max_seq_length = w.seq_length = seq_length
        w.batch_size = batch_size
        w.end = end
        w.backward = gradients is not None
        w.dropout = dropout
        # Where one tile takes all rows, to pack would cost as much as a product.
        w.in_place = batch_size <= TILE_ROWS and s.hidden_size * row * sizeof(real) <= IN_PLACE_BYTES
        w.parameters = &parameters[0]
        w.owner = <void *>self
        w.look_at_signals = look_at_signals
        # An odd number of cache lines apart, for the same reason as the stride of parameters.
        w.block = round_up(min(N, max(LOGITS // s.vocab_size, panel)), panel)
        if w.block % 128 == 0:
            w.block += panel
        w.inputs = <int *>self._reserve_bytes(N * sizeof(int))
        w.targets = <int *>self._reserve_bytes(N * sizeof(int))
        w.start = <const real **>self._reserve_bytes(N * sizeof(real *))
        w.losses = <double *>self._reserve_bytes(N * sizeof(double))
        w.h = self._reserve(s.num_layers * (seq_length + 1) * batch_size * row)
        w.table = self._reserve(s.vocab_size * row)
        w.bias = self._reserve(s.num_layers * row)
        w.forward_panels = self._reserve(2 * s.num_layers * layer_panels)
        w.logits = self._reserve(s.vocab_size * w.block)
        w.sums = self._reserve(w.block)
        w.scratch_size = round_up(max(s.hidden_size, <Py_ssize_t>BLOCK_K) * panel, PADDING)
        w.scratch = self._reserve(w.scratch_size * num_threads)
        if end >= 0:
            w.no_end = self._reserve(batch_size * row)
        if dropout > 0:
            w.up = self._reserve(s.num_layers * N * row)
            w.mask = self._reserve(s.num_layers * N * row)
        if w.backward:
            w.gradients = &gradients[0]
            w.dz = self._reserve(s.num_layers * N * row)
            w.backward_panels = self._reserve(2 * s.num_layers * layer_panels)

    @property
    def seq_length(self):
        """The most steps of a call."""
        return self.work.max_seq_length

    cdef real *_reserve(self, Py_ssize_t n) except NULL:
        cdef real[::1] buffer = aligned_zeros(n)
        self._buffers.append(buffer)
        return &buffer[0]

    cdef void *_reserve_bytes(self, Py_ssize_t n) except NULL:
        return self._reserve((n + sizeof(real) - 1) // sizeof(real))

    # State: (L, B, H), the h before the first step of the next call.

    def get_state(self):
        """A copy of the state after the last step, (L, B, H)."""
        cdef Sizes *s = &self.work.sizes
        cdef real[:, :, ::1] state = np.empty((s.num_layers, self.work.batch_size, s.hidden_size), DTYPE)
        cdef Py_ssize_t l, b
        for l in range(s.num_layers):
            for b in range(self.work.batch_size):
                memcpy(&state[l, b, 0], state_rows(&self.work, l, 0) + b * s.stride, s.hidden_size * sizeof(real))
        return np.asarray(state)

    def set_state(self, const real[:, :, ::1] state):
        """Start the next call from this state, (L, B, H); from zero where it is None."""
        cdef Sizes *s = &self.work.sizes
        cdef Py_ssize_t l, b
        for l in range(s.num_layers):
            for b in range(self.work.batch_size):
                if state is None:
                    memset(state_rows(&self.work, l, 0) + b * s.stride, 0, s.hidden_size * sizeof(real))
                else:
                    memcpy(state_rows(&self.work, l, 0) + b * s.stride, &state[l, b, 0], s.hidden_size * sizeof(real))

    # Calls: each reads (T, B) symbols, T at most seq_length, and carries the state on.

    def logits(self, const int[:, ::1] inputs not None):
        """Logits (T, B, V) of these inputs."""
        cdef Work *w = &self.work
        cdef Py_ssize_t V = w.sizes.vocab_size, panel = TILE_VECTORS * LANES, N, position, count, i, v
        cdef real *bias = head_of(&w.sizes, w.parameters).bias
        self._load(inputs, None)
        N = w.seq_length * w.batch_size
        array = np.empty((N, V), DTYPE)
        cdef real[:, ::1] logits = array
        with nogil:
            pack_parameters(w, 0, 1)
            forward(w, 0, 1)
            for position from 0 <= position < N by panel:
                count = min(panel, N - position)
                head_forward(w, 0, position, count, w.logits)
                for i in range(count):
                    for v in range(V):
                        logits[position + i, v] = w.logits[v * w.block + i] + bias[v]
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
        cdef Work *w = &self.work
        cdef Py_ssize_t l
        for l in range(w.sizes.num_layers):
            memcpy(state_rows(w, l, 0), state_rows(w, l, w.seq_length), w.batch_size * w.sizes.stride * sizeof(real))

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
            self.carry_rows(position == 0, rank, threads)
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
        cdef Py_ssize_t size = self._gradients.shape[0], blocks = self._norms.shape[0], i, first
        cdef double scale = clip_scale(norm, o.clip_norm)
        for i in range(blocks * rank // threads, blocks * (rank + 1) // threads):
            first = i * NORM_BLOCK
            optimizer_update(o, min(<Py_ssize_t>NORM_BLOCK, size - first), scale, learning_rate,
                             &self._parameters[first], &self._gradients[first], &self._moments[first],
                             &self._squares[first])

    cdef void carry_rows(self, bint restart, int rank, int threads) noexcept nogil:
        """The state of this thread's rows for the next chunk: the last one, or zero where the stream restarts."""
        cdef Work *w = &self.work
        cdef Py_ssize_t B = w.batch_size, ld = w.sizes.stride, b0 = B * rank // threads, l
        cdef Py_ssize_t size = (B * (rank + 1) // threads - b0) * ld * sizeof(real)
        for l in range(w.sizes.num_layers):
            if restart:
                memset(state_rows(w, l, 0) + b0 * ld, 0, size)
            else:
                memcpy(state_rows(w, l, 0) + b0 * ld, state_rows(w, l, w.seq_length) + b0 * ld, size)


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
    cdef int *symbols               # (B): the last symbol of each row

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
        self.logits_stride = round_up(V, PADDING)
        self.logits_panels = self._reserve(H * round_up(V, LANES))
        self.row_logits = self._reserve(batch_size * self.logits_stride)
        self.bias_rows = <const real **>self._reserve_bytes(batch_size * sizeof(real *))
        self._candidates = np.zeros(V * sizeof(Candidate), np.uint8)
        self._cumulative = np.zeros(V)
        self.distribution = Distribution(temperature, top_k, top_p, <Candidate *>&self._candidates[0],
                                         &self._cumulative[0])
        pack_parameters(w, 0, 1)
        pack(H, V, matrix(head.weight, 1, w.sizes.stride), self.logits_panels)
        for b in range(batch_size):
            self.bias_rows[b] = head.bias

    def feed(self, const int[:, ::1] inputs not None):
        """Read (T, B) symbols; what `draw` and `weights` say next is what follows them."""
        cdef Py_ssize_t t
        with nogil:
            for t in range(inputs.shape[0]):
                memcpy(self.work.inputs, &inputs[t, 0], self.work.batch_size * sizeof(int))
                self.advance()
                if self.work.interrupted:
                    break
            self.compute_weights()
        self._finish()

    def weights(self):
        """Probabilities up to a factor, (B, V), of the next symbol of each row, after temperature, top_k and top_p."""
        cdef Py_ssize_t b, B = self.work.batch_size, V = self.work.sizes.vocab_size
        array = np.empty((B, V), DTYPE)
        cdef real[:, ::1] weights = array
        for b in range(B):
            memcpy(&weights[b, 0], self.row_logits + b * self.logits_stride, V * sizeof(real))
        return array

    def draw(self, size_t next_double, size_t bit_generator, int[:, ::1] symbols not None):
        """Draw (T, B) symbols, each from what precedes it in its row, with one double of the generator for each; the
        number of steps made. A row that has drawn END keeps END and takes no more doubles; the rest go on.

        next_double and bit_generator are the addresses in a NumPy bit generator's ctypes interface.
        """
        cdef Py_ssize_t t = 0, b, going, B = self.work.batch_size
        cdef double (*uniform)(void *) noexcept nogil
        uniform = <double (*)(void *) noexcept nogil>next_double
        with nogil:
            while t < symbols.shape[0]:
                going = 0
                for b in range(B):
                    if t > 0 and self.work.end >= 0 and symbols[t - 1, b] == self.work.end:
                        symbols[t, b] = self.work.end
                        continue
                    symbols[t, b] = draw(self.work.sizes.vocab_size, self.row_logits + b * self.logits_stride,
                                         uniform(<void *>bit_generator), self.distribution.cumulative)
                    going += symbols[t, b] != self.work.end
                memcpy(self.work.inputs, &symbols[t, 0], B * sizeof(int))
                t += 1
                if going == 0:
                    break
                self.advance()
                self.compute_weights()
                if self.work.interrupted:
                    break
        self._finish()
        return t

    cdef void advance(self) noexcept nogil:
        """One step of all rows from work.inputs."""
        cdef Work *w = &self.work
        cdef Py_ssize_t l
        forward(w, 0, 1)
        for l in range(w.sizes.num_layers):
            memcpy(state_rows(w, l, 0), state_rows(w, l, 1), w.batch_size * w.sizes.stride * sizeof(real))

    cdef void compute_weights(self) noexcept nogil:
        """weight for weight, the distribution of the next symbol of each row."""
        cdef Work *w = &self.work
        cdef Py_ssize_t V = w.sizes.vocab_size, H = w.sizes.hidden_size, b
        multiply(w.batch_size, V, H, matrix(state_rows(w, w.sizes.num_layers - 1, 0), w.sizes.stride, 1),
                 packed(H, self.logits_panels), self.bias_rows, self.row_logits, self.logits_stride)
        for b in range(w.batch_size):
            probability_weights(V, &self.distribution, self.row_logits + b * self.logits_stride)


# Functions by themselves ------------------------------------------------------------------------------------


def exp(const real[::1] x not None, real[::1] out=None):
    """exp(x) of each element, (n,)."""
    return elementwise(x, out, False)


def tanh(const real[::1] x not None, real[::1] out=None):
    """tanh(x) of each element, (n,)."""
    return elementwise(x, out, True)


cdef elementwise(const real[::1] x, real[::1] out, bint is_tanh):
    cdef Py_ssize_t n = x.shape[0], i, lane
    cdef real[16] block
    if out is None:
        out = np.empty(n, DTYPE)
    check_length("out", out.shape[0], n)
    with nogil:
        for i from 0 <= i < n by LANES:
            for lane in range(LANES):
                block[lane] = x[i + lane] if i + lane < n else 0
            vstore(block, vtanh(vload(block)) if is_tanh else vexp(vload(block)))
            for lane in range(min(<Py_ssize_t>LANES, n - i)):
                out[i + lane] = block[lane]
    return np.asarray(out)


cdef inline inlined multiply_add(Py_ssize_t n, vreal x, vreal y, vreal *sums) noexcept nogil:
    """n times sums := sums x + y of PEAK_SUMS vectors that stay in registers."""
    cdef vreal s[PEAK_SUMS]
    cdef Py_ssize_t i
    cdef int j
    for j in range(PEAK_SUMS):
        s[j] = sums[j]
    for i in range(n):
        for j in range(PEAK_SUMS):
            s[j] = s[j] * x + y
    for j in range(PEAK_SUMS):
        sums[j] = s[j]
    return 0


def fma_peak(double seconds=0.2):
    """Floating-point operations a second of one core: multiply-adds of independent vectors, the best of many runs.

    No kernel can do more. Each number multiplied and added counts as two operations.
    """
    cdef vreal sums[PEAK_SUMS]
    cdef Py_ssize_t n = 100_000
    cdef int j
    cdef double best = 0
    for j in range(PEAK_SUMS):
        sums[j] = vsplat(j)
    end = time.perf_counter() + seconds
    while best == 0 or time.perf_counter() < end:
        start = time.perf_counter()
        with nogil:
            multiply_add(n, vsplat(<real>0.5), vsplat(<real>0.25), sums)
        best = max(best, 2.0 * n * PEAK_SUMS * LANES / (time.perf_counter() - start))
    # Each sum converges to 0.5; that all of them are asked for keeps all of the loop alive.
    assert abs(sum([vlane(sums[j], 0) for j in range(PEAK_SUMS)]) - 0.5 * PEAK_SUMS) < 1e-3
    return best


cdef check_symbols(str name, const int[::1] symbols, Py_ssize_t vocab_size):
    cdef Py_ssize_t i
    for i in range(symbols.shape[0]):
        if not 0 <= symbols[i] < vocab_size:
            raise ValueError(f"{name} must be from 0 to {vocab_size - 1}, got {symbols[i]}")


def softmax(const real[:, ::1] logits not None, real[:, ::1] probs=None):
    """probs = exp(logits - max) / sum exp(logits - max) in each row.

    Parameters
    ----------
    logits : (N, V) array
    probs : (N, V) array, optional
        OUT; a new array where it is not given.

    Returns
    -------
    (N, V) array
    """
    cdef Py_ssize_t N = logits.shape[0], V = logits.shape[1], n, v, i, count
    cdef real[:, ::1] columns = np.zeros((V, LANES), DTYPE)
    cdef real[16] sums
    cdef vreal total
    if probs is None:
        probs = np.empty((N, V), DTYPE)
    check_length("probs", probs.shape[0], N)
    check_length("a row of probs", probs.shape[1], V)
    if V == 0:
        return np.asarray(probs)
    with nogil:
        for n from 0 <= n < N by LANES:
            count = min(<Py_ssize_t>LANES, N - n)
            for i in range(count):
                for v in range(V):
                    columns[v, i] = logits[n + i, v]
            softmax_column(V, LANES, NULL, &columns[0, 0], NULL, count, NULL, &total)
            vstore(sums, total)
            for i in range(count):
                for v in range(V):
                    probs[n + i, v] = columns[v, i] / sums[i]
    return np.asarray(probs)


def cross_entropy(const real[:, ::1] logits not None, const int[::1] targets not None, real[:, ::1] dlogits=None):
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
    """
    cdef Py_ssize_t N = logits.shape[0], V = logits.shape[1], stride = round_up(N, LANES)
    if N == 0 or V == 0:
        raise ValueError(f"logits must have at least one row and one column, got shape ({N}, {V})")
    check_length("targets", targets.shape[0], N)
    check_symbols("targets", targets, V)
    if dlogits is not None:
        check_length("dlogits", dlogits.shape[0], N)
        check_length("a row of dlogits", dlogits.shape[1], V)
    columns = np.zeros((V, stride), DTYPE)
    columns[:, :N] = np.asarray(logits).T
    cdef real[:, ::1] x = columns
    cdef real[::1] sums = np.zeros(stride, DTYPE), bias = np.zeros(V, DTYPE)
    cdef double[::1] losses = np.zeros(stride)
    with nogil:
        cross_entropy_forward(V, N, stride, &bias[0], &x[0, 0], &targets[0], &losses[0], &sums[0])
        if dlogits is not None:
            cross_entropy_backward(V, N, stride, &x[0, 0], &targets[0], &sums[0], <real>(1.0 / N))
    if dlogits is not None:
        np.asarray(dlogits)[:] = columns[:, :N].T
    return mean_loss(N, &losses[0])


cdef product(a, b, start=None):
    """start + a.b of arrays (m, k) and (k, n) with any strides, as an array whose rows are whole vectors."""
    cdef const real[:, :] x = a, y = b
    check_length("a row of the left factor", x.shape[1], y.shape[0])
    cdef Py_ssize_t m = x.shape[0], k = x.shape[1], n = y.shape[1], size = sizeof(real), i
    cdef Py_ssize_t stride = round_up(n, LANES)
    out = aligned_zeros(m * stride).reshape(m, stride)
    if start is not None:
        out[:, :n] = start
    cdef real[:, ::1] c = out
    cdef real[::1] panels = aligned_zeros(k * stride)
    addresses = np.zeros(m, np.uintp)
    cdef size_t[::1] rows = addresses
    for i in range(m):
        rows[i] = <size_t>&c[i, 0]
    with nogil:
        pack(k, n, matrix(&y[0, 0], y.strides[0] // size, y.strides[1] // size), &panels[0])
        multiply(m, n, k, matrix(&x[0, 0], x.strides[0] // size, x.strides[1] // size), packed(k, &panels[0]),
                 <const real **>&rows[0], &c[0, 0], stride)
    return out


cdef check_shape(str name, array, rows, columns):
    if array.shape != (rows, columns):
        raise ValueError(f"{name} must have shape {(rows, columns)} where the other arguments say so, got {array.shape}")


cdef check_cell(B, H, x, h_prev, weight_ih, weight_hh):
    if x.ndim != 2:
        raise ValueError(f"x must have 2 dimensions, got shape {x.shape}")
    check_shape("x", x, B, x.shape[1])
    check_shape("h_prev", h_prev, B, H)
    check_shape("weight_ih", weight_ih, H, x.shape[1])
    check_shape("weight_hh", weight_hh, H, H)


def rnn_cell(
    x not None,                 # IN (B, input)
    h_prev not None,            # IN (B, H)
    weight_ih not None,         # IN (H, input)
    weight_hh not None,         # IN (H, H)
    bias_ih not None,           # IN (H)
    bias_hh not None,           # IN (H)
):
    """h = tanh(x.weight_ih^T + bias_ih + h_prev.weight_hh^T + bias_hh), (B, H): one step of a tanh RNN."""
    B, H = h_prev.shape
    check_cell(B, H, x, h_prev, weight_ih, weight_hh)
    check_length("bias_ih", len(bias_ih), H)
    check_length("bias_hh", len(bias_hh), H)
    z = product(x, weight_ih.T, bias_ih + bias_hh)
    z = product(h_prev, weight_hh.T, z[:, :H])
    cdef real[:, ::1] view = z
    rnn_forward(view.shape[0], view.shape[1], view.shape[1], &view[0, 0])
    return np.ascontiguousarray(z[:, :H])


def rnn_cell_backward(
    dh not None,                # IN (B, H)
    x not None,                 # IN (B, input)
    h_prev not None,            # IN (B, H)
    h not None,                 # IN (B, H): what rnn_cell gave
    weight_ih not None,         # IN (H, input)
    weight_hh not None,         # IN (H, H)
):
    """dz = dh (1 - h^2), and from it (dx, dh_prev, dweight_ih, dweight_hh, dbias); dbias is that of either bias."""
    B, H = dh.shape
    check_cell(B, H, x, h_prev, weight_ih, weight_hh)
    check_shape("h", h, B, H)
    dz = aligned_zeros(B * round_up(H, LANES)).reshape(B, -1)
    outputs = np.zeros_like(dz)
    dz[:, :H] = dh
    outputs[:, :H] = h
    cdef real[:, ::1] dz_view = dz, h_view = outputs
    rnn_backward(B, dz_view.shape[1], dz_view.shape[1], &h_view[0, 0], &dz_view[0, 0])
    dz = dz[:, :H]
    return (
        np.ascontiguousarray(product(dz, weight_ih)[:, :weight_ih.shape[1]]),
        np.ascontiguousarray(product(dz, weight_hh)[:, :H]),
        np.ascontiguousarray(product(dz.T, x)[:, :x.shape[1]]),
        np.ascontiguousarray(product(dz.T, h_prev)[:, :H]),
        dz.sum(axis=0),
    )


def clip_norm(real[::1] gradients not None, double max_norm):
    """Scale gradients, (n,), in place so that their L2 norm is at most max_norm; the norm that they had.

    Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks" (2013).
    """
    cdef Py_ssize_t n = gradients.shape[0], i
    cdef double total = 0, scale
    check_at_least("max_norm", max_norm, 0)
    with nogil:
        for i from 0 <= i < n by NORM_BLOCK:
            total += sum_of_squares(min(<Py_ssize_t>NORM_BLOCK, n - i), &gradients[i])
        total = sqrt(total)
        scale = clip_scale(total, max_norm)
        if scale != 1:
            for i in range(n):
                gradients[i] = gradients[i] * <real>scale
    return total


def clip_value(real[::1] gradients not None, double limit):
    """Bring each of gradients, (n,), into -limit ... limit, in place."""
    cdef Py_ssize_t i
    check_at_least("limit", limit, 0)
    with nogil:
        for i in range(gradients.shape[0]):
            gradients[i] = clip_element(gradients[i], <real>limit)


cdef update_in_place(Optimizer o, double learning_rate, real[::1] parameters, const real[::1] gradients,
                     real[::1] moments, real[::1] squares):
    cdef Py_ssize_t n = parameters.shape[0]
    check_length("gradients", gradients.shape[0], n)
    if moments is not None:
        check_length("moments", moments.shape[0], n)
    if squares is not None:
        check_length("squares", squares.shape[0], n)
    if n:
        with nogil:
            optimizer_update(&o, n, 1, learning_rate, &parameters[0], &gradients[0],
                             NULL if moments is None else &moments[0], NULL if squares is None else &squares[0])


def sgd(
    real[::1] parameters not None,      # IN OUT (n)
    const real[::1] gradients not None, # IN (n)
    real[::1] moments not None,         # IN OUT (n), zeros at first
    *,
    double learning_rate,
    double momentum=0,
    double weight_decay=0,
):
    """v = momentum v + g; p -= learning_rate v, after p -= learning_rate weight_decay p. One step, in place."""
    update_in_place(Optimizer(SGD, momentum, 0, 0, 0, weight_decay, INFINITY, INFINITY, 1), learning_rate, parameters,
                    gradients, moments, None)


def adagrad(
    real[::1] parameters not None,      # IN OUT (n)
    const real[::1] gradients not None, # IN (n)
    real[::1] squares not None,         # IN OUT (n), zeros at first
    *,
    double learning_rate,
    double eps=1e-10,
    double weight_decay=0,
):
    """s += g^2; p -= learning_rate g / (sqrt(s) + eps), after p -= learning_rate weight_decay p. One step, in place."""
    update_in_place(Optimizer(ADAGRAD, 0, 0, 0, eps, weight_decay, INFINITY, INFINITY, 1), learning_rate, parameters,
                    gradients, None, squares)


def rmsprop(
    real[::1] parameters not None,      # IN OUT (n)
    const real[::1] gradients not None, # IN (n)
    real[::1] squares not None,         # IN OUT (n), zeros at first
    *,
    double learning_rate,
    double rho=0.99,
    double eps=1e-8,
    double weight_decay=0,
):
    """s = rho s + (1 - rho) g^2; p -= learning_rate g / (sqrt(s) + eps), after p -= learning_rate weight_decay p.
    One step, in place."""
    update_in_place(Optimizer(RMSPROP, 0, 0, rho, eps, weight_decay, INFINITY, INFINITY, 1), learning_rate, parameters,
                    gradients, None, squares)


def adam(
    real[::1] parameters not None,      # IN OUT (n)
    const real[::1] gradients not None, # IN (n)
    real[::1] moments not None,         # IN OUT (n), zeros at first
    real[::1] squares not None,         # IN OUT (n), zeros at first
    *,
    long long step,                     # the number of this update, from 1
    double learning_rate,
    double beta1=0.9,
    double beta2=0.999,
    double eps=1e-8,
    double weight_decay=0,
):
    """m = beta1 m + (1 - beta1) g; s = beta2 s + (1 - beta2) g^2; p -= learning_rate m' / (sqrt(s') + eps), where
    m' = m / (1 - beta1^step), s' = s / (1 - beta2^step), after p -= learning_rate weight_decay p. In place."""
    if step < 1:
        raise ValueError(f"step must be at least 1, got {step}")
    update_in_place(Optimizer(ADAM, 0, beta1, beta2, eps, weight_decay, INFINITY, INFINITY, step), learning_rate,
                    parameters, gradients, moments, squares)


def bptt(
    Network network not None,
    real[::1] parameters not None,      # IN arena
    const int[:, ::1] inputs not None,  # IN (T, B)
    const int[:, ::1] targets not None, # IN (T, B)
    real[::1] gradients not None,       # OUT arena, overwritten
    const real[:, :, ::1] state=None,   # IN (L, B, H); None for zeros
    *,
    int end=-1,
    int num_threads=1,
):
    """The mean loss of the targets, its exact gradients by backpropagation through time, and the last state.

    Parameters and gradients are arenas of `network` (`network.views` names what is in them). No gradient flows into
    the state before the first step, nor through an input that is `end`, before which the state is zero.

    Returns
    -------
    loss : float
        Nats per symbol.
    state : (L, B, H) array

    References
    ----------
    Werbos, "Backpropagation through time: what it does and how to do it" (1990).
    """
    T, B = inputs.shape[0], inputs.shape[1]
    if T < 1 or B < 1:
        raise ValueError(f"inputs must have at least one step and one row, got shape ({T}, {B})")
    if (targets.shape[0], targets.shape[1]) != (T, B):
        raise ValueError(f"targets must have the shape of inputs, {(T, B)}, got {(targets.shape[0], targets.shape[1])}")
    check_symbols("inputs", np.asarray(inputs).ravel(), network.vocab_size)
    check_symbols("targets", np.asarray(targets).ravel(), network.vocab_size)
    if state is not None and (state.shape[0], state.shape[1], state.shape[2]) != (
            network.num_layers, B, network.hidden_size):
        raise ValueError(f"state must have shape {(network.num_layers, B, network.hidden_size)}, "
                         f"got {(state.shape[0], state.shape[1], state.shape[2])}")
    engine = Engine(network, parameters, T, B, end=end, gradients=gradients, num_threads=num_threads)
    engine.set_state(state)
    gradients[:] = 0                    # what lies behind the rows too
    engine.losses(inputs, targets)
    return engine.mean_loss(), engine.get_state()
