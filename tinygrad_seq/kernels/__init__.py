"""Compiled kernels: what generated code is made of, and where it is kept.

This package knows arrays, offsets and machine code; it may not know primitives, cells or plans. A
generated source file reads

    import numpy as np
    from tinygrad_seq.kernels.cache import kernel
    from tinygrad_seq.kernels.math import sigmoid, tanh
    from tinygrad_seq.kernels.memory import slots, load, store, zero, copy
    from tinygrad_seq.kernels.product import require, product_add, product_set, weight_gradient

    require("float32")                                  # the shared machine code, before any kernel here runs
    (load_0, store_0), (load_1, store_1) = slots(2, "LSTM.forward")

    @kernel                                             # njit: nogil, NumPy's errors, no bounds checks, cached on disk
    def forward(arena, ...): ...

and is loaded with `module = load_source("LSTM", text)`.

Every array is C-contiguous, of one dtype (float32 or float64) and used flat: a place in it is
`(array, offset)`, all offsets and strides counted in elements. Names, throughout:

memory   `slots(n, uid)` -> n pairs (load, store) of functions `load(array, i)`, `store(array, i, value)`, one alias scope a
         pair: promise that two pairs never touch the same element within one function (an element read and written is one pair);
         `load`, `store` promise nothing; `zero(array, offset, n)`; `copy(target, offset, source, offset, n)` (no overlap).
math     scalar functions of float32 or float64 (result: the argument's dtype; NaN and infinities propagate; vectorised by LLVM):
         exp expm1 log log1p sqrt abs sign tanh sigmoid softplus relu leaky_relu(x, slope) elu(x, alpha) sin cos
         maximum minimum clip(x, low, high) power logaddexp floordiv mod where(c, a, b)
         equal not_equal less less_equal greater greater_equal (booleans; `where` takes them, or numbers).
         Write constants as `np.float32(0.5)`: a bare `0.5` makes Numba compute in float64. The arguments of a binary function share a dtype.
product  `panel(dtype)`: 32 (float64: 16), the width of a panel; `tail(dtype)` = panel/2;
         `padded(n, dtype)`: n rounded up to a multiple of `tail`; `packed_size(N, K, dtype)` = padded(N) * K elements. (plain Python)
         In kernels:
         pack(W, wo, ldw, n, k, P, po, n0, k0, N, K)             B[k0 + j, n0 + i] = W[i, j],  W (n, k) with rows ldw apart
         pack_transposed(W, wo, ldw, k, n, P, po, n0, k0, N, K)  B[k0 + i, n0 + j] = W[i, j],  W (k, n)
             B (K, N) is kept at P[po:] as panels; several matrices stand side by side (n0) or one under another (k0). n0 need not be
             a multiple of anything. Columns N..padded(N) are not written: the place must have been zero (arenas are born zero).
         product_add(A, ao, lda, P, po, C, co, ldc, M, N, K)     C (M, padded N) += A (M, K) @ B
         product_set(A, ao, lda, P, po, C, co, ldc, M, N, K)     C (M, padded N)  = A (M, K) @ B
             K is exact (columns K.. of A are not read), padded(N) columns of C are touched (added zero / set zero).
         pack_rows(S, so, st, sb, n, counts, no, t0, t1, P, po) -> K
         pack_panels(S, so, st, sb, n, counts, no, t0, t1, P, po) -> K
             gathers the rows (t, b), t0 <= t < t1, 0 <= b < counts[no + t] (int64: active rows of step t), n columns from S[so + t*st + b*sb];
             the left and the right operand of a weight gradient. K: rows gathered. Sizes: rows_size(n, K, dtype), packed_size(n, K, dtype).
             A lag goes into `so` (so - lag*st): counts are those of step t. pack_panels zero-fills its padding.
         weight_gradient(X, xo, Y, yo, C, co, ldc, M, N, K)      C (M, padded N) += XᵀY, X (K, M) by pack_rows, Y (K, N) by pack_panels
         backend(dtype) -> "intrinsic" or "loops" (the fallback; TGSEQ_PRODUCT=loops forces it), for `print(plan)`.
threads  run_parts(functions): calls all, one a thread, returns when the last is done, raises what they raised;
         parts(rows, work) -> how many parts a batch is worth; work: multiply-adds of one step over all rows; thread_count().
cache    load_source(name, text) -> module; source_path(name, text) -> Path (same for the same text, under any PYTHONHASHSEED); cache_directory().
"""
