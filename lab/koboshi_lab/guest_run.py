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
from typing import Any, Optional

from . import layout, race
from .guest_arms import ARMS, FAULTS, good_hash
from .shell import guarded, now_us, wait_for

POLL_S = 0.25
Json = dict[str, Any]


class Whole(threading.Thread):
    """Looks when two guests of a baseline answer rightly again at their own addresses, which no solution says by itself."""

    def __init__(self, good: str, end_us: int):
        super().__init__(daemon=True)
        self.good, self.end_us, self.again_us = good, end_us, None

    def is_good(self, number: int) -> bool:
        try:
            with self.opener.open(f"http://192.0.2.1{number}/", timeout=0.5) as answer:
                return hashlib.sha256(answer.read(1 << 16)).hexdigest() == self.good
        except OSError:
            return False

    def run(self) -> None:
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        fallen = False
        while now_us() < self.end_us and not self.again_us:
            good = sum(self.is_good(number) for number in (1, 2, 3))
            if good >= 2 and fallen:
                self.again_us = now_us()
            fallen = fallen or good < 2
            time.sleep(POLL_S)


def after_ms(moment_us: Optional[int], fault_us: int) -> Optional[float]:
    return round((moment_us - fault_us) / 1000, 2) if moment_us else None


def measure(arm: Any, options: argparse.Namespace) -> Json:
    good = good_hash()
    asking = [race.Client(False, options.rate, good), race.Client(True, options.rate, good)]
    end_us = now_us() + options.seconds * 1_000_000
    with tempfile.TemporaryDirectory(dir=layout.KEEPER) as folder:
        for client in asking:
            client.start(pathlib.Path(folder), options.seconds)
        wait_for("good answers to both clients", lambda: all(client.is_served() for client in asking), options.seconds)
        time.sleep(random.Random(options.seed).uniform(0, race.PHASE_S))  # a fault does not wait for anybody's check
        fault_us = FAULTS[options.fault](arm)
        looking = None
        if options.arm != race.OURS:
            looking = Whole(good, end_us)
            looking.start()
        rows = {client.name: race.seen(client.requests(), fault_us) for client in asking}
    told = arm.told()
    if looking:
        looking.join()
        told["whole_us"] = looking.again_us
    return {**{key.replace("_us", "_ms"): after_ms(value, fault_us) for key, value in told.items()}, **rows}


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
    finally:
        arm.stop()
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
