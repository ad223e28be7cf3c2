"""The page on correctness shows what the committed counts say, and the counts are of one run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from tests.differential.__main__ import counts
from tests.differential.judging import judged

DOCS = Path(__file__).resolve().parents[2] / "docs"


def writer():
    spec = importlib.util.spec_from_file_location("correctness", DOCS / "correctness.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_its_counts_make():
    module = writer()
    found, code = (json.loads(path.read_text("utf-8")) for path in (module.COUNTS, module.GENERATED))
    assert module.PAGE.read_text("utf-8") == module.page(found, code), "run python docs/correctness.py"
    assert len(code["failing"]) == code["cells"] - code["outcomes"]["agree"]
    assert code["readings"]["compiled, unoptimised"] <= code["readings"]["tape"] <= code["cells"]
    assert sum(found["outcomes"].values()) == found["cells"]
    assert len(found["failing"]) == found["cells"] - found["outcomes"]["agree"]
    assert found["readings"]["tape"] >= found["outcomes"]["agree"]


def test_counts_are_of_what_ran():
    lines = {seed: judged(seed, ("printed",)) for seed in (3, 4)}
    found = counts(lines, 10)
    assert found["cells"] == 2 and found["asked"] == 10 and found["outcomes"] == {"agree": 2}
    assert found["readings"]["printed"] == 2 and "compiled" not in found["readings"]
    assert sum(found["features"].get(kind, 0) for kind in ("ragged", "even")) == 2
