"""Evidence as the real engine writes it down and lists it: a part of test_engine.py."""
import hashlib
import json
import os
import re
import signal
import subprocess
import time

from fake_world import DESTROY, EVIDENCE, EVIDENCE_DROPPED, NET, RECORDED, VM, notice, taken, wait_for


class EvidenceTests:
    """Mixed into the engine's test case."""

    def evidence(self, *incident):
        return self.ask("GET", "/".join(("/v1/evidence", *map(str, incident))))[1]["evidence"]

    def await_evidence(self, *files):
        """All of these are listed of the first incident, newest first. (On a busy machine another guest may fall as well.)"""
        return wait_for(f"evidence {files}", lambda: (rows := self.evidence(1)) and [r["file"] for r in rows] == list(files) and rows)

    def times_taken(self, victim):
        return sum(order.type == EVIDENCE and order.instance == victim for order in self.world.orders)

    def tell(self, *packets):
        for packet in packets:
            self.engine.actuators[VM].link.send(packet)

    def cli(self, *words):
        """The real `koboshi` against the real engine."""
        return subprocess.run([os.environ["KOBOSHI_CLI"], "--socket", self.engine.socket_path, *words], stdout=subprocess.PIPE, check=True,
                              text=True).stdout

    def test_what_is_kept_of_a_fallen_guest_is_written_down(self):
        self.start()
        self.world.evidence = True
        victim = self.roles()["active"]
        self.world.held[DESTROY] = True  # the incident stays open
        self.world.guests[victim].close_port()
        self.world.await_order(DESTROY, lambda o: o.instance == victim)
        rows = self.await_evidence(*(f"kb-{victim}.{kind}" for kind in reversed(RECORDED)))
        for row, kind in zip(rows, reversed(RECORDED)):
            content = RECORDED[kind]
            self.assertEqual((row["incident"], row["open"], row["instance"], row["bytes"], row["sha256"], row["dropped"]),
                             (1, True, f"kb-{victim}", len(content), hashlib.sha256(content).hexdigest(), None))
            self.assertEqual(row["path"], f"{self.folder}/state/evidence/1/{row['file']}")
            self.assertIsNotNone(row["taken"])
        self.assertEqual(self.story()["evidence"], rows)
        self.assertEqual([row for row in self.evidence() if row["incident"] == 1], rows)
        self.assertEqual(self.evidence(99), [])
        self.assertEqual(self.ask("GET", "/v1/evidence/x")[0], 404)
        self.assertEqual(json.loads(self.cli("evidence", "1", "--json")), {"evidence": rows})
        for words in (("evidence",), ("evidence", "1"), ("incidents", "1")):
            shown = self.cli(*words)
            for row in rows:
                self.assertIn(row["file"], shown)
                self.assertIn(row["sha256"], shown)
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        del self.world.held[DESTROY]
        self.engine.start()
        self.await_closed()
        self.engine.await_state()
        self.assertEqual(self.times_taken(victim), 1)  # it was written down: nobody takes it once more
        self.assertEqual(self.evidence(1), [{**row, "open": False} for row in rows])

    def test_a_kill_before_the_answer_takes_it_once_more_and_lists_it_once(self):
        self.start()
        self.world.evidence = True
        self.world.held[EVIDENCE] = True  # files are told, the answer never comes
        victim = self.roles()["active"]
        self.world.guests[victim].close_port()
        self.world.await_order(EVIDENCE, lambda o: o.instance == victim)
        files = [f"kb-{victim}.{kind}" for kind in reversed(RECORDED)]
        self.await_evidence(*files)
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        del self.world.held[EVIDENCE]
        self.engine.start()
        self.await_closed()
        self.assertEqual(self.times_taken(victim), 2)
        self.await_evidence(*files)

    def test_evidence_that_made_room_is_listed_as_dropped(self):
        self.start()
        self.tell(taken(1, 4, "kb-4.flows", b"a"), taken(2, 5, "kb-5.flows", b"b"), taken(7, 6, "kb-6.flows", b"c"),
                  notice(EVIDENCE_DROPPED, usage=(2,)))
        rows = wait_for("the end of two", lambda: [r for r in self.evidence() if r["dropped"]] and self.evidence())
        self.assertEqual([(r["incident"], bool(r["dropped"]), r["open"]) for r in rows], [(7, False, False), (2, True, False), (1, True, False)])
        self.assertIn("dropped", self.cli("evidence", "1"))
        self.engine.stop()
        self.assertEqual([r["incident"] for r in self.rows("SELECT incident FROM evidence WHERE dropped_us > 0 ORDER BY incident")], [1, 2])

    def test_who_keeps_no_evidence_has_no_say_in_it(self):
        self.start()
        for packet in (taken(1, 4, "kb-4.flows", b"a"), notice(EVIDENCE_DROPPED, usage=(9,))):
            self.engine.actuators[NET].link.send(packet)
        wait_for("both were heard", lambda: self.engine.log.read_text().count("what it has no say in: evidence-") == 2)
        self.assertEqual(self.evidence(), [])

    def test_a_ledger_that_cannot_be_written_gets_the_rows_later(self):
        ballast = self.small_disk()
        self.start()
        self.fill(ballast)
        told = re.compile(r"(kb-9\.\d+) of incident 3 is not in the ledger yet")
        for number in range(1000):  # what the file has room for inside is written all the same
            self.tell(taken(3, 9, f"kb-9.{number}", b"m"))
            time.sleep(0.01)
            if told.search(self.engine.log.read_text()):
                break
        missed = set(told.findall(self.engine.log.read_text()))
        self.assertGreater(len(missed), 0)
        ballast.unlink()
        wait_for(f"the rows of {missed}", lambda: missed <= {row["file"] for row in self.evidence()})
