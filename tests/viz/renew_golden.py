"""Write the golden DOT files anew: `python -m tests.viz.renew_golden`, then look at the difference."""

from __future__ import annotations

import pygraphviz

import viz
from tests.systems.test_rows_memory import TOPOLOGIES, spec_of
from tests.viz.test_golden import VIEWS, file_of, version
from tests.viz.test_pictures import GOLDEN, SYSTEMS
from viz.compose import compose


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name in ("Elman", "Skip", "LSTM", "GRU", "BiRNN", "LSTMLoss"):
        text = compose(SYSTEMS[name], {"t": 2}).steps["t"].dot
        (GOLDEN / f"{name}.step.dot").write_text(text, encoding="utf-8", newline="\n")
    for name in ("Skip", "LSTM"):
        text = f"// pygraphviz {pygraphviz.__version__}\n" + viz.unrolled(SYSTEMS[name], T=3).dot
        (GOLDEN / f"{name}.unrolled.dot").write_text(text, encoding="utf-8", newline="\n")
    for view, draw in VIEWS.items():
        text = f"{version()}\n{draw().dot}"
        (GOLDEN / f"view.{view}.dot").write_text(text, encoding="utf-8", newline="\n")
    for topology in TOPOLOGIES:
        text = f"{version()}\n{viz.unrolled(spec_of(topology), T=3).dot}"
        (GOLDEN / f"{file_of(topology)}.dot").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
