"""The programs in tests/examples run, and do what they say."""

import runpy
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

import charrnn.train

EXAMPLES = Path(__file__).parent / "examples"
README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def run(monkeypatch, capsys):
    def run(name, *arguments):
        """The lines that it prints."""
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*")), ids=lambda path: path.name)
def test_readme_links_every_example(path):
    if path.name != "__pycache__":
        assert f"(tests/examples/{path.name})" in README.read_text("utf-8")


def test_names_are_invented(run):
    names = run("names.py")
    assert len(names) > 10
    assert not set(names) & sys.stdlib_module_names


def test_names_of_a_file(run, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(f"{a}{b}{c}" for a in "bdg" for b in "aeiou" for c in ("n", "ra", "lo")))
    assert all(set(name) <= set("bdgaeiounrl") for name in run("names.py", str(path)))


def test_words_are_told_from_gibberish(run):
    summary, *words = run("gibberish.py", "statement", "naming", "qzxvkw", "tnmetaste")
    passed = int(summary.split("%")[1].split()[-1])
    assert passed < 15
    assert [line.split(maxsplit=2)[2] for line in words] == ["a word", "a word", "gibberish", "gibberish"]


def test_a_loop_of_ones_own_learns(run):
    *_, trained, sample = run("custom_loop.py")
    assert float(trained.split()[1]) < 0.1
    assert sample == "brown fox jumps over the lazy dog. pack "


def test_fine_tuning_beats_either_text_alone(run):
    much, little, both = (float(line.split()[-4]) for line in run("fine_tune.py"))
    assert both < min(much, little) - 0.1


def test_pytorch_gives_the_same_logits(run):
    pytest.importorskip("torch", reason="needs PyTorch")
    assert float(run("to_pytorch.py")[-1].split()[-1]) < 1e-5


def test_a_web_server_samples_in_many_threads():
    model = charrnn.train.train("hello world\n" * 5, progress=False)
    server = runpy.run_path(str(EXAMPLES / "web_server.py"))["server"](model)

    def get(**query):
        with urlopen(f"http://127.0.0.1:{server.server_address[1]}/?{urlencode(query)}") as answer:
            return answer.read().decode()

    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with ThreadPoolExecutor(8) as pool:
            texts = list(pool.map(lambda seed: get(prompt="hello", length=300, seed=seed), range(40)))
        assert texts == [model.sample("hello", 300, rng=seed) for seed in range(40)]
        with pytest.raises(HTTPError, match="400") as error:
            get(prompt="hello, world")
        assert error.value.read().decode().startswith("',' at position 5 of the prompt is not among the")
        server.shutdown()
