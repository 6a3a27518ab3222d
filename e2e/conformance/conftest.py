"""One server for all tests of conformance; each keeps to topics and client ids of its own, see `name`."""

import itertools

import pytest

from raw_mqtt import raw
from roost import Roost

__all__ = ["raw"]
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
