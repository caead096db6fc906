"""Scripts, and the asv suites ``bench_*.py``; the README says how to run either.

asv imports this package with all its modules, and takes each function called ``time_...`` for a
benchmark: those of the scripts have other names. The modules import each other as scripts do.
"""

import sys
from pathlib import Path

# Last, so that the scripts hide nothing that is installed. What is installed then hides scripts of
# the same name: none has that of a package that is often there, such as PyTables (`tables`).
sys.path.append(str(Path(__file__).resolve().parent))
