"""Compiled kernels: what generated code is made of, and where it is kept.

This package knows arrays, offsets and machine code; it may not know primitives, cells or plans. A
generated source file reads

    import numpy as np
    from tinygrad_seq.kernels.cache import kernel
    from tinygrad_seq.kernels.math import sigmoid, tanh
    from tinygrad_seq.kernels.memory import copy, load, slots, store, zero
    from tinygrad_seq.kernels.product import product_add, product_set, require, weight_gradient

    require("float32")                                  # the shared machine code (kernels see to it themselves too)
    (load_0, store_0), (load_1, store_1) = slots(2, "LSTM.forward")

    @kernel                                             # njit: nogil, NumPy's errors, no bounds checks, kept on disk
    def forward(arena, ...): ...

and is loaded with `module = load_source("LSTM", text)`.

Every array is C-contiguous, of one dtype (float32 or float64) and used flat: a place in it is
`(array, offset)`, all offsets and strides counted in elements. Names, throughout:

memory   arena(n, dtype) -> n zeros, aligned to 64 bytes (plain Python); let offsets of buffers be multiples of 64
             bytes: unaligned packed weights cost up to half the speed of products by one row
         slots(n, uid) -> n pairs `load(array, i)`, `store(array, i, value)`, one alias scope a pair: the promise that
             two pairs never touch the same element within one kernel (what is read and written there is one pair)
         load, store                              promise nothing
         zero(array, offset, n)                   sets n elements to 0
         copy(target, offset, source, offset, n)  the two do not overlap

math     scalar functions of float32 or float64; NaN and infinities propagate, loops become vector code:
         exp expm1 log log1p sqrt abs sign tanh sigmoid softplus relu leaky_relu(x, slope) elu(x, alpha)
         by the C library, not vector code: sin cos tan arctan sinh cosh erf; of two or three arguments:
         maximum minimum clip(x, low, high) power logaddexp floordiv mod where(c, a, b)
         equal not_equal less less_equal greater greater_equal    booleans; `where` takes them, or numbers
         Write constants in arithmetic as `np.float32(0.5)`: a bare 0.5 makes Numba compute in float64.

product  plain Python: panel(dtype) is 32 (float64: 16), tail(dtype) half of it, padded(n, dtype) is n rounded up to a
         multiple of the tail; packed_size(N, K, dtype), rows_size(N, K, dtype): elements of packed operands;
         backend(dtype): "intrinsic", or "blas", the fallback that TGSEQ_PRODUCT=blas forces.
         In kernels:
         pack(W, wo, ldw, n, k, P, po, n0, k0, N, K)             B[k0 + j, n0 + i] = W[i, j], W (n, k)
         pack_transposed(W, wo, ldw, k, n, P, po, n0, k0, N, K)  B[k0 + i, n0 + j] = W[i, j], W (k, n)
             The rows of W are ldw apart. B (K, N) is kept at P[po:] as panels; several matrices stand side by side
             (n0) or one under another (k0), neither a multiple of anything. Columns N..padded(N) are never written:
             the place must have been zero (arenas are born zero).
         product_add(A, ao, lda, P, po, C, co, ldc, M, N, K)     C (M, padded N) += A (M, K) @ B
         product_set(A, ao, lda, P, po, C, co, ldc, M, N, K)     C (M, padded N)  = A (M, K) @ B
             K is exact: columns K.. of A are not read. padded(N) columns of C are touched.
         multiply(A, ao, sm, sk, B, bo, ldb, C, co, ldc, M, N, K, beta)   C = beta C + A @ B
             for operands as they lie in memory: A[m, k] at ao + m*sm + k*sk, rows of B ldb apart, N a multiple of tail.
         pack_rows(S, so, st, sb, n, counts, no, t0, t1, P, po) -> K
         pack_panels(S, so, st, sb, n, counts, no, t0, t1, P, po) -> K
             gather the rows (t, b), t0 <= t < t1, 0 <= b < counts[no + t] (int64: active rows of step t) of n columns
             from S[so + t*st + b*sb]: the left and the right operand of a weight gradient. A lag goes into `so`
             (so - lag*st); counts are those of step t. Gives the number of rows.
         weight_gradient(X, xo, Y, yo, C, co, ldc, M, N, K)      C (M, padded N) += XᵀY
             X (K, M) from pack_rows, Y (K, N) from pack_panels.

fourier  transform(A, ao, lda, C, co, ldc, M, inverse, table, W, wo)     in nests: Fourier transforms of M rows
             A row is the real parts of n numbers, then the imaginary ones; inverse 0 or 1; table the address of
             transform_of(n, dtype); W room of work_size(n, dtype) elements. padded(2 n) columns of C may be touched.

threads  run_native(nests, calls) makes all calls of generated code, side by side, handed over within microseconds
         run_together(call) does the pieces of a loop, whoever is idle taking the next one
         parts(rows, work) -> how many parts a batch is worth; work: multiply-adds of all steps over all rows
         thread_count()

nests    nests(path, dtype) -> run(arrays, O): the undecorated functions of a generated file, in the part of Python
         that `translate` describes, as one callable for kernels. Plans are written so: Numba's own front end takes
         milliseconds a line, and is left for kernels written by hand.

pieces   together(loop, args, count, pieces) -> a call of a kernel over 0..count-1, cut into pieces, for `run_together`

groups   each(loop, groups, numbers): a kernel over several groups of arrays, each with a row of numbers, in one call

cache    load_source(name, text) -> module
         prune(directory): what was not used for long goes; done by itself when something new is kept
         source_path(name, text) -> Path, the same for the same text
         cache_directory()

The parts: target (the processor) · emit (register tiles as LLVM) · drivers (loops around them, not imported but loaded
as a source) · product (their interface) · butterflies, transforms, fourier (the same for Fourier transforms) ·
formulas (functions as LLVM) · math (their interface) · memory · lines, expressions, translate (text to LLVM) · nests
(its seam to Numba) · pieces, groups · threads · cache.
"""
