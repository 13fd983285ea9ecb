"""How it grows: one device with 2 to 32 instances of 1 to 16 services, with cells for guests.

Runs inside a world without guests; lab/scale starts it there. Each row is one device, started for it: whoever serves one of its
services is struck again and again, a random service each time, and what deciding and steering takes is read from the incident's
story and from the order that passes by; then it is left alone, and what its two programs cost is measured. Nothing passes or fails
by its speed.
"""
import argparse
import json
import math
import pathlib
import random
import statistics
import subprocess
import sys
import time
from typing import Any, Callable, Iterator, Optional

from . import bench, layout
from .cell_device import CellGuest, Device, Service
from .shell import guarded, LabError, Progress, run, wait_for

TARGET = layout.BUILD / "scale"
PLAN = layout.BUILD / "test/plan/bench-plan-step"
INSTANCES, SERVICES = (2, 4, 8, 16, 32), (1, 2, 4, 8, 16)
FAULT = "closed"
FLOWS = pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_count")
Json = dict[str, Any]


def device_of(instances: int, services: int) -> list[Service]:
    """Each service gets as many: one serves, one sleeps where there are three or more, the others stand by."""
    each = instances // services
    spare = 1 if each > 2 else 0
    return [Service(each - 1 - spare, spare) for _ in range(services)]


def rows_of(instances: list[int], services: list[int]) -> Iterator[tuple[int, int]]:
    """Whoever serves needs one that stands by: of fewer there is no row."""
    for n in sorted(set(instances)):
        for s in sorted(set(services)):
            if n >= 2 * s:
                yield n, s


def spread(values: list[float]) -> Json:
    return {"n": len(values), "median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


# --- faults

TIMES = ("fault_to_evidence_ms", "evidence_to_order_ms", "order_to_steered_ms")


def strike(device: Device, service: int) -> Json:
    """One fault of whoever serves it, until the device is whole again."""
    before, victim = device.newest_incident(), device.active(service)
    number = next(number for number, cell in CellGuest.cells.items() if cell is victim)
    fault_us = victim.strike(FAULT)
    incident = wait_for("an incident", lambda: (newest := device.newest_incident()) > before and newest, 30)
    wait_for("the switch", lambda: device.steered_us(incident), 30)
    device.wait_whole(60)
    story = device.engine.ask("GET", f"/v1/incidents/{incident}")[1]
    ordered_us = device.ordered_us(number)
    if story["victim"]["number"] != number or ordered_us is None:
        raise LabError(f"instance {number} was struck, but incident {incident} is about {story['victim']['number']}")
    return {"service": service, "fault_to_evidence_ms": round((story["first_evidence_us"] - fault_us) / 1000, 3),
            "evidence_to_order_ms": round((ordered_us - story["first_evidence_us"]) / 1000, 3),
            "order_to_steered_ms": round((story["steered_us"] - ordered_us) / 1000, 3)}


# --- cost


def cpu_ns(pid: int) -> int:
    """Of all its threads; finer than a clock tick."""
    return sum(int(path.read_text(encoding="ascii").split()[0]) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))


def idle(device: Device, seconds: float) -> Json:
    """While nothing happens and nobody asks."""
    pids = {"engine": device.engine.process.pid, "net": device.net.process.pid}
    time.sleep(1)  # what was built last is forgotten by then; there is no event to wait for
    before, begin = {name: cpu_ns(pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(seconds)
    took_ns = (time.monotonic() - begin) * 1e9
    return {name: {"cpu_percent": round(100 * (cpu_ns(pid) - before[name]) / took_ns, 3), **bench.memory_kb(pid)}
            for name, pid in pids.items()}


# --- a row

def settled(device: Device) -> int:
    """Whole, and nobody is on the way to be replaced by a better one either: so many live."""
    def living() -> Optional[int]:
        found = [one for service in device.engine.status()["services"] for one in service["instances"]]
        still = len(found) == device.instances and all(one["state"] in ("ready", "paused") for one in found)
        return len(found) if still else None

    return wait_for("that nobody is built or removed", living, 60, 0.1)


def measure(instances: int, services: int, options: argparse.Namespace, chance: random.Random) -> Json:
    device, begin = Device(services=device_of(instances, services), overhears=True, logs=TARGET), time.monotonic()
    try:
        device.start()
        built_s = time.monotonic() - begin
        settled(device)
        cost, flows = idle(device, options.idle), int(FLOWS.read_text(encoding="ascii"))
        raw = [strike(device, chance.randrange(services)) for _ in range(options.runs)]
        return {"instances": instances, "services": services, "living": settled(device),
                "built_s": round(built_s, 1), "flows": flows, **cost, **{name: spread([one[name] for one in raw]) for name in TIMES}, "raw": raw}
    finally:
        device.stop()


def plan_steps() -> Json:
    """What a step of the plan takes, without a world around it."""
    done = subprocess.run([PLAN], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{PLAN.name} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


# --- how it grows

FIGURES: dict[str, Callable[[Json], float]] = {
    "evidence_to_order_ms": lambda row: row["evidence_to_order_ms"]["median"],
    "order_to_steered_ms": lambda row: row["order_to_steered_ms"]["median"],
    "engine_cpu_percent": lambda row: row["engine"]["cpu_percent"],
    "net_cpu_percent": lambda row: row["net"]["cpu_percent"],
    "engine_rss_kb": lambda row: row["engine"]["rss_kb"],
    "net_rss_kb": lambda row: row["net"]["rss_kb"],
}


def exponent(points: list[tuple[float, float]]) -> Optional[float]:
    """The slope of a straight line through them, both axes logarithmic: 0: it does not grow, 1: in proportion. None: that cannot
    be said."""
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    return round(statistics.linear_regression([x for x, _ in logs], [y for _, y in logs]).slope, 3)


def exponents(rows: list[Json], plan: Json) -> Json:
    """By instances: of the fewest services; by services: of the most instances."""
    least, most = min(row["services"] for row in rows), max(row["instances"] for row in rows)
    found: Json = {name: {
        "instances": exponent([(row["instances"], figure(row)) for row in rows if row["services"] == least]),
        "services": exponent([(row["services"], figure(row)) for row in rows if row["instances"] == most])}
        for name, figure in FIGURES.items()}
    for name in plan["rows"][0]:
        if name != "instances":
            found[f"plan_{name}_us"] = {"instances": exponent([(row["instances"], row[name]["median_us"]) for row in plan["rows"]])}
    return found


def table(report: Json) -> str:
    def cell(one: Json) -> str:
        return f"{one['median']:.2f} / {one['max']:.2f}"

    lines = [f"  {'instances':>9}{'services':>9}{'evidence to order ms':>24}{'order to steered ms':>24}{'engine: % / MiB':>20}{'net: % / MiB':>20}"]
    for row in report["rows"]:
        costs = [f"{row[name]['cpu_percent']:.2f} / {row[name]['rss_kb'] / 1024:.1f}" for name in ("engine", "net")]
        lines.append(f"  {row['instances']:>9}{row['services']:>9}{cell(row['evidence_to_order_ms']):>24}"
                     f"{cell(row['order_to_steered_ms']):>24}{costs[0]:>20}{costs[1]:>20}")
    lines.append("\n  median / max; % of a core while nobody asks. Exponents (0: does not grow, 1: in proportion):")
    for name, by in report["exponents"].items():
        lines.append(f"  {name:<26}" + "".join(f"  by {what} {'-' if value is None else value}" for what, value in by.items()))
    last = report["plan"]["rows"][-1]
    lines.append(f"\n  a step of the plan with {last['instances']} instances, median / p99 us: " + ", ".join(
        f"{name} {one['median_us']} / {one['p99_us']}" for name, one in last.items() if name != "instances"))
    return "\n".join(lines)


def arguments(argv: Optional[list[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab/scale", description="What deciding, steering and doing nothing cost, against the number "
                                     "of instances and services of one device. Cells stand for guests.")
    parser.add_argument("--instances", type=int, nargs="+", choices=INSTANCES, default=list(INSTANCES), help="of all services (all)")
    parser.add_argument("--services", type=int, nargs="+", choices=SERVICES, default=list(SERVICES),
                        help="at most half as many as instances (all)")
    parser.add_argument("--runs", type=int, default=20, help="faults for each row (20)")
    parser.add_argument("--idle", type=float, default=10, help="seconds of doing nothing for each row (10)")
    parser.add_argument("--seed", type=int, default=1, help="of which service is struck (1)")
    options = parser.parse_args(argv)
    if options.runs < 1 or options.idle <= 0:
        parser.error("--runs and --idle must be more than nothing")
    if not list(rows_of(options.instances, options.services)):
        parser.error("there must be at least two instances for each service")
    return options


def main() -> int:
    options, chance = arguments(), random.Random()
    chance.seed(options.seed)
    plan, rows = plan_steps(), []
    for instances, services in rows_of(options.instances, options.services):
        with Progress(f"{instances} instances of {services} services"):
            rows.append(measure(instances, services, options, chance))
    report = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": bench.machine(), "options": vars(options),
              "versions": {"koboshi": run(layout.CLI, "--version").strip()}, "rows": rows, "plan": plan,
              "exponents": exponents(rows, plan)}
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))
    print(f"\n  written to {TARGET / 'report.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
