"""HTTP front end of the embedded AWS: server process, WSGI application, faults, wire formats."""
