"""Commands that tell: explain, info."""

from __future__ import annotations

import importlib
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from threadpoolctl import threadpool_info

import dsl
from dsl.commands.shared import Json


def explain(name: Annotated[str, typer.Argument(metavar="NAME|CODE", help="tanh, or E301")]) -> None:
    """Explain a primitive with its derivative rule, or a diagnostic's code."""
    if name.isdigit():
        name = f"E{name}"
    if name[:1] in "EWew" and name[1:].isdigit():
        for module in ("dsl.spec", "dsl.run.model", "dsl.run.generate"):  # each stage registers its own codes
            importlib.import_module(module)
        print(dsl.explain(name).rstrip("\n"))
    else:
        import tinygrad_seq as tg

        print(str(tg.explain(name)).rstrip("\n"))


def info(as_json: Json = False) -> None:
    """Versions, BLAS, threads, cache and the drawing engine: what to send with a bug report."""
    facts = environment()
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        print(f"{key:{width}}  {value}")


def environment() -> dict[str, str]:
    """Facts about this installation, as text."""
    facts = {"python": sys.version.split()[0], "system": sys.platform}
    for package in (
        "tinygrad-seq",
        "numpy",
        "numba",
        "llvmlite",
        "scipy",
        "lark",
        "pygraphviz",
        "graphviz",
        "torch",
        "jax",
        "onnxruntime",
    ):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    for pool in threadpool_info():
        words = (pool["internal_api"], pool.get("version"), pool.get("architecture"), f"{pool['num_threads']} threads")
        facts[f"{pool['user_api']} ({Path(pool['filepath']).name.split('-')[0]})"] = " ".join(
            str(w) for w in words if w
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts["cores"] = str(cores)
    for name in ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        if name in os.environ:
            facts[name] = os.environ[name]
    return facts


COMMANDS = (explain, info)
