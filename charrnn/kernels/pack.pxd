# cython: cdivision=True
"""Factors of a product as the register tile reads them: where they lie, or packed.

Knows nothing of products. The right factor B (k, n) is read in panels of TILE_VECTORS * LANES columns. A large one is
packed once, each panel contiguous with the k index outermost, the last one only as many whole vectors wide as it needs;
a small one is read in place. The left factor A (m, k) is read in place through two strides, so that it may be a
transpose; a large transpose is packed as well, tile by tile.
"""
from charrnn.kernels.simd cimport (
    HAS_TRANSPOSE,
    LANES,
    TILE_ROWS,
    prefetch,
    real,
    vload,
    vreal,
    vsplat,
    vstore,
    vtranspose,
)

cdef enum:
    TILE_VECTORS = 2
    MAX_LANES = 16
    CACHE_LINE = 64             # bytes
    # A block of k whose panel (32 KiB in float32 at 32 columns) stays near the core.
    BLOCK_K = 256
    # Rows of A that go through all panels before the next: with k = 512 in float32 they take 256 KiB of L2.
    BLOCK_M = 128


cdef struct Matrix:
    const real *data
    Py_ssize_t row_stride
    Py_ssize_t column_stride    # 0 of what pack_rows made, where each tile has its own


# Of a right factor (k, n).
cdef struct Panels:
    const real *data
    Py_ssize_t row_stride       # from one k to the next
    Py_ssize_t panel_stride     # from one panel to the next
    Py_ssize_t tail_stride      # row_stride of a last panel that is one vector wide
    bint last_first             # in which order a product goes through them


cdef inline Matrix matrix(const real *data, Py_ssize_t row_stride, Py_ssize_t column_stride) noexcept nogil:
    cdef Matrix a
    a.data = data
    a.row_stride = row_stride
    a.column_stride = column_stride
    return a


cdef inline Matrix packed_rows(const real *tiles) noexcept nogil:
    """What pack_rows made."""
    return matrix(tiles, 1, 0)


cdef inline Matrix matrix_from(Matrix a, Py_ssize_t row, Py_ssize_t k) noexcept nogil:
    """The rows of a (m, k) from `row` on, where a tile begins."""
    a.data += row * (a.row_stride if a.column_stride != 0 else k)
    return a


cdef inline Py_ssize_t column_step(Matrix a, Py_ssize_t rows) noexcept nogil:
    """From one column to the next of a tile of so many rows."""
    return a.column_stride if a.column_stride != 0 else rows


cdef inline Panels packed(Py_ssize_t k, const real *panels) noexcept nogil:
    """What pack made."""
    cdef Panels b
    b.data = panels
    b.row_stride = TILE_VECTORS * LANES
    b.panel_stride = k * TILE_VECTORS * LANES
    b.tail_stride = LANES
    b.last_first = False
    return b


cdef inline Panels in_place(const real *rows, Py_ssize_t stride) noexcept nogil:
    """Rows readable to the end of the last vector."""
    cdef Panels b
    b.data = rows
    b.row_stride = stride
    b.panel_stride = TILE_VECTORS * LANES
    b.tail_stride = stride
    b.last_first = False
    return b


cdef inline Panels panels_from(Panels b, Py_ssize_t first) noexcept nogil:
    """The panels from column `first` on, where one begins."""
    b.data += first // (TILE_VECTORS * LANES) * b.panel_stride
    return b


cdef inline Py_ssize_t round_up(Py_ssize_t n, Py_ssize_t multiple) noexcept nogil:
    return (n + multiple - 1) // multiple * multiple


# A number split into the fewest parts of at most some size; their sizes differ by 1 at most. 0 has no parts.
cdef struct Split:
    Py_ssize_t size             # of the larger parts
    Py_ssize_t num_large        # how many parts have this size
    Py_ssize_t num_small        # how many are one smaller


cdef inline Split split(Py_ssize_t n, Py_ssize_t most) noexcept nogil:
    cdef Py_ssize_t parts = (n + most - 1) // most
    cdef Split s
    s.size = s.num_large = s.num_small = 0
    if parts > 0:
        s.size = (n + parts - 1) // parts
        s.num_large = n - (s.size - 1) * parts
        s.num_small = parts - s.num_large
    return s


cdef inline Split heights_of(Py_ssize_t m) noexcept nogil:
    """The tiles of m rows, the taller ones first."""
    return split(m, TILE_ROWS)


cdef inline Py_ssize_t height_at(Split heights, Py_ssize_t row) noexcept nogil:
    """Rows of the tile that begins at `row`."""
    return heights.size if row < heights.size * heights.num_large else heights.size - 1


cdef inline Py_ssize_t panels_of(Py_ssize_t n) noexcept nogil:
    """How many panels n columns have."""
    return (n + TILE_VECTORS * LANES - 1) // (TILE_VECTORS * LANES)


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
    cdef Py_ssize_t whole = columns // LANES * LANES if b.column_stride == 1 else 0, i = 0, j
    if whole == TILE_VECTORS * LANES:
        for i in range(k):
            for j in range(TILE_VECTORS):
                vstore(panel + i * whole + j * LANES, vload(b.data + i * b.row_stride + j * LANES))
        return
    if HAS_TRANSPOSE and b.row_stride == 1 and b.column_stride != 1:
        for i from 0 <= i < k - LANES + 1 by LANES:
            for j from 0 <= j < width by LANES:
                transpose_square(min(<Py_ssize_t>LANES, columns - j), b.data + i + j * b.column_stride, b.column_stride,
                                 panel + i * width + j, width)
    for i in range(i, k):
        for j from 0 <= j < whole by LANES:
            vstore(panel + i * width + j, vload(b.data + i * b.row_stride + j))
        for j in range(whole, columns):
            panel[i * width + j] = b.data[i * b.row_stride + j * b.column_stride]
        for j in range(columns, width):
            panel[i * width + j] = 0


cdef inline void transpose_square(
    Py_ssize_t rows,            # at most LANES; the columns of b beyond them are zero
    const real *a,
    Py_ssize_t a_stride,
    real *b,
    Py_ssize_t b_stride,
) noexcept nogil:
    """b[i, j] := a[j, i], LANES by LANES."""
    cdef vreal square[MAX_LANES]
    cdef int i
    for i in range(LANES):
        square[i] = vload(a + i * a_stride) if i < rows else vsplat(0)
        prefetch(a + i * a_stride + 4 * LANES)
    vtranspose(square)
    for i in range(LANES):
        vstore(b + i * b_stride, square[i])


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


cdef inline void pack_rows(
    Py_ssize_t m,
    Py_ssize_t k,
    Matrix a,                   # IN (m, k), its row_stride 1; readable for a vector behind each column
    real *tiles,                # OUT (m * k), and room for one vector more
) noexcept nogil:
    """Each tile of a, contiguous with the k index outermost, for packed_rows."""
    cdef Split heights = heights_of(m)
    cdef Py_ssize_t row = 0, _, rows, i
    cdef const real *source
    while row < m:
        rows = height_at(heights, row)
        source = a.data + row
        for _ in range(k):
            vstore(tiles, vload(source))
            for i from LANES <= i < rows by LANES:
                vstore(tiles + i, vload(source + i))
            tiles += rows
            source += a.column_stride
        row += rows
