"""What the machine gives this process: cores and memory, by its affinity and its cgroup.

How many threads a calculation is worth, and whether it fits: what cannot fit is refused at once, before the system
kills the process for it. Nothing here knows what is calculated.
"""

from __future__ import annotations

import os
from pathlib import Path

from charrnn.errors import integer

OPERATIONS_WORTH_A_THREAD = 1e7


def num_threads_or_default(num_threads: int | None) -> int:
    """num_threads, or CHARRNN_NUM_THREADS from the environment, or the cores that this process may use."""
    if num_threads is not None:
        return integer("num_threads", num_threads, 1, 1024)
    from_environment = os.environ.get("CHARRNN_NUM_THREADS")
    if from_environment:
        try:
            return integer("CHARRNN_NUM_THREADS", int(from_environment), 1, 1024)
        except ValueError:
            rule = "CHARRNN_NUM_THREADS must be a whole number from 1 to 1024"
            raise ValueError(f"{rule}, got {from_environment!r}") from None
    return available_cores()


def threads_worth(num_threads: int | None, operations: float) -> int:
    """How many of these, or of the default number of, threads have a tenth of a millisecond to do, where a step takes
    so many operations.

    The bits of a result do not depend on it, and threads that wait for one another all the time are slower than one.
    """
    worth = int(operations / OPERATIONS_WORTH_A_THREAD)
    return min(num_threads_or_default(num_threads), worth) if worth > 1 else 1


def available_cores() -> int:
    """Cores by the process's affinity and, on Linux, its cgroup's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return max(cores, 1)


#: What a process can address on today's 64-bit systems.
ADDRESSABLE = 1 << 47
#: Bytes that are there wherever Python runs: to ask would take as long as to score a word.
ALWAYS = 1 << 23


def memory_size() -> int:
    """Bytes of memory that this process can have at most.

    Windows does not tell, but there an array that does not fit is a MemoryError at once.
    """
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        size = ADDRESSABLE
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            size = min(size, int(limit))
    except (OSError, ValueError):
        pass
    return size


def check_memory(num_bytes: float, **sizes: int) -> None:
    """ValueError with these sizes where what they need does not fit."""
    if num_bytes > ALWAYS and num_bytes > (available := memory_size()):
        names, values = ", ".join(sizes), ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(
            f"{names} must fit in memory, got {values}, which need {num_bytes:,.0f} bytes of {available:,}"
        )
