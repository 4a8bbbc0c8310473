"""What Python sees of the compiled kernels of one build: see charrnn.kernels."""
import numpy as np

from charrnn.kernels.simd cimport LANES, REAL_IS_DOUBLE

DTYPE = np.dtype(np.float64 if REAL_IS_DOUBLE else np.float32)
VECTOR_LENGTH = LANES

# One translation unit for each build, so that kernels are inlined wherever they are used. Each file uses those before.
include "checks.pxi"
include "network.pxi"
include "engine.pxi"
include "trainer.pxi"
include "sampler.pxi"
include "functions.pxi"
include "optimizers.pxi"
include "cells.pxi"
