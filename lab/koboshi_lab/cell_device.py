"""Koboshi with cells for guests: the real koboshi-engine and the real koboshi-net (the build that makes a veth for a tap), linked as
koboshid links them, and a double of koboshi-vm that makes cells at the wires' other ends.
"""
import array
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
from typing import Any, Optional

from . import layout
from .cells import Cell, guest_addresses, PAGE
from .shell import LabError, wait_for

sys.path.insert(0, str(layout.ROOT / "test/engine"))
import fake_world  # noqa: E402

NET_PROGRAM = layout.BUILD / "test/act/net/koboshi-net-cells"
IMAGE_TOOL = layout.BUILD / "src/image/koboshi-image"
ENGINE = layout.BUILD / "src/engine/koboshi-engine"
fake_world.PAGE = PAGE  # what the manifests say that it serves


def cell_of(number: int) -> str:
    return f"cell{number}"


class CellGuest:
    """Looks to fake_world.World like its own guests."""
    cells: dict[int, Cell] = {}

    def __init__(self, number: int, variant: int):
        self.number, self.variant, self.state, self.outdated, self.revoked = number, variant, fake_world.RUNNING, 0, 0
        self.key, self.agent_key = os.urandom(fake_world.KEY_SIZE), os.urandom(fake_world.KEY_SIZE)
        self.cell = self.cells[number] = Cell(cell_of(number), f"kb{number}", f"pkb{number}")
        its = guest_addresses(number)
        self.cell.furnish(its["four"], f"""\
link set eth0 address {its['mac']}
addr add {its['four']}/32 dev eth0
addr add {its['six']}/128 dev eth0 nodad
route add default via {its['gate4']} dev eth0 onlink
route add ::/0 via {its['gate6']} dev eth0 onlink
""")
        self.cell.six = its["six"]
        self.cell.serve()

    def close_port(self) -> None:
        """World calls it when the guest is destroyed."""
        self.cells.pop(self.number).remove()


class CellWorld(fake_world.World):
    def carried_out(self, order: Any) -> Optional[bytes]:
        guest = self.guests.get(order.instance)
        if order.type == fake_world.SUSPEND and guest:
            guest.cell.signal(signal.SIGSTOP)
        elif order.type == fake_world.RESUME and guest:
            guest.cell.signal(signal.SIGCONT)
        return super().carried_out(order)


class Net:
    """The real koboshi-net under a double of koboshid."""

    def __init__(self, config: pathlib.Path, log: pathlib.Path):
        self.supervisor, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def become() -> None:
            os.dup2(its.fileno(), 3)
            os.set_blocking(3, False)

        with open(log, "ab") as out:
            self.process = subprocess.Popen([NET_PROGRAM, "--config", config], preexec_fn=become, pass_fds=(3,), stdin=subprocess.DEVNULL,
                                            stderr=out)
        its.close()

    def link(self) -> socket.socket:
        """The engine's end of one between the two."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        its.setblocking(False)
        self.supervisor.sendmsg([fake_world.packet(fake_world.LINK, struct.pack("=II", 1, 0))],
                                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [its.fileno()]))])
        its.close()
        return ours

    def end(self) -> None:
        self.supervisor.close()
        self.process.wait(10)


class Engine(fake_world.Engine):
    """Its link to the network's actuator leads to the real one."""

    net: Net

    def connect(self, role: int) -> None:
        if role != fake_world.NET:
            super().connect(role)
            return
        link = self.net.link()
        self.supervisor.sendmsg([fake_world.packet(fake_world.LINK, struct.pack("=II", role, 0))],
                                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [link.fileno()]))])
        link.close()


def config_text(folder: pathlib.Path, probe: str) -> str:
    return f"""device: cells
user: "{fake_world.ENGINE_USER}"
paths: {{run: {folder}/run, state: {folder}/state, images: {folder}/images, image_key: {folder}/key.pub}}
guests: {{addresses: [{layout.GUESTS4}, "{layout.GUESTS6}"]}}
brake: {{falls: 0}}
decoys: {{enabled: no}}
services:
  sensor:
    addresses: [{layout.SERVICE4}, "{layout.SERVICE6}"]
    ports: [80/tcp]
    clients: [{layout.CLIENT_NET4}, "{layout.CLIENT_NET6}"]
    variants: [amber, birch, cedar]
    drain: 200ms
    ladder: []
    probe: {{{probe}}}
"""


class Device:
    """Started and stopped as a baseline is. `probe` is what its configuration says of probes."""

    def __init__(self, probe: str = "challenge: no") -> None:
        self.probe = probe
        self.folder = layout.KEEPER / "device"
        self.world: Optional[CellWorld] = None
        self.engine: Optional[Engine] = None
        self.net: Optional[Net] = None

    def start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o755)
        CellGuest.cells.clear()
        fake_world.Guest = CellGuest
        fake_world.make_folder(self.folder, ENGINE, IMAGE_TOOL)
        fake_world.make_images(self.folder, IMAGE_TOOL, agent=False)
        (self.folder / "koboshi.yaml").write_text(config_text(self.folder, self.probe))
        self.world = CellWorld()
        self.net = Net(self.folder / "koboshi.yaml", self.folder / "net.log")
        self.engine = Engine(self.folder, self.world)
        self.engine.net = self.net
        self.engine.start()
        self.wait_whole()

    def wait_whole(self, seconds: float = 30) -> None:
        wait_for("the device is whole", lambda: self.engine.status()["state"] == "ok", seconds, 0.05)

    def active_number(self) -> int:
        return self.engine.status()["services"][0]["active"]

    def active(self) -> Cell:
        number = self.active_number()
        if number not in CellGuest.cells:
            raise LabError("nobody is active")
        return CellGuest.cells[number]

    def standby(self) -> Cell:
        """A proven one that does not serve."""
        for one in self.engine.status()["services"][0]["instances"]:
            if one["role"] == "standby" and one["number"] in CellGuest.cells:
                return CellGuest.cells[one["number"]]
        raise LabError("nobody stands by")

    def switch(self) -> None:
        status, said = self.engine.ask("POST", "/v1/switch")
        if status != 202:
            raise LabError(f"the switch is refused: {said}")

    def pids(self) -> list[int]:
        return [self.engine.process.pid, self.net.process.pid]

    def story(self, since_us: int) -> Optional[dict[str, Any]]:
        """The first incident with evidence after this moment; None: there is none."""
        for one in reversed(self.engine.ask("GET", "/v1/incidents")[1]["incidents"]):
            if (one["verdict_us"] or 0) >= since_us:
                status, story = self.engine.ask("GET", f"/v1/incidents/{one['number']}")
                return story if status == 200 else None
        return None

    def keep_logs(self) -> None:
        """They outlive the world: without them a failed run could not be understood."""
        target = layout.BUILD / "race"
        target.mkdir(parents=True, exist_ok=True)
        for name in ("log", "net.log"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, target / f"koboshi-{name}")

    def stop(self) -> None:
        self.keep_logs()
        if self.engine:
            self.engine.stop()
            self.engine.api.close()
        if self.net:
            self.net.end()
            subprocess.run([NET_PROGRAM, "--config", self.folder / "koboshi.yaml", "--down"], check=False, capture_output=True)
        if self.world:
            self.world.close()
        for cell in list(CellGuest.cells.values()):
            cell.remove()
        CellGuest.cells.clear()
