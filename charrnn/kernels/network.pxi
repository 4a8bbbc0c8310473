# Network: the sizes, and the parameters in their arena as Python sees them.
import numpy as np

from charrnn.errors import choice, integer
from charrnn.system import check_memory

from charrnn.kernels.cells cimport GRU, LSTM, RNN, gates_of
from charrnn.kernels.network cimport Sizes, layer_size, num_inputs
from charrnn.kernels.pack cimport round_up
from charrnn.kernels.simd cimport real

cdef enum:
    PADDING = 16                # rows of a parameter are a multiple of this in every build


CELLS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


cdef Py_ssize_t padded(Py_ssize_t n):
    """Where the row after one of n numbers begins."""
    n = round_up(n, PADDING)
    # Rows a power of two apart would share few sets of the cache.
    return n + PADDING if n % 256 == 0 else n


cdef class Network:
    """The sizes of a recurrent network, and where each of its parameters lies in one flat arena.

    The arena holds layer after layer weight_ih, weight_hh, bias_ih, bias_hh, then the head's weight and bias, in rows
    that are padded with zeros which stay zero. weight_ih of layer 0 is transposed: the weights of a symbol are a row.
    """
    cdef Sizes sizes
    cdef readonly str cell

    def __init__(self, vocab_size, hidden_size, num_layers, cell="rnn", num_labels=0):
        vocab_size = integer("vocab_size", vocab_size, 1)
        hidden_size = integer("hidden_size", hidden_size, 1)
        num_layers = integer("num_layers", num_layers, 1)
        cell = choice("cell", cell, CELLS)
        num_labels = integer("num_labels", num_labels, 0)
        # Before anything is multiplied that might overflow.
        GH = 1.0 * gates_of(CELLS[cell]) * hidden_size
        inputs = 1.0 * vocab_size + num_labels
        check_memory((inputs * GH + 1.0 * vocab_size * hidden_size + num_layers * GH * hidden_size) * sizeof(real),
                     vocab_size=vocab_size, hidden_size=hidden_size, num_layers=num_layers)
        self.cell = cell
        self.sizes.cell = CELLS[cell]
        self.sizes.vocab_size = vocab_size
        self.sizes.num_labels = num_labels
        self.sizes.hidden_size = hidden_size
        self.sizes.num_layers = num_layers
        self.sizes.stride = padded(hidden_size)
        self.sizes.gates_stride = padded(gates_of(self.sizes.cell) * hidden_size)

    @property
    def vocab_size(self):
        return self.sizes.vocab_size

    @property
    def num_labels(self):
        """Symbols of the input beyond the vocabulary, each a row of layer 0's weight_ih."""
        return self.sizes.num_labels

    @property
    def hidden_size(self):
        return self.sizes.hidden_size

    @property
    def num_layers(self):
        return self.sizes.num_layers

    @property
    def arena_size(self):
        """Numbers that an arena of parameters, gradients or optimizer state takes."""
        cdef Sizes *s = &self.sizes
        cdef Py_ssize_t head = s.vocab_size * s.stride + round_up(s.vocab_size, PADDING)
        return head + layer_size(s, 0) + (s.num_layers - 1) * layer_size(s, 1)

    @property
    def gates(self):
        """G: weight_ih, weight_hh and the biases of a layer have G H rows."""
        return gates_of(self.sizes.cell)

    def state_shape(self, Py_ssize_t batch_size):
        """(L, B, H), the h of each layer; (2, L, B, H) of an LSTM, whose c comes after h."""
        shape = (self.sizes.num_layers, batch_size, self.sizes.hidden_size)
        return (2, *shape) if self.sizes.cell == LSTM else shape

    def views(self, arena):
        """The parameters in an arena as arrays of PyTorch's names and shapes that share its memory.

        None stands for an arena that takes no memory, where the shapes alone are wanted.
        """
        cdef Py_ssize_t V = self.sizes.vocab_size, H = self.sizes.hidden_size, GH = H * self.gates, at = 0
        views = {}
        if arena is None:
            arena = np.broadcast_to(np.zeros(1, DTYPE), self.arena_size)

        def rows(Py_ssize_t n, Py_ssize_t width):
            nonlocal at
            at += n * padded(width)
            return arena[at - n * padded(width):at].reshape(n, padded(width))[:, :width]

        for l in range(self.sizes.num_layers):
            views[f"rnn.weight_ih_l{l}"] = rows(num_inputs(&self.sizes), GH).T if l == 0 else rows(GH, H)
            views[f"rnn.weight_hh_l{l}"] = rows(GH, H)
            views[f"rnn.bias_ih_l{l}"] = rows(1, GH)[0]
            views[f"rnn.bias_hh_l{l}"] = rows(1, GH)[0]
        views["head.weight"] = rows(V, H)
        views["head.bias"] = arena[at:at + V]
        return views
