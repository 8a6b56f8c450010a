"""docs/security.md: who reads which secret is what the template says."""

import json
import re

from switchboard.secrets import PUBLIC_BASE_URL
from tests.markdown import ROOT
from tests.unit.test_template import ROLE, of_type

PAGE = (ROOT / "docs/security.md").read_text()
NAMES = re.compile(r"parameter/switchboard/\$\{AWS::StackName\}/([\w-]+)")
PLAIN = {PUBLIC_BASE_URL, "connection"}  # no secrets


def test_the_roles_of_the_page_read_the_secrets_that_the_template_gives_them() -> None:
    section = PAGE.split("## Who may do what")[1].split("\n## ")[0]
    told = {
        role: set(re.findall(r"`([\w-]+)`", cells[2]))
        for cells in (line.split("|") for line in section.splitlines() if line.startswith("| `"))
        for role in re.findall(r"`(\w+)`", cells[1])
    }

    assert told == {
        name: set(NAMES.findall(json.dumps(properties))) - PLAIN for name, properties in of_type(ROLE).items()
    }
