"""Secrets of guests as the real engine handles them: names only, and when it has them revoked. A part of test_engine.py."""
import json
import signal

from fake_world import DESTROY, GUEST_SECRET, NET, REVOKE, STEER, VM, config, notice, wait_for

SECRETS = "    secrets: {backend: {kind: token, path: /etc/app/token}, host: {kind: ssh-host-key}}\n"


class SecretsTests:
    """Mixed into the engine's test case."""

    def start_with_secrets(self):
        (self.folder / "koboshi.yaml").write_text(config(self.folder, SECRETS))
        self.start()
        return self.roles()["active"]

    def secrets(self, *instance):
        return self.ask("GET", "/".join(("/v1/secrets", *instance)))[1]["secrets"]

    def ordered(self, kind, instance):
        return [order for order in self.world.orders if order.type == kind and order.instance == instance]

    def test_what_a_victim_could_read_is_refused_before_another_takes_its_place(self):
        victim = self.start_with_secrets()
        self.assertEqual(self.world.count(REVOKE), 0)
        self.world.guests[victim].close_port()
        story = self.await_closed()
        revoke, = self.ordered(REVOKE, victim)
        steer = next(order for order in self.world.orders if order.type == STEER and order.victim == victim)
        self.assertLess(revoke.id, steer.id)  # as they left the engine
        self.assertEqual(revoke.incident, 1)
        steps = [step["step"] for step in story["steps"]]
        self.assertLess(steps.index("revoked"), steps.index("removed"))
        self.assertIn(f"2 secrets of kb-{victim} are not valid any more", next(s["text"] for s in story["steps"] if s["step"] == "revoked"))
        standing = self.roles()
        self.assertFalse({order.instance for order in self.world.orders if order.type == REVOKE} & set(standing.values()))

    def test_killed_in_between_it_is_done_all_the_same(self):
        victim = self.start_with_secrets()
        self.world.held[REVOKE] = True
        self.world.guests[victim].close_port()
        self.world.await_order(REVOKE, lambda o: o.instance == victim)
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        del self.world.held[REVOKE]
        before = len(self.world.orders)
        self.engine.start()
        self.world.await_order(REVOKE, lambda o: o.instance == victim, before)
        wait_for("its end", lambda: victim not in self.world.guests)
        self.engine.await_state()
        for incident in self.ask("GET", "/v1/incidents")[1]["incidents"]:
            self.assertIn("revoked", [step["step"] for step in self.await_closed(incident["number"])["steps"]])

    def test_refused_it_is_tried_again_and_holds_up_nothing(self):
        victim = self.start_with_secrets()
        self.world.refused[REVOKE] = (-28, "no space left")
        self.world.guests[victim].close_port()
        story = self.await_closed()
        self.assertEqual(len(self.ordered(REVOKE, victim)), 2)
        self.assertIn("revoked", [step["step"] for step in story["steps"]])

    def test_whose_secrets_are_refused_falls_though_no_row_says_so(self):
        victim = self.start_with_secrets()
        self.engine.signal(signal.SIGKILL)
        self.engine.wait()
        self.world.guests[victim].revoked = 1  # decided by an engine that could write nothing down
        self.engine.start()
        wait_for("its end", lambda: victim not in self.world.guests)
        self.engine.await_state()
        self.assertNotIn(victim, self.roles().values())

    def test_who_has_none_is_asked_nothing(self):
        self.start()
        victim = self.roles()["active"]
        self.world.guests[victim].close_port()
        self.await_closed()
        self.assertEqual(self.world.count(REVOKE), 0)

    def test_what_each_could_read_is_listed_without_a_value(self):
        victim = self.start_with_secrets()
        link = self.engine.actuators[VM].link
        for text in ("token backend /etc/app/token", "ssh-host-key host /etc/ssh/ssh_host_ed25519_key", "nonsense"):
            link.send(notice(GUEST_SECRET, victim, text=text))
        name = f"kb-{victim}"
        rows = wait_for("both", lambda: len(rows := self.secrets(name)) == 6 and rows)
        self.assertEqual({(row["kind"], row["name"]) for row in rows},
                         {("key", "challenge"), ("key", "agent"), ("address", name), ("mac", name), ("token", "backend"), ("ssh-host-key", "host")})
        self.assertEqual({(row["instance"], row["state"], row["revoked"]) for row in rows}, {(name, "valid", None)})
        self.assertTrue(all(row["made"] for row in rows))
        self.assertEqual(next(row["place"] for row in rows if row["name"] == "backend"), "/etc/app/token")
        self.assertEqual({row["instance"] for row in self.secrets()}, {f"kb-{number}" for number in self.world.numbers})
        self.assertNotIn(self.world.guests[victim].key.hex(), json.dumps(self.secrets()))
        shown = self.cli("secrets", name)
        self.assertIn("/etc/app/token", shown)
        self.assertNotIn("revoked", shown)
        self.world.held[DESTROY] = True
        self.world.guests[victim].close_port()
        self.world.await_order(DESTROY, lambda o: o.instance == victim)
        wait_for("revoked", lambda: {row["state"] for row in self.secrets(name)} == {"revoked"})
        self.assertIn("revoked", self.cli("secrets", name))
        standing = f"kb-{self.roles()['active']}"
        self.assertEqual({row["state"] for row in self.secrets(standing)}, {"valid"})
        self.assertEqual(self.secrets("kb-4000"), [])
        self.assertEqual(self.ask("GET", "/v1/secrets/sensor")[0], 404)

    def test_without_secrets_what_it_had_ends_with_the_guest(self):
        self.start()
        victim = self.roles()["active"]
        self.world.guests[victim].close_port()
        self.await_closed()
        self.assertEqual({row["state"] for row in self.secrets(f"kb-{victim}")}, {"revoked"})

    def test_who_makes_none_has_no_say_in_it(self):
        self.start()
        self.engine.actuators[NET].link.send(notice(GUEST_SECRET, 1, text="token a /b"))
        wait_for("it was heard", lambda: "what it has no say in: guest-secret" in self.engine.log.read_text())
        self.assertNotIn("token", [row["kind"] for row in self.secrets()])
