"""The race: Koboshi and what people use today, with the same faults, the same clients and cells for guests, in turns.

Runs inside a world without guests; lab/race starts it there. Each round plays every fault once on every arm, in random order; each
run begins with an arm that was just started. Nothing passes or fails by its speed: figures are written down, each run of them.
"""
import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Optional, Protocol

from . import bench, clients, layout, network
from .cell_device import Device
from .cells import Bridge, Cell, FAULTS, PAGE
from .shell import guarded, LabError, Progress, run, wait_for

TARGET = layout.BUILD / "race"
OURS = "koboshi"
BEFORE = 50  # good answers of each client before the fault
PHASE_S = 1.0  # who checks once a second is met at any point of it
LATE_MS = 100
Json = dict[str, Any]


class Arm(Protocol):
    """Something that keeps the service's address answered."""
    name: str

    def start(self) -> None: ...
    def active(self) -> Cell: ...
    def moved_us(self) -> Optional[int]:
        """When it had led the clients elsewhere; None: it did not, or does not say."""
    def stop(self) -> None: ...
    def version(self) -> str: ...


class Ours:
    name = OURS

    def __init__(self) -> None:
        self.device = Device()

    def start(self) -> None:
        self.device.start()

    def active(self) -> Cell:
        return self.device.active()

    def moved_us(self) -> Optional[int]:
        newest = self.device.newest_incident()
        return self.device.steered_us(newest) if newest else None

    def stop(self) -> None:
        self.device.stop()

    def version(self) -> str:
        return run(layout.CLI, "--version").strip()


class Baseline:
    """One of lab/baselines, in one of its styles."""

    def __init__(self, script: str, style: str):
        self.script, self.bridge = layout.ROOT / "lab/baselines" / script, Bridge()
        self.name = f"{script} {style}"
        self.environment = {**os.environ, "BASELINE_STYLE": style, "BASELINE_RUN": str(layout.KEEPER / "baseline"),
                            "BASELINE_PORTS": "g1=port-g1 g2=port-g2 g3=port-g3", "BASELINE_EXPECT": "sensor"}

    def do(self, what: str) -> str:
        done = subprocess.run([self.script, what], env=self.environment, capture_output=True, text=True, check=False, timeout=60,
                              stdin=subprocess.DEVNULL)
        if done.returncode:
            raise LabError(f"{self.name}: {what}: {(done.stderr or done.stdout).strip()}")
        return done.stdout.strip()

    def start(self) -> None:
        self.bridge.make()
        self.do("start")

    def active(self) -> Cell:
        return self.bridge.cells["g1"] if self.script.name == "haproxy" else self.bridge.holder(layout.SERVICE4)

    def moved_us(self) -> Optional[int]:
        return None

    def stop(self) -> None:
        try:
            self.do("stop")
        finally:
            self.bridge.remove()

    def version(self) -> str:
        return self.do("version")


ARMS: dict[str, Callable[[], Arm]] = {
    OURS: Ours,
    "haproxy-tuned": lambda: Baseline("haproxy", "tuned"),
    "haproxy-default": lambda: Baseline("haproxy", "default"),
    "keepalived-tuned": lambda: Baseline("keepalived", "tuned"),
    "keepalived-default": lambda: Baseline("keepalived", "default"),
    "paper-tuned": lambda: Baseline("paper", "tuned"),
}

# --- one run


@dataclasses.dataclass
class Client:
    keep_alive: bool
    rate: int

    def start(self, folder: pathlib.Path, seconds: int) -> None:
        self.name = "kept" if self.keep_alive else "new"
        self.csv = folder / f"{self.name}.csv"
        self.process = subprocess.Popen(network.client_exec(
            layout.LOAD, "--target", layout.SERVICE4, "--port", layout.PORT, "--rate", self.rate, "--seconds", seconds, "--path", "/",
            "--timeout", 1000, "--late", LATE_MS, "--name", self.name, "--csv", self.csv, "--json", folder / f"{self.name}.json",
            "--good", hashlib.sha256(PAGE).hexdigest(), *(["--keep-alive"] if self.keep_alive else [])), stdout=subprocess.DEVNULL)

    def is_served(self) -> bool:
        try:
            return sum(one.good for one in clients.parse(self.name, self.csv.read_text(encoding="ascii"))) >= BEFORE
        except FileNotFoundError:
            return False

    def requests(self) -> list[clients.Request]:
        if self.process.wait(30):
            raise LabError(f"the client '{self.name}' ended with status {self.process.returncode}")
        return clients.parse(self.name, self.csv.read_text(encoding="ascii"))


def seen(requests: list[clients.Request], begin_us: int) -> Json:
    """What one client saw from the fault on."""
    window = [one for one in requests if one.end_us >= begin_us]
    kinds: dict[str, int] = {}
    for one in window:
        if not one.good:
            kinds[one.outcome] = kinds.get(one.outcome, 0) + 1
    end_us = max((one.end_us for one in requests), default=begin_us)
    return {"requests": len(window), "failed": sum(kinds.values()), "kinds": kinds,
            "late": sum(one.good and one.latency_ms > LATE_MS for one in window),
            "gap_ms": round(clients.longest_gap_ms(requests, begin_us, end_us), 2)}


def play(name: str, fault: str, options: argparse.Namespace, chance: random.Random) -> Json:
    arm = ARMS[name]()
    try:
        arm.start()
        return {"arm": name, "fault": fault, **measure(arm, fault, options, chance)}
    finally:
        arm.stop()


def measure(arm: Arm, fault: str, options: argparse.Namespace, chance: random.Random) -> Json:
    asking = [Client(False, options.rate), Client(True, options.rate)]
    with tempfile.TemporaryDirectory(dir=layout.KEEPER) as folder:
        for client in asking:
            client.start(pathlib.Path(folder), options.seconds)
        wait_for("good answers to both clients", lambda: all(client.is_served() for client in asking), options.seconds)
        time.sleep(chance.uniform(0, PHASE_S))  # a fault does not wait for anybody's check
        victim = arm.active()
        fault_us = victim.strike(fault)
        rows = {client.name: seen(client.requests(), fault_us) for client in asking}
    moved_us = arm.moved_us()
    return {"moved_ms": round((moved_us - fault_us) / 1000, 2) if moved_us else None, **rows}


# --- all of them


def rounds(options: argparse.Namespace) -> list[Json]:
    chance, rows = random.Random(options.seed), []
    runs = [(name, fault) for name in options.arms for fault in options.faults]
    for number in range(1, options.rounds + 1):
        with Progress(f"round {number} of {options.rounds}") as progress:
            for name, fault in chance.sample(runs, len(runs)):
                progress(f"{name}, {fault}")
                rows.append({"round": number, **play(name, fault, options, chance)})
    return rows


def table(rows: list[Json]) -> str:
    lines = [f"  {'arm':<20}{'fault':<10}{'n':>4}" + "".join(f"{head:>24}" for head in ("new: gap ms", "new: failed", "kept: gap ms", "kept: failed"))]
    for arm, fault in sorted({(row["arm"], row["fault"]) for row in rows}):
        mine = [row for row in rows if (row["arm"], row["fault"]) == (arm, fault)]
        cells = [bench.cell(bench.spread([row[client][what] for row in mine])) for client in ("new", "kept") for what in ("gap_ms", "failed")]
        lines.append(f"  {arm:<20}{fault:<10}{len(mine):>4}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def arguments(argv: Optional[list[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab/race", description="Koboshi beside what people use today, with cells for guests.")
    parser.add_argument("--rounds", type=int, default=30, help="each plays every fault once for every arm (30)")
    parser.add_argument("--arms", nargs="+", choices=sorted(ARMS), default=list(ARMS), help="who races (all)")
    parser.add_argument("--faults", nargs="+", choices=sorted(FAULTS), default=sorted(FAULTS), help="what happens (all)")
    parser.add_argument("--rate", type=int, default=500, help="requests a second of each of two clients (500)")
    parser.add_argument("--seconds", type=int, default=6, help="so long the clients ask in a run (6)")
    parser.add_argument("--seed", type=int, default=1, help="of the random order (1)")
    return parser.parse_args(argv)


def main() -> int:
    options = arguments()
    rows = rounds(options)
    report = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": bench.machine(), "options": {**vars(options), "random_phase": True}, "versions": {name: ARMS[name]().version() for name in options.arms}, "runs": rows}
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    print(f"\n  written to {TARGET / 'report.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
