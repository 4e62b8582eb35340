# SPDX-License-Identifier: Apache-2.0
"""Numbers from the configuration: sections, prefixes and .url files; read again by SIGHUP, whole or not at all; kept through a restart of the worker; what is said of mistakes."""
import http.server
import os
import signal
import subprocess
import tempfile
import threading
import unittest
import urllib.parse

import hs
from hs import xml

BASE = '[number 100]\nvoice_url = http://127.0.0.1:9/a\n\n[number 2...]\nstatus_callback = http://127.0.0.1:9/cb\n[limits]\nmax_calls = 50\n'


def log(s):
    """All that is said at the start."""
    s.wait_line('or dial', 10, err=True)
    with s.cond:
        return '\n'.join(l for l in s.err if l)


class Numbers(unittest.TestCase):
    SECONDS = 15

    def hangup(self, s, text, wait):
        if text is not None:
            with open(s.config, 'w') as f:
                f.write(text)
        mark = s.mark()
        os.kill(s.keeper, signal.SIGHUP)
        s.wait_line(wait, 10, err=True, after=mark)
        with s.cond:
            return '\n'.join(l for l in s.err[mark:] if l)

    def test_listed_at_the_start(self):
        with hs.Server({'200': xml('<Hangup/>'), '300.url': 'https://user:secret@example.com/x\nignored\n', '301.url': 'nonsense\n'}, BASE) as s:
            text = log(s)
            self.assertRegex(text, r'(?m)^ +100 +web +http://127.0.0.1:9/a$')
            self.assertRegex(text, r'(?m)^ +200 +script ')
            self.assertRegex(text, r'(?m)^ +300 +web +\.\.\.@example.com/x$')
            self.assertNotIn('secret', text)
            s.wait_line('301.url: warning 90014', 10, err=True)
            self.assertEqual(s.call('200')[0], 0)  # a section that only lends callbacks hides no file
            self.assertEqual(s.call('301')[0], 1)

    def test_reload(self):
        with hs.Server({'200': xml('<Hangup/>'), '400': xml('<Hangup/>')}, BASE) as s:
            self.assertIn('no number changed', self.hangup(s, None, 'was read again'))
            text = self.hangup(s, BASE.replace('number 100', 'number 101').replace('50', '60') + '[number default]\nvoice_url = http://127.0.0.1:9/d\n', 'was read again: 3')
            self.assertRegex(text, 'number 100 went')
            self.assertRegex(text, 'number 101 came: http://127.0.0.1:9/a')
            self.assertRegex(text, 'number default came')
            self.assertNotRegex(text, 'number 2')
            self.assertRegex(text, 'from the next start on: limits.max_calls')
            text = self.hangup(s, BASE.replace('/cb', '/cb2').replace('100', '101') + '[number default]\nvoice_url = http://127.0.0.1:9/d\n[number 7]\nvoice_url = nonsense\n',
                               'is refused; nothing has changed')
            self.assertIn('hookswitch.ini:11: no good value: voice_url = nonsense', text)
            self.assertNotRegex(text, 'number .* (came|went|changed)')
            os.unlink(s.config)
            self.hangup(s, None, 'nothing has changed')
            s.kill_worker()  # the next one has what was taken last
            s.wait_line('restarted in', 10, err=True)
            self.assertIn('no number changed', self.hangup(s, BASE.replace('number 100', 'number 101') + '[number default]\nvoice_url = http://127.0.0.1:9/d\n', 'was read again: 3'))
            hs.wait_until(lambda: s.call('200')[0] == 0, what='a call')  # right after a restart a loaded machine may say 503

    @unittest.skipUnless(os.geteuid() == 0, 'only root can read what others cannot')
    def test_file_that_only_root_reads(self):
        s = hs.Server({'200': xml('<Hangup/>')}, BASE)
        os.chmod(s.config, 0o600)
        with s:
            self.assertRegex(log(s), r'warning: the user daemon cannot read .*SIGHUP')
            self.assertRegex(log(s), r'(?m)^ +100 +web ')
            self.assertIn('cannot be read by the user daemon', self.hangup(s, None, 'nothing has changed'))
            s.kill_worker()
            s.wait_line('restarted in', 10, err=True)
            os.chmod(s.config, 0o644)
            self.assertIn('no number changed', self.hangup(s, None, 'was read again: 2'))

    def test_mistakes_start_nothing(self):
        with tempfile.NamedTemporaryFile('w', suffix='.ini') as f:
            f.write('[number 100]\nvoice_url = x\n[number 100]\nstatus_callback_event = late\n')
            f.flush()
            r = subprocess.run([hs.BINARY, 'serve', '--config', f.name], capture_output=True, text=True, timeout=20)
        self.assertEqual(r.returncode, 78)
        self.assertEqual(r.stdout, '')
        for line, what in ((2, 'voice_url = x; allowed: an http or https URL'), (4, 'allowed: initiated, ringing, answered, completed'), (3, 'stands twice')):
            self.assertRegex(r.stderr, r'%s:%d: .*%s' % (f.name, line, what))

    def test_params_prints_the_keys(self):
        text = subprocess.run([hs.BINARY, 'params'], capture_output=True, text=True, timeout=20).stdout
        for key in 'voice_url voice_method voice_fallback_url voice_fallback_method status_callback status_callback_method status_callback_event'.split():
            self.assertRegex(text, r'(?m)^;%s = ' % key)


class Web(unittest.TestCase):
    """The longest match is asked, by the method that the section names; a reload counts for the next call."""

    SECONDS = 15

    def test_who_is_asked(self):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                url = urllib.parse.urlsplit(self.path)
                form = self.rfile.read(int(self.headers.get('Content-Length', 0))).decode() or url.query
                asked.append((self.command, url.path, urllib.parse.parse_qs(form).get('Extension')))
                body = b'<Response><Hangup/></Response>'
                self.send_response(500 if url.path == '/bad' else 200)
                self.send_header('Content-Type', 'text/xml')
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = 'http://127.0.0.1:%d' % server.server_port
        config = ('[number 100]\nvoice_url = {0}/100\n[number 2...]\nvoice_url = {0}/2\nvoice_method = GET\n[number 23...]\nvoice_url = {0}/23\n[number 300]\nvoice_url = {0}/bad\n'
                  'voice_fallback_url = {0}/fallback\nvoice_fallback_method = GET\n').format(base)
        services = {'100': xml('<Reject/>'), '200': xml('<Hangup/>'), '400.url': base + '/400#rc=0\n', 'default': xml('<Reject reason="busy"/>')}
        try:
            with hs.Server(services, config) as s:
                for number, want in (('100', [('POST', '/100')]), ('200', []), ('201', [('GET', '/2')]), ('2345', [('POST', '/23')]), ('400', [('POST', '/400')]),
                                     ('300', [('POST', '/bad'), ('GET', '/fallback')])):
                    with self.subTest(number=number):
                        del asked[:]
                        self.assertEqual(s.call(number)[0], 0, s.trace())
                        self.assertEqual(asked, [w + ([number],) for w in want])
                self.assertEqual(s.call('999')[0], 1)
                with open(s.config, 'w') as f:
                    f.write('[number 999]\nvoice_url = %s/999\n' % base)
                mark = s.mark()
                os.kill(s.keeper, signal.SIGHUP)
                s.wait_line('was read again: 1', 10, err=True, after=mark)
                s.kill_worker()
                s.wait_line('restarted in', 10, err=True)
                hs.wait_until(lambda: s.call('200')[0] == 0, what='a call')
                del asked[:]
                self.assertEqual([s.call('999')[0], s.call('100')[0], s.call('201')[0]], [0, 1, 1])  # the file, and what is left
                self.assertEqual(asked, [('POST', '/999', ['999'])])
        finally:
            server.shutdown()
            server.server_close()


class OldDialect(unittest.TestCase):
    def test_the_seed_s_document_is_heard(self):
        doc = 'Content-Type: text/xml\n\n<reply><PlayMadiaFile>%s</PlayMadiaFile><terminate/></reply>'
        with hs.Server({'100': "#!/bin/sh\ncat <<'END'\n%s\nEND\n" % doc % 'demo-nogo', '101': "#!/bin/sh\ncat <<'END'\n%s\nEND\n" % (doc % 'x').replace('PlayMadiaFile', 'sing')
                        .replace('terminate', 'stop')}) as s:
            s.call('100', '--duration', '1')
            verbs = [r for r in s.records() if r['kind'] == 'verb']
            self.assertRegex(verbs[0]['payload'] if 'payload' in verbs[0] else str(verbs[0]), 'Play>demo-nogo')
            s.call('101', '--duration', '1')
            self.assertIn('12102', s.trace())


class Lint(unittest.TestCase):
    """What lint says is what the calls would meet."""

    def lint(self, text, *args, name='-'):
        r = subprocess.run([hs.BINARY, 'lint', name, *args], input=text.encode(), capture_output=True, timeout=20)
        return r.returncode, (r.stdout + r.stderr).decode()

    def test_each_fault_has_line_level_code_and_mend(self):
        code, out = self.lint('<Response>\n<Say loop="x">a</Say>\n<Foo/>\n<Hangup/>\n<Pause/>\n</Response>')
        self.assertEqual(code, 0)
        self.assertEqual([l.split(' (')[0].split(': ', 2)[:2] for l in out.splitlines()[:-1]],
                         [['stdin:2', 'warning 13510'], ['stdin:3', 'warning 12200'], ['stdin:5', 'warning 90015']])
        self.assertIn('; see the list of verbs', out)
        self.assertTrue(out.endswith('stdin: 0 errors, 3 warnings\n'))
        self.assertEqual(self.lint('<Response><Foo/></Response>', '--strict')[0], 1)

    def test_exit_status(self):
        for text, args, code, what in (('<Response/>', (), 0, '0 errors, 0 warnings'), ('<Response>', (), 1, 'error 12100'), ('<response/>', (), 1, 'error 12102'),
                                       ('', ('--type', 'text/xml'), 1, 'error 11770'), ('x', ('--type', 'image/png'), 1, 'error 12300'), ('hello', (), 0, '0 errors'),
                                       ('<Response><Dial>1</Dial></Response>', (), 1, 'stdin:1: error 13750'), ('Content-Type: text/xml\n\n<Response><Foo/></Response>', (), 0, '12200'),
                                       ('<Response>' + ' ' * 65536 + '</Response>', (), 1, 'error 11750'), ('<Response><Redirect>a</Redirect></Response>', (), 0, '15004'),
                                       ('<Response><Redirect>a</Redirect></Response>', ('--base', 'http://h/'), 0, '0 warnings')):
            with self.subTest(text=text[:60], args=args):
                got = self.lint(text, *args)
                self.assertEqual(got[0], code, got[1])
                self.assertIn(what, got[1])
        self.assertEqual(self.lint('', name='/nonexistent')[0], 2)
        self.assertEqual(self.lint('', name='http://127.0.0.1:9/')[0], 2)
        self.assertEqual(self.lint('', '--nothing')[0], 64)

    def test_files_of_the_services_folder(self):
        folder = os.path.join(hs.ROOT, 'services')
        for name in sorted(n for n in os.listdir(folder) if n.endswith(('.xml', '.txt'))):
            code, out = self.lint('', '--strict', name=os.path.join(folder, name))
            self.assertEqual(code, 0, out)

    def test_url(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == '/away':
                    self.send_response(302)
                    self.send_header('Location', '/there')
                    self.end_headers()
                    return
                body = b'<Response><Redirect>next</Redirect><Pause/></Response>' if self.path == '/there' else b'gone'
                self.send_response(200 if self.path == '/there' else 500)
                self.send_header('Content-Type', 'text/xml')
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = b'<Response><Say>%s</Say></Response>' % self.rfile.read(int(self.headers['Content-Length'])).split(b'=')[1]
                self.send_response(200)
                self.send_header('Content-Type', 'text/xml')
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = 'http://127.0.0.1:%d' % server.server_port
        try:
            code, out = self.lint('', name=url + '/away#ct=100')
            self.assertEqual((code, '90015' in out, '15004' in out), (0, True, False), out)  # the base is where it came from
            code, out = self.lint('', name=url + '/x')
            self.assertEqual((code, 'error 11200' in out), (1, True), out)
            self.assertIn('13512', self.lint('', '--form', 'Digits=', name=url + '/')[1])
            self.assertIn(' 0 warnings', self.lint('', '--form', 'Digits=1', name=url + '/')[1])
        finally:
            server.shutdown()
            server.server_close()
