"""A world: one set of namespaces with a device, its guests and its clients in it; started, entered and ended from outside.

`run_in` plays one program in a new world and is gone with it. `up`, `enter` and `down` are for a world that stays (make lab).
After the end `Leftovers` looks at what a broken lab could have left, rather than believing that namespaces clean up.
"""
import ctypes
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
from typing import Optional

from . import layout, network
from .shell import as_root, LabError, process_start, processes, wait_for

NAMESPACES = ("pid", "net", "mnt")
PR_SET_PDEATHSIG = 1
STAYING = layout.WORLDS / "lab"  # the one that `make lab` leaves running


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def checks(guests: bool = True) -> None:
    """What must be there before anything is made."""
    for name in ("unshare", "nsenter", "ip", "nft", "mount"):
        if not shutil.which(name):
            raise LabError(f"{name} is not installed: run 'make deps'")
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        who = "" if os.geteuid() == 0 else ", or run it as root"
        raise LabError(f"/dev/net/tun cannot be opened ({error.strerror}), guests need it for their network: load the tun module{who}") \
            from None
    for variant in layout.VARIANTS if guests else ():
        if not (layout.CACHE / variant / "manifest.json").exists():
            raise LabError(f"variant {variant} is not in {layout.CACHE}: run 'make images'")


def unshare_words() -> tuple[list[str], int]:
    """The unshare command, and the user number that the engine gets in there."""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    if os.geteuid() == 0:
        return words, layout.ENGINE_USER
    if shutil.which("newuidmap"):
        return words + ["--map-root-user", "--map-auto"], 1
    return words + ["--map-root-user"], 0


def world_new(path: pathlib.Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    (path / "state").mkdir(parents=True, mode=0o755)


def spec_words(path: pathlib.Path, argv: Optional[list[str]], guests: bool = True) -> list[str]:
    words, user = unshare_words()
    spec = json.dumps({"world": str(path), "main": argv, "user": user, "guests": guests})
    return words + ["--", sys.executable, "-m", "koboshi_lab.init", spec]


def environment() -> dict:
    """For what runs inside of a world, where the socket lies in one place whatever a caller's shell says."""
    return {**os.environ, "PYTHONPATH": str(layout.ROOT / "lab"), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8",
            "KOBOSHI_SOCKET": str(layout.SOCKET)}


def process_one(pid: int) -> Optional[int]:
    """The world's process 1, seen from outside: the only child of unshare."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(children[0]) if children else None


class Leftovers:
    """Taken before, asked after: what is here now that was not, and was not there without the lab."""

    def __init__(self) -> None:
        self.before = network.snapshot()
        self.namespaces: set[str] = set()
        self.paths: list[pathlib.Path] = []

    def follow(self, one: int, path: pathlib.Path) -> None:
        for name in NAMESPACES:
            try:
                self.namespaces.add(os.readlink(f"/proc/{one}/ns/{name}"))
            except OSError:
                pass
        self.paths.append(path)

    def holders(self) -> list[str]:
        found = []
        for pid in processes():
            for name in NAMESPACES:
                try:
                    if os.readlink(f"/proc/{pid}/ns/{name}") in self.namespaces:
                        found.append(f"process {pid}")
                        break
                except OSError:
                    pass
        return found

    def look(self) -> list[str]:
        after = network.snapshot()
        left = self.holders()
        for kind, names in after.items():
            left += [f"{kind[:-1]} {name}" for name in names if name not in self.before[kind]]
        return left + [f"file {path}" for path in self.paths if path.exists()]


def tidy() -> None:
    """Removes what killed worlds left on the disk; a world whose process lives is not touched."""
    for path in layout.WORLDS.glob("*"):
        if path.is_dir() and not alive(path):
            shutil.rmtree(path, ignore_errors=True)


def remember(path: pathlib.Path, pid: int) -> None:
    (path / "owner.json").write_text(json.dumps({"pid": pid, "start": process_start(pid)}), encoding="ascii")


def alive(path: pathlib.Path) -> Optional[int]:
    """Pid of the world's unshare process, if it is still that one."""
    try:
        owner = json.loads((path / "owner.json").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return owner["pid"] if owner["start"] is not None and process_start(owner["pid"]) == owner["start"] else None


def keep_log(path: pathlib.Path, name: str) -> None:
    """The daemon's log outlives its world: without it a failed run could not be understood."""
    log = path / "koboshid.log"
    if log.exists():
        target = layout.BUILD / name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, target / "koboshid.log")


def run_in(name: str, argv: list[str], seconds: float, guests: bool = True) -> int:
    """Plays `argv` in a new world; its exit status, or 1 when something was left behind. Ends everything after `seconds`. Without
    `guests` there are networks and clients in it, and no koboshid."""
    as_root()
    checks(guests)
    tidy()
    path = layout.WORLDS / f"{name}-{secrets.token_hex(4)}"
    leftovers = Leftovers()
    world_new(path)
    child = subprocess.Popen(spec_words(path, argv, guests), env=environment(), preexec_fn=die_with_parent)
    try:
        remember(path, child.pid)
        one = wait_for("the lab's first process", lambda: process_one(child.pid) or child.poll() is not None, 10)
        if one is not True:
            leftovers.follow(one, path)
        status = child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        status = 1
        print(f"koboshi-lab: {name} did not end within {seconds:.0f} s and is ended", file=sys.stderr)
    except KeyboardInterrupt:
        status = 130
    finally:
        end(child)
        keep_log(path, name)
        shutil.rmtree(path, ignore_errors=True)
    if status:
        print(f"koboshi-lab: {name} ended with status {status}; koboshid's log is {layout.BUILD / name}/koboshid.log", file=sys.stderr)
    return finish(leftovers, status)


def end(child: subprocess.Popen) -> None:
    """unshare's end takes process 1 along, and that takes the rest."""
    if child.poll() is None:
        one = process_one(child.pid)
        if one:
            os.kill(one, signal.SIGTERM)
        try:
            child.wait(timeout=12)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.kill()
            child.wait()


def finish(leftovers: Leftovers, status: int) -> int:
    try:
        wait_for("the end of all processes", lambda: not leftovers.holders(), 10)
    except LabError:
        pass
    left = leftovers.look()
    if left:
        print("koboshi-lab: left behind: " + ", ".join(left), file=sys.stderr)
        return status or 1
    print("Looked for what is left behind: no process, namespace, mount, tap, firewall table or file of the lab.")
    return status


# --- a world that stays ------------------------------------------------------------------------------------------------


def up() -> int:
    """Starts the staying world in the background; pid of its process 1, from outside."""
    as_root()
    checks()
    if alive(STAYING):
        raise LabError("the lab is running already: 'make lab-down' ends it")
    tidy()
    world_new(STAYING)
    with open(STAYING / "lab.log", "ab") as log:
        child = subprocess.Popen(spec_words(STAYING, None), env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
    remember(STAYING, child.pid)

    def ready() -> bool:
        if child.poll() is not None:
            raise LabError("the lab did not start: " + (STAYING / "lab.log").read_text(encoding="utf-8").strip())
        return (STAYING / "ready").exists()

    wait_for("the lab's networks", ready, 30)
    return staying_one()


def staying_one() -> int:
    pid = alive(STAYING)
    one = process_one(pid) if pid else None
    if not one:
        raise LabError("no lab is running: 'make lab' starts one")
    return one


def enter_words(argv: list[str]) -> list[str]:
    """Command line that runs `argv` inside the staying world."""
    as_root()
    one = staying_one()
    user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    return ["nsenter", "--target", str(one), *user, "--mount", "--net", "--pid", "--", *argv]


def down() -> int:
    as_root()
    pid = alive(STAYING)
    if not pid:
        tidy()
        print("No lab is running.")
        return 0
    leftovers = Leftovers()
    one = process_one(pid)
    if one:
        leftovers.follow(one, STAYING)
        os.kill(one, signal.SIGTERM)
    try:
        wait_for("the end of the lab", lambda: not alive(STAYING), 15)
    except LabError:
        os.kill(pid, signal.SIGKILL)
        wait_for("the end of the lab", lambda: not alive(STAYING), 5)
    shutil.rmtree(STAYING, ignore_errors=True)
    return finish(leftovers, 0)


def run_program(module: str) -> list[str]:
    return [sys.executable, "-m", f"koboshi_lab.{module}", *sys.argv[1:]]

