"""The SDK that is committed: which versions it is, that its licences go with it, and that the fake Daily is like the real one."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "functions/web_client/assets"
WEB = ROOT / "devkit/web"
MANIFEST = json.loads((WEB / "package.json").read_text())
LOCK: dict[str, dict[str, Any]] = json.loads((WEB / "package-lock.json").read_text())["packages"]
FREE = {"MIT", "BSD-2-Clause"}


def shipped() -> dict[str, dict[str, Any]]:
    """Every package whose code is in the bundle, by its name."""
    named = {path.rpartition("node_modules/")[2]: entry for path, entry in LOCK.items() if path}
    return {name: entry for name, entry in named.items() if not entry.get("dev")}


def test_the_versions_are_exact_and_locked() -> None:
    wanted = {**MANIFEST["dependencies"], **MANIFEST["devDependencies"]}

    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    assert {name: LOCK[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(entry["integrity"].startswith("sha512-") for path, entry in LOCK.items() if path)


def test_the_lock_names_no_registry() -> None:
    assert "://" not in (WEB / "package-lock.json").read_text()
    assert "omit-lockfile-registry-resolved=true" in (WEB / ".npmrc").read_text().splitlines()


def test_each_file_says_which_version_it_is() -> None:
    for file, name in (("vapi.js", "@vapi-ai/web"), ("daily.js", "@daily-co/daily-js")):
        entry = shipped()[name]
        first = (ASSETS / file).read_text("utf-8").split("\n", 1)[0]
        assert first == f"/*! {name} {entry['version']}, {entry['license']}; all notices: NOTICES.txt */"


def test_daily_loads_the_code_of_its_own_version() -> None:
    daily = (ASSETS / "daily.js").read_text("utf-8")

    assert f'call-machine/versioned/".concat("{shipped()["@daily-co/daily-js"]["version"]}"' in daily


def test_everything_in_the_bundle_may_be_passed_on() -> None:
    assert {entry["license"] for entry in shipped().values()} <= FREE


def test_the_notices_of_every_package_go_with_it() -> None:
    notices = (ASSETS / "NOTICES.txt").read_text("utf-8").split(f"\n{'-' * 80}\n")

    assert len(notices) == len(shipped())
    for (name, entry), notice in zip(shipped().items(), notices, strict=True):
        assert f"{name} {entry['version']} ({entry['license']})\n" in notice
        assert re.search(r"copyright", notice, re.IGNORECASE), name
        assert "AS IS" in notice, name


@pytest.mark.nightly  # it fetches the packages
def test_building_it_again_gives_what_is_committed(tmp_path: Path) -> None:
    if not shutil.which("npm"):
        pytest.skip("needs npm, which is wanted for nothing else here")
    for file in (*WEB.glob("*"), WEB / ".npmrc"):
        shutil.copy(file, tmp_path)
    made = tmp_path / "made"
    made.mkdir()
    for command in (["npm", "ci"], ["node", "build.js", str(made)]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    assert {file.name: file.read_bytes() for file in made.iterdir()} == {
        name: (ASSETS / name).read_bytes() for name in ("vapi.js", "daily.js", "NOTICES.txt")
    }


def test_vapis_code_finds_daily_beside_it() -> None:
    vapi = (ASSETS / "vapi.js").read_text("utf-8")

    assert re.findall(r'from"(.+?)"', vapi) == ["./daily.js"]
    assert not re.search(r"\brequire\(|\beval\(|new Function\(", vapi)


def test_the_fake_daily_has_no_method_and_no_event_that_the_real_one_has_not() -> None:
    fake = (ROOT / "tests/browser/daily.js").read_text("utf-8")
    real = (ASSETS / "daily.js").read_text("utf-8")
    own = {"constructor", "once", "on", "happen", "fail"}  # the first three come from EventEmitter, two are the test's
    methods = set(re.findall(r"^  (?:async )?(\w+)\(.*\) \{$", fake, re.MULTILINE)) - own
    events = set(re.findall(r'^  "([a-z-]+)",$', fake, re.MULTILINE))

    assert {"join", "destroy", "sendAppMessage", "setLocalAudio"} <= methods
    assert {"app-message", "left-meeting", "network-connection", "camera-error"} <= events
    assert [name for name in methods if f'key:"{name}"' not in real] == []
    assert [name for name in events if f'"{name}"' not in real] == []


def test_the_errors_that_are_told_apart_are_dailys() -> None:
    line = (ASSETS / "line.js").read_text("utf-8")
    told = set(re.findall(r'^  "?([a-z-]+)"?: "[a-z-]+",', line[line.index("const FATAL") :], re.MULTILINE))

    # The types that Daily's declarations list: https://docs.daily.co/reference/daily-js/events/meeting-events#error
    assert told == {
        "connection-error", "ejected", "no-room", "exp-room", "exp-token", "end-of-life", "meeting-full", "not-allowed",
        "nbf-room", "nbf-token",
    }  # fmt: skip


def test_every_problem_has_its_words() -> None:
    words = (ASSETS / "words.js").read_text("utf-8")
    known = set(re.findall(r'^  "?([a-z-]+)"?: "[A-Z]', words[: words.index("const ENDINGS")], re.MULTILINE))
    used = set(re.findall(r'"((?:microphone|sound)-[a-z]+|unsupported|network|key|assistant|busy|expired|stuck|vapi)"',
                          "".join((ASSETS / name).read_text("utf-8") for name in ("line.js", "talk.js"))))  # fmt: skip

    assert used == known
