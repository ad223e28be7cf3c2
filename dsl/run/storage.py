"""Models on disk: one safetensors file with the cell's text, its arguments, the parameters and, in training, the rest.

A file is written beside its place and moved there, so that a reader finds the old one or the new one, whole. The
sources travel along, imports included: a model is restored from its file alone, whatever has become of the library.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from dsl.system.resolve import resolve
from dsl.system.scope import open_scope
from dsl.text.parse import parse
from dsl.text.tree import File, Ref, Use
from tinygrad_seq.files import write_file

if TYPE_CHECKING:
    from dsl.run.model import Model

FORMAT = "tgseq-model"
CHECKPOINT = "checkpoint.safetensors"  # of a training: all there is to go on from
BEST = "best.safetensors"  # of a training: the model of the least validation loss
VERSION = 1


@dataclass(frozen=True)
class Origin:
    """Where a model's system comes from: the cell, its arguments (sizes, numbers, names of cells) and the texts.

    files  file name -> text: the main file first, then all that it imports or takes from the library
    """

    cell: str
    arguments: Mapping[str, Any]
    files: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def origin_of(file: File, cell: str, arguments: Mapping[str, Any]) -> Origin:
    """The texts that resolving `cell` of `file` reads. A library cell named without import gets one."""
    files: dict[str, str] = {}
    lines: list[str] = []
    names = [str(v) for v in arguments.values() if isinstance(v, str)]
    pending = [(open_scope(file), _name(file, "main.cell"))]
    while pending:
        scope, name = pending.pop(0)
        if name in files:
            continue
        files[name] = scope.file.source.text
        used = [s.cell for c in scope.file.cells.values() for s in c.body if isinstance(s, Use)]
        defaults = [
            p.default.name for c in scope.file.cells.values() for p in c.parameters if isinstance(p.default, Ref)
        ]
        for other in dict.fromkeys([*scope.cells, *used, *defaults, *names]):
            found = scope.cell(other)
            if found is None:
                continue
            home = found[1]
            if home.file.source is scope.file.source:
                continue
            module = _name(home.file, f"{other}.cell")
            pending.append((home, module))
            if other not in scope.cells and len(files) == 1:
                lines.append(f"from {Path(module).stem} import {other}")
        for macro in scope.macros.values():
            if macro[1].file.source is not scope.file.source:
                pending.append((macro[1], _name(macro[1].file, "macros.cell")))
    main = next(iter(files))
    files[main] = "\n".join([*dict.fromkeys(lines), files[main]])
    return Origin(cell, dict(arguments), files)


def _name(file: File, otherwise: str) -> str:
    path = Path(file.source.path)
    return path.name if path.suffix == ".cell" else otherwise


def rebuild(origin: Origin) -> Any:
    """The bound system of an origin, from its own texts."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in origin.files.items():
            Path(folder, Path(name).name).write_text(text, encoding="utf-8")
        main = next(iter(origin.files))
        file = parse(origin.files[main], str(Path(folder, main)))
        system, _ = resolve(file, origin.cell, dict(origin.arguments))
    return system.bind({k: v for k, v in origin.arguments.items() if isinstance(v, int)})


# ---------------------------------------------------------------- writing


def save(
    model: Model,
    path: str | Path,
    optimizer: Any = None,
    *,
    arrays: Mapping[str, np.ndarray[Any, Any]] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model. `arrays` and `training` are what a checkpoint of `fit` adds.

    Errors: ValueError for a model that came from no text; OSError, with the path, when the place cannot be written
    (an earlier file there is untouched).
    """
    if model.origin is None:
        raise ValueError(f"{model.system.name} was built from a system, not from a text: there is no source to save")
    import dsl

    tensors = {f"param/{n}": np.asarray(t.data, order="C") for n, t in model.params.items()}
    about: dict[str, Any] = {
        "cell": model.origin.plain(),
        "dtype": model.dtype.name,
        "seed": model.seed,
        "remat": model.segments is not None,
        "symbols": list(model.symbols) if model.symbols is not None else None,
        "versions": {"tgseq": getattr(dsl, "__version__", "0.1.0"), "numpy": np.__version__},
    }
    if optimizer is not None:
        about["optimizer"] = type(optimizer).__name__
        tensors |= {f"optimizer/{n}": np.asarray(a, order="C") for n, a in optimizer.state_dict().items()}
    if training is not None:
        about["training"] = dict(training)
    for name, array in (arrays or {}).items():
        tensors[name] = np.asarray(array, order="C")
    metadata = {"format": FORMAT, "version": str(VERSION), "about": json.dumps(about)}
    content = safetensors.numpy.save(tensors, metadata)
    return write_file(Path(path), content)


# ---------------------------------------------------------------- reading


@dataclass
class Stored:
    """A file's content: `about` as it was saved, tensors by name."""

    path: Path
    about: dict[str, Any]
    tensors: dict[str, np.ndarray[Any, Any]]

    def optimizer_state(self) -> dict[str, Any] | None:
        """The optimizer's state_dict, when one was saved."""
        return self.under("optimizer/") if self.about.get("optimizer") else None

    def under(self, prefix: str) -> dict[str, np.ndarray[Any, Any]]:
        """The tensors whose names start so, without that start."""
        return {n.removeprefix(prefix): a for n, a in self.tensors.items() if n.startswith(prefix)}


def read(path: str | Path) -> Stored:
    """A saved model's content. Errors: ValueError, in one line, for a missing, truncated or foreign file."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    except (ValueError, UnicodeDecodeError):
        raise ValueError(f"{path} is no saved model, or only the beginning of one") from None
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is a safetensors file, but not a model saved here: it holds no cell")
    if int(metadata.get("version", 0)) > VERSION:
        raise ValueError(f"{path} was saved by a later version; update tinygrad-seq")
    try:
        tensors = safetensors.numpy.load(content)
        about = json.loads(metadata["about"])
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from None
    return Stored(path, about, dict(tensors))


def restore(path: str | Path) -> Model:
    """The model of a file that `Model.save` or a checkpoint wrote, or of a training's folder: its best weights when
    something was held out, else the last ones. Errors: as `read`.
    """
    path = Path(path)
    if path.is_dir():
        path = next((path / name for name in (BEST, CHECKPOINT) if (path / name).exists()), path / CHECKPOINT)
    return model_of(read(path))


def model_of(stored: Stored) -> Model:
    """The model in a file's content."""
    from dsl.run.model import Model  # which saves itself: a circle

    try:
        about = stored.about
        origin, options = Origin(**about["cell"]), {"remat": about.get("remat", False)}
        model = Model(rebuild(origin), seed=about["seed"], dtype=about["dtype"], origin=origin, **options)
        for name in model.params:
            model.params[name] = stored.tensors[f"param/{name}"]
    except KeyError as error:
        raise ValueError(f"{stored.path} is damaged: it lacks {error}") from None
    model.optimizer_state = stored.optimizer_state()
    symbols = stored.about.get("symbols")
    model.symbols = tuple(symbols) if symbols is not None else None
    return model
