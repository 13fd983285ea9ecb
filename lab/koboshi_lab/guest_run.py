"""One run of the race with real guests: an arm that was just started, one fault, two clients; a row of the report.

Runs inside a world of its own; guest_race.py starts it there.
"""
import argparse
import hashlib
import json
import pathlib
import random
import sys
import tempfile
import threading
import time
import urllib.request
from typing import Any

from . import layout
from .arms import OURS
from .guest_arms import ARMS, FAULTS, good_hash
from .guest_costs import Window
from .measure import Client, PHASE_S, seen, since, wrong_after
from .shell import guarded, LabError, now_us, wait_for

POLL_S = 0.25
IDLE_S = 3.0  # so long it is looked at what an arm takes without clients,
BUSY_S = 1.0  # and at the least under load
Json = dict[str, Any]


class Redundancy(threading.Thread):
    """Looks when two guests of a baseline answer rightly again at their own addresses, which no solution says by itself."""

    def __init__(self, end_us: int):
        super().__init__(daemon=True)
        self.good, self.end_us, self.again_us = good_hash(), end_us, None
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def is_good(self, number: int) -> bool:
        try:
            with self.opener.open(f"http://192.0.2.1{number}/", timeout=0.5) as answer:
                return hashlib.sha256(answer.read(1 << 16)).hexdigest() == self.good
        except OSError:
            return False

    def run(self) -> None:
        fallen = False
        while now_us() < self.end_us and not self.again_us:
            good = sum(self.is_good(number) for number in (1, 2, 3))
            if good >= 2 and fallen:
                self.again_us = now_us()
            fallen = fallen or good < 2
            time.sleep(POLL_S)


def measure(arm: Any, options: argparse.Namespace) -> Json:
    window = Window()
    time.sleep(IDLE_S)
    row = {"idle": window.end()}
    asking = [Client(keep_alive, options.rate, good=good_hash()) for keep_alive in (False, True)]
    end_us = now_us() + options.seconds * 1_000_000
    whole = Window()
    with tempfile.TemporaryDirectory(dir=layout.KEEPER) as folder:
        for client in asking:
            client.start(pathlib.Path(folder), options.seconds)
        wait_for("good answers to both clients", lambda: all(client.is_served() for client in asking), options.seconds)
        window = Window()
        time.sleep(BUSY_S + random.Random(options.seed).uniform(0, PHASE_S))  # a fault does not wait for anybody's check
        row["busy"] = window.end()
        arm.listen(options.fault)
        fault_us = FAULTS[options.fault](arm)
        looking = None if options.arm == OURS else Redundancy(end_us)
        if looking:
            looking.start()
        asked = {client.name: client.requests() for client in asking}
        row["realtime"] = all(client.was_realtime() for client in asking)
    row["run"] = whole.end()
    told = arm.told()
    if looking:
        looking.join()
        told["redundant_us"] = looking.again_us
    return {**row, **{key.replace("_us", "_ms"): since(fault_us, value) for key, value in told.items()},
            **{name: {**seen(requests, fault_us), "wrong_after": wrong_after(requests, told["detected_us"])} for name, requests in asked.items()}}


def main() -> int:
    parser = argparse.ArgumentParser()
    for name, kind in (("arm", str), ("fault", str), ("rate", int), ("seconds", int), ("seed", int), ("out", pathlib.Path)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    options = parser.parse_args()
    arm, begin = ARMS[options.arm](), time.monotonic()
    try:
        arm.start()
        row = {"arm": options.arm, "fault": options.fault, "start_s": round(time.monotonic() - begin, 1), **measure(arm, options)}
        options.out.write_text(json.dumps({"version": arm.version(), "row": row}), encoding="utf-8")
    except LabError as error:
        options.out.write_text(json.dumps({"why": str(error)}), encoding="utf-8")
        raise
    finally:
        arm.stop()
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
