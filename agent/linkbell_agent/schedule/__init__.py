"""When what is measured: the school's calendar, slots in its hours, and what was served of them. Pure, all of it."""

from linkbell_agent.schedule.draw import phase

__all__ = ["phase"]
