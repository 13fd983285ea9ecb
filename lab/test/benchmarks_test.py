#!/usr/bin/env python3
"""The page of benchmarks says what its results say, and what is in the project was made of them."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

LAB = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(LAB))
from koboshi_lab import benchmarks  # noqa: E402


def client(gap_ms, failed=0, kinds=None, late=0):
    return {"requests": 100, "failed": failed, "kinds": kinds or {}, "late": late, "gap_ms": gap_ms}


def run(arm, gap_ms, failed=0, kinds=None):
    return {"arm": arm, "fault": "closed", "new": client(gap_ms, failed, kinds), "kept": client(2 * gap_ms, late=1)}


RESULTS = {"date": "2026-01-02", "machine": {"processors": 2, "model": "M", "kernel": "6.1"},
           "options": {"arms": ["koboshi", "other"], "faults": ["closed"], "rounds": 2, "rate": 500, "seconds": 4},
           "versions": {"koboshi": "koboshi 1", "other": "other 2"},
           "runs": [run("koboshi", 4), run("koboshi", 6), run("other", 50), run("other", 150, 3, {"refused": 2, "wrong": 1})]}


class PageTest(unittest.TestCase):
    def test_the_page_in_the_project_is_of_its_results(self):
        for path, text in benchmarks.files(json.loads(benchmarks.RESULTS.read_text())).items():
            self.assertEqual(path.read_text(), text, f"{path.name} is not what lab/benchmarks makes: run it")

    def test_figures_are_those_of_the_runs(self):
        page = benchmarks.page(RESULTS)
        self.assertIn("| koboshi | 5 (4 to 6) |  | 0 | 0 | 10 (8 to 12) | 0 | 1 |", page)
        self.assertIn("| other | 100 (50 to 150) | 0.05 (", page)
        self.assertIn("| 1.5 (0 to 3) | 0.5 (0 to 1) |", page)
        self.assertIn("| other | other 2 |", page)

    def test_a_picture_has_a_dot_for_each_run(self):
        self.assertEqual(benchmarks.picture(RESULTS["runs"], ["koboshi", "other"], "closed").count("<circle"), 4)

    def test_what_is_no_report_is_said(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            before = benchmarks.RESULTS.read_text()
            file.write("{")
            file.flush()
            done = subprocess.run([LAB / "benchmarks", "--take", file.name], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("koboshi-lab: that is no report of a race: Expecting", done.stderr)
        self.assertEqual(benchmarks.RESULTS.read_text(), before)


unittest.main()
