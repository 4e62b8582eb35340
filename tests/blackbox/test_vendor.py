# SPDX-License-Identifier: Apache-2.0
"""The official libraries and the real program: requests that Hookswitch makes are taken by the validators of the library for Node and of python3-twilio, and documents that their builders
write are read without a word of warning. The library for Node, and a Node that is new enough for it, are fetched by npm as vendor/package.json says, into build-vendor/; where npm cannot
be reached its half is skipped, and says so."""
import base64
import fcntl
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
from urllib.parse import parse_qs, urlsplit

import hs
from ways import Case

HERE = os.path.dirname(os.path.abspath(__file__))
VENDOR = os.path.join(hs.ROOT, 'build-vendor')
try:
    from twilio.request_validator import RequestValidator
    from twilio.twiml.voice_response import Gather, Say, VoiceResponse
except ImportError:
    RequestValidator = None


def fetch_alone():
    """None, or why it is not there."""
    with open(os.path.join(HERE, 'vendor', 'package.json')) as f:
        wanted = f.read()
    stamp = os.path.join(VENDOR, 'fetched.json')
    if os.path.exists(stamp):
        with open(stamp) as f:
            if f.read() == wanted:
                return None
    if not shutil.which('npm'):
        return 'npm is not installed'
    shutil.rmtree(VENDOR, ignore_errors=True)
    os.makedirs(VENDOR)
    with open(os.path.join(VENDOR, 'package.json'), 'w') as f:
        f.write(wanted)
    try:
        r = subprocess.run(['npm', 'install', '--no-audit', '--no-fund', '--no-package-lock', '--fetch-retries=1', '--fetch-timeout=20000'], cwd=VENDOR, capture_output=True,
                           text=True, timeout=240)
    except subprocess.TimeoutExpired:
        return 'npm did not end within 240 s'
    if r.returncode:
        return 'npm could not fetch the library for Node: ' + ' '.join(r.stderr.split())[-300:]
    with open(stamp, 'w') as f:
        f.write(wanted)
    return None


def fetch_vendor():
    """One process at a time: the tests run in two."""
    with open(os.path.join(tempfile.gettempdir(), 'hookswitch-vendor-%d.lock' % os.getuid()), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return fetch_alone()


class Node:
    """The library for Node, fetched once for all classes of this process."""
    why = 'not asked'

    @classmethod
    def run(cls, test, what, given=''):
        if cls.why == 'not asked':
            cls.why = fetch_vendor()
        if cls.why:
            test.skipTest('NOT RUN: ' + cls.why)
        node = os.path.join(VENDOR, 'node_modules', 'node', 'bin', 'node')
        r = subprocess.run([node, os.path.join(HERE, 'vendor', 'vendor.js'), what], input=given, capture_output=True, text=True, timeout=60,
                           env=dict(os.environ, VENDOR_MODULES=os.path.join(VENDOR, 'node_modules')))
        test.assertEqual(r.returncode, 0, r.stderr)
        return json.loads(r.stdout)


class Many:
    """A form in which a name can have several values: the validator of python3-twilio 7 signs what items() gives, later ones ask getlist()."""

    def __init__(self, params):
        self.of = {k: v if isinstance(v, list) else [v] for k, v in params.items()}

    def items(self):
        return [(k, v) for k, vs in self.of.items() for v in sorted(set(vs))]

    def getlist(self, name):
        return self.of[name]

    def __iter__(self):
        return iter(self.of)

    def __len__(self):
        return len(self.of)


class Service:
    """Keeps each request as it came, byte for byte; pages: path → body."""

    def __init__(self, pages):
        service = self
        self.got, self.cond = [], threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def serve(self):
                body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                with service.cond:
                    service.got.append({'method': self.command, 'target': self.path, 'host': self.headers['Host'], 'headers': dict(self.headers.items()), 'body': body})
                    service.cond.notify_all()
                answer = pages.get(urlsplit(self.path).path, '<Response/>').encode()
                self.send_response(200)
                self.send_header('Content-Type', 'text/xml; charset=utf-8')
                self.send_header('Content-Length', str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            do_GET = do_POST = serve

            def log_message(self, *a):
                pass
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.url = 'http://127.0.0.1:%d' % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, path, timeout=15):
        end = time.monotonic() + timeout
        with self.cond:
            while True:
                for r in self.got:
                    if urlsplit(r['target']).path == path:
                        return r
                if time.monotonic() > end:
                    raise AssertionError('%s was not asked: %r' % (path, [r['target'] for r in self.got]))
                self.cond.wait(max(0.01, end - time.monotonic()))

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def as_validated(r):
    """What a web service gives to its validator: the URL as it was asked, and the form."""
    form = parse_qs(r['body'].decode(), keep_blank_values=True, strict_parsing=bool(r['body']))
    return {'signature': r['headers']['X-Twilio-Signature'], 'url': 'http://' + r['host'] + r['target'], 'params': {k: v if len(v) > 1 else v[0] for k, v in form.items()}}


class Signatures(Case):
    CONFIG = ''
    ODD = '/voice%20%C3%A9/x.php?b=2&a=1&a=0&empty=&plus=a+b&q=%27%22%2F&u=%E4%B8%96'

    @classmethod
    def setUpClass(cls):
        menu = '<Response><Gather numDigits="2" action="/menu?x=%C3%BC&amp;x=1" timeout="20"/></Response>'
        menu_get = menu.replace('<Gather ', '<Gather method="GET" ').replace('/menu', '/menu-get')
        cls.web = Service({urlsplit(cls.ODD).path: menu, '/get': menu_get})
        cls.CONFIG = '[number 100]\nvoice_url = %s%s\nstatus_callback = %s/done?a=b\n[number 101]\nvoice_url = %s/get?z=9&a=%%20d\nvoice_method = GET\n' % (
            cls.web.url, cls.ODD, cls.web.url, cls.web.url)
        super().setUpClass()
        cls.account = cls.s.account()
        cls.token = cls.account['auth_token']
        extra = ('X-Tag: first', 'X-Tag: second', 'X-Tag: first', 'X-Menu: Crème brûlée & 100% = "ok"', 'X-Empty:')
        for number in ('100', '101'):
            with cls.s.phone(4) as p:
                p.invite(number, extra=extra, display='"Zoë Grüße 世界" ')
                p.answered()
                p.talk()
                p.rtp.wait_more(5)
                p.rtp.digit('4')
                p.rtp.digit('2')
                cls.web.wait('/menu' if number == '100' else '/menu-get')
                p.wait_bye(20)
        cls.requests = {name: cls.web.wait(path) for name, path in
                        (('post', urlsplit(cls.ODD).path), ('post digits', '/menu'), ('get', '/get'), ('get digits', '/menu-get'), ('callback', '/done'))}

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.web.close()

    def wrong(self):
        """Of each request: as it came, and changed in what a signature must cover."""
        for name, r in self.requests.items():
            good = as_validated(r)
            yield name, True, dict(good, token=self.token)
            yield name + ' with another token', False, dict(good, token='x' + self.token[1:])
            yield name + ' with another query', False, dict(good, token=self.token, url=good['url'] + '&more=1')
            if good['params']:
                yield name + ' with another value', False, dict(good, token=self.token, params=dict(good['params'], CallSid='CA' + '0' * 32))
                yield name + ' with one parameter more', False, dict(good, token=self.token, params=dict(good['params'], Evil='1'))

    def test_what_was_asked(self):
        """The cases below are what they claim to be."""
        post, get = self.requests['post'], self.requests['get']
        form = parse_qs(post['body'].decode(), keep_blank_values=True)
        self.assertEqual(post['method'], 'POST')
        self.assertEqual(post['target'], self.ODD)
        self.assertIn(':', post['host'])
        self.assertEqual(form['CallerIdName'], ['Zoë Grüße 世界'])
        self.assertEqual(form['SipHeader_X-Tag'], ['first', 'second', 'first'])
        self.assertEqual(form['SipHeader_X-Menu'], ['Crème brûlée & 100% = "ok"'])
        self.assertEqual(form['AccountSid'], [self.account['account_sid']])
        self.assertEqual(get['method'], 'GET')
        self.assertTrue(get['target'].startswith('/get?z=9&a=%20d&'))
        self.assertEqual(get['body'], b'')
        self.assertEqual(parse_qs(self.requests['post digits']['body'].decode())['Digits'], ['42'])
        self.assertIn('Digits=42', self.requests['get digits']['target'])
        self.assertEqual(parse_qs(self.requests['callback']['body'].decode())['CallStatus'], ['completed'])

    @unittest.skipUnless(RequestValidator, 'python3-twilio is not installed')
    def test_python(self):
        for name, good, r in self.wrong():
            self.assertIs(RequestValidator(r['token']).validate(r['url'], Many(r['params']), r['signature']), good, name)

    def test_node(self):
        cases = list(self.wrong())
        judged = Node.run(self, 'validate', json.dumps([r for _, _, r in cases]))
        self.assertEqual(len(judged), len(cases))
        for (name, good, _), said in zip(cases, judged):
            self.assertIs(said, good, name)

    def test_standard_webhooks(self):
        """The specification: HMAC-SHA256 with the key over "ID.TIMESTAMP.BODY"; whsec_ before the base64 of the key, which here is the account's token. A list of "v1,SIGNATURE"."""
        ids = set()
        for name, r in self.requests.items():
            h = {k.lower(): v for k, v in r['headers'].items()}
            self.assertLess(abs(time.time() - int(h['webhook-timestamp'])), 300, name)
            self.assertNotIn('.', h['webhook-id'])
            text = b'.'.join((h['webhook-id'].encode(), h['webhook-timestamp'].encode(), r['body']))
            mac = 'v1,' + base64.b64encode(hmac.new(self.token.encode(), text, hashlib.sha256).digest()).decode()
            self.assertIn(mac, h['webhook-signature'].split(' '), name)
            ids.add(h['webhook-id'])
        self.assertEqual(len(ids), len(self.requests))


# ---- documents of the official builders ----

def _say(r):
    s = Say('Your code is ', voice='Polly.Joanna', language='en-GB', loop=2)
    s.break_(strength='weak', time='200ms')
    s.emphasis('now', level='strong')
    s.lang('hola', xml_lang='es-ES')
    s.p('A paragraph.')
    s.phoneme('pecan', alphabet='ipa', ph='pɪˈkɑːn')
    s.prosody('slowly', volume='-6dB', rate='85%', pitch='-10%')
    s.s('A sentence.')
    s.say_as('1234', interpret_as='digits')
    s.say_as('12/24/2030', interpret_as='date', format='mdy')
    s.sub('WWW', alias='World Wide Web')
    s.w('read', role='amazon:VB')
    r.append(s)
    r.say('Grüße, 世界 & <friends>', voice='alice', language='de-DE')


def _gather(r):
    g = Gather(action='http://127.0.0.1/menu?step=1&lang=en', action_on_empty_result=True, barge_in=False, debug=True, enhanced=True, finish_on_key='*', hints='yes, no', input='dtmf speech',
               language='en-US', max_speech_time=30, method='GET', num_digits=4, partial_result_callback='http://127.0.0.1/partial', partial_result_callback_method='POST',
               profanity_filter=False, speech_model='phone_call', speech_timeout='auto', timeout=3)
    g.say('Press four keys', language='en-US')
    g.play('http://127.0.0.1/beep.wav', loop=1)
    g.pause(length=1)
    r.append(g)
    r.gather(finish_on_key='', input='dtmf', speech_timeout='2')
    r.gather()


def _play(r):
    r.play('http://127.0.0.1/a.mp3')
    r.play('http://127.0.0.1/a.wav', loop=0)
    r.play('', digits='1w2W#*A')


PYTHON = {'say': _say, 'gather': _gather, 'play': _play, 'pause': lambda r: (r.pause(length=3), r.pause()), 'redirect': lambda r: r.redirect('http://127.0.0.1/next?a=b&c=d', method='GET'),
          'reject': lambda r: r.reject(reason='busy'), 'hangup': lambda r: r.hangup(), 'echo': lambda r: r.echo(), 'empty': lambda r: None}


def by_python():
    made = {}
    for name, fill in PYTHON.items():
        r = VoiceResponse()
        fill(r)
        made[name] = str(r)
    return made


def served():
    """(verb, attribute) of all that this version serves, by the program's own table."""
    text = subprocess.run([hs.BINARY, 'verbs'], capture_output=True, text=True, check=True).stdout
    pairs = set()
    for part in re.split(r'^### ', re.split(r'^## ', text, flags=re.M)[1], flags=re.M)[1:]:
        verb = part.split('\n', 1)[0]
        pairs.add((verb, None))
        pairs.update((verb, attr) for attr in re.findall(r'^\| `(\w+)` \|', part, re.M))
    return pairs


class Documents(unittest.TestCase):
    def lint(self, name, document):
        r = subprocess.run([hs.BINARY, 'lint', '--strict', '-'], input=document.encode(), capture_output=True, timeout=20)
        self.assertEqual((r.returncode, r.stdout.decode()), (0, 'stdin: 0 errors, 0 warnings\n'), '%s: %s\n%s' % (name, document, r.stderr.decode()))

    def all_read(self, made):
        self.assertGreater(len(served()), 30)
        for name, document in made.items():
            self.lint(name, document)
        text, left = ''.join(made.values()), []
        for verb, attr in sorted(served(), key=str):
            if not re.search(r'<%s(?=[\s/>])%s' % (verb, r'[^>]* %s="' % attr if attr else ''), text):
                left.append((verb, attr))
        self.assertEqual(left, [], 'served, but in no document of this test')

    @unittest.skipUnless(RequestValidator, 'python3-twilio is not installed')
    def test_python(self):
        self.all_read(by_python())

    def test_node(self):
        self.all_read(Node.run(self, 'documents'))

    def test_a_fault_would_show(self):
        with self.assertRaises(AssertionError):
            self.lint('wrong', '<Response><Say loud="1">a</Say></Response>')

    def calls(self, made):
        """A call reads it too, and its trace has no warning. Speech is not served, sounds of the web are not there: those documents were linted."""
        made = {k: v for k, v in made.items() if k in ('say', 'pause', 'reject', 'hangup', 'empty', 'comment', 'rejected')}
        with hs.Server({'20%d.xml' % i: d for i, d in enumerate(made.values())}, '[speech]\nvoice = kal\n') as s:
            for i, name in enumerate(made):
                with s.phone(4) as p:
                    p.invite('20%d' % i)
                    m = p.expect(lambda status: status >= 180, timeout=30)
                    while m['status'] == 180:
                        m = p.expect(lambda status: status > 180, timeout=30)
                    if m['status'] == 200:
                        p.take_200(m)
                        p.talk()
                        p.wait_bye(120)
                    else:
                        p.ack_refusal(m)
                trace = s.trace('last')
                self.assertNotIn('warning', trace, name)
                self.assertNotIn('error 1', trace, name)

    @unittest.skipUnless(RequestValidator, 'python3-twilio is not installed')
    def test_calls_python(self):
        self.calls(by_python())

    def test_calls_node(self):
        self.calls(Node.run(self, 'documents'))


if __name__ == '__main__':
    unittest.main()
