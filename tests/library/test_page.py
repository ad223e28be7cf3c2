"""docs/library.md is what docs/library.py makes of the library now."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_the_library_is_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "library.py"))["page"]()
    assert (DOCS / "library.md").read_text(encoding="utf-8") == made, "run `python docs/library.py`"
