"""Named mutants: each takes one guard out of the package, and names the tests that must then fail.

A guard that can go without a test noticing is not guarded by anything. tests/integration/test_mutants.py runs them.
"""

import multiprocessing
import os
import shutil
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers/switchboard/switchboard"
SECONDS = 60  # of computing, for the tests of one mutant
FOUNDATIONS = ["pytest", "pydantic", "httpx", "boto3", "moto", "hypothesis", "aws_lambda_powertools.metrics"]
OPTIONS = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "--assert=plain"]  # it is only asked whether they fail

GUARDS = "tests/chaos/test_guards.py"
CRASHES = "tests/chaos/test_crashes.py"
SWEEPER = "tests/integration/test_sweeper.py"
WORKER = "tests/integration/test_worker.py"
LANES = "tests/integration/test_lanes.py"
SESSION = "tests/integration/test_session.py"
LOST = "tests/integration/test_lost_answers.py"
SIGNATURES = "tests/unit/test_signatures.py"
STORE = "tests/unit/test_store.py"
TOKENS = "tests/unit/test_tokens.py"
FIRST_CALL = "tests/integration/test_first_call.py"
WAKING = "tests/unit/test_waking.py"
CONSOLE = "tests/integration/test_console.py"


class Mutant(NamedTuple):
    """`old` occurs exactly once in `file`; without it, one of `tests` fails. `daily` ones run with every `make test`."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    daily: bool = False


class Stale(Exception):
    """The code has moved on and the mutant has not."""


MUTANTS = (
    # Accepting.
    Mutant(
        "accept overwrites",
        "toolcalls.py",
        'row.item(exp), "attribute_not_exists(#pk) OR #exp <= :now", {"now": int(now)}))',
        "row.item(exp)))",
        (f"{GUARDS}::test_a_repeat_after_the_work_is_done_does_not_begin_it_again",),
        daily=True,
    ),
    Mutant(
        "an expired row blocks its id",
        "toolcalls.py",
        'row.item(exp), "attribute_not_exists(#pk) OR #exp <= :now"',
        'row.item(exp), "attribute_not_exists(#pk)"',
        (f"{GUARDS}::test_a_row_that_has_expired_but_is_not_deleted_stands_in_nobodys_way",),
    ),
    Mutant(
        "the digest is not compared",
        "toolcalls.py",
        "if stored.digest != row.digest:",
        "if False:",
        (f"{GUARDS}::test_other_arguments_under_the_same_id_are_a_conflict",),
        daily=True,
    ),
    Mutant(
        "an inline call is stopped by its own row",
        "toolcalls.py",
        "return row if row.owner and stored.owner == row.owner else stored",
        "return stored",
        (f"{GUARDS}::test_an_inline_call_whose_own_row_stands_in_the_way_goes_on",),
    ),
    # Claiming.
    Mutant(
        "claim after the deadline",
        "toolcalls.py",
        "#attempt = :seen AND #deadline > :now AND (#state = :received OR",
        "#attempt = :seen AND (#state = :received OR",
        (f"{GUARDS}::test_nothing_is_claimed_at_its_deadline", f"{CRASHES}::test_crash[C25-keyed-none]"),
        daily=True,
    ),
    Mutant(
        "claim what others have tried since",
        "toolcalls.py",
        "#attempt = :seen AND #deadline > :now AND (#state = :received OR",
        "#deadline > :now AND (#state = :received OR",
        (f"{GUARDS}::test_a_call_is_not_claimed_by_what_was_read_before_another_attempt",),
    ),
    Mutant(
        "claim within somebody's lease",
        "toolcalls.py",
        '(#state = :running AND #lease < :now"\n',
        '(#state = :running"\n',
        (f"{CRASHES}::test_crash[C9-keyed-concurrent]", f"{GUARDS}::test_a_lease_is_respected_to_its_last_moment"),
        daily=True,
    ),
    Mutant(
        "claim whatever its class",
        "toolcalls.py",
        '" AND (#intent = :false OR #effect IN (:read, :keyed))))"',
        '"))"',
        (f"{CRASHES}::test_crash[C9-once-none]",),
        daily=True,
    ),
    Mutant(
        "a claim does not know itself",
        "toolcalls.py",
        "return winner._replace(doubt=mine.doubt)",
        "return None",
        (f"{GUARDS}::test_a_claim_that_meets_itself_is_ones_own",),
    ),
    Mutant(
        "a claim that is over is one's own still",
        "toolcalls.py",
        "if winner is None or winner.owner != owner or winner.state is not State.RUNNING:",
        "if winner is None or winner.owner != owner:",
        (f"{GUARDS}::test_a_claim_that_meets_itself_after_its_end_is_none",),
    ),
    Mutant(
        "what an earlier attempt may have done is forgotten",
        "toolcalls.py",
        'doubt=row.intent and row.effect == "keyed",',
        "doubt=False,",
        (f"{GUARDS}::test_what_an_earlier_attempt_may_have_done_is_never_said_not_to_be_done",),
        daily=True,
    ),
    Mutant(
        "an attempt that did nothing speaks for those before it",
        "toolcalls.py",
        '"acted": acted or row.doubt}',
        '"acted": acted}',
        (f"{GUARDS}::test_what_an_earlier_attempt_may_have_done_is_never_said_not_to_be_done[gives back]",),
    ),
    Mutant(
        "a killed worker's message comes back after the deadline",
        "worker.py",
        "bench.queue.hide(receipt, int(tool.timeout + GRACE) + 1)",
        "bench.queue.hide(receipt, 210)",
        (f"{CRASHES}::test_crash[C7-once-none]",),
    ),
    # The fence, the intent and the commit.
    Mutant(
        "the fence lets another owner in",
        "toolcalls.py",
        '_FENCE = "#state = :running AND #owner = :owner AND #attempt = :attempt"',
        '_FENCE = "#state = :running AND #attempt = :attempt"',
        (f"{GUARDS}::test_a_stranger_neither_begins_nor_releases_nor_commits",),
        daily=True,
    ),
    Mutant(
        "the fence lets another attempt in",
        "toolcalls.py",
        '_FENCE = "#state = :running AND #owner = :owner AND #attempt = :attempt"',
        '_FENCE = "#state = :running AND #owner = :owner"',
        (f"{GUARDS}::test_a_stranger_neither_begins_nor_releases_nor_commits",),
    ),
    Mutant(
        "the fence lets the past in",
        "toolcalls.py",
        '_FENCE = "#state = :running AND #owner = :owner AND #attempt = :attempt"',
        '_FENCE = "#owner = :owner AND #attempt = :attempt"',
        (f"{GUARDS}::test_what_is_over_is_neither_begun_nor_released_nor_committed_again",),
    ),
    Mutant(
        "the intent is not recorded",
        "worker.py",
        "    begun = toolcalls.begin(bench.store, row)\n",
        "    begun = row\n",
        (f"{CRASHES}::test_crash[C9-once-none]",),
        daily=True,
    ),
    Mutant(
        "the intent may fail",
        "worker.py",
        "    begun = toolcalls.begin(bench.store, row)\n",
        "    begun = toolcalls.begin(bench.store, row) or row\n",
        (f"{GUARDS}::test_a_worker_that_lost_the_call_before_it_began_does_not_act",),
    ),
    Mutant(
        "the intent of what may act once is recorded too early",
        "toolcalls.py",
        'intent=row.effect != "once",',
        "intent=True,",
        (f"{CRASHES}::test_crash[C7-once-none]",),
        daily=True,
    ),
    Mutant(
        "what may be repeated is begun without an intent",
        "toolcalls.py",
        'intent=row.effect != "once",',
        "intent=row.intent,",
        (f"{GUARDS}::test_the_intent_is_recorded_with_the_claim_where_repeating_is_harmless",),
    ),
    Mutant(
        "a lease that is over is no matter",
        "worker.py",
        "if row.lease < bench.clock() * 1000:",
        "if False:",
        (f"{GUARDS}::test_a_worker_that_is_held_up_before_it_began_does_not_act[True-keyed]",),
        daily=True,
    ),
    Mutant(
        "a worker that was held up leaves the call to nobody",
        "worker.py",
        "        return _give_back(bench, row, acted=False)\n    begun =",
        "        return None\n    begun =",
        (f"{GUARDS}::test_a_worker_that_is_held_up_before_it_began_does_not_act[False-keyed]",),
    ),
    Mutant(
        "two tickets for one call",
        "worker.py",
        "    if not toolcalls.release(bench.store, row, acted=acted):\n",
        "    if not toolcalls.release(bench.store, row, acted=acted) and False:\n",
        (f"{GUARDS}::test_a_worker_that_lost_the_call_sends_no_ticket_for_it",),
    ),
    Mutant(
        "who lost the call leaves it to whoever has it",
        "worker.py",
        "acted=acted):\n        return _settle(bench, row)\n",
        "acted=acted):\n        return None\n",
        (f"{GUARDS}::test_who_was_held_up_looks_again_after_whoever_has_the_call_now",),
    ),
    Mutant(
        "who lost the call before it began leaves it to whoever has it",
        "worker.py",
        "if begun else _settle(bench, row)",
        "if begun else None",
        (f"{GUARDS}::test_who_was_held_up_looks_again_after_whoever_has_the_call_now[once-before begin]",),
    ),
    Mutant(
        "a claim whose answer was lost has no doubt",
        "toolcalls.py",
        "return winner._replace(doubt=mine.doubt)",
        "return winner",
        (f"{GUARDS}::test_a_claim_that_meets_itself_still_knows_what_may_have_been_done_before",),
    ),
    Mutant(
        "the same end twice",
        "toolcalls.py",
        "return stored if (stored.state, stored.settled_at) == (state, _ms(now)) else None",
        "return stored if stored.state is state else None",
        (f"{GUARDS}::test_the_same_end_at_another_moment_is_not_ones_own",),
    ),
    Mutant(
        "a doubt is silent where the call is not wanted any more",
        "worker.py",
        "return _commit(bench, row, State.UNKNOWN, UNKNOWN_WORDS)\n    return _commit(bench, row, State.FAILED",
        "return _commit(bench, row, State.UNKNOWN, UNKNOWN_WORDS, silent=silent)\n"
        "    return _commit(bench, row, State.FAILED",
        (f"{WORKER}::test_what_may_have_acted_before_is_not_said_to_have_failed[replaced]",),
    ),
    Mutant(
        "the commit has no fence",
        "toolcalls.py",
        '        change += " REMOVE #g1pk, #g1sk"\n    try:\n'
        "        store.update(Update(row.key, change, _FENCE, values, blind=True))",
        '        change += " REMOVE #g1pk, #g1sk"\n    try:\n'
        '        store.update(Update(row.key, change, "", values, blind=True))',
        (f"{CRASHES}::test_c13_the_result_of_the_later_owner_is_the_one_that_stays",),
        daily=True,
    ),
    Mutant(
        "an owner may not mend an unknown end",
        "toolcalls.py",
        "if stored.state is State.UNKNOWN and state is not State.UNKNOWN:",
        "if False:",
        (f"{CRASHES}::test_crash[C13-once-concurrent]",),
    ),
    Mutant(
        "another one's outcome passes for one's own",
        "toolcalls.py",
        "if stored is None or (stored.owner, stored.attempt) != (row.owner, row.attempt):",
        "if stored is None or stored.attempt != row.attempt:",
        (f"{GUARDS}::test_what_is_over_is_neither_begun_nor_released_nor_committed_again",),
    ),
    Mutant(
        "an unknown end is mended twice",
        "toolcalls.py",
        'condition = "#state = :unknown AND #owner = :owner AND #attempt = :attempt"',
        'condition = "#owner = :owner AND #attempt = :attempt"',
        (f"{GUARDS}::test_two_who_mend_an_unknown_end_at_once_do_so_once",),
    ),
    Mutant(
        "what may have acted is given back as untouched",
        "worker.py",
        "return _give_back(bench, row, acted=True)",
        "return _give_back(bench, row, acted=False)",
        (f"{GUARDS}::test_a_call_that_was_given_back_after_acting_is_unknown_when_its_time_is_over",),
    ),
    Mutant(
        "an end that was given away is reconciled",
        "toolcalls.py",
        'condition = "#state = :unknown AND #delivery IN (:none, :pending)"',
        'condition = "#state = :unknown"',
        (f"{GUARDS}::test_an_unknown_end_that_was_given_away_is_not_reconciled",),
    ),
    # Closing.
    Mutant(
        "closed before the deadline",
        "toolcalls.py",
        "((#state = :received AND #deadline <= :now) OR",
        "(#state = :received OR",
        (f"{GUARDS}::test_a_call_that_nobody_has_begun_is_not_closed_before_its_deadline",),
        daily=True,
    ),
    Mutant(
        "closed under a worker",
        "toolcalls.py",
        "OR (#state = :running AND #lease < :now AND ({over})))",
        "OR (#state = :running AND ({over})))",
        (f"{GUARDS}::test_a_call_under_way_is_not_closed_while_its_lease_lasts",),
    ),
    Mutant(
        "closed although it may be repeated",
        "toolcalls.py",
        'over = "#deadline <= :now OR (#effect = :once AND #intent = :true)"',
        'over = "#deadline <= :now OR #intent = :true"',
        (f"{GUARDS}::test_a_call_that_may_be_repeated_is_not_closed_before_its_deadline",),
    ),
    Mutant(
        "closed by what was read before an attempt",
        "toolcalls.py",
        '        f"#attempt = :attempt AND #intent = :seen"\n        f" AND ((',
        '        f"#intent = :seen"\n        f" AND ((',
        (f"{GUARDS}::test_a_call_is_not_closed_by_what_was_read_before_another_attempt",),
    ),
    Mutant(
        "closed by what was read before it began",
        "toolcalls.py",
        '        f"#attempt = :attempt AND #intent = :seen"\n        f" AND ((',
        '        f"#attempt = :attempt"\n        f" AND ((',
        (f"{GUARDS}::test_a_call_is_not_closed_as_never_begun_by_what_was_read_before_it_began",),
    ),
    Mutant(
        "out of the index before it is heard",
        "toolcalls.py",
        '    if not speak:\n        change += " REMOVE #g1pk, #g1sk"',
        '    if True:\n        change += " REMOVE #g1pk, #g1sk"',
        (f"{CRASHES}::test_crash[C15-keyed-none]",),
    ),
    # Speaking.
    Mutant(
        "a result is claimed by two",
        "toolcalls.py",
        'condition = "#delivery = :pending AND #state = :state"',
        'condition = "#state = :state"',
        (f"{GUARDS}::test_a_result_is_claimed_by_one",),
        daily=True,
    ),
    Mutant(
        "an end is said that is no longer the stored one",
        "toolcalls.py",
        'condition = "#delivery = :pending AND #state = :state"',
        'condition = "#delivery = :pending"',
        (f"{GUARDS}::test_a_delivery_is_not_claimed_for_an_end_that_is_no_longer_the_stored_one",),
    ),
    Mutant(
        "a delivery whose end was another's is counted",
        "delivery.py",
        'reason if ended else "taken"',
        "reason",
        (f"{WORKER}::test_a_result_that_was_spoken_is_not_called_lost_by_a_ticket_that_comes_too_late",),
    ),
    Mutant(
        "a definite failure of an inline tool is unknown",
        "lanes.py",
        "    except DefiniteFailure:\n        warn",
        "    except ZeroDivisionError:\n        warn",
        (f"{LANES}::test_an_inline_effect_that_surely_did_not_happen_is_not_called_unknown",),
    ),
    Mutant(
        "a claim to speak does not know itself",
        "toolcalls.py",
        'return lost.item is not None and lost.item.get("delivery_owner") == owner',
        "return False",
        (f"{LOST}::test_a_write_whose_answer_was_lost_is_not_a_second_one[move-delivery-claim]",),
    ),
    Mutant(
        "an ended call is spoken to",
        "delivery.py",
        "(#rank < :ended AND #interrupted_at = :interrupted",
        "(#interrupted_at = :interrupted",
        (f"{GUARDS}::test_a_call_that_ends_between_decision_and_claim_is_not_spoken_to",),
    ),
    Mutant(
        "an interruption is overlooked",
        "delivery.py",
        "#rank < :ended AND #interrupted_at = :interrupted",
        "#rank < :ended",
        (f"{GUARDS}::test_a_turn_that_is_interrupted_between_decision_and_claim_is_looked_at_again",),
        daily=True,
    ),
    Mutant(
        "a speaking caller is overlooked",
        "delivery.py",
        '        " AND (attribute_not_exists(#caller_started_at) OR #caller_started_at = :started))"',
        '        ")"',
        (f"{GUARDS}::test_a_caller_who_begins_to_speak_between_decision_and_claim_is_not_interrupted",),
    ),
    Mutant(
        "an expired session is believed",
        "delivery.py",
        "attribute_not_exists(#pk) OR #exp <= :now OR (#rank",
        "attribute_not_exists(#pk) OR (#rank",
        (f"{GUARDS}::test_the_session_of_an_older_call_says_nothing_about_this_one",),
    ),
    Mutant(
        "an ambiguous POST is repeated",
        "delivery.py",
        "    except Ambiguous as error:\n        return _close(speaker, row, Delivery.UNDELIVERABLE,",
        "    except Ambiguous as error:\n        return _close(speaker, row, Delivery.PENDING,",
        (f"{CRASHES}::test_crash[C17-keyed-none]",),
        daily=True,
    ),
    Mutant(
        "a refused POST is repeated for ever",
        "delivery.py",
        "if row.delivery_tries + 1 >= MAX_TRIES:",
        "if False:",
        (f"{CRASHES}::test_what_vapi_answers_decides_whether_a_result_is_sent_again[C16-twice]",),
    ),
    Mutant(
        "somebody else's delivery is ended",
        "toolcalls.py",
        '"#delivery = :claimed AND #delivery_owner = :owner" if owner',
        '"#delivery = :claimed" if owner',
        (f"{GUARDS}::test_a_delivery_is_ended_by_the_one_who_claimed_it",),
    ),
    Mutant(
        "a delivery under way is closed",
        "toolcalls.py",
        'condition = "#delivery = :claimed AND #delivery_at < :before"',
        'condition = "#delivery = :claimed"',
        (f"{GUARDS}::test_a_delivery_under_way_is_left_to_its_owner_for_a_while",),
    ),
    Mutant(
        "a delivery whose owner died is begun again",
        "sweeper.py",
        "if row.delivery is Delivery.PENDING:",
        "if row.delivery in (Delivery.PENDING, Delivery.CLAIMED):",
        (f"{CRASHES}::test_crash[C19-keyed-none]",),
    ),
    Mutant(
        "a result whose ticket is lost is never spoken",
        "sweeper.py",
        '        broom.live_queue.send(Ticket(row.call_id, row.key.sk, due="speak"))\n        return True\n    lost',
        "        return True\n    lost",
        (f"{GUARDS}::test_a_result_whose_ticket_is_lost_is_found_by_the_sweeper",),
    ),
    Mutant(
        "a silent addition is followed up twice",
        "toolcalls.py",
        "#delivery = :delivered AND attribute_not_exists(#followed_up)",
        "#delivery = :delivered",
        (f"{GUARDS}::test_a_result_that_was_added_in_silence_is_followed_up_once",),
    ),
    Mutant(
        "a call that is gone is tried again",
        "delivery.py",
        '        outcome = _close(speaker, row, Delivery.DROPPED, "call_ended", now, owner)\n'
        "        _hung_up(speaker, row, now)\n",
        '        outcome = _close(speaker, row, Delivery.DROPPED, "call_ended", now, owner)\n',
        (f"{WORKER}::test_a_call_that_vapi_no_longer_knows_is_not_tried_again",),
    ),
    Mutant(
        "a call that is gone is given a session",
        "delivery.py",
        'change, "#exp > :now", values',
        'change, "", values',
        (f"{WORKER}::test_the_end_that_is_only_guessed_makes_no_session",),
    ),
    Mutant(
        "nobody counts what was interrupted on its way",
        "delivery.py",
        "return heard != (before.interrupted_at, before.caller_started_at)",
        "return False",
        (f"{WORKER}::test_what_the_caller_interrupts_while_it_is_on_its_way_is_counted",),
    ),
    Mutant(
        "a delivery whose owner died is told to nobody",
        "sweeper.py",
        "        broom.undelivered(row, OWNER_LOST)\n",
        "",
        (f"{SWEEPER}::test_a_delivery_whose_owner_died_is_told_to_whoever_follows_up_once",),
    ),
    # After the call, and the model repeating itself.
    Mutant(
        "every message that ends the call moves the deadline",
        "toolcalls.py",
        "#state = :received AND attribute_not_exists(#released_at)",
        "#state = :received",
        (f"{GUARDS}::test_the_deadline_of_an_after_call_tool_starts_once",),
    ),
    Mutant(
        "a repetition takes the first one's place",
        "toolcalls.py",
        '                    "attribute_not_exists(#pk) OR #exp <= :now OR #first = :me",\n',
        "",
        (f"{GUARDS}::test_the_first_of_a_repetition_keeps_its_place_until_its_window_is_over",),
    ),
    Mutant(
        "two take the place of a first call that failed",
        "toolcalls.py",
        'place = Put(item, "#first = :seen", {"seen": holder.sk})',
        "place = Put(item)",
        ("tests/chaos/test_guards.py::test_of_two_that_take_the_place_of_a_failed_first_call_one_does",),
    ),
    Mutant(
        "a first call that is just being stored is overlooked",
        "toolcalls.py",
        'store.transact([place, Check(holder, "attribute_not_exists(#pk)")], str(uuid.uuid4()))',
        "store.put(place)",
        (f"{GUARDS}::test_a_first_call_that_is_stored_just_now_keeps_its_place",),
    ),
    Mutant(
        "a call is stored although another one has become the first",
        "toolcalls.py",
        'store.transact([put, Check(place, "#first = :me", {"me": put.item["sk"]})], str(uuid.uuid4()))',
        "store.put(put)",
        (f"{GUARDS}::test_a_first_call_that_is_not_stored_loses_its_place_and_is_not_stored_any_more",),
        daily=True,
    ),
    Mutant(
        "a call that was refused stands for others",
        "toolcalls.py",
        "if first and first.digest == row.digest and first.state",
        "if first and first.state",
        (f"{GUARDS}::test_a_call_that_was_refused_for_its_arguments_is_nobodys_first",),
    ),
    Mutant(
        "a look-up runs before its arguments are compared",
        "lanes.py",
        'if (cancelled or job.tool.effect == "read") and (known',
        "if cancelled and (known",
        (f"{LANES}::test_a_look_up_with_conflicting_arguments_does_not_run",),
    ),
    # Merging a call's messages.
    Mutant(
        "the rank falls",
        "calls.py",
        '"#rank < :rank", values',
        '"attribute_exists(#pk)", values',
        (f"{GUARDS}::test_a_status_that_arrives_late_is_old_news",),
        daily=True,
    ),
    Mutant(
        "an older time wins",
        "calls.py",
        'condition = f"attribute_not_exists(#{name}) OR #{name} < :at"',
        'condition = "attribute_exists(#pk)"',
        (f"{GUARDS}::test_an_interruption_that_arrives_late_is_old_news",),
        daily=True,
    ),
    Mutant(
        "a time from the future is believed",
        "calls.py",
        "    if at > (now + SKEW) * 1000:\n        return None\n",
        "",
        (f"{SESSION}::test_an_interruption_from_the_future_is_not_believed",),
    ),
    Mutant(
        "an ended call keeps its control host",
        "calls.py",
        '    condition = "attribute_not_exists(#ended_at)"\n'
        "    return Told(_merge(store, message.call_id, sets, condition, values, settings, now, remove=OVER) is not None)",
        '    condition = "attribute_not_exists(#ended_at)"\n'
        "    return Told(_merge(store, message.call_id, sets, condition, values, settings, now) is not None)",
        (f"{SESSION}::test_an_ended_call_stays_ended_and_forgets_its_control_host",),
    ),
    Mutant(
        "the end is told twice",
        "calls.py",
        'condition = "attribute_not_exists(#ended_at)"',
        'condition = "attribute_exists(#pk)"',
        (f"{GUARDS}::test_the_end_of_a_call_is_news_once",),
    ),
    Mutant(
        "an utterance is written over",
        "calls.py",
        'store.put(Put(line, "attribute_not_exists(#pk) OR #exp <= :now", {"now": int(now)}))',
        "store.put(Put(line))",
        (f"{GUARDS}::test_an_utterance_is_news_once",),
    ),
    Mutant(
        "an expired session is merged into",
        "calls.py",
        '"attribute_not_exists(#pk) OR (#exp > :now AND ({condition}))"',
        '"attribute_not_exists(#pk) OR ({condition})"',
        (f"{GUARDS}::test_nothing_of_an_expired_session_lives_on",),
    ),
    Mutant(
        "an expired session is read",
        "calls.py",
        'if item is None or item["exp"] <= now:',
        "if item is None:",
        (f"{SESSION}::test_a_session_past_its_time_is_not_read_even_if_it_is_not_deleted_yet",),
    ),
    # The table and the signature.
    Mutant(
        "a conflict of transactions is an outage",
        "store.py",
        "if not (tries_left and _conflict(error)):",
        "if True:",
        (f"{STORE}::test_a_write_that_meets_a_transaction_is_tried_three_times_more",),
    ),
    Mutant(
        "any signature fits",
        "signatures.py",
        "            if hmac.compare_digest(expected, candidate):\n",
        "            if expected[:4] == candidate[:4]:\n",
        (f"{SIGNATURES}::test_every_flipped_bit_of_a_signed_request_is_refused",),
        daily=True,
    ),
    Mutant(
        "an old request is taken",
        "signatures.py",
        '    if sent < now - tolerance:\n        raise SignatureRefused("timestamp_stale")\n',
        "",
        (f"{SIGNATURES}::test_one_unit_outside_the_window_is_refused",),
    ),
    Mutant(
        "a request from the future is taken",
        "signatures.py",
        '    if sent > now + tolerance:\n        raise SignatureRefused("timestamp_future")\n',
        "",
        (f"{SIGNATURES}::test_one_unit_outside_the_window_is_refused",),
    ),
    Mutant(
        "an empty secret signs",
        "signatures.py",
        "usable = [secret for secret in secrets if secret.value]",
        "usable = list(secrets)",
        (f"{SIGNATURES}::test_without_a_secret_everything_is_refused",),
    ),
    # The console.
    Mutant(
        "a token of any secret",
        "tokens.py",
        "    if not any(matches):\n",
        "    if not matches:\n",
        (f"{TOKENS}::test_every_flipped_bit_is_noticed",),
        daily=True,
    ),
    Mutant(
        "a token that never ends",
        "tokens.py",
        "    if not now < token.exp <= now + MAX_SECONDS:\n",
        "    if not token.exp <= now + MAX_SECONDS:\n",
        (f"{TOKENS}::test_a_token_counts_until_its_time_and_no_time_is_further_than_twelve_hours",),
    ),
    Mutant(
        "a token that ends when it likes",
        "tokens.py",
        "    if not now < token.exp <= now + MAX_SECONDS:\n",
        "    if not now < token.exp:\n",
        (f"{TOKENS}::test_a_token_counts_until_its_time_and_no_time_is_further_than_twelve_hours",),
    ),
    Mutant(
        "a secret that can be guessed",
        "tokens.py",
        " if len(secret.value) >= MIN_SECRET]",
        "]",
        (f"{TOKENS}::test_a_secret_that_could_be_guessed_signs_nothing_and_verifies_nothing",),
    ),
    Mutant(
        "audit overwrites",
        "audit.py",
        'Put(item, "attribute_not_exists(#pk)")',
        "Put(item)",
        (f"{CONSOLE}::test_words_are_said_once_and_leave_a_row_without_them",),
        daily=True,
    ),
    Mutant(
        "an id for any request",
        "interventions.py",
        "audit.outcome(stored) if audit.same(stored, order.entry) else None",
        "audit.outcome(stored)",
        (f"{CONSOLE}::test_an_id_stands_for_one_request_only",),
    ),
    Mutant(
        "an id for any token",
        "audit.py",
        'if name != "id")',
        'if name not in ("id", "who"))',
        (f"{CONSOLE}::test_another_tokens_request_is_not_repeated",),
    ),
    Mutant(
        "the list by its ids",
        "livecalls.py",
        "key=lambda sign: (sign[1], sign[0]), reverse=True",
        "key=lambda sign: sign[0], reverse=True",
        (f"{CONSOLE}::test_a_list_that_is_full_has_the_newest_calls",),
    ),
    Mutant(
        "what is stale takes a place",
        "livecalls.py",
        "signs[: 2 * MOST]",
        "signs[:MOST]",
        (f"{CONSOLE}::test_what_is_stale_takes_no_place_in_the_list",),
    ),
    Mutant(
        "what was said before the interruption",
        "delivery.py",
        'f"TR#{session.interrupted_at:013d}"',
        '"TR#"',
        (f"{WORKER}::test_what_the_caller_said_before_the_interruption_supersedes_nothing",),
    ),
    Mutant(
        "whoever goes on for long wants the same",
        "delivery.py",
        "return more or any(",
        "return any(",
        (f"{WORKER}::test_a_caller_who_has_gone_on_for_longer_than_is_looked_through_wants_something_else",),
    ),
    Mutant(
        "the oldest words",
        "console.py",
        '"TR#", "TR$", MOST_ITEMS, newest=True)',
        '"TR#", "TR$", MOST_ITEMS)',
        (f"{CONSOLE}::test_of_a_long_call_the_newest_is_told_and_no_more_is_read",),
    ),
    Mutant(
        "an answer of any size",
        "console.py",
        " or size > MOST_BYTES",
        "",
        (f"{CONSOLE}::test_of_long_words_as_many_are_told_as_fit_into_an_answer",),
    ),
    Mutant(
        "say it to nobody",
        "interventions.py",
        "if session is None or session.ended:",
        "if session is None:",
        (f"{CONSOLE}::test_an_ended_call_is_left_alone_and_the_attempt_is_written_down",),
    ),
    Mutant(
        "vapi calls anybody",
        "interventions.py",
        'E164.fullmatch(operator.switch.people.get(order.person, ""))',
        "operator.switch.people",
        (f"{CONSOLE}::test_a_leg_that_is_vapis_is_moved_by_vapi",),
    ),
    Mutant(
        "move a leg that was given away",
        "interventions.py",
        " and operator.settings.way != REDIRECT\n",
        "\n",
        (f"{CONSOLE}::test_a_leg_that_is_vapis_is_moved_by_vapi",),
    ),
    Mutant(
        "another transfer passes for this one",
        "interventions.py",
        "    if moved.asked_by != asked_by:\n        return Outcome(REFUSED, UNDER_WAY)\n",
        "",
        (f"{CONSOLE}::test_a_transfer_asked_for_twice_is_one",),
    ),
    Mutant(
        "rebound",
        "console.py",
        '    if local and not _LOCAL_HOST.fullmatch(host):\n        raise MessageRefused(403, "host")\n',
        "",
        (f"{CONSOLE}::test_a_name_of_somebody_else_that_leads_to_this_machine_is_refused",),
        daily=True,
    ),
    Mutant(
        "any origin",
        "console.py",
        '    if origin not in own:\n        raise MessageRefused(403, "origin")\n',
        "",
        (f"{CONSOLE}::test_a_page_on_this_machine_that_is_not_this_stacks_is_refused",),
        daily=True,
    ),
    Mutant(
        "a form acts",
        "console.py",
        '        raise MessageRefused(400, "content_type")\n',
        "        pass\n",
        (f"{CONSOLE}::test_a_form_of_another_page_cannot_act",),
    ),
    Mutant(
        "watching is acting",
        "console.py",
        '    if ACT not in visit.token.scopes:\n        raise MessageRefused(403, "scope")\n',
        "",
        (f"{CONSOLE}::test_a_token_that_may_only_watch_does_nothing",),
    ),
    Mutant(
        "words for everybody",
        "console.py",
        "reveal=WORDS in visit.token.scopes)",
        "reveal=True)",
        (f"{CONSOLE}::test_words_are_shown_to_tokens_for_words_only_and_the_number_to_nobody",),
    ),
    Mutant(
        "a request of long ago",
        "console.py",
        '    if not audit.is_current(given["id"], visit.now):\n        raise MessageRefused(400, "clock")\n',
        "",
        (f"{CONSOLE}::test_a_request_that_is_none_is_refused_before_anything_is_written",),
    ),
    # Waking.
    Mutant(
        "every news of a call wakes",
        "calls.py",
        'before.get("rank", 0) < RINGING <= rank',
        "RINGING <= rank",
        (f"{FIRST_CALL}::test_each_function_is_woken_once_for_a_call",),
        daily=True,
    ),
    Mutant(
        "a call that is not placed yet wakes",
        "calls.py",
        "< RINGING <= rank",
        "< RINGING",
        (f"{FIRST_CALL}::test_a_call_that_does_not_ring_wakes_nobody",),
    ),
    Mutant(
        "old news wakes",
        "calls.py",
        "return Told() if before is None else Told(True, before",
        "return Told(before is not None, (before or {})",
        (f"{FIRST_CALL}::test_each_function_is_woken_once_for_a_call",),
    ),
    Mutant(
        "a call whose phone we answered is woken for twice",
        "webhook.py",
        "if told.begins and not message.phone_is_ours:",
        "if told.begins:",
        (f"{FIRST_CALL}::test_each_function_is_woken_once_for_a_call",),
    ),
    Mutant(
        "a call that is redirected is woken for twice",
        "phone.py",
        "    if exchange.settings.way != REDIRECT:\n",
        "    if True:\n",
        (f"{FIRST_CALL}::test_each_function_is_woken_once_for_a_call",),
    ),
    Mutant(
        "a wake takes as long as it likes",
        "waking.py",
        "            with limit(SECONDS):\n",
        "            if True:\n",
        (f"{WAKING}::test_a_wake_takes_no_longer_than_its_time",),
    ),
    Mutant(
        "whoever cannot be woken ends the call",
        "waking.py",
        "except (Exception, Overrun) as error:",
        "except Overrun as error:",
        (f"{WAKING}::test_whatever_goes_wrong_is_one_line_without_content",),
    ),
    Mutant(
        "one that cannot be woken lets the others sleep",
        "waking.py",
        "        except Unavailable as error:\n",
        "        except ZeroDivisionError as error:\n",
        (f"{WAKING}::test_one_that_cannot_be_woken_is_no_reason_to_leave_the_next_asleep",),
    ),
    Mutant(
        "a wake is taken for work",
        "waking.py",
        "return None if event == EVENT else handler(",
        "return handler(",
        (f"{WAKING}::test_a_wake_does_nothing_and_everything_else_is_work",),
        daily=True,
    ),
    Mutant(
        "a connection for nobody",
        "waking.py",
        "        if self._functions:\n            aws.connect(",
        "        if True:\n            aws.connect(",
        (f"{WAKING}::test_where_nobody_is_woken_nothing_is_asked_or_opened",),
    ),
)


def mutated(mutant: Mutant, folder: Path) -> Path:
    """Write the package with the guard taken out below `folder`; `Stale` where the guard is not there once."""
    source = (PACKAGE / mutant.file).read_text()
    if (count := source.count(mutant.old)) != 1:
        raise Stale(f"{mutant.name}: {mutant.file} holds {count} times what it takes out, and not once")
    shutil.copytree(PACKAGE, folder / "switchboard", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "switchboard" / mutant.file).write_text(source.replace(mutant.old, mutant.new))
    return folder


def processes(at_once: int) -> ProcessPoolExecutor:
    """A fresh process for each mutant, forked from one that has loaded what the package and its tests stand on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(FOUNDATIONS)
    return ProcessPoolExecutor(at_once, mp_context=context, max_tasks_per_child=1)


def verdict(mutant: Mutant, folder: Path) -> tuple[bool, str]:
    """Run the mutant's own tests against it, in a process of their own: whether they noticed, and what they said."""
    sys.path.insert(0, str(mutated(mutant, folder)))
    sys.dont_write_bytecode = True
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.chdir(ROOT)
    # A mutant may never come to its end; the package's own timer is another one.
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    with redirect_stdout(StringIO()) as said:
        code = pytest.main([*OPTIONS, *mutant.tests])
    loaded = sys.modules["switchboard"].__file__ or ""
    return code == pytest.ExitCode.TESTS_FAILED and loaded.startswith(str(folder)), said.getvalue()
