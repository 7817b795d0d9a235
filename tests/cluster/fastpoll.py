"""Snakemake as it is, but for its patience: states of jobs are asked for every 2 s.

The plugin waits 10 s longer after each look at which nothing had ended, which is right
for jobs of hours, and would be most of the time of tests.
"""

from __future__ import annotations

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda _: 2, lambda _, __: None)

if __name__ == "__main__":
    sys.exit(main())
