# cython: cdivision=True
"""A recurrent network: its sizes, and where its parameters lie in their arena.

Shapes: V symbols, H hidden units, L layers, G gates; K labels, symbols of the input only, from V to V + K - 1. A row
of H numbers takes `stride`, which is H rounded up, with zeros behind.
"""
from charrnn.kernels.cells cimport Cell, gates_of
from charrnn.kernels.simd cimport real


# The parameters of a layer, or their gradients, in PyTorch's shapes but for weight_ih of layer 0, which is transposed
# so that the weights of a symbol are a row.
cdef struct Layer:
    real *weight_ih             # (V + K, G H) of layer 0, in rows of gates_stride, else (G H, H)
    real *weight_hh             # (G H, H)
    real *bias_ih               # (G H)
    real *bias_hh               # (G H)


cdef struct Head:
    real *weight                # (V, H)
    real *bias                  # (V)


cdef struct Sizes:
    Cell cell
    Py_ssize_t vocab_size
    Py_ssize_t num_labels
    Py_ssize_t hidden_size
    Py_ssize_t num_layers
    Py_ssize_t stride           # of a row of H
    Py_ssize_t gates_stride     # of a row of G H


cdef inline Py_ssize_t num_inputs(Sizes *s) noexcept nogil:
    return s.vocab_size + s.num_labels


cdef inline Py_ssize_t weight_ih_size(Sizes *s, Py_ssize_t layer) noexcept nogil:
    if layer == 0:
        return num_inputs(s) * s.gates_stride
    return gates_of(s.cell) * s.hidden_size * s.stride


cdef inline Py_ssize_t layer_size(Sizes *s, Py_ssize_t layer) noexcept nogil:
    return weight_ih_size(s, layer) + gates_of(s.cell) * s.hidden_size * s.stride + 2 * s.gates_stride


cdef inline Layer layer_of(Sizes *s, real *arena, Py_ssize_t layer) noexcept nogil:
    """The parameters, or the gradients, of a layer in their arena."""
    cdef Layer p
    cdef Py_ssize_t l
    for l in range(layer):
        arena += layer_size(s, l)
    p.weight_ih = arena
    p.weight_hh = p.weight_ih + weight_ih_size(s, layer)
    p.bias_ih = p.weight_hh + gates_of(s.cell) * s.hidden_size * s.stride
    p.bias_hh = p.bias_ih + s.gates_stride
    return p


cdef inline Head head_of(Sizes *s, real *arena) noexcept nogil:
    cdef Head p
    cdef Py_ssize_t l
    for l in range(s.num_layers):
        arena += layer_size(s, l)
    p.weight = arena
    p.bias = p.weight + s.vocab_size * s.stride
    return p
