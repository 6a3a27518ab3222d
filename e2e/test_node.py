"""mqtt.js, whose tests are written in its own language."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_mqtt_js_over_tcp_and_websocket(roost):
    assert (HERE / "node_modules/mqtt").exists(), "npm ci in e2e/ comes first"
    addresses = {
        "ROOST_MQTT_URL": f"mqtt://{roost.doors['mqtt']}",
        "ROOST_WS_URL": f"ws://{roost.doors['http']}/mqtt",
        "ROOST_HTTP_URL": roost.url,
        "ROOST_TOKEN": roost.owner,
    }
    done = subprocess.run(["node", "--test", "mqttjs.test.mjs"], cwd=HERE, env={**os.environ, **addresses},
                          capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
