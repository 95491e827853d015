"""The smallest service there can be, because a hundred of them run at once: HTTP by hand, one request at a time.

Answers 200 to everything, and nothing any more after GET /fall-ill/hang. Listens where HOST and PORT say, after SLOW
seconds.
"""

import os
import signal
import time
from socket import SO_REUSEADDR, SOL_SOCKET, socket

time.sleep(float(os.environ.get("SLOW", "0")))
server = socket()
server.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
server.bind((os.environ["HOST"], int(os.environ["PORT"])))
server.listen(64)
hangs = False
while not hangs:
    client, _ = server.accept()
    hangs = client.recv(4096).startswith(b"GET /fall-ill/hang")
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    client.close()
while True:
    signal.pause()
