"""DeepSpeed ZeRO-3: its configuration, and how ranks find one another."""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from retrace.training.settings import Settings, TrainingError

T = TypeVar("T")

# In elements. The defaults take gigabytes; buckets in proportion to a small model are
# so many that a step on a CPU takes half as long again.
BUCKET = 50_000_000
PREFETCH = 50_000_000
PERSISTENT = 1_000_000
# How far DeepSpeed looks ahead, from every layer, for weights that are needed again.
# The default goes to a small model's end each time, which takes a tenth of a step.
REUSE = 10_000_000

# What `mallopt` calls them (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def zero3(settings: Settings, universal: bool = False) -> dict[str, Any]:
    """DeepSpeed's ZeRO-3 configuration.

    There is no `optimizer` section: PyTorch's AdamW gives the same losses and needs no
    kernel compiled on the machine.

    Args:
        universal: the checkpoint to go on from fits any number of ranks.
    """
    zero: dict[str, Any] = {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": BUCKET,
        "stage3_prefetch_bucket_size": PREFETCH,
        "stage3_param_persistence_threshold": PERSISTENT,
        "stage3_max_reuse_distance": REUSE,
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    if "optimizer" in settings.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if "params" in settings.offload:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": "auto"},
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        **({"checkpoint": {"load_universal": True}} if universal else {}),
    }


def start_ranks(threads: int) -> int:
    """Start torch.distributed through DeepSpeed, before anything else can.

    If accelerate starts it first, DeepSpeed does not know the number of ranks when it
    partitions the model, and refuses the batch size. Returns the number of ranks.
    """
    import deepspeed
    import torch

    alone = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",  # any that is free
    }
    for name, value in alone.items():
        os.environ.setdefault(name, value)
    ranks = int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(max(1, threads // ranks))
    # A CPU kernel for inference that no training calls. It would be compiled on first
    # use, and a run that is killed meanwhile leaves a lock which all others wait for.
    deepspeed.ops.__compatible_ops__.pop("deepspeed_shm_comm", None)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        _keep_memory()
    backend = None if on_gpu else "gloo"
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False)
    return ranks


def _keep_memory() -> None:
    """Let the C library keep what tensors leave, for the next ones.

    glibc gives each large one back to the kernel, which clears its pages for the next:
    a fifth of a step on a CPU. Other C libraries do not know the call.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(M_MMAP_MAX, 0)
        tune(M_TRIM_THRESHOLD, -1)


def return_memory() -> None:
    """Give back to the kernel what the steps of a training have left."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def rank() -> int:
    """The number of this rank among all."""
    return int(os.environ["RANK"])


def agreed(look: Callable[[], T]) -> T:
    """What the first rank finds, on every rank: nodes may see a file at other times.

    Raises:
        TrainingError: on every rank, if it is raised on the first.
    """
    import torch

    found: list[Any] = [None]
    if rank() == 0:
        try:
            found = [look()]
        except TrainingError as error:
            found = [error]
    torch.distributed.broadcast_object_list(found)
    if isinstance(found[0], TrainingError):
        raise found[0]
    result: T = found[0]
    return result


def end_ranks() -> None:
    """Leave torch.distributed, when every rank has come to its end."""
    import torch

    torch.distributed.destroy_process_group()


def run_rank(main: Callable[[], int]) -> NoReturn:
    """Run a rank's main and leave the process at once, whatever came of it.

    Python would first take itself apart. A thread of a connection that wakes meanwhile
    aborts the process, and one that waits for a rank which is gone holds it for as long
    as the connection may be silent: half an hour.
    """
    try:
        code = main()
    except SystemExit:
        raise  # the arguments were wrong: no rank has started
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
