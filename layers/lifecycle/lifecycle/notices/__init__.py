"""Notices to people in chat tools: who hears what where, and in which words."""
