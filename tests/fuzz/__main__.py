"""`python -m tests.fuzz --cases 5000`: mutated library cells and random sentences, each judged; failures printed."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.check import judge
from tests.fuzz.mutate import mutant
from tests.fuzz.sentences import text as sentences


def late(*_: Any) -> None:
    raise TimeoutError("took more than the allowed seconds")


@dataclass
class Tally:
    """What was found, printed also when the run is cut short."""

    stages: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[str]] = field(default_factory=dict)

    def one(self, kind: str, seed: int, compiled: bool) -> None:
        text, changes = mutant(seed) if kind == "mutants" else (sentences(seed), 0)
        signal.alarm(300 if compiled else 100)
        try:
            verdict = judge(text, changes, compiled)
            self.stages[verdict.stage] += 1
            if verdict.stage == "refused":
                self.codes.update(verdict.codes)
        except Exception as error:
            self.stages["FAILED"] += 1
            frame = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} {frame.filename.rpartition('/')[2]}:{frame.lineno} {str(error)[:60]}"
            self.failures.setdefault(key, []).append(f"{kind} {seed}: {error}\n{text}")
        finally:
            signal.alarm(0)

    def show(self, most: int) -> None:
        print(dict(self.stages))
        print(", ".join(f"{code} {n}" for code, n in sorted(self.codes.items())))
        for key, found in list(self.failures.items())[:most]:
            print(f"\n=== {len(found)} × {key}\n{found[0]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--compile", type=int, default=0, help="compile every n-th accepted cell too (0: none)")
    parser.add_argument("--kind", choices=("mutants", "sentences", "both"), default="both")
    parser.add_argument("--show", type=int, default=20, help="failures shown in full")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, late)
    asked: list[int] = []  # to stop: after the case under way, whose compiler may not be interrupted
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda number, _: asked.append(number))
    tally = Tally()
    for seed in range(options.first, options.first + options.cases):
        for kind in ("mutants", "sentences") if options.kind == "both" else (options.kind,):
            tally.one(kind, seed, options.compile > 0 and seed % options.compile == 0)
        if asked:
            print(f"stopped behind seed {seed}")
            break
    tally.show(options.show)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
