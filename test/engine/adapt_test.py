"""Not only after attacks: time within clients' reach, guests that fall again and again, instances that somebody holds. A part of
test_engine.py."""
import json
import signal
import unittest.mock

import fake_world
from fake_world import PAUSED, RUNNING, VM, WATCHDOG, notice, wait_for


class AdaptTests:
    """Mixed into the engine's test case."""

    def configure(self, *changes):
        file = self.folder / "koboshi.yaml"
        for before, after in changes:
            self.assertIn(before, file.read_text())
            file.write_text(file.read_text().replace(before, after))

    def instances(self, status=None):
        return (status or self.engine.status())["services"][0]["instances"]

    def exposed(self):
        return {i["role"]: i["exposed_s"] for i in self.instances()}

    def fell(self, number):
        self.engine.actuators[VM].link.send(notice(WATCHDOG, number, text="the guest stopped feeding its watchdog"))

    def test_how_long_one_was_within_reach_outlives_the_engine(self):
        self.start()
        before = wait_for("some time", lambda: (e := self.exposed())["standby"] > 2 and e)
        self.assertIsNone(before["spare"])
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.start()
        after = self.exposed()
        self.assertGreater(after["active"], before["active"])
        self.assertGreater(after["standby"], before["standby"])
        self.assertIsNone(after["spare"])
        self.assertEqual([i["worn"] for i in self.instances()], [False, False, False])

    def test_whoever_was_within_reach_for_long_hands_over(self):
        self.configure(("drain:", "max_exposure: 10s\n    drain:"))
        before = {i["number"] for i in self.instances(self.start())}
        story = self.await_closed()
        self.assertEqual(story["verdict"], "planned")
        self.assertRegex(story["cause"], "^kb-1 .amber. was within clients' reach for as long as it may and hands over to kb-[0-9]+ ")
        self.assertNotEqual(story["active"]["variant"], "amber")
        wait_for("all that were there to go", lambda: not before & {i["number"] for i in self.instances()})
        self.assertEqual({s["verdict"] for s in self.ask("GET", "/v1/incidents")[1]["incidents"]}, {"planned"})

    def test_a_new_image_convicts_nobody_and_replaces_all(self):
        before = {i["number"] for i in self.instances(self.start())}
        self.engine.stop()
        with unittest.mock.patch.object(fake_world, "PAGE", b"<h1>another</h1>"):
            fake_world.make_images(self.folder, self.programs[1])
            for guest in self.world.guests.values():
                guest.outdated = 1
            self.engine.start()
            wait_for("their end", lambda: (now := {i["number"] for i in self.instances()}) and not before & now)
            self.engine.await_state()
        stories = self.ask("GET", "/v1/incidents")[1]["incidents"]
        self.assertEqual({s["verdict"] for s in stories}, {"planned"}, stories)
        self.assertRegex(stories[-1]["cause"], "^kb-1 .amber. is of an image, of settings or of carried files that are no longer in force and hands over to ")
        self.assertEqual([i["outdated"] for i in self.instances()], [False, False, False])

    def test_guests_that_fall_again_and_again_raise_an_alarm(self):
        self.configure(("brake: {falls: 0}", "brake: {falls: 2, within: 10s, pause: 3s}"))
        self.start()
        self.fell(self.roles()["active"])
        self.await_closed()
        self.assertEqual(self.engine.await_state()["state"], "ok")
        self.fell(self.roles()["active"])
        status = self.engine.await_state("alarm")
        self.assertIn("sensor: guests fall again and again: spares are built slowly until it was quiet for 10 s", status["reasons"])
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.engine.start()
        wait_for("the alarm again", lambda: self.engine.status()["state"] == "alarm")
        self.await_closed(2)
        self.engine.await_state()
        self.assertIn("ALARM: 2 instances fell in a short time", " ".join(step["text"] for step in self.story(2)["steps"]))

    # --- instances that somebody wants held

    def hold(self, how, number, **more):
        return self.ask("POST", "/v1/hold", json.dumps({"instance": f"kb-{number}", "how": how, "reason": "to be looked at", **more}))

    def of(self, number):
        return next((i for i in self.instances() if i["number"] == number), None)

    def await_life(self, number, life):
        return wait_for(f"kb-{number} is {life}", lambda: (i := self.of(number)) and i["state"] == life and i)

    def test_whoever_serves_is_locked_when_another_has_taken_over(self):
        self.start()
        roles = self.roles()
        self.assertEqual(self.hold("lock", roles["active"]), (202, {"containment": 1}))
        self.await_life(roles["active"], "locked")
        row = self.await_containment(1, "in-force")
        self.assertEqual((row["subject"], row["proof"]),
                         (f"lock kb-{roles['active']}", f"kb-{roles['active']} is kept from clients; only this host reaches it"))
        self.assertEqual(self.await_roles()["active"], roles["standby"])
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])
        self.assertEqual(self.hold("freeze", roles["active"])[0], 409)
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.engine.start()
        wait_for("the world", lambda: self.of(roles["active"]))
        self.await_life(roles["active"], "locked")
        self.assertEqual(self.ask("POST", "/v1/release", json.dumps({"number": 1})), (202, {"containment": 1}))
        self.await_containment(1, "ended")
        self.engine.await_state()
        wait_for("three of them", lambda: len(self.instances()) == 3)

    def test_a_frozen_one_stands_still_until_its_time_is_over(self):
        self.start()
        standby = self.roles()["standby"]
        self.assertEqual(self.hold("freeze", standby, for_s=3), (202, {"containment": 1}))
        self.await_life(standby, "held")
        self.assertEqual(self.await_containment(1, "in-force")["proof"], f"kb-{standby} is kept from clients, its processors stand still")
        self.assertEqual(self.world.guests[standby].state, PAUSED)
        self.await_containment(1, "ended")
        self.engine.await_state()
        wait_for("three of them", lambda: len(self.instances()) == 3)

    def start_with_agents(self):
        self.world.restarts = True
        self.start()
        wait_for("all agents are heard", lambda: all(g.agent.key for g in self.world.guests.values()))

    def test_a_service_is_stopped_by_its_agent_and_started_again(self):
        self.start_with_agents()
        active = self.roles()["active"]
        agent = self.world.guests[active].agent
        wait_for("its agent speaks", lambda: self.agent_state(active) == "speaks")
        self.assertEqual(self.hold("stop-service", active), (202, {"containment": 1}))
        self.await_life(active, "stopped")
        row = self.await_containment(1, "in-force")
        self.assertEqual((row["subject"], row["proof"]),
                         (f"stop-service kb-{active}", f"kb-{active} is kept from clients, its agent stopped its service"))
        self.assertEqual((len(agent.stops), len(agent.restarts), self.world.guests[active].state), (1, 0, RUNNING))
        self.await_roles()
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.engine.start()
        wait_for("the world", lambda: self.of(active))
        self.await_life(active, "stopped")
        self.assertEqual(len(agent.stops), 2)
        self.assertEqual(self.ask("POST", "/v1/release", json.dumps({"number": 1})), (202, {"containment": 1}))
        self.engine.await_state()
        wait_for("three of them", lambda: len(self.instances()) == 3)
        self.assertEqual(len(agent.restarts), 1)
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])

    def test_a_service_that_its_agent_does_not_stop_is_not_held(self):
        self.start_with_agents()
        standby = self.roles()["standby"]
        wait_for("its agent speaks", lambda: self.agent_state(standby) == "speaks")
        self.engine.signal(signal.SIGKILL)  # a new one does not know what this agent can
        self.engine.wait()
        self.world.guests[standby].agent.restart_status = 127
        self.engine.start()
        wait_for("its agent speaks", lambda: self.of(standby) and self.agent_state(standby) == "speaks")
        self.assertEqual(self.hold("stop-service", standby)[0], 202)
        self.assertEqual(self.await_containment(1, "refused")["proof"],
                         f"the agent of kb-{standby} did not stop its service (Input/output error): it is held no more")
        self.assertEqual(len(self.world.guests[standby].agent.stops), 11)

    def test_without_an_agent_no_service_is_stopped(self):
        self.world.restarts = False
        self.start()
        standby = self.roles()["standby"]
        wait_for("its agent speaks", lambda: self.agent_state(standby) == "speaks")
        code, answer = self.hold("stop-service", standby)
        self.assertEqual((code, answer["error"]), (409, f"kb-{standby} has no agent that could stop its service: freeze it"))

    def test_a_stop_is_an_end(self):
        self.start()
        active = self.roles()["active"]
        self.hold("stop", active)
        self.assertEqual(self.await_containment(1, "ended")["proof"], f"kb-{active} is gone")
        self.engine.await_state()
        self.assertIsNone(self.of(active))

    def test_what_cannot_be_held_is_said(self):
        self.start()
        roles = self.roles()
        for body, code, wanted in (({"how": "lock"}, 400, "'instance' must be"), ({"instance": "kb-1", "how": "eat"}, 400, "none of lock"),
                                   ({"instance": "web", "how": "lock"}, 400, "no instance's name"),
                                   ({"instance": "kb-01", "how": "lock"}, 400, "no instance's name"),
                                   ({"instance": "kb-999", "how": "lock"}, 404, "there is no instance kb-999"),
                                   ({"instance": "kb-1", "how": "lock", "until": 3}, 400, "'until' is not known")):
            got, answer = self.ask("POST", "/v1/hold", json.dumps({"reason": "x", **body}))
            self.assertEqual(got, code, body)
            self.assertIn(wanted, answer["error"])
        self.assertEqual(self.ask("GET", "/v1/containments"), (200, {"containments": []}))
        self.hold("lock", roles["standby"])
        self.await_containment(1, "in-force")
        self.assertEqual(self.of(roles["standby"])["verdict"], "healthy")
