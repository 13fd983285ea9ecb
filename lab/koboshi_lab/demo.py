"""The demonstration: two clients keep asking, the active instance is struck, and each time the service stands up. In the first act
the service dies; in the second an attacker keeps it alive, and is found all the same.

Runs inside a world; lab/demo starts it there.
"""
import json
import sys
from typing import Optional

from . import api, clients, layout, scene, timeline
from .faults import FAULTS
from .shell import guarded

ACTS = (
    ("The service dies.", (("close-port", None), ("hang", None), ("panic", None), ("close-port", 10.0))),
    ("An attacker keeps it alive: the timeline names who saw it.", (("drop-program", None), ("scan", None), ("tamper", None))),
)
TARGET = layout.BUILD / "demo"


def report_write(reports: list[dict]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"faults": reports, "what_it_means": "milliseconds after the fault; see docs/lab.md"}, indent=1)
    (TARGET / "report.json").write_text(text + "\n", encoding="utf-8")


def restored(report: dict) -> bool:
    return report["active"]["number"] != report["victim"]["number"] and report["served_again_ms"] is not None or report["failed"] == 0


def table(reports: list[dict]) -> None:
    head = ("fault", "detected", "steered", "standby", "spare", "longest gap", "failed", "of", "in common")
    rows = [[r["fault"], *(timeline.figure(r[k]) for k in ("detected_ms", "steered_ms", "standby_restored_ms", "spare_restored_ms",
                                                           "max_gap_ms")),
             str(r["failed"]), str(r["requests"]), ", ".join(r["shared_components"]) or "nothing"] for r in reports]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def play(asking: clients.Clients, name: str, kill_ms: Optional[float], reports: list[dict]) -> None:
    fault = FAULTS[name]
    title = name if kill_ms is None else "kill-koboshid"
    print(f"{len(reports) + 1}. {title}: {fault.text}" + (", and koboshid dies in the middle" if kill_ms is not None else ""), flush=True)
    played = scene.play(asking, fault, kill_ms, title)
    timeline.show(played)
    reports.append(played.report())
    report_write(reports)


def main() -> int:
    print("Bringing up the device: three guests of three kinds (the first start takes the longest).", flush=True)
    status = api.wait_whole(180)
    timeline.roles(status)
    reports = []
    with clients.Clients(clients.good_bodies(layout.VARIANTS)) as asking:
        asking.wait_good(0, 20)
        print(f"\nTwo clients ask {layout.SERVICE4} and {layout.SERVICE6}, {clients.RATE} requests a second each.\n")
        for number, (title, scenes) in enumerate(ACTS, 1):
            print(f"Act {number}. {title}\n", flush=True)
            for name, kill_ms in scenes:
                play(asking, name, kill_ms, reports)
    table(reports)
    print(f"\n  written to {TARGET / 'report.json'}")
    failed = [r["fault"] for r in reports if not restored(r)]
    if failed:
        print(f"  NOT restored after: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(guarded(main))
