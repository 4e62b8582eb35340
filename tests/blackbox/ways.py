# SPDX-License-Identifier: Apache-2.0
"""ways: the roads that every call is tried on: UDP and TCP, IPv4 and IPv6, TCP whole and byte by byte; side by side, since a call takes its time. And the base of the tests."""
import threading, traceback, unittest

import hs

WAYS = (('udp', 4, {}), ('udp', 6, {}), ('tcp by bytes', 4, {'tcp': True, 'one_byte': True}), ('tcp', 6, {'tcp': True}))
BOTH = ('127.0.0.1', '::1')


def together(jobs):
    """Runs functions by name side by side; returns {name: result}, raises what failed."""
    results, faults = {}, []

    def one(name, fn):
        try:
            results[name] = fn()
        except Exception:
            faults.append('%s: %s' % (name, traceback.format_exc()))
    threads = [threading.Thread(target=one, args=j) for j in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults, '\n'.join(faults)
    return results


class Case(unittest.TestCase):
    """SERVICES and CONFIG are served to all tests of the class by one server."""
    SERVICES, CONFIG, HOSTS, ARGS = {}, '', BOTH, ()
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.s = hs.Server(cls.services(), cls.CONFIG, cls.HOSTS, cls.ARGS).start()

    @classmethod
    def services(cls):
        return cls.SERVICES

    @classmethod
    def tearDownClass(cls):
        cls.s.__exit__(None)

    def each(self, fn, ways=WAYS):
        """fn(phone) on each way; {way: result}."""
        def on(family, kw):
            with self.s.phone(family, **kw) as p:
                return fn(p)
        return together([('%s ipv%d' % (name, family), lambda family=family, kw=kw: on(family, kw)) for name, family, kw in ways])
