"""Any cell as the layers of a character model."""

import pytest

import dsl
from dsl.run.language import language_model


def test_it_equals_the_librarys_character_model() -> None:
    ours = language_model(dsl.load("LSTM"), {"H": 4, "L": 2}).build(K=5, seed=3, dtype="float64")
    theirs = dsl.load("CharRNN").build(K=5, H=4, L=2, seed=3, dtype="float64")
    assert {n: p.shape for n, p in ours.params.items()} == {n: p.shape for n, p in theirs.params.items()}
    y = [0, 3, 2, 4, 1, 1]
    assert float(ours(y=y, engine="tape").nll.data) == float(theirs(y=y, engine="tape").nll.data)


def test_numbers_of_the_header_are_passed_on() -> None:
    spec = language_model(dsl.load("Skip"), {"H": 4, "k": 2})
    assert "Skip(x=prev, H=4, k=2)" in str(spec)


@pytest.mark.parametrize(
    "cell, arguments, message",
    [
        ("Skip", {"k": 2}, "Skip needs H: give H=128"),
        ("cell Free(H):\n  state h[t]: H = 1\n  h[t] = h[t-1]/2", {"H": 3}, "Free has no loss, and 0 inputs"),
        ("cell Two(D):\n  input x[t], z[t]: D\n  y[t] = x[t] + z[t]", {}, "and 2 inputs"),
        ("cell Once(D):\n  input x: D\n  y = 2*x", {}, "an input that is not a sequence"),
    ],
)
def test_a_cell_that_is_no_layer_is_told_so(cell: str, arguments: dict[str, int], message: str) -> None:
    spec = dsl.parse(cell) if cell.startswith("cell") else dsl.load(cell)
    with pytest.raises(ValueError, match=message):
        language_model(spec, arguments)
