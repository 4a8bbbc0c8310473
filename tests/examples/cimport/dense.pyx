# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A dense layer and a softmax of another project, made of charrnn's kernels, in float32."""
import numpy as np

from charrnn.kernels.activations cimport vtanh
from charrnn.kernels.gemm cimport matrix, multiply, pack, packed, round_up
from charrnn.kernels.simd cimport LANES, real, vload, vreal, vstore
from charrnn.kernels.softmax cimport softmax_column


def dense(
    const real[:, ::1] x not None,      # IN (m, k)
    const real[:, ::1] weight not None, # IN (k, n)
    const real[::1] bias not None,      # IN (n)
):
    """tanh(x.weight + bias), (m, n)."""
    cdef Py_ssize_t m = x.shape[0], k = x.shape[1], n = weight.shape[1], i, j
    cdef Py_ssize_t stride = round_up(n, LANES)     # products are written in whole vectors
    out = np.empty((m, stride), np.float32)
    padded_bias = np.zeros(stride, np.float32)
    padded_bias[:n] = bias
    cdef real[:, ::1] c = out
    cdef real[::1] b = padded_bias, panels = np.empty(k * stride, np.float32)
    with nogil:
        pack(k, n, matrix(&weight[0, 0], n, 1), &panels[0])
        multiply(m, n, k, matrix(&x[0, 0], k, 1), packed(k, &panels[0]), NULL, &c[0, 0], stride)
        for i in range(m):
            for j from 0 <= j < stride by LANES:
                vstore(&c[i, j], vtanh(vload(&c[i, j]) + vload(&b[j])))
    return out[:, :n]


def softmax(
    real[:, ::1] logits not None,       # IN OUT (V, N): a column for each position, N a multiple of LANES
):
    """exp(logits - max) / sum exp(logits - max) of each column, in place."""
    cdef Py_ssize_t V = logits.shape[0], N = logits.shape[1], v, j
    cdef vreal total
    if N % LANES != 0:
        raise ValueError(f"logits must have a multiple of {LANES} columns, got {N}")
    with nogil:
        for j from 0 <= j < N by LANES:
            softmax_column(V, N, NULL, &logits[0, j], NULL, LANES, NULL, &total)
            for v in range(V):
                vstore(&logits[v, j], vload(&logits[v, j]) / total)
