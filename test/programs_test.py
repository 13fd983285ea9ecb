"""Programs bear no trace of where they were built: the same compiler makes the same ones of the same sources anywhere, so that their
sums say whether two devices, or two reports of a race, are of one build."""
import pathlib
import sys
import unittest

ROOT, PROGRAMS = sys.argv[1], sys.argv[2:]


class ProgramsTest(unittest.TestCase):
    def test_none_names_its_sources_folder(self):
        for program in PROGRAMS:
            with self.subTest(program=pathlib.Path(program).name):
                self.assertNotIn(ROOT.encode(), pathlib.Path(program).read_bytes())


unittest.main(argv=sys.argv[:1])
