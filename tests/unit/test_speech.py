from devkit.speech import cut_off, duration, interrupted, speaking


def test_words_take_as_long_as_people_need_and_pace_makes_them_faster() -> None:
    assert duration("one two three four five", 1) == 2
    assert duration("one two three four five", 4) == 0.5
    assert duration("yes", 1) == 1


def test_an_utterance_is_begun_ended_and_transcribed() -> None:
    cues = speaking("user", "Hello there.", 3, 2.0)

    assert [cue.after for cue in cues] == [0, 2.0, 2.0, 2.0]
    assert [cue.fields.get("turn") for cue in cues[:2]] == [3, 3]
    assert cues[2].fields == {"role": "user", "transcriptType": "final", "transcript": "Hello there."}


def test_an_interruption_comes_into_the_middle_of_the_assistants_words() -> None:
    cues = interrupted("one two three four", 4, 2.0, "Wait!", 1.5)

    assert [(cue.kind, cue.fields.get("role"), cue.fields.get("status")) for cue in cues] == [
        ("speech-update", "assistant", "started"),
        ("speech-update", "user", "started"),
        ("user-interrupted", None, None),
        ("speech-update", "assistant", "stopped"),
        ("transcript", "assistant", None),
        ("conversation-update", None, None),
        ("speech-update", "user", "stopped"),
        ("transcript", "user", None),
        ("conversation-update", None, None),
    ]
    assert [cue.after for cue in cues] == sorted(cue.after for cue in cues)
    assert cues[2].after == 1.1
    assert cues[-1].after == 2.5
    assert cues[4].fields["transcript"] == "one two"


def test_a_caller_who_says_little_is_not_noticed_after_they_have_stopped() -> None:
    cues = interrupted("one two three four", 0, 0.4, "Hm", 0.05)

    assert [cue.after for cue in cues] == sorted(cue.after for cue in cues)


def test_at_least_one_word_is_heard() -> None:
    assert cut_off("Hello") == "Hello"
    assert cut_off("one two three four five six") == "one two three"
