# Trainer: an engine that reads a stream of symbols and updates the parameters, many steps a call.
import numpy as np

from libc.math cimport isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t, uint8_t

from charrnn.kernels.bptt cimport loss_and_gradients
from charrnn.kernels.optimizers cimport (
    ADAGRAD,
    ADAM,
    NORM_BLOCK,
    RMSPROP,
    SGD,
    Optimizer,
    average_update,
    clip_scale,
    optimizer_update,
    sum_of_squares,
)
from charrnn.kernels.simd cimport real
from charrnn.kernels.softmax cimport mean_loss
from charrnn.kernels.threads cimport barrier_wait
from charrnn.kernels.work cimport Work, as_target, pack_parameters


OPTIMIZERS = {"sgd": SGD, "adagrad": ADAGRAD, "rmsprop": RMSPROP, "adam": ADAM}


cdef class Trainer(Engine):
    """An engine that reads a stream of symbols by itself and updates the parameters, many steps a call.

    Reader b of the batch begins at starts[b] and reads `length` symbols in chunks of seq_length, the last one
    shorter; then all begin again, from a zero state. Of documents it begins within number first[b], and goes on with
    the next one in their order where one has ended; the last one is followed by the first.
    In `average`, an arena, it keeps an average of the parameters over the steps, if one is asked for.
    """
    cdef Optimizer optimizer
    cdef real[::1] _moments
    cdef real[::1] _squares
    cdef real[::1] _average
    cdef const uint8_t[::1] _codes
    cdef const uint8_t[::1] _targets    # the stream whose symbols are the targets, most often the same
    cdef const uint8_t[::1] _table
    cdef const int64_t[::1] _starts
    cdef int itemsize
    cdef int64_t length
    cdef const uint8_t[::1] _documents  # where they begin, in the order in which they are read; none of a text
    cdef int documents_itemsize
    cdef int64_t num_documents
    cdef const int64_t[::1] _first
    cdef int64_t[::1] _at               # of each reader of documents its next symbol,
    cdef int64_t[::1] _document         # in which document that is,
    cdef int64_t[::1] _symbols_read     # and how many it has read
    cdef readonly int64_t position      # symbols of each reader that are read
    cdef readonly long long passes      # over the stream that are complete
    cdef uint64_t seed
    cdef double[::1] _norms             # sums of squares of the gradient's blocks
    cdef const double[::1] _learning_rates
    cdef const double[::1] _average_shares
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
        real[::1] average=None,
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
        double recurrent_dropout=0,
        int num_threads=1,
    ):
        Engine.__init__(self, network, parameters, seq_length, batch_size, end=end, dropout=dropout,
                        recurrent_dropout=recurrent_dropout, gradients=aligned_zeros(network.arena_size),
                        num_threads=num_threads)
        self._moments = moments
        self._squares = squares
        if average is not None:
            check_length("average", average.shape[0], network.arena_size)
        self._average = average
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
        documents=None,                     # (n,) of int32 or int64: where documents begin, in the order of reading
        const int64_t[::1] first=None,      # (B,) the documents in which the readers begin
        targets=None,                       # (n,) like codes: what stands there is predicted in place of codes
    ):
        """Read this stream from its beginning on, from a zero state."""
        if targets is not None:
            check_length("targets", targets.nbytes, codes.nbytes)
        check_length("table", table.shape[0], 256)
        check_length("starts", starts.shape[0], self.work.batch_size)
        documents = np.empty(0, np.int64) if documents is None else documents
        if len(documents):
            check_length("first", first.shape[0], self.work.batch_size)
        self.set_state(None)
        self.itemsize = codes.itemsize
        self._codes = codes.view(np.uint8)
        self._targets = self._codes if targets is None else targets.view(np.uint8)
        self._table = table
        self._starts = starts
        self.length = length
        self.num_documents = len(documents)
        self.documents_itemsize = documents.itemsize
        self._documents = documents.view(np.uint8)
        self._first = first
        self._at, self._document, self._symbols_read = np.full((3, self.work.batch_size), -1, np.int64)
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

    def train(
        self,
        const double[::1] learning_rates not None,
        double[::1] losses not None,
        const double[::1] average_shares=None,
    ):
        """A step with each learning rate, its loss into `losses`; the number of steps made.

        After each step the average moves by that step's share, 0 to 1, of the way to the new parameters; where the
        share is 0 it is not touched.

        It is smaller than asked where the loss or the gradient's norm stopped being finite: then the parameters
        are those before that step, whose loss and norm are last_loss and last_norm.
        """
        check_length("losses", losses.shape[0], learning_rates.shape[0])
        self._learning_rates = learning_rates
        self._step_losses = losses
        if average_shares is not None:
            check_length("average_shares", average_shares.shape[0], learning_rates.shape[0])
            if self._average is None:
                raise ValueError("average_shares must be None for a trainer that was given no average")
        self._average_shares = average_shares
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
            self.update(&o, norm, i, rank, threads)
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
            if self.num_documents != 0:
                if self._symbols_read[b] != position:
                    self.find_place(b, position)
                for t in range(T):
                    w.inputs[t * B + b] = self.symbol(self._codes, self._at[b])
                    w.targets[t * B + b] = as_target(w, self.symbol(self._targets, self._at[b] + 1))
                    self.read_on(b)
            else:
                at = self._starts[b] + position
                for t in range(T):
                    w.inputs[t * B + b] = self.symbol(self._codes, at + t)
                    w.targets[t * B + b] = as_target(w, self.symbol(self._targets, at + t + 1))
        return position + T if position + T < self.length else 0

    cdef void find_place(self, Py_ssize_t b, int64_t position) noexcept nogil:
        """Brings a reader of documents to where it has read so many symbols."""
        self._at[b] = self._starts[b]
        self._document[b] = self._first[b]
        self._symbols_read[b] = 0
        while self._symbols_read[b] < position:
            self.read_on(b)

    cdef void read_on(self, Py_ssize_t b) noexcept nogil:
        """Brings a reader of documents to its next symbol."""
        self._at[b] += 1
        self._symbols_read[b] += 1
        if self.symbol(self._codes, self._at[b]) >= self.work.end:
            self._document[b] = self._document[b] + 1 if self._document[b] + 1 < self.num_documents else 0
            self._at[b] = self.document_start(self._document[b])

    cdef int64_t document_start(self, int64_t number) noexcept nogil:
        if self.documents_itemsize == 4:
            return (<const int32_t *>&self._documents[0])[number]
        return (<const int64_t *>&self._documents[0])[number]

    cdef int symbol(self, const uint8_t[::1] codes, int64_t at) noexcept nogil:
        if self.itemsize == 1:
            return self._table[codes[at]]
        if self.itemsize == 2:
            return (<const uint16_t *>&codes[0])[at]
        return (<const int32_t *>&codes[0])[at]

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

    cdef void update(self, Optimizer *o, double norm, Py_ssize_t i, int rank, int threads) noexcept nogil:
        """Clips and updates this thread's blocks of the parameters in the i-th step of a call, and their average."""
        cdef Py_ssize_t size = self._gradients.shape[0], blocks = self._norms.shape[0]
        cdef Py_ssize_t first = blocks * rank // threads * NORM_BLOCK
        cdef Py_ssize_t stop = min(size, blocks * (rank + 1) // threads * NORM_BLOCK), start, n
        cdef double share = 0 if self._average_shares is None else self._average_shares[i]
        # The average is taken block by block, while the parameters are in the cache.
        cdef Py_ssize_t most = NORM_BLOCK if share > 0 else max(stop - first, 1)
        for start from first <= start < stop by most:
            n = min(most, stop - start)
            optimizer_update(o, n, clip_scale(norm, o.clip_norm), self._learning_rates[i], &self._parameters[start],
                             &self._gradients[start], &self._moments[start], &self._squares[start])
            if share > 0:
                average_update(n, share, &self._parameters[start], &self._average[start])
