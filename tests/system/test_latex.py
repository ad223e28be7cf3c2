"""LaTeX of cells and adjoints, as the lecture writes it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import dsl
from dsl.system.latex import Writer, name_latex
from dsl.text.parse import parse_expression

GOLDEN = Path(__file__).parent / "latex"


@pytest.mark.parametrize("cell", ["LSTM", "Elman", "Translate", "Pyramid", "Classifier"])
def test_cells(cell: str, golden: Callable[[Path, str], bool]) -> None:
    spec = dsl.load(cell)
    assert golden(GOLDEN / f"{cell}.tex", spec.latex() + "\n\n" + spec.adjoint().latex() + "\n")


@pytest.mark.slow
def test_every_cell_is_typeset() -> None:
    """By KaTeX, which refuses what TeX would: `npm install katex` in a directory named by NODE_PATH."""
    node = shutil.which("node")
    script = """
        const katex = require("katex"); let text = "";
        process.stdin.on("data", d => text += d).on("end", () => { for (const [name, tex] of JSON.parse(text)) {
          try { katex.renderToString(tex, {displayMode: true, throwOnError: true, strict: "error"}) }
          catch (error) { console.log(name + ": " + error.message) } } })
    """
    if node is None or subprocess.run([node, "-e", 'require("katex")'], capture_output=True).returncode:
        pytest.skip("KaTeX is not installed")
    specs = [dsl.load(cell) for cell in dsl.cells()]
    texts = [(s.name, text) for s in specs for text in (s.latex(), s.adjoint().latex())]
    found = subprocess.run([node, "-e", script], input=json.dumps(texts), capture_output=True, text=True, check=True)
    assert found.stdout == ""


def test_one_subscript_a_letter() -> None:
    """`h_1_{t}` is a double subscript: an error in TeX."""
    for cell in dsl.cells():
        for text in (dsl.load(cell).latex(), dsl.load(cell).adjoint().latex()):
            assert not re.search(r"_(\w|\{[^{}]*\})_", text), cell


@pytest.mark.parametrize("cell", dsl.cells())
def test_braces_balance(cell: str) -> None:
    for text in (dsl.load(cell).latex(), dsl.load(cell).adjoint().latex()):
        assert text.count("{") == text.count("}")
        assert text.count(r"\left") == text.count(r"\right")
        assert text.count(r"\begin") == text.count(r"\end")


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("h", "h"),
        ("W_f", "W_{f}"),
        ("h_bar", r"\bar{h}"),
        ("z_f_bar", r"\bar{z}_{f}"),
        ("alpha", r"\alpha"),
        ("ctx", r"\mathrm{ctx}"),
        ("V_bar2", r"\bar{V}_{(2)}"),
        ("h2", "h_{2}"),
        ("h2_bar", r"\bar{h}_{2}"),
        ("x_bar_bar", r"\bar{\bar{x}}"),
    ],
)
def test_names(name: str, latex: str) -> None:
    assert name_latex(name) == latex


@pytest.mark.parametrize(
    ("source", "latex"),
    [
        ("f[t]*c[t-1] + i[t]*g[t]", r"f_{t} \odot c_{t-1} + i_{t} \odot g_{t}"),
        ("W.T@z[t+1]", r"W^{\top}\,z_{t+1}"),
        ("2*h[t]", r"2\,h_{t}"),
        ("h[t]*(1 + h[t])*(1 - h[t])", r"h_{t} \odot (1 + h_{t}) \odot (1 - h_{t})"),
        ("a/b", r"\frac{a}{b}"),
        ("-(a - b)", r"-(a - b)"),
        ("sum[s](a[t,s]*enc.h[s])", r"\sum_{s} a_{t,s} \odot h_{s}^{\mathrm{enc}}"),
        ("(x[t] - 1)**2", r"(x_{t} - 1)^{2}"),
        ("outer(z[t], h[t-1])", r"z_{t}\,h_{t-1}^{\top}"),
    ],
)
def test_expressions(source: str, latex: str) -> None:
    assert Writer({}, {}).expression(parse_expression(source)) == latex
