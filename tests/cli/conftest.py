"""What every test of the command line relies on."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import NAMES, TEXT

from charrnn.train import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hello.safetensors knows "hello world", names.safetensors NAMES; names.txt and fox.txt are texts."""
    folder = tmp_path_factory.mktemp("models")
    train("hello world", hidden_size=64, epochs=100, progress=False).save(folder / "hello.safetensors")
    train(NAMES, progress=False).save(folder / "names.safetensors")
    (folder / "names.txt").write_bytes("\n".join(NAMES).encode())
    (folder / "fox.txt").write_bytes(TEXT.encode())
    return folder
