"""Containments, as the real engine orders and remembers them: a part of test_engine.py."""
import datetime
import json
import os
import shutil
import signal
import struct
import time
import unittest

from fake_world import (CONTAIN, CONTAIN_FLOW, CONTAIN_LIMIT, CONTAIN_PORT, CONTAIN_SOURCE, CREATE, MEDDLED, NET, STEER, TAP_ADD, VM_OBSERVE,
                        Guest, notice, wait_for)

SOURCE = "203.0.113.9"
FLOW = "flow tcp 198.51.100.7:40312 203.0.113.10:80"
YEAR_S = 365 * 86400


class ContainTests:
    """Mixed into the engine's test case."""

    def contain(self, source=SOURCE, **more):
        return self.ask("POST", "/v1/contain", json.dumps({"source": source, "reason": "it guesses passwords", **more}))

    def contain_subject(self, subject, **more):
        return self.ask("POST", "/v1/contain", json.dumps({"subject": subject, "reason": "too eager", **more}))

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

    # --- flows, ports, limits

    def test_each_kind_has_one_form(self):
        self.start()
        rows = (
            (FLOW, FLOW, CONTAIN_FLOW, ("198.51.100.7", 32, 40312, "203.0.113.10", 80, 6, 0, 0, 0)),
            ("flow udp [2001:DB8:20:0::7]:9 [2001:db8:10::10]:53", "flow udp [2001:db8:20::7]:9 [2001:db8:10::10]:53", CONTAIN_FLOW,
             ("2001:db8:20::7", 128, 9, "2001:db8:10::10", 53, 17, 0, 0, 0)),
            ("port 80/tcp", "port 80/tcp", CONTAIN_PORT, ("0.0.0.0", 0, 0, "0.0.0.0", 80, 6, 0, 0, 0)),
            ("port sensor 80/tcp", "port sensor 80/tcp", CONTAIN_PORT, ("0.0.0.0", 0, 0, "0.0.0.0", 80, 6, 1, 0, 0)),
            ("limit 198.51.100.0/24 20/s", "limit 198.51.100.0/24 20/s", CONTAIN_LIMIT,
             ("198.51.100.0", 24, 0, "0.0.0.0", 0, 0, 0, 20, 1)),
            ("limit  203.0.113.9 006/min", "limit 203.0.113.9/32 6/min", CONTAIN_LIMIT, (SOURCE, 32, 0, "0.0.0.0", 0, 0, 0, 6, 60)),
            ("source 2001:db8:20::/64", "source 2001:db8:20::/64", CONTAIN_SOURCE, ("2001:db8:20::", 64, 0, "::", 0, 0, 0, 0, 0)),
        )
        for number, (subject, form, kind, fields) in enumerate(rows, 1):
            self.assertEqual(self.contain_subject(subject), (202, {"containment": number}), subject)
            order = self.await_told(number, 1)
            self.assertEqual((order.kind, (order.source, order.prefix, order.port, order.to, order.to_port, order.protocol, order.of_service,
                                           order.rate, order.per_s)), (kind, fields), subject)
            self.assertEqual(self.await_containment(number, "in-force")["subject"], form)
            code, answer = self.contain_subject(subject)
            self.assertEqual(code, 409, answer)
        self.assertEqual(answer["error"], "2001:db8:20::/64 is cut already, by containment 7")
        self.assertEqual(self.contain_subject(FLOW)[1]["error"], f"{FLOW} is cut already, by containment 1")
        self.assertEqual(self.contain_subject("limit 198.51.100.0/24 5/h")[1]["error"],
                         "limit 198.51.100.0/24 20/s is in force already: release containment 5 before another limit")
        self.assertEqual(self.release(5), (202, {"containment": 5}))
        self.assertEqual((self.await_told(5, 0).kind, self.await_told(5, 0).rate), (CONTAIN_LIMIT, 20))
        self.await_containment(5, "ended")

    def test_what_is_misspelt_is_refused_in_one_sentence(self):
        self.start()
        for subject, wanted in (
                ("", "does not begin with"), ("tcp 80", "does not begin with source, flow, port or limit"), ("flow", "it is written flow tcp"),
                ("flow tcp 198.51.100.7:1", "it is written flow tcp"), (FLOW + " now", "it is written flow tcp"),
                ("flow icmp 198.51.100.7:1 203.0.113.10:80", "'icmp' is no protocol of a flow"),
                ("flow tcp 198.51.100.7 203.0.113.10:80", "'198.51.100.7' is no end of a flow"),
                ("flow tcp 198.51.100.7:0 203.0.113.10:80", "no end of a flow"),
                ("flow tcp 198.51.100.7:40312 203.0.113.10:65536", "no end of a flow"),
                ("flow tcp 198.51.100.7:40312x 203.0.113.10:80", "no end of a flow"),
                ("flow tcp 2001:db8::7:1 [2001:db8:10::10]:80", "no end of a flow"),
                ("flow tcp [2001:db8::7]1 [2001:db8:10::10]:80", "no end of a flow"),
                ("flow tcp [198.51.100.7]:1 203.0.113.10:80", "no end of a flow"),
                ("flow tcp 198.51.100.7:1 [2001:db8:10::10]:80", "one end of the flow is IPv4, the other one IPv6"),
                ("port 80", "'80' is no port, such as 80/tcp"), ("port tcp/80", "'tcp/80' is no port"), ("port 0/tcp", "no port"),
                ("port 80/tcps", "no port"), ("port sensr 80/tcp", "there is no service 'sensr'"), ("port 80/tcp sensor", "'sensor' is no port"),
                ("limit 198.51.100.0/24", "it is written limit"), ("limit 198.51.100.0/24 20", "'20' is no limit, such as 20/s"),
                ("limit 198.51.100.0/24 0/s", "no limit"), ("limit 198.51.100.0/24 10001/s", "no limit"), ("limit 198.51.100.0/24 5/d", "no limit"),
                ("limit 198.51.100.1/24 5/s", "bits behind"), ("limit web 5/s", "'web' is no address"), ("source " + "9" * 300, "is longer than")):
            code, answer = self.contain_subject(subject)
            self.assertEqual(code, 400, subject)
            self.assertIn(wanted, answer["error"])
        for body in ({"source": SOURCE, "subject": FLOW, "reason": "x"}, {"subject": 7, "reason": "x"}, {"source": 7, "reason": "x"}):
            self.assertIn("'source' must be", self.ask("POST", "/v1/contain", json.dumps(body))[1]["error"])
        self.assertEqual(self.ask("GET", "/v1/containments"), (200, {"containments": []}))
        self.assertEqual(self.world.count(CONTAIN), 0)

    def test_what_names_a_service_that_is_gone_ends(self):
        self.start()
        self.contain_subject("port sensor 80/tcp")
        self.contain()
        self.await_containment(2, "in-force")
        self.engine.stop()
        file = self.folder / "koboshi.yaml"
        file.write_text(file.read_text().replace("  sensor:", "  meter:"))
        orders = len(self.world.orders)
        self.engine.start()
        self.await_told(1, 0, orders)
        self.assertEqual(self.await_containment(1, "refused")["proof"], "there is no service 'sensor'")
        self.await_told(2, 1, orders)

    # --- the start

    def reboot(self):
        """Of the host: guests, taps and rules are gone, the ledger is not."""
        self.engine.stop()
        for guest in list(self.world.guests.values()):
            guest.close_port()
        self.world.guests.clear()
        self.world.gates.clear()
        self.world.target = 0

    def test_nothing_is_done_before_all_are_in_force_again(self):
        self.start()
        self.contain()
        self.contain_subject(FLOW)
        self.contain_subject("limit 198.51.100.0/24 20/s", for_s=3600)
        self.await_containment(3, "in-force")
        self.reboot()
        orders = len(self.world.orders)
        self.world.slow[CONTAIN] = 0.2
        self.world.refused[CONTAIN] = (-1, "it is never cut: 'never_cut' names it")  # an answer, too
        self.start()
        ordered = self.world.orders[orders:]
        self.assertEqual(sorted((o.type, o.contain, o.flag) for o in ordered[:3]), [(CONTAIN, n, 1) for n in (1, 2, 3)])
        self.assertTrue({VM_OBSERVE, TAP_ADD, CREATE, STEER} <= {o.type for o in ordered[3:]})
        self.assertEqual([self.containment(n)["state"] for n in (1, 2, 3)], ["refused", "in-force", "in-force"])

    def test_a_service_does_not_wait_for_ever(self):
        self.start()
        self.contain()
        self.contain_subject("port 80/tcp")
        self.await_containment(2, "in-force")
        self.reboot()
        orders = len(self.world.orders)
        self.world.held[CONTAIN] = 0
        begin = time.monotonic()
        self.engine.start()
        self.world.await_order(CREATE, after=orders)
        self.assertGreater(time.monotonic() - begin, 1.9)
        reason = f"containment 1 (source {SOURCE}/32) is not in force: koboshi-net has not answered since the start; it is the first of 2"
        wait_for("the reason", lambda: reason in self.engine.status()["reasons"])
        self.assertEqual(self.await_containment(2, "wanted")["proof"], "koboshi-net has not answered since the start")
        self.assertIn("2 of 2 containments are not in force", self.engine.log.read_text())
        wait_for("a service", lambda: self.engine.status()["services"][0]["verdict"] == "healthy")
        self.world.held.clear()
        self.engine.connect(NET)
        self.await_containment(1, "in-force")
        self.await_containment(2, "in-force")
        self.engine.await_state()

    def test_one_that_fails_does_not_hold_up_the_others(self):
        self.start()
        self.world.refused[CONTAIN] = (-5, "nftables refused the change: no memory")
        self.contain()
        self.contain("198.51.100.0/24")
        self.await_containment(2, "in-force")
        self.assertEqual(self.await_containment(1, "wanted")["proof"], "nftables refused the change: no memory")
        self.assertIn(f"containment 1 (source {SOURCE}/32) is not in force: nftables refused the change: no memory",
                      self.engine.status()["reasons"])
        self.await_containment(1, "in-force")  # after five seconds
        self.engine.await_state()

    # --- the clock

    def set_clock(self, seconds):
        """The guests' too: what they say of the time is not what this is about."""
        Guest.ahead_s = seconds
        self.clock.seek(0)
        self.clock.write(struct.pack("=q", seconds))
        self.clock.flush()

    def start_with_clock(self):
        module = os.environ.get("CLOCK_SHIFT_MODULE")
        if not module:
            raise unittest.SkipTest("the module that shifts the clock is not there")
        shutil.copy(module, self.folder / "clock-shift.so")
        path = self.folder / "clock"
        self.clock = open(path, "wb")
        self.addCleanup(self.clock.close)
        self.addCleanup(setattr, Guest, "ahead_s", 0)
        self.set_clock(0)
        path.chmod(0o644)
        self.engine.environment = {"LD_PRELOAD": str(self.folder / "clock-shift.so"), "CLOCK_SHIFT": str(path)}
        self.start()

    def left(self, number, shift_s=0):
        """Seconds by the row and the engine's clock; and the length."""
        row = self.containment(number)
        begun, until = (datetime.datetime.fromisoformat(row[key]).timestamp() for key in ("begun", "until"))
        return until - time.time() - shift_s, until - begun

    def await_step(self, n):
        wait_for("a word about the clock", lambda: (self.engine.status()["lapses"] or {"count": 0})["count"] >= n)

    def test_a_clock_that_is_set_makes_it_neither_shorter_nor_longer(self):
        self.start_with_clock()
        self.contain(for_s=3600)
        self.contain("198.51.100.0/24", for_s=4)
        self.await_containment(2, "in-force")
        self.set_clock(10 * YEAR_S)  # from 1970 to now
        self.await_step(1)
        wait_for("a row that moved", lambda: abs(self.left(1, 10 * YEAR_S)[0] - 3600) < 60)
        self.assertAlmostEqual(self.left(1)[1], 3600, places=2)
        self.set_clock(-10 * YEAR_S)
        self.await_step(2)
        wait_for("a row that moved back", lambda: abs(self.left(1, -10 * YEAR_S)[0] - 3600) < 60)
        self.await_containment(2, "ended")  # in its four seconds, of whatever years
        orders = len(self.world.orders)
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.start()
        self.await_told(1, 1, orders)
        self.assertEqual(self.containment(1)["ended"], None)

    def test_a_clock_that_is_set_ends_no_hold(self):
        self.start_with_clock()
        standby = self.roles()["standby"]
        self.hold("freeze", standby, for_s=3600)
        self.await_containment(1, "in-force")
        self.set_clock(10 * YEAR_S)
        self.await_step(1)
        wait_for("a row that moved", lambda: abs(self.left(1, 10 * YEAR_S)[0] - 3600) < 60)
        self.assertAlmostEqual(self.left(1)[1], 3600, places=2)
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.engine.start()
        wait_for("the world", lambda: self.of(standby))
        self.await_life(standby, "held")
        time_left = self.left(1, 10 * YEAR_S)[0]
        self.assertTrue(3500 < time_left < 3660, time_left)
        self.assertEqual(self.containment(1)["ended"], None)

    def test_a_clock_behind_its_beginning_is_asked_again_when_it_is_set(self):
        self.start_with_clock()
        self.contain(for_s=3600)
        self.contain("198.51.100.0/24", for_s=4 * 3600)
        self.contain("203.0.113.77", for_s=5)
        self.await_containment(3, "in-force")
        until = self.containment(2)["until"]
        self.engine.stop()
        self.set_clock(-20 * YEAR_S)  # a device without a battery clock, just switched on
        orders = len(self.world.orders)
        self.start()
        for number in (1, 2, 3):
            self.await_told(number, 1, orders)
        self.await_containment(3, "ended")  # never longer than its length
        self.assertEqual([self.containment(n)["ended"] for n in (1, 2)], [None, None])
        self.set_clock(2 * 3600)
        self.await_containment(1, "ended")
        self.assertEqual((self.containment(2)["state"], self.containment(2)["until"]), ("in-force", until))
