"""The gallery: every cell's equations, derivative and pictures on one page that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dsl
import viz
from tests.viz.browser import CONTROLS, Browser

CELLS = ["LSTM", "Skip", "Translate", "Pyramid"]


@pytest.fixture(scope="module")
def page() -> viz.Page:
    return viz.gallery(CELLS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def test_every_cell_has_all_its_views(page: viz.Page) -> None:
    assert page.data["cells"] == CELLS and page.data["notes"] == {}
    for name in CELLS:
        entry = page.html.partition(f'id="cell-{name}"')[2].partition("</section>")[0]
        assert entry.count("<svg") == 5 and entry.count("<math") == 2 and entry.count("<details") == 3
    assert len(page.html) < 250_000 * len(CELLS)


def test_ids_are_unique_and_links_lead_somewhere(page: viz.Page) -> None:
    ids = re.findall(r' id="([^"]*)"', page.html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r' href="#([^"]*)"', page.html)) <= set(ids)


def test_bytes_are_deterministic(page: viz.Page) -> None:
    assert viz.gallery(CELLS[:2]).html == viz.gallery(CELLS[:2]).html


def test_processes_give_the_same_page() -> None:
    assert viz.gallery(CELLS[:2], workers=2).html == viz.gallery(CELLS[:2], workers=1).html


def test_own_cells(tmp_path: Path) -> None:
    spec = dsl.parse(
        "cell Mine(D, H):\n  input x[t]: D\n  state h[t]: H = 0\n  param V, W ~ glorot\n"
        "  h[t] = tanh(V@x[t] + W@h[t-2])\n  output h\n"
    )
    saved = viz.gallery([spec]).save(tmp_path / "mine.html")
    assert "cell-Mine" in saved.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="at least one"):
        viz.gallery([])


def test_in_a_browser(page: viz.Page, browser: Browser, tmp_path: Path) -> None:
    path = page.save(tmp_path / "gallery.html")
    browser.open(path, "#cell-Skip")
    assert browser.requests == [path.resolve().as_uri()] and browser.errors == []
    assert all(n["name"].strip() for n in browser.names() if n["role"] in CONTROLS)
    assert browser.value("document.querySelectorAll('math').length") == 2 * len(CELLS)
