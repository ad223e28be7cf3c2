"""Cells of the mutants' suite, which between them use the whole language: (text, arguments, lengths) by name."""

from __future__ import annotations

ROTATE = """
cell Rotate(N):
  input x[t]: N = 0.3
  input c: complex N
  state g[t]: complex N = c
  param r: complex N ~ uniform(-1, 1)
  param V: complex (N, N) ~ uniform(-1, 1)
  param d, b: N = 0.1
  const P = permutation(N)
  g[t] = modrelu(cis(d)*reflect(r, permute(P, fft(g[t-1])))/N + V@x[t] + V.H@conj(g[t-2])/4, b - 1)
  h[t] = ifft(unpermute(P, g[t]))*g[t+1]*conj(r) + outer(g[t], r)@g[t-1]/8
  loss cost = sum[t](sum(re(h[t])*im(g[t]) + abs(g[t]) + im(h[t])))
"""
FAST = """
def mix(a, b, w) = w*tanh(a) - b
cell Fast(D, H):
  input x[t]: D
  param F0: (D, H) ~ glorot
  param b: H = 0
  state F[t]: (D, H) = F0
  F[t] = tanh(0.5*F[t-1] + outer(x[t], mix(b, F[t-1].T@x[t], 0.7)))
  y[t] = F[t]@(F[t-2].T@x[t]) + softmax(F[t-1])@b
  loss cost = mean[t](sum(y[t])) + sum(max[t](y[t])) + max[t](sum(F[t]))
"""
AXES = """
cell Axes(D):
  input x[t]: D = 0.5
  param a, b, c: D = 0.1
  state h[t]: D = a
  time u: len(t)-2
  time v: (len(t)+1)//2
  state z[u]: D = b
  state w[v]: D = c
  noise n[t]: D ~ dropout(0.3)
  total q = sum[t](tanh(x[t]*b))
  h[t] = tanh(n[t]*x[t] + h[t-1] + stop_gradient(h[t-2])*a)
  z[u] = sin(h[u+2]*z[u-1]) + x[u]
  w[v] = h[2*v]*x[2*v+1] + z[v//2] + h[len(t)-1-v]
  m = last(z)
  e[t] = w[t//2]*h[t+2] + m*q + h[1]*w[(t+3)//2]
  loss cost = sum[t](a@e[t]) + sum[u](z[u]@z[u]) + sum[t](c@h[t])
"""
DRAWN = """
cell Drawn(D, H):
  state y[t]: D = 0
  state w[t]: D = 1
  state p[t]: 3 = 0
  param V, W: (H, D) ~ glorot
  param U: (H, 3) ~ glorot
  param A, B: (D, H) ~ glorot
  param s: D = 0
  param e: scalar = 0
  h[t] = tanh(V@y[t-1] + W@w[t-1] + U@p[t-1])
  y[t] ~ bernoulli(logits = A@h[t] + s)
  w[t] ~ normal(mean = B@h[t], std = exp(s))
  p[t] ~ mdn2d(weights = softmax(h[t]), mean_x = h[t], mean_y = 2*h[t], std_x = exp(h[t]), std_y = 1 + h[t]*h[t],
               correlation = 0.8*h[t], end = e)
  loss cost = -sum[t](logprob(y[t]) + logprob(w[t]) + logprob(p[t]))
"""
SHARED = """
cell In(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-1])
cell Out(D, H):
  input x[t]: D
  use deep = In(x=x, H=H)
  use back = reverse In(x=deep, H=H)
  output back.h
cell Top(D, H):
  input x[t]: D
  input q[s]: D
  time u: (len(t)+1)//2
  param v: H = 1
  use a = Out(x=x, H=H)
  use b = a(x=x)
  z[u] = x[u]*x[u]
  y[t] = a[t]*b[len(t)-1-t]
  loss cost = sum[t](v@y[t]) + sum[u](sum(z[u])) + sum[s](sum(q[s]))
"""
LANGUAGE = {
    "complex": (ROTATE, {"N": 5}, {"t": [4, 2]}),
    "matrices": (FAST, {"D": 2, "H": 3}, {"t": [4, 2]}),
    "axes": (AXES, {"D": 2}, {"t": [5, 1]}),
    "drawn": (DRAWN, {"D": 2, "H": 2}, {"t": [3, 2]}),
    "shared": (SHARED, {"D": 2, "H": 2}, {"t": [3, 2], "s": [2, 1]}),
}
