#!/usr/bin/env python3
"""Recipes and their combinations: which images there are, what goes into each, what is refused and in which words; and what the
builder keeps, removes and tells the engine. Fetches and builds nothing.

usage: recipe_test.py ROOT-OF-THE-SOURCE
"""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "images"))
import recipe as recipes  # noqa: E402


def loaded(path):
    loader = importlib.machinery.SourceFileLoader("images_build", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("images_build", loader))
    loader.exec_module(module)
    return module


builder = loaded(ROOT / "images/build")

MANY = """summary: several
suite: trixie
kernel: [lts=linux-image-amd64, new=linux-image-amd64]  # two
server: [nginx, apache=apache2-bin]
runtime: [php=php8.4-fpm | php8.2-fpm, lua=lua5.4]
packages: [busybox-static]
leave_out:
  - perl*
when new:
  kernel_suite: trixie-backports
when nginx:
  parts: [nginx]
when apache:
  parts: [apache]
when php:
  parts: [php-fpm]
when lua:
  parts: [lua]
  packages: [lua-cjson]
  leave_out:
    - liblua*
    - zlib*
when nginx lua:
  parts: [nginx-scgi]
"""
ONE = """summary: one
suite: trixie
kernel: linux-image-amd64
server: nginx
runtime: php8.4-fpm
parts: [nginx, php-fpm]
"""


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "recipes").mkdir()
        self.addCleanup(setattr, recipes, "HERE", recipes.HERE)
        recipes.HERE = self.folder
        self.write("many", MANY)
        self.write("one", ONE)

    def write(self, name, text):
        (self.folder / "recipes" / f"{name}.yaml").write_text(text)

    def refused(self, what, *arguments):
        with self.assertRaises(recipes.Trouble) as caught:
            what(*arguments)
        return str(caught.exception)

    def refused_text(self, before, after):
        self.assertIn(before, MANY)
        self.write("wrong", MANY.replace(before, after, 1))
        return self.refused(recipes.Recipe, "wrong")


class RecipeTests(Case):
    def test_all_combinations_the_preferred_first(self):
        many = recipes.Recipe("many")
        self.assertEqual(list(many.combinations()), [f"many-{k}-{s}-{r}" for k in ("lts", "new") for s in ("nginx", "apache") for r in ("php", "lua")])
        self.assertEqual(many.combinations()["many-new-apache-lua"], {"kernel": "new", "server": "apache", "runtime": "lua"})
        self.assertEqual(recipes.Recipe("one").layers, {})

    def test_what_goes_into_one(self):
        many = recipes.Recipe("many")
        plain = many.image(many.combinations()["many-lts-nginx-php"])
        self.assertEqual((plain["kernel"], plain["server"], plain["runtime"]), ("linux-image-amd64", "nginx", "php8.4-fpm | php8.2-fpm"))
        self.assertEqual((plain["parts"], plain["packages"], plain["leave_out"]), (["nginx", "php-fpm"], ["busybox-static"], ["perl*"]))
        self.assertNotIn("kernel_suite", plain)
        both = many.image(many.combinations()["many-new-nginx-lua"])
        self.assertEqual(both["parts"], ["nginx", "lua", "nginx-scgi"])
        self.assertEqual(both["leave_out"], ["perl*", "liblua*", "zlib*"])
        self.assertEqual((both["packages"], both["kernel_suite"]), (["busybox-static", "lua-cjson"], "trixie-backports"))
        self.assertEqual(many.image(many.combinations()["many-lts-nginx-php"]), plain)  # nothing of one stays in the next

    def test_a_layer_with_one_value_has_no_place_in_the_name(self):
        self.write("two", ONE.replace("nginx\n", "[nginx, lighttpd]\n", 1))
        self.assertEqual(list(recipes.Recipe("two").combinations()), ["two-nginx", "two-lighttpd"])

    def test_the_recipes_here_are_right(self):
        recipes.HERE = ROOT / "images"
        for name in recipes.names():
            recipe = recipes.Recipe(name)
            for values in recipe.combinations().values() if recipe.layers else [None]:
                builder.Wish(recipe, values)
        self.assertEqual(len(recipes.Recipe("dune").combinations()), 12)

    def test_a_new_value_makes_no_other_image_outdated(self):
        before = {name: builder.Wish(*recipes.of_image(name)).inputs for name in recipes.Recipe("many").combinations()}
        self.assertEqual(len(set(before.values())), 8)
        self.write("many", MANY.replace("[nginx, ", "[nginx, lighttpd, ").replace("when apache:", "when lighttpd:\n  parts: [lighttpd]\nwhen apache:"))
        after = {name: builder.Wish(*recipes.of_image(name)).inputs for name in recipes.Recipe("many").combinations()}
        self.assertEqual({name: after[name] for name in before}, before)
        self.assertEqual(len(after), 12)
        self.write("many", MANY.replace("lua-cjson", "lua-posix"))
        self.assertEqual({name.endswith("lua") for name in before if builder.Wish(*recipes.of_image(name)).inputs != before[name]}, {True})

    def test_values_by_their_names(self):
        many = recipes.Recipe("many")
        self.assertEqual(recipes.image_name(many, many.values_of("")), "many-lts-nginx-php")
        self.assertEqual(recipes.image_name(many, many.values_of("server=apache,kernel=new")), "many-new-apache-php")
        self.assertEqual(self.refused(many.values_of, "server=apach"), "many has no server named 'apach'; did you mean apache?")
        self.assertEqual(self.refused(many.values_of, "server=x"), "many has no server named 'x'; there are nginx, apache.")
        self.assertEqual(self.refused(many.values_of, "serve=nginx"), "'serve=nginx': many has no choice of serve; did you mean server?")
        self.assertEqual(self.refused(recipes.Recipe("one").values_of, "kernel=a"), "The recipe one has one image and nothing to choose.")

    def test_images_by_their_names(self):
        recipe, values = recipes.of_image("many-new-nginx-lua")
        self.assertEqual((recipe.name, values["kernel"]), ("many", "new"))
        self.assertEqual(recipes.image_name(*recipes.of_image("many")), "many-lts-nginx-php")
        self.assertEqual(recipes.of_image("one")[1], None)
        self.assertEqual(self.refused(recipes.of_image, "many-new-ngnx-lua"), "many has no combination named many-new-ngnx-lua; did you mean many-new-nginx-lua?")
        self.assertEqual(self.refused(recipes.of_image, "mny"), "There is no recipe named mny; did you mean many?")
        self.assertEqual(self.refused(recipes.of_image, "../one"), "There is no recipe named ../one; did you mean one?")

    def test_what_a_recipe_may_not_say(self):
        self.assertEqual(self.refused_text("when nginx:", "when ngnx:"), "recipes/wrong.yaml: 'when ngnx': there is no such value; did you mean nginx?")
        self.assertEqual(self.refused_text("lts=linux-image-amd64", "linux-image-amd64"),
                         "recipes/wrong.yaml: kernel: 'linux-image-amd64' cannot stand in the name of an image; write a short one before it: "
                         "NAME=linux-image-amd64.")
        self.assertEqual(self.refused_text("[nginx, apache=apache2-bin]", "[nginx, nginx=nginx-core]"), "recipes/wrong.yaml: server: there is no value, or one of them twice.")
        self.assertEqual(self.refused_text("lua=lua5.4", "nginx=lua5.4"), "recipes/wrong.yaml: a value of one layer has the name of one of another layer.")
        self.assertEqual(self.refused_text("[nginx, apache=apache2-bin]", "[nginx, apache, " + ", ".join(f"s{n}" for n in range(15)) + "]"),
                         "recipes/wrong.yaml: it has 68 combinations, 64 are the most.")
        self.assertIn("this is neither one of kernel_suite, leave_out, packages, parts nor an item", self.refused_text("  parts: [lua]", "  memory_mib: 5"))
        self.assertIn("this is neither one of agent, ", self.refused_text("suite: trixie", "  suite: trixie"))
        self.assertEqual(self.refused_text("suite: trixie\n", ""), "recipes/wrong.yaml: the key suite is missing.")
        self.write("wrong", ONE.replace("parts:", "# parts:"))
        self.assertEqual(self.refused(recipes.Recipe, "wrong"), "recipes/wrong.yaml: the key parts is missing.")


class WantedTests(Case):
    """What the engine wrote, which may have been taken over."""

    def wanted(self, text):
        (self.folder / "wanted").write_text(text)
        return recipes.wanted(self.folder / "wanted")

    def test_a_name_that_is_wanted(self):
        self.assertEqual(self.wanted("many-new-nginx-lua\n"), "many-new-nginx-lua")
        self.assertIsNone(recipes.wanted(self.folder / "absent"))

    def test_what_may_not_be_wanted(self):
        for text in ("", "\n", "many-new-nginx-lua\nmore\n", "../../etc/x\n", "Many\n", "x" * 300, "many-new nginx\n", "\0\n"):
            self.assertTrue(self.refused(self.wanted, text).endswith("this is no name of an image."), text)
        self.assertTrue(self.refused(self.wanted, "one\n").endswith(": one is no combination of a recipe."))
        self.assertTrue(self.refused(self.wanted, "many\n").endswith(": many is no combination of a recipe."))
        self.assertIn("did you mean", self.refused(self.wanted, "many-new-nginx-lu\n"))

    def test_a_file_that_is_none(self):
        self.wanted("many-new-nginx-lua\n")
        (self.folder / "link").symlink_to("wanted")
        with self.assertRaises(OSError):
            recipes.wanted(self.folder / "link")
        os.mkfifo(self.folder / "pipe")
        self.assertIn("no name of an image", self.refused(recipes.wanted, self.folder / "pipe"))

    def test_what_cannot_be_built_is_told_and_nothing_is_lost(self):
        tree, cache = self.folder / "tree", self.folder / "cache"
        shutil.copytree(ROOT / "images", tree / "images", ignore=shutil.ignore_patterns("parts"))
        (tree / "images/parts").mkdir()
        (cache / "dune-lts-nginx-php").mkdir(parents=True)
        (self.folder / "wanted").write_text("dune-new-nginx-lua\n")
        done = subprocess.run([tree / "images/build", "--cache", cache, "--wanted", self.folder / "wanted"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (1, "images/build: recipes/dune.yaml: there is no part named nginx.\n"))
        self.assertEqual((cache / "wanted-image.failed").read_text(), "dune-new-nginx-lua\nrecipes/dune.yaml: there is no part named nginx.\n")
        self.assertTrue((cache / "dune-lts-nginx-php").is_dir())
        (self.folder / "wanted").write_text("amber\n")
        done = subprocess.run([tree / "images/build", "--cache", cache, "--wanted", self.folder / "wanted"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1))


class KeptTests(Case):
    """At most so many combinations stay, and never one goes that is needed."""

    def put(self, *names):
        for age, name in enumerate(names):
            folder = self.folder / "cache" / name
            folder.mkdir(parents=True)
            (folder / "root.erofs").touch()
            (folder / "manifest.json").write_text(json.dumps({"recipe_sha256": "0"}))
            os.utime(folder / "manifest.json", (1000 + age, 1000 + age))

    def left(self):
        return {path.name for path in (self.folder / "cache").iterdir()}

    @unittest.skipIf(os.geteuid() != 0, "who is not root does not see who uses an image, and removes none")
    def test_the_oldest_goes_that_nobody_uses(self):
        names = list(recipes.Recipe("many").combinations())[:6]
        self.put(*names)
        self.put("one")
        with open(self.folder / "cache" / names[0] / "root.erofs", "rb"):
            gone = builder.surplus_remove(recipes.Recipe("many"), self.folder / "cache", {names[5]})
            self.assertEqual(gone, names[1:3])
        self.assertEqual(self.left(), {names[0], *names[3:], "one"})
        self.assertEqual(builder.surplus_remove(recipes.Recipe("many"), self.folder / "cache", set()), [])

    @unittest.skipIf(os.geteuid() != 0, "likewise")
    def test_what_is_used_or_was_just_made_stays_though_it_is_too_many(self):
        names = list(recipes.Recipe("many").combinations())[:6]
        self.put(*names)
        with contextlib.ExitStack() as stack:
            for name in names[:4]:
                stack.enter_context(open(self.folder / "cache" / name / "root.erofs", "rb"))
            self.assertEqual(builder.surplus_remove(recipes.Recipe("many"), self.folder / "cache", set(names[4:])), [])
        self.assertEqual(self.left(), set(names))

    def test_the_list_shows_what_is_built(self):
        self.put("many-lts-nginx-php")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            builder.list_combinations(self.folder / "cache", "many")
            builder.list_images(self.folder / "cache")
        lines = said.getvalue().splitlines()
        self.assertEqual(len(lines), 10)
        self.assertRegex(lines[1], "^many-lts-nginx-lua  *not built .*several: lts, nginx, lua$")
        self.assertEqual(lines[8], "many     1 of 8 combinations are built: images/build --combinations many")
        self.assertRegex(lines[9], "^one  *not built ")


if __name__ == "__main__":
    unittest.main()
