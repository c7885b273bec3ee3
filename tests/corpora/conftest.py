"""The server that downloads are tested against."""

import threading
from collections.abc import Iterator

import pytest

from .breaking_server import Handler, Server


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.files, made.etag, made.modified, made.ranges = {}, '"one"', None, True
    made.behaviour, made.asked = [], []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()
