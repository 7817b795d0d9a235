"""Model weights as files: safetensors shards and a manifest that hashes each of them.

Every model that the pipeline makes or imports is a directory with the same files
(`file_names`), so that an engine, a trainer and an auditor find them in one way.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrace.rows import write_lines

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MANIFEST = "manifest.json"
INDEX = "model.safetensors.index.json"
CHUNK = 1 << 20
READERS = 8


class WeightsError(ValueError):
    """Weights that are missing, changed or not what the recipe pins."""


def file_names(shards: int) -> list[str]:
    """The files of a model directory, the manifest first, then the weight shards."""
    return [
        MANIFEST,
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        INDEX,
        *shard_names(shards),
    ]


def shard_names(shards: int) -> list[str]:
    return [f"model-{i:05}-of-{shards:05}.safetensors" for i in range(1, shards + 1)]


def package_file(package: str, file: str, sha256: str) -> Path:
    """Find a file inside an installed package, without importing the package.

    Raises:
        WeightsError: the package or the file is absent, or the content is another.
    """
    name, _, version = package.partition("==")
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise WeightsError(
            f"package {name} is not installed: expected {package};"
            " install the environment file that the recipe names"
        ) from error
    if version and distribution.version != version:
        raise WeightsError(f"found {name}=={distribution.version}, expected {package}")
    path = Path(str(distribution.locate_file(file)))
    if not path.is_file():
        raise WeightsError(f"{package} holds no file {file}")
    found = sha256_of(path)
    if found != sha256:
        raise WeightsError(
            f"{file} of {package} has sha256 {found}, the recipe pins {sha256}:"
            " reinstall the package, or correct the recipe if the change is meant"
        )
    return path


def load_gguf(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a GGUF file with its tensors dequantized to float32.

    float32 on purpose: weights saved in bfloat16 sit on its grid, and the first small
    steps of a training in mixed precision then round to nothing.
    """
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # transformers 5.19 parses the file three times, and maps names once a module.
    once: Any = gguf
    once.GGUFReader = cache(gguf.GGUFReader)
    once.get_tensor_name_map = cache(gguf.get_tensor_name_map)
    folder, name = str(path.parent), path.name
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    # The quantization is undone; a config that still names it would not load.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model, tokenizer


def save(
    directory: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    shards: int,
    about: Mapping[str, Any],
    state: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a model as `file_names(shards)`; `about` goes into the manifest.

    `state` replaces the model's own tensors, for a model whose parameters are
    partitioned over ranks. Tied output embeddings are stored once.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = dict(state if state is not None else model.state_dict())
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    _save_shards(directory, tensors, shards)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(directory)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    write_manifest(directory, shards, about)


def stop_at(model: PreTrainedModel, token: int) -> None:
    """Let generation stop at a token as well, where it did not yet."""
    settings: Any = model.generation_config
    known = settings.eos_token_id
    ends = [known] if isinstance(known, int) else list(known or [])
    if token not in ends:
        settings.eos_token_id = [token, *ends] if ends else token


def write_manifest(directory: Path, shards: int, about: Mapping[str, Any]) -> None:
    """Hash every file of a model directory into its manifest."""
    files = {}
    for name in file_names(shards)[1:]:
        path = directory / name
        if not path.is_file():
            raise WeightsError(f"{directory} has no {name} to put into its manifest")
        files[name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    text = json.dumps({"files": files, **about}, indent=2, ensure_ascii=False)
    write_lines(directory / MANIFEST, text.splitlines())


def verify(directory: Path) -> dict[str, Any]:
    """Rehash a model directory against its manifest and return the manifest.

    Raises:
        WeightsError: naming the first file that is missing or differs.
    """
    try:
        text = (directory / MANIFEST).read_text("utf-8")
    except FileNotFoundError as error:
        raise WeightsError(
            f"{directory} has no {MANIFEST}: expected a model as the pipeline makes it"
        ) from error
    manifest: dict[str, Any] = json.loads(text)
    paths = {name: directory / name for name in manifest["files"]}
    for path in paths.values():
        if not path.is_file():
            raise WeightsError(f"{path} is named in the manifest and missing")
    # Hashing leaves Python's lock, so threads do read several shards at once.
    with ThreadPoolExecutor(READERS) as pool:
        hashes = dict(zip(paths, pool.map(sha256_of, paths.values()), strict=True))
    for name, recorded in manifest["files"].items():
        path, found = paths[name], hashes[name]
        if found != recorded["sha256"]:
            raise WeightsError(
                f"{path} has sha256 {found}, its manifest says {recorded['sha256']}:"
                " make the model again, or restore the file"
            )
    return manifest


def sha256_of(path: Path) -> str:
    """The sha256 of a file as hex, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _save_shards(
    directory: Path, tensors: Mapping[str, torch.Tensor], shards: int
) -> None:
    """Divide tensors, in name order, into shards of about equal size."""
    from safetensors.torch import save_file

    total = sum(tensor.nbytes for tensor in tensors.values())
    groups: list[dict[str, torch.Tensor]] = [{} for _ in range(shards)]
    weight_map: dict[str, str] = {}
    names = shard_names(shards)
    written = 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        index = min(written * shards // max(total, 1), shards - 1)
        groups[index][name] = tensor
        weight_map[name] = names[index]
        written += tensor.nbytes
    for file_name, group in zip(names, groups, strict=True):
        save_file(group, directory / file_name, metadata={"format": "pt"})
    index_json = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_lines(directory / INDEX, json.dumps(index_json, indent=2).splitlines())
