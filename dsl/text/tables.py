"""The parser's tables, kept on disk: building them from the grammar takes ten times as long as reading them.

One file in the cache directory, named by the grammar, the sources of this package (whose tree builder is in it) and
the versions of Lark and Python; behind a checksum, written whole or not at all. What cannot be read or written
costs only time. Knows nothing of the grammar.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import lark
import platformdirs
from lark import Lark

_CHECKSUM = 32


def kept(grammar: str, build: Callable[[], Lark]) -> Lark:
    """The parser of a grammar, from disk if it is there, else built and kept."""
    wanted = os.environ.get("TGSEQ_CACHE_DIR")
    directory = Path(wanted).expanduser() if wanted else platformdirs.user_cache_path("tgseq", appauthor=False)
    digest = hashlib.sha256(f"{lark.__version__}\0{sys.version}\0{grammar}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    path = directory / f"grammar_{digest.hexdigest()[:20]}.bin"
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[_CHECKSUM:]).digest() == data[:_CHECKSUM]:
            return Lark.load(io.BytesIO(data[_CHECKSUM:]))
    except OSError:
        pass
    parser = build()
    file = io.BytesIO()
    parser.save(file)
    _write(path, hashlib.sha256(file.getvalue()).digest() + file.getvalue())
    return parser


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".grammar", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        pass


__all__ = ["kept"]
