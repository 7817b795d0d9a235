"""Fine-tune a student on a training set. Started by torchrun, once for each rank."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from retrace import environment, training, weights
from retrace.rows import TrainingRow, content_id, read_rows, write_lines


def main() -> None:
    args = parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    environment.require(args.software)
    if args.revision is None:
        weights.verify(Path(args.weights))
    settings = training.Settings.model_validate_json(args.training)
    dataset = weights.sha256_of(args.dataset)
    base = args.revision or weights.sha256_of(Path(args.weights) / weights.MANIFEST)
    # Checkpoints belong to one run: other rows, weights or settings start anew.
    run_id = content_id([dataset, base, settings.model_dump(mode="json")])
    run = training.train(
        list(read_rows(args.dataset, TrainingRow)),
        args.weights,
        settings,
        args.checkpoints / run_id,
        args.out,
        args.shards,
        args.threads,
        {
            "student": args.student,
            "base": base,
            "dataset_sha256": dataset,
            "settings": settings.model_dump(mode="json"),
            "software": args.software,
        },
    )
    if run is not None:
        write_lines(args.metrics, training.metric_lines(run))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--weights", required=True, help="directory or hub repository")
    parser.add_argument("--revision", help="of a hub repository")
    parser.add_argument("--training", required=True, help="settings as JSON")
    parser.add_argument("--threads", type=int, required=True, help="of all ranks")
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--software", nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True, help="the model's directory")
    parser.add_argument("--metrics", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
