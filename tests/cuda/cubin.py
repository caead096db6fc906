"""Compile a kernel to the machine code of a device that need not be there, and count what is in it.

>>> code = compile_kernel(kernel, (float32[::1], int64), cc=(9, 0))      # doctest: +SKIP
>>> code.registers, code.spill_bytes, code.stack_bytes, code.count("FFMA")      # doctest: +SKIP
(40, 0, 0, 8)
"""

from __future__ import annotations

import gc
import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numba

# What the machine code is made for.
CAPABILITIES = [(8, 0), (9, 0)]


@dataclass(frozen=True)
class Cubin:
    """What ptxas says of a kernel, and its machine code."""

    registers: int
    spill_bytes: int
    stack_bytes: int
    shared_bytes: int
    sass: str = field(repr=False)
    ptx: str = field(repr=False)

    @property
    def instructions(self) -> list[tuple[int, str]]:
        """Address and text of each instruction, its predicate included, up to the last branch."""
        pattern = r"^\s*/\*([0-9a-f]+)\*/\s+(.*?);?\s*(?:/\*|;|$)"
        found = [(int(at, 16), text.strip()) for at, text in re.findall(pattern, self.sass, re.M)]
        return [(at, text) for at, text in found if text and not text.startswith(("NOP", "0x"))]

    def count(self, pattern: str) -> int:
        """Return how many instructions match a regular expression at their name."""
        return count(self.instructions, pattern)

    @property
    def main_loop(self) -> list[tuple[int, str]]:
        """The instructions of the loop that holds most arithmetic and no other such loop."""
        return max(self._loops(), key=lambda loop: count(loop, ARITHMETIC) / (len(loop) + 20))

    def _loops(self) -> Iterator[list[tuple[int, str]]]:
        labels, at = {}, -1
        for line in self.sass.splitlines():
            if label := re.match(r"^(\.L\w+):", line):
                labels[label[1]] = None
            elif found := re.match(r"^\s*/\*([0-9a-f]+)\*/\s", line):
                at = int(found[1], 16)
                labels.update({name: at for name, place in labels.items() if place is None})
        for at, text in self.instructions:
            target = re.search(r"BRA.*\(?(\.L\w+)", text)
            start = labels.get(target[1]) if target else None
            if start is not None and start < at:
                yield [one for one in self.instructions if start <= one[0] <= at]


ARITHMETIC = "FFMA|DFMA|HMMA"


def name_of(text: str) -> str:
    """Return the name of an instruction without its predicate, such as ``LDS.128``."""
    words = text.split()
    return words[1] if words[0].startswith("@") else words[0]


def count(instructions: list[tuple[int, str]], pattern: str) -> int:
    """Return how many instructions have a name that starts with a match of `pattern`."""
    return sum(re.match(pattern, name_of(text)) is not None for _, text in instructions)


@cache
def missing() -> str:
    """Return why no machine code can be made here, or nothing."""
    if numba.config.ENABLE_CUDASIM:
        return "NUMBA_ENABLE_CUDASIM is set: the simulator does not compile"
    for module, package in (
        ("numba_cuda", "numba-cuda[cu13]"),
        ("nvidia.cu13", "nvidia-cuda-nvcc and nvidia-cuda-nvdisasm"),
    ):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"no {module} here: pip install {package}"
    for tool in ("ptxas", "nvdisasm"):
        if not (_tools() / tool).is_file():
            return f"no {tool} in {_tools()}: pip install nvidia-cuda-nvcc nvidia-cuda-nvdisasm"
    return ""


def _tools() -> Path:
    found = importlib.util.find_spec("nvidia.cu13")
    assert found is not None and found.submodule_search_locations
    return Path(next(iter(found.submodule_search_locations))) / "bin"


def compile_ptx(
    function: Callable[..., Any],
    signature: tuple[Any, ...],
    cc: tuple[int, int] = (9, 0),
    **options: Any,
) -> str:
    """Compile the Python function of a kernel to PTX, which is what a driver would take."""
    return library_of(function, signature, cc, **options).get_asm_str(cc=cc)


def library_of(
    function: Callable[..., Any],
    signature: tuple[Any, ...],
    cc: tuple[int, int] = (9, 0),
    **options: Any,
) -> Any:
    """Do Numba's part, which is most of a compilation: its `get_asm_str` is PTX for any `cc`."""
    from numba.cuda import compiler, dispatcher

    # Device functions that are not written into their callers ask the device which code it takes.
    device = SimpleNamespace(compute_capability=cc)
    collecting = gc.isenabled()
    gc.disable()  # it would look for garbage during a third of the time
    try:
        with patch.object(dispatcher, "get_current_device", lambda: device):
            return compiler._compile_pyfunc_with_fixup(
                function, signature, device=False, abi="numba", cc=cc, **options
            )[0]
    finally:
        if collecting:
            gc.enable()


def compile_kernel(
    function: Callable[..., Any],
    signature: tuple[Any, ...],
    cc: tuple[int, int] = (9, 0),
    **options: Any,
) -> Cubin:
    """Compile the Python function of a kernel for argument types; `options` as of `cuda.jit`."""
    return assemble(compile_ptx(function, signature, cc, **options), cc)


def assemble(ptx: str, cc: tuple[int, int]) -> Cubin:
    """Return the machine code of PTX, which may be that for devices older than `cc`."""
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        arch = f"sm_{cc[0]}{cc[1]}"
        if cc >= (9, 0):  # numba-cuda compiles for a device at hand with all that it alone has
            ptx, arch = ptx.replace(f".target {arch}", f".target {arch}a"), f"{arch}a"
        source.write_text(ptx)
        said = _run("ptxas", "-v", f"-arch={arch}", str(source), "-o", str(cubin)).stderr
        sass = _run("nvdisasm", "-c", str(cubin)).stdout

    def number(pattern: str) -> int:
        return sum(int(found) for found in re.findall(pattern, said))

    return Cubin(
        registers=number(r"Used (\d+) registers"),
        spill_bytes=number(r"(\d+) bytes spill"),
        stack_bytes=number(r"(\d+) bytes stack frame"),
        shared_bytes=number(r"(\d+) bytes smem"),
        sass=sass,
        ptx=ptx,
    )


def assert_in_registers(code: Cubin, name: str = "") -> None:
    """Assert that a kernel spills nothing, and has nothing else in local memory."""
    assert (code.spill_bytes, code.stack_bytes) == (0, 0), name
    assert code.count("LDL|STL") == 0, name
    assert code.registers <= 255 and re.search("EXIT", code.sass), name


def _run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([_tools() / tool, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"{tool}: {done.stderr or done.stdout}"
    return done
