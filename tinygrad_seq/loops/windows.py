"""Windows of an image, side by side, and their sum back in place: the loops of pooling and of convolutions that have no
register tiles.

Images are (B, C, H, W); their windows are (B, C, kh, kw, oh, ow): for each place of the window, all the elements
that this place sees, so that the inner loop runs along rows. Places outside the image read `fill`. `steps` is (stride,
padding, dilation), each down and across.
"""

from __future__ import annotations

from typing import Any

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.memory import slots

(load_from, _), (load_into, store_into) = slots(2, "windows")

# Steps of 1 and 2 across are written out: only a stride that the compiler knows becomes vector loads.


@kernel
def gather(x: Any, out: Any, fill: Any, steps: Any, part: Any) -> None:
    """The windows of the images part[0]..part[1]-1; fill is an array of one number."""
    images, channels, kh, kw, oh, ow = out.shape
    sh, sw, ph, pw, dh, dw = steps
    height, width, outside = x.shape[2], x.shape[3], fill[0]
    into = part[0] * channels * kh * kw * oh * ow
    for c in range(part[0] * channels, part[1] * channels):
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
                        store_into(out, into + q, outside)
                    if sw == 1:
                        for q in range(first, last):
                            store_into(out, into + q, load_from(x, source + q))
                    elif sw == 2:
                        for q in range(first, last):
                            store_into(out, into + q, load_from(x, source + 2 * q))
                    else:
                        for q in range(first, last):
                            store_into(out, into + q, load_from(x, source + q * sw))
                    for q in range(last, ow):
                        store_into(out, into + q, outside)
                    into += ow


@kernel
def scatter(g: Any, out: Any, steps: Any, part: Any) -> None:
    """out (B, C, H, W) += every window's element at the place it was read from; those outside are dropped."""
    images, channels, kh, kw, oh, ow = g.shape
    sh, sw, ph, pw, dh, dw = steps
    height, width, source = out.shape[2], out.shape[3], part[0] * channels * kh * kw * oh * ow
    for c in range(part[0] * channels, part[1] * channels):
        for i in range(kh):
            for j in range(kw):
                left = j * dw - pw
                low = min(max((-left + sw - 1) // sw, 0), ow)
                high = max(min((width - left + sw - 1) // sw, ow), low)
                for r in range(oh):
                    h = r * sh + i * dh - ph
                    if 0 <= h < height:
                        into = (c * height + h) * width + left
                        if sw == 1:
                            for q in range(low, high):
                                store_into(out, into + q, load_into(out, into + q) + load_from(g, source + q))
                        elif sw == 2:
                            for q in range(low, high):
                                place = into + 2 * q
                                store_into(out, place, load_into(out, place) + load_from(g, source + q))
                        else:
                            for q in range(low, high):
                                place = into + q * sw
                                store_into(out, place, load_into(out, place) + load_from(g, source + q))
                    source += ow
