"""What setuptools does when fastnn is installed: it ships machine code, for this system.

``pip install .`` makes that of this processor's level; with FASTNN_BUILD_LEVELS="all" that of every
level of its kind. There is no C API of Python in it, so one wheel is for every version of Python 3.
An editable install ships nothing: its code is made on first use, and again after an edit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py


class BuildPy(build_py):  # type: ignore[misc]
    """Copies the package, and compiles its kernels beside it."""

    def run(self) -> None:
        """Do so."""
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what an earlier one has left
        super().run()
        levels = os.environ.get("FASTNN_BUILD_LEVELS", "native").split()
        out = Path(self.build_lib, "fastnn", "shipped").absolute()
        subprocess.run(
            [sys.executable, "-m", "fastnn.build", "--out", str(out), "--levels", *levels],
            check=True,
            # The package is the one here; Numba is where pip has put it for this build.
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])},
        )


class BdistWheel(bdist_wheel):  # type: ignore[misc]
    """Makes a wheel for a platform, whatever the Python, and the same bytes each time."""

    def finalize_options(self) -> None:
        """Say that the wheel is for one platform, as one with an extension module would be."""
        self.distribution.has_ext_modules = lambda: True
        super().finalize_options()

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of Python, of its C API, and of the platform."""
        return "py3", "none", super().get_tag()[2]

    def run(self) -> None:
        """Make it, with one time for all files where none is chosen: 1980, where zip begins."""
        os.environ.setdefault("SOURCE_DATE_EPOCH", "315532800")
        super().run()
