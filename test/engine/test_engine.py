#!/usr/bin/env python3
"""The real koboshi-engine in a fake world (fake_world.py): what it orders, what its API says, what it writes down, and how it
takes up again what a killed predecessor left. Runs in network and mount namespaces of its own; needs root for them.

usage: KOBOSHI_CLI=KOBOSHI test_engine.py KOBOSHI-ENGINE KOBOSHI-IMAGE [PART/PARTS | TEST...]
"""
import contextlib
import json
import os
import pathlib
import selectors
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from adapt_test import AdaptTests
from agents_test import AgentTests
from carry_test import CarryTests
from contain_test import ContainTests
from doubt_test import DoubtTests
from evidence_test import EvidenceTests
from vault_test import VaultTests
from ladder_test import LadderTests
from lessons_test import LessonTests
from fake_world import (CREATE, DECOY, DESTROY, FENCED, FILE_BAD, FILE_COUNTS, FILE_SKIPPED, FILE_TROUBLE, FILE_UNKNOWN, GATE, GONE, GUEST_CHANNEL, HOST, IO_ERROR,
                        MEDDLED, NET, OPEN, PAUSED, QUARANTINE, RESCUE, RUNNING, SCAN, STEER, SUSPEND, TAP_ADD, TARPIT, TROUBLE, USAGE, VM,
                        VM_OBSERVE, WATCHDOG,
                        Engine, Guest, World, config, make_folder, notice, tls_context, wait_for)
from kills_test import KillTests
from ledger_test import LedgerTests
from secrets_test import SecretsTests
from wanted_test import WantedTests


class EngineTest(AdaptTests, AgentTests, CarryTests, ContainTests, DoubtTests, EvidenceTests, KillTests, LadderTests, LedgerTests, LessonTests, SecretsTests, VaultTests, WantedTests, unittest.TestCase):
    programs = ()

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="kbe.")
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        make_folder(self.folder, *self.programs)
        self.world = World()
        self.addCleanup(lambda: self.world.close())  # the newest: a test may have begun anew
        self.engine = Engine(self.folder, self.world)
        self.addCleanup(self.engine.api.close)
        self.addCleanup(self.engine.stop)

    def tearDown(self):
        log = self.engine.log.read_text() if self.engine.log.exists() else ""
        if not self._outcome.success:
            print(log[-6000:])
        if path := os.environ.get("KEEP_LOG"):
            pathlib.Path(path).write_text(log)
        for sign in ("Sanitizer", "runtime error", "Assertion"):
            self.assertNotIn(sign, log)

    def start(self):
        self.engine.start()
        return self.engine.await_state()

    def ask(self, *what):
        return self.engine.ask(*what)

    def roles(self):
        return {i["role"]: i["number"] for i in self.engine.status()["services"][0]["instances"]}

    def await_roles(self, *gone):
        """Until each role is held, and by none of those: by whom. Whoever is being built, or held aside, has none of these."""
        return wait_for(lambda: f"each role is held by another than {gone}, but {self.roles()}",
                        lambda: {"active", "standby", "spare"} <= (now := self.roles()).keys() and not set(gone) & set(now.values()) and now)

    def story(self, number=1):
        return self.ask("GET", f"/v1/incidents/{number}")[1]

    def await_closed(self, number=1):
        return wait_for(lambda: f"incident {number} closed, but {self.story(number)}, {self.engine.status()}",
                        lambda: (story := self.story(number)).get("phase") == "closed" and story)

    def rows(self, query):
        """Of the stopped engine's ledger."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/state/ledger/ledger.db?mode=ro", uri=True)) as ledger:
            ledger.row_factory = sqlite3.Row
            return [dict(row) for row in ledger.execute(query)]

    # --- the first start

    def test_a_first_start_builds_three_and_proves_them(self):
        status = self.start()
        self.assertEqual(status["reasons"], [])
        self.assertEqual(status["accelerator"], "software emulation")
        service = status["services"][0]
        self.assertEqual(sorted(i["role"] for i in service["instances"]), ["active", "spare", "standby"])
        self.assertEqual(len({i["variant"] for i in service["instances"]}), 3)
        active = next(i for i in service["instances"] if i["role"] == "active")
        self.assertEqual(service["active"], active["number"])
        self.assertEqual(self.world.target, active["number"])
        self.assertGreater(active["probes"]["good"], 0)
        self.assertEqual(active["components"]["kernel"][:5], "linux")
        spare = self.roles()["spare"]
        self.assertEqual(self.world.guests[spare].state, PAUSED)
        self.assertEqual(self.world.gates[spare], QUARANTINE)
        self.assertEqual(self.world.gates[active["number"]], OPEN)
        for number in self.world.numbers:
            kinds = [order.type for order in self.world.orders if order.instance == number]
            self.assertLess(kinds.index(TAP_ADD), kinds.index(CREATE))
        wait_for("beats", lambda: self.engine.beats > 5)
        self.assertEqual(self.ask("GET", "/v1/incidents"), (200, {"incidents": []}))
        self.assertEqual(self.engine.stop(), 0)
        rows = self.rows("SELECT * FROM instance")
        self.assertEqual(len(rows), 3)
        self.assertEqual(self.rows("SELECT * FROM intent WHERE ended_us = 0"), [])

    def test_the_api_says_what_it_takes(self):
        self.start()
        code, variants = self.ask("GET", "/v1/variants")
        self.assertEqual(code, 200)
        self.assertEqual([v["name"] for v in variants["variants"]], ["amber", "birch", "cedar"])
        overlap = {(o["a"], o["b"]): o for o in variants["overlap"]}
        self.assertEqual(overlap["birch", "cedar"]["layers"]["libc"], "same")
        self.assertEqual(overlap["amber", "birch"]["layers"]["runtime"], "other version")
        self.assertEqual(overlap["amber", "birch"]["packages_same"], 50)
        for method, path, body, wanted in (("GET", "/", None, 404), ("GET", "/v1/statusx", None, 404),
                                           ("POST", "/v1/status", None, 405), ("GET", "/v1/switch", None, 405),
                                           ("GET", "/v1/incidents/0", None, 404), ("GET", "/v1/incidents/-1", None, 404),
                                           ("GET", "/v1/incidents/", None, 404), ("GET", "/v1/incidents/7", None, 404),
                                           ("GET", "/v1/incidents/99999999999999999999", None, 404),
                                           ("POST", "/v1/switch", "[1]", 400), ("POST", "/v1/switch", "{", 400),
                                           ("POST", "/v1/switch", '{"service": "sensr"}', 400),
                                           ("POST", "/v1/switch", '{"servce": "sensor"}', 400),
                                           ("POST", "/v1/switch", '{"service": 1}', 400),
                                           ("POST", "/v1/switch", " " * 5000, 413)):
            code, answer = self.ask(method, path, body)
            self.assertEqual((method, path, code), (method, path, wanted))
            self.assertGreater(len(answer["error"]), 10)
        self.assertEqual(self.world.count(STEER), 1)
        curl = subprocess.run(["curl", "-s", "--unix-socket", self.engine.socket_path, "http://localhost/v1/status"],
                              stdout=subprocess.PIPE, check=True)
        self.assertEqual(json.loads(curl.stdout)["device"], "testbed")

    # --- why

    def test_why_tells_what_a_verdict_rests_on(self):
        self.start()
        active, standby = self.roles()["active"], self.roles()["standby"]
        subjects = {s["subject"]: s for s in self.ask("GET", "/v1/why")[1]["subjects"]}
        self.assertEqual(len(subjects), 6)
        self.assertEqual(subjects[f"kb-{active}"], {"subject": f"kb-{active}", "kind": "instance", "verdict": "healthy"})
        self.assertEqual(subjects["amber"], {"subject": "amber", "kind": "variant", "verdict": "clear"})
        why = self.ask("GET", f"/v1/why/kb-{active}")[1]
        self.assertEqual((why["subject"], why["kind"], why["verdict"]), (f"kb-{active}", "instance", "healthy"))
        self.assertIn("right answer", why["because"][0])
        self.assertTrue(any(f"kb-{standby} goes on answering" in text for text in why["would_change"]), why)
        self.assertTrue(any(text.startswith("compromised at once: wrong-content") for text in why["would_change"]), why)
        good = next(f for f in why["findings"] if f["finding"] == "good")
        self.assertEqual((good["vantage"], good["weight"]), ("path", "a right answer"))
        self.assertGreater(good["count"], 0)
        self.assertIn("sleeps", self.ask("GET", f"/v1/why/kb-{self.roles()['spare']}")[1]["because"][0])
        for name in ("kb-99", "kb-", "ambre", "", "kb-1/2"):
            code, answer = self.ask("GET", f"/v1/why/{name}")
            self.assertEqual((name, code), (name, 404))
            self.assertIn("no instance and no variant", answer["error"])

    def test_flows_are_told_of_each_instance(self):
        self.start()
        active = self.roles()["active"]
        flows = self.ask("GET", "/v1/flows")[1]
        self.assertEqual((flows["open"], flows["window_s"], len(flows["instances"])), (0, 10, 3))
        one = self.ask("GET", f"/v1/flows/kb-{active}")[1]
        self.assertEqual((one["instance"], one["role"], one["open"]), (f"kb-{active}", "active", 0))
        self.assertEqual([f["feature"] for f in one["features"] if f["judged"]], ["fan-out", "opened", "failed", "sent", "names"])
        self.assertEqual({f["alarming_above"] for f in one["features"]}, {None})
        self.assertEqual(self.ask("GET", "/v1/flows/kb-99")[0], 404)

    def test_why_tells_who_is_suspect_and_of_what(self):
        self.start()
        active = self.roles()["active"]
        variant = next(i["variant"] for i in self.engine.status()["services"][0]["instances"] if i["number"] == active)
        self.world.guests[active].page = b"<h1>owned</h1>\n"
        self.await_closed()
        self.assertEqual(self.ask("GET", f"/v1/why/kb-{active}")[0], 404)
        why = self.ask("GET", f"/v1/why/{variant}")[1]
        self.assertEqual((why["kind"], why["verdict"], why["findings"]), ("variant", "suspect", []))
        self.assertTrue(any(text.startswith("suspicion of kernel ") and "1.000" in text for text in why["because"]), why)
        self.assertTrue(any("which serves sensor, it shares in kernel, server and runtime: " in text for text in why["because"]), why)
        self.assertEqual(why["would_change"], ["clear: the fall of another variant quarters all older suspicion"])

    # --- what is usual

    def usage(self, number, seconds, cpu, sent_kib, read_mib=0.0):
        """So many seconds, each with so much of a processor, KiB sent, MiB read and 20 packets received; told at once, with its own time."""
        for _ in range(seconds):
            clock, used, sent, received, read, _ = self.counters.get(number, (0, 1000, 0, 0, 0, 0))
            self.counters[number] = (clock + 1, used + int(cpu * 1e6), sent + int(sent_kib * 1024), received + 20,
                                     read + int(read_mib * 1048576), 0)
            clock, *counters = self.counters[number]
            self.engine.actuators[VM].link.send(notice(USAGE, number, usage=counters,
                                                       later_us=clock * 1000000 - self.sent_us()))

    def sent_us(self):
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 - self.began_us

    def why(self, number):
        return self.ask("GET", f"/v1/why/kb-{number}")[1]

    def test_what_is_unusual_is_told_and_fells_nobody(self):
        self.start()
        self.counters, self.began_us = {}, time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        active = self.roles()["active"]
        self.usage(active, 31, 0.1, 4)
        wait_for("thirty to learn from", lambda: self.why(active)["learnt"] == 30)
        self.usage(active, 5, 0.95, 4)
        busy = wait_for("the finding", lambda: (f := self.found(active, "busy")) and f["count"] == 3 and f)
        self.assertEqual(busy["detail"], "uses 0.95 of a processor; usual for what it is asked is 0.10")
        self.assertEqual(busy["vantage"], "hypervisor")
        self.assertEqual(self.engine.status()["state"], "ok")
        self.usage(active, 20, 0.1, 4)
        self.usage(active, 5, 0.1, 900)
        wait_for("the other finding", lambda: [f for f in self.why(active)["findings"] if f["finding"] == "flooding"])
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])
        self.usage(active, 5, 0.95, 900)
        wait_for("both at once", lambda: [f for f in self.why(active)["findings"] if f["finding"] == "flooding" and f["count"] > 3])
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])
        self.usage(active, 20, 0.1, 4)
        self.usage(active, 5, 0.1, 4, 12.5)
        writing = wait_for("the third", lambda: [f for f in self.why(active)["findings"] if f["finding"] == "writing"])[0]
        self.assertEqual(writing["detail"], "reads 12.5 MiB/s on its disk; usual for what it is asked is 0.0")
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])
        self.assertEqual(self.why(active)["verdict"], "healthy")

    def test_a_disk_error_is_told_and_fells_nobody_who_answers(self):
        self.start()
        active = self.roles()["active"]
        for _ in range(20):
            self.engine.actuators[VM].link.send(notice(IO_ERROR, active, text="an input or output error on virtio-disk0"))
        error = wait_for("the finding", lambda: (f := self.found(active, "io-error")) and f["count"] == 20 and f)
        self.assertEqual((error["vantage"], error["detail"]), ("hypervisor", "an input or output error on virtio-disk0"))
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])

    def test_who_stops_feeding_its_watchdog_falls(self):
        self.start()
        active = self.roles()["active"]
        self.engine.actuators[VM].link.send(notice(WATCHDOG, active, text="the guest stopped feeding its watchdog"))
        story = self.await_closed()
        self.assertEqual((story["verdict"], story["victim"]["number"]), ("failed", active))
        self.assertIn("stopped feeding its watchdog", story["cause"])

    # --- the same question to all

    def compared(self):
        return self.engine.status()["services"][0]["peer"]

    def found(self, number, finding):
        return next((f for f in self.why(number)["findings"] if f["finding"] == finding), None)

    def test_of_two_that_answer_differently_both_are_suspect_and_go_on(self):
        self.start()
        roles = self.roles()
        wait_for("some rounds", lambda: self.compared()["rounds"] >= 6)
        self.assertEqual(self.compared()["differed"], 0)
        self.world.guests[roles["standby"]].answers["/api/reading"] = (200, b'{"value": 99}')
        told = wait_for("the finding", lambda: self.found(roles["standby"], "differs") and self.found(roles["active"], "differs"))
        self.assertEqual(told["vantage"], "peer")
        self.assertRegex(told["detail"], "^GET /api/reading: 200, 14 bytes, [0-9a-f]{6}; kb-[0-9]+: 200, 13 bytes, [0-9a-f]{6}$")
        self.assertEqual(told["weight"], "2 of 4 points")
        self.assertEqual([self.why(roles[role])["verdict"] for role in ("active", "standby")], ["healthy", "healthy"])
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])
        self.assertEqual(self.roles(), roles)

    def test_of_three_the_outvoted_one_falls(self):
        file = self.folder / "koboshi.yaml"
        file.write_text(file.read_text().replace("drain:", "standby: 2\n    spare: 0\n    drain:"))
        self.start()
        active = self.roles()["active"]
        wait_for("some rounds", lambda: self.compared()["rounds"] >= 3)
        self.world.guests[active].answers["/api/reading"] = (200, b'{"value": 99}')
        self.world.await_order(STEER, lambda o: o.victim == active)
        story = self.await_closed()
        self.assertEqual((story["verdict"], story["victim"]["number"]), ("compromised", active))
        self.assertIn("answered otherwise than the other instances", story["cause"])
        self.engine.await_state()
        self.assertEqual(len(self.ask("GET", "/v1/incidents")[1]["incidents"]), 1)

    def test_what_changes_all_the_time_convicts_nobody(self):
        self.start()
        stop = threading.Event()
        self.addCleanup(stop.set)

        def tick():
            n = 0
            while not stop.wait(0.002):
                n += 1
                for guest in list(self.world.guests.values()):
                    guest.answers["/api/reading"] = (200, str(n * 100 + guest.number).encode())

        threading.Thread(target=tick, daemon=True).start()
        wait_for("some rounds", lambda: self.compared()["moved"] >= 3)
        self.assertEqual(self.compared()["moving"], "/api/reading")
        self.assertTrue(any(line.startswith("peer: the answer to /api/reading of sensor changes") for line in self.engine.status()["unproven"]))
        self.assertEqual([self.found(number, "differs") for number in self.roles().values()], [None] * 3)

    # --- incidents

    def test_a_planned_switch_cuts_nobody_and_is_refused_when_it_must_be(self):
        self.start()
        before = self.roles()
        code, answer = self.ask("POST", "/v1/switch", '{"service": "sensor"}')
        self.assertEqual((code, answer), (202, {"incident": 1}))
        steer = self.world.await_order(STEER, lambda o: o.instance == before["standby"])
        self.assertEqual(steer.victim, 0)
        story = self.await_closed()
        self.assertEqual(story["verdict"], "planned")
        self.assertEqual(self.engine.await_state()["services"][0]["active"], before["standby"])
        self.world.held[STEER] = True
        self.assertEqual(self.ask("POST", "/v1/switch")[0], 202)
        code, answer = self.ask("POST", "/v1/switch")
        self.assertEqual(code, 409)
        self.assertIn("under way", answer["error"])
        del self.world.held[STEER]  # it is tried again
        self.await_closed(2)

    def test_a_switch_without_a_standby_is_refused(self):
        (self.folder / "koboshi.yaml").write_text(config(self.folder).replace("drain:", "standby: 0\n    spare: 0\n    drain:"))
        self.start()
        code, answer = self.ask("POST", "/v1/switch")
        self.assertEqual(code, 409)
        self.assertIn("no standby is healthy", answer["error"])

    def fall(self, attack, verdict):
        self.start()
        before = self.roles()
        victim = before["active"]
        variant = self.world.guests[victim].variant
        began = time.monotonic()
        attack(self.world.guests[victim])
        steer = self.world.await_order(STEER, lambda o: o.victim == victim)
        print(f"  steered {(time.monotonic() - began) * 1000:.0f} ms after the attack", file=sys.stderr)
        self.assertEqual(steer.instance, before["standby"])
        self.assertEqual(self.world.gates[victim], FENCED)
        self.world.await_order(DESTROY, lambda o: o.instance == victim)
        story = self.await_closed()
        self.engine.await_state()
        after = self.roles()
        self.assertEqual(after["active"], before["standby"])
        self.assertEqual(after["standby"], before["spare"])
        self.assertEqual(story["verdict"], verdict)
        self.assertEqual(story["victim"], {"number": victim, "variant": ("amber", "birch", "cedar")[variant]})
        steps = [step["step"] for step in story["steps"]]
        for one, other in (("detected", "steered"), ("steered", "closed"), ("waking", "proven"), ("frozen", "removed")):
            self.assertLess(steps.index(one), steps.index(other))
        self.assertEqual({p["role"]: p["number"] for p in story["before"]}, before)
        self.assertEqual({p["role"]: p["number"] for p in story["after"]}, after)
        fresh = next(i for i in self.engine.status()["services"][0]["instances"] if i["role"] == "spare")
        if verdict == "compromised":
            self.assertNotEqual(fresh["variant"], story["victim"]["variant"])
        self.assertEqual(self.engine.stop(), 0)
        intents = [(row["order_name"] if "order_name" in row else row["word"] if "word" in row else str(row))
                   for row in self.rows("SELECT * FROM intent")]
        self.assertTrue(any("destroy" in intent for intent in intents), intents)
        suspect = self.rows("SELECT * FROM suspicion")  # a fault makes nothing suspect
        self.assertTrue(len(suspect) > 3 if verdict == "compromised" else suspect == [], suspect)
        return story

    def test_a_closed_port_leads_to_a_steer_with_victim(self):
        story = self.fall(Guest.close_port, "failed")
        self.assertIn("refuse", story["cause"])

    def test_a_changed_page_is_a_compromise(self):
        def deface(guest):
            guest.page = b"<h1>owned</h1>\n"
        self.fall(deface, "compromised")

    def test_a_guest_that_ends_is_known_from_the_hypervisor(self):
        self.start()
        victim = self.roles()["active"]
        self.engine.actuators[VM].gone(victim)
        self.world.await_order(STEER, lambda o: o.victim == victim)
        self.await_closed()

    # --- being killed

    def test_a_killed_engine_goes_on_where_it_was(self):
        self.start()
        before = self.roles()
        self.world.held[SUSPEND] = True  # the playbook stands still after steering and fencing
        self.world.guests[before["active"]].close_port()
        self.world.await_order(SUSPEND, lambda o: o.instance == before["active"])
        wait_for("the fence is written down", lambda: "link-down" in [s["step"] for s in self.story().get("steps", [])])
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        del self.world.held[SUSPEND]
        steers = self.world.count(STEER)
        self.engine.start()
        story = self.await_closed()
        self.engine.await_state()
        self.assertEqual(self.world.target, before["standby"])
        self.assertEqual(self.world.count(STEER), steers)
        self.assertNotIn(before["active"], self.world.guests)
        self.assertEqual(len(self.world.guests), 3)
        self.assertIn("resumed", [step["step"] for step in story["steps"]])
        self.assertEqual(self.ask("GET", "/v1/incidents/2")[0], 404)  # no new incident was made of it

    def test_killed_again_and_again_it_gives_no_number_twice(self):
        for _ in range(4):
            orders = len(self.world.orders)
            self.engine.start()
            self.world.await_order(CREATE, after=orders) if len(self.world.guests) < 3 else self.engine.await_state()
            self.engine.signal(signal.SIGKILL)
            self.engine.wait()
        self.start()
        self.assertEqual(len(self.world.guests), 3)

    def test_links_that_break_are_made_anew_and_what_was_ordered_is_ordered_again(self):
        self.start()
        self.world.held[SUSPEND] = True
        victim = self.roles()["active"]
        self.world.guests[victim].close_port()
        self.world.await_order(SUSPEND, lambda o: o.instance == victim)
        del self.world.held[SUSPEND]
        self.engine.actuators[VM].end()
        self.engine.connect(VM)
        self.await_closed()
        self.engine.await_state()

    def test_garbage_from_an_actuator_gets_it_replaced(self):
        self.start()
        self.engine.actuators[NET].link.send(b"garbage")
        wait_for("a call for another", lambda: NET in self.engine.replaced)
        self.assertIn("koboshi-net is away", self.engine.await_state("degraded")["reasons"])
        self.engine.connect(NET)
        self.engine.await_state()

    def test_one_that_does_not_say_what_is_there_is_replaced(self):
        self.world.held[VM_OBSERVE] = True  # as when libvirt hangs
        self.engine.start()
        self.world.await_order(VM_OBSERVE)
        wait_for("a word about it", lambda: any(r.startswith("koboshi-vm was asked ") for r in self.engine.status()["reasons"]))
        wait_for("a call for another", lambda: VM in self.engine.replaced)
        self.assertNotIn(NET, self.engine.replaced)
        del self.world.held[VM_OBSERVE]
        self.engine.connect(VM)
        self.engine.await_state()

    def test_what_keeps_an_actuator_from_its_work_is_told(self):
        self.start()
        self.engine.actuators[NET].link.send(notice(TROUBLE, text="the tun module is missing"))
        self.engine.actuators[NET].end()
        wait_for("the reason", lambda: "koboshi-net is away: the tun module is missing" in self.engine.status()["reasons"])
        self.engine.connect(NET)
        self.engine.await_state()

    def test_what_others_change_on_the_host_is_told(self):
        self.assertIsNone(self.start()["meddled"])
        for text in ("nft (process 7) changed our rules, put back after 31 ms", "a service's address was taken away"):
            self.engine.actuators[NET].link.send(notice(MEDDLED, text=text))
        told = wait_for("a word about it", lambda: (m := self.engine.status()["meddled"]) and m["count"] == 2 and m)
        self.assertEqual(told["last"], "a service's address was taken away")
        self.assertLess(told["ago_s"], 60)
        self.assertEqual([word["text"] for word in told["recent"]], ["a service's address was taken away",
                                                                     "nft (process 7) changed our rules, put back after 31 ms"])
        self.engine.actuators[HOST].link.send(notice(MEDDLED, text="/etc/koboshi/koboshi.yaml has another content"))
        wait_for("koboshi-host's word", lambda: "has another content" in self.engine.status()["meddled"]["last"])
        self.assertEqual(self.engine.status()["state"], "ok")

    def test_why_clients_are_not_helped_is_told(self):
        self.assertEqual(self.start()["services"][0]["rescue"], {"problem": ""})
        self.engine.actuators[NET].link.send(notice(RESCUE, text="NFLOG group 8 has another reader"))
        told = wait_for("the reason", lambda: (s := self.engine.status()) and s["services"][0]["rescue"]["problem"] and s)
        self.assertEqual(told["services"][0]["rescue"]["problem"], "NFLOG group 8 has another reader")
        self.assertIn("clients of sensor are not helped over a switch: NFLOG group 8 has another reader", told["reasons"])

    def test_without_a_challenge_right_content_is_proof(self):
        path = self.folder / "koboshi.yaml"
        path.write_text(path.read_text().replace("probe: {", "rescue: no\n    probe: {challenge: no, "))
        status = self.start()
        self.assertIsNone(status["services"][0]["rescue"])
        guest = self.world.guests[self.roles()["active"]]
        guest.answers["/"] = (200, b"<h1>owned</h1>")
        self.world.await_order(STEER, lambda order: order.victim == guest.number)

    def test_a_service_that_speaks_no_http_is_asked_what_the_configuration_says(self):
        self.configure(("peer: [/, /robots.txt, /api/reading], peer_every: 200ms", "protocol: tcp, send: 'GET / HTTP/1.1\\r\\n\\r\\n', expect: 'HTTP/1.1 200 '"))
        self.assertIsNone(self.start()["services"][0]["peer"])
        active, standby = self.roles()["active"], self.roles()["standby"]
        self.world.guests[active].answers["/"] = (503, b"")
        self.world.await_order(STEER, lambda order: (order.victim, order.instance) == (active, standby))
        story = self.await_closed()
        self.assertEqual(story["verdict"], "failed")
        self.assertIn("byte 10 of its answer is not as expected", story["cause"])

    def test_nobody_takes_over_the_guests_of_a_service_that_was_removed(self):
        """The same software, but with the data and secrets of that other one: it is known to koboshi-vm by its name only. Who serves
        the address does so until another one can."""
        self.start()
        before = set(self.roles().values())
        self.engine.stop()
        self.configure(("  sensor:", "  pump:"))
        for guest in self.world.guests.values():
            guest.service = guest.variant = 0xffffffff
        after = len(self.world.orders)
        self.engine.start()
        self.await_roles(*before)
        self.assertEqual({order.instance for order in self.world.orders[after:] if order.type == DESTROY}, before)
        steers = [(order.victim in before, order.instance in before) for order in self.world.orders[after:] if order.type == STEER]
        self.assertEqual(set(steers), {(False, False)}, "a planned switch, away from all of them")

    def test_a_service_inside_of_tls_is_seen_as_any_other(self):
        """Proofs, pages and what is compared; and the library that speaks it is set up when the engine is confined already."""
        Guest.tls = tls_context(self.folder)
        self.addCleanup(setattr, Guest, "tls", None)
        self.configure(("probe: {interval", "probe: {tls: yes, interval"))
        self.start()
        wait_for("instances that are compared", lambda: self.engine.status()["services"][0]["peer"]["rounds"] > 3)
        active, standby = self.roles()["active"], self.roles()["standby"]
        self.world.guests[active].answers["/"] = (200, b"<h1>owned</h1>")
        self.world.await_order(STEER, lambda order: (order.victim, order.instance) == (active, standby))
        self.assertEqual(self.await_closed()["verdict"], "compromised")

    def test_a_service_by_ipv6_alone_is_asked_by_ipv6_alone(self):
        """Guests have both addresses; nobody listens at the other one."""
        addresses = "".join(f"address add 2001:db8:1::{n:x}/112 dev lo nodad\n" for n in range(1, 30))
        subprocess.run(["ip", "-batch", "-"], input=addresses, text=True, check=True)
        self.addCleanup(subprocess.run, ["ip", "-batch", "-"], input=addresses.replace(" add ", " del ").replace(" nodad", ""), text=True, check=True)
        Guest.ipv6 = True
        self.addCleanup(setattr, Guest, "ipv6", False)
        self.configure(("203.0.113.10", '"2001:db8:10::10"'))
        before = self.instances(self.start())
        wait_for("fifty probes of each that is awake", lambda: all(i["probes"]["good"] > 50 for i in self.instances() if i["state"] == "ready"))
        self.assertEqual([i["number"] for i in self.instances()], [i["number"] for i in before])
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])

    def test_a_service_by_udp_is_asked_by_udp(self):
        mute, echo = set(), selectors.DefaultSelector()
        for last in range(2, 15):  # the guests' addresses
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.addCleanup(sock.close)
            sock.bind((f"192.0.2.{last}", 53))
            echo.register(sock, selectors.EVENT_READ, last)
        ended = threading.Event()
        self.addCleanup(ended.set)

        def answer():
            while not ended.is_set():
                for key, _ in echo.select(0.1):
                    asked, whom = key.fileobj.recvfrom(100)
                    if key.data not in mute:
                        key.fileobj.sendto(asked, whom)

        threading.Thread(target=answer, daemon=True).start()
        self.configure(("ports: [80/tcp]", "ports: [53/udp]"),
                       ("peer: [/, /robots.txt, /api/reading], peer_every: 200ms", "protocol: udp, send: 'who?', expect: 'who'"))
        self.start()
        active, standby = self.roles()["active"], self.roles()["standby"]
        mute.add(2 + active % 13)
        self.world.await_order(STEER, lambda order: (order.victim, order.instance) == (active, standby))
        self.assertEqual(self.await_closed()["verdict"], "failed")

    def test_the_tarpit_is_told_of_and_has_no_say(self):
        self.assertFalse(self.start()["decoys"]["answered"])
        self.engine.connect(DECOY)
        wait_for("the tarpit", lambda: self.engine.status()["decoys"]["answered"])
        link = self.engine.actuators[DECOY].link
        link.send(notice(GONE, instance=self.roles()["active"], text="says who speaks to hostile guests"))
        link.send(notice(TARPIT, usage=(7, 9, 2, 0, 0)))
        told = wait_for("its counts", lambda: (d := self.engine.status()["decoys"])["taken"] == 9 and d)
        self.assertEqual((told["held"], told["displaced"], told["touches"], told["last"]), (7, 2, 0, None))
        self.assertEqual(self.engine.status()["state"], "ok")
        self.engine.actuators[NET].link.send(notice(TARPIT, usage=(1, 1, 1, 0, 0)))  # nor has any other a say in this
        self.engine.actuators[DECOY].end()
        wait_for("its end", lambda: not self.engine.status()["decoys"]["answered"])
        self.assertEqual(self.engine.status()["decoys"]["held"], 0)

    def test_whoever_reads_what_guests_write_has_a_say_in_files_alone(self):
        self.start()
        active = self.roles()["active"]
        for role in (SCAN, HOST):
            self.engine.connect(role)
            link = self.engine.actuators[role].link
            for kind in (GONE, USAGE, IO_ERROR, WATCHDOG, GUEST_CHANNEL):
                link.send(notice(kind, instance=active))
            if role == SCAN:
                link.send(notice(MEDDLED, text="who was taken over"))
            else:
                link.send(notice(FILE_BAD, instance=active, text="/a: who was taken over"))
        wait_for("all was heard", lambda: self.engine.log.read_text().count("what it has no say in") == 12)
        self.assertIsNone(self.engine.status()["meddled"])
        self.assertEqual(self.engine.status()["state"], "ok")
        self.assertEqual(self.roles()["active"], active)
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])

    def test_lost_senses_are_told(self):
        (self.folder / "koboshi.yaml").write_text(config(self.folder).replace("freeze: 5s", "freeze: 300ms"))
        self.engine.start()
        wait_for("a first word", self.engine.status)
        self.engine.signal(signal.SIGSTOP)
        time.sleep(0.8)  # what it is about is that this time passes
        self.engine.signal(signal.SIGCONT)
        lapses = wait_for("a word about it", lambda: self.engine.status()["lapses"])
        self.assertRegex(lapses["last"], r"this process stood still for \d{3,5} ms")

    # --- files that guests write

    def watch_files(self):
        (self.folder / "koboshi.yaml").write_text(config(self.folder, f"files: {{bad: {self.folder}/bad, folders: {{data: {{path: /srv}}}}}}\n"))
        self.engine.start()
        self.engine.connect(SCAN)
        self.engine.await_state()

    def scan_tells(self, *packets):
        for packet in packets:
            self.engine.actuators[SCAN].link.send(packet)

    def test_a_bad_file_is_evidence_against_whoever_wrote_it(self):
        self.watch_files()
        active = self.roles()["active"]
        self.scan_tells(notice(FILE_BAD, active, text=f"/srv/kb-{active}/x: listed as bad"))
        story = self.await_closed()
        self.assertEqual((story["verdict"], story["victim"]["number"]), ("compromised", active))
        self.assertIn(f"/srv/kb-{active}/x: listed as bad", str(story))
        event = self.ask("GET", "/v1/files")[1]["events"][0]
        self.assertEqual((event["verdict"], event["instance"]), ("bad", f"kb-{active}"))

    def test_a_bad_file_of_nobody_convicts_nobody(self):
        self.watch_files()
        self.scan_tells(notice(FILE_BAD, text="/srv/x: rule a of b.yar"), notice(FILE_BAD, 999, text="/srv/kb-999/x: listed as bad"))
        last = wait_for("a word about it", lambda: (l := self.engine.status()["files"]["last"]) and l["instance"] and l)
        self.assertEqual(last["instance"], "kb-999")
        self.assertEqual(self.engine.status()["state"], "ok")
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])

    def test_what_is_unknown_and_what_cannot_be_used_is_told_within_bounds(self):
        self.watch_files()
        self.scan_tells(*(notice(FILE_UNKNOWN, text=f"{n % 80:064x} /srv/{n}") for n in range(200)), notice(FILE_UNKNOWN, text="nonsense"),
                        *(notice(FILE_SKIPPED, text=f"/srv/{n}: too slow") for n in range(40)),
                        *(notice(FILE_TROUBLE, text=f"rules/{n}.yar:3: wrong") for n in range(40)),
                        notice(FILE_COUNTS, usage=(7 | 1 << 32, 2 | 3 << 32, 4 | 5 << 32, 0, 0)))
        files = wait_for("the counts", lambda: (f := self.ask("GET", "/v1/files")[1])["counts"]["looked_at"] and f)
        self.assertEqual(files["counts"], {"looked_at": 7, "bad": 1, "unknown": 2, "skipped": 3, "waiting": 4, "folders": 5})
        self.assertEqual(files["unknown_files"][0]["sha256"], f"{39:064x}")
        self.assertEqual((len(files["unknown_files"]), len(files["events"]), len(files["problems"])), (64, 16, 12))
        self.assertIn("files: rules/0.yar:3: wrong", self.engine.await_state("degraded")["reasons"])
        self.engine.connect(SCAN)  # a new one says anew what is wrong
        self.engine.await_state()

    def test_nothing_is_expected_where_no_folder_is_watched(self):
        self.assertIsNone(self.start()["files"])
        self.assertFalse(self.ask("GET", "/v1/files")[1]["wanted"])

    def test_rules_that_went_while_nobody_was_there_are_made_again(self):
        self.start()
        active = self.roles()["active"]
        self.world.target = 0  # somebody flushed them in the moment between two koboshi-net
        self.engine.actuators[NET].end()
        wait_for("a call for another", lambda: NET in self.engine.replaced)
        self.engine.connect(NET)
        self.assertEqual(self.engine.wait(), 0)  # koboshid starts the next one, which reads the world anew
        self.start()
        self.assertNotEqual(self.world.target, 0)
        self.assertIn(active, self.roles().values())

    def test_an_actuator_that_only_closed_its_link_is_replaced_too(self):
        self.start()
        self.engine.actuators[NET].end()
        wait_for("a call for another", lambda: NET in self.engine.replaced)

    # --- the ledger's disk

    def small_disk(self, text_before=None):
        state = self.folder / "state/ledger"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k,uid=65534,gid=65534,mode=700", "tmpfs", state], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(state)], check=True)
        return state / "ballast"

    @staticmethod
    def fill(ballast):
        with open(ballast, "wb", buffering=0) as file:
            for size in (65536, 4096, 512):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass

    def test_with_a_full_disk_it_steers_and_builds_nothing(self):
        ballast = self.small_disk()
        self.start()
        before = self.roles()
        self.fill(ballast)
        made = self.world.count(CREATE, DESTROY)
        self.world.guests[before["active"]].close_port()
        self.world.await_order(STEER, lambda o: o.victim == before["active"])
        wait_for("a word about the ledger", lambda: any(r.startswith("ledger:") for r in self.engine.status()["reasons"]))
        self.engine.await_state("degraded")  # once somebody is known to serve
        wait_for("the spare stands by", lambda: self.roles().get("standby") == before["spare"])
        self.assertEqual(self.world.count(CREATE, DESTROY), made)
        self.assertEqual(self.ask("GET", "/v1/incidents")[0], 200)
        time.sleep(1.5)  # a question must not count as a sign that the disk is back
        self.assertEqual(self.engine.status()["state"], "degraded")
        self.assertEqual(self.world.count(CREATE, DESTROY), made)
        ballast.unlink()
        self.engine.await_state()
        wait_for("the fallen one is gone", lambda: len(self.world.guests) == 3)

    def test_a_ledger_that_cannot_be_opened_is_no_reason_to_leave_the_service_alone(self):
        self.start()
        before = self.roles()
        self.engine.stop()
        ledger, kept = self.folder / "state/ledger/ledger.db", self.folder / "state/ledger/kept"
        ledger.rename(kept)
        ledger.mkdir()
        orders = len(self.world.orders)
        self.engine.start()
        status = wait_for("a word about the ledger",
                          lambda: (s := self.engine.status()) and any(r.startswith("ledger:") for r in s["reasons"]) and s)
        self.assertEqual(status["state"], "degraded")
        wait_for("all three are known", lambda: self.roles() == before)
        self.world.guests[before["active"]].close_port()
        self.world.await_order(STEER, lambda o: o.victim == before["active"])
        kinds = {order.type for order in self.world.orders[orders:]}
        self.assertFalse(kinds & {CREATE, DESTROY})
        self.assertEqual(self.world.guests[before["standby"]].state, RUNNING)
        ledger.rmdir()
        kept.rename(ledger)
        self.assertEqual(self.engine.wait(), 0)  # it ends to begin with the real one
        self.start()
        self.assertEqual(self.world.target, before["standby"])

    # --- guests of the API

    def test_slow_clients_and_a_crowd_cost_nothing(self):
        self.start()
        self.engine.status()
        memory, cpu, began = self.engine.memory_kib(), self.engine.cpu_s(), time.monotonic()
        crowd = [self.engine.dial() for _ in range(100)]
        for one in crowd:
            one.send(b"POST /v1/switch HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n{")
        self.addCleanup(lambda: [one.close() for one in crowd])
        asked = time.monotonic()
        status = self.engine.status()
        waited = time.monotonic() - asked
        self.assertEqual(status["state"], "ok")
        self.assertLess(waited, 15)
        grown, used = self.engine.memory_kib() - memory, self.engine.cpu_s() - cpu
        spent = time.monotonic() - began
        print(f"  100 slow clients: {grown} KiB more, {used / spent * 100:.1f} % of a core, an answer after {waited:.1f} s",
              file=sys.stderr)
        self.assertLess(grown, 4096)
        if "ENGINE_UNDER" not in os.environ:
            self.assertLess(used, 0.5 * spent)
        self.assertEqual(self.world.count(STEER), 1)

    # --- reload

    def test_a_bad_configuration_changes_nothing_and_is_told(self):
        self.start()
        file = self.folder / "koboshi.yaml"
        good = file.read_text()
        for bad, wanted in ((good.replace("interval", "intervall"), "did you mean 'interval'"),
                            (good.replace("/state", "/elsewhere"), "paths.state")):
            file.write_text(bad)
            self.engine.signal(signal.SIGHUP)
            status = self.engine.await_state("degraded")
            reason = wait_for("the reason", lambda: [r for r in self.engine.status()["reasons"] if wanted in r])[0]
            self.assertTrue(reason.startswith("the changed configuration is not in use: "), status["reasons"])
            file.write_text(good)
            self.engine.signal(signal.SIGHUP)
            self.engine.await_state()
        file.write_text(good.replace("drain: 200ms", "drain: 300ms"))
        self.engine.signal(signal.SIGHUP)
        self.assertEqual(self.engine.wait(), 0)
        orders = len(self.world.orders)
        self.start()
        self.assertFalse({o.type for o in self.world.orders[orders:]} & {CREATE, DESTROY, STEER, GATE})

    # --- whatever bytes come

    def test_what_is_no_text_is_no_harm(self):
        self.start()
        self.world.refused[SUSPEND] = (-5, "caf" + "\u00e9" * 98)  # cut in the middle of a letter
        victim = self.roles()["active"]
        self.world.guests[victim].close_port()
        self.world.await_order(STEER, lambda o: o.victim == victim)
        self.await_closed()
        self.assertEqual(self.ask("GET", "/v1/status")[0], 200)


def enter_namespaces():
    """Own network and mounts; ends with 77 (skipped) where that is not allowed."""
    if os.environ.get("KOBOSHI_TEST_INSIDE"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "address", "add", "192.0.2.1/28", "dev", "lo"], check=True)
        return
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "-m", "true"], check=False).returncode != 0:
        print("skipped: needs root and namespaces")
        sys.exit(77)
    os.environ["KOBOSHI_TEST_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, *sys.argv])


def part_of(words):
    """The tests meant: of "2/3" every third, from the second on."""
    if len(words) != 1 or "/" not in words[0]:
        return words
    part, parts = map(int, words[0].split("/"))
    return [f"EngineTest.{name}" for name in unittest.TestLoader().getTestCaseNames(EngineTest)[part - 1::parts]]


if __name__ == "__main__":
    enter_namespaces()
    EngineTest.programs = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *part_of(sys.argv[3:])], verbosity=2)
