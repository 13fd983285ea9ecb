#!/usr/bin/env python3
"""koboshi-load against small servers on loopback that answer, refuse, cut, stall and lie: each outcome must be told apart."""
import hashlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import unittest

LOAD = sys.argv.pop(1)
PAGE = b"<p>it stands</p>\n"


class Server:
    """Calls `behave(connection)` for each connection on its own thread; ends with the test."""

    def __init__(self, behave, family=socket.AF_INET):
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self.socket.listen(64)
        self.port = self.socket.getsockname()[1]
        self.behave = behave
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                self.behave(connection)
            except OSError:
                pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def request(connection):
    seen = b""
    while b"\r\n\r\n" not in seen:
        part = connection.recv(4096)
        if not part:
            raise OSError("no request")
        seen += part
    return seen


def answer(connection, body=PAGE, status=b"200 OK", head=b""):
    connection.sendall(b"HTTP/1.1 " + status + b"\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def good(connection):
    request(connection)
    answer(connection)


def keep(connection):
    while True:
        request(connection)
        answer(connection, head=b"Connection: keep-alive\r\n")


def until_end(connection):
    request(connection)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + PAGE)


def reset(connection):
    request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stall(connection):
    request(connection)
    connection.recv(1)


def cut(connection):
    request(connection)
    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nshort")


def error(connection):
    request(connection)
    answer(connection, status=b"503 Busy")


def garbage(connection):
    request(connection)
    connection.sendall(b"\0\1\2\3 nothing of HTTP\r\n\r\n")


def endless(connection):
    request(connection)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def load(*args, target="127.0.0.1", port=80, rate=100, seconds=1, before=()):
    command = [*before, LOAD, "--target", target, "--port", str(port), "--rate", str(rate), "--seconds", str(seconds), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


class LoadTest(unittest.TestCase):
    def outcome(self, behave, *args, family=socket.AF_INET, **kwargs):
        server = Server(behave, family)
        self.addCleanup(server.close)
        done = load(*args, port=server.port, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["requests"], kwargs.get("rate", 100) * kwargs.get("seconds", 1))
        return report

    def test_good(self):
        sha = hashlib.sha256(PAGE).hexdigest()
        for behave in (good, until_end):
            report = self.outcome(behave, "--good", sha)
            self.assertEqual((report["good"], report["failed"]), (100, 0))
            self.assertEqual(report["bodies"], [{"sha256": sha, "count": 100}])

    def test_says_whether_it_runs_ahead(self):
        may = subprocess.run(["chrt", "--fifo", "1", "true"], capture_output=True, check=False).returncode == 0
        self.assertEqual(self.outcome(good)["realtime"], may)
        if may and os.geteuid() == 0:
            self.assertFalse(self.outcome(good, before=("prlimit", "--rtprio=0", "setpriv", "--bounding-set=-sys_nice"))["realtime"])

    def test_keep_alive(self):
        self.assertEqual(self.outcome(keep, "--keep-alive")["good"], 100)

    def test_ipv6(self):
        self.assertEqual(self.outcome(good, family=socket.AF_INET6, target="::1")["good"], 100)

    def test_each_failure_has_its_name(self):
        wrong = ("--good", "0" * 64)
        cases = [(reset, "reset", ()), (cut, "closed", ()), (error, "status", ()), (garbage, "other", ()), (good, "wrong", wrong),
                 (stall, "timeout", ("--timeout", "100")), (endless, "other", ())]
        for behave, name, args in cases:
            with self.subTest(name):
                report = self.outcome(behave, *args, rate=20)
                self.assertEqual((report[name], report["failed"]), (20, 20), report)

    def test_refused(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            report = json.loads(load(port=unused.getsockname()[1]).stdout)
        self.assertEqual(report["refused"], 100)
        self.assertGreaterEqual(report["max_gap_ms"], 900)

    def test_a_stall_is_charged_to_all_that_waited(self):
        """One server thread that sleeps once: every request that came due meanwhile is late, not just the one in it."""
        lock, first = threading.Lock(), threading.Event()

        def behave(connection):
            with lock:
                if not first.is_set():
                    first.set()
                    threading.Event().wait(0.5)
            good(connection)

        report = self.outcome(behave, "--late", "100")
        self.assertEqual(report["good"], 100)
        self.assertGreater(report["late"], 30)
        self.assertGreaterEqual(report["max_gap_ms"], 450)

    def test_told_to_stop_it_rests_until_the_last_answer(self):
        asked = threading.Event()

        def behave(connection):
            asked.set()
            stall(connection)

        server = Server(behave)
        self.addCleanup(server.close)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with subprocess.Popen([LOAD, "--target", "127.0.0.1", "--port", str(server.port), "--rate", "10", "--seconds", "60", "--timeout", "1000"],
                              stdout=subprocess.PIPE, text=True) as process:
            self.assertTrue(asked.wait(30))
            process.send_signal(signal.SIGTERM)
            report = json.loads(process.communicate(timeout=30)[0])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual(report["timeout"], report["requests"])
        self.assertLess(report["requests"], 600)
        self.assertLess(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 0.5, "it waits a second, and works for none of it")

    def test_other_addresses_are_refused(self):
        for target in ("198.18.0.1", "10.0.0.1", "203.0.114.1", "2001:db9::1", "fe80::1", "example"):
            done = load(target=target)
            self.assertEqual(done.returncode, 2)
            self.assertIn("nothing else is ever asked", done.stderr)

    def test_limits(self):
        self.assertEqual(load(rate=5000).returncode, 2)
        self.assertEqual(load(seconds=99999).returncode, 2)
        self.assertEqual(load("--timeout", "9000", rate=2000).returncode, 2)

    def test_csv(self):
        server = Server(good)
        self.addCleanup(server.close)
        done = load("--csv", "/dev/stderr", port=server.port, rate=10)
        rows = done.stderr.splitlines()
        self.assertEqual(len(rows), 11)
        self.assertEqual(rows[0].split(",")[7], "outcome")
        self.assertEqual({row.split(",")[7] for row in rows[1:]}, {"good"})


if __name__ == "__main__":
    unittest.main()
