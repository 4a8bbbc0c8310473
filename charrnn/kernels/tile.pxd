# cython: cdivision=True
"""The register tile: c[:rows, :width] := start + a[:rows, :k].b[:k, :width], all sums in registers over all of k.

For each k it loads some vectors of b and multiplies them by one number of a for each row. Where the number of rows and
vectors are constants the loops unroll, so each height and width of a tile is code of its own.

The tile is the one of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), and of
its successors.
"""
from charrnn.kernels.pack cimport CACHE_LINE, TILE_VECTORS, Matrix, Panels, column_step, matrix_from
from charrnn.kernels.simd cimport COPIES, LANES, held, inlined, prefetch, real, vload, vreal, vsplat, vstore

cdef enum:
    MAX_TILE_ROWS = 8
    MAX_TILE_VECTORS = 8        # of the tiles of one row
    COPIED_ROWS = 3             # and more are copied, where there are COPIES


cdef inline inlined tiles(
    const int rows,             # constants where this is inlined: the loops over them unroll into registers
    const int panels,           # of TILE_VECTORS vectors
    const int tail,             # 1 for a last panel of one vector, else 0
    Py_ssize_t count,
    Py_ssize_t k,
    Matrix a,                   # IN (count rows, k)
    Panels b,                   # IN (k, width)
    const real **start,         # IN (count rows) of rows to start from, at column `first`; NULL for zeros
    Py_ssize_t first,
    real *c,                    # OUT (count rows, width)
    Py_ssize_t c_stride,
) noexcept nogil:
    """c := start + a.b, tile under tile."""
    cdef vreal sums[MAX_TILE_ROWS][MAX_TILE_VECTORS]
    cdef vreal b_row[MAX_TILE_VECTORS]
    cdef vreal factor
    cdef Py_ssize_t a_step = column_step(a, rows), _tile, _
    cdef const real *a_column
    cdef const real *b_panel[MAX_TILE_VECTORS]
    cdef const real *b_tail
    cdef int i, p, v
    for _tile in range(count):
        for i in range(rows):
            for v in range(panels * TILE_VECTORS + tail):
                # What the next tile writes is often far away, and often what it starts from: it comes meanwhile.
                if v * LANES * <int>sizeof(real) % CACHE_LINE == 0:
                    prefetch(c + (rows + i) * c_stride + v * LANES)
                sums[i][v] = vload(start[i] + first + v * LANES) if start != NULL else vsplat(0)
        a_column = a.data
        for p in range(panels):
            b_panel[p] = b.data + p * b.panel_stride
        b_tail = b.data + panels * b.panel_stride
        for _ in range(k):
            for p in range(panels):
                for v in range(TILE_VECTORS):
                    b_row[p * TILE_VECTORS + v] = vload(b_panel[p] + v * LANES)
                b_panel[p] += b.row_stride
            if tail:
                b_row[panels * TILE_VECTORS] = vload(b_tail)
            for i in range(rows):
                if COPIES > 1 and rows >= COPIED_ROWS:
                    factor = held(vload(a_column + i * a.row_stride))
                else:
                    factor = vsplat(a_column[i * a.row_stride])
                for v in range(panels * TILE_VECTORS + tail):
                    sums[i][v] = sums[i][v] + factor * b_row[v]
            a_column += a_step
            b_tail += b.tail_stride
        for i in range(rows):
            for v in range(panels * TILE_VECTORS + tail):
                vstore(c + i * c_stride + v * LANES, sums[i][v])
        a = matrix_from(a, rows, k)
        c += rows * c_stride
        if start != NULL:
            start += rows
    return 0


cdef inline inlined tiles_of_width(
    const int rows,             # a constant where this is inlined
    Py_ssize_t count,
    Py_ssize_t vectors,         # columns: up to 8 of one row, 4 of two rows, 2 of more
    Py_ssize_t k,
    Matrix a,
    Panels b,
    const real **start,
    Py_ssize_t first,
    real *c,
    Py_ssize_t c_stride,
) noexcept nogil:
    """The tiles of a height, by their width. One or two rows take more columns, else their sums would be too few to
    hide the latency of a multiply-add."""
    if vectors == 1:
        tiles(rows, 0, 1, count, k, a, b, start, first, c, c_stride)
    elif vectors == 2 or rows > 2:
        tiles(rows, 1, 0, count, k, a, b, start, first, c, c_stride)
    elif vectors == 3:
        tiles(rows, 1, 1, count, k, a, b, start, first, c, c_stride)
    elif vectors == 4 or rows > 1:
        tiles(rows, 2, 0, count, k, a, b, start, first, c, c_stride)
    elif vectors == 5:
        tiles(1, 2, 1, count, k, a, b, start, first, c, c_stride)
    elif vectors == 6:
        tiles(1, 3, 0, count, k, a, b, start, first, c, c_stride)
    elif vectors == 7:
        tiles(1, 3, 1, count, k, a, b, start, first, c, c_stride)
    else:
        tiles(1, 4, 0, count, k, a, b, start, first, c, c_stride)
    return 0


cdef inline void tiles_of_height(
    Py_ssize_t count,
    Py_ssize_t rows,            # of each
    Py_ssize_t vectors,
    Py_ssize_t k,
    Matrix a,
    Panels b,
    const real **start,
    Py_ssize_t first,
    real *c,
    Py_ssize_t c_stride,
) noexcept nogil:
    """The tiles of these sizes."""
    if rows == 1:
        tiles_of_width(1, count, vectors, k, a, b, start, first, c, c_stride)
    elif rows == 2:
        tiles_of_width(2, count, vectors, k, a, b, start, first, c, c_stride)
    elif rows == 3:
        tiles_of_width(3, count, vectors, k, a, b, start, first, c, c_stride)
    elif rows == 4:
        tiles_of_width(4, count, vectors, k, a, b, start, first, c, c_stride)
    elif rows == 5:
        tiles_of_width(5, count, vectors, k, a, b, start, first, c, c_stride)
    elif rows == 6:
        tiles_of_width(6, count, vectors, k, a, b, start, first, c, c_stride)
    elif rows == 7:
        tiles_of_width(7, count, vectors, k, a, b, start, first, c, c_stride)
    else:
        tiles_of_width(8, count, vectors, k, a, b, start, first, c, c_stride)


cdef inline Py_ssize_t most_panels(Py_ssize_t rows) noexcept nogil:
    """Panels that tiles of these rows take at once."""
    return (MAX_TILE_VECTORS if rows == 1 else 4 if rows == 2 else TILE_VECTORS) // TILE_VECTORS
