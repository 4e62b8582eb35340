#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// A telephone service as a web server, in plain Node: a menu by digits, a directory by name, and a call that ends by itself after a given time. The same service as menu.py.
//
//     node services-web/menu.js 3000             # prints: listening on http://127.0.0.1:3000/voice
//
// and in hookswitch.ini:
//
//     [number 100]
//     voice_url = http://127.0.0.1:3000/voice
'use strict';
const http = require('http');

const PEOPLE = { ADA: '204', BOB: '205', CAT: '206' }; // first three letters of a name: the extension
const KEYS = { 2: 'ABC', 3: 'DEF', 4: 'GHI', 5: 'JKL', 6: 'MNO', 7: 'PQRS', 8: 'TUV', 9: 'WXYZ' };
const LIMIT_S = 10; // of the talking clock

const escape = (s) => s.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
const say = (text) => `<Say>${escape(text)}</Say>`;
const again = '<Redirect>/voice</Redirect>';

function gather(action, prompt, attrs) {
  const more = Object.entries(attrs).map(([k, v]) => ` ${k}="${v}"`).join('');
  return `<Gather action="${action}"${more}>${prompt}</Gather>`;
}

const pages = {
  '/voice'(form, cookies) {
    const tries = Number(cookies.tries || 0) + 1;
    if (tries > 3) return [say('Too many tries. Goodbye.') + '<Hangup/>'];
    const menu = gather('/choice', say('For the directory press 1. For the clock press 2.'), { numDigits: 1, timeout: 3 });
    return [menu + say('Nothing was pressed.') + again, { tries }];
  },
  '/choice'(form) {
    const digit = form.get('Digits');
    if (digit === '1') return [gather('/directory', say('Enter the first three letters of the name.'), { numDigits: 3 }) + again];
    if (digit === '2') return [`<Redirect method="GET">/clock?end=${Date.now() + 1000 * LIMIT_S}</Redirect>`];
    return [say(`There is no ${digit} here.`) + again];
  },
  '/directory'(form) {
    const digits = form.get('Digits') || '';
    for (const [name, extension] of Object.entries(PEOPLE)) {
      if (digits.length === 3 && [...name].every((c, i) => (KEYS[digits[i]] || '').includes(c))) {
        return [`<Say>The extension is <say-as interpret-as="digits">${extension}</say-as>.<break time="300ms"/>Goodbye.</Say><Hangup/>`];
      }
    }
    return [say('Nobody has that name.') + again];
  },
  // Tells the time again and again until the time of the call is over: the limit is in the URL, no state is kept here.
  '/clock'(form) {
    const end = Number(form.get('end') || 0);
    if (Date.now() >= end) return [say('Your time is over. Goodbye.') + '<Hangup/>'];
    const now = new Date();
    return [say(`It is ${now.getHours()} ${now.getMinutes()} and ${now.getSeconds()} seconds.`) +
      `<Pause length="2"/><Redirect method="GET">/clock?end=${end}</Redirect>`];
  },
};

const server = http.createServer((req, res) => {
  let body = '';
  req.on('data', (chunk) => { body += chunk; if (body.length > 1e6) req.destroy(); });
  req.on('end', () => {
    const url = new URL(req.url, 'http://service/');
    if (!pages[url.pathname]) { res.writeHead(404); res.end(); return; }
    const form = req.method === 'POST' ? new URLSearchParams(body) : url.searchParams;
    const cookies = Object.fromEntries((req.headers.cookie || '').split(';').map((c) => c.trim().split('=')));
    const [verbs, keep] = pages[url.pathname](form, cookies);
    res.setHeader('Set-Cookie', Object.entries(keep || {}).map(([k, v]) => `${k}=${v}`));
    res.writeHead(200, { 'Content-Type': 'text/xml; charset=utf-8' });
    res.end(`<?xml version="1.0" encoding="UTF-8"?><Response>${verbs}</Response>`);
  });
});
server.listen(Number(process.argv[2] || 3000), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}/voice`));
