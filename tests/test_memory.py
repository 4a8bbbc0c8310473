"""Memory: training takes what the text takes and little more; nothing is left behind."""

import json
import os
import subprocess
import sys

import pytest
from peak import ENVIRONMENT

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system"),
    pytest.mark.skipif("san.so" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer takes memory of its own"),
]

#: Of the generated text; a gigabyte by hand.
MEGABYTES = int(os.environ.get("CHARRNN_TEST_MEGABYTES", "100"))

TRAINING = """
import json, sys, time
from pathlib import Path
import numpy as np
import charrnn.train
from peak import peak_memory

kind, path, megabytes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
alphabet = {"ascii": "etaoin shrdlu\\n", "latin": "éèàüöß etaoin", "wide": "".join(map(chr, range(200, 1200)))}[kind]
block = "".join(np.random.default_rng(0).choice(list(alphabet), 10_000)) * 10
encoded, num_chars = block.encode(), 0
with open(path, "wb") as file:
    while file.tell() < megabytes * 10**6:
        file.write(encoded)
        num_chars += len(block)

before, start, seconds = peak_memory(), time.perf_counter(), []
charrnn.train.train(path, hidden_size=64, epochs=0.002, val_fraction=0.0005, checkpoint=path.with_suffix(".checkpoint"),
                    callback=lambda report: seconds.append(report.seconds), progress=False)
print(json.dumps({"num_chars": num_chars, "taken": peak_memory() - before, "read": seconds[0]}))
"""

#: Documents of 7 characters on average, from a file or a generator, and what a training takes that goes on into a
#: second epoch,
#: so that their order is drawn anew.
DOCUMENTS = """
import json, sys, time
from pathlib import Path
import numpy as np
import charrnn, charrnn.train
from peak import peak_memory

kind, path, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)

def names():
    for _ in range(count // 1000):
        letters = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 14_000))
        ends = rng.integers(1, 14, 1000).cumsum().tolist()
        yield from (letters[a:b] for a, b in zip([0, *ends], ends))

if kind == "file":
    with open(path, "w") as file:
        file.writelines(name + "\\n" for name in names())
    data = charrnn.documents(path)
else:
    data = names()
before, reports, start = peak_memory(), [], time.perf_counter()
charrnn.train.train(data, cell="rnn", hidden_size=4, batch_size=500, seq_length=64, epochs=1.01, progress=False,
                    callback=reports.append)
print(json.dumps({"num_chars": reports[0].num_chars, "taken": peak_memory() - before, "base": before,
                  "read": reports[0].seconds, "seconds": time.perf_counter() - start}))
"""

CHURN = """
import sys
import charrnn, charrnn.train
import inside
from peak import peak_memory

inside.give_every_thread_work()

def use(i):
    cell = ("rnn", "gru", "lstm")[i % 3]
    model = charrnn.train.train("hello world", cell=cell, hidden_size=4, epochs=1, seed=i, num_threads=1 + i % 2,
                                progress=False, checkpoint=sys.argv[1] + ".checkpoint" if i % 10 == 0 else None)
    model.save(sys.argv[1])
    model = charrnn.load(sys.argv[1])
    model.sample("h", 10, rng=i)
    list(model.stream("h", 3))
    model.sample_many(2, 5)
    model.evaluate("hello")
    model.loss_and_grad([[0]], [[1]])
    try:
        model.sample("x")
    except ValueError:
        pass
    try:
        charrnn.train.train("hello world", hidden_size=4, learning_rate=1e9, optimizer="sgd", epochs=50, clip_norm=None)
    except charrnn.DivergenceError:
        pass

for i in range(300):
    use(i)
before = peak_memory()
for i in range(int(sys.argv[2])):
    use(i)
print(peak_memory() - before)
"""


def run(program, *arguments):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("kind, bytes_per_char", [("ascii", 0), ("latin", 1), ("wide", 2)])
def test_training_takes_the_memory_of_the_indices_and_70_megabytes(tmp_path, kind, bytes_per_char):
    result = run(TRAINING, kind, tmp_path / "text", MEGABYTES)
    # A mapped file is the system's to hold, and what was read of it is given back; of other files the indices are held.
    # Whoever reads the file as a whole, once, takes 100 MB more.
    assert result["taken"] < bytes_per_char * result["num_chars"] + 70e6, result


def test_thousands_of_trainings_samples_saves_and_loads_leave_nothing_behind(tmp_path):
    assert run(CHURN, tmp_path / "model", os.environ.get("CHARRNN_TEST_TRAININGS", "1000")) < 5e6


@pytest.mark.parametrize("kind", ["file", "generator"])
def test_ten_million_documents_would_take_the_size_of_their_text_and_200_megabytes(tmp_path, kind):
    """From what half a million and a million take: the slope, and what does not depend on their number."""
    few, many = (run(DOCUMENTS, kind, tmp_path / "names", count) for count in (500_000, 1_000_000))
    slope = (many["taken"] - few["taken"]) / 500_000
    text = (many["num_chars"] - few["num_chars"]) / 500_000 + 1
    assert slope * 10**7 + many["taken"] - slope * 10**6 < text * 10**7 + 150e6, (few, many)
