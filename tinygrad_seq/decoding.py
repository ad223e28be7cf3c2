"""What a CTC network says: labels out of a probability for each label, or none, at every frame.

Arrays only: nothing here is differentiated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.shapes import plain

Array = np.ndarray[Any, Any]


def ctc_collapse(path: Any, /, *, blank: int = 0) -> list[int]:
    """The labelling of a path (T,): repeats become one, then blanks go (the map B of Graves et al. 2006)."""
    path = np.asarray(path, np.int64)
    fresh = np.concatenate([[True], path[1:] != path[:-1]])[: len(path)]
    return [int(k) for k in path[fresh & (path != blank)]]


def ctc_decode(logits: Any, /, input_lengths: Any = None, *, blank: int = 0, beam: int | None = None) -> list[Any]:
    """Labels (a list of integers) for each sequence of logits (T, B, K); for (T, K), those of the one.

    beam   None takes the likeliest path and collapses it (best-path decoding); a number searches for the likeliest
           labelling among that many prefixes, adding up the paths of each (A. Graves et al., ICML 2006, section 3.2;
           as a beam: A. Hannun et al., arXiv:1408.2873, without a language model). A labelling may be likelier than
           that of the likeliest path, since many paths lead to it.
    """
    values = np.asarray(plain(logits), np.float64)
    if values.ndim not in (2, 3):
        raise ValueError(f"ctc_decode takes logits (T, B, K) or (T, K), not shape {values.shape}")
    if not 0 <= blank < values.shape[-1]:
        raise ValueError(f"the blank is a category 0..{values.shape[-1] - 1}, not {blank}")
    if beam is not None and beam < 1:
        raise ValueError(f"beam: expected 1 prefix or more, given {beam}")
    wide = values[:, None] if values.ndim == 2 else values
    steps = np.full(wide.shape[1], len(wide)) if input_lengths is None else np.asarray(input_lengths).reshape(-1)
    if steps.shape != wide.shape[1:2]:
        raise ValueError(f"input_lengths: expected {wide.shape[1]} numbers, given {input_lengths}")
    found = []
    for b, n in enumerate(steps):
        own = wide[: int(n), b]
        found.append(ctc_collapse(own.argmax(-1), blank=blank) if beam is None else _prefixes(own, blank, beam))
    return found[0] if values.ndim == 2 else found


def _prefixes(logits: Array, blank: int, width: int) -> list[int]:
    """The labelling whose paths have most probability, as far as `width` prefixes find it.

    A prefix has two log-probabilities: of paths that end in a blank, and of paths that end in its last label. Only the
    first can repeat that label.
    """
    log_p = REGISTRY["log_softmax"].impl(logits, axis=-1)
    none = -np.inf
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, none)}
    for frame in log_p:
        grown: dict[tuple[int, ...], tuple[float, float]] = {}

        def add(prefix: tuple[int, ...], in_blank: float, in_label: float, into: dict[Any, Any] = grown) -> None:
            before = into.get(prefix, (none, none))
            into[prefix] = (float(np.logaddexp(before[0], in_blank)), float(np.logaddexp(before[1], in_label)))

        for prefix, (in_blank, in_label) in beams.items():
            both = float(np.logaddexp(in_blank, in_label))
            add(prefix, both + float(frame[blank]), none)
            if prefix:
                add(prefix, none, in_label + float(frame[prefix[-1]]))
            for k, p in enumerate(frame.tolist()):
                if k != blank:
                    add((*prefix, k), none, (in_blank if prefix and prefix[-1] == k else both) + p)
        best = sorted(grown.items(), key=lambda item: -np.logaddexp(*item[1]))[:width]
        beams = dict(best)
    return list(next(iter(beams)))


__all__ = ["ctc_collapse", "ctc_decode"]
