"""What the CPU has, what it can do at most, and what is said where the kernels fall short of it."""

import functools
import operator
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn import bench, kernels
from charrnn.kernels import cpu
from charrnn.train import train

#: The features of each level beside those of the one below: (word of level_by_features, bit).
FEATURES = {
    2: {"sse3": (0, 0), "ssse3": (0, 9), "cx16": (0, 13), "sse4_1": (0, 19), "sse4_2": (0, 20), "popcnt": (0, 23)}
    | {"lahf_lm": (2, 0)},
    3: {"fma": (0, 12), "movbe": (0, 22), "osxsave": (0, 27), "avx": (0, 28), "f16c": (0, 29)}
    | {"bmi1": (1, 3), "avx2": (1, 5), "bmi2": (1, 8), "lzcnt": (2, 5), "saved xmm": (3, 1), "saved ymm": (3, 2)},
    4: {"avx512f": (1, 16), "avx512dq": (1, 17), "avx512cd": (1, 28), "avx512bw": (1, 30), "avx512vl": (1, 31)}
    | {"saved masks": (3, 5), "saved zmm0 to 15": (3, 6), "saved zmm16 to 31": (3, 7)},
}
EVERY = [(level, name) for level, features in FEATURES.items() for name in features]


def level_of(bits) -> int:
    words = [functools.reduce(operator.or_, (1 << bit for word, bit in bits if word == i), 0) for i in range(4)]
    return cpu.level_by_features(*words)


def bits_up_to(level: int) -> list[tuple[int, int]]:
    return [bit for needed, features in FEATURES.items() for bit in features.values() if needed <= level]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_level_is_all_of_its_features(level):
    assert level_of(bits_up_to(level)) == level


@pytest.mark.parametrize(("level", "name"), EVERY, ids=[name for _, name in EVERY])
def test_a_cpu_without_one_feature_is_below_the_level_that_has_it(level, name):
    assert level_of(set(bits_up_to(4)) - {FEATURES[level][name]}) == level - 1


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs /proc/cpuinfo")
def test_the_level_is_that_of_the_flags_that_linux_names():
    found = re.search(r"^flags\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    flags = {{"pni": "sse3", "abm": "lzcnt"}.get(flag, flag) for flag in (found[1] if found else "").split()}
    names = {level: {n for n in FEATURES[level] if not n.startswith(("saved", "osxsave"))} for level in FEATURES}
    level = 1 if found else 0
    while level and level < 4 and names[level + 1] <= flags:
        level += 1
    assert kernels.x86_64_level() == level


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="needs qemu-x86_64, of qemu-user")
@pytest.mark.parametrize("missing", ["abm", "movbe", "f16c"])
def test_a_hypervisor_that_hides_a_feature_gets_kernels_without_it(missing):
    code = (  # the module by itself: perhaps no kernels for level 2 are installed
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('charrnn.kernels.cpu', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(module.x86_64_level())"
    )
    command = ["qemu-x86_64", "-cpu", f"Haswell,-{missing}", sys.executable, "-c", code, cpu.__file__]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.stdout == "2\n", run.stderr


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_peak_is_above_what_the_product_of_this_build_reaches(dtype):
    size = 256
    network = kernels.Network(2, size, 1, dtype=dtype)
    parameters, gradients = np.zeros((2, network.arena_size), dtype)
    inputs = np.zeros((8, 64), int)
    peak = kernels.fma_peak(0.05, dtype)
    speed = bench.steps_per_second(
        lambda n: [kernels.bptt(network, parameters, inputs, inputs, gradients) for _ in range(n)], 0.2
    )
    assert speed * 6 * inputs.size * size * size < peak


def test_the_peak_is_twice_as_high_for_numbers_of_half_the_size():
    ratios = [kernels.fma_peak(0.02, "float32") / kernels.fma_peak(0.02, "float64") for _ in range(5)]
    assert 1.3 < sorted(ratios)[2] < 3


def test_a_build_that_is_as_good_as_the_cpu_needs_no_words(monkeypatch):
    for level, build in enumerate(["generic", "generic", "x86-64-v2", "x86-64-v3", "x86-64-v4"]):
        monkeypatch.setattr(kernels, "x86_64_level", lambda level=level: level)
        monkeypatch.setattr(kernels, "BUILD", build)
        assert kernels.slow_because() == ""


@pytest.mark.parametrize("build", ["generic", "x86-64-v2", "x86-64-v3"])
def test_a_build_below_the_cpu_is_named(monkeypatch, build):
    monkeypatch.setattr(kernels, "x86_64_level", lambda: 4)
    monkeypatch.setattr(kernels, "BUILD", build)
    sentence = f"the kernels are those for {build}, and this CPU runs those for x86-64-v4"
    assert kernels.slow_because() == sentence
    assert f"\nslow     {sentence}\n" in bench.table(bench.bench([], num_threads=1, seconds=0.01))


def test_kernels_without_vectors_say_so_in_the_table_and_in_training(monkeypatch):
    monkeypatch.setattr(kernels, "VECTOR_LENGTH", 1)
    result = bench.bench([], num_threads=1, seconds=0.01)
    assert "compiled without vectors" in result.slow_because
    assert "in vectors of 1\n" in bench.table(result)
    with pytest.warns(RuntimeWarning, match="compiled without vectors.*clang-cl"):
        train("hello world", hidden_size=4, epochs=1, progress=False)


def test_the_vectors_of_a_build_are_those_of_its_instruction_set():
    lengths = {"x86-64-v4": 16, "x86-64-v3": 8, "x86-64-v2": 4}
    for build, length in lengths.items():
        module = kernels._import(build, "float32") if kernels.BUILDS[build] <= kernels.x86_64_level() else None
        assert module is None or module.VECTOR_LENGTH == length
    assert kernels.module("float64").VECTOR_LENGTH == max(kernels.VECTOR_LENGTH // 2, 1)
