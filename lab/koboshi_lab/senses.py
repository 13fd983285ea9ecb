"""How soon each kind of attack is found, by whom; and what is found when nobody attacks."""
import dataclasses
import time
from typing import Any, Optional

from . import api, clients, guest, layout, scene
from .faults import FAULTS, PLANNED
from .shell import LabError, Progress, now_us, wait_for

Json = dict[str, Any]
LEARN_SECONDS = 20  # src/sense/usage.h
LEARN_WINDOWS = 6  # of ten seconds; src/sense/flows.h
INNOCENT = {"good", "proven", "unknown", "late"}


@dataclasses.dataclass(frozen=True)
class Attack:
    fault: str
    findings: tuple[str, ...]  # any of these is right
    weak: bool = False  # no verdict comes of it alone
    within_ms: Optional[int] = None  # the aim; written beside the figure, asserted nowhere


# What the service's clients do not notice by themselves, or not soon.
ATTACKS = (
    Attack("drop-program", ("denied",)), Attack("drop-script", ("denied",)), Attack("run-deleted", ("denied",)), Attack("run-loader", ("denied",)),
    Attack("kill-agent", ("mute", "nonsense")), Attack("lie-agent", ("nonsense", "mute")), Attack("flood-agent", ("nonsense",)),
    Attack("add-account", ("account", "changed")), Attack("change-etc", ("changed",)), Attack("load-module", ("module",)),
    Attack("touch-decoy", ("touched",), within_ms=100), Attack("scan", ("reaching", "touched"), within_ms=2000),
    Attack("tamper", ("wrong-content", "wrong-challenge", "changed"), within_ms=1000), Attack("panic", ("panicked",), within_ms=100), Attack("watchdog", ("watchdog",)),
    Attack("mine", ("busy",), True, 5000), Attack("flood", ("flooding",), True, 5000), Attack("call-out", ("unusual",), True), Attack("write", ("writing",), True),
    Attack("stray", ("strayed",), True), Attack("open-port", ("listening",), True), Attack("change-api", ("differs", "outvoted"), True),
)


def findings(number: int) -> list[Json]:
    return (api.try_call("GET", f"/v1/why/kb-{number}") or {}).get("findings", [])


def found_at(number: int, attack: Attack) -> Optional[Json]:
    return next((one for one in findings(number) if one["finding"] in attack.findings), None)


def await_learnt(number: int) -> None:
    with Progress(f"what is usual for kb-{number} is learnt"):
        wait_for(f"what is usual for kb-{number}",
                 lambda: (api.try_call("GET", f"/v1/why/kb-{number}") or {}).get("learnt", 0) >= LEARN_SECONDS, 120, 0.5)


def await_flows_learnt(number: int) -> None:
    with Progress(f"what flows are usual for kb-{number} is learnt"):
        wait_for(f"the usual flows of kb-{number}",
                 lambda: (api.try_call("GET", f"/v1/flows/kb-{number}") or {}).get("windows", 0) >= LEARN_WINDOWS, 180, 0.5)


def strike(asking: clients.Clients, attack: Attack) -> Json:
    """On the standby, so that what the clients see is not mixed with it; the fall of that one is waited for."""
    before, first = api.wait_whole(), api.newest_incident() + 1
    scene.settle(asking)
    struck = api.holder(before, "standby")["number"]
    if attack.weak:
        await_learnt(struck)
    if "unusual" in attack.findings:
        await_flows_learnt(struck)
    already = {one["finding"] for one in findings(struck)} - INNOCENT
    at_us, seen = FAULTS[attack.fault].strike(struck), None

    def look() -> Optional[Json]:
        nonlocal seen
        seen = found_at(struck, attack)
        return seen or (api.newest_incident() >= first or None) and {}

    try:
        wait_for("a finding", lambda: look() is not None, 40, 0.02)
    except LabError:
        pass
    row: Json = {"found": (seen or {}).get("finding"), "vantage": (seen or {}).get("vantage"), "detail": (seen or {}).get("detail"),
                 "found_ms": round((seen["first_us"] - at_us) / 1000, 1) if seen else None, "before": sorted(already)}
    if api.newest_incident() < first:  # weak, or never found: the next one wants a guest to which nothing was done
        guest.kill(struck)
    stories = scene.wait_closed(first, 0)
    if not (seen and attack.weak):
        row |= {"cause": stories[0].get("cause"), "verdict": stories[0].get("verdict")}
        row["verdict_ms"] = round((stories[0]["verdict_us"] - at_us) / 1000, 1) if stories[0].get("verdict_us") else None
    return row


def measure(asking: clients.Clients, count: int) -> Json:
    report: Json = {}
    for attack in ATTACKS:
        if attack.fault not in FAULTS:
            report[attack.fault] = {"never": "the lab cannot stage it"}
            continue
        runs = []
        for number in range(1, count + 1):
            runs.append(strike(asking, attack))
            row = runs[-1]
            print(f"  {attack.fault} {number}/{count}: {row['found'] or 'NEVER FOUND'} from the {row['vantage']} after {row['found_ms']} ms"
                  f" ({row['detail']})", flush=True)
        report[attack.fault] = {"aim_ms": attack.within_ms, "runs": runs}
    return report


def strange(seen: dict[str, Json]) -> None:
    """Adds what is found about the living instances, if it is not innocent, by instance and finding."""
    status = api.try_call("GET", "/v1/status")
    for instance in api.service_of(status)["instances"] if status else []:
        for one in findings(instance["number"]):
            if one["finding"] not in INNOCENT:
                seen[f"kb-{instance['number']} {one['finding']}"] = {key: one[key] for key in ("vantage", "count", "weight", "detail")}


def calm(seconds: float) -> Json:
    """Normal mixed load: new and kept connections, pages and the application's answers, in busier and quieter minutes, with a planned switch
    each minute. Any verdict is a false alarm; weak findings are listed too."""
    api.wait_whole()
    first, begin, switches, refused, seen = api.newest_incident(), time.monotonic(), 0, 0, {}
    good = clients.good_bodies(layout.VARIANTS)
    begin_us = now_us()
    with clients.Clients(good, seconds=int(seconds) + 60) as pages, \
            clients.Clients(good, rate=2, seconds=int(seconds) + 60, keep_alive=True), Progress("normal load, planned switches") as progress:
        minute, busier = 0, None
        while time.monotonic() < begin + seconds:
            time.sleep(2)
            strange(seen)
            progress(f"{switches} switches, {len(seen)} kinds of findings")
            if time.monotonic() < begin + 60 * (minute + 1):
                continue
            minute += 1
            if busier:
                busier.stop()
            busier = clients.Clients(good, rate=4, seconds=70) if minute % 3 == 1 else None
            try:
                PLANNED.strike(0)
                switches += 1
            except LabError:
                refused += 1  # nobody is ready to take over: the last switch's spare is still being built
        if busier:
            busier.stop()
        view = clients.view(pages.requests(), begin_us, now_us())
    found = [api.incident(number) for number in range(first + 1, api.newest_incident() + 1)]
    false = [story for story in found if story.get("verdict") != "planned"]
    return {"seconds": seconds, "switches": switches, "refused": refused, "false_alarms": len(false), "causes": [s.get("cause") for s in false],
            "findings": seen, "requests": view.requests, "failed": view.failed, "kinds": view.kinds, "p99_ms": round(view.p99_ms, 1)}


def rotations(count: int) -> Json:
    """Nothing is broken; whoever was within reach for 10 s hands over, so that one follows the other as fast as guests can be built."""
    api.wait_whole()
    first, begin_us = api.newest_incident(), now_us()
    with clients.Clients(clients.good_bodies(layout.VARIANTS), seconds=count * 120 + 60) as pages, Progress("rotations") as progress:
        pages.wait_good(0, 10)
        scene.configured(lambda text: text + "    max_exposure: 10s\n", scene.ROLES)

        def look() -> bool:
            progress(f"{max(0, api.newest_incident() - first)} of {count}")
            return api.newest_incident() >= first + count

        wait_for(f"{count} rotations", look, count * 120, 0.5)
        scene.configured(lambda text: text, scene.ROLES)
        end_us = now_us()
        view = clients.view(pages.requests(), begin_us, end_us)
    stories = [api.incident(number) for number in range(first + 1, api.newest_incident() + 1)]
    return {"rotations": len(stories), "seconds": round((end_us - begin_us) / 1e6), "others": [s["cause"] for s in stories if s["verdict"] != "planned"],
            "variants": [s["active"]["variant"] for s in stories], "requests": view.requests, "failed": view.failed, "kinds": view.kinds,
            "p99_ms": round(view.p99_ms, 1), "max_gap_ms": round(view.max_gap_ms, 1)}
