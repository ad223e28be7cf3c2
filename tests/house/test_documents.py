"""Every block of README and CONTRIBUTING is run, and every output they show is what comes out.

Blocks by their language: `python` runs, all of a document in one program; `console` runs each `$` line and compares
what follows it (a line `...` stands for any lines); `cell` is a file for the other blocks, named by its first comment;
`sh` is set-up, and names only targets that the Makefile has.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
BOOK = "it was the best of times, it was the worst of times, " * 200


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(text_of(document)) if name == language]


def commands(document: str) -> list[tuple[str, str]]:
    """(command, output) pairs of the console blocks."""
    pairs: list[tuple[str, str]] = []
    for text in blocks(document, "console"):
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            pairs.append((command, output))
    return pairs


def cell_files(document: str) -> dict[str, str]:
    return {text.split("\n")[0].removeprefix("# "): text for text in blocks(document, "cell")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the documents' own cells and a text in it."""
    place = tmp_path_factory.mktemp("documents")
    for document in DOCUMENTS:
        for name, text in cell_files(document).items():
            (place / name).write_text(text, encoding="utf-8")
    (place / "book.txt").write_text(BOOK, encoding="utf-8")
    return place


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def matches(shown: str, printed: str) -> bool:
    """Equal, where a shown line `...` stands for any lines."""
    pieces = [re.escape(piece.strip("\n")) for piece in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)]
    return re.fullmatch(r"\n*(.*\n)*?".join(pieces) + r"\n*", printed) is not None


def test_there_is_something_to_run() -> None:
    assert blocks("README.md", "cell") and blocks("README.md", "python") and len(commands("README.md")) >= 2


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_block_escapes(document: str) -> None:
    assert text_of(document).count("```") == 2 * len(BLOCK.findall(text_of(document)))
    assert {name for name, _ in BLOCK.findall(text_of(document))} <= {"cell", "python", "console", "sh"}


@pytest.mark.parametrize("name", [name for d in DOCUMENTS for name in cell_files(d)])
def test_cells(name: str, folder: Path) -> None:
    assert name.endswith(".cell")
    done = run([sys.executable, "-m", "tgseq", "check", name], folder)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_console(document: str, folder: Path) -> None:
    """A document's commands one after the other: a later one may read what an earlier one wrote."""
    for command, output in commands(document):
        program, *words = shlex.split(command)
        assert program == "tgseq"
        done = run([sys.executable, "-m", "tgseq", *words], folder)
        printed = done.stdout + done.stderr
        assert done.returncode == 0 and matches(output, printed), f"$ {command}\n{printed}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python(document: str, folder: Path) -> None:
    done = run([sys.executable, "-c", "\n\n".join(blocks(document, "python"))], folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_set_up_names_what_the_makefile_has(document: str) -> None:
    targets = set(re.findall(r"^(\w+):", text_of("Makefile"), re.MULTILINE))
    used = {target for text in blocks(document, "sh") for target in re.findall(r"^make (\w+)", text, re.MULTILINE)}
    assert used and used <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_pictures_and_links_lead_somewhere(document: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", BLOCK.sub("", text_of(document)))
    assert [t for t in targets if not (ROOT / t).exists()] == []


@pytest.mark.parametrize(
    "shown, printed, same",
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\n", "a\n", True),
        ("a\n...\n", "b\n", False),
        ("a\n", "a\nb\n", False),
    ],
)
def test_the_comparison_itself(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same
