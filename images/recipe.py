"""Recipes: what they say, and which images they are the recipe of.

Most name one image. A recipe that has several values for its kernel, its server or its runtime is the recipe of all their
combinations, each an image of its own named RECIPE-KERNEL-SERVER-RUNTIME; it is made when it is named (images/build) or when
the engine wants it. Reads files beside this one and nothing else.
"""

import difflib
import itertools
import os
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEYS = {"summary": str, "suite": str, "kernel": str, "kernel_suite": str, "server": str, "runtime": str, "libc": str,
        "parts": list, "packages": list, "leave_out": list, "memory_mib": str, "agent": str, "late": str, "watch": list,
        "data": str}
NEEDED = {"summary", "suite", "kernel", "server", "runtime", "parts"}
LAYERS = ("kernel", "server", "runtime")  # in this order in a combination's name
VALUE_KEYS = {"kernel_suite": str, "parts": list, "packages": list, "leave_out": list}  # what a value may bring along
COMBINATIONS_MAX = 64
NAME_MAX = 31  # as the configuration takes it
WANTED_MAX = 256  # bytes of a file that names a wanted image


class Trouble(Exception):
    """What went wrong and what to do, in one sentence for the user."""


def names():
    return sorted(path.stem for path in (HERE / "recipes").glob("*.yaml"))


def near(word, known):
    """ ` Did you mean amber?`, or what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1, 0.6)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."


def items(text):
    return [word.strip() for word in text.strip("[]").split(",") if word.strip()]


class Recipe:
    """One recipe as it was written. `layers`: for each layer with several values their names and packages; else empty."""

    def __init__(self, name):
        self.name, self.path = name, HERE / "recipes" / f"{name}.yaml"
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name) or not self.path.is_file():
            raise Trouble(f"There is no recipe named {name}; {near(name, names())}")
        self.said = {"libc": "libc6", "packages": [], "leave_out": [], "memory_mib": "192", "agent": "no", "late": "deny",
                     "watch": ["/etc", "/srv", "/usr/lib/koboshi"], "data": ""}
        self.when = {}  # the names of values, together chosen -> what that brings
        self.layers = {}
        self.parse()
        self.several()
        self.check()

    def wrong(self, what):
        return Trouble(f"recipes/{self.name}.yaml: {what}")

    def parse(self):
        """`key: value`, `key: [a, b]`, `key:` and then `- a` lines; the same below `when VALUE:`. No more of YAML is needed."""
        into, keys, key = self.said, KEYS, None
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
            line = re.sub(r"(^|\s)#.*", "", line).rstrip()
            item, pair = re.fullmatch(r"\s+- (.+)", line), re.fullmatch(r"(\s*)([a-z_]+):\s*(.*)", line)
            when = re.fullmatch(r"when ([a-z0-9 ]+):", line)
            if not line:
                continue
            if pair and not pair[1]:
                into, keys = self.said, KEYS
            if when:
                into, keys, key = self.when.setdefault(frozenset(when[1].split()), {}), VALUE_KEYS, None
            elif item and key:
                into[key].append(item[1].strip())
            elif pair and pair[2] in keys and bool(pair[1]) == (into is not self.said):
                key = None
                if keys[pair[2]] is str:
                    into[pair[2]] = pair[3]
                elif pair[3]:
                    into[pair[2]] = items(pair[3])
                else:
                    key, into[pair[2]] = pair[2], []
            else:
                raise Trouble(f"recipes/{self.name}.yaml:{number}: this is neither one of {', '.join(sorted(keys))} nor an item of a list.")

    def several(self):
        for layer in LAYERS:
            if not self.said.get(layer, "").startswith("["):
                continue
            pairs = [(word + "=" + word).split("=")[:2] for word in items(self.said[layer])]
            self.layers[layer] = {name.strip(): package.strip() for name, package in pairs}
            bad = [name for name in self.layers[layer] if not re.fullmatch(r"[a-z][a-z0-9]{0,11}", name)]
            if bad:
                raise self.wrong(f"{layer}: '{bad[0]}' cannot stand in the name of an image; write a short one before it: NAME={bad[0]}.")
            if len(self.layers[layer]) != len(pairs) or not pairs:
                raise self.wrong(f"{layer}: there is no value, or one of them twice.")
        known = [value for values in self.layers.values() for value in values]
        if len(set(known)) != len(known):
            raise self.wrong("a value of one layer has the name of one of another layer.")
        for value in sorted({value for together in self.when for value in together} - set(known)):
            raise self.wrong(f"'when {value}': there is no such value; {near(value, known) if known else 'no key has several.'}")
        if self.layers and len(self.combinations()) > COMBINATIONS_MAX:
            raise self.wrong(f"it has {len(self.combinations())} combinations, {COMBINATIONS_MAX} are the most.")
        long = [name for name in self.combinations() if len(name) > NAME_MAX] if self.layers else []
        if long:
            raise self.wrong(f"the name {long[0]} is longer than {NAME_MAX} characters.")

    def check(self):
        brought = {key for what in self.when.values() for key in what}
        for needed in sorted(NEEDED - self.said.keys() - brought):
            raise self.wrong(f"the key {needed} is missing.")
        if not self.said["memory_mib"].isdigit():
            raise self.wrong("memory_mib is not a number.")
        if self.said["agent"] not in ("yes", "no"):
            raise self.wrong("agent is neither yes nor no.")
        if self.said["late"] not in ("allow", "deny"):
            raise self.wrong("late is neither allow nor deny.")
        if any(not re.fullmatch(r"/[!-~]{0,120}", place) for place in self.said["watch"]) or len(self.said["watch"]) > 16:
            raise self.wrong("watch has a folder that does not begin with a slash, or more than 16 of them.")
        if self.said["data"] and not re.fullmatch(r"(/[A-Za-z0-9._-]+){1,10}", self.said["data"]):
            raise self.wrong("data is not a folder's path.")

    def combinations(self):
        """Image name -> the value of each layer that has several; the preferred first."""
        layers = [layer for layer in LAYERS if layer in self.layers]
        chosen = [dict(zip(layers, values)) for values in itertools.product(*(self.layers[layer] for layer in layers))]
        return {"-".join([self.name, *values.values()]): values for values in chosen}

    def image(self, values=None):
        """What an image is made of, as flat as if its recipe had said nothing else."""
        made = {key: list(value) if isinstance(value, list) else value for key, value in self.said.items()}
        for layer, value in (values or {}).items():
            made[layer] = self.layers[layer][value]
        for together, what in self.when.items():
            if together <= set((values or {}).values()):
                for key, value in what.items():
                    made[key] = value if isinstance(value, str) else made.get(key, []) + value
        for needed in sorted(NEEDED - made.keys()):
            raise self.wrong(f"with {' '.join(values or {})} the key {needed} is missing.")
        if values:
            made["summary"] += ": " + ", ".join(values.values())
        return made

    def values_of(self, wish):
        """`kernel=new,server=nginx`: what is not said is the first of its layer."""
        values = {layer: next(iter(choice)) for layer, choice in self.layers.items()}
        for word in filter(None, wish.split(",")):
            layer, _, value = word.partition("=")
            if layer not in self.layers:
                raise Trouble(f"'{word}': {self.name} has no choice of {layer}; {near(layer, self.layers)}" if self.layers
                              else f"The recipe {self.name} has one image and nothing to choose.")
            if value not in self.layers[layer]:
                raise Trouble(f"{self.name} has no {layer} named '{value}'; {near(value, self.layers[layer])}")
            values[layer] = value
        return values


def of_image(image):
    """(recipe, values) of an image's name; values is None where a recipe has only one."""
    known = names()
    if image in known:
        recipe = Recipe(image)
        return recipe, recipe.values_of("") if recipe.layers else None
    parts = image.split("-")
    for length in range(len(parts) - 1, 0, -1):
        if "-".join(parts[:length]) in known:
            recipe = Recipe("-".join(parts[:length]))
            if image in recipe.combinations():
                return recipe, recipe.combinations()[image]
            if recipe.layers:
                raise Trouble(f"{recipe.name} has no combination named {image}; {near(image, recipe.combinations())}")
    raise Trouble(f"There is no recipe named {image}; {near(image, known)}")


def image_name(recipe, values):
    return "-".join([recipe.name, *values.values()]) if values else recipe.name


def wanted(path):
    """The combination that a file names, or None where there is no file. The engine wrote it, who is nobody to be believed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        line = file.read(WANTED_MAX).decode(errors="replace").removesuffix("\n")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", line):
        raise Trouble(f"{path}: this is no name of an image.")
    recipe, values = of_image(line)
    if not values or image_name(recipe, values) != line:
        raise Trouble(f"{path}: {line} is no combination of a recipe.")
    return line
