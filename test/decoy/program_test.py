#!/usr/bin/env python3
"""The real koboshi-decoy, confined as it is in life: it holds what the configuration says, tells its counts, reads nothing, and a
kill costs nothing but the connections.

usage: program_test.py KOBOSHI-DECOY SOURCE-OF-THE-FAKE-WORLD
"""
import array
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv[1]
sys.path.insert(0, sys.argv[2])
from fake_world import LINK, READY, TARPIT, packet, wait_for  # noqa: E402

ENGINE, LIMIT = 1, 16
CONFIG = """\
user: "65534"
guests: {addresses: [192.0.2.0/26, "2001:db8:1::/64"]}
services: {sensor: {addresses: [203.0.113.10], ports: [80/tcp], variants: [amber]}}
decoys: {connections: 16}
"""


def listening(family, host):
    made = socket.socket(family, socket.SOCK_STREAM)
    made.bind((host, 0))
    made.listen(64)
    return made


class Decoy(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.config = pathlib.Path(self.folder.name) / "koboshi.yaml"
        self.config.write_text(CONFIG, encoding="utf-8")
        self.doors = [listening(socket.AF_INET, "127.0.0.1"), listening(socket.AF_INET6, "::1")]
        self.callers, self.process = [], None
        self.start()

    def start(self):
        self.supervisor, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        its.setblocking(False)

        def become():
            for number, made in ((103, its), (105, self.doors[0]), (106, self.doors[1])):
                os.dup2(made.fileno(), number)
            for number in (3, 5, 6):
                os.dup2(100 + number, number)
            os.close(4) if pathlib.Path("/proc/self/fd/4").exists() else None
            os.closerange(7, 200)

        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([PROGRAM, "--config", str(self.config)], preexec_fn=become, close_fds=False,
                                        env={"ASAN_OPTIONS": "detect_leaks=0"})
        its.close()
        self.engine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        its.setblocking(False)
        self.supervisor.sendmsg([packet(LINK, struct.pack("=II", ENGINE, 0))],
                                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [its.fileno()]))])
        its.close()
        self.assertEqual(self.heard()[0], READY)

    def tearDown(self):
        for caller in self.callers:
            caller.close()
        self.supervisor.close()  # what it takes as the order to end
        self.assertEqual(self.process.wait(10), 0)
        for made in (*self.doors, self.engine):
            made.close()
        self.folder.cleanup()

    def heard(self):
        """The next notice: its kind, and held, taken, displaced."""
        self.engine.settimeout(10)
        bytes_ = self.engine.recv(65536)
        kind = struct.unpack_from("=I", bytes_, 16)[0]
        return kind, struct.unpack_from("=3Q", bytes_, 32)

    def counts(self, *wanted):
        while (told := self.heard()) != (TARPIT, wanted):
            self.assertEqual(told[0], TARPIT)

    def call(self, door=0):
        caller = socket.create_connection(self.doors[door].getsockname()[:2], 10)
        self.callers.append(caller)
        return caller

    def facts(self):
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return {name: rest.split() for name, rest in (line.split(":", 1) for line in lines)}

    def test_it_holds_so_many_and_drips(self):
        first = self.call()
        for n in range(LIMIT + 3):
            self.call(n % 2).sendall(b"x" * 100)
        self.counts(LIMIT, LIMIT + 4, 4)
        with self.assertRaises(ConnectionResetError):
            while first.recv(100):
                pass
        got = b""
        while len(got) < 3:  # in spite of its confinement
            ready, _, _ = select.select(self.callers[-LIMIT + 4:], [], [], 30)
            self.assertTrue(ready)
            got += ready[0].recv(100)
        self.assertLess(len(got), 2 * LIMIT)

    def test_it_is_confined(self):
        facts = wait_for("its confinement", lambda: (f := self.facts())["Seccomp"] == ["2"] and f)
        self.assertEqual(facts["NoNewPrivs"], ["1"])
        self.assertEqual({int(facts[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")}, {0})
        limits = pathlib.Path(f"/proc/{self.process.pid}/limits").read_text(encoding="utf-8")
        self.assertRegex(limits, rf"Max open files\s+{LIMIT + 16}\s+{LIMIT + 16}")
        print(f"# resident: {facts['VmRSS'][0]} KiB")

    def test_a_kill_costs_the_connections_alone(self):
        held = self.call()
        self.counts(1, 1, 0)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        with self.assertRaises(ConnectionResetError):
            held.recv(1)
        waits = self.call()  # nobody refuses: the sockets are not its own
        self.supervisor.close()
        self.engine.close()
        self.start()
        self.counts(1, 1, 0)
        self.assertEqual(waits.recv(1), b"\r")

    def test_whoever_goes_is_forgotten(self):
        self.call().close()
        self.call()
        self.counts(1, 2, 0)

    def test_a_lost_engine_changes_nothing(self):
        self.engine.close()
        self.call()
        self.assertEqual(self.callers[0].recv(1), b"\r")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
