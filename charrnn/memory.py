"""How much memory there is: what cannot fit is refused at once, before the system kills the process for it."""

from __future__ import annotations

import os
from pathlib import Path

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
