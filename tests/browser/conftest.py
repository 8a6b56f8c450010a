"""A real Chromium, the real page, and nothing else that is real."""

import json
import os
import runpy
import shutil
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from devkit import development
from devkit.vapi_fake import VapiFake
from devkit.vapi_spec import Spec
from tests.browser.page import HERE, Deploy, Front, Handler, Page, arguments
from tests.conftest import ENVIRONMENT

ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Debian's packages chromium and chromium-driver, or what goes by these names."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        missing = "needs Chromium: packages chromium and chromium-driver"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in arguments(tmp_path_factory.mktemp("chromium")):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = Chrome(options=options, service=ChromeService(executable_path=driver))
    started.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": (HERE / "clock.js").read_text("utf-8")})
    yield started
    started.quit()


@pytest.fixture
def vapi() -> Iterator[VapiFake]:
    """Vapi's API for browsers."""
    with VapiFake() as fake:
        yield fake


@pytest.fixture
def deploy(vapi: VapiFake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Deploy the function, to a stack with this public key and these variables; what it answers with comes back."""

    def make(key: str = development.VAPI_PUBLIC_KEY, **changed: str) -> Handler:
        local = {"STAGE": "local", "VAPI_API_URL": vapi.url, "ASSISTANT_ID": development.ASSISTANT_ID, **changed}
        local["AWS_CLIENT"] = "botocore"  # moto in this process stands in for that one only
        for name, value in {**ENVIRONMENT, **local, "AWS_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        value = json.dumps([{"id": "1", "secret": key}])
        name = f"{ENVIRONMENT['PARAMETER_PATH']}/vapi-public-key"
        boto3.client("ssm", region_name="us-east-1").put_parameter(
            Name=name, Value=value, Type="SecureString", Overwrite=True
        )
        made: Handler = runpy.run_path(str(ROOT / "functions/web_client/app.py"))["handler"]
        return made

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        yield make


@pytest.fixture(scope="session")
def spec() -> Spec:
    """Vapi's schemas; a field that they do not have is a fault."""
    return Spec.load().closed()


@pytest.fixture
def page(browser: Chrome, deploy: Deploy, vapi: VapiFake, spec: Spec) -> Iterator[Page]:
    """The page, open. At the end the browser must have had nothing to complain of."""
    with Front(deploy()) as front:
        page = Page(browser, front, vapi, spec)
        page.size(1100, 900)
        page.prefer(color_scheme="light")
        page.allow_microphone(True)
        page.open()
        yield page
        complaints = page.complaints()
        browser.get("about:blank")
    assert complaints == []
