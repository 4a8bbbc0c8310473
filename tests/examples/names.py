"""Invents names like those of a list: python names.py [FILE with one name a line]

Without a file it learns the names of the modules of Python's standard library.
"""

import sys
from pathlib import Path

import charrnn.train


def main() -> None:
    if len(sys.argv) > 1:
        names = Path(sys.argv[1]).read_text("utf-8").splitlines()
    else:
        names = sorted(name for name in sys.stdlib_module_names if not name.startswith("_"))
    # An iterable of str is a set of documents: the model learns where a name ends as well.
    model = charrnn.train.train(names, epochs=40, seed=0)
    known = set(names)
    # Below 1 the temperature keeps to what is probable. Some names come out as they were learned.
    invented = {name for name in model.sample_many(100, temperature=0.8, rng=0) if name and name not in known}
    for name in sorted(invented)[:20]:
        print(name)


if __name__ == "__main__":
    main()
