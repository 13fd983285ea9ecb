#!/usr/bin/env python3
"""The race in its shortest form: its report is complete and adds up. How fast anybody was is not judged here.

usage: KOBOSHI_BUILD=BUILD race_test.py
"""
import json
import pathlib
import subprocess
import sys
import unittest

LAB = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(LAB))
from koboshi_lab import clients, layout, race  # noqa: E402


def request(due_ms: int, end_ms: int, outcome: str = "good") -> clients.Request:
    return clients.Request("new", due_ms * 1000, end_ms * 1000, outcome, "")


class CountTest(unittest.TestCase):
    def test_what_a_client_saw(self):
        asked = [request(10, 11), request(20, 21), request(30, 31, "refused"), request(40, 190), request(50, 51, "wrong"), request(200, 201)]
        self.assertEqual(race.seen(asked, 25_000), {"requests": 4, "failed": 2, "kinds": {"refused": 1, "wrong": 1}, "late": 1, "gap_ms": 165.0})

    def test_what_is_misspelt_is_said(self):
        done = subprocess.run([LAB / "race", "--arms", "nobody"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("invalid choice: 'nobody'", done.stderr)


class RaceTest(unittest.TestCase):
    def test_each_run_is_in_the_report(self):
        done = subprocess.run([LAB / "race", "--rounds", "1", "--arms", "koboshi", "--faults", "closed", "died", "tampered", "--seconds", "4",
                               "--rate", "100"], capture_output=True, text=True, check=False, timeout=200)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("Looked for what is left behind", done.stdout)
        report = json.loads((layout.BUILD / "race/report.json").read_text())
        self.assertEqual(report["versions"].keys(), {"koboshi"})
        self.assertEqual(sorted(run["fault"] for run in report["runs"]), ["closed", "died", "tampered"])
        for run in report["runs"]:
            self.assertGreater(run["moved_ms"], 0, run)
            for client in ("new", "kept"):
                self.assertGreater(run[client]["requests"], 100, run)
                self.assertEqual(sum(run[client]["kinds"].values()), run[client]["failed"], run)
                self.assertGreater(run[client]["gap_ms"], 0, run)
        wrong = next(run["new"]["kinds"].get("wrong", 0) for run in report["runs"] if run["fault"] == "tampered")
        self.assertGreater(wrong, 0, "a page that was changed counts as wrong")


unittest.main()
