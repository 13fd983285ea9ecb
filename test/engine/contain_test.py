"""Containments, as the real engine orders and remembers them: a part of test_engine.py."""
import datetime
import json
import signal

from fake_world import CONTAIN, MEDDLED, NET, notice, wait_for

SOURCE = "203.0.113.9"


class ContainTests:
    """Mixed into the engine's test case."""

    def contain(self, source=SOURCE, **more):
        return self.ask("POST", "/v1/contain", json.dumps({"source": source, "reason": "it guesses passwords", **more}))

    def release(self, number):
        return self.ask("POST", "/v1/release", json.dumps({"number": number}))

    def containment(self, number):
        return next((c for c in self.ask("GET", "/v1/containments")[1]["containments"] if c["number"] == number), {})

    def await_containment(self, number, state):
        return wait_for(f"containment {number} is {state}", lambda: (c := self.containment(number)).get("state") == state and c)

    def await_told(self, number, flag, after=0):
        return self.world.await_order(CONTAIN, lambda o: (o.contain, o.flag) == (number, flag), after)

    def test_a_source_is_cut_until_it_is_released(self):
        self.start()
        self.assertEqual(self.contain(), (202, {"containment": 1}))
        order = self.await_told(1, 1)
        self.assertEqual((order.source, order.prefix, order.instance), (SOURCE, 32, 0))
        row = self.await_containment(1, "in-force")
        self.assertEqual((row["subject"], row["reason"], row["who"], row["until"], row["ended"]),
                         (f"source {SOURCE}/32", "it guesses passwords", "operator", None, None))
        code, answer = self.contain(f"{SOURCE}/32")
        self.assertEqual((code, answer["error"]), (409, f"{SOURCE}/32 is cut already, by containment 1"))
        self.assertEqual(self.contain("2001:db8:20::/64"), (202, {"containment": 2}))
        self.assertEqual((self.await_told(2, 1).source, self.await_told(2, 1).prefix), ("2001:db8:20::", 64))
        self.assertEqual(self.release(1), (202, {"containment": 1}))
        self.await_told(1, 0)
        self.assertIsNotNone(self.await_containment(1, "ended")["ended"])
        self.assertEqual(self.release(1)[0], 404)
        self.assertEqual([c["number"] for c in self.ask("GET", "/v1/containments")[1]["containments"]], [2, 1])

    def test_it_ends_by_itself(self):
        self.start()
        self.contain(for_s=1)
        row = self.await_containment(1, "in-force")
        begun, until = (datetime.datetime.fromisoformat(row[key]) for key in ("begun", "until"))
        self.assertEqual(until - begun, datetime.timedelta(seconds=1))
        self.await_told(1, 0)
        self.await_containment(1, "ended")

    def test_what_is_refused_is_said_and_not_tried_again(self):
        self.start()
        self.world.refused[CONTAIN] = (-1, "it is never cut: 'never_cut' names it")
        self.contain()
        self.assertEqual(self.await_containment(1, "refused")["proof"], "it is never cut: 'never_cut' names it")
        orders = len(self.world.orders)
        self.assertEqual(self.contain(), (202, {"containment": 2}))  # nothing stands in the way of another try
        self.await_told(2, 1, orders)

    def test_it_outlives_every_process(self):
        self.start()
        self.contain()
        self.contain("198.51.100.0/24", for_s=3600)
        self.await_containment(2, "in-force")
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        orders = len(self.world.orders)
        self.start()
        self.await_told(1, 1, orders)
        self.await_told(2, 1, orders)
        orders = len(self.world.orders)
        self.engine.connect(NET)  # another koboshi-net
        self.await_told(1, 1, orders)
        self.await_told(2, 1, orders)
        orders = len(self.world.orders)
        self.engine.actuators[NET].link.send(notice(MEDDLED, text="nft changed our rules"))
        self.await_told(1, 1, orders)
        self.await_told(2, 1, orders)
        self.release(1)
        self.await_containment(1, "ended")
        self.engine.stop()
        self.start()
        self.assertEqual(self.contain("203.0.113.77"), (202, {"containment": 3}))  # no number is given twice
        self.await_containment(3, "in-force")
        self.engine.stop()
        self.assertEqual([r["number"] for r in self.rows("SELECT number FROM containment WHERE ended_us = 0 ORDER BY number")], [2, 3])

    def test_nonsense_is_refused_in_one_sentence(self):
        self.start()
        for body, wanted in (({"reason": "x"}, "'source' must be"), ({"source": SOURCE}, "'reason' must say"),
                             ({"source": "web", "reason": "x"}, "'web' is no address"),
                             ({"source": "203.0.113.9/24", "reason": "x"}, "bits behind"),
                             ({"source": "203.0.113.9/33", "reason": "x"}, "no address"),
                             ({"source": SOURCE, "reason": "x" * 160}, "at most 159"),
                             ({"source": SOURCE, "reason": "x", "for_s": 0}, "from 1 to"),
                             ({"source": SOURCE, "reason": "x", "until": 9}, "'until' is not known")):
            code, answer = self.ask("POST", "/v1/contain", json.dumps(body))
            self.assertEqual(code, 400, body)
            self.assertIn(wanted, answer["error"])
        for body in ({}, {"number": 0}, {"number": "1"}, {"number": 1, "more": 1}):
            self.assertEqual(self.ask("POST", "/v1/release", json.dumps(body))[0], 400, body)
        self.assertEqual(self.ask("GET", "/v1/containments"), (200, {"containments": []}))
        self.assertEqual(self.world.count(CONTAIN), 0)
