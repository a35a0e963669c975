"""What keeps a long-running agent small: one heap for all threads, and nothing kept that a start alone needs."""

import json
import subprocess
import sys

THREADS = 8
COUNT = """
import sys, threading
from linkbell_agent.memory import share_one_arena
if sys.argv[1] == "shared":
    assert share_one_arena()
kept, ready, leave = [], threading.Barrier(9), threading.Event()
def work():
    kept.append([bytearray(2000) for _ in range(50)])
    ready.wait()
    leave.wait()
for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
ready.wait()
print(sum(line.startswith("Size:") for line in open("/proc/self/smaps")))
leave.set()
"""
"""Counts the mappings of a process of eight threads: a heap of its own is at least one more for each."""


def mappings(how: str) -> int:
    command = [sys.executable, "-c", COUNT, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)


def test_threads_take_their_memory_from_one_place() -> None:
    assert mappings("shared") <= mappings("own") - THREADS


SETTLED = """
import gc
from linkbell_agent.memory import settle
class Node: pass
def cycle():
    node = Node()
    node.itself = node
cycle()
settle()
print(any(isinstance(one, Node) for one in gc.get_objects()), gc.get_freeze_count() > 5000, len(gc.get_objects()) < 500)
"""


def test_what_the_start_made_is_looked_through_once_and_never_again() -> None:
    done = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["False", "True", "True"]


LET_GO = """
import json, ssl, sqlite3
from linkbell_agent.memory import let_go_of_code
import linkbell_agent.running
def resident(kind):
    total, counts = 0, False
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0]:
            counts = words[1].startswith(kind) and len(words) > 5 and words[5].startswith("/")
        elif counts and words[0] == "Rss:":
            total += int(words[1])
    return total
before = resident("r-x")
let_go_of_code()
after = resident("r-x")
print(json.dumps([before, after, sqlite3.connect(":memory:").execute("SELECT 6 * 7").fetchone()[0]]))
"""


def test_code_that_is_not_run_any_more_is_let_go_of_and_comes_back_when_it_is() -> None:
    done = subprocess.run([sys.executable, "-c", LET_GO], capture_output=True, text=True, check=True, timeout=30)
    before_kb, after_kb, answer = json.loads(done.stdout)
    assert after_kb < before_kb - 2000
    assert answer == 42
