"""Answer SQS long polls outside the gateway's lock, because moto sleeps inside it and would block every request."""

import json

from dr_assets.emulator.gateway.wire import Answer, Call


def short_poll(call: Call, body: bytes) -> tuple[float, bytes] | None:
    """How long a ReceiveMessage may wait (seconds) and the body that asks once; `None` for every other request."""
    if call.service != "sqs" or call.operation != "ReceiveMessage" or call.protocol != "json":
        return None
    try:
        data = json.loads(body)
    except ValueError:
        return None
    seconds = float(data.get("WaitTimeSeconds") or 0)
    return seconds, json.dumps({**data, "WaitTimeSeconds": 0}).encode()


def is_empty(answer: Answer) -> bool:
    """Whether a poll found no message."""
    return answer.status == 200 and b"MessageId" not in answer.body
