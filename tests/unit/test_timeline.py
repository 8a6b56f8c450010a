from devkit.timeline import WIDTH, Moment, Promise, render, table


def test_moments_are_in_the_order_of_their_times_whoever_noted_them_first() -> None:
    text = render([Moment(102.5, "tool", "find()"), Moment(100.25, "phone", "rings")], 100)

    assert text == "    0.25  phone  rings\n    2.50  tool   find()"


def test_routine_moments_that_follow_each_other_share_a_line() -> None:
    moments = [
        Moment(1, "message", "a", routine=True),
        Moment(2, "message", "b", routine=True),
        Moment(3, "tool", "t"),
        Moment(4, "message", "c", routine=True),
    ]

    assert render(moments, 0).splitlines() == [
        "    1.00  message  a · b → 200",
        "    3.00  tool     t",
        "    4.00  message  c → 200",
    ]


def test_what_should_have_gone_otherwise_is_marked() -> None:
    assert render([Moment(1, "tool", "late", ok=False)], 0) == "✗   1.00  tool  late"


def test_long_moments_are_wrapped_beneath_themselves() -> None:
    first, *rest = render([Moment(0, "tool", "word " * 60)], 0).splitlines()

    assert first.startswith("    0.00  tool  word")
    assert all(line.startswith(" " * 16 + "word") for line in rest)
    assert all(len(line) <= WIDTH for line in [first, *rest])


def test_control_characters_of_somebody_elses_words_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in render([Moment(0, "caller", "a\x1b[2Jb")], 0)


def test_a_table_says_for_each_promise_what_was_seen() -> None:
    text = table([Promise("acts once", "1 change", ok=True), Promise("heard", "nothing", ok=False)])

    assert text.splitlines()[0].split() == ["promised", "seen", "ok"]
    assert text.splitlines()[2].endswith(" yes")
    assert text.splitlines()[3].endswith(" NO")


def test_a_table_is_never_wider_than_a_page() -> None:
    text = table([Promise("promised " * 30, "seen " * 40, ok=True)])

    assert max(map(len, text.splitlines())) <= WIDTH


def test_nothing_is_rendered_of_nothing() -> None:
    assert render([], 0) == ""
