"""CTC decoding: the paper's collapse, and a wide enough beam finds what all alignments add up to."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import numpy as np
import pytest

import tinygrad_seq as tg


def test_the_twelve_frames_collapse() -> None:
    symbols = "ε_hasto"  # ε is the blank
    path = [symbols.index(c) for c in "hhas_ttoεoo_"]
    assert "".join(symbols[k] for k in tg.ctc_collapse(path)) == "has_too_"
    assert tg.ctc_collapse([]) == [] and tg.ctc_collapse([0, 0]) == []


def likeliest(logits: np.ndarray, blank: int) -> list[int]:
    """The labelling with most probability, over all alignments."""
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    total: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(logits.shape[1]), repeat=len(logits)):
        total[tuple(tg.ctc_collapse(path, blank=blank))] += float(np.prod(p[np.arange(len(path)), path]))
    return list(max(total.items(), key=lambda item: item[1])[0])


@pytest.mark.parametrize("blank", [0, 2])
def test_a_wide_beam_is_the_sum_over_all_alignments(blank: int) -> None:
    random = np.random.default_rng(1)
    differs = 0
    for _ in range(40):
        logits = random.standard_normal((random.integers(1, 6), 3))
        found = tg.ctc_decode(logits, blank=blank, beam=200)
        assert found == likeliest(logits, blank)
        differs += found != tg.ctc_decode(logits, blank=blank)
    assert differs > 0  # the likeliest path is not always that of the likeliest labelling


def test_graves_example_of_a_path_that_misleads() -> None:
    # two frames, blank .6, a .4: the path is blank blank (.36), the labelling a has .64
    logits = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert tg.ctc_decode(logits) == [] and tg.ctc_decode(logits, beam=4) == [1]


def test_batches_end_where_each_does() -> None:
    logits = np.full((4, 2, 3), -5.0)
    logits[:, :, 1] = 5.0
    logits[2:, :, 1], logits[2:, :, 2] = -5.0, 5.0
    assert tg.ctc_decode(logits, [4, 2]) == [[1, 2], [1]]
    assert tg.ctc_decode(logits, [4, 2], beam=3) == [[1, 2], [1]]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tg.ctc_decode(np.zeros(3)), "not shape"),
        (lambda: tg.ctc_decode(np.zeros((2, 3)), blank=3), r"0\.\.2"),
        (lambda: tg.ctc_decode(np.zeros((2, 3)), beam=0), "1 prefix or more"),
        (lambda: tg.ctc_decode(np.zeros((2, 4, 3)), [1]), "expected 4 numbers"),
    ],
)
def test_bad_arguments(call, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()
