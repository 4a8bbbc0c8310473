# One step of a cell, forward and backward, as functions.
import numpy as np

from charrnn.kernels.cells cimport (
    GRU,
    LSTM,
    Cell,
    Step,
    cell_backward,
    cell_forward,
    gates_of,
    recurrent_slot,
    slots_of,
)
from charrnn.kernels.pack cimport matrix, pack, packed, round_up
from charrnn.kernels.product cimport multiply
from charrnn.kernels.simd cimport LANES, real


cdef product(a, b):
    """a.b of arrays (m, k) and (k, n) with any strides, as an array whose rows are whole vectors."""
    cdef const real[:, :] x = a, y = b
    check_length("a row of the left factor", x.shape[1], y.shape[0])
    cdef Py_ssize_t m = x.shape[0], k = x.shape[1], n = y.shape[1], size = sizeof(real), stride = round_up(n, LANES)
    out = aligned_zeros(m * stride).reshape(m, stride)
    cdef real[:, ::1] c = out
    cdef real[::1] panels = aligned_zeros(k * stride)
    with nogil:
        pack(k, n, matrix(&y[0, 0], y.strides[0] // size, y.strides[1] // size), &panels[0])
        multiply(m, n, k, matrix(&x[0, 0], x.strides[0] // size, x.strides[1] // size), packed(k, &panels[0]), NULL,
                 &c[0, 0], stride)
    return out


cdef class CellStep:
    """One step of a cell on (B, input) and (B, H), for the functions below."""
    cdef Cell cell
    cdef Py_ssize_t width               # of a row of H numbers
    cdef object x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh, slots, bias, h, c

    def __init__(self, str cell, x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh):
        cdef Py_ssize_t g, G = gates_of(CELLS[cell]), H, slot
        x, h_prev = numbers("x", x, 2), numbers("h_prev", h_prev, 2)
        weight_ih, weight_hh = numbers("weight_ih", weight_ih, 2), numbers("weight_hh", weight_hh, 2)
        bias_ih, bias_hh = numbers("bias_ih", bias_ih, 1), numbers("bias_hh", bias_hh, 1)
        B, H = h_prev.shape
        check_shape("x", x, B, x.shape[1])
        check_shape("weight_ih", weight_ih, G * H, x.shape[1])
        check_shape("weight_hh", weight_hh, G * H, H)
        check_length("bias_ih", len(bias_ih), G * H)
        check_length("bias_hh", len(bias_hh), G * H)
        if CELLS[cell] == LSTM:
            c_prev = numbers("c_prev", c_prev, 2)
            check_shape("c_prev", c_prev, B, H)
        self.cell = CELLS[cell]
        self.width = round_up(H, LANES)
        self.x, self.h_prev, self.weight_ih, self.weight_hh = x, h_prev, weight_ih, weight_hh
        self.bias = self.rows(slots_of(self.cell))
        self.slots = self.rows(B * slots_of(self.cell)).reshape(B, -1, self.width)
        self.h = self.rows(B) if slots_of(self.cell) > 1 else self.slots[:, 0]
        self.c = self.rows(B)
        self.c_prev = self.rows(B, c_prev)
        of_x, of_h = product(x, weight_ih.T), product(h_prev, weight_hh.T)
        for g in range(G):
            slot = recurrent_slot(self.cell, g)
            gate = slice(g * H, (g + 1) * H)
            self.slots[:, g, :H] += of_x[:, gate]
            self.slots[:, slot, :H] += of_h[:, gate]
            self.bias[g, :H] += bias_ih[gate]
            self.bias[slot, :H] += bias_hh[gate]

    cdef rows(self, Py_ssize_t n, values=None):
        """n rows of H numbers, padded with zeros."""
        rows = aligned_zeros(n * self.width).reshape(n, self.width)
        if values is not None:
            rows[:, :values.shape[1]] = values
        return rows

    cdef run(self, dh=None, carry=None):
        """The step forward; where there is dh, the step backward."""
        cdef real[:, :, ::1] slots = self.slots
        cdef real[:, ::1] bias = self.bias, h = self.h, c = self.c, h_prev = self.rows(len(self.h), self.h_prev)
        cdef real[:, ::1] c_prev = self.c_prev, dh_rows = dh, carry_rows = carry
        cdef Step step
        cdef Py_ssize_t b
        for b in range(h.shape[0]):
            step.slots = &slots[b, 0, 0]
            step.x = &slots[b, gates_of(self.cell) - 1, 0]
            step.h_prev = &h_prev[b, 0]
            step.h = &h[b, 0]
            step.c_prev = &c_prev[b, 0]
            step.c = &c[b, 0]
            if dh is None:
                cell_forward(self.cell, 0, self.width, self.width, &bias[0, 0], &step)
            else:
                step.dh = &dh_rows[b, 0]
                step.carry = &carry_rows[b, 0]
                cell_backward(self.cell, 0, self.width, self.width, &step)

    cdef outputs(self):
        """h, or (h, c)."""
        self.run()
        H = self.h_prev.shape[1]
        h, c = np.ascontiguousarray(self.h[:, :H]), np.ascontiguousarray(self.c[:, :H])
        return (h, c) if self.cell == LSTM else h

    cdef gradients(self, dh, dc):
        """dx, dh_prev, dc_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh, after `outputs`."""
        cdef Py_ssize_t g
        B, H = self.h_prev.shape
        dh = numbers("dh", dh, 2)
        check_shape("dh", dh, B, H)
        if self.cell == LSTM:
            dc = numbers("dc", dc, 2)
            check_shape("dc", dc, B, H)
        dh, carry = self.rows(B, dh), self.rows(B, dc)
        self.run(dh, carry)
        carry = np.ascontiguousarray(carry[:, :H])
        slots = dh[:, None] if slots_of(self.cell) == 1 else self.slots
        of_h = [recurrent_slot(self.cell, g) for g in range(gates_of(self.cell))]
        dz_x = np.concatenate([slots[:, g, :H] for g in range(len(of_h))], axis=1)
        dz_h = np.concatenate([slots[:, slot, :H] for slot in of_h], axis=1)
        return (
            np.ascontiguousarray(product(dz_x, self.weight_ih)[:, :self.x.shape[1]]),
            product(dz_h, self.weight_hh)[:, :H] + (carry if self.cell == GRU else 0),
            carry,
            np.ascontiguousarray(product(dz_x.T, self.x)[:, :self.x.shape[1]]),
            np.ascontiguousarray(product(dz_h.T, self.h_prev)[:, :H]),
            dz_x.sum(axis=0),
            dz_h.sum(axis=0),
        )


def rnn_cell(
    x,                          # IN (B, input)
    h_prev,                     # IN (B, H)
    weight_ih,                  # IN (H, input)
    weight_hh,                  # IN (H, H)
    bias_ih,                    # IN (H)
    bias_hh,                    # IN (H)
):
    """h = tanh(x.weight_ih^T + bias_ih + h_prev.weight_hh^T + bias_hh), (B, H): one step of a tanh RNN.

    Examples
    --------
    >>> one, zero = np.ones((1, 1)), np.zeros(1)
    >>> kernels.rnn_cell(one, one, one, one, zero, zero).round(4)     # tanh(1 + 1)
    array([[0.964]])
    """
    return CellStep("rnn", x, h_prev, None, weight_ih, weight_hh, bias_ih, bias_hh).outputs()


def rnn_cell_backward(
    dh,                         # IN (B, H)
    x,                          # IN (B, input)
    h_prev,                     # IN (B, H)
    h,                          # IN (B, H): what rnn_cell gave
    weight_ih,                  # IN (H, input)
    weight_hh,                  # IN (H, H)
):
    """dz = dh (1 - h^2), and from it (dx, dh_prev, dweight_ih, dweight_hh, dbias); dbias is that of either bias.

    Examples
    --------
    >>> one, zero = np.ones((1, 1)), np.zeros(1)
    >>> h = kernels.rnn_cell(one, one, one, one, zero, zero)
    >>> dx, *_ = kernels.rnn_cell_backward(one, one, one, h, one, one)
    >>> dx.round(4)     # 1 - tanh(2)^2
    array([[0.0707]])
    """
    zeros = np.zeros(len(numbers("weight_hh", weight_hh, 2)), DTYPE)
    cdef CellStep step = CellStep("rnn", x, h_prev, None, weight_ih, weight_hh, zeros, zeros)
    check_shape("h", numbers("h", h, 2), h_prev.shape[0], h_prev.shape[1])
    step.h = step.rows(len(h), h)
    dx, dh_prev, _, dweight_ih, dweight_hh, dbias, _ = step.gradients(dh, None)
    return dx, dh_prev, dweight_ih, dweight_hh, dbias


def gru_cell(
    x,                          # IN (B, input)
    h_prev,                     # IN (B, H)
    weight_ih,                  # IN (3 H, input): reset, update, new, as in torch.nn.GRUCell
    weight_hh,                  # IN (3 H, H)
    bias_ih,                    # IN (3 H)
    bias_hh,                    # IN (3 H)
):
    """h, (B, H), after one step of a gated recurrent unit: the equations are in gru.pxd.

    Examples
    --------
    >>> weights = np.zeros((6, 3)), np.zeros((6, 2)), np.zeros(6), np.zeros(6)
    >>> kernels.gru_cell(np.ones((1, 3)), np.ones((1, 2)), *weights)      # every gate half open, nothing new
    array([[0.5, 0.5]])
    """
    return CellStep("gru", x, h_prev, None, weight_ih, weight_hh, bias_ih, bias_hh).outputs()


def gru_cell_backward(
    dh,                         # IN (B, H)
    x,                          # IN, and the rest: what gru_cell was given
    h_prev,
    weight_ih,
    weight_hh,
    bias_ih,
    bias_hh,
):
    """(dx, dh_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh).

    Examples
    --------
    >>> weights = np.zeros((6, 3)), np.zeros((6, 2)), np.zeros(6), np.zeros(6)
    >>> _, dh_prev, *_ = kernels.gru_cell_backward(np.ones((1, 2)), np.ones((1, 3)), np.ones((1, 2)), *weights)
    >>> dh_prev
    array([[0.5, 0.5]])
    """
    cdef CellStep step = CellStep("gru", x, h_prev, None, weight_ih, weight_hh, bias_ih, bias_hh)
    step.outputs()
    dx, dh_prev, _, *others = step.gradients(dh, None)
    return dx, dh_prev, *others


def lstm_cell(
    x,                          # IN (B, input)
    h_prev,                     # IN (B, H)
    c_prev,                     # IN (B, H)
    weight_ih,                  # IN (4 H, input): input, forget, cell, output, as in torch.nn.LSTMCell
    weight_hh,                  # IN (4 H, H)
    bias_ih,                    # IN (4 H)
    bias_hh,                    # IN (4 H)
):
    """(h, c), each (B, H), after one step of a long short-term memory: the equations are in lstm.pxd.

    Examples
    --------
    >>> weights = np.zeros((8, 3)), np.zeros((8, 2)), np.zeros(8), np.zeros(8)
    >>> h, c = kernels.lstm_cell(np.ones((1, 3)), np.ones((1, 2)), np.ones((1, 2)), *weights)
    >>> h.round(4), c     # every gate half open, nothing new
    (array([[0.2311, 0.2311]]), array([[0.5, 0.5]]))
    """
    return CellStep("lstm", x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh).outputs()


def lstm_cell_backward(
    dh,                         # IN (B, H)
    dc,                         # IN (B, H)
    x,                          # IN, and the rest: what lstm_cell was given
    h_prev,
    c_prev,
    weight_ih,
    weight_hh,
    bias_ih,
    bias_hh,
):
    """(dx, dh_prev, dc_prev, dweight_ih, dweight_hh, dbias_ih, dbias_hh).

    Examples
    --------
    >>> weights = np.zeros((8, 3)), np.zeros((8, 2)), np.zeros(8), np.zeros(8)
    >>> dh, dc, x, h_prev, c_prev = np.zeros((1, 2)), *np.ones((4, 1, 2))
    >>> _, _, dc_prev, *_ = kernels.lstm_cell_backward(dh, dc, np.ones((1, 3)), h_prev, c_prev, *weights)
    >>> dc_prev
    array([[0.5, 0.5]])
    """
    cdef CellStep step = CellStep("lstm", x, h_prev, c_prev, weight_ih, weight_hh, bias_ih, bias_hh)
    step.outputs()
    return step.gradients(dh, dc)
