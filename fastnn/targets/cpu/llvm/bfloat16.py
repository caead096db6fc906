"""Factors rounded to bfloat16: what packs them, and the micro-kernels that multiply them.

A number of bfloat16 is the upper half of one of float32; a pair of them, along the sum, shares a
32-bit word. A *chunk* is 32 terms of a sum, 16 words: of A a row of 16 words, a chunk after a
chunk for all rows; of B 16 rows of words, one word a column. What is beyond the last term is zero.
Packing costs a pass over a factor and pays with every row or panel that is multiplied by it, so
nothing is kept rounded: matrices stay what they are, in float32.

Two kinds of instructions multiply: `vdpbf16ps` (AVX512_BF16) takes a pair from each of 16 words;
tiles (AMX) take 16 rows of a chunk of A and 16 columns of a chunk of B at once. Both take
denormal numbers for zero, and round sums to even; in which order they add the two products of a
pair differs, and so do the last bits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from fastnn.sanitizer import CHECKED
from fastnn.targets.cpu.llvm.vectors import INT64, Writer, data_pointer, loop

CHUNK = 32  # terms of a sum that are multiplied together
WORDS = CHUNK // 2
LANES = 16  # columns of half a panel, words of a vector
binding.initialize_native_asmparser()  # for what LLVM has no intrinsics of at this level

FLOAT32 = np.dtype(np.float32)

_BIT, _INT16, _INT32 = ir.IntType(1), ir.IntType(16), ir.IntType(32)
_BITS = ir.VectorType(_BIT, LANES)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_WORD_VECTOR = ir.VectorType(_INT32, LANES)
_HALF_VECTOR = ir.VectorType(_INT16, 2 * LANES)
_REAL = ir.FloatType().as_pointer()


class Bfloat16Writer(Writer):
    """Writes the functions of one module."""

    def __init__(self, module: Any) -> None:
        super().__init__(FLOAT32)
        self.module = module

    def begin(self, name: str, arguments: list[Any]) -> tuple[Any, Any]:
        """Return a new function and its builder, or the one there is and None."""
        name = f"fastnn_bfloat16_{name}"
        found = self.module.globals.get(name)
        return (
            (found, None) if found else self.function(self.module, name, ir.VoidType(), arguments)
        )

    def round(self, builder: Any, low: Any, high: Any) -> Any:
        """Return 16 words: the numbers of `low`, then those of `high`, rounded, in their order."""
        kind = ir.FunctionType(_WORD_VECTOR, [_VECTOR, _VECTOR])
        code = ir.InlineAsm(kind, "vcvtne2ps2bf16 $1, $2, $0", "=v,v,v")
        return builder.call(code, [low, high])

    def pair(self, builder: Any, even: Any, odd: Any) -> Any:
        """Return 16 words: each a number of `even` below one of `odd`, rounded."""
        halves = builder.bitcast(self.round(builder, even, odd), _HALF_VECTOR)
        picks = [i // 2 + i % 2 * LANES for i in range(2 * LANES)]
        return builder.bitcast(self.shuffle(builder, halves, halves, picks), _WORD_VECTOR)

    def load_if(self, builder: Any, present: Any, pointer: Any, safe: Any) -> Any:
        """Return the vector at a pointer, or zeros and a look at `safe` where it is not present."""
        value = self.load(builder, builder.select(present, pointer, safe), LANES)
        return builder.select(present, value, self.zeros(LANES))

    def lanes_below(self, builder: Any, count: Any) -> Any:
        """Return which of 16 lanes have a number below `count`."""
        numbers = ir.Constant(ir.VectorType(INT64, LANES), list(range(LANES)))
        undefined = ir.Constant(numbers.type, ir.Undefined)
        one = builder.insert_element(undefined, count, _INT32(0))
        return builder.icmp_signed("<", numbers, self.shuffle(builder, one, undefined, [0] * LANES))

    def load_lanes(self, builder: Any, pointer: Any, lanes: Any, safe: Any) -> Any:
        """Return some lanes of the vector at a pointer, which nothing else is read of, or zeros.

        With the checks of FASTNN_CHECK, which see single loads, numbers are read one by one, and
        for the others that at `safe`.
        """
        if CHECKED:
            found = self.zeros(LANES)
            for lane in range(LANES):
                here = builder.extract_element(lanes, _INT32(lane))
                at = builder.select(here, builder.gep(pointer, [INT64(lane)]), safe)
                number = builder.select(here, builder.load(at), ir.Constant(ir.FloatType(), 0.0))
                found = builder.insert_element(found, number, _INT32(lane))
            return found
        pointer, name = builder.bitcast(pointer, _VECTOR.as_pointer()), "llvm.masked.load.v16f32.p0"
        kind = ir.FunctionType(_VECTOR, [pointer.type, _INT32, _BITS, _VECTOR])
        callee = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        return builder.call(callee, [pointer, _INT32(4), lanes, self.zeros(LANES)])

    def caller_row(self, builder: Any, order: Any, start: Any, stride: Any, r: Any) -> Any:
        """Return a pointer to row order[r] of the caller's, `start` being an address in row 0."""
        row = builder.load(builder.gep(builder.inttoptr(order, INT64.as_pointer()), [r]))
        return builder.inttoptr(builder.add(start, builder.mul(row, stride)), _REAL)

    def store_words(self, builder: Any, words: Any, out: Any, at: Any) -> None:
        """Write 16 words behind a pointer to float32."""
        self.store(builder, builder.bitcast(words, _VECTOR), builder.gep(out, [at]))

    def pack_rows(self) -> Any:
        """Pack `columns` numbers of each row of A, at a distance of `width`, to 16 words."""
        function, builder = self.begin("pack_rows", [_REAL, *[INT64] * 3, _REAL])
        if builder is None:
            return function
        a, width, columns, rows, out = function.args
        low_known = self.lanes_below(builder, columns)
        high_known = self.lanes_below(builder, builder.sub(columns, INT64(LANES)))
        wide = builder.icmp_signed(">", columns, INT64(LANES))

        def row(builder: Any, r: Any, carried: list[Any]) -> list[Any]:
            start = builder.gep(a, [builder.mul(r, width)])
            low = self.load(builder, start, LANES)
            high = self.load_if(builder, wide, builder.gep(start, [INT64(LANES)]), start)
            low, high = (
                builder.select(there, value, self.zeros(LANES))
                for there, value in ((low_known, low), (high_known, high))
            )
            self.store_words(
                builder, self.round(builder, low, high), out, builder.mul(r, INT64(WORDS))
            )
            return carried

        loop(builder, rows, [], row)
        builder.ret_void()
        return function

    def pack_caller_rows(self) -> Any:
        """Do that for the caller's rows order[0], order[1], ..., from a column on."""
        function, builder = self.begin("pack_caller_rows", [*[INT64] * 5, _REAL])
        if builder is None:
            return function
        order, start, stride, columns, rows, out = function.args
        low_known = self.lanes_below(builder, columns)
        high_known = self.lanes_below(builder, builder.sub(columns, INT64(LANES)))

        def row(builder: Any, r: Any, carried: list[Any]) -> list[Any]:
            low = self.caller_row(builder, order, start, stride, r)
            high = builder.gep(low, [INT64(LANES)])
            words = self.round(
                builder,
                self.load_lanes(builder, low, low_known, low),
                self.load_lanes(builder, high, high_known, low),
            )
            self.store_words(builder, words, out, builder.mul(r, INT64(WORDS)))
            return carried

        loop(builder, rows, [], row)
        builder.ret_void()
        return function

    def pack_panel(self, vectors: int) -> Any:
        """Pack a chunk of B: up to 32 rows of a panel of `vectors` vectors, to 16 rows of words."""
        function, builder = self.begin(f"pack_panel_{vectors}", [_REAL, INT64, _REAL])
        if builder is None:
            return function
        b, rows, out = function.args
        width = INT64(vectors * LANES)

        def two_rows(builder: Any, q: Any, carried: list[Any]) -> list[Any]:
            first = builder.mul(q, INT64(2))
            for v in range(vectors):
                found = []
                for part in range(2):
                    row = builder.add(first, INT64(part))
                    present = builder.icmp_signed("<", row, rows)
                    at = builder.add(builder.mul(row, width), INT64(v * LANES))
                    found.append(self.load_if(builder, present, builder.gep(b, [at]), b))
                at = builder.add(builder.mul(q, width), INT64(v * LANES))
                self.store_words(builder, self.pair(builder, *found), out, at)
            return carried

        loop(builder, INT64(WORDS), [], two_rows)
        builder.ret_void()
        return function

    def pack_transposed(self) -> Any:
        """Pack a chunk of A^T: 16 columns of up to 32 rows, `width` apart, to 16 rows of words."""
        function, builder = self.begin("pack_transposed", [_REAL, INT64, INT64, _REAL])
        if builder is None:
            return function
        x, width, rows, out = function.args

        def numbers_of(row: int) -> Any:
            present = builder.icmp_signed("<", INT64(row), rows)
            start = builder.gep(x, [builder.mul(INT64(row), width)])
            return self.load_if(builder, present, start, x)

        self.store_transposed(builder, numbers_of, out)
        return function

    def pack_caller_transposed(self) -> Any:
        """Do that for up to 16 columns of the caller's rows order[0], order[1], ..."""
        function, builder = self.begin("pack_caller_transposed", [*[INT64] * 5, _REAL])
        if builder is None:
            return function
        order, start, stride, columns, rows, out = function.args
        known, nothing = self.lanes_below(builder, columns), ir.Constant(_BITS, [0] * LANES)

        def numbers_of(row: int) -> Any:
            present = builder.icmp_signed("<", INT64(row), rows)
            known_row = builder.select(present, INT64(row), INT64(0))
            pointer = self.caller_row(builder, order, start, stride, known_row)
            lanes = builder.select(present, known, nothing)
            return self.load_lanes(builder, pointer, lanes, pointer)

        self.store_transposed(builder, numbers_of, out)
        return function

    def store_transposed(self, builder: Any, numbers_of: Callable[[int], Any], out: Any) -> None:
        """Write the words of 32 rows of 16 numbers, column by column, and return."""
        vectors = [
            self.pair(builder, numbers_of(2 * q), numbers_of(2 * q + 1)) for q in range(WORDS)
        ]
        for i, words in enumerate(self.transposed(builder, vectors)):
            self.store_words(builder, words, out, INT64(i * WORDS))
        builder.ret_void()

    def pack_panel_transposed(self, vectors: int) -> Any:
        """Pack a chunk of B = W^T: up to 16 rows of a panel of W, to 16 columns of words.

        Rows of the result are `out_width` words apart.
        """
        function, builder = self.begin(
            f"pack_panel_transposed_{vectors}", [_REAL, INT64, _REAL, INT64]
        )
        if builder is None:
            return function
        w, rows, out, out_width = function.args
        found = []
        for i in range(LANES):
            present = builder.icmp_signed("<", INT64(i), rows)
            start = builder.gep(w, [INT64(i * vectors * LANES)])
            low = self.load_if(builder, present, start, w)
            high = self.zeros(LANES)
            if vectors == 2:
                high = self.load_if(builder, present, builder.gep(start, [INT64(LANES)]), w)
            found.append(self.round(builder, low, high))
        for q, words in enumerate(self.transposed(builder, found)):
            self.store_words(builder, words, out, builder.mul(INT64(q), out_width))
        builder.ret_void()
        return function

    def multiply_pairs(self, rows: int, vectors: int) -> Any:
        """Write C = start + A B by AVX512_BF16: `rows` rows of A, all chunks, a panel of B."""
        name = f"multiply_{rows}x{vectors}"
        function, builder = self.begin(name, [_REAL, INT64, INT64, _REAL, _REAL, INT64, _REAL])
        if builder is None:
            return function
        a, apart, chunks, b, init, init_stride, c = function.args
        width = vectors * LANES
        places = [(r, v) for r in range(rows) for v in range(vectors)]
        cells = [builder.gep(c, [INT64(r * width + v * LANES)]) for r, v in places]
        start = []
        for r, v in places:
            at = builder.add(builder.mul(INT64(r), init_stride), INT64(v * LANES))
            start.append(self.load(builder, builder.gep(init, [at]), LANES))
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _WORD_VECTOR, _WORD_VECTOR])
        code = ir.InlineAsm(kind, "vdpbf16ps $3, $2, $0", "=v,0,v,v")
        undefined = ir.Constant(_WORD_VECTOR, ir.Undefined)

        def chunk(builder: Any, index: Any, sums: list[Any]) -> list[Any]:
            left = builder.gep(a, [builder.mul(index, apart)])
            right = builder.gep(b, [builder.mul(index, INT64(WORDS * width))])

            def pair(builder: Any, q: Any, sums: list[Any]) -> list[Any]:
                at = builder.gep(right, [builder.mul(q, INT64(width))])
                columns = [
                    builder.bitcast(
                        self.load(builder, builder.gep(at, [INT64(v * LANES)]), LANES), _WORD_VECTOR
                    )
                    for v in range(vectors)
                ]
                results = []
                for r in range(rows):
                    place = builder.gep(left, [builder.add(q, INT64(r * WORDS))])
                    word = builder.load(builder.bitcast(place, _INT32.as_pointer()), align=4)
                    one = builder.insert_element(undefined, word, _INT32(0))
                    every = self.shuffle(builder, one, undefined, [0] * LANES)
                    for v in range(vectors):
                        total = sums[r * vectors + v]
                        results.append(builder.call(code, [total, every, columns[v]]))
                return results

            return loop(builder, INT64(WORDS), sums, pair)

        for value, cell in zip(loop(builder, chunks, start, chunk), cells, strict=True):
            self.store(builder, value, cell)
        builder.ret_void()
        return function

    def multiply_tiles(self, two: bool, vectors: int) -> Any:
        """Write C = start + A B by AMX: one or `two` blocks of up to 16 rows of A, a panel of B.

        Tiles 0 to 3 are of C, row by row, 4 and 5 of A, 6 and 7 of B. How many rows they have is
        what `shape_tiles` has said.
        """
        name = f"multiply_tiles_{1 + two}x{vectors}"
        function, builder = self.begin(name, [_REAL, INT64, INT64, _REAL, _REAL, INT64, _REAL])
        if builder is None:
            return function
        a, apart, chunks, b, init, init_stride, c = function.args
        row_bytes = 4 * vectors * LANES
        # $0 a, $1 b, $2 chunks: changed. $6 c, $7 a row of C and of B, $8 of A, $9 from chunk to
        # chunk. $10 the start and $11 that of the second block, $12 from row to row.
        lines, cells = [], [(r, v) for r in range(1 + two) for v in range(vectors)]
        for r, v in cells:
            lines.append(f"tileloadd {64 * v}(${10 + r},$12), %tmm{2 * r + v}")
        lines.append("1:")
        for v in range(vectors):
            lines.append(f"tileloadd {64 * v}($1,$7), %tmm{6 + v}")
        for r in range(1 + two):
            lines.append(f"tileloadd {r * LANES * 64}($0,$8), %tmm{4 + r}")
            for v in range(vectors):
                lines.append(f"tdpbf16ps %tmm{6 + v}, %tmm{4 + r}, %tmm{2 * r + v}")
        lines += [
            "addq $9, $0",
            f"addq $${WORDS * row_bytes}, $1",
            "decq $2",
            "jne 1b",
        ]
        for r, v in cells:
            place = f"{r * LANES * row_bytes + 64 * v}($6,$7)"
            lines.append(f"tilestored %tmm{2 * r + v}, {place}")
        changed = [a.type, b.type, INT64]
        kind = ir.FunctionType(
            ir.LiteralStructType(changed),
            [*changed, c.type, INT64, INT64, INT64, init.type, init.type, INT64],
        )
        code = ir.InlineAsm(
            kind,
            "\n".join(lines),
            "=&r,=&r,=&r,0,1,2,r,r,r,r,r,r,r,~{memory},~{flags}",
            side_effect=True,
        )
        below = builder.gep(init, [builder.mul(init_stride, INT64(LANES))])
        steps = INT64(row_bytes), INT64(64), builder.mul(apart, INT64(4))
        starts = init, below, builder.mul(init_stride, INT64(4))
        builder.call(code, [a, b, chunks, c, *steps, *starts])
        builder.ret_void()
        return function

    def shape_tiles(self) -> Any:
        """Say how many rows the tiles of A and C have: up to 16 in the first, the rest below."""
        function, builder = self.begin("shape_tiles", [INT64])
        if builder is None:
            return function
        (rows,) = function.args
        words = ir.VectorType(INT64, 8)
        over = builder.icmp_signed(">", rows, INT64(LANES))
        first = builder.select(over, INT64(LANES), rows)
        second = builder.select(over, builder.sub(rows, INT64(LANES)), INT64(LANES))
        # Byte 0 is the palette; from 16 on bytes of a row, two for each tile; from 48 on rows.
        wide = INT64(0x0040_0040_0040_0040)
        heights = INT64(LANES << 48 | LANES << 56)  # of B: 6 and 7
        for height, tiles in ((first, (0, 1, 4)), (second, (2, 3, 5))):
            for tile in tiles:
                heights = builder.or_(heights, builder.shl(height, INT64(8 * tile)))
        table = ir.Constant(words, [1, 0, wide.constant, wide.constant, 0, 0, 0, 0])
        table = builder.insert_element(table, heights, _INT32(6))
        place = builder.alloca(words)
        builder.store(table, place)
        kind = ir.FunctionType(ir.VoidType(), [place.type])
        code = ir.InlineAsm(kind, "ldtilecfg ($0)", "r,~{memory}", side_effect=True)
        builder.call(code, [place])
        builder.ret_void()
        return function

    def release_tiles(self) -> Any:
        """Leave no tiles behind, which would be kept whenever the thread gives way."""
        function, builder = self.begin("release_tiles", [])
        if builder is None:
            return function
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(ir.InlineAsm(kind, "tilerelease", "", side_effect=True), [])
        builder.ret_void()
        return function


def _code(write: Callable[[Bfloat16Writer], Any], pattern: str) -> Any:
    """Return what calls a function of the writer: with `memory`, and an integer for each letter.

    "p" is an offset in memory, "i" a number.
    """

    def call(typingctx: Any, memory: Any, *numbers: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            given = [
                data_pointer(context, builder, signature.args[0], args[0], value)
                if letter == "p"
                else value
                for letter, value in zip(pattern, args[1:], strict=True)
            ]
            builder.call(write(Bfloat16Writer(builder.module)), given)
            return context.get_dummy_value()

        return types.void(memory, *[types.int64] * len(pattern)), codegen

    # Numba reads the names of the arguments, which are as many as there are letters.
    names = "typingctx", "memory", *(f"number_{i}" for i in range(len(pattern)))
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, positional) for name in names])
    vars(call)["__signature__"] = signature
    return intrinsic(call)


def pack_rows() -> Any:
    """Return ``pack_rows(memory, a, width, columns, rows, to)``."""
    return _code(Bfloat16Writer.pack_rows, "piiip")


def pack_caller_rows() -> Any:
    """Return ``pack_rows(memory, order, start, stride, columns, rows, to)``, by addresses."""
    return _code(Bfloat16Writer.pack_caller_rows, "iiiiip")


def pack_caller_transposed() -> Any:
    """Return ``pack_transposed(memory, order, start, stride, columns, rows, to)``, likewise."""
    return _code(Bfloat16Writer.pack_caller_transposed, "iiiiip")


def pack_panel(vectors: int) -> Any:
    """Return ``pack_panel(memory, b, rows, to)`` for panels of so many vectors."""
    return _code(lambda writer: writer.pack_panel(vectors), "pip")


def pack_transposed() -> Any:
    """Return ``pack_transposed(memory, x, width, rows, to)``."""
    return _code(Bfloat16Writer.pack_transposed, "piip")


def pack_panel_transposed(vectors: int) -> Any:
    """Return ``pack_panel_transposed(memory, w, rows, to, to_width)``."""
    return _code(lambda writer: writer.pack_panel_transposed(vectors), "pipi")


def multiply_pairs(rows: int, vectors: int) -> Any:
    """Return ``multiply(memory, a, apart, chunks, b, init, init_stride, c)``."""
    return _code(lambda writer: writer.multiply_pairs(rows, vectors), "piippip")


def multiply_tiles(two: bool, vectors: int) -> Any:
    """Return the same for one or two blocks of rows, whose tiles have been shaped."""
    return _code(lambda writer: writer.multiply_tiles(two, vectors), "piippip")


def shape_tiles() -> Any:
    """Return ``shape_tiles(memory, rows)``."""
    return _code(Bfloat16Writer.shape_tiles, "i")


def release_tiles() -> Any:
    """Return ``release_tiles(memory)``."""
    return _code(Bfloat16Writer.release_tiles, "")
