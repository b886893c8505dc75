"""YAML into pydantic models; errors name the file, the key and the closest valid key."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ConfigError, did_you_mean

M = TypeVar("M", bound=BaseModel)


class Model(BaseModel):
    """A pydantic model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


# The parser in C where there is one: a pipeline reads twenty files before it starts.
class _UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe YAML loader that refuses the same key twice in one mapping."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    # The check comes before merges (<<) are resolved: they put inherited keys beside own ones.
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if id(node) not in self._checked:
            self._checked.add(id(node))
            seen: set[tuple[str, str]] = set()
            for key_node, _ in node.value:
                key = (key_node.tag, str(key_node.value))
                if key in seen:
                    line = key_node.start_mark.line + 1
                    raise yaml.YAMLError(f"key {key_node.value!r} stands twice (line {line})")
                seen.add(key)
        super().flatten_mapping(node)


def read_yaml(path: Path) -> Any:
    """Parse one YAML file safely; duplicate keys and syntax errors raise ConfigError."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (yaml.YAMLError, ValueError, OSError) as error:  # ValueError: no such day, not UTF-8
        raise ConfigError(f"{path}: {error}") from error


def load_yaml(path: Path, model: type[M]) -> M:
    """Read and validate one YAML file.

    Parameters
    ----------
    path : Path
        The file.
    model : type of Model
        Its schema.

    Raises
    ------
    ConfigError
        Naming the file, the key and what is allowed there.
    """
    return validate(read_yaml(path), model, str(path))


def validate(content: Any, model: type[M], origin: str) -> M:
    """Validate parsed content; ``origin`` is how the errors name it."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_describe(item, model) for item in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{origin}: {line}" for line in lines)) from None


def _describe(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    *parents, last = item["loc"] or ("(file)",)
    where = ".".join(str(part) for part in item["loc"]) or "(file)"
    if item["type"] == "extra_forbidden":
        return f"unknown key {where!r}{did_you_mean(str(last), _allowed_keys(model, parents))}"
    if item["type"] == "missing":
        return f"missing key {where!r}"
    if item["type"] == "value_error":  # of our own validators, which say all there is to say
        return f"{where}: {item['ctx']['error']}"
    got = item.get("input")
    return f"{where}: {item['msg']} (got {got!r:.80})"


def _allowed_keys(model: Any, parents: list[Any]) -> list[str]:
    """Walk the annotations along an error's location to the model whose key was wrong."""
    for part in parents:
        model = _step(model, part)
        if model is None:
            return []
    found = _model_in(model)
    return [field.alias or name for name, field in found.model_fields.items()] if found else []


def _step(annotation: Any, part: Any) -> Any:
    found = _model_in(annotation)
    if found is not None:
        for name, field in found.model_fields.items():
            if part in (name, field.alias):
                return field.annotation
        return None
    for option in _options(annotation):
        arguments = [a for a in typing.get_args(option) if a is not Ellipsis]
        if arguments:
            return arguments[-1]
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _options(annotation: Any) -> tuple[Any, ...]:
    """Members of a union; anything else is its own only member."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)
