"""Starts real Kafka, real Postgres and the services: Docker, native, or addresses from the environment."""

from dunwell_stack.choice import StackChoice, StackUnavailable
from dunwell_stack.processes import Supervisor, wait_http_ready
from dunwell_stack.stack import Stack, running_stack

__all__ = ["Stack", "StackChoice", "StackUnavailable", "Supervisor", "running_stack", "wait_http_ready"]
