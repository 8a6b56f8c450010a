"""A webhook as tutorials write it: everything imported and made at the top, a resolver for one route, a model a message.

It verifies, reads, stores and answers like ours, and is here to be measured beside it.
"""

import hashlib
import hmac
import os
import time
from typing import Annotated, Any, Literal

import boto3
import httpx
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio.twiml.voice_response import VoiceResponse

logger = Logger()
metrics = Metrics(namespace="Typical")
tracer = Tracer()
app = APIGatewayHttpResolver()
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
queue = boto3.client("sqs")
vapi = httpx.Client(base_url=os.environ["VAPI_API_URL"])
twilio = Client("AC" + "0" * 32, "token")
validator = RequestValidator("token")
sorry = VoiceResponse()
SECRET = os.environ["WEBHOOK_SECRET"].encode()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Customer(Open):
    number: str | None = None


class Call(Open):
    id: str
    type: str | None = None
    customer: Customer | None = None


class Base(Open):
    timestamp: float
    call: Call


class Function(Open):
    name: str
    arguments: dict[str, Any] | str


class ToolCall(Open):
    id: str
    function: Function


class AssistantRequest(Base):
    type: Literal["assistant-request"]


class ToolCalls(Base):
    type: Literal["tool-calls"]
    toolCallList: list[ToolCall]


class StatusUpdate(Base):
    type: Literal["status-update"]
    status: str


class EndOfCallReport(Base):
    type: Literal["end-of-call-report"]
    endedReason: str


class SpeechUpdate(Base):
    type: Literal["speech-update"]
    role: str
    status: str


class Transcript(Base):
    type: Literal["transcript"]
    role: str
    transcript: str


class ConversationUpdate(Base):
    type: Literal["conversation-update"]


class UserInterrupted(Base):
    type: Literal["user-interrupted"]


class Hang(Base):
    type: Literal["hang"]


class TransferDestinationRequest(Base):
    type: Literal["transfer-destination-request"]


Message = Annotated[
    AssistantRequest
    | ToolCalls
    | StatusUpdate
    | EndOfCallReport
    | SpeechUpdate
    | Transcript
    | ConversationUpdate
    | UserInterrupted
    | Hang
    | TransferDestinationRequest,
    Field(discriminator="type"),
]


class Envelope(BaseModel):
    message: Message


envelopes = TypeAdapter(Envelope)


@app.post("/webhook/vapi")
def webhook() -> dict[str, Any] | Response[str]:
    event = app.current_event
    body = (event.body or "").encode()
    at = event.headers.get("x-timestamp", "")
    expected = hmac.new(SECRET, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, event.headers.get("x-signature", "")):
        return Response(status_code=401, body="unauthorized")
    message = envelopes.validate_json(body).message
    metrics.add_metric(name="Received", unit=MetricUnit.Count, value=1)
    if isinstance(message, StatusUpdate):
        table.update_item(
            Key={"pk": f"CALL#{message.call.id}", "sk": "META"},
            UpdateExpression="SET #status = :status, #exp = :exp",
            ExpressionAttributeNames={"#status": "status", "#exp": "exp"},
            ExpressionAttributeValues={":status": message.status, ":exp": int(time.time()) + 86400},
        )
    logger.info("received", extra={"message_type": message.type, "call_id": message.call.id})
    return {}


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)
