"""Where generated source and its machine code are kept: one directory, files named by content.

A source file's name is a hash of its text and of everything its machine code depends on: the sources
of this package, the versions of Numba, llvmlite, NumPy, SciPy and Python, the processor. So nothing
here is ever invalidated: what changed has another name. Machine code lies beside its source, one
file an overload, behind a checksum; a damaged file counts as absent. Files are written under a
temporary name and renamed, so processes may race. What was not used for long goes, and the longest unused when there is
too much (`prune`). May not know what the sources compute.

The directory is TGSEQ_CACHE_DIR, else the user's cache directory; when neither can be written, a
temporary one for this process, with one warning.
"""

from __future__ import annotations

import atexit
import hashlib
import linecache
import os
import pickle
import platform
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import llvmlite
import numba
import numpy as np
import scipy
from numba.core import config, serialize
from numba.core.caching import CompileResultCacheImpl, _Cache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import rtsys

from tinygrad_seq.files import cache_home, write_file
from tinygrad_seq.kernels.target import magic

_PACKAGE = "tgseq_generated"  # the modules' parent in sys.modules
_CHECKSUM = 32
KEPT_DAYS = 60
KEPT_BYTES = 500_000_000

# Flags of compiled code. NaN and infinities are values here (no nnan, no ninf), and a division is a
# division: with arcp a vector x/0 becomes rcp(0) refined by Newton, which is NaN instead of inf.
# The functions of `kernels.math` carry flags of their own.
FASTMATH = frozenset({"contract", "reassoc", "nsz"})
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": set(FASTMATH)}

# Symbols that machine code may refer to without holding them, each with what has it in this process. Code
# loaded from disk must find them there: a missing one is a call of address 0.
EXTERNAL: dict[str, Callable[[], None]] = {}

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function of a generated source (`numba.njit`, OPTIONS), machine code cached on disk."""
    dispatcher = numba.njit(**OPTIONS)(function)
    if not config.DISABLE_JIT:
        dispatcher._cache = MachineCode(function)
    return dispatcher  # type: ignore[no-any-return]


def callback(function: Callable[..., Any], signature: Any) -> int:
    """The address of a function compiled for C callers, machine code cached on disk.

    The compiled object lives as long as the process: the address is baked into other code.
    """
    from numba.core import sigutils

    options = {k: v for k, v in OPTIONS.items() if k != "nogil"}
    compiled: Any = CFunc(function, sigutils.normalize_signature(signature), locals={}, options=options)
    compiled._cache = MachineCode(function)
    compiled.compile()
    _KEEP.append(compiled)
    return int(compiled.address)


_KEEP: list[Any] = []


class MachineCode(_Cache):  # type: ignore[misc]
    """Numba's cache protocol over one checksummed file an overload, beside the source file."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._source = Path(function.__code__.co_filename)
        self._name = f"{function.__qualname__}-{function.__code__.co_firstlineno}"
        self._enabled = True

    @property
    def cache_path(self) -> str:
        return str(self._source.parent)

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        for path in self._source.parent.glob(f"{self._source.stem}.{self._name}.*.bin"):
            path.unlink(missing_ok=True)

    def _path(self, signature: Any) -> Path:
        key = hashlib.sha256(str(signature).encode()).hexdigest()[:16]
        return self._source.with_name(f"{self._source.stem}.{self._name}.{key}.bin")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled overload, or None when it is absent, damaged or unreadable."""
        if not self._enabled:
            return None
        compiled = _kept(self._path(sig))
        if compiled is None:
            return None
        rtsys.initialize(target_context)  # compiled code calls it; the whole context is only needed to compile
        return CompileResult._rebuild(target_context, *compiled)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the overload; a full or read-only disk costs only the next start."""
        if not self._enabled or data.library.has_dynamic_globals or any(not x.can_cache for x in data.lifted):
            return
        module = data.library._final_module
        needed = [f.name for f in module.functions if f.is_declaration]
        _keep(self._path(sig), needed, CompileResultCacheImpl.reduce(None, data))


def object_code(path: Path, make: Callable[[], tuple[bytes, list[str]]]) -> bytes:
    """The object file kept at `path`, or what `make` makes (with the symbols it needs), kept from now on.

    The external symbols that it needs are there when this returns.
    """
    found = _kept(path)
    if found is None:
        found, needed = make()
        for name in needed:
            EXTERNAL.get(name, _nothing)()
        _keep(path, needed, found)
    assert isinstance(found, bytes)
    return found


def _nothing() -> None:
    pass


def _kept(path: Path) -> Any:
    """What is kept at a path, its external symbols ready; None when absent, damaged or unreadable."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[_CHECKSUM:]).digest() != data[:_CHECKSUM]:
        return None
    symbols, payload = pickle.loads(data[_CHECKSUM:])
    if not all(name in EXTERNAL for name in symbols):
        return None
    for name in symbols:
        EXTERNAL[name]()
    return payload


def _keep(path: Path, needed: Iterable[str], payload: Any) -> None:
    data = serialize.dumps((sorted(name for name in needed if name in EXTERNAL), payload))
    _write(path, hashlib.sha256(data).digest() + data)


def load_source(name: str, text: str) -> ModuleType:
    """The module that `text` is, its file in the cache directory, its kernels compiled or loaded.

    name  what the file's name begins with (for tracebacks and for people); letters, digits, _ and -
    The module is made once a process for equal name and text.
    """
    path = source_path(name, text)
    with global_compiler_lock:  # sources compile while they are loaded, compiling loads sources: one lock
        known = sys.modules.get(f"{_PACKAGE}.{path.stem}")
        if known is not None:
            return known
        data = text.encode()
        try:
            intact = path.read_bytes() == data
        except OSError:
            intact = False
        if intact:
            _touch(path)
        else:
            _prune_once()
            _write(path, data)
        module = ModuleType(f"{_PACKAGE}.{path.stem}", f"Generated source {name}.")
        module.__file__ = str(path)
        linecache.cache[str(path)] = (len(text), None, text.splitlines(keepends=True), str(path))
        sys.modules[module.__name__] = module
        try:
            exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            del sys.modules[module.__name__]
            raise
        return module


def source_path(name: str, text: str) -> Path:
    """Where `load_source` keeps this text: equal for equal text, versions, kernels and processor."""
    key = hashlib.sha256(f"{environment()}\0{text}".encode()).hexdigest()[:20]
    return cache_directory() / f"{re.sub(r'[^A-Za-z0-9_-]', '_', name) or 'source'}_{key}.py"


def _touch(path: Path) -> None:
    """Remember that a source was used, at most once a day."""
    try:
        if time.time() - path.stat().st_mtime > 86_400:
            os.utime(path)
    except OSError:
        pass  # a read-only cache is used as it is


@cache
def _prune_once() -> None:
    prune(cache_directory())


def prune(directory: Path, days: float = KEPT_DAYS, size: int = KEPT_BYTES) -> int:
    """Remove sources not used for `days`, and the longest unused until `size` bytes remain; with their machine code.

    Returns how many sources went. Another process that was about to load one of them compiles it again.
    """
    families: dict[str, list[Path]] = {}
    for path in directory.glob("*"):  # nothing, where there is no directory any more
        if re.search(r"_[0-9a-f]{20}$", path.name.split(".")[0]) and path.suffix in (".py", ".bin"):
            families.setdefault(path.name.split(".")[0], []).append(path)
    known = []
    for members in families.values():
        try:
            facts = [p.stat() for p in members]
        except OSError:
            continue  # another process is at it
        known.append((max(f.st_mtime for f in facts), sum(f.st_size for f in facts), members))
    total, gone = sum(amount for _, amount, _ in known), 0
    for used, amount, members in sorted(known, key=lambda k: k[0]):
        if total <= size and used > time.time() - 86_400 * days:
            break
        total, gone = total - amount, gone + 1
        for path in members:
            path.unlink(missing_ok=True)
    return gone


@cache
def environment() -> str:
    """A digest of what machine code depends on besides its own source."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    versions = (numba.__version__, llvmlite.__version__, scipy.__version__, np.__version__)
    python = (platform.python_implementation(), *sys.version_info[:3])
    settings = (config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.BOUNDSCHECK)
    digest.update(repr((versions, python, settings, magic(), os.environ.get("TGSEQ_PRODUCT", ""))).encode())
    return digest.hexdigest()


@cache
def cache_directory() -> Path:
    """The directory of generated files, made and known to be writable."""
    path = cache_home()
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(prefix=".probe", dir=path)
        os.close(handle)
        os.unlink(probe)
    except OSError as error:
        fallback = tempfile.mkdtemp(prefix="tgseq-")
        atexit.register(_remove, fallback, os.getpid())
        warnings.warn(
            f"cannot write the cache directory {path} ({error.strerror or error}); compiled code is kept in {fallback} "
            "and lost when this process ends. Set TGSEQ_CACHE_DIR to a directory that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
        return Path(fallback)
    return path


def _remove(directory: str, owner: int) -> None:
    if os.getpid() == owner:  # not a forked child
        shutil.rmtree(directory, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a disk that refuses is met with one warning."""
    try:
        write_file(path, data, parents=False, sync=False)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        warn_once(f"cannot keep compiled code in {path.parent} ({reason}); it is compiled anew next time")


@cache
def warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)
