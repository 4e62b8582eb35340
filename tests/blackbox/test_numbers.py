# SPDX-License-Identifier: Apache-2.0
"""Numbers from the configuration: sections, prefixes and .url files; read again by SIGHUP, whole or not at all; kept through a restart of the worker; what is said of mistakes."""
import os
import signal
import subprocess
import tempfile
import unittest

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
            self.assertIn('301.url: warning 90014', text)
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
            self.assertEqual(s.call('200')[0], 0)

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
