#!/usr/bin/env python3
"""koboshi-guest against every way of starting a program that we know, in a little world of its own (see world.py). Prints TAP.

usage: test_agent.py KOBOSHI-GUEST      (needs root; skips itself with the reason where it cannot run)
"""
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from world import BEAT, HELLO, LEARNING, STOP, World

done = []
CONF = """list /usr/lib/koboshi/programs
deadline 5000
late deny
reads on
"""


def check(name, good, said=""):
    done.append(bool(good))
    print(f"{'ok' if good else 'not ok'} {len(done)} - {name}", flush=True)
    if not good:
        print("".join(f"# {line}\n" for line in str(said).splitlines()), end="", flush=True)


def runs(world, name, command, output, **more):
    status, said = world.run(command, **more)
    good = status == 0 and output in said
    if not good:
        world.pump(0.7)
    check(f"{name} runs", good, f"{status}: {said}\n{world.frames[-4:]}")


told_at = {}


def refused(world, name, command, text, detail, never="evil script\n", **more):
    """Nothing of it ran, and the host was told. (The same thing within a second is told once.)"""
    time.sleep(max(0, told_at.get((text, detail), 0) + 1.1 - time.monotonic()))
    world.forget()
    status, said = world.run(command, **more)
    told = world.told("denied", text, detail)
    frames = [f for f in world.frames if f["type"] == 4]
    told_at[(text, detail)] = time.monotonic()
    check(f"{name} is refused and told", never not in said + "\n" and told, f"{status}: {said}\n{frames}")


def test_starts(world, kind):
    def named(name):
        return f"{kind}: {name}"

    runs(world, named("a listed program"), "/bin/listed", "listed")
    runs(world, named("a listed dynamic program"), "/bin/dynamic", "dynamic")
    runs(world, named("a listed script"), "/srv/listed.sh", "listed script")
    runs(world, named("a listed program under another name"), "cp /bin/listed /tmp/other && /tmp/other && /tmp/other", "listed")
    refused(world, named("an unlisted program"), "/evil/unlisted", "/evil/unlisted", "unlisted", never="unlisted\n")
    refused(world, named("an unlisted dynamic program"), "/evil/undynamic", "/evil/undynamic", "unlisted", never="undynamic\n")
    refused(world, named("a program of the same size"), "/evil/lookalike", "/evil/lookalike", "unlisted", never="l1sted\n")
    refused(world, named("a listed program with a byte more"), "cp /bin/listed /tmp/more && echo x >> /tmp/more && /tmp/more; echo; cat /dev/null",
            "/tmp/more", "unlisted", never="listed\n")
    refused(world, named("a script by its shebang"), "/evil/evil.sh", "/evil/evil.sh", "script")
    refused(world, named("sh FILE"), "sh /evil/plain", "/evil/plain", "script")
    refused(world, named("sh -o nounset FILE"), "sh -o nounset /evil/plain", "/evil/plain", "script")
    refused(world, named("sh FILE by a relative path"), "cd /evil && exec sh plain", "/evil/plain", "script")
    refused(world, named("sh FILE by a link"), "ln -sf /evil/plain /tmp/link; exec sh /tmp/link", "/evil/plain", "script")
    refused(world, named(". FILE.sh"), ". /evil/evil.sh", "/evil/evil.sh", "script")
    refused(world, named("a copy of an interpreter reads a script"), "cp /bin/sh /tmp/shell; exec /tmp/shell /evil/plain", "/evil/plain", "script")
    if world.lua:
        runs(world, named("a listed Lua script"), "lua5.4 /srv/ask.lua", "listed lua")
        refused(world, named("lua FILE"), "lua5.4 /evil/evil.lua", "/evil/evil.lua", "script", never="evil lua\n")
        refused(world, named("lua -e CODE that reads a script"), "lua5.4 -e 'dofile(\"/evil/evil.lua\")'", "/evil/evil.lua", "script", never="evil lua\n")
    refused(world, named("a deleted program"), "cp /bin/listed /tmp/gone; exec 3< /tmp/gone; rm /tmp/gone; /proc/self/fd/3", "/tmp/gone", "deleted",
            never="listed\n")
    refused(world, named("a dynamic program in memory"), "/bin/listed memory /evil/undynamic", "ld-linux", "loader",
            never="undynamic\n")
    test_loader(world, named)
    runs(world, named("data that an interpreter reads"), "echo some > /tmp/data; sh -c 'read a < /tmp/data; echo got $a'", "got some")
    runs(world, named("a script's data"), "cat /evil/evil.sh > /dev/null; sh -c 'cat /evil/plain' | cat", "echo evil")


def test_loader(world, named):
    loader = "/lib64/ld-linux-x86-64.so.2"
    refused(world, named("the loader by hand"), f"{loader} /evil/undynamic", "ld-linux", "loader", never="undynamic\n")
    refused(world, named("the loader by a descriptor"), f"exec 3< {loader}; exec /proc/self/fd/3 /evil/undynamic", "ld-linux", "loader", never="undynamic\n")
    refused(world, named("the loader by a link to a descriptor"), f"ln -sf /proc/self/fd/3 /tmp/l; exec 3< {loader}; exec /tmp/l /evil/undynamic",
            "ld-linux", "loader", never="undynamic\n")
    refused(world, named("a copy of the loader"), f"cp {loader} /tmp/ld; exec /tmp/ld /evil/undynamic", "/tmp/ld", "loader", never="undynamic\n")
    # a start of a listed program that fails after it was allowed must not lend its permission to the next one
    time.sleep(1.1)
    world.forget()
    _, said = world.run(f"shopt -s execfail; big=$(for i in $(seq 1 40000); do echo 12345678901234567890; done); exec /bin/dynamic $big \"$big\"; "
                        f"exec {loader} /evil/undynamic", shell="/bin/bash")
    check(named("the loader after a start that failed is refused"), "undynamic\n" not in said + "\n" and world.told("denied", "ld-linux", "loader"), said[-300:])


def test_one_processor(world, kind):
    """Where the agent takes the processor away from who asks, the kernel does not say at once what that one is in."""
    one = str(min(os.sched_getaffinity(0)))
    for task in os.listdir(f"/proc/{world.agent_pid()}/task"):
        subprocess.run(["taskset", "-p", "-c", one, task], check=True, stdout=subprocess.DEVNULL)
    loop = "for i in $(seq 1 100); do /bin/dynamic & /bin/dynamic; wait; done"
    done = subprocess.run(["taskset", "-c", one, *world.enter("/bin/sh", "-c", loop)], capture_output=True, text=True, check=False, timeout=60)
    check(f"{kind}: on one processor all starts of listed dynamic programs succeed", done.stdout == "dynamic\n" * 200 and not done.stderr, done.stderr[-500:])


def test_changes_after_hash(world, kind):
    """The cache must not outlive a change of the file, however it is made."""
    runs(world, f"{kind}: a copy, seen twice", "cp /bin/listed /tmp/c && /tmp/c && /tmp/c", "listed")
    refused(world, f"{kind}: the copy after it was overwritten in place with times put back",
            "touch -r /tmp/c /tmp/ref 2> /dev/null || cp -p /tmp/c /tmp/ref; dd if=/evil/lookalike of=/tmp/c conv=notrunc 2> /dev/null; touch -r /tmp/ref /tmp/c; /tmp/c",
            "/tmp/c", "unlisted", never="l1sted")
    world.run("cp /bin/listed /tmp/m && /tmp/m && /tmp/m")
    child = subprocess.Popen(world.enter("/bin/listed", "swap", "/tmp/m", "/evil/lookalike"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    world.run("/tmp/m")  # asked about while the mapping is there: the kernel says "busy", and nothing may be kept of our answer
    child.communicate("\n")
    refused(world, f"{kind}: a copy that was changed by a shared mapping", "/tmp/m", "/tmp/m", "unlisted", never="l1sted")


def test_not_stopped(world, kind):
    """What docs/agent.md says is not stopped: if that gets better, the table there has to learn of it."""
    for name, command in (("a script by standard input", "sh < /evil/plain"), ("a script by a pipe", "cat /evil/plain | sh"),
                          ("a program's text in the arguments", 'sh -c "$(cat /evil/plain)"'), (". FILE without a suffix", ". /evil/plain")):
        runs(world, f"{kind}: not stopped: {name}", command, "evil script")


def test_memory(world, kind):
    world.start(CONF + "harden memory\n")
    world.give_key()
    world.wait_for(lambda f: f["type"] == BEAT and f["decided"] >= 0, 5)
    there = Path("/proc/sys/vm/memfd_noexec").exists()
    status, said = world.run("/bin/listed memory /evil/unlisted")
    if there:
        check(f"{kind}: a static program in memory cannot start", status != 0 and "unlisted" not in said, f"{status} {said}")
        world.run("echo 1 > /proc/sys/vm/memfd_noexec")
        now = world.run("cat /proc/sys/vm/memfd_noexec")[1]
        check(f"{kind}: who allows programs in memory again is told of", now != "1" or world.told("trouble", "programs in memory"), now)
    else:
        print("# this kernel has no memfd_noexec")
    world.stop()
    status, said = world.run("/agent -x /bin/listed memory /evil/unlisted")
    check(f"{kind}: in a sealed guest no program in memory can be made, whatever the kernel", status == 3, f"{status} {said}")  # it got none


def test_channel(world):
    hello = world.start(CONF)
    check("the hello names the list and what it can", hello and hello["list"] == hashlib.sha256(world.list.encode()).digest()
          and hello["programs"] > 10 and hello["abilities"] & 3 == 1, hello)
    world.pump(1.2)
    check("nothing is said before the key came", all(f["type"] == HELLO for f in world.frames), world.frames)
    world.run("/evil/unlisted")
    world.give_key()
    check("what was seen before the key is told after it", world.told("denied", "/evil/unlisted", "unlisted"))
    first = world.wait_for(lambda f: f["type"] == BEAT, 3)
    world.forget()
    second = world.wait_for(lambda f: f["type"] == BEAT, 3)
    third = world.wait_for(lambda f: f["type"] == BEAT and f["number"] > second["number"], 3)
    check("beats come, with rising numbers and times", first and second and third and third["number"] > second["number"] and
          third["uptime"] > second["uptime"], (second, third))
    world.forget()
    for number in range(60):
        world.run(f"cp /evil/unlisted /tmp/u{number}; /tmp/u{number}; rm /tmp/u{number}")
    told = lambda: sum(f["type"] == 4 for f in world.frames)
    end = world.wait_for(lambda f: f["type"] == BEAT and f["denied"] >= 61 and told() + f["lost"] >= 60, 10)
    check("who floods is counted: every start refused, what was not told is lost", end, (told(), world.frames[-1:]))
    signalled = world.agent_pid()
    for number in (1, 2, 15, 13, 10, 12):
        os.kill(signalled, number)
    world.forget()
    check("signals do not end it", world.wait_for(lambda f: f["type"] == BEAT, 3))
    rss = int(Path(f"/proc/{signalled}/status").read_text().split("VmRSS:")[1].split()[0])
    check("it takes at most 8 MB", rss <= 8192, f"{rss} kB")
    score = Path(f"/proc/{signalled}/oom_score_adj").read_text().strip()
    may = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16) >> 24 & 1
    check("it is not chosen when memory is short" + ("" if may else " # SKIP CAP_SYS_RESOURCE is not had here"), score == "-1000" or not may, score)
    world.stop()


def test_watches(world):
    world.run("mkdir -p /srv/deep")
    world.start(CONF + "service 8080\nlisten tcp 8080\nwatch /etc\nwatch /srv\nspare /srv/data\n")
    world.give_key()
    world.wait_for(lambda f: f["type"] == BEAT, 3)
    for name, command, what, text in (
            ("a changed file", "echo x >> /srv/ask.lua", "changed", "/srv/ask.lua"),
            ("a new file in a folder below", "echo x > /srv/deep/shell.txt", "changed", "/srv/deep/shell.txt"),
            ("a file in a folder that is new", "mkdir /srv/fresh; echo x > /srv/fresh/x", "changed", "/srv/fresh"),
            ("a new account", "echo eve:x:0:0::/:/bin/sh >> /etc/passwd", "account", "/etc/passwd"),
            ("a password by renaming", "cp /etc/shadow /tmp/s; echo >> /tmp/s; mv /tmp/s /etc/shadow", "account", "/etc/shadow"),
            ("a right to be root", "echo ann ALL > /etc/sudoers.d/ann", "account", "/etc/sudoers.d/ann"),
            ("a key in a home", "mkdir -p /home/ann/.ssh; echo k > /home/ann/.ssh/authorized_keys", "account", "/home/ann/.ssh/authorized_keys"),
            ("a mount over a watched place", "mkdir -p /srv/over; mount -t tmpfs x /srv/over", "changed", "/srv/over")):
        world.forget()
        world.run(command)
        check(f"{name} is told", world.told(what, text), world.frames)
    world.forget()
    world.run("mkdir -p /srv/data; echo x > /srv/data/x")
    check("what the image spares is not told", not world.told("changed", "/srv/data/x", limit_s=0.5))
    refused(world, "a program on a new mount", "mount -t tmpfs x /new; cp /evil/unlisted /new/; sleep 0.3; /new/unlisted", "/new/unlisted", "unlisted",
            never="unlisted\n")
    test_sockets(world)
    world.stop()


def test_sockets(world):
    def listener(port, kind="STREAM"):
        code = (f"import socket,sys; s=socket.socket(socket.AF_INET, socket.SOCK_{kind}); s.setsockopt(1,2,1); s.bind(('0.0.0.0',{port}));"
                f"s.listen(9) if '{kind}'=='STREAM' else None; print('up', flush=True); sys.stdin.read()")
        child = subprocess.Popen(["nsenter", "-t", world.inside, "-n", sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        return child

    world.forget()
    check("a service that is not there is dead", world.wait_for(lambda f: f["type"] == BEAT and f["service"] == 2, 3), world.frames)
    ours, theirs, udp = listener(8080), listener(4444), listener(5353, "DGRAM")
    check("a service that is there answers", world.wait_for(lambda f: f["type"] == BEAT and f["service"] == 1, 3))
    check("a port that is not the image's is told", world.told("listening", "tcp 4444", 4444))
    check("a UDP port too", world.told("listening", "udp 5353", 5353))
    check("the image's own is not", not [f for f in world.frames if f.get("what") == "listening" and f["detail"] == 8080])
    for child in (ours, theirs, udp):
        child.communicate("")


def test_learning(world):
    world.write("/usr/lib/koboshi/learned", "")
    os.unlink(f"/proc/{world.inside}/root/usr/lib/koboshi/learned")
    conf = "list /usr/lib/koboshi/learned\nlearn 2\nlate deny\n"
    hello = world.start(conf)
    world.give_key()
    check("learning is said", hello["abilities"] & LEARNING and hello["list"] == bytes(32), hello)
    runs(world, "learning: what runs", "/bin/listed; /bin/dynamic; /srv/listed.sh", "listed script")
    learned, end = Path(f"/proc/{world.inside}/root/usr/lib/koboshi/learned"), time.monotonic() + 20
    while not learned.exists() and time.monotonic() < end:
        world.pump(0.05)
    runs(world, "locked: what ran", "/bin/listed; /srv/listed.sh", "listed script")
    refused(world, "locked: what did not run", "/evil/unlisted", "/evil/unlisted", "unlisted", never="unlisted\n")
    world.stop()
    hello = world.start(conf)
    world.give_key()
    check("the learned list is kept", hello["abilities"] & LEARNING == 0 and hello["programs"] >= 4 and hello["list"] != bytes(32), hello)
    runs(world, "again: what ran", "/bin/listed; /bin/dynamic", "dynamic")
    refused(world, "again: what did not run", "/evil/undynamic", "/evil/undynamic", "unlisted", never="undynamic\n")
    world.stop()


def test_late(world):
    """A file that takes longer to hash than the deadline: a learning gate, as else its size alone would refuse it."""
    world.run("cp /bin/listed /tmp/big; truncate -s 6000M /tmp/big")
    world.write("/usr/lib/koboshi/big", world.list)
    for rule, ran in (("deny", False), ("allow", True)):
        world.write("/usr/lib/koboshi/big", world.list + "".join(f"{'0' * 64} - {6000 << 20} /none\n"))
        world.start(f"list /usr/lib/koboshi/big\ndeadline 1000\nlate {rule}\n")
        world.give_key()
        began = time.monotonic()
        child = subprocess.Popen(world.enter("/tmp/big"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        status, said = world.run("/bin/listed")
        check(f"late {rule}: another program does not wait", said == "listed" and time.monotonic() - began < 0.9, f"{status} {said}")
        out = child.communicate(timeout=20)[0].decode()
        check(f"late {rule}: the deadline decides", (out == "listed\n") == ran and time.monotonic() - began < 3.5, f"{out} {time.monotonic() - began:.2f}")
        check(f"late {rule}: it is counted", world.wait_for(lambda f: f["type"] == BEAT and f["late"] >= 1, 3))
        world.stop()
    world.run("rm /tmp/big")


def test_restart(world):
    """Who runs that program is seen by what it writes: its arguments, and that nothing of the agent's firmness is left to it."""
    script = "#!/bin/sh\ntrap 'exit 0' TERM\ncat /proc/self/oom_score_adj >> /tmp/restarted\nkill -TERM $$\nexit 3\n"
    world.write("/srv/restart.sh", script)
    world.write("/srv/slow.sh", "#!/bin/sh\nsleep 60 & sleep 60\n")
    listed = world.list + "".join(f"{hashlib.sha256(text.encode()).hexdigest()} - {len(text)} {path}\n"
                                  for path, text in (("/srv/restart.sh", script), ("/srv/slow.sh", "#!/bin/sh\nsleep 60 & sleep 60\n")))
    world.write("/usr/lib/koboshi/more", listed)
    conf = CONF.replace("koboshi/programs", "koboshi/more")
    check("restart: an agent without a program cannot", not world.start(conf)["abilities"] & 1 << 9)
    world.give_key()
    world.order_restart(1)
    check("restart: and says so", world.told("restarted", "no program", 127))
    world.stop()
    check("restart: an agent with one can", world.start(conf + "restart /srv/restart.sh\n")["abilities"] & 1 << 9)
    world.order_restart(5, bytes(32))  # before there is a key nothing is signed with it
    world.give_key()
    world.order_restart(5, bytes(32))
    world.order_restart(7)
    check("restart: it is run, as anybody's program", world.told("restarted", "/srv/restart.sh", 0, 5) and world.run("cat /tmp/restarted") == (0, "0"),
          world.run("cat /tmp/restarted"))
    world.forget()
    for _ in range(2):  # the same is told once a second, as it beats
        world.wait_for(lambda f: f["type"] == BEAT, 3)
        world.forget()
    world.order_restart(7)
    world.order_restart(6)
    world.wait_for(lambda f: f["type"] == BEAT, 3)
    world.order_restart(8)
    check("restart: an order that is repeated is none", world.told("restarted", "/srv/restart.sh", 0, 5) and world.run("cat /tmp/restarted") == (0, "0\n0"),
          world.run("cat /tmp/restarted"))
    world.stop()
    world.start(conf + "restart /srv/slow.sh\n")
    world.give_key()
    world.order_restart(1)
    check("restart: what takes too long is ended, with its children", world.told("restarted", "/srv/slow.sh", 128 + 9, 10) and
          not [line for line in world.run("cat /proc/[0-9]*/stat")[1].splitlines() if "(sleep)" in line and " Z " not in line],
          world.run("cat /proc/[0-9]*/stat"))
    world.stop()
    world.start(conf + "restart /srv/none.sh\n")
    world.give_key()
    world.order_restart(1)
    check("restart: a program that is not there", world.told("restarted", "/srv/none.sh", 127, 5))
    world.stop()


def test_stop(world):
    world.write("/srv/stop.sh", "#!/bin/sh\nexit 0\n")
    world.write("/usr/lib/koboshi/more", world.list + f"{hashlib.sha256(b'#!/bin/sh' + bytes([10]) + b'exit 0' + bytes([10])).hexdigest()} - 17 /srv/stop.sh\n")
    conf = CONF.replace("koboshi/programs", "koboshi/more")
    check("stop: an agent with a program can", world.start(conf + "stop /srv/stop.sh\n")["abilities"] & 3 << 9 == 1 << 10)
    world.give_key()
    world.order_restart(1, kind=STOP)
    check("stop: it is run, and told as such", world.told("stopped", "/srv/stop.sh", 0, 5))
    world.stop()


def test_carry(world):
    """What is changed is saved, whole, with owner and mode, and is no evidence; what cannot be saved is told once."""
    root = Path(f"/proc/{world.inside}/root")

    def saved(path):
        file = root / f"srv/data/.carry{path}"
        if not file.exists():
            return None
        state = file.stat()
        return f"{file.read_text()}{state.st_uid}:{state.st_gid} {state.st_mode & 0o7777:o}"

    def is_saved(name, path, wanted):
        check(f"carry: {name}", world.told("carried", path) and saved(path) == wanted, (saved(path), world.frames[-4:]))
        world.forget()

    (root / "srv/data").mkdir(mode=0o755, exist_ok=True)
    (root / "etc/app").mkdir(exist_ok=True)
    for name in ("passwd", "motd"):
        (root / "etc" / name).write_text("old\n")
        (root / "etc" / name).chmod(0o644)
    world.write("/carry", "/srv/data/.carry\n/etc/passwd\n/etc/motd\n/etc/app/none\n")
    world.start(CONF + "watch /etc\ncarry /carry\n")
    world.give_key()
    world.wait_for(lambda f: f["type"] == BEAT, 3)
    world.forget()
    world.run("echo new >> /etc/passwd")
    is_saved("a file that was changed", "/etc/passwd", "old\nnew\n0:0 644")
    (root / "etc/passwd-").touch()
    check("carry: which is no evidence, nor what is laid beside it", not world.told("account", "/etc/passwd", limit_s=1.5) and
          not [f for f in world.frames if f.get("what") == "changed"], world.frames)
    (root / "etc/passwd+").write_text("newer\n")
    os.chown(root / "etc/passwd+", 7, 8)
    (root / "etc/passwd+").chmod(0o4640)
    (root / "etc/passwd+").rename(root / "etc/passwd")
    is_saved("one that another took the place of", "/etc/passwd", "newer\n7:8 640")
    (root / "etc/app/none").write_text("n\n")
    is_saved("one that was not there", "/etc/app/none", "n\n0:0 644")
    check("carry: one that was not changed is not", saved("/etc/motd") is None)
    check("carry: its folder is root's alone", (root / "srv/data/.carry").stat().st_mode & 0o7777 == 0o700)
    (root / "etc/motd").write_bytes(bytes(40000))
    check("carry: one that is too large is told", world.told("trouble", "/etc/motd does not live on: it has more than 32 KiB"), world.frames)
    (root / "etc/motd").unlink()
    (root / "etc/motd").symlink_to("passwd")
    for _ in range(2):  # it looked again
        world.forget()
        world.wait_for(lambda f: f["type"] == BEAT, 3)
    check("carry: and a link is not followed", saved("/etc/motd") is None)
    (root / "srv/elsewhere/etc").mkdir(parents=True)
    (root / "srv/data/.carry").rename(root / "srv/data/old")
    (root / "srv/data/.carry").symlink_to("/srv/elsewhere")
    (root / "etc/passwd").write_text("newest\n")
    check("carry: nor is one in the folder's place", world.told("trouble", "/etc/passwd does not live on: it cannot be saved") and
          not list((root / "srv/elsewhere/etc").iterdir()), world.frames)
    (root / "srv/data/.carry").unlink()
    check("carry: when it is gone all is well", world.told("carried", "/etc/passwd") and saved("/etc/passwd") == "newest\n7:8 640", saved("/etc/passwd"))
    world.stop()
    world.write("/carry", "/srv/data/.carry\nnonsense\n")
    world.start(CONF + "carry /carry\n")
    world.give_key()
    check("carry: a list that is none is told", world.told("trouble", "list of files that live on"))
    world.stop()


def test_bad_settings(world):
    world.write("/guest.conf", CONF + "module vmw_vsock_virtio_transport_common\nlisten udp 53\nwatch /etc\nharden namespaces\n")
    check("settings can be looked at without doing anything", world.run("exec /agent -n -c /guest.conf") == (0, ""))
    for text, sentence in (("list /usr/lib/koboshi/programs\nlisten icmp 8\n", "/guest.conf:2: `listen`"), ("list /usr/lib/koboshi/programs\nlate perhaps\n", "/guest.conf:2: `late`"), ("reads on\n", "no list"),
                           ("list /nowhere\n", "/nowhere: No such file")):
        world.write("/guest.conf", text)
        status, said = world.run("exec /agent -c /guest.conf")
        check(f"a wrong setting stops it with a sentence: {sentence}", status == 1 and sentence in said, f"{status} {said}")


def why_not():
    if os.geteuid() != 0:
        return "needs root for fanotify and namespaces"
    for tool in ("unshare", "nsenter", "mkfs.erofs", "gcc", "bash", "dash"):
        if not any(os.access(os.path.join(folder, tool), os.X_OK) for folder in os.environ["PATH"].split(":")):
            return f"needs {tool}"
    probe = subprocess.run(["unshare", "-m", "-p", "-n", "-f", "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else "namespaces cannot be made here"


def main():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    reason = why_not()
    if reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    for kind in ("hashed", "trusted"):
        folder = Path(tempfile.mkdtemp(prefix="kb-agent-"))
        world = World(folder, Path(sys.argv[1]).absolute(), kind == "trusted")
        try:
            world.up()
            if kind == "hashed":
                test_channel(world)
            hello = world.start(CONF + ("root trusted\n" if kind == "trusted" else ""))
            check(f"{kind}: the hello says so", bool(hello["abilities"] & 1 << 8) == (kind == "trusted"), hello)
            world.give_key()
            world.wait_for(lambda f: f["type"] == BEAT and f["uptime"] > hello["uptime"] + 1_500_000, 5)  # settled, and opens are asked about
            test_starts(world, kind)
            test_changes_after_hash(world, kind)
            test_one_processor(world, kind)
            test_not_stopped(world, kind)
            world.stop()
            test_memory(world, kind)
            if kind == "hashed":
                test_watches(world)
                test_learning(world)
                test_late(world)
                test_restart(world)
                test_stop(world)
                test_carry(world)
                test_bad_settings(world)
        finally:
            world.down()
    print(f"1..{len(done)}")
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
