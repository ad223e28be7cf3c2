"""Names: a model that writes a short text from its first character to its end, which it chooses itself.

The data is Python's own: about 25,000 names of Unicode characters ("latin small letter turned m"), or with --data a
file with a name a line. The end is a symbol like any other (I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning",
2016, section 10.2.3). Beside the held-out perplexity stand n-gram tables, each leaning on the shorter ones.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import dsl
import tinygrad_seq as tg
import viz
from dsl.run import corpora
from dsl.run.measures import perplexity
from dsl.run.ngrams import interpolated_loss
from dsl.run.words import Lines, read_lines
from examples.experiment import Experiment, leave, main

BATCH = 32
Array = np.ndarray[Any, Any]


def run_of(lines: Lines, chosen: Array) -> Array:
    """The chosen names one behind the other, an end before the first and behind each."""
    columns = [lines.ids[: lines.lengths[n], n] for n in chosen]
    return np.concatenate([[lines.end], *columns])


def nats(model: Any, lines: Lines, chosen: Array) -> float:
    """The loss a symbol, ends counted, over all chosen names together."""
    total = 0.0
    for part in np.array_split(chosen, max(1, len(chosen) // 500)):
        lengths = lines.lengths[part]
        total += float(model(y=lines.ids[: lengths.max(), part], lengths=lengths).each["nll"].data @ lengths)
    return total / int(lines.lengths[chosen].sum())


def run(e: Experiment) -> None:
    names = read_lines(e.data, 2 * BATCH) if e.data is not None else corpora.names()
    order = np.random.default_rng(e.seed).permutation(len(names))[: e.size(2000, 10**6, 10**6)]
    names = [names[n] for n in order]
    lines = Lines(names)
    cut = len(names) * 9 // 10
    learned, held = np.arange(cut), np.arange(cut, len(names))
    e.note("names", f"{len(names):,}, {len(lines.symbols)} symbols, {int(lines.lengths.sum()):,} with the ends")

    hidden = e.size(32, 128, 256)
    model = dsl.load("CharRNN").build(K=lines.end + 1, H=hidden, seed=e.seed)
    done = e.fit(
        model,
        "names",
        y=lines.ids[:, learned],
        lengths=lines.lengths[learned],
        optimizer=tg.optim.Adam(model.params.trained, lr=e.size(1e-2, 3e-3, 2e-3)),
        schedule=tg.schedules.cosine(e.size(150, 2500, 10_000), 0.02),
        batch=BATCH,
        steps=e.size(150, 2500, 10_000),
        valid_every=e.size(50, 250, 500),
        evaluate=lambda m: {"held out": nats(m, lines, held)},
    )
    reached = done.measures["held out"]
    text, test = run_of(lines, learned), run_of(lines, held)
    tables = {n: interpolated_loss(text, test, lines.end + 1, n) for n in (1, 2, 3, 4)}
    for n, called in ((1, "unigram"), (2, "bigram"), *(((4, "4-gram"),) if e.mode != "quick" else ())):
        e.figure("perplexity of a symbol, held out", perplexity(reached), perplexity(tables[n]), called)
    e.note("nats a symbol, by counting", {f"{n}-gram": round(v, 4) for n, v in tables.items()})

    written = model.generate(int(lines.lengths.max()), until=[lines.end], batch=e.size(50, 500, 500), seed=e.seed)
    ended = float((written == lines.end).any(axis=0).mean())
    found = [lines.decode(column) for column in written.T]
    known = set(names[:cut])
    e.figure("names that end by themselves", ended, 0.5, "half of them", "more")
    e.note("it writes", [name for name in dict.fromkeys(found) if name not in known][:12])
    e.note("of what it writes, not among the names it read", round(float(np.mean([n not in known for n in found])), 3))

    course, levels = {"LSTM": done.curves.measured("held out")}, {f"{n}-gram": v for n, v in tables.items()}
    e.draw(viz.lines(course, x="update", y="nats a symbol, held out", title="Names", levels=levels), "curves")


if __name__ == "__main__":
    sys.exit(leave(main(run, __doc__, __file__, data="a file with a name a line")))
