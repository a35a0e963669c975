"""The agent's settings: one typed object, built once from defaults, file, environment and flags, in that order.

The only module of the agent that reads the environment. The settings themselves are in
:mod:`linkbell_agent.sections`.
"""

import json
import os
import re
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from linkbell_agent.sections import (
    BudgetSettings,
    OneOfUplinks,
    PlatformSettings,
    Section,
    ServerSettings,
    Settings,
    TargetSettings,
)
from linkbell_agent.slim import dataclass

DEFAULT_FILE = Path("/etc/linkbell/agent.toml")
ENVIRONMENT_PREFIX = "LINKBELL_AGENT_"

_SERVICE_LINK = re.compile(r"^(PORT|SERVICE)(_|$)")
"""What Kubernetes sets in every container beside a service named linkbell-agent: not meant for us."""


class SettingsError(Exception):
    """The settings cannot be used. The message names each place and what to do."""


@dataclass(frozen=True, slots=True)
class SettingField:
    """One row of the table of settings: dotted key, help, default, and whether it can be given as one string."""

    key: str
    help: str
    default: object
    is_plain: bool

    @property
    def variable(self) -> str:
        """Name of the environment variable that sets it."""
        return ENVIRONMENT_PREFIX + self.key.replace(".", "_").upper()


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and for each key that is not a default where it came from."""

    settings: Settings
    origins: Mapping[str, str] = field(default_factory=dict)


def table(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[SettingField]:
    """Yield every setting in the order of the documentation."""
    for name, info in model.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from table(annotation, f"{prefix}{name}.")
        else:
            yield SettingField(
                key=prefix + name,
                help=info.description or "",
                default=info.get_default(call_default_factory=True),
                is_plain=not _holds(annotation, list),
            )


def _holds(annotation: object, wanted: type) -> bool:
    if get_origin(annotation) in (types.UnionType, Annotated):
        return any(_holds(argument, wanted) for argument in get_args(annotation))
    return annotation is wanted or get_origin(annotation) is wanted


def load(
    file: Path | None,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Build the settings. ``overrides`` are ``key=value`` strings from flags; ``file`` of None means the default one.

    A default file that does not exist is no error; one that was asked for is. Raises :class:`SettingsError`.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    path = file or DEFAULT_FILE
    if file is not None or _is_there(path):
        merged = _read_file(path)
        origins = dict.fromkeys(_leaves(merged), str(path))
    given = os.environ if environment is None else environment
    for key, value, origin in (*_from_environment(given), *_from_flags(overrides)):
        _put(merged, key, value)
        origins[key] = origin
    try:
        # By way of JSON, in which the strict models of the wire take words for their closed lists.
        return Loaded(Settings.model_validate_json(json.dumps(merged, default=str)), origins)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error, origins))) from error


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder this user may not look into: reading says so, with a way out
        return True


def environment_language(environment: Mapping[str, str] | None = None) -> str | None:
    """Return what the environment says of languages (locale(7)), such as ``ru_RU.UTF-8``; None if nothing."""
    given = os.environ if environment is None else environment
    return next(filter(None, map(given.get, ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"))), None)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such file. Make it, or leave --config out.") from error
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}). Run as its owner, or use other settings with --config FILE."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not TOML: {error}.") from error


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    known = {row.variable: row for row in table() if row.is_plain}
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        row = known.get(variable)
        if row is None and _SERVICE_LINK.match(variable.removeprefix(ENVIRONMENT_PREFIX)):
            continue
        if row is None and variable in {row.variable for row in table()}:
            raise SettingsError(f"environment: {variable} is a list, which only the file can hold.")
        if row is None:
            raise SettingsError(f"environment: {variable} is not a setting.{nearest(variable, known)}")
        yield row.key, environment[variable], f"environment {variable}"


def _from_flags(overrides: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    known = {row.key for row in table() if row.is_plain}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise SettingsError(f"--set {override}: write it as --set key=value, such as --set ping.count=5.")
        if key not in known:
            raise SettingsError(f"--set {override}: {key} is not a setting.{nearest(key, known)}")
        yield key, value, "flag --set"


def _put(tree: dict[str, Any], key: str, value: str) -> None:
    *sections, name = key.split(".")
    for section in sections:
        child = tree.setdefault(section, {})
        if not isinstance(child, dict):
            return  # the file is wrong there; validation says so
        tree = child
    tree[name] = value


def nearest(key: str, known: Sequence[str] | Mapping[str, object] | set[str]) -> str:
    """Return " Did you mean …?" for the known key most like ``key``, or nothing."""
    import difflib  # only for somebody who has mistyped

    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def _explain(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"]]
        key = ".".join(location)
        origin = next((origins[leaf] for leaf in origins if leaf == key or key.startswith(leaf + ".")), None)
        where = origin or next((value for leaf, value in origins.items() if leaf.startswith(key)), "settings")
        if problem["type"] == "extra_forbidden":
            yield f"{where}: {key} is not a setting.{_nearest_in_section(location)}"
        else:
            message = problem["msg"][:1].lower() + problem["msg"][1:]
            yield f"{where}: {key}: {message}{'' if message.endswith(('.', '?')) else '.'}"


def _nearest_in_section(location: Sequence[str]) -> str:
    prefix = "".join(f"{part}." for part in location[:-1])
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        if part.isdigit():
            continue
        info = model.model_fields.get(part)
        if info is None or not (isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)):
            return _nearest_in_list(model, location)
        model = info.annotation
    hint = nearest(location[-1], list(model.model_fields))
    if hint:
        return hint.replace("mean ", f"mean {prefix}")
    whole = "" if prefix else nearest(location[0], [row.key for row in table()])
    return whole or f" Settings here: {', '.join(model.model_fields)}."


def _nearest_in_list(model: type[BaseModel], location: Sequence[str]) -> str:
    *places, name = (part for part in location if not part.isdigit())
    items: dict[str, type[BaseModel]] = {
        "targets": TargetSettings,
        "platforms": PlatformSettings,
        "servers": ServerSettings,
        "uplinks": OneOfUplinks,
        "budget": BudgetSettings,
    }
    return nearest(name, list(items.get(places[-1], model).model_fields))
