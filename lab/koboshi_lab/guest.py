"""Root inside one of the lab's own guests: the virtio port that koboshi-vm attaches only when `hypervisor.lab` is set."""
import os
import re
import select
import signal
import socket
from typing import Optional

from . import layout
from .shell import LabError, cmdline, now_us, processes

MARK = "koboshi-lab-now"
EXIT = re.compile(rb"koboshi-lab: exit (\d+)")
OUTPUT_MAX = 1 << 20


class Channel:
    """One conversation with a guest's shell. The other end may die in the middle: that is often the purpose."""

    def __init__(self, number: int):
        path = layout.RUN / "guest" / str(number) / "lab.sock"
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(str(path))
        except OSError as error:
            raise LabError(f"no way into guest {number}: {path}: {error.strerror}") from None
        self.seen = b""

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def send(self, line: str) -> None:
        assert "\n" not in line
        self.socket.sendall(line.encode() + b"\n")

    def until(self, pattern: re.Pattern, seconds: float) -> Optional[re.Match]:
        """Reads on until the pattern has come; None when the time is up or the guest has gone."""
        deadline = now_us() + int(seconds * 1e6)
        while True:
            match = pattern.search(self.seen)
            if match:
                self.seen = self.seen[match.end():]
                return match
            left = (deadline - now_us()) / 1e6
            if left <= 0 or len(self.seen) > OUTPUT_MAX or not select.select([self.socket], [], [], left)[0]:
                return None
            part = self.socket.recv(65536)
            if not part:
                return None
            self.seen += part


def ask(number: int, command: str, seconds: float = 20) -> tuple[int, str]:
    """Runs one command line as root in the guest; its status and output."""
    with Channel(number) as channel:
        # What an earlier conversation left in the pipe ends where our own first line begins.
        channel.send("echo koboshi-lab-begin")
        if not channel.until(re.compile(rb"koboshi-lab-begin\s+koboshi-lab: exit 0"), seconds):
            raise LabError(f"the shell in guest {number} does not answer")
        channel.send(command)
        before = channel.until(re.compile(rb"(?s)(.*?)koboshi-lab: exit (\d+)"), seconds)
        if not before:
            raise LabError(f"guest {number} did not end '{command}' within {seconds:.0f} s")
        return int(before.group(2)), before.group(1).decode(errors="replace")


def strike(number: int, command: str, seconds: float = 20) -> int:
    """Runs a command that does harm; the moment (CLOCK_MONOTONIC, us) at which the guest was about to run it.

    The guest says MARK in the same shell line just before, so that the time which emulation needs to start a shell is not
    counted as time that koboshi needed.
    """
    with Channel(number) as channel:
        channel.send("echo koboshi-lab-begin")
        if not channel.until(re.compile(rb"koboshi-lab-begin\s+koboshi-lab: exit 0"), seconds):
            raise LabError(f"the shell in guest {number} does not answer")
        channel.send(f"echo {MARK}; {command}")
        if not channel.until(re.compile(MARK.encode()), seconds):
            raise LabError(f"guest {number} never began '{command}'")
        return now_us()


def qemu_pid(number: int) -> Optional[int]:
    """The emulator of a guest; libvirt names the guest on its command line."""
    name = re.compile(rf"guest=kb-{number}(,|$)")
    for pid in processes():
        words = cmdline(pid)
        if words and "qemu-system" in words[0] and any(name.match(word) for word in words):
            return pid
    return None


def kill(number: int) -> int:
    """kill -9 of the guest's emulator: a machine that vanishes."""
    pid = qemu_pid(number)
    if not pid:
        raise LabError(f"guest {number} has no process")
    at = now_us()
    os.kill(pid, signal.SIGKILL)
    return at
