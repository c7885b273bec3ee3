"""A server on this machine that breaks connections off, refuses, and changes its files."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``files``. ``behaviour``: for each request in turn an int (bytes sent before the connection
    breaks) or a status; after the last, all is well."""

    files: dict[str, bytes]
    etag: str | None
    modified: str | None
    ranges: bool
    behaviour: list[str | int]
    asked: list[tuple[str, str | None, str | None]]

    def url(self, name: str = "file.bin") -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        name = self.path.lstrip("/")
        wanted, guard = self.headers["Range"], self.headers["If-Range"]
        server.asked.append((name, wanted, guard))
        act = server.behaviour.pop(0) if server.behaviour else "well"
        if isinstance(act, str) and act.isdigit():
            self.send_error(int(act))
            return
        if name not in server.files:
            self.send_error(404)
            return
        content = server.files[name]
        begin = 0
        if wanted and server.ranges and (guard is None or guard in (server.etag, server.modified)):
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - begin))
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.modified:
            self.send_header("Last-Modified", server.modified)
        self.end_headers()
        self.wfile.write(content[begin : begin + act] if isinstance(act, int) else content[begin:])

    def log_message(self, *_: object) -> None:
        """Says nothing: the tests read what was asked."""
