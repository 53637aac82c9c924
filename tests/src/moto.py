"""Serves moto as `python3 -m moto.server` does, one request at a time.

Its server answers each connection on a thread of its own, over dictionaries that nothing locks: a request that walks one while another adds to it
ends in "dictionary changed size during iteration", a 500 that AWS does not answer with.
"""

import threading

from moto import server


class OneAtATime(server.DomainDispatcherApplication):
    turn = threading.Lock()

    def __call__(self, environ, start_response):
        with self.turn:
            return super().__call__(environ, start_response)


server.DomainDispatcherApplication = OneAtATime
server.main()
