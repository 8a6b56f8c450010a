"""SQS to tool to delivery. Two functions of the template share this code: live, and after the call."""

import os
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from agent import agent
from switchboard import aws, desk, line, snapshots, worker
from switchboard.bus import Bus
from switchboard.delivery import Speaker
from switchboard.endings import Endings
from switchboard.queue import Queue
from switchboard.secrets import (
    CONNECTION,
    PUBLIC_BASE_URL,
    TWILIO_API_SECRET,
    TWILIO_AUTH_TOKEN,
    VAPI_PUBLIC_KEY,
    Secrets,
)
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.telemetry import measured
from switchboard.transfers import Switch
from switchboard.twilio_rest import Twilio, account_of
from switchboard.vapi import Vapi
from switchboard.waking import wakeable
from switchboard.worker import Bench

settings = Settings.from_env(os.environ)
store = Store(settings.table, aws.client("dynamodb", settings.aws_url))
sqs = aws.client("sqs", settings.aws_url)
names = (VAPI_PUBLIC_KEY, TWILIO_AUTH_TOKEN, TWILIO_API_SECRET, PUBLIC_BASE_URL, CONNECTION)
secrets = Secrets(settings.parameter_path, names, aws.client("ssm", settings.aws_url))
speaker = Speaker(
    store=store,
    vapi=Vapi(settings.vapi_url, local=settings.local),
    public_key=lambda: secrets.first(VAPI_PUBLIC_KEY) if settings.control_authentication else "",
    local=settings.local,
)
bus = Bus(aws.client("events", settings.aws_url))
twilio = Twilio(settings.twilio_url)
after_call = Bench(agent, store, Queue(settings.after_call_queue, sqs), speaker, undelivered=bus.undelivered)
# Only while a call is going on is there a phone to move.
live = after_call._replace(
    queue=Queue(settings.live_queue, sqs),
    switch=Switch(settings, secrets, store, twilio),
    endings=Endings(
        settings=settings,
        store=store,
        vapi=speaker.vapi,
        twilio=twilio,
        public_key=speaker.public_key,
        account=lambda sid: account_of(settings, secrets, sid),
        base=lambda: line.base_url(secrets),
    ),
    backend=lambda: desk.backend(settings, secrets),
)
benches = {
    url.rpartition("/")[2]: bench
    for url, bench in ((settings.live_queue, live), (settings.after_call_queue, after_call))
}
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
agent.tools.load()
snapshots.ready(secrets, store.warm)


@wakeable
@measured
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Work on a batch; what fails comes back alone."""

    def work(record: SQSRecord) -> None:
        ticket = worker.ticket_of(record.raw_event)
        if ticket:
            bench = benches[record.event_source_arn.rpartition(":")[2]]
            worker.work(bench, ticket, record.receipt_handle, lambda: context.get_remaining_time_in_millis() / 1000)

    return process_partial_response(event=event, record_handler=work, processor=processor, context=context)
