#!/usr/bin/env python3
"""The race in its shortest form: its report is complete and adds up. How fast anybody was is not judged here.

usage: KOBOSHI_BUILD=BUILD race_test.py
"""
import hashlib
import json
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import unittest
from typing import Optional
from unittest import mock

LAB = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(LAB))
from koboshi_lab import arms, claim, clients, layout, measure, race, watch  # noqa: E402

SHORT = ["--seconds", "4", "--rate", "100", "--idle", "0.5"]


def request(due_ms: int, end_ms: int, outcome: str = "good") -> clients.Request:
    return clients.Request("new", due_ms * 1000, end_ms * 1000, outcome, "")


def asked(first_ms: int, last_ms: int, outcome: str = "good", took_ms: int = 1) -> list[clients.Request]:
    return [request(due, due + took_ms, outcome) for due in range(first_ms, last_ms, 10)]


class CountTest(unittest.TestCase):
    def test_what_a_client_saw(self):
        requests = [request(10, 11), request(20, 21), request(30, 31, "refused"), request(40, 190), request(50, 51, "wrong"), request(900, 901)]
        self.assertEqual(measure.seen(requests, 25_000), {"requests": 4, "failed": 2, "kinds": {"refused": 1, "wrong": 1}, "late": 1, "gap_ms": 711.0,
                                                       "again_ms": 876.0})

    def test_well_again_is_after_the_last_that_was_not(self):
        self.assertEqual(measure.seen(asked(0, 2000), 0)["again_ms"], 0)
        self.assertEqual(measure.seen(asked(0, 500, "wrong") + asked(500, 2000), 0)["again_ms"], 501)
        self.assertEqual(measure.seen(asked(0, 500, took_ms=400) + asked(500, 2000), 0)["again_ms"], 501, "late is not well")

    def test_who_is_not_served_well_at_the_end_never_was_again(self):
        self.assertIsNone(measure.seen(asked(0, 2000, "reset"), 0)["again_ms"])
        self.assertIsNone(measure.seen(asked(0, 2000, took_ms=400), 0)["again_ms"])
        every_second = [one for pair in zip(asked(0, 2000), asked(5, 2005, "refused")) for one in pair]
        self.assertIsNone(measure.seen(every_second, 0)["again_ms"])

    def test_wrong_once_it_was_noticed(self):
        requests = [request(1, 9, "wrong"), request(5, 6, "wrong"), request(6, 7)]
        self.assertEqual(measure.wrong_after(requests, 4000), 1)
        self.assertEqual(measure.wrong_after(requests, 6000), 0)
        self.assertIsNone(measure.wrong_after(requests, None))

    def test_where_the_time_went(self):
        story = {"first_evidence_us": 3000, "verdict_us": 5000, "steered_us": 9000}
        told = arms.Told(5000, 9000, story=story)
        requests = [request(0, 1), request(2, 8, "reset"), request(7, 12)]
        self.assertEqual(measure.budget(told, 1000, requests), {"evidence_ms": 2, "verdict_ms": 4, "steered_ms": 8, "answered_ms": 11})
        requests[-1] = request(6, 7)
        self.assertEqual(measure.budget(told, 1000, requests), {"evidence_ms": 2, "verdict_ms": 4, "steered_ms": 6, "answered_ms": 6},
                         "whoever is answered was led there")
        self.assertIsNone(measure.budget(arms.Told(5000, None, story=story), 1000, requests), "who was not moved has none")

    def test_the_first_line_that_fits_is_seen(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("g1 is DOWN\n")
            file.flush()
            log = watch.Log([pathlib.Path(file.name)], "g1 is DOWN")
            log.look()
            self.assertIsNone(log.seen_us, "what was there before does not count")
            file.write("g1 is DO")
            file.flush()
            log.look()
            self.assertIsNone(log.seen_us, "half a line is none")
            file.write("WN\n")
            file.flush()
            log.look()
            self.assertIsNotNone(log.seen_us)

    def test_claims_are_well_formed(self):
        own, service = socket.inet_aton("192.0.2.12"), socket.inet_aton("203.0.113.10")
        for frame in claim.vrrp(bytes(6), own, service):
            head, body = frame[14:34], frame[34:]
            self.assertEqual(claim.checksum(head), 0)
            pseudo = head[12:20] + struct.pack("!BBH", 0, 112, len(body)) if body[0] >> 4 == 3 else b""
            self.assertEqual(claim.checksum(pseudo + (body if pseudo else body[:-8])), 0)
            self.assertEqual(body[2], 255, "nobody has a higher priority")
        six = socket.inet_pton(socket.AF_INET6, layout.SERVICE6)
        body = claim.advertisement(bytes(6), six)[0][54:]
        self.assertEqual(claim.checksum(six + socket.inet_pton(socket.AF_INET6, "ff02::1") + struct.pack("!II", len(body), 58) + body), 0)


HEAD = "number,due_us,start_us,connected_us,first_us,end_us,status,outcome,source_port,sha256\n"


class WatchTest(unittest.TestCase):
    """When a run is over, by what the clients have written."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        patience = mock.patch.object(measure, "FRESH_US", 10_000_000)  # a busy machine's
        patience.start()
        self.addCleanup(patience.stop)
        self.clients = []
        for name in ("new", "kept"):
            one = measure.Client(name == "kept", 500)
            one.name, one.csv = name, pathlib.Path(folder.name) / f"{name}.csv"
            one.csv.write_text(HEAD + self.line(1, 2), encoding="ascii")
            self.clients.append(one)

    @staticmethod
    def line(due_us: int, end_us: int, outcome: str = "good") -> str:
        return f"0,{due_us},0,0,0,{end_us},200,{outcome},1,\n"

    def write(self, which: int, text: str) -> None:
        with open(self.clients[which].csv, "a", encoding="ascii") as file:
            file.write(text)

    def answered(self) -> None:
        now = measure.now_us()
        for which in (0, 1):
            self.write(which, self.line(now - 1000, now))

    def test_well_since_the_last_that_was_not(self):
        fault_us = measure.now_us() - 20_000_000
        calm = measure.Calm(self.clients, fault_us)
        self.assertIsNone(calm.since_us(), "nobody has answered lately")
        self.answered()
        self.assertEqual(calm.since_us(), fault_us)
        self.write(0, self.line(fault_us, fault_us + 5000, "refused"))
        self.assertEqual(calm.since_us(), fault_us + 5000)
        self.write(1, self.line(fault_us, fault_us + 200_000))
        self.assertEqual(calm.since_us(), fault_us + 200_000, "late is not well")
        self.write(1, self.line(fault_us, fault_us + 300_000, "reset")[:-5])
        self.assertEqual(calm.since_us(), fault_us + 200_000, "half a line is none")

    def test_one_that_is_not_answered_is_not_well(self):
        now = measure.now_us()
        calm = measure.Calm(self.clients, now - 20_000_000)
        self.write(0, self.line(now, now + 1000))
        self.write(1, self.line(now - 15_000_000, now - 14_900_000))
        self.assertIsNone(calm.since_us())

    def watched_us(self, settled_us: Optional[int], seconds: float) -> int:
        """How long a run is watched of an arm that says this of itself, and whose clients are well."""
        def settle(_fault_us):
            self.answered()
            return settled_us

        fault_us = measure.now_us()
        with mock.patch.object(measure, "CALM_S", 0.02), mock.patch.object(measure, "LOOK_EVERY_S", 0.005):
            measure.until_calm(mock.Mock(settled_us=settle), self.clients, fault_us, seconds)
        return measure.now_us() - fault_us

    def test_a_run_is_over_when_nothing_more_comes(self):
        self.assertLess(self.watched_us(measure.now_us(), 30), 30_000_000)
        self.assertGreaterEqual(self.watched_us(None, 0.2), 200_000, "who never did anything about it is watched to the end")
        self.assertGreaterEqual(self.watched_us(measure.now_us() + 1_000_000, 0.2), 200_000, "what comes right after it belongs to it")


class OptionsTest(unittest.TestCase):
    def refused(self, *words: str) -> str:
        done = subprocess.run([LAB / "race", *words], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2, done.stdout)
        return done.stderr

    def test_what_is_misspelt_is_said(self):
        self.assertIn("invalid choice: 'nobody'", self.refused("--arms", "nobody"))
        self.assertIn("501 is not from 10 to 500", self.refused("--rate", "501"))
        self.assertIn("these know IPv4 only: haproxy-tuned", self.refused("--ipv6", "--arms", "koboshi", "haproxy-tuned"))

    def test_a_report_goes_on_only_as_it_was_begun(self):
        fresh = {"date": "2026-01-02", "machine": {"processors": 2, "kernel": "6.2"}, "versions": {"koboshi": "1"}, "settings": {"koboshi": "a: 1"},
                 "options": {"rate": 100, "rounds": 0, "arms": ["koboshi"], "faults": ["closed"]}, "runs": []}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(json.dumps({**fresh, "date": "2026-01-01", "machine": {"processors": 2, "kernel": "6.1"}, "options": {**fresh["options"], "rounds": 7}}))
            file.flush()
            path = pathlib.Path(file.name)
            self.assertEqual(race.continued(path, fresh)["options"]["rounds"], 7)
            more = race.continued(path, {**fresh, "versions": {"haproxy-tuned": "9"}, "settings": {"haproxy-tuned": "b"},
                                         "options": {**fresh["options"], "arms": ["haproxy-tuned"], "faults": ["died", "claim"]}})
            self.assertEqual((more["date"], more["until"], more["machine"]["kernel"]), ("2026-01-01", "2026-01-02", "6.1, 6.2"))
            self.assertEqual(more["versions"], {"koboshi": "1", "haproxy-tuned": "9"})
            self.assertEqual(more["settings"], {"koboshi": "a: 1", "haproxy-tuned": "b"})
            self.assertEqual((more["options"]["arms"], more["options"]["faults"]), (["koboshi", "haproxy-tuned"], ["claim", "closed", "died"]))
            others = {"machine": {"machine": {"processors": 4, "kernel": "6.2"}}, "versions": {"versions": {"koboshi": "2"}}, "settings": {"settings": {"koboshi": ""}},
                      "option rate": {"options": {**fresh["options"], "rate": 50}}}
            for what, other in others.items():
                with self.assertRaisesRegex(race.LabError, f"not the same are {what}$"):
                    race.continued(path, {**fresh, **other})
        with self.assertRaisesRegex(race.LabError, "leave --add away"):
            race.continued(path, fresh)


class RaceTest(unittest.TestCase):
    def play(self, report: pathlib.Path, *words: str, status: int = 0) -> str:
        done = subprocess.run([LAB / "race", "--report", report, *SHORT, *words], capture_output=True, text=True, check=False, timeout=200)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertIn("Looked for what is left behind", done.stdout)
        return done.stdout + done.stderr

    def complete(self, run: dict, counted: bool) -> None:
        for client in ("new", "kept"):
            self.assertGreater(run[client]["requests"], 50, run)
            self.assertEqual(sum(run[client]["kinds"].values()), run[client]["failed"], run)
            self.assertGreater(run[client]["gap_ms"], 0, run)
            self.assertIn("again_ms", run[client])
            self.assertEqual(run[client]["wrong_after"] is None, run["detected_ms"] is None, run)
        self.assertLessEqual({"detected_ms", "moved_ms", "redundant_ms", "whole_ms", "budget"}, run.keys())
        for when in ("busy", "run") if counted else ():
            self.assertGreater(run[when]["cpu_s"], 0, run)
            self.assertGreaterEqual(run[when]["rss_kb"], run[when]["pss_kb"], run)
            self.assertGreater(run[when]["pss_kb"], 0, run)

    def test_each_run_is_in_the_report(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "report.json"
            self.play(path, "--rounds", "1", "--arms", "koboshi", "--faults", "closed", "tampered", "claim", "planned", "nothing")
            report = json.loads(path.read_text())
        self.assertEqual(report["versions"].keys(), {"koboshi"})
        runs = {run["fault"]: run for run in report["runs"]}
        self.assertEqual(sorted(runs), ["claim", "closed", "nothing", "planned", "tampered"])
        self.assertTrue(any("idle" in run for run in runs.values()))
        for fault, run in runs.items():
            self.complete(run, not report["not_counted"])
            for what in ("detected_ms", "redundant_ms"):
                self.assertEqual(run[what] is None, fault == "nothing", run)
            self.assertEqual(run["moved_ms"] is None, fault in ("claim", "nothing"), "a claim of the address moves nobody")
        self.assertEqual(runs["claim"]["new"]["kinds"].get("wrong", 0), 0, "who only claims the address is asked by nobody")
        parts = runs["closed"]["budget"]
        self.assertEqual(list(parts.values()), sorted(parts.values()))

    def test_a_report_goes_on(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "report.json"
            words = ("--rounds", "1", "--arms", "koboshi-fast", "--faults", "paused", "--ipv6")
            self.play(path, *words)
            self.play(path, *words, "--add")
            report = json.loads(path.read_text())
            said = self.play(path, *words, "--add", "--seed", "2", status=1)
        self.assertEqual([run["round"] for run in report["runs"]], [1, 2])
        self.assertEqual(report["options"]["rounds"], 2)
        self.assertIn("not the same are option seed", said)
        for run in report["runs"]:
            self.complete(run, not report["not_counted"])

    def test_others_are_measured_alike(self):
        made = layout.CACHE / "baselines/tree/made-of"
        if not made.exists() or made.read_text().strip() != hashlib.sha256((LAB / "baselines/build").read_bytes()).hexdigest():
            self.skipTest("the baselines are not built: run lab/baselines/build")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "report.json"
            self.play(path, "--rounds", "1", "--arms", "keepalived-monit", "--faults", "closed")
            report = json.loads(path.read_text())
        self.complete(report["runs"][0], not report["not_counted"])
        self.assertIsNone(report["runs"][0]["budget"])


unittest.main()
