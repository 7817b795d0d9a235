"""The schema in the repository is the one that the models generate."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from retrace.config import json_schema, read_recipe

ROOT = Path(__file__).parents[2]
# Those in recipes/ are laid over config.yaml and stand for themselves only then.
RECIPES = [ROOT / "config.yaml", ROOT / "config.demo.yaml"]


def test_the_schema_is_up_to_date() -> None:
    stored = json.loads((ROOT / "config.schema.json").read_text("utf-8"))
    assert stored == json_schema(), "run `make schema` and commit config.schema.json"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_fits_the_models_and_the_schema(path: Path) -> None:
    config = yaml.safe_load(path.read_text("utf-8"))
    assert read_recipe(config).recipe == config["recipe"]
    jsonschema.validate(config, json.loads((ROOT / "config.schema.json").read_text()))
