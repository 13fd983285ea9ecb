"""What happened, told to a person: one line per moment, in the order in which it happened, whoever saw it."""
import sys
from typing import Any

from . import api
from .scene import Scene

Json = dict[str, Any]
COLOURS = {"lab": "31", "clients": "36", "koboshi": "32"}


def paint(text: str, who: str) -> str:
    return f"\033[{COLOURS[who]}m{text}\033[0m" if sys.stdout.isatty() else text


def client_events(scene: Scene) -> list[tuple[float, str, str]]:
    view = scene.view
    if view.first_failed_us is None:
        return []
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(view.kinds.items()))
    found = [((view.first_failed_us - scene.fault_us) / 1000, "clients", "the first request fails")]
    if view.again_us:
        text = f"all answers are good again; {view.failed} of {view.requests} requests failed ({kinds})"
        found.append(((view.again_us - scene.fault_us) / 1000, "clients", text))
    return found


def incident_events(scene: Scene, incident: Json) -> list[tuple[float, str, str]]:
    """Steps count from the incident's first evidence."""
    base = incident.get("first_evidence_us") or scene.fault_us
    offset = (base - scene.fault_us) / 1000
    which = f"[incident {incident['number']}] " if len(scene.incidents) > 1 else ""
    return [(offset + step["ms"], "koboshi", f"{step.get('phase', ''):<8} {which}{step.get('text') or step.get('step', '')}")
            for step in incident.get("steps", [])]


def events(scene: Scene) -> list[tuple[float, str, str]]:
    found = [(0.0, "lab", f"{scene.text} (instance {scene.victim['number']}, {scene.victim['variant']})")]
    if scene.killed:
        found.append((0.0, "lab", "then all of koboshid is killed with -9 in the middle of it: " + ", ".join(scene.killed)))
    found += client_events(scene)
    for incident in scene.incidents:
        found += incident_events(scene, incident)
    return sorted(found, key=lambda event: event[0])


def figure(value: object, unit: str = "ms") -> str:
    return "-" if value is None else f"{value:.0f} {unit}" if isinstance(value, (int, float)) else str(value)


def roles(status: Json) -> None:
    for role in ("active", "standby", "spare"):
        instance = api.holder(status, role)
        if instance:
            print(f"    {role:<8} {instance['number']:>3} {instance['variant']:<6} {api.describe(instance)}")


def show(scene: Scene) -> None:
    print("  before:")
    roles(scene.before)
    for ms, who, text in events(scene):
        print(f"  {ms:>9.1f} ms  {paint(f'{who:<8}', who)} {text}")
    print("  after:")
    roles(scene.after)
    report = scene.report()
    shared = ", ".join(report["shared_components"]) or "nothing"
    if len(scene.incidents) > 1:
        print(f"  {len(scene.incidents) - 1} more incidents came of it; the figures are those of the first")
    print(f"  detected after {figure(report['detected_ms'])}, steered after {figure(report['steered_ms'])}, standby back after "
          f"{figure(report['standby_restored_ms'])}, spare after {figure(report['spare_restored_ms'])}")
    print(f"  {report['failed']} of {report['requests']} requests failed, longest wait for a good answer "
          f"{figure(report['max_gap_ms'])}; victim and successor share {shared} (kernel, server, runtime)\n", flush=True)
