"""Matrix products from register tiles: C := start + A.B, of A (m, k), B (k, n), C (m, n).

Design. B is packed once into panels of PANEL = TILE_VECTORS * LANES columns, each panel contiguous with the k
index outermost, the last one only as many whole vectors wide as it needs. A tile of up to TILE_ROWS rows of C by
one panel stays in registers over all of k: for each k it loads TILE_VECTORS vectors of B and multiplies them by
one number of A for each row. A is read in place through two strides, so that it may be a transpose.

Every element of C is the same sum in the same order, whatever tile, thread or block of rows it falls into. That
is what makes the results independent of the number of threads, bit for bit.

The tile is the one of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), and of
its successors.
"""
from libc.string cimport memset

from charrnn.kernels.simd cimport HAS_TRANSPOSE, LANES, TILE_ROWS, inlined, real, vload, vreal, vstore, vtranspose

cdef enum:
    TILE_VECTORS = 2
    MAX_TILE_ROWS = 8
    MAX_TILE_VECTORS = 8        # of the tiles of one row by four panels
    MAX_LANES = 16
    # A block of k whose panel (32 KiB in float32 at 32 columns) stays near the core.
    BLOCK_K = 256
    # Rows of A that go through all panels before the next: with k = 512 in float32 they take a quarter of L2.
    BLOCK_M = 128


cdef struct Matrix:
    const real *data
    Py_ssize_t row_stride
    Py_ssize_t column_stride


cdef inline Matrix matrix(const real *data, Py_ssize_t row_stride, Py_ssize_t column_stride) noexcept nogil:
    cdef Matrix a
    a.data = data
    a.row_stride = row_stride
    a.column_stride = column_stride
    return a


cdef inline Py_ssize_t round_up(Py_ssize_t n, Py_ssize_t multiple) noexcept nogil:
    return (n + multiple - 1) // multiple * multiple


cdef inline Py_ssize_t panel_width(Py_ssize_t n, Py_ssize_t first) noexcept nogil:
    """Columns, a multiple of LANES, of the panel that begins at column `first` of n."""
    if n - first >= TILE_VECTORS * LANES:
        return TILE_VECTORS * LANES
    return round_up(n - first, LANES)


cdef inline void pack_panel(
    Py_ssize_t k,
    Py_ssize_t width,           # of the panel, a multiple of LANES
    Py_ssize_t columns,         # of b that there are; what the panel has beyond them is zero
    Matrix b,                   # IN (k, columns)
    real *panel,                # OUT (k, width)
) noexcept nogil:
    """panel[i, j] := b[i, j]"""
    cdef Py_ssize_t whole = columns // LANES * LANES, rows, i, j
    if b.column_stride == 1:
        for i in range(k):
            for j from 0 <= j < whole by LANES:
                vstore(panel + i * width + j, vload(b.data + i * b.row_stride + j))
    elif HAS_TRANSPOSE and b.row_stride == 1:
        rows = k // LANES * LANES
        for j from 0 <= j < whole by LANES:
            for i from 0 <= i < rows by LANES:
                transpose_square(b.data + i + j * b.column_stride, b.column_stride, panel + i * width + j, width)
            for i in range(rows, k):
                pack_numbers(j, j + LANES, b.data + i * b.row_stride, b.column_stride, panel + i * width)
    else:
        whole = 0
    for i in range(k):
        pack_numbers(whole, columns, b.data + i * b.row_stride, b.column_stride, panel + i * width)
        for j in range(columns, width):
            panel[i * width + j] = 0


cdef inline void pack_numbers(Py_ssize_t first, Py_ssize_t stop, const real *row, Py_ssize_t stride, real *packed) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(first, stop):
        packed[j] = row[j * stride]


cdef inline void transpose_square(const real *a, Py_ssize_t a_stride, real *b, Py_ssize_t b_stride) noexcept nogil:
    """b[i, j] := a[j, i], LANES by LANES."""
    cdef vreal rows[MAX_LANES]
    cdef int i
    for i in range(LANES):
        rows[i] = vload(a + i * a_stride)
    vtranspose(rows)
    for i in range(LANES):
        vstore(b + i * b_stride, rows[i])


cdef inline void pack(
    Py_ssize_t k,
    Py_ssize_t n,
    Matrix b,                   # IN (k, n)
    real *panels,               # OUT (k * n rounded up to LANES)
) noexcept nogil:
    cdef Py_ssize_t first = 0, width
    while first < n:
        width = panel_width(n, first)
        pack_panel(k, width, min(width, n - first),
                   matrix(b.data + first * b.column_stride, b.row_stride, b.column_stride), panels + k * first)
        first += width


cdef inline inlined tile(
    const int rows,             # constants where this is inlined: the loops over them unroll into registers
    const int panels,
    const int vectors,
    Py_ssize_t k,
    Matrix a,                   # IN (rows, k)
    const real *b,              # IN (panels, k, vectors * LANES)
    const real **start,         # IN (rows) of (panels * vectors * LANES)
    real *c,                    # OUT (rows, panels * vectors * LANES)
    Py_ssize_t c_stride,
) noexcept nogil:
    """c := start + a.b"""
    cdef vreal sums[MAX_TILE_ROWS][MAX_TILE_VECTORS]
    cdef vreal b_row[MAX_TILE_VECTORS]
    cdef Py_ssize_t panel_size = k * vectors * LANES, step
    cdef const real *a_column = a.data
    cdef int i, p, v
    for i in range(rows):
        for v in range(panels * vectors):
            sums[i][v] = vload(start[i] + v * LANES)
    for step in range(k):
        for p in range(panels):
            for v in range(vectors):
                b_row[p * vectors + v] = vload(b + p * panel_size + v * LANES)
        for i in range(rows):
            for v in range(panels * vectors):
                sums[i][v] = sums[i][v] + a_column[i * a.row_stride] * b_row[v]
        a_column += a.column_stride
        b += vectors * LANES
    for i in range(rows):
        for v in range(panels * vectors):
            vstore(c + i * c_stride + v * LANES, sums[i][v])
    return 0


cdef inline void any_tile(
    Py_ssize_t rows,
    Py_ssize_t panels,
    Py_ssize_t vectors,
    Py_ssize_t k,
    Matrix a,
    const real *b,
    const real **start,
    real *c,
    Py_ssize_t c_stride,
) noexcept nogil:
    """The tile of these sizes: 1 to TILE_ROWS rows by one panel, or one row by 4 and two rows by 2 panels, whose
    sums would otherwise be too few to hide the latency of a multiply-add."""
    if panels == 4:
        tile(1, 4, 2, k, a, b, start, c, c_stride)
    elif panels == 2:
        if rows == 1:
            tile(1, 2, 2, k, a, b, start, c, c_stride)
        else:
            tile(2, 2, 2, k, a, b, start, c, c_stride)
    elif vectors == 2:
        if rows == 1:
            tile(1, 1, 2, k, a, b, start, c, c_stride)
        elif rows == 2:
            tile(2, 1, 2, k, a, b, start, c, c_stride)
        elif rows == 3:
            tile(3, 1, 2, k, a, b, start, c, c_stride)
        elif rows == 4:
            tile(4, 1, 2, k, a, b, start, c, c_stride)
        elif rows == 5:
            tile(5, 1, 2, k, a, b, start, c, c_stride)
        elif rows == 6:
            tile(6, 1, 2, k, a, b, start, c, c_stride)
        elif rows == 7:
            tile(7, 1, 2, k, a, b, start, c, c_stride)
        else:
            tile(8, 1, 2, k, a, b, start, c, c_stride)
    elif rows == 1:
        tile(1, 1, 1, k, a, b, start, c, c_stride)
    elif rows == 2:
        tile(2, 1, 1, k, a, b, start, c, c_stride)
    elif rows == 3:
        tile(3, 1, 1, k, a, b, start, c, c_stride)
    elif rows == 4:
        tile(4, 1, 1, k, a, b, start, c, c_stride)
    elif rows == 5:
        tile(5, 1, 1, k, a, b, start, c, c_stride)
    elif rows == 6:
        tile(6, 1, 1, k, a, b, start, c, c_stride)
    elif rows == 7:
        tile(7, 1, 1, k, a, b, start, c, c_stride)
    else:
        tile(8, 1, 1, k, a, b, start, c, c_stride)


cdef inline void multiply_panels(
    Py_ssize_t m,
    Py_ssize_t panels,          # 1, or 2 or 4 whole ones
    Py_ssize_t width,           # of one panel
    Py_ssize_t k,
    Matrix a,                   # IN (m, k)
    const real *b,              # IN (panels, k, width)
    const real **start,         # IN (m) of rows to start from, at column `first`; NULL for zeros
    Py_ssize_t first,           # column of start and c where the first panel begins
    real *c,                    # OUT (m, c_stride)
    Py_ssize_t c_stride,
) noexcept nogil:
    """c[:, first:first + panels * width] := start + a.b, by tiles of nearly equal height."""
    cdef real zeros[MAX_TILE_VECTORS * MAX_LANES]
    cdef const real *rows_start[MAX_TILE_ROWS]
    cdef Py_ssize_t tiles = (m + TILE_ROWS - 1) // TILE_ROWS
    cdef Py_ssize_t height = m // tiles, taller = m - height * tiles, row = 0, i, rows, t
    if start == NULL:
        memset(zeros, 0, sizeof(zeros))
    for t in range(tiles):
        rows = height + 1 if t < taller else height
        for i in range(rows):
            if start == NULL:
                rows_start[i] = zeros
            else:
                rows_start[i] = start[row + i] + first
        any_tile(rows, panels, width // LANES, k, matrix(a.data + row * a.row_stride, a.row_stride, a.column_stride), b,
                 rows_start, c + row * c_stride + first, c_stride)
        row += rows


cdef inline void multiply(
    Py_ssize_t m,
    Py_ssize_t n,
    Py_ssize_t k,
    Matrix a,                   # IN (m, k)
    const real *b,              # IN panels of (k, n)
    const real **start,         # IN (m) of rows (n); NULL for zeros
    real *c,                    # OUT (m, n), written to the end of the last vector
    Py_ssize_t c_stride,
) noexcept nogil:
    """c := start + a.b"""
    cdef Py_ssize_t row, rows, first, width, panels
    for row from 0 <= row < m by BLOCK_M:
        rows = min(<Py_ssize_t>BLOCK_M, m - row)
        first = 0
        while first < n:
            width = panel_width(n, first)
            panels = 1
            if rows <= 2 and width == TILE_VECTORS * LANES:
                if rows == 1 and n - first >= 4 * width:
                    panels = 4
                elif n - first >= 2 * width:
                    panels = 2
            multiply_panels(rows, panels, width, k, matrix(a.data + row * a.row_stride, a.row_stride, a.column_stride),
                            b + k * first, start + row if start != NULL else NULL, first, c + row * c_stride, c_stride)
            first += panels * width
