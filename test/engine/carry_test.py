"""Files that live on from guest to guest, as the real engine sees to it: a part of test_engine.py. Who saves them is a double of the
agent, who hands them down a double of koboshi-vm; the real ones are tried in test/guest-agent, test/act/vm and test/guest.
"""
from fake_world import CARRIED, CREATE, ROLLBACK, VAULT, answer, config, wait_for

REFUSED = "/etc/passwd is not carried over: bad: listed as bad"


class CarryTests:
    """Mixed into the engine's test case."""

    def start_carrying(self, every="1s"):
        self.world.carried = ""
        more = f"    vault: {{path: /nowhere/vault, every: {every}, on_compromise: rollback}}\n    carry: [/etc/passwd]\nfiles: {{bad: /nowhere/bad}}\n"
        (self.folder / "koboshi.yaml").write_text(config(self.folder, more))
        self.engine.start()
        self.engine.connect(VAULT)
        self.engine.await_state()
        active = self.roles()["active"]
        wait_for("its agent speaks", lambda: self.agent_state(active) == "speaks")
        return active

    def saves(self, number):
        self.world.guests[number].agent.tell(CARRIED, "/etc/passwd")

    def probed(self):
        return self.instance(self.roles()["active"])["probes"]["good"]

    def test_whoever_stands_by_is_replaced_by_one_that_has_the_file(self):
        active = self.start_carrying()
        before = self.roles()
        self.saves(active)
        now = self.await_roles(before["standby"], before["spare"])
        self.engine.await_state()
        self.assertEqual(now["active"], active)
        self.assertEqual(self.ask("GET", "/v1/incidents")[1]["incidents"], [])
        self.assertIn(f"kb-{active} saved a file that lives on; its agent says: /etc/passwd", self.engine.log.read_text())
        self.saves(active)  # soon after: that has time
        wait_for("it is heard", lambda: self.engine.log.read_text().count("saved a file") == 2)
        probed = self.probed()
        wait_for("two seconds of probes", lambda: self.probed() > probed + 20)
        self.assertEqual(self.engine.log.read_text().count("carried files that are no longer in force: another"), 2)

    def test_what_is_refused_is_told_until_it_is_not(self):
        active = self.start_carrying(every="0s")
        self.world.carried = REFUSED
        self.world.guests[active].close_port()
        story = self.await_closed()
        new = self.world.numbers[-1]
        self.assertEqual([step["text"] for step in story["steps"] if step["step"] == "refused-file"],
                         [f"kb-{new} has the image's own instead: {REFUSED}"])
        self.assertEqual(self.engine.await_state("degraded")["reasons"], [f"files of sensor that live on: {REFUSED}"])
        self.world.carried = ""
        self.world.guests[self.roles()["active"]].close_port()
        self.await_closed(2)
        self.engine.await_state()

    def test_nobody_is_built_of_what_an_intruder_wrote(self):
        self.start_carrying(every="0s")
        self.world.held[ROLLBACK] = True
        self.deface(self.roles()["active"])
        order = self.world.await_order(ROLLBACK)
        wait_for("the spare stands by", lambda: "standby" in self.roles() and "active" in self.roles())
        made, probed = self.world.count(CREATE), self.probed()
        wait_for("half a second of probes", lambda: self.probed() > probed + 5)
        self.assertEqual(self.world.count(CREATE), made)
        del self.world.held[ROLLBACK]
        self.engine.actuators[VAULT].link.send(answer(order.id))
        self.await_closed(order.incident)
        self.assertEqual(self.world.count(CREATE), made + 1)
