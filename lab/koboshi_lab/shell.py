"""Running commands, waiting with a limit, and telling a person about it: the small things that every part of the lab needs."""
import os
import re
import shutil
import subprocess
import sys
import time
from typing import Callable, Optional, TypeVar

T = TypeVar("T")


class LabError(Exception):
    """One sentence for the person in front of the terminal; no traceback is shown."""


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def run(*argv: object, timeout: float = 30, text_in: Optional[str] = None) -> str:
    """Runs a command that has to succeed; its output."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=text_in, capture_output=True, text=True, timeout=timeout, check=False,
                              stdin=subprocess.DEVNULL if text_in is None else None)
    except FileNotFoundError:
        raise LabError(f"{words[0]} is not installed: run 'make deps'") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(words)} did not end within {timeout:.0f} s") from None
    if done.returncode:
        why = (done.stderr or done.stdout).strip() or f"status {done.returncode}"
        raise LabError(f"{' '.join(words)} failed: {why}")
    return done.stdout


def wait_for(what: str, look: Callable[[], Optional[T]], seconds: float, every: float = 0.02) -> T:
    """Asks `look` until it gives something true; LabError names what did not come in time."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(every)


class Progress:
    """A line that says what is being waited for and for how long: rewritten in place on a terminal, else one line at the end."""

    def __init__(self, what: str, stream=sys.stderr):
        self.what, self.stream, self.begin, self.shown = what, stream, time.monotonic(), 0.0

    def __enter__(self):
        return self

    def __call__(self, detail: str = "") -> None:
        age = time.monotonic() - self.begin
        if age < 2 or time.monotonic() - self.shown < 0.5 or not self.stream.isatty():
            return
        self.shown = time.monotonic()
        self.stream.write(f"\r\033[K  {self.what} ... {age:.0f} s {detail}"[:140])
        self.stream.flush()

    def __exit__(self, *_):
        age = time.monotonic() - self.begin
        if self.shown:
            self.stream.write("\r\033[K")
        if age >= 2:
            self.stream.write(f"  {self.what}: {age:.1f} s\n")
        self.stream.flush()


def process_start(pid: int) -> Optional[int]:
    """Start time of a process in clock ticks since boot: with the pid it names one process for ever. None: there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError):
        return None


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def cmdline(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def executable(pid: int) -> str:
    """Path of the running program; empty for kernel threads and those that ended."""
    try:
        return re.sub(r" \(deleted\)$", "", os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""


def as_root() -> None:
    """Goes on as root: taps and guests need it. KOBOSHI_LAB_ROOTLESS=1 tries a user namespace instead, in which libvirt's
    embedded driver does not start a guest yet."""
    if os.geteuid() == 0 or os.environ.get("KOBOSHI_LAB_ROOTLESS"):
        return
    sudo = shutil.which("sudo")
    if not sudo:
        raise LabError("taps and guests need root, and there is no sudo: run it as root")
    print("Taps and guests need root: asking sudo. All of it stays in namespaces of its own.", flush=True)
    kept = "--preserve-env=KOBOSHI_BUILD,KOBOSHI_CACHE,KOBOSHI_LAB_RATE,PYTHONDONTWRITEBYTECODE"
    os.execv(sudo, [sudo, kept, sys.executable, *sys.argv])


def guarded(main: Callable[[], int]) -> int:
    """Runs a program's main; a LabError becomes one sentence and status 1."""
    try:
        return main()
    except LabError as error:
        print(f"koboshi-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nkoboshi-lab: interrupted", file=sys.stderr)
        return 130
