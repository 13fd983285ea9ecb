"""Whoever failed innocently is mended: a part of test_engine.py. The guests' agents are fake_world.Agent."""
import signal
import sqlite3

from fake_world import CREATE, DESTROY, GATE, OPEN, QUARANTINE, RESET, STEER, wait_for


class LadderTests:
    """Mixed into the engine's test case."""

    def start_on_ladder(self, restarts=True, **agent):
        """All there, their agents heard; the active one's number and guest."""
        self.configure(("ladder: []", "ladder: [restart, reboot]"), ("boot: 20s", "boot: 8s"))
        self.world.restarts = restarts
        active, _ = self.start_heard()
        for guest in self.world.guests.values():
            for name, value in agent.items():
                setattr(guest.agent, name, value)
        return active, self.world.guests[active]

    def rungs(self, story):
        return [step["step"] + ": " + step["text"].split("(")[-1].split(")")[0] for step in story["steps"] if step["step"] in ("mending", "mended")]

    def assert_mended(self, story, victim, *rungs):
        self.assertEqual((story["verdict"], story["victim"]["number"]), ("failed", victim))
        self.assertEqual(self.rungs(story), list(rungs), story["steps"])
        self.assertEqual(self.world.count(CREATE), 3, "nobody is built")
        self.assertEqual(self.world.count(DESTROY), 0)
        self.assertEqual(story["evidence"], [])
        self.assertIn(self.instance(victim)["role"], ("spare", "standby"))
        cut = next(k for k, o in enumerate(self.world.orders) if o.type == STEER and o.victim == victim)
        aside = next(k for k, o in enumerate(self.world.orders) if (o.type, o.instance, o.gate) == (GATE, victim, QUARANTINE))
        self.assertLess(cut, aside, "the service comes first")

    def test_a_service_that_died_is_restarted_by_its_agent(self):
        victim, guest = self.start_on_ladder()
        guest.refuse()
        self.assert_mended(self.await_closed(), victim, "mending: restart", "mended: restart")
        self.assertEqual((len(guest.agent.restarts), self.world.count(RESET), self.world.gates[victim]), (1, 0, QUARANTINE))
        self.assertEqual(self.agent_state(victim), "asleep")
        self.engine.stop()
        self.assertEqual([(r["finding"], r["rung"], r["worked"], r["tried"]) for r in self.rows("SELECT * FROM tries")], [("refused", "restart", 1, 1)])
        self.assertEqual(self.rows("SELECT * FROM suspicion"), [], "a fault makes nothing suspect")

    def test_an_agent_that_cannot_is_not_asked_and_a_reboot_gives_another_key(self):
        victim, guest = self.start_on_ladder(restarts=False)
        old, key = guest.agent, guest.agent_key
        guest.refuse()
        story = self.await_closed()
        self.assert_mended(story, victim, "mending: restart", "mending: reboot", "mended: reboot")
        self.assertTrue(any("is not mended by a restart: Operation not supported" in s["text"] for s in story["steps"]), story["steps"])
        self.assertEqual(old.restarts, [])
        self.assertNotEqual(guest.agent_key, key)
        wait_for("its key", lambda: guest.agent.keys)
        self.assertEqual((guest.agent.keys, guest.agent.key), (1, guest.agent_key))
        self.assertEqual(self.instance(victim)["agent"]["nonsense"], 0)
        self.engine.stop()
        self.assertEqual([(r["word"], r["status"]) for r in self.rows("SELECT * FROM intent WHERE word = 'reset'")], [("reset", 0)])

    def test_a_lesson_says_what_mended_and_another_device_begins_with_it(self):
        _, guest = self.start_on_ladder(restart_status=1)
        guest.refuse()
        self.assertEqual(self.rungs(self.await_closed()), ["mending: restart", "mending: reboot", "mended: reboot"])
        lesson = self.await_lesson()
        self.assertEqual((lesson["verdict"], lesson["finding"], lesson["rung"], lesson["victim"], lesson["survivor"]),
                         ("failed", "refused", "reboot", [], []))
        self.assertIn("learnt: nothing is to be avoided; what worked: reboot", [step["text"] for step in self.story()["steps"]])
        self.become_another_device()
        victim, _ = self.start_heard()
        self.assertEqual(self.take(lesson)[0], 202)
        self.assertEqual(self.suspect(), set())
        self.world.guests[victim].refuse()
        self.assertEqual(self.rungs(self.await_closed()), ["mending: reboot", "mended: reboot"])

    def test_what_helps_against_nothing_ends_in_a_new_guest(self):
        victim, guest = self.start_on_ladder(restart_status=3)
        guest.broken = True
        guest.refuse()
        story = self.await_closed()
        self.assertEqual(self.rungs(story), ["mending: restart", "mending: reboot"], story["steps"])
        self.assertEqual((self.world.count(CREATE), self.world.count(DESTROY)), (4, 1))
        self.assertIsNone(self.instance(victim))

    def test_what_helped_before_is_tried_first_by_the_next_engine_too(self):
        victim, guest = self.start_on_ladder(restart_status=3)
        guest.refuse()
        self.assert_mended(self.await_closed(), victim, "mending: restart", "mending: reboot", "mended: reboot")
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.start()
        second = self.roles()["active"]
        wait_for("its agent speaks", lambda: self.agent_state(second) == "speaks")
        self.world.guests[second].refuse()
        self.assert_mended(self.await_closed(2), second, "mending: reboot", "mended: reboot")

    def test_without_agents_a_fault_is_mended_by_a_reboot(self):
        self.world.deaf = True
        self.configure(("ladder: []", "ladder: [restart, reboot]"))
        self.start()
        victim = self.roles()["active"]
        self.world.guests[victim].refuse()
        self.assert_mended(self.await_closed(), victim, "mending: restart", "mending: reboot", "mended: reboot")

    def test_whoever_says_hello_again_without_a_reset_of_ours_is_no_case_for_mending(self):
        victim, guest = self.start_on_ladder()
        guest.agent.hello()
        story = self.await_closed()
        self.assertEqual((story["verdict"], self.rungs(story)), ("compromised", []))
        self.assertEqual(self.world.count(RESET), 0)

    def test_the_end_of_the_ladder_is_safe_mode(self):
        self.configure(("drain:", "standby: 0\n    spare: 0\n    drain:"))
        self.start()
        victim = self.roles()["active"]
        self.world.held[CREATE] = 0
        self.world.guests[victim].refuse()
        reasons = self.engine.await_state("alarm")["reasons"]
        self.assertIn(f"sensor: safe mode: kb-{victim} failed and keeps the address until a healthy one is there", reasons)
        self.assertEqual((self.world.target, self.world.gates[victim]), (victim, OPEN))
        del self.world.held[CREATE]
        self.engine.stop()

    def test_what_is_being_mended_is_told(self):
        victim, guest = self.start_on_ladder(restarts=False)
        self.world.held[RESET] = 0
        guest.refuse()
        wait_for("it is told", lambda: f"kb-{victim} failed, is kept from clients and mended (reboot)" in self.engine.status()["reasons"])
        self.assertEqual(self.instance(victim)["state"], "resetting")

    def test_a_host_that_was_rebooted_has_no_incident(self):
        self.start()
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.world.close()
        self.world.over = False  # it comes up again, with nobody in it
        self.world.guests.clear()
        self.world.gates.clear()
        self.world.target = 0
        with sqlite3.connect(f"{self.folder}/state/ledger/ledger.db") as ledger:
            ledger.execute("UPDATE instance SET created_us = 1")
        ledger.close()
        self.start()
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])
        self.assertEqual(len(self.world.numbers), 6)
        self.engine.stop()
        self.assertEqual(len(self.rows("SELECT * FROM instance WHERE ended_us = 0")), 3)
        self.assertEqual(self.rows("SELECT * FROM suspicion"), [])
