"""The cells: how many gates each has, where they lie, and its step forward and backward. All else about them is in
rnn.pxd, gru.pxd and lstm.pxd, and nothing beyond this file knows which cell it runs.

A gate is H rows of weight_ih and of weight_hh, in PyTorch's order. Its two products are added up in a slot, a row of H
numbers; but the reset gate of a GRU acts on one product of its last gate alone, which therefore has a slot of its own.
The slots hold what the step backward needs and are then overwritten with gradients. A tanh RNN needs only h, which is
its slot.
"""
from charrnn.kernels.gru cimport gru_backward, gru_forward
from charrnn.kernels.lstm cimport lstm_backward, lstm_forward
from charrnn.kernels.rnn cimport rnn_backward, rnn_forward
from charrnn.kernels.simd cimport real

cdef enum Cell:
    RNN
    GRU
    LSTM


cdef inline Py_ssize_t gates_of(Cell cell) noexcept nogil:
    return 1 if cell == RNN else 3 if cell == GRU else 4


cdef inline Py_ssize_t slots_of(Cell cell) noexcept nogil:
    return 1 if cell == RNN else 4


cdef inline Py_ssize_t recurrent_slot(Cell cell, Py_ssize_t gate) noexcept nogil:
    """The slot of a gate's product with h_prev; that of its product with x has the gate's number."""
    return 3 if cell == GRU and gate == 2 else gate


# What a step touches for one row of the batch; a cell without c has NULL there.
cdef struct Step:
    const real *x               # the product of the last gate with x, where it has a slot of its own
    real *slots                 # in rows of `stride`
    const real *h_prev
    real *h
    const real *c_prev
    real *c
    real *dh                    # where the cell has one slot, that slot is dh
    # The gradient passed from step t+1 to t outside the matrix product (GRU: dh u; LSTM: dc), then from t to t-1.
    real *carry


cdef inline void cell_forward(
    Cell cell, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t stride, const real *bias, Step *s
) noexcept nogil:
    """h, and c, of the units first ... stop from the products in their slots."""
    if cell == RNN:
        rnn_forward(first, stop, bias, s.h)
    elif cell == GRU:
        gru_forward(first, stop, stride, bias, s.x, s.slots, s.h_prev, s.h)
    else:
        lstm_forward(first, stop, stride, bias, s.slots, s.c_prev, s.c, s.h)


cdef inline void cell_backward(
    Cell cell, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t stride, Step *s
) noexcept nogil:
    """The gradients of the products in their slots, from dh and the carry; the carry for the step before."""
    if cell == RNN:
        rnn_backward(first, stop, s.h, s.dh)
    elif cell == GRU:
        gru_backward(first, stop, stride, s.slots, s.h_prev, s.dh, s.carry)
    else:
        lstm_backward(first, stop, stride, s.slots, s.c_prev, s.c, s.dh, s.carry)
