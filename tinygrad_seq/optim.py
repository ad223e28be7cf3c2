"""Optimisers over a mapping of named tensors, and gradient clipping.

A step changes the tensors' values in place. `state_dict()` is a flat mapping of named arrays, so that it
saves as it is; loaded again, training goes on bit for bit. `lr` and the other settings are plain
attributes and may be changed between steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from tinygrad_seq.changes import touch
from tinygrad_seq.loops import each
from tinygrad_seq.tensor import Tensor

Array = np.ndarray[Any, Any]
Retraction = Callable[[Array], Array]


class Optimizer:
    """Common part: names, the step count, gradients, saved state.

    params   name -> Tensor; a list is numbered
    kept     name -> retraction, applied to the new value after each step (a parameter that has to stay
             orthogonal, say); a model's parameters bring theirs along (`params.kept`)
    """

    slots: tuple[str, ...] = ()  # arrays kept for each parameter
    settings: tuple[str, ...] = ("lr",)  # numbers saved with the state

    def __init__(
        self,
        params: Mapping[str, Tensor] | list[Tensor],
        lr: float,
        *,
        kept: Mapping[str, Retraction] | None = None,
    ) -> None:
        named = params if isinstance(params, Mapping) else {str(i): p for i, p in enumerate(params)}
        if not named:
            raise ValueError("an optimizer needs at least one parameter")
        if not lr >= 0:
            raise ValueError(f"lr must be 0 or more, not {lr}")
        self.params: dict[str, Tensor] = dict(named.items())
        self.kept: dict[str, Retraction] = dict(getattr(params, "kept", {}) if kept is None else kept)
        unknown = sorted(set(self.kept) - set(self.params))
        if unknown:
            raise ValueError(f"kept names no parameter: {', '.join(unknown)}")
        self.lr = lr
        self.steps = 0
        self.state: dict[str, dict[str, Array]] = {
            slot: {name: np.zeros(p.shape, p.dtype) for name, p in self.params.items()} for slot in self.slots
        }

    def step(self, grads: Mapping[str, Any] | None = None) -> None:
        """One update, from `grads` (name -> array) or, without, from each tensor's `grad`.

        A parameter without a gradient stays as it is. An unknown name or a wrong shape is a ValueError,
        and then nothing was changed.
        """
        given = self._gradients(grads)
        self.steps += 1
        values = {n: a if a.flags.c_contiguous else a.copy() for n, a in ((n, self.params[n].data) for n in given)}
        work: dict[tuple[str, str], tuple[list[tuple[Array, ...]], list[tuple[float, ...]]]] = {}
        for name, own in values.items():
            loop, slots, row = self._rule(name)
            groups, rows = work.setdefault((loop, own.dtype.char), ([], []))
            groups.append((own, np.ascontiguousarray(given[name]), *[self.state[s][name] for s in slots]))
            rows.append(row)
        for (loop, char), (groups, rows) in work.items():
            each("update", loop, groups, np.array(rows, number_type(char)))
        touch(*values.values())
        for name, own in values.items():
            p = self.params[name]
            if name in self.kept:
                p.assign(self.kept[name](own))
            elif own is not p.data:
                p.assign(own)

    def _gradients(self, grads: Mapping[str, Any] | None) -> dict[str, Array]:
        if grads is None:
            found: dict[str, Any] = {n: p.grad for n, p in self.params.items()}
        else:
            if not grads.keys() <= self.params.keys():
                unknown = sorted(grads.keys() - self.params.keys())
                raise ValueError(f"gradients for unknown parameters: {', '.join(unknown)}")
            found = {n: grads.get(n) for n in self.params}
        result: dict[str, Array] = {}
        for name, g in found.items():
            if g is None:
                continue
            p = self.params[name]
            array = np.asarray(g.data if isinstance(g, Tensor) else g)
            if array.shape != p.data.shape:
                raise ValueError(f"the gradient of {name} has shape {array.shape}, the parameter {p.shape}")
            result[name] = array.astype(p.data.dtype, copy=False)
        return result

    def _rule(self, name: str) -> tuple[str, tuple[str, ...], tuple[float, ...]]:
        """A parameter's update: a loop of `loops/update.py`, the slots it takes, and its numbers."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the tensors' gradients."""
        for p in self.params.values():
            p.grad = None

    def state_dict(self) -> dict[str, Array]:
        """Copies of all there is to resume from: `steps`, the settings, and `slot/parameter` arrays."""
        result: dict[str, Array] = {"steps": np.array(self.steps, np.int64)}
        result |= {s: np.array(getattr(self, s), np.float64) for s in self.settings}
        for slot, arrays in self.state.items():
            result |= {f"{slot}/{name}": a.copy() for name, a in arrays.items()}
        return result

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; ValueError (and no change) when it is another optimizer's."""
        mine = self.state_dict()
        missing, extra = sorted(set(mine) - set(saved)), sorted(set(saved) - set(mine))
        if missing or extra:
            parts = [
                f"{word} {', '.join(names[:5])}" for word, names in (("missing", missing), ("extra", extra)) if names
            ]
            raise ValueError(f"not the state of this {type(self).__name__}: {'; '.join(parts)}")
        for key, array in mine.items():
            if np.shape(saved[key]) != array.shape:
                raise ValueError(f"state {key} has shape {np.shape(saved[key])}, expected {array.shape}")
        self.steps = int(saved["steps"])
        for s in self.settings:
            setattr(self, s, float(saved[s]))
        for slot, arrays in self.state.items():
            for name, a in arrays.items():
                a[...] = np.asarray(saved[f"{slot}/{name}"])

    def __repr__(self) -> str:
        settings = ", ".join(f"{s}={getattr(self, s):g}" for s in self.settings)
        return f"{type(self).__name__}({len(self.params)} parameters, {settings}, {self.steps} steps)"


class SGD(Optimizer):
    """v ← momentum·v + g; θ ← θ − lr·v, or with Nesterov's look-ahead θ − lr·(g + momentum·v)."""

    slots = ("velocity",)
    settings = ("lr", "momentum", "weight_decay")

    def __init__(
        self,
        params: Mapping[str, Tensor] | list[Tensor],
        lr: float = 1e-2,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        kept: Mapping[str, Retraction] | None = None,
    ) -> None:
        if nesterov and not momentum > 0:
            raise ValueError("nesterov needs a momentum above 0")
        super().__init__(params, lr, kept=kept)
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay

    def _rule(self, name: str) -> tuple[str, tuple[str, ...], tuple[float, ...]]:
        if not self.momentum:
            return "descend", (), (self.lr, self.weight_decay)
        return "momentum", self.slots, (self.lr, self.momentum, self.weight_decay, float(self.nesterov))


class RMSProp(Optimizer):
    """s ← decay·s + (1 − decay)·|g|²; θ ← θ − lr·g/(√s + eps) (Tieleman and Hinton 2012)."""

    slots = ("square",)
    settings = ("lr", "decay", "eps")

    def __init__(
        self,
        params: Mapping[str, Tensor] | list[Tensor],
        lr: float = 1e-2,
        decay: float = 0.99,
        eps: float = 1e-8,
        *,
        kept: Mapping[str, Retraction] | None = None,
    ) -> None:
        super().__init__(params, lr, kept=kept)
        self.decay, self.eps = decay, eps

    def _rule(self, name: str) -> tuple[str, tuple[str, ...], tuple[float, ...]]:
        return "rmsprop", self.slots, (self.lr, self.decay, self.eps)


class Adagrad(Optimizer):
    """s ← s + |g|²; θ ← θ − lr·g/(√s + eps) (Duchi, Hazan and Singer 2011)."""

    slots = ("square",)
    settings = ("lr", "eps")

    def __init__(
        self,
        params: Mapping[str, Tensor] | list[Tensor],
        lr: float = 1e-2,
        eps: float = 1e-10,
        *,
        kept: Mapping[str, Retraction] | None = None,
    ) -> None:
        super().__init__(params, lr, kept=kept)
        self.eps = eps

    def _rule(self, name: str) -> tuple[str, tuple[str, ...], tuple[float, ...]]:
        return "adagrad", self.slots, (self.lr, self.eps)


class Adam(Optimizer):
    """Moments with bias correction (Kingma and Ba 2015, algorithm 1); weight decay enters the gradient."""

    slots = ("first", "second")
    settings = ("lr", "beta1", "beta2", "eps", "weight_decay")
    decoupled = False

    def __init__(
        self,
        params: Mapping[str, Tensor] | list[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        kept: Mapping[str, Retraction] | None = None,
    ) -> None:
        if not all(0 <= b < 1 for b in betas):
            raise ValueError(f"betas must lie in [0, 1), not {betas}")
        super().__init__(params, lr, kept=kept)
        (self.beta1, self.beta2), self.eps, self.weight_decay = betas, eps, weight_decay
        self.counts = dict.fromkeys(self.params, 0)  # a parameter's own updates
        self._latest: tuple[tuple[float, ...], tuple[float, ...]] = (), ()  # settings, and the numbers they give

    def _rule(self, name: str) -> tuple[str, tuple[str, ...], tuple[float, ...]]:
        n = self.counts[name] = self.counts[name] + 1
        return "adam", self.slots, self._numbers(n)

    def _numbers(self, n: int) -> tuple[float, ...]:
        """Those of an update that is a parameter's n-th: nearly always the same for all of them."""
        settings = n, self.lr, self.beta1, self.beta2, self.eps, self.weight_decay
        if settings != self._latest[0]:
            rate, root = self.lr / (1 - self.beta1**n), math.sqrt(1 - self.beta2**n)
            decay, own = (0.0, self.lr * self.weight_decay) if self.decoupled else (self.weight_decay, 0.0)
            self._latest = settings, (rate, self.beta1, self.beta2, root, self.eps, decay, own)
        return self._latest[1]

    def state_dict(self) -> dict[str, Array]:
        return super().state_dict() | {f"count/{n}": np.array(c, np.int64) for n, c in self.counts.items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        super().load_state_dict(saved)
        self.counts = {name: int(saved[f"count/{name}"]) for name in self.counts}


class AdamW(Adam):
    """Adam whose weight decay acts on the parameter itself (Loshchilov and Hutter 2019)."""

    decoupled = True

    def __init__(
        self,
        params: Mapping[str, Tensor] | list[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        kept: Mapping[str, Retraction] | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, kept=kept)


@cache
def number_type(char: str) -> np.dtype[Any]:
    """The dtype of real numbers of a dtype's precision."""
    return np.zeros(0, char).real.dtype


def clip_by_norm(grads: Mapping[str, Any] | list[Any], max_norm: float) -> float:
    """Scale all gradients (arrays or tensors, in place) so that their joint norm is at most `max_norm`.

    Returns the norm they had. The direction is kept, and a norm below the bound changes nothing.
    FloatingPointError, and no change, when the norm is not finite.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, not {max_norm}")
    values = list(grads.values()) if isinstance(grads, Mapping) else list(grads)
    arrays = [g.data if isinstance(g, Tensor) else g for g in values if g is not None]
    norm = joint_norm(arrays)
    if not math.isfinite(norm):
        raise FloatingPointError("the gradients' norm is not finite: they hold NaN or an infinity, or overflow")
    if norm > max_norm:
        for a in arrays:
            np.multiply(a, number_type(a.dtype.char).type(max_norm / norm), out=a)
    return norm


def joint_norm(arrays: Sequence[Array]) -> float:
    """√Σ|x|² over all numbers of some arrays, in float64; infinite if one is not finite, or their sum."""
    kinds: dict[str, list[tuple[Array, ...]]] = {}
    for a in arrays:
        kinds.setdefault(a.dtype.char, []).append((np.ascontiguousarray(a),))
    squares: list[float] = []
    for groups in kinds.values():
        sums = np.empty((len(groups), 1))
        each("update", "squares", groups, sums)
        squares += sums[:, 0].tolist()
    return math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else math.inf


def orthogonal_retraction(w: Array) -> Array:
    """The orthonormal (unitary) matrix that QR makes of w, with phases that keep it near w; in float64 inside."""
    wide = w.astype(np.result_type(w, np.float64))
    q, r = np.linalg.qr(wide if w.shape[0] >= w.shape[1] else wide.T)
    diagonal = np.diagonal(r)
    q = q * np.where(diagonal == 0, 1.0, diagonal / np.where(diagonal == 0, 1.0, np.abs(diagonal)))
    result: Array = (q if w.shape[0] >= w.shape[1] else q.T).astype(w.dtype)
    return result


def norm_retraction(w: Array) -> Array:
    """w, or each row of a matrix w, scaled to length 1; in float64 inside. A row of zeros stays."""
    wide = w.astype(np.result_type(w, np.float64))
    length = np.linalg.norm(wide, axis=-1, keepdims=True)
    result: Array = (wide / np.where(length == 0, 1.0, length)).astype(w.dtype)
    return result


# initialiser -> what holds a parameter on the set that it starts in; an initialiser's `gain` scales the set
RETRACTIONS: dict[str, Retraction] = {
    "orthogonal": orthogonal_retraction,
    "unitary": orthogonal_retraction,
    "norm": norm_retraction,
}


class Scaled:
    """A retraction onto `gain` times a set."""

    def __init__(self, retraction: Retraction, gain: float) -> None:
        self.retraction, self.gain = retraction, gain

    def __call__(self, w: Array) -> Array:
        result: Array = (self.gain * self.retraction(w / self.gain)).astype(w.dtype)
        return result
