"""TOML tables ↔ dataclasses, strictly: unknown keys and wrong types are problems, and all are gathered.

A table is checked against the annotations of a dataclass: ``int``, ``float`` (a whole number will do),
``bool``, ``str``, ``tuple[int, ...]``, ``tuple[float, float, float]``, and any of these ``| None``. TOML has
no null: an absent key has its default, and the text ``"none"`` sets an optional key to ``None``. If the
dataclass has ``problems() -> list[str]`` (ranges, combinations), its sentences join the others.
"""

import difflib
import json
import math
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text in quotes"}
PLURAL = {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts in quotes"}


def read_table(kind: type[T], table: Mapping[str, Any], name: str, problems: list[str]) -> T | None:
    """The dataclass ``kind`` made of ``table``; what is wrong joins ``problems``, named ``name.key``.

    Wrong keys are left at their defaults, so that the ranges of the others are checked too. None if it
    cannot be made at all because a required key is missing.
    """
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, raw in table.items():
        if key not in known:
            problems.append(f"{name}.{key} is not a key of [{name}]{nearest(key, known, name + '.')}.")
            continue
        fits, value = _convert(hints[key], raw)
        if fits:
            values[key] = value
        else:
            problems.append(f"{name}.{key} must be {_say(hints[key])}; it is {written(raw)}.")
    missing = [key for key, field in known.items() if _required(field) and key not in table]
    problems.extend(f"{name}.{key} is missing; it is {_say(hints[key])}." for key in missing)
    if any(_required(field) and key not in values for key, field in known.items()):
        return None
    made = kind(**values)
    check = getattr(made, "problems", None)
    if check is not None:
        problems.extend(check())
    return made


def to_table(options: object) -> dict[str, Any]:
    """The inverse of :func:`read_table`: every key; ``None`` is left out, or written ``"none"``."""
    table: dict[str, Any] = {}
    for field in fields(options):  # type: ignore[arg-type]
        value = getattr(options, field.name)
        if value is None:
            if field.default is not None:
                table[field.name] = "none"
        else:
            table[field.name] = list(value) if isinstance(value, tuple) else value
    return table


def nearest(key: str, known: Iterable[str], prefix: str = "", suffix: str = "") -> str:
    """``"; nearest: train.epochs"``, or the whole choice where nothing is near."""
    choice = sorted(known)
    match = difflib.get_close_matches(key, choice, n=1, cutoff=0.5)
    if match:
        return f"; nearest: {prefix}{match[0]}{suffix}"
    return f"; known: {', '.join(choice)}" if choice else ""


def written(value: Any) -> str:
    """A value as TOML writes it.

    >>> written([0.95, 0.05, 0.0]), written(True), written('a "b"')
    ('[0.95, 0.05, 0.0]', 'true', '"a \\\\"b\\\\""')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(written(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {written(item)}" for key, item in value.items()) + " }"
    return repr(value) if isinstance(value, int | float) else str(value)


def write_tables(tables: Mapping[str, Any], name: str = "") -> str:
    """Nested tables as TOML text: plain keys first, then ``[table]``, ``[table.inner]`` and ``[[list]]``."""
    blocks: list[str] = []
    plain = [f"{_key(key)} = {written(value)}" for key, value in tables.items() if not _is_table(value)]
    if plain or (name and not tables):
        blocks.append("\n".join(([f"[{name}]"] if name else []) + plain) + "\n")
    for key, value in tables.items():
        inner = f"{name}.{_key(key)}" if name else _key(key)
        if isinstance(value, Mapping):
            blocks.append(write_tables(value, inner))
        elif _is_table(value):
            blocks.extend(f"[[{inner}]]\n{_dotted(item)}" for item in value)
    return "\n".join(blocks)


def _dotted(table: Mapping[str, Any], before: str = "") -> str:
    lines = ""
    for key, value in table.items():
        path = before + _key(key)
        lines += _dotted(value, path + ".") if isinstance(value, Mapping) else f"{path} = {written(value)}\n"
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)
    )


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else written(key)


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _convert(hint: Any, raw: Any) -> tuple[bool, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if types.NoneType in inner and raw == "none":
            return True, None
        for option in inner:
            if option is not types.NoneType:
                fits, value = _convert(option, raw)
                if fits:
                    return True, value
        return False, None
    if origin is tuple:
        if not isinstance(raw, list | tuple):
            return False, None
        if inner[-1] is Ellipsis:
            inner = inner[:1] * len(raw)
        parts = [_convert(each, item) for each, item in zip(inner, raw, strict=False)]
        return len(raw) == len(inner) and all(fits for fits, _ in parts), tuple(value for _, value in parts)
    if hint is float:
        fits = isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw)
        return fits, float(raw) if fits else None
    if hint is int:
        return isinstance(raw, int) and not isinstance(raw, bool), raw
    return isinstance(raw, hint), raw


def _say(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        said = " or ".join(_say(option) for option in inner if option is not types.NoneType)
        return f'{said}, or "none"' if types.NoneType in inner else said
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return f"a list of {PLURAL[inner[0]]}"
        return f"a list of {len(inner)} {PLURAL[inner[0]]}"
    return NAMES[hint]
