"""The time-lapse demo: sixty days of recovery on real services, watched, told and checked."""
