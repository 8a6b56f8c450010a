"""Tool calls: answered in the shape that Vapi reads, taken into their lane once, whatever is repeated."""

import json
import time
from typing import Annotated, Any

import pytest

from switchboard import lanes, toolcalls, webhook
from switchboard.tools import OVERRUN, DefiniteFailure, Toolbox, ToolError
from switchboard.worker import UNKNOWN_WORDS
from tests.integration.conftest import CALL, CALLER, House, Ledger, Vapis, message, tool_call


def ask(house: House, *entries: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """Send `tool-calls` and return the results."""
    body = message("tool-calls", house.clock, toolCallList=list(entries), **fields)
    answer = webhook.respond(house.desk, house.event(body))
    assert answer["statusCode"] == 200
    results: list[dict[str, Any]] = json.loads(answer["body"])["results"]
    return results


def row(house: House, id: str = "call_1") -> dict[str, Any]:
    """A stored tool call."""
    return house.items(f"CALL#{CALL}")[f"TOOL#{id}"]


def test_an_inline_look_up_is_answered_at_once(house: House) -> None:
    assert ask(house, tool_call("look_up", {"name": "Ann"})) == [
        {"toolCallId": "call_1", "name": "look_up", "result": "Found Ann."}
    ]
    assert house.aws.wire.take() == ["GetItem", "PutItem"]
    assert row(house)["state"] == "SUCCEEDED"
    assert "g1pk" not in row(house)


def test_a_repetition_is_answered_the_same_whatever_becomes_of_the_first(
    house: House, tools: Toolbox, ledger: Ledger
) -> None:
    @tools.tool(meanwhile="Wiring it.", dedupe="call")
    def wire(amount: Annotated[int, "Dollars."]) -> str:
        """Wire money."""
        if ledger.fails_with:
            raise ToolError("The bank says no.")
        ledger.act("wire")
        return "Sent."

    ledger.fails_with = RuntimeError()
    ask(house, tool_call("wire", {"amount": 5}))
    repeated = ask(house, tool_call("wire", {"amount": 5}, "call_2"))
    house.run(house.live)
    ledger.fails_with = None

    # The first has done nothing, and still a replay of the second acts no more than the second did.
    assert ask(house, tool_call("wire", {"amount": 5}, "call_2")) == repeated
    house.run(house.live)
    assert ledger.effects == []
    # The caller's next attempt is a new one, and takes nothing from those that were answered before.
    ask(house, tool_call("wire", {"amount": 5}, "call_3"))
    house.run(house.live)
    assert ledger.effects == ["wire"]
    assert ask(house, tool_call("wire", {"amount": 5}, "call_2")) == repeated
    assert ask(house, tool_call("wire", {"amount": 5}))[0]["result"] == lanes.ACCEPTED
    assert row(house, "call_2")["repeats"] == "TOOL#call_1"
    assert "g1pk" not in row(house, "call_2")


def test_a_repetition_is_no_newer_wish(house: House, tools: Toolbox, ledger: Ledger) -> None:
    @tools.tool(meanwhile="Moving it.", dedupe="call", latest_wins=True)
    def shift(to: Annotated[str, "A day."]) -> str:
        """Move an appointment."""
        ledger.act("shift")
        return "Moved."

    ask(house, tool_call("shift", {"to": "Thursday"}))
    house.clock.advance(1)
    ask(house, tool_call("shift", {"to": "Thursday"}, "call_2"))
    house.run(house.live)

    assert ledger.effects == ["shift"]


@pytest.mark.parametrize("lane", ["inline", "after_call"])
def test_a_repetition_keeps_its_answer_in_every_lane(house: House, tools: Toolbox, ledger: Ledger, lane: str) -> None:
    @tools.tool(after_call=lane == "after_call", dedupe="call")
    def wire(amount: Annotated[int, "Dollars."]) -> str:
        """Wire money."""
        ledger.act("wire")
        return "Sent."

    first = ask(house, tool_call("wire", {"amount": 5}))[0]
    second = ask(house, tool_call("wire", {"amount": 5}, "call_2"))[0]

    assert second == first | {"toolCallId": "call_2"}
    assert ask(house, tool_call("wire", {"amount": 5}, "call_2")) == [second]
    assert row(house, "call_2")["repeats"] == "TOOL#call_1"


def test_a_repeated_look_up_gets_the_first_answer(house: House, ledger: Ledger) -> None:
    first = ask(house, tool_call("look_up", {"name": "Ann"}))
    assert ask(house, tool_call("look_up", {"name": "Ann"})) == first
    assert ledger.effects == ["look_up"]


def test_a_look_up_with_conflicting_arguments_does_not_run(house: House, ledger: Ledger) -> None:
    asked = tool_call("look_up", {"name": "Ann"}), tool_call("look_up", {"name": "Bob"})
    first, second = ask(house, *asked)
    [later] = ask(house, asked[1])

    assert first["result"] == "Found Ann."
    assert second["error"] == later["error"] == lanes.CONFLICT
    assert ledger.effects == ["look_up"]


def test_an_inline_effect_is_recorded_before_it_happens_and_happens_once(house: House, ledger: Ledger) -> None:
    first = ask(house, tool_call("book", {"name": "Ann"}))

    assert ask(house, tool_call("book", {"name": "Ann"})) == first
    assert ledger.effects == ["book"]
    assert row(house)["state"] == "SUCCEEDED"
    assert "g1pk" not in row(house)


def test_an_inline_effect_that_breaks_is_unknown_and_is_never_repeated(house: House, ledger: Ledger) -> None:
    ledger.fails_with = RuntimeError("connection lost with 4111 1111 1111 1111")
    first = ask(house, tool_call("book", {"name": "Ann"}))
    ledger.fails_with = None

    assert first == [{"toolCallId": "call_1", "name": "book", "error": lanes.UNCONFIRMED}]
    assert ask(house, tool_call("book", {"name": "Ann"})) == first
    assert ledger.effects == ["book"]
    assert row(house)["state"] == "UNKNOWN"


@pytest.mark.parametrize("retryable", [True, False])
def test_an_inline_effect_that_surely_did_not_happen_is_not_called_unknown(
    house: House, ledger: Ledger, retryable: bool
) -> None:
    ledger.fails_with = DefiniteFailure("refused", retryable=retryable)

    assert ask(house, tool_call("book", {"name": "Ann"}))[0]["error"] == lanes.BROKEN
    assert row(house)["state"] == "FAILED"


def test_a_tool_that_leaves_the_program_is_answered_all_the_same(house: House, ledger: Ledger) -> None:
    ledger.fails_with = SystemExit(1)

    assert ask(house, tool_call("look_up", {"name": "Ann"}))[0]["error"] == lanes.BROKEN
    assert ask(house, tool_call("book", {"name": "Ann"}, "call_2"))[0]["error"] == lanes.UNCONFIRMED


def test_a_repeat_while_an_inline_effect_is_under_way_does_not_act(house: House, tools: Toolbox) -> None:
    nested: list[Any] = []

    @tools.tool
    def slow() -> str:
        """Book, and be asked again meanwhile."""
        nested.extend(ask(house, tool_call("slow", {})) if not nested else [])
        return "Done."

    assert ask(house, tool_call("slow", {}))[0]["result"] == "Done."
    assert nested == [{"toolCallId": "call_1", "name": "slow", "error": lanes.BUSY}]


def test_a_background_tool_is_accepted_with_its_words_and_does_not_claim_to_be_done(house: House) -> None:
    assert ask(house, tool_call("move", {"to": "Thursday"})) == [
        {
            "toolCallId": "call_1",
            "name": "move",
            "result": lanes.ACCEPTED,
            "message": {"type": "request-complete", "content": "One moment, I am moving it."},
        }
    ]
    assert house.aws.wire.take() == ["PutItem", "SendMessage"]
    stored = row(house)
    assert (stored["state"], stored["caller"], stored["delivery"]) == ("RECEIVED", CALLER, "none")
    assert stored["g1pk"].startswith("OPEN#")


def test_the_queue_carries_ids_only(house: House) -> None:
    ask(house, tool_call("move", {"to": "Thursday"}))

    [message] = house.aws.sqs.receive_message(QueueUrl=house.settings.live_queue)["Messages"]
    assert json.loads(message["Body"]) == {"v": 1, "c": CALL, "t": "TOOL#call_1", "d": "run"}


def test_a_background_tool_acts_once_however_often_it_arrives(house: House, ledger: Ledger) -> None:
    answers = [ask(house, tool_call("move", {"to": "Thursday"})) for _ in range(4)]
    while house.run(house.live):
        pass
    answers.append(ask(house, tool_call("move", {"to": "Thursday"})))

    assert all(answer == answers[0] for answer in answers)
    assert len(ledger.effects) == 1


def test_a_repeat_after_the_work_has_begun_sends_nothing(house: House) -> None:
    ask(house, tool_call("move", {"to": "Thursday"}))
    house.run(house.live)
    house.aws.wire.take()
    ask(house, tool_call("move", {"to": "Thursday"}))

    assert house.aws.wire.take() == ["PutItem"]


@pytest.mark.parametrize("name", ["book", "move", "look_up"])
def test_the_same_id_with_other_arguments_never_runs(house: House, ledger: Ledger, name: str) -> None:
    key = {"book": "name", "move": "to", "look_up": "name"}[name]
    ask(house, tool_call(name, {key: "Ann"}))
    house.run(house.live)
    before = list(ledger.effects)
    [answer] = ask(house, tool_call(name, {key: "Bob"}))
    house.run(house.live)

    assert answer["error"] == lanes.CONFLICT
    assert [effect for effect in ledger.effects if effect != "look_up"] == [e for e in before if e != "look_up"]


def test_the_order_of_arguments_is_no_difference(house: House, tools: Toolbox) -> None:
    assert toolcalls.digest("x", {"a": 1, "b": 2}) == toolcalls.digest("x", {"b": 2, "a": 1})


def test_every_call_of_a_message_is_answered_once_and_in_order(house: House) -> None:
    answers = ask(
        house,
        tool_call("look_up", {"name": "Ann"}, "call_1"),
        tool_call("fly", {}, "call_2"),
        tool_call("move", {"to": "Friday"}, "call_3"),
        tool_call("look_up", "not json", "call_4"),
        tool_call("look_up", {"nom": "Ann"}, "call_5"),
        tool_call("send", {"text": "Bye"}, "call_6"),
    )

    assert [answer["toolCallId"] for answer in answers] == [f"call_{n}" for n in range(1, 7)]
    assert [sorted(answer.keys() & {"result", "error"}) for answer in answers] == [
        ["result"],
        ["error"],
        ["result"],
        ["error"],
        ["error"],
        ["result"],
    ]
    assert answers[1]["error"] == lanes.UNKNOWN_TOOL
    assert answers[3]["error"] == lanes.NOT_AN_OBJECT
    assert answers[4]["error"].startswith("Wrong arguments: name:")


def test_all_calls_are_checked_before_any_of_them_acts(house: House, tools: Toolbox, ledger: Ledger) -> None:
    seen: list[int] = []
    original = lanes._checked

    def watching(*args: Any) -> Any:
        seen.append(len(ledger.effects))
        return original(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_checked", watching)
        ask(house, tool_call("book", {"name": "A"}, "call_1"), tool_call("book", {"name": "B"}, "call_2"))

    assert seen == [0, 0]
    assert ledger.effects == ["book", "book"]


def test_a_call_without_an_id_does_not_act(house: House, ledger: Ledger) -> None:
    [answer] = ask(house, {"type": "function", "function": {"name": "book", "arguments": {"name": "Ann"}}})

    assert answer == {"toolCallId": "", "name": "book", "error": lanes.BROKEN}
    assert ledger.effects == []


def test_a_tool_call_of_no_call_does_not_act(house: House, ledger: Ledger) -> None:
    body = message("tool-calls", house.clock, toolCallList=[tool_call("book", {"name": "Ann"})])
    del body["call"]["id"]
    answer = webhook.respond(house.desk, house.event(body))

    assert json.loads(answer["body"])["results"] == [{"toolCallId": "call_1", "name": "book", "error": lanes.BROKEN}]
    assert ledger.effects == []


def test_calls_with_the_constant_id_of_hooks_are_told_apart(house: House, ledger: Ledger) -> None:
    ask(house, tool_call("book", {"name": "Ann"}, "hook-function-call"))
    ask(house, tool_call("book", {"name": "Bob"}, "hook-function-call"))
    ask(house, tool_call("book", {"name": "Bob"}, "hook-function-call"))

    assert ledger.effects == ["book", "book"]


def test_the_words_of_a_tool_error_are_the_only_ones_that_are_quoted(house: House, tools: Toolbox) -> None:
    @tools.tool(effect="read")
    def refuse() -> str:
        """Refuse."""
        raise ToolError("We are\nclosed.")

    @tools.tool(effect="read")
    def leak() -> str:
        """Break."""
        raise RuntimeError("password=hunter2")

    answers = ask(house, tool_call("refuse", {}, "call_1"), tool_call("leak", {}, "call_2"))

    assert [answer["error"] for answer in answers] == ["We are closed.", lanes.BROKEN]


def test_a_tool_that_overruns_is_stopped_and_answered(house: House, tools: Toolbox) -> None:
    ran_on: list[str] = []

    @tools.tool(effect="read", timeout=0.05)
    def dawdle() -> str:
        """Take too long."""
        try:
            time.sleep(5)
        except Exception:  # noqa: BLE001 - what a careless author writes
            ran_on.append("swallowed")
        ran_on.append("ran on")
        return "late"

    [answer] = ask(house, tool_call("dawdle", {}))

    assert (answer["result"], answer["message"]["content"]) == (lanes.ACCEPTED, OVERRUN)
    assert ask(house, tool_call("dawdle", {})) == [answer]
    assert ran_on == []


def test_a_look_up_that_overruns_goes_on_in_the_background_and_is_spoken(
    house: House, tools: Toolbox, vapis: Vapis
) -> None:
    runs: list[int] = []

    @tools.tool(effect="read", timeout=0.05, overrun="Just a second.")
    def dig() -> str:
        """Be slow the first time only."""
        runs.append(1)
        if len(runs) == 1:
            time.sleep(5)
        return "Found."

    [answer] = ask(house, tool_call("dig", {}))
    assert answer["message"] == {"type": "request-complete", "content": "Just a second."}
    house.run(house.live)

    assert len(runs) == 2
    assert vapis.requests[0][1]["message"]["content"].endswith("Found.")
    assert ask(house, tool_call("dig", {})) == [answer]


def test_an_effect_that_overruns_is_unknown_and_is_not_put_on_a_queue(
    house: House, tools: Toolbox, ledger: Ledger
) -> None:
    @tools.tool(timeout=0.05)
    def order() -> str:
        """Order, and hang."""
        ledger.act("order")
        time.sleep(5)
        return "Ordered."

    [answer] = ask(house, tool_call("order", {}))

    assert answer["error"] == lanes.UNCONFIRMED
    assert house.run(house.live) == 0
    assert ledger.effects == ["order"]


def test_the_model_repeating_itself_gets_the_first_result(house: House, tools: Toolbox, ledger: Ledger) -> None:
    @tools.tool(dedupe="call")
    def pizza(size: Annotated[str, "Size."]) -> str:
        """Order a pizza."""
        ledger.act(f"pizza {size}")
        return f"Ordered {size}."

    asked = (("big", "call_1"), ("big", "call_2"), ("small", "call_3"), ("big", "call_1"))
    answers = [ask(house, tool_call("pizza", {"size": size}, id))[0] for size, id in asked]

    assert [answer["result"] for answer in answers] == [f"Ordered {size}." for size, _ in asked]
    assert [answer["toolCallId"] for answer in answers] == [id for _, id in asked]
    assert ledger.effects == ["pizza big", "pizza small"]


def test_one_of_many_equal_calls_that_is_always_overtaken_does_not_act(
    house: House, tools: Toolbox, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    @tools.tool(dedupe="call")
    def pizza() -> str:
        """Order a pizza."""
        ledger.act("pizza")
        return "Ordered."

    def overtaken(_store: Any, row: toolcalls.Row, *_: Any) -> None:
        tries.append(row.key.sk)
        raise toolcalls.Overtaken

    monkeypatch.setattr(toolcalls, "first_of", overtaken)
    [answer] = ask(house, tool_call("pizza", {}))

    assert answer["error"] == lanes.BUSY
    assert ledger.effects == []
    assert tries == ["TOOL#call_1"] * lanes.OVERTAKINGS


def test_a_repetition_counts_for_a_window_or_for_the_whole_call(house: House, tools: Toolbox, ledger: Ledger) -> None:
    @tools.tool(dedupe=10)
    def page() -> str:
        """Page the nurse."""
        ledger.act("page")
        return "Paged."

    for id, seconds in (("call_1", 9), ("call_2", 2), ("call_3", 0)):
        ask(house, tool_call("page", {}, id))
        house.clock.advance(seconds)

    assert ledger.effects == ["page", "page"]


def test_a_first_attempt_that_failed_does_not_stand_in_the_way_of_a_second(
    house: House, tools: Toolbox, ledger: Ledger
) -> None:
    @tools.tool(dedupe="call")
    def pizza() -> str:
        """Order a pizza, if the oven is on."""
        ledger.act("asked")
        if len(ledger.effects) == 1:
            raise ToolError("The oven is cold.")
        return "Ordered."

    assert ask(house, tool_call("pizza", {}, "call_1"))[0]["error"] == "The oven is cold."
    assert ask(house, tool_call("pizza", {}, "call_2"))[0]["result"] == "Ordered."
    assert ask(house, tool_call("pizza", {}, "call_3"))[0]["result"] == "Ordered."
    assert len(ledger.effects) == 2


def test_a_repeated_background_tool_is_accepted_with_the_same_words_and_acts_once(
    house: House, tools: Toolbox, ledger: Ledger
) -> None:
    @tools.tool(effect="keyed", meanwhile="Moving it.", dedupe="call")
    def shift(to: Annotated[str, "Where to."]) -> str:
        """Move it."""
        ledger.act("shift")
        return "Moved."

    first = ask(house, tool_call("shift", {"to": "x"}, "call_1"))[0]
    second = ask(house, tool_call("shift", {"to": "x"}, "call_2"))[0]
    while house.run(house.live):
        pass
    third = ask(house, tool_call("shift", {"to": "x"}, "call_3"))[0]

    assert first["message"] == second["message"] == {"type": "request-complete", "content": "Moving it."}
    assert third["result"] == "Moved."
    assert ledger.effects == ["shift"]


def test_a_repetition_of_a_call_whose_end_nobody_knows_is_not_promised_a_result(
    house: House, tools: Toolbox, ledger: Ledger
) -> None:
    @tools.tool(meanwhile="Wiring it.", dedupe="call")
    def wire(amount: Annotated[int, "Cents."]) -> str:
        """Send money."""
        ledger.act("wire")
        raise TimeoutError

    ask(house, tool_call("wire", {"amount": 1}, "call_1"))
    while house.run(house.live):
        pass

    assert ask(house, tool_call("wire", {"amount": 1}, "call_2")) == [
        {"toolCallId": "call_2", "name": "wire", "error": UNKNOWN_WORDS}
    ]
    assert ledger.effects == ["wire"]


def test_a_tool_of_a_turn_that_the_caller_has_left_does_not_end_the_call(
    house: House, tools: Toolbox, ledger: Ledger
) -> None:
    @tools.tool(on_interrupt="cancel")
    def hang_up() -> str:
        """End the call."""
        ledger.act("hung up")
        return "Goodbye."

    emitted = int(house.clock() * 1000)
    house.clock.advance(1)
    webhook.respond(house.desk, house.event(message("user-interrupted", house.clock)))
    ghost = ask(house, tool_call("hang_up", {}, "call_1"), timestamp=emitted)[0]
    house.clock.advance(1)
    meant = ask(house, tool_call("hang_up", {}, "call_2"))[0]

    assert (ghost["error"], meant["result"]) == (lanes.INTERRUPTED, "Goodbye.")
    assert ledger.effects == ["hung up"]


def test_inline_tools_of_one_message_share_one_budget(house: House, tools: Toolbox) -> None:
    @tools.tool(effect="read")
    def drag() -> str:
        """Use up the time of the whole message."""
        house.clock.advance(lanes.INLINE_SECONDS + 1)
        return "Finally."

    @tools.tool(effect="read")
    def wait() -> str:
        """Need a moment."""
        time.sleep(0.5)
        return "Done."

    answers = ask(house, tool_call("drag", {}, "call_1"), tool_call("wait", {}, "call_2"))

    assert answers[0]["result"] == "Finally."
    assert answers[1]["result"] == lanes.ACCEPTED


def test_an_inline_effect_for_which_no_time_is_left_is_not_begun(house: House, tools: Toolbox, ledger: Ledger) -> None:
    @tools.tool(effect="read")
    def drag() -> str:
        """Use up the time of the whole message."""
        house.clock.advance(lanes.INLINE_SECONDS)
        return "Finally."

    entries = tool_call("drag", {}, "call_1"), tool_call("book", {"name": "Ann"}, "call_2")
    answers = ask(house, *entries)

    assert answers[1]["error"] == lanes.NO_TIME
    assert row(house, "call_2")["state"] == "FAILED"
    assert ask(house, *entries) == answers
    assert ledger.effects == []


def test_an_after_call_tool_waits_for_the_end_and_runs_then(house: House, ledger: Ledger) -> None:
    [answer] = ask(house, tool_call("send", {"text": "Bye"}))
    assert (answer["result"], "message" in answer) == (lanes.AFTER_CALL, False)
    assert house.run(house.after) == 0

    webhook.respond(house.desk, house.event(message("status-update", house.clock, status="ended")))
    webhook.respond(house.desk, house.event(message("end-of-call-report", house.clock, endedReason="x")))
    while house.run(house.after):
        pass

    assert ledger.effects == ["send Bye"]
    assert (row(house)["state"], row(house)["delivery"]) == ("SUCCEEDED", "none")
    assert "g1pk" not in row(house)


def test_the_deadline_of_an_after_call_tool_counts_from_the_end_of_the_call(house: House, ledger: Ledger) -> None:
    ask(house, tool_call("send", {"text": "Bye"}))
    house.clock.advance(3 * 3600)
    webhook.respond(house.desk, house.event(message("status-update", house.clock, status="ended")))
    house.clock.advance(1799)
    webhook.respond(house.desk, house.event(message("end-of-call-report", house.clock, endedReason="x")))
    house.run(house.after)

    assert ledger.effects == ["send Bye"]


def test_an_after_call_tool_that_nobody_needs_any_more_expires(house: House, ledger: Ledger) -> None:
    ask(house, tool_call("send", {"text": "Bye"}))
    webhook.respond(house.desk, house.event(message("status-update", house.clock, status="ended")))
    house.clock.advance(1801)
    house.run(house.after)

    assert (ledger.effects, row(house)["state"]) == ([], "EXPIRED")


def test_an_after_call_tool_may_have_a_deadline_of_its_own(house: House, tools: Toolbox, ledger: Ledger) -> None:
    @tools.tool(after_call=True, deadline=60)
    def hurry() -> str:
        """Hurry."""
        ledger.act("hurry")
        return "Done."

    ask(house, tool_call("hurry", {}))
    webhook.respond(house.desk, house.event(message("status-update", house.clock, status="ended")))
    house.clock.advance(61)
    house.run(house.after)

    assert (ledger.effects, row(house)["state"]) == ([], "EXPIRED")


def test_an_after_call_tool_accepted_after_the_end_runs_at_once(house: House, ledger: Ledger) -> None:
    webhook.respond(house.desk, house.event(message("status-update", house.clock, status="ended")))
    ask(house, tool_call("send", {"text": "Bye"}))
    house.run(house.after)

    assert ledger.effects == ["send Bye"]


@pytest.mark.parametrize("waits", [False, True])
def test_ending_a_call_reads_its_tool_calls_only_where_a_tool_may_wait_for_that(
    house: House, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def none(_store: Any, call_id: str) -> list[toolcalls.Row]:
        read.append(call_id)
        return []

    monkeypatch.setattr(toolcalls, "of_call", none)
    agent = house.desk.agent if waits else house.desk.agent._replace(tools=Toolbox())
    webhook.respond(
        house.desk._replace(agent=agent), house.event(message("status-update", house.clock, status="ended"))
    )

    assert read == ([CALL] if waits else [])


def test_a_table_that_is_down_is_answered_with_an_error_result_and_200(house: House) -> None:
    house.aws.dynamodb.delete_table(TableName=house.settings.table)
    answers = ask(house, tool_call("move", {"to": "Friday"}, "call_1"), tool_call("book", {"name": "A"}, "call_2"))

    assert [answer["error"] for answer in answers] == [lanes.BROKEN, lanes.BROKEN]


def test_a_look_up_is_answered_even_while_the_table_is_down(house: House) -> None:
    house.aws.dynamodb.delete_table(TableName=house.settings.table)

    assert ask(house, tool_call("look_up", {"name": "Ann"}))[0]["result"] == "Found Ann."


def test_a_queue_that_is_down_is_answered_with_an_error_and_a_repeat_may_still_succeed(
    house: House, ledger: Ledger
) -> None:
    house.aws.sqs.delete_queue(QueueUrl=house.settings.live_queue)
    assert ask(house, tool_call("move", {"to": "Friday"}))[0]["error"] == lanes.BROKEN

    house.aws.sqs.create_queue(QueueName="switchboard-live")
    assert ask(house, tool_call("move", {"to": "Friday"}))[0]["result"] == lanes.ACCEPTED
    house.run(house.live)
    assert len(ledger.effects) == 1
