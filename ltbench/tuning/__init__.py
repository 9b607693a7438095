"""Hyper-parameter search: studies, their journals, and the rounds that train their trials."""
