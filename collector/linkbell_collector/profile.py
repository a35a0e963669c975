"""What can be set for a school, for its region, for its country or for all, in the wire's own models. Pure.

``None`` is "not set here": the next wider level decides, and in the end the agent's own settings.
"""

import difflib
import json
import typing
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from linkbell_collector import zones
from linkbell_wire import fields, quantities
from linkbell_wire.configuration import (
    MAX_PLATFORMS,
    MAX_TARGETS,
    MAX_UPLINKS,
    BudgetConfiguration,
    CalendarConfiguration,
    CheckConfiguration,
    DnsConfiguration,
    PingConfiguration,
    PlatformConfiguration,
    SpeedConfiguration,
    TargetConfiguration,
    UplinkConfiguration,
)
from linkbell_wire.fields import WireModel
from linkbell_wire.words import BudgetProfile

COLLECTORS_OWN: Literal["collector"] = "collector"
_SIZES = ("bytes_per_month", "max_bytes")


Rate = Annotated[float, Field(gt=0, le=1e13)]


class Wishes(WireModel):
    """What the agents of a school are asked to do, as far as somebody has set it.

    ``portal_url`` may be ``collector``: the collector's own page, where agents reach it in the clear.
    """

    targets: Annotated[list[TargetConfiguration], Field(max_length=MAX_TARGETS)] | None = None
    platforms: Annotated[list[PlatformConfiguration], Field(max_length=MAX_PLATFORMS)] | None = None
    dns: DnsConfiguration | None = None
    portal_url: Literal["collector"] | fields.WebUrl | None = None
    ping: PingConfiguration | None = None
    speed: SpeedConfiguration | None = None
    check: CheckConfiguration | None = None
    calendar: CalendarConfiguration | None = None
    budget: BudgetConfiguration | None = None
    uplinks: Annotated[list[UplinkConfiguration], Field(max_length=MAX_UPLINKS)] | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        lists = {"target": self.targets, "platform": self.platforms, "uplink": self.uplinks}
        for what, listed in lists.items():
            names = [item.name for item in listed or []]
            if len(names) != len(set(names)):
                raise ValueError(f"{what} names must be unique")
        return self


class Profile(Wishes):
    """All of it: also what describes the line. Rates are bits per second of payload; ``contract_`` is what is paid."""

    timezone: fields.Text | None = None
    provider: fields.Text | None = None
    download_floor_bps: Rate | None = None
    upload_floor_bps: Rate | None = None
    contract_download_bps: Rate | None = None
    contract_upload_bps: Rate | None = None


NO_WISHES = Wishes()
NOTHING = Profile()
DESCRIBING = tuple(name for name in Profile.model_fields if name not in Wishes.model_fields)
"""What is a field of its own in a school, rather than one of its wishes."""

W = TypeVar("W", bound=Wishes)


class ProfileError(ValueError):
    """What is wrong with a profile, and at which of its fields, written like ``calendar.hours``."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path
        self.reason = reason


def read_profile(content: object) -> Profile:
    """Read a profile from what TOML or JSON gave. Rates and sizes may be written short: ``20M``, ``5G``.

    Raises :class:`ProfileError` for whatever is unknown or cannot be used.
    """
    if not isinstance(content, Mapping):
        raise ProfileError("", f"{content!r} is not a table of settings")
    plain = _plain(content, Profile, "")
    try:
        return Profile.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        raise _in_words(error) from error


_WRITTEN_LIKE = {
    "portal_url": "write collector, or an address such as http://example.org/generate_204",
    "url": "write an address such as https://example.org/page",
    "host": "write a host name or an address, such as example.org or 192.0.2.1",
    "name": "write letters, digits and _ . : - without spaces, at most 64, beginning with a letter or digit",
}


def _in_words(error: ValidationError) -> ProfileError:
    problem = error.errors(include_url=False, include_input=False)[0]
    path = [str(part) for part in problem["loc"] if isinstance(part, int) or str(part).isidentifier()]
    last = path[-1] if path else ""
    if last in _WRITTEN_LIKE and problem["type"] in ("string_pattern_mismatch", "literal_error"):
        return ProfileError(".".join(path), _WRITTEN_LIKE[last])
    return ProfileError(".".join(path), problem["msg"].removeprefix("Value error, "))


def _plain(content: Mapping[str, object], model: type[BaseModel], path: str) -> dict[str, object]:
    """Return ``content`` as JSON can hold it; refuse names that ``model`` has not."""
    plain: dict[str, object] = {}
    for name, value in content.items():
        where = f"{path}{name}"
        if name not in model.model_fields:
            close = difflib.get_close_matches(str(name), model.model_fields, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(model.model_fields)}"
            raise ProfileError(where, f"there is no such setting{hint}")
        inner = _model_of(model.model_fields[name].annotation)
        if inner is not None and isinstance(value, Mapping):
            plain[name] = _plain(value, inner, f"{where}.")
        elif inner is not None and isinstance(value, list):
            plain[name] = [
                _plain(item, inner, f"{where}.{number}.") if isinstance(item, Mapping) else item
                for number, item in enumerate(value)
            ]
        else:
            plain[name] = _short(name, value, where)
    return plain


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation such as ``list[Model] | None``."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    return next(filter(None, map(_model_of, typing.get_args(annotation))), None)


def _short(name: str, value: object, where: str) -> object:
    if isinstance(value, list):
        return [_short(name, item, where) for item in value]
    if isinstance(value, date):  # TOML has dates of its own
        return value.isoformat()
    if isinstance(value, str) and name == "timezone" and (problem := zones.problem_of(value)) is not None:
        raise ProfileError(where, problem)
    if isinstance(value, str) and (name.endswith("_bps") or name in _SIZES):
        try:
            return quantities.read_size(value) if name in _SIZES else quantities.read_rate(value)
        except ValueError as error:
            raise ProfileError(where, str(error)) from error
    return value


def as_json(wishes: Wishes) -> dict[str, Any]:
    """Return what is set, as JSON can hold it."""
    content: dict[str, Any] = json.loads(as_text(wishes))
    return content


def as_text(wishes: Wishes) -> str:
    """Return what is set as JSON text: how a store keeps it."""
    return wishes.model_dump_json(exclude_unset=True, exclude_none=True)


def wishes_of(profile: Profile) -> Wishes:
    """Return what agents are asked to do, without what describes the line."""
    said = {name: getattr(profile, name) for name in Wishes.model_fields if name in profile.model_fields_set}
    said = {name: value for name, value in said.items() if value is not None}
    return NO_WISHES.model_copy(update=said) if said else NO_WISHES


def merge(near: Wishes, far: W) -> W:
    """Return ``far`` with all that ``near`` sets in its place: field by field, uplinks by name, other lists whole."""
    changes: dict[str, object] = {}
    for name in near.model_fields_set:
        mine, theirs = getattr(near, name), getattr(far, name, None)
        if name == "uplinks" and mine and theirs:
            changes[name] = _merge_uplinks(mine, theirs)
        elif mine is not None:
            changes[name] = _merge_sections(mine, theirs)
    return far.model_copy(update=changes) if changes else far


def _merge_sections(near: Any, far: Any) -> Any:
    if isinstance(near, BudgetConfiguration) and isinstance(far, BudgetConfiguration):
        return _merge_budgets(near, far)
    if isinstance(near, BaseModel) and isinstance(far, BaseModel):
        return far.model_copy(update=_set(near))
    return near


def _merge_uplinks(near: list[UplinkConfiguration], far: list[UplinkConfiguration]) -> list[UplinkConfiguration]:
    """Merge by name: what a region says of every school's backup holds beside what a school says of its own main."""
    merged = {uplink.name: uplink for uplink in far}
    for mine in near:
        theirs = merged.get(mine.name)
        if theirs is None:
            merged[mine.name] = mine
            continue
        changes = _set(mine)
        if mine.budget is not None:
            changes["budget"] = _merge_sections(mine.budget, theirs.budget)
        merged[mine.name] = theirs.model_copy(update=changes)
    return list(merged.values())


def _set(model: BaseModel) -> dict[str, object]:
    values = {name: getattr(model, name) for name in model.model_fields_set}
    return {name: value for name, value in values.items() if value is not None}


def _merge_budgets(near: BudgetConfiguration, far: BudgetConfiguration) -> BudgetConfiguration:
    """Merge. Who says ``unmetered`` takes no bytes from further away, and who says bytes is not unmetered by others."""
    merged = far.model_copy(update=_set(near))
    if merged.profile is not BudgetProfile.UNMETERED or merged.bytes_per_month is None:
        return merged
    gone = "profile" if near.profile is None else "bytes_per_month" if near.bytes_per_month is None else None
    return merged if gone is None else merged.model_copy(update={gone: None})


def without(profile: Profile, path: str) -> Profile:
    """Return ``profile`` with one field, ``calendar.hours``, or a whole section, ``calendar``, not set.

    Raises :class:`ProfileError` if there is no such field.
    """
    _plain(_nested(path), Profile, "")
    content = as_json(profile)
    section, _, name = path.partition(".")
    if not name:
        content.pop(section, None)
    elif section in content:
        content[section].pop(name, None)
    return read_profile({key: value for key, value in content.items() if value != {}})


def _nested(path: str) -> dict[str, object]:
    section, _, name = path.partition(".")
    return {section: {name: None} if name else None}


def flat(wishes: Wishes) -> Iterator[tuple[str, Any]]:
    """Yield what is set as pairs of ``calendar.hours`` and its value, as JSON can hold it."""
    for name, value in as_json(wishes).items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", held) for inner, held in value.items())
        else:
            yield name, value
