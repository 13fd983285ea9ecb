"""Koboshi with cells for guests: the real koboshi-engine and the real koboshi-net (the build that makes a veth for a tap), linked as
koboshid links them, and a double of koboshi-vm that makes cells at the wires' other ends.
"""
import array
import collections
import dataclasses
import ipaddress
import os
import pathlib
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from typing import Any, Optional, Sequence

from . import layout
from .cells import Cell, guest_addresses, GUESTS4, PAGE
from .shell import LabError, now_us, wait_for

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
        self.service = 0
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


class Relay(threading.Thread):
    """Between the engine and koboshi-net, where somebody wants to know when an order came by; that costs a little of the time."""

    def __init__(self, engine: socket.socket, net: socket.socket):
        super().__init__(daemon=True)
        self.engine, self.net = engine, net
        self.steers: collections.deque[tuple[int, Any]] = collections.deque(maxlen=256)  # when they came by, and the orders
        self.start()

    def pass_on(self, source: socket.socket, to: socket.socket) -> bool:
        try:
            packet, ancillary, _, _ = source.recvmsg(65536, socket.CMSG_SPACE(4 * 4))
        except OSError:
            return False
        if not packet:
            return False
        fds = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
        if source is self.engine:
            self.look(packet)
        try:
            to.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
        except OSError:
            return False
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def look(self, packet: bytes) -> None:
        if struct.unpack_from("=HHI", packet)[1] != fake_world.ORDER:
            return
        order = fake_world.Order(packet[8:])
        if order.type == fake_world.STEER:
            self.steers.append((now_us(), order))

    def run(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self.engine, selectors.EVENT_READ, self.net)
            ready.register(self.net, selectors.EVENT_READ, self.engine)
            while all(self.pass_on(key.fileobj, key.data) for key, _ in ready.select()):
                pass
        self.engine.close()
        self.net.close()

    def end(self) -> None:
        for link in (self.engine, self.net):
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.join()


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
    overhears = False

    def connect(self, role: int) -> None:
        if role != fake_world.NET:
            super().connect(role)
            return
        link = self.net.link()
        if self.overhears:
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            its.setblocking(False)
            link.setblocking(True)
            self.actuators[role], link = Relay(ours, link), its
        self.supervisor.sendmsg([fake_world.packet(fake_world.LINK, struct.pack("=II", role, 0))],
                                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [link.fileno()]))])
        link.close()


@dataclasses.dataclass
class Service:
    """One of a device's: how many stand by and sleep beside the one that serves."""
    standby: int = 1
    spare: int = 1

    @property
    def instances(self) -> int:
        return 1 + self.standby + self.spare


ONE = (Service(),)
PROBE = "challenge: no"


def service_text(number: int, service: Service, probe: str) -> str:
    """The first has the lab's own addresses, those after it the next ones."""
    four, six = (ipaddress.ip_address(first) + number for first in (layout.SERVICE4, layout.SERVICE6))
    return f"""\
  sensor{number + 1 if number else ""}:
    addresses: [{four}, "{six}"]
    ports: [80/tcp]
    clients: [{layout.CLIENT_NET4}, "{layout.CLIENT_NET6}"]
    variants: [amber, birch, cedar]
    standby: {service.standby}
    spare: {service.spare}
    ladder: []
    probe: {{{probe}}}
"""


def config_text(folder: pathlib.Path, probe: str, services: Sequence[Service]) -> str:
    return f"""device: cells
user: "{fake_world.ENGINE_USER}"
paths: {{run: {folder}/run, state: {folder}/state, images: {folder}/images, image_key: {folder}/key.pub}}
guests: {{addresses: [{GUESTS4}, "{layout.GUESTS6}"]}}
brake: {{falls: 0}}
decoys: {{enabled: no}}
services:
""" + "".join(service_text(number, service, probe) for number, service in enumerate(services))


class Device:
    """Started and stopped as a baseline is. `probe` is what its configuration says of probes."""

    def __init__(self, probe: str = PROBE, services: Sequence[Service] = ONE, overhears: bool = False, logs: pathlib.Path = layout.BUILD / "race") -> None:
        self.probe, self.services, self.overhears, self.logs = probe, services, overhears, logs
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
        (self.folder / "koboshi.yaml").write_text(config_text(self.folder, self.probe, self.services))
        self.world = CellWorld()
        self.net = Net(self.folder / "koboshi.yaml", self.folder / "net.log")
        self.engine = Engine(self.folder, self.world)
        self.engine.net, self.engine.overhears = self.net, self.overhears
        self.engine.start()
        self.wait_whole(30 + 3 * self.instances)

    def wait_whole(self, seconds: float = 30) -> None:
        wait_for("the device is whole", lambda: self.engine.status()["state"] == "ok", seconds, 0.05)

    @property
    def instances(self) -> int:
        return sum(service.instances for service in self.services)

    def active_number(self, service: int = 0) -> int:
        return self.engine.status()["services"][service]["active"]

    def active(self, service: int = 0) -> Cell:
        number = self.active_number(service)
        if number not in CellGuest.cells:
            raise LabError("nobody is active")
        return CellGuest.cells[number]

    def standby(self) -> Cell:
        """A proven one that does not serve."""
        for one in self.engine.status()["services"][0]["instances"]:
            if one["role"] == "standby" and one["number"] in CellGuest.cells:
                return CellGuest.cells[one["number"]]
        raise LabError("nobody stands by")

    def ordered_us(self, victim: int) -> Optional[int]:
        """When the order to lead clients away from it came by; of a device that overhears."""
        relay = self.engine.actuators[fake_world.NET]
        return next((at_us for at_us, order in reversed(relay.steers) if order.victim == victim), None)

    def steered_us(self, first: int) -> Optional[int]:
        status, story = self.engine.ask("GET", f"/v1/incidents/{first}")
        return story.get("steered_us") if status == 200 else None

    def newest_incident(self) -> int:
        return max((one["number"] for one in self.engine.ask("GET", "/v1/incidents")[1]["incidents"]), default=0)

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
        self.logs.mkdir(parents=True, exist_ok=True)
        for name in ("log", "net.log"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, self.logs / f"koboshi-{name}")

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
