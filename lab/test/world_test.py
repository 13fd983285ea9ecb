#!/usr/bin/env python3
"""Worlds, clients, scenes and the demo against a stand-in for koboshid: networks and bookkeeping, without a guest."""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

LAB = pathlib.Path(__file__).resolve().parents[1]
LOAD = pathlib.Path(sys.argv.pop(1)).resolve()
BUILD = pathlib.Path(tempfile.mkdtemp(prefix="koboshi-lab-"))
os.environ["KOBOSHI_BUILD"], os.environ["KOBOSHI_CACHE"] = str(BUILD), str(BUILD / "cache")
os.environ["KOBOSHI_LAB_RATE"] = "50"  # the stand-in is quick: enough requests that a fault is felt
sys.path.insert(0, str(LAB))
from koboshi_lab import layout, world  # noqa: E402

PAGE_SHA = hashlib.sha256(b"<h1>sensor</h1>\n").hexdigest()


def build_pretend() -> None:
    for name, path in layout.PROGRAMS.items():
        (BUILD / path).parent.mkdir(parents=True, exist_ok=True)
        if name == "koboshid":
            shutil.copy(LAB / "test/standin.py", BUILD / path)
        else:
            (BUILD / path).write_text("#!/bin/sh\n")
    layout.LOAD.parent.mkdir(exist_ok=True)
    layout.LOAD.symlink_to(LOAD)
    for variant in layout.VARIANTS:
        (layout.CACHE / variant).mkdir(parents=True)
        manifest = {"content": [{"path": "/", "sha256": PAGE_SHA}]}
        (layout.CACHE / variant / "manifest.json").write_text(json.dumps(manifest))


def inside(code: str, name: str = "test") -> subprocess.CompletedProcess:
    """Runs a Python program in a world, as lab/demo does."""
    start = f"from koboshi_lab import shell, world; import sys; sys.exit(shell.guarded(lambda: world.run_in({name!r}, " \
            f"[sys.executable, '-c', {code!r}], 60)))"
    return subprocess.run([sys.executable, "-c", start], env=world.environment(), capture_output=True, text=True, timeout=90, check=False)


def lab(name: str, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run([LAB / name, *args], capture_output=True, text=True, timeout=120, check=False, env=world.environment())


class WorldTest(unittest.TestCase):
    def test_clients_reach_the_service_and_nothing_is_left(self):
        done = inside("""
from koboshi_lab import api, clients, layout, shell
api.wait_whole(20)
with clients.Clients(clients.good_bodies(layout.VARIANTS)) as asking:
    asking.wait_good(shell.now_us(), 10)
    reports = asking.stop()
assert len(reports) == 2 and all(r['good'] > 0 and r['failed'] == 0 for r in reports), reports
""")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Looked for what is left behind: no process", done.stdout)

    def test_the_way_out_is_closed(self):
        done = inside("""
import subprocess
from koboshi_lab import network
out = subprocess.run(['ip', '-o', 'link'], capture_output=True, text=True, check=True).stdout
assert {line.split(':')[1].split('@')[0].strip() for line in out.splitlines()} - {'lo', 'clients'} <= {'ifb0', 'ifb1', 'dummy0', 'sit0'}, out
assert subprocess.run(network.client_exec('ip', 'route', 'get', '198.18.0.1'), capture_output=True, check=False).returncode != 0
""")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_koboshid_is_started_again_and_orphans_are_reaped(self):
        done = inside("""
import os, signal
from koboshi_lab import api, layout, shell
api.wait_whole(20)
first = int((layout.KEEPER / 'koboshid.pid').read_text())
os.kill(first, signal.SIGKILL)
shell.wait_for('a new koboshid', lambda: int((layout.KEEPER / 'koboshid.pid').read_text()) != first, 10)
api.wait_whole(20)
assert shell.process_start(first) is None
sleepers = [pid for pid in shell.processes() if shell.cmdline(pid)[:1] == ['sleep']]
assert len(sleepers) == 2, sleepers
""")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_status_of_the_program_comes_out(self):
        self.assertEqual(inside("raise SystemExit(7)").returncode, 7)

    def test_kill_9_of_the_outermost_process_leaves_nothing(self):
        code = "from koboshi_lab import api; api.wait_whole(20); print('up', flush=True); import time; time.sleep(60)"
        start = f"from koboshi_lab import world; import sys; world.run_in('killed', [sys.executable, '-c', {code!r}], 60)"
        outer = subprocess.Popen([sys.executable, "-c", start], env=world.environment(), stdout=subprocess.PIPE, text=True)
        self.assertEqual(outer.stdout.readline(), "up\n")
        leftovers = world.Leftovers()
        path = next(layout.WORLDS.glob("killed-*"))
        one = world.process_one(world.alive(path))
        leftovers.follow(one, path)
        self.assertGreaterEqual(len(leftovers.holders()), 3)
        outer.send_signal(signal.SIGKILL)
        outer.wait()
        outer.stdout.close()
        deadline = time.monotonic() + 10
        while leftovers.holders() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(leftovers.holders(), [])
        world.tidy()
        self.assertEqual(leftovers.look(), [])

    def test_demo(self):
        done = lab("demo")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        report = json.loads((BUILD / "demo/report.json").read_text())["faults"]
        self.assertEqual([r["fault"] for r in report], ["close-port", "hang", "panic", "kill-koboshid", "drop-program", "scan", "tamper"])
        for row in report:
            self.assertGreater(row["failed"], 0)
            self.assertLess(row["failed"], row["requests"])
            self.assertGreater(row["detected_ms"], 0)
            self.assertEqual(row["shared_components"], [])
            self.assertNotEqual(row["victim"]["number"], row["active"]["number"])
        self.assertEqual(len(report[3]["killed"]), 1)
        self.assertIn("Looked for what is left behind: no process", done.stdout)

    def test_lab_up_fault_down(self):
        self.assertIn("no lab is running", lab("fault", "hang").stderr)
        done = lab("up")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.addCleanup(lab, "down")
        self.assertIn("running already", lab("up").stderr)
        self.assertIn("on instance 1", lab("fault", "hang").stdout)
        asked = lab("client", "python3", "-c", "import urllib.request as u; print(u.urlopen('http://203.0.113.10/').status)")
        self.assertEqual(asked.stdout, "200\n", asked.stderr)
        done = lab("down")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("no process, namespace", done.stdout)
        self.assertIn("No lab is running", lab("down").stdout)

    def test_missing_pieces_are_named(self):
        hidden = layout.CACHE / "amber"
        hidden.rename(layout.CACHE / "hidden")
        self.addCleanup((layout.CACHE / "hidden").rename, hidden)
        done = lab("demo")
        self.assertEqual(done.returncode, 1)
        self.assertIn("run 'make images'", done.stderr)


if __name__ == "__main__":
    if os.geteuid() or not os.access("/dev/net/tun", os.W_OK):
        print("needs root and /dev/net/tun")
        sys.exit(77)
    try:
        build_pretend()
        unittest.main()
    finally:
        shutil.rmtree(BUILD, ignore_errors=True)
