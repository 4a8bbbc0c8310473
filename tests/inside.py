"""Where tests reach into what is private of charrnn: found by its name, so that it may move from file to file."""

import sys


class Clock:
    """In place of time.perf_counter: each look at it takes so many seconds."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def __call__(self):
        self.now += self.seconds
        return self.now


def set_everywhere(name, value, replace=setattr):
    """Give the module constant of this name this value, wherever charrnn has it.

    `replace` is `monkeypatch.setattr` in a test, and by default lasts for the whole process.
    """
    modules = [module for path, module in list(sys.modules.items()) if path.split(".")[0] == "charrnn"]
    holders = [module for module in modules if name in vars(module)]
    if not holders:
        raise LookupError(f"no module of charrnn has {name}")
    for module in holders:
        replace(module, name, value)


def give_every_thread_work(replace=setattr):
    """From now on a step of a few operations is shared by as many threads as are asked for, on however many CPUs."""
    set_everywhere("OPERATIONS_WORTH_A_THREAD", 1, replace)
    set_everywhere("available_cpus", lambda: 1024, replace)


def record_threads(replace):
    """A dict of lists, to which every Trainer and Engine that is made from now on adds its number of threads."""
    from charrnn import kernels

    asked = {"Trainer": [], "Engine": []}
    for dtype in ("float32", "float64"):
        module = kernels.module(dtype)
        for kind in asked:
            replace(module, kind, _recording(getattr(module, kind), asked[kind]))
    return asked


def _recording(kind, asked):
    class Recording(kind):
        def __init__(self, *arguments, num_threads=1, **others):
            asked.append(num_threads)
            super().__init__(*arguments, num_threads=num_threads, **others)

    return Recording
