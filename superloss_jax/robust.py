"""Losses that wrong labels pull less on: functions of one example, without memory."""
