"""Fixed values of the local stack. None is a secret: they are public, and only a stack on loopback knows them."""

STACK_NAME = "switchboard-local"
REGION = "us-east-1"
PORT = 4566
HOST = "switchboard.localhost"
PUBLIC_BASE_URL = f"http://{HOST}:{PORT}"

# Constants rather than random values, so that the committed, signed events verify on every machine.
VAPI_WEBHOOK_SECRET = "development-only-vapi-webhook-secret"  # noqa: S105 - public, see above
VAPI_API_KEY = "development-only-vapi-api-key"
VAPI_PUBLIC_KEY = "development-only-vapi-public-key"
TWILIO_AUTH_TOKEN = "development-only-twilio-auth-token"  # noqa: S105 - public, see above
TWILIO_ACCOUNT_SID = "AC" + "d0" * 16

PHONE_NUMBER_ID = "00000000-0000-4000-8000-000000000001"
ASSISTANT_ID = "00000000-0000-4000-8000-0000000000a1"
CREDENTIAL_ID = "00000000-0000-4000-8000-0000000000c1"

SECRETS = {
    "vapi-webhook": VAPI_WEBHOOK_SECRET,
    "vapi-api-key": VAPI_API_KEY,
    "vapi-public-key": VAPI_PUBLIC_KEY,
    "twilio-auth-token": TWILIO_AUTH_TOKEN,
}
