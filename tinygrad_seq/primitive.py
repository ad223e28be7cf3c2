"""Primitives: what the engine can compute, and the registry that holds them.

A primitive knows its value on arrays (`impl`), its derivative (`partials` or `rule`), the shape of
its result, how it is typeset and how one element of it reads in a generated kernel. Calling it reads
it on whatever the arguments are: arrays give an array, tensors a node on the tape, symbols an
expression. A derivative rule is written once, in terms of other primitives, and so is read all three
ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.calls import Call, call_of, described

Rule = Callable[..., tuple[Any, ...]]
REGISTRY: dict[str, Primitive] = {}
HALF = np.dtype(np.float16)


class _Levels(dict[type, Any]):
    """The reading level of a type: 0 for arrays and numbers, and the highest among the arguments reads a call."""

    def __missing__(self, kind: type) -> Any:
        found = self[kind] = getattr(kind, "reading_level", 0)
        return found


_levels = _Levels()


def is_complex(x: Any) -> bool:
    """Whether it is an array or a tensor of complex numbers, or a complex number."""
    return getattr(getattr(x, "dtype", None), "kind", "") == "c" or type(x) is complex


def _called(name: str) -> Callable[..., str]:
    """How an operation is typeset that says nothing of it: its name, and its arguments in brackets."""
    head = name.replace("_", r"\_")
    return lambda *xs, **static: rf"\operatorname{{{head}}}\left({', '.join(xs)}\right)"


class _OfEach:
    """An attribute that Python looks up on classes too: each primitive has its own, the class what a class has."""

    def __init__(self, make: Callable[[Primitive], Any], of_class: str | None = None) -> None:
        self.make, self.of_class = make, of_class

    def __get__(self, one: Primitive | None, kind: type) -> Any:
        if one is not None:
            return self.make(one)
        if self.of_class is None:
            raise AttributeError("a class has none")
        return self.of_class


class Primitive:
    """One operation.

    name      the name in Python, in the language and in printed rules
    impl      `impl(*arrays, **static) -> array`
    shape     `shape(*shapes, **static) -> shape`, for symbols: feature shapes, dims are ints or
              anything with + and ==; only scalars broadcast there
    tex       a format string over the typeset arguments
    kernel    a format string: one element of the result, in the functions of `kernels.math`
    infix     the operator it is written with, or None
    singular  its derivative is infinite or overflows somewhere: on values, a cotangent that is exactly 0
              stays 0 there (the branch that a `where` did not take)
    constant  the position of an argument whose value, when a plain number, is worth a derivative of its own
    complex_numbers
              its value and its derivative hold over the complex numbers: partials of a holomorphic function, or a
              rule that conjugates where it must. Without it complex arguments are a TypeError
    fixed     positions of arguments with respect to which nobody has a derivative in closed form: asking is an error
    opaque    rules pass its options on unread: one reading of the rule serves all of them
    costly    an element takes a function of the mathematical library, or a reduction: better kept than computed twice
    mixes     an element is made of a whole axis, or found in a table: what it is of a cell's step stands in an equation
              of its own when the adjoint reads it
    bounded   its slopes are finite, whatever is infinite
    activation
              drawn as the title of what it is applied to, not as a box of its own
    partials  `partials(y, *inputs, **static) -> tuple`, for elementwise primitives (None: zero)
    rule      `rule(g, y, *inputs, **static) -> tuple`, one cotangent (or None) an input
    at_once   what the rule gives for the first input, on arrays, without the steps between: `at_once(g, y, *inputs,
              **static) -> array`, or None where the rule does it. Of what the rule does not read it is given None,
              but y if `at_once_reads_y`

    Shape functions: an argument made by `shape_of(x)` has as its "shape" the shape it stands for, one
    made by `size(x)` the dim it stands for, so that `broadcast_to(g, shape_of(x))` has a shape too.
    """

    def __init__(
        self,
        name: str,
        impl: Callable[..., Any],
        *,
        shape: Callable[..., Any],
        tex: str | Callable[..., str] = "",
        kernel: str | None = None,
        elementwise: bool = False,
        infix: str | None = None,
        singular: bool = False,
        constant: int | None = None,
        complex_numbers: bool = False,
        fixed: tuple[int, ...] = (),
        opaque: bool = False,
        costly: bool = False,
        mixes: bool = False,
        bounded: bool = False,
        activation: bool = False,
    ) -> None:
        if name in REGISTRY:
            raise ValueError(f"a primitive named {name!r} is registered already")
        self.name = name
        self.impl = impl
        self.shape = shape
        self.tex = tex or _called(name)
        self.kernel = kernel
        self.elementwise = elementwise
        self.infix = infix
        self.singular = singular
        self.constant = constant
        self.complex_numbers = complex_numbers
        self.fixed = fixed
        self.opaque = opaque
        self.costly = costly
        self.mixes = mixes
        self.bounded = bounded
        self.activation = activation
        self._call: Call | None = None
        self.arity = -1  # not known yet, or any number
        self.options: frozenset[str] = frozenset()
        self.partials_rule: Rule | None = None
        self.vjp_rule: Rule | None = None
        self.at_once: Callable[..., Any] | None = None
        self.at_once_reads_y = False
        REGISTRY[name] = self

    def __call__(self, *args: Any, **static: Any) -> Any:
        if len(args) != self.arity or (static and not static.keys() <= self.options):
            self._admit(args, static)
        reader, highest = None, 0
        for a in args:
            level = _levels[type(a)]
            if level > highest:
                reader, highest = type(a), level
        if reader is None:
            if not self.complex_numbers:
                self.refuse_complex(args)
            out = self.impl(*args, **static)
            return self.in_full(out, args, static) if getattr(out, "dtype", None) == HALF else out
        return reader.read(self, args, static)

    @property
    def call(self) -> Call:
        """Its inputs and options, as its rule has them, or else its value."""
        if self._call is None:
            skip = 2 if self.vjp_rule is not None else 1
            self._call = call = call_of(self.impl, self.vjp_rule or self.partials_rule, skip)
            self.options = frozenset(call.options)
            self.arity = -1 if call.arity is None else call.arity
        return self._call

    def _admit(self, args: Sequence[Any], static: dict[str, Any]) -> None:
        """A TypeError for a call with too few or too many arguments, or with an option that there is not: NumPy would
        take them for `out=`, and write there."""
        mistake = self.call.mistake(self.name, args, static)
        if mistake is not None:
            raise TypeError(mistake)

    def refuse_complex(self, values: Sequence[Any]) -> None:
        """A TypeError if one of the values is complex."""
        if any(map(is_complex, values)):
            raise TypeError(f"{self.name} is a function of real numbers: give it abs(z), re(z) or im(z)")

    def in_full(self, out: Any, args: Sequence[Any], static: dict[str, Any]) -> Any:
        """The value again in double precision, where NumPy made half precision of booleans and bytes."""
        arrays = [np.asarray(a) for a in args if not isinstance(a, tuple)]
        if self.name == "astype" or any(a.dtype == HALF for a in arrays):
            return out
        wide = [a if isinstance(a, tuple) or np.asarray(a).dtype.kind == "f" else np.asarray(a, float) for a in args]
        return self.impl(*wide, **static)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (named, (self.name,))

    def partials(self, function: Rule) -> Rule:
        """Decorator: the partial derivatives of an elementwise primitive."""
        self.partials_rule = function
        self._call, self.arity = None, -1
        return function

    def rule(self, function: Rule) -> Rule:
        """Decorator: the cotangents of the inputs, given the result's."""
        self.vjp_rule = function
        self._call, self.arity = None, -1
        return function

    def on_arrays(self, reads_y: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: what the rule gives for the first input, on arrays, all at once: see `at_once`."""

        def take(function: Callable[..., Any]) -> Callable[..., Any]:
            self.at_once, self.at_once_reads_y = function, reads_y
            return function

        return take

    @property
    def differentiable(self) -> bool:
        """Whether it has a rule; without one it is constant to what it is computed from."""
        return self.partials_rule is not None or self.vjp_rule is not None

    def pullback(self, g: Any, y: Any, inputs: tuple[Any, ...], static: dict[str, Any]) -> tuple[Any, ...]:
        """Cotangents of the inputs (None where there is none), not yet un-broadcast."""
        if self.vjp_rule is not None:
            return self.vjp_rule(g, y, *inputs, **static)
        if self.partials_rule is None:
            return (None,) * len(inputs)
        mul, conj = REGISTRY["mul"], REGISTRY["conj"]
        parts = self.partials_rule(y, *inputs, **static)
        return tuple(None if p is None else mul(g, conj(p)) for p in parts)


Primitive.__doc__ = _OfEach(described, Primitive.__doc__)  # type: ignore[assignment]
Primitive.__signature__ = _OfEach(lambda op: op.call.signature())  # type: ignore[attr-defined]


def named(name: str) -> Primitive:
    """The primitive of that name (a function, so that primitives are pickled by name)."""
    return REGISTRY[name]


def broadcast_shapes(*shapes: Any, **static: Any) -> Any:
    """The shape of an elementwise result on symbols: equal shapes, scalars, and dims of exactly 1."""
    result: tuple[Any, ...] = ()
    for shape in shapes:
        if not isinstance(shape, tuple) or shape == ():
            continue
        if result == ():
            result = shape
        elif len(shape) != len(result):
            raise ValueError(f"shapes {result} and {shape} do not match: only scalars broadcast")
        else:
            for a, b in zip(result, shape, strict=True):
                if not (a == b or a == 1 or b == 1):
                    raise ValueError(f"shapes {result} and {shape} do not match: only scalars broadcast")
            result = tuple(b if a == 1 else a for a, b in zip(result, shape, strict=True))
    return result


def elementwise(
    name: str,
    impl: Callable[..., Any],
    *,
    tex: str,
    kernel: str | None = None,
    infix: str | None = None,
    singular: bool = False,
    constant: int | None = None,
    complex_numbers: bool = False,
    fixed: tuple[int, ...] = (),
    costly: bool = False,
    bounded: bool = False,
    activation: bool = False,
) -> Primitive:
    """A primitive that works on each element, broadcasting as NumPy does; see `Primitive` for what the options say."""
    return Primitive(
        name,
        impl,
        shape=broadcast_shapes,
        tex=tex,
        kernel=kernel,
        elementwise=True,
        infix=infix,
        singular=singular,
        constant=constant,
        complex_numbers=complex_numbers,
        fixed=fixed,
        costly=costly,
        bounded=bounded,
        activation=activation,
    )


class Arithmetic:
    """Python's operators, each the primitive of that name: shared by tensors and symbols."""

    __slots__ = ()
    __array_priority__ = 1000
    reading_level = 0

    def __add__(self, other: Any) -> Any:
        return REGISTRY["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return REGISTRY["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return REGISTRY["sub"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return REGISTRY["sub"](other, self)

    def __mul__(self, other: Any) -> Any:
        return REGISTRY["mul"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return REGISTRY["mul"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return REGISTRY["div"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return REGISTRY["div"](other, self)

    def __pow__(self, other: Any) -> Any:
        return REGISTRY["power"](self, other)

    def __rpow__(self, other: Any) -> Any:
        return REGISTRY["power"](other, self)

    def __floordiv__(self, other: Any) -> Any:
        return REGISTRY["floordiv"](self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return REGISTRY["floordiv"](other, self)

    def __mod__(self, other: Any) -> Any:
        return REGISTRY["mod"](self, other)

    def __rmod__(self, other: Any) -> Any:
        return REGISTRY["mod"](other, self)

    def __neg__(self) -> Any:
        return REGISTRY["neg"](self)
