"""Published models of sequences as plain NumPy loops over ONE sequence: the other half of `recurrences.py`'s table.

Here are those with symbols, losses, several axes or something drawn; what they return is a loss, or outputs.
"""

from __future__ import annotations

import numpy as np

from tests.library.recurrences import (
    Array,
    Data,
    Peephole,
    bilstm,
    column,
    gru,
    lstm,
    oracle,
    shifted,
    sigma,
    softmax,
    surprise,
)


def decoded(h: Array, x: Data, U: Array, a: Array) -> float:
    return float(np.mean([surprise(U @ v + a, y) for v, y in zip(h, x["y"], strict=True)]))


@oracle
def WordRNN(x: Data, p: Data) -> float:
    h = [column(p["E"], y) for y in shifted(x["y"])]
    for k in range(sum(n.endswith(".b_f") for n in p)):
        h = lstm(h, p, f"rnn.{k}.")[0]
    return decoded(np.array(h), x, p["U"], p["a"])


@oracle
def TiedWordRNN(x: Data, p: Data) -> float:
    return WordRNN(x, {**p, "U": p["E"].T @ p["P"]})


@oracle
def Tagger(x: Data, p: Data) -> float:
    return decoded(bilstm(x["x"], p, "rnn."), x, p["U"], p["a"])


@oracle
def WordTagger(x: Data, p: Data) -> float:
    return Tagger({**x, "x": p["E"].T[x["w"]]}, p)


@oracle
def VectorInitial(x: Data, p: Data) -> float:
    start = np.tanh(p["A"] @ x["v"] + p["a_0"])
    return decoded(gru(shifted(x["y"]), p, "rnn.", start), x, p["U"], p["a"])


@oracle
def VectorEveryStep(x: Data, p: Data) -> float:
    e = [column(p["E"], y) + p["A"] @ x["v"] for y in shifted(x["y"])]
    return decoded(gru(e, p, "rnn."), x, p["U"], p["a"])


@oracle
def VectorBoth(x: Data, p: Data) -> float:
    e = [column(p["E"], y) + p["C"] @ x["v"] for y in shifted(x["y"])]
    return decoded(gru(e, p, "rnn.", np.tanh(p["A"] @ x["v"])), x, p["U"], p["a"])


@oracle
def Caption(x: Data, p: Data) -> float:
    e = [p["W_I"] @ x["v"], *[p["W_e"][:, y] for y in x["y"][:-1]]]
    return decoded(lstm(e, p, "rnn.")[0], x, p["U"], p["a"])


@oracle
def Luong(x: Data, p: Data) -> float:
    enc, cells = lstm(x["x"], p, "enc.")
    h, c, m, total = enc[-1], cells[-1], np.zeros(len(enc[0])), 0.0
    for last, y in zip(shifted(x["y"]), x["y"], strict=True):
        hs, cs = lstm([column(p["E"], last) + p["M"] @ m], p, "dec.", h, c)
        h, c = hs[0], cs[0]
        own = {n.removeprefix("score."): v for n, v in p.items()}
        score = ConcatScore if "v_a" in own else GeneralScore if "W_a" in own else DotScore
        weights = softmax(score({"q": hs, "k": enc}, own)[0])
        m = np.tanh(p["W_c"] @ np.concatenate([weights @ enc, h]))
        total += surprise(p["W_s"] @ m + p["a"], y)
    return total / len(x["y"])


@oracle
def LocationAware(x: Data, p: Data) -> float:
    enc = gru(x["x"], p, "enc.")
    F = np.array([p["F_l"], p["F_m"], p["F_r"]])
    d, a, total = np.zeros(len(p["b_d"])), np.zeros(len(enc)), 0.0
    for last, y in zip(shifted(x["y"]), x["y"], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(a, 1), 3)
        a = softmax(np.tanh(enc @ p["V"].T + p["W"] @ d + windows @ F + p["b"]) @ p["v"])
        d = np.tanh(column(p["W_y"], last) + p["W_g"] @ (a @ enc) + p["W_d"] @ d + p["b_d"])
        total += surprise(p["W_o"] @ d + p["b_o"], y)
    return total / len(x["y"])


@oracle
def CharRNN(x: Data, p: Data) -> float:
    h: list[Array] | list[int] = shifted(x["y"])
    for k in range(sum(n.endswith(".b_f") for n in p)):
        h = list(lstm(h, p, f"rnn.{k}.")[0])
    return decoded(np.array(h), x, p["U"], p["a"])


@oracle
def EncoderDecoder(x: Data, p: Data) -> float:
    h, c = lstm(x["x"], p, "enc.")
    return decoded(lstm(shifted(x["y"]), p, "dec.", h[-1], c[-1])[0], x, p["U"], p["a"])


@oracle
def Translate(x: Data, p: Data) -> float:
    enc = lstm(x["x"], p, "enc.")[0]
    d, total = enc[-1], 0.0
    for last, y in zip(shifted(x["y"]), x["y"], strict=True):
        weights = softmax(np.array([p["v"] @ np.tanh(p["W_e"] @ d + p["U_e"] @ h) for h in enc]))
        d = np.tanh(column(p["W_y"], last) + p["W_c"] @ (weights @ enc) + p["W_d"] @ d + p["b_d"])
        total += surprise(p["W_o"] @ d + p["b_o"], y)
    return total / len(x["y"])


@oracle
def Classifier(x: Data, p: Data) -> float:
    return surprise(p["U"] @ lstm(x["x"], p, "rnn.")[0][-1] + p["a"], int(x["y"]))


@oracle
def ClassifierMean(x: Data, p: Data) -> float:
    return surprise(p["U"] @ lstm(x["x"], p, "rnn.")[0].mean(0) + p["a"], int(x["y"]))


@oracle
def ClassifierMax(x: Data, p: Data) -> float:
    return surprise(p["U"] @ lstm(x["x"], p, "rnn.")[0].max(0) + p["a"], int(x["y"]))


@oracle
def ClassifierAttention(x: Data, p: Data) -> float:
    h = lstm(x["x"], p, "rnn.")[0]
    weights = softmax(np.tanh(h @ p["W"].T + p["b"]) @ p["v"])
    return surprise(p["U"] @ (weights @ h) + p["a"], int(x["y"]))


@oracle
def DotScore(x: Data, p: Data) -> Array:
    return np.array([[q @ k for k in x["k"]] for q in x["q"]])


@oracle
def GeneralScore(x: Data, p: Data) -> Array:
    return x["q"] @ p["W_a"] @ x["k"].T


@oracle
def ConcatScore(x: Data, p: Data) -> Array:
    left, right = np.split(p["W_a"], 2, axis=1)
    return np.array([[p["v_a"] @ np.tanh(left @ q + right @ k) for k in x["k"]] for q in x["q"]])


@oracle
def AttendCaption(x: Data, p: Data) -> float:
    v = x["v"]
    h, c = np.tanh(p["W_0"] @ v.mean(0) + p["b_h"]), np.tanh(p["U_0"] @ v.mean(0) + p["b_c"])
    total = 0.0
    for last, y in zip(shifted(x["y"]), x["y"], strict=True):
        z = softmax(np.tanh(v @ p["W_v"].T + p["W_h"] @ h + p["b"]) @ p["w"]) @ v
        e = column(p["E"], last)
        hs, cs = lstm([np.concatenate([e, z])], p, "rnn.", h, c)
        h, c = hs[0], cs[0]
        total += surprise(p["L_o"] @ (e + p["L_h"] @ h + p["L_z"] @ z) + p["a"], y)
    return total / len(x["y"])


# ------------------------------------------------------------------ where to stop


def coin(logit: float, value: float) -> float:
    """-log of the probability of a 1 or a 0."""
    return float(-value * np.log(sigma(logit)) - (1 - value) * np.log(sigma(-logit)))


@oracle
def StopRNN(x: Data, p: Data) -> float:
    h = lstm(shifted(x["y"]), p, "rnn.")[0]
    ends = sum(coin(float(p["u"] @ v + p["b"]), s) for v, s in zip(h, x["stop"], strict=True))
    return decoded(h, x, p["U"], p["a"]) * len(h) + ends


def counted(x: Data, p: Data, left: list[Array]) -> float:
    """`left` is what the states hear of the length at each step."""
    e = [column(p["E"], y) + more for y, more in zip(shifted(x["y"]), left, strict=True)]
    h = gru(e, p, "rnn.", np.tanh(p["A"] @ x["v"]))
    return surprise(p["W"] @ x["v"] + p["b"], int(x["tau"])) + decoded(h, x, p["U"], p["a"]) * len(h)


@oracle
def LengthRNN(x: Data, p: Data) -> float:
    return counted(x, p, [p["F"][:, int(x["tau"])]] * len(x["y"]))


@oracle
def CountdownRNN(x: Data, p: Data) -> float:
    left = [int(x["tau"]) - t for t in range(len(x["y"]))]
    return counted(x, p, [column(p["F"], k) for k in left])


# ------------------------------------------------------------------ alignments


@oracle
def CTC(x: Data, p: Data) -> float:
    """The paper's forward variables as probabilities, equations 6-8; blanks stand between the labels."""
    units = [softmax(v) for v in x["l"]]
    blank = len(units[0]) - 1
    labels = [blank]
    for y in x["y"]:
        labels += [int(y), blank]
    alpha = np.zeros(len(labels))
    alpha[:2] = units[0][labels[:2]]
    for unit in units[1:]:
        before = alpha
        alpha = np.zeros(len(labels))
        for s, label in enumerate(labels):
            reach = 3 if s > 1 and label not in (blank, labels[s - 2]) else 2
            alpha[s] = unit[label] * before[max(0, s + 1 - reach) : s + 1].sum()
    return float(-np.log(alpha[-2:].sum()))


@oracle
def CTCLabeller(x: Data, p: Data) -> float:
    return CTC({"l": bilstm(x["x"], p, "rnn.") @ p["U"].T + p["b"], "y": x["y"]}, p)


# ------------------------------------------------------------------ handwriting


def pen(p: Data, y: Array, at: Array) -> float:
    """-log of the density of the next pen: equations 18-26."""
    pi = softmax(p["W_w"] @ y + p["b_w"])
    mx, my = p["W_x"] @ y + p["b_x"], p["W_y"] @ y + p["b_y"]
    sx, sy = np.exp(p["W_s"] @ y + p["b_s"]), np.exp(p["W_u"] @ y + p["b_u"])
    r = np.tanh(p["W_r"] @ y + p["b_r"])
    dx, dy = (at[0] - mx) / sx, (at[1] - my) / sy
    Z = dx**2 + dy**2 - 2 * r * dx * dy
    density = np.exp(-Z / (2 * (1 - r**2))) / (2 * np.pi * sx * sy * np.sqrt(1 - r**2))
    return float(-np.log(pi @ density)) + coin(float(p["w_e"] @ y + p["b_e"]), at[2])


@oracle
def Handwriting(x: Data, p: Data) -> float:
    before = np.concatenate([np.zeros((1, 3)), x["p"][:-1]])
    h1 = Peephole({"x": before}, p, "h1.")
    h2 = Peephole({"x": np.hstack([before, h1])}, p, "h2.")
    h3 = Peephole({"x": np.hstack([before, h2])}, p, "h3.")
    return float(np.mean([pen(p, y, at) for y, at in zip(np.hstack([h1, h2, h3]), x["p"], strict=True)]))


@oracle
def HandwritingSynthesis(x: Data, p: Data) -> float:
    before = np.concatenate([np.zeros((1, 3)), x["p"][:-1]])
    c = np.eye(p["h1.V_f"].shape[1] - 3)[x["c"]]
    kappa, w, first, windows = np.zeros(len(p["b_kappa"])), np.zeros(c.shape[1]), [], []
    for last in before:
        first.append(np.concatenate([last, w]))
        h1 = Peephole({"x": np.array(first)}, p, "h1.")[-1]  # from the start each time: slow and without state
        alpha, beta = np.exp(p["W_alpha"] @ h1 + p["b_alpha"]), np.exp(p["W_beta"] @ h1 + p["b_beta"])
        kappa = kappa + np.exp(p["W_kappa"] @ h1 + p["b_kappa"])
        phi = [
            sum(a * np.exp(-b * (k - u) ** 2) for a, b, k in zip(alpha, beta, kappa, strict=True))
            for u in range(len(c))
        ]
        w = np.array(phi) @ c
        windows.append(w)
    H1 = Peephole({"x": np.array(first)}, p, "h1.")
    H2 = Peephole({"x": np.hstack([before, H1, windows])}, p, "h2.")
    H3 = Peephole({"x": np.hstack([before, H2, windows])}, p, "h3.")
    return float(np.mean([pen(p, y, at) for y, at in zip(np.hstack([H1, H2, H3]), x["p"], strict=True)]))
