"""Published layers as plain NumPy loops over ONE sequence, written from the papers: oracles for `test_published.py`.

`layers.py` (what is made of several, noisy or complex) and `sequences.py` (symbols, losses, second axes) fill the same
table.

Each function takes `x`, the data of one sequence by stream name, and `p`, the parameters by name, both float64 arrays
(categories integers), and returns the cell's output over the steps, or its loss as a number. Nothing of the packages is
imported; weights are used under the library's names, everything else is the paper's own arrangement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Data = dict[str, Array]
ORACLES: dict[str, Callable[[Data, Data], Any]] = {}


def oracle(function: Callable[[Data, Data], Any]) -> Callable[[Data, Data], Any]:
    """Decorator: the oracle of the cell with the function's name."""
    ORACLES[function.__name__] = function
    return function


def sigma(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softmax(v: Array) -> Array:
    e = np.exp(v - v.max())
    return e / e.sum()


def surprise(logits: Array, y: int) -> float:
    """-log softmax(logits)[y]."""
    return float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[y])


def column(W: Array, i: int) -> Array:
    """W times category i; none (-1) is the zero vector."""
    return W[:, i] if i >= 0 else np.zeros(len(W))


def shifted(y: Array) -> list[int]:
    """What is known before each step: nothing, then y[t-1]."""
    return [-1, *[int(v) for v in y[:-1]]]


def lstm(xs: Any, p: Data, at: str = "", h: Any = 0.0, c: Any = 0.0) -> tuple[Array, Array]:
    """Hidden and cell states of an LSTM whose parameters' names start with `at`; a category is looked up."""
    hs, cs = [], []
    H = len(p[f"{at}b_f"])
    h, c = h + np.zeros(H), c + np.zeros(H)
    for x in xs:

        def gate(name: str, x: Any = x, h: Array = h) -> Array:
            V = p[f"{at}V_{name}"]
            return (column(V, x) if np.ndim(x) == 0 else V @ x) + p[f"{at}W_{name}"] @ h + p[f"{at}b_{name}"]

        c = sigma(gate("f")) * c + sigma(gate("i")) * np.tanh(gate("g"))
        h = sigma(gate("o")) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.array(hs), np.array(cs)


def gru(xs: Any, p: Data, at: str = "", h: Any = 0.0) -> Array:
    """States of a GRU with the reset gate before the product."""
    hs = []
    h = h + np.zeros(len(p[f"{at}b_z"]))
    for x in xs:
        Vr, Vz, Vn = (column(p[f"{at}V_{g}"], x) if np.ndim(x) == 0 else p[f"{at}V_{g}"] @ x for g in "rzn")
        r = sigma(Vr + p[f"{at}W_r"] @ h + p[f"{at}b_r"])
        z = sigma(Vz + p[f"{at}W_z"] @ h + p[f"{at}b_z"])
        h = z * h + (1 - z) * np.tanh(Vn + p[f"{at}W_n"] @ (r * h) + p[f"{at}b_n"])
        hs.append(h)
    return np.array(hs)


def bilstm(xs: Any, p: Data, at: str) -> Array:
    back = lstm(xs[::-1], p, f"{at}b.")[0][::-1]
    return np.concatenate([lstm(xs, p, f"{at}f.")[0], back], axis=1)


# ------------------------------------------------------------------ the classics


def simple(x: Array, p: Data, f: Callable[[Array], Array], V: str = "V", W: str = "W", b: str = "b") -> Array:
    h, out = np.zeros(len(p[b])), []
    for v in x:
        h = f(p[V] @ v + p[W] @ h + p[b])
        out.append(h)
    return np.array(out).reshape(len(out), len(h))


def rectified(z: Array) -> Array:
    return np.where(z > 0, z, 0.0)


@oracle
def Elman(x: Data, p: Data) -> Array:
    return simple(x["x"], p, np.tanh)


@oracle
def OrthogonalRNN(x: Data, p: Data) -> Array:
    return simple(x["x"], p, np.tanh)


@oracle
def WeightNormRNN(x: Data, p: Data) -> Array:
    return simple(x["x"], {**p, "W": np.diag(p["g"]) @ p["W"]}, np.tanh)


@oracle
def IRNN(x: Data, p: Data) -> Array:
    return simple(x["x"], p, rectified)


@oracle
def IndRNN(x: Data, p: Data) -> Array:
    return simple(x["x"], {**p, "W": np.diag(p["u"])}, rectified)


@oracle
def Jordan(x: Data, p: Data) -> Array:
    y, out = np.zeros(len(p["a"])), []
    for v in x["x"]:
        y = sigma(p["U"] @ sigma(p["V"] @ v + p["R"] @ y + p["b"]) + p["a"])
        out.append(y)
    return np.array(out)


@oracle
def Skip(x: Data, p: Data, at: str = "") -> Array:
    hs = [np.zeros(len(p[f"{at}b"]))] * 4
    for v in x["x"]:
        hs.append(np.tanh(p[f"{at}V"] @ v + p[f"{at}W"] @ hs[-1] + p[f"{at}S"] @ hs[-4] + p[f"{at}b"]))
    return np.array(hs[4:])


@oracle
def BiRNN(x: Data, p: Data, at: str = "") -> Array:
    f, b = (
        simple(way, p, np.tanh, f"{at}V_{k}", f"{at}W_{k}", f"{at}a_{k}")
        for way, k in ((x["x"], "f"), (x["x"][::-1], "b"))
    )
    return np.concatenate([f, b[::-1]], axis=1)


@oracle
def LSTM(x: Data, p: Data) -> Array:
    return lstm(x["x"], p)[0]


@oracle
def LSTMTwoBias(x: Data, p: Data) -> Array:
    return lstm(x["x"], p | {f"b_{g}": p[f"b_{g}"] + p[f"a_{g}"] for g in "fiog"})[0]


@oracle
def BiLSTM(x: Data, p: Data) -> Array:
    return bilstm(x["x"], p, "")


@oracle
def Peephole(x: Data, p: Data, at: str = "") -> Array:
    h = c = np.zeros(len(p[f"{at}b_f"]))
    out = []
    for v in x["x"]:
        f, i, o, g = (p[f"{at}V_{k}"] @ v + p[f"{at}W_{k}"] @ h + p[f"{at}b_{k}"] for k in "fiog")
        c = sigma(f + p[f"{at}p_f"] * c) * c + sigma(i + p[f"{at}p_i"] * c) * np.tanh(g)
        h = sigma(o + p[f"{at}p_o"] * c) * np.tanh(c)
        out.append(h)
    return np.array(out)


@oracle
def Coupled(x: Data, p: Data) -> Array:
    """1 - sigmoid(z) is sigmoid(-z): an LSTM whose input gate has the forget gate's weights, negated."""
    return lstm(x["x"], p | {f"{k}_i": -p[f"{k}_f"] for k in "VWb"})[0]


@oracle
def GRU(x: Data, p: Data) -> Array:
    return gru(x["x"], p)


@oracle
def GRUResetAfter(x: Data, p: Data) -> Array:
    h, out = np.zeros(len(p["b_z"])), []
    V, W = (np.concatenate([p[f"{k}_{g}"] for g in "rzn"]) for k in "VW")
    for v in x["x"]:
        left = V @ v + np.concatenate([p["b_r"], p["b_z"], p["b_n"]])
        right = W @ h + np.concatenate([0 * p["b_r"], 0 * p["b_z"], p["b_rn"]])
        (r, z, n), (hr, hz, hn) = np.split(left, 3), np.split(right, 3)
        h = (1 - sigma(z + hz)) * np.tanh(n + sigma(r + hr) * hn) + sigma(z + hz) * h
        out.append(h)
    return np.array(out)


# ------------------------------------------------------------------ linear recurrences


@oracle
def SRU(x: Data, p: Data) -> Array:
    c, out = 0.0, []
    for v in x["x"]:
        f = sigma(p["W_f"] @ v + p["v_f"] * c + p["b_f"])
        r = sigma(p["W_r"] @ v + p["v_r"] * c + p["b_r"])  # r sees the old c too
        c = f * c + (1 - f) * (p["W"] @ v)
        out.append(r * c + (1 - r) * v)
    return np.array(out)


@oracle
def SRULinear(x: Data, p: Data) -> Array:
    c, out = 0.0, []
    for v in x["x"]:
        f, r = sigma(p["W_f"] @ v + p["b_f"]), sigma(p["W_r"] @ v + p["b_r"])
        c = f * c + (1 - f) * (p["W"] @ v)
        out.append(r * np.tanh(c) + (1 - r) * v)
    return np.array(out)


def convolved(x: Array, p: Data, gate: str) -> Array:
    """A convolution of width 2 over time, zeros before the start."""
    before = np.concatenate([np.zeros((1, x.shape[1])), x[:-1]])
    return before @ p[f"V_{gate}"].T + x @ p[f"W_{gate}"].T


@oracle
def QRNN(x: Data, p: Data) -> Array:
    h, out = 0.0, []
    for z, f in zip(np.tanh(convolved(x["x"], p, "z")), sigma(convolved(x["x"], p, "f")), strict=True):
        h = f * h + (1 - f) * z
        out.append(h)
    return np.array(out)


@oracle
def QRNNfo(x: Data, p: Data) -> Array:
    return sigma(convolved(x["x"], p, "o")) * QRNN(x, p)


@oracle
def QRNNifo(x: Data, p: Data) -> Array:
    Z, F = np.tanh(convolved(x["x"], p, "z")), sigma(convolved(x["x"], p, "f"))
    I, O = sigma(convolved(x["x"], p, "i")), sigma(convolved(x["x"], p, "o"))
    c, out = 0.0, []
    for z, f, i, o in zip(Z, F, I, O, strict=True):
        c = f * c + i * z
        out.append(o * c)
    return np.array(out)


def averaged(keep: Array, add: Array) -> Array:
    """h[t] = keep[t]·h[t-1] + add[t] in closed form: products of what is kept, not a recurrence."""
    return np.array([sum(np.prod(keep[s + 1 : t + 1], axis=0) * add[s] for s in range(t + 1)) for t in range(len(add))])


@oracle
def minGRU(x: Data, p: Data) -> Array:
    z = sigma(x["x"] @ p["W_z"].T + p["b_z"])
    return averaged(1 - z, z * (x["x"] @ p["W_h"].T + p["b_h"]))


@oracle
def minLSTM(x: Data, p: Data) -> Array:
    f, i = (sigma(x["x"] @ p[f"W_{g}"].T + p[f"b_{g}"]) for g in "fi")
    return averaged(f / (f + i), i / (f + i) * (x["x"] @ p["W_h"].T + p["b_h"]))


# ------------------------------------------------------------------ one cell


@oracle
def ClockworkRNN(x: Data, p: Data) -> Array:
    """With the paper's one matrix of all modules, and rows held while t is no multiple of their period."""
    H = len(p["b1"])
    zero = np.zeros((H, H))
    W = np.block([[p["W11"], p["W12"], p["W13"]], [zero, p["W22"], p["W23"]], [zero, zero, p["W33"]]])
    V, b = np.concatenate([p["V1"], p["V2"], p["V3"]]), np.concatenate([p["b1"], p["b2"], p["b3"]])
    period = np.repeat([1, 2, 4], H)
    y, out = np.zeros(3 * H), []
    for t, v in enumerate(x["x"]):
        y = np.where(t % period == 0, np.tanh(W @ y + V @ v + b), y)
        out.append(y)
    return np.array(out)


@oracle
def JANET(x: Data, p: Data) -> Array:
    h, out = np.zeros(len(p["b_c"])), []
    for v in x["x"]:
        s, n = (p[f"V_{k}"] @ v + p[f"W_{k}"] @ h + p[f"b_{k}"] for k in "fc")
        h = h / (1 + np.exp(-s)) + np.tanh(n) / (1 + np.exp(s - 1))
        out.append(h)
    return np.array(out)


@oracle
def LEM(x: Data, p: Data) -> Array:
    """The paper's equation, its two time scales written as what is kept."""
    y = z = np.zeros(len(p["b_z"]))
    out = []
    for v in x["x"]:
        keep_z, keep_y = (1 - sigma(p[f"W_{k}"] @ y + p[f"V_{k}"] @ v + p[f"b_{k}"]) for k in "12")
        z = keep_z * z + (1 - keep_z) * np.tanh(p["W_z"] @ y + p["V_z"] @ v + p["b_z"])
        y = keep_y * y + (1 - keep_y) * np.tanh(p["W_y"] @ z + p["V_y"] @ v + p["b_y"])
        out.append(y)
    return np.array(out)


@oracle
def tauGRU(x: Data, p: Data) -> Array:
    hs = [np.zeros(len(p["b_1"]))] * 4
    for v in x["x"]:
        u, z, g, a = (p[f"W_{k}"] @ hs[-4 if k == 2 else -1] + p[f"U_{k}"] @ v + p[f"b_{k}"] for k in (1, 2, 3, 4))
        hs.append((1 - sigma(g)) * hs[-1] + sigma(g) * (np.tanh(u) + sigma(a) * np.tanh(z)))
    return np.array(hs[4:])


@oracle
def SCRN(x: Data, p: Data) -> Array:
    """The context as the sum that its recurrence unrolls to."""
    fed = x["x"] @ p["B"].T
    h, out = np.zeros(len(p["R"])), []
    for t, v in enumerate(x["x"]):
        s = 0.05 * sum(0.95 ** (t - k) * fed[k] for k in range(t + 1))
        h = sigma(p["P"] @ s + p["A"] @ v + p["R"] @ h)
        out.append(np.concatenate([h, s]))
    return np.array(out)


def layer_norm(z: Array, gain: Array, bias: Array) -> Array:
    return (z - z.mean()) / np.sqrt(z.var() + 1e-5) * gain + bias


@oracle
def LayerNormLSTM(x: Data, p: Data) -> Array:
    h, c, out = np.zeros(len(p["alpha_3"])), np.zeros(len(p["alpha_3"])), []
    for v in x["x"]:
        left = layer_norm(p["W_h"] @ h, p["alpha_1"], p["beta_1"])
        f, i, o, g = np.split(left + layer_norm(p["W_x"] @ v, p["alpha_2"], p["beta_2"]) + p["b"], 4)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(layer_norm(c, p["alpha_3"], p["beta_3"]))
        out.append(h)
    return np.array(out)


@oracle
def ChronoLSTM(x: Data, p: Data) -> Array:
    return lstm(x["x"], {**p, "b_f": p["b_f"] + p["s"], "b_i": p["b_i"] - p["s"]})[0]


@oracle
def LSTM1997(x: Data, p: Data) -> Array:
    y = s = np.zeros(len(p["b_in"]))
    out = []
    for v in x["x"]:
        net_in, net_out, net_c = (p[f"V_{k}"] @ v + p[f"W_{k}"] @ y + p[f"b_{k}"] for k in ("in", "out", "c"))
        s = s + 1 / (1 + np.exp(-net_in)) * (4 / (1 + np.exp(-net_c)) - 2)
        y = 1 / (1 + np.exp(-net_out)) * (2 / (1 + np.exp(-s)) - 1)
        out.append(y)
    return np.array(out)


def mgu(x: Data, p: Data, gate: Callable[[Array], Array]) -> Array:
    h, out = np.zeros(len(p["b_n"])), []
    for v in x["x"]:
        f = gate(h)
        h = (1 - f) * h + f * np.tanh(p["W_n"] @ v + p["U_n"] @ (f * h) + p["b_n"])
        out.append(h)
    return np.array(out)


@oracle
def MGU1(x: Data, p: Data) -> Array:
    return mgu(x, p, lambda h: sigma(p["U_f"] @ h + p["b_f"]))


@oracle
def MGU2(x: Data, p: Data) -> Array:
    return mgu(x, p, lambda h: sigma(p["U_f"] @ h))


@oracle
def MGU3(x: Data, p: Data) -> Array:
    return mgu(x, p, lambda h: sigma(p["b_f"]))


@oracle
def MassLSTM(x: Data, p: Data) -> Array:
    c, out = np.zeros(len(p["b_i"])), []
    R = np.array([softmax(row) for row in p["B"]]).T
    for mass, a in zip(x["x"], x["a"], strict=True):
        s = c / (np.abs(c).sum() + 1e-5)
        i = softmax(p["W_i"] @ a + p["U_i"] @ s + p["b_i"])
        o = sigma(p["W_o"] @ a + p["U_o"] @ s + p["b_o"])
        total = R @ c + i * mass
        c = (1 - o) * total
        out.append(o * total)
    return np.array(out)


@oracle
def sLSTM(x: Data, p: Data) -> Array:
    """Without the stabiliser, equations 8-14."""
    h = c = n = np.zeros(len(p["b_i"]))
    out = []
    for v in x["x"]:
        z, i, f, o = (p[f"W_{g}"] @ v + p[f"R_{g}"] @ h + p[f"b_{g}"] for g in "zifo")
        c = sigma(f) * c + np.exp(i) * np.tanh(z)
        n = sigma(f) * n + np.exp(i)
        h = sigma(o) * c / n
        out.append(h)
    return np.array(out)


@oracle
def mLSTM(x: Data, p: Data) -> Array:
    """Without the stabiliser, equations 19-27."""
    H = len(p["b_q"])
    C, n, out = np.zeros((H, H)), np.zeros(H), []
    for u in x["x"]:
        q, v = p["W_q"] @ u + p["b_q"], p["W_v"] @ u + p["b_v"]
        k = p["W_k"] @ u / np.sqrt(H) + p["b_k"]
        i, f = np.exp(p["w_i"] @ u + p["b_i"]), sigma(p["w_f"] @ u + p["b_f"])
        C = f * C + i * v[:, None] * k[None, :]
        n = f * n + i * k
        out.append(sigma(p["W_o"] @ u + p["b_o"]) * (C @ q) / max(abs(n @ q), 1.0))
    return np.array(out)
