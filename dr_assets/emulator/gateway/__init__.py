"""The embedded AWS's front door: HTTP server, control API, faults, and the installation of extended backends."""
