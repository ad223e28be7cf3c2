"""What every export is held against: random ragged data for a model, its values and its gradients on our own engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import tinygrad_seq as tg
from dsl.run.model import Model
from dsl.run.result import Run
from dsl.spec import load, parse
from tests.run.cells import KINDS

Arrays = dict[str, np.ndarray[Any, Any]]
RANGES = {
    "CTC": {"t": (5, 8), "u": (1, 3)},
    "CTCLabeller": {"t": (5, 8), "u": (1, 3)},
}  # fewer frames have no alignment


@dataclass
class Case:
    """A model with data, results on the literal engine, and the gradients of a weighed sum of their squares: of
    parameters by name, of real inputs likewise."""

    model: Model
    data: Arrays
    lengths: dict[str, np.ndarray[Any, Any]]
    state: Any
    train: bool
    run: Run
    grads: Arrays
    after: Arrays

    @property
    def names(self) -> list[str]:
        return [*self.model.system.outputs, *self.model.system.losses]

    @property
    def noise(self) -> Arrays:
        return {n: np.array(self.run.value(n).data) for n in self.model.noises} if self.train else {}

    def value(self, name: str) -> np.ndarray[Any, Any]:
        return np.asarray(self.run.value(name).data)


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Fixed numbers by which results are weighed, so that their sum has a slope everywhere."""
    return np.cos(np.arange(int(np.prod(shape)), dtype=float) + len(name)).reshape(shape)


def random_data(model: Model, lengths: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Arrays for every stream that is fed; NaN behind the end of those on one axis."""
    out = {}
    for name, stream in model.system.streams.items():
        if stream.kind not in ("input", "draw"):
            continue
        shape = tuple(int(max(lengths[a])) for a in stream.axes)
        shape = shape if stream.shared else (*shape, len(next(iter(lengths.values()))))
        if stream.dtype == "category":
            out[name] = rng.integers(0, int(stream.categories), shape)
            continue
        out[name] = rng.normal(size=(*shape, *(int(d) for d in stream.shape)))
        if len(stream.axes) == 1:
            for b, n in enumerate(lengths[stream.axes[0]]):
                out[name][n:, b] = np.nan
    return out


def case(
    model: Model,
    seed: int = 0,
    *,
    train: bool = False,
    carried: bool = False,
    batch: int = 3,
    lengths: dict[str, Any] | None = None,
    data: Arrays | None = None,
) -> Case:
    """A model on random data; `carried` runs it behind an earlier call."""
    rng = np.random.default_rng(seed)
    base = [a.name for a in model.system.axes.values() if a.length is None]

    def ragged(low: int) -> dict[str, np.ndarray[Any, Any]]:
        spans = {a: RANGES.get(model.system.name, {}).get(a, (low, 6)) for a in base}
        return {a: rng.integers(*spans[a], batch) for a in base}

    state = None
    if carried:
        first = ragged(1)
        state = model(**random_data(model, first, rng), lengths=first, engine="tape", train=train, seed=1).state
    lengths = ragged(3) if lengths is None else {a: np.array(n) for a, n in lengths.items()}
    data = random_data(model, lengths, rng) if data is None else data
    fed = {n for n, s in model.system.streams.items() if s.kind == "input"}  # data of `~` has no gradient
    inputs = {n: tg.tensor(v, requires_grad=n in fed and v.dtype.kind == "f") for n, v in data.items()}
    given: dict[str, Any] = {"lengths": lengths, "engine": "tape", "state": state, "train": train, "seed": seed}
    run = model(**{n: t if t.requires_grad else data[n] for n, t in inputs.items()}, **given)
    parts = []
    for name in [*model.system.outputs, *model.system.losses]:
        value = run.value(name)
        squares = tg.re(value * tg.conj(value))
        parts.append(tg.sum(squares * weights(name, squares.shape)))
    leaves = {n: t for n, t in {**model.params.trained, **inputs}.items() if t.requires_grad}
    total = sum(parts[1:], parts[0])
    if total.edge is not None:  # of sequences without steps nothing depends on anything
        total.backward()
    grads = {n: np.zeros(t.shape) if t.grad is None else np.array(t.grad.data) for n, t in leaves.items()}
    for tensor in leaves.values():
        tensor.grad = None
    after: Arrays = {}
    try:
        after = {**run.state.values, **run.state.clock}
    except ValueError:
        pass
    return Case(model, data, lengths, state, train, run, grads, after)


@cache
def library(name: str, carried: bool = False) -> Case:
    """A library cell at small sizes, float64."""
    spec = load(name)
    sizes = {n: 2 + i for i, (n, v) in enumerate(spec.system.arguments.items()) if v is None}
    return case(spec.build(dtype="float64", **sizes), carried=carried)


def written(text: str, **sizes: int) -> Model:
    return parse(text).build(dtype="float64", **sizes)


def model_state(case_: Case) -> Arrays | None:
    """The state that a case began with, as exports take it."""
    return None if case_.state is None else {**case_.state.values, **case_.state.clock}


STRIDES = """
cell Odd(D):                          # strides, flips, loops whose equations run at different steps
  input x[t]: D = 0.5
  time u: len(t)//2
  state a[t], b[t]: D = 0.25
  state z[u]: D = 2
  param w, v: D ~ normal
  a[t] = tanh(w*b[t+1] + x[t])
  b[t] = tanh(v*a[t-2]*x[len(t)-1-t])
  z[u] = a[2*u+1]*b[2*u] + x[u]
  n[t] = z[t//2]*x[1] + where(t%2==0, x[t]*(t+1), 0)/len(t)
  output n, a, z
"""
BACKWARD = """
cell Backward(D):                     # the same backwards, and a long lag
  input x[t]: D
  state a[t], b[t]: D = p
  state c[t]: D = 1
  param w, v, p: D ~ normal
  a[t] = tanh(w*b[t-1] + x[t])
  b[t] = tanh(v*a[t+2]*x[len(t)-1-t])
  c[t] = sigmoid(w*c[t+4] + v*c[t+1] + b[t])
  output a, c
"""
INNER = """
cell Inner(D):                        # what runs over all steps of an axis, in the middle of a loop over that axis
  input x[t]: D
  input y[s]: D
  state h[t]: D = 0
  state g[s,t]: D = 0.2
  param w: D ~ normal
  z[t] = x[t]*w
  h[t] = tanh(h[t-1] + sum[t](z[t]*x[t])*x[t] + softmax[t](z[t])*max[s](y[s]*h[t-1]))
  k[s,t] = y[s]*h[t]
  g[s,t] = tanh(g[s-1,t] + w*g[s,t-1] + mean[t](k[s,t])*x[t] + logsumexp[s](k[s,t]) + softmax[t](k[s,t]))
  output h, g
"""
GRID = """
cell Grid(D):                         # a recurrence over two axes
  input x[s]: D
  input y[t]: D
  state g[s,t]: D = 0.1
  param w, v, p: D ~ normal
  g[s,t] = tanh(w*g[s-1,t] + v*g[s,t-1] + p*g[s-1,t-1] + x[s]*y[t])
  best[s] = max[t](g[s,t])
  m = sum[s](best[s])
  output g, m
"""
LAYERS = """
cell Layers(D):                       # a loop over t within each step of s, and what it made read at the next
  input x[s]: D
  input y[t]: D
  state g[s,t], h[s,t]: D = 0
  param W, V ~ glorot
  g[s,t] = tanh(e[s,t] + V@g[s,t-1] + x[s] + y[t])
  e[s,t] = W@h[s-1,t]
  h[s,t] = g[s,t]
  output g
"""
MATRICES = """
cell Fast(D, H):                      # a matrix as a state; products of matrices; parts
  input x[t]: D
  state A[t]: (H, H) = 0
  param K, Q, V ~ glorot
  k[t] = K@x[t]
  A[t] = 0.9*A[t-1] + outer(tanh(V@x[t]), k[t])
  B[t] = A[t]@A[t-1].T
  h[t] = A[t]@(Q@x[t]) + B[t]@k[t]
  y[t] = concat(part(h[t], 1, H-1), part(x[t], 0, 1))
  s[t] = sum(A[t]) + logsumexp(h[t]) + max(h[t]) + min(k[t]) + mean(log_softmax(h[t]))
  output y, s
"""
NUMBERS = """
cell Numbers(D):                      # one function after the other
  input x[t]: D
  param w: D ~ normal
  p[t] = abs(w*x[t]) + 0.5
  a[t] = exp(-p[t]) + expm1(x[t]) + log(p[t]) + log1p(p[t]) + sqrt(p[t]) + square(x[t])
  b[t] = sin(x[t]) + cos(w*x[t]) + tan(0.3*sin(x[t])) + arctan(x[t]) + sinh(x[t]) + cosh(w*x[t]) + erf(x[t])
  c[t] = sigmoid(x[t]) + relu(w*x[t]) + softplus(x[t]) + leaky_relu(x[t]) + elu(w*x[t]) + sign(x[t])
  d[t] = maximum(w*x[t], 0.1) + minimum(x[t], p[t]) + clip(x[t], -0.7, 0.7) + logaddexp(x[t], w*x[t])
  e[t] = x[t]**2 + p[t]**w + 2**x[t] + p[t]//0.3 + p[t]%0.7 + stop_gradient(x[t]*w) - 1/p[t]
  f[t] = where((x[t] > 0) == (w > 0), x[t]*w, where(x[t] <= 0.2, 1, 0)) + D
  q[t] = 0.8*tanh(w*x[t])
  g[t] = arcsin(q[t]) + arccos(q[t]) + arcsinh(x[t]) + arccosh(1 + p[t]) + arctanh(q[t]) + arctan2(x[t], w*x[t] - 0.2)
  i[t] = exp2(x[t]) + log2(p[t]) + log10(p[t]) + cbrt(x[t]) + reciprocal(p[t]) + sinc(x[t]) + hypot(x[t], w)
  j[t] = xlogy(p[t], p[t]) + erfc(x[t]) + logit(0.5 + 0.5*q[t]) + round(9*x[t])*x[t] + floor(3*x[t])*w + ceil(x[t])
  output a, b, c, d, e, f, g, i, j
"""
COMPLEX = """
cell Complex(D, N):                   # complex states, the Fourier transform, reflections, permutations
  input x[t]: D
  state h[t]: complex N = h0
  param h0: complex N ~ uniform(-1, 1)
  param V: complex (N, D) ~ glorot
  param d: N ~ uniform(-1, 1)
  param r: complex N ~ uniform(-1, 1)
  param b: N = -0.1
  const P = permutation(N)
  g[t] = permute(P, reflect(r, fft(cis(d)*h[t-1])))
  w[t] = ifft(unpermute(P, conj(g[t])*1j + V@x[t]))
  h[t] = modrelu(w[t] + V@x[t], b)
  y[t] = concat(re(h[t]), im(h[t]) + abs(h[t]) + angle(h[t]) + re(d*sign(h[t] + 1)))
  output y
"""
CARRIED = """
cell Carried(K, D, H):                # what a state must hold: lags, categories, the clock
  input x[t]: D = 0.3
  state y[t]: one_hot K = none
  state h[t]: H = h0
  param h0, b: H ~ normal
  param V, W, S, U, E ~ glorot
  h[t] = tanh(V@x[t-2] + W@h[t-1] + S@h[t-3] + E@y[t-1] + where(t%3==0, b, 0))
  y[t] ~ categorical(logits = U@h[t])
  output h
  loss nll = -mean[t](logprob(y[t]))
"""
SPECIAL = """
cell Special(D):                      # functions that ONNX does not have
  input x[t]: D
  param w: D ~ normal
  p[t] = abs(w*x[t]) + 0.5
  a[t] = gamma(p[t]) + gamma(-p[t]) + gammaln(p[t]) + digamma(p[t]) + erfinv(0.8*tanh(w*x[t]))
  output a
"""
CLOCK = """
cell Clock(H):                        # no input shows how many steps or sequences there are
  state h[t]: H = p
  param W ~ glorot
  param p: H ~ normal
  h[t] = tanh(W@h[t-1] + t)
  output h
"""
KINKS_TEXT = """
cell Kinks(D):                        # where there is no slope, the one that ours is
  input x[t]: D
  param w: D = 0
  a[t] = abs(x[t]) + relu(x[t]) + leaky_relu(x[t]) + elu(x[t]) + softplus(x[t]) + sign(x[t]) + abs(w)*x[t]
  b[t] = maximum(x[t], w) + minimum(w, x[t]) + clip(x[t], 0, 1) + clip(x[t], -1, 0) + hypot(x[t], w) + x[t]**2
  c[t] = logaddexp(where(x[t] > 0, x[t], -inf), x[t]) + logaddexp(x[t], w)
  d[t] = exp(logaddexp(where(x[t] > 5, x[t], -inf), -inf))
  m[t] = max(x[t]) + min(x[t]) + log(1 + sum(relu(x[t])))
  r[t] = reflect(relu(x[t]), x[t] + 1)
  n = max[t](x[t]) + min[t](x[t])
  output a, b, c, d, m, n, r
"""
NOISE = """
cell Zoneout(D, H):                   # noise a step and a sequence
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  noise keep[t]: H ~ bernoulli(0.8)
  noise drop: D ~ dropout(0.4)
  noise shake[t]: H ~ normal(0.1, 0.5)
  noise wide[t]: H ~ uniform(-1, 2)
  h[t] = keep[t]*tanh(V@(drop*x[t]) + W@h[t-1] + shake[t]) + (1 - keep[t])*h[t-1]*wide[t]
  output h
"""
HALVES = """
cell Halves(D):                       # singular at the zeros of padding; an axis that may have no steps
  input x[t]: D
  time u: len(t)//2
  state h[u]: D = 1
  param w: D ~ normal
  h[u] = tanh(w*x[2*u+1] + h[u-1])
  s = sum[u](1/h[u]) + sum[t](1/x[t]) + last(h)
  output h, s
"""
SUMS = """
cell Sums(D):                         # sums of the units so far, and a length among an axis's own steps
  input x[t]: D = 0
  time u: len(t)-1
  param a: D ~ normal
  state h[t]: D = a
  h[t] = tanh(cumsum(x[t])*a + cumsum(h[t-1])/len(t))
  z[u] = cumsum(h[u+1] + a)/len(u)
  output h, z
"""
BOX = """
cell Box(D):                          # three axes, read at other steps of each
  input x[s,t,u]: D = 0.5
  state z[s,t,u]: D = p
  param p, w: D ~ normal
  z[s,t,u] = tanh(w*z[s-1,t,u] + x[s,t,u] + x[s+1,t-1,u+1])
  y[s,t,u] = z[s+1,t-1,len(u)-1-u]*z[s-1,t-1,u-1] + z[s,t,u+1]
  n[t,u] = z[len(s)-1,t,u-2]
  output y, n
"""
EMPTY = {
    "some": {"s": [3, 0, 2], "t": [2, 3, 1], "u": [0, 2, 4]},
    "the last axis": {"s": [3, 1, 2], "t": [2, 3, 1], "u": [0, 0, 0]},
    "the first axis": {"s": [0, 0, 0], "t": [2, 3, 1], "u": [2, 1, 2]},
    "two axes": {"s": [1, 2, 0], "t": [0, 0, 0], "u": [0, 0, 0]},
}
TEXTS = {
    "halves": (HALVES, {"D": 2}),
    "kinds": (KINDS, {"D": 2, "H": 3}),
    "strides": (STRIDES, {"D": 2}),
    "backward": (BACKWARD, {"D": 2}),
    "grid": (GRID, {"D": 2}),
    "inner": (INNER, {"D": 2}),
    "layers": (LAYERS, {"D": 2}),
    "matrices": (MATRICES, {"D": 2, "H": 3}),
    "numbers": (NUMBERS, {"D": 3}),
    "carried": (CARRIED, {"K": 4, "D": 2, "H": 3}),
    "special": (SPECIAL, {"D": 3}),
    "clock": (CLOCK, {"H": 3}),
    "noise": (NOISE, {"D": 2, "H": 3}),
    "complex": (COMPLEX, {"D": 2, "N": 4}),
    "sums": (SUMS, {"D": 4}),
    "box": (BOX, {"D": 2}),
}


def empty_axes(which: str) -> Case:
    """Three axes, of which some have no steps."""
    return case(parse(BOX).build(dtype="float64", D=2), lengths=EMPTY[which])


def kinks() -> Case:
    """Functions at their kinks: zeros, ones and ties."""
    x = np.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]], [[0.0, -1.0, 0.0], [1.0, 1.0, 0.0]]])
    model = parse(KINKS_TEXT).build(dtype="float64", D=3)
    return case(model, lengths={"t": [2, 2]}, data={"x": x})


@cache
def example(
    name: str, seed: int = 0, carried: bool = False, train: bool = False, lengths: tuple[int, ...] | None = None
) -> Case:
    """One of the texts above on data."""
    text, sizes = TEXTS[name]
    model = parse(text).build(dtype="float64", seed=seed, **sizes)
    return case(model, seed, carried=carried, train=train, lengths=None if lengths is None else {"t": lengths})
