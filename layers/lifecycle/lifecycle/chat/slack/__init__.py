"""Slack: reads requests, renders messages, replies."""
