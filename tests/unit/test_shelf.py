"""An agent's tools on a shelf: what is written down of them is believed as long as it is about this very code."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from agent import agent
from agent.tools import tools
from devkit import catalogue, deploy, facts, sam
from devkit.errors import UserError
from devkit.steps import Steps
from switchboard import shelf
from switchboard.shelf import Catalogue, Shelf

PACKAGE = "shelved"
SOURCE = '''"""One tool."""

from switchboard.tools import Toolbox

tools = Toolbox()


@tools.tool(effect="read")
def greet() -> str:
    """Greet."""
    return "Hello."
'''
SERVER = {"url": "https://voice.example.com/webhook/vapi/tools"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent's code, and nothing written down about it."""
    folder = tmp_path / PACKAGE
    (folder / "more").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "more/__init__.py").write_text("HOURS = 8\n")
    (folder / "tools.py").write_text(SOURCE)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/rooms.py").write_text("ROOMS = 1")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__(PACKAGE)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def put(folder: Path, **changes: Any) -> None:
    """Write down that it has a tool called `written`, by which its words can be told from the code's."""
    definitions = [{"type": "function", "function": {"name": "written"}}]
    made = Catalogue("", {"written": 600}, definitions)
    made = made._replace(digest=shelf.proof(made, shelf.digest_of(str(folder))))
    (folder / shelf.CATALOGUE).write_text(json.dumps(made._asdict() | changes))


def names(shelved: Shelf) -> list[str]:
    return [definition["function"]["name"] for definition in shelved.definitions()]


def loaded() -> bool:
    return f"{PACKAGE}.tools" in sys.modules


def test_what_is_written_down_is_told_without_loading_anything(package: Path) -> None:
    put(package)
    shelved = Shelf(f"{PACKAGE}.tools")

    assert names(shelved) == ["written"]
    assert shelved.after_call == {"written": 600}
    assert len(shelved) == 1
    assert not loaded()


def test_a_tool_that_is_asked_for_is_loaded(package: Path) -> None:
    put(package)
    shelved = Shelf(f"{PACKAGE}.tools")

    found = shelved.get("greet")

    assert found is not None
    assert found.name == "greet"
    assert [tool.name for tool in shelved] == ["greet"]
    assert shelved.get("written") is None


def test_a_function_that_runs_tools_loads_them_ahead(package: Path) -> None:
    Shelf(f"{PACKAGE}.tools").load()

    assert loaded()


CHANGES: dict[str, Callable[[Path], object]] = {
    "another line": lambda folder: (folder / "tools.py").write_text(SOURCE + "# new\n"),
    "a module further down": lambda folder: (folder / "more/__init__.py").write_text("HOURS = 9\n"),
    "a new module": lambda folder: (folder / "new.py").touch(),
    "data that an enum may be made of": lambda folder: (folder / "rooms.txt").write_text("blue"),
    "what a link leads to": lambda folder: (folder / "linked/rooms.py").write_text("ROOMS = 2"),
    "nothing written": lambda folder: (folder / shelf.CATALOGUE).unlink(),
    "no JSON": lambda folder: (folder / shelf.CATALOGUE).write_text("{"),
    "a list": lambda folder: (folder / shelf.CATALOGUE).write_text("[]"),
    "no digest": lambda folder: (folder / shelf.CATALOGUE).write_text('{"after_call": {}, "definitions": []}'),
    "of another digest": lambda folder: put(folder, digest="0" * 64),
    "edited by hand": lambda folder: put(folder, definitions=[{"function": {"name": "invented"}}]),
    "another deadline": lambda folder: put(folder, after_call={"written": 6}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_about_other_code_is_not_believed(package: Path, change: str) -> None:
    put(package)
    CHANGES[change](package)
    shelved = Shelf(f"{PACKAGE}.tools")

    assert names(shelved) == ["greet"]
    assert not shelved.after_call


@pytest.mark.parametrize("name", ["messages.py", "schemas.py", "tools.py"])
def test_the_code_that_makes_the_definitions_counts_too(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = shelf.digest_of(str(package))
    for copied in ("messages.py", "schemas.py", "tools.py"):
        shutil.copy(Path(shelf.__file__).with_name(copied), tmp_path / copied)
    monkeypatch.setattr(shelf, "__file__", str(tmp_path / "shelf.py"))
    assert shelf.digest_of(str(package)) == before
    (tmp_path / name).write_text("")

    assert shelf.digest_of(str(package)) != before


def test_so_does_pydantics_version(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shelf.digest_of(str(package))
    (tmp_path / "version.py").write_text("VERSION = '99'")
    found = ModuleSpec("pydantic", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)

    assert shelf.digest_of(str(package)) != before


def test_a_link_to_nothing_is_no_code(package: Path) -> None:
    before = shelf.digest_of(str(package))
    (package / ".#tools.py").symlink_to("somebody@somewhere.1234")  # as an editor marks a file that is being changed

    assert shelf.digest_of(str(package)) == before


def test_a_shelf_finds_its_package_by_itself(package: Path) -> None:
    put(package)
    del sys.modules[PACKAGE]

    assert names(Shelf(f"{PACKAGE}.tools")) == ["written"]


def test_tools_that_are_in_no_package_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^the tools are in a module of the agent's package, and tools has none$"):
        Shelf("tools")


def test_bytecode_changes_nothing(package: Path) -> None:
    before = shelf.digest_of(str(package))
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__/tools.cpython-313.pyc").write_bytes(b"x")

    assert shelf.digest_of(str(package)) == before


def test_the_server_of_the_tools_stands_in_each_definition(package: Path) -> None:
    put(package)
    shelved = Shelf(f"{PACKAGE}.tools")

    assert [definition["server"] for definition in shelved.definitions(SERVER)] == [SERVER]
    assert "server" not in shelved.definitions()[0]


def test_what_is_written_down_of_the_agent_is_what_its_tools_say() -> None:
    assert isinstance(agent.tools, Shelf)
    assert agent.tools.definitions(SERVER) == tools.definitions(SERVER)
    assert agent.tools.after_call == tools.after_call
    assert catalogue.current()


def test_a_caller_is_answered_without_the_tools() -> None:
    code = """
import sys
from agent import agent
from switchboard import desk, phone, webhook
from switchboard.connection import Connection
stack = desk.describe("https://voice.example.com", Connection(), store_transcripts=True, control_authentication=True)
config = agent.assistant(desk.Caller("+15550100001", "+15550100002", "CA1", stack)).config
assert len(config["model"]["tools"]) == len(agent.tools) > 0
print([name for name in ("pydantic", "agent.tools") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=facts.ROOT)

    assert done.stdout == "[]\n"


# Writing it down


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The agent's own code, somewhere else."""
    folder = tmp_path / "agent"
    shutil.copytree(catalogue.FOLDER, folder)
    return folder


def test_what_is_about_this_code_is_not_written_again(copied: Path) -> None:
    path = copied / shelf.CATALOGUE
    before = path.stat().st_mtime_ns
    catalogue.write(copied)

    assert path.stat().st_mtime_ns == before


def test_what_is_about_other_code_is_written_anew(copied: Path) -> None:
    path = copied / shelf.CATALOGUE
    path.unlink()
    assert not catalogue.current(copied)
    catalogue.write(copied)

    assert catalogue.current(copied)
    assert path.read_bytes() == (catalogue.FOLDER / shelf.CATALOGUE).read_bytes()


def test_a_file_whose_digest_was_copied_is_found_out(copied: Path) -> None:
    path = copied / shelf.CATALOGUE
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written | {"after_call": {}}))
    assert not catalogue.current(copied)
    catalogue.write(copied)

    assert json.loads(path.read_text()) == written


def test_what_this_process_has_loaded_before_an_edit_is_not_what_is_written(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.agent", None)  # loaded here, and out of date

    assert catalogue.current(copied)


def test_an_agent_that_does_not_load_is_one_clear_line(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "DESCRIBE", "import nowhere_to_be_found")

    with pytest.raises(UserError, match=r"^the agent's code does not load: ModuleNotFoundError: No module named"):
        catalogue.write(copied)


def test_code_that_changes_while_it_is_read_is_not_written_down(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = f"open({str(copied / 'more.py')!r}, 'w')"
    monkeypatch.setattr(catalogue, "DESCRIBE", f"{edit}; print('null')")

    with pytest.raises(UserError, match=r"^the agent's code was changed while it was read: run this again$"):
        catalogue.write(copied)


def test_an_agent_without_a_shelf_needs_nothing_written(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied / shelf.CATALOGUE).unlink()
    unshelved = "import agent.tools, agent; agent.agent = agent.agent._replace(tools=agent.tools.tools)"
    monkeypatch.setattr(catalogue, "DESCRIBE", unshelved + catalogue.DESCRIBE)
    catalogue.write(copied)

    assert not (copied / shelf.CATALOGUE).exists()
    assert catalogue.current(copied)


def test_the_check_fails_with_what_to_do(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue.current, "__defaults__", (copied,))
    assert catalogue.main(["--check"]) == 0
    (copied / "tools.py").write_text("")

    assert catalogue.main(["--check"]) == 1
    assert capsys.readouterr().err == (
        "catalogue.json is about other tools than the agent's: run `make build`, and commit it\n"
    )


def test_whatever_builds_writes_it_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[str] = []
    monkeypatch.setattr(catalogue, "write", lambda: done.append("written"))
    monkeypatch.setattr(sam, "_run", lambda *_: done.append("local build"))
    monkeypatch.setattr("devkit.account.sam", lambda *_: done.append("deploy's build"))
    sam.start_build(tmp_path, "http://127.0.0.1:1", tmp_path / "log")
    deploy._build(Steps())

    assert done == ["written", "local build", "written", "deploy's build"]
