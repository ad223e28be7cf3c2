"""The layout engine, kept at arm's length: Graphviz runs in a process of its own with a time limit.

An abort or a hang inside it must not take a notebook's kernel with it. The bundled engine of the
pygraphviz wheel is used first; `dot` on PATH only when it is version 14 or newer, or when the
environment variable TGSEQ_DOT names one. This file is also the worker's main program, and for that
imports nothing of the project.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys

LIMIT = 10.0  # seconds of processor time to lay a graph out
PAINTING = 30.0  # and to paint one, where work grows with the picture alone
BUSY = 3  # times that in wall time where a process's processor time is not known
IDLE = 0.02  # seconds of it: an engine that does less in all that time hangs, however busy the machine
OLDEST_DOT = 14
_NO_ENGINE = (
    "no layout engine: `pip install pygraphviz` (its wheel carries Graphviz), put Graphviz "
    f"{OLDEST_DOT} or newer on PATH, or name one in TGSEQ_DOT"
)


class LayoutError(RuntimeError):
    """Graphviz is missing, failed, or did not end in time."""


class TooLargeError(LayoutError):
    """Graphviz did not end in time."""


def layout(dot: str, program: str = "dot", form: str = "plain", limit: float = LIMIT) -> str:
    """Lay out a graph in DOT and return it in Graphviz's format `form`; raises LayoutError.

    `limit` is in seconds of the engine's processor time; one that hangs without working is ended after at most twice
    that. Pinned graphs (every node and edge with its `pos`) want program "nop2".
    """
    return _run(dot, program, form, limit, os.environ.get("TGSEQ_DOT", "")).decode()


def render(dot: str, form: str, limit: float = PAINTING) -> bytes:
    """A pinned graph as "png" or "pdf", drawn by Graphviz; raises LayoutError, also where there is no font to write
    with: Graphviz would draw empty boxes."""
    if not has_fonts():
        raise LayoutError(
            f"no fonts on this machine, so that the text of a .{form} would be empty boxes: install some "
            "(`apt install fonts-dejavu-core`), or save as .svg or .html"
        )
    return _run(dot, "nop2", form, limit, os.environ.get("TGSEQ_DOT", ""))


def has_fonts() -> bool:
    """Whether fontconfig finds a font; other systems than Linux and its like always have some."""
    if sys.platform in ("win32", "darwin"):
        return True
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    folders = ["/usr/share/fonts", "/usr/local/share/fonts", os.path.expanduser("~/.fonts"), f"{data}/fonts"]
    try:
        with open(os.environ.get("FONTCONFIG_FILE") or "/etc/fonts/fonts.conf", encoding="utf-8") as file:
            folders += re.findall(r"<dir>([^<]+)</dir>", file.read())
    except OSError:
        pass
    files = (name for folder in dict.fromkeys(folders) for *_, names in os.walk(folder) for name in names)
    return any(name.lower().endswith((".ttf", ".otf", ".ttc", ".pfb")) for name in files)


@functools.lru_cache(maxsize=256)
def _run(dot: str, program: str, form: str, limit: float, forced: str) -> bytes:
    command = _command(program, form, forced)
    try:
        done = _within(command, dot.encode(), limit)
    except subprocess.TimeoutExpired:
        why = (
            "the picture is too large to paint: save as .svg or .html"
            if program == "nop2"
            else "the graph is too tangled, or the engine hangs"
        )
        raise TooLargeError(f"Graphviz did not finish within {limit:g} s; {why}") from None
    except OSError as error:
        raise LayoutError(f"Graphviz could not be started: {command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise LayoutError(f"Graphviz failed (exit {done.returncode}): {lines[-1] if lines else 'no message'}")
    return done.stdout


def _within(command: list[str], given: bytes, limit: float) -> subprocess.CompletedProcess[bytes]:
    """Run a command for at most so much processor time; TimeoutExpired when it takes more, or takes none as long.

    A machine under load makes a layout late, not wrong: what counts is what the engine itself has worked. Where the
    system does not tell, `BUSY` times the limit of wall time is allowed.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        before = -IDLE
        data: bytes | None = given
        try:
            while True:
                known = _worked(process.pid) is not None
                try:
                    out, said = process.communicate(data, timeout=limit if known else BUSY * limit)
                    return subprocess.CompletedProcess(command, process.returncode, out, said)
                except subprocess.TimeoutExpired:
                    data, worked = None, _worked(process.pid)
                    if worked is None or worked >= limit or worked - before < IDLE:
                        raise
                    before = worked
        finally:
            process.kill()


def _worked(pid: int) -> float | None:
    """Seconds of processor time that a process has used; None where that is not known."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None


def _command(program: str, form: str, forced: str) -> list[str]:
    if not forced and importlib.util.find_spec("pygraphviz") is not None:
        return [sys.executable, "-I", __file__, program, form]
    path = forced or _recent_dot()
    if path is None:
        raise LayoutError(_NO_ENGINE)
    return [path, *(["-Kneato", "-n2"] if program == "nop2" else [f"-K{program}"]), f"-T{form}"]


@functools.lru_cache(maxsize=1)
def _recent_dot() -> str | None:
    path = shutil.which("dot")
    if path is None:
        return None
    try:
        said = subprocess.run([path, "-V"], capture_output=True, timeout=LIMIT, check=False).stderr.decode(
            errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"version (\d+)", said)
    return path if found and int(found[1]) >= OLDEST_DOT else None


def _main(program: str, form: str) -> None:
    """Read DOT on stdin, write it laid out on stdout."""
    import pygraphviz

    graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
    sys.stdout.buffer.write(graph.draw(format=form, prog=program))


if __name__ == "__main__":
    _main(*sys.argv[1:3])
