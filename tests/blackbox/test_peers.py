# SPDX-License-Identifier: Apache-2.0
"""Others that call: SIPp, baresip, the small telephone of the program itself; and the example services as they stand in services/."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import hs
import sound
from hs import xml
from phone import get
from ways import WAYS, Case

EXAMPLES = os.path.join(hs.ROOT, 'services')
SPEECH = '[speech]\nvoice = kal\n'
SIPP = '''<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="call, listen, hang up">
<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=u 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200" rtd="true" rrs="true"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]t[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<pause milliseconds="300"/>
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]t[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200" crlf="true"/>
</scenario>
'''


class Sipp(Case):
    SECONDS = 15
    SERVICES = {'100': xml('<Play>a.wav</Play>'), 'a.wav': sound.wav(sound.speechlike(2))}

    def sipp(self, *args):
        sipp = shutil.which('sipp')
        if not sipp:
            self.skipTest('sipp is not installed (package sip-tester)')
        with tempfile.TemporaryDirectory() as d:
            with open(d + '/uac.xml', 'w') as f:
                f.write(SIPP)
            r = subprocess.run([sipp, '-sf', 'uac.xml', '-s', '100', '-m', '100', '-r', '50', '-l', '100', '-nostdin', '-timeout', '30s', '-timeout_error',
                                '-trace_err'] + list(args), cwd=d, capture_output=True, timeout=60)
            errors = ''.join(open(os.path.join(d, n)).read()[-2000:] for n in os.listdir(d) if n.endswith('errors.log'))
        self.assertEqual(r.returncode, 0, r.stdout.decode()[-1500:] + errors)

    def test_100_calls_at_50_a_second_by_udp(self):
        mark = self.s.mark()
        self.sipp('-i', '127.0.0.1', '127.0.0.1:%d' % self.s.ports[0])
        hs.wait_until(lambda: len([l for l in self.s.err[mark:] if l and 'ended by caller' in l]) == 100, 5, '100 ends in the log')

    def test_100_calls_at_50_a_second_by_tcp(self):
        self.sipp('-t', 't1', '-i', '127.0.0.1', '127.0.0.1:%d' % self.s.ports[0])

    def test_100_calls_over_ipv6(self):
        self.sipp('-i', '[::1]', '[::1]:%d' % self.s.ports[1])


class Baresip(Case):
    SECONDS = 25
    SERVICES = {'100': xml('<Say voice="kal">Hello, this is the first call. The quick brown fox jumps over the lazy dog.</Say>')}
    CONFIG = SPEECH

    def dial(self, transport):
        """baresip dials 100 with a file as microphone and a file as loudspeaker; what it wrote is looked at."""
        baresip = shutil.which('baresip')
        modules = next((d for d in ('/usr/lib/baresip/modules', '/usr/lib/x86_64-linux-gnu/baresip/modules') if os.path.isdir(d)), None)
        if not baresip or not modules:
            self.skipTest('baresip is not installed (package baresip-core)')
        have = set(os.listdir(modules))
        if not {'g711.so', 'account.so', 'menu.so'} <= have:
            self.skipTest('baresip has no g711, account or menu module')
        with tempfile.TemporaryDirectory() as d:
            with open(d + '/in.wav', 'wb') as f:
                f.write(sound.wav(sound.tone(10, 440)))
            load = [m for m in ('g711.so', 'aufile.so', 'ausine.so', 'sndfile.so') if m in have]  # sndfile writes what is said and heard
            source = 'aufile,%s/in.wav' % d if 'aufile.so' in have else 'ausine,440'
            with open(d + '/config', 'w') as f:
                f.write('sip_listen 127.0.0.1:0\naudio_source %s\naudio_player %s\naudio_alert %s\nausrc_srate 8000\nauplay_srate 8000\naudio_channels 1\nmodule_path %s\n'
                        % (source, 'aufile,%s/out.wav' % d if 'aufile.so' in have else 'none', 'aufile,%s/alert.wav' % d if 'aufile.so' in have else 'none', modules)
                        + 'snd_path %s\n' % d + ''.join('module %s\n' % m for m in load) + 'module_app account.so\nmodule_app menu.so\nnet_interface 127.0.0.1\n')
            with open(d + '/accounts', 'w') as f:
                f.write('<sip:tester@127.0.0.1;transport=%s>;regint=0;audio_codecs=PCMU/8000/1\n' % transport)
            open(d + '/contacts', 'w').close()
            mark = self.s.mark()
            p = subprocess.Popen([baresip, '-f', d, '-e', '/dial sip:100@127.0.0.1:%d;transport=%s' % (self.s.port, transport)], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=d)
            try:
                self.s.wait_line('ended by', 20, err=True, after=mark)
            finally:
                p.send_signal(signal.SIGINT)
                try:
                    out = p.communicate(timeout=5)[0].decode('utf-8', 'replace')
                except subprocess.TimeoutExpired:
                    p.kill()
                    out = p.communicate()[0].decode('utf-8', 'replace')
            line = self.s.wait_line('ended by', 1, err=True, after=mark)
            self.assertIn('ended by service', line, out[-2000:])
            trace = self.s.trace()
            self.assertGreater(int(re.search(r'out=(\d+)', trace).group(1)), 100)
            self.assertRegex(trace, 'INVITE')
            wavs = [n for n in os.listdir(d) if n.endswith('.wav') and ('dec' in n or n == 'out.wav') and os.path.getsize(os.path.join(d, n)) > 1000]
            if not wavs:
                self.skipTest('the call went well, but this baresip cannot write what it hears: %s' % os.listdir(d))
            x, hz = sound.read_wav(os.path.join(d, wavs[0]))
            x = sound.resampled(x, hz)
            a, b = sound.extent(x, -40)
            self.assertGreater((b - a) / sound.HZ, 2)
            self.assertAlmostEqual(sound.active_db(x[a:b]), -20, delta=4)

    def test_dials_100_by_udp(self):
        self.dial('udp')

    def test_dials_100_by_tcp(self):
        self.dial('tcp')


class Telephone(Case):
    """hookswitch call."""
    SECONDS = 30
    CONFIG = SPEECH
    MELODY = sound.speechlike(2, seed=21)

    @classmethod
    def services(cls):
        return {'100': xml('<Say>The quick brown fox jumps over the lazy dog.</Say>'), '105.wav': sound.wav(cls.MELODY), '43': xml('<Echo/>'),
                '44': xml('<Reject reason="busy"/>'), '46': xml('<Play digits="1w2#"/>'), '47': xml('<Play>t.wav</Play>'),
                't.wav': sound.wav(sound.tone(2, 1000))}

    def test_hears_speech(self):
        for more in ([], ['--tcp']):
            code, out = self.s.call('100', *more)
            self.assertEqual(code, 0, out)
            for word in ('INVITE sip:100@', '180', '200 OK', 'hung up by the other side'):
                self.assertIn(word, out)
            m = re.search(r'heard: ([\d.]+) s speech, ([\d.]+) s silence', out)
            self.assertGreater(float(m.group(1)), 1.2, out)

    def test_by_uri_and_ipv6(self):
        r = subprocess.run([hs.BINARY, 'call', 'sip:100@127.0.0.1:%d' % self.s.port], capture_output=True, timeout=30)
        self.assertEqual(r.returncode, 0, r.stdout)
        r = subprocess.run([hs.BINARY, 'call', '100', '--server', '[::1]:%d' % self.s.ports[1], '--tcp'], capture_output=True, timeout=30)
        self.assertEqual(r.returncode, 0, r.stdout)

    def test_writes_what_it_hears(self):
        with tempfile.TemporaryDirectory() as d:
            code, out = self.s.call('105', '--wav', d + '/out.wav')
            self.assertEqual(code, 0, out)
            x, hz = sound.read_wav(d + '/out.wav')
        self.assertEqual(hz, 8000)
        self.assertIsNone(sound.recognise(x, self.MELODY))

    def test_refused(self):
        code, out = self.s.call('44')
        self.assertEqual(code, 1)
        self.assertIn('486 Busy Here', out)
        code, out = self.s.call('999')
        self.assertEqual(code, 1)
        self.assertIn('404', out)

    def test_usage(self):
        for args in ([], ['100', 'x'], ['100', '--wobble'], ['100', '--digits', 'xyz'], ['100', '--duration', 'never'], ['100', '--server', 'nowhere']):
            r = subprocess.run([hs.BINARY, 'call'] + args, capture_output=True, timeout=10)
            self.assertEqual(r.returncode, 3, (args, r.stdout, r.stderr))

    def test_sends_digits(self):
        code, out = self.s.call('43', '--digits', 'w19w*#', '--duration', '4')
        self.assertEqual(code, 0, out)
        got = ''.join(r['payload'][0] for r in self.s.records() if r['kind'] == 'digit' and not r['payload'].startswith('>'))
        self.assertEqual(got, '19*#')

    def test_hears_digits(self):
        code, out = self.s.call('46')
        self.assertEqual(code, 0, out)
        self.assertIn('digits: 12#', out)

    def test_hears_a_tone(self):
        code, out = self.s.call('47')
        self.assertRegex(out, r'tone (99\d|100\d|101\d) Hz')

    def test_duration_and_from(self):
        mark = self.s.mark()
        code, out = self.s.call('43', '--duration', '1', '--from', '204')
        self.assertEqual(code, 0)
        self.assertIn('hung up by us', out)
        self.s.wait_line('from 204 to 43', err=True, after=mark)


class NoReply(unittest.TestCase):
    SECONDS = 40

    def test_nobody_there(self):
        """RFC 3261 timer B: 32 s; and at once by TCP."""
        r = subprocess.run([hs.BINARY, 'call', '100', '--server', '127.0.0.1:%d' % hs.free_port(), '--tcp'], capture_output=True, timeout=60)
        self.assertEqual(r.returncode, 2, r.stdout + r.stderr)
        r = subprocess.run([hs.BINARY, 'call', '100', '--server', '127.0.0.1:%d' % hs.free_port()], capture_output=True, timeout=60)
        self.assertEqual(r.returncode, 2, r.stdout + r.stderr)
        self.assertIn(b'no reply', r.stdout)


class Examples(unittest.TestCase):
    """Every service of services/ as it is shipped is called, and does what its first comment says."""
    SECONDS = 60

    @classmethod
    def setUpClass(cls):
        subprocess.run([os.path.join(hs.ROOT, 'tools', 'examples.sh')], check=True, capture_output=True)
        cls.s = hs.Server({}, SPEECH)
        shutil.copytree(EXAMPLES, cls.s.services, dirs_exist_ok=True, ignore=lambda d, names: [n for n in names if n.startswith('.')])
        cls.s.start()

    @classmethod
    def tearDownClass(cls):
        cls.s.__exit__(None)

    def listen(self, number, least_s, words=None):
        """Speech of at least so many seconds, then the service hangs up; what it said stands in the trace."""
        with self.s.phone(user='2041') as p:
            p.call(number)
            p.wait_bye(60)
            x = sound.samples(p.rtp)
        a, b = sound.extent(x, -40)
        self.assertGreater((b - a) / sound.HZ, least_s)
        self.assertAlmostEqual(sound.active_db(x[a:b]), -20, delta=3)
        text = self.s.get('/calls/last/trace?bodies=1', True)[2].decode()
        self.assertNotIn('error', text.replace('warn', '').split('bodies')[0].lower())
        if words:
            self.assertRegex(text, words)
        return x

    def test_100_sh_greets_the_caller_by_name(self):
        self.listen('100', 5, r'Hello Ann')

    def test_101_perl_tells_the_time(self):
        self.listen('101', 1.5, r'It is \d+')

    def test_102_python_reads_the_caller_number(self):
        self.listen('102', 1.5, r'2 0 4 1')

    def test_104_c(self):
        self.listen('104', 1)

    def test_105_wave_file(self):
        x, hz = sound.read_wav(os.path.join(EXAMPLES, '105.wav'))
        with self.s.phone() as p:
            p.call('105')
            p.wait_bye(30)
            wrong = sound.recognise(sound.samples(p.rtp), sound.resampled(x, hz))
        self.assertIsNone(wrong)

    def test_106_plain_text(self):
        self.listen('106', 3)

    def test_107_document(self):
        self.listen('107', 4)

    def test_43_echo(self):
        voice = sound.speechlike(2, seed=9)
        with self.s.phone() as p:
            p.call('43')
            hs.wait_until(lambda: '<Echo>' in self.s.trace(), 20, 'the end of the announcement')
            n = len(p.rtp.got)
            p.talk(sound.ulaw(voice))
            p.rtp.wait_sent(100)
            p.talk()
            p.rtp.wait_more(25)
            x = sound.samples(p.rtp, n)
            self.assertEqual(p.bye(), 200)
        c, _ = sound.best(x, voice)
        self.assertGreater(c, 0.9)

    def test_default(self):
        self.listen('2345', 2, 'not in use')

    def test_all_are_tested(self):
        names = {n.split('.')[0] for n in os.listdir(EXAMPLES) if not n.startswith('.') and n != 'README.md'}
        self.assertEqual(names, {'100', '101', '102', '104', '105', '106', '107', '43', 'default'})
