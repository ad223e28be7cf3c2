"""docs/exports.md is what docs/exports.py makes of the library now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_exports_is_current() -> None:
    pytest.importorskip("onnx")
    made = runpy.run_path(str(DOCS / "exports.py"))["page"]()
    assert (DOCS / "exports.md").read_text(encoding="utf-8") == made, "run `python docs/exports.py`"
