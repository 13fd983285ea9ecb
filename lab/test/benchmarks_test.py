#!/usr/bin/env python3
"""The page of benchmarks says what its results say, and what is in the project was made of them."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

LAB = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(LAB))
from koboshi_lab import aims, benchmarks  # noqa: E402

RESULTS_FILE = benchmarks.DOCS / "benchmarks/results.json"


def client(gap_ms, failed=0, kinds=None, late=0):
    return {"requests": 100, "failed": failed, "kinds": kinds or {}, "late": late, "gap_ms": gap_ms}


def run(arm, gap_ms, failed=0, kinds=None):
    return {"arm": arm, "fault": "closed", "new": client(gap_ms, failed, kinds), "kept": client(2 * gap_ms, late=1)}


RESULTS = {"date": "2026-01-02", "machine": {"processors": 2, "model": "M", "kernel": "6.1"},
           "options": {"arms": ["koboshi", "other"], "faults": ["closed"], "rounds": 2, "rate": 500, "seconds": 4},
           "versions": {"koboshi": "koboshi 1", "other": "other 2"},
           "runs": [run("koboshi", 4), run("koboshi", 6), run("other", 50), run("other", 150, 3, {"refused": 2, "wrong": 1})]}


def cost(percent, kb):
    return {"seconds": 1, "cpu_s": percent / 100, "cpu_percent": percent, "pss_kb": kb, "rss_kb": 2 * kb}


def full_run(arm, again_ms, budget=None, fault="closed"):
    """As races write it today."""
    row = run(arm, 10)
    row["new"]["again_ms"] = row["kept"]["again_ms"] = again_ms
    return {**row, "fault": fault, "detected_ms": 3, "moved_ms": 4, "redundant_ms": None, "whole_ms": None, "budget": budget, "idle": cost(1, 100),
            "busy": cost(2, 200), "run": cost(3, 300)}


PARTS = {"evidence_ms": 1, "verdict_ms": 3, "steered_ms": 6, "answered_ms": 10}
FULL = {**RESULTS, "options": {**RESULTS["options"], "faults": ["closed", "planned"]}, "settings": {"koboshi": "a: 1", "other": "b: 2"},
        "runs": [full_run("koboshi", 12, PARTS), full_run("koboshi", 14, PARTS), full_run("other", None), full_run("other", 50),
                 full_run("koboshi", 0, None, "planned"), {"arm": "other", "fault": "planned", "has_none": True}]}


GROWN = {"date": "2026-01-02", "machine": RESULTS["machine"], "options": {"runs": 3}, "exponents": {"engine_cpu_percent": {"instances": 0.7, "services": None}},
         "rows": [{"instances": 2, "services": 1, "evidence_to_order_ms": {"median": 0.2, "min": 0.1, "max": 0.3},
                   "order_to_steered_ms": {"median": 1, "min": 0.5, "max": 2}, "engine": {"cpu_percent": 0.6, "rss_kb": 8192},
                   "net": {"cpu_percent": 0, "rss_kb": 4096}}],
         "plan": {"rows": [{"instances": 2, "idle": {"median_us": 1.5, "p99_us": 2.5}}]}}


def raced(**medians):
    """Three runs of each `arm__fault=(gap, failed)`."""
    rows = [(*name.replace("_tuned", "-tuned").replace("_fast", "-fast").split("__"), *seen) for name, seen in medians.items()]
    return [{"arm": arm, "fault": fault, "new": client(gap, failed), "kept": client(gap)} for arm, fault, gap, failed in rows for _ in range(3)]


class AimsTest(unittest.TestCase):
    def lines(self, **medians):
        rows = [line.removeprefix("| ").split(" | ", maxsplit=2) for line in aims.table({"cells": {"runs": raced(**medians)}}).splitlines()]
        return {text: seen for text, tier, seen in rows if tier == "cells"}

    def test_an_aim_is_reached_up_to_its_limit(self):
        name = "a closed port: a gap of 5 ms at most, no new connection failed"
        self.assertEqual(self.lines(koboshi__closed=(5, 0))[name], "closed 5 ms and 0 failed | reached |")
        self.assertEqual(self.lines(koboshi__closed=(5.1, 0))[name], "closed 5.1 ms and 0 failed | **not reached** |")
        self.assertEqual(self.lines(koboshi__closed=(4, 1))[name], "closed 4 ms and 1 failed | **not reached** |")
        self.assertEqual(self.lines(koboshi__hung=(4, 1))[name], "not measured |  |")

    def test_each_of_several_must_reach_it(self):
        name = "a lost port: at most 1/40 of the paper's form that polls each second"
        both = {"koboshi__closed": (10, 0), "koboshi__dropped": (20, 0), "paper_tuned__closed": (400, 9)}
        self.assertEqual(self.lines(**both, paper_tuned__dropped=(900, 9))[name], "closed 1/40, dropped 1/45 | reached |")
        self.assertEqual(self.lines(**both, paper_tuned__dropped=(790, 9))[name], "closed 1/40, dropped 1/39 | **not reached** |")

    def test_what_never_came_is_no_aim_reached(self):
        name = "a lost port: at most 1/40 of the paper's form that polls each second"
        ours, theirs = {"koboshi__closed": (2000, 100)}, {"paper_tuned__closed": (2000, 100)}  # all of them failed
        self.assertEqual(self.lines(**ours, paper_tuned__closed=(90, 9))[name], "closed never | **not reached** |")
        self.assertEqual(self.lines(**ours, **theirs)[name], "closed never | **not reached** |")
        self.assertEqual(self.lines(koboshi__closed=(5, 0), **theirs)[name], "closed theirs never | reached |")
        self.assertEqual(self.lines(**ours)["a closed port: a gap of 5 ms at most, no new connection failed"], "closed never and 100 failed | **not reached** |")

    def test_where_more_failed_is_said(self):
        name = "no more requests failed than with HAProxy"
        same = {"koboshi__closed": (5, 0), "haproxy_tuned__closed": (5, 0), "koboshi__hung": (5, 8)}
        self.assertEqual(self.lines(**same)[name], "nowhere more | reached |")
        self.assertEqual(self.lines(**same, haproxy_tuned__hung=(50, 0))[name], "more: hung 8 against 0 | **not reached** |")
        fast = {"koboshi_fast__hung": (5, 4), "koboshi_fast__closed": (5, 1)}
        self.assertEqual(self.lines(**same, **fast, haproxy_tuned__hung=(50, 0))[name], "more: hung 8 against 0; koboshi-fast: hung 4 | **not reached** |")

    def test_who_asks_once_it_is_noticed_sees_no_other_page(self):
        name = "another page: no wrong answer to who asks once it is noticed"

        def said(*counts):
            runs = [{"arm": "koboshi", "fault": "tampered", "new": {**client(4), "wrong_after": 0}, "kept": {**client(4), "wrong_after": count}}
                    for count in counts]
            table = aims.table({"cells": {"runs": runs}})
            return next(line for line in table.splitlines() if name in line).removeprefix(f"| {name} | cells | ")

        self.assertEqual(said(0, 0), "0 wrong, in 2 runs | reached |")
        self.assertEqual(said(0, 1), "1 wrong, in 2 runs | **not reached** |")
        self.assertEqual(said(), "not measured |  |")

    def test_a_hand_over_loses_none_in_any_run(self):
        name = "a planned hand-over: none failed, none late"
        self.assertEqual(self.lines(koboshi__planned=(2, 0))[name], "0 failed, 0 late, in 3 runs | reached |")
        self.assertEqual(self.lines(koboshi__planned=(2, 1))[name], "3 failed, 0 late, in 3 runs | **not reached** |")


class PageTest(unittest.TestCase):
    def test_the_page_in_the_project_is_of_its_results(self):
        for path, text in benchmarks.files(json.loads(RESULTS_FILE.read_text())).items():
            self.assertEqual(path.read_text(), text, f"{path.name} is not what lab/benchmarks makes: run it")

    def test_figures_are_those_of_the_runs(self):
        page = benchmarks.page({"cells": RESULTS})
        self.assertIn("| koboshi | 2 | 5 (4 to 6) |  | 0 | 0 | 10 (8 to 12) | 0 | 1 |", page)
        self.assertIn("| other | 2 | 100 (50 to 150) | 0.05 (", page)
        self.assertIn("| 1.5 (0 to 3) | 0.5 (0 to 1) |", page)
        self.assertIn("| other | other 2 |", page)

    def test_what_is_rare_is_said_of_many_runs(self):
        many = [run("koboshi", gap) for gap in range(1, 200)]
        page = benchmarks.page({"cells": {**RESULTS, "runs": many + RESULTS["runs"][2:]}})
        self.assertIn("| koboshi | 199 | 100 (1 to 199; p99 198) |", page)
        few = benchmarks.page({"cells": {**RESULTS, "runs": many[:99] + RESULTS["runs"][2:]}})
        self.assertIn("| koboshi | 99 | 50 (1 to 99) |", few)

    def test_days_and_kernels_of_all_runs_are_said(self):
        more = {**RESULTS, "until": "2026-01-05", "machine": {**RESULTS["machine"], "kernel": "6.1, 6.2"}}
        self.assertIn("2 rounds from 2026-01-02 to 2026-01-05: 2 processors (M), Linux 6.1, 6.2. Two", benchmarks.page({"cells": more}))

    def test_whether_clients_ran_ahead_is_said(self):
        ahead = {**RESULTS, "runs": [{**row, "realtime": True} for row in RESULTS["runs"]]}
        self.assertIn(benchmarks.AHEAD, benchmarks.page({"cells": ahead}))
        self.assertIn(benchmarks.AMONG, benchmarks.page({"cells": {**ahead, "runs": ahead["runs"] + RESULTS["runs"][:1]}}))

    def test_what_never_came_is_said(self):
        page = benchmarks.page({"cells": FULL})
        self.assertIn("| 3 | 13 (12 to 14) | never |\n", page)
        self.assertIn("| 3 | 50, 1 times never | never |\n", page)
        self.assertIn("| other | - | has no such thing | | | | | | | | | |\n", page)
        everything = run("other", 90, 100)
        self.assertIn("| other | 2 | never |", benchmarks.page({"cells": {**RESULTS, "runs": RESULTS["runs"][:2] + [everything] * 2}}))

    def test_nobody_falls_by_a_planned_switch(self):
        self.assertIn("| 0 | 1 | - | 0 | - |\n", benchmarks.page({"cells": FULL}).split("### planned")[1])

    def test_what_each_takes_is_there_when_it_was_measured(self):
        self.assertIn("| koboshi | 1 | 2 | 100 | 200 | 400 | 0.03 |  |  |", benchmarks.page({"cells": FULL}))
        self.assertIn("| other | 1 | 2 | 100 | 200 | 400 | 0.03 | 1 (1 to 1) | 1 (1 to 1) |", benchmarks.page({"cells": FULL}))
        self.assertIn("`a: 1`", benchmarks.page({"cells": FULL}))
        self.assertNotIn("What each takes", benchmarks.page({"cells": RESULTS}))
        self.assertIn("processor and memory of each", benchmarks.page({"cells": RESULTS}))
        self.assertNotIn("processor and memory of each", benchmarks.page({"cells": FULL}))

    def test_guests_stand_beside_what_each_takes(self):
        rows = [{**row, "idle": {**row["idle"], "guests_cpu_percent": 31, "guests_pss_kb": 900}} if "idle" in row else row for row in FULL["runs"]]
        page = benchmarks.page({"cells": FULL, "guests": {**FULL, "tier": "guests", "runs": rows}})
        self.assertIn("| other | 1 | 2 | 100 | 200 | 400 | 0.03 | 31 | - | 900 | 1 (1 to 1) | 1 (1 to 1) |", page.split("### What each takes with real")[1])

    def test_a_bar_is_as_long_as_its_parts(self):
        drawn = benchmarks.budget(FULL["runs"], ["koboshi"], ["closed", "planned"])
        widths = [float(width) for width in re.findall(r'width="([0-9.]+)" height="15"', drawn)]
        self.assertEqual(len(widths), 4, "nobody was moved by the other fault")
        for width, part in zip(widths, (1, 2, 3, 4)):
            self.assertAlmostEqual(width, 520 * part / 10, 1)
        self.assertIn("budget.svg", benchmarks.pictures({"cells": FULL}))
        self.assertNotIn("budget.svg", benchmarks.pictures({"cells": RESULTS}))

    def test_how_it_grows_and_the_other_tier_are_there_when_they_were_measured(self):
        page = benchmarks.page({"cells": FULL, "guests": {**FULL, "tier": "guests"}, "scale": GROWN})
        self.assertIn("| 2 | 1 | 0.20 (0.10 to 0.30) | 1.00 (0.50 to 2.00) | 0.60 | 8.0 | 0.00 | 4.0 |", page)
        self.assertIn("| engine_cpu_percent | 0.7 | - |", page)
        self.assertIn("| 2 | 1.5 / 2.5 |", page)
        self.assertIn("![closed](benchmarks/guests-closed.svg)", page)
        others = [row for row in FULL["runs"] if (row["arm"], row["fault"]) != ("other", "planned")]
        known = {**FULL, "tier": "guests", "runs": others, "has_none": [["other", "planned"]]}
        self.assertIn("| other | - | has no", benchmarks.page({"cells": FULL, "guests": known}).split("### planned")[2])
        unraced = benchmarks.page({"cells": FULL, "guests": {**known, "has_none": []}}).split("### planned")[2]
        self.assertNotIn("| other |", unraced.split("###")[0], "who did not meet it has no row")
        self.assertNotIn("how it grows with instances", page)
        self.assertIn("enough runs (1 to 2 of 300 rounds with cells, 1 to 2 of 30 rounds with real guests)", page)
        self.assertIn("with real guests: haproxy-tuned, ", page, "who did not race there")
        self.assertIn("how it grows", benchmarks.page({"cells": FULL}).split("Not in it yet")[1].split("\n")[0])
        self.assertEqual([benchmarks.kind_of(one) for one in (RESULTS, {"tier": "guests"}, GROWN)], ["cells", "guests", "scale"])

    def test_a_picture_has_a_dot_for_each_run(self):
        self.assertEqual(benchmarks.picture(RESULTS["runs"], ["koboshi", "other", "nobody"], "closed").count("<circle"), 4)

    def test_a_dot_is_at_its_own_place_however_long_it_took(self):
        drawn = benchmarks.picture([run("koboshi", 100), run("other", 100_000)], ["koboshi", "other"], "closed")
        self.assertEqual(re.findall(r'<circle cx="([0-9.]+)"', drawn), ["374.0", "710.0"])

    def made_of(self, text, *options):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(text)
            file.flush()
            return subprocess.run([LAB / "benchmarks", "--take", file.name, *options], capture_output=True, text=True, check=False)

    def test_what_is_no_report_is_said(self):
        before = RESULTS_FILE.read_text()
        done = self.made_of("{")
        self.assertEqual(done.returncode, 1)
        self.assertIn("koboshi-lab: that is no report of a race: Expecting", done.stderr)
        self.assertEqual(RESULTS_FILE.read_text(), before)

    def test_a_report_comes_out_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "cells.json"
            done = subprocess.run([LAB / "benchmarks", "--give", "cells", path], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(path.read_text()), json.loads(RESULTS_FILE.read_text())["cells"])
            done = subprocess.run([LAB / "benchmarks", "--give", "scale", path], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (1, "koboshi-lab: 'scale' is none of the reports that are there: cells, guests\n"))

    def test_ones_own_page_is_of_ones_own_reports_alone(self):
        before = RESULTS_FILE.read_text()
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder) / "mine"
            done = self.made_of(json.dumps(RESULTS), "--into", made)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual((made / "benchmarks.md").read_text(), benchmarks.page({"cells": RESULTS}))
            self.assertEqual(sorted(path.name for path in (made / "benchmarks").iterdir()), ["closed.svg", "results.json"])
            self.assertEqual(self.made_of(json.dumps({**FULL, "tier": "guests"}), "--into", made).returncode, 1, "cells are its first part")
        self.assertEqual(RESULTS_FILE.read_text(), before)


unittest.main()
