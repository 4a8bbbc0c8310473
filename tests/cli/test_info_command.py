"""`charrnn info`."""

from __future__ import annotations

import pytest

from charrnn.cli.info import _legible


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
