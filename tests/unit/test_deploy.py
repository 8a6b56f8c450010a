"""`switchboard deploy` and `undeploy`: their order, their one line for each failure, and going on after one.

SAM and the public side are the tests' own here; tests/local deploys with the real ones.
"""

import functools
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from devkit import account, canary, cli, connect, deploy, disconnect, remembered, secrets
from devkit.canary import Found
from devkit.cloudformation import Standing
from devkit.deployed import OUTPUTS, Deployed
from devkit.errors import UserError
from devkit.remembered import Before
from devkit.steps import Steps
from devkit.target import Target
from devkit.wanted import Asked

KEY, PUBLIC, TOKEN = "vapi-key-is-not-shown", "vapi-public-is-not-shown", "twilio-token-is-not-shown"
TEMPLATE = {
    "Parameters": {
        name: {"Type": "String", "Default": default}
        for name, default in {
            "Stage": "prod",
            "ControlAuthentication": "true",
            "TwilioApiKeySid": "",
            "DeletionProtection": "false",
            "SnapStart": "false",
        }.items()
    },
    "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
    "Outputs": {name: {"Value": f"https://example.com/{name}"} for name in OUTPUTS},
}
NUMBER = "+15550100123"
SECRETS = ("vapi-api-key", "vapi-public-key", "twilio-auth-token")
DOCTOR = "`switchboard doctor --last` says why the last request was refused"
REFUSAL = "VoiceWay is sip, and there is no address to dial"
AGAIN = "see to them, and run this again"
LOST = {"Error": {"Code": "RequestTimeout", "Message": "lost"}}


# The descriptions of AWS's services take long to read, so they are read once.
SESSIONS = functools.cache(boto3.Session)


class World:
    """What lies around a deployment: who answers, what SAM does, what comes back; and what happened, in order."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self.client = client
        self.happened: list[str] = []
        self.commands: list[list[str]] = []
        self.parameters: dict[str, str] = {}
        self.saves = ""
        self.codes = {"build": 0, "deploy": 0, "delete": 0}
        self.says = "Error: something went wrong"
        self.found = [Found("a signed webhook", True, "200")]
        self.refuses = ""
        self.ordered: tuple[Asked, bool, bool] | None = None
        self.answers: list[str] = []
        self.asked: list[str] = []

    def sam(self, arguments: Sequence[str], log: Path | None = None) -> int:
        """Do what SAM does to an account, without anything in it."""
        command = arguments[0]
        self.happened.append("guided" if "--guided" in arguments else command)
        self.commands.append([*arguments])
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(self.says)
        stack = arguments[arguments.index("--stack-name") + 1] if "--stack-name" in arguments else ""
        if self.codes[command]:
            return self.codes[command]
        if command == "deploy" and not deployed_stacks(self.client):
            given = [{"ParameterKey": name, "ParameterValue": value} for name, value in self.parameters.items()]
            self.client("cloudformation").create_stack(
                StackName=stack, TemplateBody=json.dumps(TEMPLATE), Parameters=given
            )
        if "--guided" in arguments and self.saves:
            Path("samconfig.toml").write_text(self.saves)
        if command == "delete":
            self.client("cloudformation").delete_stack(StackName=stack)
        return 0

    def connect(self, chosen: Target, known: Deployed, order: Asked, *, yes: bool, probing: bool) -> int:
        """Connect, as far as anybody can tell."""
        self.happened.append("connect")
        self.ordered = (order, yes, probing)
        if self.refuses:
            sys.stderr.write(f"switchboard: {self.refuses}\n")
            return 1
        number = NUMBER if order.number is None else order.number
        remembered.write_before(chosen.client("ssm"), chosen.stack, Before(number, "AC1", "switchboard", {}, None))
        return 0

    def disconnect(self, chosen: Target, known: Deployed, *, yes: bool) -> int:
        """Disconnect."""
        self.happened.append("disconnect")
        if self.refuses:
            raise UserError(self.refuses)
        remembered.forget(chosen.client("ssm"), chosen.stack, remembered.BEFORE)
        return 0

    def sing(self, chosen: Target) -> list[Found]:
        """What the canary finds."""
        self.happened.append("canary")
        return self.found

    def answer(self, question: str) -> str:
        """What the person at the terminal types."""
        self.asked.append(question)
        return self.answers.pop(0)


def deployed_stacks(client: Callable[[str], Any]) -> list[str]:
    """The stacks that there are."""
    return [one["StackName"] for one in client("cloudformation").describe_stacks()["Stacks"]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """An account without a stack, a folder with the template, nobody at the terminal."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.chdir(tmp_path)
    Path("template.yaml").write_text("Resources: {}\n")
    monkeypatch.setattr("boto3.Session", SESSIONS)
    with mock_aws():
        make: Any = SESSIONS(region_name="eu-west-1").client
        made = World(functools.cache(make))
        monkeypatch.setattr(account, "sam", made.sam)
        monkeypatch.setattr(connect, "connect", made.connect)
        monkeypatch.setattr(disconnect, "disconnect", made.disconnect)
        monkeypatch.setattr(canary, "sing", made.sing)
        monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
        yield made


@pytest.fixture
def terminal(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Somebody at the terminal: `world.answers` is what they type."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", world.answer)
    monkeypatch.setattr("getpass.getpass", world.answer)
    return world


def store(world: World, *names: str) -> None:
    """Store secrets beforehand."""
    for name in names:
        text = json.dumps([{"id": "one", "secret": {"vapi-api-key": KEY}.get(name, TOKEN)}])
        world.client("ssm").put_parameter(Name=secrets.path("switchboard", name), Value=text, Type="SecureString")


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], str]:
    """The exit code, the lines without their times, and what was said of a failure."""
    code = cli.main([*arguments])
    shown = capsys.readouterr()
    for private in (KEY, PUBLIC, TOKEN):
        assert private not in shown.out + shown.err
    return code, [re.sub(r"^ +[0-9.]+ s  ", "", line) for line in shown.out.splitlines()], shown.err


def test_one_command_does_everything_and_says_which_number_to_call(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    store(world, *SECRETS)

    code, lines, _ = ran(capsys, "deploy", "--yes")

    assert code == 0
    assert world.happened == ["build", "deploy", "connect", "canary"]
    assert lines == [
        "region eu-west-1, by your AWS configuration",
        "account 123456789012, stack switchboard",
        "functions and layers built, for arm64 and x86_64",
        "stack switchboard deployed: CREATE_COMPLETE",
        "secrets: vapi-webhook made, vapi-api-key is there, vapi-public-key is there, twilio-auth-token is there",
        "Vapi and Twilio connected",
        "canary ok   a signed webhook: 200",
        "",
        "Call +15550100123 now",
    ]


def test_every_step_is_told_with_the_seconds_since_the_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([100.0, 100.25, 112.5])
    steps = Steps(lambda: next(times))
    steps.tell("one")
    steps.tell("two")

    assert capsys.readouterr().out == "   0.2 s  one\n  12.5 s  two\n"


def test_sam_is_told_all_that_it_would_ask_elsewhere(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    store(world, *SECRETS)
    ran(capsys, "deploy", "--yes", "--region", "eu-west-2", "--config-env", "dev")

    assert world.commands == [
        ["build", "--cached", "--parallel"],
        [
            *("deploy", "--config-env", "dev", "--stack-name", "switchboard", "--region", "eu-west-2"),
            "--resolve-s3",
            *("--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset"),
            *("--parameter-overrides", "ControlAuthentication=true", "--no-confirm-changeset"),
        ],
    ]


def test_the_first_time_sam_asks_and_its_answers_count(terminal: World, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.answers = ["", KEY, PUBLIC, TOKEN]
    terminal.saves = '[default.global.parameters]\nstack_name = "switchboard"\nregion = "eu-west-1"\n'

    code, lines, _ = ran(capsys, "deploy")

    assert code == 0
    assert "guided" in terminal.happened
    assert "secrets: vapi-webhook made, vapi-api-key stored, vapi-public-key stored, twilio-auth-token stored" in lines
    kept = terminal.client("ssm").get_parameter(Name="/switchboard/switchboard/vapi-api-key", WithDecryption=True)
    assert json.loads(kept["Parameter"]["Value"])[0]["secret"] == KEY


def test_all_the_defaults_may_be_taken_instead(terminal: World, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.answers = ["y", KEY, PUBLIC, TOKEN]

    assert ran(capsys, "deploy")[0] == 0
    assert terminal.happened[:2] == ["build", "deploy"]


def test_another_time_nothing_is_asked_and_nothing_is_made_anew(
    terminal: World, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.answers = ["y", KEY, PUBLIC, TOKEN]
    ran(capsys, "deploy")
    before = terminal.client("ssm").get_parameter(Name="/switchboard/switchboard/vapi-webhook", WithDecryption=True)

    code, lines, _ = ran(capsys, "deploy")

    assert code == 0
    assert len(terminal.asked) == 4
    assert "guided" not in terminal.happened
    assert lines[4].split(": ")[1] == ", ".join(f"{name} is there" for name in ("vapi-webhook", *SECRETS))
    after = terminal.client("ssm").get_parameter(Name="/switchboard/switchboard/vapi-webhook", WithDecryption=True)
    assert before["Parameter"]["Value"] == after["Parameter"]["Value"]


def test_saved_parameters_are_not_asked_for_again(terminal: World, capsys: pytest.CaptureFixture[str]) -> None:
    store(terminal, *SECRETS)
    Path("samconfig.toml").write_text('[default.deploy.parameters]\nparameter_overrides = "Stage=prod"\n')

    assert ran(capsys, "deploy")[0] == 0
    assert terminal.happened[:2] == ["build", "deploy"]


def built() -> Path:
    """What `sam build` would have left."""
    template = Path(".aws-sam/build/template.yaml")
    template.parent.mkdir(parents=True)
    function = {"Type": "AWS::Serverless::Function", "Properties": {"SnapStart": "if wanted"}}
    template.write_text(json.dumps({"Parameters": {}, "Resources": {"Waited": function}}))
    return template


def test_who_wishes_snapshots_has_versions_published(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    store(world, *SECRETS)
    template = built()
    Path("samconfig.toml").write_text('[default.deploy.parameters]\nparameter_overrides = "SnapStart=true"\n')

    code, lines, _ = ran(capsys, "deploy", "--yes")

    assert code == 0
    assert world.happened[:2] == ["build", "deploy"]
    assert "SnapStart: AWS takes a snapshot of 1 functions, which is minutes" in lines
    assert "AutoPublishAlias: live" in template.read_text()


def test_a_stack_that_has_snapshots_keeps_them_whatever_is_saved_here(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    store(world, *SECRETS)
    world.parameters = {"SnapStart": "true"}
    template = built()
    ran(capsys, "deploy", "--yes")
    template.write_text(template.read_text().replace("AutoPublishAlias", "Nothing"))
    world.happened.clear()

    assert ran(capsys, "deploy", "--yes")[0] == 0
    assert world.happened[:3] == ["build", "deploy", "connect"]
    assert "AutoPublishAlias: live" in template.read_text()


def test_snapshots_that_were_wished_for_in_an_answer_take_a_second_deployment(
    terminal: World, capsys: pytest.CaptureFixture[str]
) -> None:
    store(terminal, *SECRETS)
    terminal.answers = [""]
    terminal.parameters = {"SnapStart": "true"}
    terminal.saves = '[default.global.parameters]\nregion = "eu-west-1"\n'
    template = built()

    assert ran(capsys, "deploy")[0] == 0
    assert terminal.happened[:4] == ["build", "guided", "deploy", "connect"]
    assert terminal.commands[2] == [
        *("deploy", "--config-env", "default", "--stack-name", "switchboard", "--region", "eu-west-1"),
        *("--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset"),
        "--no-confirm-changeset",
    ]
    assert "AutoPublishAlias: live" in template.read_text()


def test_without_the_wish_the_template_is_left_as_it_was_built(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    store(world, *SECRETS)
    template = built()
    before = template.read_text()

    assert ran(capsys, "deploy", "--yes")[0] == 0
    assert template.read_text() == before


def test_a_plain_deployment_at_a_terminal_lets_sam_show_its_change_set(
    terminal: World, capsys: pytest.CaptureFixture[str]
) -> None:
    store(terminal, *SECRETS)
    terminal.answers = ["y"]
    ran(capsys, "deploy")

    assert "--no-confirm-changeset" not in terminal.commands[1]


def test_a_stack_that_was_named_otherwise_while_sam_asked_is_the_one_that_counts(
    terminal: World, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.answers = [""]
    terminal.saves = '[default.global.parameters]\nstack_name = "acme"\n'

    code, _, said = ran(capsys, "deploy")

    assert code == 1
    assert said == (
        "switchboard: sam deploy: it went by another stack name or region: give them with --stack-name and --region\n"
    )


@pytest.mark.parametrize(
    ("parameters", "options", "asked"),
    [
        ({}, [], ["vapi-api-key", "vapi-public-key", "twilio-auth-token"]),
        ({"ControlAuthentication": "false"}, [], ["vapi-api-key", "twilio-auth-token"]),
        (
            {"TwilioApiKeySid": "SK1"},
            [],
            ["vapi-api-key", "vapi-public-key", "twilio-auth-token", "twilio-api-secret"],
        ),
        ({"TwilioApiKeySid": "SK1"}, ["--number", "none"], ["vapi-api-key", "vapi-public-key"]),
    ],
)
def test_the_secrets_that_a_stack_needs_are_asked_for_and_it_says_what_they_are(
    terminal: World,
    capsys: pytest.CaptureFixture[str],
    parameters: dict[str, str],
    options: list[str],
    asked: list[str],
) -> None:
    terminal.answers = ["y", *(f"{TOKEN}-{number}" for number in range(4))]
    terminal.parameters = parameters

    _, lines, _ = ran(capsys, "deploy", *options)

    assert terminal.asked[1:] == [f"{name} (hidden): " for name in asked]
    assert [line for line in lines if line in deploy.WHERE.values()] == [deploy.WHERE[name] for name in asked]


def test_what_is_connected_may_be_said_and_a_stack_without_a_phone_has_no_number_to_call(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    store(world, *SECRETS)

    _, lines, _ = ran(capsys, "deploy", "--yes", "--number", "none", "--credential-id", "c-1", "--no-probe")

    assert world.ordered == (Asked(number="", credential_id="c-1"), True, False)
    assert lines[-1] == "Deployed; no phone number is connected"


def test_a_number_that_is_none_is_refused_before_anything_is_done(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = ran(capsys, "deploy", "--yes", "--number", "555")

    assert (code, world.happened) == (1, [])
    assert "give the number in full" in said


def broken(world: World, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one step fail."""
    store(world, *() if what == "secret" else SECRETS)
    match what:
        case "template":
            Path("template.yaml").unlink()
        case "region":
            monkeypatch.setenv("AWS_REGION", "mars-1")
        case "credentials":
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        case "build" | "deploy":
            world.codes[what] = 1
        case "stage":
            world.parameters = {"Stage": "local"}
        case "connect":
            world.refuses = REFUSAL
        case "canary":
            world.found = [Found("GET /health", True, "200"), Found("a signed webhook", False, "401 instead of 200")]


FAILURES = {
    "template": (0, "there is no template.yaml here: run this in the project's folder"),
    "region": (0, "region: AWS has none called 'mars-1' (AWS_REGION): give --region"),
    "credentials": (0, f"credentials: these are the local stack's (test), which no account has: {account.RENEW}"),
    "build": (1, "sam build: Error: something went wrong (log: .local/logs/deploy-build.log)"),
    "deploy": (2, "sam deploy: Error: something went wrong (log: .local/logs/deploy.log)"),
    "stage": (
        2,
        "parameters: Stage=local trusts this machine's addresses and is for an emulator: deploy with Stage=prod",
    ),
    "secret": (2, "secrets: vapi-api-key is not stored: `switchboard secrets put vapi-api-key`, then again"),
    "connect": (3, f"{REFUSAL}\nswitchboard: connect: not connected, for the reasons above: {AGAIN}"),
    "canary": (4, f"canary: a signed webhook was answered 401 instead of 200: {DOCTOR}"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_step_that_fails_is_one_line_and_nothing_comes_after_it(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    broken(world, what, monkeypatch)

    code, _, said = ran(capsys, "deploy", "--yes")

    reached, line = FAILURES[what]
    assert (code, said) == (1, f"switchboard: {line}\n")
    assert world.happened == ["build", "deploy", "connect", "canary"][:reached]


@pytest.mark.parametrize("what", ["build", "deploy", "connect", "canary"])
def test_a_run_after_a_failure_goes_through(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    broken(world, what, monkeypatch)
    ran(capsys, "deploy", "--yes")
    world.codes |= {"build": 0, "deploy": 0}
    world.refuses, world.found = "", [Found("a signed webhook", True, "200")]

    code, lines, _ = ran(capsys, "deploy", "--yes")

    assert code == 0
    assert lines[-1] == "Call +15550100123 now"


def test_a_made_secret_whose_answer_was_lost_is_not_made_twice(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store(world, *SECRETS)
    put = secrets.put

    def lose(ssm: Any, *args: Any, **named: Any) -> None:
        put(ssm, *args, **named)
        raise ssm.exceptions.ClientError(LOST, "PutParameter")

    monkeypatch.setattr(secrets, "put", lose)
    code, _, said = ran(capsys, "deploy", "--yes")
    assert (code, said) == (1, "switchboard: secrets: AWS refused: RequestTimeout\n")
    made = world.client("ssm").get_parameter(Name="/switchboard/switchboard/vapi-webhook")["Parameter"]["Version"]

    assert ran(capsys, "deploy", "--yes")[0] == 0
    kept = world.client("ssm").get_parameter(Name="/switchboard/switchboard/vapi-webhook")["Parameter"]["Version"]
    assert kept == made == 1


def test_nobody_at_the_terminal_and_no_yes_is_refused_before_anything_is_done(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, said = ran(capsys, "deploy")

    assert (code, lines) == (1, [])
    assert "--yes" in said


# A stack that something is happening to


class Client:
    """What boto3 says of a client of AWS itself."""

    meta = SimpleNamespace(endpoint_url="https://cloudformation.eu-west-1.amazonaws.com")


class Changing(Client):
    """CloudFormation whose stack goes through these statuses, one each time it is asked."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = [*statuses]

    def describe_stacks(self, **_named: str) -> dict[str, Any]:
        """The next status, the last one for ever."""
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"Stacks": [{"StackStatus": status}]}


def settled(*statuses: str, deleting: bool = False) -> tuple[Standing | None, list[float]]:
    """What comes of waiting for a stack that goes through these, and the pauses that were made."""
    naps: list[float] = []
    cloudformation = Changing(*statuses)
    chosen = Target("switchboard", lambda service: cloudformation)
    return deploy.settled(chosen, Steps(), deleting=deleting, sleep=naps.append), naps


def test_a_change_that_goes_on_from_an_earlier_run_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    found, naps = settled("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE")

    assert found
    assert found.status == "UPDATE_COMPLETE"
    assert naps == [5, 5]
    assert capsys.readouterr().out.count("still changing the stack (UPDATE_IN_PROGRESS)") == 1


@pytest.mark.parametrize("status", ["REVIEW_IN_PROGRESS", "DELETE_COMPLETE"])
def test_a_stack_that_was_never_made_is_none(status: str) -> None:
    assert settled(status) == (None, [])


def test_a_change_that_does_not_end_is_not_waited_for_for_ever() -> None:
    with pytest.raises(UserError, match="UPDATE_IN_PROGRESS for too long"):
        settled("UPDATE_IN_PROGRESS")


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"])
def test_a_stack_that_can_only_be_deleted_says_so_and_is_deleted(status: str) -> None:
    with pytest.raises(UserError, match=f"{status} and can only be deleted: `switchboard undeploy`, then again"):
        settled(status)
    assert settled(status, deleting=True)[0]


def test_a_rollback_that_failed_is_for_a_person() -> None:
    with pytest.raises(UserError, match="continue the rollback"):
        settled("UPDATE_ROLLBACK_FAILED")


@pytest.mark.parametrize(
    ("status", "events", "said"),
    [
        ("UPDATE_IN_PROGRESS", [], "SAM has lost sight of it, and AWS goes on (UPDATE_IN_PROGRESS)"),
        (
            "UPDATE_ROLLBACK_COMPLETE",
            [
                ("switchboard", "UPDATE_ROLLBACK_COMPLETE", ""),
                ("Other", "UPDATE_FAILED", "Resource update cancelled"),
                ("Queue", "UPDATE_FAILED", "the name is taken"),
                ("switchboard", "UPDATE_IN_PROGRESS", "User Initiated"),
                ("Old", "CREATE_FAILED", "of an earlier attempt"),
            ],
            "Queue: the name is taken",
        ),
        ("UPDATE_COMPLETE", [], "see what SAM says above"),
    ],
)
def test_a_deployment_that_failed_says_what_aws_could_not_make(
    status: str, events: list[tuple[str, str, str]], said: str
) -> None:
    class Telling:
        def describe_stack_events(self, **_named: str) -> dict[str, Any]:
            keys = ("LogicalResourceId", "ResourceStatus", "ResourceStatusReason")
            return {"StackEvents": [dict(zip(keys, event, strict=True)) for event in events]}

    chosen = Target("switchboard", lambda service: Telling())
    assert deploy._why(chosen, Standing("id", status, {}, {}), None).startswith(said)


@pytest.mark.parametrize(
    "parameters",
    [
        {"Stage": "local"},
        *({name: "http://localhost:1"} for name in ("VapiApiUrl", "TwilioApiUrl", "VapiInboundUrl", "PublicBaseUrl")),
    ],
    ids=str,
)
def test_what_is_safe_on_an_emulator_alone_is_refused_elsewhere(parameters: dict[str, str]) -> None:
    deploy.require_safe(parameters, emulated=True)
    with pytest.raises(UserError, match="deploy with"):
        deploy.require_safe(parameters, emulated=False)


def test_an_ordinary_stack_is_safe() -> None:
    deploy.require_safe({"Stage": "prod", "VapiApiUrl": "https://api.vapi.ai"}, emulated=False)


@pytest.mark.parametrize(
    ("stack", "region", "options"),
    [
        ("switchboard", "eu-west-1", ""),
        ("acme", "eu-west-1", " --stack-name acme"),
        ("acme", "eu-west-2", " --stack-name acme --region eu-west-2"),
    ],
)
def test_what_to_do_next_names_the_stack_where_it_has_to(world: World, stack: str, region: str, options: str) -> None:
    assert deploy.aim(stack, region).options == options


# Taking it back


def up(world: World, capsys: pytest.CaptureFixture[str], **parameters: str) -> None:
    """Deploy, and forget how."""
    world.parameters = parameters
    store(world, *SECRETS)
    assert cli.main(["deploy", "--yes"]) == 0
    capsys.readouterr()
    world.happened.clear()


def left(world: World) -> list[str]:
    """The parameters that are left."""
    return [one["Name"] for one in world.client("ssm").describe_parameters()["Parameters"]]


def test_undeploying_shows_what_it_will_do_asks_once_and_does_it(
    terminal: World, capsys: pytest.CaptureFixture[str]
) -> None:
    up(terminal, capsys)
    terminal.answers = ["y"]
    terminal.asked.clear()

    code, lines, _ = ran(capsys, "undeploy")

    assert code == 0
    assert terminal.asked == ["Take all that back? [y/N] "]
    assert terminal.happened == ["disconnect", "delete"]
    assert deployed_stacks(terminal.client) == []
    assert left(terminal) == []
    said = "\n".join(lines)
    assert "- delete the stack switchboard" in said
    assert "/switchboard/switchboard/vapi-webhook" in said
    assert "aws-sam-cli-managed-default" in said


@pytest.mark.parametrize("answer", ["", "n", "no", "yeah"])
def test_without_a_yes_nothing_is_changed(terminal: World, capsys: pytest.CaptureFixture[str], answer: str) -> None:
    up(terminal, capsys)
    terminal.answers = [answer]

    code, lines, _ = ran(capsys, "undeploy")

    assert code == 1
    assert lines[-1] == "Nothing was changed."
    assert terminal.happened == []
    assert deployed_stacks(terminal.client) == ["switchboard"]
    assert len(left(terminal)) == 5


def test_the_secrets_may_stay(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    up(world, capsys)

    _, lines, _ = ran(capsys, "undeploy", "--yes", "--keep-secrets")

    assert len(left(world)) == 4
    assert "vapi-webhook" not in "\n".join(lines)


def test_other_stacks_parameters_stay(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    up(world, capsys)
    for name in ("/switchboard/switchboard-dev/vapi-webhook", "/other/switchboard"):
        world.client("ssm").put_parameter(Name=name, Value="x", Type="String")

    ran(capsys, "undeploy", "--yes")

    assert sorted(left(world)) == ["/other/switchboard", "/switchboard/switchboard-dev/vapi-webhook"]


def test_more_parameters_than_one_request_takes_are_deleted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    up(world, capsys)
    for number in range(20):
        world.client("ssm").put_parameter(Name=f"/switchboard/switchboard/x{number}", Value="x", Type="String")

    assert ran(capsys, "undeploy", "--yes")[0] == 0
    assert left(world) == []


def test_a_protected_table_stops_it_before_anything_is_disconnected(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    up(world, capsys, DeletionProtection="true")

    code, _, said = ran(capsys, "undeploy", "--yes")

    assert (code, world.happened) == (1, [])
    assert "deploy with DeletionProtection=false first" in said


def test_what_cannot_be_disconnected_is_not_deleted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    up(world, capsys)
    world.refuses = "Twilio refuses the token"

    code, _, said = ran(capsys, "undeploy", "--yes")

    assert (code, said) == (1, "switchboard: disconnect: Twilio refuses the token\n")
    assert world.happened == ["disconnect"]


def test_a_stack_that_could_not_be_deleted_keeps_its_secrets_and_a_second_run_goes_on(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    up(world, capsys)
    world.codes["delete"] = 1

    code, _, said = ran(capsys, "undeploy", "--yes")
    assert code == 1
    assert said.startswith("switchboard: sam delete: Error: something went wrong (log: .local/logs/undeploy.log)")
    assert len(left(world)) == 4

    world.codes["delete"] = 0
    assert ran(capsys, "undeploy", "--yes")[0] == 0
    assert left(world) == []


def test_a_stack_that_is_gone_leaves_its_secrets_to_delete_and_what_stood_before_to_see_to(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    up(world, capsys)
    world.client("cloudformation").delete_stack(StackName="switchboard")

    code, lines, _ = ran(capsys, "undeploy", "--yes")

    assert (code, world.happened) == (0, [])
    assert left(world) == ["/switchboard/switchboard/connection-before"]
    assert "set the number's URLs yourself" in "\n".join(lines)


def test_a_stack_that_was_never_connected_is_deleted_without_asking_vapi_or_twilio(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    up(world, capsys)
    remembered.forget(world.client("ssm"), "switchboard", remembered.BEFORE)

    _, lines, _ = ran(capsys, "undeploy", "--yes")

    assert world.happened == ["delete"]
    assert "Twilio" not in "\n".join(lines)


def test_nothing_to_take_back_is_fine_too(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = ran(capsys, "undeploy")

    assert code == 0
    assert lines[-1] == "there is nothing of a stack switchboard here"
