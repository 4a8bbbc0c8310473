# cython: cdivision=True
"""C := start + A.B of any size, by tiles: which tiles cover it, and in which order.

Every element of C is the same sum in the same order, whatever tile, thread or block of rows it falls into. That
is what makes the results independent of the number of threads, bit for bit.

SSE cannot load a number into all lanes: there the numbers of a tile of A are copied to vectors of them first, which
stay in L1 while the tile goes through all panels.
"""
from charrnn.kernels.pack cimport (
    BLOCK_K,
    BLOCK_M,
    TILE_VECTORS,
    Matrix,
    Panels,
    Split,
    column_step,
    height_at,
    heights_of,
    matrix,
    matrix_from,
    panel_width,
    panels_from,
    panels_of,
    round_up,
    split,
)
from charrnn.kernels.simd cimport COPIES, LANES, real, vsplat, vstore
from charrnn.kernels.tile cimport COPIED_ROWS, MAX_TILE_ROWS, most_panels, tiles_of_height

cdef enum:
    MAX_COPIES = 4


cdef inline void multiply_panels(
    Split heights,              # of tiles for the m rows
    Py_ssize_t width,           # columns of b, a multiple of LANES
    Py_ssize_t k,
    Matrix a,                   # IN (m, k)
    Panels b,                   # IN (k, width), at most most_panels(m)
    const real **start,         # IN (m) of rows to start from, at column `first`; NULL for zeros
    Py_ssize_t first,           # column of start and c where the first panel begins
    real *c,                    # OUT (m, c_stride)
    Py_ssize_t c_stride,
) noexcept nogil:
    """c[:, first:first + width] := start + a.b"""
    cdef Py_ssize_t row = heights.size * heights.num_large
    tiles_of_height(heights.num_large, heights.size, width // LANES, k, a, b, start, first, c + first, c_stride)
    if heights.num_small > 0:
        tiles_of_height(heights.num_small, heights.size - 1, width // LANES, k, matrix_from(a, row, k), b,
                        start + row if start != NULL else NULL, first, c + row * c_stride + first, c_stride)


cdef inline void copy_to_lanes(Py_ssize_t rows, Py_ssize_t k, Matrix a, real *copies) noexcept nogil:
    """copies[j, i] := a[i, j] in all lanes."""
    cdef Py_ssize_t step = column_step(a, rows), _, i
    for _ in range(k):
        for i in range(rows):
            vstore(copies, vsplat(a.data[i * a.row_stride]))
            copies += LANES
        a.data += step


cdef inline void multiply_copied(
    Py_ssize_t m,               # at least COPIED_ROWS
    Py_ssize_t n,
    Py_ssize_t k,
    Matrix a,                   # IN (m, k)
    Panels b,                   # IN (k, n)
    const real **start,         # IN (m) of rows (n); NULL for zeros
    real *c,                    # OUT (m, n), written to the end of the last vector
    Py_ssize_t c_stride,
) noexcept nogil:
    """c := start + a.b by copies of a, of a tile and BLOCK_K at a time: each block of b serves all tiles in turn."""
    cdef real copies[MAX_TILE_ROWS * BLOCK_K * MAX_COPIES]
    cdef const real *sums[MAX_TILE_ROWS]
    cdef const real **start_rows
    cdef Split heights = heights_of(m)
    cdef Py_ssize_t block, depth, row, rows, first, width, i
    cdef Matrix tile
    cdef Panels panel
    for block from 0 <= block < k by BLOCK_K:
        depth = min(<Py_ssize_t>BLOCK_K, k - block)
        row = 0
        while row < m:
            rows = height_at(heights, row)
            for i in range(rows):
                sums[i] = c + (row + i) * c_stride
            start_rows = &sums[0] if block > 0 else start + row if start != NULL else NULL
            tile = matrix_from(a, row, k)
            tile.data += block * column_step(tile, rows)
            copy_to_lanes(rows, depth, tile, copies)
            first = 0
            while first < n:
                width = panel_width(n, first)
                panel = panels_from(b, first)
                panel.data += block * (panel.row_stride if width == TILE_VECTORS * LANES else panel.tail_stride)
                tiles_of_height(1, rows, width // LANES, depth, matrix(copies, LANES, rows * LANES), panel,
                                start_rows, first, c + row * c_stride + first, c_stride)
                first += width
            row += rows


cdef inline void multiply(
    Py_ssize_t m,
    Py_ssize_t n,
    Py_ssize_t k,
    Matrix a,                   # IN (m, k)
    Panels b,                   # IN (k, n)
    const real **start,         # IN (m) of rows (n); NULL for zeros
    real *c,                    # OUT (m, n), written to the end of the last vector
    Py_ssize_t c_stride,
) noexcept nogil:
    """c := start + a.b"""
    cdef Py_ssize_t panel = TILE_VECTORS * LANES, row, rows, i, part, first, stop
    cdef Split heights, widths
    if COPIES > 1 and m >= COPIED_ROWS:
        multiply_copied(m, n, k, a, b, start, c, c_stride)
        return
    for row from 0 <= row < m by BLOCK_M:
        rows = min(<Py_ssize_t>BLOCK_M, m - row)
        heights = heights_of(rows)
        widths = split(panels_of(n), most_panels(rows))
        for i in range(widths.num_large + widths.num_small):
            # The narrower ones first: the last panel may be but one vector wide.
            part = widths.num_large + widths.num_small - 1 - i if b.last_first else i
            first = (part * widths.size - min(part, widths.num_small)) * panel
            stop = min(n, first + (widths.size - (part < widths.num_small)) * panel)
            multiply_panels(heights, round_up(stop - first, LANES), k, matrix_from(a, row, k), panels_from(b, first),
                            start + row if start != NULL else NULL, first, c + row * c_stride, c_stride)
