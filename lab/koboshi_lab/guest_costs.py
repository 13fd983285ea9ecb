"""What a solution takes of the machine in a run with real guests, and beside it what its guests take.

Everything in a run's world is counted but the lab itself and its clients: to the nanosecond, and short-lived children, in hundredths of a
second, once somebody who lives on has waited for them. What runs inside of guests (keepalived, monit, koboshi-guest) is in the guests' share.
"""
import os
import pathlib
import time
from typing import Any

from . import bench
from .shell import cmdline, processes

TICK = os.sysconf("SC_CLK_TCK")
Json = dict[str, Any]


def is_guest(words: list[str]) -> bool:
    return any(word.startswith("guest=") for word in words) and any("qemu-system" in word for word in words[:5])


def counted() -> tuple[list[int], list[int]]:
    """The solution's own processes, and its guests'."""
    own, guests = [], []
    for pid in processes():
        words = cmdline(pid)
        if pid in (1, os.getpid()) or not words or "koboshi-load" in " ".join(words):
            continue
        (guests if is_guest(words) else own).append(pid)
    return own, guests


def spent_s(pid: int) -> float:
    """Its own, and that of the children that it has waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    return bench.cpu_s(pid) + sum(map(int, fields[13:15])) / TICK


def spent(pids: list[int]) -> dict[int, float]:
    found = {}
    for pid in pids:
        try:
            found[pid] = spent_s(pid)
        except OSError:
            continue  # it has just ended
    return found


class Window:
    """From here to `end`."""

    def __init__(self) -> None:
        own, guests = counted()
        self.begin, self.before = time.monotonic(), {**spent(own), **spent(guests)}

    def since(self, pids: list[int]) -> float:
        return sum(max(0.0, after - self.before.get(pid, 0)) for pid, after in spent(pids).items())  # a thread's time goes with it

    def end(self) -> Json:
        (own, guests), took = counted(), time.monotonic() - self.begin
        ours, theirs = self.since(own), self.since(guests)
        return {"seconds": round(took, 2), "cpu_s": round(ours, 4), "cpu_percent": round(100 * ours / took, 2),
                **bench.memory_kb(*own), "guests_cpu_percent": round(100 * theirs / took, 2),
                "guests_pss_kb": bench.memory_kb(*guests)["pss_kb"]}
