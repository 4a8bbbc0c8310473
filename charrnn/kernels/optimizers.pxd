# cython: cdivision=True
"""One pass over a flat buffer for each optimizer; the clipped gradient is formed on the way.

    g = clip_value(scale dparameter)        parameter -= learning_rate weight_decay parameter, then

SGD       v = momentum v + g;                                       parameter -= learning_rate v
Adagrad   s += g^2;                                                 parameter -= learning_rate g / (sqrt(s) + eps)
RMSprop   s = rho s + (1 - rho) g^2;                                parameter -= learning_rate g / (sqrt(s) + eps)
Adam      m = beta1 m + (1 - beta1) g; s = beta2 s + (1 - beta2) g^2;
          parameter -= learning_rate m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps)

Adagrad: Duchi, Hazan, Singer (2011). RMSprop: Tieleman, Hinton (2012). Adam: Kingma, Ba (2015). The weight decay is
decoupled from the gradient for all (Loshchilov, Hutter, 2019: AdamW). Equations and eps as in torch.optim.
"""
from libc.math cimport pow, sqrt
from libc.string cimport memcpy

from charrnn.kernels.simd cimport inlined, real, real_sqrt

cdef enum:
    # Numbers whose squares are summed by themselves: the sum is the same however many threads share the buffer.
    NORM_BLOCK = 4096
    NORM_LANES = 64

cdef enum OptimizerKind:
    SGD
    ADAGRAD
    RMSPROP
    ADAM


cdef struct Optimizer:
    OptimizerKind kind
    double momentum             # SGD
    double beta1                # Adam
    double beta2                # Adam's beta2, RMSprop's rho
    double eps
    double weight_decay
    double clip_norm            # of the whole gradient; infinity for none
    double clip_value           # of each element; infinity for none
    long long step              # updates made so far


cdef inline double sum_of_squares(Py_ssize_t n, const real *x) noexcept nogil:
    """Of at most NORM_BLOCK numbers; the order of the additions depends on n alone."""
    cdef Py_ssize_t whole = n // NORM_LANES * NORM_LANES
    cdef double lanes[NORM_LANES]
    cdef double total
    squares_in_lanes(False, whole, x, lanes)
    total = sum_of_lanes(lanes) + sum_of_few_squares(n - whole, x + whole)
    if 1e-20 < total < 1e30:
        return total
    # Squares may have left the range of a float32; or all are 0, as of the rows of symbols that did not occur.
    squares_in_lanes(True, whole, x, lanes)
    return sum_of_lanes(lanes) + sum_of_few_squares(n - whole, x + whole)


cdef inline inlined squares_in_lanes(
    const bint as_doubles,      # a constant where this is inlined: whether squares are taken and added up as doubles
    Py_ssize_t n,               # a multiple of NORM_LANES
    const real *x,
    double *lanes,              # OUT (NORM_LANES)
) noexcept nogil:
    """Lane i := the sum of the squares of the numbers i, i + NORM_LANES, ..."""
    cdef real sums[NORM_LANES]
    cdef double wide[NORM_LANES]
    cdef Py_ssize_t i, lane
    for lane in range(NORM_LANES):
        sums[lane] = 0
        wide[lane] = 0
    for i from 0 <= i < n by NORM_LANES:
        for lane in range(NORM_LANES):
            if as_doubles:
                wide[lane] += <double>x[i + lane] * <double>x[i + lane]
            else:
                sums[lane] += x[i + lane] * x[i + lane]
    for lane in range(NORM_LANES):
        lanes[lane] = wide[lane] if as_doubles else sums[lane]
    return 0


cdef inline double sum_of_lanes(double *lanes) noexcept nogil:
    """Of NORM_LANES numbers, which are overwritten, by halves: one after another would take as long as a block."""
    cdef int half = NORM_LANES // 2, lane
    while half > 0:
        for lane in range(half):
            lanes[lane] += lanes[lane + half]
        half //= 2
    return lanes[0]


cdef inline double sum_of_few_squares(Py_ssize_t n, const real *x) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(n):
        total += <double>x[i] * <double>x[i]
    return total


cdef inline double clip_scale(double norm, double max_norm) noexcept nogil:
    """The factor that brings a gradient of this norm down to max_norm, or 1."""
    return max_norm / norm if norm > max_norm else 1


cdef inline void optimizer_update(
    Optimizer *o,               # with `step` the number of this update, from 1
    Py_ssize_t n,
    double scale,               # of the gradient, from clip_scale
    double learning_rate,
    real *parameters,           # IN OUT (n)
    const real *gradients,      # IN (n)
    real *moments,              # IN OUT (n): v of SGD, m of Adam
    real *squares,              # IN OUT (n): s
) noexcept nogil:
    cdef real rate = <real>learning_rate, keep = <real>(1 - learning_rate * o.weight_decay)
    cdef real factor = <real>scale, limit = <real>o.clip_value, eps = <real>o.eps
    cdef real momentum = <real>o.momentum, beta1 = <real>o.beta1, beta2 = <real>o.beta2
    cdef real one_less_beta1 = <real>(1 - o.beta1), one_less_beta2 = <real>(1 - o.beta2)
    cdef real step_size, root_scale, g
    cdef Py_ssize_t i
    if o.kind == SGD:
        for i in range(n):
            g = clip_element(gradients[i] * factor, limit)
            moments[i] = momentum * moments[i] + g
            parameters[i] = parameters[i] * keep - rate * moments[i]
    elif o.kind == ADAGRAD:
        for i in range(n):
            g = clip_element(gradients[i] * factor, limit)
            squares[i] = squares[i] + g * g
            parameters[i] = parameters[i] * keep - rate * g / (real_sqrt(squares[i]) + eps)
    elif o.kind == RMSPROP:
        for i in range(n):
            g = clip_element(gradients[i] * factor, limit)
            squares[i] = beta2 * squares[i] + one_less_beta2 * g * g
            parameters[i] = parameters[i] * keep - rate * g / (real_sqrt(squares[i]) + eps)
    else:
        step_size = <real>(learning_rate / (1 - pow(o.beta1, <double>o.step)))
        root_scale = <real>(1 / sqrt(1 - pow(o.beta2, <double>o.step)))
        for i in range(n):
            g = clip_element(gradients[i] * factor, limit)
            moments[i] = beta1 * moments[i] + one_less_beta1 * g
            squares[i] = beta2 * squares[i] + one_less_beta2 * g * g
            parameters[i] = parameters[i] * keep - step_size * moments[i] / (real_sqrt(squares[i]) * root_scale + eps)


cdef inline void average_update(
    Py_ssize_t n,
    double share,
    const real *parameters,     # IN (n)
    real *average,              # IN OUT (n)
) noexcept nogil:
    """average += share (parameters - average); where the share is 1 it is the parameters, bit for bit"""
    cdef real factor = <real>share
    cdef Py_ssize_t i
    if share == 1:
        memcpy(average, parameters, n * sizeof(real))
        return
    for i in range(n):
        average[i] = average[i] + factor * (parameters[i] - average[i])


cdef inline real clip_element(real g, real limit) noexcept nogil:
    """g, or the nearer of -limit and limit where it lies beyond."""
    g = limit if g > limit else g
    return -limit if g < -limit else g
