"""Matrix products from register tiles: C := start + A.B, of A (m, k), B (k, n), C (m, n).

    pack.pxd        where the factors lie, and packing
    tile.pxd        the register tile
    product.pxd     multiply: the tiles that cover C

Other projects cimport from here.
"""
from charrnn.kernels.pack cimport (
    BLOCK_K,
    BLOCK_M,
    TILE_VECTORS,
    Matrix,
    Panels,
    in_place,
    matrix,
    pack,
    pack_rows,
    packed,
    packed_rows,
    panel_width,
    panels_from,
    panels_of,
    round_up,
)
from charrnn.kernels.product cimport multiply
