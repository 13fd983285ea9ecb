"""The processes of one arm of the race, counted together: whatever they start, however short it lives, is in one control group with
them. No controller of it is used, so nobody is held back by it. It is of version 2, mounted in the world alone.
"""
import os
import pathlib
import secrets
import time
from typing import Any, Callable, Optional

from . import bench
from .shell import LabError, run, wait_for

MOUNT = pathlib.Path("/run/groups")
PREFIX = "koboshi-race-"
STALE_S = 3600  # the mount goes with its world, a killed world's groups do not
Json = dict[str, Any]


def prepare() -> Optional[str]:
    """Once in a world; why nothing can be counted, if so."""
    if not MOUNT.is_mount():
        MOUNT.mkdir()
        try:
            run("mount", "-t", "cgroup2", "koboshi-lab", MOUNT)
        except LabError as error:
            MOUNT.rmdir()
            return str(error)
    for path in MOUNT.glob(f"{PREFIX}*"):
        if time.time() - path.stat().st_mtime > STALE_S:
            try:
                path.rmdir()
            except OSError:
                pass  # somebody is in it
    return None


class Group:
    """Without groups on this host everything is null."""

    def __init__(self) -> None:
        self.path: Optional[pathlib.Path] = None
        if MOUNT.is_mount():
            self.path = MOUNT / (PREFIX + secrets.token_hex(4))
            self.path.mkdir()

    def enter(self) -> Callable[[], None]:
        """For a child, before it becomes its program."""
        path = self.path

        def become() -> None:
            if path:
                (path / "cgroup.procs").write_text("0", encoding="ascii")

        return become

    def add(self, pid: int) -> None:
        if self.path:
            (self.path / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def cpu_us(self) -> Optional[int]:
        if not self.path:
            return None
        fields = dict(line.split() for line in (self.path / "cpu.stat").read_text(encoding="ascii").splitlines())
        return int(fields["usage_usec"])

    def memory(self) -> Json:
        if not self.path:
            return {"rss_kb": None, "pss_kb": None}
        return bench.memory_kb(*map(int, (self.path / "cgroup.procs").read_text(encoding="ascii").split()))

    def remove(self) -> None:
        """After the end of all that is in it."""
        if self.path:
            wait_for("the end of an arm's processes", self.gone, 10)
            self.path = None

    def gone(self) -> bool:
        try:
            os.rmdir(self.path)
        except OSError:
            return False
        return True


class Window:
    """What a group spent from here to `end`."""

    def __init__(self, group: Group):
        self.group, self.begin, self.before = group, time.monotonic(), group.cpu_us()

    def end(self) -> Json:
        after, took = self.group.cpu_us(), time.monotonic() - self.begin
        spent = None if after is None or self.before is None else (after - self.before) / 1e6
        return {"seconds": round(took, 2), "cpu_s": spent, "cpu_percent": None if spent is None else round(100 * spent / took, 3),
                **self.group.memory()}
