"""docs/benchmarks.md and its pictures, made from docs/benchmarks/results.json alone: no figure in them was typed.

`lab/benchmarks` makes them anew; `--take FILE` first puts a report (build/race/report.json, build/race/guests.json, build/scale/report.json)
in the place of the results of its kind. With `--into FOLDER` the same is made there, of these reports alone: one's own figures beside the project's.
"""
import argparse
import collections
import json
import pathlib
import sys
from typing import Any

from . import aims, layout
from .arms import is_ours, NOTHING, OURS, PLANNED
from .guest_arms import ARMS as GUEST_ARMS
from .pictures import budget, picture
from .results import budgets, gaps, of, ratio, short, spent, spread, spread_or_never, these, times, wrong
from .shell import guarded, LabError

DOCS = layout.ROOT / "docs"
FAULTS = {
    "closed": "the port answers with a reset",
    "dropped": "packets to the port are dropped without a word",
    "hung": "the server stands still, the kernel accepts connections",
    "died": "the guest is gone at once: wire and server",
    "killed": "the guest's emulator is killed",
    "panic": "the guest's kernel panics",
    "tampered": "the server works and shows another page",
    "slow": "each answer comes 400 ms late",
    "paused": "the guest stands still, its link stays up and no packet passes",
    "tap": "the link to the guest is down on the host, the guest lives",
    "claim": "root in a guest that stands by claims the service's address, with another page",
    "planned": "nothing is wrong, the service is asked to hand over",
    "nothing": "nothing happens: this much of every other row is the clients' own pace and the machine",
}
UNASKED = {(PLANNED, "detected_ms"), (PLANNED, "redundant_ms"), (NOTHING, "redundant_ms")}
COLUMNS = (("detected_ms", "noticed, ms"), ("again_ms", "all well again, ms"), ("redundant_ms", "two again, ms"))
MEANING = """
*noticed*: it said so itself, in its log or its record. *all well again*: neither client had more than one in twenty bad answers (failed or late) in a
tenth of a second any more. *two again*: two guests answer rightly, so that one more may fall. *never*: not until the run's end, and
for the last not within ten seconds.
"""
COSTS = """## What each takes

Its own programs and all that they start, none of the guests and none of the clients: of ours koboshi-engine and koboshi-net (`make bench`
measures koboshid's other processes). *idle* without clients, *busy* with both clients before the fault. % of one processor; memory
as PSS, in which a page that several share counts once, and as RSS. Medians, and the least and the most.

"""
GUESTS_COSTS = """### What each takes with real guests

All processes but guests and clients, libvirt's part in them included; beside it the guests, with what a solution runs inside of them, and of
Koboshi the paused spare, too. *idle* without clients, *busy* with both before the fault. % of one processor; short-lived children are
counted in hundredths of a second. Medians, and the least and the most.

"""
BUDGET = """## Where the time goes

![from the fault to the first good answer](benchmarks/budget.svg)

Of the runs in which Koboshi led the clients elsewhere, by the record of the incident: until the first evidence came in, until it was
enough for a doubt or a verdict, until the address has moved, until a client (*new*) had a good answer.
"""
CLIENTS = {"new": "a connection for each request", "kept": "connections that are kept"}
LOCKED = """In these runs the fault came half a second after the clients' first request, and the arm had just been started: who checks once a second
(keepalived, the paper's loop) was met at about the same point of its second each time. Their figures vary more than is shown.
"""
AHEAD = """The clients run ahead of all else on these processors (SCHED_FIFO): they stand for other machines, which would not wait for them.
"""
AMONG = """The clients wait for a processor like everybody else here, and what they wait is in every arm's gaps.
"""
BEHIND = """## Where Koboshi is behind, and why

A tuned HAProxy asks a guest anew within the request's own time: it stands in the path of every packet and sees at once that an answer does
not come. Koboshi is in no path, and ends the guest that fell; of that it must be sure. To lead clients elsewhere takes less: a doubt (`probe.stall`:
10 ms without any answer, if the guest never took a quarter of that lately), and another guest that answers meanwhile. A gap as long as that of
*nothing* is the clients' own pace and the machine's: in it the switch cannot be seen.

- *hung*: the guest's kernel still takes connections, and the doubt begins with the first requests in them that wait. Those are lost to it by
  then: their clients are told to ask again when it has fallen, which counts as failed. A proxy has them still and asks another guest; Koboshi
  hands nobody's request on, since one of them may be what felled the first.
- *slow*: who waits there gets the late answer, unless the guest falls meanwhile: with a patience of 40 ms (`koboshi-fast`) three misses come sooner
  than the answers. Kept connections stay with it until it has fallen.
- *tampered*: the page is asked for once in `probe.interval`, and what was wrong until then has been served. What is asked between the decision
  and the moment at which the firewall has taken it still goes to the victim.
- *closed*, *dropped*, *paused*, *died*, *tap*: a request that was under way in the guest at that moment is lost, one in some runs. A proxy that kept it could ask again.
- *two again* is when a guest stands by that was not there before or proved itself anew: who gave way does not count.
- Processor: each opening and each first request is seen twice (asked, answered), which keepalived and the paper's loop do not look at; idle,
  each guest is asked ten times a second, Pacemaker's once.
- *a lost port* with real guests: an emulated guest is slow to answer and bears few questions; as *nothing* shows there, that is most of our gap.
  The paper's own form is met at a random point of its minute.
- An emulated guest takes long to answer, and a silence must last four times what is usual for it: with real guests *dropped*, *hung*, *slow* and
  *paused* are found that much later than in cells. Keepalived's adverts, each 10 ms, and HAProxy's fixed limits do not wait for that. A guest that
  is built anew boots on the same two processors, and whoever serves is slower meanwhile (*claim*; *killed*, whose longest gap comes after all is well again).
- HAProxy neither isolates the guest nor ends it, keeps no evidence and builds no other one: these runs measure none of that.
"""
SCALE = """## How it grows

One device with cells for guests. *evidence to order*: until koboshi-engine has said where clients are to be led; *order to steered*: until koboshi-net
has read back that they are. Processor (% of one) and memory (RSS) of both while nobody asks; their probes go on. The exponent is the
slope of a straight line on two logarithmic axes: 0: it does not grow, 1: in proportion.

"""
GUESTS = """## With real guests

The same faults and clients, but guests are virtual machines of the images, under emulation (`lab/race --tier guests`). So all times are longer than on a
machine with hardware virtualization, for everybody alike; they compare with each other and with nothing else. A client asks so seldom that its own
interval is a good part of a short gap. What keepalived and systemd say in a guest is read from its console, some milliseconds after they said it.
*Noticed* counts from the command of the fault: what an emulated guest needs to carry it out (*dropped*: to load a rule) is in it, and not in the gap.
"""
WANTED = (("cells", 300, "with cells"), ("guests", 30, "with real guests"))
Json = dict[str, Any]

# --- one fault


def has(runs: list[Json], what: str) -> bool:
    return any(what in run or what in run.get("new", {}) for run in runs)


def table(runs: list[Json], arms: list[str], fault: str) -> str:
    names = ["", "n", "longest gap, new, ms", "ours / theirs", "failed, new", "wrong, new", "longest gap, kept, ms", "failed, kept", "late"]
    more = [(what, title) for what, title in COLUMNS if has(runs, what)]
    names += [title for _, title in more]
    lines = ["| | " + " | ".join(names[1:]) + " |", "| --- |" + " ---: |" * (len(names) - 1)]
    for arm in arms:
        if any(run.get("has_none") for run in runs if (run["arm"], run["fault"]) == (arm, fault)):
            lines.append(f"| {arm} | - | has no such thing |" + " |" * (len(names) - 3))
            continue
        if not these(runs, arm, fault):
            continue
        late = [a + b for a, b in zip(of(runs, arm, fault, "new", "late"), of(runs, arm, fault, "kept", "late"))]
        lines.append("| " + " | ".join((
            arm, str(len(these(runs, arm, fault))), spread_or_never(gaps(runs, arm, fault, "new")),
            "" if is_ours(arm) else ratio(of(runs, OURS, fault, "new", "gap_ms"), of(runs, arm, fault, "new", "gap_ms")),
            spread(of(runs, arm, fault, "new", "failed")), spread(wrong(runs, arm, fault, "new")),
            spread_or_never(gaps(runs, arm, fault, "kept")), spread(of(runs, arm, fault, "kept", "failed")), spread(late),
            *("-" if (fault, what) in UNASKED else spread_or_never(times(runs, arm, fault, what)) for what, _ in more))) + " |")
    return "\n".join(lines)


def glance(runs: list[Json], arms: list[str], faults: list[str]) -> str:
    """Of all at once: the gap and what failed, new connections."""

    def cell(arm: str, fault: str) -> str:
        mine = these(runs, arm, fault)
        if not mine or any(run.get("has_none") for run in mine):
            return "-"
        gap = spread_or_never(gaps(runs, arm, fault, "new")).split(" (", maxsplit=1)[0]
        return f"{gap} / {spread(of(runs, arm, fault, 'new', 'failed')).split(' (', maxsplit=1)[0]}"

    lines = ["| | " + " | ".join(arms) + " |", "| --- |" + " ---: |" * len(arms)]
    lines += [f"| {fault} | " + " | ".join(cell(arm, fault) for arm in arms) + " |" for fault in faults]
    return "\n".join(lines) + "\n"


def section(runs: list[Json], arms: list[str], fault: str, prefix: str = "") -> str:
    return f"### {fault}: {FAULTS[fault]}\n\n![{fault}](benchmarks/{prefix}{fault}.svg)\n\n{table(runs, arms, fault)}\n"


# --- what each takes


TAKEN = (("idle", "cpu_percent", "idle, %"), ("busy", "cpu_percent", "busy, %"), ("idle", "pss_kb", "idle, PSS, kB"),
         ("busy", "pss_kb", "busy, PSS, kB"), ("busy", "rss_kb", "busy, RSS, kB"), ("run", "cpu_s", "a whole run, s of a processor"))
BESIDE = (("idle", "guests_cpu_percent", "guests, idle, %"), ("busy", "guests_cpu_percent", "guests, busy, %"), ("idle", "guests_pss_kb", "guests, PSS, kB"))


def costs(runs: list[Json], arms: list[str], when_compared: str = "busy", beside: tuple = ()) -> str:
    shown = (*TAKEN, *beside)
    compared = (("cpu_percent", "%"), ("pss_kb", "PSS"))
    names = ["", *(title for _, _, title in shown), *(f"{when_compared}, {title}: ours / theirs" for _, title in compared)]
    lines = ["| | " + " | ".join(names[1:]) + " |", "| --- |" + " ---: |" * (len(names) - 1)]
    for arm in arms:
        ratios = ["" if is_ours(arm) else ratio(spent(runs, OURS, when_compared, what), spent(runs, arm, when_compared, what)) for what, _ in compared]
        lines.append("| " + " | ".join((arm, *(spread(spent(runs, arm, when, what)) for when, what, _ in shown), *ratios)) + " |")
    return "\n".join(lines) + "\n"


# --- how it grows


def scale(report: Json) -> str:
    lines = ["| instances | services | evidence to order, ms | order to steered, ms | engine, % | engine, MiB | koboshi-net, % | koboshi-net, MiB |",
             "| ---: |" + " ---: |" * 7]
    for row in report["rows"]:
        times_ms = [f"{row[name]['median']:.2f} ({row[name]['min']:.2f} to {row[name]['max']:.2f})" for name in ("evidence_to_order_ms", "order_to_steered_ms")]
        costs_of = [f"{row[who][what] / by:.{digits}f}" for who in ("engine", "net") for what, by, digits in (("cpu_percent", 1, 2), ("rss_kb", 1024, 1))]
        lines.append("| " + " | ".join((str(row["instances"]), str(row["services"]), *times_ms, *costs_of)) + " |")
    lines += ["", "| exponent | by instances | by services |", "| --- | ---: | ---: |"]
    for name, by in report["exponents"].items():
        lines.append(f"| {name} | " + " | ".join("-" if by.get(what) is None else str(by[what]) for what in ("instances", "services")) + " |")
    steps = [name for name in report["plan"]["rows"][0] if name != "instances"]
    lines += ["", "| a step of the plan, median / p99, µs: instances | " + " | ".join(steps) + " |", "| ---: |" + " ---: |" * len(steps)]
    for row in report["plan"]["rows"]:
        lines.append(f"| {row['instances']} | " + " | ".join(f"{row[step]['median_us']:.1f} / {row[step]['p99_us']:.1f}" for step in steps) + " |")
    return f"{SCALE}{report['options']['runs']} faults a row, {dated(report)}.\n\n" + "\n".join(lines) + "\n"


# --- the page


def dated(report: Json) -> str:
    machine, until = report["machine"], report.get("until", report["date"])
    days = f"on {until}" if until == report["date"] else f"from {report['date']} to {until}"
    return f"{days}: {machine['processors']} processors ({machine['model']}), Linux {machine['kernel']}"


def known_faults(report: Json) -> list[str]:
    return [fault for fault in FAULTS if fault in report["options"]["faults"]]


def rounds(report: Json) -> tuple[int, int]:
    """So often each arm met each fault, at least and at most: some are played more often than others."""
    counts = collections.Counter((run["arm"], run["fault"]) for run in report["runs"]).values()
    return min(counts, default=0), max(counts, default=0)


def rounds_said(report: Json) -> str:
    least, most = rounds(report)
    return str(most) if least == most else f"{least} to {most}"


def missing(results: Json) -> str:
    """What is in no run."""
    runs, parts = results["cells"]["runs"], []
    if "guests" not in results:
        parts.append("real guests of the others: Pacemaker, systemd in the guest, the paper's prototype at its own pace")
    else:
        raced_by = results["guests"]["options"]["arms"]
        rest = [arm for arm in GUEST_ARMS if arm not in raced_by]
        parts += [f"with real guests: {', '.join(rest)}"] if rest else []
    few = [f"{rounds_said(results[tier])} of {wanted} rounds {where}" for tier, wanted, where in WANTED
           if tier in results and rounds(results[tier])[0] < wanted]
    parts += [f"enough runs ({', '.join(few)}): few say little of what is rare"] if few else []
    if not has(runs, "busy"):
        parts.append("processor and memory of each")
    if not has(runs, "redundant_ms"):
        parts.append("the time until redundancy is whole again")
    if "scale" not in results:
        parts.append("how it grows with instances and services")
    return f" Not in it yet: {'; '.join(parts)}." if parts else ""


def lasting(options: Json) -> str:
    if "calm_s" not in options:
        return f"for {options['seconds']} seconds, with a fault in it."
    return (f"until the arm has done what it does about the fault and all has been well for {short(options['calm_s'])} s since; for {options['seconds']} s "
            "after the fault at the most.")


def raced(report: Json) -> str:
    options = report["options"]
    return f"""{rounds_said(report)} round{'s' if rounds(report)[1] != 1 else ''} {dated(report)}. Two clients, each at
{options['rate']} requests a second over {'IPv6' if options.get('ipv6') else 'IPv4'}: *new* ({CLIENTS['new']}) and *kept* ({CLIENTS['kept']}),
{lasting(options)}
{AHEAD if all(run.get('realtime') for run in report['runs'] if 'new' in run) else AMONG}{'' if options.get('random_phase') else LOCKED}"""


def all_runs(report: Json) -> list[Json]:
    """With one for each fault of which an arm knows nothing."""
    return report["runs"] + [{"arm": arm, "fault": fault, "has_none": True} for arm, fault in report.get("has_none", ())]


def tier(report: Json, prefix: str = "") -> list[str]:
    runs, arms, faults = all_runs(report), report["options"]["arms"], known_faults(report)
    return [section(runs, arms, fault, prefix) for fault in faults]


def versions(report: Json) -> str:
    settings = report.get("settings")
    lines = "\n".join(f"| {arm} | {version} |" + (f" `{settings[arm]}` |" if settings else "") for arm, version in report["versions"].items())
    return f"| |{' |' if settings else ''} |\n| --- | --- |{' --- |' if settings else ''}\n{lines}\n"


def page(results: Json) -> str:
    cells = results["cells"]
    runs, arms = cells["runs"], cells["options"]["arms"]
    parts = [f"""# Benchmarks

Made by `lab/benchmarks` from [results.json](benchmarks/results.json), which holds every single run. `make bench` plays them again on any
machine and makes the same page of its own in build/own; [lab.md](lab.md) says what is done and how it is counted.{missing(results)}

Medians of *n* runs, and in brackets the least and the most of them (and the 99th percentile of a hundred or more). *ours / theirs*: of the medians
of the gap, with the interval that holds it in 95 of 100 cases (bootstrap). A good answer that took more than 100 ms is *late*.
*never* as a gap: no good answer came any more.
{MEANING if has(runs, 'again_ms') else ''}
## What was aimed at

{aims.table(results)}
Of what was not reached the reasons stand under "Where Koboshi is behind, and why".

## With cells

Guests are network namespaces with a small web server in them (`lab/race`), so what a hypervisor adds is not in it.

{raced(cells)}
### At a glance

Medians: the longest time without a good answer, in ms, and how many requests failed, both of new connections.

{glance(runs, arms, known_faults(cells))}""", *tier(cells)]
    if any(budgets(runs, arm, fault) for arm in arms for fault in known_faults(cells)):
        parts.append(BUDGET)
    if has(runs, "busy"):
        parts.append(COSTS + costs(runs, arms))
    parts.append(BEHIND)
    if "guests" in results:
        guests = results["guests"]
        parts += [GUESTS, raced(guests), glance(guests["runs"], guests["options"]["arms"], known_faults(guests)), *tier(guests, "guests-")]
        if has(guests["runs"], "busy"):
            parts.append(GUESTS_COSTS + costs(guests["runs"], guests["options"]["arms"], "idle", BESIDE))
    if "scale" in results:
        parts.append(scale(results["scale"]))
    parts.append("## Versions\n\n" + "\n".join(versions(results[name]) for name in ("cells", "guests") if name in results))
    return "\n".join(parts)


def pictures(results: Json) -> dict[str, str]:
    made: dict[str, str] = {}
    for name, prefix in (("cells", ""), ("guests", "guests-")):
        if name in results:
            runs, arms = results[name]["runs"], results[name]["options"]["arms"]
            made |= {f"{prefix}{fault}.svg": picture(runs, arms, fault) for fault in known_faults(results[name])}
    runs, arms, faults = results["cells"]["runs"], results["cells"]["options"]["arms"], known_faults(results["cells"])
    if any(budgets(runs, arm, fault) for arm in arms for fault in faults):
        made["budget.svg"] = budget(runs, [arm for arm in arms if is_ours(arm)], faults)
    return made


def files(results: Json, into: pathlib.Path = DOCS) -> dict[pathlib.Path, str]:
    """Everything that is made of the results."""
    return {into / "benchmarks.md": page(results), **{into / "benchmarks" / name: text for name, text in pictures(results).items()}}


def text_of(results: Json) -> str:
    """JSON in which each run is a line: one more is one more line of a difference."""

    def value_text(value: Any) -> str:
        if not isinstance(value, list) or not value or not isinstance(value[0], dict):
            return json.dumps(value)
        return "[\n   " + ",\n   ".join(map(json.dumps, value)) + "\n  ]"

    reports = (f" {json.dumps(name)}: {{\n  " + ",\n  ".join(f"{json.dumps(key)}: {value_text(value)}" for key, value in report.items()) + "\n }"
               for name, report in results.items())
    return "{\n" + ",\n".join(reports) + "\n}\n"


def kind_of(report: Json) -> str:
    return "scale" if "exponents" in report else report.get("tier", "cells")


def give(results: Json, name: str, file: str) -> int:
    """Of the page: a report that others can be added to."""
    there = [tier_name for tier_name, _, _ in WANTED if tier_name in results]
    if name not in there:
        raise LabError(f"'{name}' is none of the reports that are there: {', '.join(there)}")
    path = pathlib.Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results[name], indent=1) + "\n", encoding="utf-8")
    print(f"  written to {path}, with {len(results[name]['runs'])} runs")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab/benchmarks", description="Makes docs/benchmarks.md from docs/benchmarks/results.json.")
    parser.add_argument("--take", metavar="FILE", type=pathlib.Path, nargs="+", default=[],
                        help="reports of lab/race, of either tier, and of lab/scale, which come in the place of what was there")
    parser.add_argument("--give", metavar=("TIER", "FILE"), nargs=2,
                        help="write the report of cells or guests there and nothing else, so that `lab/race --add` goes on with it")
    parser.add_argument("--into", metavar="FOLDER", type=lambda text: pathlib.Path(text).resolve(), default=DOCS,
                        help="make it there, of the reports that are taken and no other")
    options = parser.parse_args()
    folder = options.into / "benchmarks"
    if options.give:
        return give(json.loads((folder / "results.json").read_text(encoding="utf-8")), *options.give)
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8")) if options.into == DOCS else {}
        for report in [json.loads(path.read_text(encoding="utf-8")) for path in options.take]:
            results[kind_of(report)] = report
        made = files(results, options.into)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"that is no report of a race: {error}") from None
    folder.mkdir(parents=True, exist_ok=True)
    for path in {*folder.glob("*.svg")} - {*made}:
        path.unlink()
    (folder / "results.json").write_text(text_of(results), encoding="utf-8")
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    print(f"  written to {options.into / 'benchmarks.md'}, with {len(made) - 1} pictures and results.json in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
