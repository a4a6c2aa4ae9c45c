"""Confidence-aware losses: functions of an input and a confidence sigma."""
