"""What the machine gives this process: cores and memory, by its affinity and its cgroups.

How many threads a calculation is worth, and whether it fits: what cannot fit is refused at once, before the system
kills the process for it. Nothing here knows what is calculated.

By hand, for charrnn needs three packages and no more: loky.cpu_count and psutil know most of this too, but neither
looks at the cgroups above a process's own.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from charrnn.errors import TooLargeError, integer

OPERATIONS_WORTH_A_THREAD = 1e7
#: What a process can address on today's 64-bit systems.
ADDRESSABLE = 1 << 47
#: Smaller requests are not checked: to read the limit takes as long as to score a word.
UNCHECKED_BYTES = 1 << 23

PROCESS = Path("/proc/self")
DEVICES = Path("/sys/devices")


# Threads ------------------------------------------------------------------------------------------------------------


def num_threads_or_default(num_threads: int | None) -> int:
    """num_threads, or CHARRNN_NUM_THREADS from the environment, but no more than there are CPUs to run them; by default
    one for each physical core that this process may use.

    The bits of a result do not depend on it, and threads that share a CPU are slower together than one of them.
    """
    from_environment = os.environ.get("CHARRNN_NUM_THREADS")
    if num_threads is not None:
        asked = integer("num_threads", num_threads, 1, 1024)
    elif from_environment:
        try:
            asked = integer("CHARRNN_NUM_THREADS", int(from_environment), 1, 1024)
        except ValueError:
            rule = "CHARRNN_NUM_THREADS must be a whole number from 1 to 1024"
            raise ValueError(f"{rule}, got {from_environment!r}") from None
    else:
        asked = physical_cores(_affinity())
    return min(asked, available_cpus())


def threads_worth(num_threads: int | None, operations: float) -> int:
    """The number of threads to start so that each gets at least 0.1 ms of work (10^7 operations) per step."""
    worth = int(operations / OPERATIONS_WORTH_A_THREAD)
    return min(num_threads_or_default(num_threads), worth) if worth > 1 else 1


def available_cpus() -> int:
    """Logical CPUs that this process may keep busy: by its affinity and, on Linux, the quotas of its cgroups."""
    return max(1, min(len(_affinity()) or os.cpu_count() or 1, _cpu_quota()))


def physical_cores(cpus: frozenset[int]) -> int:
    """Cores to which these logical CPUs belong, where there are fast and slow ones the fast ones alone.

    Two threads of a core share its multipliers, of which the kernels leave nothing over; and the work is cut into equal
    parts, so that fast cores would wait for slow ones.
    """
    if sys.platform == "darwin":
        return _sysctl("hw.perflevel0.physicalcpu") or _sysctl("hw.physicalcpu") or os.cpu_count() or 1
    if sys.platform == "win32":
        return _windows_cores() or os.cpu_count() or 1
    fast = cpus - _slow_cpus()
    return len({_siblings(cpu) for cpu in fast or cpus}) or os.cpu_count() or 1


def _affinity() -> frozenset[int]:
    """The CPUs that this process may run on; none where the system does not tell."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


@functools.cache
def _cpu_quota() -> int:
    """CPUs' worth of time that the cgroups allow: read once, for to read it takes as long as a short call."""
    quotas = [sys.maxsize]
    for folder, version in _cgroup_folders("cpu"):
        try:
            if version == 2:
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
            if quota != "max" and int(quota) > 0:
                quotas.append(-(-int(quota) // int(period)))
        except (OSError, ValueError):
            continue
    return min(quotas)


@functools.cache
def _siblings(cpu: int) -> str:
    """What all logical CPUs of a core have in common."""
    try:
        return (DEVICES / "system" / "cpu" / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


@functools.cache
def _slow_cpus() -> frozenset[int]:
    """The efficiency cores of a processor that has both kinds."""
    try:
        ranges = [part.split("-") for part in (DEVICES / "cpu_atom" / "cpus").read_text().split(",")]
        return frozenset(cpu for each in ranges for cpu in range(int(each[0]), int(each[-1]) + 1))
    except (OSError, ValueError):
        return frozenset()


def _sysctl(name: str) -> int:
    """A number that macOS knows by this name; 0 where it does not."""
    value, size = ctypes.c_int64(0), ctypes.c_size_t(8)
    try:
        failed = ctypes.CDLL(None).sysctlbyname(name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0)
    except (OSError, AttributeError):
        return 0
    return 0 if failed else value.value


def _windows_cores() -> int:
    """Cores of the fastest kind; 0 where Windows does not tell."""
    length, only_cores = ctypes.c_ulong(0), 0
    try:
        ask = ctypes.CDLL("kernel32").GetLogicalProcessorInformationEx
        ask(only_cores, None, ctypes.byref(length))
        records = ctypes.create_string_buffer(length.value)
        if not ask(only_cores, records, ctypes.byref(length)):
            return 0
    except (OSError, AttributeError):
        return 0
    return cores_in_records(records.raw[: length.value])


def cores_in_records(records: bytes) -> int:
    """Records of the fastest kind in what GetLogicalProcessorInformationEx tells of cores.

    Each begins with its kind, its size (32 bits each), flags and efficiency class (8 bits each; fast cores are high).

    Examples
    --------
    >>> slow, fast = (struct.pack("<IIBB30x", 0, 40, 0, kind) for kind in (0, 1))
    >>> cores_in_records(slow + fast + fast)
    2
    """
    classes, at = [], 0
    while at + 10 <= len(records):
        _, size, _, efficiency_class = struct.unpack_from("<IIBB", records, at)
        classes.append(efficiency_class)
        at += max(size, 10)
    return classes.count(max(classes, default=0))


# Memory -------------------------------------------------------------------------------------------------------------


def memory_size() -> int:
    """Bytes of memory that this process can have at most.

    Windows does not tell, but there an array that does not fit is a MemoryError at once.
    """
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        size = ADDRESSABLE
    for folder, version in _cgroup_folders("memory"):
        try:
            limit = (folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).read_text().strip()
            size = size if limit == "max" else min(size, int(limit))
        except (OSError, ValueError):
            continue
    return size


def check_memory(num_bytes: float, **sizes: int) -> None:
    """TooLargeError with these sizes where what they need does not fit."""
    if num_bytes > UNCHECKED_BYTES and num_bytes > (available := memory_size()):
        raise TooLargeError(sizes, num_bytes, available)


# Linux's control groups ---------------------------------------------------------------------------------------------


@functools.cache
def _cgroup_folders(controller: str) -> tuple[tuple[Path, int], ...]:
    """The folders of this process's cgroups, and of all above them that can be seen, and their versions, 1 or 2.

    A limit anywhere above a process binds it too.
    """
    try:
        groups = (PROCESS / "cgroup").read_text().splitlines()
        mounts = (PROCESS / "mountinfo").read_text().splitlines()
    except OSError:
        return ()
    return tuple(_folders_of(controller, groups, mounts))


def _folders_of(controller: str, groups: list[str], mounts: list[str]) -> Iterator[tuple[Path, int]]:
    paths = {}  # by controller; "" stands for all those of version 2
    for line in groups:
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    for line in mounts:
        fields, _, system = line.partition(" - ")
        root, mounted_at = fields.split()[3:5]
        kind, _, options = system.split(" ", 2)
        version = 2 if kind == "cgroup2" else 1
        name = "" if version == 2 else controller
        if name not in paths or (version == 1 and (kind != "cgroup" or controller not in options.split(","))):
            continue
        path = paths[name]
        # In a container the mount shows a part of the tree, or the path begins in one that is not to be seen.
        inside = path.startswith(root.rstrip("/") + "/") and ".." not in path
        below = Path(path[len(root.rstrip("/")) :].lstrip("/")) if inside else Path()
        for folder in (below, *below.parents):
            yield Path(mounted_at) / folder, version
