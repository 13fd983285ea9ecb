#!/usr/bin/env python3
"""Drives koboshi-vm on a real guest, as supervisor and engine would, through every order, a kill -9 and a panic.

usage: guest.py KOBOSHI_VM [IMAGES]        (IMAGES: folder with variants' images and keys/image.pub; exit code 77: skipped)

Everything happens in a network namespace and a run folder of its own; nothing of it is left when this ends, killed or not
(the guests' processes die with this process's namespace helper: each is killed by its own pid).
"""
import array, ctypes, hashlib, mmap, os, select, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time
from pathlib import Path

ORDER, ANSWER, NOTICE, LINK = 1, 2, 3, 4
OBSERVE, CREATE, SUSPEND, RESUME, CARRIER, UNCAP, EVIDENCE, DESTROY, CHANNEL = range(8, 17)
READY, STARTED, PAUSED, RESUMED, PANICKED, GONE, RESET = range(1, 8)
USAGE, WATCHDOG, TAKEN, DROPPED = 9, 14, 22, 23
GUESTS = ["absent", "running", "paused", "crashed", "off"]
PR_SET_CHILD_SUBREAPER = 36

EVIDENCE_TOTAL_MIB = 288  # one guest's memory and little more
CONF = """
paths: {{state: {dir}/state, run: {dir}/run, images: {images}, image_key: {images}/keys/image.pub}}
hypervisor: {{accelerator: tcg, lab: yes}}
guests: {{addresses: [198.51.100.0/24, "2001:db8:1::/64"]}}
limits: {{evidence: 256MiB, evidence_total: {total}MiB}}
services:
  sensor: {{addresses: [203.0.113.10], ports: [80/tcp], variants: [{variants}]}}
"""


class Engine:
    """Both ends that koboshi-vm talks to."""

    def __init__(self, program, conf):
        self.own, self.read_bytes, self.taken, self.dropped = set(), {}, {}, []
        self.program, self.conf, self.next_id, self.notes, self.answers, self.channels = program, conf, 1, [], {}, {}
        self.start()

    def start(self):
        self.supervisor, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        def keep_on_3():
            os.dup2(child.fileno(), 3)
            os.set_inheritable(3, True)
        self.began = time.monotonic()
        self.process = subprocess.Popen([self.program, "--config", self.conf], close_fds=False, preexec_fn=keep_on_3)
        self.own.add(self.process.pid)
        child.close()
        self.link()

    def link(self):
        self.engine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        packet = struct.pack("=HHIII", 1, LINK, 16, 1, 0)
        self.supervisor.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
        theirs.close()
        self.notes = []

    def receive(self, seconds):
        if not select.select([self.engine], [], [], seconds)[0]:
            raise TimeoutError("koboshi-vm said nothing in time")
        packet, fds, _, _ = socket.recv_fds(self.engine, 65536, 4)
        if not packet:
            raise EOFError("koboshi-vm closed the link")
        version, kind, size = struct.unpack_from("=HHI", packet)
        assert version == 1 and size == len(packet), (version, kind, size)
        if fds:
            assert kind == NOTICE and len(fds) == 1
            os.set_inheritable(fds[0], False)  # a copy in the next koboshi-vm would keep the port taken
            instance = struct.unpack_from("=I", packet, 8 + 12)[0]
            self.channels[instance] = (socket.socket(fileno=fds[0]), packet[8 + 72:8 + 104])
        return kind, packet[8:]

    def send(self, order, instance=0, incident=0, flag=0, variant=0):
        id, self.next_id = self.next_id, self.next_id + 1
        body = struct.pack("=QQqQQ8I80x", id, 0, 0, incident, incident, order, 0, instance, 0, variant, 0, flag, 0)
        self.engine.send(struct.pack("=HHI", 1, ORDER, 8 + len(body)) + body)
        return id

    def note(self, body):
        time_us, kind, instance, accelerator, _ = struct.unpack_from("=qIIII", body)
        if kind == USAGE:
            self.read_bytes[instance] = struct.unpack_from("=5Q", body, 24)[3]
        if kind == TAKEN:
            incident, size = struct.unpack_from("=2Q", body, 24)
            self.taken[incident, body[104:].split(b"\0")[0].decode()] = (instance, size, body[40:72].hex())
        if kind == DROPPED:
            self.dropped.append(struct.unpack_from("=Q", body, 24)[0])
        self.notes.append((kind, instance, accelerator))

    def answer(self, id, seconds=60):
        while id not in self.answers:
            kind, body = self.receive(seconds)
            if kind == NOTICE:
                self.note(body)
                continue
            got, status, took = struct.unpack_from("=QiI", body)
            self.answers[got] = (status, body[16:216].split(b"\0")[0].decode(), took, body)
        return self.answers.pop(id)

    def order(self, order, instance=0, expect=0, **more):
        began = time.monotonic()
        status, text, took, body = self.answer(self.send(order, instance, **more))
        ms = (time.monotonic() - began) * 1000
        print(f"  {ms:8.1f} ms  {text}", flush=True)
        assert (status == 0) == (expect == 0), (status, text)
        return body, text, ms

    def observe(self):
        body, _, _ = self.order(OBSERVE)
        counted = 16 + 200 + 32 + 4 * 16
        n = struct.unpack_from("=I", body, counted)[0]
        seen = {}
        for i in range(n):
            at = counted + 8 + 60 * i
            instance, service, variant, guest, _, outdated, revoked = struct.unpack_from("=7I", body, at)
            assert outdated == 0, "it is of the image that is there"
            assert revoked == 0, "nobody asked for that"
            seen[instance] = (service, variant, GUESTS[guest], body[at + 28:at + 60])
        return seen

    def wait_note(self, kind, instance=0, seconds=60):
        end = time.monotonic() + seconds
        while not any(n[0] == kind and n[1] == instance for n in self.notes):
            got, body = self.receive(max(0.0, end - time.monotonic()))
            assert got == NOTICE, got
            self.note(body)
        for n in self.notes:
            if n[0] == kind and n[1] == instance:
                self.notes.remove(n)
                return n


def reap(engine):
    """Guests that outlived a killed koboshi-vm are ours now, as they are koboshid's in life: somebody must wait for them, or
    libvirt waits for minutes for each that it ends."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            if ended.si_pid in engine.own:
                time.sleep(0.01)  # Popen's; it is about to be waited for
            else:
                os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            time.sleep(0.01)


def qemu_pids(folder):
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if b"qemu" in command and str(folder).encode() in command and state != "Z":
                pids.append(int(entry.name))
    return pids


def wait_console(folder, number, text, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if text in (folder / f"run/guest/{number}/console.log").read_bytes():
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise TimeoutError(f"'{text.decode()}' does not show on the console of kb-{number}")


def lab(folder, number, command, seconds=20):
    """Runs a command in the guest; '' when the guest did not live to tell the end."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(folder / f"run/guest/{number}/lab.sock"))
        s.settimeout(seconds)
        s.sendall(command.encode() + b"\n")
        got = b""
        while b"koboshi-lab: exit" not in got:
            try:
                got += s.recv(4096)
            except (TimeoutError, socket.timeout):
                break
        return got.decode()


def channel(engine, folder):
    """The agent's port: one connection at a time is heard, whoever is killed."""
    def speak(word):  # the port takes what is written while somebody holds the other end
        return lab(folder, 1, f"echo {word} > /dev/$(basename $(dirname $(grep -l agent /sys/class/virtio-ports/*/name)))")

    def heard(connection, word):
        connection.settimeout(20)
        got = b""
        while word.encode() not in got:
            part = connection.recv(4096)
            assert part, f"closed before '{word}' came"
            got += part

    lab(folder, 1, "agent=$(pidof koboshi-guest) && kill -9 $agent")  # whoever holds the port is the only one who can speak
    engine.order(CHANNEL, 1)
    first, key = engine.channels[1]
    assert key.hex() == (folder / "run/guest/1/agent.key").read_text()
    assert key.hex() not in lab(folder, 1, "cat /etc/koboshi/* /dev/vdb | tr -cd a-f0-9"), "in reach of the guest"
    speak("one")
    heard(first, "one")
    print("  a second connection waits for the first one's end")
    engine.order(CHANNEL, 1)
    second = engine.channels[1][0]
    speak("two")
    heard(first, "two")
    assert not select.select([second], [], [], 0)[0]
    first.close()
    speak("three")
    heard(second, "three")
    print("  kill -9 of koboshi-vm: the connection goes on, and a new one can be had")
    engine.process.kill()
    engine.process.wait()
    speak("four")
    heard(second, "four")
    engine.start()
    engine.wait_note(READY)
    second.close()
    engine.order(CHANNEL, 1)
    third, again = engine.channels[1]
    assert again == key
    speak("five")
    heard(third, "five")
    print("  the engine is gone while a connection is on its way to it")
    third.close()
    engine.send(CHANNEL, 1)
    engine.engine.close()
    engine.link()
    engine.wait_note(READY)
    engine.order(CHANNEL, 1)
    speak("six")
    heard(engine.channels[1][0], "six")
    engine.channels[1][0].close()


# What the guest writes over its root: 17 pages, none like another, in a file that its image does not have.
PLANT = "awk 'BEGIN { for (i = 0; i < 4096; i++) printf \"overlay %08d\\n\", i * 7919 }' > /usr/lib/planted"
PLANTED = b"".join(b"overlay %08d\n" % (i * 7919) for i in range(4096))


def pages_found(image):
    """The memory image holds the overlay: each page of the planted file, whole."""
    missing = {PLANTED[at:at + 4096] for at in range(0, len(PLANTED), 4096)}
    with open(image, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        for at in range(0, len(memory), 4096):
            missing.discard(memory[at:at + 4096])
    assert not missing, f"{len(missing)} pages of the planted file are not in {image}"


def groups_remove(folder):
    """Only after a failed run: koboshi-vm removes them itself."""
    tag = 2166136261
    for c in f"{folder}/run/guest".encode():
        tag = (tag ^ c) * 16777619 & 0xffffffff
    for group in Path("/sys/fs/cgroup").glob(f"cpu/koboshi-{tag:08x}-*"):
        group.rmdir()


def tap_add(number):
    subprocess.run(["ip", "tuntap", "add", f"kb{number}", "mode", "tap"], check=True)
    subprocess.run(["ip", "link", "set", f"kb{number}", "up"], check=True)


def clock(pid, seconds):
    def used():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    before = used()
    time.sleep(seconds)
    return (used() - before) / seconds


def nices(engine):
    """Of all threads of koboshi-vm, libvirt's among them."""
    reaper = engine.process.pid
    ours = Path(f"/proc/{reaper}/task/{reaper}/children").read_text().split()[0]
    return [os.getpriority(os.PRIO_PROCESS, int(task)) for task in os.listdir(f"/proc/{ours}/task")]


def scenario(engine, folder, images, second):
    print("ready", engine.wait_note(READY), f"{(time.monotonic() - engine.began) * 1000:.0f} ms after the start (cold)")
    assert engine.observe() == {}
    _, text, _ = engine.order(CREATE, 1, expect=1)
    assert "tap kb1" in text
    assert not (folder / "run/guest/1").exists(), "a refused create left files"
    tap_add(1)
    tap_add(2)
    body, text, _ = engine.order(CREATE, 1)
    key = body[216:248]
    began = time.monotonic()
    engine.wait_note(STARTED, 1)
    assert engine.observe()[1] == (0, 0, "running", key)
    pid = qemu_pids(folder)[0]
    assert os.sched_getscheduler(pid) in (os.SCHED_IDLE, os.SCHED_BATCH)
    assert set(nices(engine)) == {os.getpriority(os.PRIO_PROCESS, 0)}, nices(engine)
    wait_console(folder, 1, b"koboshi: ready")
    print(f"ready on its console {time.monotonic() - began:.2f} s after create")
    engine.order(UNCAP, 1)
    assert {os.sched_getscheduler(int(t)) for t in os.listdir(f"/proc/{pid}/task")} == {os.SCHED_OTHER}

    told = lab(folder, 1, "cat /etc/koboshi/challenge.key; hostname; ip -o addr show dev eth0; ip route; ip -6 route; id -u")
    assert key.hex() in told and "kb-1" in told, told
    assert "198.51.100." in told and "2001:db8:1:" in told and "default via" in told, told

    engine.wait_note(USAGE, 1)
    before, mib = engine.read_bytes[1], 30
    lab(folder, 1, f"echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=1M count={mib}")
    end = time.monotonic() + 10
    while engine.read_bytes[1] < before + (mib << 20):
        assert time.monotonic() < end, f"{engine.read_bytes[1] - before} bytes were read, not {mib} MiB"
        engine.notes = [note for note in engine.notes if note[0] != USAGE]
        engine.wait_note(USAGE, 1)
    print(f"{mib} MiB read in the guest are {(engine.read_bytes[1] - before) / (1 << 20):.1f} MiB on the host")

    for _ in range(5):
        engine.order(SUSPEND, 1)
        engine.order(RESUME, 1)
    engine.order(SUSPEND, 1)
    engine.order(SUSPEND, 1)  # idempotent
    assert engine.observe()[1][2] == "paused"
    assert clock(pid, 0.5) < 0.02
    engine.order(RESUME, 1)
    engine.wait_note(PAUSED, 1)
    engine.wait_note(RESUMED, 1)

    engine.order(CARRIER, 1, flag=0)
    assert "0" == lab(folder, 1, "cat /sys/class/net/eth0/carrier").split()[0]
    engine.order(CARRIER, 1, flag=1)
    engine.order(CREATE, 1, expect=1)

    print("the agent's port")
    channel(engine, folder)

    print("kill -9 in the middle of a create")
    engine.send(CREATE, 2, variant=second)
    time.sleep(0.15)
    engine.process.kill()
    engine.process.wait()
    assert pid in qemu_pids(folder), "the guest died with koboshi-vm"
    engine.start()
    engine.wait_note(READY)
    print(f"ready again {(time.monotonic() - engine.began) * 1000:.0f} ms after the start")
    seen = engine.observe()
    assert seen[1] == (0, 0, "running", key), seen
    if 2 in seen:
        engine.order(DESTROY, 2)
    end = time.monotonic() + 10  # the sweep goes on behind what is ordered
    while (folder / "run/guest/2").exists():
        assert time.monotonic() < end, "a half-made guest's folder was left"
        time.sleep(0.02)
    assert qemu_pids(folder) == [pid], "a half-made guest was left running"

    print("a suspend while another guest is created")
    create = engine.send(CREATE, 2, variant=second)
    engine.order(SUSPEND, 1)
    engine.order(RESUME, 1)
    status, text, took, _ = engine.answer(create)
    print(f"  {took / 1000:8.1f} ms  {text}")
    assert status == 0, text
    booting = next(p for p in qemu_pids(folder) if p != pid)
    print(f"the second guest takes {clock(booting, 2) * 100:.0f} % of a processor while it boots")
    wait_console(folder, 2, b"koboshi: ready", 120)
    engine.order(UNCAP, 2)

    print("a guest that makes QEMU complain without end")
    said = folder / "run/vm/log/qemu/kb-2.log"
    with open(said, "ab") as log:
        log.write(b"complaint\n" * (2 << 17))
    end = time.monotonic() + 10
    while said.stat().st_size > 1 << 20:
        assert time.monotonic() < end, "QEMU's log is not bounded"
        time.sleep(0.1)

    print("a file in the guest's overlay")
    lab(folder, 1, PLANT)

    print("panic")
    lab(folder, 1, "echo c > /proc/sysrq-trigger &", 1)
    began = time.monotonic()
    engine.wait_note(PANICKED, 1)
    print(f"  told {(time.monotonic() - began) * 1000:.0f} ms later")
    assert engine.observe()[1][2] == "crashed"
    engine.order(RESUME, 1, expect=1)
    # Of two earlier incidents one takes up all the room that there is; only what belongs to closed ones may go.
    for number, mib in ((2, 1), (3, EVIDENCE_TOTAL_MIB - 32)):
        old = folder / f"state/evidence/{number}"
        old.mkdir(parents=True, mode=0o700)
        (old / "kb-9.memory").write_bytes(b"\xaa" * (mib << 20))
    (folder / "state/evidence/5").mkdir()
    (folder / "state/evidence/5/kb-1.flows").write_text("a flow\n")  # as the net actuator leaves it
    with open(folder / "state/evidence/5/kb-1.memory", "wb") as half:  # as a killed koboshi-vm leaves it
        os.posix_fallocate(half.fileno(), 0, 200 << 20)
    evidence = engine.send(EVIDENCE, 1, incident=5)
    engine.order(SUSPEND, 2)  # not held up
    status, text, took, _ = engine.answer(evidence)
    print(f"  {took / 1000:8.1f} ms  {text}")
    assert status == 0, text
    sums = (folder / "state/evidence/5/SHA256SUMS").read_text().splitlines()
    for line in sums:
        digest, name = line.split("  ")
        content = (folder / "state/evidence/5" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert engine.taken.pop((5, name)) == (1, len(content), digest), name  # and so it was told, before the answer
    assert not engine.taken and engine.dropped == [4], (engine.taken, engine.dropped)
    held = (folder / "state/evidence/5/kb-1.memory").stat()
    assert held.st_size == 192 << 20 and held.st_blocks * 512 < held.st_size, held
    pages_found(folder / "state/evidence/5/kb-1.memory")
    assert not (folder / "run/guest/1/memory.pipe").exists()
    print("  " + ", ".join(f"{p.name} {p.stat().st_size}" for p in sorted((folder / "state/evidence/5").iterdir())))
    assert all(any(kind in line for line in sums) for kind in ("memory", "console", "flows"))
    assert sorted(p.name for p in (folder / "state/evidence").iterdir()) == ["5"]

    print("a watchdog that starves")
    engine.order(RESUME, 2)
    lab(folder, 2, "modprobe i6300esb heartbeat=2 && : > /dev/watchdog")
    engine.wait_note(WATCHDOG, 2)

    print("a guest that reboots by itself, and one whose process is killed")
    lab(folder, 2, "echo b > /proc/sysrq-trigger &", 1)
    engine.wait_note(RESET, 2)
    other = next(p for p in qemu_pids(folder) if p != pid)
    print("evidence of a guest whose process stands still: not for ever")
    os.kill(other, signal.SIGSTOP)
    _, text, _ = engine.order(EVIDENCE, 2, incident=6)
    assert "kb-2: console, memory left out: it took more than 20 s" in text, text
    assert not (folder / "state/evidence/6/kb-2.memory").exists()
    assert list(engine.taken) == [(6, "kb-2.console.log")], engine.taken
    print("now it goes on with what it was asked for, and must not wait for a reader that was killed")
    os.kill(other, signal.SIGCONT)
    time.sleep(0.5)  # nobody tells when it has come to the pipe
    assert (folder / "run/guest/2/memory.pipe").is_fifo()
    engine.process.kill()
    engine.process.wait()
    engine.start()
    engine.wait_note(READY)
    engine.order(SUSPEND, 2)
    engine.order(RESUME, 2)
    os.kill(other, signal.SIGKILL)
    engine.wait_note(GONE, 2)
    assert 2 not in engine.observe()

    print("destroy both at once")
    one, two = engine.send(DESTROY, 1), engine.send(DESTROY, 2)
    for id in (one, two):
        status, text, took, _ = engine.answer(id)
        print(f"  {took / 1000:8.1f} ms  {text}")
        assert status == 0, text
    engine.order(DESTROY, 1)  # idempotent
    assert engine.observe() == {}
    assert qemu_pids(folder) == []
    assert list((folder / "run/guest").iterdir()) == []
    engine.supervisor.close()
    assert engine.process.wait(5) == 0


def own_images(images, folder, variants):
    """Copies: a builder may be at work on the originals."""
    (folder / "images").mkdir()
    for variant in variants:
        shutil.copytree(images / variant, folder / "images" / variant)
    (folder / "images/keys").mkdir()
    shutil.copy(images / "keys/image.pub", folder / "images/keys/image.pub")


def question_left_behind(folder):
    """As libvirt starts one to ask it what it can do, by a koboshi-vm that was killed before it had the answer."""
    place = folder / "run/vm/lib/qemu/qmp-LEFT01"
    place.mkdir(parents=True)
    subprocess.run(["qemu-system-x86_64", "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=tcg", "-qmp",
                    f"unix:{place}/qmp.monitor,server=on,wait=off", "-pidfile", place / "qmp.pid", "-daemonize"], check=True)
    assert qemu_pids(folder)
    return place


def changed_image(program, folder, variant):
    print("a changed image")
    copy = folder / "images"
    with open(copy / variant / "root.erofs", "r+b") as f:
        f.seek(4096000)
        byte = f.read(1)
        f.seek(4096000)
        f.write(bytes([byte[0] ^ 1]))
    engine = Engine(program, str(folder / "koboshi.yaml"))
    engine.wait_note(READY)
    _, text, _ = engine.order(CREATE, 1, expect=1)
    assert "root.erofs" in text, text
    assert list((folder / "run/guest").iterdir()) == []
    engine.supervisor.close()
    assert engine.process.wait(5) == 0


def main():
    if len(sys.argv) < 3 or sys.argv[2].startswith("--"):
        sys.argv.insert(2, os.environ.get("KOBOSHI_CACHE", "/var/cache/koboshi"))
    if "--inside" not in sys.argv:
        if os.geteuid() != 0:
            print("skipped: needs root for a network namespace")
            return 77
        if not Path(sys.argv[2], "keys/image.pub").exists():
            print(f"skipped: no images in {sys.argv[2]}")
            return 77
        os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv, "--inside"])
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    program, images = os.path.abspath(sys.argv[1]), Path(sys.argv[2])
    variants = sorted(p.name for p in images.iterdir() if (p / "manifest.sig").exists())
    folder = Path(tempfile.mkdtemp(prefix="kbvm", dir="/tmp"))
    engine = None
    try:
        conf = folder / "koboshi.yaml"
        conf.write_text(CONF.format(total=EVIDENCE_TOTAL_MIB, dir=folder, images=folder / "images", variants=", ".join(variants)))
        own_images(images, folder, variants)
        left = question_left_behind(folder)
        engine = Engine(program, str(conf))
        threading.Thread(target=reap, args=(engine,), daemon=True).start()
        scenario(engine, folder, images, len(variants) - 1)
        assert not left.exists()
        changed_image(program, folder, variants[0])
        print("all well")
        return 0
    finally:
        if engine and engine.process.poll() is None:
            engine.process.kill()
        for pid in qemu_pids(folder):
            os.kill(pid, signal.SIGKILL)
        while qemu_pids(folder):
            time.sleep(0.05)
        groups_remove(folder)
        if "--keep" not in sys.argv:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
