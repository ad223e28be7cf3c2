"""Windows of an image, side by side, and their sum back in place: the loops of pooling and of convolutions that have no
register tiles.

An image is (C, H, W); its windows are (C, kh, kw, oh, ow): for each place of the window, all the elements
that this place sees, so that the inner loop runs along rows. Places outside the image read `fill`.
"""

from __future__ import annotations

from typing import Any

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.memory import slots

(load_from, _), (load_into, store_into) = slots(2, "windows")


@kernel
def gather(x: Any, out: Any, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int, fill: Any) -> None:
    channels, kh, kw, oh, ow = out.shape
    height, width, into = x.shape[1], x.shape[2], 0
    for c in range(channels):
        for i in range(kh):
            for j in range(kw):
                left = j * dw - pw
                low = min(max((-left + sw - 1) // sw, 0), ow)
                high = max(min((width - left + sw - 1) // sw, ow), low)
                for r in range(oh):
                    h = r * sh + i * dh - ph
                    first, last = (low, high) if 0 <= h < height else (0, 0)
                    source = (c * height + h) * width + left
                    for q in range(first):
                        store_into(out, into + q, fill)
                    for q in range(first, last):
                        store_into(out, into + q, load_from(x, source + q * sw))
                    for q in range(last, ow):
                        store_into(out, into + q, fill)
                    into += ow


@kernel
def scatter(g: Any, out: Any, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int) -> None:
    """out (C, H, W) += every window's element at the place it was read from; those outside are dropped."""
    channels, kh, kw, oh, ow = g.shape
    height, width, source = out.shape[1], out.shape[2], 0
    for c in range(channels):
        for i in range(kh):
            for j in range(kw):
                left = j * dw - pw
                low = min(max((-left + sw - 1) // sw, 0), ow)
                high = max(min((width - left + sw - 1) // sw, ow), low)
                for r in range(oh):
                    h = r * sh + i * dh - ph
                    if 0 <= h < height:
                        into = (c * height + h) * width + left
                        for q in range(low, high):
                            place = into + q * sw
                            store_into(out, place, load_into(out, place) + load_from(g, source + q))
                    source += ow
