"""What the agent does without: held by looking at what a fresh one has loaded."""

import json
import subprocess
import sys

LOOK = """
import json, sys
from linkbell_agent.cli import main
status = main(["config", "check", "--json"])
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""


def test_the_agent_validates_without_loading_what_only_plugins_need() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=60)
    status, loaded = json.loads(done.stderr)
    assert (status, len(json.loads(done.stdout)) > 15) == (0, True)
    assert set(loaded) & {"importlib.metadata", "zipfile", "lzma", "bz2", "tempfile", "shutil", "difflib"} == set()
    assert "pydantic_core" in loaded


RUNNING = """
import json, sys
from linkbell_agent.lean import do_without_plugins
do_without_plugins()
import linkbell_agent.running
print(json.dumps(sorted(sys.modules)))
"""


def test_a_running_agent_loads_neither_mail_nor_another_command() -> None:
    done = subprocess.run([sys.executable, "-c", RUNNING], capture_output=True, text=True, check=True, timeout=60)
    unused = {
        "http.client",
        "email.utils",
        "gzip",
        "statistics",
        "linkbell_agent.commands",
        "linkbell_agent.doctor.run",
    }
    loaded = set(json.loads(done.stdout))
    assert "linkbell_agent.runner" in loaded
    assert loaded & unused == set()
