# SPDX-License-Identifier: Apache-2.0
"""hs: the real binary under test, on free loopback ports, with a services folder and a data folder of its own.

    with Server({'100': script}) as s: ...

Every wait is for an event (a line, a packet, the end of a process), bounded by a deadline; none is for a time to pass.
"""
import base64, http.client, json, os, re, select, shutil, signal, socket, sqlite3, subprocess, sys, tempfile, threading, time

import phone

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
BINARY = os.environ.get('HOOKSWITCH', os.path.join(ROOT, 'build', 'src', 'cli', 'hookswitch'))


def free_port(host='127.0.0.1'):
    """A port that is free for UDP and TCP at this moment, below those that the kernel hands out to others; each process that runs tests has a part of its own."""
    global _ports
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    for _ in range(600):
        _ports = (_ports + 1) % 600
        port = 30000 + int(os.environ.get('HOOKSWITCH_SLOT', 3)) * 600 + _ports
        socks = []
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                s = socket.socket(family, kind)
                socks.append(s)
                s.bind((host, port))
            return port
        except OSError:
            continue
        finally:
            for s in socks:
                s.close()
    raise RuntimeError('no free port')


def free_range(n):
    """An even port at the start of a range for RTP, below the ports that the kernel hands out; each process that runs tests has a part of its own."""
    global _ranges
    slot, width = int(os.environ.get('HOOKSWITCH_SLOT', 3)), 5000
    _ranges = (_ranges + n) % (width - n)
    return 10000 + slot * width + _ranges // 2 * 2


_ranges, _ports = 0, os.getpid() % 600
AS_ROOT = ['--set', 'access.user=daemon', '--set', 'access.script_user=nobody'] if os.geteuid() == 0 else []  # accounts that every Debian has


class Server:
    def __init__(self, services=None, config='', hosts=('127.0.0.1',), args=(), rtp_pairs=400, env=None, data=None, as_root=AS_ROOT):
        self.dir = tempfile.mkdtemp(prefix='hookswitch-')
        os.chmod(self.dir, 0o755)
        self.services = os.path.join(self.dir, 'services')
        self.data = data or os.path.join(self.dir, 'var')
        self.as_root = as_root
        os.mkdir(self.services)
        os.chmod(self.services, 0o755)
        for name, content in (services or {}).items():
            self.put(name, content)
        self.config = os.path.join(self.dir, 'hookswitch.ini')
        with open(self.config, 'w') as f:
            f.write(config)
        self.hosts, self.args, self.rtp_pairs, self.env = hosts, list(args), rtp_pairs, env
        self.proc, self.lines, self.err = None, [], []
        self.cond = threading.Condition()

    def put(self, name, content, mode=None):
        """Writes a service whole, by rename, as an editor or a deployment does."""
        tmp = os.path.join(self.services, '.tmp-' + name.replace('/', '_'))
        with open(tmp, 'wb') as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        if mode is None:
            mode = 0o755 if content[:2] in (b'#!', '#!') else 0o644
        os.chmod(tmp, mode)
        os.rename(tmp, os.path.join(self.services, name))

    def start(self, wait=True):
        low = free_range(2 * self.rtp_pairs)
        cmd = [BINARY, 'serve', '--config', self.config, '--data', self.data, '--services', self.services, '--http', '127.0.0.1:0',
               '--rtp', '%d-%d' % (low, low + 2 * self.rtp_pairs - 1)]
        for h in self.hosts:
            cmd += ['--sip', h if re.search(r':\d+$', h) and (h[0] == '[' or h.count(':') == 1) else ('[%s]:%d' if ':' in h else '%s:%d') % (h, free_port(h))]
        env = dict(os.environ, **(self.env or {}))
        self.proc = subprocess.Popen(cmd + self.as_root + self.args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=self.dir)
        self.threads = [threading.Thread(target=self._read, args=(f, to), daemon=True) for f, to in ((self.proc.stdout, self.lines), (self.proc.stderr, self.err))]
        for t in self.threads:
            t.start()
        if wait:
            ready = re.match(r'ready sip=(\S+) http=(\S+) keeper=(\d+)$', self.wait_line(r'^ready ', 30))
            self.ports = [int(a.rsplit(':', 1)[1]) for a in ready.group(1).split(',')]
            self.port = self.ports[0]
            self.http = int(ready.group(2).rsplit(':', 1)[1])
            self.keeper = int(ready.group(3))
        return self

    def _read(self, f, to):
        for line in iter(f.readline, b''):
            with self.cond:
                to.append(line.decode('utf-8', 'replace').rstrip('\n'))
                self.cond.notify_all()
        with self.cond:
            to.append(None)
            self.cond.notify_all()

    def wait_line(self, pattern, timeout=10, err=False, after=0):
        """The first line matching from number `after` on; raises with what was printed instead."""
        rx, end = re.compile(pattern), time.monotonic() + timeout
        src = self.err if err else self.lines
        with self.cond:
            while True:
                for line in src[after:]:
                    if line is not None and rx.search(line):
                        return line
                if None in src[after:] or time.monotonic() > end:
                    raise AssertionError('no line %r; stdout %r; stderr:\n%s' % (pattern, self.lines, '\n'.join(l for l in self.err[-40:] if l)))
                self.cond.wait(max(0.01, end - time.monotonic()))

    def children(self):
        """pid by role: worker, runner."""
        found = {}
        for tid in os.listdir('/proc/%d/task' % self.proc.pid):
            with open('/proc/%d/task/%s/children' % (self.proc.pid, tid)) as f:
                for pid in f.read().split():
                    try:
                        with open('/proc/%s/cmdline' % pid, 'rb') as c:
                            argv = c.read().split(b'\0')
                        if len(argv) > 1:
                            found[argv[1].decode()] = int(pid)
                    except OSError:
                        pass
        return found

    def kill_worker(self):
        """kill -9, returns when another worker runs."""
        old = self.children()['worker']
        os.kill(old, signal.SIGKILL)
        end = time.monotonic() + 10
        while self.children().get('worker') in (None, old):
            if time.monotonic() > end:
                raise AssertionError('no new worker:\n' + '\n'.join(l for l in self.err[-20:] if l))
        return old

    def stop(self, sig=signal.SIGTERM, timeout=20):
        if self.proc and self.proc.poll() is None:
            mark = self.mark()
            self.proc.send_signal(sig)
            try:
                if sig == signal.SIGTERM and self.lines:
                    self.wait_line('stopping', 5, err=True, after=mark)
                    self.proc.send_signal(sig)  # at once
            except (AssertionError, ProcessLookupError):
                pass
            try:
                self.proc.wait(timeout)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                raise AssertionError('serve does not end:\n' + '\n'.join(l for l in self.err[-20:] if l))
        for t in getattr(self, 'threads', []):
            t.join(5)
        if self.proc:
            self.proc.stdout.close()
            self.proc.stderr.close()
        return self.proc.returncode if self.proc else None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *rest):
        try:
            self.stop()
        finally:
            if kind and os.environ.get('HOOKSWITCH_KEEP'):
                print('kept', self.dir, '\n'.join(l for l in self.err if l), file=sys.stderr)
            else:
                shutil.rmtree(self.dir, ignore_errors=True)

    def call(self, number, *args, timeout=60):
        """hookswitch call; returns (exit code, output)."""
        r = subprocess.run([BINARY, 'call', number, '--server', '127.0.0.1:%d' % self.port, *args], capture_output=True, timeout=timeout)
        return r.returncode, r.stdout.decode() + r.stderr.decode()

    def phone(self, family=4, **kw):
        """A phone that stands on the same host as one of the listeners."""
        for h, p in zip(self.hosts, self.ports):
            bare = re.sub(r':\d+$', '', h).strip('[]') if h.count(':') == 1 or h[0] == '[' else h
            if (':' in bare) == (family == 6):
                return phone.Phone((bare, p), host=bare, **kw)
        raise AssertionError('no listener of that family')

    def trace(self, what='last', *args):
        r = subprocess.run([BINARY, 'trace', what, '--config', self.config, '--data', self.data, '--http', '127.0.0.1:%d' % self.http, *args], capture_output=True,
                           timeout=20)
        return r.stdout.decode() + r.stderr.decode()

    def records(self, what='last'):
        """The trace as list of dicts."""
        return json.loads(self.trace(what, '--json'))

    def account(self):
        with open(os.path.join(self.data, 'account.ini')) as f:
            return dict(re.findall(r'(\w+) = (\w+)', f.read()))

    def get(self, path, auth=None, accept='*/*'):
        """(status, headers, body) of a GET at the HTTP interface. auth: True = the account's own."""
        h = {'Accept': accept}
        if auth is True:
            a = self.account()
            auth = 'Basic ' + base64.b64encode(('%s:%s' % (a['account_sid'], a['auth_token'])).encode()).decode()
        if auth:
            h['Authorization'] = auth
        c = http.client.HTTPConnection('127.0.0.1', self.http, timeout=10)
        try:
            c.request('GET', path, headers=h)
            r = c.getresponse()
            return r.status, dict((k.lower(), v) for k, v in r.getheaders()), r.read()
        finally:
            c.close()

    def mark(self):
        """Where the log stands: wait_line(..., after=mark)."""
        with self.cond:
            return len(self.err)

    def rows(self):
        """Call records, as sid: [row …]."""
        db = sqlite3.connect('file:%s?mode=ro' % os.path.join(self.data, 'hookswitch.db'), uri=True, timeout=10)
        try:
            db.row_factory = sqlite3.Row
            out = {}
            for r in db.execute('SELECT * FROM calls'):
                out.setdefault(r['sid'], []).append(dict(r))
            return out
        finally:
            db.close()


def wait_until(test, timeout=10, what='it'):
    """For what nobody tells of (another process's state): asks again and again."""
    end = time.monotonic() + timeout
    while True:
        v = test()
        if v:
            return v
        if time.monotonic() > end:
            raise AssertionError('%s did not happen within %d s' % (what, timeout))
        select.select([], [], [], 0.01)


def xml(body):
    """A script that answers with this document."""
    return '#!/bin/sh\ncat <<\'END\'\nContent-Type: text/xml\n\n<Response>%s</Response>\nEND\n' % body
