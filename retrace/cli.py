"""`retrace`: look at a recipe's results, plan and check them."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import signal
import sys

from retrace import commands


def main(arguments: list[str] | None = None) -> int:
    """Run one command; each is a module of `retrace.commands`."""
    parser = argparse.ArgumentParser(prog="retrace", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for module in sorted(m.name for m in pkgutil.iter_modules(commands.__path__)):
        importlib.import_module(f"{commands.__name__}.{module}").add_parser(subparsers)
    args = parser.parse_args(arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough, as `head` has; nothing is left to be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    return code


if __name__ == "__main__":
    sys.exit(main())
