"""The gated recurrent unit (Cho et al., 2014; the equations of torch.nn.GRU, whose reset acts after the product).

    r = sigmoid(W_ir x + b_ir + W_hr h_prev + b_hr)
    u = sigmoid(W_iu x + b_iu + W_hu h_prev + b_hu)        PyTorch's z
    n = tanh(W_in x + b_in + r p)                          p = W_hn h_prev + b_hn
    h = (1 - u) n + u h_prev

Here is what is done to each unit by itself, for the units first ... stop of one row. A row of gates has the slots r, u,
n, p, each of them `stride` numbers.
"""
from charrnn.kernels.activations cimport vsigmoid, vtanh
from charrnn.kernels.simd cimport LANES, real, vload, vreal, vstore


cdef inline void gru_forward(
    Py_ssize_t first,
    Py_ssize_t stop,
    Py_ssize_t stride,
    const real *bias,           # IN (slots): b_ir + b_hr, b_iu + b_hu, b_in, b_hn
    const real *x_n,            # IN (H): W_in x
    real *gates,                # IN the products of r, u and p, OUT r, u, n, p, (slots)
    const real *h_prev,         # IN (H)
    real *h,                    # OUT (H)
) noexcept nogil:
    cdef Py_ssize_t j
    cdef vreal r, u, n, p
    for j from first <= j < stop by LANES:
        r = vsigmoid(vload(gates + j) + vload(bias + j))
        u = vsigmoid(vload(gates + stride + j) + vload(bias + stride + j))
        p = vload(gates + 3 * stride + j) + vload(bias + 3 * stride + j)
        n = vtanh(vload(x_n + j) + vload(bias + 2 * stride + j) + r * p)
        vstore(gates + j, r)
        vstore(gates + stride + j, u)
        vstore(gates + 2 * stride + j, n)
        vstore(gates + 3 * stride + j, p)
        vstore(h + j, n + u * (vload(h_prev + j) - n))


cdef inline void gru_backward(
    Py_ssize_t first,
    Py_ssize_t stop,
    Py_ssize_t stride,
    real *gates,                # IN r, u, n, p, OUT the gradients of what they are made from, (slots)
    const real *h_prev,         # IN (H)
    const real *dh,             # IN (H), but for the carry
    real *carry,                # IN dh u from the step after, OUT dh u: what h_prev receives without a product, (H)
) noexcept nogil:
    cdef Py_ssize_t j
    cdef vreal r, u, n, p, dh_j, dz_n
    for j from first <= j < stop by LANES:
        r = vload(gates + j)
        u = vload(gates + stride + j)
        n = vload(gates + 2 * stride + j)
        p = vload(gates + 3 * stride + j)
        dh_j = vload(dh + j) + vload(carry + j)
        dz_n = dh_j * (<real>1 - u) * (<real>1 - n * n)
        vstore(gates + j, dz_n * p * (r * (<real>1 - r)))
        vstore(gates + stride + j, dh_j * (vload(h_prev + j) - n) * (u * (<real>1 - u)))
        vstore(gates + 2 * stride + j, dz_n)
        vstore(gates + 3 * stride + j, dz_n * r)
        vstore(carry + j, dh_j * u)
