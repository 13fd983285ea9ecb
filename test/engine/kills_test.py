"""kill -9 of the real engine at every order of a playbook, and the end of the actuator that got it, before and after it is carried
out: it ends as it would have. A part of test_engine.py. (test/sim enumerates far more of this, on the plan alone.)"""
import signal
import socket
import sys
import threading
import time

from fake_world import FENCED, NO_GATE, STEER, WAIT_S, World, wait_for

DEFACED = b"<h1>owned</h1>\n"


class KillTests:
    """Mixed into the engine's test case."""

    def variants(self):
        return {i["role"]: i["variant"] for i in self.engine.status()["services"][0]["instances"]}

    def kill_at(self, nth, who, when):
        """At the nth order from now on the engine, or whoever got that order; `when` says whether it is carried out. Nobody answers it."""
        seen, struck = [], threading.Event()

        def killer(order):
            seen.append(order)
            if len(seen) != nth:
                return None
            if who == "engine":
                self.engine.signal(signal.SIGKILL)
            else:
                self.engine.actuators[order.role].link.shutdown(socket.SHUT_RDWR)
            struck.set()
            return when

        self.world.killer = killer
        return seen, struck

    def come_back(self, who, order):
        """koboshid's part of it."""
        if who == "actuator":
            self.engine.actuators[order.role].end()
            self.engine.connect(order.role)
            return
        self.engine.process.wait(WAIT_S)
        self.world.killer = None
        self.engine.wait()
        self.engine.start()

    def begin_anew(self):
        """Another world and another ledger: the same as in the beginning."""
        self.engine.stop()
        self.world.close()
        for file in (self.folder / "state/ledger").iterdir():
            file.unlink()
        self.world = self.engine.world = World()
        self.start()

    def compromise(self, nth=0, who="engine", when="before"):
        """Of the active one, with a kill in it or in peace; the orders of the playbook, as far as one engine gave them, and the end."""
        victim = self.roles()["active"]
        seen, struck = self.kill_at(nth, who, when)
        self.world.guests[victim].page = DEFACED
        if nth:
            self.assertTrue(struck.wait(WAIT_S), f"order {nth} was never given")
            self.come_back(who, seen[nth - 1])
        story = self.await_closed()
        self.engine.await_state()
        wait_for("three of them", lambda: len(self.world.guests) == len(self.world.gates) == 3)
        self.await_roles()
        self.world.killer = None
        self.assertEqual((story["verdict"], story["victim"]["number"]), ("compromised", victim))
        self.assertEqual(self.world.target, self.roles()["active"])
        return seen, self.end()

    def end(self):
        """All that has to be the same, which is all but the numbers: and but whether the spare that sleeps is the one that was built or
        the one that stood by meanwhile, which is seen by its gate and depends on who is ready first."""
        def gate(i):
            return NO_GATE if i["state"] == "paused" and self.world.gates[i["number"]] != FENCED else self.world.gates[i["number"]]

        instances = sorted((i["role"], i["variant"], i["state"], gate(i), self.world.guests[i["number"]].state) for i in self.instances())
        verdicts = {s["subject"]: s["verdict"] for s in self.ask("GET", "/v1/why")[1]["subjects"] if s["kind"] == "variant"}
        return instances, verdicts, len(self.ask("GET", "/v1/incidents")[1]["incidents"])

    def nothing_is_open_in_the_ledger(self):
        self.assertEqual(self.engine.stop(), 0)
        self.assertEqual(self.rows("SELECT * FROM intent WHERE ended_us = 0"), [])
        self.assertEqual(len(self.rows("SELECT * FROM instance WHERE ended_us = 0")), 3)
        self.assertEqual([row["phase"] for row in self.rows("SELECT phase FROM incident")], ["closed"])

    def test_killed_at_every_order_of_a_compromise_it_ends_alike(self):
        self.start()
        began = time.monotonic()
        orders, peace = self.compromise()
        self.assertGreater(len(orders), 10)
        kills = [(nth, who, when) for nth in range(1, len(orders) + 1)
                 for who in ("engine", "actuator") for when in ("before", "after")]
        for nth, who, when in kills:
            self.begin_anew()
            with self.subTest(nth=nth, order=orders[nth - 1], who=who, when=when):
                self.assertEqual(self.compromise(nth, who, when)[1], peace)
                self.nothing_is_open_in_the_ledger()
        print(f"  {len(orders)} orders, {len(kills)} kills in {time.monotonic() - began:.0f} s", file=sys.stderr)

    def test_a_hold_that_a_kill_met_is_asked_for_again(self):
        """Before whoever serves could hand over: after a start nobody is proven yet who could take its place."""
        self.start()
        active = self.roles()["active"]
        self.world.held[STEER] = True
        self.hold("lock", active)
        self.world.await_order(STEER, lambda o: o.instance != active)
        self.await_containment(1, "wanted")
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        del self.world.held[STEER]
        self.engine.start()
        self.await_life(active, "locked")
        self.await_containment(1, "in-force")
