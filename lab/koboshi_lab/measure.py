"""One run of the race: clients that ask at a constant rate, a fault in the middle, and what came of it."""
import argparse
import dataclasses
import hashlib
import json
import pathlib
import random
import subprocess
import tempfile
import time
from typing import Any, Optional

from . import api, clients, layout, network
from .arms import Arm, ARMS, HAS_NONE, Told
from .cells import PAGE
from .group import Window
from .shell import LabError, now_us, wait_for

BEFORE = 50  # good answers of each client before the fault
START_S = 10  # who does not serve by then cannot be raced
BUSY_S = 0.5  # so long at the least is looked at what an arm takes under load
PHASE_S = 1.0  # who checks once a second is met at any point of it
CALM_S = 1.0  # a run is over when all has been well for so long; no request hangs longer than that unseen (TIMEOUT_MS)
TIMEOUT_MS = 1000
LOOK_EVERY_S = 0.05
FRESH_US = 200_000  # who had no answer for so long is not well
LATE_MS = 100
TENTH_US = 100000
LAST_TENTHS = 5  # the end of a run: who is not served well there was not helped
STRAY = 0.05  # of a tenth's requests may be bad: a busy machine's
Json = dict[str, Any]


@dataclasses.dataclass
class Client:
    keep_alive: bool
    rate: int
    target: str = layout.SERVICE4
    good: str = hashlib.sha256(PAGE).hexdigest()  # sum of the only right page
    read: int = 0  # bytes of what it has written

    def start(self, folder: pathlib.Path, seconds: int) -> None:
        self.name = "kept" if self.keep_alive else "new"
        self.csv, self.json, self.seconds = folder / f"{self.name}.csv", folder / f"{self.name}.json", seconds
        self.process = subprocess.Popen(network.client_exec(
            layout.LOAD, "--target", self.target, "--port", layout.PORT, "--rate", self.rate, "--seconds", seconds, "--path", "/",
            "--timeout", TIMEOUT_MS, "--late", LATE_MS, "--name", self.name, "--csv", self.csv, "--json", self.json,
            "--good", self.good, *(["--keep-alive"] if self.keep_alive else [])), stdout=subprocess.DEVNULL)

    def is_served(self) -> bool:
        try:
            return sum(one.good for one in clients.parse(self.name, self.csv.read_text(encoding="ascii"))) >= BEFORE
        except FileNotFoundError:
            return False

    def news(self) -> list[clients.Request]:
        """What has ended since this was asked before."""
        with open(self.csv, "rb") as file:
            head = file.readline()
            file.seek(max(self.read, len(head)))
            text = file.read()
            whole = text[:text.rfind(b"\n") + 1]
            self.read = file.tell() - len(text) + len(whole)
        return clients.parse(self.name, (head + whole).decode("ascii"))

    def stop(self) -> None:
        """It asks no more, and ends with the last answer that it waits for."""
        self.process.terminate()

    def requests(self) -> list[clients.Request]:
        if self.process.wait(self.seconds + 30):
            raise LabError(f"the client '{self.name}' ended with status {self.process.returncode}")
        return clients.parse(self.name, self.csv.read_text(encoding="ascii"))

    def was_realtime(self) -> bool:
        """After its end: whether it ran ahead of all else, as another machine would."""
        return json.loads(self.json.read_text(encoding="ascii"))["realtime"]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Calm:
    """Whether clients are well, by what they have written since it was asked before."""

    def __init__(self, asking: list[Client], since_us: int):
        self.asking = asking
        self.good_us = {client.csv: since_us for client in asking}  # end of the newest good answer
        self.bad_us = since_us  # and of the newest of all that was not good in time

    def since_us(self) -> Optional[int]:
        """None: they are not well."""
        for client in self.asking:
            for one in client.news():
                if one.good and one.latency_ms <= LATE_MS:
                    self.good_us[client.csv] = max(self.good_us[client.csv], one.end_us)
                else:
                    self.bad_us = max(self.bad_us, one.end_us)
        return self.bad_us if min(self.good_us.values()) > now_us() - FRESH_US else None


def until_calm(arm: Arm, asking: list[Client], fault_us: int, seconds: float) -> None:
    """Until the arm has done what it does about a fault and all has been well for CALM_S since; `seconds` at the most."""
    calm, settled_us = Calm(asking, fault_us), None
    time.sleep(CALM_S)  # nobody is asked anything while it counts most
    while now_us() < fault_us + seconds * 1_000_000:
        settled_us = settled_us or arm.settled_us(fault_us)
        well_us = calm.since_us()
        if settled_us and well_us and now_us() > max(settled_us, well_us) + CALM_S * 1_000_000:
            return
        time.sleep(LOOK_EVERY_S)


def again_us(window: list[clients.Request]) -> Optional[int]:
    """End of the first good answer after the last tenth of a second in which more than a few requests failed or were late; 0: there was
    none. None: it went on to the end."""
    tenths: dict[int, list[clients.Request]] = {}
    for one in window:
        tenths.setdefault(one.due_us // TENTH_US, []).append(one)
    bad = {tenth: [one for one in asked if not one.good or one.latency_ms > LATE_MS] for tenth, asked in tenths.items()}
    last = max((tenth for tenth, ones in bad.items() if len(ones) > STRAY * len(tenths[tenth])), default=None)
    if last is None:
        return 0
    if last > max(tenths) - LAST_TENTHS:
        return None
    last_us = max(one.due_us for one in bad[last])
    return min((one.end_us for one in window if one.good and one.due_us > last_us), default=None)


def seen(requests: list[clients.Request], begin_us: int) -> Json:
    """What one client saw from the fault on."""
    window = [one for one in requests if one.end_us >= begin_us]
    kinds: dict[str, int] = {}
    for one in window:
        if not one.good:
            kinds[one.outcome] = kinds.get(one.outcome, 0) + 1
    end_us = max((one.end_us for one in requests), default=begin_us)
    back_us = again_us(window)
    return {"requests": len(window), "failed": sum(kinds.values()), "kinds": kinds,
            "late": sum(one.good and one.latency_ms > LATE_MS for one in window),
            "gap_ms": round(clients.longest_gap_ms(requests, begin_us, end_us), 2),
            "again_ms": None if back_us is None else round(max(0, back_us - begin_us) / 1000, 2)}


def wrong_after(requests: list[clients.Request], noticed_us: Optional[int]) -> Optional[int]:
    """Wrong answers to what was due after that moment. None: there was no such moment."""
    return None if noticed_us is None else sum(one.outcome == "wrong" and one.due_us >= noticed_us for one in requests)


def since(fault_us: int, at_us: Optional[int]) -> Optional[float]:
    return None if at_us is None else round(max(0, at_us - fault_us) / 1000, 2)


def budget(told: Told, fault_us: int, asked: list[clients.Request]) -> Optional[Json]:
    """Where the time went from the fault to the first good answer of the next guest, by Koboshi's own record of it: the first after it was
    decided, since the victim gives none by then. Such an answer may come before the firewall is read back and the victim's flows are cut."""
    story = told.story
    if not story or not told.moved_us:
        return None
    decided_us = api.decided_us(story)
    answered_us = min((one.end_us for one in asked if one.good and one.end_us >= decided_us), default=None)
    steered_us = min(story["steered_us"], answered_us or story["steered_us"])
    return {"evidence_ms": since(fault_us, story["first_evidence_us"]), "verdict_ms": since(fault_us, decided_us),
            "steered_ms": since(fault_us, steered_us), "answered_ms": since(fault_us, answered_us)}


def measure(arm: Arm, fault: str, options: argparse.Namespace, chance: random.Random, idle_s: float) -> Json:
    row: Json = {}
    if idle_s:
        window = Window(arm.group)
        time.sleep(idle_s)
        row["idle"] = window.end()
    target = layout.SERVICE6 if options.ipv6 else layout.SERVICE4
    asking = [Client(False, options.rate, target), Client(True, options.rate, target)]
    with tempfile.TemporaryDirectory(dir=layout.KEEPER) as folder:
        whole = Window(arm.group)
        try:
            for client in asking:
                client.start(pathlib.Path(folder), START_S + options.seconds + 5)
            wait_for("good answers to both clients", lambda: all(client.is_served() for client in asking), START_S)
            window = Window(arm.group)
            time.sleep(BUSY_S + chance.uniform(0, PHASE_S))  # a fault does not wait for anybody's check
            row["busy"] = window.end()
            fault_us = arm.strike(fault)
            until_calm(arm, asking, fault_us, options.seconds)
            for client in asking:
                client.stop()
            asked = {client.name: client.requests() for client in asking}
            row["realtime"] = all(client.was_realtime() for client in asking)
        finally:
            for client in asking:
                client.end()
        row["run"] = whole.end()
    told = arm.told(fault_us)
    times = {f"{name}_ms": since(fault_us, getattr(told, f"{name}_us")) for name in ("detected", "moved", "redundant", "whole")}
    return {**row, **times, "budget": budget(told, fault_us, asked["new"]),
            **{name: {**seen(requests, fault_us), "wrong_after": wrong_after(requests, told.detected_us)} for name, requests in asked.items()}}


def play(name: str, fault: str, options: argparse.Namespace, chance: random.Random, idle_s: float = 0) -> Json:
    if (name, fault) in HAS_NONE:
        return {"arm": name, "fault": fault, "has_none": True}
    arm = ARMS[name]()
    try:
        arm.start()
        return {"arm": name, "fault": fault, **measure(arm, fault, options, chance, idle_s)}
    finally:
        arm.stop()
