"""Incidents of random kinds in a row, on real guests: after each the device is whole again, nothing of the victim is left, nothing has
grown. What is played is drawn from a seed, which is printed.

Runs inside a world; lab/soak starts it there, and a test plays a few.
"""
import argparse
import dataclasses
import json
import random
import sys
from typing import Any, Callable, Optional

from . import api, clients, endure, footprint, guest, layout, network, scene
from .bench import machine, spread
from .faults import FAULTS, PLANNED
from .shell import LabError, Progress, guarded, now_us, wait_for

Json = dict[str, Any]
TARGET = layout.BUILD / "soak"
STORY_SECONDS = 60  # for a step of a story to come

# What fells whoever it is done to, by itself. All else that the lab knows may fell nobody: there the guest is ended behind it.
STRONG = ("close-port", "hang", "tamper", "panic", "drop", "kill-app", "kill-guest", "scan", "touch-decoy", "watchdog", "drop-program",
          "drop-script", "sh-script", "run-deleted", "run-loader", "kill-agent", "lie-agent", "flood-agent", "add-account", "change-etc",
          "load-module", "claim")
NOBODY_FELL = ("switch", "kill-koboshid")
WEAK = tuple(sorted(set(FAULTS) - {*STRONG, *NOBODY_FELL}))


@dataclasses.dataclass(frozen=True)
class Act:
    fault: str
    role: str = "active"
    kill_at: str = ""  # all of koboshid is killed when this step stands in the story

    def __str__(self) -> str:
        return f"{self.fault} on the {self.role}" + (f", koboshid killed at '{self.kill_at}'" if self.kill_at else "")


def nobody_is_somebody() -> bool:
    """Instances come round: then somebody has the address that a decoy is touched at."""
    return layout.NOBODY4 in network.neighbours()


def draw(random_: random.Random, steps: tuple[str, ...]) -> Act:
    kind = random_.random()
    if kind < 0.08:
        return Act(random_.choice(NOBODY_FELL))
    if kind < 0.14:
        return Act("kill-guest", "spare")
    fault = random_.choice(STRONG if kind < 0.8 else WEAK)
    role = "standby" if random_.random() < 0.25 else "active"
    return Act(fault, role, random_.choice(steps) if fault in STRONG and random_.random() < 0.2 else "")


def await_step(first: int, step: str) -> None:
    """Until it stands in the story of the incident; or until that is over without it."""
    def look() -> bool:
        try:
            stories = [api.incident(one["number"]) for one in api.incidents() if one["number"] >= first]
        except (OSError, ValueError, LabError):
            return False
        return any(step in (told["step"] for told in story.get("steps", [])) or story.get("closed") for story in stories)

    wait_for(f"the step '{step}'", look, STORY_SECONDS, 0.003)


def all_closed(first: int) -> Optional[list[Json]]:
    try:
        stories = [api.incident(number) for number in sorted(i["number"] for i in api.incidents() if i["number"] >= first)]
    except (OSError, ValueError, LabError):
        return None
    return stories if stories and all(story.get("closed") for story in stories) else None


def strike(act: Act, number: int) -> int:
    """When it began."""
    try:
        at_us = FAULTS[act.fault].strike(number)
    except LabError:
        if act.fault not in WEAK:
            raise
        at_us = now_us()  # this guest is proof against it
    if act.fault in WEAK:
        guest.kill(number)
    return at_us


def nothing_fell(act: Act, before: Json) -> list[Json]:
    """A planned switch, or the end of all of koboshid's processes."""
    first = api.newest_incident() + 1
    old = set(api.koboshi_pids())
    (PLANNED if act.fault == "switch" else FAULTS[act.fault]).strike(0)
    if act.fault == "switch":
        return wait_for("the end of the switch", lambda: all_closed(first), scene.CLOSE_SECONDS, 0.1)
    wait_for("a new koboshid", lambda: api.koboshi_pids() and not old & set(api.koboshi_pids()), 30, 0.05)
    if scene.numbers(api.wait_whole()) != scene.numbers(before):
        raise LabError("other instances are there after koboshid was killed")
    return []


def is_mended(story: Json) -> bool:
    """And did not fall again."""
    steps = [told["step"] for told in story["steps"]]
    return "mended" in steps and "fenced" not in steps[steps.index("mended"):]


def fell(act: Act, before: Json) -> list[Json]:
    first, victim = api.newest_incident() + 1, api.holder(before, act.role)["number"]
    strike(act, victim)
    if act.kill_at:
        await_step(first, act.kill_at)
        api.kill_koboshi()
    stories = wait_for(f"the end of the incident about kb-{victim}", lambda: all_closed(first), scene.CLOSE_SECONDS, 0.1)
    if [story["victim"]["number"] for story in stories] != [victim]:
        raise LabError(f"one incident, about kb-{victim}, was to come of it: {[(s['number'], s['victim'], s['cause']) for s in stories]}")

    def settled() -> bool:
        """It is gone, tap included; or it was mended, and is one of them again, unless a better one took its place since."""
        status = api.try_call("GET", "/v1/status")
        if not status:
            return False
        stands = victim in scene.numbers(status)
        there = victim in scene.remaining_guests() or f"kb{victim}" in network.snapshot()["links"]
        return there == stands and (is_mended(stories[0]) or not there)

    wait_for(f"kb-{victim} to be gone, its tap included, or mended", settled, 20, 0.1)
    return stories


def play(asking: clients.Clients, act: Act, first_taken: Json) -> Json:
    """One act; what became of it. LabError: it did not end well."""
    begin_us = now_us()
    before = api.wait_whole()
    stories = nothing_fell(act, before) if act.fault in NOBODY_FELL else fell(act, before)
    api.wait_whole()
    asking.wait_good(now_us(), 20)
    leaks = footprint.grown(first_taken, footprint.settled())
    if leaks:
        raise LabError("; ".join(leaks))
    story = stories[0] if stories else {}
    steered = [(s["steered_us"] - api.decided_us(s)) / 1000 for s in stories if act.role == "active" and s.get("steered_us") and s.get("verdict_us")]
    return {"act": str(act), "fault": act.fault, "incidents": [s["number"] for s in stories], "verdict": story.get("verdict"), "cause": story.get("cause"),
            "verdict_to_steered_ms": round(steered[0], 1) if steered and not act.kill_at else None, "took_s": round((now_us() - begin_us) / 1e6, 1)}


def steps_of_a_story(asking: clients.Clients, fault: str) -> tuple[str, ...]:
    """In the order in which they come first, as a story in peace has them."""
    played = scene.play(asking, FAULTS[fault])
    return tuple(dict.fromkeys(told["step"] for told in played.incident["steps"]))


def soak(asking: clients.Clients, acts: list[Act], told: Callable[[int, Json], None]) -> list[Json]:
    """Plays on after one that did not end well, if the device comes to rest all the same."""
    rows: list[Json] = []
    api.wait_whole()
    taken = footprint.settled()
    for number, act in enumerate(acts, 1):
        if act.fault == "touch-decoy" and nobody_is_somebody():
            act = dataclasses.replace(act, fault="scan")
        try:
            row = play(asking, act, taken)
        except LabError as error:
            row = {"act": str(act), "fault": act.fault, "wrong": str(error)}
        rows.append(row)
        told(number, row)
        if "wrong" in row:
            api.wait_whole(180)
            taken = footprint.settled()
    return rows


def report(seed: int, rows: list[Json], began_us: int, asking: clients.Clients) -> Json:
    view = clients.view(asking.requests(), began_us, now_us())
    kinds: dict[str, int] = {}
    for row in rows:
        kinds[row["fault"]] = kinds.get(row["fault"], 0) + 1
    times = [row.get("verdict_to_steered_ms") for row in rows]
    known = [time for time in times if time is not None]
    return {"machine": machine(), "seed": seed, "acts": len(rows), "wrong": sum("wrong" in row for row in rows), "kinds": dict(sorted(kinds.items())),
            "seconds": round((now_us() - began_us) / 1e6), "verdict_to_steered_ms": {**spread(times), "within_50_ms": sum(time <= 50 for time in known)},
            "requests": view.requests, "failed": view.failed, "max_gap_ms": round(view.max_gap_ms, 1), "raw": rows}


def write(found: Json) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab/soak", description="Plays incidents of random kinds in a row on real guests; report in build/soak/report.json.")
    parser.add_argument("--incidents", type=int, default=300, help="so many (300; a quarter of a minute each)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what they are drawn from (another each time)")
    parser.add_argument("--steps", type=int, default=1, help="1: before that, koboshid is killed at each step of a compromise (1)")
    parser.add_argument("--requests", type=int, default=100000, help="afterwards, without a fault: so many, with a planned switch each --every seconds (100000)")
    parser.add_argument("--every", type=float, default=30, help="seconds (30)")
    parser.add_argument("--busy", type=float, default=3600, help="at last: seconds beside two hogs and a guest that boots again and again (3600)")
    return parser.parse_args()


def endured(options: argparse.Namespace) -> Json:
    """What is done without a fault: nothing may fail, nobody may fall."""
    found: Json = {}
    if options.requests:
        row = found["rotated"] = endure.rotated(options.requests, options.every)
        print(f"  {row['failed']} of {row['requests']} requests failed with {row['switches']} planned switches; falls: {len(row['fallen'])}; "
              f"p99 {row['p99_ms']} ms, longest gap {row['max_gap_ms']} ms", flush=True)
    if options.busy:
        row = found["busy"] = endure.busy(options.busy)
        print(f"  {row['incidents']} false switches in {row['seconds']:.0f} s beside two hogs and {row['boots']} boots; {row['failed']} of "
              f"{row['requests']} requests failed", flush=True)
    rotated, busy = found.get("rotated", {}), found.get("busy", {})
    found["wrong"] = rotated.get("failed", 0) + len(rotated.get("fallen", [])) + busy.get("incidents", 0)
    return found


def main() -> int:
    options = arguments()
    print(f"  seed {options.seed}: 'lab/soak --seed {options.seed}' plays the same", flush=True)
    api.wait_whole(180)
    with clients.Clients(clients.good_bodies(layout.VARIANTS), seconds=120 * (options.incidents + 40)) as asking, Progress("soak") as progress:
        asking.wait_good(0, 20)
        steps = steps_of_a_story(asking, "tamper")
        random_ = random.Random(options.seed)
        acts = [Act("tamper", "active", step) for step in steps] if options.steps else []
        acts += [draw(random_, steps) for _ in range(options.incidents)]
        began_us, rows = now_us(), []

        def told(number: int, row: Json) -> None:
            rows.append(row)
            print(f"  {number}/{len(acts)} {row['act']}: {row.get('wrong') or row['verdict'] or 'nobody fell'}"
                  + ("" if "wrong" in row else f", {row['took_s']} s"), flush=True)
            progress(f"{number} of {len(acts)}, {sum('wrong' in one for one in rows)} wrong")
            write(report(options.seed, rows, began_us, asking))

        soak(asking, acts, told)
        found = report(options.seed, rows, began_us, asking)
    found["endured"] = endured(options)
    write(found)
    times = found["verdict_to_steered_ms"]
    print(f"\n  {found['acts']} in {found['seconds']} s, {found['wrong']} wrong; verdict to steered {times.get('median', '-')} ms (median), "
          f"{times['within_50_ms']} of {times['n']} within 50 ms; {found['failed']} of {found['requests']} requests failed\n  written to {TARGET / 'report.json'}")
    return 1 if found["wrong"] or found["endured"]["wrong"] else 0


if __name__ == "__main__":
    sys.exit(guarded(main))
