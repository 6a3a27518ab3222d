"""Section 4.8: subscriptions that several sessions share."""

import pytest
from paho.mqtt.packettypes import PacketTypes as Kind

from conformance.statement import proves
from conformance.v5.asserts import MALFORMED, is_ended
from raw_mqtt import V5, ack, session, subscribe, unsubscribe

SAID = [lambda f: subscribe(V5, [(f, 1)]), lambda f: unsubscribe(V5, [f])]
BOTH = pytest.mark.parametrize("said", SAID, ids=["SUBSCRIBE", "UNSUBSCRIBE"])


@proves("MQTT-4.8.2-1")
@pytest.mark.parametrize("filter", ["$share//a", "$share//", "$share/"])
@BOTH
def test_a_share_without_a_name_is_malformed(raw, filter, said):
    is_ended(raw, said(filter), MALFORMED)


@proves("MQTT-4.8.2-2")
@pytest.mark.parametrize("filter", ["$share/g", "$share/g/", "$share/+/a", "$share/#/a", "$share/g+/a", "$share/a#b/a", "$share/g/#/a"])
@BOTH
def test_a_share_with_a_wrong_name_or_without_a_filter_is_malformed(raw, filter, said):
    is_ended(raw, said(filter), MALFORMED)


def take_all(members, name, sender):
    """What each member has before the word that all hear."""
    sender.publish(f"{name}-end", "end", 2)
    return [member.texts_until("end") for member in members]


@proves("MQTT-4.8.2-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_message_goes_to_one_member_and_all_have_their_part(raw, name, qos):
    members, other, plain, sender = [raw() for _ in range(3)], raw(), raw(), raw()
    for member in members:
        assert member.subscribe((f"$share/g/{name}/+", 2), (f"{name}-end", 2)) == (2, 2)
    other.subscribe((f"$share/h/{name}/+", 2), (f"{name}-end", 2))
    plain.subscribe((f"{name}/+", 2), (f"{name}-end", 2))
    sent = [str(count) for count in range(60)]
    for text in sent:
        sender.publish(f"{name}/x", text, qos)
    shares = take_all(members, name, sender)
    assert sorted(sum(shares, []), key=int) == sent
    # Fair: nobody has more than half as much again as an even part.
    assert all(10 <= len(share) <= 30 for share in shares), [len(share) for share in shares]
    assert other.texts_until("end") == sent == plain.texts_until("end")
    assert members[0].unsubscribe(f"$share/g/{name}/+") == (0,)
    for text in sent:
        sender.publish(f"{name}/x", text, qos)
    shares = take_all(members, name, sender)
    assert shares[0] == [] and sorted(sum(shares, []), key=int) == sent


@proves("MQTT-4.8.2-3")
def test_each_member_has_messages_at_its_own_qos(raw, name):
    members, sender = [raw(), raw(), raw()], raw()
    for qos, member in enumerate(members):
        assert member.subscribe((f"$share/g/{name}", qos), (f"{name}-end", 2)) == (qos, 2)
    for count in range(30):
        sender.publish(name, str(count), 2)
    sender.publish(f"{name}-end", "end", 2)
    total = 0
    for qos, member in enumerate(members):
        while (found := member.message()).text != "end":
            assert found.qos == qos
            total += 1
    assert total == 30


@proves("MQTT-4.8.2-4", "MQTT-4.8.2-5")
@pytest.mark.parametrize("ends", [False, True])
def test_a_qos_2_message_that_was_sent_stays_with_its_member(raw, name, ends):
    holder, sender = raw(client_id=name, **session(60)), raw()
    holder.acknowledges = False
    holder.subscribe((f"$share/g/{name}/+", 2))
    sender.publish(f"{name}/x", "held", 2)
    held = holder.message()
    other = raw()
    other.subscribe((f"$share/g/{name}/+", 2), (f"{name}-end", 2))
    holder.drop()
    if ends:
        again = raw(client_id=name, clean=True)
        again.subscribe((f"{name}-end", 2))
        sender.publish(f"{name}-end", "end", 2)
        assert again.texts_until("end") == []
    else:
        again = raw(client_id=name, **session(60))
        found = again.message()
        assert (found.text, found.packet_id, found.dup) == ("held", held.packet_id, 1)
        sender.publish(f"{name}-end", "end", 2)
    assert other.texts_until("end") == []


@proves("MQTT-4.8.2-6")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_a_member_refuses_goes_to_no_other(raw, name, qos):
    refuser, sender = raw(), raw()
    refuser.acknowledges = False
    refuser.subscribe((f"$share/g/{name}/+", 2))
    sender.publish(f"{name}/x", "refused", qos)
    found = refuser.message()
    other = raw()
    other.subscribe((f"$share/g/{name}/+", 2), (f"{name}-end", 2))
    refuser.send(ack(Kind.PUBACK if qos == 1 else Kind.PUBREC, found.packet_id, 0x97))
    refuser.ping().leave()
    sender.publish(f"{name}-end", "end", 2)
    assert other.texts_until("end") == []


@proves("MQTT-4.8.2-5")
@pytest.mark.parametrize("expiry, how", [(0, "lost"), (0, "left"), (60, "begun afresh"), (1, "expired")])
def test_what_a_member_leaves_behind_goes_to_the_others(raw, name, expiry, how):
    kept = {"clean": False, "properties": {"SessionExpiryInterval": expiry, "ReceiveMaximum": 2}}
    leaver, watcher, sender = raw(client_id=name, **kept), raw(), raw()
    leaver.acknowledges = False
    leaver.subscribe((f"$share/g/{name}/+", 2))
    watcher.subscribe((f"{name}/+", 2))
    for count in range(10):
        sender.publish(f"{name}/x", str(count), 2 if count % 2 else 1)
        assert watcher.message().text == str(count)
    assert [leaver.message().text for _ in range(2)] == ["0", "1"]
    other = raw()
    other.subscribe((f"$share/g/{name}/+", 2), f"{name}-end")
    leaver.leave() if how == "left" else leaver.drop()
    if how == "begun afresh":
        raw(client_id=name, clean=True)
    # Message 1 was sent at QoS 2, so it is nobody else's. Order is kept within a QoS only.
    found = sorted((other.message() for _ in range(9)), key=lambda one: one.text)
    assert [one.text for one in found] == ["0", "2", "3", "4", "5", "6", "7", "8", "9"]
    assert [(one.dup, one.qos) for one in found] == [(0, 2 if int(one.text) % 2 else 1) for one in found]
    sender.publish(f"{name}-end", "end")
    assert other.texts_until("end") == []


@proves("MQTT-4.8.2-1")
def test_a_member_that_is_away_is_passed_over_while_another_is_there(raw, name):
    raw(client_id=name, **session(60)).subscribe((f"$share/g/{name}/+", 1))
    raw(client_id=name, **session(60)).leave()
    here, sender = raw(), raw()
    here.subscribe((f"$share/g/{name}/+", 1), f"{name}-end")
    for count in range(6):
        sender.publish(f"{name}/x", str(count))
    sender.publish(f"{name}-end", "end")
    assert here.texts_until("end") == [str(count) for count in range(6)]


@proves("MQTT-3.3.1-9")
@pytest.mark.parametrize("handling", [0, 0x10, 0x20])
def test_a_shared_subscription_gets_nothing_kept(raw, name, handling):
    member, sender = raw(), raw()
    sender.publish(name, "kept", retain=1)
    member.subscribe((f"$share/g/{name}", 1 | handling))
    sender.publish(name, "end")
    assert member.texts_until("end") == []
    sender.publish(name, "", retain=1)
