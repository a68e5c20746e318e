"""Takes gateways' webhooks, durably, and tells what happened as canonical events."""
