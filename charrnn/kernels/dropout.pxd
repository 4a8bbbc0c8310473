# cython: cdivision=True
"""Dropout: the units that a step of the training leaves out, of what layers hand up and of what they hand on in time.

    output dropout       dropped_h[t] = mask[t] h[t]    what a layer hands up, a mask for each position (Srivastava et
                                                        al., 2014; of recurrent networks Zaremba et al., 2014)
    recurrent dropout    h_in[t] = mask h[t-1]          h as it enters the product with weight_hh: one mask for all
                                                        steps of a pass (Gal, Ghahramani, 2016), and none of what a cell
                                                        keeps without a product, c or u h[t-1] (Semeniuta et al., 2016)

A mask is 0 with the probability p, and else 1 / (1 - p), which keeps the mean. A hash of the seed, the step, the row
and the unit says which, so that it is the same whichever thread asks, in every build, and where a training was resumed.
"""
from libc.stdint cimport uint32_t, uint64_t

from charrnn.kernels.parallel cimport Part
from charrnn.kernels.rows cimport zero_row
from charrnn.kernels.simd cimport real
from charrnn.kernels.work cimport Work, h_in_rows, is_end, mask_rows, output_rows, recurrent_mask_rows, state_rows


cdef inline uint32_t hash32(uint32_t x) noexcept nogil:
    """A bijection whose output bits each depend on all input bits (the finaliser of MurmurHash3, Appleby)."""
    x ^= x >> 16
    x *= <uint32_t>0x85ebca6b
    x ^= x >> 13
    x *= <uint32_t>0xc2b2ae35
    return x ^ (x >> 16)


cdef inline void mask_row(
    uint64_t step_key,
    uint32_t row,
    double dropout,
    Py_ssize_t first,
    Py_ssize_t stop,
    real *mask,                 # OUT (H), of the units first ... stop
) noexcept nogil:
    cdef uint32_t key = hash32(<uint32_t>step_key + hash32(<uint32_t>(step_key >> 32) + hash32(row)))
    cdef uint32_t threshold = <uint32_t>(dropout * 4294967296.0)
    cdef real keep = <real>(1 / (1 - dropout))
    cdef Py_ssize_t j
    for j in range(first, stop):
        mask[j] = keep if hash32(key + <uint32_t>j) >= threshold else 0


cdef inline void output_dropout(Work *w, Part *part, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """dropped_h[t] := mask[t] h[t]"""
    cdef Py_ssize_t ld = w.sizes.stride, b, j
    cdef const real *h = state_rows(w, layer, t + 1)
    cdef real *mask = mask_rows(w, layer, t)
    cdef real *dropped_h = output_rows(w, layer, t)
    for b in range(part.b0, part.b1):
        mask_row(w.dropout_key, <uint32_t>((layer * w.seq_length + t) * w.batch_size + b), w.dropout, part.first,
                 part.stop, mask + b * ld)
        for j in range(part.first, part.stop):
            dropped_h[b * ld + j] = h[b * ld + j] * mask[b * ld + j]


cdef inline void draw_recurrent_mask(Work *w, Part *part, Py_ssize_t layer) noexcept nogil:
    """The mask of all steps of a pass. Its rows are counted down from the last number, those of outputs up from 0."""
    cdef Py_ssize_t b
    for b in range(part.b0, part.b1):
        mask_row(w.dropout_key, ~<uint32_t>(layer * w.batch_size + b), w.recurrent_dropout, part.first, part.stop,
                 recurrent_mask_rows(w, layer) + b * w.sizes.stride)


cdef inline void recurrent_dropout(Work *w, Part *part, Py_ssize_t layer, Py_ssize_t t) noexcept nogil:
    """h_in[t] := mask h[t-1], and 0 where the input at t is END"""
    cdef Py_ssize_t ld = w.sizes.stride, b, j
    cdef const real *h_prev = state_rows(w, layer, t)
    cdef const real *mask = recurrent_mask_rows(w, layer)
    cdef real *h_in = h_in_rows(w, layer, t)
    for b in range(part.b0, part.b1):
        if is_end(w, t, b):
            zero_row(part.stop - part.first, h_in + b * ld + part.first)
            continue
        for j in range(part.first, part.stop):
            h_in[b * ld + j] = h_prev[b * ld + j] * mask[b * ld + j]
