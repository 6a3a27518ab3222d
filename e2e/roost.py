"""A `roost` process of a test's own: free ports, a data directory, and its HTTP API."""

import json
import os
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

OWNER = "an-owner-token-for-tests"
READY_SECONDS = 30


class Problem(Exception):
    """An answer beyond 2xx."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class Roost:
    """Started by `start`, ended by `kill` or `stop`; the data stays in `folder` for the next `start`."""

    def __init__(self, binary, folder, *flags, owner=OWNER, environment=None, prefix=()):
        self.binary, self.folder, self.flags, self.owner = str(binary), folder, flags, owner
        self.environment, self.prefix = environment or {}, prefix
        self.doors, self.process, self.setup_link = {}, None, queue.Queue()

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        token = {"ROOST_ADMIN_TOKEN": self.owner} if self.owner else {}
        doors = ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--coap", "off", "--coaps", "off"]
        command = [*self.prefix, self.binary, "serve", "--data", str(self.folder / "data"), *doors, *self.flags]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env={**os.environ, **token, **self.environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        ready, self.log = queue.Queue(), []
        threading.Thread(target=self._read_output, args=(self.process, ready), daemon=True).start()
        reader = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        reader.start()
        line = ready.get(timeout=READY_SECONDS)
        if line is None:
            self.process.wait(timeout=10)
            reader.join(timeout=10)
            raise AssertionError(f"no ready line, exit code {self.process.returncode}: {''.join(self.log)}")
        assert line.startswith("roost ready "), line
        self.doors = dict(word.split("=", 1) for word in line.split()[2:])
        return self

    @staticmethod
    def _read_output(process, ready):
        ready.put(process.stdout.readline() or None)
        for _ in process.stdout:
            pass

    def _read_log(self, process):
        for line in process.stderr:
            self.log.append(line)
            for word in line.split():
                if "/#/setup" in word:
                    self.setup_link.put(word)

    def kill(self):
        """Like a crash: no chance to say or write anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def stop(self):
        """An ordered end: exit code 0 within ten seconds."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(timeout=11) == 0, "".join(self.log[-20:])

    def door(self, name):
        """Host and port of a door."""
        host, port = self.doors[name].rsplit(":", 1)
        return host, int(port)

    @property
    def url(self):
        return f"http://{self.doors['http']}"

    def call(self, method, path, body=None, token=None, headers=None):
        """Calls the API below /api/v1 and gives what came, read as JSON where it is JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data=data, method=method)
        request.add_header("Authorization", f"Bearer {token or self.owner}")
        request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Problem(error.code, error.read().decode()) from None
        return json.loads(text) if text else None

    def device(self, name, **more):
        """Registers a device and gives its token."""
        return self.call("POST", "/devices", {"id": name, **more})["credential"]["token"]

    def points(self, device, key, token=None, times=None):
        """Every value of a key, over all pages, as {ts: value}; of the tests' day, or between two `times`."""
        found, cursor = {}, ""
        begin, end = times or (EPOCH, EPOCH + 86_400_000)
        while cursor is not None:
            path = f"/devices/{device}/telemetry?key={key}&from={begin}&to={end}{cursor}"
            page = self.call("GET", path, token=token)
            found.update({ts: value for ts, value in page["points"]})
            cursor = f"&cursor={page['next']}" if page["next"] else None
        return found


# Readings of the tests lie in a day of their own, one millisecond apart: each is a point of its own.
EPOCH = (int(time.time()) // 86_400 - 2) * 86_400_000


def reading(number, key="n"):
    """The reading that counts as number `number`."""
    return json.dumps({"ts": EPOCH + number, "values": {key: number}})


def lost(acknowledged, found):
    """Which of the acknowledged numbers are not in the history, and checks that it has nothing else."""
    assert all(ts - EPOCH == value for ts, value in found.items()), "a value moved to another time"
    return sorted(set(acknowledged) - set(found.values()))
