# Sampler: an engine that draws symbols, one at a time in each of its rows.
import numpy as np

from libc.math cimport log2
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from charrnn.kernels.forward cimport forward
from charrnn.kernels.network cimport Head, head_of
from charrnn.kernels.pack cimport matrix, pack, packed, round_up
from charrnn.kernels.parallel cimport poll
from charrnn.kernels.product cimport multiply
from charrnn.kernels.sampling cimport Candidate, Distribution, draw, is_filtered, probability_weights
from charrnn.kernels.simd cimport real
from charrnn.kernels.work cimport Work, pack_parameters, state_rows


cdef class Sampler(Engine):
    """An engine for one symbol at a time in each of its rows, with the logits a row for each of them."""
    cdef real *logits_panels        # (H, V)
    cdef real *row_logits           # (B, V rounded up)
    cdef const real **bias_rows     # (B)
    cdef Py_ssize_t logits_stride
    cdef Distribution distribution
    cdef bint sorts                 # whether the distribution asks for the most probable symbols
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
        self.sorts = is_filtered(V, &self.distribution)
        pack_parameters(w, 0, 1)
        pack(H, V, matrix(head.weight, 1, w.sizes.stride), self.logits_panels)
        for b in range(batch_size):
            self.bias_rows[b] = head.bias

    cdef _lay_out(self, Layout *layout):
        cdef double H = self.work.sizes.hidden_size, B = self.work.batch_size
        Engine._lay_out(self, layout)
        self.logits_stride = round_up(self.work.sizes.vocab_size, PADDING)
        self.logits_panels = part(layout, H * self.logits_stride)
        self.row_logits = part(layout, B * self.logits_stride)
        self.bias_rows = <const real **>bytes_part(layout, B * sizeof(real *))

    def feed(self, const int[:, ::1] inputs not None):
        """Read (T, B) symbols; what `draw` and `weights` say next is what follows them."""
        cdef Py_ssize_t t, b
        self._begin()
        with nogil:
            for t in range(inputs.shape[0]):
                memcpy(self.work.inputs, &inputs[t, 0], self.work.batch_size * sizeof(int))
                self.advance()
                if self.work.interrupted:
                    break
            self.compute_logits()
            for b in range(self.work.batch_size):
                self.compute_weights(b)
                if self.work.interrupted:
                    break
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
        self._begin()
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
        self._begin()
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
        cdef double V = self.work.sizes.vocab_size
        # The product that made them, exp and the cumulative sum, and what qsort does.
        poll(&self.work, 0, V * (2 * self.work.sizes.hidden_size + 40 + (30 * log2(V) if self.sorts else 0)))
        probability_weights(self.work.sizes.vocab_size, &self.distribution, self.row_logits + b * self.logits_stride)

    cdef int one_symbol(self, Py_ssize_t b, size_t next_double, size_t bit_generator) noexcept nogil:
        """A symbol by a row's weights and one double of the generator."""
        return draw(self.work.sizes.vocab_size, self.row_logits + b * self.logits_stride,
                    (<double (*)(void *) noexcept nogil>next_double)(<void *>bit_generator),
                    self.distribution.cumulative)
