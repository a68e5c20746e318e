"""The runtime every service stands on: outbox, consumer, timers, effects, clock. Knows no business noun."""
