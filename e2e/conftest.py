from pathlib import Path

import pytest

from roost import Roost

pytest_plugins = ["conformance.plugin", "pytester"]
BUILT = Path(__file__).parent.parent / "target/debug/roost"


def pytest_addoption(parser):
    parser.addoption("--roost", type=Path, default=BUILT, help="the program under test")


@pytest.fixture(scope="session")
def binary(request):
    path = request.config.getoption("--roost")
    if not path.exists():
        pytest.exit(f"{path} is not there: cargo build -p roost-server", returncode=2)
    return path


@pytest.fixture
def make_roost(binary, tmp_path):
    """Makes servers that are gone when the test ends."""
    made = []

    def make(*flags, name="roost", **more):
        made.append(Roost(binary, tmp_path / name, *flags, **more).start())
        return made[-1]

    yield make
    for server in made:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture
def roost(make_roost):
    server = make_roost()
    yield server
    if server.process.poll() is None:
        server.stop()
