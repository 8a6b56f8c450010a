"""AWS's list prices, us-east-1, first tier, without the free tier."""

from typing import NamedTuple

REGION = "us-east-1"
PRICED = "28 November 2026"  # when they were looked up last


class Price(NamedTuple):
    """US dollars for so many of a unit."""

    name: str
    usd: float
    per: float
    unit: str
    source: str


MILLION, GB = 1e6, 1e9

API_REQUEST = Price(
    "HTTP API", 1.00, MILLION, "requests of up to 512 KB", "https://aws.amazon.com/api-gateway/pricing/"
)
INVOCATION = Price("Lambda, requests", 0.20, MILLION, "requests", "https://aws.amazon.com/lambda/pricing/")
GB_SECOND = Price("Lambda, arm64", 0.0000133334, 1, "GB-seconds", "https://aws.amazon.com/lambda/pricing/")
WRITE_UNIT = Price(
    "DynamoDB, writes on demand",
    0.625,
    MILLION,
    "write request units",
    "https://aws.amazon.com/dynamodb/pricing/on-demand/",
)
READ_UNIT = Price(
    "DynamoDB, reads on demand",
    0.125,
    MILLION,
    "read request units",
    "https://aws.amazon.com/dynamodb/pricing/on-demand/",
)
STORAGE = Price(
    "DynamoDB, storage and backup",
    0.25 + 0.20,  # the table, and its point-in-time recovery
    1,
    "GB-months",
    "https://aws.amazon.com/dynamodb/pricing/on-demand/",
)
SQS_REQUEST = Price("SQS", 0.40, MILLION, "requests of up to 64 KB", "https://aws.amazon.com/sqs/pricing/")
LOG_BYTE = Price("CloudWatch Logs, ingestion", 0.50, GB, "bytes", "https://aws.amazon.com/cloudwatch/pricing/")
LOG_STORAGE = Price("CloudWatch Logs, storage", 0.03, 1, "GB-months", "https://aws.amazon.com/cloudwatch/pricing/")
METRIC = Price("CloudWatch, custom metrics", 0.30, 1, "metric-months", "https://aws.amazon.com/cloudwatch/pricing/")
ALARM = Price("CloudWatch, alarms", 0.10, 1, "alarm metric-months", "https://aws.amazon.com/cloudwatch/pricing/")
KMS_REQUEST = Price("KMS", 0.03, 10_000, "requests", "https://aws.amazon.com/kms/pricing/")
TRANSFER = Price("Data transfer out", 0.09, GB, "bytes", "https://aws.amazon.com/ec2/pricing/on-demand/")

ALL = (
    API_REQUEST,
    INVOCATION,
    GB_SECOND,
    WRITE_UNIT,
    READ_UNIT,
    STORAGE,
    SQS_REQUEST,
    LOG_BYTE,
    LOG_STORAGE,
    METRIC,
    ALARM,
    KMS_REQUEST,
    TRANSFER,
)
