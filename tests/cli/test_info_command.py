"""`charrnn info`."""

from __future__ import annotations

from pathlib import Path

import pytest

import charrnn
from charrnn.cli import main
from charrnn.cli.info import _legible
from charrnn.train import train


@pytest.mark.parametrize(
    ("characters", "shown"),
    [
        ("\n !abcdexyz~", "\\n space ! a-e x y z ~"),
        ("".join(map(chr, range(32, 127))), "space !-~"),
        ("edrlhw o", "e d r l h w space o"),
        ("\x00\x01\x02\x03\x04", "\\x00-\\x04"),
    ],
)
def test_characters_are_shown_in_their_order_neighbours_as_ranges(characters: str, shown: str) -> None:
    assert _legible(characters) == shown


def test_ten_thousand_characters_are_shown_on_a_screen() -> None:
    assert len(_legible("".join(map(chr, range(0x4E00, 0x4E00 + 30_000, 3)))).splitlines()) < 20


def test_what_a_model_was_made_of_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tunes.abc"
    path.write_text("\n\n".join(f"X:{i}\nabc" for i in range(10, 40)) + "\n", "utf-8")
    documents = charrnn.documents(path, separator="\n\n")
    train(documents, hidden_size=4, epochs=2, val_fraction=0.4, seed=7, progress=False).save(tmp_path / "model")
    assert main(["info", str(tmp_path / "model")]) == 0
    shown = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in capsys.readouterr().out.splitlines()}
    assert shown["text"] == "tunes.abc, 30 documents, 240 characters"
    assert shown["cut by"] == "separator '\\n\\n'"
    assert shown["training"].startswith("2 epochs, ")
    assert shown["validation"].endswith(" bits per character, of 96")
    assert "seed 7" in " ".join(shown.values())
    assert shown["charrnn"] == charrnn.__version__


def test_of_an_older_model_nothing_is_made_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    charrnn.CharRNN("abc", hidden_size=4).save(tmp_path / "model")
    assert main(["info", str(tmp_path / "model")]) == 0
    assert "text " not in capsys.readouterr().out.replace("a text", "")
