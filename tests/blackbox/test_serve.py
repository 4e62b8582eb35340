# SPDX-License-Identifier: Apache-2.0
"""The program as an operator meets it: how it starts, what it says, what it refuses, how it ends; who runs what; the HTTP interface; the limits of scripts."""
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import unittest

import hs
import phone
import sound
from hs import xml
from phone import get
from ways import Case

ROOT = os.geteuid() == 0
LONG = xml('<Play>tick.wav</Play><Pause length="120"/>')
TICK = sound.wav(sound.speechlike(0.2))


def status_of(pid, name):
    with open('/proc/%d/status' % pid) as f:
        return re.search(r'(?m)^%s:\s*(.*)$' % name, f.read()).group(1).split()


class Start(unittest.TestCase):
    SECONDS = 15

    def failing(self, *args, config=''):
        """serve that must not start: (exit status, stderr)."""
        with tempfile.TemporaryDirectory() as d:
            os.chmod(d, 0o755)
            path = os.path.join(d, 'x.ini')
            with open(path, 'w') as f:
                f.write(config)
            cmd = [hs.BINARY, 'serve', '--config', path, '--data', d + '/var', '--services', d, '--rtp', '28000-28100', '--http', '127.0.0.1:0'] + hs.AS_ROOT
            r = subprocess.run(cmd + list(args), capture_output=True, timeout=20)
            self.assertEqual(r.stdout, b'')
            return r.returncode, r.stderr.decode(), path

    def test_ready_line(self):
        with hs.Server({'100': xml('')}, hosts=('127.0.0.1', '::1')) as s:
            self.assertEqual(len(s.lines), 1)
            self.assertRegex(s.lines[0], r'^ready sip=127\.0\.0\.1:%d,\[::1\]:%d http=127\.0\.0\.1:%d keeper=%d$' % (s.ports[0], s.ports[1], s.http, s.proc.pid))
            s.wait_line(r'\b100\b.*script', err=True)
            s.wait_line('call 100', err=True)

    def test_no_services_says_how_to_make_one(self):
        with hs.Server({}) as s:
            s.wait_line('none yet', err=True)
            s.wait_line(r'chmod \+x', err=True)
            with s.phone() as p:
                self.assertEqual(p.refused('100')['status'], 404)

    def test_port_that_is_taken(self):
        for kind, proto in ((socket.SOCK_DGRAM, 'udp'), (socket.SOCK_STREAM, 'tcp')):
            port = hs.free_port()
            k = socket.socket(socket.AF_INET, kind)
            k.bind(('127.0.0.1', port))
            if proto == 'tcp':
                k.listen()
            code, err, _ = self.failing('--sip', '127.0.0.1:%d' % port)
            k.close()
            self.assertEqual(code, 78)
            name = open('/proc/self/comm').read().strip()
            self.assertIn('sip 127.0.0.1:%d/%s is taken by %s (pid %d); use --sip 127.0.0.1:%d' % (port, proto, name, os.getpid(), port + 10), err)

    def test_second_system_on_the_same_port(self):
        with hs.Server({}) as s:
            code, err, _ = self.failing('--sip', '127.0.0.1:%d' % s.port)
            self.assertEqual(code, 78)
            self.assertRegex(err, r'is taken by \S+.* \(pid %d\)' % s.keeper)

    def test_second_system_in_the_same_folder(self):
        """Not before the first one has ended, however it ended."""
        with hs.Server({}) as s:
            code, err, _ = self.failing('--sip', '127.0.0.1:0', '--data', s.data)
            self.assertEqual(code, 78)
            self.assertIn('%s is in use by another Hookswitch; use --data DIR' % s.data, err)
            s.stop(signal.SIGKILL)
            s.lines.clear()
            s.start()

    def test_services_that_are_no_folder(self):
        code, err, path = self.failing('--sip', '127.0.0.1:0', '--services', hs.BINARY)
        self.assertEqual(code, 78)
        self.assertIn('%s is no folder; use --services DIR' % hs.BINARY, err)

    def test_bad_configuration(self):
        for config, line, allowed in (('[limits]\nmax_calls = many\n', 2, '1 to 100000'), ('[limits]\n\nmax_callz = 1\n', 3, 'max_calls'), ('max_calls = 1\n', 1, '[limits]'),
                                      ('[log]\nlevel = loud\n', 2, 'error, warn, info'), ('[media]\nrtp = 9-5\n', 2, 'LOW-HIGH'), ('[nothing]\na = b\n', None, None),
                                      ('[access]\nallow = 10.0.0.0/40\n', 2, 'networks')):
            code, err, path = self.failing('--sip', '127.0.0.1:0', config=config)
            self.assertEqual(code, 78, config)
            if line:
                self.assertIn('%s:%d: ' % (path, line), err)
                self.assertIn(allowed, err)
            self.assertEqual(subprocess.run(['pgrep', '-f', path], capture_output=True).stdout, b'', 'something was started')

    def test_bad_options(self):
        self.assertEqual(self.failing('--sip', 'nowhere')[0], 78)
        self.assertEqual(self.failing('--wobble')[0], 64)
        self.assertEqual(self.failing('extra')[0], 64)

    def test_help_and_tables(self):
        for args, word in ((['--help'], 'serve'), (['serve', '--help'], '--services'), (['call', '--help'], '--digits'), (['params'], 'max_call_s'),
                           (['limits'], 'cgi_output'), (['man'], '.TH'), (['version'], 'hookswitch ')):
            r = subprocess.run([hs.BINARY] + args, capture_output=True)
            self.assertEqual((r.returncode, r.stderr), (0, b''), args)
            self.assertIn(word, r.stdout.decode())

    def test_data_is_kept_and_the_token_is_secret(self):
        with hs.Server({}) as s:
            path = os.path.join(s.data, 'account.ini')
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            a = s.account()
            s.stop()
            s.lines.clear()
            s.start()
            self.assertEqual(s.account(), a)


class End(unittest.TestCase):
    SECONDS = 20
    SERVICES = {'100': LONG, 'tick.wav': TICK}

    def test_drain(self):
        """New calls get 503, the living one goes on for drain_s, then BYE with Reason; exit 0."""
        with hs.Server(self.SERVICES, '[limits]\ndrain_s = 3\n') as s:
            with s.phone() as p, s.phone() as q:
                p.call('100')
                mark = s.mark()
                s.proc.send_signal(signal.SIGTERM)
                s.wait_line('stopping', err=True, after=mark)
                m = q.refused('100')
                self.assertEqual(m['status'], 503)
                self.assertIsNotNone(get(m, 'retry-after'))
                n = len(p.rtp.got)
                p.rtp.wait_more(50)
                bye = p.wait_bye(10)
                self.assertIsNotNone(get(bye, 'reason'))
                self.assertEqual(s.proc.wait(10), 0)

    def test_calls_that_end_by_themselves_end_the_drain(self):
        with hs.Server(self.SERVICES) as s:
            with s.phone() as p:
                p.call('100')
                mark = s.mark()
                s.proc.send_signal(signal.SIGTERM)
                s.wait_line('stopping', err=True, after=mark)
                self.assertEqual(p.bye(), 200)
                self.assertEqual(s.proc.wait(5), 0)

    def test_a_second_sigterm_ends_at_once(self):
        with hs.Server(self.SERVICES) as s:
            with s.phone() as p:
                p.call('100')
                mark = s.mark()
                s.proc.send_signal(signal.SIGTERM)
                s.wait_line('stopping', err=True, after=mark)
                s.proc.send_signal(signal.SIGTERM)
                self.assertEqual(s.proc.wait(5), 0)
                self.assertIsNotNone(get(p.wait_bye(2), 'reason'))

    def test_nothing_is_left_behind(self):
        with hs.Server(self.SERVICES) as s:
            kids = s.children()
            self.assertEqual(set(kids), {'worker', 'runner'})
            self.assertEqual(s.stop(), 0)
            for pid in kids.values():
                self.assertFalse(os.path.exists('/proc/%d' % pid))

    def test_keeper_killed_ends_the_worker(self):
        with hs.Server(self.SERVICES) as s:
            kids = s.children()
            s.proc.kill()
            s.proc.wait()
            hs.wait_until(lambda: not any(alive(p) for p in kids.values()), 5, 'the end of worker and runner')


def alive(pid):
    try:
        return status_of(pid, 'State')[0] != 'Z'
    except OSError:
        return False


class Addresses(unittest.TestCase):
    SECONDS = 10
    SERVICES = {'43': xml('<Echo/>')}

    def check(self, p, host, fam):
        p.call('43')
        self.assertEqual(p.rtp.remote[0], host)
        self.assertIn(host, p.remote_target)
        p.rtp.wait_more(20)
        self.assertEqual(p.rtp.got[-1][7][0], host)
        self.assertEqual(p.bye(), 200)

    def test_wildcard_answers_from_where_the_packet_came_to(self):
        with hs.Server(self.SERVICES, hosts=('::',)) as s:
            for tcp in (False, True):
                for host in ('127.0.0.2', '127.0.0.1', '::1'):
                    with phone.Phone((host, s.port), host=host, tcp=tcp) as p:
                        if not tcp:
                            p.sock.connect((host, s.port))  # from another address nothing is heard
                        self.check(p, host, 6 if ':' in host else 4)

    def test_wildcard_of_ipv4(self):
        with hs.Server(self.SERVICES, hosts=('0.0.0.0',)) as s:
            with phone.Phone(('127.0.0.3', s.port), host='127.0.0.3') as p:
                self.check(p, '127.0.0.3', 4)

    def test_advertise(self):
        with hs.Server(self.SERVICES, '[listen]\nadvertise = 198.51.100.7\n') as s:
            with s.phone() as p:
                p.invite('43')
                p.answered()
                self.assertEqual(p.rtp.remote[0], '198.51.100.7')
                self.assertIn('198.51.100.7', p.remote_target)
                self.assertEqual(p.request('BYE', uri='sip:43@127.0.0.1:%d' % s.port), p.cseq)
                p.expect(200, method='BYE')


class Gate(unittest.TestCase):
    SECONDS = 10

    def test_who_is_not_allowed_gets_403(self):
        """From another network namespace over a veth pair: as root only."""
        ns = 'hookswitch-%d' % os.getpid()
        a, b = 'hsa%d' % (os.getpid() % 10000), 'hsb%d' % (os.getpid() % 10000)
        net = '10.213.%d' % (os.getpid() % 250)
        if not ROOT or subprocess.run(['ip', 'netns', 'add', ns], capture_output=True).returncode:
            self.skipTest('no network namespace can be made here (needs root)')
        try:
            cmds = ('ip link add %s type veth peer name %s' % (a, b), 'ip link set %s netns %s' % (b, ns), 'ip addr add %s.1/24 dev %s' % (net, a), 'ip link set %s up' % a,
                    'ip -n %s addr add %s.2/24 dev %s' % (ns, net, b), 'ip -n %s link set %s up' % (ns, b))
            for c in cmds:
                r = subprocess.run(c.split(), capture_output=True)
                if r.returncode:
                    self.skipTest('no veth pair can be made here: %s' % r.stderr.decode())
            for config, want in (('', '403'), ('[access]\nallow = %s.0/24\n' % net, '200')):
                with hs.Server({'44': xml('')}, config, hosts=('%s.1' % net,)) as s:
                    r = subprocess.run(['ip', 'netns', 'exec', ns, '/usr/bin/python3', os.path.join(os.path.dirname(__file__), 'phone.py'), '%s.1' % net, str(s.port),
                                        '%s.2' % net], capture_output=True, timeout=30)
                    self.assertEqual(r.stdout.decode().strip(), want, r.stderr.decode())
        finally:
            subprocess.run(['ip', 'link', 'del', a], capture_output=True)
            subprocess.run(['ip', 'netns', 'del', ns], capture_output=True)


class Users(unittest.TestCase):
    SECONDS = 5

    def test_nothing_runs_as_root(self):
        if not ROOT:
            self.skipTest('not started as root: there is nobody to become')
        script = '#!/bin/sh\nid -u >&2; id -g >&2; id -G >&2; echo "$(id -u) $(id -g) $(id -G)" >&2; exit 1\n'
        with hs.Server({'100': script}) as s:
            for name, pid in s.children().items():
                self.assertNotIn('0', status_of(pid, 'Uid'), name)
                self.assertNotIn('0', status_of(pid, 'Gid'), name)
                self.assertNotIn('0', status_of(pid, 'Groups') if status_of(pid, 'Groups') else [], name)
            worker = s.children()['worker']
            self.assertEqual(int(status_of(worker, 'CapEff')[0], 16), 0)
            with s.phone() as p:
                p.call('100')
                p.bye()
            import pwd
            nobody = pwd.getpwnam('nobody')
            self.assertRegex(s.trace(), r': %d %d %d ' % (nobody.pw_uid, nobody.pw_gid, nobody.pw_gid))
            self.assertNotEqual(nobody.pw_uid, int(status_of(worker, 'Uid')[0]))

    def test_root_without_a_user_to_become_is_refused(self):
        if not ROOT:
            self.skipTest('not root')
        with tempfile.TemporaryDirectory() as d:
            for args in (['--set', 'access.user=no-such-user'], ['--set', 'access.user=root'], ['--set', 'access.user=daemon', '--set', 'access.script_user=root'],
                         ['--set', 'access.user=daemon', '--set', 'access.script_user=daemon']):
                r = subprocess.run([hs.BINARY, 'serve', '--data', d + '/var', '--sip', '127.0.0.1:0', '--http', '127.0.0.1:0'] + args, capture_output=True, timeout=10)
                self.assertEqual(r.returncode, 78, args)


class Http(Case):
    SECONDS = 10
    HOSTS = ('127.0.0.1',)
    SERVICES = {'44': xml(''), '45': xml('<Reject reason="busy"/>')}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.s.phone() as p:
            p.call('44')
            p.wait_bye()
        cls.s.wait_line('ended by', err=True)
        cls.sid = re.search(r'call (CA[0-9a-f]{32})', '\n'.join(l for l in cls.s.err if l)).group(1)

    def test_without_or_with_a_wrong_token(self):
        for auth in (None, 'Basic eDp5', 'Bearer ' + '0' * 64, 'Wobble'):
            for path in ('/calls/last/trace', '/calls/%s/trace' % self.sid, '/nothing'):
                status, headers, body = self.s.get(path, auth)
                self.assertEqual(status, 401)
                self.assertIn('www-authenticate', headers)
                self.assertNotIn(b'INVITE', body)

    def test_with_the_token(self):
        for auth in (True, 'Bearer ' + self.s.account()['auth_token']):
            for path in ('/calls/last/trace', '/calls/%s/trace' % self.sid):
                status, headers, body = self.s.get(path, auth)
                self.assertEqual(status, 200)
                self.assertIn(b'INVITE', body)
                self.assertIn(b'BYE', body)

    def test_json(self):
        status, headers, body = self.s.get('/calls/last/trace', True, 'application/json')
        self.assertEqual((status, headers['content-type']), (200, 'application/json'))
        records = json.loads(body)
        numbers = [r['number'] for r in records]
        self.assertEqual(numbers, sorted(numbers))
        kinds = {r['kind'] for r in records}
        for kind in ('sip_in', 'sip_out', 'request', 'reply', 'state', 'media'):
            self.assertIn(kind, kinds)
        self.assertEqual({r['sid'] for r in records}, {self.sid})

    def test_unknown_call_and_path(self):
        self.assertEqual(self.s.get('/calls/CA%032x/trace' % 0, True)[0], 404)
        self.assertEqual(self.s.get('/nothing', True)[0], 404)

    def test_trace_command(self):
        text = self.s.trace('last')
        self.assertRegex(text, r'--INVITE .*\+SDP-*>\|')
        self.assertEqual(text, self.s.trace(self.sid))

    def test_row_in_the_database(self):
        rows = hs.wait_until(lambda: self.s.rows().get(self.sid), 5, 'the row')
        self.assertEqual(len(rows), 1)
        self.assertEqual((rows[0]['direction'], rows[0]['sip_status']), ('inbound', 200))


class ScriptLimits(Case):
    """Whatever a script does, it ends, and nothing of it stays."""
    SECONDS = 40
    HOSTS = ('127.0.0.1',)
    CONFIG = '[cgi]\nwall_s = 3\ncpu_s = 1\nprocs = 40\n[speech]\nvoice = kal\n'
    MARK = 'hookswitch-limit-%d' % os.getpid()
    SERVICES = {
        'fork': '#!/bin/sh\nexport MARK=%s\nf() { sleep 77 & f; }\nf\n' % MARK, 'spin': '#!/bin/sh\nMARK=%s\nwhile :; do :; done\n' % MARK,
        'memory': '#!/usr/bin/python3\n# %s\nx = []\nwhile True: x.append(bytearray(1 << 24))\n' % MARK,
        'endless': '#!/bin/sh\n# %s\necho "Content-Type: text/plain"\necho\nexec cat /dev/zero\n' % MARK, 'sleep': '#!/bin/sh\nexec sleep 78\n',
        'deaf': '#!/bin/sh\nexec <&-\nprintf "Content-Type: text/xml\\n\\n<Response><Hangup/></Response>"\n',
        'children': '#!/bin/sh\nsleep 79 >/dev/null 2>&1 &\nsetsid sleep 79 >/dev/null 2>&1 </dev/null &\nprintf "Content-Type: text/xml\\n\\n<Response><Hangup/></Response>"\n'}

    def left(self):
        """Processes of scripts that still live."""
        found = []
        runner = self.s.children()['runner']
        for pid in os.listdir('/proc'):
            if not pid.isdigit():
                continue
            try:
                with open('/proc/%s/cmdline' % pid, 'rb') as f:
                    argv = f.read().split(b'\0')
                with open('/proc/%s/stat' % pid) as f:
                    state = f.read().rpartition(')')[2].split()
                if state[0] == 'Z':
                    continue
                if argv[:2] in ([b'sleep', b'77'], [b'sleep', b'78'], [b'sleep', b'79']) or any(self.s.services.encode() in a for a in argv[:3] if a.startswith(b'./') is False) \
                        and int(pid) not in (self.s.proc.pid, runner, self.s.children().get('worker')) or argv[:2] == [b'cat', b'/dev/zero']:
                    found.append((pid, argv))
            except OSError:
                pass
        return found

    def ended(self, number, pattern, code=11200, within=6):
        with self.s.phone() as p:
            p.invite(number)
            p.answered(within + 4)
            p.talk()
            p.bye()
        text = self.s.trace()
        self.assertIn(str(code), text)
        self.assertRegex(text, pattern)
        hs.wait_until(lambda: not self.left(), 3, 'the end of what the script left: %r' % self.left())

    def test_forks_without_end(self):
        self.ended('fork', 'error')

    def test_spins(self):
        self.ended('spin', 'processor time', code=11203)

    def test_takes_all_memory(self):
        self.ended('memory', 'Memory|memory')

    def test_writes_without_end(self):
        self.ended('endless', 'error', code=11200)

    def test_sleeps(self):
        self.ended('sleep', 'took too long', code=11203)

    def test_does_not_read_its_stdin(self):
        with self.s.phone() as p:
            p.call('deaf')
            p.wait_bye(5)

    def test_leaves_children(self):
        with self.s.phone() as p:
            p.call('children')
            p.wait_bye(8)
        hs.wait_until(lambda: not self.left(), 3, 'the end of the children')
