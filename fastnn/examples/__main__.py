"""``python -m fastnn.examples``: the list of the examples."""

from __future__ import annotations

from fastnn.examples.running import examples


def main() -> None:
    """Print the name of every example and the first line of its docstring."""
    found = examples()
    width = max(map(len, found))
    print("Run one with: python -m fastnn.examples.NAME [--save FILE.png] [--help]\n")
    for name, line in found.items():
        print(f"{name:{width}s}  {line}")


if __name__ == "__main__":
    main()
