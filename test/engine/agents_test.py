"""Agents inside the guests, as the real engine hears them: a part of test_engine.py. Speakers are fake_world.Agent."""
import os
import signal
import time

from fake_world import (ACCOUNT, AGENT_LIST, OTHER_LIST, CHANGED, CHANNEL, CREATE, DENIED, FENCED, LISTENING, MODULE, STEER, VM, make_images, wait_for)


class AgentTests:
    """Mixed into the engine's test case."""

    def instance(self, number):
        return next((i for i in self.engine.status()["services"][0]["instances"] if i["number"] == number), None)

    def agent_state(self, number):
        found = self.instance(number)
        return found and found["agent"]["state"]

    def start_heard(self):
        """All there, and the active one's agent speaks; its number and agent."""
        self.start()
        active = self.roles()["active"]
        wait_for("all agents have keys", lambda: all(g.agent.key for g in self.world.guests.values()))
        wait_for("its agent speaks", lambda: self.agent_state(active) == "speaks")
        return active, self.world.guests[active].agent

    def told_of(self, number, finding):
        return [f for f in self.why(number)["findings"] if f["finding"] == finding]

    def falls_for(self, victim, act, finding, words):
        """Fells the instance; what is told of it."""
        began = time.monotonic()
        act()
        wait_for("steered", lambda: [o for o in self.world.orders if o.type == STEER and o.victim == victim], 60)
        print(f"  {finding}: steered {(time.monotonic() - began) * 1000:.0f} ms later", flush=True)
        self.assertIn(self.world.gates.get(victim), (FENCED, None))
        story = self.await_closed()
        self.assertEqual((story["verdict"], story["victim"]["number"]), ("compromised", victim))
        told = " ".join(step["text"] for step in story["steps"])
        self.assertIn(words, told)
        self.assertIn("guest", told)

    def test_an_agent_gets_its_key_once_and_is_heard(self):
        active, agent = self.start_heard()
        self.assertTrue(all(g.agent.key == g.agent_key for g in self.world.guests.values()))
        self.assertEqual([g.agent.keys for g in self.world.guests.values()], [1, 1, 1])
        told = self.instance(active)["agent"]
        self.assertEqual((told["cannot"], told["programs"], told["denied"]), (["watch listening sockets"], 77, 2))
        self.assertGreater(told["decided"], 0)
        self.assertEqual((told["fail_open"], told["learning"], told["nonsense"], told["trouble"]), (False, False, 0, ""))
        self.assertEqual(self.agent_state(self.roles()["spare"]), "asleep")
        self.assertEqual(self.world.count(CHANNEL), 3)

    def test_a_program_that_was_denied_is_known_at_once(self):
        active, agent = self.start_heard()
        self.falls_for(active, lambda: agent.tell(DENIED, "/tmp/x", 1), "denied", 'kept "/tmp/x" from running: it is not listed')

    def test_what_an_agent_tells(self):
        active, agent = self.start_heard()
        standby = self.roles()["standby"]
        self.world.guests[standby].agent.tell(LISTENING, "tcp 4444", 4444)
        told = wait_for("listening", lambda: self.told_of(standby, "listening"))[0]
        self.assertEqual((told["vantage"], told["detail"]), ("guest", 'its agent says: somebody listens on "tcp 4444"'))
        self.assertEqual(self.why(standby)["verdict"], "healthy")
        agent.tell(CHANGED, "/etc/motd")
        self.world.await_order(STEER, lambda o: o.victim == active)

    def test_an_account_and_a_module_are_takeovers(self):
        active, agent = self.start_heard()
        standby = self.roles()["standby"]
        self.world.guests[standby].agent.tell(MODULE, "dummy")
        wait_for("the standby falls", lambda: self.instance(standby) is None)
        agent.tell(ACCOUNT, "/etc/passwd")
        self.world.await_order(STEER, lambda o: o.victim == active)

    def test_an_agent_that_falls_silent_is_evidence_while_the_service_answers(self):
        active, agent = self.start_heard()
        def silence():
            agent.beats = False
        self.falls_for(active, silence, "mute", "its agent has been silent for")

    def test_a_second_hello_gets_no_key(self):
        active, agent = self.start_heard()
        self.falls_for(active, agent.hello, "nonsense", "says hello a second time")
        self.assertEqual(agent.keys, 1)

    def test_another_list_gets_no_key(self):
        self.start()
        self.world.other_list = True
        victim = self.roles()["active"]
        self.engine.actuators[VM].gone(victim)
        orders = len(self.world.orders)
        self.world.await_order(CREATE, after=orders)
        wait_for("it is told", lambda: "another list of programs than its image's" in self.engine.log.read_text())
        self.assertEqual({g.agent.keys for g in self.world.guests.values() if g.agent.list != AGENT_LIST}, {0})

    def test_images_that_were_built_anew_have_a_list_of_their_own(self):
        self.start_heard()
        make_images(self.folder, self.programs[1], list_=OTHER_LIST)
        self.world.other_list = True
        victim, orders = self.roles()["active"], len(self.world.orders)
        self.engine.actuators[VM].gone(victim)
        new = self.world.await_order(CREATE, after=orders).instance
        wait_for("the new one has its key", lambda: self.world.guests[new].agent.keys == 1)
        self.await_closed()
        self.engine.await_state()

    def test_a_flood_is_bounded_and_evidence(self):
        active, agent = self.start_heard()
        agent.beats = False
        cpu = self.engine.cpu_s()
        def flood():
            end = time.monotonic() + 1
            while time.monotonic() < end:
                agent.send(os.urandom(4096))
                time.sleep(0.001)
        self.falls_for(active, flood, "nonsense", "does not begin like one")
        self.assertLess(self.engine.cpu_s() - cpu, 5)

    def test_a_killed_engine_hears_the_same_agents_again_and_gives_no_second_key(self):
        active, agent = self.start_heard()
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.start()
        wait_for("its agent speaks", lambda: self.agent_state(active) == "speaks")
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])
        self.falls_for(active, agent.hello, "nonsense", "hello")
        self.assertEqual(agent.keys, 1)

    def test_a_koboshi_vm_that_is_killed_leaves_the_connections(self):
        active, agent = self.start_heard()
        asked = self.world.count(CHANNEL)
        self.engine.actuators[VM].end()
        self.engine.connect(VM)
        decided = self.instance(active)["agent"]["decided"]
        wait_for("it goes on", lambda: self.instance(active)["agent"]["decided"] > decided + 5)
        self.assertEqual(self.world.count(CHANNEL), asked)
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])

    def test_a_connection_that_breaks_is_asked_for_again(self):
        active, agent = self.start_heard()
        asked = self.world.count(CHANNEL)
        agent.drop()
        self.world.await_order(CHANNEL, lambda o: o.instance == active, len(self.world.orders) - 1)
        wait_for("it is heard", lambda: self.world.count(CHANNEL) > asked and self.agent_state(active) == "speaks")
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])

    def test_a_port_that_cannot_be_had_is_told_and_no_evidence(self):
        self.world.deaf = True
        self.start()
        active = self.roles()["active"]
        self.assertEqual(self.agent_state(active), "silent")
        status = self.engine.await_state("degraded")
        self.assertTrue(any("agent of kb-" in reason for reason in status["reasons"]), status["reasons"])
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])
        self.world.deaf = False
        wait_for("it was too late", lambda: self.instance(active)["agent"]["trouble"], 60)
        self.assertEqual((self.world.guests[active].agent.keys, self.agent_state(active)), (0, "silent"))
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])

    def test_an_image_without_an_agent_is_never_asked(self):
        make_images(self.folder, self.programs[1], agent=False)
        self.start()
        active = self.roles()["active"]
        self.assertEqual(self.instance(active)["agent"], {"state": "none"})
        self.assertEqual(self.world.count(CHANNEL), 0)
