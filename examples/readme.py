"""`examples/README.md` from the result files: `python -m examples.readme`. No figure is in it that no run reached."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from examples.experiment import HOME, names, number

HEAD = """\
# Examples

`python -m examples.NAME` runs one whole: data, training with live progress, evaluation, pictures, and its figures
beside what they are measured against; `--quick` takes seconds, `--full` has the paper's size (where data is invented
here: a larger net that learns for longer), `--record` keeps the result here. Every figure below was written by such a
run; `python -m examples.readme` puts them together. Seconds are by the wall clock, many of them on two cores that
others were using. How twelve cells compare on three tasks of memory has [a page of its own](comparison/README.md).

`--data FILE` takes your own file: a text (char_rnn, min_char_rnn, words), a name a line (names), Python source
(tagging), `source TAB target` (translation), a CSV table (forecasting). `--resume` goes on where a run was stopped or
killed.

{sizes}

| example | what it shows | figure | reached | against | run |
|---|---|---|---|---|---|
"""
SIGNS = {"less": "<", "more": ">", "equal": "="}


def results() -> list[dict[str, Any]]:
    """The recorded results, by name of the example, the normal one first."""
    found = (HOME / name / file for name in names() for file in ("result.json", "result-full.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in found if path.exists()]


def page(found: list[dict[str, Any]]) -> str:
    return HEAD.format(sizes=_sizes(found)) + "".join(line for result in found for line in _rows(result))


def _sizes(found: list[dict[str, Any]]) -> str:
    """Which examples have been run at their largest size, which have not, and which have but one."""
    full = {result["example"] for result in found if result["mode"] == "full"}
    one = {result["example"] for result in found if not result.get("larger", True)}
    rest = [name for name in names() if name not in full | one]
    said = (
        f"Run with `--full`, too: {', '.join(sorted(full))}. Not run so: {', '.join(rest)}. Of one size, without "
        f"`--full`: {', '.join(sorted(one))}."
    )
    return textwrap.fill(said, 120, break_on_hyphens=False)


def _rows(result: dict[str, Any]) -> list[str]:
    lines = []
    for index, figure in enumerate(result["figures"]):
        first = index == 0
        name = f"[{result['example']}]({result['example']})" if first else ""
        title = result["title"].rstrip(".") if first else ""
        how = ", ".join(_how(result)) if first else ""
        missed = "" if figure["holds"] else " **missed**"
        against = f"{SIGNS[figure['better']]} {number(figure['anchor'])}: {figure['origin']}"
        cells = [name, title, figure["name"], f"{number(figure['value'])}{missed}", against, how]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return lines


def _how(result: dict[str, Any]) -> list[str]:
    seeds = result.get("seeds", 1)
    seed = f"seed {result['seed']}" if seeds == 1 else f"seeds {result['seed']} to {result['seed'] + seeds - 1}"
    return [result["mode"], seed, f"{result['seconds']:.0f} s", *([result["data"]] if "data" in result else [])]


def main() -> None:
    path = Path(HOME, "README.md")
    path.write_text(page(results()), encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
