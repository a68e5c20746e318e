"""Starts real Kafka, real Postgres and the services: Docker, native, or addresses from the environment."""

from dunwell_stack.choice import StackChoice, StackUnavailable
from dunwell_stack.processes import Supervisor, wait_http_ready
from dunwell_stack.stack import Stack, running_stack
from dunwell_stack.zipkin import ZIPKIN_PORT, Zipkin

__all__ = [
    "ZIPKIN_PORT",
    "Stack",
    "StackChoice",
    "StackUnavailable",
    "Supervisor",
    "Zipkin",
    "running_stack",
    "wait_http_ready",
]
