"""Published layers that are noisy, complex or made of several, as NumPy loops: more of `recurrences.py`'s table."""

from __future__ import annotations

import numpy as np

from tests.library.recurrences import Array, BiRNN, Data, Skip, layer_norm, lstm, oracle, rectified, sigma

# ------------------------------------------------------------------ with noise, which comes with the data


@oracle
def ZoneoutLSTM(x: Data, p: Data) -> Array:
    h = c = np.zeros(len(p["b_f"]))
    out = []
    for v, keep_c, keep_h in zip(x["x"], x["d_c"], x["d_h"], strict=True):
        new, raw = lstm([v], p, "", h, c)
        c = keep_c * c + (1 - keep_c) * raw[0]
        h = keep_h * h + (1 - keep_h) * new[0]
        out.append(h)
    return np.array(out)


@oracle
def Dropout(x: Data, p: Data) -> Array:
    return lstm(x["x"] * x["m"], p, "rnn.")[0]


@oracle
def DropoutStack(x: Data, p: Data) -> Array:
    h = x["x"]
    for at in ("rnn.0.", "rnn.1."):
        h = lstm(h * x[f"{at}m"], p, f"{at}rnn.")[0]
    return h * x["m"]


@oracle
def VariationalLSTM(x: Data, p: Data) -> Array:
    """A mask over what a matrix reads is a mask over its columns."""
    return lstm(
        x["x"],
        p | {f"V_{g}": p[f"V_{g}"] * x["z_x"] for g in "fiog"} | {f"W_{g}": p[f"W_{g}"] * x["z_h"] for g in "fiog"},
    )[0]


@oracle
def RecurrentDropoutLSTM(x: Data, p: Data) -> Array:
    h = c = np.zeros(len(p["b_f"]))
    out = []
    for v, d in zip(x["x"], x["d"], strict=True):
        f, i, o, g = (p[f"V_{k}"] @ v + p[f"W_{k}"] @ h + p[f"b_{k}"] for k in "fiog")
        c = sigma(f) * c + sigma(i) * (d * np.tanh(g))
        h = sigma(o) * np.tanh(c)
        out.append(h)
    return np.array(out)


# ------------------------------------------------------------------ over the complex numbers


def mod_relu(z: Array, b: Array) -> Array:
    r = np.abs(z)
    return np.where(r + b > 0, (r + b) * z / r, 0)


def doubled(h: list[Array]) -> Array:
    return np.concatenate([np.real(h), np.imag(h)], axis=1)


@oracle
def URNN(x: Data, p: Data) -> Array:
    """With the matrix of the paper's equation 6 multiplied out."""
    N = len(p["b"])
    F = np.exp(-2j * np.pi * np.outer(np.arange(N), np.arange(N)) / N) / np.sqrt(N)
    D1, D2, D3 = (np.diag(np.exp(1j * p[d])) for d in ("d1", "d2", "d3"))
    R1, R2 = (np.eye(N) - 2 * np.outer(v, v.conj()) / (np.abs(v) ** 2).sum() for v in (p["r1"], p["r2"]))
    W = D3 @ R2 @ F.conj().T @ D2 @ np.eye(N)[np.asarray(p["P"], int)] @ R1 @ F @ D1
    h, out = p["h0"], []
    for v in x["x"]:
        h = mod_relu(W @ h + p["V"] @ v, p["b"])
        out.append(h)
    return doubled(out)


@oracle
def FullURNN(x: Data, p: Data) -> Array:
    h, out = np.zeros(len(p["b"]), complex), []
    for v in x["x"]:
        h = mod_relu(p["W"] @ h + p["V"] @ v, p["b"])
        out.append(h)
    return doubled(out)


# ------------------------------------------------------------------ stacks


@oracle
def DilatedLayer(x: Data, p: Data, d: int = 1, at: str = "") -> Array:
    hs = [np.zeros(len(p[f"{at}b"]))] * d
    for v in x["x"]:
        hs.append(np.tanh(p[f"{at}V"] @ v + p[f"{at}W"] @ hs[-d] + p[f"{at}b"]))
    return np.array(hs[d:])


@oracle
def DilatedRNN(x: Data, p: Data) -> Array:
    h = x["x"]
    for at, d in (("a.", 1), ("b.", 2), ("c.", 4)):
        h = DilatedLayer({"x": h}, p, d, at)
    return h


@oracle
def SkipStack(x: Data, p: Data) -> Array:
    return Skip({"x": Skip(x, p, "rnn.0.")}, p, "rnn.1.")


@oracle
def Residual(x: Data, p: Data) -> Array:
    return x["x"] + lstm(x["x"], p, "f.")[0]


@oracle
def ResidualStack(x: Data, p: Data) -> Array:
    z = x["x"] @ p["P"].T
    for at in sorted({n[:6] for n in p if n.startswith("rnn.")}):
        z = z + lstm(z, p, f"{at}f.")[0]
    return z


@oracle
def Pyramid(x: Data, p: Data) -> Array:
    low = BiRNN(x, p, "low.")
    pairs = low[: len(low) // 2 * 2].reshape(len(low) // 2, 2 * low.shape[1])
    return BiRNN({"x": pairs}, p, "up.")


@oracle
def Hierarchy(x: Data, p: Data) -> Array:
    return lstm(lstm(x["x"], p, "fast.")[0][1::2], p, "slow.")[0]


@oracle
def HighwayLayer(x: Data, p: Data) -> Array:
    gate = sigma(x["s"] @ p["R_T"].T + p["b_T"])
    return gate * np.tanh(x["s"] @ p["R_H"].T + p["b_H"]) + (1 - gate) * x["s"]


@oracle
def RHN(x: Data, p: Data) -> Array:
    """One matrix for the transform and the candidate of a layer; the carry gate is written out."""
    layers = ["", *(n.removesuffix("R_H") for n in p if n.endswith(".R_H"))]
    y, out = np.zeros(len(p["b_H"])), []
    for v in x["x"]:
        for at in layers:
            R = np.concatenate([p[f"{at}R_H"], p[f"{at}R_T"]])
            b = np.concatenate([p[f"{at}b_H"], p[f"{at}b_T"]])
            h, transform = np.split(R @ y + b + (0 if at else np.concatenate([p["W_H"], p["W_T"]]) @ v), 2)
            carry = 1 - sigma(transform)
            y = np.tanh(h) * sigma(transform) + y * carry
        out.append(y)
    return np.array(out)


@oracle
def StopHead(x: Data, p: Data) -> Array:
    return sigma(lstm(x["x"], p, "rnn.")[0] @ p["u"] + p["a"])


# ------------------------------------------------------------------ a matrix that changes


@oracle
def FastWeights(x: Data, p: Data) -> Array:
    """A is never made: equation 4, attention to the states so far."""
    hs: list[Array] = []
    h = np.zeros(len(p["beta"]))
    for t, v in enumerate(x["x"]):
        s = p["W"] @ h + p["C"] @ v
        z = rectified(s)
        looked = sum(
            (0.5 * 0.95 ** (t - 1 - k) * past * (past @ z) for k, past in enumerate(hs)), start=np.zeros(len(h))
        )
        h = rectified(layer_norm(s + looked, p["alpha"], p["beta"]))
        hs.append(h)
    return np.array(hs)
