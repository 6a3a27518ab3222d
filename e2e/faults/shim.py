"""Steers `shim.c`, which is preloaded into the server."""

import errno
import mmap
import shutil
import struct
import subprocess
from pathlib import Path

from .scenario import Skipped

LAYOUT = struct.Struct("=7q64s")
WRITES, SYNCS, TRUNCATES = 1, 2, 4
CALLS = {"write": WRITES, "sync": SYNCS, "truncate": TRUNCATES}


class Shim:
    """Compiled when made. `environment` is the server's."""

    def __init__(self, folder):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise Skipped("there is no C compiler here (Debian: gcc)")
        folder.mkdir(parents=True, exist_ok=True)
        library, control = folder / "shim.so", folder / "shim.control"
        source = Path(__file__).with_name("shim.c")
        subprocess.run([compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        control.write_bytes(bytes(LAYOUT.size))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), LAYOUT.size)
        self.environment = {"LD_PRELOAD": str(library), "FAULTS_SHIM": str(control)}

    def _word(self, index, value=None):
        if value is None:
            return struct.unpack_from("=q", self._map, index * 8)[0]
        struct.pack_into("=q", self._map, index * 8, value)
        return value

    def fail(self, call, number, error, *, path="/data/", is_torn=False):
        """The call of this number, counted from now, fails once."""
        struct.pack_into("=64s", self._map, 7 * 8, path.encode())
        for index, value in [(1, CALLS[call]), (3, getattr(errno, error)), (4, int(is_torn)), (5, 0), (6, 0), (2, number)]:
            self._word(index, value)

    def disarm(self):
        self._word(2, 0)

    @property
    def hits(self):
        return self._word(5)

    def shift_clock(self, seconds):
        """The wall clock is so far from the real one from now on."""
        self._word(0, seconds)
