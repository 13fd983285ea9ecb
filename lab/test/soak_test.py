#!/usr/bin/env python3
"""What `lab/soak` draws, and what it takes for an ill end, without a guest."""
import pathlib
import random
import sys
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from koboshi_lab import footprint, soak  # noqa: E402
from koboshi_lab.faults import FAULTS  # noqa: E402
from koboshi_lab.shell import LabError  # noqa: E402

TAKEN = {"links": 5, "mounts": 9, "rules": 70, "rules of taps that are gone": 0, "files": ["a", "b"], "guests": 3, "processes": 20,
         "descriptors": {"koboshi-vm": 20, "koboshi-net": 9}, "neighbours": 8}
STATUS = {"services": [{"name": "sensor", "active": 1, "instances": [
    {"number": 1, "role": "active", "state": "ready", "verdict": "healthy"}, {"number": 2, "role": "standby", "state": "ready", "verdict": "healthy"},
    {"number": 3, "role": "spare", "state": "paused", "verdict": "unknown"}]}]}


def gone_or_not(*numbers):
    return {"services": [{**STATUS["services"][0], "instances": [{"number": number} for number in numbers]}]}


class SoakTest(unittest.TestCase):
    def test_all_faults_of_the_lab_are_drawn_and_a_seed_draws_the_same(self):
        def drawn(seed):
            draws = random.Random(seed)
            return [soak.draw(draws, ("steered", "frozen")) for _ in range(2000)]

        acts = drawn(7)
        self.assertEqual(acts, drawn(7))
        self.assertNotEqual(acts, drawn(8))
        self.assertEqual({act.fault for act in acts}, set(FAULTS) | {"switch"})
        self.assertEqual({act.role for act in acts}, {"active", "standby", "spare"})
        self.assertEqual({act.kill_at for act in acts}, {"", "steered", "frozen"})

    def test_whatever_has_grown_is_said(self):
        self.assertEqual(footprint.grown(TAKEN, TAKEN), [])
        for key, value in (("links", 6), ("rules", 71), ("guests", 4), ("mounts", 10), ("processes", 21), ("neighbours", 11),
                           ("rules of taps that are gone", 1), ("files", ["a", "b", "c"]), ("descriptors", {"koboshi-vm": 23, "koboshi-net": 9})):
            self.assertEqual(len(footprint.grown(TAKEN, {**TAKEN, key: value})), 1, key)
        self.assertEqual(footprint.grown(TAKEN, {**TAKEN, "descriptors": {"koboshi-vm": 22}, "neighbours": 10, "files": ["a", "c"]}), [])

    def played(self, stories, act, taken, left=(2, 3, 9)):
        """One act in a world where these are the incidents that come of it."""
        asking, before = mock.Mock(), {"incidents": []}
        with mock.patch.multiple(soak.api, wait_whole=mock.Mock(return_value=STATUS), newest_incident=mock.Mock(return_value=4),
                                 try_call=mock.Mock(return_value=gone_or_not(*left)), incidents=mock.Mock(return_value=stories), incident=lambda number: next(s for s in stories if s["number"] == number)), \
                mock.patch.object(soak, "strike", lambda *_: before), mock.patch.object(soak.network, "snapshot", lambda: {"links": [f"kb{n}" for n in left]}), \
                mock.patch.object(soak.scene, "remaining_guests", lambda: list(left)), mock.patch.object(soak.footprint, "settled", lambda: taken), \
                mock.patch.object(soak.scene, "CLOSE_SECONDS", 0.1):
            return soak.play(asking, act, TAKEN)

    def test_one_incident_about_the_victim_closed_and_nothing_left(self):
        story = {"number": 5, "victim": {"number": 1}, "steps": [{"step": "fenced"}], "verdict": "failed", "cause": "x", "closed": "then", "verdict_us": 1000, "steered_us": 9000}
        row = self.played([story], soak.Act("hang"), TAKEN)
        self.assertEqual((row["incidents"], row["verdict"], row["verdict_to_steered_ms"]), ([5], "failed", 8.0))
        for stories, taken in (([{**story, "closed": None}], TAKEN), ([{**story, "victim": {"number": 2}}], TAKEN),
                               ([story, {**story, "number": 6}], TAKEN), ([story], {**TAKEN, "links": 6})):
            with self.assertRaises(LabError):
                self.played(stories, soak.Act("hang"), taken)
        with self.assertRaises(LabError):  # it is still there
            with mock.patch.object(soak, "wait_for", lambda what, look, *_: look() or self.fail_with(what)):
                self.played([{**story, "victim": {"number": 2}}], soak.Act("hang", "standby"), TAKEN)

    def test_whoever_was_mended_stays(self):
        story = {"number": 5, "victim": {"number": 1}, "steps": [{"step": "mending"}, {"step": "mended"}], "verdict": "failed", "closed": "then"}
        self.assertEqual(self.played([story], soak.Act("hang"), TAKEN, (1, 2, 3))["incidents"], [5])
        self.assertEqual(self.played([story], soak.Act("hang"), TAKEN, (2, 3, 9))["incidents"], [5])  # a better one took its place
        with mock.patch.object(soak, "wait_for", lambda what, look, *_: look() or self.fail_with(what)), self.assertRaises(LabError):
            self.played([{**story, "steps": [*story["steps"], {"step": "fenced"}]}], soak.Act("hang"), TAKEN, (1, 2, 3))

    @staticmethod
    def fail_with(what):
        raise LabError(what)


if __name__ == "__main__":
    unittest.main()
