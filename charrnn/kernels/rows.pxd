# cython: cdivision=True
"""Rows of numbers: zeroed, added up, masked."""
from charrnn.kernels.simd cimport LANES, real, vload, vsplat, vstore


cdef inline void zero_row(Py_ssize_t width, real *x) noexcept nogil:
    """x := 0. Compilers make a string instruction of memset, which takes as long as a row of some hundred numbers."""
    cdef Py_ssize_t whole = width // LANES * LANES, j
    for j from 0 <= j < whole by LANES:
        vstore(x + j, vsplat(0))
    for j in range(whole, width):
        x[j] = 0


cdef inline void add_row(Py_ssize_t width, const real *x, real *sums) noexcept nogil:
    """sums += x, and nothing behind them is touched."""
    cdef Py_ssize_t whole = width // LANES * LANES, j
    for j from 0 <= j < whole by LANES:
        vstore(sums + j, vload(sums + j) + vload(x + j))
    for j in range(whole, width):
        sums[j] += x[j]


cdef inline void sum_rows(
    Py_ssize_t rows, Py_ssize_t first, Py_ssize_t stop, const real *x, Py_ssize_t stride, bint add, real *sums
) noexcept nogil:
    """sums[first:stop] := those columns of x, added up over its rows; or +=."""
    cdef Py_ssize_t row
    if not add:
        zero_row(stop - first, sums + first)
    for row in range(rows):
        add_row(stop - first, x + row * stride + first, sums + first)


cdef inline void apply_mask(
    Py_ssize_t rows, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t stride, const real *mask, real *dh
) noexcept nogil:
    cdef Py_ssize_t row, j
    for row in range(rows):
        for j in range(first, stop):
            dh[row * stride + j] *= mask[row * stride + j]


cdef inline void add_masked_row(Py_ssize_t width, const real *mask, const real *x, real *sums) noexcept nogil:
    """sums += mask x"""
    cdef Py_ssize_t j
    for j in range(width):
        sums[j] += mask[j] * x[j]
