"""What the lab asks of koboshid over its Unix socket, and how it reads the answers: roles, wholeness, incidents, processes."""
import http.client
import json
import os
import signal
import socket
import time
from typing import Any, Optional

from . import layout
from .shell import LabError, Progress, cmdline, executable, processes, wait_for

STEADY_SECONDS = 0.5
LAYERS = ("kernel", "server", "runtime")  # the aim is that a replacement shares none of these with its predecessor
Json = dict[str, Any]


class Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("koboshi", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def call(method: str, path: str, body: Optional[Json] = None, timeout: float = 5) -> Json:
    connection = Connection(os.environ.get("KOBOSHI_SOCKET", str(layout.SOCKET)), timeout)
    try:
        text = json.dumps(body) if body is not None else None
        connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        answer = connection.getresponse()
        content = answer.read(4 << 20)
    finally:
        connection.close()
    if answer.status >= 300:
        raise LabError(f"{method} {path}: {answer.status} {content.decode(errors='replace')[:300]}")
    return json.loads(content) if content.strip() else {}


def try_call(method: str, path: str) -> Optional[Json]:
    """None while koboshid is away or busy: the asker waits."""
    try:
        return call(method, path, timeout=2)
    except (OSError, http.client.HTTPException, ValueError, LabError):
        return None


def service_of(status: Json) -> Json:
    for service in status["services"]:
        if service["name"] == layout.SERVICE:
            return service
    raise LabError(f"koboshid knows no service {layout.SERVICE}")


def holder(status: Json, role: str) -> Optional[Json]:
    """The proven instance in a role: a sleeping spare was proven before it slept, the others answer rightly now."""
    for instance in service_of(status)["instances"]:
        sleeps = role == "spare" and instance["state"] == "paused" and instance["verdict"] in ("unknown", "healthy")
        if instance["role"] == role and (sleeps or instance["state"] == "ready" and instance["verdict"] == "healthy"):
            return instance
    return None


def active(status: Json) -> Json:
    service = service_of(status)
    for instance in service["instances"]:
        if instance["number"] == service["active"]:
            return instance
    raise LabError("no instance is active")


def is_whole(status: Optional[Json]) -> bool:
    """One proven instance in each role, nobody else coming or going, and the service address points at the active one."""
    if not status:
        return False
    held = {role: holder(status, role) for role in ("active", "standby", "spare")}
    return all(held.values()) and held["active"]["number"] == service_of(status)["active"] and len(service_of(status)["instances"]) == len(held)


def wait_whole(seconds: float = 120, what: str = "active, standby and spare are proven") -> Json:
    """Whole, and the same a moment later: a better one for somebody's place may be about to be built."""
    status: Optional[Json] = None
    whole: tuple[list[int], float] = ([], 0.0)

    def look() -> Optional[Json]:
        nonlocal status, whole
        status = try_call("GET", "/v1/status")
        progress(summary(status))
        numbers = sorted(i["number"] for i in service_of(status)["instances"]) if is_whole(status) else []
        if not numbers or numbers != whole[0]:
            whole = (numbers, time.monotonic())
        return status if numbers and time.monotonic() - whole[1] >= STEADY_SECONDS else None

    with Progress(what) as progress:
        try:
            return wait_for(what, look, seconds, 0.1)
        except LabError as error:
            why = "; ".join((status or {}).get("reasons") or []) or summary(status)
            raise LabError(f"{error}: {why}") from None


def summary(status: Optional[Json]) -> str:
    if not status:
        return "koboshid does not answer yet"
    instances = [i for i in service_of(status)["instances"] if i["role"] in ("active", "standby", "spare")]
    return ", ".join(f"{i['role']} {i['variant']} {i['state']}" for i in instances) or "no instance yet"


def describe(instance: Json) -> str:
    parts = instance.get("components") or {}
    return ", ".join(f"{parts[layer]}" for layer in ("kernel", "libc", "server", "runtime") if parts.get(layer))


def shared(left: Json, right: Json) -> list[str]:
    """Components that two instances have in common in the layers that an attack is likely to need."""
    mine, other = left.get("components") or {}, right.get("components") or {}
    return [mine[layer] for layer in LAYERS if mine.get(layer) and mine.get(layer) == other.get(layer)]


NOBODY_FELL = ("planned", "doubtful")  # verdicts of incidents: somebody asked for it, or somebody gave way in doubt


def incidents() -> list[Json]:
    answer = call("GET", "/v1/incidents")
    return answer["incidents"] if isinstance(answer, dict) else answer


def newest_incident() -> int:
    return max((incident["number"] for incident in incidents()), default=0)


def incident(number: int) -> Json:
    answer = call("GET", f"/v1/incidents/{number}")
    return answer.get("incident", answer)


def decided_us(story: Json) -> Optional[int]:
    """When it was decided to lead clients elsewhere: by the verdict, or in doubt before there was one."""
    doubted = [story["first_evidence_us"] + round(step["ms"] * 1000) for step in story.get("steps", []) if step["step"] == "gave-way"]
    return doubted[0] if doubted else story.get("verdict_us")


def koboshi_pids() -> dict[int, str]:
    """pid -> program of everything that runs from LIBEXEC; guests are not among them."""
    found = {}
    for pid in processes():
        for path in (executable(pid), *cmdline(pid)[:2]):  # a stand-in is a script: its interpreter's first argument
            if path.startswith(f"{layout.LIBEXEC}/"):
                found[pid] = os.path.basename(path)
                break
    return found


def kill_koboshi(program: Optional[str] = None) -> list[str]:
    """kill -9, by pid, of one program or of all at once; the supervisor first, so that it restarts nobody."""
    pids = sorted(koboshi_pids().items(), key=lambda item: item[1] != "koboshid")
    killed = []
    for pid, name in pids:
        if program in (None, name):
            try:
                os.kill(pid, signal.SIGKILL)
                killed.append(f"{name} ({pid})")
            except ProcessLookupError:
                pass
    return killed
