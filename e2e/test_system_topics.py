"""`$SYS`: what is counted, for the operator only."""

import paho.mqtt.client as mqtt

from client import Client


def test_the_operator_is_told_what_is_counted_and_nobody_else(make_roost):
    roost = make_roost("--sys_interval", "1s")
    token = roost.device("probe")
    device = Client(roost.door("mqtt"), "probe", token, version=mqtt.MQTTv5)
    device.subscribe("#")
    operator = Client(roost.door("mqtt"), "operator", roost.owner, version=mqtt.MQTTv5)
    operator.subscribe("$SYS/#")
    told = {}
    while not {"$SYS/broker/clients/connected", "$SYS/broker/subscriptions/count"} <= told.keys():
        topic, text = operator.next()
        told[topic] = text
    assert told["$SYS/broker/clients/connected"] in ("2", b"2"), told
    operator.publish("plain", "behind them")
    heard = []
    while "plain" not in heard:
        heard.append(device.next()[0])
    assert not [topic for topic in heard if topic.startswith("$")]
    device.leave()
    operator.leave()
