#!/usr/bin/env python3
"""How long a vault of 100 MiB takes back, of which one percent was changed, while somebody reads it. The real koboshi-vault and restic,
on the disk of the folder for temporary files. Prints JSON.

usage: bench.py KOBOSHI-VAULT [TIMES]
"""
import json
import os
import pathlib
import random
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import vault_test  # noqa: E402
from fake_world import BACKUP, ROLLBACK  # noqa: E402

MIB, FILES = 100, 400


class Bench(vault_test.VaultTest):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kbvb."))  # a disk, not memory
        self.addCleanup(lambda: vault_test.shutil.rmtree(self.folder))
        self.vault = self.folder / "vault"
        self.data = self.vault / "data"
        self.configure()

    def runTest(self):
        self.start()
        size = (MIB << 20) // FILES
        for k in range(FILES):
            (self.data / f"{k % 20}").mkdir(exist_ok=True)
            (self.data / f"{k % 20}/{k}").write_bytes(os.urandom(size))
        self.report = {"mib": MIB, "files": FILES, "changed_percent": 1, "rollback_ms": [], "backup_ms": [], "reads": 0, "failed_reads": 0}
        self.report["first_backup_ms"] = self.timed(BACKUP)
        ends = threading.Event()
        reader = threading.Thread(target=self.read, args=(ends,))
        reader.start()
        try:
            for incident in range(1, TIMES + 1):
                evidence = vault_test.now_us()
                for k in random.sample(range(FILES), FILES // 100):
                    fresh = self.data / f"{k % 20}/new"
                    fresh.write_bytes(os.urandom(size))
                    fresh.rename(self.data / f"{k % 20}/{k}")
                self.report["rollback_ms"].append(self.timed(ROLLBACK, incident=incident, before_us=evidence))
                self.report["backup_ms"].append(self.timed(BACKUP))
        finally:
            ends.set()
            reader.join()

    def timed(self, *args, **kwargs):
        begin = time.monotonic()
        status, text = self.do(*args, **kwargs)
        assert status == 0, text
        return round((time.monotonic() - begin) * 1000, 1)

    def read(self, ends):
        size = (MIB << 20) // FILES
        while not ends.wait(0.002):
            k = random.randrange(FILES)
            try:
                self.report["failed_reads"] += len((self.data / f"{k % 20}/{k}").read_bytes()) != size
            except OSError:
                self.report["failed_reads"] += 1
            self.report["reads"] += 1


if __name__ == "__main__":
    vault_test.PROGRAM = sys.argv[1]
    TIMES = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    bench = Bench()
    result = vault_test.unittest.TestResult()
    bench.run(result)
    if not result.wasSuccessful():
        sys.exit("".join(text for _, text in result.errors + result.failures))
    print(json.dumps(bench.report))
