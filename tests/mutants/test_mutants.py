"""Every mutant is rejected by the fast subset of the suite, and the code as it is passes it."""

from __future__ import annotations

import multiprocessing
import sys

import pytest

from tests.mutants import suite
from tests.mutants.mutants import KERNELS, MUTANTS

# a fork starts with everything imported; where there is none, a fresh interpreter imports it again
CONTEXT = multiprocessing.get_context("fork" if sys.platform.startswith("linux") else "spawn")


def verdict(name: str) -> int:
    process = CONTEXT.Process(target=_run, args=(name,))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        return 1  # a mutant that never ends is not accepted
    return -1 if process.exitcode is None else process.exitcode


def _run(name: str) -> None:
    sys.exit(suite.main(name))


def test_the_code_as_it_is_passes():
    assert suite.main("") == 0
    suite.check_compiled()


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in KERNELS)) for n in MUTANTS])
def test_rejected(name):
    assert verdict(name) == 1, f"the suite accepts {name}"
