"""Who may be called, and when: the allow-list by prefix, and quiet hours by the callee's own clock."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from switchboard import outbound
from switchboard.errors import SettingsError
from switchboard.outbound import Rules
from switchboard.settings import Settings
from tests.unit.test_readme import Loader

ROOT = Path(__file__).parents[2]
NUMBER = "+12125550123"
NOON = datetime(2026, 6, 1, 16, 0, tzinfo=UTC).timestamp()  # in New York


@pytest.fixture
def base(settings: Settings) -> Settings:
    """Settings whose two texts a test sets."""
    return settings._replace(outbound_prefixes="", quiet_hours="21-8")


def at(moment: str) -> float:
    """Epoch seconds of a moment in UTC, to the second."""
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def rules(base: Settings, prefixes: str, quiet: str = "21-8") -> Rules:
    """The rules of these two texts."""
    return Rules.read(base._replace(outbound_prefixes=prefixes, quiet_hours=quiet))


# Who


def test_nobody_may_be_called_by_default(base: Settings) -> None:
    assert Rules.read(base).refusal(NUMBER, NOON) == "not_allowed"


@pytest.mark.parametrize(
    ("number", "allowed"),
    [
        ("+12125550123", True),
        ("+12135550123", False),
        ("+442079460000", True),
        ("+4420", True),
        ("+33142920000", False),
        ("+1911", False),
    ],
)
def test_only_numbers_with_a_listed_prefix_may_be_called(base: Settings, number: str, allowed: bool) -> None:
    made = rules(base, "+1212=America/New_York, +44=Europe/London")

    assert (made.refusal(number, NOON) == "") is allowed
    assert made.refusal(number, NOON) in ("", "not_allowed")


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["as written", "the other way round"])
def test_the_longest_prefix_decides_whatever_the_order(base: Settings, order: slice) -> None:
    entries = ["+1=America/New_York", "+1808=Pacific/Honolulu", "+18085=Asia/Tokyo"][order]
    made = rules(base, ",".join(entries))
    noon_in_honolulu = at("2026-06-01T22:00")  # 18:00 in New York, 7:00 in Tokyo

    assert made.refusal("+12125550123", noon_in_honolulu) == ""
    assert made.refusal("+18084440123", noon_in_honolulu) == ""
    assert made.refusal("+18085550123", noon_in_honolulu) == "quiet_hours"
    assert made.refusal("+18084440123", NOON) == "quiet_hours"  # 6:00 there


def test_never_takes_numbers_out_of_a_prefix_that_is_allowed(base: Settings) -> None:
    made = rules(base, "+44=Europe/London,+449=never", "")

    assert made.refusal("+442079460000", NOON) == ""
    assert made.refusal("+449098790000", NOON) == "not_allowed"


@pytest.mark.parametrize(
    ("prefixes", "words"),
    [
        ("+1212", "'' is no IANA time zone"),
        ("+1212=", "'' is no IANA time zone"),
        ("+1212=Mars/Base", "'Mars/Base' is no IANA time zone"),
        ("+1212=America", "'America' is no IANA time zone"),
        ("+1212=America/New_York|", "'' is no IANA time zone"),
        ("+1212=America/New_York|never", "'never' is no IANA time zone"),
        ("+1212=../../etc/passwd", "is no IANA time zone"),
        ("+1212=localtime", "'localtime' is no IANA time zone"),
        ("+1212=America/" + "x" * 300, "is no IANA time zone"),
        ("+1212=America/Argentina", "is no IANA time zone"),
        ("1212=America/New_York", "must be like"),
        ("+0=America/New_York", "must be like"),
        ("+=America/New_York", "must be like"),
        ("=America/New_York", "must be like"),
        ("+1 212=America/New_York", "must be like"),
        ("+\u0661=America/New_York", "must be like"),
        ("+1234567890123456=America/New_York", "must be like"),
        ("America/New_York", "must be like"),
        ("+1212=America/New_York,+1212=America/New_York", "entry 2"),
    ],
)
def test_a_wrong_entry_is_named(base: Settings, prefixes: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        rules(base, prefixes)

    place = prefixes.count(",") + 1
    assert str(refused.value).startswith(f"OUTBOUND_PREFIXES, entry {place} ({prefixes.split(',')[-1][:5]}…)")
    assert words in str(refused.value)


def test_what_names_a_wrong_entry_is_not_somebodys_number(base: Settings) -> None:
    for wrong in (f"{NUMBER}=Mars/Base", NUMBER[1:]):
        with pytest.raises(SettingsError) as refused:
            rules(base, wrong)
        assert NUMBER[6:] not in str(refused.value)


def test_empty_entries_and_spaces_mean_nothing(base: Settings) -> None:
    made = rules(base, " +1212 = America/New_York | America/Chicago , ,")

    assert [(prefix, [zone.key for zone in zones]) for prefix, zones in made.zones.items()] == [
        ("+1212", ["America/New_York", "America/Chicago"])
    ]


# When


@pytest.mark.parametrize(
    ("quiet", "hours"),
    [
        ("21-8", {*range(21, 24), *range(8)}),
        ("8-21", set(range(8, 21))),
        ("1-6", set(range(1, 6))),
        ("0-8", set(range(8))),
        ("22-0", {22, 23}),
        ("23-22", {*range(24)} - {22}),
        (" 09-17 ", set(range(9, 17))),
        ("", set()),
    ],
)
def test_quiet_hours_begin_and_end_on_the_hour_also_over_midnight(base: Settings, quiet: str, hours: set[int]) -> None:
    made = rules(base, "+1212=UTC", quiet)
    minutes = [(hour, at(f"2026-06-01T{hour:02}:{rest}")) for hour in range(24) for rest in ("00:00", "30:00", "59:59")]

    assert {hour for hour, moment in minutes if made.refusal(NUMBER, moment) == "quiet_hours"} == hours
    assert {hour for hour, moment in minutes if made.refusal(NUMBER, moment) == ""} == {*range(24)} - hours


@pytest.mark.parametrize(
    "wrong", ["21", "21-", "-8", "21-8-9", "21:00-8:00", "8-8", "24-8", "21-24", "x-y", "\u0662-\u0668", "0-0"]
)
def test_wrong_quiet_hours_are_refused(base: Settings, wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"^QUIET_HOURS must be two different hours from 0 to 23"):
        rules(base, "", wrong)


@pytest.mark.parametrize(
    ("zone", "quiet", "moment", "refusal"),
    [
        # Summer and winter of one place.
        ("Europe/London", "21-8", "2026-01-10T07:59:59", "quiet_hours"),
        ("Europe/London", "21-8", "2026-01-10T08:00", ""),
        ("Europe/London", "21-8", "2026-07-10T06:59:59", "quiet_hours"),
        ("Europe/London", "21-8", "2026-07-10T07:00", ""),
        ("Europe/London", "21-8", "2026-07-10T19:59:59", ""),
        ("Europe/London", "21-8", "2026-07-10T20:00", "quiet_hours"),
        # The night of March in which New York's clocks go from 2 to 3: quiet until 3 ends an hour sooner.
        ("America/New_York", "21-3", "2026-03-08T06:59:59", "quiet_hours"),
        ("America/New_York", "21-3", "2026-03-08T07:00", ""),
        ("America/New_York", "21-3", "2026-03-07T07:00", "quiet_hours"),
        # The night of November in which 1 o'clock comes twice: quiet both times.
        ("America/New_York", "21-2", "2026-11-01T05:30", "quiet_hours"),
        ("America/New_York", "21-2", "2026-11-01T06:30", "quiet_hours"),
        ("America/New_York", "21-2", "2026-11-01T07:00", ""),
        # Half an hour, a quarter, and a day that is another one in UTC.
        ("Asia/Kolkata", "21-8", "2026-06-01T02:29:59", "quiet_hours"),
        ("Asia/Kolkata", "21-8", "2026-06-01T02:30", ""),
        ("Asia/Kathmandu", "21-8", "2026-06-01T02:14:59", "quiet_hours"),
        ("Asia/Kathmandu", "21-8", "2026-06-01T02:15", ""),
        ("Pacific/Kiritimati", "21-8", "2026-06-01T18:00", ""),
        ("Pacific/Kiritimati", "21-8", "2026-06-01T17:59:59", "quiet_hours"),
        ("America/Los_Angeles", "21-8", "2026-06-02T03:59:59", ""),
        ("America/Los_Angeles", "21-8", "2026-06-02T04:00", "quiet_hours"),
    ],
)
def test_the_clock_is_the_callees(base: Settings, zone: str, quiet: str, moment: str, refusal: str) -> None:
    assert rules(base, f"+1212={zone}", quiet).refusal(NUMBER, at(moment)) == refusal


@pytest.mark.parametrize(
    ("moment", "refusal"),
    [
        ("2026-06-01T12:00", "quiet_hours"),  # 8:00 in New York, 5:00 in Los Angeles
        ("2026-06-01T15:00", ""),  # 11:00 and 8:00
        ("2026-06-02T00:59:59", ""),  # 20:59 and 17:59
        ("2026-06-02T01:00", "quiet_hours"),  # 21:00 and 18:00
    ],
)
def test_quiet_hours_must_be_over_wherever_the_number_may_be(base: Settings, moment: str, refusal: str) -> None:
    for zones in ("America/New_York|America/Los_Angeles", "America/Los_Angeles|America/New_York"):
        assert rules(base, f"+1212={zones}").refusal(NUMBER, at(moment)) == refusal


# What lies elsewhere


def test_the_time_zones_are_in_the_layer() -> None:
    pinned = (ROOT / "layers/dependencies/requirements.txt").read_text()

    # What Lambda's system has, or leaves out, must not decide whether a place exists.
    assert "\ntzdata==" in pinned


def test_a_request_is_given_up_only_when_its_function_has_ended() -> None:
    function = yaml.load((ROOT / "template.yaml").read_text(), Loader)["Resources"]["OutboundFunction"]  # noqa: S506 - a safe loader

    assert 2 * function["Properties"]["Timeout"] <= outbound.PENDING_SECONDS
    assert "Events" not in function["Properties"]
    assert "FunctionUrlConfig" not in function["Properties"]
