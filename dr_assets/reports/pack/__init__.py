"""The evidence pack: one HTML page with its charts, tables, raw records and a manifest."""
