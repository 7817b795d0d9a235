"""Turn the GGUF file inside a Python package into a model directory."""

from __future__ import annotations

import argparse
from pathlib import Path

from retrace import environment, weights


def main() -> None:
    args = parse_args()
    environment.require([*args.software, args.package])
    source = weights.package_file(args.package, args.file, args.sha256)
    model, tokenizer = weights.load_gguf(source)
    about = {"package": args.package, "file": args.file, "sha256": args.sha256}
    weights.save(args.out, model, tokenizer, args.shards, {"source": about})


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", required=True, help="as name==version")
    parser.add_argument("--file", required=True, help="path inside the package")
    parser.add_argument("--sha256", required=True, help="of that file")
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--software", nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True, help="the model's directory")
    return parser.parse_args()


if __name__ == "__main__":
    main()
