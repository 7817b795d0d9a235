"""`retrace`: look at a recipe's results, plan and check them."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys

from retrace import commands


def main(arguments: list[str] | None = None) -> int:
    """Run one command; each is a module of `retrace.commands`."""
    parser = argparse.ArgumentParser(prog="retrace", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for module in sorted(m.name for m in pkgutil.iter_modules(commands.__path__)):
        importlib.import_module(f"{commands.__name__}.{module}").add_parser(subparsers)
    args = parser.parse_args(arguments)
    code: int = args.run(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
