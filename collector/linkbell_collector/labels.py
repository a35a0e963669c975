"""Label sets as text of the Prometheus exposition format, made once per series. Pure."""

from linkbell_collector.domain import Agent, School

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def text(*pairs: tuple[str, str]) -> str:
    """Return ``{name="value",...} `` with the blank before the value that follows it."""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in pairs) + "} "


def escape(value: str) -> str:
    """Escape a label value: backslash, double quote and line feed, and nothing else (text format 0.0.4)."""
    return value.translate(_ESCAPES)


def of_school(school: School) -> str:
    """Return the labels that identify a school."""
    return text(("school", school.id))


def of_school_info(school: School) -> str:
    """Return the labels that describe a school; what is not known is empty, which Prometheus takes for absent."""
    return text(
        ("school", school.id),
        ("name", school.title),
        ("region", school.region or ""),
        ("district", school.district or ""),
        ("provider", school.provider or ""),
        ("technology", school.technology or ""),
        ("latitude", _number(school.latitude)),
        ("longitude", _number(school.longitude)),
        ("simulated", "true" if school.simulated else ""),
    )


def of_agent(agent: Agent) -> str:
    """Return the labels that identify an agent."""
    return text(("school", agent.school), ("agent", agent.id))


def of_agent_info(agent: Agent, version: str) -> str:
    """Return the labels that describe an agent."""
    return text(("school", agent.school), ("agent", agent.id), ("version", version))


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
