"""The asv suites, a file for each subject; the README says how to run them.

They have a folder of their own because asv imports every module of its benchmark folder and takes
each function called ``time_...`` for a benchmark: the scripts beside this folder, which the suites
use, are no suites.
"""

import sys
from pathlib import Path

# Last, so that the scripts hide nothing that is installed.
sys.path.append(str(Path(__file__).resolve().parent.parent))
