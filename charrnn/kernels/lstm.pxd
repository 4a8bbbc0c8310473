"""The long short-term memory (Hochreiter, Schmidhuber, 1997, with the forget gate of Gers et al., 2000; the equations
of torch.nn.LSTM).

    i, f, o = sigmoid(W x + b_i + W_h h_prev + b_h)        g = tanh of the like
    c = f c_prev + i g
    h = o tanh(c)

Here is what is done to each unit by itself, for the units first ... stop of one row. A row of gates has the slots i, f,
g, o, each of them `stride` numbers.
"""
from charrnn.kernels.activations cimport vsigmoid, vtanh
from charrnn.kernels.simd cimport LANES, real, vload, vreal, vstore


cdef inline void lstm_forward(
    Py_ssize_t first,
    Py_ssize_t stop,
    Py_ssize_t stride,
    const real *bias,           # IN (slots): b_i + b_h
    real *gates,                # IN their products, OUT i, f, g, o, (slots)
    const real *c_prev,         # IN (H)
    real *c,                    # OUT (H)
    real *h,                    # OUT (H)
) noexcept nogil:
    cdef Py_ssize_t j
    cdef vreal i, f, g, o, c_j
    for j from first <= j < stop by LANES:
        i = vsigmoid(vload(gates + j) + vload(bias + j))
        f = vsigmoid(vload(gates + stride + j) + vload(bias + stride + j))
        g = vtanh(vload(gates + 2 * stride + j) + vload(bias + 2 * stride + j))
        o = vsigmoid(vload(gates + 3 * stride + j) + vload(bias + 3 * stride + j))
        c_j = f * vload(c_prev + j) + i * g
        vstore(gates + j, i)
        vstore(gates + stride + j, f)
        vstore(gates + 2 * stride + j, g)
        vstore(gates + 3 * stride + j, o)
        vstore(c + j, c_j)
        vstore(h + j, o * vtanh(c_j))


cdef inline void lstm_backward(
    Py_ssize_t first,
    Py_ssize_t stop,
    Py_ssize_t stride,
    real *gates,                # IN i, f, g, o, OUT the gradients of what they are made from, (slots)
    const real *c_prev,         # IN (H)
    const real *c,              # IN (H)
    const real *dh,             # IN (H)
    real *dc,                   # IN the gradient of c from the step after, OUT that of c_prev, (H)
) noexcept nogil:
    cdef Py_ssize_t j
    cdef vreal i, f, g, o, tanh_c, dh_j, dc_j
    for j from first <= j < stop by LANES:
        i = vload(gates + j)
        f = vload(gates + stride + j)
        g = vload(gates + 2 * stride + j)
        o = vload(gates + 3 * stride + j)
        tanh_c = vtanh(vload(c + j))
        dh_j = vload(dh + j)
        dc_j = vload(dc + j) + dh_j * o * (<real>1 - tanh_c * tanh_c)
        vstore(gates + j, dc_j * g * (i * (<real>1 - i)))
        vstore(gates + stride + j, dc_j * vload(c_prev + j) * (f * (<real>1 - f)))
        vstore(gates + 2 * stride + j, dc_j * i * (<real>1 - g * g))
        vstore(gates + 3 * stride + j, dh_j * tanh_c * (o * (<real>1 - o)))
        vstore(dc + j, dc_j * f)
