"""Slim frozen values behave as the standard library's."""

import dataclasses
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from typing import Any

import pytest

from linkbell_agent.slim import dataclass


@dataclass(frozen=True, slots=True)
class Slim:
    """A value."""

    name: str
    rate_bps: float | None = None
    tags: tuple[str, ...] = field(default_factory=tuple)
    note: str = field(default="", compare=False, repr=False)

    @property
    def loud(self) -> str:
        """A property beside the fields."""
        return self.name.upper()


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    """The same value."""

    name: str
    rate_bps: float | None = None
    tags: tuple[str, ...] = field(default_factory=tuple)
    note: str = field(default="", compare=False, repr=False)


VALUES: list[tuple[Any, ...]] = [("a",), ("a", 1.0), ("a", 1.0, ("x",)), ("a", 1.0, ("x",), "note"), ("b", None, ())]


@pytest.mark.parametrize("values", VALUES)
def test_a_slim_value_compares_hashes_and_shows_itself_as_the_standard_one(values: tuple[Any, ...]) -> None:
    slim, standard = Slim(*values), Standard(*values)
    assert repr(slim) == repr(standard).replace("Standard", "Slim")
    assert hash(slim) == hash(standard)
    assert asdict(slim) == asdict(standard)
    assert [Slim(*other) == slim for other in VALUES] == [Standard(*other) == standard for other in VALUES]
    assert slim.__eq__(standard) is NotImplemented
    assert replace(slim, name="c") == Slim("c", *values[1:])
    assert [one.name for one in fields(slim)] == ["name", "rate_bps", "tags", "note"]
    assert slim.loud == slim.name.upper()


@pytest.mark.parametrize("name", ["name", "note"])
def test_a_slim_value_cannot_be_changed(name: str) -> None:
    slim = Slim("a")
    with pytest.raises(FrozenInstanceError):
        setattr(slim, name, "b")
    with pytest.raises(FrozenInstanceError):
        delattr(slim, name)
    with pytest.raises(AttributeError):
        setattr(slim, "another", 1)  # noqa: B010 - a name that type checkers must not see
    assert not hasattr(slim, "__dict__")
    assert slim == Slim("a")


def test_methods_that_a_class_has_are_its_own() -> None:
    @dataclass(frozen=True, slots=True)
    class Hidden:
        """Shows nothing."""

        secret: str

        def __repr__(self) -> str:
            return "Hidden()"

    assert repr(Hidden("x")) == "Hidden()"
    assert Hidden("x") == Hidden("x") != Hidden("y")


def test_other_options_are_the_standard_decorators() -> None:
    @dataclass(slots=True)
    class Count:
        """Changes."""

        number: int = 0

    count = Count()
    count.number += 1
    assert count == Count(1)


def test_what_is_the_same_for_all_classes_is_shared() -> None:
    names = ("__eq__", "__hash__", "__repr__", "__setattr__", "__delattr__")
    assert {vars(Slim)[name].__module__ for name in names} == {"linkbell_agent.slim"}
