"""Builds the extensions and nothing else; the metadata is in pyproject.toml.

charrnn/kernels/kernels.pyx is compiled once for each instruction set (on Linux for x86-64: levels v2, v3 and v4;
elsewhere once for the compiler's own choice) and for float32 and float64. charrnn.kernels picks one at import.

CHARRNN_DEBUG=undefined, address or thread builds slowly running code that ends the process at undefined behaviour, and
with the second at an access beyond an array, with the third at a race between threads; all of them have Cython's bounds
checks. The last two need the compiler's library preloaded: .ci/run shows how. CHARRNN_BUILDS=x86-64-v3 compiles that
instruction set alone; several are separated by commas.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

DEBUG = os.environ.get("CHARRNN_DEBUG", "")
SANITIZERS = {"undefined": "undefined", "address": "address,undefined", "thread": "thread"}
if DEBUG and DEBUG not in SANITIZERS:
    raise SystemExit(f"CHARRNN_DEBUG must be one of {', '.join(SANITIZERS)}, got {DEBUG!r}")

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": bool(DEBUG),
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": bool(DEBUG),
    "freethreading_compatible": False,
}

if sys.platform == "win32":
    FLAGS = ["/O2"]
elif DEBUG:
    SANITIZE = [f"-fsanitize={SANITIZERS[DEBUG]}", "-fno-sanitize-recover=undefined", "-fno-sanitize=alignment"]
    FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", *SANITIZE]
else:
    # FMA contraction but no -ffast-math: that breaks NaN checks and sets flush-to-zero for the whole process.
    FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-attributes"]

if sysconfig.get_platform() == "linux-x86_64":
    LEVELS = {
        "x86-64-v2": ["-march=x86-64-v2"],
        "x86-64-v3": ["-march=x86-64-v3"],
        "x86-64-v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    }
else:
    LEVELS = {"generic": []}
if os.environ.get("CHARRNN_BUILDS"):
    LEVELS = {level: LEVELS[level] for level in os.environ["CHARRNN_BUILDS"].split(",")}


KERNELS = Path("charrnn/kernels")


def kernels(level, dtype):
    """The extension for an instruction set and a number type, from C code of its own."""
    name = f"_{level.replace('-', '_')}_{dtype}"
    source = Extension(f"charrnn.kernels.{name}", ["charrnn/kernels/kernels.pyx"])
    (extension,) = cythonize(source, build_dir=f"build/{name}", compiler_directives=DIRECTIVES, quiet=True)
    # Not before: cythonize hands what it finds in one Extension on to the next one of the same source.
    extension.include_dirs = ["charrnn/kernels"]
    extension.depends = [str(path) for pattern in ("*.h", "*.pxd", "*.pxi") for path in KERNELS.glob(pattern)]
    extension.define_macros = [("CHARRNN_FLOAT64", "1")] if dtype == "float64" else []
    extension.extra_compile_args = FLAGS + LEVELS[level]
    extension.extra_link_args = [flag for flag in FLAGS if flag.startswith("-fsanitize")]
    return extension


class kernels_build_ext(build_ext):
    """Compiles as many extensions at a time as there are cores."""

    def finalize_options(self):
        super().finalize_options()
        if self.parallel is None:
            self.parallel = os.cpu_count()

    def build_extensions(self):
        if self.compiler.compiler_type == "unix" and not is_clang(self.compiler.compiler_so[0]):
            # A row of zeros is a store or two: as a call or a string instruction it takes ten times as long.
            for extension in self.extensions:
                extension.extra_compile_args.append("-fno-tree-loop-distribute-patterns")
        super().build_extensions()


def is_clang(compiler):
    return "clang" in subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout


class sources_and_tests(sdist):
    """Packs the tests, by which a wheel that is built from it can be tried, and not the C code that Cython made."""

    def make_distribution(self):
        tests = (path for path in Path("tests").rglob("*") if path.is_file() and path.suffix not in (".pyc", ".so"))
        files = {str(Path(name)) for name in self.filelist.files} | set(map(str, tests))
        self.filelist.files = sorted(name for name in files if Path(name).parts[0] != "build")
        super().make_distribution()


setup(
    ext_modules=[
        *cythonize(Extension("charrnn.kernels.cpu", ["charrnn/kernels/cpu.pyx"]), build_dir="build/cpu", quiet=True),
        *(kernels(level, dtype) for level in LEVELS for dtype in ("float32", "float64")),
    ],
    cmdclass={"build_ext": kernels_build_ext, "sdist": sources_and_tests},
)
