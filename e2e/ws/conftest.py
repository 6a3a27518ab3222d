"""One server for all tests of WebSockets. `echo` makes connections to the echo; numbers in the test ids are those of the
cases of Autobahn|Testsuite, whose expectations for a server the tests have as their own."""

import pytest

from roost import Roost
from ws.client import TOKEN, Client, Stream


@pytest.fixture(scope="session")
def server(binary, tmp_path_factory):
    roost = Roost(binary, tmp_path_factory.mktemp("ws")).start()
    yield roost
    roost.stop()


@pytest.fixture
def opened(server):
    """Makes connections that are closed when the test ends: `opened("/mqtt", header, …)`."""
    made = []

    def make(path, *headers, **more):
        made.append(Client(server.door("http"), path, *headers, **more))
        return made[-1]

    yield make
    for client in made:
        client.drop()


@pytest.fixture
def echo(opened):
    return opened("/api/v1/echo", TOKEN)


@pytest.fixture
def asked(server):
    """Makes connections that begin with the bytes that are given, and have the head of the answer."""
    made = []

    def make(data, **more):
        made.append(Stream(server.door("http"), data, **more))
        return made[-1]

    yield make
    for stream in made:
        stream.drop()
