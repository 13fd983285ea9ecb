"""Process 1 of a world: builds its mounts and networks, keeps koboshid running, reaps, and takes everything along when it ends.

Namespaces are the broom: whatever is started in here (guests that outlive their owner included) lies in this process's PID,
network and mount namespaces, so its end, even by kill -9, leaves no process, tap, rule or mount behind.
It plays the part that systemd plays on a device: a koboshid that died is started again after RESTART_SECONDS, unless the file
`hold` stands in layout.KEEPER.
"""
import json
import os
import pathlib
import shutil
import signal
import sys
import time
from typing import Optional

from . import layout, network
from .shell import LabError, run

RESTART_SECONDS = 0.1
STOP_SECONDS = 8.0


def mounts(world: pathlib.Path, guests: bool) -> None:
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "-o", "mode=755,size=512m", "koboshi-lab", "/run")
    try:
        run("mount", "-t", "sysfs", "sysfs", "/sys")  # shows this network namespace's links; libvirt looks there
    except LabError:
        pass  # not allowed in some user namespaces; nothing needs it to work
    for folder in (layout.RUN, layout.STATE, layout.IMAGES, layout.LIBEXEC, layout.KEEPER, pathlib.Path("/run/netns")):
        folder.mkdir(mode=0o755, parents=True)
    run("mount", "--bind", world / "state", layout.STATE)
    if guests:
        run("mount", "--bind", layout.CACHE, layout.IMAGES)
        run("mount", "-o", "remount,bind,ro", layout.IMAGES)


def programs() -> None:
    for name, path in layout.PROGRAMS.items():
        source = layout.BUILD / path
        if not source.exists():
            raise LabError(f"{source} is missing: run 'make build'")
        shutil.copy(source, layout.LIBEXEC / name)
        os.chmod(layout.LIBEXEC / name, 0o755)


def spawn(argv: list[str], log: Optional[pathlib.Path] = None, env: Optional[dict] = None) -> int:
    """A child with no signal blocked; its output goes to `log`, or where ours goes."""
    actions = []
    if log:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
                   (os.POSIX_SPAWN_DUP2, 1, 2)]
    return os.posix_spawnp(argv[0], argv, env or os.environ, file_actions=actions, setsigmask=[], setsid=bool(log))


class Keeper:
    """The children of process 1: koboshid and, in a demo or a test, the program that plays the scenario."""

    def __init__(self, spec: dict):
        self.world = pathlib.Path(spec["world"])
        self.main_argv = spec["main"]
        self.guests = spec["guests"]
        self.koboshid: Optional[int] = None
        self.main: Optional[int] = None
        self.restart_at = 0.0
        self.status: Optional[int] = None
        self.stopping = False

    def koboshid_start(self) -> None:
        argv = [str(layout.LIBEXEC / "koboshid"), "--config", str(layout.CONFIG), "--libexec", str(layout.LIBEXEC)]
        self.koboshid = spawn(argv, self.world / "koboshid.log")
        (layout.KEEPER / "koboshid.pid").write_text(str(self.koboshid), encoding="ascii")

    def ended(self, pid: int, status: int) -> None:
        if pid == self.koboshid:
            self.koboshid = None
            self.restart_at = time.monotonic() + RESTART_SECONDS
            with open(layout.KEEPER / "koboshid.ends", "a", encoding="ascii") as file:
                file.write(f"{pid} {status}\n")
        elif pid == self.main:
            self.status = os.waitstatus_to_exitcode(status)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.ended(pid, status)

    def turn(self) -> None:
        """Waits for the next signal, at most as long as a restart is away."""
        got = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}, 0.05 if not self.koboshid else 1)
        if got and got.si_signo != signal.SIGCHLD:
            self.stopping = True
            self.status = 0 if self.main is None else 128 + got.si_signo
        self.reap()
        held = self.stopping or not self.guests or (layout.KEEPER / "hold").exists()
        if not self.koboshid and not held and time.monotonic() >= self.restart_at:
            self.koboshid_start()

    def stop(self) -> None:
        self.stopping = True
        if self.koboshid:
            os.kill(self.koboshid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.koboshid and time.monotonic() < deadline:
            self.turn()

    def run(self) -> int:
        if self.guests:
            self.koboshid_start()
        (self.world / "ready").write_text("ready\n", encoding="ascii")
        if self.main_argv:
            self.main = spawn(self.main_argv)
        while self.status is None:
            self.turn()
        self.stop()
        return self.status if self.status >= 0 else 128 - self.status


def main() -> int:
    spec = json.loads(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    # `run` in here waits for its own children by pid; nothing else is a child yet, so the reaper loses nothing.
    try:
        mounts(pathlib.Path(spec["world"]), spec["guests"])
        programs()
        network.build()
        layout.PROFILE.write_bytes((layout.ROOT / "lab/profile.json").read_bytes())
        layout.CONFIG.write_text(layout.config_text(spec["user"]), encoding="ascii")
        return Keeper(spec).run()
    except LabError as error:
        print(f"koboshi-lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
