# Clipping of gradients, and a step of each optimizer, as functions.
from charrnn.errors import integer, number

from libc.math cimport INFINITY, sqrt

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
from charrnn.kernels.simd cimport real


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
