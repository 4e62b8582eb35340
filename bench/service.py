#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""service.py: the web service of bench/run, outside of what is counted: HTTP/1.1 with keep-alive on a free port, which it prints. /answer says nothing, /prompt plays, /prompt.wav is a second
of sound."""
import asyncio
import math
import struct

SOUND = b''.join(struct.pack('<h', int(8000 * math.sin(i * 2 * math.pi * 440 / 8000))) for i in range(8000))
WAV = b'RIFF' + struct.pack('<I', 36 + len(SOUND)) + b'WAVEfmt ' + struct.pack('<IHHIIHH', 16, 1, 1, 8000, 16000, 2, 16) + b'data' + struct.pack('<I', len(SOUND)) + SOUND


def page(kind, body, more=b''):
    return b'HTTP/1.1 200 OK\r\nContent-Type: ' + kind + b'\r\nContent-Length: %d\r\n' % len(body) + more + b'\r\n' + body


PAGES = {b'/answer': page(b'text/xml', b'<Response/>'), b'/prompt': page(b'text/xml', b'<Response><Play>prompt.wav</Play></Response>'),
         b'/prompt.wav': page(b'audio/wav', WAV, b'Cache-Control: max-age=3600\r\nETag: "1"\r\n')}


class Service(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.got = transport, b''

    def data_received(self, data):
        self.got += data
        while True:
            end = self.got.find(b'\r\n\r\n')
            if end < 0:
                return
            head = self.got[:end].lower()
            at = head.find(b'\r\ncontent-length:')
            n = int(head[at + 17:].split(b'\r\n', 1)[0]) if at >= 0 else 0
            if len(self.got) < end + 4 + n:
                return
            path = self.got.split(b' ', 2)[1]
            self.got = self.got[end + 4 + n:]
            self.transport.write(PAGES.get(path, b'HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'))


async def main():
    server = await asyncio.get_running_loop().create_server(Service, '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
