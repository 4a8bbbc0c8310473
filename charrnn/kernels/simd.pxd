"""The number type of this build, its vector, and the height of the register tile. See simd.h."""

cdef extern from "simd.h" nogil:
    ctypedef double real
    ctypedef double vreal
    ctypedef int inlined "inlined_int"
    enum:
        LANES
        COPIES
        REAL_IS_DOUBLE
        HAS_TRANSPOSE
        TILE_ROWS
    real ROUNDER
    real real_sqrt(real x)
    vreal vload(const real *source)
    void vstore(real *destination, vreal x)
    vreal vsplat(real x)
    vreal held(vreal x)
    real vlane(vreal x, int lane)
    void prefetch(const real *address)
    vreal vmin(vreal x, vreal bound)
    vreal vmax(vreal x, vreal bound)
    vreal vpow2(vreal shifted)
    void vtranspose(vreal *rows)
    real vsum(vreal x)
