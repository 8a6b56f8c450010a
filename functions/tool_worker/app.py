"""SQS to tool to delivery. Two functions of the template share this code: live, and after the call."""

import os
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from agent import agent
from switchboard import aws, worker
from switchboard.bus import Bus
from switchboard.delivery import Speaker
from switchboard.queue import Queue
from switchboard.secrets import VAPI_PUBLIC_KEY, Secrets
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.telemetry import measured
from switchboard.vapi import Vapi
from switchboard.worker import Bench

settings = Settings.from_env(os.environ)
store = Store(settings.table, aws.client("dynamodb", settings.aws_url))
sqs = aws.client("sqs", settings.aws_url)
secrets = Secrets(settings.parameter_path, (VAPI_PUBLIC_KEY,), aws.client("ssm", settings.aws_url))
speaker = Speaker(
    store=store,
    vapi=Vapi(settings.vapi_url, local=settings.local),
    public_key=lambda: secrets.first(VAPI_PUBLIC_KEY) if settings.control_authentication else "",
    local=settings.local,
)
bus = Bus(aws.client("events", settings.aws_url))
benches = {
    url.rpartition("/")[2]: Bench(agent, store, Queue(url, sqs), speaker, undelivered=bus.undelivered)
    for url in (settings.live_queue, settings.after_call_queue)
}
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@measured
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Work on a batch; what fails comes back alone."""

    def work(record: SQSRecord) -> None:
        ticket = worker.ticket_of(record.raw_event)
        if ticket:
            bench = benches[record.event_source_arn.rpartition(":")[2]]
            worker.work(bench, ticket, record.receipt_handle, lambda: context.get_remaining_time_in_millis() / 1000)

    return process_partial_response(event=event, record_handler=work, processor=processor, context=context)
