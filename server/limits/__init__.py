"""Limits of API keys over time: requests and thinking tokens per minute and per day."""
