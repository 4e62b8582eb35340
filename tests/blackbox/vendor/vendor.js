// SPDX-License-Identifier: Apache-2.0
// vendor.js validate: reads [{token, signature, url, params}] from stdin, prints [bool] as the official validator for Node judges them.
// vendor.js documents: prints {name: document}, written by the official builder.
'use strict';
const twilio = require(process.env.VENDOR_MODULES + '/twilio');

function validate(requests) {
	return requests.map((r) => twilio.validateRequest(r.token, r.signature, r.url, r.params));
}

function say(response) {
	const s = response.say({ voice: 'Polly.Joanna', language: 'en-GB', loop: 2 }, 'Your code is ');
	s.break({ strength: 'weak', time: '200ms' });
	s.emphasis({ level: 'strong' }, 'now');
	s.lang({ 'xml:lang': 'es-ES' }, 'hola');
	s.p('A paragraph.');
	s.phoneme({ alphabet: 'ipa', ph: 'pɪˈkɑːn' }, 'pecan');
	s.prosody({ pitch: '-10%', rate: '85%', volume: '-6dB' }, 'slowly');
	s.s('A sentence.');
	s.sayAs({ 'interpret-as': 'digits' }, '1234');
	s.sayAs({ 'interpret-as': 'date', format: 'mdy' }, '12/24/2030');
	s.sayAs({ 'interpret-as': 'telephone' }, '+15005550006');
	s.sub({ alias: 'World Wide Web' }, 'WWW');
	s.w({ role: 'amazon:VB' }, 'read');
	response.say('Grüße, 世界 & <friends>');
	response.say({ voice: 'man' }, 'One.');
	response.say({ voice: 'woman' }, 'Two.');
	response.say({ voice: 'alice', language: 'de-DE' }, 'Drei.');
}

function gather(response) {
	const g = response.gather({
		action: 'http://127.0.0.1/menu?step=1&lang=en', actionOnEmptyResult: true, bargeIn: false, debug: true, enhanced: true, finishOnKey: '*', hints: 'yes, no, $OPERAND',
		input: 'dtmf speech', language: 'en-US', maxSpeechTime: 30, method: 'GET', numDigits: 4, partialResultCallback: 'http://127.0.0.1/partial',
		partialResultCallbackMethod: 'POST', profanityFilter: false, speechModel: 'phone_call', speechTimeout: 'auto', timeout: 3,
	});
	g.say({ language: 'en-US' }, 'Press four keys').break({ time: '1s' });
	g.play({ loop: 1 }, 'http://127.0.0.1/beep.wav');
	g.pause({ length: 1 });
	response.gather({ finishOnKey: '', input: 'dtmf', speechTimeout: '2' });
	response.gather();
}

function documents() {
	const made = {
		say, gather,
		play(r) { r.play('http://127.0.0.1/a.mp3'); r.play({ loop: 0 }, 'http://127.0.0.1/a.wav'); r.play({ digits: '1w2W#*A' }); },
		pause(r) { r.pause({ length: 3 }); r.pause(); },
		redirect(r) { r.redirect({ method: 'GET' }, 'http://127.0.0.1/next?a=b&c=d'); },
		reject(r) { r.reject({ reason: 'busy' }); },
		rejected(r) { r.reject({ reason: 'rejected' }); },
		hangup(r) { r.hangup(); },
		echo(r) { r.echo(); },
		comment(r) { r.comment('made by a builder'); r.say('Hi.'); },
		empty() {},
	};
	const out = {};
	for (const name of Object.keys(made)) {
		const r = new twilio.twiml.VoiceResponse();
		made[name](r);
		out[name] = r.toString();
	}
	return out;
}

if (process.argv[2] === 'validate') {
	const chunks = [];
	process.stdin.on('data', (c) => chunks.push(c)).on('end', () => process.stdout.write(JSON.stringify(validate(JSON.parse(Buffer.concat(chunks).toString())))));
} else {
	process.stdout.write(JSON.stringify(documents()));
}
