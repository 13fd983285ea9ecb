"""The benchmark: many switches, every other fault a few times, planned switches, the cost of doing nothing, and false alarms.

Runs inside a world; lab/bench starts it there. Nothing here passes or fails by its speed: figures are written down.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any, Optional

from . import api, clients, layout, scene, senses, timeline
from .faults import FAULTS, PLANNED
from .shell import Progress, guarded

OTHERS = ("hang", "tamper", "panic", "drop", "kill-app", "kill-guest")
TARGET = layout.BUILD / "bench"
COSTS = TARGET / "costs.json"  # written by costs.py in the same run
Json = dict[str, Any]


def spread(values: list[Optional[float]]) -> Json:
    known = [value for value in values if value is not None]
    if not known:
        return {"n": 0}
    return {"n": len(known), "median": round(statistics.median(known), 1), "max": round(max(known), 1), "min": round(min(known), 1)}


def verdict_to_steered(played: scene.Scene) -> Optional[float]:
    story = played.incident
    decided_us = api.decided_us(story)
    if not decided_us or not story.get("steered_us"):
        return None
    return (story["steered_us"] - decided_us) / 1000


def summary(played: list[scene.Scene]) -> Json:
    rows = [one.report() for one in played]
    keys = ("detected_ms", "steered_ms", "standby_restored_ms", "spare_restored_ms", "max_gap_ms", "failed", "requests", "p99_ms")
    return {"n": len(rows), **{key: spread([row[key] for row in rows]) for key in keys},
            "verdict_to_steered_ms": spread([verdict_to_steered(one) for one in played]),
            "nothing_shared": sum(not row["shared_components"] for row in rows), "raw": rows}


def many(asking: clients.Clients, name: str, count: int) -> Json:
    fault = PLANNED if name == PLANNED.name else FAULTS[name]
    played = []
    for number in range(1, count + 1):
        played.append(scene.play(asking, fault))
        row = played[-1].report()
        print(f"  {name} {number}/{count}: detected {timeline.figure(row['detected_ms'])}, steered {timeline.figure(row['steered_ms'])}, "
              f"standby {timeline.figure(row['standby_restored_ms'])}, spare {timeline.figure(row['spare_restored_ms'])}, "
              f"{row['failed']} of {row['requests']} failed, gap {timeline.figure(row['max_gap_ms'])}", flush=True)
    return summary(played)


def thread_ns(path: pathlib.Path) -> int:
    try:
        return int(path.read_text(encoding="ascii").split()[0])
    except OSError:
        return 0  # it has just ended


def cpu_s(pid: int) -> float:
    """What its threads took, to the nanosecond; none of its children."""
    return sum(map(thread_ns, pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))) / 1e9


def memory_kb(*pids: int) -> Json:
    """RSS, and PSS, which divides what several share, added up. One that has just ended has none."""
    total = {"rss_kb": 0, "pss_kb": 0}
    for pid in pids:
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        for line in text.splitlines()[1:]:
            name = f"{line.split(':')[0].lower()}_kb"
            if name in total:
                total[name] += int(line.split()[1])
    return total


def idle(seconds: float) -> Json:
    """Processor share and memory of koboshid's processes while nothing happens and nobody asks."""
    api.wait_whole()
    time.sleep(2)  # the last boot's work fades; there is no event to wait for
    pids = api.koboshi_pids()
    before, begin = {pid: cpu_s(pid) for pid in pids}, time.monotonic()
    with Progress("idle cost is measured") as progress:
        while time.monotonic() < begin + seconds:
            time.sleep(0.5)
            progress()
    took = time.monotonic() - begin
    rows: dict[str, Json] = {}
    for pid, name in pids.items():  # koboshi-vm is two processes: they are added up
        row = {"cpu_percent": 100 * (cpu_s(pid) - before[pid]) / took, **memory_kb(pid)}
        known = rows.setdefault(name, dict.fromkeys(row, 0))
        rows[name] = {key: round(known[key] + value, 2) for key, value in row.items()}
    return {"seconds": round(took, 1), "cpu_percent": round(sum(row["cpu_percent"] for row in rows.values()), 2),
            "rss_kb": sum(row["rss_kb"] for row in rows.values()), "pss_kb": sum(row["pss_kb"] for row in rows.values()),
            "processes": rows}


def boot_beside() -> subprocess.Popen:
    """A guest of nobody: it boots, uncapped, and has no network."""
    folder = layout.IMAGES / layout.VARIANTS[0]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return subprocess.Popen(["timeout", "20", "qemu-system-x86_64", "-accel", "tcg", "-m", "192", "-nographic", "-nic", "none",
                             "-monitor", "none", "-serial", "none", "-kernel", folder / "vmlinuz", "-initrd", folder / "initrd",
                             "-drive", f"file={folder}/root.erofs,format=raw,if=virtio,readonly=on",
                             "-append", manifest["boot"]["cmdline"]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def false_switches(asking: clients.Clients, seconds: float) -> Json:
    """Two hogs and a booting guest beside the service: whatever incident comes is a false one."""
    api.wait_whole()
    first, begin = api.newest_incident(), time.monotonic()
    before_us = scene.now_us()
    hogs = [subprocess.Popen(["timeout", str(int(seconds) + 5), "sh", "-c", "while :; do :; done"]) for _ in range(2)]
    booting, boots = boot_beside(), 1
    with Progress("two hogs and a booting guest") as progress:
        while time.monotonic() < begin + seconds:
            time.sleep(0.5)
            progress(f"{api.newest_incident() - first} incidents")
            if booting.poll() is not None:
                booting, boots = boot_beside(), boots + 1
    for process in [*hogs, booting]:
        process.terminate()
        process.wait()
    seen = clients.view(asking.requests(), before_us, scene.now_us())
    found = [api.incident(number) for number in range(first + 1, api.newest_incident() + 1)]
    return {"seconds": seconds, "boots": boots, "incidents": len(found), "causes": [story.get("cause") for story in found],
            "requests": seen.requests, "failed": seen.failed, "p50_ms": round(seen.p50_ms, 1), "p99_ms": round(seen.p99_ms, 1)}


def machine() -> Json:
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return {"processors": os.cpu_count(), "model": model, "kernel": os.uname().release, "accelerator": "software emulation"}


def write(report: Json) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def cell(values: Json) -> str:
    return f"{values['median']:.0f} / {values['max']:.0f}" if values.get("n") else "-"


def table(report: Json) -> None:
    keys = ("detected_ms", "verdict_to_steered_ms", "steered_ms", "standby_restored_ms", "spare_restored_ms", "max_gap_ms", "failed")
    print(f"\n  {'median / max':<14}" + "".join(f"{key.replace('_', ' '):>22}" for key in ("n", *keys)))
    for name, row in report["faults"].items():
        print(f"  {name:<14}{row['n']:>22}" + "".join(f"{cell(row[key]):>22}" for key in keys))
    if "idle" in report:
        print(f"\n  idle: {report['idle']['cpu_percent']} % of a core, RSS {report['idle']['rss_kb']} kB, PSS {report['idle']['pss_kb']} kB")
        for name, row in report["idle"]["processes"].items():
            print(f"    {name:<16} {row['cpu_percent']:>6} %  RSS {row['rss_kb']:>6} kB  PSS {row['pss_kb']:>6} kB")
    if "false" in report:
        row = report["false"]
        print(f"  false switches in {row['seconds']:.0f} s under load: {row['incidents']} ({row['failed']} of {row['requests']} requests "
              f"failed, p99 {row['p99_ms']} ms, {row['boots']} guests booted beside)")
    senses_table(report)


def costs_table(costs: Json) -> None:
    for name in ("plan", "agent", "wire", "vault"):
        if "never" in costs.get(name, {}):
            print(f"  what the {name} costs was not measured: {costs[name]['never']}")
    if "rows" in costs.get("plan", {}):
        most = costs["plan"]["rows"][-1]
        print(f"  a step of the plan with {most['instances']} instances, median / p99 us: " + ", ".join(
            f"{name} {one['median_us']} / {one['p99_us']}" for name, one in most.items() if name != "instances"))
    for kind in ("hashed", "trusted"):
        row = costs.get("agent", {}).get(kind)
        if row:
            print(f"  an exec decision ({kind} root), p50 / p99 us: seen before {row['listed, seen before']['p50_us']} / "
                  f"{row['listed, seen before']['p99_us']}, new 1 MB {row['listed, 1 MB, new each time']['p50_us']} / "
                  f"{row['listed, 1 MB, new each time']['p99_us']}, without the agent {row['without the agent']['p50_us']} / "
                  f"{row['without the agent']['p99_us']}; the agent's memory {row['agent_rss_kb']} kB")
    wire = costs.get("wire", {})
    if "core_percent" in wire:
        print(f"  the wire, {wire['packets_per_s']} packets a second, {wire['flows_open']} flows: {wire['core_percent']} % of a core, "
              f"{wire['resident_kib']} KiB; a scan at 50 a second found after {wire['scan_reaching_ms']} ms")


def vault_table(vault: Json) -> None:
    if "rollback_ms" in vault:
        times = spread(vault["rollback_ms"])
        print(f"  a vault of {vault['mib']} MiB with {vault['changed_percent']} % changed goes back within (median / max) {cell(times)} ms "
              f"n={times['n']}; {vault['failed_reads']} of {vault['reads']} reads meanwhile failed; a backup takes "
              f"{cell(spread(vault['backup_ms']))} ms")


def senses_table(report: Json) -> None:
    costs_table(report.get("costs", {}))
    vault_table(report.get("costs", {}).get("vault", {}))
    for name, row in report.get("senses", {}).items():
        times = spread([run["found_ms"] for run in row.get("runs", [])])
        who = sorted({f"{run['found']} from the {run['vantage']}" if run["found"] else "never" for run in row.get("runs", [])})
        aim = f"aim {row['aim_ms']}" if row.get("aim_ms") else ""
        print(f"  {name:<14} found after (median / max) {cell(times):>14} ms {aim:<9} n={times['n']}  {', '.join(who) or row.get('never')}")
    if "rotations" in report:
        row = report["rotations"]
        print(f"  {row['rotations']} rotations without a fault in {row['seconds']} s: {row['failed']} of {row['requests']} requests failed, "
              f"p99 {row['p99_ms']} ms, longest gap {row['max_gap_ms']} ms; falls: {len(row['others'])}")
    if "calm" in report:
        row = report["calm"]
        print(f"  false alarms in {row['seconds']:.0f} s of normal load with {row['switches']} planned switches: {row['false_alarms']} "
              f"({row['failed']} of {row['requests']} requests failed); weak or counted findings: {len(row['findings'])}")
        for name, one in row["findings"].items():
            print(f"    {name}: {one['count']} times from the {one['vantage']} ({one['weight']}) {one['detail']}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab/bench", description="Measures the switch on real guests.")
    parser.add_argument("--switches", type=int, default=30, help="switches because of a closed port (30)")
    parser.add_argument("--others", type=int, default=5, help="of each other fault (5)")
    parser.add_argument("--planned", type=int, default=10, help="planned switches (10)")
    parser.add_argument("--idle", type=float, default=30, help="seconds of doing nothing (30)")
    parser.add_argument("--false", type=float, default=600, dest="false_seconds", help="seconds under load (600)")
    parser.add_argument("--senses", type=int, default=3, help="of each attack that keeps the service alive: how soon it is found (3)")
    parser.add_argument("--calm", type=float, default=1800, help="seconds of normal load with planned switches (1800)")
    parser.add_argument("--rotations", type=int, default=0, help="replacements without a fault, half a minute each; 100 are a soak (0)")
    parser.add_argument("--costs", type=int, default=1, help="1: what the agent's answers and the senses at the wire cost too (1)")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    report: Json = {"machine": machine(), "faults": {}}
    if COSTS.exists():
        report["costs"] = json.loads(COSTS.read_text(encoding="utf-8"))
    timeline.roles(api.wait_whole(180))
    if options.idle:
        report["idle"] = idle(options.idle)
        write(report)
    with clients.Clients(clients.good_bodies(layout.VARIANTS)) as asking:
        asking.wait_good(0, 20)
        plan = [("close-port", options.switches), (PLANNED.name, options.planned), *((name, options.others) for name in OTHERS)]
        for name, count in plan:
            if count:
                report["faults"][name] = many(asking, name, count)
                write(report)
        if options.senses:
            report["senses"] = senses.measure(asking, options.senses)
            write(report)
        if options.false_seconds:
            report["false"] = false_switches(asking, options.false_seconds)
    if options.rotations:
        report["rotations"] = senses.rotations(options.rotations)
        write(report)
    if options.calm:
        report["calm"] = senses.calm(options.calm)
    write(report)
    table(report)
    print(f"\n  written to {TARGET / 'report.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
