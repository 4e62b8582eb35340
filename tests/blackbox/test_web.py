# SPDX-License-Identifier: Apache-2.0
"""Services of the web run calls of the real program: menu by digits from end to end, sounds by URL, cookies and signatures, the fallback, slow services and the worker's death; and the example
services in Python and Node."""
import base64
import hashlib
import hmac
import http.server
import os
import shutil
import subprocess
import threading
import time
import unittest
from urllib.parse import parse_qsl, urlsplit

import hs
import sound
from ways import WAYS, Case

MELODY = sound.speechlike(2.0, seed=11)
SPEECH = '[speech]\nvoice = kal\n'
BEEP = base64.b64decode(  # MPEG layer III: one second of 440 Hz, made with libsndfile
    '/+NIxAAAAAAAAAAAAFhpbmcAAAAPAAAAEAAAB1AAOjo6Ojo6UVFRUVFRXV1dXV1daGhoaGhodHR0dHR0dICAgICAgIuLi4uLi5eXl5eXl6KioqKioqKurq6urq66urq6urrFxcXFxcXR0dHR0dHR3d'
    '3d3d3d6Ojo6Ojo////////AAAACkxBTUUzLjEwMAQoAAAAAAAAAAAVCCQCgCEAAZoAAAdQ2AKxpAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
    'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/+NYxAAg2Jaof0wAAQrbbt+ABe973ve96UpSlKUpe973v83c0rgmAGAGAGB8/q0AAD'
    'vjh//wAM8z/8Df/xwD/4Bn/8cAd+AGP/w8Ad+AGP/5wB2AABh4eHh4AAAAABh4eHh4AAAAABh4eHjwAAAABGHh4eHgAAAAAGHh4eHgAAAACMPDw8eAAAAI2Hh4//ABCgAAgAMgBAGBQIAACaHOFnEN'
    '/xlRCoxwgNXR8G3g/UD5IgMuKlwDpjhRJTA1ycaYBoAkAqKwXwXX/4BoAEACC8BSAWECDb//4iSIRQiiEej0iHw+///yERIiSIfD4hHo9OHw+//WCoiCoaLVTEFNRTMuMTAwVVVVVVVVVVVVVVVVVV'
    'VVVVVVVVUACCQAA////9DkDI5JKkxBTUUzLjEwMKqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqAMoAAPiqN9x38YlVTEFNRTMu/+MoxNcamebC+ZRRADEwMFVVVVVVVVVVVVVV'
    'VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVUAiAAfBcCKuUaqTEFNRTMuMTAwqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqoAigAfOAeikzVMQU1FMy4xMDBVVVVVVV'
    'VVVVVV/+MYxNIDSIL2YcoAAFVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVAAgkAAPiqB9FWxVMQU1FMy4xMDBVVVVVVVVVVVVV/+MYxNACyIrhwABeYVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVV'
    'VVVVVVVVAAokAAPg0JX5R6pMQU1FMy4xMDCqqqqqqqqqqqqq/+MYxM4CSIbloABYYqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqgAILAAD5wLHUmZMQU1FMy4xMDCqqqqqqqqqqqqq/+MYxM'
    '0CGIbxoABWYqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqAAgkAAPvg/RfC1VMQU1FMy4xMDBVVVVVVVVVVVVV/+MYxM8CkIbmYABYYFVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVQAI'
    'JAAD5aCr8o9MQU1FMy4xMDBVVVVVVVVVVVVV/+MYxM8CiIbuYABYYFVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVQAKMAAD54KLUmVMQU1FMy4xMDBVVVVVVVVVVVVV/+MYxM4CcIb2YABWYF'
    'VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVUAiAAffC5F8LJMQU1FMy4xMDCqqqqqqqqqqqqq/+MYxM8CiIrmYABYYKqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqoAjAP////WlCtM05cA'
    'sFYSAGUAkAcDAYDf////5wJA/+MYxM4CgIbuYABYYJnOME43f///+4KoJqISCwD8eMS6m+GTn1hMPqrjwCZ/6b3wHWHYHYJYO0YP//wT8JsBIBWCMhIxZjDf/+MYxM4CcIb2YABYYP/+OQqLpLk02J'
    'QyNS////+i5okAw2CQD//w2CQDMhkIgP//9JwBpOANJwbVALm4H4AHlKUvFVDK4xj5/+MYxM0CKIrloABYYiJFGkSJqyEEQReQillZE0qQtRQoUMfJY6DQdKhtYKuEUsHSobgq4ROLB1Z2VcInFgan'
    'YlOqqBp+VDXZ/+MYxNADAIrpgU0AAv////1grxEe1grxEe4K8se4K8se4KpMQU1FMy4xMDCqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq/+MYxP8eSiLDGZloAKqqqqqqqqqqqqqqqqqqqqqqqq'
    'qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq/+MoxMAX6Lacf8kAAKqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq'
    'qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq')


class Web:
    """A server on a free port. pages: path → fn(request) → (status, {header: value}, body). What came stands in `got`."""

    def __init__(self, pages):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def serve(self):
                body = self.rfile.read(int(self.headers.get('Content-Length', 0))).decode()
                url = urlsplit(self.path)
                form = dict(parse_qsl(body if self.command == 'POST' else url.query, keep_blank_values=True))
                r = {'method': self.command, 'path': url.path, 'url': 'http://%s%s' % (self.headers['Host'], self.path), 'headers': self.headers, 'form': form, 'at': time.monotonic()}
                with web.cond:
                    web.got.append(r)
                    web.cond.notify_all()
                status, headers, body = pages.get(url.path, lambda r: (404, {}, b''))(r)
                body = body if isinstance(body, bytes) else body.encode()
                self.send_response(status)
                for k, v in dict({'Content-Type': 'text/xml', 'Content-Length': str(len(body))}, **headers).items():
                    self.send_header(k, v)
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass
            do_GET = do_POST = serve

            def log_message(self, *a):
                pass
        self.got, self.cond = [], threading.Condition()
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.url = 'http://127.0.0.1:%d' % self.port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def asked(self, path, call_id=None):
        with self.cond:
            return [r for r in self.got if r['path'] == path and call_id in (None, r['form'].get('SipCallId'))]

    def wait_asked(self, path, n=1, timeout=15, call_id=None):
        end = time.monotonic() + timeout
        with self.cond:
            while len([r for r in self.got if r['path'] == path and call_id in (None, r['form'].get('SipCallId'))]) < n:
                if not self.cond.wait(max(0.01, end - time.monotonic())) and time.monotonic() > end:
                    raise AssertionError('%s was not asked; %r' % (path, [r['path'] for r in self.got]))
        return self.asked(path, call_id)[n - 1]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def doc(verbs, **headers):
    return lambda r: (200, headers, '<Response>%s</Response>' % verbs)


def signature(token, url, form):
    s = url + ''.join(k + v for k, v in sorted(form.items()))
    return base64.b64encode(hmac.new(token.encode(), s.encode(), hashlib.sha1).digest()).decode()


class Calls(Case):
    CONFIG = SPEECH

    @classmethod
    def setUpClass(cls):
        slow = threading.Event()
        cls.slow = slow

        def voice(r):
            return 200, {'Set-Cookie': 'visit=7; Path=/'}, '<Response><Gather action="menu" numDigits="2"><Say>Press two digits.</Say></Gather><Say>nothing</Say></Response>'

        def menu(r):
            return 200, {}, '<Response><Play>melody.wav</Play></Response>'

        def waits(r):
            slow.wait(20)
            return 200, {}, '<Response><Play>melody.wav</Play></Response>'
        cls.web = Web({'/voice': voice, '/menu': menu, '/melody.wav': lambda r: (200, {'Content-Type': 'audio/wav', 'ETag': '"1"', 'Cache-Control': 'max-age=60'}, sound.wav(MELODY)),
                       '/play': doc('<Play>melody.wav</Play>'), '/broken': lambda r: (500, {}, 'no'), '/help': doc('<Play>melody.wav</Play>'), '/slow': waits,
                       '/echo': doc('<Gather numDigits="4" action="menu" timeout="30"/>'), '/audio': lambda r: (200, {'Content-Type': 'audio/wav'}, sound.wav(MELODY)),
                       '/relative': doc('<Redirect>voice</Redirect>'), '/beep.mp3': lambda r: (200, {'Content-Type': 'audio/mpeg'}, BEEP), '/beep': doc('<Play>/beep.mp3</Play>'),
                       '/evil': doc('<Redirect>service:/100</Redirect>')})
        u = cls.web.url
        sections = {'100': '/voice', '101': '/play', '103': '/slow', '104': '/echo', '105': '/audio', '106': '/relative', '107': '/evil', '108': '/beep'}
        cls.CONFIG = SPEECH + ''.join('[number %s]\nvoice_url = %s%s\n' % (n, u, p) for n, p in sections.items())
        cls.CONFIG += '[number 102]\nvoice_url = %s/broken\nvoice_fallback_url = %s/help\n' % (u, u)
        super().setUpClass()
        cls.token = cls.s.account()['auth_token']

    @classmethod
    def tearDownClass(cls):
        cls.slow.set()
        super().tearDownClass()
        cls.web.close()

    def test_menu_by_digits(self):
        def menu(p):
            p.call('100')
            got = self.web.wait_asked('/voice', call_id=p.call_id)
            p.rtp.wait_more(30)
            p.rtp.digit('4')
            p.rtp.digit('2')
            asked = self.web.wait_asked('/menu', call_id=p.call_id)
            p.wait_bye(20)
            return got, asked, sound.samples(p.rtp)
        for way, (voice, asked, x) in self.each(menu).items():
            self.assertEqual(asked['form']['Digits'], '42', way)
            self.assertEqual(asked['form']['CallSid'], voice['form']['CallSid'])
            self.assertEqual(voice['form']['Extension'], '100')
            self.assertEqual(voice['form']['CallStatus'], 'ringing')
            self.assertEqual(asked['form']['CallStatus'], 'in-progress')
            self.assertIn('visit=7', asked['headers'].get('Cookie', ''))
            for r in (voice, asked):
                self.assertEqual(r['headers']['X-Twilio-Signature'], signature(self.token, r['url'], r['form']))
                self.assertTrue(r['headers']['User-Agent'].startswith('Hookswitch/'))
            self.assertNotEqual(voice['headers']['I-Twilio-Idempotency-Token'], asked['headers']['I-Twilio-Idempotency-Token'])
            a, b = sound.extent(x, -40)
            self.assertIsNone(sound.recognise(x[b - len(MELODY) - 800:], MELODY), way)

    def plays(self, number, ways=WAYS):
        def one(p):
            p.call(number)
            p.wait_bye(30)
            return sound.samples(p.rtp)
        for way, x in self.each(one, ways).items():
            self.assertIsNone(sound.recognise(x, MELODY), way)

    def test_sound_of_the_web(self):
        self.plays('101')

    def test_mp3_of_the_web(self):
        with self.s.phone(4) as p:
            p.call('108')
            p.wait_bye(30)
            x = sound.samples(p.rtp)
        a, b = sound.extent(x, -40)
        self.assertAlmostEqual((b - a) / sound.HZ, 1.0, delta=0.15)
        crossings = sum(1 for u, v in zip(x[a:b], x[a + 1:b]) if u < 0 <= v)
        self.assertAlmostEqual(crossings / ((b - a) / sound.HZ), 440, delta=10)

    def test_fallback(self):
        self.plays('102')
        form = self.web.wait_asked('/help')['form']
        self.assertEqual(form['ErrorCode'], '11200')
        self.assertEqual(form['ErrorUrl'], self.web.url + '/broken')

    def test_answer_that_is_a_sound(self):
        self.plays('105', WAYS[:1])

    def test_web_does_not_run_scripts(self):
        with self.s.phone(4) as p:
            p.call('107')
            p.wait_bye(30)
        self.assertIn('11100', '\n'.join(l for l in self.s.err if l))


class Deaths(Calls):
    """The worker is killed: digits half typed, and a request in flight."""
    test_menu_by_digits = test_sound_of_the_web = test_mp3_of_the_web = test_fallback = test_answer_that_is_a_sound = test_web_does_not_run_scripts = None

    def test_half_typed(self):
        with self.s.phone(4) as p:
            p.call('104')
            self.web.wait_asked('/echo', call_id=p.call_id)
            p.rtp.digit('1')
            p.rtp.digit('2')
            self.s.kill_worker()
            p.rtp.digit('3')
            p.rtp.digit('4')
            asked = self.web.wait_asked('/menu', call_id=p.call_id)
            p.wait_bye(30)
        self.assertEqual(asked['form']['Digits'], '1234')
        self.assertEqual(len(self.web.asked('/menu', p.call_id)), 1)

    def test_waiting_for_a_slow_service(self):
        with self.s.phone(4) as p:
            p.invite('103')
            first = self.web.wait_asked('/slow', call_id=p.call_id)
            self.s.kill_worker()
            second = self.web.wait_asked('/slow', 2, call_id=p.call_id)
            self.slow.set()
            p.answered()
            p.wait_bye(30)
        self.assertEqual(first['headers']['I-Twilio-Idempotency-Token'], second['headers']['I-Twilio-Idempotency-Token'])
        self.assertEqual(first['form']['CallSid'], second['form']['CallSid'])


class Examples(unittest.TestCase):
    def example(self, command):
        proc = subprocess.Popen(command + ['0'], stdout=subprocess.PIPE, cwd=hs.ROOT)
        try:
            url = proc.stdout.readline().decode().split()[-1]
            with hs.Server({}, SPEECH + '[number 100]\nvoice_url = %s\n' % url) as s:
                self.walk(s)
        finally:
            proc.kill()
            proc.wait()
            proc.stdout.close()

    def walk(self, s):
        """The directory: 1, then the letters of ADA; the service hangs up. And the clock, which hangs up by itself."""
        with s.phone(4) as p:
            p.call('100')
            p.rtp.wait_more(20)
            p.rtp.digit('1')
            p.rtp.wait_more(60)
            for d in '232':
                p.rtp.digit(d)
            bye = p.wait_bye(30)
            self.assertLess(bye['at'] - p.ok['at'], 15)
        with s.phone(4) as p:
            p.call('100')
            p.rtp.wait_more(20)
            p.rtp.digit('2')
            bye = p.wait_bye(40)
            self.assertGreater(bye['at'] - p.ok['at'], 9)
            self.assertLess(bye['at'] - p.ok['at'], 25)

    def test_python(self):
        self.example(['python3', os.path.join(hs.ROOT, 'services-web', 'menu.py')])

    @unittest.skipUnless(shutil.which('node'), 'node is not installed')
    def test_node(self):
        self.example(['node', os.path.join(hs.ROOT, 'services-web', 'menu.js')])


if __name__ == '__main__':
    unittest.main()
