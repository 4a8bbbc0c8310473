"""The peak of a process's memory."""

import os
import sys
from pathlib import Path

#: In which a test starts programs that import this.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}


def peak_memory() -> int:
    """Bytes that have been resident at most.

    On Linux from /proc: getrusage counts what the process that started this one had, so that a large one hides all.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
