"""The stand-ins for Vapi and Twilio together: inside a command, or as the background process of `switchboard up`."""

import signal
import sys

from devkit.local_twilio import LocalTwilio
from devkit.twilio_fake import TwilioFake
from devkit.vapi_fake import VapiFake


class Fakes:
    """The fake Vapi on `port` and the fake Twilio on the next one, on loopback; port 0 takes two free ones.

    With a backend, the address of its HTTP API and the name that this goes by, Twilio carries whole calls to it.
    """

    def __init__(self, port: int, *backend: str) -> None:
        following = port + 1 if port else 0
        self.twilio = LocalTwilio(following, *backend) if backend else TwilioFake(following)
        self.vapi = VapiFake(port, twilio=self.twilio.numbers)

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


def main() -> None:
    """Serve until killed."""
    Fakes(int(sys.argv[1]), *sys.argv[2:]).start()
    signal.pause()


if __name__ == "__main__":
    main()
