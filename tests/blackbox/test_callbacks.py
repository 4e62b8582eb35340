# SPDX-License-Identifier: Apache-2.0
"""Status callbacks with the real program: what they say, in which order; signed; again with their token while the receiver is down, and through kill -9 of the worker; one outcome each in the
table `outbox`. And the numbers to look at: /metrics and /healthz."""
import base64, hashlib, hmac, http.server, os, re, signal, socket, sqlite3, threading, time, unittest
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl

import hs
from hs import wait_until, xml
from ways import together

EVENTS = ['initiated', 'ringing', 'in-progress', 'completed']


class Receiver:
    """A web server on loopback that writes down what comes. answer(path, n): the status for the n-th request (from 0) of a token; it may wait."""

    def __init__(self, answer=lambda path, n: 204):
        self.got, self.cond, self.answer = [], threading.Condition(), answer
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def handle_one(self, form):
                headers = {k.lower(): v for k, v in self.headers.items()}
                with outer.cond:
                    n = sum(g['headers'].get('webhook-id') == headers.get('webhook-id') for g in outer.got)
                    outer.got.append({'method': self.command, 'path': self.path, 'headers': headers, 'raw': form, 'form': dict(parse_qsl(form, keep_blank_values=True)),
                                      'at': time.monotonic()})
                    outer.cond.notify_all()
                status = outer.answer(self.path.split('?')[0], n)
                try:
                    self.send_response(status)
                    self.send_header('Content-Length', '0')
                    self.end_headers()
                except OSError:
                    pass  # who asked is dead

            def do_POST(self):
                self.handle_one(self.rfile.read(int(self.headers.get('Content-Length', 0))).decode())

            def do_GET(self):
                self.handle_one(self.path.partition('?')[2])

            def log_message(self, *a):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *a):
                pass
        self.server = Server(('127.0.0.1', 0), Handler)
        self.url = 'http://127.0.0.1:%d' % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, n, timeout=20, test=lambda g: True):
        """The first n that pass the test."""
        end = time.monotonic() + timeout
        with self.cond:
            while True:
                found = [g for g in self.got if test(g)]
                if len(found) >= n:
                    return found
                if time.monotonic() > end:
                    raise AssertionError('%d of %d callbacks came: %r' % (len(found), n, [(g['path'], g['form'].get('CallStatus')) for g in found]))
                self.cond.wait(max(0.01, end - time.monotonic()))

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def outbox(s):
    db = sqlite3.connect('file:%s?mode=ro' % os.path.join(s.data, 'hookswitch.db'), uri=True, timeout=10)
    try:
        db.row_factory = sqlite3.Row
        return [dict(r) for r in db.execute('SELECT * FROM outbox')]
    finally:
        db.close()


def settled(s, n, timeout=30):
    """All n rows have their outcome."""
    return wait_until(lambda: (lambda rows: rows if len(rows) == n and all(r['state'] != 'pending' for r in rows) else None)(outbox(s)), timeout, '%d outcomes' % n)


def section(number, url, events='initiated ringing answered completed', more=''):
    return '[number %s]\nstatus_callback = %s\nstatus_callback_event = %s\n%s\n' % (number, url, events, more)


class Callbacks(unittest.TestCase):
    SECONDS = 40

    def setUp(self):
        self.r = Receiver()
        self.addCleanup(self.r.close)

    def check_signatures(self, s, g, url):
        token = s.account()['auth_token']
        want = hmac.new(token.encode(), (url + (''.join(k + v for k, v in sorted(g['form'].items())) if g['method'] == 'POST' else '')).encode(), hashlib.sha1)
        self.assertEqual(g['headers']['x-twilio-signature'], base64.b64encode(want.digest()).decode())
        body = g['raw'] if g['method'] == 'POST' else ''
        signed = '%s.%s.%s' % (g['headers']['webhook-id'], g['headers']['webhook-timestamp'], body)
        want = base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha256).digest()).decode()
        self.assertEqual(g['headers']['webhook-signature'], 'v1,' + want)

    def test_each_event_in_order_signed(self):
        config = section('100', self.r.url + '/cb') + section('101', self.r.url + '/get?a=b', 'completed', 'status_callback_method = GET')
        with hs.Server({'100': xml('<Echo/>'), '101': xml('<Reject reason="busy"/>')}, config) as s:
            with s.phone() as p:
                p.call('100')
                p.rtp.wait_more(60)
                self.assertEqual(p.bye(), 200)
            got = sorted(self.r.wait(4), key=lambda g: int(g['form']['SequenceNumber']))
            self.assertEqual([g['form']['SequenceNumber'] for g in got], list('0123'))
            self.assertEqual([g['form']['CallStatus'] for g in got], EVENTS)
            self.assertEqual(len({g['headers']['webhook-id'] for g in got}), 4)
            self.assertEqual(len({g['form']['CallSid'] for g in got}), 1)
            stamps = [parsedate_to_datetime(g['form']['Timestamp']) for g in got]
            self.assertEqual(stamps, sorted(stamps))
            self.assertLess(abs(stamps[0].timestamp() - time.time()), 60)
            for g in got:
                self.assertEqual(g['method'], 'POST')
                self.assertEqual(g['form']['CallbackSource'], 'call-progress-events')
                self.assertEqual(g['form']['Extension'], '100')
                self.assertEqual(g['headers']['i-twilio-idempotency-token'], g['headers']['webhook-id'])
                self.assertNotIn('ErrorCode', g['form'])
                self.check_signatures(s, g, self.r.url + '/cb')
            end = got[3]['form']
            self.assertEqual((end['CallDuration'], end['Duration'], end['SipResponseCode'], end['HangupBy']), ('2', '1', '200', 'caller'))
            self.assertGreater(int(end['RtpPacketsIn']), 50)
            self.assertGreater(int(end['RtpPacketsOut']), 50)
            self.assertEqual(end['RtpPacketsLost'], '0')
            self.assertGreater(float(end['AudioInMos']), 4)
            self.assertNotIn('CallDuration', got[2]['form'])
            with s.phone() as p:
                self.assertEqual(p.refused('101')['status'], 486)
            busy = self.r.wait(1, test=lambda g: g['path'].startswith('/get'))[0]
            self.assertEqual((busy['method'], busy['form']['CallStatus'], busy['form']['SipResponseCode'], busy['form']['a']), ('GET', 'busy', '486', 'b'))
            self.check_signatures(s, busy, self.r.url + busy['path'])
            rows = settled(s, 5)
            self.assertEqual({r['state'] for r in rows}, {'answered'})
            self.assertEqual({r['http_status'] for r in rows}, {204})
            trace = s.trace(end['CallSid'])
            self.assertIn('/cb', trace)

    def test_down_then_up_same_token(self):
        self.r.answer = lambda path, n: 503 if n < 2 else 200
        with hs.Server({'100': xml('<Hangup/>')}, section('100', self.r.url, 'completed')) as s:
            with s.phone() as p:
                p.call('100')
                p.wait_bye()
            got = self.r.wait(3, 20)
            self.assertEqual(len({g['headers']['webhook-id'] for g in got}), 1)
            self.assertEqual(len({g['raw'] for g in got}), 1)
            self.assertAlmostEqual(got[1]['at'] - got[0]['at'], 1, delta=0.9)
            self.assertAlmostEqual(got[2]['at'] - got[1]['at'], 5, delta=0.9)
            row, = settled(s, 1)
            self.assertEqual((row['state'], row['attempt'], row['http_status'], row['form']), ('answered', 3, 200, None))

    def test_dead_receivers_cost_nobody_anything(self):
        """One URL refuses, one never answers; a hundred calls to them, and the callbacks of others come at once."""
        hole = socket.socket()
        hole.bind(('127.0.0.1', 0))
        hole.listen(0)
        self.addCleanup(hole.close)
        with socket.socket() as closed:
            closed.bind(('127.0.0.1', 0))
            refused = closed.getsockname()[1]
        config = section('100', self.r.url) + section('101', 'http://127.0.0.1:%d/' % refused) + section('102', 'http://127.0.0.1:%d/' % hole.getsockname()[1])
        with hs.Server({n: xml('<Hangup/>') for n in ('100', '101', '102')}, config) as s:
            def some(number):
                slow = 0
                for _ in range(10):
                    with s.phone() as p:
                        since = time.monotonic()
                        p.call(number, talk=False)
                        slow = max(slow, time.monotonic() - since)
                        p.wait_bye()
                return slow
            slow = together([('%s.%d' % (n, i), lambda n=n: some(n)) for n in ('101', '102') for i in range(5)])
            self.assertLess(max(slow.values()), 4, slow)  # two cores are shared by ten phones and the test
            since = time.monotonic()
            some('100')
            got = self.r.wait(40, 20)
            self.assertLess(got[-1]['at'] - since, 15)
            wait_until(lambda: len(s.rows()) == 110, 20, 'the rows')
            def number(name):
                return int(re.search(r'(?m)^%s (\d+)' % name, s.get('/metrics', True)[2].decode()).group(1))
            wait_until(lambda: number('hookswitch_outbox_pending') == 400, 10, 'what waits for the dead')  # counted once a second
            wait_until(lambda: number('hookswitch_calls_living') == 0, 10, 'the end of the calls')
            self.assertLessEqual(number('hookswitch_outbox_in_flight'), 64)

    def outcomes(self, s, n_calls, twice):
        """Four callbacks a call, one token and one outcome each."""
        rows = settled(s, 4 * n_calls, 40)
        self.assertEqual({r['state'] for r in rows}, {'answered'})
        with self.r.cond:
            got = list(self.r.got)
        tokens = {}
        for g in got:
            tokens.setdefault((g['form']['CallSid'], g['form']['SequenceNumber'], g['form']['CallStatus']), set()).add(g['headers']['webhook-id'])
        self.assertEqual(len(tokens), 4 * n_calls)
        self.assertEqual({len(t) for t in tokens.values()}, {1})
        calls = {}
        for sid, seq, status in tokens:
            calls.setdefault(sid, {})[int(seq)] = status
        for sid, seen in calls.items():
            self.assertEqual([seen[i] for i in sorted(seen)], EVENTS, sid)
        if not twice:
            self.assertEqual(len(got), 4 * n_calls)

    def test_killed_while_the_receiver_thinks(self):
        """The request is out, the worker dies, the answer finds nobody: again, with the same token."""
        held = threading.Event()
        self.r.answer = lambda path, n: (held.wait(20), 200)[1] if n == 0 else 200
        with hs.Server({'100': xml('<Echo/>')}, section('100', self.r.url)) as s:
            with s.phone() as p:
                p.call('100')
                self.r.wait(3)
                s.kill_worker()
                p.rtp.wait_more(20)
                self.assertEqual(p.bye(), 200)
            held.set()
            self.outcomes(s, 1, True)

    def test_killed_again_and_again(self):
        """Calls come and go while the worker is killed at any moment."""
        with hs.Server({'100': xml('<Echo/>')}, section('100', self.r.url)) as s:
            done = threading.Event()

            def calls():
                for _ in range(6):
                    with s.phone() as p:
                        p.call('100')
                        p.rtp.wait_more(10)
                        p.bye(20)
            def kills():
                n = 0
                while not done.is_set() and n < 12:
                    with self.r.cond:
                        have = len(self.r.got)
                        self.r.cond.wait_for(lambda: len(self.r.got) > have or done.is_set(), 2)
                    s.kill_worker()
                    n += 1
            killer = threading.Thread(target=kills)
            killer.start()
            try:
                together([('phone %d' % i, calls) for i in range(4)])
            finally:
                done.set()
                killer.join()
            self.outcomes(s, 24, True)

    def test_stopped_with_callbacks_due(self):
        """SIGTERM while the receiver is down: the next start sends what is due."""
        self.r.answer = lambda path, n: 503
        with hs.Server({'100': xml('<Hangup/>')}, section('100', self.r.url, 'completed')) as s:
            with s.phone() as p:
                p.call('100')
                p.wait_bye()
            first = self.r.wait(1)[0]
            s.stop()
            data = s.data
            self.r.answer = lambda path, n: 200
            row, = outbox(s)
            self.assertEqual(row['state'], 'pending')
            with hs.Server({}, '', data=data) as again:
                row, = settled(again, 1)
            self.assertEqual(row['state'], 'answered')
            with self.r.cond:
                self.assertEqual({g['headers']['webhook-id'] for g in self.r.got}, {first['headers']['webhook-id']})


LABELS = r'(?:\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")*\})?'


class Metrics(unittest.TestCase):
    SECONDS = 10

    def scrape(self, s):
        status, headers, body = s.get('/metrics', True)
        self.assertEqual(status, 200)
        self.assertTrue(headers['content-type'].startswith('text/plain; version=0.0.4'))
        values, types = {}, {}
        for line in body.decode().splitlines():
            if line.startswith('# TYPE '):
                name, kind = line[7:].split()
                self.assertNotIn(name, types)
                types[name] = kind
            elif not line.startswith('# HELP '):
                m = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(%s) (\S+)' % LABELS, line)
                self.assertTrue(m, line)
                self.assertTrue(m.group(1) in types or re.sub('_(bucket|sum|count)$', '', m.group(1)) in types, line)
                self.assertNotIn((m.group(1), m.group(2)), values)
                values[m.group(1), m.group(2)] = float(m.group(3))
        return values

    def test_numbers_and_health(self):
        with hs.Server({'100': xml('<Say>Hello.</Say>'), '101': '#!/bin/sh\nexit 1\n'}) as s:
            self.assertEqual(s.get('/healthz')[0], 200)
            self.assertEqual(s.get('/metrics')[0], 401)
            before = self.scrape(s)
            with s.phone() as p:
                p.call('100')
                p.wait_bye()
            with s.phone() as p:
                p.call('101')
                p.wait_bye()
            wait_until(lambda: len(s.rows()) == 2 and self.scrape(s)['hookswitch_calls_living', ''] == 0, 10, 'the end of the calls')
            after = self.scrape(s)
            self.assertEqual(after['hookswitch_calls_total', ''] - before['hookswitch_calls_total', ''], 2)
            self.assertEqual(after['hookswitch_service_requests_total', '{service="100",result="ok"}'], 1)
            self.assertEqual(after['hookswitch_service_requests_total', '{service="101",result="failed"}'], 1)
            self.assertEqual(after['hookswitch_service_request_seconds_count', '{service="100"}'], 1)
            self.assertGreater(after['hookswitch_rtp_out_total', ''], 20)
            self.assertGreater(after['process_resident_memory_bytes', ''], 1e6)
            self.assertEqual(after['hookswitch_mailbox_room_bytes', '{box="sig"}'], before['hookswitch_mailbox_room_bytes', '{box="sig"}'])

    def test_health_while_draining(self):
        with hs.Server({'100': xml('<Echo/>')}) as s:
            with s.phone() as p:
                p.call('100')
                s.proc.send_signal(signal.SIGTERM)
                wait_until(lambda: s.get('/healthz')[0] == 503, 5, '503')
                self.assertEqual(s.get('/healthz')[2], b'draining\n')
                self.assertEqual(p.bye(), 200)


if __name__ == '__main__':
    unittest.main()
