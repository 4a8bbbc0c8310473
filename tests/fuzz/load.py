"""A target for atheris: whatever is in a model file, it is a model or a ModelFileError.

    pip install atheris
    python tests/fuzz/load.py -max_total_time=300

(atheris has wheels for CPython up to 3.13 on Linux.) Inputs that end otherwise are written into the current folder. The
first files to vary are small models of each cell, made here; a folder of others may be named as an argument.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["charrnn"]):
    import charrnn
    from charrnn import CharRNN, ModelFileError, Vocabulary, files

FOLDER = Path(tempfile.mkdtemp())


def load(content: bytes) -> None:
    path = FOLDER / "model"
    path.write_bytes(content)
    try:
        model = charrnn.load(path)
    except ModelFileError:
        return
    model.sample("", 3, top_p=0.9, rng=0)


def checkpoint(content: bytes) -> None:
    path = FOLDER / "checkpoint"
    path.write_bytes(content)
    try:
        files.read(path, kind="checkpoint")
    except ModelFileError:
        pass


def target(content: bytes) -> None:
    load(content)
    checkpoint(content)


def main() -> None:
    seeds = FOLDER / "seeds"
    seeds.mkdir()
    for cell in ("rnn", "gru", "lstm"):
        for end in (False, True):
            CharRNN(Vocabulary("ab", end=end), cell=cell, hidden_size=2).save(seeds / f"{cell}-{end}")
    atheris.Setup([*sys.argv, str(seeds)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
