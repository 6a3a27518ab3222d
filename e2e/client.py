"""A paho client whose events are queues, so that tests wait for them and never sleep."""

import queue
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

WAIT = 20


class Client:
    """Connected when made. `messages`, `acknowledged` and `closed` fill as things happen."""

    def __init__(self, door, user, password, *, version=mqtt.MQTTv311, client_id="", session=False, will=None,
                 transport="tcp", tls=None, inflight=100):
        self.messages, self.closed, self._connects = queue.Queue(), queue.Queue(), queue.Queue()
        self._acks, self._subacks, self._lock = {}, queue.Queue(), threading.Condition()
        clean = {} if version == mqtt.MQTTv5 else {"clean_session": not session}
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version, transport=transport, **clean)
        self.mqtt.username_pw_set(user, password)
        self.mqtt.max_inflight_messages_set(inflight)
        self.mqtt.max_queued_messages_set(0)
        if transport == "websockets":
            self.mqtt.ws_set_options(path="/mqtt")
        if tls:
            self.mqtt.tls_set(ca_certs=tls)
        if will:
            self.mqtt.will_set(*will)
        self.mqtt.on_connect = lambda _c, _u, flags, reason, _p: self._connects.put((flags, reason))
        self.mqtt.on_disconnect = lambda _c, _u, _f, reason, _p: self.closed.put(reason)
        self.mqtt.on_message = lambda _c, _u, message: self.messages.put(message)
        self.mqtt.on_subscribe = lambda _c, _u, _m, reasons, _p: self._subacks.put(reasons)
        self.mqtt.on_publish = self._on_publish
        more = {}
        if version == mqtt.MQTTv5:
            properties = mqtt.Properties(mqtt.PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3_600 if session else 0
            more = {"clean_start": not session, "properties": properties}
        self.mqtt.connect(*door, keepalive=60, **more)
        self.mqtt.loop_start()
        self.flags, self.reason = self._connects.get(timeout=WAIT)

    def _on_publish(self, _client, _user, packet_id, reason, _properties):
        with self._lock:
            self._acks[packet_id] = reason
            self._lock.notify_all()

    def subscribe(self, topic_filter, qos=1):
        assert not self.is_refused(topic_filter, qos), topic_filter
        return self

    def is_refused(self, topic_filter, qos=1):
        """Subscribes; whether the server would not have it. Filters with options of 5.0 go in a list of their own."""
        self.mqtt.subscribe(topic_filter, qos)
        return any(reason.is_failure for reason in self._subacks.get(timeout=WAIT))

    def publish(self, topic, payload, qos=1, retain=False):
        """Publishes and waits for the acknowledgement, whose reason it gives."""
        packet_id = self.send(topic, payload, qos, retain)
        with self._lock:
            assert self._lock.wait_for(lambda: packet_id in self._acks, WAIT), f"no acknowledgement for {topic}"
            return self._acks.pop(packet_id)

    def send(self, topic, payload, qos=1, retain=False):
        """Publishes and does not wait. Gives the packet id."""
        return self.mqtt.publish(topic, payload, qos, retain).mid

    def wait_for_acknowledgements(self, count):
        with self._lock:
            assert self._lock.wait_for(lambda: len(self._acks) >= count, 60), f"{len(self._acks)} of {count}"

    def acknowledged(self):
        """The packet ids that were acknowledged as taken."""
        with self._lock:
            return [packet_id for packet_id, reason in self._acks.items() if not reason.is_failure]

    def next(self):
        """The next message: topic and text."""
        message = self.messages.get(timeout=WAIT)
        return message.topic, message.payload.decode()

    def leave(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def drop(self):
        """Lets go of a server that is not there any more, without reconnecting."""
        self.mqtt.loop_stop()
