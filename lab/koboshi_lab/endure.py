"""The long forms of two promises: nobody's request fails while the service changes guests all the time, and nobody falls because the host
is busy. Runs inside a world; koboshi_lab/soak.py plays them at its end.
"""
import time
from typing import Any

from . import api, bench, clients, layout, scene
from .faults import PLANNED
from .shell import now_us, Progress, wait_for

Json = dict[str, Any]
RATE = 50  # requests a second of each of two clients: an emulated guest bears some 200 in all


def rotated(requests: int, every_s: float) -> Json:
    """So many requests, and a planned switch each `every_s` seconds."""
    seconds = requests / (RATE * len(clients.FAMILIES))
    first, switches = api.newest_incident(), 0
    with clients.Clients(clients.good_bodies(layout.VARIANTS), rate=RATE, seconds=round(seconds) + 120) as asking, Progress("rotated") as progress:
        asking.wait_good(0, 20)
        begin_us, begin = now_us(), time.monotonic()
        while time.monotonic() < begin + seconds:
            due = begin + switches * every_s
            time.sleep(max(0.0, min(due, begin + seconds) - time.monotonic()))  # the pace that was asked for
            if time.monotonic() < begin + seconds:
                api.wait_whole(60)
                PLANNED.strike(0)
                switches += 1
                progress(f"{switches} switches")
        wait_for("the end of the last switch", lambda: all(one.get("closed") for one in api.incidents() if one["number"] > first), scene.CLOSE_SECONDS, 0.1)
        seen = clients.view(asking.requests(), begin_us, now_us())
    stories = [api.incident(one["number"]) for one in api.incidents() if one["number"] > first]
    return {"seconds": round(seconds), "switches": switches, "every_s": every_s, "requests": seen.requests, "failed": seen.failed, "kinds": seen.kinds,
            "fallen": [story["cause"] for story in stories if story["verdict"] not in api.NOBODY_FELL], "p50_ms": round(seen.p50_ms, 1),
            "p99_ms": round(seen.p99_ms, 1), "max_gap_ms": round(seen.max_gap_ms, 1)}


def busy(seconds: float) -> Json:
    """Two hogs and a guest that boots again and again beside the service: whatever incident comes of it is a false one."""
    with clients.Clients(clients.good_bodies(layout.VARIANTS), seconds=round(seconds) + 120) as asking:
        asking.wait_good(0, 20)
        return bench.false_switches(asking, seconds)
