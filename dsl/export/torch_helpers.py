"""What an exported module calls besides torch itself. This file's text is part of every export.

Values are (steps..., B, features...). Where a sequence has no such step a read gives the stream's boundary, and a
reduction leaves the step out, so that what stands in padding never reaches a result or a gradient.
"""

import torch
from torch import Tensor


def inside(steps: int, length: Tensor) -> Tensor:
    """Which steps (steps, B) the sequences have."""
    return torch.arange(steps, device=length.device)[:, None] < length


def features(mask: Tensor, like: Tensor) -> Tensor:
    """A mask (steps..., B) with dims of 1 for the features of `like`."""
    return mask.reshape(*mask.shape, *[1] * (like.dim() - mask.dim()))


def clean(value: Tensor, masks: list[Tensor], padding: float = 0) -> Tensor:
    """A stream with `padding` wherever a sequence has no such step."""
    mask = masks[0]
    for other in masks[1:]:
        mask = mask & other
    return torch.where(features(mask, value), value, torch.full((), padding, dtype=value.dtype, device=value.device))


def stack(values: dict[int, Tensor], steps: int, dim: int, empty: Tensor) -> Tensor:
    """What a loop made, as one tensor along `dim`."""
    return torch.stack([values[i] for i in range(steps)], dim) if steps else empty


def look(value: Tensor, index: list[Tensor], length: list[Tensor], boundary: Tensor) -> Tensor:
    """A stream (steps..., B, features...) at one index a time axis, each (..., B); its boundary outside 0..length-1."""
    batch = torch.arange(length[0].shape[0], device=value.device)
    within = torch.ones((), dtype=torch.bool, device=value.device)
    where = []
    for i, n, steps in zip(index, length, value.shape, strict=False):
        within = within & (i >= 0) & (i < n)
        where.append(i.clamp(0, max(steps - 1, 0)))
    if 0 in value.shape[: len(index)]:
        shape = torch.broadcast_shapes(*(i.shape for i in index), batch.shape)
        return boundary.expand(*shape, *value.shape[len(index) + 1 :])
    found = value[(*torch.broadcast_tensors(*where, batch),)]
    within = within.expand(found.shape[: within.dim()]) if within.dim() else within.expand(batch.shape)
    return torch.where(features(within, found), found, boundary)


def ahead(value: Tensor | None, places: list[tuple[int, Tensor]], boundary: Tensor) -> Tensor:
    """What a loop made at a later step, where the sequence has that step: (step, length) an axis."""
    if value is None:
        return boundary
    mask = torch.stack([step < length for step, length in places]).all(0)
    return torch.where(mask.reshape(-1, *[1] * (boundary.dim() - 1)), value, boundary)


def filled(value: Tensor, mask: Tensor, filler: float) -> Tensor:
    """`value` at the steps that the sequences have, a number elsewhere."""
    return torch.where(mask, value, torch.full((), filler, dtype=value.dtype, device=value.device))


def total(value: Tensor, mask: Tensor, dim: int, keep: bool) -> Tensor:
    """A sum over the steps that the sequences have; the others of this kind likewise."""
    return filled(value, mask, 0).sum(dim, keepdim=keep)


def average(value: Tensor, mask: Tensor, dim: int, keep: bool) -> Tensor:
    return total(value, mask, dim, keep) / mask.sum(dim, keepdim=keep)


def largest(value: Tensor, mask: Tensor, dim: int, keep: bool) -> Tensor:
    return filled(value, mask, -torch.inf).amax(dim, keepdim=keep)


def smallest(value: Tensor, mask: Tensor, dim: int, keep: bool) -> Tensor:
    return filled(value, mask, torch.inf).amin(dim, keepdim=keep)


def logsumexp(value: Tensor, mask: Tensor, dim: int, keep: bool) -> Tensor:
    return filled(value, mask, -torch.inf).logsumexp(dim, keepdim=keep)


def softmax(value: Tensor, mask: Tensor, dim: int, keep: bool) -> Tensor:
    return filled(value, mask, -torch.inf).softmax(dim)


def log_softmax(value: Tensor, mask: Tensor, dim: int, keep: bool) -> Tensor:
    return filled(value, mask, -torch.inf).log_softmax(dim)


def nonempty(length: Tensor, what: str) -> None:
    """A mean, maximum or softmax needs a step."""
    if (length == 0).any():
        raise ValueError(f"{what} of sequence {int((length == 0).nonzero()[0])}, which has no steps")


def one_hot(index: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Categories as vectors; -1 is the zero vector."""
    return (index[..., None] == torch.arange(count, device=index.device)).to(dtype)


def columns(matrix: Tensor, index: Tensor) -> Tensor:
    """Columns of a matrix (H, K) by category; -1 is the zero vector."""
    found = matrix.T[index.clamp(min=0)]
    return torch.where((index >= 0)[..., None], found, torch.zeros((), dtype=found.dtype, device=found.device))


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-log softmax(logits)[target], one value a row."""
    shape = torch.broadcast_shapes(logits.shape[:-1], target.shape)
    logits, target = logits.expand(*shape, logits.shape[-1]), target.expand(shape)
    chosen = logits.gather(-1, target.clamp(min=0)[..., None])[..., 0]
    return logits.logsumexp(-1) - torch.where(target >= 0, chosen, torch.zeros_like(chosen))


def concat(*values: Tensor) -> Tensor:
    """Feature vectors one behind the other."""
    shape = torch.broadcast_shapes(*(v.shape[:-1] for v in values))
    return torch.cat([v.expand(*shape, v.shape[-1]) for v in values], dim=-1)


def drawn(kind: str, numbers: list[float], training: bool, shape: tuple[int, ...], like: dict[str, object]) -> Tensor:
    """Noise: fresh in training, its mean otherwise."""
    u, first, last = torch.rand(shape, **like), numbers[0], numbers[-1]
    if kind == "dropout":
        value, mean = (u >= first) / (1 - first), 1.0
    elif kind == "bernoulli":
        value, mean = u < first, first
    elif kind == "normal":
        value, mean = first + last * torch.randn(shape, **like), first
    else:
        value, mean = first + (last - first) * u, (first + last) / 2
    return value.to(u.dtype) if training else torch.full(shape, mean, **like)
