"""A cluster: what it is called, and how much of it a job may take."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

# The word for "this cluster has none", since an empty value means "not said yet".
NONE = "none"
UNTYPED = "any"
# The plugin chooses a partition, by a file of its own.
CHOSEN = "auto"


class SiteError(ValueError):
    """The file of the site says something that is no site."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Partition(Section):
    """Where jobs go. Memory in GB of 1000 MB, as SLURM's tools round it."""

    partition: str | None = Field(
        default=None, description="as in `sinfo -s`, or `auto`"
    )
    minutes: int = Field(default=1440, gt=0, description="the longest job")
    memory_gb: int = Field(default=200, gt=0, description="of a node, at most")


class GPUPartition(Partition):
    type: str | None = Field(
        default=None, description="as in gpu:h100:8 of `sinfo -o %G`, or `any`"
    )
    memory_gb: int = Field(default=1000, gt=0)
    cpus_per_gpu: int = Field(default=8, gt=0)
    memory_gb_per_gpu: int = Field(default=100, gt=0)


class Site(Section):
    """A cluster. A value that is None was not filled in."""

    account: str | None = Field(default=None, description="or `none`")
    cpu: Partition = Partition()
    gpu: GPUPartition = GPUPartition()
    scratch: str | None = Field(
        default=None, description="folder on the nodes' own disks"
    )


def read_site(path: Path) -> Site:
    """Read a site's file.

    Raises:
        SiteError: naming each key that is not understood.
    """
    try:
        return Site.model_validate(yaml.safe_load(path.read_text("utf-8")) or {})
    except OSError as error:
        raise SiteError(f"{path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise SiteError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors()
        ]
        raise SiteError("\n".join(lines)) from None


def unanswered(site: Site, with_gpus: bool) -> list[str]:
    """The questions that the file leaves open, each with where the answer is found."""
    asked = [
        (site.account, "account: `sacctmgr show associations user=$USER`, or `none`"),
        (site.cpu.partition, "cpu.partition: `sinfo -s` lists the partitions"),
    ]
    if with_gpus:
        asked += [
            (site.gpu.partition, "gpu.partition: `sinfo -o '%P %G'` shows GPUs"),
            (site.gpu.type, "gpu.type: `sinfo -o '%P %G'` shows it, or `any`"),
        ]
    return [question for answer, question in asked if not answer]
