"""Runs the dashboard's browser tests against a server without an owner: browser.py ROOST_BINARY"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from roost import READY_SECONDS, Roost

WEB = Path(__file__).parent.parent / "web"

with tempfile.TemporaryDirectory(prefix="roost-browser-") as folder:
    server = Roost(sys.argv[1], Path(folder), owner=None).start()
    try:
        link = server.setup_link.get(timeout=READY_SECONDS)
        more = {"ROOST_URL": server.url, "ROOST_SETUP_LINK": link}
        done = subprocess.run(["npm", "run", "--silent", "e2e"], cwd=WEB, env={**os.environ, **more}, check=False)
        if done.returncode != 0:
            sys.stderr.writelines(server.log[-40:])
    finally:
        server.stop()
sys.exit(done.returncode)
