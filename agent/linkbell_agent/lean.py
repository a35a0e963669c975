"""What the agent does without, to fit into a small box."""

import sys
from types import ModuleType

_PLUGIN_LOADER = "pydantic.plugin._loader"


def do_without_plugins() -> None:
    """Keep pydantic from looking for plugins among all installed packages: there are none.

    The search loads zip files, three compressors and a CSV reader: 1.5 MB that stay, and a tenth of a second on a
    Raspberry Pi. pydantic asks the environment whether to search, which would be the user's to set, and only after it
    has loaded all this. Has to be called before the first model is used.
    """
    loader = ModuleType(_PLUGIN_LOADER)
    loader.__dict__["get_plugins"] = tuple
    sys.modules.setdefault(_PLUGIN_LOADER, loader)
