"""From what was counted to what AWS asks for it: every line is a quantity times a price. What is not counted is assumed here."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.benchmarks.rig import prices
from tests.benchmarks.rig.prices import GB, Price

CALLS = 1_000
TARGET = 0.50  # USD for so many calls

# What Lambda, the queues and the network add, which no laptop can tell.
VCPU_MB = 1_769  # of memory for which Lambda gives one processor, https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
WAITS = {  # milliseconds that a function waits for an answer, by the beginning of the request's name
    "DynamoDB.TransactWriteItems": 15.0,
    "DynamoDB.": 6.0,
    "AmazonSQS.": 12.0,
    "AmazonSSM.": 30.0,
    "AWSEvents.": 30.0,
    "POST /2015-03-31/functions/": 20.0,
    "POST /call": 1_000.0,
    "POST /…/control": 200.0,
    "POST ": 300.0,
    "GET ": 300.0,
}
TOOL_SECONDS = 0.5 + 2.0 + 1.0  # that an inline, a background and an after-call tool wait for somebody else
HOURS = 10  # in which the thousand calls come
COLD = 100  # of a thousand calls find a function that has to be started, of each that they need
SECRETS_AGAIN = 300  # seconds after which an environment reads its secrets again
SECURE_STRINGS = 3  # that a function reads together, at the most
LOG_EVENT = 26  # bytes that CloudWatch adds to each line
LOG_MONTHS = 14 / 30  # LogRetentionDays
ITEM_MONTHS = 1 / 30  # RetentionHours, and a day until the table has deleted what has expired
# Requests an hour that Lambda sends to an empty queue: five at a time, 20 s each, https://github.com/getlift/lift/issues/132
POLLS = 5 * 3 * 60
HEADERS = 300  # bytes of an answer's, or a request's
HOURS_A_MONTH = 730
CHUNK = 512 * 1024

# As Lambda writes them with each invocation where logs are JSON and the level is INFO,
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
START = (
    '{"time":"2026-11-28T06:00:00.000Z","type":"platform.start",'
    '"record":{"requestId":"00000000-0000-4000-8000-000000000000","version":"$LATEST"}}'
)
REPORT = (
    '{"time":"2026-11-28T06:00:00.000Z","type":"platform.report","record":'
    '{"requestId":"00000000-0000-4000-8000-000000000000","metrics":{"durationMs":12.345,"billedDurationMs":13,'
    '"memorySizeMB":1024,"maxMemoryUsedMB":80},"status":"success"}}'
)
LAMBDA_LINES = len(START) + len(REPORT) + 2 * LOG_EVENT


class Use(NamedTuple):
    """What one function did: MB of its memory, seconds of CPU, and the lines that it wrote."""

    function: str
    memory: int
    invocations: int
    cpu: float
    lines: Sequence[str]

    @property
    def share(self) -> float:
        """Of a processor, at this memory."""
        return min(1.0, self.memory / VCPU_MB)

    @property
    def gb(self) -> float:
        """Memory as Lambda bills it."""
        return self.memory / 1024


class Counted(NamedTuple):
    """What was counted of something. Bytes and seconds; `api` are the bytes of each HTTP request, there and back."""

    seconds: float = 0
    uses: Sequence[Use] = ()
    api: Sequence[tuple[int, int]] = ()
    access_log: int = 0
    """Bytes of the access log's lines."""
    asked: Mapping[str, float] = Counter()
    """Requests of the functions, by name."""
    reads: float = 0
    writes: float = 0
    stored: int = 0
    batches: int = 0
    """Of messages that Lambda handed to a worker: each is received and deleted."""
    sent: int = 0
    """Bytes to hosts that are not AWS's."""

    @property
    def lines(self) -> list[str]:
        """All lines of the functions."""
        return [line for use in self.uses for line in use.lines]

    @property
    def gb(self) -> float:
        """The memory of the functions, which is the same for all that wait."""
        (gb,) = {use.gb for use in self.uses}
        return gb

    @property
    def invocations(self) -> int:
        """Of all functions."""
        return sum(use.invocations for use in self.uses)

    @property
    def waits(self) -> float:
        """Seconds that functions wait for answers."""
        return sum(number * wait(name) for name, number in self.asked.items()) / 1000


class Line(NamedTuple):
    """One line of a bill."""

    what: str
    quantity: float
    price: Price

    @property
    def usd(self) -> float:
        """What it comes to."""
        return self.quantity * self.price.usd / self.price.per


def total(lines: Iterable[Line]) -> float:
    """US dollars of all lines."""
    return sum(line.usd for line in lines)


def wait(name: str) -> float:
    """Milliseconds for a request of that name; what is no request waits for nothing."""
    return next((wait for beginning, wait in WAITS.items() if name.startswith(beginning)), 0.0)


def chunks(there: int, back: int) -> int:
    """How many requests the HTTP API counts for one: each has 512 KB."""
    return max(1, -(-max(there, back) // CHUNK))


def log_bytes(lines: Iterable[str]) -> int:
    """What CloudWatch counts of lines."""
    return sum(len(line.encode()) + LOG_EVENT for line in lines)


def of_calls(
    call: Counted,
    starts: Mapping[str, float],
    metrics: int,
    *,
    cold: int = COLD,
    slower: float = 1,
    hours: float = HOURS,
) -> list[Line]:
    """A thousand such calls. `starts` are seconds of CPU of each function's start, `metrics` how many a call counts.

    `slower`: every millisecond that a function is billed for, as many times. `hours`: in which the calls come.
    """

    def seconds(each: float) -> float:
        return CALLS * each * call.gb * slower

    written = log_bytes(call.lines)
    around = call.invocations * LAMBDA_LINES + call.access_log
    cpu = sum(use.cpu / use.share for use in call.uses)
    begun = sum(starts[use.function] / use.share for use in call.uses)
    refreshed = len(call.uses) * (min(hours * 3600 / SECRETS_AGAIN, CALLS) + cold)
    sent = call.sent + sum(back + HEADERS for _, back in call.api)
    return [
        Line("requests to the API", CALLS * sum(chunks(*each) for each in call.api), prices.API_REQUEST),
        Line("invocations", CALLS * call.invocations, prices.INVOCATION),
        Line("computing", seconds(cpu), prices.GB_SECOND),
        Line("waiting for AWS, Vapi and Twilio", seconds(call.waits), prices.GB_SECOND),
        Line("tools that wait for somebody else", seconds(TOOL_SECONDS), prices.GB_SECOND),
        Line("every invocation rounded up by 1 ms", seconds(call.invocations / 1000), prices.GB_SECOND),
        Line(f"cold starts, {cold} of each function", cold * begun * call.gb * slower, prices.GB_SECOND),
        Line("writes to the table and its index", CALLS * call.writes, prices.WRITE_UNIT),
        Line("reads of the table", CALLS * call.reads, prices.READ_UNIT),
        Line("the table and its backup, for a day", CALLS * call.stored / GB * ITEM_MONTHS, prices.STORAGE),
        Line("queues", CALLS * (_named(call, "AmazonSQS.") + 2 * call.batches), prices.SQS_REQUEST),
        Line("logs of the functions", CALLS * written, prices.LOG_BYTE),
        Line("logs of Lambda and of the API", CALLS * around, prices.LOG_BYTE),
        Line("logs kept for 14 days", CALLS * (written + around) / GB * LOG_MONTHS, prices.LOG_STORAGE),
        Line(f"{metrics} metrics, {hours:g} hours", metrics * hours / HOURS_A_MONTH, prices.METRIC),
        Line("secrets decrypted", refreshed * SECURE_STRINGS, prices.KMS_REQUEST),
        Line("data out to Vapi and Twilio", CALLS * sent, prices.TRANSFER),
    ]


def idle(sweep: Counted, alarms: int) -> list[Line]:
    """A month in which nobody calls. `sweep` is one minute of the sweeper, `alarms` how many metrics alarms watch."""
    (use,) = sweep.uses
    minutes = HOURS_A_MONTH * 60
    seconds = use.cpu / use.share + sweep.waits + use.invocations / 1000
    logged = log_bytes(sweep.lines) + use.invocations * LAMBDA_LINES
    return [
        Line("alarms", alarms, prices.ALARM),
        Line("`ActiveCalls`, written once a minute", 1, prices.METRIC),
        Line("two queues, polled", 2 * POLLS * HOURS_A_MONTH, prices.SQS_REQUEST),
        Line("the sweeper: invocations", minutes * use.invocations, prices.INVOCATION),
        Line("the sweeper: milliseconds", minutes * seconds * use.gb, prices.GB_SECOND),
        Line("the sweeper: reads", minutes * sweep.reads, prices.READ_UNIT),
        Line("the sweeper: logs", minutes * logged, prices.LOG_BYTE),
    ]


def _named(call: Counted, beginning: str) -> float:
    return sum(number for name, number in call.asked.items() if name.startswith(beginning))
