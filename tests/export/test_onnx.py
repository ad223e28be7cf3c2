"""The exported ONNX graph under onnxruntime: values equal the engine's, float32 and float64, ragged, with a state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsl.export.onnx import to_onnx
from dsl.run.model import Model
from dsl.spec import cells
from dsl.text.diagnostics import CellError
from tests.export.cases import EMPTY, TEXTS, Case, empty_axes, example, library, model_state

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def run(path: Path, feeds: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    fused = ["MatMulScaleFusion"]  # keeps a float64 factor as float32
    session = runtime.InferenceSession(str(path), options, ["CPUExecutionProvider"], disabled_optimizers=fused)
    taken = {i.name: i.type for i in session.get_inputs()}
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    given = {n: np.asarray(v, kinds[taken[n]]) for n, v in feeds.items() if n in taken}
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def held(case: Case, path: Path, rtol: float = 1e-10, atol: float = 1e-11) -> None:
    state = model_state(case)
    to_onnx(case.model, path, state=state is not None)
    feeds = {**case.data, **{f"lengths.{a}": v for a, v in case.lengths.items()}}
    feeds |= {f"state.{n}": v for n, v in (state or {}).items()}
    out = run(path, feeds)
    for name in case.names:
        got, ours = out[f"{name}.each" if name in case.model.system.losses else name], case.value(name)
        np.testing.assert_allclose(got[tuple(slice(n) for n in ours.shape)], ours, rtol=rtol, atol=atol, err_msg=name)
    for name, ours in case.after.items() if state is not None else ():
        np.testing.assert_allclose(out[f"after.{name}"], ours, rtol=rtol, atol=atol, err_msg=name)


def single(case: Case) -> Case:
    """The same in float32: our own results stay those of float64."""
    model = Model(case.model.system, dtype="float32")
    for name, tensor in case.model.params.items():
        model.params[name] = tensor.data
    return replace(case, model=model)


@pytest.mark.parametrize("name", cells())
def test_library(name: str, tmp_path: Path) -> None:
    case = library(name)
    if any(s.dtype == "complex" for s in case.model.system.streams.values()):
        with pytest.raises(CellError, match="uses complex numbers: the ONNX export has no counterpart"):
            to_onnx(case.model, tmp_path / "cell.onnx")
        return
    held(case, tmp_path / "cell.onnx")
    held(single(case), tmp_path / "cell.onnx", 1e-5, 1e-5)


@pytest.mark.parametrize("name", sorted(set(TEXTS) - {"complex", "numbers", "special"}))
def test_every_construct(name: str, tmp_path: Path) -> None:
    held(example(name), tmp_path / "cell.onnx")


@pytest.mark.parametrize("name", ["carried", "noise"])
def test_behind_an_earlier_call(name: str, tmp_path: Path) -> None:
    held(example(name, carried=True), tmp_path / "cell.onnx")


@pytest.mark.parametrize("which", EMPTY)
def test_axes_without_steps_among_three(which: str, tmp_path: Path) -> None:
    held(empty_axes(which), tmp_path / "cell.onnx")


@pytest.mark.parametrize("lengths", [(3, 0, 1), (1, 0, 1), (0, 0, 0)])
def test_sequences_without_steps_and_axes_without_steps(lengths: tuple[int, ...], tmp_path: Path) -> None:
    held(example("halves", lengths=lengths), tmp_path / "cell.onnx")


def test_functions_of_numbers(tmp_path: Path) -> None:
    """In float32: onnxruntime has no float64 kernels of erf and arctan."""
    held(single(example("numbers")), tmp_path / "cell.onnx", 1e-5, 1e-5)
