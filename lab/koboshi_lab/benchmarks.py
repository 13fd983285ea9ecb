"""docs/benchmarks.md and its pictures, made from docs/benchmarks/results.json alone: no figure in them was typed.

`lab/benchmarks` makes them anew; `--take FILE` first puts the report of a race (build/race/report.json) in the place of the results.
"""
import argparse
import json
import math
import pathlib
import random
import statistics
import sys
from typing import Any

from . import layout
from .race import OURS
from .shell import guarded, LabError

PAGE = layout.ROOT / "docs/benchmarks.md"
FOLDER = layout.ROOT / "docs/benchmarks"
RESULTS = FOLDER / "results.json"
RESAMPLES = 2000
FAULTS = {
    "closed": "the port answers with a reset",
    "dropped": "packets to the port are dropped without a word",
    "hung": "the server stands still, the kernel accepts connections",
    "died": "the guest is gone at once: wire and server",
    "tampered": "the server works and shows another page",
}
CLIENTS = {"new": "a connection for each request", "kept": "connections that are kept"}
LOCKED = """In these runs the fault came half a second after the clients' first request, and the arm had just been started: who checks once a second
(keepalived, the paper's loop) was met at about the same point of its second each time. Their figures vary more than is shown.
"""
BEHIND = """## Where Koboshi is behind, and why

A tuned HAProxy asks a guest anew within the request's own time: it stands in the path of every packet and sees at once that an answer does
not come. Koboshi is in no path; it must first be sure that the guest has fallen, because it then ends it.

- *dropped*, *died*: an opening counts as unanswered after 200 ms at the least (emulated guests on a busy host need that), and three such are
  needed. Nobody fails meanwhile. In this tier a guest that dies is seen in no other way; a real hypervisor tells of it at once.
- *hung*: three probes must be missed, and each has its patience (200 ms here). Requests that hang in the guest are lost to it: their clients
  are told to ask again, which counts as failed.
- *tampered*: the page is asked for each 100 ms.
- HAProxy neither isolates the guest nor ends it, keeps no evidence and builds no other one: these runs measure none of that.
"""
Json = dict[str, Any]


def of(runs: list[Json], arm: str, fault: str, client: str, what: str) -> list[float]:
    return [run[client][what] for run in runs if run["arm"] == arm and run["fault"] == fault]


def wrong(runs: list[Json], arm: str, fault: str, client: str) -> list[float]:
    return [run[client]["kinds"].get("wrong", 0) for run in runs if run["arm"] == arm and run["fault"] == fault]


def short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def spread(values: list[float]) -> str:
    """Median, and the least and most behind it where they differ."""
    if not values:
        return "-"
    low, middle, high = (short(value) for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Ours divided by theirs, of medians, with a bootstrap interval that holds it in 95 of 100 cases."""
    if len(ours) < 2 or len(theirs) < 2 or not statistics.median(theirs):
        return "-"
    chance = random.Random(1)
    found = sorted(statistics.median(chance.choices(ours, k=len(ours))) / max(statistics.median(chance.choices(theirs, k=len(theirs))), 1e-3)
                   for _ in range(RESAMPLES))
    middle = statistics.median(ours) / statistics.median(theirs)
    return f"{middle:.2g} ({found[RESAMPLES // 40]:.2g} to {found[-RESAMPLES // 40]:.2g})"


# --- one fault


def table(runs: list[Json], arms: list[str], fault: str) -> str:
    lines = ["| | longest gap, new, ms | ours / theirs | failed, new | wrong, new | longest gap, kept, ms | failed, kept | late |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for arm in arms:
        late = [a + b for a, b in zip(of(runs, arm, fault, "new", "late"), of(runs, arm, fault, "kept", "late"))]
        lines.append("| " + " | ".join((
            arm, spread(of(runs, arm, fault, "new", "gap_ms")),
            "" if arm == OURS else ratio(of(runs, OURS, fault, "new", "gap_ms"), of(runs, arm, fault, "new", "gap_ms")),
            spread(of(runs, arm, fault, "new", "failed")), spread(wrong(runs, arm, fault, "new")),
            spread(of(runs, arm, fault, "kept", "gap_ms")), spread(of(runs, arm, fault, "kept", "failed")), spread(late))) + " |")
    return "\n".join(lines)


def picture(runs: list[Json], arms: list[str], fault: str) -> str:
    """Each run is a dot at its longest gap, on a scale on which each step is ten times the one before."""
    left, width, row, top = 150, 560, 24, 30
    low, high = 0, 4  # powers of ten, in ms
    height = top + row * len(arms) + 26

    def x(value: float) -> float:
        return left + width * (math.log10(min(max(value, 1), 10 ** high)) - low) / (high - low)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 20} {height}" font-family="sans-serif" font-size="12">',
             f'<title>{fault}: longest time without a good answer, new connections</title>',
             f'<text x="{left}" y="14">longest time without a good answer, new connections, ms; one dot a run, the bar is the median</text>']
    for power in range(low, high + 1):
        at = x(10 ** power)
        parts.append(f'<line x1="{at:.1f}" y1="{top - 6}" x2="{at:.1f}" y2="{height - 22}" stroke="#ccc"/>'
                     f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle">{10 ** power}</text>')
    for number, arm in enumerate(arms):
        values, y = of(runs, arm, fault, "new", "gap_ms"), top + row * number + row / 2
        colour = "#b03a2e" if arm == OURS else "#34495e"
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{arm}</text>')
        parts += [f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="3.5" fill="{colour}" fill-opacity="0.5"/>' for value in values]
        if values:
            at = x(statistics.median(values))
            parts.append(f'<line x1="{at:.1f}" y1="{y - 9:.1f}" x2="{at:.1f}" y2="{y + 9:.1f}" stroke="{colour}" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


# --- the page


def page(results: Json) -> str:
    runs, options, machine = results["runs"], results["options"], results["machine"]
    arms, faults = options["arms"], [fault for fault in FAULTS if fault in options["faults"]]
    parts = [f"""# Benchmarks

Made by `lab/benchmarks` from [results.json](benchmarks/results.json), which holds every single run. `lab/race` plays them again on any machine;
[lab.md](lab.md) says what is done and how it is counted.

So far this is one tier of two: guests are network namespaces with a small web server in them, so what a hypervisor adds is not in it
(`make bench` measures that, for Koboshi alone). Not raced yet: Pacemaker, systemd in the guest, the paper's prototype with real
guests and at its own pace of a poll each 60 s; processor and memory of each; the time until redundancy is whole again.

{options['rounds']} rounds on {results['date']}: {machine['processors']} processors ({machine['model']}), Linux {machine['kernel']}. Two clients, each at
{options['rate']} requests a second: *new* ({CLIENTS['new']}) and *kept* ({CLIENTS['kept']}), for {options['seconds']} seconds, with a fault in it.
{'' if options.get('random_phase') else LOCKED}Medians, and in brackets the least and the most of all runs. *ours / theirs*: of the medians of the gap, with the interval that holds it in 95 of
100 cases (bootstrap). A good answer that took more than 100 ms is *late*. A gap as long as the run means: never.
"""]
    for fault in faults:
        count = len(of(runs, OURS, fault, "new", "gap_ms"))
        parts.append(f"## {fault}: {FAULTS[fault]}\n\n![{fault}](benchmarks/{fault}.svg)\n\nn = {count} each\n\n{table(runs, arms, fault)}\n")
    parts.append(BEHIND)
    versions = "\n".join(f"| {arm} | {version} |" for arm, version in results["versions"].items())
    parts.append(f"## Versions\n\n| | |\n| --- | --- |\n{versions}\n")
    return "\n".join(parts)


def files(results: Json) -> dict[pathlib.Path, str]:
    """Everything that is made of the results."""
    arms = results["options"]["arms"]
    made = {FOLDER / f"{fault}.svg": picture(results["runs"], arms, fault) for fault in FAULTS if fault in results["options"]["faults"]}
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
