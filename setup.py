"""Builds the extensions and nothing else; the metadata is in pyproject.toml.

Cython translates kernels.pyx to C once. That C is compiled for each instruction set (on x86-64 the levels v2, v3 and
v4; elsewhere the compiler's own choice) and for float32 and float64, each into a module of its own: charrnn.kernels
picks one at import. On Windows clang-cl compiles, where it is installed; Microsoft's own compiler has no vector types
and makes a single build that is some fifteen times slower. `pip install -v .` shows what is being compiled.

CHARRNN_BUILDS=x86-64-v3 compiles that instruction set alone; several are separated by commas. CHARRNN_DEBUG=undefined,
address or thread builds slowly running code that ends the process at undefined behaviour, and with the second at an
access beyond an array, with the third at a race between threads; all of them have Cython's bounds checks. The last two
need the compiler's library preloaded: .ci/run shows how.
"""

import logging
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

KERNELS = Path("charrnn/kernels")
PLATFORM = sysconfig.get_platform()

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
    "freethreading_compatible": True,
}

# FMA contraction but no -ffast-math: that breaks NaN checks and sets flush-to-zero for the whole process.
FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-w"]
LINK_FLAGS = []
if DEBUG:
    LINK_FLAGS = [f"-fsanitize={SANITIZERS[DEBUG]}", "-fno-sanitize-recover=undefined", "-fno-sanitize=alignment"]
    FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-Wno-attributes", *LINK_FLAGS]

LEVELS = {
    "x86-64-v2": ["-march=x86-64-v2"],
    "x86-64-v3": ["-march=x86-64-v3"],
    "x86-64-v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}


def clang_cl():
    """clang-cl from the PATH, from LLVM's installer or from Visual Studio's component "C++ Clang tools"; or None."""
    found = shutil.which("clang-cl")
    host = "ARM64" if "arm64" in PLATFORM else "x64"
    for variable in ("ProgramFiles", "ProgramFiles(x86)"):
        for pattern in ("LLVM/bin", f"Microsoft Visual Studio/*/*/VC/Tools/Llvm/{host}/bin"):
            for path in Path(os.environ.get(variable, ".")).glob(f"{pattern}/clang-cl.exe"):
                found = found or str(path)
    return found


def builds(platform, vectors=True):
    """The flags of each build for a platform as sysconfig names it: linux-x86_64, macosx-11.0-universal2, win-amd64."""
    if vectors and platform.endswith(("-x86_64", "-amd64")):
        return LEVELS
    if platform.endswith("-universal2"):
        # setuptools drops its own -arch flags, which are for both kinds of Mac, where an extension has some.
        return {level: ["-arch", "x86_64", *flags] for level, flags in LEVELS.items()} | {"generic": []}
    return {"generic": []}


def chosen(available):
    """The builds that CHARRNN_BUILDS names, or all of them."""
    wanted = os.environ.get("CHARRNN_BUILDS") or ",".join(available)
    for level in wanted.split(","):
        if level not in available:
            raise SystemExit(f"CHARRNN_BUILDS must name some of {', '.join(available)}, got {level!r}")
    return {level: available[level] for level in wanted.split(",")}


CLANG_CL = clang_cl() if PLATFORM.startswith("win") else None
BUILDS = chosen(builds(PLATFORM, vectors=CLANG_CL is not None or not PLATFORM.startswith("win")))


class Kernels(Extension):
    """kernels.pyx for an instruction set and a number type."""

    def __init__(self, level, dtype):
        super().__init__(f"charrnn.kernels._{level.replace('-', '_')}_{dtype}", [f"{KERNELS}/kernels.pyx"])
        self.level, self.dtype = level, dtype
        self.include_dirs = [str(KERNELS)]
        files = (path for pattern in ("*.h", "*.pxd", "*.pxi") for path in KERNELS.glob(pattern))
        self.depends = [str(path) for path in files if path.name != "cpu.h"]
        self.extra_compile_args = FLAGS + BUILDS[level]
        self.extra_link_args = LINK_FLAGS + [flag for flag in BUILDS[level] if flag in ("-arch", "x86_64")]

    def take(self, translated):
        """Compile C that was made for all builds: the module's name and number type are said before it."""
        module = self.name.rpartition(".")[2]
        source = Path("build", module, "kernels.c")
        lines = [f"#define PyInit_kernels PyInit_{module}", f'#include "{Path(translated).absolute().as_posix()}"']
        if self.dtype == "float64":
            lines.insert(0, "#define CHARRNN_FLOAT64")
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("\n".join([*lines, ""]))
        self.depends = [*self.depends, translated]
        self.sources = [str(source)]


class kernels_build_ext(build_ext):
    """Translates each Cython source once, and compiles as many extensions at a time as there are cores."""

    def finalize_options(self):
        super().finalize_options()
        if self.parallel is None:
            self.parallel = os.cpu_count()

    def build_extensions(self):
        self.announce("charrnn: translating the kernels to C", logging.INFO)
        sources = {extension.sources[0]: extension.name.rpartition(".")[0] for extension in self.extensions}
        named = [Extension(f"{package}.{Path(path).stem}", [path]) for path, package in sources.items()]
        made = cythonize(named, build_dir=f"build/cython{DEBUG}", compiler_directives=DIRECTIVES, quiet=True)
        translated = dict(zip(sources, (extension.sources[0] for extension in made), strict=True))
        for extension in self.extensions:
            if isinstance(extension, Kernels):
                extension.take(translated[extension.sources[0]])
            else:
                extension.sources = [translated[extension.sources[0]]]
        self._fit_the_compiler()
        count, cores = len(self.extensions), self.parallel
        self.announce(f"charrnn: compiling {count} modules on {cores} cores; most take some 15 seconds", logging.INFO)
        super().build_extensions()

    def _fit_the_compiler(self):
        if self.compiler.compiler_type == "msvc":
            self._take_clang_cl()
        elif not is_clang(self.compiler.compiler_so[0]):
            # A row of zeros is a store or two: as a call or a string instruction it takes ten times as long.
            for extension in self.extensions:
                extension.extra_compile_args.append("-fno-tree-loop-distribute-patterns")

    def _take_clang_cl(self):
        if not self.compiler.initialized:
            self.compiler.initialize(self.plat_name)
        if CLANG_CL is None:
            self.warn("clang-cl was not found: Microsoft's compiler makes kernels that are some 15 times slower")
        else:
            self.compiler.cc = CLANG_CL
            self.compiler.compile_options.remove("/GL")  # optimization by Microsoft's linker
        machine = {"win-arm64": "aarch64", "win32": "i686"}.get(self.plat_name, "x86_64")
        for extension in self.extensions:
            flags = [f"--target={machine}-pc-windows-msvc"]
            flags += [f"/clang:{flag}" for flag in extension.extra_compile_args]
            extension.extra_compile_args = flags if CLANG_CL else []


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
        Extension(
            "charrnn.kernels.cpu",
            [f"{KERNELS}/cpu.pyx"],
            include_dirs=[str(KERNELS)],
            depends=[f"{KERNELS}/cpu.h"],
            extra_compile_args=FLAGS,
            extra_link_args=LINK_FLAGS,
        ),
        *(Kernels(level, dtype) for level in BUILDS for dtype in ("float32", "float64")),
    ],
    cmdclass={"build_ext": kernels_build_ext, "sdist": sources_and_tests},
)
