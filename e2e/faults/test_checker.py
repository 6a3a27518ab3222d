"""Planted liars: whoever loses, doubles or mixes up must be caught by the judge of the fault tests."""

from .checker import Inbox, Stream, judge, judge_readings


def told(qos=1, sent=5, acknowledged=(1, 2, 3, 4, 5), **more):
    return Stream("a", qos, sent, set(acknowledged), **more)


def inbox(*numbers, marked=()):
    made, seen = Inbox("reader"), set()
    for number in numbers:
        made.got("a", number, number in marked and number in seen)
        seen.add(number)
    return made


def faults(stream, *inboxes):
    return judge([stream], inboxes).faults


def test_an_honest_history_passes_and_is_counted():
    verdict = judge([told(qos=2)], [inbox(1, 2, 3, 4, 5), inbox(1, 2, 3, 4, 5)])
    assert verdict.faults == []
    assert verdict.line == "5 acknowledged, 0 lost, 10 QoS 2 exactly once, 0 duplicates"


def test_a_server_that_loses_one_acknowledged_message_is_caught():
    for qos in (1, 2):
        verdict = judge([told(qos)], [inbox(1, 2, 3, 4, 5), inbox(1, 2, 4, 5)])
        assert (verdict.lost, verdict.faults) == (1, [f"reader, a (QoS {qos}): 1 acknowledged and lost [3]"])


def test_a_server_that_loses_the_last_message_is_caught():
    assert faults(told(), inbox(1, 2, 3, 4)) == ["reader, a (QoS 1): 1 acknowledged and lost [5]"]
    assert faults(told(), Inbox("reader")) == ["reader, a (QoS 1): 5 acknowledged and lost [1, 2, 3, 4, 5]"]


def test_a_server_that_delivers_qos_2_twice_is_caught():
    for numbers in [(1, 2, 2, 3, 4, 5), (1, 2, 3, 4, 5, 2)]:
        verdict = judge([told(qos=2)], [inbox(*numbers, marked=[2])])
        assert (verdict.duplicates, verdict.faults) == (1, ["reader, a (QoS 2): 1 delivered more than once [2]"])
    # Also where the publisher had to ask twice.
    assert faults(told(qos=2, sent_again={2}), inbox(1, 2, 2, 3, 4, 5, marked=[2])) != []


def test_a_server_that_changes_the_order_is_caught():
    for qos in (1, 2):
        assert faults(told(qos), inbox(1, 3, 2, 4, 5)) == [f"reader, a (QoS {qos}): 1 out of order [2]"]


def test_qos_1_may_come_again_when_it_is_marked_or_was_sent_again():
    assert faults(told(), inbox(1, 2, 3, 2, 3, 4, 5, marked=[2, 3])) == []
    assert faults(told(sent_again={2}), inbox(1, 2, 2, 3, 4, 5)) == []
    assert faults(told(), inbox(1, 2, 2, 3, 4, 5)) == ["reader, a (QoS 1): 1 again without the duplicate mark [2]"]


def test_what_was_not_acknowledged_may_go_either_way():
    assert faults(told(acknowledged=[1, 2]), inbox(1, 2)) == []
    assert faults(told(acknowledged=[1, 2]), inbox(1, 2, 3, 4, 5)) == []


def test_what_was_refused_must_not_be_delivered():
    refused = told(acknowledged=[1, 2, 4, 5], refused={3})
    assert faults(refused, inbox(1, 2, 4, 5)) == []
    assert faults(refused, inbox(1, 2, 3, 4, 5)) == ["reader, a (QoS 1): 1 refused and delivered all the same [3]"]


def test_what_was_never_sent_is_caught():
    assert faults(told(), inbox(1, 2, 3, 4, 5, 6)) == ["reader, a (QoS 1): 1 never sent [6]"]
    stranger = inbox(1, 2, 3, 4, 5)
    stranger.got("b", 1, False)
    assert faults(told(), stranger) == ["reader got from b, which nobody sent to"]


def test_a_reading_that_the_history_lost_is_caught():
    verdict = judge([], [])
    judge_readings(verdict, "meter", [1, 2, 3], [1, 3, 4])
    assert (verdict.lost, verdict.faults) == (1, ["telemetry of meter: 1 acknowledged and lost [2]"])
