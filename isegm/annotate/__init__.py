"""Annotation by clicks in a browser: a session that keeps every action, a thin server, and the page."""
