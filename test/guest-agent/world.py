"""A small guest without a hypervisor: a root of its own on tmpfs (or tmpfs over erofs) in mount, process and network namespaces,
the agent in it, and our end of its channel. Nothing outside of these namespaces is marked, watched or switched."""
import hashlib
import hmac
import os
import re
import secrets
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
FRAME, MAC = 256, 16
HELLO, KEYED, BEAT, TOLD, RESTART, STOP = range(1, 7)
WHAT = {1: "denied", 2: "changed", 3: "account", 4: "module", 5: "listening", 6: "trouble", 7: "restarted", 8: "carried", 9: "stopped"}
DENIED = {1: "unlisted", 2: "script", 3: "memory", 4: "deleted", 5: "loader"}
LEARNING = 1 << 2
MACHINE = ["cat", "cp", "rm", "ls", "ln", "mkdir", "mount", "umount", "touch", "chmod", "truncate", "sleep", "seq", "dd", "true", "mv"]

# What the tests start: name, macro WHAT, further flags of the compiler.
PROGRAMS = [("listed", "listed", ["-static"]), ("dynamic", "dynamic", []), ("hold", "hold", ["-static"])]
EVIL = [("unlisted", "unlisted", ["-static"]), ("undynamic", "undynamic", []), ("lookalike", "l1sted", ["-static"])]


def compile_program(to, what, flags):
    subprocess.run(["gcc", "-O1", "-s", f'-DWHAT="{what}"', *flags, "-o", to, HERE / "programs.c"], check=True)


def needed(path):
    said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", said)


class World:
    def __init__(self, folder, agent, trusted):
        self.folder, self.agent, self.trusted = folder, agent, trusted
        self.root, self.evil = folder / "root", folder / "evil"
        self.holder = self.process = self.port = None
        self.key, self.frames, self.buffer, self.hello = None, [], b"", None
        self.fill()

    # --- the root

    def put(self, source, target):
        target = self.root / str(target).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(source, target)
            target.chmod(0o755)
        for library in needed(source):
            if not (self.root / library.lstrip("/")).exists():
                self.put(library, library)

    def fill(self):
        self.root.mkdir()
        self.evil.mkdir()
        for name in ("proc", "dev", "tmp", "etc/sudoers.d", "srv", "run", "sys", "old", "home/ann", "new", "evil", "usr/lib/koboshi"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name in MACHINE:
            self.put(shutil.which(name), f"/bin/{name}")
        self.put(shutil.which("dash"), "/bin/sh")
        self.put(shutil.which("bash"), "/bin/bash")
        self.lua = shutil.which("lua5.4")
        if self.lua:
            self.put(os.path.realpath(self.lua), "/bin/lua5.4")
        for name, what, flags in PROGRAMS:
            compile_program(self.root / "bin" / name, what, flags)
        for name, what, flags in EVIL:
            compile_program(self.evil / name, what, flags)
        # the same size as the listed one: the hash alone tells
        listed = (self.root / "bin/listed").read_bytes()
        (self.evil / "lookalike").write_bytes(listed.replace(b"listed\0", b"l1sted\0"))
        for name, text in (("listed.sh", "#!/bin/sh\necho listed script\n"), ("ask.lua", "print('listed lua')\n")):
            (self.root / "srv" / name).write_text(text)
            (self.root / "srv" / name).chmod(0o755)
        (self.evil / "evil.sh").write_text("#!/bin/sh\necho evil script\n")
        (self.evil / "plain").write_text("echo evil script\n")
        (self.evil / "evil.lua").write_text("print('evil lua')\n")
        for path in self.evil.iterdir():
            path.chmod(0o755)
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n")
        (self.root / "etc/shadow").write_text("root:*:1::::::\n")
        self.write_list()

    def write_list(self):
        lines = []
        for path in sorted([*self.root.rglob("*")]):
            if not path.is_file() or path.is_symlink() or not (path.parent.name in ("bin", "srv") or "ld-linux" in path.name):
                continue
            inside = "/" + str(path.relative_to(self.root))
            flags = "l" if "ld-linux" in path.name else "i" if path.name in ("sh", "bash", "lua5.4") else "-"
            lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()} {flags} {path.stat().st_size} {inside}\n")
        self.list = "".join(lines)
        (self.root / "usr/lib/koboshi/programs").write_text(self.list)

    def up(self):
        """Namespaces, the root in them, and a process that keeps them."""
        os.set_inheritable(0, True)
        layers = f"mount -t tmpfs root {self.folder}/t && mkdir {self.folder}/t/r && cp -a {self.root}/. {self.folder}/t/r && mount --bind {self.folder}/t/r {self.folder}/m"
        if self.trusted:
            subprocess.run(["mkfs.erofs", "--quiet", self.folder / "root.erofs", self.root], check=True, capture_output=True)
            layers = (f"mount -t erofs -o loop,ro {self.folder}/root.erofs {self.folder}/l && mount -t tmpfs rw {self.folder}/t && "
                      f"mkdir {self.folder}/t/u {self.folder}/t/w && "
                      f"mount -t overlay -o lowerdir={self.folder}/l,upperdir={self.folder}/t/u,workdir={self.folder}/t/w root {self.folder}/m")
        for name in "tlm":
            (self.folder / name).mkdir()
        script = (f"set -e; {layers}; cd {self.folder}/m; mount -t tmpfs evil evil; cp -a {self.evil}/. evil; mount -t proc proc proc; "
                  "mount -t tmpfs -o mode=755 dev dev; : > dev/null; ip link set lo up; pivot_root . old; umount -l /old; exec /bin/hold hold")
        self.holder = subprocess.Popen(["unshare", "-m", "-p", "-n", "-f", "--kill-child", "--propagation", "private", "sh", "-c", script],
                                       stdin=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
            if children and os.path.basename(os.readlink(f"/proc/{children[0]}/exe")) == "hold":
                self.inside = children[0]
                return
            time.sleep(0.02)
        raise RuntimeError("the little world did not come up")

    def down(self):
        for process in (self.process, self.holder):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def enter(self, *argv):
        return ["nsenter", "-t", self.inside, "-m", "-p", "-n", "-r", "-w", *argv]

    def run(self, command, shell="/bin/sh", stdin=None):
        """(exit status, what was printed) of a command inside."""
        done = subprocess.run(self.enter(shell, "-c", command), input=stdin, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def write(self, path, text):
        """Puts a file inside from outside: no program of the world has a hand in it."""
        target = Path(f"/proc/{self.inside}/root{path}")
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
        target.chmod(0o755)

    # --- the agent

    def start(self, conf, program="/agent"):
        self.write("/guest.conf", conf)
        target = Path(f"/proc/{self.inside}/root{program}")
        if not target.exists():
            shutil.copy(self.agent, target)
        ours, its = socket.socketpair()
        self.port, self.key, self.frames, self.buffer, self.hello = ours, None, [], b"", None
        self.process = subprocess.Popen(self.enter(program, "-c", "/guest.conf", "-p", str(its.fileno())), pass_fds=[its.fileno()])
        its.close()
        self.wait_for(lambda f: f["type"] == HELLO, 10)
        return self.hello

    def agent_pid(self):
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def stop(self):
        try:
            os.kill(self.agent_pid(), 9)
        except (IndexError, OSError):
            pass
        self.process.wait()
        self.port.close()

    def give_key(self):
        self.key = secrets.token_bytes(32)
        self.port.sendall(struct.pack("<4sHHIIq", b"kbgt", 1, KEYED, 0, 0, 0) + self.key + bytes(FRAME - 24 - 32))

    def order_restart(self, number, key=None, kind=RESTART):
        head = struct.pack("<4sHHIIq", b"kbgt", 1, kind, number, 0, 0) + bytes(FRAME - 24 - MAC)
        self.port.sendall(head + hmac.digest(key or self.key, head, "sha256")[:MAC])

    def decode(self, raw):
        magic, version, kind, number, _, uptime = struct.unpack_from("<4sHHIIq", raw)
        assert magic == b"kbgt" and version == 1, raw[:24]
        frame = {"type": kind, "number": number, "uptime": uptime, "at": time.monotonic()}
        if kind in (BEAT, TOLD):
            assert hmac.digest(self.key, raw[:-MAC], "sha256")[:MAC] == raw[-MAC:], "a frame with a wrong MAC"
        if kind == HELLO:
            frame["list"] = raw[24:56]
            frame["abilities"], frame["programs"] = struct.unpack_from("<II", raw, 56)
            self.hello = frame
        elif kind == BEAT:
            for name, value in zip(("decided", "denied", "late", "service", "lost"), struct.unpack_from("<QQQII", raw, 24)):
                frame[name] = value
        elif kind == TOLD:
            what, detail = struct.unpack_from("<II", raw, 24)
            frame["what"], frame["detail"] = WHAT[what], DENIED.get(detail) if what == 1 else detail
            frame["text"] = raw[32:192].split(b"\0")[0].decode()
        return frame

    def pump(self, timeout):
        self.port.settimeout(max(timeout, 0.001))
        try:
            got = self.port.recv(65536)
        except (socket.timeout, TimeoutError):
            return
        self.buffer += got
        while len(self.buffer) >= FRAME:
            raw, self.buffer = self.buffer[:FRAME], self.buffer[FRAME:]
            if raw != bytes(FRAME):
                self.frames.append(self.decode(raw))

    def wait_for(self, wanted, limit_s):
        """The first frame from now on (or already there and not yet looked at) that is wanted; None when none came in time."""
        end, at = time.monotonic() + limit_s, 0
        while True:
            while at < len(self.frames):
                if wanted(self.frames[at]):
                    return self.frames[at]
                at += 1
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.pump(left)

    def told(self, what, text, detail=None, limit_s=3):
        return self.wait_for(lambda f: f["type"] == TOLD and f["what"] == what and text in f["text"] and
                             (detail is None or f["detail"] == detail), limit_s)

    def forget(self):
        self.pump(0)
        self.frames = []
