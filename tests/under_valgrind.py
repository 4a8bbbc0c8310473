"""A little of everything under valgrind: `python tests/under_valgrind.py`, where valgrind is installed.

Only what passes through the extension modules of charrnn counts: on some builds of Python valgrind finds fault with
the interpreter itself, before it has imported anything.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import inside

OPTIONS = ["--quiet", "--error-limit=no", "--track-origins=yes", "--xml=yes"]


def work(path):
    import charrnn
    import charrnn.train

    inside.give_every_thread_work()
    for cell in ("rnn", "gru", "lstm"):
        for data in ("hello world" * 3, ["to", "be", ""] * 4):
            sizes = dict(cell=cell, hidden_size=9, num_layers=2, dropout=0.2, batch_size=3, seq_length=4)
            model = charrnn.train.train(data, epochs=2, num_threads=2, progress=False, **sizes)
            model.save(path)
            model = charrnn.load(path)
            model.sample_many(3, 5, top_k=3, top_p=0.9, rng=0)
            model.loss_and_grad([[0, 1], [1, 0]], [[1, 0], [0, 1]])
            model.evaluate(data)


def overrun():
    """An extension module reads beyond an array."""
    import numpy as np

    from charrnn import kernels

    kernels.softmax(np.lib.stride_tricks.as_strided(np.zeros((1, 100), np.float32), (1, 120)))


def errors(what):
    """What valgrind reports of charrnn's extension modules while this file runs as `what`: a stack of calls each.

    Leaks are left to the test that looks at the memory of ten thousand trainings: a module's constants count here.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, model = Path(folder) / "report.xml", Path(folder) / "model.safetensors"
        subprocess.run(
            ["valgrind", *OPTIONS, f"--xml-file={report}", sys.executable, __file__, what, model],
            env={**os.environ, "PYTHONMALLOC": "malloc"},
            check=True,
        )
        found = [e for e in ElementTree.parse(report).iter("error") if not e.findtext("kind").startswith("Leak")]
    return [
        "\n    ".join([e.findtext("kind"), *(f"{f.findtext('fn')} in {f.findtext('obj')}" for f in e.iter("frame"))])
        for e in found
        if any("/charrnn/kernels/" in (obj.text or "") for obj in e.iter("obj"))
    ]


def main():
    if sys.argv[1:]:
        return overrun() if sys.argv[1] == "overrun" else work(sys.argv[2])
    if not errors("overrun"):
        return "valgrind does not report an error that was made on purpose"
    found = errors("work")
    return "\n".join([*found, f"valgrind reports {len(found)} errors"]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
