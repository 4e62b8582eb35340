#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A telephone service as a web server, in plain Python: a menu by digits, a directory by name, and a call that ends by itself after a given time.

    python3 services-web/menu.py 3000          # prints: listening on http://127.0.0.1:3000/voice

and in hookswitch.ini:

    [number 100]
    voice_url = http://127.0.0.1:3000/voice

Each request carries what the caller did (Digits …) as a form; each answer says what to do next. The call keeps a cookie, so that the menu knows who tries for the third time.
"""
import http.server
import sys
import time
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

PEOPLE = {'ADA': '204', 'BOB': '205', 'CAT': '206'}   # first three letters of a name: the extension
KEYS = {'2': 'ABC', '3': 'DEF', '4': 'GHI', '5': 'JKL', '6': 'MNO', '7': 'PQRS', '8': 'TUV', '9': 'WXYZ'}
LIMIT_S = 10                                           # of the talking clock


def say(text):
    return '<Say>%s</Say>' % escape(text)


def gather(action, prompt, **attrs):
    more = ''.join(' %s="%s"' % (k, v) for k, v in attrs.items())
    return '<Gather action="%s"%s>%s</Gather>' % (action, more, prompt)


def voice(form, cookies):
    tries = int(cookies.get('tries', 0)) + 1
    if tries > 3:
        return say('Too many tries. Goodbye.') + '<Hangup/>', {}
    menu = gather('/choice', say('For the directory press 1. For the clock press 2.'), numDigits=1, timeout=3)
    return menu + say('Nothing was pressed.') + '<Redirect>/voice</Redirect>', {'tries': tries}


def choice(form, cookies):
    digit = form.get('Digits')
    if digit == '1':
        return gather('/directory', say('Enter the first three letters of the name.'), numDigits=3) + '<Redirect>/voice</Redirect>', {}
    if digit == '2':
        return '<Redirect method="GET">/clock?end=%d</Redirect>' % (time.time() + LIMIT_S), {}
    return say('There is no %s here.' % digit) + '<Redirect>/voice</Redirect>', {}


def directory(form, cookies):
    digits = form.get('Digits', '')
    for name, extension in PEOPLE.items():
        if len(digits) == 3 and all(c in KEYS.get(d, '') for c, d in zip(name, digits)):
            spoken = '<Say>The extension is <say-as interpret-as="digits">%s</say-as>.<break time="300ms"/>Goodbye.</Say>' % extension
            return spoken + '<Hangup/>', {}
    return say('Nobody has that name.') + '<Redirect>/voice</Redirect>', {}


def clock(form, cookies):
    """Tells the time again and again until the time of the call is over: the limit is in the URL, no state is kept here."""
    end = float(form.get('end', 0))
    if time.time() >= end:
        return say('Your time is over. Goodbye.') + '<Hangup/>', {}
    return say(time.strftime('It is %H %M and %S seconds.')) + '<Pause length="2"/><Redirect method="GET">/clock?end=%d</Redirect>' % end, {}


PAGES = {'/voice': voice, '/choice': choice, '/directory': directory, '/clock': clock}


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def answer(self, form):
        page = PAGES.get(urlsplit(self.path).path)
        if not page:
            self.send_error(404)
            return
        cookies = dict(c.strip().split('=', 1) for c in self.headers.get('Cookie', '').split(';') if '=' in c)
        verbs, keep = page({k: v[0] for k, v in form.items()}, cookies)
        body = ('<?xml version="1.0" encoding="UTF-8"?><Response>%s</Response>' % verbs).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'text/xml; charset=utf-8')
        self.send_header('Content-Length', str(len(body)))
        for name, value in keep.items():
            self.send_header('Set-Cookie', '%s=%s' % (name, value))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.answer(parse_qs(self.rfile.read(int(self.headers.get('Content-Length', 0))).decode()))

    def do_GET(self):
        self.answer(parse_qs(urlsplit(self.path).query))

    def log_message(self, fmt, *args):
        pass


if __name__ == '__main__':
    server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1]) if len(sys.argv) > 1 else 3000), Service)
    print('listening on http://127.0.0.1:%d/voice' % server.server_port, flush=True)
    server.serve_forever()
