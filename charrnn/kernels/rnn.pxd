"""The tanh RNN cell (Elman, 1990; the equations of torch.nn.RNN).

    h = tanh(z)        z = W_ih x + b_ih + W_hh h_prev + b_hh

Here is what is done to each unit by itself, for the units first ... stop of one row; the products are matrix products
over all rows (forward.pxd, backward.pxd).
"""
from charrnn.kernels.activations cimport vtanh
from charrnn.kernels.simd cimport LANES, real, vload, vreal, vstore


cdef inline void rnn_forward(
    Py_ssize_t first,
    Py_ssize_t stop,
    const real *bias,           # IN (H): b_ih + b_hh
    real *h,                    # IN z without biases, OUT h, (H)
) noexcept nogil:
    """h := tanh(z)"""
    cdef Py_ssize_t j
    for j from first <= j < stop by LANES:
        vstore(h + j, vtanh(vload(h + j) + vload(bias + j)))


cdef inline void rnn_backward(
    Py_ssize_t first,
    Py_ssize_t stop,
    const real *h,              # IN (H)
    real *dz,                   # IN dh, OUT dz, (H)
) noexcept nogil:
    """dz := dh (1 - h^2)"""
    cdef Py_ssize_t j
    cdef vreal h_j
    for j from first <= j < stop by LANES:
        h_j = vload(h + j)
        vstore(dz + j, vload(dz + j) * (<real>1 - h_j * h_j))
