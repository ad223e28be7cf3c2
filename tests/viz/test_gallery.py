"""The gallery: every cell's equations, derivative and pictures on one page that needs nothing else."""

from __future__ import annotations

import base64
import json
import re
import zlib
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
        entry, kept = (
            page.html.partition(f'id="cell-{name}"')[2].partition("</section>")[0],
            page.data["sections"][name],
        )
        assert kept.count("<svg") == 5 and kept.count("<details") == 3
        assert entry.count("<math") == kept.count("<math") == 1 and "<svg" not in entry


def test_a_cell_weighs_little(page: viz.Page) -> None:
    """Stylesheet and script once, pictures deflated: as they stand, these four would take more than half a megabyte."""
    assert len(page.html) < 45_000 * len(CELLS) < sum(map(len, page.data["sections"].values())) / 2


def test_what_is_kept_deflated_is_what_unfolds(page: viz.Page) -> None:
    block = page.html.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    kept = {k: zlib.decompress(base64.b64decode(v), -15).decode() for k, v in json.loads(block).items()}
    assert kept == page.data["sections"]


def test_ids_are_unique_and_links_lead_somewhere(page: viz.Page) -> None:
    whole = page.html + "".join(page.data["sections"].values())
    ids = re.findall(r' id="([^"]*)"', whole)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r' href="#([^"]*)"', whole)) <= set(ids)


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
    shown = "document.querySelectorAll('#cell-Skip figure svg').length"
    assert browser.settled(shown, 5)
    assert browser.requests == [path.resolve().as_uri()] and browser.errors == []
    assert all(n["name"].strip() for n in browser.names() if n["role"] in CONTROLS)
    for name in CELLS:  # each unfolds when the reader comes to it
        browser.value(f"location.hash = 'cell-{name}'")
        assert browser.settled(f"document.querySelectorAll('#cell-{name} .kept[aria-busy]').length", 0)
    assert browser.value("document.querySelectorAll('math').length") == 2 * len(CELLS)
    written = browser.value("document.querySelector('#cell-LSTM .kept').textContent")
    assert "Inside one step" in written and "Plan of the compiled run" in written
    assert browser.requests == [path.resolve().as_uri()] and browser.errors == []


def test_a_link_into_a_picture_unfolds_its_cell(page: viz.Page, browser: Browser, tmp_path: Path) -> None:
    path = page.save(tmp_path / "gallery.html")
    browser.open(path, "#Translate-cell-eq-nll")
    line = "document.getElementById('Translate-cell-eq-nll')"
    assert browser.settled(f"!!{line} && {line}.matches(':target')", True)
