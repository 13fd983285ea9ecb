"""Not only after attacks: time within clients' reach, and guests that fall again and again. A part of test_engine.py."""
import signal

from fake_world import VM, WATCHDOG, notice, wait_for


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
