#!/usr/bin/env python3
"""Boots each built variant in QEMU (software emulation) and checks that it is what its manifest and images/README.md say.

Story: a guest comes up from its seed, serves the page of the manifest through its application, stores a reading, answers
the challenge with this instance's key, refuses nonsense, gets up again when its programs are killed, knows the time after
a pause, and takes laboratory commands.  Nothing leaves 127.0.0.1.  Every wait is bounded; QEMU dies with this program.  Prints TAP.

usage: test/images/boot.py [--cache DIR] [--show] [VARIANT...]     (needs what `images/build` built)
"""

import argparse
import ctypes
import hashlib
import hmac
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAC = "52:54:00:12:34:56"
BOOT_LIMIT_S = 90
IP4, IP6 = "192.0.2.15/24", "2001:db8:5::15/128"

passed, failed = [], []


def check(name, good, said=""):
    (passed if good else failed).append(name)
    print(f"{'ok' if good else 'not ok'} {len(passed) + len(failed)} - {name}", flush=True)
    if not good:
        print("".join(f"# {line}\n" for line in str(said).splitlines()), end="", flush=True)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def seed_make(folder, key):
    """A seed as Koboshi's host side writes it, with a value that would run a command if it were ever taken for shell."""
    (folder / "meta-data").write_text("instance-id: test-1\nlocal-hostname: sensor-1\n")
    (folder / "network-config").write_text(f"""version: 2
ethernets:
  eth0:
    match: {{macaddress: "{MAC.upper()}"}}
    set-name: eth0
    addresses: [{IP4}, "{IP6}"]
    routes: [{{to: default, via: 192.0.2.2, on-link: true}}, {{to: "::/0", via: "2001:db8:5::2", on-link: true}}]
""")
    (folder / "user-data").write_text(f"""#cloud-config
write_files:
  - path: /etc/koboshi/challenge.key
    permissions: '0600'
    content: "{key.hex()}"
  - path: /etc/koboshi/instance.json
    permissions: "0640"
    content: |
      {{"it's": "$(touch /run/owned)",

       "a": 1}}
  - path: /etc/koboshi/blob
    encoding: b64
    content: aGVsbG8KdGhlcmU=
chpasswd:
  expire: false
  users:
    - {{name: root, password: "$6$salt$hash'x", type: hash}}
""")
    image = folder / "seed.iso"
    subprocess.run(["xorriso", "-as", "genisoimage", "-quiet", "-V", "cidata", "-J", "-r", "-o", image,
                    *[folder / name for name in ("meta-data", "user-data", "network-config")]],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return image


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Guest:
    def __init__(self, image, manifest, folder, seed):
        self.port, self.folder = free_port(), folder
        boot = manifest["boot"]
        self.began = time.monotonic()
        self.console = folder / "console"
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-machine", "q35", "-m", str(boot["memory_mib"]), "-smp", "1",
             "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-action", "panic=pause",
             "-kernel", image / "vmlinuz", "-initrd", image / "initrd", "-append", boot["cmdline"],
             "-drive", f"if=none,id=root,format=raw,readonly=on,file={image}/root.erofs", "-device", "virtio-blk-pci,drive=root",
             "-drive", f"if=none,id=seed,format=raw,readonly=on,file={seed}", "-device", "virtio-blk-pci,drive=seed",
             "-netdev", f"user,id=net,net=192.0.2.0/24,ipv6-net=2001:db8:5::/64,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:80", "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile=",
             "-device", "virtio-rng-pci", "-device", "pvpanic-pci", "-device", "virtio-serial-pci",
             "-chardev", f"socket,id=lab,path={folder}/lab,server=on,wait=off", "-device", "virtserialport,chardev=lab,name=org.koboshi.lab.0",
             "-chardev", f"socket,id=agent,path={folder}/agent,server=on,wait=off", "-device", "virtserialport,chardev=agent,name=org.koboshi.agent.0",
             "-serial", f"file:{self.console}", "-qmp", f"unix:{folder}/qmp,server=on,wait=off"],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent)

    def end(self):
        self.process.kill()
        self.process.wait()

    def ask(self, method, path, body=None, timeout=5):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read(1 << 20)
        finally:
            connection.close()

    def said(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def until_served(self, limit_s):
        end = time.monotonic() + limit_s
        while time.monotonic() < end and self.process.poll() is None and "Kernel panic" not in self.said():
            try:
                if self.ask("GET", "/", timeout=0.4)[0] == 200:
                    return True
            except OSError:
                pass
            except http.client.HTTPException:
                pass
            time.sleep(0.03)
        return False

    def qmp(self, *commands):
        """Runs commands over one connection; returns the last answer. Events that arrive meanwhile are kept in self.events."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(f"{self.folder}/qmp")
            lines = s.makefile("rw")
            lines.readline()
            answer = None
            for command in ("qmp_capabilities", *commands):
                lines.write(json.dumps({"execute": command}) + "\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())) and "error" not in answer:
                    pass
            return answer.get("return")

    def lab(self, command, limit_s=30):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(limit_s)
            s.connect(f"{self.folder}/lab")
            s.sendall(command.encode() + b"\n")
            got = b""
            while b"koboshi-lab: exit " not in got or not got.endswith(b"\n"):
                more = s.recv(65536)
                if not more:
                    break
                got += more
        text, _, code = got.decode(errors="replace").rpartition("koboshi-lab: exit ")
        return int(code), text

    def lab_until(self, command, wanted, limit_s=15):
        """Whether the command says what is wanted in time; the channel itself may be away for a moment."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            try:
                if wanted(self.lab(command, 3)[1]):
                    return True
            except (OSError, ValueError):
                pass
            time.sleep(0.1)
        return False

    def clock_off(self):
        """How far the guest's clock is from ours in seconds, with the way there and back halved."""
        before = time.time()
        told = json.loads(self.ask("GET", f"/api/challenge?nonce={'00' * 16}")[2])["clock"]
        return told - (before + time.time()) / 2

    def rss_mib(self):
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def refusal(body):
    try:
        return list(json.loads(body)) == ["error"]
    except ValueError:
        return False


def check_service(name, guest, manifest, key):
    status, headers, page = guest.ask("GET", "/")
    wanted = manifest["content"][0]["sha256"]
    check(f"{name}: the page is the manifest's", hashlib.sha256(page).hexdigest() == wanted, f"{status} {page[:80]!r}")
    check(f"{name}: the page's length and type are said", headers["Content-Length"] == str(len(page)) and headers["Content-Type"].startswith("text/html"), headers)
    status, headers, body = guest.ask("HEAD", "/")
    check(f"{name}: HEAD has the length and no body", status == 200 and headers["Content-Length"] == str(len(page)) and body == b"", f"{status} {headers}")
    status, _, body = guest.ask("GET", "/api/reading")
    check(f"{name}: nothing is stored at first", status == 200 and json.loads(body) == {"value": None, "unit": "celsius", "stored": 0, "last": None}, body)
    status, _, body = guest.ask("POST", "/api/reading", '{"value": 21.5}')
    check(f"{name}: a reading is taken", status == 200, f"{status} {body}")
    guest.ask("POST", "/api/reading", '{"value": -3}')
    status, _, body = guest.ask("GET", "/api/reading")
    got = json.loads(body)
    check(f"{name}: the last reading is given", got["value"] == -3 and got["stored"] == 2 and abs(got["last"] - time.time()) < 10, body)
    for said in ("", "{", "[1]", "21", '{"value":"1"}', '{"value":true}', '{"value":null}', '{"value":1e999}', '{"value":NaN}', '"value"', "\xff", "[" * 3000):
        status, _, body = guest.ask("POST", "/api/reading", said.encode("latin-1"))
        check(f"{name}: refused with 400: {said[:20]!r}", status == 400 and refusal(body), f"{status} {body[:200]}")
    status, _, body = guest.ask("POST", "/api/reading", '{"value": 1' + " " * 5000 + "}")
    check(f"{name}: a long body is refused", status == 413 and refusal(body), f"{status} {body[:200]}")
    for method, path, wanted in (("GET", "/nothing", 404), ("DELETE", "/", 405), ("POST", "/api/challenge", 405), ("GET", "/../etc/passwd", (400, 404)), ("GET", "/srv/sensor/sensor.php", 404)):
        status, _, body = guest.ask(method, path)
        check(f"{name}: {method} {path} is refused", status in (wanted if isinstance(wanted, tuple) else (wanted,)), f"{status} {body[:200]}")
    for size in (16, 64):
        nonce = secrets.token_bytes(size)
        status, _, body = guest.ask("GET", f"/api/challenge?nonce={nonce.hex()}")
        wanted = hmac.digest(key, nonce + hashlib.sha256(page).digest(), "sha256").hex()
        check(f"{name}: the challenge with {size} bytes is right", status == 200 and json.loads(body)["digest"] == wanted, f"{status} {body}")
    for nonce in ("", "00", "zz" * 16, "00" * 15, "00" * 65, "0" * 33, "00" * 16 + "%0a"):
        status, _, body = guest.ask("GET", f"/api/challenge?nonce={nonce}")
        check(f"{name}: the nonce {nonce[:8]!r} ({len(nonce)}) is refused", status == 400 and refusal(body), f"{status} {body[:200]}")
    connection = http.client.HTTPConnection("127.0.0.1", guest.port, timeout=5)
    took = []
    for _ in range(50):
        began = time.monotonic()
        connection.request("GET", "/")
        connection.getresponse().read()
        took.append((time.monotonic() - began) * 1000)
    connection.close()
    check(f"{name}: one connection serves many requests", len(took) == 50)
    took.sort()
    print(f"     {name}: GET / on a kept connection: median {took[25]:.1f} ms, worst {took[-1]:.1f} ms")


def check_seed(name, guest, key):
    code, out = guest.lab("cat /proc/sys/kernel/hostname; cat /etc/koboshi/challenge.key; echo; stat -c '%a %u %g' /etc/koboshi/challenge.key; ls /run/owned; "
                          "cat /etc/koboshi/instance.json /etc/koboshi/blob; echo; grep ^root /etc/shadow; cat /etc/shadow | wc -l")
    lines = out.splitlines()
    check(f"{name}: host name and key are the seed's", lines[:2] == ["sensor-1", key.hex()] and lines[2] == "640 0 33", out)
    check(f"{name}: files are written as they are", '{"it\'s": "$(touch /run/owned)",\n\n "a": 1}\nhello\nthere\n' in out and "No such file" in out, out)
    check(f"{name}: the password hash is set", "root:$6$salt$hash'x:" in out and lines[-1] == "3", out)
    code, out = guest.lab("ip -o addr show dev eth0; ip route; ip -6 route")
    check(f"{name}: addresses and routes are the seed's", IP4 in out and IP6 in out and "default via 192.0.2.2" in out and "default via 2001:db8:5::2" in out and "tentative" not in out, out)
    code, out = guest.lab("wget -q -O /dev/null http://[::1]/ && echo six; cat /sys/class/virtio-ports/*/name; lsmod; grep ' / ' /proc/mounts")
    check(f"{name}: IPv6 is served", out.startswith("six"), out)
    check(f"{name}: the modules that are needed are there", all(word in out for word in ("pvpanic", "virtio_rng", "org.koboshi.lab.0")), out)


def check_agent(name, guest, manifest):
    """What koboshi-guest says and does in this image; its guards are tried one by one in test/guest-agent."""
    agent = Agent(f"{guest.folder}/agent")
    hello = agent.wait_for(1, lambda f: True, 15)
    check(f"{name}: the agent says hello with the manifest's list", hello and hello["list"] == manifest["agent"]["list"] and hello["programs"] > 5, hello)
    if not hello:
        return
    check(f"{name}: it can do all that it should", hello["abilities"] == 0b11111111001, bin(hello["abilities"]))
    agent.give_key()
    beat = agent.wait_for(3, lambda f: f["service"] == 1, 10)
    check(f"{name}: it beats, and the service answers inside", beat, agent.frames)
    check(f"{name}: while starting nothing was refused or late", beat and beat["denied"] == 0 and beat["late"] == 0, beat)
    print(f"     {name}: {beat and beat['decided']} starts and reads were decided by then")
    for what, detail, text, command in (
            ("an unlisted program", 1, "/tmp/odd", "cp /bin/busybox /tmp/odd; echo >> /tmp/odd; /tmp/odd true"),
            ("an unlisted script", 2, "/tmp/odd.sh", "printf '#!/bin/sh\\necho ran\\n' > /tmp/odd.sh; chmod 755 /tmp/odd.sh; /tmp/odd.sh"),
            ("a script that a shell reads", 2, "/tmp/plain", "echo echo ran > /tmp/plain; sh /tmp/plain"),
            ("the loader by hand", 5, "ld-linux", "/lib64/ld-linux-x86-64.so.2 /usr/sbin/nft --version")):
        began = time.monotonic()
        code, out = guest.lab(command)
        told = agent.wait_for(4, lambda f, d=detail, t=text: f["what"] == 1 and f["detail"] == d and t in f["text"], 3)
        check(f"{name}: {what} is refused and told", code != 0 and "ran" not in out and "nftables v" not in out and told, f"{code} {out} {agent.frames[-3:]}")
        if told:
            print(f"     {name}: {what}: told {(told['at'] - began) * 1000:.0f} ms after the order was given to the guest")
    code, out = guest.lab("/usr/sbin/nft --version; echo one > /tmp/data; sh -c 'read a < /tmp/data; echo got $a'")
    check(f"{name}: what is listed runs", "nftables v" in out and "got one" in out, out)
    guest.lab("echo '<?php' > /srv/sensor/shell.php; echo 'eve:x:0:0::/:/bin/sh' >> /etc/passwd")
    check(f"{name}: a file in the web root is told", agent.wait_for(4, lambda f: f["what"] == 2 and "/srv/sensor/shell.php" in f["text"], 3), agent.frames[-3:])
    check(f"{name}: a new account is told", agent.wait_for(4, lambda f: f["what"] == 3 and f["text"] == "/etc/passwd", 3), agent.frames[-3:])
    guest.lab("nc -l -p 4444 > /dev/null 2>&1 < /dev/null & echo $! > /tmp/nc.pid")
    check(f"{name}: a port that opens is told", agent.wait_for(4, lambda f: f["what"] == 5 and f["detail"] == 4444, 10), agent.frames[-3:])
    guest.lab("read -r pid < /tmp/nc.pid; kill $pid")
    _, out = guest.lab("grep -E 'VmRSS|VmLck' /proc/$(pidof koboshi-guest)/status; cat /proc/$(pidof koboshi-guest)/oom_score_adj; dmesg | grep koboshi-guest")
    rss = int((out.split("VmRSS:") + ["0 kB", "0"])[1].split()[0])
    check(f"{name}: the agent takes at most 8 MB and is not chosen when memory is short", 0 < rss <= 8192 and "-1000" in out, out)
    print(f"     {name}: the agent's memory {rss} kB")
    last = agent.wait_for(3, lambda f: f["at"] > time.monotonic() - 1, 3)
    told = [f"{f['what']} {f['detail']} {f['text']}" for f in agent.frames if f["type"] == 4]
    check(f"{name}: nothing innocent was told", last and all(any(word in line for word in ("/tmp/", "ld-linux", "/srv/sensor/shell.php", "/etc/passwd", "4444",
                                                                                              "static program in memory"))
                                                             for line in told), told)
    agent.close()


class Agent:
    """The host's end of the agent's channel; frames as in src/wire/agent.h."""

    def __init__(self, path):
        self.port = socket.socket(socket.AF_UNIX)
        self.port.connect(path)
        self.key, self.frames, self.got, self.looked = secrets.token_bytes(32), [], b"", 0

    def close(self):
        self.port.close()

    def give_key(self):
        self.port.sendall(struct.pack("<4sHHIIq", b"kbgt", 1, 2, 0, 0, 0) + self.key + bytes(200))

    def take(self, raw):
        _, _, kind, number, _, uptime = struct.unpack_from("<4sHHIIq", raw)
        frame = {"type": kind, "number": number, "uptime": uptime, "at": time.monotonic()}
        if kind == 1:
            frame["list"] = raw[24:56].hex()
            frame["abilities"], frame["programs"] = struct.unpack_from("<II", raw, 56)
        elif hmac.digest(self.key, raw[:240], "sha256")[:16] != raw[240:]:
            raise ValueError("a frame with a wrong MAC")
        elif kind == 3:
            frame.update(zip(("decided", "denied", "late", "service", "lost"), struct.unpack_from("<QQQII", raw, 24)))
        else:
            frame["what"], frame["detail"] = struct.unpack_from("<II", raw, 24)
            frame["text"] = raw[32:192].split(b"\0")[0].decode()
        self.frames.append(frame)

    def wait_for(self, kind, wanted, limit_s):
        """The first frame of the kind that was not asked for before and is wanted; None when none comes in time."""
        end = time.monotonic() + limit_s
        while True:
            for frame in self.frames:
                if frame["type"] == kind and not frame.get("taken") and wanted(frame):
                    frame["taken"] = True
                    return frame
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.port.settimeout(left)
            try:
                self.got += self.port.recv(65536)
            except TimeoutError:
                continue
            while len(self.got) >= 256:
                raw, self.got = self.got[:256], self.got[256:]
                if any(raw):
                    self.take(raw)


def check_lab(name, guest):
    check(f"{name}: a command's end is told", guest.lab("echo one; false") == (1, "one\n"))
    began = time.monotonic()
    code, _ = guest.lab("sleep 60")
    check(f"{name}: a command that does not end is ended", code != 0 and time.monotonic() - began < 28, f"{code}")
    try:
        guest.lab("killall -9 sh", 5)
    except (OSError, ValueError):
        pass
    check(f"{name}: the channel outlives its own shell", guest.lab_until("echo back", lambda out: out == "back\n"))
    check(f"{name}: the service outlives it too", guest.until_served(10))
    for part in ("runtime", "server"):
        pid = f"cat /run/koboshi/{part}.pid"
        code, old = guest.lab(f"{pid}; kill -9 $({pid})")
        fresh = guest.lab_until(pid, lambda out, old=old: out not in ("", old))
        check(f"{name}: a killed {part} is back", code == 0 and fresh and guest.until_served(10), old)
    guest.lab("koboshi-service stop server")
    time.sleep(2)
    try:
        there = bool(guest.ask("GET", "/", timeout=2)[0])
    except (OSError, http.client.HTTPException):
        there = False
    check(f"{name}: a server stopped for good stays away", not there)
    guest.lab("koboshi-service start server")
    check(f"{name}: and comes back when it may", guest.until_served(10))
    code, out = guest.lab("nft add table inet t && nft 'add chain inet t c { type filter hook input priority 0; }' && "
                          "nft add rule inet t c tcp dport 80 reject with tcp reset && nft add rule inet t c ct state invalid drop && nft delete table inet t && echo done")
    check(f"{name}: a port can be closed from inside", out == "done\n", out)


def check_clock(name, guest):
    off = guest.clock_off()
    check(f"{name}: the clock is right at first", abs(off) < 1.2, f"{off:+.3f} s")
    guest.qmp("stop")
    time.sleep(5)
    guest.qmp("cont")
    resumed, late = time.monotonic(), None
    while time.monotonic() - resumed < 5:
        now = guest.clock_off()
        if abs(now) < 1:
            late = time.monotonic() - resumed
            break
    check(f"{name}: the clock is right after a pause", late is not None and late < 3, f"{now:+.3f} s")
    time.sleep(1.5)
    then = guest.clock_off()
    check(f"{name}: and stays so", abs(then) < 1, f"{then:+.3f} s")
    print(f"     {name}: clock {off:+.3f} s at first, right {(late or 0) * 1000:.0f} ms after a pause of 5 s, {then:+.3f} s in the end")


def check_panic(name, guest):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"{guest.folder}/lab")
        s.sendall(b"echo c > /proc/sysrq-trigger\n")
        end, status = time.monotonic() + 20, None
        while time.monotonic() < end and guest.process.poll() is None:
            status = guest.qmp("query-status")["status"]
            if status in ("guest-panicked", "shutdown"):
                break
            time.sleep(0.1)
    check(f"{name}: the hypervisor hears of a panic", status in ("guest-panicked", "shutdown") or guest.process.poll() is not None, status)


def check_variant(name, cache, show, only_start):
    image = cache / name
    manifest = json.loads((image / "manifest.json").read_text())
    for file in manifest["files"]:
        with open(image / file["name"], "rb") as f:
            check(f"{name}: {file['name']} is the manifest's", hashlib.file_digest(f, "sha256").hexdigest() == file["sha256"])
    signed = subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", cache / "keys/image.pub", "-in", image / "manifest.json",
                             "-sigfile", image / "manifest.sig"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    check(f"{name}: the manifest is signed", signed.returncode == 0)
    folder = Path(tempfile.mkdtemp(prefix="koboshi-boot-"))
    guest = None
    try:
        key = secrets.token_bytes(32)
        guest = Guest(image, manifest, folder, seed_make(folder, key))
        served = guest.until_served(BOOT_LIMIT_S)
        first = time.monotonic() - guest.began
        check(f"{name}: it serves", served, guest.said()[-2000:])
        if not served:
            return
        print(f"     {name}: first page {first:.2f} s after QEMU's start, QEMU's memory {guest.rss_mib()} MiB")
        if only_start:
            return
        end = time.monotonic() + 10
        while "koboshi: ready" not in guest.said() and time.monotonic() < end:
            time.sleep(0.1)
        check(f"{name}: the console says so", "koboshi: ready" in guest.said())
        check_service(name, guest, manifest, key)
        check_seed(name, guest, key)
        if "agent" in manifest:
            check_agent(name, guest, manifest)
        check_clock(name, guest)
        check_lab(name, guest)
        if show:
            print(guest.lab("ps; free -m; df -h /; dmesg | tail -5")[1], guest.said())
        check_panic(name, guest)
    finally:
        if guest:
            guest.end()
        shutil.rmtree(folder, ignore_errors=True)


def ended(number, _frame):
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, default=Path(os.environ.get("KOBOSHI_CACHE", "/var/cache/koboshi")))
    parser.add_argument("--show", action="store_true", help="print what runs in the guest")
    parser.add_argument("--only-start", action="store_true", help="measure how long it takes to serve, and no more")
    parser.add_argument("variants", nargs="*", default=["amber", "birch", "cedar"])
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGHUP, ended)
    for variant in arguments.variants:
        try:
            check_variant(variant, arguments.cache, arguments.show, arguments.only_start)
        except (OSError, ValueError, KeyError, http.client.HTTPException, subprocess.CalledProcessError) as error:
            check(f"{variant}: the test itself went through", False, repr(error))
    print(f"1..{len(passed) + len(failed)}\n{len(passed)} passed, {len(failed)} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
