# SPDX-License-Identifier: Apache-2.0
"""phone: a SIP phone in plain Python for black-box tests, strict about what it receives. UDP or TCP (whole frames or byte by byte), IPv4 or IPv6, RTP both ways with
a ledger of every packet (arrival, sequence, timestamp, SSRC, payload). It is a peer of its own making: it shares no code with the program under test."""
import os, random, re, select, socket, struct, threading, time

CRLF = '\r\n'


def parse(data):
    head, _, body = data.partition(b'\r\n\r\n')
    lines = re.sub(rb'\r\n[ \t]+', b' ', head).decode('utf-8', 'replace').split(CRLF)
    hdrs = []
    for line in lines[1:]:
        name, _, value = line.partition(':')
        hdrs.append((name.strip().lower(), value.strip()))
    m = {'first': lines[0], 'hdrs': hdrs, 'body': body, 'raw': data}
    parts = lines[0].split(' ', 2)
    if parts[0] == 'SIP/2.0':
        m['status'] = int(parts[1])
    else:
        m['method'] = parts[0]
    return m


def get(m, name):
    for n, v in m['hdrs']:
        if n == name.lower():
            return v
    return None


def tag_of(value):
    r = re.search(r';\s*tag=([^;>\s]+)', value or '')
    return r.group(1) if r else None


class Loop:
    """One thread that serves the sockets of all phones of this process and is the clock of their sound: hundreds of threads would make a clock of none of them."""
    one, lock = None, threading.Lock()

    @classmethod
    def get(cls):
        with cls.lock:
            if cls.one is None or cls.one.pid != os.getpid():
                cls.one = cls()
            return cls.one

    def __init__(self):
        self.pid, self.poll, self.of, self.talkers = os.getpid(), select.epoll(), {}, {}
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, sock, fn):
        self.of[sock.fileno()] = fn
        self.poll.register(sock.fileno(), select.EPOLLIN)

    def drop(self, sock):
        if self.of.pop(sock.fileno(), None):
            self.poll.unregister(sock.fileno())

    def _run(self):
        while True:
            for fd, _ in self.poll.poll(0.004 if self.talkers else 0.02, 512):
                fn = self.of.get(fd)
                if fn:
                    try:
                        fn()
                    except OSError:
                        pass
            now = time.monotonic()
            for rtp, due in list(self.talkers.items()):
                if now >= due and rtp in self.talkers:
                    self.talkers[rtp] = due + 0.02
                    rtp.send_frame()


SO_TIMESTAMPNS = 35


class Rtp:
    """One port; sends 20 ms frames of `source` (bytes of G.711) while talking; keeps what comes, with the time at which the kernel received it."""

    def __init__(self, host):
        fam = socket.AF_INET6 if ':' in host else socket.AF_INET
        while True:
            self.sock, self.rtcp = socket.socket(fam, socket.SOCK_DGRAM), socket.socket(fam, socket.SOCK_DGRAM)
            try:
                self.sock.bind((host, 0))
                self.port = self.sock.getsockname()[1]
                if self.port % 2 == 0:
                    self.rtcp.bind((host, self.port + 1))
                    break
            except OSError:
                pass
            self.sock.close()
            self.rtcp.close()
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.host, self.remote = host, None
        self.got, self.got_rtcp = [], []  # got: (arrival, pt, marker, seq, ts, ssrc, payload, source)
        self.source, self.sent, self.pt = None, 0, 0
        self.seq, self.ts, self.ssrc = random.randrange(65536), random.randrange(1 << 32), random.randrange(1 << 32)
        self.event = None  # digit being sent
        self.cond = threading.Condition()
        self.loop = Loop.get()
        for s, fn in ((self.sock, self._rtp_in), (self.rtcp, self._rtcp_in)):
            s.setblocking(False)
            self.loop.add(s, fn)

    def _rtp_in(self):
        for _ in range(64):
            try:
                data, anc, _, src = self.sock.recvmsg(4096, 64)
            except BlockingIOError:
                return
            at = time.time()
            for level, kind, value in anc:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    sec, nsec = struct.unpack('qq', value[:16])
                    at = sec + nsec / 1e9
            if len(data) >= 12:
                b0, b1, seq, ts, ssrc = struct.unpack('!BBHII', data[:12])
                with self.cond:
                    self.got.append((at, b1 & 127, b1 >> 7, seq, ts, ssrc, data[12:], src))
                    self.cond.notify_all()

    def _rtcp_in(self):
        data, src = self.rtcp.recvfrom(4096)
        with self.cond:
            self.got_rtcp.append((data, src))
            self.cond.notify_all()

    def talk(self, source=b'\xff' * 160):
        """source None: falls silent."""
        self.source = source
        self._clock()

    def _clock(self):
        if self.source is None and not self.event:
            self.loop.talkers.pop(self, None)
        elif self not in self.loop.talkers:
            self.loop.talkers[self] = time.monotonic()

    def send_frame(self):
        if not self.remote or (self.source is None and not self.event):
            return
        self.seq, self.ts = (self.seq + 1) & 65535, (self.ts + 160) & 0xffffffff
        if self.event:
            pt, digit, step, ts0 = self.event
            if step == 0:
                ts0 = self.ts
            dur, end = min(800, 160 * (step + 1)), step >= 5
            pkt = struct.pack('!BBHII', 0x80, pt | (0x80 if step == 0 else 0), self.seq, ts0, self.ssrc)
            pkt += struct.pack('!BBH', digit, (0x80 if end else 0) | 10, dur)
            self.event = None if step >= 7 else (pt, digit, step + 1, ts0)
        else:
            i = (self.sent * 160) % max(160, len(self.source) // 160 * 160)
            pkt = struct.pack('!BBHII', 0x80, self.pt, self.seq, self.ts, self.ssrc) + self.source[i:i + 160]
        with self.cond:
            self.sent += 1
            self.cond.notify_all()
        try:
            self.sock.sendto(pkt, self.remote)
        except OSError:
            pass
        if self.source is None:
            self._clock()

    def digit(self, d, pt=101, timeout=5):
        """Returns when its last packet is out."""
        self.event = (pt, '0123456789*#ABCD'.index(d), 0, 0)
        self._clock()
        with self.cond:
            assert self.cond.wait_for(lambda: self.event is None, timeout)

    def wait_for(self, test, timeout=10, what=''):
        with self.cond:
            assert self.cond.wait_for(test, timeout), 'RTP: %s; %d packets came, %d sent' % (what, len(self.got), self.sent)

    def wait(self, n, timeout=10):
        """Until n packets are there."""
        self.wait_for(lambda: len(self.got) >= n, timeout, '%d packets wanted' % n)

    def wait_more(self, n, timeout=10):
        self.wait(len(self.got) + n, timeout)

    def wait_sent(self, n, timeout=10):
        """Until n more are sent: the phone's own clock, 20 ms a packet."""
        n += self.sent
        self.wait_for(lambda: self.sent >= n, timeout, '%d to be sent' % n)

    def audio(self, first=0):
        return [g for g in self.got[first:] if g[1] in (0, 8)]

    def gaps(self, first=0):
        """Longest run of missing sequence numbers, whether timestamps follow them (160 a packet), and how many SSRCs."""
        a = self.audio(first)
        worst, ok, ssrcs = 0, True, {g[5] for g in a}
        for p, q in zip(a, a[1:]):
            d = (q[3] - p[3]) & 65535
            worst = max(worst, d - 1 if 0 < d < 32768 else 99999)
            ok = ok and ((q[4] - p[4]) & 0xffffffff) == 160 * d
        return worst, ok, len(ssrcs)

    def close(self):
        self.loop.talkers.pop(self, None)
        for s in (self.sock, self.rtcp):
            self.loop.drop(s)
            s.close()


class Phone:
    """One user agent with one call at a time."""

    def __init__(self, server, host='127.0.0.1', tcp=False, one_byte=False, user='tester'):
        self.server, self.host, self.tcp, self.one_byte, self.user = server, host, tcp, one_byte, user
        fam = socket.AF_INET6 if ':' in host else socket.AF_INET
        self.sock = socket.socket(fam, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        if tcp:
            self.sock.connect(server)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.addr = self.sock.getsockname()
        self.hp = ('[%s]:%d' if ':' in host else '%s:%d') % (host, self.addr[1])
        self.shost = '[%s]' % host if ':' in host else host
        self.buf, self.inbox = b'', []
        self.cond = threading.Condition()
        self.rtp = Rtp(host)
        self.cseq, self.call_id, self.tag = 0, None, None
        self.to_tag, self.remote_target, self.bye_from_peer, self.direction = None, None, None, 'sendrecv'
        self.auto, self.acks, self.faults, self.served, self.gone = True, {}, [], [], False
        self.loop = Loop.get()
        self.loop.add(self.sock, self._in)

    # -- wire
    def send_raw(self, data):
        if isinstance(data, str):
            data = data.encode()
        if not self.tcp:
            self.sock.sendto(data, self.server)
        elif self.one_byte:
            for i in range(len(data)):
                self.sock.send(data[i:i + 1])
        else:
            self.sock.sendall(data)

    def _in(self):
        data = self.sock.recv(65536)
        if not self.tcp:
            self._take(data)
            return
        if not data:
            self.loop.drop(self.sock)
            with self.cond:
                self.gone = True
                self.cond.notify_all()
            return
        self.buf += data
        while True:
            self.buf = self.buf.lstrip(b'\r\n')
            i = self.buf.find(b'\r\n\r\n')
            if i < 0:
                return
            n = re.search(rb'(?im)^(?:content-length|l)[ \t]*:[ \t]*(\d+)', self.buf[:i])
            if not n:
                self.faults.append('no Content-Length in %r' % self.buf[:60])
            end = i + 4 + int(n.group(1) if n else 0)
            if len(self.buf) < end:
                return
            data, self.buf = self.buf[:end], self.buf[end:]
            self._take(data)

    def _take(self, data):
        m = parse(data)
        m['at'] = time.monotonic()
        self._check(m)
        if self.auto and 'method' in m:
            self._serve(m)
        elif m.get('status', 0) // 100 == 2 and (get(m, 'cseq') or '').endswith(' INVITE'):
            again = self.acks.get((get(m, 'call-id'), get(m, 'cseq').split()[0]))
            if again:  # RFC 3261 13.2.2.4: each 2xx is answered by an ACK
                self.send_raw(again)
        with self.cond:
            self.inbox.append(m)
            self.cond.notify_all()

    def _check(self, m):
        """What every message must have, whatever it is about."""
        def bad(what):
            self.faults.append('%s in %s' % (what, m['first']))
        for name in ('via', 'from', 'to', 'call-id', 'cseq'):
            if get(m, name) is None:
                bad('no ' + name)
        n = get(m, 'content-length')
        if n is None or int(n) != len(m['body']):
            bad('Content-Length %s for %d bytes' % (n, len(m['body'])))
        if m['body'] and get(m, 'content-type') is None:
            bad('no Content-Type')
        if m.get('status', 0) > 100 and not tag_of(get(m, 'to')):
            bad('no tag in To')
        if 'method' in m and m['method'] != 'ACK' and (get(m, 'max-forwards') is None or not tag_of(get(m, 'from'))):
            bad('no Max-Forwards or no tag in From')
        if m['body'].startswith(b'v=0') and not re.match(rb'v=0\r\no=[^\r]+\r\ns=[^\r]+\r\n', m['body']):
            bad('SDP out of order')

    def _serve(self, m):
        if m['method'] == 'ACK':
            return
        self.served.append(m)
        if m['method'] == 'BYE':
            self.bye_from_peer = m
        body = ''
        if m['method'] == 'INVITE':
            self.cseq += 1
            body = self.sdp(self.direction)
        self.send_raw(self.reply_to(m, 200, 'OK', body))

    # -- messages
    def sdp(self, direction='sendrecv', pts='0 101', port=None):
        fam = 'IP6' if ':' in self.host else 'IP4'
        lines = ['v=0', 'o=t 1 %d IN %s %s' % (self.cseq + 1, fam, self.host), 's=-', 'c=IN %s %s' % (fam, self.host), 't=0 0',
                 'm=audio %d RTP/AVP %s' % (port or self.rtp.port, pts), 'a=rtpmap:0 PCMU/8000', 'a=rtpmap:101 telephone-event/8000', 'a=fmtp:101 0-16',
                 'a=%s' % direction]
        return CRLF.join(lines) + CRLF

    def reply_to(self, m, status, reason, body=''):
        out = ['SIP/2.0 %d %s' % (status, reason)]
        for n, v in m['hdrs']:
            if n in ('via', 'v', 'from', 'f', 'to', 't', 'call-id', 'i', 'cseq', 'record-route'):
                out.append('%s: %s' % (n, v))
        out.append('Contact: <sip:%s@%s%s>' % (self.user, self.hp, ';transport=tcp' if self.tcp else ''))
        if body:
            out.append('Content-Type: application/sdp')
        out += ['Content-Length: %d' % len(body), '', body]
        return CRLF.join(out)

    def request(self, method, body='', extra=(), branch=None, cseq=None, uri=None, ctype='application/sdp'):
        if cseq is None and method not in ('ACK', 'CANCEL'):
            self.cseq += 1
        n = self.cseq if cseq is None else cseq
        self.branch = branch or 'z9hG4bK' + os.urandom(8).hex()
        to = '<sip:%s@%s>' % (self.number, self.shost) + (';tag=' + self.to_tag if self.to_tag else '')
        out = ['%s %s SIP/2.0' % (method, uri or self.remote_target or 'sip:%s@%s:%d' % (self.number, self.shost, self.server[1])),
               'Via: SIP/2.0/%s %s;branch=%s;rport' % ('TCP' if self.tcp else 'UDP', self.hp, self.branch),
               'Max-Forwards: 70', 'From: %s<sip:%s@%s>;tag=%s' % (self.display, self.user, self.shost, self.tag), 'To: ' + to, 'Call-ID: ' + self.call_id,
               'CSeq: %d %s' % (n, method), 'Contact: <sip:%s@%s%s>' % (self.user, self.hp, ';transport=tcp' if self.tcp else '')]
        out += list(extra)
        if body:
            out.append('Content-Type: ' + ctype)
        out += ['Content-Length: %d' % len(body.encode()), '', body]
        text = CRLF.join(out)
        if method == 'ACK':
            self.acks[(self.call_id, str(n))] = text
        else:
            self.last = text
        self.send_raw(text)
        return n

    def outside(self, method, number='100', timeout=5, **kw):
        """A request outside of any call; its final response."""
        self.number, self.display, self.call_id, self.tag, self.to_tag, self.remote_target = number, '', os.urandom(8).hex(), os.urandom(4).hex(), None, None
        n = self.request(method, **kw)
        return self.expect(lambda s: s >= 200, timeout, method=method, cseq=n)

    def cancel(self):
        """CANCEL of the INVITE that is out: same branch, same number. Returns the two final statuses."""
        self.request('CANCEL', branch=self.invite_branch, cseq=self.invite_cseq, uri=self.invite_text.split(' ', 2)[1])
        c = self.expect(lambda s: s >= 200, method='CANCEL')['status']
        m = self.expect(lambda s: s >= 200, method='INVITE')
        self.ack_refusal(m)
        return c, m['status']

    def ack_refusal(self, m):
        """RFC 3261 17.1.1.3: the ACK to a final status other than 2xx belongs to the INVITE's transaction."""
        to, self.to_tag = self.to_tag, tag_of(get(m, 'to'))
        self.request('ACK', branch=self.invite_branch, cseq=self.invite_cseq, uri=self.invite_text.split(' ', 2)[1])
        self.to_tag = to

    def refused(self, number, timeout=15, **kw):
        """Calls and is refused: the final response."""
        self.invite(number, **kw)
        m = self.expect(lambda s: s >= 200, timeout, method='INVITE')
        assert m['status'] >= 300, m['first']
        self.ack_refusal(m)
        return m

    # -- a call
    def invite(self, number, body=None, extra=(), display='"Ann" '):
        self.number, self.display = number, display
        self.call_id, self.tag, self.to_tag, self.remote_target = os.urandom(8).hex(), os.urandom(4).hex(), None, None
        self.invite_branch = 'z9hG4bK' + os.urandom(8).hex()
        self.invite_cseq = self.request('INVITE', self.sdp() if body is None else body, extra, branch=self.invite_branch)
        self.invite_text = self.last
        return self

    def expect(self, what, timeout=10, method=None, cseq=None, resend=True):
        """Waits for a response (int or predicate on status) or a request (method name); consumes it. Requests of ours are repeated on UDP like T1 says."""
        end, nap, text = time.monotonic() + timeout, 0.5, getattr(self, 'last', None)
        with self.cond:
            while True:
                for i, m in enumerate(self.inbox):
                    if isinstance(what, str):
                        hit = m.get('method') == what
                    else:
                        c = get(m, 'cseq') or ''
                        hit = 'status' in m and (m['status'] == what if isinstance(what, int) else what(m['status'])) and \
                            (method is None or c.endswith(' ' + method)) and (cseq is None or c.split()[0] == str(cseq))
                    if hit:
                        del self.inbox[i]
                        return m
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError('expected %r, have %r' % (what, [m['first'] for m in self.inbox]))
                if not self.cond.wait(min(nap, left)) and resend and not self.tcp and text and not isinstance(what, str):
                    self.send_raw(text)
                    nap = min(4, nap * 2)

    def answered(self, timeout=15):
        """Waits for the 200, sends ACK, opens the audio."""
        m = self.expect(lambda s: s >= 200, timeout, method='INVITE', cseq=self.invite_cseq)
        assert m['status'] == 200, m['first']
        self.take_200(m)
        return m

    def take_200(self, m, ack=True):
        self.ok = m
        self.to_tag = tag_of(get(m, 'to'))
        self.remote_target = re.search(r'<([^>]+)>', get(m, 'contact')).group(1)
        self.media(m['body'])
        if ack:
            self.request('ACK', cseq=self.invite_cseq)

    def media(self, body):
        text = body.decode()
        port = int(re.search(r'm=audio (\d+)', text).group(1))
        host = re.search(r'c=IN IP[46] (\S+)', text).group(1)
        self.rtp.remote = (host, port)

    def talk(self, source=b'\xff' * 160):
        self.rtp.talk(source)

    def call(self, number, talk=True, **kw):
        self.invite(number, **kw)
        self.answered()
        if talk:
            self.talk()
        return self

    def reinvite(self, direction='sendrecv', port=None, timeout=10):
        n = self.request('INVITE', self.sdp(direction, port=port))
        self.direction = direction
        m = self.expect(lambda s: s >= 200, timeout, method='INVITE', cseq=n)
        if m['status'] == 200:
            self.invite_cseq = n
            self.media(m['body'])
        self.request('ACK', cseq=n, branch=self.branch if m['status'] != 200 else None)
        return m

    def bye(self, timeout=10):
        n = self.request('BYE')
        return self.expect(lambda s: s >= 200, timeout, method='BYE', cseq=n)['status']

    def wait_bye(self, timeout=20):
        return self.expect('BYE', timeout)

    def close(self):
        self.loop.drop(self.sock)
        self.sock.close()
        self.rtp.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        self.close()
        assert kind or not self.faults, self.faults


if __name__ == '__main__':  # phone.py SERVER PORT HOST: calls 44 and prints the status it gets (for another network namespace)
    import sys
    with Phone((sys.argv[1], int(sys.argv[2])), host=sys.argv[3]) as one:
        one.invite('44')
        print(one.expect(lambda s: s >= 200, 5, method='INVITE')['status'])
