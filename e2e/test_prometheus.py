"""What Prometheus scrapes, read by the parser of its own client library."""

import json
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from roost import Problem

HOSTILE = ["a\"b", "x\\y", "x\\n", "a.b", "a-b", "a_b", "é", "🌡", "}{", "# TYPE a gauge", "a} 1", "a b", "=", "k" * 256, "0"]


def scrape(roost, path, token):
    request = urllib.request.Request(f"{roost.url}{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = answer.read().decode()
    families = list(text_string_to_metric_families(text))
    assert len(families) == len({(family.name, family.type) for family in families}), "each name is described once"
    assert all(family.documentation and family.type != "unknown" for family in families)
    return families


def viewer(roost, token=None):
    return roost.call("POST", "/tokens", {"name": "prometheus", "role": "viewer"}, token)["token"]


def test_every_key_comes_back_as_it_was_under_a_name_that_can_be(roost):
    token = roost.device("hostile")
    for number, key in enumerate(HOSTILE):
        roost.call("POST", "/me/telemetry", {"values": {key: number}}, token)
    families = scrape(roost, "/api/v1/metrics", viewer(roost))
    samples = [sample for family in families for sample in family.samples if sample.labels["device"] == "hostile"]
    assert {sample.labels["key"]: sample.value for sample in samples} == {key: number for number, key in enumerate(HOSTILE)}
    assert all(family.type == "gauge" for family in families)
    for number, key in enumerate(("l\nm", "\r", "l\tm")):
        with pytest.raises(Problem) as refused:
            roost.call("POST", "/me/telemetry", {"values": {key: number}}, token)
        assert refused.value.status == 422, "a key has no control characters"


def test_values_are_numbers_of_any_size_and_nothing_else(roost):
    token = roost.device("sizes")
    values = {"large": 1.5e300, "small": 5e-324, "zero": -0.0, "int": 9007199254740993, "uint": 2**64 - 1, "min": -(2**63), "yes": True, "no": False}
    roost.call("POST", "/me/telemetry", {**values, "text": "1", "none": None}, token)
    families = scrape(roost, "/api/v1/metrics", viewer(roost))
    found = {sample.labels["key"]: float(sample.value) for family in families for sample in family.samples if sample.labels["device"] == "sizes"}
    assert found == {key: float(value) for key, value in values.items()}


def test_a_viewer_s_token_suffices_and_shows_its_own_tenant_only(roost):
    roost.call("POST", "/me/telemetry", {"ours": 1}, roost.device("wall"))
    stranger = roost.call("POST", "/tenants", {"id": "strangers"})["owner_token"]
    theirs = roost.call("POST", "/devices", {"id": "wall"}, stranger)["credential"]["token"]
    roost.call("POST", "/me/telemetry", {"theirs": 2}, theirs)
    names = lambda token: {family.name for family in scrape(roost, "/api/v1/metrics", token)}  # noqa: E731
    assert "roost_theirs" not in names(viewer(roost)) and "roost_ours" in names(viewer(roost))
    assert names(viewer(roost, stranger)) == {"roost_theirs"}
    for token in (theirs, "nobody"):
        with pytest.raises(Problem) as refused:
            roost.call("GET", "/metrics", token=token)
        assert refused.value.status in (401, 403)


def test_a_hundred_thousand_values_are_shown_and_more_are_refused(make_roost):
    roost = make_roost()
    values = json.dumps({f"k{number}": number for number in range(1_000)}).encode()
    for number in range(100):
        token = roost.device(f"many{number}", labels={"half": str(number % 2)})
        roost.call("POST", "/me/telemetry", values, token)
    assert len(scrape(roost, "/api/v1/metrics", roost.owner)) == 1_000
    roost.call("POST", "/me/telemetry", {"one": 1}, roost.device("more", labels={"half": "0"}))
    with pytest.raises(Problem) as refused:
        roost.call("GET", "/metrics")
    assert refused.value.status == 422
    families = scrape(roost, "/api/v1/metrics?label=half%3D1", roost.owner)
    assert {len(family.samples) for family in families} == {50}


def test_what_the_server_counts_can_be_parsed_too(roost):
    families = scrape(roost, "/metrics", roost.owner)
    assert {"counter", "gauge"} <= {family.type for family in families}
