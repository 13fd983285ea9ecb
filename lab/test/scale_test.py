#!/usr/bin/env python3
"""The scale benchmark in its shortest form: its report is complete and adds up. How fast anything was is not judged here.

usage: KOBOSHI_BUILD=BUILD scale_test.py
"""
import json
import pathlib
import subprocess
import sys
import unittest

LAB = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(LAB))
from koboshi_lab import layout, scale  # noqa: E402


class CountTest(unittest.TestCase):
    def test_an_exponent_says_how_it_grows(self):
        self.assertEqual(scale.exponent([(2, 7.0), (4, 7.0), (8, 7.0)]), 0)
        self.assertEqual(scale.exponent([(2, 3.0), (4, 6.0), (32, 48.0)]), 1)
        self.assertEqual(scale.exponent([(1, 0.5), (2, 2.0), (4, 8.0)]), 2)
        self.assertIsNone(scale.exponent([(2, 1.0)]))
        self.assertIsNone(scale.exponent([(2, 1.0), (4, 0.0)]), "nothing has no logarithm")

    def test_whoever_serves_has_one_that_stands_by(self):
        self.assertEqual(list(scale.rows_of([8, 2, 8], [4, 1, 2])), [(2, 1), (8, 1), (8, 2), (8, 4)])
        for instances, services in scale.rows_of(list(scale.INSTANCES), list(scale.SERVICES)):
            device = scale.device_of(instances, services)
            self.assertEqual((len(device), sum(one.instances for one in device)), (services, instances))
            self.assertTrue(all(one.standby for one in device))

    def test_what_cannot_be_is_said(self):
        for words, says in ((["--instances", "3"], "invalid choice: 3"), (["--instances", "2", "--services", "2"], "two instances for each"),
                            (["--runs", "0"], "more than nothing")):
            done = subprocess.run([LAB / "scale", *words], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn(says, done.stderr)


class ScaleTest(unittest.TestCase):
    def test_each_row_is_in_the_report(self):
        done = subprocess.run([LAB / "scale", "--instances", "2", "8", "--services", "1", "4", "--runs", "2", "--idle", "1"], capture_output=True,
                              text=True, check=False, timeout=250)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("Looked for what is left behind", done.stdout)
        report = json.loads((layout.BUILD / "scale/report.json").read_text())
        self.assertEqual([(row["instances"], row["services"]) for row in report["rows"]], [(2, 1), (8, 1), (8, 4)])
        for row in report["rows"]:
            self.assertEqual(row["living"], row["instances"], row)
            self.assertEqual(len(row["raw"]), 2, row)
            for name in scale.TIMES:
                values = [one[name] for one in row["raw"]]
                self.assertEqual((row[name]["n"], row[name]["min"], row[name]["max"]), (2, min(values), max(values)), row)
                self.assertGreater(min(values), 0, row)
            self.assertGreater(row["flows"], 0, row)
            for program in ("engine", "net"):
                self.assertGreater(row[program]["rss_kb"], 0, row)
                self.assertGreaterEqual(row[program]["cpu_percent"], 0, row)
            self.assertTrue(all(0 <= one["service"] < row["services"] for one in row["raw"]), row)
        self.assertEqual([row["instances"] for row in report["plan"]["rows"]], list(scale.INSTANCES))
        self.assertEqual(report["exponents"].keys() & scale.FIGURES.keys(), scale.FIGURES.keys())
        for name in ("evidence_to_order_ms", "engine_rss_kb"):
            self.assertTrue(all(isinstance(value, float) for value in report["exponents"][name].values()), report["exponents"])
        self.assertLessEqual({"date", "machine", "versions", "options"}, report.keys())


unittest.main()
