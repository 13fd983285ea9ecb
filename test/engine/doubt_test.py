"""Whoever serves and stalls lets another one serve before there is a verdict: a part of test_engine.py."""
import signal

from fake_world import DESTROY, FENCED, GATE, STEER, wait_for


class DoubtTests:
    """Mixed into the engine's test case."""

    def start_known(self, stall="20ms"):
        """All there, and those who run have answered for long enough that a pause is one; the active one's number and guest."""
        self.configure(("stall: 0s", f"stall: {stall}"), ("drain: 200ms", "drain: 5s"))
        self.start()
        active, standby = self.roles()["active"], self.roles()["standby"]
        for number in (active, standby):
            wait_for("many right answers", lambda number=number: self.good_answers(number) > 30)
        wait_for("a host that is not overrun", lambda: not self.engine.status()["busy"])
        return active, standby, self.world.guests[active]

    def good_answers(self, number):
        return next((f["count"] for f in self.ask("GET", f"/v1/why/kb-{number}")[1]["findings"] if f["finding"] == "good"), 0)

    def test_whoever_stalls_gives_way_and_stands_by_when_it_goes_on(self):
        active, standby, guest = self.start_known()
        spare = self.roles()["spare"]
        guest.going.clear()
        steer = self.world.await_order(STEER, lambda o: o.instance == standby)
        guest.going.set()
        self.assertEqual(steer.victim, 0, "nobody is cut off")
        story = self.await_closed()
        self.assertEqual((story["verdict"], story["victim"]["number"], self.world.count(DESTROY)), ("doubtful", active, 0))
        self.assertEqual([s["step"] for s in story["steps"]],
                         ["gave-way", "waking", "steered", "proven", "standby", "spare", "drained", "closed"])
        self.assertGreaterEqual(story["standby_us"], story["steered_us"])
        self.assertIn(f"kb-{active} (", story["cause"])
        self.assertIn("lets what it is asked wait far longer than is usual for it (seen from the path)", story["cause"])
        self.assertEqual(self.roles(), {"active": standby, "standby": active, "spare": spare})
        why = self.ask("GET", f"/v1/why/kb-{active}")[1]
        stalled = next(f for f in why["findings"] if f["finding"] == "stalled")
        self.assertEqual(stalled["weight"], "none: another one may serve meanwhile")
        self.assertEqual(why["verdict"], "healthy")
        limits = {number: [text for text in self.ask("GET", f"/v1/why/kb-{number}")[1]["would_change"] if "no probe answered for" in text]
                  for number in (active, standby)}
        self.assertRegex(limits[standby][0], r"^gives way, without having failed: no probe answered for \d+\.\d ms, and another one answers$")
        self.assertEqual(limits[active], [], "it does not serve")

    def test_whoever_hangs_gives_way_first_and_falls_in_the_same_story(self):
        active, standby, guest = self.start_known()
        guest.going.clear()
        self.world.await_order(STEER, lambda o: o.instance == standby)
        self.world.await_order(DESTROY, lambda o: o.instance == active)
        guest.going.set()  # its threads end
        story = self.await_closed()
        steps = [s["step"] for s in story["steps"]]
        self.assertEqual((story["verdict"], story["victim"]["number"], steps[:3]), ("failed", active, ["gave-way", "waking", "steered"]))
        self.assertLess(story["steered_us"], story["verdict_us"])
        self.assertEqual(steps.count("waking"), 1)
        self.assertEqual(self.world.count(STEER), 2, "the first of all, and this one")
        self.assertIn((GATE, active, FENCED), [(o.type, o.instance, o.gate) for o in self.world.orders], "which ends its flows")
        self.assertEqual(self.ask("GET", "/v1/incidents/2")[0], 404)

    def test_a_doubt_outlives_the_engine(self):
        active, standby, guest = self.start_known()
        guest.going.clear()
        self.world.await_order(STEER, lambda o: o.instance == standby)
        wait_for("that it is written down", lambda: self.story().get("verdict") == "doubtful")
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.engine.start()
        self.world.await_order(DESTROY, lambda o: o.instance == active)
        guest.going.set()
        story = self.await_closed()
        self.assertEqual((story["number"], story["verdict"], story["victim"]["number"]), (1, "failed", active))
        self.assertEqual(self.ask("GET", "/v1/incidents/2")[0], 404, "it is the same story")

    def test_nobody_gives_way_where_that_is_switched_off(self):
        active, standby, guest = self.start_known("0s")
        guest.going.clear()
        steer = self.world.await_order(STEER, lambda o: o.instance == standby)
        guest.going.set()
        self.assertEqual(steer.victim, active)
        self.assertNotIn("gave-way", [s["step"] for s in self.await_closed()["steps"]])
