# cython: cdivision=True
"""Matrix products from register tiles: C := start + A.B, of A (m, k), B (k, n), C (m, n).

Design. B is read in panels of TILE_VECTORS * LANES columns. A large one is packed once, each panel contiguous with
the k index outermost, the last one only as many whole vectors wide as it needs; a small one is read in place. A tile of
up to TILE_ROWS rows of C by one panel stays in registers over all of k: for each k it loads TILE_VECTORS vectors of B
and multiplies them by one number of A for each row. A is read in place through two strides, so that it may be a
transpose, which is packed as well where it is large. SSE cannot load a number into all lanes: there the numbers of a
tile of A are copied to vectors of them first, which stay in L1 while the tile goes through all panels.

Every element of C is the same sum in the same order, whatever tile, thread or block of rows it falls into. That
is what makes the results independent of the number of threads, bit for bit.

The tile is the one of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), and of
its successors.
"""
from charrnn.kernels.simd cimport (
    COPIES,
    HAS_TRANSPOSE,
    LANES,
    TILE_ROWS,
    held,
    inlined,
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
    MAX_TILE_ROWS = 8
    MAX_TILE_VECTORS = 8        # of the tiles of one row
    MAX_LANES = 16
    MAX_COPIES = 4
    COPIED_ROWS = 3             # and more are copied, where there are COPIES
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


# A number in as few parts as can be of at most some size, which differ by one at most; 0 in none.
cdef struct Split:
    Py_ssize_t size             # of the larger parts
    Py_ssize_t large            # how many are so large
    Py_ssize_t small            # how many are one smaller


cdef inline Split split(Py_ssize_t n, Py_ssize_t most) noexcept nogil:
    cdef Py_ssize_t parts = (n + most - 1) // most
    cdef Split s
    s.size = s.large = s.small = 0
    if parts > 0:
        s.size = (n + parts - 1) // parts
        s.large = n - (s.size - 1) * parts
        s.small = parts - s.large
    return s


cdef inline Split heights_of(Py_ssize_t m) noexcept nogil:
    """The tiles of m rows, the taller ones first."""
    return split(m, TILE_ROWS)


cdef inline Py_ssize_t height_at(Split heights, Py_ssize_t row) noexcept nogil:
    """Rows of the tile that begins at `row`."""
    return heights.size if row < heights.size * heights.large else heights.size - 1


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


cdef inline void tiles_of_height(
    Py_ssize_t count,
    Py_ssize_t rows,            # of each
    Py_ssize_t vectors,         # columns: up to 8 of one row, 4 of two rows, 2 of more
    Py_ssize_t k,
    Matrix a,
    Panels b,
    const real **start,
    Py_ssize_t first,
    real *c,
    Py_ssize_t c_stride,
) noexcept nogil:
    """The tiles of these sizes. One or two rows take more columns, else their sums would be too few to hide the latency
    of a multiply-add."""
    if rows == 1:
        if vectors == 1:
            tiles(1, 0, 1, count, k, a, b, start, first, c, c_stride)
        elif vectors == 2:
            tiles(1, 1, 0, count, k, a, b, start, first, c, c_stride)
        elif vectors == 3:
            tiles(1, 1, 1, count, k, a, b, start, first, c, c_stride)
        elif vectors == 4:
            tiles(1, 2, 0, count, k, a, b, start, first, c, c_stride)
        elif vectors == 5:
            tiles(1, 2, 1, count, k, a, b, start, first, c, c_stride)
        elif vectors == 6:
            tiles(1, 3, 0, count, k, a, b, start, first, c, c_stride)
        elif vectors == 7:
            tiles(1, 3, 1, count, k, a, b, start, first, c, c_stride)
        else:
            tiles(1, 4, 0, count, k, a, b, start, first, c, c_stride)
    elif rows == 2:
        if vectors == 1:
            tiles(2, 0, 1, count, k, a, b, start, first, c, c_stride)
        elif vectors == 2:
            tiles(2, 1, 0, count, k, a, b, start, first, c, c_stride)
        elif vectors == 3:
            tiles(2, 1, 1, count, k, a, b, start, first, c, c_stride)
        else:
            tiles(2, 2, 0, count, k, a, b, start, first, c, c_stride)
    elif vectors == 1:
        if rows == 3:
            tiles(3, 0, 1, count, k, a, b, start, first, c, c_stride)
        elif rows == 4:
            tiles(4, 0, 1, count, k, a, b, start, first, c, c_stride)
        elif rows == 5:
            tiles(5, 0, 1, count, k, a, b, start, first, c, c_stride)
        elif rows == 6:
            tiles(6, 0, 1, count, k, a, b, start, first, c, c_stride)
        elif rows == 7:
            tiles(7, 0, 1, count, k, a, b, start, first, c, c_stride)
        else:
            tiles(8, 0, 1, count, k, a, b, start, first, c, c_stride)
    elif rows == 3:
        tiles(3, 1, 0, count, k, a, b, start, first, c, c_stride)
    elif rows == 4:
        tiles(4, 1, 0, count, k, a, b, start, first, c, c_stride)
    elif rows == 5:
        tiles(5, 1, 0, count, k, a, b, start, first, c, c_stride)
    elif rows == 6:
        tiles(6, 1, 0, count, k, a, b, start, first, c, c_stride)
    elif rows == 7:
        tiles(7, 1, 0, count, k, a, b, start, first, c, c_stride)
    else:
        tiles(8, 1, 0, count, k, a, b, start, first, c, c_stride)


cdef inline Py_ssize_t most_panels(Py_ssize_t rows) noexcept nogil:
    """Panels that tiles of these rows take at once."""
    return (MAX_TILE_VECTORS if rows == 1 else 4 if rows == 2 else TILE_VECTORS) // TILE_VECTORS


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
    cdef Py_ssize_t row = heights.size * heights.large
    tiles_of_height(heights.large, heights.size, width // LANES, k, a, b, start, first, c + first, c_stride)
    if heights.small > 0:
        tiles_of_height(heights.small, heights.size - 1, width // LANES, k, matrix_from(a, row, k), b,
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
        for i in range(widths.large + widths.small):
            # The narrower ones first: the last panel may be but one vector wide.
            part = widths.large + widths.small - 1 - i if b.last_first else i
            first = (part * widths.size - min(part, widths.small)) * panel
            stop = min(n, first + (widths.size - (part < widths.small)) * panel)
            multiply_panels(heights, round_up(stop - first, LANES), k, matrix_from(a, row, k), panels_from(b, first),
                            start + row if start != NULL else NULL, first, c + row * c_stride, c_stride)
