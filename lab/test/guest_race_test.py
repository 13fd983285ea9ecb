#!/usr/bin/env python3
"""The race with real guests in its shortest form: a baseline and Koboshi each give a complete row. How fast they were is not judged here.

usage: KOBOSHI_BUILD=BUILD guest_race_test.py
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

LAB = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(LAB))
from koboshi_lab import bench, guest_arms, guest_costs, guest_race, watch  # noqa: E402
from koboshi_lab.shell import LabError  # noqa: E402


def race(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run([LAB / "race", "--tier", "guests", *argv], capture_output=True, text=True, check=False, timeout=500)


class ArgumentsTest(unittest.TestCase):
    def test_what_is_misspelt_or_too_much_is_said(self):
        self.assertIn("invalid choice: 'nobody'", race("--arms", "nobody").stderr)
        done = race("--rate", "51")
        self.assertEqual(done.returncode, 2)
        self.assertIn("50 requests a second", done.stderr)
        self.assertIn("one round at least", race("--rounds", "0").stderr)

    def test_who_takes_minutes_races_only_when_asked_for(self):
        self.assertEqual(set(guest_race.ARMS) - set(guest_race.arguments([]).arms), set(guest_race.SLOW))


BUSY = "import time\nwhile time.process_time() < 0.1: pass\n"
PARENT = f"import subprocess, sys\n{BUSY}subprocess.run([sys.executable, '-c', sys.argv[1]])\nprint('done', flush=True)\nsys.stdin.read()"


class CostsTest(unittest.TestCase):
    def test_a_process_counts_with_the_children_that_it_waited_for(self):
        with subprocess.Popen([sys.executable, "-c", PARENT, BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
            self.assertEqual(parent.stdout.readline(), "done\n")
            spent = guest_costs.spent([parent.pid])[parent.pid]
            own = bench.cpu_s(parent.pid)
            parent.stdin.close()
        self.assertGreaterEqual(own, 0.1)
        self.assertGreaterEqual(spent, own + 0.09)
        self.assertEqual(guest_costs.spent([parent.pid]), {}, "who has ended is not counted")


# By whose log: what the program said when all was well, and when it was not.
SAID = {
    "haproxy": ("[NOTICE]   (291) : New worker (293) forked\n",
                "[WARNING]  (291) : Server guests/g1 is DOWN, reason: Layer7 timeout, check duration: 49ms.\n"),
    "keepalived": ("Keepalived_vrrp[226]: (VI_1) Entering BACKUP STATE\nKeepalived_vrrp[226]: Script `server` now returning 0\n",
                   "Keepalived_vrrp[226]: Script `server` now returning 1\n"),
    "guest-paper": ("Keepalived_vrrp[220]: (VI_1) removing VIPs.\n", "g1 is closed: stopping it\n"),
    "pacemaker": ("pacemaker-controld  [357] (log_executor_event)  notice: Result of monitor operation for g1 on host: ok | CIB update 7\n",
                  "pacemaker-controld  [357] (log_executor_event)  notice: Result of monitor operation for g1 on host: error (Monitor command returned 1)\n"),
    "systemd": ("lab.service: Failed to connect stdout to the journal socket, ignoring\n",
                "\033[0;1;39mserver.service: Main process exited, code=killed, status=9/KILL\033[0m\n"),
}


class WordsTest(unittest.TestCase):
    def test_each_arm_is_heard_when_it_notices_something_and_not_before(self):
        self.assertEqual(SAID.keys(), guest_arms.LOGS.keys())
        for name, (well, ill) in SAID.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / f"{guest_arms.LOGS[name]['detected'][0].split()[0]}.log"
                path.parent.mkdir(parents=True)
                path.write_text(ill)  # of before: it is not listened to yet
                log = watch.logs(pathlib.Path(folder), guest_arms.LOGS[name])["detected"]
                for said, heard in ((well, False), (ill, True)):
                    with path.open("a") as file:
                        file.write(said)
                    log.look()
                    self.assertEqual(log.seen_us is not None, heard, said)

    def test_who_was_made_to_believe_a_claim_has_not_noticed_it(self):
        listened = {name: guest_arms.heard(words, "claim")["detected"][0].split() for name, words in guest_arms.LOGS.items()}
        self.assertEqual((listened["keepalived"], listened["guest-paper"], listened["pacemaker"]), ([], ["guest-paper/loop"], ["pacemaker/pacemaker"]))
        self.assertEqual(guest_arms.heard(guest_arms.LOGS["keepalived"], "closed"), guest_arms.LOGS["keepalived"])


class ReportTest(unittest.TestCase):
    def test_a_report_goes_on_only_as_it_was_begun(self):
        fresh = guest_race.new_report(guest_race.arguments(["--arms", "koboshi", "--faults", "closed"]))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "guests.json"
            with self.assertRaisesRegex(LabError, "leave --add away"):
                guest_race.continued(path, fresh)
            old = {**fresh, "options": {**fresh["options"], "arms": ["paper-tuned"], "faults": ["tap"], "rounds": 7}}
            path.write_text(json.dumps(old))
            joined = guest_race.continued(path, fresh)["options"]
            self.assertEqual((joined["arms"], joined["faults"], joined["rounds"]), (["koboshi", "paper-tuned"], ["closed", "tap"], 7))
            path.write_text(json.dumps({**old, "options": {**old["options"], "rate": 21}}))
            with self.assertRaisesRegex(LabError, "not the same are option rate$"):
                guest_race.continued(path, fresh)
            path.write_text("[]")
            with self.assertRaisesRegex(LabError, "no report of a race"):
                guest_race.continued(path, fresh)

    def test_runs_of_two_builds_are_never_in_one_report(self):
        report = {"versions": {"koboshi": "1"}, "runs": []}
        guest_race.take(report, 2, "koboshi", {"version": "1", "row": {"arm": "koboshi"}})
        self.assertEqual(report["runs"], [{"tier": "guests", "round": 2, "arm": "koboshi"}])
        with self.assertRaisesRegex(LabError, "begin a new report"):
            guest_race.take(report, 2, "koboshi", {"version": "2", "row": {}})


class GuestRaceTest(unittest.TestCase):
    def test_each_run_is_in_the_report(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "guests.json"
            done = race("--rounds", "1", "--arms", "koboshi", "haproxy-tuned", "--faults", "closed", "--rate", "20", "--seconds", "12", "--report", path)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            report = json.loads(path.read_text())
        self.assertEqual(report["not_run"], [])
        rows = {run["arm"]: run for run in report["runs"]}
        self.assertEqual(rows.keys(), {"koboshi", "haproxy-tuned"})
        self.assertEqual(rows.keys(), report["versions"].keys())
        self.assertIn("HAProxy 2.", report["versions"]["haproxy-tuned"])
        for run in rows.values():
            self.assertEqual((run["tier"], run["fault"], run["round"]), ("guests", "closed", 1))
            for client in ("new", "kept"):
                self.assertGreater(run[client]["requests"], 100, run)
                self.assertLess(run[client]["failed"], run[client]["requests"], "nobody was served after the fault")
                self.assertEqual(sum(run[client]["kinds"].values()), run[client]["failed"], run)
                self.assertGreater(run[client]["gap_ms"], 0, run)
            for when in ("idle", "busy", "run"):
                self.assertGreater(run[when]["pss_kb"], 0, run)
                self.assertGreater(run[when]["guests_pss_kb"], 100 * 1024, "guests are there")
                self.assertGreater(run[when]["guests_cpu_percent"], 0, run)
        ours, theirs = rows["koboshi"], rows["haproxy-tuned"]
        self.assertLess(0, ours["detected_ms"])
        self.assertLessEqual(ours["detected_ms"], ours["moved_ms"])
        self.assertLess(ours["moved_ms"], ours["redundant_ms"])
        self.assertLess(0, theirs["detected_ms"], "HAProxy says that the guest is down")
        self.assertIsNone(theirs["redundant_ms"], "HAProxy makes no new guest: nobody else answers until the end")


if __name__ == "__main__":
    if os.geteuid() or not os.access("/dev/net/tun", os.W_OK):
        print("needs root and /dev/net/tun")
        sys.exit(77)
    unittest.main()
