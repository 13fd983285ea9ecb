"""The clients: one load generator for IPv4 and one for IPv6 in the clients' namespace, and their records as they come in."""
import csv
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import tempfile
from typing import Iterable, Optional

from . import layout, network
from .shell import LabError, wait_for

# A second and client. A page costs an emulated guest about 15 ms, koboshid's probes another tenth of a second a second, and on two
# cores others run and boot beside it: with this the one in service is about half busy, as one in real service would be.
RATE = int(os.environ.get("KOBOSHI_LAB_RATE", "5"))
FAMILIES = {"ipv4": layout.SERVICE4, "ipv6": layout.SERVICE6}


@dataclasses.dataclass(frozen=True)
class Request:
    client: str
    due_us: int
    end_us: int
    outcome: str
    body: str

    @property
    def good(self) -> bool:
        return self.outcome == "good"

    @property
    def latency_ms(self) -> float:
        return (self.end_us - self.due_us) / 1000


def parse(client: str, text: str) -> list[Request]:
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    return [Request(client, int(row["due_us"]), int(row["end_us"]), row["outcome"], row["sha256"]) for row in rows]


class Clients:
    """Two clients that keep asking until told to stop; every request that ended is in `requests`."""

    def __init__(self, good: Iterable[str] = (), rate: int = RATE, seconds: int = 3600, path: str = "/", keep_alive: bool = False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="clients-", dir=layout.KEEPER))
        self.running: dict[str, subprocess.Popen] = {}
        options = [word for sha in good for word in ("--good", sha)] + (["--keep-alive"] if keep_alive else [])
        for name, address in FAMILIES.items():
            argv = network.client_exec(layout.LOAD, "--target", address, "--port", layout.PORT, "--rate", rate, "--seconds", seconds,
                                       "--path", path, "--name", name, "--csv", self.folder / f"{name}.csv",
                                       "--json", self.folder / f"{name}.json", *options)
            self.running[name] = subprocess.Popen(argv)

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def csv_text(self, name: str) -> str:
        try:
            return (self.folder / f"{name}.csv").read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def requests(self) -> list[Request]:
        """All requests that ended so far, in the order in which they ended."""
        for name, process in self.running.items():
            if process.poll() not in (None, 0):
                raise LabError(f"the {name} client ended with status {process.returncode}")
        found = [request for name in self.running for request in parse(name, self.csv_text(name))]
        return sorted(found, key=lambda request: request.end_us)

    def wait_good(self, since_us: int, seconds: float, what: str = "good answers to both clients") -> None:
        """Until each client has a good answer to a request that was due after `since_us`."""
        def look() -> bool:
            served = {request.client for request in self.requests() if request.good and request.due_us >= since_us}
            return served == set(self.running)

        wait_for(what, look, seconds, 0.1)

    def stop(self) -> list[dict]:
        """Their own summaries."""
        reports = []
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for name, process in self.running.items():
            try:
                process.wait(timeout=15)
                reports.append(json.loads((self.folder / f"{name}.json").read_text(encoding="ascii")))
            except (subprocess.TimeoutExpired, OSError, ValueError):
                process.kill()
                process.wait()
        return reports


@dataclasses.dataclass(frozen=True)
class View:
    """What the clients saw in a window of time."""
    requests: int
    failed: int
    kinds: dict[str, int]
    max_gap_ms: float
    first_failed_us: Optional[int]
    again_us: Optional[int]  # end of the first good answer after the last failure, the later of both clients
    p50_ms: float
    p99_ms: float


def percentile(values: list[float], percent: float) -> float:
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -(-int(len(ranked) * percent) // 100) - 1))]


def longest_gap_ms(requests: list[Request], begin_us: int, end_us: int) -> float:
    """The longest time that one client had to go without a good answer."""
    longest = 0
    for client in {request.client for request in requests}:
        times = [r.end_us for r in requests if r.client == client and r.good and begin_us <= r.end_us <= end_us]
        marks = [begin_us, *times, end_us]
        longest = max([longest, *(after - before for before, after in zip(marks, marks[1:]))])
    return longest / 1000


def again(requests: list[Request], failed: list[Request]) -> Optional[int]:
    latest: Optional[int] = None
    for client in {request.client for request in failed}:
        last = max(request.due_us for request in failed if request.client == client)
        after = [r.end_us for r in requests if r.client == client and r.good and r.due_us > last]
        latest = max([latest or 0, min(after)]) if after else latest
    return latest


def view(requests: list[Request], begin_us: int, end_us: int) -> View:
    """`begin_us` is the fault: a request on the way at that moment belongs to the window, so what ended later counts."""
    window = [r for r in requests if r.end_us >= begin_us and r.due_us <= end_us]
    failed = [r for r in window if not r.good]
    kinds: dict[str, int] = {}
    for request in failed:
        kinds[request.outcome] = kinds.get(request.outcome, 0) + 1
    latencies = [r.latency_ms for r in window if r.good]
    return View(len(window), len(failed), kinds, longest_gap_ms(requests, begin_us, end_us),
                min((r.end_us for r in failed), default=None), again(window, failed),
                percentile(latencies, 50), percentile(latencies, 99))


def good_bodies(variants: Iterable[str]) -> list[str]:
    """SHA-256 of the page as the signed manifests know it: what the clients may be shown."""
    found = set()
    for variant in variants:
        manifest = json.loads((layout.IMAGES / variant / "manifest.json").read_text(encoding="utf-8"))
        for item in manifest.get("content", []):
            if item.get("path") == "/":
                found.add(item["sha256"])
    return sorted(found)
