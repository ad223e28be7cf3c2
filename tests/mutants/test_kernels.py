"""Mistakes put into the text of the kernels, one at a time, in a copy of the engine that compiles for itself.

Each is rejected by the kernels' own tests, which pass on the copy as it is. Machine code is kept by the content of what
it was made from, so a change of the text is all that it takes; a mutant must compile, run to its end and be wrong.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = "tinygrad_seq"
PRODUCTS, SQUARES = "tests/tinygrad_seq/test_products.py", "tests/kernels/test_squares.py"
FOURIER = "tests/kernels/test_fourier.py::test_every_length_is_numpys_transform"
PIECES = "tests/kernels/test_pieces.py"
MAILBOX, ROWS = "tests/kernels/test_mailbox.py", "tests/tinygrad_seq/test_rows.py"
SECONDS = 600

# name: file, the line's right text, its wrong one, what rejects it
MUTANTS: dict[str, tuple[str, str, str, str]] = {
    "halves exchanged with the wrong place": (
        "kernels/emit.py", "n + lanes - half if n & half else n for", "n + lanes if n & half else n for", SQUARES
    ),
    "the last exchange of a square left out": ("kernels/emit.py", "while half:", "while half > 1:", SQUARES),
    "a square's rows stored in reverse": (
        "kernels/squares.py", "zip(places(3), rows, strict=True)", "zip(places(3), rows[::-1], strict=True)", SQUARES
    ),
    "a butterfly of five turned the wrong way": (
        "kernels/butterflies.py", "return [x[0] + a + c, first + one, second + two, second - two, first - one]",
        "return [x[0] + a + c, first - one, second - two, second + two, first + one]", FOURIER,
    ),
    "an odd radix without its last pair": (
        "kernels/butterflies.py", "with counted(b, half) as k:\n                angle",
        "with counted(b, b.sub(half, _I(1))) as k:\n                angle", FOURIER,
    ),
    "no factors between the two passes of a row": (
        "kernels/butterflies.py", "f.load(x, xp, row).times(f.load(w, wp, row))", "f.load(x, xp, row)", FOURIER
    ),
    "rows together without the last numbers": (
        "kernels/transforms.py", "    for k in range(0, n, LANES):\n        c = min(k, n - LANES)\n        square(work",
        "    for k in range(0, n - LANES + 1, LANES):\n        c = k\n        square(work", FOURIER,
    ),
    "a convolution that wraps around": ("kernels/fourier.py", "-(-(2 * n - 1) // a)", "-(-(2 * n - 9) // a)", FOURIER),
    "an inverse by the matrix not scaled": ("kernels/fourier.py", "turn.conj() / n)", "turn.conj())", FOURIER),
    "what is posted is not run": (
        "kernels/mailbox.py", "                run_posted(box)\n                swap", "                swap", MAILBOX
    ),
    "what is posted is run twice": (
        "kernels/mailbox.py", "                run_posted(box)\n", "                run_posted(box)\n" * 2, MAILBOX
    ),
    "posted where nobody listens": (
        "kernels/mailbox.py", "sides()[2](box, LISTENING, POSTED)", "sides()[2](box, AWAY, POSTED)", MAILBOX
    ),
    "threads leave the last element out": (
        "kernels/pieces.py", "count * (i + 1) // pieces, i", "(count - 1) * (i + 1) // pieces, i", PIECES
    ),
    "a matrix by columns read by rows": (
        "ops/multiply.py", "left, sm, sk = a.T.reshape(-1), 1, M", "left, sm, sk = a.T.reshape(-1), K, 1", PRODUCTS
    ),
    "a part of a product begins at the first row": (
        "loops/product.py", "multiply(a, low * sm, sm, sk, b", "multiply(a, 0, sm, sk, b", PRODUCTS
    ),
    "columns beside the tiles copied from the first one": (
        "loops/product.py", "right[k * TAIL + n] = b[k * ldb + wide + n]", "right[k * TAIL + n] = b[k * ldb + wide]",
        PRODUCTS,
    ),
    "the rest of a transposition not transposed": (
        "loops/product.py", "out[n * ldo + m] = b[m * N + n]", "out[n * ldo + m] = b[n * N + m]", PRODUCTS
    ),
    "a window's last column cut off": (
        "loops/convolution.py", "(width - left + stride - 1) // stride", "(width - left) // stride", PRODUCTS
    ),
    "dilation forgotten on the way down": (
        "loops/convolution.py", "h, at = r * sh + i * dh - ph", "h, at = r * sh + i - ph", PRODUCTS
    ),
    "every group sees the first channels": (
        "loops/convolution.py", "pull(x, b, group * w.shape[1], w,", "pull(x, b, 0, w,", PRODUCTS
    ),
    "windows that overlap overwrite one another": (
        "loops/convolution.py", "load_into(x, into + q * sw) + load_from(columns", "0.0 * load_into(x, into + q * sw)"
        " + load_from(columns", PRODUCTS,
    ),
    "the last image alone makes the weights' gradient": (
        "loops/convolution.py", "wide, K, wide, n, 1)", "wide, K, wide, n, 0)", PRODUCTS
    ),
    "a softmax that is not divided": (
        "loops/softmax.py", "load_into(out, k) / total", "load_into(out, k) / (x.dtype.type(1.001) * total)", ROWS
    ),
    "the maximum of negative numbers is the least": (
        "loops/softmax.py", "return builder.xor(bits, builder.and_(builder.ashr(bits, sign), rest))", "return bits",
        ROWS,
    ),
    "an error keeps what its target is": (
        "loops/softmax.py", "out[i, target[i]] -= weight", "out[i, target[i]] -= 0 * weight", ROWS
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository by links, but the engine as files, with a place of its own for machine code."""
    place = tmp_path_factory.mktemp("copy")
    for entry in ROOT.iterdir():
        if entry.name != ENGINE and not entry.name.startswith("."):
            (place / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / ENGINE, place / ENGINE, ignore=shutil.ignore_patterns("__pycache__"))
    return place


def run(copy: Path, tests: str) -> tuple[int, str]:
    """Exit code and output of pytest over these tests in the copy: 1 when some failed."""
    environment = os.environ | {"TGSEQ_CACHE_DIR": str(copy / "machine-code"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"TGSEQ_NUM_MAILBOX": "2", "PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", tests]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=SECONDS)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("tests", [SQUARES, FOURIER, MAILBOX, PRODUCTS, ROWS])
def test_the_kernels_as_they_are_pass(copy: Path, tests: str) -> None:
    code, said = run(copy, tests)
    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_kernel_is_rejected(copy: Path, name: str) -> None:
    file, right, wrong, tests = MUTANTS[name]
    path = copy / ENGINE / file
    text = path.read_text(encoding="utf-8")
    assert right in text, f"{name}: what it changes is not there any more"
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    try:
        code, said = run(copy, tests)
    finally:
        path.write_text(text, encoding="utf-8")
    assert code == 1, f"the tests accept: {name}\n{said}"
    assert "AssertionError" in said, f"{name} fails otherwise than by being wrong:\n{said}"


def test_every_mutant_changes_what_is_there() -> None:
    """The mutants themselves take minutes; that their places exist is seen at once."""
    for name, (file, right, wrong, tests) in MUTANTS.items():
        assert right in (ROOT / ENGINE / file).read_text(encoding="utf-8"), name
        assert right != wrong and (ROOT / tests.partition("::")[0]).exists(), name
