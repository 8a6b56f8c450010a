"""How long a caller waits for the first answer: `POST /voice/inbound` on the local stack, cold and warm.

    python -m tests.benchmarks.inbound [--calls 60]

Time by the clock, through the emulated API, table and runtime of this machine and a Vapi that answers at once; what AWS
and Vapi add is not in it. Each call hangs up before the next one rings. Figures are printed and asserted nowhere.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from devkit.stack import Stack
from devkit.twilio_fake import PhoneLeg, read_twiml
from devkit.wire import Backend

DIALLED = "+15555550100"
CALLERS = 500  # as many numbers call in turn, so that no caller's cap is met


def main(argv: Sequence[str] | None = None) -> None:
    """Start the stack, let callers call, print what they waited."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=60, help="answered calls (default 60)")
    args = parser.parse_args(argv)
    with Stack(progress=lambda _: None) as stack:
        backend = Backend(stack.facts["api_url"], stack.facts["host"])
        try:
            cold, *warm = measured(backend, args.calls)
        finally:
            backend.close()
    sys.stdout.write(table(cold, warm))


def measured(backend: Backend, calls: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Seconds until each of so many calls has its document; `ApplicationError` for one that Twilio could not read."""
    return [_answered(backend, number, clock) for number in range(calls + 1)]


def table(cold: float, warm: Sequence[float]) -> str:
    """What is printed; times in seconds come in, milliseconds go out."""
    cuts = statistics.quantiles(warm, n=100, method="inclusive")
    return (
        f"POST /voice/inbound, first call {cold * 1000:.0f} ms; {len(warm)} more calls: "
        f"p50 {cuts[49] * 1000:.0f} ms, p95 {cuts[94] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms\n"
    )


def _answered(backend: Backend, number: int, clock: Callable[[], float]) -> float:
    leg = PhoneLeg(
        backend.post_form,
        public_url=backend.public_url,
        caller=f"+1555555{1000 + number % CALLERS}",
        dialled=DIALLED,
    )
    began = clock()
    answer = leg.ring()
    seconds = clock() - began
    verbs = read_twiml(answer.status_code, answer.headers.get("content-type", ""), answer.content)
    assert verbs[0].name == "Connect", verbs
    leg.hang_up()
    return seconds


if __name__ == "__main__":
    main()
