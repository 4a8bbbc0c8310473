"""How far exp and tanh are from the correctly rounded result, in every build that this CPU runs.

The error is |result - exact| in units in the last place (ulp) of the exact result. A correctly rounded function has
0.5; glibc's expf and tanhf have 0.5 to 1.5. What is exact comes from a wider type: float64 for float32, x87's
80 bits for float64.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_kernels import DTYPES, MODULES

#: Just above what is measured: exp where the result is a normal number, exp where it is subnormal, tanh.
MAX_ULP = {
    "float32": {"exp": 1.0, "exp to subnormals": 1.0, "tanh": 3.0},
    "float64": {"exp": 1.0, "exp to subnormals": 1.0, "tanh": 3.0},
}


def modules(dtype: str) -> dict:
    return {name: module for name, module in MODULES.items() if module.DTYPE == dtype}


EVERY_MODULE = pytest.mark.parametrize("kernels", MODULES.values(), ids=MODULES.keys())
