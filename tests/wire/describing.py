"""Every model of the wire, and each field's bounds in the words of PROTOCOL.md, taken from the models' own schema."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, TypeAdapter

import linkbell_wire.batch
import linkbell_wire.configuration
import linkbell_wire.enrolment
import linkbell_wire.errors
import linkbell_wire.records
from linkbell_wire import calendar, fields
from linkbell_wire.enrolment import Secret
from linkbell_wire.fields import WireModel

Schema = dict[str, Any]


def models(root: type[WireModel] = WireModel) -> Iterator[type[WireModel]]:
    """Yield every model there is, found by inheritance: a new one cannot be forgotten."""
    for model in root.__subclasses__():
        if model.__module__.startswith("linkbell_wire."):
            yield model
            yield from models(model)


MODELS = {model.__name__: model for model in models()}


def adapter(name: str) -> TypeAdapter[Any]:
    """Return what validates ``name``: a model, or any record."""
    return linkbell_wire.records.RECORD_ADAPTER if name == "AnyRecord" else TypeAdapter(MODELS[name])


def own_fields(model: type[BaseModel]) -> list[str]:
    """Return the fields a model does not share with the model it is built on."""
    inherited: set[str] = set()
    for base in model.__mro__[1:]:
        inherited |= set(getattr(base, "model_fields", {})) if issubclass(base, BaseModel) else set()
    return [name for name in model.model_fields if name not in inherited]


def _schema_of(annotated: Any) -> Schema:
    return TypeAdapter(annotated).json_schema()


_NAMED: list[tuple[Schema, str]] = [
    (_schema_of(fields.Name), "name"),
    (_schema_of(fields.Text), "text"),
    (_schema_of(fields.Host), "host"),
    (_schema_of(fields.Url), "URL"),
    (_schema_of(fields.WebUrl), "web URL"),
    (_schema_of(Secret), "secret"),
    (_schema_of(fields.Timestamp), "time"),
    (_schema_of(calendar.WeekdaysText), "weekdays"),
    (_schema_of(calendar.HoursText), "hours"),
    (_schema_of(calendar.DaysText), "days"),
    ({"type": "string", "format": "uuid"}, "UUID"),
    ({"type": "boolean"}, "true or false"),
    ({"type": "null"}, "null"),
]


def describe(schema: Schema, definitions: Schema) -> str:
    """Return a field's type and bounds as PROTOCOL.md writes them."""
    plain = {key: value for key, value in schema.items() if key not in ("title", "default", "description")}
    for known, word in _NAMED:
        if plain == known:
            return word
    if "$ref" in plain:
        return _describe_reference(plain["$ref"].rpartition("/")[2], definitions)
    if "anyOf" in plain:
        return " or ".join(describe(one, definitions) for one in plain["anyOf"])
    if "oneOf" in plain:
        return "any record"
    if "enum" in plain or "const" in plain:
        return ", ".join(f"`{value}`" for value in plain.get("enum", [plain.get("const")]))
    if plain["type"] == "array":
        return f"list of at most {plain['maxItems']}: {describe(plain['items'], definitions)}"
    if plain["type"] == "object":
        keys, values = entries(plain)
        return (
            f"object of at most {plain['maxProperties']}: "
            f"{describe(keys, definitions)} to {describe(values, definitions)}"
        )
    return f"{plain['type']}, {_range(plain)}"


def entries(mapping: Schema) -> tuple[Schema, Schema]:
    """Return the schemas of a mapping's keys and values; pydantic moves a key's pattern to where its values are."""
    keys = {"type": "string", **mapping["propertyNames"]}
    if "patternProperties" not in mapping:
        return keys, mapping["additionalProperties"]
    ((pattern, values),) = mapping["patternProperties"].items()
    return {**keys, "pattern": pattern}, values


def _describe_reference(name: str, definitions: Schema) -> str:
    target = definitions[name]
    if "enum" not in target:
        return f"[{name}](#{name.lower()})"
    if len(target["enum"]) > 12:
        return f"[{name}](#{name.lower()})"
    return ", ".join(f"`{value}`" for value in target["enum"])


def _range(plain: Schema) -> str:
    low = f"above {plain['exclusiveMinimum']:g}" if "exclusiveMinimum" in plain else _number(plain["minimum"])
    return f"{low} to {_number(plain['maximum'])}"


def _number(value: float) -> str:
    if abs(value) == fields.MAX_COUNT:
        return "2^53 - 1" if value > 0 else "1 - 2^53"
    return (
        f"{value:,.15g}".replace(",", " ")
        if abs(value) < 1e8
        else f"{value:.3g}".replace("e+0", "e").replace("e+", "e")
    )


def table_of(model: type[WireModel]) -> dict[str, tuple[str, str]]:
    """Return for each own field of a model what it is, and whether it is needed or what it is without it."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    rows = {}
    for name in own_fields(model):
        field = schema["properties"][name]
        if name in schema.get("required", ()) or "const" in field:  # a record is told by its kind
            without = "needed"
        else:
            default = field.get("default")
            without = "null" if default is None and "default" in field else _default(default)
        rows[name] = (describe(field, definitions), without)
    return rows


def _default(value: object) -> str:
    if value is None or value == {} or value == []:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value}`" if isinstance(value, str) else f"{value:g}"
