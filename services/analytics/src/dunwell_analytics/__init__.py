"""Measures whether it worked: fact log, read models, KPIs."""
