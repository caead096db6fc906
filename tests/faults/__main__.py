"""Try faults, all or by a word in their name: ``python tests/faults [--long] [WORD ...]``."""

import argparse
import sys

from fault_table import load, show

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--long", action="store_true", help="as many tries as a release is held to")
parser.add_argument("words", nargs="*", help="only parts whose names contain one of these")
arguments = parser.parse_args()
chosen = [
    each
    for name, each in load().items()
    if not arguments.words or any(word in name for word in arguments.words)
]
sys.exit(show(chosen, arguments.long) > 0)
