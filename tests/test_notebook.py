"""Notebooks: the magic, how specs are shown, and the tour executed from end to end."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsl

IPython = pytest.importorskip("IPython", reason="IPython is not installed: pip install '.[test]'")

ROOT = Path(__file__).resolve().parents[1]
TOUR = ROOT / "docs" / "tour.ipynb"

ELMAN = """
cell Elman(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-1])
"""


class Shell:
    """An IPython session without history, and what its last input showed."""

    def __init__(self) -> None:
        from IPython.core.displaypub import CapturingDisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config()
        config.HistoryManager.enabled = False
        self.shell = InteractiveShell.instance(config=config)
        self.shell.display_pub = CapturingDisplayPublisher()
        self.results: list[Any] = []
        self.shell.displayhook.write_format_data = lambda data, metadata=None: self.results.append(data)
        self.shell.displayhook.write_output_prompt = lambda: None

    def run(self, text: str) -> tuple[list[dict[str, Any]], BaseException | None]:
        """Outputs as a notebook stores them, and the error."""
        self.results.clear()
        self.shell.display_pub.outputs.clear()
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            result = self.shell.run_cell(text, store_history=True)
        outputs: list[dict[str, Any]] = []
        for name, stream in (("stdout", out), ("stderr", err)):
            if stream.getvalue():
                outputs.append({"output_type": "stream", "name": name, "text": _lines(stream.getvalue())})
        for shown in self.shell.display_pub.outputs:
            outputs.append({"output_type": "display_data", "metadata": {}, "data": _stored(shown["data"])})
        for data in self.results:
            count = self.shell.execution_count - 1
            stored = {"output_type": "execute_result", "metadata": {}, "data": _stored(data), "execution_count": count}
            outputs.append(stored)
        return outputs, result.error_before_exec or result.error_in_exec


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _stored(data: dict[str, str]) -> dict[str, list[str]]:
    return {kind: _lines(value) for kind, value in data.items()}


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    yield Shell()
    IPython.core.interactiveshell.InteractiveShell.clear_instance()


@pytest.fixture
def loaded(shell: Shell) -> Shell:
    assert shell.run("%load_ext dsl")[1] is None
    return shell


# ---------------------------------------------------------------- the magic


def test_a_cell_is_bound_and_shown(loaded: Shell) -> None:
    outputs, error = loaded.run("%%cell\n" + ELMAN)
    assert error is None
    spec = loaded.shell.user_ns["Elman"]
    assert isinstance(spec, dsl.Spec) and str(spec) == ELMAN.strip()
    (shown,) = outputs
    assert set(shown["data"]) == {"text/plain", "text/html", "text/latex"}
    assert loaded.run("y = Elman.build(D=2, H=3, dtype='float64')([[0.5, 1.0]], engine='tape').h.numpy()")[1] is None
    assert np.shape(loaded.shell.user_ns["y"]) == (1, 3)


def test_inputs_know_earlier_ones(loaded: Shell) -> None:
    loaded.run("%%cell\nfrom lstm import Peephole\ndef twice(z) = 2*z\n" + ELMAN)
    text = "%%cell\ncell Two(D, H):\n  input x[t]: D\n  use a = Elman(x=x, H=H)\n  use b = Peephole(x=x, H=H)\n"
    assert loaded.run(text + "  y[t] = twice(a[t]) + b[t]\n  output y")[1] is None
    two = loaded.shell.user_ns["Two"]
    assert {n for n in two.system.streams if n.startswith("a.")} == {"a.V", "a.W", "a.h"}
    assert set(loaded.shell.user_ns) >= {"Elman", "Two"} and "Peephole" not in loaded.shell.user_ns
    again = "%%cell\n" + ELMAN.replace("tanh", "sin")  # changed: later inputs see the new one
    assert loaded.run(again)[1] is None
    loaded.run(text + "  y[t] = a[t] + b[t]\n  output y")
    assert "sin" in str(loaded.shell.user_ns["Two"].system.equations["a.h"])
    assert "tanh" in str(two.system.equations["a.h"])


def test_several_cells_at_once(loaded: Shell) -> None:
    outputs, _ = loaded.run("%%cell\n" + ELMAN + ELMAN.replace("Elman", "Other"))
    assert [o["output_type"] for o in outputs] == ["display_data"] * 2
    assert {"Elman", "Other"} <= set(loaded.shell.user_ns)


def test_a_mistake_is_shown_without_a_traceback(loaded: Shell) -> None:
    loaded.run("%%cell\n" + ELMAN)
    outputs, error = loaded.run("%%cell\ncell A(D, H):\n  input x[t]: D\n  h[t] = tahn(x[t])\n  output q\n")
    assert isinstance(error, dsl.CellError) and "A" not in loaded.shell.user_ns
    text = "".join(line for o in outputs for line in o["text"])
    assert "error[E202]" in text and " 3 |   h[t] = tahn(x[t])" in text and "did you mean `tanh`" in text
    assert "Traceback" not in text and ".py" not in text
    _, error = loaded.run("%%cell Elman\n" + ELMAN)
    assert isinstance(error, ValueError) and "takes nothing behind it" in str(error)


def test_warnings_go_to_stderr(loaded: Shell) -> None:
    outputs, error = loaded.run("%%cell\n" + ELMAN + "  state g[t]: H = 0\n  g[t] = h[t]\n  output h\n")
    assert error is None
    (stream,) = [o for o in outputs if o["output_type"] == "stream"]
    assert stream["name"] == "stderr" and "warning[W901]" in "".join(stream["text"])


# ---------------------------------------------------------------- how specs look


def test_html() -> None:
    page = dsl.load("LSTM")._repr_html_()
    plain = re.sub(r"<[^>]*>", "", page)
    assert "cell LSTM(D, H):" in plain and r"f_{t} &amp;= \sigma(V_{f}\,x_{t}" in plain
    assert "$$\\begin{aligned}" in plain and "color:" in page
    assert page.count("<div") == page.count("</div>")
    adjoint = dsl.load("Elman").adjoint()._repr_html_()
    assert r"\bar{h}_{t}" in adjoint and "z_bar" in adjoint


def test_html_of_a_cell_with_a_mistake() -> None:
    page = dsl.parse("cell A(D):\n  input x[t]: D\n  y[t] = tanh(z[t] < 1)")._repr_html_()
    plain = re.sub(r"<[^>]*>", "", page)
    assert "error[E" in plain and "z[t] &lt; 1" in plain and "$$" not in plain


def test_html_without_pygments(monkeypatch: pytest.MonkeyPatch) -> None:
    from dsl.notebook import coloured

    monkeypatch.setitem(__import__("sys").modules, "pygments", None)
    assert coloured("a < b") == "<pre>a &lt; b</pre>"


def test_the_lexer_is_registered() -> None:
    """In the project's metadata, and among the installed plugins where it is installed."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pygments.lexers"] == {"cell": "dsl.text.lexer:CellLexer"}
    for point in entry_points(group="pygments.lexers"):
        if point.name == "cell":
            assert point.load().name == "Cell"


# ---------------------------------------------------------------- the tour


def test_the_tour(shell: Shell) -> None:
    """Every code cell runs; what it prints and the kinds of what it shows are as stored (UPDATE_GOLDEN=1 stores)."""
    book = json.loads(TOUR.read_text(encoding="utf-8"))
    assert book["nbformat"] == 4
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 8
    for number, cell in enumerate(code, 1):
        outputs, error = shell.run("".join(cell["source"]))
        assert error is None, f"cell {number}: {error}"
        if os.environ.get("UPDATE_GOLDEN"):
            cell["outputs"], cell["execution_count"] = outputs, number
        assert [_kinds(o) for o in cell["outputs"]] == [_kinds(o) for o in outputs], f"cell {number}"
        assert _words(cell["outputs"]) == _words(outputs), f"cell {number}"
    if os.environ.get("UPDATE_GOLDEN"):
        TOUR.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _kinds(output: dict[str, Any]) -> tuple[str, ...]:
    return output["output_type"], *sorted(output.get("data", ()))


def _words(outputs: list[dict[str, Any]]) -> list[str]:
    """What was printed, each number as #: other processors round otherwise."""
    texts = ["".join(o["text"]) for o in outputs if o["output_type"] == "stream"]
    return [re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "#", t) for t in texts]
