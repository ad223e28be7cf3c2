"""Files written whole or not at all, and where caches are kept. Imports nothing heavy: a warm start reads it."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import platformdirs


def write_file(path: Path, content: bytes, *, parents: bool = True, sync: bool = True) -> Path:
    """All of `content` at `path`, or what was there before; processes and threads may write it at once.

    parents  make missing folders
    sync     wait for the disk: for what cannot be made again
    Errors: OSError naming the path and the reason.
    """
    beside = path.with_name(f".{path.name[:60]}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink()
        if not isinstance(error, OSError):
            raise
        kept = "; the file that was there is untouched" if path.exists() else ""
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}{kept}") from None
    return path


def cache_home() -> Path:
    """TGSEQ_CACHE_DIR, else the user's cache directory; it need not exist."""
    wanted = os.environ.get("TGSEQ_CACHE_DIR")
    return Path(wanted).expanduser().absolute() if wanted else platformdirs.user_cache_path("tgseq", appauthor=False)


__all__ = ["cache_home", "write_file"]
