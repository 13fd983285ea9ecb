#!/usr/bin/env python3
"""A guest whose disk breaks under it: koboshi-vm must tell of the failed read, and go on.

usage: broken_disk.py KOBOSHI_VM [IMAGES]        (exit code 77: skipped)

The image lies in a file system on a loop device whose file is cut short once the guest is up, so that its reads fail on the
host as those of a dying disk do. All in network and mount namespaces of its own; the loop device is given back.
"""
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import guest
from guest import CREATE, DESTROY, PR_SET_CHILD_SUBREAPER, READY, UNCAP

IO_ERROR = 13
VARIANT = "amber"
CUT_BYTES = 8 << 20


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def broken(disk, image):
    """True when a read of the image fails from now on."""
    fd = os.open(image, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # what is in memory can be read without a disk
        os.truncate(disk, CUT_BYTES)
        os.pread(fd, 4096, os.fstat(fd).st_size // 2)
        return False
    except OSError:
        return True
    finally:
        os.close(fd)


def scenario(engine, folder, disk, image):
    engine.wait_note(READY)
    guest.tap_add(1)
    engine.order(CREATE, 1)
    engine.order(UNCAP, 1)
    guest.wait_console(folder, 1, b"koboshi: ready", 120)
    assert broken(disk, image), "the disk cannot be broken"
    said = guest.lab(folder, 1, "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=1M 2>&1")
    assert "error" in said, said
    began = time.monotonic()
    engine.wait_note(IO_ERROR, 1)
    print(f"told {(time.monotonic() - began) * 1000:.0f} ms after the guest knew")
    assert engine.observe()[1][2] == "running"
    engine.order(DESTROY, 1)
    assert engine.observe() == {}
    print("all well")


def play(program, images, folder):
    disk, mount = folder / "disk", folder / "mount"
    size = sum(file.stat().st_size for file in (images / VARIANT).iterdir())
    with open(disk, "wb") as file:
        file.truncate(size + size // 4 + (16 << 20))
    mount.mkdir()
    run("mkfs.ext4", "-q", "-O", "^has_journal", str(disk))
    loop = run("losetup", "-f", "--show", str(disk))
    engine = None
    try:
        run("mount", loop, str(mount))
        guest.own_images(images, mount, [VARIANT])
        run("sync", "-f", str(mount))
        (folder / "koboshi.yaml").write_text(guest.CONF.format(dir=folder, images=mount / "images", total=288, variants=VARIANT))
        engine = guest.Engine(program, str(folder / "koboshi.yaml"))
        threading.Thread(target=guest.reap, args=(engine,), daemon=True).start()
        scenario(engine, folder, disk, mount / "images" / VARIANT / "root.erofs")
    finally:
        if engine:
            engine.process.kill()
        for pid in guest.qemu_pids(folder):
            ends = os.pidfd_open(pid)
            signal.pidfd_send_signal(ends, signal.SIGKILL)
            select.select([ends], [], [], 20)
            os.close(ends)
        subprocess.run(["umount", "-l", str(mount)], check=False)
        subprocess.run(["losetup", "-d", loop], check=False)
        guest.groups_remove(folder)


def main():
    program, images = os.path.abspath(sys.argv[1]), Path(sys.argv[2] if sys.argv[2:] else os.environ.get("KOBOSHI_CACHE", "/var/cache/koboshi"))
    if os.geteuid() != 0 or not shutil.which("losetup") or not shutil.which("mkfs.ext4") or not Path("/dev/loop-control").exists():
        print("skipped: needs root and loop devices")
        return 77
    if not (images / VARIANT / "manifest.sig").exists():
        print(f"skipped: no images in {images}")
        return 77
    if not os.environ.get("KOBOSHI_TEST_INSIDE"):
        os.environ["KOBOSHI_TEST_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, *sys.argv])
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    folder = Path(tempfile.mkdtemp(prefix="kbio", dir="/tmp"))
    try:
        play(program, images, folder)
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
