# SPDX-License-Identifier: Apache-2.0
"""Calls with the real program: what the services say is heard, recognised and on the clock; each on UDP and TCP, IPv4 and IPv6."""
import os
import re

import hs
import sound
from hs import xml
from phone import get
from ways import WAYS, Case, together

MELODY = sound.speechlike(2.5, seed=7)
OTHER = sound.speechlike(2.5, seed=8)
TEXT = 'The quick brown fox jumps over the lazy dog.'
SPEECH = '[speech]\nvoice = kal\n'


def heard(p):
    return sound.samples(p.rtp)


def listen(p, number, **kw):
    """A call that the service ends: (samples, seconds from answer to BYE)."""
    p.call(number, **kw)
    bye = p.wait_bye(30)
    return heard(p), bye['at'] - p.ok['at']


class Answers(Case):
    SECONDS = 40
    CONFIG = SPEECH

    @classmethod
    def services(cls):
        return {'100': xml('<Say>%s</Say>' % TEXT), '105.wav': sound.wav(MELODY), '106.txt': TEXT, '107.xml': '<Response><Say>%s</Say></Response>' % TEXT,
                '108': xml('<Play>105.wav</Play><Pause length="1"/><Play loop="2">109.wav</Play>'), '109.wav': sound.wav(OTHER[:8000]),
                '110.wav': sound.wav(sound.tone(2, 1000) / 30), '111': '#!/bin/sh\necho "Content-Type: audio/x-wav"\necho\ncat 105.wav\n',
                '112': '#!/bin/sh\necho "Content-Type: text/plain; charset=utf-8"\necho\necho "%s"\n' % TEXT, '113': '#!/bin/sh\necho "Status: 204 No Content"\necho\n',
                '43': xml('<Echo/>'), '44': xml(''), 'default': xml('<Say>Other.</Say>')}

    def speech(self, number):
        """Speech is heard, the same in each call and on each way; the service hangs up."""
        first = None
        for way, (x, s) in self.each(lambda p: listen(p, number)).items():
            a, b = sound.extent(x, -40)
            self.assertGreater((b - a) / sound.HZ, 1.5, way)
            self.assertAlmostEqual(sound.active_db(x[a:b]), -20, delta=3, msg=way)
            if first is None:
                first = x[a:b]
            wrong = sound.recognise(x, first, least=0.98)
            self.assertIsNone(wrong, way)
        return first

    def test_script_says(self):
        self.speech('100')

    def test_text_file_is_spoken_like_a_script_says(self):
        a, b = self.speech('106.txt'[:3]), self.speech('107')
        self.assertIsNone(sound.recognise(a, b, least=0.98))

    def test_script_answers_text_plain(self):
        self.speech('112')

    def test_two_calls_of_kal_are_the_same_sample_by_sample(self):
        def bytes_of(p):
            p.call('100')
            p.wait_bye()
            return b''.join(g[6] for g in p.rtp.audio()).strip(b'\xff\x7f')
        got = list(self.each(bytes_of).values())
        self.assertGreater(len(got[0]), 10000)
        for g in got[1:]:
            self.assertEqual(got[0], g)

    def test_wave_file(self):
        for way, (x, s) in self.each(lambda p: listen(p, '105')).items():
            self.assertIsNone(sound.recognise(x, MELODY), way)
            self.assertIsNotNone(sound.recognise(x, OTHER), 'a wrong file passes the same check')
            self.assertIsNotNone(sound.recognise(x, MELODY[:len(MELODY) * 3 // 4]), 'a shorter file passes the same check')
            self.assertAlmostEqual(sound.active_db(x), -20, delta=3)

    def test_a_hole_in_the_sound_is_found(self):
        x = MELODY.copy()
        x[8000:8000 + 320] = 0
        self.assertIsNotNone(sound.recognise(x, MELODY))

    def test_soft_file_is_brought_to_level(self):
        for way, (x, s) in self.each(lambda p: listen(p, '110'), WAYS[:1]).items():
            self.assertAlmostEqual(sound.active_db(x), -20, delta=3)
            self.assertGreater(sound.has_tone(x, 1000), 0.9)

    def test_script_answers_a_sound(self):
        for way, (x, s) in self.each(lambda p: listen(p, '111')).items():
            self.assertIsNone(sound.recognise(x, MELODY), way)

    def test_document_plays_waits_and_plays_twice(self):
        """Each piece is found where it belongs; the turns of a loop follow without a seam."""
        twice = sound.np.concatenate([OTHER[:8000]] * 2)
        for way, (x, s) in self.each(lambda p: listen(p, '108')).items():
            c, at = sound.best(x, MELODY)
            c2, at2 = sound.best(x, twice)
            self.assertAlmostEqual((at2 - at) / sound.HZ, 3.5, delta=0.06, msg=way)
            self.assertIsNone(sound.recognise(x[:at + 2 * sound.HZ + 8000], MELODY), way)
            self.assertIsNone(sound.recognise(x[at2 - 800:], twice), way)
            self.assertAlmostEqual(s, 2.5 + 1 + 2, delta=0.4)

    def test_204_and_an_empty_response_answer_and_end(self):
        for number in ('113', '44'):
            for way, (x, s) in self.each(lambda p: listen(p, number)).items():
                self.assertLess(s, 1, way)

    def test_echo(self):
        def echo(p):
            p.call('43', talk=False)
            p.talk(sound.ulaw(MELODY))
            p.rtp.wait_for(lambda: p.rtp.sent >= len(MELODY) // 160, 10)
            p.talk()
            p.rtp.wait_more(25)
            x = heard(p)
            self.assertEqual(p.bye(), 200)
            return x
        for way, x in self.each(echo).items():
            self.assertIsNone(sound.recognise(x, MELODY), way)

    def test_echo_in_a_law(self):
        def echo(p):
            p.rtp.pt = 8
            body = p.sdp(pts='8 101').replace('a=rtpmap:0 PCMU/8000', 'a=rtpmap:8 PCMA/8000')
            p.invite('43', body=body)
            p.answered()
            alaw = bytes(int(abs(sound.TABLE[8] - v).argmin()) for v in MELODY[:16000])
            p.talk(alaw)
            p.rtp.wait_for(lambda: p.rtp.sent >= 100, 10)
            p.talk(b'\xd5' * 160)
            p.rtp.wait_more(25)
            self.assertEqual({g[1] for g in p.rtp.got}, {8})
            x = heard(p)
            self.assertEqual(p.bye(), 200)
            return x
        for way, x in self.each(echo, WAYS[:2]).items():
            self.assertIsNone(sound.recognise(x, MELODY[:16000]), way)

    def test_one_packet_each_20_ms_from_answer_to_end(self):
        def count(p):
            p.call('108')
            bye = p.wait_bye(30)
            g = p.rtp.audio()
            self.assertEqual(p.rtp.gaps(), (0, True, 1))
            self.assertAlmostEqual(len(g), (bye['at'] - p.ok['at']) * 50, delta=5)
            steps = [b[0] - a[0] for a, b in zip(g, g[1:])]
            late = sorted(s for s in steps)[-len(steps) // 100:]
            span = g[-1][0] - g[0][0]
            self.assertAlmostEqual(span / (len(g) - 1), 0.02, delta=0.0005)
            self.assertEqual({len(x[6]) for x in g}, {160})
            return late[0]
        self.each(count)

    def test_default_answers_the_rest(self):
        for number in ('999', 'alice', '+4930', '*7', 'a-b_c'):
            with self.s.phone() as p:
                p.call(number)
                self.assertEqual(p.bye(), 200)

    def test_number_is_matched_decoded(self):
        with self.s.phone() as p:
            x, s = listen(p, '1%305')
            self.assertIsNone(sound.recognise(x, MELODY))

    def test_three_lines_a_call(self):
        with self.s.phone() as p:
            mark = self.s.mark()
            listen(p, '44')
            self.s.wait_line(r'ended by service after \d+\.\d s: 200', err=True, after=mark)
            lines = [l for l in self.s.err[mark:] if l and ('CA' in l)]
            self.assertEqual(len(lines), 3, lines)
            self.assertRegex(lines[0], r'call CA[0-9a-f]{32} from tester "Ann" to 44')
            self.assertRegex(lines[1], r'ran services/44')


class Wrong(Case):
    """What goes wrong is told: to the caller by a status or a sentence, to its maker by the log and the trace."""
    SECONDS = 60
    CONFIG = SPEECH

    @classmethod
    def services(cls):
        return {'203': xml('<Hangup/>'), '209': 'echo hello\n', '201': '#!/bin/sh\necho first >&2\necho "cannot open the book" >&2\nexit 3\n', '202': '#!/bin/sh\necho "<Response/>"\n',
                '204': '#!/bin/sh\r\necho hello\r\n', '205': '#!/nowhere/python9\nprint()\n', '206': '#!/bin/sh\necho "Content-Type: application/pdf"\necho\necho x\n',
                '207': xml('<Say>open'), '208': '#!/usr/bin/python3\nimport nothing_of_this_name\n',
                '210': xml('<Wobble/><Say>After.</Say>'), '211': xml('<Say>Before.</Say><Record/><Say>Never.</Say>'),
                '212': xml('<Reject reason="busy"/>'), '213': xml('<Reject/>'), '214': '#!/bin/sh\necho "Content-Type: text/xml"\necho\n',
                '215': '#!/bin/sh\necho "Status: 500 Broken"\necho "Content-Type: text/plain"\necho\necho no\n', '216': xml('<Hangup/>'),
                '300': xml(''), '300.txt': 'two'}

    def error(self, number, code, pattern=''):
        """The caller hears the spoken error, the call ends, the trace names code and cause."""
        with self.s.phone() as p:
            x, s = listen(p, number)
            self.assertGreater(sound.loud(x).sum(), 15, 'no sentence is heard')
            cid = self.sid()
        text = self.s.trace(cid)
        self.assertRegex(text, r'\b%d\b' % code)
        if pattern:
            self.assertRegex(text, pattern)
        return text

    def sid(self):
        return [m.group(1) for m in (re.search(r'call (CA[0-9a-f]{32}) from', l) for l in self.s.err if l) if m][-1]

    def test_exit_status_with_the_last_line_of_stderr(self):
        text = self.error('201', 11200, 'cannot open the book')
        self.assertNotIn('first', text)

    def test_no_header_block(self):
        self.error('202', 11200, 'header')

    def test_python_traceback(self):
        self.error('208', 11200, 'nothing_of_this_name')

    def test_not_executable(self):
        """Its x bit is taken away while the system runs, and nothing is written: the folder need not be read again."""
        os.chmod(os.path.join(self.s.services, '203'), 0o644)
        text = self.error('203', 11200, 'chmod|not executable')

    def test_not_executable_from_the_start(self):
        """Such a file is none of the services; the log says so, and what to do."""
        self.assertRegex(self.s.wait_line('services/209', err=True), r'chmod \+x')
        self.assertEqual(set(self.each(lambda p: p.refused('209')['status']).values()), {404})

    def test_crlf_after_the_interpreter(self):
        self.error('204', 11200, r'CRLF')

    def test_interpreter_that_is_not_there(self):
        self.error('205', 11200, r'/nowhere/python9')

    def test_status_500_of_a_script(self):
        self.error('215', 11200)

    def test_content_type_that_is_none_of_ours(self):
        self.error('206', 12300)

    def test_empty_body(self):
        self.error('214', 11770)

    def test_document_that_does_not_parse(self):
        self.error('207', 12100)

    def test_unknown_element_is_skipped(self):
        text = self.error('210', 12200)
        self.assertRegex(text, 'Say>After')
        self.assertRegex(text, 'Wobble')

    def test_verb_not_served_is_13750_when_reached(self):
        text = self.error('211', 13750)
        self.assertIn('Say>Before', text)
        self.assertNotIn('Say>Never', text)
        self.assertIn('Record', text)

    def test_reject(self):
        self.assertEqual(set(self.each(lambda p: p.refused('212')['status']).values()), {486})
        self.assertEqual(set(self.each(lambda p: p.refused('213')['status']).values()), {404})

    def test_hangup_first_answers_and_ends(self):
        for way, (x, s) in self.each(lambda p: listen(p, '216')).items():
            self.assertLess(s, 1, way)

    def test_404_names_the_places(self):
        mark = self.s.mark()
        self.assertEqual(set(self.each(lambda p: p.refused('777')['status']).values()), {404})
        line = self.s.wait_line('no service for 777', err=True, after=mark)
        for place in ('services/777', '777.xml', '777.txt', '777.wav', 'services/default'):
            self.assertIn(place, line)

    def test_two_files_for_one_number(self):
        mark = self.s.mark()
        self.assertEqual(set(self.each(lambda p: p.refused('300')['status']).values()), {500})
        line = self.s.wait_line('90001', err=True, after=mark)
        self.assertIn('300.txt', line)
        self.assertRegex(line, r'\b300\b[^.]')

    def test_names_that_are_none(self):
        for number in ('a' * 33, '..', '.hidden', 'a%2fb', '%00', '200%2e'):
            with self.s.phone() as p:
                self.assertIn(p.refused(number)['status'], (404, 400, 484), number)


class Folder(Case):
    """The folder of services is watched."""
    SECONDS = 15
    CONFIG = SPEECH
    SERVICES = {'100': xml('<Hangup/>')}

    def status(self, number):
        with self.s.phone() as p:
            p.invite(number)
            m = p.expect(lambda s: s >= 200, method='INVITE')
            if m['status'] == 200:
                p.take_200(m)
                p.talk()
                p.wait_bye()
            else:
                p.ack_refusal(m)
            return m['status']

    def test_file_is_picked_up_changed_and_taken_away_while_running(self):
        self.assertEqual(self.status('120'), 404)
        self.s.put('120', xml('<Hangup/>'))
        hs.wait_until(lambda: self.status('120') == 200, what='the new file')
        self.s.put('120', xml('<Reject reason="busy"/>'))
        hs.wait_until(lambda: self.status('120') == 486, what='the changed file')
        os.unlink(os.path.join(self.s.services, '120'))
        hs.wait_until(lambda: self.status('120') == 404, what='the file that is gone')

    def test_half_written_file_is_not_picked_up(self):
        path = os.path.join(self.s.services, '121.xml')
        with open(path, 'w') as f:
            f.write('<Response><Ha')
            f.flush()
            self.s.put('122', xml('<Hangup/>'))  # the folder is read again with this one
            hs.wait_until(lambda: self.status('122') == 200, what='the other file')
            self.assertEqual(self.status('121'), 404)
            f.write('ngup/></Response>')
        hs.wait_until(lambda: self.status('121') == 200, what='the file that was closed')

    def test_dot_files_and_links_out_of_the_folder(self):
        out = os.path.join(self.s.dir, 'outside')
        with open(out, 'w') as f:
            f.write(xml('<Hangup/>'))
        os.chmod(out, 0o755)
        os.symlink(out, os.path.join(self.s.services, '130'))
        os.symlink('/bin/true', os.path.join(self.s.services, '131'))
        os.symlink('../outside', os.path.join(self.s.services, '132'))
        self.s.put('.133', xml('<Hangup/>'))
        self.s.put('134', xml('<Hangup/>'))
        hs.wait_until(lambda: self.status('134') == 200, what='the other file')
        for number in ('130', '131', '132', '.133', '133'):
            self.assertEqual(self.status(number), 404, number)

    def test_link_within_the_folder(self):
        os.symlink('100', os.path.join(self.s.services, '140'))
        hs.wait_until(lambda: self.status('140') == 200, what='the link')


class Request(Case):
    """What a script is told."""
    SECONDS = 10
    CONFIG = SPEECH
    OUT = 'printf "%s\\n" "$x" >&2; exit 1'

    @classmethod
    def services(cls):
        return {'100': '#!/bin/sh\nx=$(env | sort | tr "\\n" "|"; echo "##"; cat)\n' + cls.OUT,
                '101': '#!/bin/sh\necho "Content-Type: text/xml"\necho\ncase "$QUERY_STRING" in *step=2*) echo "<Response><Reject reason=\\"busy\\"/></Response>";; '
                       '*) echo "<Response><Redirect>?step=2</Redirect></Response>";; esac\n',
                '102': '#!/bin/sh\ncase "$QUERY_STRING" in *step=2*) printf "Content-Type: text/xml\\n\\n<Response><Reject reason=\\"busy\\"/></Response>";; '
                       '*) printf "Location: ?step=2\\n\\n";; esac\n',
                '103': '#!/bin/sh\n{ env; echo; cat; } > /tmp/hookswitch-test-env.$CALL_CALLERIDNUMBER.$$\nmv /tmp/hookswitch-test-env.$CALL_CALLERIDNUMBER.$$ '
                       '/tmp/hookswitch-test-env.$CALL_CALLERIDNUMBER\necho "Content-Type: text/xml"\necho\necho "<Response><Reject/></Response>"\n'}

    def environment(self, user, **kw):
        path = '/tmp/hookswitch-test-env.' + user
        try:
            with self.s.phone(user=user) as p:
                p.refused('103', **kw)
            with open(path) as f:
                env, _, form = f.read().partition('\n\n')
        finally:
            if os.path.exists(path):
                os.unlink(path)
        return dict(l.partition('=')[::2] for l in env.split('\n')), form

    def test_parameters_on_stdin_and_as_variables(self):
        os.environ['HOOKSWITCH_SECRET'] = 'x'
        env, form = self.environment('777%d' % os.getpid(), extra=['X-Colour: blue'], display='"Ann B" ')
        number = '777%d' % os.getpid()
        self.assertEqual(env['CALL_CALLERIDNAME'], 'Ann B')
        self.assertEqual(env['CALL_CALLERIDNUMBER'], number)
        self.assertEqual(env['CALL_EXTENSION'], '103')
        self.assertEqual(env['REQUEST_METHOD'], 'POST')
        self.assertEqual(env['GATEWAY_INTERFACE'], 'CGI/1.1')
        self.assertEqual(env['CONTENT_TYPE'], 'application/x-www-form-urlencoded')
        self.assertEqual(int(env['CONTENT_LENGTH']), len(form))
        self.assertRegex(env['CALL_CALLSID'], '^CA[0-9a-f]{32}$')
        from urllib.parse import parse_qs
        f = {k: v[0] for k, v in parse_qs(form, keep_blank_values=True).items()}
        self.assertEqual((f['CallerIdName'], f['CallerIdNumber'], f['Extension'], f['CallStatus'], f['Direction'], f['ApiVersion']),
                         ('Ann B', number, '103', 'ringing', 'inbound', '2010-04-01'))
        self.assertEqual(f['SipHeader_X-Colour'], 'blue')
        self.assertRegex(f['AccountSid'], '^AC[0-9a-f]{32}$')
        self.assertEqual(f['CallSid'], env['CALL_CALLSID'])

    def test_environment_is_an_allow_list(self):
        os.environ['HOOKSWITCH_SECRET'] = 'x'
        with hs.Server(self.services(), SPEECH) as s:
            path = '/tmp/hookswitch-test-env.888'
            with s.phone(user='888') as p:
                p.refused('103')
            with open(path) as f:
                env = f.read()
            os.unlink(path)
        self.assertNotIn('HOOKSWITCH_SECRET', env)
        for name in re.findall(r'(?m)^(\w+)=', env.partition('\n\n')[0]):
            self.assertRegex(name, r'^(CALL_\w+|PATH|LANG|LC_\w+|TZ|HOME|PWD|SHLVL|_|OLDPWD|REQUEST_METHOD|QUERY_STRING|CONTENT_\w+|GATEWAY_INTERFACE|SERVER_\w+|SCRIPT_\w+|'
                                   r'REMOTE_\w+|PATH_INFO|PATH_TRANSLATED|HTTP_\w+|AUTH_TYPE|TMPDIR|USER|LOGNAME|SHELL)$')

    def test_location_of_a_script_asks_it_again(self):
        self.assertEqual(set(self.each(lambda p: p.refused('102')['status']).values()), {486})


class Media(Case):
    """RTP as it is agreed by SDP, in the call and by re-INVITE."""
    SECONDS = 25
    CONFIG = SPEECH

    @classmethod
    def services(cls):
        return {'100': xml('<Play loop="4">105.wav</Play>'), '105.wav': sound.wav(MELODY), '43': xml('<Echo/>')}

    def test_hold_answers_recvonly_and_no_packet_comes(self):
        def hold(p):
            p.call('100')
            p.rtp.wait_more(25)
            m = p.reinvite('sendonly')
            self.assertEqual(m['status'], 200)
            self.assertIn(b'a=recvonly', m['body'])
            n = len(p.rtp.got)
            p.rtp.wait_sent(40)
            self.assertLessEqual(len(p.rtp.got) - n, 2)
            m = p.reinvite('sendrecv')
            self.assertIn(b'a=sendrecv', m['body'])
            p.rtp.wait_more(25)
            self.assertEqual(p.bye(), 200)
        self.each(hold)

    def test_inactive(self):
        def hold(p):
            p.call('100')
            m = p.reinvite('inactive')
            self.assertIn(b'a=inactive', m['body'])
            self.assertEqual(p.bye(), 200)
        self.each(hold, WAYS[:1])

    def test_new_address_by_reinvite(self):
        def move(p):
            import phone
            p.call('100')
            p.rtp.wait_more(25)
            old, p.rtp = p.rtp, phone.Rtp(p.host)
            m = p.reinvite()
            self.assertEqual(m['status'], 200)
            p.talk()
            p.rtp.wait_more(50)
            n = len(old.got)
            p.rtp.wait_more(25)
            self.assertLessEqual(len(old.got) - n, 2)
            o, q = old.audio()[-1], p.rtp.audio()[0]
            self.assertEqual(q[5], o[5], 'another SSRC')
            self.assertLess((q[3] - o[3]) & 65535, 10, 'the sequence does not go on')
            old.close()
            self.assertEqual(p.bye(), 200)
        self.each(move)

    def test_offer_in_ack(self):
        def late(p):
            p.invite('43', body='')
            m = p.expect(lambda s: s >= 200, method='INVITE')
            self.assertEqual(m['status'], 200)
            self.assertIn(b'm=audio', m['body'])
            p.take_200(m, ack=False)
            p.request('ACK', p.sdp(), cseq=p.invite_cseq)
            p.talk(sound.ulaw(MELODY))
            p.rtp.wait(50)
            self.assertEqual(p.bye(), 200)
        self.each(late)

    def test_no_codec_in_common(self):
        def refuse(p):
            return p.refused('43', body=p.sdp(pts='9 18').replace('a=rtpmap:0 PCMU/8000', 'a=rtpmap:9 G722/8000'))['status']
        self.assertEqual(set(self.each(refuse).values()), {488})

    def test_sdp_names_the_local_address(self):
        def c_line(p):
            p.call('43')
            self.assertEqual(p.bye(), 200)
            return p.rtp.remote[0] == p.host
        self.assertEqual(set(self.each(c_line).values()), {True})

    def test_latch_follows_the_phone_behind_a_router(self):
        """The SDP names a port that nothing comes from; sound comes from another port of the same address, and goes back there."""
        import phone
        with self.s.phone() as p:
            silent = phone.Rtp(p.host)
            p.invite('100', body=p.sdp(port=silent.port))
            p.answered()
            p.talk()
            p.rtp.wait_more(50)
            n = len(silent.got)
            p.rtp.wait_more(25)
            self.assertLessEqual(len(silent.got) - n, 1)
            silent.close()
            self.assertEqual(p.bye(), 200)

    def test_stranger_is_not_heard(self):
        """Packets from an address that nobody named change nothing."""
        import phone
        with self.s.phone() as p:
            p.call('43', talk=False)
            p.talk(sound.ulaw(MELODY))
            p.rtp.wait_more(20)
            other = phone.Rtp('127.0.0.9')
            other.remote = p.rtp.remote
            other.talk(sound.ulaw(OTHER))
            p.rtp.wait_more(50)
            self.assertEqual(len(other.got), 0)
            other.close()
            c, _ = sound.best(sound.samples(p.rtp)[8000:], MELODY)
            self.assertEqual(p.bye(), 200)
            self.assertGreater(c, 0.3)

    def test_rtcp_reports(self):
        with self.s.phone() as p:
            p.call('100')
            p.rtp.wait_for(lambda: p.rtp.got_rtcp, 10, 'no RTCP')
            data, src = p.rtp.got_rtcp[0]
            self.assertEqual((data[0] >> 6, data[1]), (2, 200))
            self.assertEqual(p.bye(), 200)

    def test_digits_stand_in_the_trace(self):
        def dial(p):
            p.call('43')
            for d in '19*#0':
                p.rtp.digit(d)
            self.assertEqual(p.bye(), 200)
            return p.call_id
        self.each(dial)
        sids = [re.search(r'call (CA[0-9a-f]{32})', l).group(1) for l in self.s.err if l and re.search(r'call CA.* to 43', l)][-4:]
        for sid in sids:
            got = [r['payload'][0] for r in self.s.records(sid) if r['kind'] == 'digit' and not r['payload'].startswith('>')]
            self.assertEqual(''.join(got), '19*#0')


class Signalling(Case):
    SECONDS = 15
    CONFIG = SPEECH

    @classmethod
    def services(cls):
        return {'100': xml('<Pause length="20"/><Say>x</Say>'), '101': '#!/bin/sh\nread x <"fifo"\n', '43': xml('<Echo/>'), '44': xml('')}

    def test_register_is_405_with_allow(self):
        for way, m in self.each(lambda p: p.outside('REGISTER')).items():
            self.assertEqual(m['status'], 405, way)
            self.assertIn('INVITE', get(m, 'allow'))
            self.assertNotIn('REGISTER', get(m, 'allow'))

    def test_options(self):
        for way, m in self.each(lambda p: p.outside('OPTIONS')).items():
            self.assertEqual(m['status'], 200, way)
            for word in ('INVITE', 'ACK', 'BYE', 'CANCEL', 'OPTIONS'):
                self.assertIn(word, get(m, 'allow'))

    def test_unknown_method(self):
        for way, m in self.each(lambda p: p.outside('WOBBLE')).items():
            self.assertIn(m['status'], (405, 501), way)

    def test_request_of_no_call(self):
        def bye(p):
            p.to_tag_fake = 1
            p.number, p.display, p.call_id, p.tag, p.to_tag, p.remote_target = '100', '', 'nobody', 'a', 'b', None
            n = p.request('BYE')
            return p.expect(lambda s: s >= 200, method='BYE', cseq=n)['status']
        self.assertEqual(set(self.each(bye).values()), {481})

    def test_cancel_while_a_slow_script_runs(self):
        """The script is ended with the call."""
        path = os.path.join(self.s.services, '102')
        self.s.put('102', '#!/bin/sh\nexec sleep 14.2468\n')
        hs.wait_until(lambda: self.rings('102'), what='the new file')

        def cancel(p):
            p.invite('102')
            p.expect(180)
            return p.cancel()
        self.assertEqual(set(self.each(cancel).values()), {(200, 487)})
        os.unlink(path)
        hs.wait_until(lambda: not [1 for c in cmdlines() if b'14.2468' in c], 5, 'the end of the scripts')

    def rings(self, number):
        with self.s.phone() as p:
            p.invite(number)
            m = p.expect(lambda s: s >= 180, method='INVITE')
            if m['status'] == 180:
                p.cancel()
            else:
                p.ack_refusal(m)
            return m['status'] == 180

    def test_compact_forms(self):
        with self.s.phone() as p:
            p.invite('43')
            p.answered()
            self.assertEqual(p.bye(), 200)
            text = p.invite_text
        with self.s.phone() as p:
            p.number, p.display, p.call_id, p.tag, p.to_tag, p.remote_target = '43', '', 'compact', 'c1', None, None
            p.cseq = p.invite_cseq = 7
            body = p.sdp()
            text = '\r\n'.join(['INVITE sip:43@127.0.0.1 SIP/2.0', 'v: SIP/2.0/UDP %s;branch=z9hG4bKcompact;rport' % p.hp, 'f: <sip:x@127.0.0.1>;tag=c1',
                                't: <sip:43@127.0.0.1>', 'i: compact', 'CSeq: 7 INVITE', 'm: <sip:x@%s>' % p.hp, 'Max-Forwards: 70', 'c: application/sdp',
                                'l: %d' % len(body), '', body])
            p.send_raw(text)
            p.answered()
            p.talk()
            self.assertEqual(p.bye(), 200)

    def test_repeated_invite_makes_one_call(self):
        mark = self.s.mark()
        with self.s.phone() as p:
            p.invite('43')
            for _ in range(3):
                p.send_raw(p.invite_text)
            p.answered()
            p.talk()
            self.assertEqual(p.bye(), 200)
        self.s.wait_line('ended by', err=True, after=mark)
        self.assertEqual(len([l for l in self.s.err[mark:] if l and re.search('call CA.* to 43', l)]), 1)

    def test_2xx_is_repeated_until_the_ack(self):
        with self.s.phone() as p:
            p.invite('43')
            m = p.expect(200, method='INVITE')
            self.assertEqual(p.expect(200, method='INVITE', resend=False)['raw'], m['raw'])
            p.take_200(m)
            p.talk()
            self.assertEqual(p.bye(), 200)

    def test_rport(self):
        with self.s.phone() as p:
            m = p.outside('OPTIONS')
            self.assertIn(';rport=%d' % p.addr[1], get(m, 'via'))

    def test_torn_and_joined_frames(self):
        """Two requests in one segment; a ping between messages."""
        with self.s.phone(tcp=True) as p:
            p.number, p.display, p.call_id, p.tag, p.to_tag, p.remote_target = '100', '', 'joined', 'c1', None, None
            send, texts = p.send_raw, []
            p.send_raw = lambda t: texts.append(t)
            p.request('OPTIONS')
            p.request('OPTIONS')
            send('\r\n\r\n'.join(texts))
            p.expect(200, cseq=1)
            p.expect(200, cseq=2)

    def test_damaged_requests(self):
        """What cannot be understood is answered 400 or dropped; the system goes on."""
        with self.s.phone() as p:
            for junk in (b'\0', b'INVITE', b'INVITE sip:1 SIP/2.0\r\n\r\n', os.urandom(1000), b'SIP/2.0 200 OK\r\n\r\n', b'\r\n' * 50):
                p.send_raw(junk)
            p.auto, p.faults = False, []
            self.assertEqual(p.outside('OPTIONS')['status'], 200)
            p.faults = []
        self.assertEqual(len([l for l in self.s.err if l and 'restart' in l]), 0)

    def test_info_in_a_call(self):
        def info(p):
            p.call('43')
            n = p.request('INFO')
            empty = p.expect(lambda s: s >= 200, method='INFO', cseq=n)['status']
            n = p.request('INFO', 'Signal=5\r\nDuration=160\r\n', ctype='application/dtmf-relay')
            full = p.expect(lambda s: s >= 200, method='INFO', cseq=n)['status']
            self.assertEqual(p.bye(), 200)
            return empty, full
        mark = self.s.mark()
        self.assertEqual(set(self.each(info).values()), {(200, 200)})
        for sid in [m.group(1) for m in (re.search(r'call (CA[0-9a-f]{32}) from', l) for l in self.s.err[mark:] if l) if m]:
            got = [r['payload'][0] for r in self.s.records(sid) if r['kind'] == 'digit' and not r['payload'].startswith('>')]
            self.assertEqual(got, ['5'])

    def test_connection_lost_call_goes_on_to_its_end(self):
        """A TCP connection that is closed ends nothing by itself."""
        with self.s.phone(tcp=True) as p:
            p.call('43')
            p.loop.drop(p.sock)
            p.sock.close()
            p.rtp.wait_more(50)


def cmdlines():
    for pid in os.listdir('/proc'):
        if pid.isdigit():
            try:
                with open('/proc/%s/cmdline' % pid, 'rb') as f:
                    yield f.read()
            except OSError:
                pass


class Clocks(Case):
    """Limits of time, with small parameters."""
    SECONDS = 25
    CONFIG = SPEECH + '[limits]\nmax_call_s = 4\n[media]\nquiet_s = 2\n'
    SERVICES = {'43': xml('<Echo/>'), '100': xml('<Pause length="60"/>')}

    def test_no_call_above_max_call_s(self):
        def hold(p):
            p.call('43')
            bye = p.wait_bye(10)
            self.assertIsNotNone(get(bye, 'reason'))
            return bye['at'] - p.ok['at']
        for way, s in self.each(hold).items():
            self.assertAlmostEqual(s, 4, delta=0.6, msg=way)

    def test_quiet_call_is_probed_and_goes_on_when_answered(self):
        def quiet(p):
            p.call('43', talk=False)
            m = hs.wait_until(lambda: [x for x in p.served if x['method'] in ('INVITE', 'OPTIONS', 'UPDATE')], 4, 'a probe')[0]
            p.wait_bye(10)
            return p.bye_from_peer['at'] - p.ok['at']
        for way, s in self.each(quiet).items():
            self.assertAlmostEqual(s, 4, delta=0.7, msg=way)  # by max_call_s



class Deaf(Case):
    SECONDS = 45
    CONFIG = Clocks.CONFIG
    SERVICES = Clocks.SERVICES

    def test_quiet_call_is_ended_when_nobody_answers(self):
        with hs.Server(self.SERVICES, SPEECH + '[media]\nquiet_s = 1\n') as s:
            with s.phone() as p:
                p.call('43', talk=False)
                p.auto = False
                probe = p.expect('INVITE', 5)
                self.assertAlmostEqual(probe['at'] - p.ok['at'], 1, delta=0.5)
                bye = p.expect('BYE', 40)  # RFC 3261 timer B: 64 T1
                self.assertIsNotNone(get(bye, 'reason'))
                self.assertAlmostEqual(bye['at'] - probe['at'], 32, delta=1)
