"""Builds dense.pyx against an installed charrnn: python setup.py build_ext --inplace"""

from Cython.Build import cythonize
from setuptools import Extension, setup

from charrnn import kernels

setup(
    name="dense",
    py_modules=[],
    ext_modules=cythonize(
        # The C compiler finds simd.h there. -march=native (or /arch:AVX2) makes its vectors wider.
        Extension("dense", ["dense.pyx"], include_dirs=[kernels.get_include()])
    ),
)
