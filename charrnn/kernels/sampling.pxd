# cython: cdivision=True
"""From logits to a drawn symbol.

Symbols that an automaton forbids have no part in anything. Temperature divides the logits; then top_k keeps the k most
probable symbols, then top_p the fewest most probable ones whose probabilities add up to at least top_p (Holtzman et
al., 2020), then min_p those that are at least so many times as probable as the most probable one (Nguyen et al., 2024).
Among equals the lower index comes first. The symbol is the inverse of the cumulative distribution at u, in vocabulary
order.
"""
from libc.float cimport DBL_MIN
from libc.math cimport INFINITY, log
from libc.stdint cimport uint8_t
from libc.stdlib cimport qsort

from charrnn.kernels.activations cimport vexp
from charrnn.kernels.simd cimport LANES, REAL_IS_DOUBLE, real, vlane, vload, vmax, vreal, vstore


cdef struct Candidate:
    real logit
    int symbol


cdef struct Distribution:
    double temperature
    Py_ssize_t top_k            # 0 for all
    double top_p                # 1 for all
    double min_p                # 0 for all
    Candidate *candidates       # scratch (V)


cdef inline bint is_filtered(Py_ssize_t vocab_size, Distribution *d) noexcept nogil:
    """Whether some symbols are left out, for which all have to be sorted."""
    return 0 < d.top_k < vocab_size or d.top_p < 1


cdef struct Automaton:
    # Of charrnn/automaton.py, (S) states and C classes of symbols; the text begins in state 0.
    Py_ssize_t num_classes      # C; 0 where there is no automaton
    const int *classes          # (V)
    const int *next             # (S, C), -1 where no symbol of the class may come
    const uint8_t *ends         # (S), whether the text may end
    const int *stops            # (S), above 0 where a stop has made the text end
    const int *distance         # (S), symbols that must still come
    bint masks                  # whether it forbids anything
    Py_ssize_t length           # by when the text must be able to end; -1 for no bound


cdef inline bint class_may_follow(const Automaton *a, int state, Py_ssize_t c, Py_ssize_t drawn) noexcept nogil:
    """Whether a symbol of class c may come in this state, after so many drawn symbols."""
    cdef int after = a.next[state * a.num_classes + c]
    return after >= 0 and (a.length < 0 or drawn + 1 + a.distance[after] <= a.length)


cdef inline bint any_may_follow(const Automaton *a, int state, Py_ssize_t drawn) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(a.num_classes):
        if class_may_follow(a, state, c, drawn):
            return True
    return False


cdef inline void allow(
    const Automaton *a,
    int state,
    Py_ssize_t drawn,
    Py_ssize_t vocab_size,
    int end,                    # index of END, or -1
    uint8_t *allowed_classes,   # scratch (C)
    uint8_t *allowed,           # OUT (V)
) noexcept nogil:
    """Which symbols may come."""
    cdef Py_ssize_t c, v
    for c in range(a.num_classes):
        allowed_classes[c] = class_may_follow(a, state, c, drawn)
    for v in range(vocab_size):
        allowed[v] = a.ends[state] if v == end else allowed_classes[a.classes[v]]


cdef inline int more_probable_first(const void *left, const void *right) noexcept nogil:
    # NaN comes last: qsort may leave its array where a comparison contradicts another.
    cdef const Candidate *a = <const Candidate *>left
    cdef const Candidate *b = <const Candidate *>right
    if a.logit > b.logit or (a.logit == a.logit and b.logit != b.logit):
        return -1
    if a.logit < b.logit or (a.logit != a.logit and b.logit == b.logit):
        return 1
    return -1 if a.symbol < b.symbol else 1


cdef inline real largest(Py_ssize_t n, const real *x) noexcept nogil:
    cdef Py_ssize_t whole = n // LANES * LANES, i
    cdef vreal most
    cdef real best = x[0]
    if whole > 0:
        most = vload(x)
        for i from LANES <= i < whole by LANES:
            most = vmax(most, vload(x + i))
        for i in range(LANES):
            best = max(best, vlane(most, <int>i))
    for i in range(whole, n):
        best = max(best, x[i])
    return best


cdef inline void probability_weights(
    Py_ssize_t vocab_size,
    Distribution *d,
    const uint8_t *allowed,     # IN (V), or NULL where all are
    real *x,                    # IN logits, OUT probabilities up to a factor, (V) with room to the last vector
) noexcept nogil:
    cdef Py_ssize_t v, best = 0, candidates = 0
    cdef bint filtered = is_filtered(vocab_size, d)
    cdef real maximum
    # Bounded, so that 0 times it is 0.
    cdef double bound = 1e300 if REAL_IS_DOUBLE else 1e37
    cdef real inverse_temperature = <real>min(1 / d.temperature if d.temperature > 0 else 0.0, bound)
    if allowed != NULL:
        for v in range(vocab_size):
            if not allowed[v]:
                x[v] = <real>-INFINITY
    maximum = largest(vocab_size, x)
    if d.temperature == 0:
        while x[best] != maximum and best < vocab_size - 1:
            best += 1
        for v in range(vocab_size):
            x[v] = 0
        x[best] = 1
        return
    if filtered:
        # By logit: at a high temperature different logits may have equal weights.
        for v in range(vocab_size):
            if allowed == NULL or allowed[v]:
                d.candidates[candidates].logit = x[v]
                d.candidates[candidates].symbol = <int>v
                candidates += 1
        qsort(d.candidates, candidates, sizeof(Candidate), more_probable_first)
    for v from 0 <= v < vocab_size by LANES:
        vstore(x + v, vexp((vload(x + v) - maximum) * inverse_temperature))
    if allowed != NULL:
        for v in range(vocab_size):
            if not allowed[v]:
                x[v] = 0
    if filtered:
        keep_most_probable(candidates, d, x)
    if d.min_p > 0:
        for v in range(vocab_size):
            x[v] = x[v] if x[v] >= <real>d.min_p else 0     # the most probable one has the weight 1


cdef inline void keep_most_probable(Py_ssize_t candidates, Distribution *d, real *x) noexcept nogil:
    """Sets the weights x to 0 but for those of the first candidates."""
    cdef Py_ssize_t v, kept = candidates
    cdef double total = 0, mass = 0
    if 0 < d.top_k < kept:
        kept = d.top_k
    if d.top_p < 1:
        for v in range(kept):
            total += x[d.candidates[v].symbol]
        for v in range(kept):
            mass += x[d.candidates[v].symbol]
            if mass >= d.top_p * total:
                kept = v + 1
                break
    for v in range(kept, candidates):
        x[d.candidates[v].symbol] = 0


cdef inline double exponentials(Py_ssize_t vocab_size, real *x) noexcept nogil:
    """x := exp(x - max(x)), with room to the last vector; their sum."""
    cdef Py_ssize_t v
    cdef real maximum = largest(vocab_size, x)
    cdef double total = 0
    for v from 0 <= v < vocab_size by LANES:
        vstore(x + v, vexp(vload(x + v) - maximum))
    for v in range(vocab_size):
        total += x[v]
    return total


cdef inline void mix(
    Py_ssize_t vocab_size,
    double weight,
    real *x,                    # IN logits, OUT log(weight softmax(x) + (1 - weight) softmax(y)), (V)
    real *y,                    # IN logits, (V), overwritten
) noexcept nogil:
    cdef double a = weight / exponentials(vocab_size, x), b = (1 - weight) / exponentials(vocab_size, y)
    cdef Py_ssize_t v
    for v in range(vocab_size):
        x[v] = <real>log(max(a * x[v] + b * y[v], DBL_MIN))


cdef inline int draw(
    Py_ssize_t vocab_size,
    const real *weights,        # IN (V)
    double u,                   # in [0, 1)
    double *cumulative,         # scratch (V)
) noexcept nogil:
    """The first symbol whose cumulative weight exceeds u times the total."""
    cdef double total = 0
    cdef Py_ssize_t v, drawn = 0
    for v in range(vocab_size):
        total += weights[v]
        cumulative[v] = total
    while drawn < vocab_size - 1 and not cumulative[drawn] > u * total:
        drawn += 1
    while drawn > 0 and weights[drawn] == 0:    # u times the total was rounded up to the total
        drawn -= 1
    return <int>drawn
