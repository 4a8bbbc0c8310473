"""The tanh RNN cell (Elman, 1990; the equations of torch.nn.RNN).

    z = W_ih x + b_ih + W_hh h_prev + b_hh        h = tanh(z)

Shapes: B rows, H hidden units, each row H numbers rounded up to whole vectors. The products of z are matrix
products over all rows (gemm.pxd); what is here is done to each unit by itself.
"""
from charrnn.kernels.activations cimport vtanh
from charrnn.kernels.simd cimport LANES, real, vload, vreal, vstore


cdef inline void rnn_forward(
    Py_ssize_t rows,
    Py_ssize_t hidden_size,
    Py_ssize_t stride,
    real *h,                    # IN z, OUT h, (rows, hidden_size)
) noexcept nogil:
    """h := tanh(z)"""
    cdef Py_ssize_t row, j
    for row in range(rows):
        for j from 0 <= j < hidden_size by LANES:
            vstore(h + j, vtanh(vload(h + j)))
        h += stride


cdef inline void rnn_backward(
    Py_ssize_t rows,
    Py_ssize_t hidden_size,
    Py_ssize_t stride,
    const real *h,              # IN (rows, hidden_size)
    real *dz,                   # IN dh, OUT dz, (rows, hidden_size)
) noexcept nogil:
    """dz := dh (1 - h^2)"""
    cdef Py_ssize_t row, j
    cdef vreal h_row
    for row in range(rows):
        for j from 0 <= j < hidden_size by LANES:
            h_row = vload(h + j)
            vstore(dz + j, vload(dz + j) * (<real>1 - h_row * h_row))
        h += stride
        dz += stride
