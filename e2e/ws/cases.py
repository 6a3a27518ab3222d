"""Tables of cases: the first of each row is the number of the case, and becomes the id of the test."""

import pytest


def cases(names, rows):
    return pytest.mark.parametrize(names, [pytest.param(*row[1:], id=row[0]) for row in rows])


def numbered(prefix, values):
    """Rows `prefix.1`, `prefix.2`, … of these values."""
    return [(f"{prefix}.{number}", value) for number, value in enumerate(values, 1)]
