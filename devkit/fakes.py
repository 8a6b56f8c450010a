"""The stand-ins for Vapi and Twilio together: inside a command, or as the background process of `switchboard up`."""

import signal
import sys

from devkit import development
from devkit.exchange import DIALLED
from devkit.local_twilio import LocalTwilio
from devkit.twilio_fake import TwilioFake
from devkit.vapi_fake import VapiFake
from devkit.vapi_sender_fake import Sender

NEW_NUMBER_URL = "https://demo.twilio.com/welcome/voice/"  # where the calls of a number that was just bought go


class Fakes:
    """The fake Vapi on `port` and the fake Twilio on the next one, on loopback; port 0 takes two free ones.

    With a backend, the address of its HTTP API and the name that this goes by, Twilio carries whole calls to it.
    """

    def __init__(self, port: int, *backend: str) -> None:
        following = port + 1 if port else 0
        self.twilio = LocalTwilio(following, *backend) if backend else TwilioFake(following)
        self.vapi = VapiFake(port, twilio=self.twilio.numbers)
        self._sender = Sender(self.vapi.account, backend[0], backend[1]) if backend else None
        if self._sender:
            self.vapi.tell = self._sender.later
            self._furnish()

    def start(self) -> None:
        """Serve both, or neither."""
        self.vapi.start()
        try:
            self.twilio.start()
        except BaseException:
            self.vapi.stop()
            raise

    def stop(self) -> None:
        """Stop both."""
        self.twilio.stop()
        self.vapi.stop()
        if self._sender:
            self._sender.close()

    def _furnish(self) -> None:
        """What a stack's owner has before the stack: a number, known to Vapi, and a credential that signs."""
        self.twilio.numbers.add(DIALLED, voice_url=NEW_NUMBER_URL)
        number = {"provider": "twilio", "number": DIALLED, "twilioAccountSid": development.TWILIO_ACCOUNT_SID}
        self.vapi.account.add("phone-number", number, development.PHONE_NUMBER_ID)
        plan = {"type": "hmac", "secretKey": development.VAPI_WEBHOOK_SECRET, "algorithm": "sha256"}
        credential = {"provider": "custom-credential", "name": "development", "authenticationPlan": plan}
        self.vapi.account.add("credential", credential, development.CREDENTIAL_ID)


def main() -> None:
    """Serve until killed."""
    Fakes(int(sys.argv[1]), *sys.argv[2:]).start()
    signal.pause()


if __name__ == "__main__":
    main()
