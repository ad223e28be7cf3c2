"""`python -m tests.fuzz --cases 5000`: mutated library cells and random sentences, each judged; failures printed."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections import Counter
from typing import Any

from tests.fuzz.check import judge
from tests.fuzz.mutate import mutant
from tests.fuzz.sentences import text as sentences


def late(*_: Any) -> None:
    raise TimeoutError("took more than the allowed seconds")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--compile", type=int, default=0, help="compile every n-th accepted cell too (0: none)")
    parser.add_argument("--kind", choices=("mutants", "sentences", "both"), default="both")
    parser.add_argument("--show", type=int, default=20, help="failures shown in full")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, late)
    stages: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    failures: dict[str, list[str]] = {}
    for seed in range(options.first, options.first + options.cases):
        for kind in ("mutants", "sentences") if options.kind == "both" else (options.kind,):
            text, changes = mutant(seed) if kind == "mutants" else (sentences(seed), 0)
            compiled = options.compile > 0 and seed % options.compile == 0
            signal.alarm(120 if compiled else 30)
            try:
                verdict = judge(text, changes, compiled)
                stages[verdict.stage] += 1
                codes.update(verdict.codes if verdict.stage == "refused" else ())
                if verdict.stage == "data":
                    codes.update([f"   {verdict.codes[0][:100]}" if verdict.codes else "   size"])
            except Exception as error:
                stages["FAILED"] += 1
                frame = traceback.extract_tb(error.__traceback__)[-1]
                key = f"{type(error).__name__} {frame.filename.rpartition('/')[2]}:{frame.lineno} {str(error)[:60]}"
                failures.setdefault(key, []).append(f"{kind} {seed}: {error}\n{text}")
            finally:
                signal.alarm(0)
    print(dict(stages))
    print(", ".join(f"{c} {n}" for c, n in sorted(codes.items())))
    for key, found in list(failures.items())[: options.show]:
        print(f"\n=== {len(found)} × {key}\n{found[0]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
