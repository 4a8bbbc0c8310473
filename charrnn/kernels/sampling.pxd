# cython: cdivision=True
"""From logits to a drawn symbol.

Temperature divides the logits; then top_k keeps the k most probable symbols, then top_p the fewest most probable
ones whose probabilities add up to at least top_p (Holtzman et al., 2020). Among equals the lower index comes
first. The symbol is the inverse of the cumulative distribution at u, in vocabulary order.
"""
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
    Candidate *candidates       # scratch (V)
    double *cumulative          # scratch (V)


cdef inline bint is_filtered(Py_ssize_t vocab_size, Distribution *d) noexcept nogil:
    """Whether some symbols are left out, for which all have to be sorted."""
    return 0 < d.top_k < vocab_size or d.top_p < 1


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
    real *x,                    # IN logits, OUT probabilities up to a factor, (V) with room to the last vector
) noexcept nogil:
    cdef Py_ssize_t v, best = 0
    cdef real maximum = largest(vocab_size, x)
    cdef bint filtered = is_filtered(vocab_size, d)
    # Bounded, so that 0 times it is 0.
    cdef double bound = 1e300 if REAL_IS_DOUBLE else 1e37
    cdef real inverse_temperature = <real>min(1 / d.temperature if d.temperature > 0 else 0.0, bound)
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
            d.candidates[v].logit = x[v]
            d.candidates[v].symbol = <int>v
        qsort(d.candidates, vocab_size, sizeof(Candidate), more_probable_first)
    for v from 0 <= v < vocab_size by LANES:
        vstore(x + v, vexp((vload(x + v) - maximum) * inverse_temperature))
    if filtered:
        keep_most_probable(vocab_size, d, x)


cdef inline void keep_most_probable(Py_ssize_t vocab_size, Distribution *d, real *x) noexcept nogil:
    """Sets the weights x to 0 but for those of the first candidates."""
    cdef Py_ssize_t v, kept = vocab_size
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
    for v in range(kept, vocab_size):
        x[d.candidates[v].symbol] = 0


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
