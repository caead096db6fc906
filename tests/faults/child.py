"""Call a function of a subject, and print what it returns: see `fault_table.command`."""

import importlib
import json
import sys

if __name__ == "__main__":  # not in the processes that this one spawns
    subject, name, arguments = sys.argv[1:]
    found = getattr(importlib.import_module(subject), name)(*json.loads(arguments))
    print(json.dumps(found), flush=True)
