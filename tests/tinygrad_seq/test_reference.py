"""The generated reference: a page and a picture for every primitive, up to date."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_seq.primitive import REGISTRY

DOCS = Path(__file__).parents[2] / "docs"


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("docs_primitives", DOCS / "primitives.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_pages_are_what_the_registry_says() -> None:
    fresh = generator().files()
    committed = {p.name for p in (DOCS / "primitives").iterdir()}
    assert committed == set(fresh), "run python docs/primitives.py"
    for name, content in fresh.items():
        if name.endswith(".md"):  # curves may differ in a last digit between machines
            assert (DOCS / "primitives" / name).read_text(encoding="utf-8") == content, (
                f"{name}: run docs/primitives.py"
            )


def test_every_primitive_has_a_page_with_its_rule_and_a_picture() -> None:
    for name, op in REGISTRY.items():
        page = (DOCS / "primitives" / f"{name}.md").read_text(encoding="utf-8")
        assert ("## Rule" in page) == op.differentiable and page.startswith(f"# {name}\n")
        assert ET.parse(DOCS / "primitives" / f"{name}.svg").getroot().tag.endswith("svg")
    assert "Shared equally among ties." in (DOCS / "primitives" / "max.md").read_text(encoding="utf-8")


def test_the_curve_of_tanh_is_its_values() -> None:
    root = ET.fromstring(generator().picture("tanh"))
    lines = [e for e in root.iter() if e.tag.endswith("polyline")]
    points = np.array([[float(v) for v in p.split(",")] for p in lines[0].attrib["points"].split()])
    x, y = (points[:, 0] - 40) / 360 * 6 - 3, (110 - points[:, 1]) / 100
    np.testing.assert_allclose(y, np.tanh(x), atol=2e-3)
