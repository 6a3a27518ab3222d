"""The judge of every fault test. It knows nothing of sockets: publishers and subscribers write down what happened.

A stream is what one publisher sends to one topic: the numbers 1, 2, 3 … in this order. An inbox is what one subscriber
got. What the publisher was told decides what the subscriber is owed.
"""

from collections import Counter
from dataclasses import dataclass, field

SHOWN = 5


@dataclass
class Stream:
    """What one publisher sent to one topic, and what it was told about each number."""

    name: str
    qos: int
    sent: int = 0
    acknowledged: set = field(default_factory=set)
    refused: set = field(default_factory=set)
    # Sent a second time because no answer came: a QoS 1 subscriber may then get it twice.
    sent_again: set = field(default_factory=set)


@dataclass
class Inbox:
    """What one subscriber got, in this order: for each stream's name pairs of number and MQTT's duplicate mark.

    A message of QoS 2 stands here once for each delivery that the protocol calls a new one.
    """

    name: str
    streams: dict = field(default_factory=dict)
    highest: dict = field(default_factory=dict)

    def got(self, stream, number, is_marked):
        self.streams.setdefault(stream, []).append((number, is_marked))
        self.highest[stream] = max(number, self.last(stream))

    def last(self, stream):
        """The highest number of a stream so far."""
        return self.highest.get(stream, 0)


@dataclass
class Verdict:
    """Sums, and the sentences that say what was not kept."""

    acknowledged: int = 0
    lost: int = 0
    refused: int = 0
    exactly_once: int = 0
    duplicates: int = 0
    # QoS 1 only, where MQTT allows them.
    repeated: int = 0
    faults: list = field(default_factory=list)

    def blame(self, text, numbers=()):
        numbers = sorted(numbers)
        shown = f" {numbers[:SHOWN]}{'…' if len(numbers) > SHOWN else ''}" if numbers else ""
        self.faults.append(text + shown)

    @property
    def line(self):
        return (f"{self.acknowledged:,} acknowledged, {self.lost:,} lost, {self.exactly_once:,} QoS 2 exactly once, "
                f"{self.duplicates:,} duplicates")


def judge(streams, inboxes):
    """Compares what the publishers were told with what each of the subscribers, all of whom wanted all, got."""
    verdict = Verdict()
    known = {stream.name: stream for stream in streams}
    for stream in streams:
        verdict.acknowledged += len(stream.acknowledged)
        verdict.refused += len(stream.refused)
    for inbox in inboxes:
        for stream in streams:
            _judge_one(verdict, stream, inbox)
        for name in inbox.streams.keys() - known.keys():
            verdict.blame(f"{inbox.name} got from {name}, which nobody sent to")
    return verdict


def _judge_one(verdict, stream, inbox):
    where = f"{inbox.name}, {stream.name} (QoS {stream.qos})"
    got = inbox.streams.get(stream.name, [])
    times = Counter(number for number, _ in got)

    if lost := stream.acknowledged - times.keys():
        verdict.lost += len(lost)
        verdict.blame(f"{where}: {len(lost)} acknowledged and lost", lost)
    if foreign := [number for number in times if not 0 < number <= stream.sent]:
        verdict.blame(f"{where}: {len(foreign)} never sent", foreign)
    if delivered := stream.refused & times.keys():
        verdict.blame(f"{where}: {len(delivered)} refused and delivered all the same", delivered)

    repeated = [number for number, count in times.items() if count > 1]
    if stream.qos == 2:
        verdict.exactly_once += sum(1 for count in times.values() if count == 1)
        verdict.duplicates += len(repeated)
        if repeated:
            verdict.blame(f"{where}: {len(repeated)} delivered more than once", repeated)
    else:
        verdict.repeated += sum(times[number] - 1 for number in repeated)
    _judge_order(verdict, stream, got, where)


def _judge_order(verdict, stream, got, where):
    """First deliveries rise. A QoS 1 message may come again, marked, or because it was sent again."""
    seen, highest, late, unmarked = set(), 0, [], []
    for number, is_marked in got:
        if number in seen:
            if stream.qos == 1 and not is_marked and number not in stream.sent_again:
                unmarked.append(number)
            continue
        seen.add(number)
        if number < highest:
            late.append(number)
        highest = max(highest, number)
    if late:
        verdict.blame(f"{where}: {len(late)} out of order", late)
    if unmarked:
        verdict.blame(f"{where}: {len(unmarked)} again without the duplicate mark", unmarked)


def judge_readings(verdict, device, acknowledged, points):
    """Adds a device's telemetry: the numbers that were acknowledged, and the values that the history gives."""
    verdict.acknowledged += len(acknowledged)
    if lost := set(acknowledged) - set(points):
        verdict.lost += len(lost)
        verdict.blame(f"telemetry of {device}: {len(lost)} acknowledged and lost", lost)
