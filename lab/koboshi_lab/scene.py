"""One staged fault from first to last: whole device, strike, incident, whole device again; and the figures of it.

All times come from CLOCK_MONOTONIC of the one machine that holds the lab, the device and the clients, so they compare.
"""
import dataclasses
import os
import re
import signal
from typing import Any, Callable, Optional

from . import api, clients, guest, layout
from .faults import Fault
from .shell import LabError, Progress, now_us, wait_for

ROLES = ("active", "standby", "spare")
CLOSE_SECONDS = 120
SETTLE_SECONDS = 10  # clients must be served well for this long at most before the next fault; then it is said
TIMES = {"steered_ms": "steered_us", "standby_restored_ms": "standby_us", "spare_restored_ms": "spare_us"}
Json = dict[str, Any]


@dataclasses.dataclass
class Scene:
    fault: str
    text: str
    fault_us: int
    before: Json  # status
    after: Json
    incidents: list[Json]
    view: clients.View
    killed: list[str]

    @property
    def incident(self) -> Json:
        return self.incidents[0] if self.incidents else {}

    @property
    def victim(self) -> Json:
        """As it was before the fault, components and all."""
        return api.active(self.before)

    def after_ms(self, key: str) -> Optional[float]:
        """Milliseconds from the fault to a moment of the incident; None if it never came."""
        return self.first_ms(lambda incident: incident.get(key))

    def first_ms(self, moment: Callable[[Json], Optional[int]]) -> Optional[float]:
        first_us = next(filter(None, map(moment, self.incidents)), None)
        return round((first_us - self.fault_us) / 1000, 1) if first_us else None

    def report(self) -> Json:
        active, victim = api.active(self.after), self.victim
        successor = self.successor()
        return {
            "fault": self.fault,
            "detected_ms": self.first_ms(api.decided_us),
            **{name: self.after_ms(key) for name, key in TIMES.items()},
            "requests": self.view.requests,
            "failed": self.view.failed,
            "failed_kinds": self.view.kinds,
            "max_gap_ms": round(self.view.max_gap_ms, 1),
            "first_failed_ms": self.client_ms(self.view.first_failed_us),
            "served_again_ms": self.client_ms(self.view.again_us),
            "p50_ms": round(self.view.p50_ms, 2),
            "p99_ms": round(self.view.p99_ms, 2),
            "victim": name_of(victim),
            "active": name_of(active),
            "shared_components": api.shared(victim, successor),
            "incidents": [incident["number"] for incident in self.incidents],
            "verdicts": [incident.get("verdict") for incident in self.incidents],
            "killed": self.killed,
        }

    def successor(self) -> Json:
        """Whoever serves now, with its components."""
        return api.active(self.after)

    def client_ms(self, moment_us: Optional[int]) -> Optional[float]:
        return round((moment_us - self.fault_us) / 1000, 1) if moment_us else None


def name_of(instance: Json) -> Json:
    return {"number": instance["number"], "variant": instance["variant"]}


def numbers(status: Json) -> set[int]:
    return {instance["number"] for instance in api.service_of(status)["instances"]}


def settle(asking: clients.Clients) -> None:
    """Lets the last boot's load fade: a second without a failed or late answer, and koboshid no longer says that the host is busy
    (then missed probes count for less, on purpose)."""
    begin = now_us()

    def calm() -> bool:
        since = max(begin, now_us() - 1_000_000)
        recent = [r for r in asking.requests() if r.end_us >= since]
        if now_us() - begin <= 1_000_000 or not recent or not all(r.good and r.latency_ms < 250 for r in recent):
            return False
        return not (api.try_call("GET", "/v1/status") or {}).get("busy")

    with Progress("the clients' answers settle"):
        try:
            wait_for("calm", calm, SETTLE_SECONDS, 0.2)
        except LabError:
            print("  (the machine is busy: answers are still slow before this fault)", flush=True)


def closed_since(first: int, victim: int) -> Optional[list[Json]]:
    """All incidents from `first` on, once each of them is closed and the victim is no longer what is served."""
    try:
        found = sorted(i["number"] for i in api.incidents() if i["number"] >= first)
        stories = [api.incident(number) for number in found]
        status = api.call("GET", "/v1/status")
    except (OSError, ValueError, LabError):
        return None
    moved = api.service_of(status)["active"] != victim
    return stories if stories and moved and all(story.get("closed") for story in stories) else None


def wait_closed(first: int, victim: int) -> list[Json]:
    with Progress("the incident is worked on") as progress:
        def look() -> Optional[list[Json]]:
            progress(api.summary(api.try_call("GET", "/v1/status")))
            return closed_since(first, victim)

        return wait_for("the end of the incident", look, CLOSE_SECONDS, 0.1)


def kill_in_the_middle(fault_us: int, delay_ms: float) -> list[str]:
    """kill -9 of all of koboshid, `delay_ms` after the fault."""
    wait_for("the moment to kill", lambda: now_us() >= fault_us + delay_ms * 1000, 10, 0.0005)
    return api.kill_koboshi()


def play(asking: clients.Clients, fault: Fault, kill_ms: Optional[float] = None, name: str = "") -> Scene:
    """Stages `fault` on the active instance and waits until the device is whole again. With `kill_ms` all of koboshid is
    killed that long after the fault."""
    before = api.wait_whole()
    settle(asking)
    before = api.wait_whole()
    first, victim = api.newest_incident() + 1, api.active(before)["number"]
    fault_us = fault.strike(victim)
    killed = kill_in_the_middle(fault_us, kill_ms) if kill_ms is not None else []
    stories = wait_closed(first, victim)
    after = api.wait_whole(what="all roles are held again")
    asking.wait_good(now_us(), 10)
    seen = clients.view(asking.requests(), fault_us, now_us())
    return Scene(name or fault.name, fault.text, fault_us, before, after, stories, seen, killed)


def remaining_guests() -> list[int]:
    """Numbers of the guests that have a process."""
    folder = layout.RUN / "guest"
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(n) for n in names if n.isdigit() and guest.qemu_pid(int(n)))


def configured(change: Callable[[str], str], roles: tuple[str, ...]) -> Json:
    """The device with another configuration, when these roles are held and nobody comes or goes; its status."""
    text = change(layout.config_text())
    user = re.search("^user: .*$", layout.CONFIG.read_text(encoding="utf-8"), re.M)
    layout.CONFIG.write_text(re.sub("^user: .*$", user[0] if user else "", text, flags=re.M), encoding="utf-8")
    for pid, name in api.koboshi_pids().items():
        if name == "koboshid":
            os.kill(pid, signal.SIGHUP)

    def look() -> Json:
        status = api.try_call("GET", "/v1/status") or {}
        held = [one for one in api.service_of(status)["instances"] if one["verdict"] == "healthy" or one["state"] == "paused"] if status else []
        return status if sorted(one["role"] for one in held) == sorted(roles) and len(held) == len(api.service_of(status)["instances"]) else {}

    return wait_for(f"the roles {roles}", look, 180, 0.2)
