"""The check of conformance can fail: each of its complaints, provoked in a small suite of its own."""

import re
from collections import Counter
from pathlib import Path

import pytest

from conformance.statement import read

HERE = Path(__file__).parent
HEAD = "id\tside\twhat Roost does\n"
FIVE = "MQTT-1.0.0-1\tserver\tsays hello\nMQTT-1.0.0-2\tclient\tnothing\n"
TESTS = """
import pytest
from conformance.statement import case, proves

@proves("MQTT-1.0.0-1")
def test_hello():
    pass

@pytest.mark.parametrize("x", [case(1, proves=["MQTT-1.0.0-1"], id="one")])
def test_cases(x):
    pass

@proves(v5=["MQTT-1.0.0-1"])
def test_by_argument(version):
    pass
"""


# How many statements each chapter of MQTT 5.0 has, by its appendix B.
CHAPTERS = {"1": 5, "2": 7, "3": 175, "4": 60, "6": 4}


def test_the_list_of_5_0_is_whole():
    ids = [one.removeprefix("MQTT-") for one in read(HERE / "conformance/statements")["5.0"]]
    assert dict(Counter(one.partition(".")[0] for one in ids)) == CHAPTERS
    assert ids == sorted(ids, key=lambda one: [int(part) for part in re.split(r"[.-]", one)])


@pytest.fixture
def suite(pytester):
    """A folder of tests and statements: `suite(*arguments)` runs it and gives exit code and output."""
    tmp_path = pytester.path
    (tmp_path / "suite/v5").mkdir(parents=True)
    (tmp_path / "statements").mkdir()
    (tmp_path / "suite/pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider --strict-markers\n")
    say = {"3.1.1": "", "5.0": FIVE}
    tests = tmp_path / "suite/v5/test_it.py"
    tests.write_text(TESTS)

    def run(*more, mode="check", asked="suite"):
        for version, lines in say.items():
            (tmp_path / f"statements/mqtt-{version}.tsv").write_text(HEAD + lines)
        ended = pytester.runpytest_inprocess(
            "-p", "conformance.plugin", asked, "--statements", "statements", "--conformance-page", "page.md",
            "--conformance", mode, "-v", *more)
        return ended.ret, ended.stdout.str() + ended.stderr.str()

    run.say, run.tests, run.page = say, tests, tmp_path / "page.md"
    return run


def test_a_page_that_was_written_passes_the_check(suite):
    code, output = suite(mode="write")
    assert code == 0, output
    assert "test_hello[MQTT-1.0.0-1]" in output and "test_cases[MQTT-1.0.0-1-one]" in output
    page = suite.page.read_text()
    assert "2 statements, 1 of which concern a server; 1 have a test." in page
    assert "| MQTT-1.0.0-1 | server | says hello | [by argument](../e2e/v5/test_it.py)<br>[cases]" in page
    assert "| MQTT-1.0.0-2 | client | nothing |  |" in page
    assert suite()[0] == 0


def test_a_page_that_is_not_what_the_tests_say_fails(suite):
    suite(mode="write")
    suite.say["5.0"] = FIVE.replace("says hello", "says goodbye")
    code, output = suite()
    assert code == 1 and "page.md is not what the tests say: run `make conformance`" in output
    suite.page.unlink()
    assert suite()[0] == 1


@pytest.mark.parametrize("body", ["assert False", "pytest.skip('later')", "pytest.xfail('known')"])
def test_a_statement_whose_tests_did_not_pass_fails(suite, body):
    suite.tests.write_text(TESTS[:TESTS.index("@pytest")].replace("pass", body))
    code, output = suite(mode="write")
    assert code == 1 and "[MQTT-1.0.0-1] of MQTT 5.0 has no test that ran and passed" in output


def test_a_test_that_failed_in_the_end_proves_nothing(suite):
    suite.tests.write_text("""
import pytest
from conformance.statement import proves

@pytest.fixture
def broken():
    yield
    assert False

@proves("MQTT-1.0.0-1")
def test_hello(broken):
    pass
""")
    code, output = suite(mode="write")
    assert code == 1 and "has no test that ran and passed" in output


def test_a_statement_without_a_test_fails_unless_it_is_a_client_s(suite):
    suite.say["5.0"] = FIVE + "MQTT-1.0.0-3\tboth\tmore\nMQTT-1.0.0-4\tnetwork\tnothing\n"
    code, output = suite(mode="write")
    assert code == 1 and "[MQTT-1.0.0-3]" in output and "[MQTT-1.0.0-4]" not in output


@pytest.mark.parametrize("before, after, said", [
    ('proves("MQTT-1.0.0-1")', 'proves("MQTT-1.0.0-9")', "names MQTT-1.0.0-9, which MQTT 5.0 does not have"),
    ("v5=", "v3=", "names MQTT-1.0.0-1, which MQTT 3.1.1 does not have"),
])
def test_a_test_that_names_an_unknown_statement_fails_even_alone(suite, before, after, said):
    suite.tests.write_text(TESTS.replace(before, after))
    code, output = suite("-k", "nothing-of-it")
    assert code not in (0, 1, 5) and said in output


@pytest.mark.parametrize("asked, more", [
    ("suite", ["-k", "cases"]), ("suite/v5/test_it.py", []), ("suite/v5/test_it.py::test_hello", []),
    ("suite", ["--deselect", "suite/v5/test_it.py::test_hello"]),
])
def test_a_part_of_the_tests_is_not_judged(suite, asked, more):
    suite.say["5.0"] = FIVE + "MQTT-1.0.0-3\tboth\tmore\n"
    code, output = suite(*more, asked=asked)
    assert code == 0 and "not looked at" in output
    assert not suite.page.exists()


@pytest.mark.parametrize("line", [
    "MQTT-1.0.0-1\tserver\ttwice\n", "MQTT-1.0.0-5\tserver\n", "MQTT-1.0.0-5\tbroker\tx\n", "MQTT-1.0.0-5\tserver\t \n",
])
def test_a_statement_file_is_read_strictly(suite, line):
    suite.say["5.0"] = FIVE + line
    code, output = suite("-k", "cases")
    assert code not in (0, 1) and "mqtt-5.0.tsv:4" in output
