"""The embedded RDS: Aurora clusters, global clusters, parameter groups, events, and the PostgreSQL pair behind them."""
