"""What an assistant that is given whole says about this stack."""

import pytest

from switchboard import desk
from switchboard.connection import Connection
from switchboard.desk import Backend
from switchboard.secrets import Secrets
from switchboard.settings import Settings
from tests.conftest import Clock
from tests.twin import BASE_URL, Parameters


def described(known: Connection = Connection(), *, stored: bool = True, authenticated: bool = False) -> Backend:  # noqa: B008 - it cannot be changed
    return desk.describe(BASE_URL, known, store_transcripts=stored, control_authentication=authenticated)


def test_messages_come_to_the_public_address_and_are_tried_again_unless_we_refused_them() -> None:
    assert described().server == {
        "url": f"{BASE_URL}/webhook/vapi",
        "timeoutSeconds": 20,
        "backoffPlan": {
            "type": "exponential",
            "maxRetries": 3,
            "baseDelaySeconds": 1,
            "excludedStatusCodes": [400, 401, 403, 404, 413],
        },
    }
    assert desk.describe(f"{BASE_URL}/", Connection(), store_transcripts=True, control_authentication=True) == (
        described(authenticated=True)
    )


def test_messages_are_signed_where_the_credential_is_known() -> None:
    assert described(Connection(credential_id="cred-1")).server["credentialId"] == "cred-1"
    assert "credentialId" not in described(Connection("phone-1", "", "asst-1")).server


@pytest.mark.parametrize("stored", [True, False])
def test_final_transcripts_are_asked_for_only_where_they_are_stored(stored: bool) -> None:
    finals = ('transcript[transcriptType="final"]',) if stored else ()

    assert described(stored=stored).server_messages == (
        "tool-calls",
        "status-update",
        "end-of-call-report",
        "speech-update",
        "user-interrupted",
        "transfer-destination-request",
        "handoff-destination-request",
        *finals,
    )


@pytest.mark.parametrize("flag", [True, False])
def test_the_stack_says_what_its_settings_say(settings: Settings, clock: Clock, flag: bool) -> None:
    parameters = Parameters(settings)
    parameters.values[f"{settings.parameter_path}/connection"] = '{"credential_id": "cred-1", "assistant_id": "asst-1"}'
    secrets = Secrets(settings.parameter_path, ("public-base-url", "connection"), parameters, clock)
    own = settings._replace(store_transcripts=flag, control_authentication=not flag)

    assert desk.backend(own, secrets) == described(
        Connection("", "cred-1", "asst-1"), stored=flag, authenticated=not flag
    )


def test_two_assistants_never_share_what_one_of_them_changes() -> None:
    first, second = described(), described()
    first.server["backoffPlan"]["excludedStatusCodes"].append(500)

    assert second.server["backoffPlan"]["excludedStatusCodes"] == [400, 401, 403, 404, 413]
