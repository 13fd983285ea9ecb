#!/usr/bin/env python3
"""Stands in for koboshid and its guests in the lab's own tests: the API, the service and the guests' shells, all pretended.

It answers what the lab asks, breaks when a fault is staged and stands up shortly after, so that worlds, clients, scenes and
reports can be tried in seconds and without a guest. What it knows is on the disk: it may be killed at any moment.
"""
import http.server
import json
import pathlib
import socket
import socketserver
import subprocess
import threading
import time

RUN, STATE = pathlib.Path("/run/koboshi"), pathlib.Path("/run/state/standin.json")
VARIANTS = ("amber", "birch", "cedar")
PAGE = b"<h1>sensor</h1>\n"
lock = threading.RLock()
broken = ""


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def instance(number: int, role: str, variant: str) -> dict:
    parts = {layer: f"{layer}-{variant}" for layer in ("kernel", "server", "runtime")}
    return {"number": number, "name": f"kb-{number}", "variant": variant, "role": role, "state": "ready", "verdict": "healthy",
            "components": {**parts, "libc": "libc 1"}}


def load() -> dict:
    if STATE.exists():
        return json.loads(STATE.read_text())
    roles = ("active", "standby", "spare")
    return {"instances": [instance(n, roles[n - 1], VARIANTS[n - 1]) for n in (1, 2, 3)], "incidents": [], "next": 4}


world = load()


def save() -> None:
    temporary = STATE.with_suffix(".new")
    temporary.write_text(json.dumps(world))
    temporary.rename(STATE)


def active() -> dict:
    return next(i for i in world["instances"] if i["role"] == "active")


def switch(incident: dict) -> None:
    """What is left to do for an open incident, from wherever it was left."""
    global broken
    time.sleep(0.06)
    with lock:
        incident["verdict_us"] = incident["steered_us"] = now_us()
        _, standby, spare = world["instances"]
        standby["role"], spare["role"] = "active", "standby"
        variant = VARIANTS[(world["next"] - 1) % 3]
        world["instances"] = [standby, spare, instance(world["next"], "spare", variant)]
        guest_listen(world["next"])
        world["next"] += 1
        broken = ""
        now = now_us()
        incident.update(standby_us=now, spare_us=now, closed="now", phase="closed", outcome="restored")
        incident["steps"].append({"ms": (now - incident["first_evidence_us"]) / 1000, "phase": "absorb", "step": "steered", "text": "steered"})
        save()


def strike(kind: str) -> None:
    global broken
    with lock:
        broken = kind
        victim = active()
        incident = {"number": len(world["incidents"]) + 1, "verdict": "failed", "phase": "absorb", "cause": kind, "opened": "now",
                    "closed": None, "victim": {"number": victim["number"], "variant": victim["variant"]}, "steps": [],
                    "first_evidence_us": now_us() + 20000}
        world["incidents"].append(incident)
        save()
    threading.Thread(target=switch, args=(incident,), daemon=True).start()


class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if broken:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


class Api(http.server.BaseHTTPRequestHandler):
    def reply(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        with lock:
            if self.path == "/v1/status":
                self.reply({"state": "ok", "processes": [], "services": [
                    {"name": "sensor", "active": active()["number"], "instances": world["instances"]}]})
            elif self.path == "/v1/incidents":
                self.reply([{"number": i["number"]} for i in world["incidents"]])
            else:
                self.reply(world["incidents"][int(self.path.rsplit("/", 1)[1]) - 1])

    def do_POST(self) -> None:
        self.reply({})

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


class Shell(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            text = line.decode().strip()
            if text.startswith("echo koboshi-lab-now;"):
                self.wfile.write(b"koboshi-lab-now\n")
                strike(text)
                continue
            if "/tmp/koboshi-drop" in text:  # prepares a fault: not on the machine that runs the tests
                self.wfile.write(b"koboshi-lab: exit 0\n")
                continue
            done = subprocess.run(["sh", "-c", text], capture_output=True, check=False)
            self.wfile.write(done.stdout + f"koboshi-lab: exit {done.returncode}\n".encode())


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Server6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


def background(server: socketserver.BaseServer) -> None:
    threading.Thread(target=server.serve_forever, daemon=True).start()


def guest_listen(number: int) -> None:
    folder = RUN / "guest" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lab.sock").unlink(missing_ok=True)
    background(UnixServer(str(folder / "lab.sock"), Shell))


def main() -> None:
    for address in ("203.0.113.10/32", "2001:db8:10::10/128"):
        subprocess.run(["ip", "addr", "replace", address, "dev", "lo"], check=True)
    subprocess.Popen(["sleep", "3600"], start_new_session=True)  # an orphan to be, like a guest
    for one in world["instances"]:
        guest_listen(one["number"])
    background(http.server.ThreadingHTTPServer(("203.0.113.10", 80), Service))
    background(Server6(("2001:db8:10::10", 80), Service))
    save()
    for incident in world["incidents"]:
        if not incident["closed"]:
            switch(incident)
    (RUN / "koboshi.sock").unlink(missing_ok=True)
    UnixServer(str(RUN / "koboshi.sock"), Api).serve_forever()


if __name__ == "__main__":
    main()
