"""The command line: what it prints, what it writes, and that every mistake is one message with exit status 2."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import tgseq

GOOD = "cell A(D, H):\n  input x[t]: D\n  state h[t]: H = 0\n  param W ~ glorot\n  h[t] = tanh(x[t] + W@h[t-1])\n"
BAD = GOOD.replace("tanh", "tahn") + "  g[t] = q[t-1]\n  f[t] = W@h\n"


class Result:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> Result:
        status = tgseq.main(list(words))
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Result(status, said.out, said.err)

    return command


# ---------------------------------------------------------------- the screen


def test_without_arguments_it_shows_what_there_is(run: Run) -> None:
    shown = run()
    assert shown.status == 0
    assert shown.out.startswith("tgseq 0.1  recurrent cells as equations\ntry    tgseq adjoint LSTM")


def test_the_screen_names_every_command_and_no_other(run: Run) -> None:
    lines = run().out.splitlines()[2:]
    heads = {"write", "see", "run", "learn"}
    shown = {word for line in lines for word in line.split()} - heads
    registered = {c.name or c.callback.__name__ for c in tgseq.application().registered_commands if c.callback}
    assert shown == registered


def test_an_unknown_command_is_the_users_mistake(run: Run) -> None:
    assert run("bogus").status == 2


# ---------------------------------------------------------------- write


def test_new_writes_a_cell_that_checks_and_replaces_nothing(run: Run) -> None:
    first = run("new", "my-own.cell")
    assert (first.status, first.out) == (0, "wrote my-own.cell\n")
    assert run("check", "my-own.cell").out == "ok  my-own.cell: MyOwn(D, H, k=4)\n"
    assert run("fmt", "--check", "my-own.cell").status == 0
    again = run("new", "my-own.cell")
    assert again.status == 2 and "--force" in again.err
    assert run("new", "my-own.cell", "--force").status == 0


def test_check_reports_all_mistakes_of_a_file(run: Run) -> None:
    Path("a.cell").write_text(BAD)
    shown = run("check", "a.cell")
    assert shown.status == 2
    assert shown.err.count("error[") >= 3
    assert "did you mean `tanh`?" in shown.err


def test_check_prints_json_for_editors(run: Run) -> None:
    Path("a.cell").write_text(BAD)
    shown = run("check", "a.cell", "--json")
    found = json.loads(shown.out)
    assert shown.status == 2 and len(found) >= 3
    assert (found[0]["line"], found[0]["column"], found[0]["severity"]) == (5, 10, "error")


def test_fmt_changes_once(run: Run) -> None:
    Path("a.cell").write_text(GOOD.replace(" = 0", "   =  0"))
    assert run("fmt", "--check", "a.cell").status == 1
    assert run("fmt", "a.cell").out == "formatted a.cell\n"
    assert run("fmt", "a.cell").out == ""
    assert Path("a.cell").read_text() == GOOD


def test_standard_input_is_checked_and_laid_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    given(GOOD.replace(" = 0", "   =  0"))
    assert run("fmt", "-").out == GOOD
    given(GOOD.replace(" = 0", "   =  0"))
    changed = run("fmt", "--check", "-")
    assert (changed.status, changed.out) == (1, "would change <stdin>\n")
    given(BAD)
    shown = run("check", "-")
    assert shown.status == 2 and "--> <stdin>:5:10" in shown.err


def test_check_goes_through_all_files(run: Run) -> None:
    Path("good.cell").write_text(GOOD.replace("x[t]: D", "x[t]: H"))
    Path("bad.cell").write_text(BAD)
    shown = run("check", "bad.cell", "good.cell")
    assert shown.status == 2 and "ok  good.cell: A(D, H)" in shown.out and "bad.cell:5:10" in shown.err


def test_source_has_colours_on_a_terminal_only(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = run("show", "Elman").out
    assert "\x1b" not in plain
    monkeypatch.setattr("dsl.commands.shared.sys.stdout.isatty", lambda: True, raising=False)
    shown = run("show", "Elman").out
    assert "\x1b[" in shown and re.sub(r"\x1b\[[0-9;]*m", "", shown) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert run("show", "Elman").out == plain


def test_a_derivation_is_explained(run: Run) -> None:
    shown = run("adjoint", "Skip", "--explain")
    assert shown.status == 0 and "h[t] reads h[t-k] (matvec), which receives S.T@z_bar[t]" in shown.out
    assert r"\bar{z}_{t+k}" in run("adjoint", "Skip", "--explain", "--latex").out
    refused = run("adjoint", "Skip", "--explain", "--joined")
    assert refused.status == 2 and "leave --joined out" in refused.err


@pytest.mark.parametrize("command", ["check", "fmt", "show", "adjoint", "plan", "draw"])
def test_a_missing_file_is_named(run: Run, command: str) -> None:
    shown = run(command, "absent.cell")
    assert shown.status == 2 and "absent.cell" in shown.err


def test_a_cell_of_the_library_where_a_file_is_wanted(run: Run) -> None:
    done = run("check", "LSTM")
    assert done.status == 2 and "`tgseq show LSTM`" in done.err


def test_a_file_that_is_no_text_is_named(run: Run) -> None:
    Path("a.cell").write_bytes(b"cell \xff")
    shown = run("check", "a.cell")
    assert shown.status == 2 and "a.cell is not UTF-8 text: byte 5 is 0xff" in shown.err


# ---------------------------------------------------------------- see


def test_cells_lists_the_library(run: Run) -> None:
    assert "Skip(D, H, k=4)" in run("cells").out
    listed = json.loads(run("cells", "--json").out)
    (skip,) = [row for row in listed if row["name"] == "Skip"]
    assert skip["file"] == "skip.cell" and "NARX" in skip["source"]


def test_show_and_adjoint_print_cells(run: Run) -> None:
    assert "h[t] = tanh(V@x[t] + W@h[t-1] + S@h[t-k] + b)" in run("show", "Skip").out
    derived = run("adjoint", "Skip").out
    assert derived.startswith("cell Skip_adjoint(D, H, k=4):") and "total S_bar = " in derived
    Path("skip.adjoint.cell").write_text(derived)
    assert run("check", "skip.adjoint.cell").status == 0


def test_latex_goes_to_a_file_once(run: Run) -> None:
    assert run("adjoint", "Elman", "--latex", "-o", "out/elman.tex").out == "wrote out/elman.tex\n"
    assert r"\bar{h}" in Path("out/elman.tex").read_text()
    assert run("adjoint", "Elman", "--latex", "-o", "out/elman.tex").status == 2


def test_draw_writes_a_picture(run: Run) -> None:
    for view in ("folded", "unrolled", "bptt"):
        shown = run("draw", "Skip", "--view", view)
        assert shown.out == f"wrote out/Skip.{view}.svg\n", shown.err
        assert "<svg" in Path(f"out/Skip.{view}.svg").read_text()
    assert run("draw", "Skip", "--view", "folded").status == 2
    assert "there is no view `sideways`" in run("draw", "Skip", "--view", "sideways").err


def test_sizes_are_checked_against_the_header(run: Run) -> None:
    assert "Skip has no argument `N`; it has D, H, k" in run("adjoint", "Skip", "N=3").err
    assert "`H` is no size: write NAME=VALUE" in run("adjoint", "Skip", "H").err


def test_plan_prints_the_order_of_computation(run: Run) -> None:
    shown = run("plan", "LSTM")
    assert shown.status == 0
    assert "recurrence over t" in shown.out and "stacked: V_o@x[t] | V_f@x[t]" in shown.out


def test_plan_shows_the_generated_code(run: Run) -> None:
    shown = run("plan", "Elman", "--source")
    assert shown.status == 0 and "tanh(" in shown.out and "# calls before a run:" in shown.out


# ---------------------------------------------------------------- learn


def test_explain_knows_primitives_and_codes(run: Run) -> None:
    assert "(1 + y) * (1 - y)" in run("explain", "tanh").out
    assert "E301" in run("explain", "E301").out
    assert run("explain", "301").out == run("explain", "E301").out
    assert run("explain", "E999").status == 2
    assert "tanh" in run("explain", "tahn").err


def test_info_names_what_a_bug_report_needs(run: Run) -> None:
    facts = json.loads(run("info", "--json").out)
    assert {"tinygrad-seq", "python", "numpy", "numba", "pygraphviz", "cores"} <= set(facts)
    assert any("openblas" in value or "mkl" in value.lower() for value in facts.values())
