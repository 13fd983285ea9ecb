"""Who races before real guests, and what is done to these: Koboshi as it is, and lab/baselines on guests of the same images.

Used inside a world that is of one run only; with its end everything ends.
"""
import dataclasses
import functools
import hashlib
import json
import operator
import os
import re
import signal
import subprocess
from typing import Any, Callable, Optional

from . import api, guest, layout
from .arms import NOTHING
from .faults import FAULTS as LINES, signalled
from .shell import cmdline, LabError, now_us, processes, run
from .watch import HAPROXY_MOVES, HAPROXY_NOTICES, KEEPALIVED_NOTICES, logs, LOOP_NOTICES, MASTER, Watch, Words

Json = dict[str, Any]
BASELINES = layout.ROOT / "lab/baselines"
SCRIPT_SECONDS = 180  # guests boot in one


@dataclasses.dataclass(frozen=True)
class Victim:
    """A guest as the faults need it."""
    number: int  # of its way in: layout.RUN/guest/NUMBER/lab.sock
    domain: str
    link: str

    def process(self) -> int:
        """Its emulator."""
        name = re.compile(rf"guest={self.domain}(,|$)")
        for pid in processes():
            words = cmdline(pid)
            if words and any("qemu-system" in word for word in words[:5]) and any(name.match(word) for word in words):
                return pid
        raise LabError(f"the guest {self.domain} has no process")


class Ours:
    """koboshid has been started by the world's process 1."""
    def start(self) -> None:
        api.wait_whole(240)

    def listen(self, _fault: str) -> None:
        """What it says from now on is about the fault."""
        self.before = api.newest_incident()

    def numbered(self, number: int) -> Victim:
        return Victim(number, f"kb-{number}", f"kb{number}")

    def active(self) -> Victim:
        return self.numbered(api.active(api.call("GET", "/v1/status"))["number"])

    def other(self) -> Victim:
        return self.numbered(api.holder(api.call("GET", "/v1/status"), "standby")["number"])

    def plan(self) -> int:
        at = now_us()
        api.call("POST", "/v1/switch", {"service": layout.SERVICE})
        return at

    def moment(self, of: Callable[[Json], Optional[int]]) -> Optional[int]:
        """Of the first incident that has it."""
        stories = map(api.incident, range(self.before + 1, api.newest_incident() + 1))
        return next(filter(None, map(of, stories)), None)

    def told(self) -> Json:
        names = {"moved_us": "steered_us", "redundant_us": "standby_us", "whole_us": "spare_us"}
        return {"detected_us": self.moment(api.decided_us), **{name: self.moment(operator.methodcaller("get", key)) for name, key in names.items()}}

    def stop(self) -> None:
        pass  # with the world

    def version(self) -> str:
        """With the sum of the programs that matter: another build is another version."""
        sums = hashlib.sha256(b"".join((layout.BUILD / layout.PROGRAMS[name]).read_bytes() for name in ("koboshi-engine", "koboshi-net", "koboshi-vm")))
        return f"{run(layout.CLI, '--version').strip()} ({sums.hexdigest()[:8]})"


# What the first line in which logs means; what is said in a guest stands on its console.
LOGS: dict[str, Words] = {
    "haproxy": {"detected": ("haproxy/haproxy", HAPROXY_NOTICES), "moved": ("haproxy/haproxy", HAPROXY_MOVES)},
    "keepalived": {"detected": ("guests/g1/console guests/g2/console", KEEPALIVED_NOTICES), "moved": ("guests/g2/console", MASTER)},
    "guest-paper": {"detected": ("guest-paper/loop guests/g2/console guests/g3/console", LOOP_NOTICES),
                    "moved": ("guests/g2/console guests/g3/console", MASTER)},
    "pacemaker": {"detected": ("pacemaker/pacemaker guests/g2/console guests/g3/console", rf"Result of monitor operation for g\d on host: (?!ok)|{MASTER}"),
                  "moved": ("guests/g2/console guests/g3/console", MASTER)},
    "systemd": {"detected": ("guests/g1/console", "Watchdog timeout|Main process exited")},  # it knows nowhere to move to
}


def heard(words: Words, fault: str) -> Words:
    """By a claim keepalived says what it was made to believe: that it moved, but not that it noticed anything."""
    files, line = words["detected"]
    believed = fault == "claim"
    return {**words, "detected": (" ".join(file for file in files.split() if not (believed and file.endswith("/console"))), line)}


class Baseline:
    """`guests` with one of its styles, and before or beside them another script, if any."""
    def __init__(self, guests: str, script: str = "", style: str = ""):
        self.runs, self.words = layout.KEEPER / "baseline", LOGS[script or guests.split("-")[0]]
        shared = {**os.environ, "BASELINE_RUN": str(self.runs), "BASELINE_LAB": str(layout.RUN / "guest"), "BASELINE_EXPECT": "Sensor"}
        self.scripts = [("guests", {**shared, "BASELINE_STYLE": guests})]
        if script:
            self.scripts.append((script, {**shared, "BASELINE_STYLE": style}))

    def do(self, name: str, environment: dict, what: str) -> str:
        done = subprocess.run([BASELINES / name, what], env=environment, capture_output=True, text=True, check=False,
                              timeout=SCRIPT_SECONDS, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise LabError(f"{name} {what}: {(done.stderr or done.stdout).strip()}")
        return done.stdout.strip()

    def start(self) -> None:
        for name, environment in self.scripts:
            self.do(name, environment, "start")

    def listen(self, fault: str) -> None:
        """What it says from now on is about the fault."""
        self.watch = Watch([], logs(self.runs, heard(self.words, fault)))
        self.watch.reader.start()

    def numbered(self, number: int) -> Victim:
        return Victim(number, f"g{number}", f"port-g{number}")

    def active(self) -> Victim:
        """Whose card the host knows for the service's address; where the host itself has it, g1 is asked."""
        found = re.search(r"lladdr \S+:0(\d)", run("ip", "neigh", "show", layout.SERVICE4, "dev", "br0"))
        return self.numbered(int(found[1]) if found else 1)

    def other(self) -> Victim:
        return self.numbered(2 if self.active().number == 1 else 1)

    def plan(self) -> int:
        """As their manuals have it: HAProxy is told to drain a server, keepalived in the guest is ended and says so to the others."""
        name, environment = self.scripts[-1]
        if name == "haproxy":
            at = now_us()
            self.do(name, environment, "rotate")
            return at
        return guest.strike(self.active().number, "killall -TERM keepalived")

    def told(self) -> Json:
        """They do not say when guests are there again; redundant_us is looked for."""
        self.watch.end()
        return {"detected_us": None, "moved_us": None, "whole_us": None, **{f"{name}_us": log.seen_us for name, log in self.watch.logs.items()}}

    def stop(self) -> None:
        for name, environment in reversed(self.scripts):
            self.do(name, environment, "stop")

    def version(self) -> str:
        return "; ".join(self.do(name, environment, "version") for name, environment in self.scripts)


ARMS: dict[str, Callable[[], Any]] = {
    "koboshi": Ours,
    "haproxy-tuned": lambda: Baseline("plain", "haproxy", "tuned"),
    "haproxy-default": lambda: Baseline("plain", "haproxy", "default"),
    "keepalived-default": lambda: Baseline("keepalived-default"),
    "keepalived-subsecond": lambda: Baseline("keepalived-subsecond"),
    "keepalived-tuned": lambda: Baseline("keepalived-tuned"),
    "keepalived-monit": lambda: Baseline("keepalived-monit"),
    "paper-default": lambda: Baseline("paper-default", "guest-paper", "default"),
    "paper-delay": lambda: Baseline("paper-default", "guest-paper", "delay"),
    "paper-poll1": lambda: Baseline("paper-default", "guest-paper", "poll1"),
    "paper-tuned": lambda: Baseline("paper-tuned", "guest-paper", "tuned"),
    "pacemaker-default": lambda: Baseline("paper-tuned", "pacemaker", "default"),
    "pacemaker-tuned": lambda: Baseline("paper-tuned", "pacemaker", "tuned"),
    "systemd-restart": lambda: Baseline("systemd-restart"),
    "systemd-watchdog": lambda: Baseline("systemd-watchdog"),
}


# --- what is done to the guest that serves


def inside(line: str) -> Callable[[Any], int]:
    return lambda arm: guest.strike(arm.active().number, line)


def emulator(number: int) -> Callable[[Any], int]:
    def act(arm: Any) -> int:
        pid = arm.active().process()
        at = now_us()
        os.kill(pid, number)
        return at

    return act


def unplug(arm: Any) -> int:
    link = arm.active().link
    at = now_us()
    run("ip", "link", "set", link, "down")
    return at


OWNED = LINES["tamper"].line
FAULTS: dict[str, Callable[[Any], int]] = {
    "closed": inside(LINES["close-port"].line),
    "dropped": inside("nft 'table inet fault { chain in { type filter hook input priority 0; tcp dport 80 drop; }; }'"),
    "hung": inside(signalled("server", "STOP")),
    "paused": emulator(signal.SIGSTOP),
    "killed": emulator(signal.SIGKILL),
    "panic": inside(LINES["panic"].line),
    "tampered": inside(OWNED),
    "slow": inside(LINES["slow"].line),
    "tap": unplug,
    "claim": lambda arm: guest.strike(arm.other().number, f"{OWNED}; {LINES['claim'].line}"),
    "planned": lambda arm: arm.plan(),
    NOTHING: lambda arm: now_us(),
}


# Systemd looks after one guest: there is nobody who could claim its address, and nobody to hand it over to.
HAS_NONE = {(arm, fault) for arm in ("systemd-restart", "systemd-watchdog") for fault in ("claim", "planned")}


@functools.cache
def good_hash() -> str:
    """Of the page that all variants serve."""
    for item in json.loads((layout.CACHE / layout.VARIANTS[0] / "manifest.json").read_text(encoding="utf-8"))["content"]:
        if item["path"] == "/":
            return item["sha256"]
    raise LabError(f"the manifest of {layout.VARIANTS[0]} knows no page")
