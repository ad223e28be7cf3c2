"""A model as a torch.nn.Module of plain, readable Python source: the schedule's loops, one line an equation.

The source needs torch and nothing of this project; it is written from the system, so any cell exports alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl.export.arrays import Array, Loop, Require
from dsl.export.files import execute, needs
from dsl.export.layers import is_layer, read_layers
from dsl.export.python import PythonSource, Writer
from dsl.export.walk import Lowered, lowered
from dsl.run.program import sizes

if TYPE_CHECKING:
    from dsl.run.model import Model

KINDS = {"real": "real", "int": "torch.long", "bool": "torch.bool", "complex": "real.to_complex()"}
REDUCED = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin", "logsumexp": "logsumexp"}
LISTS = {
    "lengths_on": '''
def lengths_on(axis, lengths, steps, B, device):
    """How many steps each sequence has: all of them where nothing is given."""
    if isinstance(lengths, dict):
        lengths = lengths.get(axis)
    if lengths is None:
        return torch.full((B,), steps, device=device)
    return torch.as_tensor(lengths, device=device).expand(B)
''',
    "nonempty": '''
def nonempty(length, what):
    """A mean, maximum or softmax needs a step."""
    if (length == 0).any():
        raise ValueError(f"{what} of sequence {int((length == 0).nonzero()[0])}, which has no steps")
''',
    "stacked": '''
def stacked(values, steps, shape, dtype, device):
    """What a loop made at each of its steps, which may be none."""
    made = [values[i] for i in range(steps)]
    return torch.stack(made) if made else torch.zeros((0, *shape), dtype=dtype, device=device)
''',
    "lengths_of": '''
def lengths_of(axis, lengths):
    """The lengths of an axis whose steps no input shows."""
    given = lengths.get(axis) if isinstance(lengths, dict) else lengths
    if given is None:
        raise ValueError(f"lengths of {axis} must be given: no input shows how many steps it has")
    return torch.as_tensor(given)
''',
    "drawn": '''
def drawn(given, kind, numbers, mean, training, shape, like):
    """Noise: what is given, else fresh in training and its mean otherwise."""
    if given is not None:
        return given
    if not training:
        return torch.full(shape, mean, **like)
    if kind == "normal":
        return numbers[0] + numbers[1] * torch.randn(shape, **like)
    u = torch.rand(shape, **like)
    if kind == "dropout":
        return (u >= numbers[0]) / (1 - numbers[0])
    return (u < numbers[0]).to(u.dtype) if kind == "bernoulli" else numbers[0] + (numbers[1] - numbers[0]) * u
''',
}
# names of torch.nn.Module, which a parameter cannot have
MODULE = """T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu
load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters
register_backward_hook register_buffer
register_forward_hook register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter
register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory
state_dict to to_empty train training type xpu zero_grad""".split()


def _tensors(name: str) -> Writer:
    """A function that takes no plain numbers: they become tensors without dims, which take on any dtype."""

    def write(source: PythonSource, node: Array, args: Sequence[str]) -> str:
        shown = []
        for a, text in zip(node.args, args, strict=True):
            value = a.static[0] if a.is_number else None
            exact = not isinstance(value, float) or float(np.float32(value)) == value
            whole = value if node.kind == "int" or value is None else float(value)
            double = "" if exact else ", dtype=torch.float64"
            shown.append(f"torch.tensor({source.number(whole)}{double})" if a.is_number else text)
        return f"torch.{name}({', '.join(shown)})"

    return write


def _reduced(name: str) -> Writer:
    def write(source: PythonSource, node: Array, args: Sequence[str]) -> str:
        keep = ", keepdim=True" if node.static[1] else ""
        return f"{source.wrapped(args[0])}.{REDUCED[name]}({node.static[0]}{keep})"

    return write


def _where(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    shown = [
        source.number(float(a.static[0])) if a.is_number and node.kind == "real" else text
        for a, text in zip(node.args, args, strict=True)
    ]
    return f"torch.where({', '.join(shown)})"


def _floordiv(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    """torch has no derivative of it, which is 0."""
    if node.kind == "int":
        return source.infix(node, args)
    shown = [t if a.is_number else f"{source.wrapped(t)}.detach()" for a, t in zip(node.args, args, strict=True)]
    return f"torch.floor_divide({', '.join(shown)})" if not node.args[0].is_number else f"{shown[0]} // {shown[1]}"


def _full(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    zero = node.args[0].static[0] == 0
    first = f"zeros({source.shape(node.sizes)}" if zero else f"full({source.shape(node.sizes)}, {args[0]}"
    return f"torch.{first}, dtype={KINDS[node.kind]}, device=device)"


def _earlier(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    name, back, loop = node.static
    assert isinstance(source, TorchSource)
    step = f"{source.variables[loop]} {'+' if loop.reverse else '-'} {back}"
    return f"{source.stores[loop, name]}[{step}]"


def _noise(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    name, kind, numbers, mean = node.static
    assert isinstance(source, TorchSource)
    source.use("drawn")
    given = f'noise.get("{name}")'
    return f'drawn({given}, "{kind}", {list(numbers)}, {mean}, self.training, {source.shape(node.sizes)}, like)'


def _given_length(source: PythonSource, node: Array, args: Sequence[str]) -> str:
    assert isinstance(source, TorchSource)
    source.use("lengths_on")
    return f'lengths_on("{node.name}", lengths, {source.size(f"steps_{node.name}")}, B, device)'


def enclosing(loop: Loop) -> Iterator[Loop]:
    """The loops around a loop, innermost first."""
    while loop.around is not None:
        loop = loop.around
        yield loop


class TorchSource(PythonSource):
    """Writes one class. What a loop makes it keeps in dicts of steps."""

    TARGET = "PyTorch"
    RESERVED = ("torch", "self", "device", "real", "like", "out", *LISTS)
    CALLS = {
        **{
            name: f"torch.{name}({{0}})"
            for name in (
                "tanh sigmoid relu exp expm1 log log1p sqrt square abs sin cos tan sinh cosh erf angle"
            ).split()
        },
        **{f"arc{name}": f"torch.a{name}({{0}})" for name in "sin cos tan sinh cosh tanh".split()},
        **{
            name: f"torch.{name}({{0}})"
            for name in "exp2 log2 log10 erfc erfinv digamma sinc isnan isinf isfinite signbit".split()
        },
        **{name: f"torch.{name}({{0}}.detach())" for name in "floor ceil trunc round".split()},
        "arctan2": _tensors("atan2"),
        "gammaln": "torch.lgamma({0})",
        "sign": "torch.sgn({0}).detach()",
        "conj": "{0}.conj()",
        "re": "{0}.real",
        "im": "{0}.imag",
        "floordiv": _floordiv,
        "clip": "torch.clamp({0}, {1}, {2})",
        "logical_not": "~{0}",
        "maximum": _tensors("maximum"),
        "minimum": _tensors("minimum"),
        "where": _where,
        "cast": lambda s, n, a: f"{s.wrapped(a[0])}.to({KINDS[n.kind]})",
        "arange": lambda s, n, a: f"torch.arange({s.size(n.static[0])}, device=device)",
        "count": "torch.arange({0}.shape[{s0}], device={0}.device)",
        "full": _full,
        "broadcast": lambda s, n, a: f"{s.wrapped(a[0])}.expand{s.shape(n.sizes).replace(',)', ')')}",
        "order": lambda s, n, a: f"{s.wrapped(a[0])}.permute({', '.join(map(str, n.static))})",
        "flat": "{0}.flatten(0, 1)",
        "concat": lambda s, n, a: f"torch.cat([{', '.join(a)}]{f', dim={n.static[0]}' if n.static[0] else ''})",
        "gather_last": "{0}.gather(-1, {1}[..., None])[..., 0]",
        "argsort": "{0}.argsort()",
        "softmax": "{0}.softmax({s0})",
        "log_softmax": "{0}.log_softmax({s0})",
        "cumsum": "{0}.cumsum({s0})",
        "fft": "torch.fft.fft({0}, dim={s0})",
        "ifft": "torch.fft.ifft({0}, dim={s0})",
        "stop_gradient": "{0}.detach()",
        "earlier": _earlier,
        "sliced": lambda s, n, a: f"{s.texts[n]}",
        "noise": _noise,
        "given_length": _given_length,
        **{f"reduce_{name}": _reduced(name) for name in REDUCED},
    }

    def __init__(self, program: Lowered) -> None:
        super().__init__(program)
        self.stores: dict[tuple[Loop, str], str] = {}

    def use(self, helper: str) -> None:
        self.used[helper] = None

    # ------------------------------------------------------------ parameters

    def param(self, name: str) -> str:
        return "self" + "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in attribute(name).split("."))

    def parameters(self) -> list[str]:
        """Lines that make them, in modules of their own where their names have dots."""
        out: list[str] = []
        made = {""}
        for name, stream in self.program.params.items():
            parts = attribute(name).split(".")
            for k in range(1, len(parts)):
                path = ".".join(parts[:k])
                if path in made:
                    continue
                made.add(path)
                below = [attribute(n).split(".") for n in self.program.params]
                listed = any(p[:k] == parts[:k] and p[k].isdigit() for p in below if len(p) > k)
                module = "torch.nn.ModuleList()" if listed else "torch.nn.Module()"
                owner = "self" + "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in parts[: k - 1])
                last = parts[k - 1]
                out.append(f"{owner}.append({module})" if last.isdigit() else f"{owner}.{last} = {module}")
            shape = ", ".join(map(str, sizes(stream.shape))) or "()"
            kind = "torch.complex" if stream.dtype == "complex" else "torch.float"
            width = (64 if self.wide else 32) * (2 if stream.dtype == "complex" else 1)
            value = f"torch.zeros({shape}, dtype={kind}{width})"
            if stream.kind == "param":
                out.append(f"{self.param(name)} = torch.nn.Parameter({value})")
            else:
                owner, _, last = self.param(name).rpartition(".")
                out.append(f'{owner}.register_buffer("{last}", {value})')
        return out

    # ------------------------------------------------------------ loops

    def require(self, statement: Require) -> None:
        self.use("nonempty")
        self.line(f'nonempty({self.identifier(f"len_{statement.axis}")}, "{statement.what}")')

    def loop(self, loop: Loop) -> None:
        steps, variable = self.size(loop.steps), self.fresh(loop.axis)
        self.variables[loop] = variable
        held = {c.now: n for n, c in loop.carried.items()}
        for own in dict.fromkeys([*held, *loop.collected]):
            name = held.get(own) or own.name
            # rows of what a loop around collects under the stream's own name are kept beside it
            plain = own.name == name and not any((outer, name) in self.stores for outer in enclosing(loop))
            store = self.identifier(name) if plain else self.fresh(f"{name.replace('.', '_')}_rows")
            self.stores[loop, name] = store
            self.texts[own] = f"{store}[{variable}]"
            value = "{}"
            if own in held:
                lag = loop.carried[name].lag
                keys = f"{steps}, {steps} + {lag}" if loop.reverse else f"-{lag}, 0"
                value = f"dict(zip(range({keys}), {self.name_of(loop.carried[name].before)}))"
            self.line(f"{store} = {value}")
        for whole, now in loop.slices.items():
            self.texts[now] = f"{self.name_of(whole)}[{variable}]"
        over = f"range({steps})"
        self.line(f"for {variable} in {f'reversed({over})' if loop.reverse else over}:")
        self.depth += 1
        self.statements(loop.body)
        self.depth -= 1
        self._taken.discard(variable)
        for own, whole in loop.collected.items():
            self.use("stacked")
            store, shape = self.texts[own].rpartition("[")[0], self.shape(own.sizes)
            self.line(f"{self.target(whole)} = stacked({store}, {steps}, {shape}, {KINDS[own.kind]}, device)")

    # ------------------------------------------------------------ the file

    def file(self, wide: bool) -> str:
        """The text of a Python file with one class; float64 if `wide`."""
        self.wide = wide
        program, system = self.program, self.system
        self.body()
        given = ", ".join(f"{n}={v}" for n, v in system.arguments.items() if v is not None)
        out = [f'"""{system.name}({given}) as a PyTorch module, written from its equations."""', "", "import torch"]
        for name in self.used:
            out += ["", *LISTS[name].splitlines()]
        for lines in self.helpers.values():
            out += ["", "", *lines]
        out += ["", "", f"class {self.identifier(system.name)}(torch.nn.Module):"]
        out += [*self.about(), "", "    def __init__(self):", "        super().__init__()"]
        out += [f"        {line}" for line in self.parameters()]
        options = [("lengths", True), ("state", self.carries), ("noise", bool(program.noises))]
        taken = [*(self.identifier(n) for n in program.inputs), *(f"{n}=None" for n, has in options if has)]
        out += ["", f"    def forward(self, {', '.join(taken)}):", *self.lines]
        return "\n".join(out) + "\n"

    @property
    def carries(self) -> bool:
        return bool(self.program.state)

    def body(self) -> None:
        program = self.program
        held = [*map(self.identifier, program.inputs), *map(self.param, program.params)]
        self.line(f"device = {held[0]}.device" if held else 'device = torch.device("cpu")')
        self.counts("numel()")
        typed = [self.param(n) for n, s in program.params.items() if s.dtype == "real"]
        typed += [self.identifier(n) for n, s in program.inputs.items() if s.dtype == "real"]
        self.line(f"real = {typed[0]}.dtype" if typed else "real = torch.get_default_dtype()")
        if program.noises:
            self.line("noise, like = noise or {}, dict(dtype=real, device=device)")
        self.statements(program.statements)
        self.line()
        self.returned()


def attribute(name: str) -> str:
    """A parameter's name as torch can have it: the cell's own, but for what is a word of Python or of modules."""
    import keyword

    return ".".join(p + "_" if p in MODULE or keyword.iskeyword(p) else p for p in name.split("."))


def source(model: Model) -> str:
    """The text of a Python file with one class, the model's cell as a torch.nn.Module."""
    return TorchSource(lowered(model.system)).file(model.dtype == np.float64)


def to_torch(model: Model) -> Any:
    """The model as a torch.nn.Module with its parameters, `state_dict` by the cell's names; `module.source`: its text.

    `module(x, lengths=None, state=None)` takes time-major tensors (T, B, features), lengths (B,) by axis, and returns a
    dict: outputs by name, a loss by name as its batch mean and as `nll.each` (B,), and for a cell that can be carried
    on `state`, to be given to the next call. Errors: ImportError when torch is not installed.
    """
    torch = needs("torch", "to_torch")
    text = source(model)
    module = execute(text, model.system.name, "torch")[_class_name(text)]()
    module.source = text
    with torch.no_grad():
        for name, tensor in _by_name(model, module).items():
            tensor.copy_(torch.from_numpy(np.array(model.params[name].data)))
    return module


def _class_name(text: str) -> str:
    return text.rpartition("\nclass ")[2].partition("(")[0]


def _by_name(model: Model, module: Any) -> dict[str, Any]:
    """A module's tensors by the cell's names."""
    found = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {n: found[attribute(n)] for n in model.params if attribute(n) in found}


def load_torch(model: Model, module: Any) -> None:
    """Take the parameters of a module that `to_torch` made, or of torch's own LSTM, GRU or RNN.

    module   a module, or its state dict

    torch's layers go, in order, into the copies of LSTM, GRUResetAfter or Elman that the cell holds; its other
    parameters stay. Errors: ValueError when the names, the number of layers or a shape do not fit.
    """
    found = (
        module if isinstance(module, Mapping) else {**dict(module.named_parameters()), **dict(module.named_buffers())}
    )
    arrays = {n: v.detach().cpu().numpy() for n, v in found.items()}
    if is_layer(arrays):
        model.params.update(read_layers(model, arrays))
        return
    wanted = {attribute(n): n for n in lowered(model.system).params}
    if set(arrays) != set(wanted):
        lacking = sorted(set(arrays) ^ set(wanted))
        raise ValueError(f"the module is of another cell: {', '.join(lacking[:5])} on one side only")
    for key, name in wanted.items():
        model.params[name] = arrays[key]
