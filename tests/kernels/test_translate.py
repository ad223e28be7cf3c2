"""The language of generated nests against Python itself: the same text, run by `exec` and as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.nests import setting
from tinygrad_seq.kernels.translate import Untranslatable, translate

FILE = """
from tinygrad_seq.kernels.nests import nests

run = nests(__file__, "float64")


"""


def by_python(text: str, reals: np.ndarray[Any, Any], integers: np.ndarray[Any, Any], table: list[int]) -> None:
    """Python's own meaning of the text, arrays in place of addresses."""

    def load(array: Any, i: int) -> Any:
        return array[i]

    def store(array: Any, i: int, value: Any) -> None:
        array[i] = value

    names: dict[str, Any] = {
        **{f"load_{s}": load for s in "ab"},
        **{f"store_{s}": store for s in "ab"},
        **{"reals": lambda a: a, "integers": lambda a: a, "real": float, "padded": int},
        **{"infinity": math.inf, "not_a_number": math.nan, "sqrt": math.sqrt, "tan": math.tan, "where": _where},
    }
    exec(text, names)
    names["main"]([reals, integers], table)


def _where(c: Any, a: float, b: float) -> float:
    return a if c else b


def both(body: str, table: list[int], name: str) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
    text = "def main(X, O):\n    A = reals(X[0])\n    I = integers(X[1])\n" + body
    results = []
    for run in ("python", "machine"):
        rng = np.random.default_rng(0)
        reals, integers = rng.standard_normal(64), rng.integers(-9, 9, 64)
        if run == "python":
            by_python(text, reals, integers, table)
        else:
            load_source(f"translate_{name}", FILE + text).run((reals, integers), np.array(table))
        results.append([reals, integers])
    return results[0], results[1]


BODIES = {
    "integers": """
    k = 0
    for a in range(-7, 8):
        for b in range(-3, 4):
            if b != 0:
                I[k % 64] += a // b * 10 + a % b - (a * b + b) // 3
                k += 1
""",
    "reals": """
    for i in range(O[0]):
        v = load_a(A, i) / load_a(A, i + 1) - 0.5
        w = (v if v > 0 else -v) * 2 + O[1]
        store_b(A, 40 + i, where(w > 1.5, sqrt(w), tan(w)))
        A[20 + i] = real(i) * w
""",
    "loops": """
    n = O[0]
    for i in range(n - 1, -1, -1):
        if i == 3:
            continue
        elif i < 2 and not i == 0:
            I[i] = 77
        else:
            I[i] = min(i, 4, n) * max(i, 5)
        for j in range(0, 20, O[1]):
            if j > i * 2 or I[j] == 77:
                break
            A[j] = real(j)
    for i in range(0):
        A[0] = infinity
""",
    "swap": """
    a, b = O[0], O[1]
    a, b = b, a
    I[0], I[1] = a, b
    v = 1
    I[2] = v
    v = 1.5
    A[2] = v
""",
    "conditions": """
    for i in range(O[0]):
        inside = 0 <= i - 2 < 5 <= O[0]
        I[i] = 1 if inside and I[i] > 0 or i == 7 else I[i] - 1 if i % 2 else 3
""",
}


@pytest.mark.parametrize("name", BODIES)
def test_machine_code_means_what_python_means(name: str) -> None:
    python, machine = both(BODIES[name], [9, 3], name)
    np.testing.assert_allclose(machine[0], python[0], rtol=1e-14)
    np.testing.assert_array_equal(machine[1], python[1])


def test_an_integer_divided_by_zero_is_zero() -> None:
    text = "def main(X, O):\n    I = integers(X[0])\n    I[0] = O[0] // O[1]\n    I[1] = O[0] % O[1]\n"
    out = np.full(2, 5)
    module = load_source("translate_zero", FILE + text)
    module.run((out,), np.array([9, 0]))
    assert list(out) == [0, 0]


@pytest.mark.parametrize("value", ["infinity", "-infinity", "not_a_number", "-0.0", "1e-45"])
def test_constants_are_exact(value: str) -> None:
    out = np.ones(1)
    text = f"def main(X, O):\n    A = reals(X[0])\n    A[0] = {value}\n"
    load_source("translate_constant", FILE + text).run((out,), np.zeros(1, int))
    expected = float(value.replace("infinity", "inf").replace("not_a_number", "nan"))
    assert out.tobytes() == np.array([expected]).tobytes() or math.isnan(expected)


def test_comparisons_with_nan() -> None:
    body = "".join(f"    A[{k}] = 1 if A[9] {how} A[8] else 0\n" for k, how in enumerate(("<", ">=", "==", "!=")))
    text = "def main(X, O):\n    A = reals(X[0])\n" + body
    out = np.full(10, np.nan)
    load_source("translate_nan", FILE + text).run((out,), np.zeros(1, int))
    assert list(out[:4]) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("while O[0]:\n        pass", "While is not part"),
        ("v = [1]", "List is not part"),
        ("v = unheard_of(1)", "`unheard_of` is not known"),
        ("I = O[0.5]", "an integer is wanted"),
        ("v = w", "`w` has no value"),
        ("v = O[0] ** 2", "Pow"),
        ("for i in O:\n        pass", "a range"),
    ],
)
def test_what_does_not_belong_is_told_with_its_line(line: str, what: str) -> None:
    with pytest.raises(Untranslatable, match=f"main, line 2: .*{what}"):
        translate(f"def main(X, O):\n    {line}\n", setting("float32"), "main", "x")
