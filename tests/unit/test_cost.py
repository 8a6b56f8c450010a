"""The bill: what is multiplied by what, and how a page shows it."""

import json
from collections import Counter
from pathlib import Path

import pytest

from devkit import script
from devkit.loopback import Request
from switchboard import signed
from tests.benchmarks import cost
from tests.benchmarks.cost import Results, metrics_of, one_of
from tests.benchmarks.rig import bill, prices, stack
from tests.benchmarks.rig.bill import LOG_EVENT, Counted, Line, Use, of_calls, total
from tests.benchmarks.rig.front import named
from tests.benchmarks.rig.prices import Price

NAMES = {line.what: line for line in of_calls(Counted(uses=[Use("f", 1024, 1, 0, [])]), {"f": 0}, 0)}
"""The lines of a call that does nothing but be invoked once."""


def line(what: str, call: Counted, starts: dict[str, float] | None = None, metrics: int = 0, **more: float) -> Line:
    """The line of a bill that begins so."""
    lines = of_calls(call, starts or {use.function: 0 for use in call.uses}, metrics, **more)  # type: ignore[arg-type]  # whole where it must be
    (found,) = [each for each in lines if each.what.startswith(what)]
    return found


def used(memory: int = 1024, invocations: int = 1, cpu: float = 0.0, lines: tuple[str, ...] = ()) -> Use:
    return Use("f", memory, invocations, cpu, lines)


def test_a_line_is_its_quantity_times_its_price() -> None:
    price = Price("a thing", 0.5, 1000, "things", "https://example.com")

    assert Line("some", 4000, price).usd == 2.0
    assert total([Line("some", 4000, price), Line("more", 1000, price)]) == 2.5


def test_what_does_nothing_costs_its_invocation_the_tools_that_were_assumed_and_its_secrets() -> None:
    costing = {what for what, line in NAMES.items() if line.usd}

    assert costing == {
        "invocations",
        "tools that wait for somebody else",
        "every invocation rounded up by 1 ms",
        "logs of Lambda and of the API",
        "logs kept for 14 days",
        "secrets decrypted",
    }


@pytest.mark.parametrize(
    ("sizes", "requests"), [((0, 0), 1), ((524_288, 0), 1), ((524_289, 0), 2), ((0, 524_289), 2), ((1_048_577, 9), 3)]
)
def test_the_api_counts_a_request_for_each_started_half_megabyte(sizes: tuple[int, int], requests: int) -> None:
    assert bill.chunks(*sizes) == requests
    assert line("requests to the API", Counted(uses=[used()], api=[sizes])).quantity == 1000 * requests


def test_computing_takes_as_long_as_the_share_of_a_processor_that_the_memory_brings() -> None:
    half = Counted(uses=[used(memory=884, cpu=0.01)])
    whole = Counted(uses=[used(memory=3538, cpu=0.01)])

    assert line("computing", half).quantity == pytest.approx(1000 * 0.01 * 1769 / 884 * 884 / 1024)
    # More than one processor makes nothing of ours faster.
    assert line("computing", whole).quantity == pytest.approx(1000 * 0.01 * 3538 / 1024)


@pytest.mark.parametrize("target", [target for target, _ in signed.TARGETS.values()])
def test_every_service_of_aws_that_is_asked_is_waited_for(target: str) -> None:
    assert bill.wait(named("POST", "/", f"{target}.Anything")) > 0


def test_an_invocation_that_nobody_waits_for_takes_no_longer_than_aws() -> None:
    name = named("POST", "/2015-03-31/functions/switchboard-live/invocations", "")

    assert 0 < bill.wait(name) < bill.wait("POST /elsewhere")


def test_a_request_is_waited_for_as_long_as_the_most_particular_assumption_says() -> None:
    assert bill.wait("DynamoDB.TransactWriteItems") > bill.wait("DynamoDB.GetItem") > 0
    assert bill.wait("POST /call") > bill.wait("POST /…/control") > 0
    assert bill.wait("connection") == 0

    call = Counted(uses=[used(memory=512)], asked={"DynamoDB.GetItem": 2, "POST /call": 1, "connection": 5})
    assert line("waiting", call).quantity == pytest.approx(1000 * (2 * 0.006 + 1.0) / 2)


def test_twice_the_milliseconds_are_twice_whatever_is_billed_by_them() -> None:
    call = Counted(uses=[used(cpu=0.01)], asked={"DynamoDB.GetItem": 2}, api=[(1, 1)], writes=3)
    once, twice = (of_calls(call, {"f": 0.3}, 1, slower=slower) for slower in (1, 2))

    for one, two in zip(once, twice, strict=True):
        assert two.usd == pytest.approx(one.usd * (2 if one.price is prices.GB_SECOND else 1)), one.what


def test_each_function_of_the_call_is_started_so_often() -> None:
    call = Counted(uses=[used(), used()._replace(function="g")])
    few, many = (line("cold starts", call, {"f": 0.2, "g": 0.3}, cold=cold) for cold in (100, 1000))

    assert few.quantity == pytest.approx(100 * 0.5 * 1769 / 1024)
    assert many.quantity == pytest.approx(10 * few.quantity)
    # And each start reads its secrets.
    assert line("secrets", call, {"f": 0, "g": 0}, cold=1000).quantity > line("secrets", call).quantity


def test_units_and_messages_are_a_thousand_times_those_of_the_call() -> None:
    call = Counted(uses=[used()], writes=111, reads=29.5, batches=4, asked={"AmazonSQS.SendMessage": 3}, stored=9_000)

    assert line("writes", call).quantity == 111_000
    assert line("reads", call).quantity == 29_500
    assert line("queues", call).quantity == 1000 * (3 + 2 * 4)
    assert line("the table", call).quantity == pytest.approx(0.009 / 30)


def test_a_line_of_a_log_is_its_bytes_and_what_cloudwatch_adds() -> None:
    assert bill.log_bytes(["\N{EURO SIGN}", "ab"]) == 3 + 2 + 2 * LOG_EVENT

    call = Counted(uses=[used(invocations=2, lines=("abc",))], access_log=100)
    assert line("logs of the functions", call).quantity == 1000 * (3 + LOG_EVENT)
    assert line("logs of Lambda", call).quantity == 1000 * (2 * bill.LAMBDA_LINES + 100)


def test_an_environment_reads_its_secrets_every_five_minutes_but_not_more_often_than_it_is_called() -> None:
    few, month = (line("secrets", Counted(uses=[used()]), cold=0, hours=hours).quantity for hours in (10, 730))

    assert (few, month) == (120 * bill.SECURE_STRINGS, 1000 * bill.SECURE_STRINGS)


def test_prices_are_shown_with_all_their_digits() -> None:
    assert [cost.money(usd) for usd in (0.0000133334, 1.0, 0.625, 10)] == ["0.0000133334", "1", "0.625", "10"]


def test_metrics_are_paid_for_by_the_hour_and_data_by_what_leaves() -> None:
    assert line("7 metrics", Counted(uses=[used()]), metrics=7).quantity == pytest.approx(7 * 10 / 730)
    assert line("data out", Counted(uses=[used()], api=[(9, 50)], sent=20)).quantity == 1000 * (20 + 50 + bill.HEADERS)


def test_a_month_without_a_call_is_alarms_a_gauge_polling_and_a_sweep_a_minute() -> None:
    sweep = Counted(uses=[used(cpu=0.01, lines=("x" * 74,))], asked={"DynamoDB.Query": 9}, reads=5)
    lines = {each.what: each.quantity for each in bill.idle(sweep, 10)}

    assert lines == {
        "alarms": 10,
        "`ActiveCalls`, written once a minute": 1,
        "two queues, polled": 2 * 15 * 43_800,
        "the sweeper: invocations": 43_800,
        "the sweeper: milliseconds": pytest.approx(43_800 * (0.01 * 1769 / 1024 + 9 * 0.006 + 0.001)),
        "the sweeper: reads": 5 * 43_800,
        "the sweeper: logs": 43_800 * (74 + LOG_EVENT + bill.LAMBDA_LINES),
    }


def embedded(*names: str, **dimensions: str) -> str:
    """A line in CloudWatch's embedded metric format."""
    written = {"Namespace": "S", "Dimensions": [list(dimensions)], "Metrics": [{"Name": name} for name in names]}
    return json.dumps({"_aws": {"CloudWatchMetrics": [written]}, **dimensions})


def test_a_metric_is_one_for_each_set_of_values_of_its_dimensions() -> None:
    lines = [
        embedded("A", "B", service="s"),
        embedded("A", service="s"),
        embedded("A", service="s", reason="x"),
        json.dumps({"message": "no metric"}),
        "no JSON",
    ]

    assert metrics_of(lines) == ["A (reason=x, service=s)", "A (service=s)", "B (service=s)"]


def test_what_happened_many_times_is_shared_out() -> None:
    many = Counted(uses=[used(invocations=4, cpu=0.4, lines=("a", "b") * 4)], asked=Counter(q=36), reads=20)
    one = one_of(many, 4)

    assert one == Counted(uses=[used(cpu=0.1)._replace(lines=("a", "b"))], asked={"q": 9}, reads=5)


RESULTS = Results(
    call=Counted(
        seconds=180,
        uses=[used(invocations=70, cpu=0.3, lines=(embedded("A", "Now", service="s"),))],
        api=[(2_000, 40)] * 70,
        asked={"DynamoDB.UpdateItem": 60},
        writes=100,
        reads=20,
        stored=9_000,
    ),
    kinds={"transcript": 22},
    sweep=Counted(uses=[used(cpu=0.01, lines=(embedded("Now", service="s"),))], reads=5),
    starts={"f": 0.3},
    metrics=["A (service=s)", "Now (service=s)"],
    alarms=10,
)


def test_the_page_shows_each_quantity_with_its_price_and_what_they_come_to() -> None:
    text = cost.markdown(RESULTS)
    together = total(cost.priced(RESULTS))

    assert "| f | 1024 | 70 | 4.3 | 300 |" in text
    assert "| requests to the API | 70,000 | 1 for 1,000,000 requests of up to 512 KB | 0.0700 |" in text
    assert "| the table and its backup, for a day | 0.0003 | 0.45 for GB-months | 0.0001 |" in text
    assert f"A thousand such calls: **{together:.3f} USD**. The target is less than 0.50 USD: met." in text
    for price in prices.ALL:
        assert f"<{price.source}>" in text


def test_a_missed_target_is_said() -> None:
    costly = RESULTS._replace(call=RESULTS.call._replace(writes=1_000))

    assert "less than 0.50 USD: missed." in cost.markdown(costly)


def test_the_gauge_that_is_written_without_calls_is_not_paid_for_twice() -> None:
    assert cost.called_for(RESULTS) == ["A (service=s)"]


def test_the_script_is_a_call_of_about_three_minutes_with_a_tool_of_each_lane() -> None:
    called = script.load(cost.SCRIPT)
    words = sum(len(step.words.split()) for step in called.steps if isinstance(step, script.Speech))
    tools = [use.name for step in called.steps if isinstance(step, script.Tools) for use in step.uses]

    assert called.call.pace == 1
    assert 350 < words < 500
    assert tools == ["find_appointment", "change_appointment", "send_confirmation"]
    assert sum(isinstance(step, script.Speech) and step.interrupts for step in called.steps) == 2


TEMPLATE = stack.Template(
    {("POST", "/webhook/vapi"): "f"}, '{"time":"$context.requestTimeEpoch","route":"$context.routeKey"}', 10
)


def test_a_line_of_the_access_log_is_as_long_as_its_values() -> None:
    made = '{"time":"1795850000000","route":"POST /webhook/vapi"}'

    assert TEMPLATE.line("POST /webhook/vapi") == len(made) + LOG_EVENT


@pytest.mark.parametrize(
    ("content_type", "encoded"), [("application/json", False), ("application/x-www-form-urlencoded", True)]
)
def test_a_form_comes_in_base64_and_json_as_it_is(content_type: str, encoded: bool) -> None:
    request = Request(1.5, "POST", "/x", {}, {"content-type": content_type}, b"a=1")
    event = stack.event_of(request)

    assert (event["body"], event["isBase64Encoded"]) == (("YT0x", True) if encoded else ("a=1", False))
    assert (event["rawPath"], event["requestContext"]["timeEpoch"]) == ("/x", 1500)


def test_the_api_passes_an_answer_on_and_knows_no_other_route() -> None:
    asked: list[str] = []

    def invoke(function: str, _event: object) -> dict[str, object]:
        asked.append(function)
        return {"statusCode": 201, "headers": {"Content-Type": "text/xml"}, "body": "PGEvPg==", "isBase64Encoded": True}

    api = stack.Api(TEMPLATE, invoke)
    found = api.answer(Request(0, "POST", "/webhook/vapi", {}, {"content-type": "application/json"}, b"{}"))
    lost = api.answer(Request(0, "GET", "/nowhere", {}, {}, b""))

    assert (found.status, found.body, found.content_type) == (201, b"<a/>", "text/xml")
    assert (lost.status, asked, api.sizes) == (404, ["f"], [(2, 4)])


def test_another_pace_than_that_of_people_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "cost.md"
    page.write_text("<!-- written by `make bench` -->\n<!-- end of what `make bench` writes -->\n")
    before = page.read_text()
    monkeypatch.setattr(cost, "PAGE", page)
    monkeypatch.setattr(cost, "measured", lambda _pace: RESULTS)

    assert cost.main(["--pace", "20"]) == 0
    assert page.read_text() == before
    assert cost.main([]) == 0
    assert "A thousand such calls" in page.read_text()
