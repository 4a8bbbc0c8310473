# Sampler: an engine that draws symbols, one at a time in each of its rows.
import numpy as np

from libc.math cimport log2
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from charrnn.kernels.forward cimport forward
from charrnn.kernels.network cimport Head, head_of
from charrnn.kernels.pack cimport matrix, pack, packed, round_up
from charrnn.kernels.parallel cimport MIN_ROWS_PER_THREAD, poll
from charrnn.kernels.product cimport multiply
from charrnn.kernels.sampling cimport (
    Automaton,
    Candidate,
    Distribution,
    allow,
    any_may_follow,
    draw,
    is_filtered,
    mix,
    probability_weights,
)
from charrnn.kernels.simd cimport real
from charrnn.kernels.threads cimport barrier_wait
from charrnn.kernels.work cimport Work, pack_parameters, state_rows


# What `Sampler.draw` says of a text beside its symbols: it is over, or too long or too short and the row draws it anew.
cdef enum:
    OVER = 1
    ANEW = 2


cdef class Sampler(Engine):
    """An engine for one symbol at a time in each of its rows, with the logits a row for each of them.

    Threads split the rows. Before a step the first thread says what each row reads and takes the doubles, in the rows'
    order, and after it what became of each text: so the texts do not depend on the number of threads.

    Parameters
    ----------
    temperature, top_k, top_p, min_p
        See sampling.pxd.
    end : int
        The index of END; -1 where there is none.
    length : int
        Symbols of a text: where there is END the most of them, and a text that has not ended by then is drawn anew; -1
        for no bound.
    min_length : int
        Where there is END, the least symbols of a text: one that has ended before is drawn anew.
    automaton : charrnn.automaton.Automaton, optional
        What may come, and what makes a text end.
    in_time : bool
        Whether the automaton also forbids what could not end by `length`.
    partner : Sampler, optional
        Of as many rows and symbols: what is drawn from are `weight` parts of this one's probabilities and 1 - weight of
        its. It reads what this one reads, and is no longer used by itself.
    num_threads : int
        At most: each has MIN_ROWS_PER_THREAD rows.
    """
    cdef real *logits_panels        # (H, V)
    cdef real *row_logits           # (B, V rounded up)
    cdef const real **bias_rows     # (B)
    cdef Py_ssize_t logits_stride
    cdef Distribution distribution
    cdef double row_operations      # that a row's next symbol takes, or as long as so many floating-point ones
    # Scratch of each thread:
    cdef uint8_t[:, ::1] _candidates    # (V) of them
    cdef double[:, ::1] _cumulative     # (V)
    cdef uint8_t[:, ::1] allowed        # (V)
    cdef uint8_t[:, ::1] allowed_classes    # (C)
    # The automaton, and the object in whose arrays it lies.
    cdef Automaton automaton
    cdef object _automaton
    cdef Sampler partner
    cdef bint mixes                     # whether there is one
    cdef double weight
    # The texts that rows draw: what they begin with, and how many are still to be begun, -1 for any number.
    cdef Py_ssize_t length, min_length, to_begin
    cdef const int[::1] prompt
    # Of each row (B):
    cdef uint8_t[::1] busy              # whether it has a text
    cdef Py_ssize_t[::1] drawn          # symbols of it; negative while the prompt is read
    cdef int[::1] last                  # the last of them
    cdef int[::1] state                 # of the automaton
    cdef double[::1] uniforms           # what the next symbol is drawn with; -1 where none is drawn
    # The running call of `draw`, and its steps so far:
    cdef double (*next_double)(void *) noexcept nogil
    cdef void *bit_generator
    cdef int[:, ::1] symbols
    cdef uint8_t[:, ::1] over
    cdef Py_ssize_t steps_done
    cdef bint goes_on                   # whether there is another step
    cdef bint any_draws                 # whether any row has read its prompt

    def __init__(
        self,
        Network network not None,
        real[::1] parameters not None,
        Py_ssize_t batch_size,
        *,
        double temperature=1,
        Py_ssize_t top_k=0,
        double top_p=1,
        double min_p=0,
        int end=-1,
        Py_ssize_t length=-1,
        Py_ssize_t min_length=0,
        automaton=None,
        bint in_time=False,
        Sampler partner=None,
        double weight=1,
        int num_threads=1,
    ):
        cdef Work *w = &self.work
        cdef Py_ssize_t V = network.sizes.vocab_size, H = network.sizes.hidden_size, b
        check_at_least("num_threads", num_threads, 1)
        num_threads = max(1, <int>min(<Py_ssize_t>num_threads, batch_size // MIN_ROWS_PER_THREAD))
        Engine.__init__(self, network, parameters, 1, batch_size, end=end, num_threads=num_threads)
        cdef Head head = head_of(&w.sizes, w.parameters)
        self._candidates = np.zeros((num_threads, V * sizeof(Candidate)), np.uint8)
        self._cumulative = np.zeros((num_threads, V))
        self.distribution = Distribution(temperature, top_k, top_p, min_p, NULL)
        # The product that makes the logits, exp and the cumulative sum, and what qsort does.
        self.row_operations = 2.0 * V * H + 40.0 * V + (30 * V * log2(V) if is_filtered(V, &self.distribution) else 0)
        pack_parameters(w, 0, 1)
        pack(H, V, matrix(head.weight, 1, w.sizes.stride), self.logits_panels)
        for b in range(batch_size):
            self.bias_rows[b] = head.bias
        self.length = length
        self.min_length = min_length
        self.allowed = np.ones((num_threads, V), np.uint8)
        self.busy = np.zeros(batch_size, np.uint8)
        self.begin(np.zeros(0, np.int32), 0)
        self.drawn = np.zeros(batch_size, np.intp)
        self.last = np.zeros(batch_size, np.int32)
        self.state = np.zeros(batch_size, np.int32)
        self.uniforms = np.zeros(batch_size)
        if partner is not None:
            check_length("rows of partner", partner.work.batch_size, batch_size)
            check_length("symbols of partner", partner.work.sizes.vocab_size, V)
        self.partner, self.mixes, self.weight = partner, partner is not None, weight
        if automaton is not None:
            self._follow(automaton, length if in_time else -1)

    def _follow(self, automaton, Py_ssize_t length):
        cdef const int[::1] classes = automaton.classes, stops = automaton.stops, distance = automaton.distance
        cdef const int[:, ::1] arrows = automaton.next
        cdef const uint8_t[::1] ends = automaton.ends.view(np.uint8)
        check_length("classes", classes.shape[0], self.work.sizes.vocab_size - (self.work.end >= 0))
        for array in (automaton.ends, automaton.stops, automaton.distance):
            check_length("states", len(array), arrows.shape[0])
        self._automaton = automaton     # whose arrays are read
        self.allowed_classes = np.zeros((self.num_threads, arrows.shape[1]), np.uint8)
        self.automaton = Automaton(arrows.shape[1], &classes[0], &arrows[0, 0], &ends[0], &stops[0], &distance[0],
                                   automaton.masks, length)

    cdef _lay_out(self, Layout *layout):
        cdef double H = self.work.sizes.hidden_size, B = self.work.batch_size
        Engine._lay_out(self, layout)
        self.logits_stride = round_up(self.work.sizes.vocab_size, PADDING)
        self.logits_panels = part(layout, H * self.logits_stride)
        self.row_logits = part(layout, B * self.logits_stride)
        self.bias_rows = <const real **>bytes_part(layout, B * sizeof(real *))

    def feed(self, const int[:, ::1] inputs not None):
        """Read (T, B) symbols; what `weights` says next is what follows them."""
        cdef Py_ssize_t t, b
        self._begin()
        with nogil:
            for t in range(inputs.shape[0]):
                memcpy(self.work.inputs, &inputs[t, 0], self.work.batch_size * sizeof(int))
                self.advance(0, 1, 0, self.work.batch_size)
                self.count_step()
                if self.work.interrupted:
                    break
            self.compute_logits(0, self.work.batch_size)
            for b in range(self.work.batch_size):
                self.compute_weights(b, 0, 1, NULL)
                if self.work.interrupted:
                    break
        self._finish()

    def weights(self):
        """Probabilities up to a factor, (B, V), of the next symbol of each row, after temperature and all that leaves
        symbols out."""
        cdef Py_ssize_t b, B = self.work.batch_size, V = self.work.sizes.vocab_size
        array = np.empty((B, V), DTYPE)
        cdef real[:, ::1] weights = array
        for b in range(B):
            memcpy(&weights[b, 0], self.row_logits + b * self.logits_stride, V * sizeof(real))
        return array

    def begin(self, const int[::1] prompt not None, Py_ssize_t n):
        """From now on the rows draw texts that follow this prompt: n in all, or where n is -1 one after another."""
        self.prompt = prompt
        self.to_begin = n
        self.busy[:] = 0

    def draw(
        self,
        size_t next_double,                 # the addresses in a NumPy bit generator's ctypes interface
        size_t bit_generator,
        int[:, ::1] symbols not None,       # OUT (T, B), -1 where a row draws none
        uint8_t[:, ::1] over not None,      # OUT (T, B)
    ):
        """Go on for T steps in which at least one row draws; how many there were, fewer where all texts are done.

        Where a row's text is over it begins the next one, so that all rows have work while there are texts left. A
        step takes one double for each row that draws, in their order.
        """
        check_length("rows of symbols", symbols.shape[1], self.work.batch_size)
        check_length("steps of over", over.shape[0], symbols.shape[0])
        check_length("rows of over", over.shape[1], self.work.batch_size)
        self.next_double = <double (*)(void *) noexcept nogil>next_double
        self.bit_generator = <void *>bit_generator
        self.symbols, self.over = symbols, over
        self.steps_done = 0
        self._run()
        return self.steps_done

    cdef void work_share(self, int rank, int threads) noexcept nogil:
        cdef Py_ssize_t B = self.work.batch_size, b0 = B * rank // threads, b1 = B * (rank + 1) // threads, b
        while True:
            if rank == 0:
                self.goes_on = self.begin_step()
            barrier_wait(&self.work.barrier)
            if not self.goes_on:
                return
            self.advance(rank, threads, b0, b1)
            for b in range(b0, b1):
                if self.busy[b] and self.drawn[b] == 0 and self.prompt.shape[0] == 0:
                    self.clear_state(b)     # it has read nothing yet
            if self.any_draws:
                self.compute_logits(b0, b1)
                for b in range(b0, b1):
                    if self.uniforms[b] >= 0:
                        self.symbols[self.steps_done, b] = self.one_symbol(b, rank, threads)
            barrier_wait(&self.work.barrier)
            if rank == 0:
                self.end_step()

    cdef inline bint begin_step(self) noexcept nogil:
        """What each row reads and which ones draw; whether there is anything to do."""
        cdef Py_ssize_t t = self.steps_done, b
        if t == self.symbols.shape[0] or self.work.interrupted or not self.load_inputs():
            return False
        self.any_draws = False
        for b in range(self.work.batch_size):
            self.symbols[t, b] = -1
            self.over[t, b] = 0
            self.uniforms[b] = -1
            if self.busy[b] and self.drawn[b] >= 0:
                self.any_draws = True
                if self.may_draw(b):
                    self.uniforms[b] = self.next_double(self.bit_generator)
                else:
                    self.over[t, b] = OVER
                    self.busy[b] = False
        return True

    cdef inline void end_step(self) noexcept nogil:
        """What became of the text of each row that drew."""
        cdef Py_ssize_t t = self.steps_done, b
        self.count_step()
        if not self.any_draws:
            return
        for b in range(self.work.batch_size):
            if self.uniforms[b] >= 0:
                self.over[t, b] = self.take(b, self.symbols[t, b])
        self.steps_done += 1

    cdef inline bint load_inputs(self) noexcept nogil:
        """What each row reads next goes into work.inputs; whether there is any row that has a text."""
        cdef Py_ssize_t b
        cdef bint any_busy = False
        for b in range(self.work.batch_size):
            if not self.busy[b]:
                if self.to_begin == 0:
                    continue
                self.to_begin -= self.to_begin > 0
                self.busy[b] = True
                self.restart(b)
            any_busy = True
            if self.drawn[b] < 0:
                self.work.inputs[b] = self.prompt[self.prompt.shape[0] + self.drawn[b]]
                self.drawn[b] += 1
            elif self.drawn[b] > 0:
                self.work.inputs[b] = self.last[b]
        return any_busy

    cdef inline void restart(self, Py_ssize_t b) noexcept nogil:
        self.drawn[b] = -self.prompt.shape[0]
        self.state[b] = 0
        self.clear_state(b)

    cdef inline void clear_state(self, Py_ssize_t b) noexcept nogil:
        carry_state(&self.work, b, b + 1, True)
        if self.mixes:
            self.partner.clear_state(b)

    cdef inline bint may_draw(self, Py_ssize_t b) noexcept nogil:
        """Whether a symbol is to be drawn: without END a text is over at its length, or where nothing may come."""
        if self.work.end >= 0:
            return True
        if self.drawn[b] == self.length:
            return False
        return not self.automaton.masks or any_may_follow(&self.automaton, self.state[b], self.drawn[b])

    cdef inline int one_symbol(self, Py_ssize_t b, int rank, int threads) noexcept nogil:
        """A symbol by a row's logits and its uniform double."""
        cdef uint8_t *allowed = NULL
        cdef Py_ssize_t V = self.work.sizes.vocab_size
        if self.automaton.masks:
            allowed = &self.allowed[rank, 0]
            allow(&self.automaton, self.state[b], self.drawn[b], V, self.work.end, &self.allowed_classes[rank, 0],
                  allowed)
        self.compute_weights(b, rank, threads, allowed)
        cdef int symbol = draw(V, self.row_logits + b * self.logits_stride, self.uniforms[b],
                               &self._cumulative[rank, 0])
        if allowed != NULL and not allowed[symbol]:     # weights that are not numbers
            symbol = 0
            while not allowed[symbol]:
                symbol += 1
        return symbol

    cdef inline uint8_t take(self, Py_ssize_t b, int symbol) noexcept nogil:
        """A row's text has this symbol more; what is to be said of it."""
        cdef Automaton *a = &self.automaton
        if symbol == self.work.end:
            return self.end_text(b, self.drawn[b])
        self.drawn[b] += 1
        self.last[b] = symbol
        if a.num_classes > 0:
            self.state[b] = a.next[self.state[b] * a.num_classes + a.classes[symbol]]
            if a.stops[self.state[b]] > 0:
                return self.end_text(b, self.drawn[b] - a.stops[self.state[b]])
        if not self.may_draw(b):
            return self.end_text(b, self.drawn[b])
        if self.work.end >= 0 and 0 <= self.length < self.drawn[b]:
            self.restart(b)
            return ANEW
        return 0

    cdef inline uint8_t end_text(self, Py_ssize_t b, Py_ssize_t length) noexcept nogil:
        if self.work.end >= 0 and length < self.min_length:
            self.restart(b)
            return ANEW
        self.busy[b] = False
        return OVER

    cdef inline void advance(self, int rank, int threads, Py_ssize_t b0, Py_ssize_t b1) noexcept nogil:
        """One step of this thread's rows, b0 ... b1, from work.inputs."""
        if self.mixes:
            memcpy(self.partner.work.inputs + b0, self.work.inputs + b0, (b1 - b0) * sizeof(int))
            self.partner.advance(rank, threads, b0, b1)
        forward(&self.work, rank, threads, 0, 1)
        carry_state(&self.work, b0, b1, False)

    cdef inline void count_step(self) noexcept nogil:
        self.work.steps_before += 1
        if self.mixes:
            self.partner.count_step()

    cdef inline void compute_logits(self, Py_ssize_t b0, Py_ssize_t b1) noexcept nogil:
        """The logits of the next symbol of the rows b0 ... b1; of a mixture they are log-probabilities."""
        cdef Work *w = &self.work
        cdef Py_ssize_t b
        multiply(b1 - b0, w.sizes.vocab_size, w.sizes.hidden_size,
                 matrix(state_rows(w, w.sizes.num_layers - 1, 0) + b0 * w.sizes.stride, w.sizes.stride, 1),
                 packed(w.sizes.hidden_size, self.logits_panels), self.bias_rows + b0,
                 self.row_logits + b0 * self.logits_stride, self.logits_stride)
        if self.mixes:
            self.partner.compute_logits(b0, b1)
            for b in range(b0, b1):
                mix(w.sizes.vocab_size, self.weight, self.row_logits + b * self.logits_stride,
                    self.partner.row_logits + b * self.logits_stride)

    cdef inline void compute_weights(
        self,
        Py_ssize_t b,
        int rank,
        int threads,
        const uint8_t *allowed,             # IN (V), or NULL where all symbols are
    ) noexcept nogil:
        """A row's logits become weights, the distribution of its next symbol."""
        cdef Distribution distribution = self.distribution
        distribution.candidates = <Candidate *>&self._candidates[rank, 0]
        poll(&self.work, rank, self.row_operations * threads)
        probability_weights(self.work.sizes.vocab_size, &distribution, allowed,
                            self.row_logits + b * self.logits_stride)
