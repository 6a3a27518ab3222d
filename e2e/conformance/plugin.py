"""What pytest does for `statement.py`: names, outcomes, and the comparison at the end of a whole run."""

from pathlib import Path

import pytest

from conformance import statement

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs/mqtt-conformance.md"
KEY = "statements"
NAMES = "names_of_statements"
STATEMENTS = pytest.StashKey()


def pytest_addoption(parser):
    group = parser.getgroup("conformance")
    group.addoption("--conformance", choices=["check", "write"], help="compare or write the page of conformance")
    group.addoption("--statements", type=Path, default=HERE / "statements", help="the folder of the statement files")
    group.addoption("--conformance-page", type=Path, default=PAGE, help="the page of conformance")


def pytest_configure(config):
    config.addinivalue_line("markers", "statement(version, ids): the MQTT statements that a test proves")
    try:
        config.stash[STATEMENTS] = statement.read(config.getoption("statements"))
    except statement.Wrong as wrong:
        raise pytest.UsageError(str(wrong)) from None
    # With pytest-xdist the reports of all workers come to the one process that has no workerinput.
    if config.getoption("conformance") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(config), "conformance-outcomes")


@pytest.fixture
def names_of_statements(request):
    """Takes the parameter by which a test's statements come into its name."""


def pytest_generate_tests(metafunc):
    ids = [one for mark in metafunc.definition.iter_markers("statement") for one in mark.args[1]]
    if ids:
        metafunc.fixturenames.append(NAMES)
        metafunc.parametrize(NAMES, [None], indirect=True, ids=["+".join(ids)])


def pytest_collection_modifyitems(config, items):
    for item in items:
        try:
            claims = statement.named(item)
        except statement.Wrong as wrong:
            raise pytest.UsageError(str(wrong)) from None
        for version, one in statement.unknown(config.stash[STATEMENTS], claims):
            raise pytest.UsageError(f"{item.nodeid} names {one}, which MQTT {version} does not have")
        if claims:
            item.user_properties.append((KEY, claims))


def is_whole(config):
    """Whether every test that names a statement is meant to run: not with -k, files or the like."""
    option = config.option
    narrowed = [option.keyword, option.deselect, getattr(option, "lf", False), getattr(option, "ff", False)]
    asked = {Path(config.invocation_params.dir, arg).resolve() for arg in config.args}
    return not any(narrowed) and option.markexpr in ("", "statement") and asked == {config.rootpath.resolve()}


class Outcomes:
    """What ran, how it went, and what that means for the page."""

    def __init__(self, config):
        self.config, self.passed, self.failed, self.found, self.told = config, {}, set(), [], ""

    def pytest_runtest_logreport(self, report):
        claims = dict(report.user_properties).get(KEY)
        if report.failed:
            self.failed.add(report.nodeid)
        elif claims and report.when == "call" and report.passed:
            self.passed[report.nodeid] = [tuple(claim) for claim in claims]

    def proved(self):
        found = {}
        for test, claims in self.passed.items():
            for claim in claims if test not in self.failed else ():
                found.setdefault(claim, []).append(test)
        return found

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if not is_whole(self.config) or self.config.option.collectonly:
            self.told = "conformance: not looked at, since only a part of the tests was asked for"
            return
        page = self.config.getoption("conformance_page")
        statements, proved = self.config.stash[STATEMENTS], self.proved()
        if self.config.getoption("conformance") == "write":
            page.write_text(statement.document(statements, proved))
        self.found = statement.problems(statements, proved, page.read_text() if page.exists() else "", page.name)
        self.told = f"conformance: {len(proved)} statements proved, {len(self.found)} problems"
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for problem in self.found:
            terminalreporter.write_line(f"conformance: {problem}", red=True)
        terminalreporter.write_line(self.told)
