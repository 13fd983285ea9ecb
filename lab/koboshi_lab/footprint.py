"""What a device in the lab takes of its host: links, rules, mounts, files, processes, descriptors. None of it may grow from incident to
incident."""
import json
import os
import re
from typing import Any

from . import api, layout, network, scene
from .shell import processes, run, wait_for

Json = dict[str, Any]
SLACK = {"descriptors": 2, "neighbours": 2}  # what comes and goes by itself


def taken() -> Json:
    links = network.snapshot()
    text = run("nft", "-j", "list", "ruleset")  # its parts are counted: a listing's lines break by the length of names
    rules = sum("rule" in part for part in json.loads(text)["nftables"])
    strangers = set(re.findall(r"\bkb\d+\b", text)) - set(links["links"])
    files = {re.sub(r"\d+", "N", os.path.join(folder, name)) + f" #{n}" for folder, _, names in os.walk(layout.RUN)
             for n, name in enumerate(sorted(names)) if "/evidence" not in folder}  # kept on purpose, bounded by its limits
    descriptors = {name: len(os.listdir(f"/proc/{pid}/fd")) for pid, name in api.koboshi_pids().items()}
    return {"links": len(links["links"]), "mounts": len(links["mounts"]), "rules": rules, "rules of taps that are gone": len(strangers), "files": sorted(files),
            "guests": len(scene.remaining_guests()), "processes": len(processes()), "descriptors": descriptors,
            "neighbours": len(run("ip", "neigh").splitlines())}


def settled() -> Json:
    """The same twice in a row: late ends are over."""
    last: Json = {}

    def look() -> Json:
        nonlocal last
        try:
            now = taken()
        except FileNotFoundError:  # a process ended in the middle of it
            return {}
        same, last = now == last, now
        return now if same and now["guests"] == 3 else {}

    return wait_for("a steady footprint", look, 30, 1)


def grown(before: Json, after: Json) -> list[str]:
    """One sentence for each thing of which there is more."""
    found = []
    for name, value in before.items():
        if name == "descriptors":
            found += [f"{program} holds {after[name][program]} descriptors, {n} before" for program, n in value.items()
                      if after[name].get(program, 0) > n + SLACK[name]]
        elif name == "files" and len(after[name]) > len(value):
            found.append(f"files below {layout.RUN}: {len(value)} before, {len(after[name])} after: {sorted(set(after[name]) - set(value))}")
        elif name != "files" and after[name] > value + SLACK.get(name, 0):
            found.append(f"{name}: {value} before, {after[name]} after")
    return found
