"""Connections of MQTT 3.1.1."""

import pytest


@pytest.fixture
def connected(raw):
    """Makes connections that were let in: `connected("id", clean=False)`."""
    return lambda client_id="", **more: raw(client_id=client_id, **more)


@pytest.fixture
def unconnected(raw):
    """Makes connections on which nothing was said yet."""
    return raw.unconnected
