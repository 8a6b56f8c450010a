"""`switchboard deploy` and `undeploy` by the real SAM, into an account that is the emulator's."""

import http.client
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from devkit import development
from devkit.stack import Stack
from tests.markdown import ROOT
from tests.terminal import Session, converse

STACK_NAME = "switchboard"
TABLE = f"{STACK_NAME}-calls"
PRIVATE = (development.VAPI_API_KEY, development.TWILIO_AUTH_TOKEN)


class Owner:
    """Somebody with an account at the emulator, a copy of this project, and a terminal."""

    def __init__(self, stack: Stack, project: Path) -> None:
        self.stack, self.project = stack, project
        self.host = f"owner.localhost:{stack.port}"
        self.endpoint = stack.api_url
        self.keys = self._keys()

    def _keys(self) -> dict[str, str]:
        """The access key of an administrator: not the one that the local stack's tools use."""
        iam = self.stack.client("iam")
        everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.create_user(UserName="owner")
        iam.put_user_policy(UserName="owner", PolicyName="all", PolicyDocument=json.dumps(everything))
        key = iam.create_access_key(UserName="owner")["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def types(self, *arguments: str, answers: Mapping[str, str] | None = None) -> Session:
        """Run `switchboard` at the terminal."""
        command = [sys.executable, "-m", "tests.local.owner", STACK_NAME, self.host, *arguments]
        session = converse(command, answers or {}, cwd=self.project, env=self.environment())
        for private in PRIVATE:
            assert private not in session.screen
        return session

    def environment(self) -> dict[str, str]:
        """The owner's shell."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_"))}
        return (
            kept
            | self.keys
            | {
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_REGION": development.REGION,
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "PYTHONPATH": str(ROOT),
                "AWS_MAX_ATTEMPTS": "2",
                "SAM_CLI_POLL_DELAY": "1",  # its 5 seconds are made for a real CloudFormation
                "__SAM_CLI_APP_DIR": str(self.project / ".local/sam-home"),
            }
        )

    def parameters(self) -> dict[str, str]:
        """What the owner answers SAM: a stack in an emulator talks to fakes."""
        return {
            "Parameter Stage": "local",
            "Parameter Architecture": self.stack._parameters()["Architecture"],
            "Parameter PublicBaseUrl": f"http://{self.host}",
            "Parameter VapiApiUrl": self.stack.facts["vapi_url"],
            "Parameter TwilioApiUrl": self.stack.facts["twilio_url"],
            "Parameter TwilioAccountSids": development.TWILIO_ACCOUNT_SID,
        }

    def answers(self) -> dict[str, str]:
        """What the owner answers in all."""
        return self.parameters() | {
            "Confirm changes": "n",
            "has no authentication": "y",
            "Deploy this changeset": "y",
            "vapi-api-key (hidden)": development.VAPI_API_KEY,
            "vapi-public-key (hidden)": development.VAPI_PUBLIC_KEY,
            "Do this?": "y",
            "twilio-auth-token (hidden)": development.TWILIO_AUTH_TOKEN,
            "Take all that back": "y",
        }

    def items(self) -> list[dict[str, Any]]:
        """All that is in the stack's table."""
        items: list[dict[str, Any]] = self.stack.client("dynamodb").scan(TableName=TABLE)["Items"]
        return items

    def parameter_names(self) -> list[str]:
        """What is stored under the stack's path."""
        found = self.stack.client("ssm").get_parameters_by_path(Path=f"/switchboard/{STACK_NAME}")
        return sorted(one["Name"].rpartition("/")[2] for one in found["Parameters"])


@pytest.fixture(scope="module")
def owner(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Owner:
    """An owner with a clone of the project; what `make build` has built is taken over, since only paths differ."""
    project = tmp_path_factory.mktemp("clone")
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / name, project)
    for name in ("functions", "layers"):
        shutil.copytree(ROOT / name, project / name)
    shutil.copytree(ROOT / ".aws-sam/cache", project / ".aws-sam/cache", copy_function=os.link)
    built = (ROOT / ".aws-sam/build.toml").read_text()
    (project / ".aws-sam/build.toml").write_text(built.replace(str(ROOT), str(project)))
    return Owner(stack, project)


def lines(session: Session) -> list[str]:
    """What `switchboard` itself has told, without the times."""
    return re.findall(r"^ *[0-9]+\.[0-9] s  (.*)$", session.screen, re.MULTILINE)


@contextmanager
def losing(owner: Owner, action: str) -> Iterator[None]:
    """AWS does what `action` asks of CloudFormation, and its answer is lost."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # in which SAM is told to go on with an upload; else it waits a second each time
        wbufsize = -1  # headers and body in one packet

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            onward = http.client.HTTPConnection("127.0.0.1", owner.stack.port, timeout=60)
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            content = answer.read()
            onward.close()
            if f"Action={action}&".encode() in body + b"&":
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    Thread(target=server.serve_forever, daemon=True).start()
    owner.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield
    finally:
        owner.endpoint = owner.stack.api_url
        server.shutdown()
        server.server_close()


def test_a_build_that_fails_is_one_line_and_deploys_nothing(owner: Owner) -> None:
    template = owner.project / "template.yaml"
    kept = template.read_text()
    template.write_text(kept.replace("AWS::Serverless-2016-10-31", "[", 1))

    session = owner.types("deploy", "--no-probe", answers=owner.answers())
    template.write_text(kept)

    assert session.code == 1
    last = session.screen.splitlines()[-1]
    assert last.startswith("switchboard: sam build: ")
    assert last.endswith("(log: .local/logs/deploy-build.log)")
    assert STACK_NAME not in stacks(owner)


def test_a_lost_answer_in_the_middle_is_one_line_and_the_next_run_goes_on(owner: Owner) -> None:
    with losing(owner, "ExecuteChangeSet"):
        session = owner.types("deploy", "--no-probe", answers=owner.answers())

    assert session.code == 1
    assert session.screen.splitlines()[-1].startswith("switchboard: sam deploy: ")

    # The parameters that were given are not asked for again.
    session = owner.types("deploy", "--no-probe", answers=owner.answers())

    assert session.code == 0, session.screen
    assert not [question for question in session.asked if "Parameter" in question]
    told = lines(session)
    assert told[:2] == ["region us-east-1, by samconfig.toml", f"account 000000000000, stack {STACK_NAME}"]
    assert "secrets: vapi-webhook made, vapi-api-key stored, vapi-public-key stored, twilio-auth-token stored" in told
    assert [line for line in told if line.startswith("canary")] == [
        "canary ok   GET /health: 200",
        "canary ok   a signed webhook: 200",
        "canary ok   a forged webhook: 401",
        "canary ok   Twilio's status callback: 204",
        "canary ok   Twilio's fallback URL: 200",
    ]
    assert re.fullmatch(r"Call \+\d+ now", session.screen.rstrip().splitlines()[-1])


def stacks(owner: Owner) -> list[str]:
    """The stacks of the account that are not gone."""
    found = owner.stack.client("cloudformation").describe_stacks()["Stacks"]
    return [one["StackName"] for one in found if one["StackStatus"] != "DELETE_COMPLETE"]


def test_the_first_time_sam_asks_for_each_parameter_and_for_the_one_url_without_authentication(owner: Owner) -> None:
    saved = tomllib.loads((owner.project / "samconfig.toml").read_text())["default"]["deploy"]["parameters"]

    assert f'PublicBaseUrl="http://{owner.host}"' in saved["parameter_overrides"]


def test_a_canary_leaves_one_row_and_it_expires(owner: Owner) -> None:
    session = owner.types("canary")

    assert session.code == 0, session.screen
    [row] = owner.items()
    assert row["pk"] == {"S": "SID#CA" + "ca" * 16}
    assert row["exp"]["N"]


def test_a_wrong_secret_shows_in_the_canary(owner: Owner) -> None:
    owner.stack.client("ssm").put_parameter(
        Name=f"/switchboard/{STACK_NAME}/twilio-auth-token",
        Value='[{"id": "x", "secret": "not-the-functions"}]',
        Type="SecureString",
        Overwrite=True,
    )

    session = owner.types("canary")

    # The function has read the real one a moment ago, and asks again once a minute at most.
    assert session.code == 1
    assert "BAD  Twilio's status callback: 403 instead of 204" in session.screen
    assert "switchboard doctor --last" in session.screen


def test_undeploying_takes_it_all_back_after_one_question(owner: Owner) -> None:
    owner.stack.client("ssm").put_parameter(
        Name=f"/switchboard/{STACK_NAME}/twilio-auth-token",
        Value=json.dumps([{"id": "x", "secret": development.TWILIO_AUTH_TOKEN}]),
        Type="SecureString",
        Overwrite=True,
    )
    session = owner.types("undeploy", answers=owner.answers())

    assert session.code == 0, session.screen
    assert [question for question in session.asked if question] == ["Take all that back? [y/N]"]
    assert STACK_NAME not in stacks(owner)
    assert owner.parameter_names() == []
    assert "aws-sam-cli-managed-default" in session.screen
