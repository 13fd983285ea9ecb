"""The race with real guests: the same faults on Koboshi and on what people use today, each run in a world of its own.

Unlike race.py this runs outside of the worlds; guest_run.py is what plays in them.
"""
import argparse
import contextlib
import io
import json
import random
import sys
import tempfile
import time
import pathlib
from typing import Any, Optional

from . import bench, layout, race, world
from .arms import OURS
from .guest_arms import ARMS, FAULTS, HAS_NONE
from .shell import LabError

REPORT = layout.BUILD / "race/guests.json"
SECONDS = 10  # so long the clients ask
START_SECONDS = 300  # so long a run may take beside that
INTERRUPTED = 130  # what a world says that ended by Ctrl-C
# Arms whose own delays are longer than a run: their clients ask for so long, and they race only when asked for.
SLOW = {"paper-default": 90, "paper-delay": 150}
Json = dict[str, Any]


def arguments(argv: Optional[list[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab/race --tier guests", description="Koboshi beside what people use today, with real guests.")
    parser.add_argument("--rounds", type=int, default=30, help="each plays every fault once for every arm (30)")
    parser.add_argument("--arms", nargs="+", choices=sorted(ARMS), default=[name for name in ARMS if name not in SLOW],
                        help=f"who races (all but {' and '.join(SLOW)}, which take minutes)")
    parser.add_argument("--faults", nargs="+", choices=sorted(FAULTS), default=list(FAULTS), help="what happens (all)")
    parser.add_argument("--rate", type=int, default=50, help="requests a second of each of two clients (50, which is the most)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"so long the clients ask in a run at least ({SECONDS})")
    parser.add_argument("--seed", type=int, default=1, help="of the random order (1)")
    parser.add_argument("--add", action="store_true", help="go on with the report that is there, by so many further rounds of these arms and faults")
    parser.add_argument("--report", type=lambda text: pathlib.Path(text).resolve(), default=REPORT, metavar="FILE",
                        help="what is written, after each run (build/race/guests.json)")
    options = parser.parse_args(argv)
    if not 1 <= options.rate <= 50:
        parser.error("an emulated guest bears 50 requests a second of each client, not more")
    if options.rounds < 1 or not 10 <= options.seconds <= 600:
        parser.error("a race has one round at least, and clients ask for 10 to 600 seconds")
    return options


def play(name: str, fault: str, options: argparse.Namespace, seed: int) -> Json:
    """What the run wrote; LabError if it did not get so far."""
    seconds = max(options.seconds, SLOW.get(name, 0))
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "row.json"
        argv = [sys.executable, "-m", "koboshi_lab.guest_run", "--arm", name, "--fault", fault, "--rate", str(options.rate),
                "--seconds", str(seconds), "--seed", str(seed), "--out", str(out)]
        with contextlib.redirect_stdout(io.StringIO()):  # that nothing is left behind is said once a run
            status = world.run_in("guest-race", argv, seconds + START_SECONDS, guests=name == OURS)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        if status or "row" not in found:
            raise LabError(found.get("why", f"the run ended with status {status}"))
        return found


def new_report(options: argparse.Namespace) -> Json:
    kept = {name: value for name, value in vars(options).items() if name not in ("add", "rounds", "report")}
    return {"tier": "guests", "date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": bench.machine(), "options": {**kept, "rounds": 0, "random_phase": True},
            "versions": {}, "has_none": sorted(map(list, HAS_NONE)), "runs": [], "not_run": []}


def continued(path: pathlib.Path, fresh: Json) -> Json:
    """The report that is there, if it is of such a machine and the same options."""
    old = race.begun(path)
    rest = race.other_machine(old, fresh)
    rest += [f"option {name}" for name in ("rate", "seconds") if old["options"].get(name) != fresh["options"][name]]
    race.only_alike(path, rest)
    race.widen(old, fresh, arms=ARMS, faults=FAULTS)
    return old


def take(report: Json, number: int, name: str, found: Json) -> None:
    if report["versions"].setdefault(name, found["version"]) != found["version"]:
        raise LabError(f"{name} is another version than before ({report['versions'][name]}; now {found['version']}): begin a new report")
    report["runs"].append({"tier": "guests", "round": number, **found["row"]})


def rounds(options: argparse.Namespace, report: Json) -> None:
    runs = [(name, fault) for name in options.arms for fault in options.faults if (name, fault) not in HAS_NONE]
    first = max((row["round"] for row in report["runs"]), default=0)
    for number in range(first + 1, first + options.rounds + 1):
        chance = random.Random(f"{options.seed}/{number}")
        for name, fault in chance.sample(runs, len(runs)):
            print(f"  round {number} of {first + options.rounds}: {name}, {fault}", flush=True)
            try:
                found = play(name, fault, options, chance.randrange(1 << 30))
            except LabError as error:  # one run of many: it is told, and missed in the count
                report["not_run"].append({"round": number, "arm": name, "fault": fault, "why": str(error)})
            else:
                take(report, number, name, found)
            race.write(options.report, report)
        report["options"]["rounds"] = number
        race.write(options.report, report)


def main(argv: Optional[list[str]] = None) -> int:
    options = arguments(argv)
    report = continued(options.report, new_report(options)) if options.add else new_report(options)
    rounds(options, report)
    print(race.table(report["runs"]))
    if report["not_run"]:
        print(f"  not run: {len(report['not_run'])}; why stands in the report")
    print(f"\n  written to {options.report}")
    return 1 if report["not_run"] else 0
