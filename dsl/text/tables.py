"""The parser's tables, kept on disk: building them from the grammar takes ten times as long as reading them.

One file in the cache directory, named by the grammar, the sources of this package (whose tree builder is in it) and
the versions of Lark and Python; behind a checksum, written whole or not at all. What cannot be read or written
costs only time. Knows nothing of the grammar.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lark
from lark import Lark

from tinygrad_seq.files import cache_home, write_file

_CHECKSUM = 32


def kept(grammar: str, build: Callable[[], Lark]) -> Lark:
    """The parser of a grammar, from disk if it is there, else built and kept."""
    digest = hashlib.sha256(f"{lark.__version__}\0{sys.version}\0{grammar}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    path = cache_home() / f"grammar_{digest.hexdigest()[:20]}.bin"
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[_CHECKSUM:]).digest() == data[:_CHECKSUM]:
            return Lark.load(io.BytesIO(data[_CHECKSUM:]))
    except OSError:
        pass
    parser = build()
    file = io.BytesIO()
    parser.save(file)
    with suppress(OSError):
        write_file(path, hashlib.sha256(file.getvalue()).digest() + file.getvalue(), sync=False)
    return parser


__all__ = ["kept"]
