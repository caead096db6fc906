"""``fastnn info``: what a report about speed or about a fault has to name."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastnn.cli import screen
from fastnn.cli.kernels import caches, kernels


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "info",
        help="print versions, processor, devices, kernels and cache folder",
        description="Print what a report about speed or about a fault has to name.",
        example="fastnn info --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    found = _facts()
    if options.json:
        screen.answer(json.dumps(found, indent=2))
        return 0
    rows = []
    for name, value in found.items():
        if name == "kernels" and isinstance(value, dict):
            rows += _kernel_rows(value)
        elif isinstance(value, list):
            rows += [(f"{name}{index}", str(each)) for index, each in enumerate(value)]
        else:
            rows.append((name, str(value)))
    for line in screen.rows_of(rows):
        screen.answer(line)
    return 0


def _facts() -> dict[str, Any]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from fastnn import __version__
    from fastnn.storage.kernels.kernel_cache import folder
    from fastnn.storage.kernels.machine import vector_bytes
    from fastnn.targets.cpu import bfloat16
    from fastnn.targets.cuda.host import availability
    from fastnn.threads.processors import available_threads

    found: dict[str, Any] = {"fastnn": __version__, "python": platform.python_version()}
    for name in ("numba", "numpy", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["numba-cuda"] = availability.package() or "not installed"
    found["processor"] = f"{_processor()} ({platform.machine()})"
    try:
        found["vectors"] = f"{8 * vector_bytes()} bits"
        found["bfloat16"] = bfloat16.described()
        found["kernels"] = kernels()
    except ImportError as error:  # llvmlite's, of which processors and code are asked
        found["kernels"] = f"cannot run: {error}"
    found["threads"] = available_threads()
    said = availability.driver()
    if said.loaded:
        found["driver"] = f"{said.version or said.library}, for CUDA up to {said.cuda_text}"
    if said.devices:
        found["device"] = [str(device) for device in said.devices]
    for name, number in availability.compilers().items():
        found[name] = number or "not found"
    missing = availability.unavailable()
    found["cuda"] = f"cannot run: {missing}" if missing else "runs on device 0"
    if len(said.devices) > 1:
        able = [n for n in range(len(said.devices)) if not availability.unavailable(device=n)]
        if able:
            found["cuda"] = f"runs on {', '.join(f'cuda:{n}' for n in able)}"
    if not missing and availability.simulated():
        found["cuda"] = "runs in Numba's simulator"
    found["cache"] = str(folder())
    files, count = _size_of_cache()
    found["cache size"] = f"{screen.size(count)} in {files} files"
    return found


def _size_of_cache() -> tuple[int, int]:
    files = [file for cache in caches() for file in cache.iterdir() if file.is_file()]
    return len(files), sum(file.stat().st_size for file in files)


def _kernel_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    by_state: dict[str, list[str]] = {}
    for name, state in found.items():
        if name != "made for":
            by_state.setdefault(state, []).append(name)
    text = f"for {found['made for']}"
    for state, names in by_state.items():
        whole = len(names) == len(found) - 1
        what = {"missing": "compiled on first use"}.get(state, state)
        text += f"; {what}{'' if whole and state != 'missing' else ': ' + ', '.join(names)}"
    return [("kernels", text)]


def _processor() -> str:
    """Return the processor's name as the system gives it."""
    import platform
    from pathlib import Path

    table = Path("/proc/cpuinfo")  # Linux, where platform.processor() knows only the kind
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
