"""Windows of an image, side by side, and their sum back in place: the loops of pooling and of convolutions that have no
register tiles.

An image is (C, H, W); its windows are (C, kh, kw, oh, ow): for each place of the window, all the elements
that this place sees, so that the inner loop runs along rows. Places outside the image read `fill`.
"""

from __future__ import annotations

from typing import Any

from tinygrad_seq.kernels.cache import kernel


@kernel
def gather(x: Any, out: Any, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int, fill: Any) -> None:
    channels, kh, kw, oh, ow = out.shape
    height, width = x.shape[1], x.shape[2]
    for c in range(channels):
        for i in range(kh):
            for j in range(kw):
                left = j * dw - pw
                low = min(max((-left + sw - 1) // sw, 0), ow)
                high = max(min((width - left + sw - 1) // sw, ow), low)
                for r in range(oh):
                    h = r * sh + i * dh - ph
                    if h < 0 or h >= height:
                        for q in range(ow):
                            out[c, i, j, r, q] = fill
                        continue
                    for q in range(low):
                        out[c, i, j, r, q] = fill
                    for q in range(low, high):
                        out[c, i, j, r, q] = x[c, h, q * sw + left]
                    for q in range(high, ow):
                        out[c, i, j, r, q] = fill


@kernel
def scatter(g: Any, out: Any, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int) -> None:
    """out (C, H, W) += every window's element at the place it was read from; those outside are dropped."""
    channels, kh, kw, oh, ow = g.shape
    height, width = out.shape[1], out.shape[2]
    for c in range(channels):
        for i in range(kh):
            for j in range(kw):
                left = j * dw - pw
                low = min(max((-left + sw - 1) // sw, 0), ow)
                high = max(min((width - left + sw - 1) // sw, ow), low)
                for r in range(oh):
                    h = r * sh + i * dh - ph
                    if 0 <= h < height:
                        for q in range(low, high):
                            out[c, h, q * sw + left] += g[c, i, j, r, q]
