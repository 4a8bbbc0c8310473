# The kernels as functions: activations, softmax and cross-entropy, and BPTT.
import numpy as np

from charrnn.errors import integer

from charrnn.kernels.activations cimport vexp, vsigmoid, vtanh
from charrnn.kernels.pack cimport round_up
from charrnn.kernels.simd cimport LANES, real, vload, vreal, vstore
from charrnn.kernels.softmax cimport cross_entropy_backward, cross_entropy_forward, mean_loss, softmax_column


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
    the state before the first step, nor through an input that is `end` or a label, before which the state is zero; a
    target that is a label counts as `end`.

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
    inputs, targets = (indices(name, value, 2, network.vocab_size + network.num_labels)
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
