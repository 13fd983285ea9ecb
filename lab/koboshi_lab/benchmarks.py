"""docs/benchmarks.md and its pictures, made from docs/benchmarks/results.json alone: no figure in them was typed.

`lab/benchmarks` makes them anew; `--take FILE` first puts the report of a race (build/race/report.json) in the place of the results.
"""
import argparse
import json
import pathlib
import sys
from typing import Any

from . import layout
from .arms import is_ours, OURS, PLANNED
from .pictures import budget, picture
from .results import budgets, gaps, of, ratio, spent, spread, spread_or_never, these, times, wrong
from .shell import guarded, LabError

PAGE = layout.ROOT / "docs/benchmarks.md"
FOLDER = layout.ROOT / "docs/benchmarks"
RESULTS = FOLDER / "results.json"
FAULTS = {
    "closed": "the port answers with a reset",
    "dropped": "packets to the port are dropped without a word",
    "hung": "the server stands still, the kernel accepts connections",
    "died": "the guest is gone at once: wire and server",
    "tampered": "the server works and shows another page",
    "slow": "each answer comes 400 ms late",
    "paused": "the guest stands still, its link stays up and no packet passes",
    "tap": "the link to the guest is down on the host, the guest lives",
    "claim": "root in a guest that stands by claims the service's address, with another page",
    "planned": "nothing is wrong, the service is asked to hand over",
}
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
BUDGET = """## Where the time goes

![from the fault to the first good answer](benchmarks/budget.svg)

Of the runs in which Koboshi led the clients elsewhere, by the record of the incident: until the first evidence came in, until it was
enough for a verdict, until the address was read back as moved, until a client (*new*) had a good answer.
"""
CLIENTS = {"new": "a connection for each request", "kept": "connections that are kept"}
LOCKED = """In these runs the fault came half a second after the clients' first request, and the arm had just been started: who checks once a second
(keepalived, the paper's loop) was met at about the same point of its second each time. Their figures vary more than is shown.
"""
BEHIND = """## Where Koboshi is behind, and why

A tuned HAProxy asks a guest anew within the request's own time: it stands in the path of every packet and sees at once that an answer does
not come. Koboshi is in no path; it must first be sure that the guest has fallen, because it then ends it.

- *dropped*, *died*: an opening counts as unanswered after 200 ms at the least (emulated guests on a busy host need that), and three such are
  needed. Nobody fails meanwhile. In this tier a guest that dies is seen in no other way; a real hypervisor tells of it at once.
- *hung*: three probes must be missed, and each has its patience (`probe.timeout`). Requests that hang in the guest are lost to it: their clients
  are told to ask again, which counts as failed.
- *tampered*: the page is asked for each 100 ms.
- HAProxy neither isolates the guest nor ends it, keeps no evidence and builds no other one: these runs measure none of that.
"""
Json = dict[str, Any]

# --- one fault


def has(runs: list[Json], what: str) -> bool:
    return any(what in run or what in run.get("new", {}) for run in runs)


def table(runs: list[Json], arms: list[str], fault: str) -> str:
    names = ["", "longest gap, new, ms", "ours / theirs", "failed, new", "wrong, new", "longest gap, kept, ms", "failed, kept", "late"]
    more = [(what, title) for what, title in COLUMNS if has(runs, what)]
    names += [title for _, title in more]
    lines = ["| | " + " | ".join(names[1:]) + " |", "| --- |" + " ---: |" * (len(names) - 1)]
    for arm in arms:
        if any(run.get("has_none") for run in runs if (run["arm"], run["fault"]) == (arm, fault)):
            lines.append(f"| {arm} | has no such thing |" + " |" * (len(names) - 2))
            continue
        late = [a + b for a, b in zip(of(runs, arm, fault, "new", "late"), of(runs, arm, fault, "kept", "late"))]
        lines.append("| " + " | ".join((
            arm, spread_or_never(gaps(runs, arm, fault, "new")),
            "" if is_ours(arm) else ratio(of(runs, OURS, fault, "new", "gap_ms"), of(runs, arm, fault, "new", "gap_ms")),
            spread(of(runs, arm, fault, "new", "failed")), spread(wrong(runs, arm, fault, "new")),
            spread_or_never(gaps(runs, arm, fault, "kept")), spread(of(runs, arm, fault, "kept", "failed")), spread(late),
            *("-" if fault == PLANNED and what != "again_ms" else spread_or_never(times(runs, arm, fault, what)) for what, _ in more))) + " |")
    return "\n".join(lines)


def section(runs: list[Json], arms: list[str], fault: str) -> str:
    counts = sorted({len(these(runs, arm, fault)) for arm in arms} - {0})
    count = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
    return f"## {fault}: {FAULTS[fault]}\n\n![{fault}](benchmarks/{fault}.svg)\n\nn = {count} each\n\n{table(runs, arms, fault)}\n"


# --- what each takes


def costs(runs: list[Json], arms: list[str]) -> str:
    shown = (("idle", "cpu_percent", "idle, %"), ("busy", "cpu_percent", "busy, %"), ("idle", "pss_kb", "idle, PSS, kB"),
             ("busy", "pss_kb", "busy, PSS, kB"), ("busy", "rss_kb", "busy, RSS, kB"), ("run", "cpu_s", "a whole run, s of a processor"))
    names = ["", *(title for _, _, title in shown), "busy, %: ours / theirs", "busy, PSS: ours / theirs"]
    lines = ["| | " + " | ".join(names[1:]) + " |", "| --- |" + " ---: |" * (len(names) - 1)]
    for arm in arms:
        ratios = ["" if is_ours(arm) else ratio(spent(runs, OURS, "busy", what), spent(runs, arm, "busy", what))
                  for what in ("cpu_percent", "pss_kb")]
        lines.append("| " + " | ".join((arm, *(spread(spent(runs, arm, when, what)) for when, what, _ in shown), *ratios)) + " |")
    return "\n".join(lines) + "\n"


# --- the page


def missing(runs: list[Json]) -> str:
    """What of the issue's list is in no run."""
    parts = ["Pacemaker, systemd in the guest, the paper's prototype with real\nguests and at its own pace of a poll each 60 s"]
    if not has(runs, "busy"):
        parts.append("processor and memory of each")
    if not has(runs, "redundant_ms"):
        parts.append("the time until redundancy is whole again")
    return "; ".join(parts)


def page(results: Json) -> str:
    runs, options, machine = results["runs"], results["options"], results["machine"]
    arms, faults = options["arms"], [fault for fault in FAULTS if fault in options["faults"]]
    parts = [f"""# Benchmarks

Made by `lab/benchmarks` from [results.json](benchmarks/results.json), which holds every single run. `lab/race` plays them again on any machine;
[lab.md](lab.md) says what is done and how it is counted.

So far this is one tier of two: guests are network namespaces with a small web server in them, so what a hypervisor adds is not in it
(`make bench` measures that, for Koboshi alone). Not raced yet: {missing(runs)}.

{options['rounds']} rounds on {results['date']}: {machine['processors']} processors ({machine['model']}), Linux {machine['kernel']}. Two clients, each at
{options['rate']} requests a second over {'IPv6' if options.get('ipv6') else 'IPv4'}: *new* ({CLIENTS['new']}) and *kept* ({CLIENTS['kept']}),
for {options['seconds']} seconds, with a fault in it.
{'' if options.get('random_phase') else LOCKED}Medians, and in brackets the least and the most of all runs. *ours / theirs*: of the medians of the gap, with the interval that holds it in 95 of
100 cases (bootstrap). A good answer that took more than 100 ms is *late*. *never* as a gap: no good answer
came any more.
{MEANING if has(runs, 'again_ms') else ''}"""]
    parts += [section(runs, arms, fault) for fault in faults]
    if any(budgets(runs, arm, fault) for arm in arms for fault in faults):
        parts.append(BUDGET)
    if has(runs, "busy"):
        parts.append(COSTS + costs(runs, arms))
    parts.append(BEHIND)
    settings = results.get("settings")
    versions = "\n".join(f"| {arm} | {version} |" + (f" `{settings[arm]}` |" if settings else "") for arm, version in results["versions"].items())
    parts.append(f"## Versions\n\n| | |{' |' if settings else ''}\n| --- | --- |{' --- |' if settings else ''}\n{versions}\n")
    return "\n".join(parts)


def files(results: Json) -> dict[pathlib.Path, str]:
    """Everything that is made of the results."""
    runs, arms = results["runs"], results["options"]["arms"]
    faults = [fault for fault in FAULTS if fault in results["options"]["faults"]]
    made = {FOLDER / f"{fault}.svg": picture(runs, arms, fault) for fault in faults}
    if any(budgets(runs, arm, fault) for arm in arms for fault in faults):
        made[FOLDER / "budget.svg"] = budget(runs, [arm for arm in arms if is_ours(arm)], faults)
    return {PAGE: page(results), **made}


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab/benchmarks", description="Makes docs/benchmarks.md from docs/benchmarks/results.json.")
    parser.add_argument("--take", metavar="FILE", type=pathlib.Path, help="a race's report, which becomes the results")
    options = parser.parse_args()
    try:
        text = (options.take or RESULTS).read_text(encoding="utf-8")
        made = files(json.loads(text))
    except (OSError, ValueError, KeyError) as error:
        raise LabError(f"that is no report of a race: {error}") from None
    FOLDER.mkdir(exist_ok=True)
    RESULTS.write_text(text, encoding="utf-8")
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
        print(f"  {path.relative_to(layout.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
