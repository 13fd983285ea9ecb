"""Who races: Koboshi in two settings, and what people use today (lab/baselines), each behind the same few calls."""
import dataclasses
import hashlib
import os
import pathlib
import subprocess
import threading
import time
from typing import Any, Callable, Optional, Protocol

from . import api, layout
from .cell_device import Device, ENGINE, NET_PROGRAM
from .cells import Bridge, Cell, ON_STANDBY
from .group import Group
from .shell import LabError, now_us, run, wait_for
from .watch import HAPROXY_MOVES, HAPROXY_NOTICES, KEEPALIVED_NOTICES, LOOP_NOTICES, logs, MASTER, Watch, Words

OURS, FAST = "koboshi", "koboshi-fast"
PLANNED = "planned"  # nothing is wrong: the arm is asked to hand over
NOTHING = "nothing"  # happens: what the clients see then belongs to no fault
WHOLE_S = 10  # after the fault; who had nobody in the victim's place by then never has
Json = dict[str, Any]


@dataclasses.dataclass
class Told:
    """What an arm did about a fault, in microseconds of the monotonic clock; None: it did not."""
    detected_us: Optional[int] = None  # it says that something is wrong
    moved_us: Optional[int] = None  # the clients were led elsewhere
    redundant_us: Optional[int] = None  # two proven ones are there again
    whole_us: Optional[int] = None  # as many as before the fault
    story: Optional[Json] = None  # the incident, as its own record has it


class Arm(Protocol):
    """Something that keeps the service's address answered."""
    name: str
    group: Group  # its processes, and nobody else's

    def start(self) -> None: ...
    def active(self) -> Cell: ...
    def strike(self, fault: str) -> int:
        """The moment just before; from it on it is watched."""
    def settled_us(self, fault_us: int) -> Optional[int]:
        """When it had done the last of what it does about the fault; None: not yet, or never."""
    def told(self, fault_us: int) -> Told:
        """After the clients have ended; waits until WHOLE_S after the fault for what may still come."""
    def stop(self) -> None: ...
    def version(self) -> str: ...
    def settings(self) -> str:
        """What of its configuration is not its default, in a few words."""


class Ours:
    """The engine and koboshi-net are counted; what koboshid's other processes take, lab/bench measures."""

    def __init__(self, name: str, probe: str):
        self.name, self.probe = name, probe
        self.device, self.group = Device(probe), Group()
        self.was_active, self.expected = 0, True  # that something is done

    def start(self) -> None:
        self.device.start()
        for pid in self.device.pids():
            self.group.add(pid)

    def active(self) -> Cell:
        return self.device.active()

    def strike(self, fault: str) -> int:
        self.was_active = self.device.active_number()
        self.expected = fault != NOTHING
        if not self.expected:
            return now_us()
        if fault == PLANNED:
            begin_us = now_us()
            self.device.switch()
            return begin_us
        return (self.device.standby() if fault in ON_STANDBY else self.device.active()).strike(fault)

    def settled_us(self, fault_us: int) -> Optional[int]:
        if not self.expected:
            return fault_us
        story = self.device.story(fault_us)
        if not story or not story["closed"]:
            return None
        return max(story[name] or 0 for name in ("verdict_us", "steered_us", "standby_us", "spare_us"))

    def told(self, fault_us: int) -> Told:
        try:
            wait_for("the end of it", lambda: self.settled_us(fault_us), WHOLE_S - (now_us() - fault_us) / 1e6, 0.05)
        except LabError:
            pass  # then it has none
        story = self.device.story(fault_us)
        if not story:
            return Told()
        told = Told(api.decided_us(story), story["steered_us"], story["standby_us"], story["spare_us"], story)
        if story["verdict"] in api.NOBODY_FELL and story["closed"]:  # nobody fell: they were there all the time
            told.redundant_us = told.whole_us = fault_us
        if self.was_active == self.device.active_number():
            told.moved_us = None
        return told

    def stop(self) -> None:
        try:
            self.device.stop()
        finally:
            self.group.remove()

    def version(self) -> str:
        """With the sum of the two programs: another build is another version."""
        sums = hashlib.sha256(ENGINE.read_bytes() + NET_PROGRAM.read_bytes()).hexdigest()
        return f"{run(layout.CLI, '--version').strip()} ({sums[:8]})"

    def settings(self) -> str:
        return f"probe: {{{self.probe}}}"


class Restarts(threading.Thread):
    """A guest's name on this pipe means that its monit restarts the server there."""

    def __init__(self, path: pathlib.Path, bridge: Bridge):
        super().__init__(daemon=True)
        self.bridge = bridge
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        self.pipe = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # our own end keeps it open: who writes never waits
        self.start()

    def run(self) -> None:
        while (names := os.read(self.pipe, 4096).decode(errors="replace").split()) != ["end"]:
            for name in set(names) & set(self.bridge.cells):
                self.bridge.cells[name].serve_anew()

    def end(self) -> None:
        os.write(self.pipe, b"end\n")
        self.join()
        os.close(self.pipe)


# By script: whose guests are its own, and what the first line of which logs means.
GUESTS = {"haproxy": ("g1", "g2"), "keepalived": ("g1", "g2"), "paper": ("g1", "g2", "g3")}
LOGS: dict[str, Words] = {
    "haproxy": {"detected": ("haproxy", HAPROXY_NOTICES), "moved": ("haproxy", HAPROXY_MOVES)},
    "keepalived": {"detected": ("keepalived-g1 keepalived-g2", KEEPALIVED_NOTICES), "moved": ("keepalived-g2", MASTER)},
    "paper": {"detected": ("loop keepalived-g2 keepalived-g3", LOOP_NOTICES), "moved": ("keepalived-g2 keepalived-g3", MASTER)},
}


class Baseline:
    """One of lab/baselines, in one of its styles."""

    def __init__(self, script: str, style: str):
        self.script, self.bridge, self.group = layout.ROOT / "lab/baselines" / script, Bridge(), Group()
        self.name, self.style, self.runs = f"{script} {style}", style, layout.KEEPER / "baseline"
        self.restarts: Optional[Restarts] = None
        self.watch: Optional[Watch] = None
        self.expected = True  # that something is done
        self.may_mend = style == "monit" or script == "paper"  # the others have nothing that could start anybody
        self.fooled = False  # what it says then is what somebody made it believe
        fifo = layout.KEEPER / "restart"
        self.environment = {**os.environ, "BASELINE_STYLE": style, "BASELINE_RUN": str(self.runs),
                            "BASELINE_PORTS": "g1=port-g1 g2=port-g2 g3=port-g3", "BASELINE_EXPECT": "sensor",
                            "BASELINE_RESTART": f"echo $BASELINE_GUEST > {fifo}"}
        self.fifo = fifo

    def do(self, what: str, counted: bool = False) -> str:
        done = subprocess.run([self.script, what], env=self.environment, capture_output=True, text=True, check=False, timeout=60,
                              stdin=subprocess.DEVNULL, preexec_fn=self.group.enter() if counted else None)
        if done.returncode:
            raise LabError(f"{self.name}: {what}: {(done.stderr or done.stdout).strip()}")
        return done.stdout.strip()

    def start(self) -> None:
        self.bridge.make()
        if self.style == "monit":
            self.restarts = Restarts(self.fifo, self.bridge)
        self.do("start", counted=True)

    def active(self) -> Cell:
        return self.bridge.cells["g1"] if self.script.name == "haproxy" else self.bridge.holder(layout.SERVICE4)

    def strike(self, fault: str) -> int:
        victim = self.bridge.cells["g2"] if fault in ON_STANDBY else self.active()
        self.fooled = fault == "claim" and self.script.name != "haproxy"
        name = self.script.name
        watch = self.watch = Watch([Bridge.ADDRESSES[guest] for guest in GUESTS[name]], logs(self.runs / name, LOGS[name]))
        watch.reader.start()
        self.expected = fault != NOTHING
        if not self.expected:
            return now_us()
        if fault == PLANNED:
            begin_us = now_us()
            self.do("rotate")
        else:
            begin_us = victim.strike(fault)
        watch.asker.start()
        return begin_us

    def settled_us(self, fault_us: int) -> Optional[int]:
        if not self.expected:
            return fault_us
        seen = self.watch.logs
        noticed_us = seen["detected"].seen_us or seen["moved"].seen_us
        if not noticed_us or not self.may_mend:
            return noticed_us
        return self.watch.redundant_us and max(noticed_us, self.watch.redundant_us)

    def told(self, fault_us: int) -> Told:
        self.watch.end(time.monotonic() + WHOLE_S - (now_us() - fault_us) / 1e6 if self.may_mend and self.expected else 0)
        seen = self.watch.logs
        return Told(None if self.fooled else seen["detected"].seen_us, seen["moved"].seen_us, self.watch.redundant_us, self.watch.whole_us)

    def stop(self) -> None:
        try:
            if self.watch:
                self.watch.end()
            self.do("stop")
            if self.restarts:
                self.restarts.end()
        finally:
            self.bridge.remove()
            self.group.remove()

    def version(self) -> str:
        return self.do("version")

    def settings(self) -> str:
        return f"lab/baselines/{self.script.name}, style {self.style}"


ARMS: dict[str, Callable[[], Arm]] = {
    OURS: lambda: Ours(OURS, "challenge: no"),
    FAST: lambda: Ours(FAST, "challenge: no, interval: 20ms, timeout: 40ms"),
    "haproxy-tuned": lambda: Baseline("haproxy", "tuned"),
    "haproxy-default": lambda: Baseline("haproxy", "default"),
    "keepalived-tuned": lambda: Baseline("keepalived", "tuned"),
    "keepalived-monit": lambda: Baseline("keepalived", "monit"),
    "keepalived-subsecond": lambda: Baseline("keepalived", "subsecond"),
    "keepalived-default": lambda: Baseline("keepalived", "default"),
    "paper-tuned": lambda: Baseline("paper", "tuned"),
}
HAS_NONE = {("paper-tuned", PLANNED)}  # the paper knows no planned hand-over


def is_ours(name: str) -> bool:
    return name in (OURS, FAST)

