"""One server for all tests of conformance; each keeps to topics and client ids of its own, see `name`."""

import itertools

import pytest

from conformance.statement import version_of
from raw_mqtt import V3, V5, connections
from roost import Roost

COUNT = itertools.count(1)


@pytest.fixture(scope="session")
def server(binary, tmp_path_factory):
    roost = Roost(binary, tmp_path_factory.mktemp("conformance")).start()
    yield roost
    roost.stop()


@pytest.fixture
def name():
    """A topic level and client id that no other test has, of at most eight letters."""
    return f"c{next(COUNT)}"


@pytest.fixture
def raw(request, server):
    """As in `raw_mqtt`, in the folder's version, and each test calls from an address of its own: what one does wrong is
    held against no other."""
    number = next(COUNT)
    version = V3 if version_of(request.path) == "3.1.1" else V5
    yield from connections(server, version, f"127.9.{number // 250}.{number % 250 + 1}")
