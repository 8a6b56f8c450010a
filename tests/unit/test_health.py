import json
import runpy
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "functions" / "health" / "app.py"


@pytest.mark.parametrize("event", [{}, None, {"rawPath": "/health", "queryStringParameters": {"verbose": "1"}}])
def test_health_says_ok_and_nothing_else(event: object) -> None:
    answer = runpy.run_path(str(APP))["handler"](event, None)

    assert answer["statusCode"] == 200
    assert answer["headers"] == {"content-type": "application/json"}
    assert json.loads(answer["body"]) == {"status": "ok"}
