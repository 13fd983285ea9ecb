"""The race: Koboshi and what people use today, with the same faults, the same clients and cells for guests, in turns.

Runs inside a world without guests; lab/race starts it there. Each round plays every fault once on every arm, in random order; each
run begins with an arm that was just started. Nothing passes or fails by its speed: figures are written down, each run of them, as soon
as it is over.
"""
import argparse
import json
import os
import pathlib
import random
import sys
import time
from typing import Any, Iterable, Optional

from . import bench, group, layout
from .arms import ARMS, is_ours, NOTHING, PLANNED, WHOLE_S
from .cells import FAULTS
from .measure import CALM_S, play
from .shell import guarded, LabError, Progress

REPORT = layout.BUILD / "race/report.json"
EVENTS = sorted([*FAULTS, NOTHING, PLANNED])
RATE_MAX = 500  # of each client: with more, two cores would be measured
Json = dict[str, Any]

# --- the report


def new_report(options: argparse.Namespace) -> Json:
    kept = {name: value for name, value in vars(options).items() if name not in ("add", "rounds", "report")}
    arms = {name: ARMS[name]() for name in options.arms}
    return {"date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": bench.machine(), "options": {**kept, "rounds": 0, "random_phase": True, "calm_s": CALM_S},
            "versions": {name: arm.version() for name, arm in arms.items()}, "settings": {name: arm.settings() for name, arm in arms.items()},
            "not_counted": group.prepare(), "unplayed": [], "runs": []}


def begun(path: pathlib.Path) -> Json:
    """The report that is there to be gone on with."""
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabError(f"there is no {path} to add to: leave --add away") from None
    except ValueError:
        old = None
    if not isinstance(old, dict) or not {"machine", "options", "versions", "runs"} <= old.keys() or not isinstance(old["options"], dict):
        raise LabError(f"{path} is no report of a race, so nothing can be added to it")
    return old


def only_alike(path: pathlib.Path, differs: list[str]) -> None:
    if differs:
        raise LabError(f"{path} was made otherwise, so nothing is added to it: not the same are {', '.join(differs)}")


def other_machine(old: Json, fresh: Json) -> list[str]:
    """What differs but the kernel: of machines that are alike one may have another."""
    return ["machine"] if {**old["machine"], "kernel": ""} != {**fresh["machine"], "kernel": ""} else []


def widen(old: Json, fresh: Json, **orders: Iterable[str]) -> None:
    """Other days, kernels, arms and faults may come to a report: nobody plays all of them in one go."""
    old["until"] = fresh["date"]
    kernels = [*old["machine"]["kernel"].split(", "), fresh["machine"]["kernel"]]
    old["machine"]["kernel"] = ", ".join(dict.fromkeys(kernels))
    for name, order in orders.items():
        both = {*old["options"].get(name, ()), *fresh["options"][name]}
        old["options"][name] = [one for one in order if one in both]


def continued(path: pathlib.Path, fresh: Json) -> Json:
    """The report that is there, if it is of such a machine, the same versions and options."""
    old = begun(path)
    rest = other_machine(old, fresh) + (["not_counted"] if old.get("not_counted") != fresh.get("not_counted") else [])
    for name in ("versions", "settings"):
        known = old.setdefault(name, {})
        rest += [name] if any(known.setdefault(arm, value) != value for arm, value in fresh.get(name, {}).items()) else []
    rest += [f"option {name}" for name, value in fresh["options"].items()
             if name not in ("rounds", "arms", "faults", "idle") and old["options"].get(name) != value]
    only_alike(path, rest)
    widen(old, fresh, arms=ARMS, faults=EVENTS)
    return old


def write(path: pathlib.Path, report: Json) -> None:
    """Whole or not at all, however the race ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


# --- all of them


def rounds(options: argparse.Namespace, report: Json) -> None:
    """So many further rounds; one that was interrupted is played on first, and is not counted. A run that fails as such, because
    an arm does not start, is told and does not end the race."""
    runs = [(name, fault) for name in options.arms for fault in options.faults]
    done = report["options"]["rounds"]
    first = max((row["round"] for row in report["runs"]), default=0)
    last = done + options.rounds + (first > done)
    for number in range(done + 1, last + 1):
        chance = random.Random(f"{options.seed}/{number}")
        order, idle = chance.sample(runs, len(runs)), set()
        played = {(row["arm"], row["fault"]) for row in report["runs"] if row["round"] == number}
        with Progress(f"round {number} of {last}") as progress:
            for name, fault in order:
                if (name, fault) in played:
                    continue
                progress(f"{name}, {fault}")
                idle_s = 0 if name in idle or fault == PLANNED else options.idle
                try:
                    report["runs"].append({"round": number, **play(name, fault, options, chance, idle_s)})
                except LabError as error:
                    report["unplayed"].append({"round": number, "arm": name, "fault": fault, "why": str(error)})
                idle.update([name] if idle_s else [])
                write(options.report, report)
        report["options"]["rounds"] = number
        write(options.report, report)


def table(rows: list[Json]) -> str:
    lines = [f"  {'arm':<22}{'fault':<10}{'n':>4}" + "".join(f"{head:>18}" for head in (
        "new: gap ms", "new: failed", "kept: gap ms", "kept: failed", "detected ms", "two again ms"))]
    for arm, fault in sorted({(row["arm"], row["fault"]) for row in rows if "new" in row}):
        mine = [row for row in rows if (row["arm"], row["fault"]) == (arm, fault)]
        cells = [bench.cell(bench.spread([row[client][what] for row in mine])) for client in ("new", "kept") for what in ("gap_ms", "failed")]
        cells += [bench.cell(bench.spread([row.get(what) for row in mine])) for what in ("detected_ms", "redundant_ms")]
        lines.append(f"  {arm:<22}{fault:<10}{len(mine):>4}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def costs(rows: list[Json]) -> str:
    lines = [f"  {'arm':<22}" + "".join(f"{head:>18}" for head in ("idle: % of a core", "busy: %", "PSS kB", "RSS kB"))]
    for arm in sorted({row["arm"] for row in rows if "busy" in row}):
        mine = [row for row in rows if row["arm"] == arm and "busy" in row]
        values = [[row["idle"]["cpu_percent"] for row in mine if "idle" in row],
                  *([row["busy"][what] for row in mine] for what in ("cpu_percent", "pss_kb", "rss_kb"))]
        lines.append(f"  {arm:<22}" + "".join(f"{middle(column):>18}" for column in values))
    return "\n".join(lines)


def middle(values: list[Optional[float]]) -> str:
    spread = bench.spread(values)
    return f"{spread['median']:.1f}" if spread["n"] else "-"


def number(low: float, high: float, kind: type = int) -> Any:
    def parse(text: str) -> Any:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low} to {high}")
        return value

    return parse


def arguments(argv: Optional[list[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab/race", description="Koboshi beside what people use today, with cells for guests.")
    parser.add_argument("--rounds", type=number(1, 10000), default=10, help="each plays every fault once for every arm (10)")
    parser.add_argument("--add", action="store_true", help="go on with the report that is there, by so many further rounds of these arms and faults")
    parser.add_argument("--arms", nargs="+", choices=sorted(ARMS), help="who races (all)")
    parser.add_argument("--faults", nargs="+", choices=EVENTS, default=EVENTS, help="what happens (all)")
    parser.add_argument("--rate", type=number(10, RATE_MAX), default=500, help="requests a second of each of two clients (500, which is the most)")
    parser.add_argument("--seconds", type=number(2, 60), default=WHOLE_S, help=f"so long after a fault the clients ask at the most ({WHOLE_S}); a run ends when "
                        f"the arm has done what it does about it and all has been well for {CALM_S:.0f} s")
    parser.add_argument("--idle", type=number(0, 60, float), default=3, help="seconds without clients, once in a round for each arm (3)")
    parser.add_argument("--ipv6", action="store_true", help="clients ask over IPv6: Koboshi alone, as the others here know IPv4 only")
    parser.add_argument("--report", type=lambda text: pathlib.Path(text).resolve(), default=REPORT, metavar="FILE",
                        help="what is written, after each run (build/race/report.json)")
    parser.add_argument("--seed", type=int, default=1, help="of the random order (1)")
    options = parser.parse_args(argv)
    if options.arms is None:
        options.arms = [name for name in ARMS if is_ours(name) or not options.ipv6]
    others = [name for name in options.arms if not is_ours(name)]
    if options.ipv6 and others:
        parser.error(f"these know IPv4 only: {', '.join(others)}")
    return options


def main() -> int:
    options = arguments()
    fresh = new_report(options)
    report = continued(options.report, fresh) if options.add else fresh
    if fresh["not_counted"]:
        print(f"  processors and memory are not counted: {fresh['not_counted']}", file=sys.stderr)
    try:
        rounds(options, report)
    finally:
        print(f"{table(report['runs'])}\n\n{costs(report['runs'])}\n\n  written to {options.report}")
    for row in report["unplayed"]:
        print(f"koboshi-lab: could not be played: {row['arm']}, {row['fault']}, round {row['round']}: {row['why']}", file=sys.stderr)
    return 1 if report["unplayed"] else 0


if __name__ == "__main__":
    sys.exit(guarded(main))
