"""Somebody's file as a teacher, or a sentence on what differs."""
