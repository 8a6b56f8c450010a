"""The same webhook as a server: it verifies, reads and answers, and keeps sessions in memory."""

import hashlib
import hmac
import json
import os
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict

SECRET = os.environ["WEBHOOK_SECRET"].encode()
app = FastAPI()
sessions: dict[str, dict[str, Any]] = {}


class Call(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: str


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: str
    call: Call
    status: str = ""


class Envelope(BaseModel):
    message: Message


@app.post("/webhook/vapi")
async def webhook(request: Request) -> Response:
    body = await request.body()
    at = request.headers.get("x-timestamp", "")
    expected = hmac.new(SECRET, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("x-signature", "")):
        return Response("unauthorized", 401)
    message = Envelope.model_validate_json(body).message
    if message.type == "status-update":
        sessions.setdefault(message.call.id, {})["status"] = message.status
    return Response(json.dumps({}), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
