"""The command line, and the friendly import: `from tgseq import tg, dsl, viz`.

What it is FOR: words typed at a prompt become calls of the three packages, and what they answer becomes text on stdout
or files under `out/`. The commands stand beside what they call, in `dsl/commands/`, `viz/commands.py`, `viz/demo.py`:
each module lists its own in `COMMANDS`. Nothing imports this file, and everything heavy is imported where it is needed,
so that `tgseq` alone answers at once.

Exit status: 0 done, 1 failed (a check that did not hold, a full disk, an interrupted training), 2 the user's mistake,
told in one message without a traceback (TGSEQ_DEBUG=1 shows it).
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    import dsl as dsl
    import tinygrad_seq as tg
    import viz as viz

__version__ = "0.1.0"
__all__ = ["tg", "dsl", "viz"]

SCREEN = """\
tgseq 0.1  recurrent cells as equations
try    tgseq adjoint LSTM | tgseq draw LSTM | tgseq demo
write  new check fmt                see    cells show adjoint plan draw lab
run    train sample export bench    learn  demo explain gallery    info
"""

# ---------------------------------------------------------------- the friendly import

PACKAGES = {"tg": "tinygrad_seq", "dsl": "dsl", "viz": "viz"}


def sibling(package: str) -> ModuleType:
    """Import one of the three packages and make sure it is ours: `dsl` and `viz` are common names.

    Raises ImportError naming the file that shadows it.
    """
    home = Path(__file__).resolve().parent
    module = importlib.import_module(package)
    found = Path(module.__file__ or "nowhere").resolve()
    if found.parent.parent != home:
        raise ImportError(
            f"`import {package}` found {found}, which is not part of tinygrad-seq ({home / package}).\n"
            f"Rename that file, or start Python where it is not on the path."
        )
    return module


def __getattr__(name: str) -> ModuleType:
    if name not in PACKAGES:
        raise AttributeError(f"module 'tgseq' has no attribute {name!r}")
    module = sibling(PACKAGES[name])
    globals()[name] = module
    return module


# ---------------------------------------------------------------- the commands

MODULES = (
    "dsl.commands.write",
    "dsl.commands.see",
    "viz.commands",
    "dsl.commands.run",
    "dsl.commands.export",
    "viz.demo",
    "dsl.commands.learn",
)


def application() -> typer.Typer:
    """All commands of the packages, under one name."""
    import typer

    app = typer.Typer(
        add_completion=False, no_args_is_help=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback(invoke_without_command=True)(screen)
    for package in PACKAGES.values():
        sibling(package)
    for name in MODULES:
        for command in importlib.import_module(name).COMMANDS:
            app.command()(command)
    return app


def screen(version: bool = False) -> None:
    """Recurrent cells as equations: write them, see them and their backpropagation through time, train them."""
    if version:
        print(f"tgseq {__version__}")


# ---------------------------------------------------------------- run from a prompt


def report(error: BaseException) -> int:
    """Tell an error in one message; the exit status it stands for."""
    if os.environ.get("TGSEQ_DEBUG"):
        importlib.import_module("traceback").print_exception(error)
    text = getattr(error, "at_shell", str(error)) or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 1
    worded = (ImportError, FloatingPointError, getattr(sys.modules.get("viz.worker"), "LayoutError", ImportError))
    if isinstance(error, (ValueError, *worded)):
        is_rendered = text.startswith(("error[", "warning["))
        print(text if is_rendered else f"error: {text}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or text}{where}", file=sys.stderr)
        users = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, FileExistsError)
        return 2 if isinstance(error, users) else 1
    if isinstance(error, MemoryError):
        print("error: not enough memory: a smaller batch, chunk or size needs less", file=sys.stderr)
        return 1
    print(f"error: this is a bug of tgseq, {type(error).__name__}: {text}\nTGSEQ_DEBUG=1 shows where.", file=sys.stderr)
    return 1


def main(words: list[str] | None = None) -> int:
    """The console script: run the words of the command line, answer the exit status."""
    words = sys.argv[1:] if words is None else words
    if not words:
        print(SCREEN, end="")
        return 0
    try:
        application()(words, prog_name="tgseq")
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 0
    except BrokenPipeError:  # `tgseq cells | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, Exception) as error:
        return report(error)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
