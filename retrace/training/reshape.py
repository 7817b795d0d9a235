"""Makes a checkpoint fit any number of ranks: DeepSpeed's universal checkpoint.

python -m retrace.training.reshape checkpoints/STUDENT/RUN/checkpoint-N
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from retrace.training import checkpoints
from retrace.training.settings import TrainingError

FOLDER = "universal"


def reshape(checkpoint: Path, workers: int) -> None:
    """Write the same state beside what the ranks wrote, divided by parameter.

    Raises:
        TrainingError: the checkpoint is not whole.
    """
    if not checkpoints.is_whole(checkpoint):
        raise TrainingError(f"{checkpoint} is not a whole checkpoint")
    from deepspeed.checkpoint import ds_to_universal

    tag = (checkpoint / "latest").read_text("ascii").strip()
    ds_to_universal.main(
        argparse.Namespace(
            input_folder=str(checkpoint / tag),
            output_folder=str(checkpoint / FOLDER),
            num_extract_workers=workers,
            num_merge_workers=workers,
            keep_temp_folder=False,
            strict=True,
            inject_missing_state=False,
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    reshape(options.checkpoint, options.workers)


if __name__ == "__main__":
    main()
