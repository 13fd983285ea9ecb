"""A cell: a network namespace with a small web server in it, in the place of a guest. It starts in milliseconds and bears a
thousand requests a second, so that many faults can be played; what a hypervisor does is not in it.
"""
import ipaddress
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from typing import Callable, Optional

from . import layout, netns
from .shell import LabError, now_us, run

SERVE = layout.BUILD / "lab/koboshi-serve"
GUESTS4 = "192.0.2.0/24"  # room for as many as a device may have, and for those after them
PAGE = b"<h1>sensor</h1>\n"
TAMPERED = b"<h1>owned</h1>\n"
DELAY_MS = 400  # of a slow server
# An empty chain changes nothing; that it is there already keeps what the kernel does for a new hook out of the fault.
FILTER = "add table inet fault; add chain inet fault in { type filter hook input priority 0; }"
WIRE = "add table netdev fault; " + "".join(
    f"add chain netdev fault {name} {{ type filter hook {name} device eth0 priority -500; }}; " for name in ("ingress", "egress"))
REFUSE = "add rule inet fault in tcp dport 80 reject with tcp reset"
DROP = "add rule inet fault in tcp dport 80 drop"
SILENCE = "add rule netdev fault ingress drop; add rule netdev fault egress drop"


class Cell:
    """`link` is its wire's end in the device; inside it is eth0, which is `far` if somebody made the wire already."""

    def __init__(self, name: str, link: str, far: str = ""):
        self.name, self.link, self.four, self.six = name, link, "", ""
        self.server: Optional[subprocess.Popen] = None
        self.claimer: Optional[subprocess.Popen] = None
        self.rules: Optional[netns.Rules] = None
        self.links: Optional[netns.Links] = None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=layout.KEEPER))
        self.page = self.folder / "page"
        self.page.write_bytes(PAGE)
        self.delay = self.folder / "page.delay"
        run("ip", "netns", "add", name)
        if far:
            run("ip", "link", "set", far, "netns", name, "name", "eth0")
        else:
            run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)

    def inside(self, *argv: object) -> str:
        return run("ip", "netns", "exec", self.name, *argv)

    def furnish(self, four: str, commands: str) -> None:
        """Its own address, and addresses and routes as `ip -batch` takes them."""
        self.four = four
        run("ip", "-n", self.name, "-batch", "-", text_in="link set lo up\nlink set eth0 up\n" + commands)

    def serve(self) -> None:
        self.server = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.name}", "--", str(SERVE), "80", str(self.page)],
                                       stdin=subprocess.DEVNULL)

    def signal(self, number: int) -> None:
        if self.server and self.server.poll() is None:
            os.kill(self.server.pid, number)

    def stop(self) -> None:
        if self.server:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.server.wait()
            self.server = None

    def serve_anew(self) -> None:
        """What a restart of the service mends: a new server, quick and open again. The page is on the disk and stays what it is."""
        self.stop()
        self.delay.unlink(missing_ok=True)
        subprocess.run(["ip", "netns", "exec", self.name, "nft", "delete table inet fault"], check=False, capture_output=True)
        self.serve()

    def remove(self) -> None:
        self.stop()
        for tool in (self.rules, self.links):
            if tool:
                tool.end()
        if self.claimer:
            self.claimer.kill()
            self.claimer.communicate()
        # A connection whose other end is gone would keep the link in the kernel for a minute and a half, as long as its own end is sent
        # again; who deletes a link waits for that. So those of both sides go first, and then both ends with the namespace.
        for words in (["ip", "netns", "exec", self.name, "ss", "-K", "state", "all"],
                      ["ss", "-K", "state", "all", "dst", self.four], ["ss", "-K", "state", "all", "dst", self.six],
                      ["ip", "link", "set", self.link, "netns", self.name], ["ip", "netns", "del", self.name]):
            if words[-1]:
                subprocess.run(words, check=False, capture_output=True)

    def strike(self, fault: str) -> int:
        """The moment just before."""
        PREPARE.get(fault, lambda _: None)(self)
        begin_us = now_us()
        FAULTS[fault](self)
        return begin_us

    def filter_prepare(self, chains: str) -> None:
        self.rules = netns.Rules(self.name)
        self.rules.order(chains)

    def links_prepare(self, where: str) -> None:
        self.links = netns.Links(where)

    def die(self) -> None:
        """All at once, as a guest whose process ends: nobody says a word any more."""
        self.links.down("eth0")
        self.stop()

    def pause(self) -> None:
        """As a guest whose processors stand still: the link stays up, and nothing in it says a word."""
        self.rules.order(SILENCE)
        self.signal(signal.SIGSTOP)

    def claim_prepare(self) -> None:
        """The program that claims is there and waits: its start is not the fault's."""
        argv = ["nsenter", f"--net=/run/netns/{self.name}", "--", sys.executable, "-m", "koboshi_lab.claim", "eth0", self.four,
                layout.SERVICE4, layout.SERVICE6]
        self.claimer = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=layout.ROOT / "lab")
        if self.claimer.stdout.readline() != "ready\n":
            raise LabError(f"nobody can claim an address in {self.name}")

    def claim(self) -> None:
        """Root in a guest that does not serve takes the service's address for itself, with another page."""
        self.page.write_bytes(TAMPERED)
        run("ip", "-n", self.name, "-batch", "-", text_in=f"""\
addr add {layout.SERVICE4}/32 dev eth0
addr add {layout.SERVICE6}/128 dev eth0 nodad
""")
        self.claimer.stdin.write("go\n")
        self.claimer.stdin.flush()


FAULTS: dict[str, Callable[[Cell], object]] = {
    "closed": lambda cell: cell.rules.order(REFUSE),
    "dropped": lambda cell: cell.rules.order(DROP),
    "hung": lambda cell: cell.signal(signal.SIGSTOP),
    "tampered": lambda cell: cell.page.write_bytes(TAMPERED),
    "died": Cell.die,
    "slow": lambda cell: cell.delay.write_text(str(DELAY_MS), encoding="ascii"),
    "tap": lambda cell: cell.links.down(cell.link),
    "paused": Cell.pause,
    "claim": Cell.claim,
}
PREPARE: dict[str, Callable[[Cell], object]] = {
    "closed": lambda cell: cell.filter_prepare(FILTER),
    "dropped": lambda cell: cell.filter_prepare(FILTER),
    "died": lambda cell: cell.links_prepare(cell.name),
    "tap": lambda cell: cell.links_prepare(""),
    "paused": lambda cell: cell.filter_prepare(WIRE),
    "claim": Cell.claim_prepare,
}
ON_STANDBY = {"claim"}  # struck on one who does not serve


def guest_addresses(number: int) -> dict[str, str]:
    """What follows from an instance's number: src/conf/instance.c, for the ranges of GUESTS4 and layout.GUESTS6."""
    four, six = ipaddress.ip_network(GUESTS4), ipaddress.ip_network(layout.GUESTS6)
    return {"mac": "02:6b:6f:%02x:%02x:%02x" % (number >> 16 & 255, number >> 8 & 255, number & 255),
            "four": str(four[2 + number % (four.num_addresses - 3)]), "gate4": str(four[1]),
            "six": str(six[2 + number]), "gate6": str(six[1])}


class Bridge:
    """Three cells on one segment behind the device: what the others are raced on."""
    ADDRESSES = {"g1": "192.0.2.11", "g2": "192.0.2.12", "g3": "192.0.2.13"}

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}

    def make(self) -> None:
        run("ip", "-batch", "-", text_in="link add br0 type bridge\naddr add 192.0.2.1/26 dev br0\nlink set br0 up\n")
        for name, address in self.ADDRESSES.items():
            cell = self.cells[name] = Cell(name, f"port-{name}")
            run("ip", "link", "set", cell.link, "master", "br0", "up")
            cell.furnish(address, f"addr add {address}/26 dev eth0\nroute add default via 192.0.2.1\n")
            cell.serve()

    def holder(self, address: str) -> Cell:
        """Who has this address beside its own."""
        for cell in self.cells.values():
            if f" {address}/" in run("ip", "-n", cell.name, "-4", "-o", "addr"):
                return cell
        raise LabError(f"nobody has {address}")

    def remove(self) -> None:
        for cell in self.cells.values():
            cell.remove()
        subprocess.run(["ip", "link", "del", "br0"], check=False, capture_output=True)
