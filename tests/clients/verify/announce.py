"""Runs the guide's receiver on a free port, and says which one it is."""

import http.server, runpy


class Announcing(http.server.HTTPServer):
    def server_activate(self):
        super().server_activate()
        print(self.server_port, flush=True)


http.server.HTTPServer = Announcing
runpy.run_path("receiver.py", run_name="__main__")
