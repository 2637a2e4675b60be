"""Connections to the stack's PostgreSQL database: endpoints resolved, credentials read, frozen servers noticed."""
