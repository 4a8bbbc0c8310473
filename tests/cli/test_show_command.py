"""`charrnn show`."""

from __future__ import annotations

from pathlib import Path

from command_line import run


def test_a_text_is_shown_on_a_page(folder: Path, tmp_path: Path) -> None:
    result = run("show", folder / "hello.safetensors", "-", "--length", 5, cwd=tmp_path, stdin=b"hello world")
    assert (result.returncode, result.stdout) == (0, "")
    cut, written = result.stderr.splitlines()
    assert cut == "shown are the first 5 of 11 characters; a greater length shows more"
    assert written == "page.html: 0.0 MB, to be opened in a browser"
    assert "<h1>stdin</h1>" in (tmp_path / "page.html").read_text()
    options = ["--units", 3, "-o", "names.html"]
    result = run("show", folder / "names.safetensors", folder / "names.txt", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3 units of" in result.stderr
    assert "<h1>names.txt</h1>" in (tmp_path / "names.html").read_text()
