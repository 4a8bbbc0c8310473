# Arrays of this build's number type, and checks of what the functions and classes are given.
import numpy as np

from charrnn.errors import as_array

from charrnn.kernels.simd cimport real

cdef enum:
    ALIGNMENT = 64              # bytes: a cache line, and the widest vector
    LARGE_PAGE = 2 << 20        # bytes, on x86-64 and mostly on arm64


def aligned_zeros(Py_ssize_t n):
    """A zeroed vector of n numbers that begins on a cache line, or on a large page if it is as large as one."""
    cdef Py_ssize_t size = sizeof(real), alignment = ALIGNMENT, least = 0
    if n * size >= LARGE_PAGE:
        # For arrays of `least` NumPy asks the system for large pages: fewer addresses to look up, and no small pages
        # that share their places in the cache by chance.
        alignment, least = LARGE_PAGE, 2 * LARGE_PAGE
    array = np.zeros(max(n + alignment // size, least // size), DTYPE)
    cdef real[::1] view = array
    cdef Py_ssize_t start = (-<Py_ssize_t>&view[0] % alignment + alignment) % alignment // size
    return array[start:start + n]


cdef check_at_least(str name, double value, double least):
    if not value >= least:
        raise ValueError(f"{name} must be at least {least:g}, got {value:g}")


cdef check_length(str name, Py_ssize_t got, Py_ssize_t wanted):
    if got != wanted:
        raise ValueError(f"{name} must have length {wanted} where the other arguments say so, got {got}")


cdef check_shape(str name, array, rows, columns):
    if array.shape != (rows, columns):
        wanted = (rows, columns)
        raise ValueError(f"{name} must have shape {wanted} where the other arguments say so, got {array.shape}")


cdef numbers(str name, value, int ndim, bint written=False):
    """value as a C-contiguous array of this module's number type, and itself where it is written to."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    if value.dtype != DTYPE:
        raise TypeError(f"{name} must have dtype {DTYPE}, as the other arrays, got {value.dtype}")
    if value.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {value.shape}")
    if not written:
        return np.ascontiguousarray(value)
    if not value.flags.c_contiguous or not value.flags.writeable:
        what = "writeable" if value.flags.c_contiguous else "C-contiguous"
        raise ValueError(f"{name} must be {what}, for it is written to in place")
    return value


cdef indices(str name, value, int ndim, Py_ssize_t n):
    """value as a C-contiguous array of int32 from 0 to n - 1."""
    value = as_array(name, value)
    if value.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an array of integers, got dtype {value.dtype}")
    if value.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {value.shape}")
    if value.size and (value.min() < 0 or value.max() >= n):
        raise ValueError(f"{name} must be from 0 to {n - 1}, got {value[(value < 0) | (value >= n)][0]}")
    return np.ascontiguousarray(value, np.int32)
