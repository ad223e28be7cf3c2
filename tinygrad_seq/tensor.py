"""Tensors: arrays that remember how they were computed.

What reads a primitive on tensors is here; the nodes and the backward pass are the tape's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinygrad_seq import protocol
from tinygrad_seq.arraylike import ArrayMethods, functions
from tinygrad_seq.derivative import known
from tinygrad_seq.errors import GradientError
from tinygrad_seq.nodes import Edge, Leaf, Node, Source, Step, edge_of, source_of
from tinygrad_seq.ops.index import ONCE, Key
from tinygrad_seq.primitive import REGISTRY, Primitive
from tinygrad_seq.reading import constant, rules_for, settled
from tinygrad_seq.state import ours, state, user_line
from tinygrad_seq.tape import backward, touch, use_tensors

Array = np.ndarray[Any, Any]
_getframe, _step, _blank = sys._getframe, Step.make, object.__new__
_GETITEM = REGISTRY["getitem"]
_FLOAT, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


class Tensor(ArrayMethods):
    """A NumPy array, its place on the tape, its gradient and its name.

    `data` is the array itself, to be read; `numpy()` a read-only view of it; `assign` and `t[key] = value`
    change it in place, which the backward pass notices. float32 stays float32: plain numbers and NumPy
    scalars do not widen it, float64 arrays do.
    """

    __slots__ = ("data", "source", "grad", "name", "__weakref__")
    reading_level = 1

    data: Array
    source: Source
    grad: Tensor | None
    name: str | None

    def __init__(
        self,
        value: ArrayLike | Tensor,
        *,
        requires_grad: bool = False,
        name: str | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        """A copy of `value` (dtype kept unless given). A gradient needs a floating dtype."""
        self.data = np.array(value.data if isinstance(value, Tensor) else value, dtype=dtype)
        if self.data.dtype.kind not in "fciub":
            raise TypeError(f"a tensor holds numbers, not {self.data.dtype} (shape {self.data.shape})")
        self.source = self.grad = None
        self.name = name
        if requires_grad:
            self._track()

    @classmethod
    def wrap(cls, array: Any) -> Tensor:
        """A tensor over this very array, off the tape."""
        self = object.__new__(cls)
        self.data = array if type(array) is np.ndarray else np.asarray(array)
        self.source = self.grad = self.name = None
        return self

    @classmethod
    def on_tape(cls, array: Any, edge: Edge) -> Tensor:
        """A tensor over this very array, as the output that `edge` names."""
        self = cls.wrap(array)
        self.source = source_of(edge)
        return self

    def _track(self) -> None:
        if self.data.dtype.kind not in "fc":
            raise TypeError(f"a gradient needs a floating dtype, not {self.data.dtype}: tensor(..., dtype='float32')")
        self.source = Leaf(self)

    # ------------------------------------------------------------ reading primitives

    @classmethod
    def read(cls, op: Primitive, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """What calling a primitive with a tensor among its arguments means."""
        values: list[Any] = []
        sources: list[Source] = []
        needs, common = 1, None  # a leading 1, then a bit for each argument; the one dtype of all arrays, else False
        for a in args:
            if isinstance(a, Tensor):
                needs += needs
                source = a.source
                if source is not None:
                    needs += 1
                sources.append(source)
                a = a.data
                if a.dtype is not common:
                    common = a.dtype if common is None else False
            else:
                needs += needs
                sources.append(None)
                if type(a) is not float:
                    a = constant(a)
                    if type(a) is np.ndarray and a.dtype is not common:
                        common = a.dtype if common is None else False
            values.append(a)
        if not op.complex_numbers and common is not _DOUBLE and common is not _FLOAT:
            op.refuse_complex(values)
        out = op.impl(*values, **static)
        if type(out) is not np.ndarray:
            if isinstance(out, (tuple, int)):  # a shape or a size
                return out
            out = np.asarray(out)
        if out.dtype is common and (common is _FLOAT or common is _DOUBLE):  # nearly always
            real = smooth = True
        else:
            out, real = settled(op, values, out, static)
            smooth = out.dtype.kind in "fc"
        result: Tensor = _blank(cls)
        result.data = out
        result.source = result.grad = result.name = None
        current = state()
        if smooth and needs & needs - 1 and current.recording:  # more bits than the leading one
            key: tuple[Any, ...] = (op, needs, real, current.literal)
            if static and not op.opaque:
                key += tuple(static.items())
            if op.constant is not None:
                key += (values[op.constant] if isinstance(values[op.constant], (int, float)) else None,)
            try:
                rules = known(key) or rules_for(key, values, static)
            except TypeError:  # an option that cannot be looked up
                rules = rules_for(key, values, static)
            if rules.live:
                if not rules.full:
                    sources = [s if c is not None else None for s, c in zip(sources, rules.cotangents, strict=True)]
                frame: Any = _getframe(2)  # behind who called a primitive, an operator or an index: one of ours
                while ours[frame.f_code.co_filename] and frame.f_back is not None:
                    frame = frame.f_back
                result.source = _step(op, static, rules, sources, values, out, frame)
        if current.watches:
            line = user_line()
            for watch in current.watches:
                watch.result(op.name, args, static, [result], line)
        return result

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        called = getattr(ufunc, "__name__", "")
        name = protocol.UFUNCS.get(called, called)
        op = REGISTRY.get(name)
        if method != "__call__" or options:
            return NotImplemented
        if op is None and not any([isinstance(x, Tensor) and x.source is not None for x in inputs]):
            return self._of_arrays(ufunc, inputs)
        if op is None or not (op.elementwise or name == "matmul"):
            return NotImplemented
        return inputs[0] @ inputs[1] if name == "matmul" and isinstance(inputs[0], Tensor) else op(*inputs)

    @classmethod
    def _of_arrays(cls, ufunc: Any, inputs: Any) -> Any:
        """What is no primitive, of tensors that have no gradient to lose: bits of whole numbers, neighbours."""
        made = ufunc(*[x.data if isinstance(x, Tensor) else x for x in inputs])
        return tuple([cls.wrap(m) for m in made]) if isinstance(made, tuple) else cls.wrap(made)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return protocol.call(function, args, options)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy:
            return np.array(self.data, dtype=dtype)
        return self.numpy() if dtype is None or dtype == self.dtype else self.data.astype(dtype)

    # ------------------------------------------------------------ what it is

    @property
    def edge(self) -> Edge | None:
        """The node that made it, and which of that node's outputs it is."""
        return edge_of(self.source)

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows back to it; of a leaf it can be set."""
        return self.source is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted == self.requires_grad:
            return
        if not wanted and not self.is_leaf:
            raise GradientError("only a leaf's requires_grad can be switched off: use detach()")
        if wanted:
            self._track()
        else:
            self.source = None

    @property
    def node(self) -> Node | None:
        """What made it on the tape; None off the tape."""
        edge = self.edge
        return None if edge is None else edge[0]

    @property
    def is_leaf(self) -> bool:
        """Whether nothing recorded made it: `backward` leaves gradients at such tensors."""
        return self.source is None or isinstance(self.source, Leaf)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""
        shape: tuple[int, ...] = self.data.shape
        return shape

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of its elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its numbers."""
        dtype: np.dtype[Any] = self.data.dtype
        return dtype

    def numpy(self) -> Array:
        """The values, as a read-only view."""
        view = self.data.view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The only element, as a plain Python number; ValueError if there are more, or none."""
        return self.data.item()

    def detach(self) -> Tensor:
        """The same values (and memory) off the tape."""
        return Tensor.wrap(self.data)

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="tensor(", threshold=100)
        parts = [body, str(self.dtype)]
        if self.name is not None:
            parts.append(f"name={self.name!r}")
        if isinstance(self.node, Leaf):
            parts.append("requires_grad=True")
        elif self.node is not None:
            parts.append(f"from {self.node.name}")
        return f"tensor({', '.join(parts)})"

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self.data)))

    def __float__(self) -> float:
        return float(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __index__(self) -> int:
        return self.data.__index__()

    def __format__(self, spec: str) -> str:
        return format(self.data.item(), spec) if self.data.ndim == 0 else format(str(self), spec)

    def __deepcopy__(self, memo: Any) -> Tensor:
        """Values, name and gradient; a result becomes a tensor of its own, off the tape."""
        result = Tensor(self.data, requires_grad=isinstance(self.node, Leaf), name=self.name)
        result.grad = None if self.grad is None else Tensor(self.grad.data)
        memo[id(self)] = result
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return (_unpickle, (np.array(self.data), isinstance(self.node, Leaf), self.name))

    # ------------------------------------------------------------ indexing and change in place

    def __getitem__(self, key: Any) -> Any:
        once = ONCE.issuperset(map(type, key)) if type(key) is tuple else type(key) in ONCE
        return self.read(_GETITEM, (self,), {"key": Key(key, True) if once else Key(_plain_key(key))})

    def __setitem__(self, key: Any, value: Any) -> None:
        self._check_change()
        self.data[_plain_key(key)] = value.data if isinstance(value, Tensor) else value
        touch(self.data)

    def assign(self, value: ArrayLike | Tensor) -> Tensor:
        """Overwrite the values in place (same shape; cast to this dtype). Not recorded."""
        array = value.data if isinstance(value, Tensor) else np.asarray(value)
        if array.shape != self.shape:
            raise ValueError(f"{self.name or 'tensor'} has shape {self.shape}, the new value {array.shape}")
        np.copyto(self.data, array, casting="same_kind" if array.dtype.kind != "i" else "unsafe")
        touch(self.data)
        return self

    def _check_change(self) -> None:
        if self.source is not None and state().recording:
            raise GradientError(
                f"{self.name or 'this tensor'} takes part in a gradient, which would not see a change in place: "
                "use where() or concat(), or change it inside no_grad()"
            )

    @property
    def T(self) -> Any:  # noqa: N802 - NumPy's name
        """The axes in reverse order: of a matrix, its transpose."""
        return functions().permute_dims(self, tuple(reversed(range(self.ndim))))

    # ------------------------------------------------------------ gradients

    def backward(
        self, cotangent: ArrayLike | Tensor | None = None, *, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add this value's gradient to `grad` of every leaf it was computed from.

        A value that is not a scalar needs the cotangent to start from (its own shape). The residuals
        are freed unless `retain_graph`; `create_graph` makes the gradients differentiable (and retains).
        """
        edge = self.edge
        if edge is None:
            raise GradientError(
                "nothing to differentiate: no input of this value requires a gradient, or nothing was recorded"
            )
        if cotangent is None:
            if self.size != 1:
                raise GradientError(f"backward() of a value of shape {self.shape} needs a cotangent of that shape")
            if self.data.dtype.kind == "c":
                raise GradientError("backward() of a complex value needs a cotangent: take re() or abs() of the loss")
            cotangent = np.ones(self.shape, self.dtype)
        start = cotangent if isinstance(cotangent, Tensor) else np.asarray(cotangent, self.dtype)
        if start.shape != self.shape:
            raise ValueError(f"the cotangent has shape {start.shape}, the value {self.shape}")
        backward([edge], [start], None, record=create_graph, free=not (retain_graph or create_graph))


def _plain_key(key: Any) -> Any:
    """Tensors and lists in an index as arrays."""
    if type(key) in (int, slice):
        return key
    if isinstance(key, tuple):
        return tuple([k if type(k) in (int, slice) else _plain_key(k) for k in key])
    if isinstance(key, Tensor):
        return key.data
    return np.asarray(key) if isinstance(key, list) else key


def _unpickle(array: Array, requires_grad: bool, name: str | None) -> Tensor:
    return Tensor(array, requires_grad=requires_grad, name=name)


def tensor(
    value: ArrayLike | Tensor, requires_grad: bool = False, name: str | None = None, dtype: DTypeLike | None = None
) -> Tensor:
    """A tensor with a copy of `value`; its dtype is kept unless one is given."""
    return Tensor(value, requires_grad=requires_grad, name=name, dtype=dtype)


use_tensors(Tensor)


def _quick_operators() -> None:
    """The commonest operators straight to `Tensor.read`, where nobody else could claim the reading."""
    plain, read = frozenset({Tensor, float, int, np.ndarray}), Tensor.read

    def method(op: Primitive, swapped: bool) -> Any:
        def call(self: Any, other: Any) -> Any:
            args = (other, self) if swapped else (self, other)
            return read(op, args, {}) if type(self) is Tensor and type(other) in plain else op(*args)

        return call

    for name, key in (("add", "add"), ("sub", "sub"), ("mul", "mul"), ("truediv", "div")):
        setattr(Tensor, f"__{name}__", method(REGISTRY[key], False))
        setattr(Tensor, f"__r{name}__", method(REGISTRY[key], True))


_quick_operators()
