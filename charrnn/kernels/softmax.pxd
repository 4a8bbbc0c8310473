# cython: cdivision=True
"""Softmax and cross-entropy over the columns of a panel: a row for each symbol, a column for each position.

    probs = exp(logits - max) / sum exp(logits - max)
    loss = log sum exp(logits - max) + max - logits[target]

With positions side by side in a vector, every step is one operation for LANES positions, nothing is summed
across a vector, and a vocabulary of 65 costs 65 rows, not 80. Subtracting the maximum keeps every term finite.
Shapes: V symbols, N positions (a multiple of LANES).
"""
from libc.float cimport DBL_MAX
from libc.math cimport isfinite, log

from charrnn.kernels.activations cimport vexp
from charrnn.kernels.simd cimport LANES, real, vlane, vload, vmax, vreal, vsplat, vstore


cdef inline double negative_log_prob(double sum_exp, double maximum, double logit) noexcept nogil:
    """log(sum_exp) + maximum - logit, finite where these are."""
    cdef double distance = maximum - logit
    if distance > DBL_MAX and isfinite(maximum) and isfinite(logit):
        distance = DBL_MAX
    return log(sum_exp) + distance


cdef inline double mean_loss(Py_ssize_t n, const double *losses) noexcept nogil:
    """Finite where all losses are."""
    cdef double total = 0, weight = 1.0 / n
    cdef bint finite = True
    cdef Py_ssize_t i
    for i in range(n):
        total += losses[i] * weight
        finite &= isfinite(losses[i])
    return DBL_MAX if finite and total > DBL_MAX else total


cdef inline void softmax_column(
    Py_ssize_t vocab_size,
    Py_ssize_t stride,
    const real *bias,           # IN (V), or NULL
    real *x,                    # IN logits without bias, OUT exp(logits - max), (V, LANES)
    const int *targets,         # IN (count), or NULL
    Py_ssize_t count,           # of the LANES positions, those that there are
    double *losses,             # OUT (count), nats, where there are targets
    vreal *sum_exp,             # OUT
) noexcept nogil:
    cdef Py_ssize_t v, i
    cdef vreal maximum = vsplat(0), total = vsplat(0), logit
    cdef real target_logits[16]
    for v in range(vocab_size):
        logit = vload(x + v * stride)
        if bias != NULL:
            logit = logit + bias[v]
            vstore(x + v * stride, logit)
        maximum = logit if v == 0 else vmax(maximum, logit)
    if targets != NULL:
        for i in range(count):
            target_logits[i] = x[targets[i] * stride + i]
    for v in range(vocab_size):
        logit = vexp(vload(x + v * stride) - maximum)
        vstore(x + v * stride, logit)
        total = total + logit
    if targets != NULL:
        for i in range(count):
            losses[i] = negative_log_prob(vlane(total, i), vlane(maximum, i), target_logits[i])
    sum_exp[0] = total


cdef inline void cross_entropy_forward(
    Py_ssize_t vocab_size,
    Py_ssize_t positions,
    Py_ssize_t stride,
    const real *bias,           # IN (V)
    real *x,                    # IN logits without bias, OUT exp(logits - max), (V, N)
    const int *targets,         # IN (positions)
    double *losses,             # OUT (positions), nats
    real *sums,                 # OUT (N) of exp(logits - max)
) noexcept nogil:
    cdef Py_ssize_t first
    cdef vreal total
    for first from 0 <= first < positions by LANES:
        softmax_column(vocab_size, stride, bias, x + first, targets + first, min(<Py_ssize_t>LANES, positions - first),
                       losses + first, &total)
        vstore(sums + first, total)


cdef inline void cross_entropy_backward(
    Py_ssize_t vocab_size,
    Py_ssize_t positions,
    Py_ssize_t stride,
    real *x,                    # IN exp(logits - max), OUT dlogits, (V, N); zero in columns past `positions`
    const int *targets,         # IN (positions)
    const real *sums,           # IN (N)
    real scale,                 # 1 / (T B)
) noexcept nogil:
    """dlogits := (exp(logits - max) / sum - onehot(targets)) scale"""
    cdef Py_ssize_t v, i, first, columns = (positions + LANES - 1) // LANES * LANES
    cdef vreal factor
    for first from 0 <= first < positions by LANES:
        factor = vsplat(scale) / vload(sums + first)
        for v in range(vocab_size):
            vstore(x + v * stride + first, vload(x + v * stride + first) * factor)
    for i in range(positions):
        x[targets[i] * stride + i] -= scale
    for v in range(vocab_size):
        for i in range(positions, columns):
            x[v * stride + i] = 0
