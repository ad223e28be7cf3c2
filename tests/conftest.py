"""Golden files: compared byte for byte, rewritten when UPDATE_GOLDEN is set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def golden() -> Callable[[Path, str], bool]:
    """`golden(path, text)`: whether the file at `path` holds exactly `text`."""

    def check(path: Path, text: str) -> bool:
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8")
        assert text == expected, f"{path.name} differs; if the new text is right, run with UPDATE_GOLDEN=1"
        return True

    return check
