"""A model as a pure JAX function of plain, readable Python source: recurrences are `lax.scan`, one line an equation.

The source needs jax and nothing of this project; it is written from the system, so any cell exports alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.export.arrays import Array, Loop, Require
from dsl.export.files import execute, needs
from dsl.export.python import PythonSource, Writer
from dsl.export.walk import Lowered, lowered

if TYPE_CHECKING:
    from dsl.run.model import Model

KINDS = {"real": "real", "int": "int", "bool": "bool", "complex": "jnp.result_type(real, jnp.complex64)"}
FUNCTIONS = {
    "lengths_on": '''
def lengths_on(axis, lengths, steps, B):
    """How many steps each sequence has: all of them where nothing is given."""
    if isinstance(lengths, dict):
        lengths = lengths.get(axis)
    return jnp.full((B,), steps) if lengths is None else jnp.broadcast_to(jnp.asarray(lengths), (B,))
''',
    "lengths_of": '''
def lengths_of(axis, lengths):
    """The lengths of an axis whose steps no input shows."""
    given = lengths.get(axis) if isinstance(lengths, dict) else lengths
    if given is None:
        raise ValueError(f"lengths of {axis} must be given: no input shows how many steps it has")
    return np.asarray(given)  # known when the function is traced: sizes depend on it
''',
    "drawn": '''
def drawn(given, kind, numbers, mean, key, stream, shape, real):
    """Noise: what is given, else fresh from a key and its mean without one."""
    if given is not None:
        return given
    if key is None:
        return jnp.full(shape, mean, real)
    key = jax.random.fold_in(key, stream)
    if kind == "normal":
        return numbers[0] + numbers[1] * jax.random.normal(key, shape, real)
    u = jax.random.uniform(key, shape, real)
    if kind == "dropout":
        return (u >= numbers[0]) / (1 - numbers[0])
    return (u < numbers[0]).astype(real) if kind == "bernoulli" else numbers[0] + (numbers[1] - numbers[0]) * u
''',
}


def _reduced(name: str) -> Writer:
    def write(source: PythonSource, node: Array, args: Sequence[str]) -> str:
        axis, keep = node.static
        options = f"{axis}{', keepdims=True' if keep else ''}"
        if name == "logsumexp":
            return f"jax.nn.logsumexp({args[0]}, {options})"
        return f"{source.wrapped(args[0])}.{name}({options})"

    return write


def _earlier(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    name, back, loop = node.static
    assert isinstance(source, JaxSource)
    lag = loop.carried[name].lag
    return source.carries[loop, name] + (f"[{lag - back}]" if lag > 1 else "")


def _noise(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    name, kind, numbers, mean = node.static
    assert isinstance(source, JaxSource)
    source.used["drawn"] = None
    given, stream = f'noise.get("{name}")', list(source.program.noises).index(name)
    return f'drawn({given}, "{kind}", {list(numbers)}, {mean}, key, {stream}, {source.shape(node.sizes)}, real)'


def _given_length(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    assert isinstance(source, JaxSource)
    source.used["lengths_on"] = None
    return f'lengths_on("{node.name}", lengths, {source.size(f"steps_{node.name}")}, B)'


class JaxSource(PythonSource):
    """Writes one function. A loop is a function of a step, its locals named like the streams."""

    TARGET = "JAX"
    RESERVED = ("jax", "jnp", "params", "inputs", "key", "real", "carry", "now", "forward", *FUNCTIONS)
    CALLS = {
        **{
            name: f"jnp.{name}({{0}})"
            for name in "tanh exp expm1 log log1p sqrt square sin cos tan sinh cosh arctan sign angle".split()
        },
        **{name: f"jnp.{name}({{0}}, {{1}})" for name in ("maximum", "minimum")},
        **{
            name: f"jnp.{name}({{0}})"
            for name in (
                "arcsin arccos arcsinh arccosh arctanh exp2 log2 log10 cbrt sinc isnan isinf isfinite signbit floor"
                " ceil trunc round"
            ).split()
        },
        "abs": lambda s, n, a: f"{s.function(n, 'absolute')}({a[0]})",  # jax has slope 1 at 0
        "arctan2": "jnp.arctan2({0}, {1})",
        **{name: f"jax.scipy.special.{name}({{0}})" for name in "erfc erfinv digamma gammaln".split()},
        "sigmoid": "jax.nn.sigmoid({0})",
        "relu": "jax.nn.relu({0})",
        "erf": "jax.scipy.special.erf({0})",
        "conj": "{0}.conj()",
        "re": "{0}.real",
        "im": "{0}.imag",
        "clip": "jnp.where(({0} >= {1}) & ({0} <= {2}), {0}, jax.lax.stop_gradient(jnp.clip({0}, {1}, {2})))",
        "where": "jnp.where({0}, {1}, {2})",
        "logical_not": "~{0}",
        "cast": lambda s, n, a: f"{s.wrapped(a[0])}.astype({KINDS[n.kind]})",
        "arange": lambda s, n, a: f"jnp.arange({s.size(n.static[0])})",
        "count": "jnp.arange({0}.shape[{s0}])",
        "full": lambda s, n, a: f"jnp.full({s.shape(n.sizes)}, {a[0]}, {KINDS[n.kind]})",
        "broadcast": "jnp.broadcast_to({0}, {sizes})",
        "order": lambda s, n, a: f"{s.wrapped(a[0])}.transpose({', '.join(map(str, n.static))})",
        "flat": "{0}.reshape(({0}.shape[0] * {0}.shape[1], *{0}.shape[2:]))",
        "concat": lambda s, n, a: f"jnp.concatenate([{', '.join(a)}]{f', {n.static[0]}' if n.static[0] else ''})",
        "gather_last": "jnp.take_along_axis({0}, {1}[..., None], -1)[..., 0]",
        "argsort": "jnp.argsort({0})",
        "softmax": "jax.nn.softmax({0}, {s0})",
        "log_softmax": "jax.nn.log_softmax({0}, {s0})",
        "cumsum": "jnp.cumsum({0}, axis={s0})",
        "fft": "jnp.fft.fft({0}, axis={s0})",
        "ifft": "jnp.fft.ifft({0}, axis={s0})",
        "stop_gradient": "jax.lax.stop_gradient({0})",
        "earlier": _earlier,
        "sliced": lambda s, n, a: s.texts[n],
        "noise": _noise,
        "given_length": _given_length,
        **{f"reduce_{name}": _reduced(name) for name in ("sum", "mean", "max", "min", "logsumexp")},
    }

    def __init__(self, program: Lowered) -> None:
        super().__init__(program)
        self.depth = 1
        self.carries: dict[tuple[Loop, str], str] = {}

    def param(self, name: str) -> str:
        return self.identifier(name)

    def require(self, statement: Require) -> None:
        """A compiled function cannot raise; NaN tells."""

    # ------------------------------------------------------------ loops

    def loop(self, loop: Loop) -> None:
        step = self.fresh(f"step_{loop.axis}")
        for name in loop.carried:
            self.carries[loop, name] = self.fresh(f"{name.replace('.', '_')}_last")
        for whole, now in loop.slices.items():
            self.texts[now] = self.fresh(f"{self.name_of(whole)}_now")
        last = [self.carries[loop, n] for n in loop.carried]
        self.line()
        self.line(f"def {step}(carry, now):")
        self.depth += 1
        if last:
            self.line(f"{listed(last)} = carry")
        self.line(f"{listed([self.texts[n] for n in loop.slices.values()])} = now")
        self.statements(loop.body)
        after = [
            self.target(c.now) if c.lag == 1 else f"jnp.concatenate([{own}[1:], {self.target(c.now)}[None]])"
            for own, c in zip(last, loop.carried.values(), strict=True)
        ]
        self.line(f"return {listed(after)}, {listed([self.target(n) for n in loop.collected])}")
        self.depth -= 1
        self.line()
        before = [self.name_of(c.before) + ("[0]" if c.lag == 1 else "") for c in loop.carried.values()]
        over = listed([self.name_of(w) for w in loop.slices])
        made = listed([self.target(w) for w in loop.collected.values()])
        back = ", reverse=True" if loop.reverse else ""
        self.line(f"_, {made if loop.collected else '_'} = jax.lax.scan({step}, {listed(before)}, {over}{back})")

    # ------------------------------------------------------------ the file

    def file(self) -> str:
        """The text of a Python file with a function `forward`."""
        self.body()
        program, system = self.program, self.system
        given = ", ".join(f"{n}={v}" for n, v in system.arguments.items() if v is not None)
        out = [f'"""{system.name}({given}) as a JAX function, written from its equations."""', ""]
        out += ["import jax", "import jax.numpy as jnp", *(["import numpy as np"] if "lengths_of" in self.used else [])]
        for name in self.used:
            out += ["", *FUNCTIONS[name].splitlines()]
        for lines in self.helpers.values():
            out += ["", "", *lines]
        taken = ["params", "inputs", "lengths=None", *(["state=None"] if program.state else [])]
        taken += ["noise=None", "key=None"] if program.noises else []
        out += ["", "", f"def forward({', '.join(taken)}):"]
        return "\n".join([*out, *self.about(), *self.lines]) + "\n"

    def body(self) -> None:
        program = self.program
        for name in program.params:
            self.line(f'{self.identifier(name)} = params["{name}"]')
        for name in program.inputs:
            self.line(f'{self.identifier(name)} = inputs["{name}"]')
        self.counts("size")
        typed = [n for n, s in (*program.params.items(), *program.inputs.items()) if s.dtype == "real"]
        self.line(f"real = {self.identifier(typed[0])}.dtype" if typed else "real = jnp.result_type(float)")
        if program.noises:
            self.line("noise = noise or {}")
        self.statements(program.statements)
        self.returned()


def listed(names: Sequence[str]) -> str:
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def source(model: Model) -> str:
    """The text of a Python file with one pure function, `forward`."""
    return JaxSource(lowered(model.system)).file()


def to_jax(model: Model) -> Any:
    """The model as a pure function; `function.params`: its parameters by the cell's names, `function.source`: its text.

    `function(params, inputs, lengths=None, state=None)` takes dicts of arrays by name (inputs time-major, (T, B,
    features)), lengths (B,) by axis, and returns a dict: outputs by name, a loss by name as its batch mean and as
    `nll.each` (B,), and for a cell that can be carried on `state`, to be given to the next call. A cell with noise also
    takes `noise` by name or a `key` to draw it from; with neither it is its mean. It may be compiled (`jax.jit`),
    differentiated and mapped. A mean, maximum or softmax over no steps is NaN: a compiled function cannot raise.
    Errors: ImportError when jax is not installed; ValueError for a float64 model while jax makes float32 of it.
    """
    jax = needs("jax", "to_jax")
    if model.dtype == np.float64 and not jax.config.jax_enable_x64:
        raise ValueError('to_jax of a float64 model: first jax.config.update("jax_enable_x64", True)')
    program = lowered(model.system)
    text = JaxSource(program).file()
    function = execute(text, model.system.name, "jax")["forward"]
    function.params = {n: jax.numpy.asarray(np.array(model.params[n].data)) for n in program.params}
    function.source = text
    return function
