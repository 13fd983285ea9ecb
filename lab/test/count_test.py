#!/usr/bin/env python3
"""How test/run counts: a case that failed must never get lost, whatever kind of program told of it."""
import importlib.machinery
import importlib.util
import io
import pathlib
import contextlib
import unittest

PATH = pathlib.Path(__file__).resolve().parents[2] / "test/run"
loader = importlib.machinery.SourceFileLoader("test_run", str(PATH))
spec = importlib.util.spec_from_loader("test_run", loader)
count = importlib.util.module_from_spec(spec)
loader.exec_module(count)

CMOCKA = """[==========] Running 3 test(s).
[ RUN      ] it_stands
[       OK ] it_stands
[ RUN      ] it_falls
[  ERROR   ] --- 1 != 2
[  FAILED  ] it_falls
[ RUN      ] it_waits
[  SKIPPED ] it_waits
[==========] 3 test(s) run.
[  PASSED  ] 1 test(s).
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] it_falls
"""
TAP = "1..3\nok 1 - one # 0.4 s\nnot ok 2 - two\n# because\n# of this\nok 3 - three # SKIP no device\nOK\n"


def row(result: str, stdout: str = "", stderr: str = "") -> dict:
    return {"name": "program", "result": result, "stdout": stdout, "stderr": stderr}


class CountTest(unittest.TestCase):
    def counted(self, *rows: dict) -> tuple[int, int, int]:
        tally = count.Tally()
        for one in rows:
            count.meson_row(tally, "stage", one)
        return tally.passed, len(tally.failures), len(tally.skips)

    def test_cases_are_counted(self):
        self.assertEqual(self.counted(row("FAIL", CMOCKA)), (1, 1, 1))
        self.assertEqual(self.counted(row("FAIL", TAP)), (1, 1, 1))
        self.assertEqual(self.counted(row("OK", stderr="Ran 7 tests in 1.2s\n\nOK\n")), (7, 0, 0))
        self.assertEqual(self.counted(row("OK", "nothing said")), (1, 0, 0))

    def test_a_crash_behind_good_cases_is_a_failure(self):
        self.assertEqual(self.counted(row("FAIL", "ok 1 - one\n")), (1, 1, 0))
        for result in count.MESON_BAD:
            self.assertEqual(self.counted(row(result)), (0, 1, 0))

    def test_a_skip_has_its_reason(self):
        tally = count.Tally()
        count.meson_row(tally, "stage", row("SKIP", "needs root\n"))
        self.assertEqual(tally.skips, [("stage: program", "needs root")])

    def test_details_of_a_failure(self):
        self.assertEqual([detail for _, state, detail in count.parse_tap(TAP) if state == "not ok"], [" because\n of this\n"])

    def test_closing_line(self):
        tally = count.Tally()
        tally.add("a", "ok")
        for expected, status in (("1 passed, 0 failed", 0), ("1 passed, 0 failed, 1 skipped", 0), ("1 passed, 1 failed, 1 skipped", 1)):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                self.assertEqual(tally.close(), status)
            self.assertEqual(out.getvalue().splitlines()[-1], expected)
            tally.add("b", "skip" if status == 0 and not tally.skips else "not ok", "why")

    def test_nothing_at_all_is_no_success(self):
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(count.Tally().close(), 1)


if __name__ == "__main__":
    unittest.main()
