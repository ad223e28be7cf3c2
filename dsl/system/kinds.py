"""What kind of value an expression of a system is: its time axes, feature shape, dtype and sharing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsl.system.dims import Dim
from dsl.system.system import Extent, Position, Present, Read, Size, Stream, System
from tinygrad_seq.symbol import Symbol

REDUCTIONS = ("sum", "mean", "max", "min", "logsumexp")  # over all features; with axis="t" they bind that axis
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
BILINEAR = ("mul", "matvec", "dot", "matmul", "outer")  # linear in each of two arguments
# what is defined for complex numbers; everything else needs their order, or one of several branches
COMPLEX = frozenset(
    "abs add angle cis concat conj cos cosh cumsum div dot equal exp fft fill ifft im log lookup matmul matvec mean "
    "modrelu mul neg not_equal outer part permute power re reciprocal reflect reflect_adjoint sigmoid sign sin sinh "
    "sqrt square stop_gradient sub sum tan tanh transpose unpermute where".split()
)


@dataclass(frozen=True, slots=True)
class Kind:
    """`axes` in the order of first appearance; `shared` means one value for all sequences."""

    axes: tuple[str, ...]
    shape: tuple[Dim, ...]
    dtype: str
    shared: bool


def kind_of(stream: Stream) -> Kind:
    """The kind of a stream read at its own steps."""
    return Kind(stream.axes, stream.shape, stream.dtype, stream.shared)


def named_axis(node: Symbol) -> str | None:
    """The time axis that a reduction runs over, None for a feature reduction or another operation."""
    axis = node.options.get("axis") if node.op is not None else None
    return axis if isinstance(axis, str) else None


def binds(node: Symbol) -> str | None:
    """The axis that disappears at this node (`sum[s]`); softmax[s] keeps its axis."""
    axis = named_axis(node)
    return axis if axis is not None and node.op is not None and node.op.name in REDUCTIONS else None


class Kinds:
    """Kinds of expressions over one system's streams, each node computed once."""

    def __init__(self, system: System | Mapping[str, Stream]) -> None:
        self.streams: Mapping[str, Stream] = system.streams if isinstance(system, System) else system
        self._memo: dict[Symbol, Kind] = {}

    def of(self, root: Symbol) -> Kind:
        memo = self._memo
        stack = [root] if root not in memo else []
        while stack:
            node = stack[-1]
            missing = [a for a in node.args if a not in memo]
            stack += missing
            if not missing:
                memo[node] = self._leaf(node) if node.op is None else self._node(node, [memo[a] for a in node.args])
                stack.pop()
        return memo[root]

    def _leaf(self, node: Symbol) -> Kind:
        leaf = node.leaf
        if isinstance(leaf, Read):
            stream = self.streams[leaf.name]
            axes = tuple(dict.fromkeys(i.axis for i in leaf.index if i.axis is not None))
            return Kind(axes, stream.shape, stream.dtype, stream.shared and not leaf.index)
        if isinstance(leaf, Position):
            return Kind((leaf.axis,), (), "real", False)
        if isinstance(leaf, Present):
            return Kind((leaf.axis,), (), "boolean", False)
        if isinstance(leaf, Extent):
            return Kind((leaf.axis,) if leaf.inside else (), (), "real", False)
        if isinstance(leaf, Size):
            return Kind((), (), "real", True)
        return Kind((), (), "complex" if isinstance(leaf, complex) else "real", True)

    def _node(self, node: Symbol, kinds: list[Kind]) -> Kind:
        assert node.op is not None
        name, options = node.op.name, node.options
        axes = tuple(dict.fromkeys(a for k in kinds for a in k.axes))
        shared = all(k.shared for k in kinds)
        dtype = "complex" if any(k.dtype == "complex" for k in kinds) else "real"
        if name in ("re", "im", "abs", "angle"):
            dtype = "real"
        if name in ("cis", "fft", "ifft"):
            dtype = "complex"
        if name in COMPARISONS:
            dtype = "boolean"
        if name == "categorical_icdf" or (name == "where" and kinds[1].dtype == kinds[2].dtype == "category"):
            dtype = "category"
        axis = named_axis(node)
        if axis is not None:
            if name in REDUCTIONS:
                axes = tuple(a for a in axes if a != axis)
            return Kind(axes, kinds[0].shape, dtype, False)
        if name == "one_hot":
            size = node.args[1].leaf
            assert isinstance(size, Size | int | float)
            return Kind(axes, (size.dim if isinstance(size, Size) else Dim.of(int(size)),), dtype, shared)
        return Kind(axes, tuple(node.op.shape(*[k.shape for k in kinds], **options)), dtype, shared)
