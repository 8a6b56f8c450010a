"""GET /health: the API and Lambda answer. It says nothing of what lies behind them, and costs them nothing."""


def handler(event: object, context: object) -> dict[str, object]:
    """Answer 200, whatever is asked."""
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": '{"status":"ok"}'}
