"""The numbered statements of MQTT, which tests prove which of them, and the page that says so.

`statements/mqtt-*.tsv` says for each what Roost does. A test names what it proves:

    @proves("MQTT-3.1.2-24")                      below v3/ or v5/, whose version is meant
    @proves(v3=["MQTT-3.1.2-24"], v5=[...])       elsewhere; a test that takes `version` runs in each version named
    @pytest.mark.parametrize("x", [case(1, proves=["MQTT-2.1.3-1"])])

and the ids stand in its name. What ran and passed is gathered in `plugin.py`.
"""

import inspect
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

VERSIONS = ("3.1.1", "5.0")
FOLDERS = {"v3": "3.1.1", "v5": "5.0"}
SIDES = ("server", "client", "both", "network")
# Whose statements need a test of ours.
OURS = ("server", "both")
COLUMNS = ["id", "side", "what Roost does"]
REWRITE = "make conformance"
HEAD = """# MQTT conformance

What Roost does about each numbered statement of the MQTT specifications, and the test that holds it to that. Written by
`{rewrite}` from `e2e/conformance/statements/` and from the tests that ran and passed; `make test` fails where a statement
that concerns a server has no such test, and where this page is not what would be written. The words are ours: what a
statement asks is to be read in the specification, of which the ids are. A statement that binds only clients, or only the
network beneath, is listed without a test where there is nothing for a server to do.
"""


@dataclass(frozen=True)
class Statement:
    id: str
    side: str
    does: str


class Wrong(Exception):
    """A statement file or a test's claim that cannot be right."""


def read(folder):
    """The statements of a folder: {version: {id: Statement}}, in the order of the files."""
    return {version: _read(Path(folder) / f"mqtt-{version}.tsv") for version in VERSIONS}


def _read(path):
    lines = path.read_text().splitlines()
    if not lines or lines[0].split("\t") != COLUMNS:
        raise Wrong(f"{path.name} does not begin with the columns {', '.join(COLUMNS)}")
    found = {}
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) != len(COLUMNS) or not all(field.strip() for field in fields) or fields[1] not in SIDES:
            raise Wrong(f"{path.name}:{number} is not an id, a side and what Roost does")
        if fields[0] in found:
            raise Wrong(f"{path.name}:{number} says {fields[0]} a second time")
        found[fields[0]] = Statement(*fields)
    return found


def _mark(version, ids):
    return pytest.mark.statement(version, tuple(ids))


def proves(*ids, v3=None, v5=None):
    """The statements that a test proves. Without `v3` and `v5` the folder tells the version; an empty one proves nothing
    in its version and runs there all the same."""

    def decorate(test):
        if ids:
            return _mark(None, ids)(test)
        asked = [(4, "v3.1.1", "3.1.1", v3), (5, "v5", "5.0", v5)]
        if "version" not in inspect.signature(test).parameters:
            for _, _, version, named in asked:
                test = _mark(version, named)(test) if named else test
            return test
        cases = [pytest.param(level, id="-".join([label, *filter(None, ["+".join(named)])]), marks=_mark(version, named))
                 for level, label, version, named in asked if named is not None]
        return pytest.mark.parametrize("version", cases)(test)

    return decorate


def case(*values, proves, id=None):
    """A parameter set that proves statements; `id` tells it from others that prove the same."""
    return pytest.param(*values, id="-".join(filter(None, ["+".join(proves), id])), marks=_mark(None, proves))


def version_of(path):
    """The version that a test file's folder stands for, or None."""
    return next((FOLDERS[part] for part in Path(path).parts[::-1] if part in FOLDERS), None)


def named(item):
    """What a collected test says it proves: [(version, id)]."""
    found = []
    for mark in item.iter_markers("statement"):
        version = mark.args[0] or version_of(item.path)
        if version is None:
            raise Wrong(f"{item.nodeid} is below neither v3 nor v5 and names no version")
        found += [(version, one) for one in mark.args[1]]
    return found


def unknown(statements, claims):
    """The claims, [(version, id)], that no file has."""
    return [(version, one) for version, one in claims if one not in statements[version]]


def problems(statements, proved, written, path):
    """What is wrong after a whole run. `proved` is {(version, id): test ids}, `written` the committed page."""
    found = [f"[{one.id}] of MQTT {version} has no test that ran and passed"
             for version in VERSIONS for one in statements[version].values()
             if one.side in OURS and not proved.get((version, one.id))]
    if not found and written != document(statements, proved):
        found.append(f"{path} is not what the tests say: run `{REWRITE}`")
    return found


def document(statements, proved):
    """The page, from the statements and {(version, id): test ids}."""
    parts = [HEAD.format(rewrite=REWRITE)]
    for version in VERSIONS:
        rows = statements[version].values()
        tested = sum(bool(proved.get((version, one.id))) for one in rows)
        ours = sum(one.side in OURS for one in rows)
        parts.append(f"\n## MQTT {version}\n\n{len(rows)} statements, {ours} of which concern a server; {tested} have a"
                     " test.\n\n| statement | side | what Roost does | tests |\n|---|---|---|---|\n")
        parts += [_row(one, proved.get((version, one.id), ())) for one in rows]
    return "".join(parts)


def _row(one, tests):
    links = sorted({_link(test) for test in tests})
    does = one.does.replace("|", "\\|")
    return f"| {one.id} | {one.side} | {does} | {'<br>'.join(links)} |\n"


def _link(test):
    """A test id of pytest, without its parameters, as a link to its file."""
    path, _, function = re.sub(r"\[.*", "", test, flags=re.DOTALL).partition("::")
    return f"[{function.removeprefix('test_').replace('_', ' ')}](../e2e/{path})"
