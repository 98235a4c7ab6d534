// sanitizers-are-enough: run once in a whole run, with sanitizers.
// Every sort of bad input at the HTTP edge: one answer in our envelope, one log line, the connection closed where its framing is in
// doubt, the descriptors back, and nobody else notices.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after } from 'node:test';
import { KEY, test, until, within } from './lib/kit.mjs';
import { CHAT, descriptors, Proxy } from './lib/proxy.mjs';
import { AUTH, Wire } from './lib/wire.mjs';
import { fake, FakeWorker, MODEL, user } from './lib/workers.mjs';

const BODY_MAX = 100_000;
const CANARY = 'canary-77aa01';
const PROBE_MS = 10_000; // what is meant is 50; a machine may have others to serve

const worker = new FakeWorker();
const proxy = await Proxy.start(null, worker.settings({ MAX_BODY_BYTES: String(BODY_MAX) }));
const pids = { proxy: proxy.pid, worker: proxy.workerPid };
const opened = descriptors(proxy.pid);
after(async () => {
  await proxy.stop();
  assert.ok(!proxy.lines.join('\n').toLowerCase().includes('canary'), 'the logs quote a client');
});

const isRequest = ({ event, route }) =>
  (event === 'request' && !/^\/(live|ready|health)z$/.test(route)) || event === 'request_incomplete';

// After whatever a test did: alive, at once, with as many descriptors as before. Returns what was logged of it.
async function unharmed(since, lines = 1) {
  const { status } = await within(PROBE_MS, '/healthz', proxy.fetch('/healthz', { key: null }));
  assert.equal(status, 200);
  await until('the descriptors of the start', () => descriptors(proxy.pid) <= opened);
  assert.deepEqual({ proxy: proxy.pid, worker: proxy.workerPid }, pids);
  assert.equal(proxy.ended, null);
  await until('a log line', () => proxy.logs.slice(since).filter(isRequest).length >= lines);
  const logged = (await proxy.wholeLog()).slice(since).filter(isRequest);
  if (lines === 0) return [];
  assert.equal(logged.length, lines, JSON.stringify(logged));
  return logged;
}

const answers = (text) => (text.match(/HTTP\/1\.1 \d{3} /g) ?? []).length;

// What comes back for the bytes, to the end of the connection.
async function answerTo(bytes) {
  const wire = await Wire.open(proxy);
  wire.socket.write(bytes, 'latin1');
  await wire.ends();
  return wire.text;
}

function checkEnvelope(text, { status, code = null, type = 'invalid_request_error' }) {
  const about = text.slice(0, 400);
  const [head, body] = text.split('\r\n\r\n');
  assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `), about);
  assert.match(head, /^content-type: application\/json$/im, about);
  assert.match(head, /^x-request-id: req_\w+$/im, about);
  const { error } = JSON.parse(body);
  assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code', 'retryable']);
  assert.equal(error.code, code, about);
  assert.equal(error.type, type);
  assert.ok(!text.toLowerCase().includes('canary'), `echoed: ${about}`);
}

// One answer, the connection closed, one log line with the reason, and what came behind is never answered.
async function refusesAndCloses(what, bytes, wanted, reason) {
  const since = proxy.logs.length;
  const smuggled = `GET /livez HTTP/1.1\r\nhost: ${CANARY}\r\n\r\n`;
  const text = await answerTo(bytes + smuggled);
  checkEnvelope(text, wanted);
  assert.match(text, /^connection: close$/im);
  assert.equal(answers(text), 1, `${what}: more than one answer`);
  const [line] = await unharmed(since);
  assert.equal(line.status, wanted.status);
  assert.deepEqual([line.route, line.error_code, line.reason], ['rejected', wanted.code, reason], what);
}

const malformed = { status: 400, code: 'malformed_request' };
const post = (fields, { version = '1.1', body = '' } = {}) =>
  `POST ${CHAT} HTTP/${version}\r\nhost: x\r\n${AUTH}content-type: application/json\r\n${fields}\r\n${body}`;
const get = (fields = '', { target = '/livez', version = '1.1', method = 'GET' } = {}) =>
  `${method} ${target} HTTP/${version}\r\nhost: x\r\n${fields}\r\n`;

// ---- framing ----

const framing = {
  'Content-Length with Transfer-Encoding': [post('content-length: 5\r\ntransfer-encoding: chunked\r\n', { body: '0\r\n\r\n' }), 'encoding_and_length'],
  'Transfer-Encoding with Content-Length': [post('transfer-encoding: chunked\r\ncontent-length: 5\r\n', { body: '0\r\n\r\n' }), 'encoding_and_length'],
  'two lengths that differ': [post('content-length: 5\r\ncontent-length: 0\r\n', { body: '12345' }), 'many_lengths'],
  'two lengths that agree': [post('content-length: 2\r\ncontent-length: 2\r\n', { body: '{}' }), 'many_lengths'],
  'a length with a plus': [post('content-length: +7\r\n'), 'bad_length'],
  'a negative length': [post('content-length: -1\r\n'), 'bad_length'],
  'a length in hexadecimal': [post('content-length: 0x7\r\n'), 'bad_length'],
  'a list of lengths': [post('content-length: 7, 7\r\n'), 'bad_length'],
  'an empty length': [post('content-length:\r\n'), 'bad_length'],
  'a length of thirty digits': [post(`content-length: ${'9'.repeat(30)}\r\n`), 'bad_length'],
  'an encoding before chunked': [post('transfer-encoding: gzip, chunked\r\n', { body: '0\r\n\r\n' }), 'bad_encoding'],
  'two encodings': [post('transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n'), 'many_encodings'],
  'an unknown encoding': [post(`transfer-encoding: ${CANARY}\r\n`), 'bad_encoding'],
  'an encoding in HTTP/1.0': [post('transfer-encoding: chunked\r\n', { version: '1.0', body: '0\r\n\r\n' }), 'encoding_in_1_0'],
  'a blank before the colon of a length': [post('content-length : 5\r\n', { body: '12345' }), 'bad_header_name'],
};

for (const [what, [bytes, reason]] of Object.entries(framing))
  test(`${what} is answered 400 once, and the connection is closed`, () =>
    refusesAndCloses(what, bytes, malformed, reason));

// h2o decodes chunks itself: these are refused by it, in our envelope.
const chunks = {
  'a chunk size that is no number': 'Z\r\n{}\r\n0\r\n\r\n',
  'a chunk size of 17 digits': `${'1'.repeat(17)}\r\n`,
  'a negative chunk size': '-2\r\n{}\r\n0\r\n\r\n',
};

for (const [what, body] of Object.entries(chunks))
  test(`${what} is answered 400 once, and the connection is closed`, async () => {
    const since = proxy.logs.length;
    const text = await answerTo(post('transfer-encoding: chunked\r\n', { body }) + get());
    checkEnvelope(text, { status: 400 });
    assert.match(text, /^connection: close$/im);
    assert.equal(answers(text), 1);
    await unharmed(since);
  });

test('what follows a chunked request is never taken for another one', async () => {
  // A chunk size that another server may read as 0x3c, or as 0: whatever it was, the connection ends with the answer.
  for (const size of ['0x3c', '0;a=b', '0']) {
    const since = proxy.logs.length;
    const text = await answerTo(post('transfer-encoding: chunked\r\n', { body: `${size}\r\n\r\n${get()}` }));
    assert.equal(answers(text), 1, `${size}: ${text}`);
    assert.match(text, /^HTTP\/1\.1 400 /);
    assert.match(text, /^connection: close$/im);
    await unharmed(since);
  }
});

test('a chunked request is answered, and the connection closed after it', async () => {
  const since = proxy.logs.length;
  const body = JSON.stringify({ model: MODEL, messages: user('hi') });
  const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const text = await answerTo(post('transfer-encoding: chunked\r\n', { body: chunked }) + get());
  assert.match(text, /^HTTP\/1\.1 200 /);
  assert.match(text, /^connection: close$/im);
  assert.equal(answers(text), 1);
  await unharmed(since);
});

// ---- the head ----

const heads = {
  'no Host': [`GET /livez HTTP/1.1\r\n\r\n`, 'no_host'],
  'two Hosts': [get('host: y\r\n'), 'many_hosts'],
  'a Host with a blank': ['GET /livez HTTP/1.1\r\nhost: a b\r\n\r\n', 'bad_host'],
  'a folded header': [get(`a: b\r\n ${CANARY}\r\n`), 'folded_header'],
  'a bare LF after a header': [get('a: b\n'), 'bare_lf'],
  'a bare LF after the request line': ['GET /livez HTTP/1.1\nhost: x\r\n\r\n', 'bare_lf'],
  'a bare LF as the end of the head': ['GET /livez HTTP/1.1\r\nhost: x\r\n\n', 'bare_lf'],
  'a CR in a value': [get('a: b\rc: d\r\n'), 'bare_cr'],
  'a NUL in a value': [get('a: b\0c\r\n'), 'bad_header_value'],
  'a NUL in a name': [get('a\0: b\r\n'), 'bad_header_name'],
  'a NUL in the URL': [get('', { target: '/livez\0' }), 'bad_target'],
  'a control byte in a key': [get('authorization: Bearer \x01\r\n'), 'bad_header_value'],
  'an empty header name': [get(': b\r\n'), 'bad_header_name'],
  'a header without a colon': [get(`${CANARY}\r\n`), 'bad_header_name'],
  'HTTP/0.9': ['GET /livez\r\n', 'bad_version'],
  'HTTP/1.9': [get('', { version: '1.9' }), 'bad_version'],
  'HTTP/2.0': [get('', { version: '2.0' }), 'bad_version'],
  'an HTTP/2 preface': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'bad_version'],
  'a TLS hello': ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'bad_method'],
  'zeros': ['\0'.repeat(1000), 'bad_method'],
  'a megabyte of zeros': ['\0'.repeat(1_000_000), 'bad_method'],
  'random bytes': ['\x9f\x1b\xe2\x07\x55\xaa\x90\x00\xff', 'bad_method'],
  'a word and an end': [`${CANARY}\r\n\r\n`, 'bad_method'],
};

for (const [what, [bytes, reason]] of Object.entries(heads))
  test(`${what}: answered 400, and the connection is closed`, () =>
    refusesAndCloses(what, bytes, malformed, reason));

test('HTTP/1.0 needs no Host', async () => {
  const wire = await Wire.open(proxy);
  assert.equal((await wire.send('GET /livez HTTP/1.0\r\n\r\n').answer()).status, 200);
  await wire.ends();
});

test('bad bytes behind a good request on a kept connection are answered 400 after it', async () => {
  const bad = `${CANARY} \0\r\n\r\n`;
  for (const together of [true, false]) {
    const since = proxy.logs.length;
    const wire = await Wire.open(proxy);
    const good = post('content-length: 2\r\n', { body: '{}' });
    wire.socket.write(together ? good + bad : good, 'latin1');
    assert.equal((await wire.answer()).status, 400); // of the body
    if (!together) wire.socket.write(bad, 'latin1');
    await wire.ends();
    checkEnvelope(wire.text, malformed);
    assert.equal(answers(wire.text), 1);
    await unharmed(since, 2);
  }
});

test('a head that comes byte by byte is refused at its first bad byte', async () => {
  const since = proxy.logs.length;
  const wire = await Wire.open(proxy);
  for (const byte of 'GET /livez HTTP/1.1\r\nhost: x\r\nbad name')
    if (!wire.socket.destroyed && wire.socket.writable) await new Promise((done) => wire.socket.write(byte, done));
  await wire.ends();
  checkEnvelope(wire.text, malformed);
  await unharmed(since);
});

// ---- sizes ----

test('a head over 32 KiB is answered 431', () =>
  refusesAndCloses('', get(`a: ${CANARY.repeat(3000)}\r\n`), { status: 431, code: 'headers_too_large' }, 'head_too_large'));

test('a key of 64 KiB is answered 431, and never echoed', () =>
  refusesAndCloses('', get(`authorization: Bearer ${CANARY.repeat(5000)}\r\n`), { status: 431, code: 'headers_too_large' }, 'head_too_large'));

test('more than 100 headers are answered 431', () =>
  refusesAndCloses('', get('a: b\r\n'.repeat(100)), { status: 431, code: 'headers_too_large' }, 'too_many_headers'));

test('a URL over 8 KiB is answered 414', () =>
  refusesAndCloses('', get('', { target: `/${'a'.repeat(8192)}` }), { status: 414, code: 'uri_too_long' }, 'target_too_long'));

test('a head and a URL of just the limits are read', async () => {
  const since = proxy.logs.length;
  const longUrl = get('connection: close\r\n', { target: `/${'a'.repeat(8191)}` });
  checkEnvelope(await answerTo(longUrl), { status: 404, code: 'unknown_url' });
  const rest = get('connection: close\r\na: \r\n').length;
  const text = await answerTo(get(`connection: close\r\na: ${'b'.repeat(32 * 1024 - rest)}\r\n`));
  assert.match(text, /^HTTP\/1\.1 200 /);
  await unharmed(since, 1);
});

const tooLarge = { status: 413, code: 'request_too_large' };

test('a client sees the 413 of a body over the limit, of known length and chunked', async () => {
  const since = proxy.logs.length;
  const body = 'x'.repeat(BODY_MAX + 1);
  checkEnvelope(await answerTo(post(`content-length: ${body.length}\r\n`, { body })), tooLarge);
  const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  checkEnvelope(await answerTo(post('transfer-encoding: chunked\r\n', { body: chunked })), tooLarge);
  await unharmed(since, 2);
});

test('bodies that are announced beyond what all may take together are refused by their head', async (t) => {
  const settings = { MAX_BODY_BYTES: '65536', MAX_BODIES_BYTES: '131072' };
  const small = await Proxy.start(t, new FakeWorker().settings(settings));
  const held = [];
  for (const body of ['content-length: 65536\r\n', 'transfer-encoding: chunked\r\n']) {
    const wire = await Wire.open(small);
    wire.send(post(body).replace(AUTH, '')); // without a key, and the body never comes
    held.push(wire);
  }
  const refused = async () => {
    const wire = await Wire.open(small);
    wire.send(post('content-length: 1\r\n', { body: 'x' }).replace(AUTH, ''));
    const { status, headers, text } = await wire.answer();
    wire.destroy();
    return [status, JSON.parse(text).error.code, headers['retry-after']];
  };
  await until('the heads', async () => (await refused())[0] === 503);
  assert.deepEqual(await refused(), [503, 'server_overloaded', '1']);
  assert.equal((await small.fetch('/livez', { key: null })).status, 200);
  held[0].destroy();
  await until('room again', async () => (await refused())[0] === 401);
  held[1].destroy();
});

test('Expect: 100-continue with a body over the limit is answered 413 and no 100', async () => {
  const since = proxy.logs.length;
  const wire = await Wire.open(proxy);
  wire.send(post(`expect: 100-continue\r\ncontent-length: ${BODY_MAX + 1}\r\n`));
  const { status, text } = await wire.answer();
  assert.equal(status, 413);
  assert.equal(JSON.parse(text).error.code, 'request_too_large');
  wire.destroy();
  await unharmed(since);
});

test('bad framing with Expect: 100-continue is answered 400 and no 100', async () => {
  for (const fields of ['content-length: x\r\n', 'transfer-encoding: gzip\r\n']) {
    const since = proxy.logs.length;
    checkEnvelope(await answerTo(post(`expect: 100-continue\r\n${fields}`)), malformed);
    await unharmed(since);
  }
});

// ---- methods and paths ----

test('any other method is answered 405 with Allow', async () => {
  const since = proxy.logs.length;
  const methods = ['TRACE', 'get', 'Post', 'PATCH', 'M'.repeat(1000)];
  for (const method of methods) {
    const answer = await Wire.exchange(proxy, get('', { method }));
    assert.equal(answer.status, 405, method.slice(0, 20));
    assert.equal(answer.headers.allow, 'GET, HEAD');
    assert.equal(JSON.parse(answer.text).error.code, 'method_not_supported');
  }
  await unharmed(since, 0);
});

test('CONNECT is answered 405 with Allow, whatever it is to connect to', async () => {
  for (const target of ['/livez', 'x:443', '127.0.0.1:80']) {
    const since = proxy.logs.length;
    const answer = await Wire.exchange(proxy, get('', { method: 'CONNECT', target }));
    assert.equal(answer.status, 405, target);
    assert.ok(answer.headers.allow.includes('GET'), answer.headers.allow);
    await unharmed(since, target === '/livez' ? 0 : 1);
  }
});

test('OPTIONS is answered 405 with Allow where it asks for no leave', async () => {
  const since = proxy.logs.length;
  const answer = await Wire.exchange(proxy, get('', { method: 'OPTIONS', target: CHAT }));
  assert.deepEqual([answer.status, answer.headers.allow], [405, 'POST']);
  await unharmed(since);
});

test('HEAD has the length of GET and no body, also when it fails', async () => {
  const since = proxy.logs.length;
  const wire = await Wire.open(proxy);
  for (const target of ['/livez', '/nowhere', '/v1/models']) {
    const head = await wire.send(get('', { method: 'HEAD', target })).answer({ head: true });
    const got = await wire.send(get('', { target })).answer();
    assert.equal(head.status, got.status);
    assert.equal(head.headers['content-length'], String(got.text.length));
  }
  wire.destroy();
  await unharmed(since, 4);
});

test('paths are decided after they are cleaned, and never otherwise', async () => {
  const since = proxy.logs.length;
  const cases = [
    ['//livez', 404],
    ['/livez%00b', 404],
    ['/livez/', 404],
    ['/LIVEZ', 404],
    ['/livez;a', 404],
    ['/v1/../livez', 400],
    ['/%6civez', 200],
    ['/livez?a=%00&b', 200],
    ['/../../etc/passwd', 400],
    ['*', 404],
    ['livez', 200], // h2o puts the missing slash before it
  ];
  for (const [target, wanted] of cases) {
    const { status } = await Wire.exchange(proxy, get('', { target }));
    if (target !== 'livez') assert.equal(status, wanted, target);
  }
  await unharmed(since, 0);
});

test('a target in absolute form is served like its path', async () => {
  const since = proxy.logs.length;
  for (const target of ['http://x/livez', 'http://x:80/livez?a', 'HTTP://y/livez'])
    assert.equal((await Wire.exchange(proxy, get('', { target }))).status, 200, target);
  assert.equal((await Wire.exchange(proxy, get('', { target: 'http://y/v1/../livez' }))).status, 400);
  for (const target of ['http://x', 'http://x/nowhere', 'ftp://x/livez', 'http:///livez', 'http://x/v1/models'])
    assert.ok([401, 404].includes((await Wire.exchange(proxy, get('', { target }))).status), target);
  await unharmed(since, 6);
});

test('pipelined requests are answered in their order, also byte by byte', async () => {
  const since = proxy.logs.length;
  const body = JSON.stringify({ model: MODEL, messages: user('hi') });
  const all = get() + post(`content-length: ${body.length}\r\n`, { body }) + get('', { target: '/nowhere' }) + get();
  for (const size of [all.length, 1]) {
    const wire = await Wire.open(proxy);
    for (let at = 0; at < all.length; at += size)
      await new Promise((done) => wire.socket.write(all.slice(at, at + size), done));
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await wire.answer()).status);
    assert.deepEqual(statuses, [200, 200, 404, 200]);
    wire.destroy();
  }
  await unharmed(since, 4);
});

test('a thousand pipelined requests are all answered', async () => {
  const wire = await Wire.open(proxy);
  wire.send(get().repeat(1000));
  await until('1000 answers', () => answers(wire.text) === 1000);
  wire.destroy();
  await unharmed(proxy.logs.length, 0);
});

// ---- ids, media ----

test('an id of the client is replaced by ours', async () => {
  const since = proxy.logs.length;
  for (const id of [CANARY, 'x'.repeat(10_240), '\xff\xfe']) {
    const text = await answerTo(get(`x-request-id: ${id}\r\nconnection: close\r\n`));
    assert.match(text, /^x-request-id: req_\w+$/im);
    assert.ok(!text.includes(CANARY));
  }
  await unharmed(since, 0);
});

test('text of a client never reaches a header', async () => {
  const since = proxy.logs.length;
  const injected = `x\r\nx-${CANARY}: 1\r\n\r\n`;
  const bodies = [
    { model: injected, messages: user('hi') },
    { model: MODEL, messages: user('hi'), user: injected },
    { model: MODEL, messages: user('hi'), metadata: { [injected]: injected } },
    { model: MODEL, messages: user('hi'), [injected]: 1 },
    { model: MODEL, messages: [{ role: injected, content: 'hi' }] },
  ];
  for (const body of bodies) {
    const { status, headers } = await proxy.chat(body);
    assert.ok([200, 400, 404].includes(status));
    assert.ok(!JSON.stringify(headers).includes('canary'), JSON.stringify(headers));
  }
  await unharmed(since, bodies.length);
});

test('an image that is not sent inline is answered 400, and nobody is asked for it', async () => {
  const since = proxy.logs.length;
  let asked = 0;
  const bait = createServer((socket) => { asked++; socket.destroy(); });
  await new Promise((done) => bait.listen(0, '127.0.0.1', done));
  const urls = [
    `http://127.0.0.1:${bait.address().port}/a.png`,
    'http://169.254.169.254/latest/meta-data/',
    'http://[fd00:ec2::254]/latest/meta-data/',
    'file:///etc/passwd',
    'FILE:///etc/passwd',
    '/etc/passwd',
    'gopher://127.0.0.1/',
    `data:image/png;base64,${CANARY}!`,
  ];
  for (const url of urls) {
    const content = [{ type: 'image_url', image_url: { url } }];
    const { status, json, text } = await proxy.chat({ model: MODEL, messages: [{ role: 'user', content }] });
    assert.equal(status, 400, url);
    assert.match(json.error.param, /^messages\[0\]\.content\[0\]/);
    assert.ok(!text.includes(url));
  }
  assert.equal(asked, 0);
  bait.close();
  await unharmed(since, urls.length);
});

test('a hundred thousand messages are answered 400 or 413', async () => {
  const since = proxy.logs.length;
  const many = JSON.stringify({ model: MODEL, messages: Array(100_001).fill(0) });
  assert.ok([400, 413].includes((await proxy.chat(many)).status));
  await unharmed(since);
});

// ---- timing, clients that leave ----

test('a client that is slow to send is closed at the deadline, with one log line', async (t) => {
  const hasty = await Proxy.start(t, new FakeWorker().settings({ REQUEST_READ_TIMEOUT_MS: '800' }));
  const cases = [
    ['', 'nothing'],
    ['POST /v1/ch', 'head'],
    ['GET /livez HTTP/1.1\r\nhost: x\r\n', 'head'],
    [post('content-length: 100\r\n', { body: '{"model":' }), 'body'],
    [post('transfer-encoding: chunked\r\n', { body: '5\r\n12' }), 'body'],
  ];
  const before = descriptors(hasty.pid);
  const wires = await Promise.all(cases.map(async ([bytes]) => (await Wire.open(hasty)).send(bytes)));
  for (const wire of wires) {
    await wire.ends();
    assert.equal(wire.text, '');
  }
  const told = (await hasty.allOf('request_incomplete')).map(({ reason, stage }) => `${reason} ${stage}`);
  assert.deepEqual(told.sort(), cases.map(([, stage]) => `read_timeout ${stage}`).sort());
  await until('the descriptors of the start', () => descriptors(hasty.pid) <= before);
});

test('a client that leaves before its request is complete is logged once', async () => {
  for (const [bytes, stage] of [['GET /li', 'head'], [post('content-length: 100\r\n', { body: '{' }), 'body']]) {
    const since = proxy.logs.length;
    const wire = await Wire.open(proxy);
    await new Promise((done) => wire.socket.write(bytes, done));
    wire.destroy();
    const [line] = await unharmed(since);
    assert.deepEqual([line.event, line.reason, line.stage], ['request_incomplete', 'client_gone', stage]);
  }
});

for (const [what, leave] of [['closes', (w) => w.destroy()], ['resets', (w) => w.socket.resetAndDestroy()]])
  test(`a client that ${what} has its turn interrupted, before the first byte, in mid-stream and unary`, async () => {
    for (const [stream, script] of [[true, { silent: true }], [true, { deltas: 1000, gap_ms: 20 }], [false, { silent: true }]]) {
      const since = proxy.logs.length;
      const wire = await Wire.open(proxy);
      const interrupts = () => worker.journal.filter((l) => l.in?.method === 'turn/interrupt').length;
      const before = interrupts();
      const turns = worker.journal.filter((l) => l.in?.method === 'turn/start').length;
      wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake(script), stream }));
      await until('the turn', () => worker.journal.filter((l) => l.in?.method === 'turn/start').length > turns);
      leave(wire);
      await until('an interrupt', () => interrupts() > before);
      await unharmed(since);
    }
  });

test('a request without a key is answered 401 before its media type is looked at', async () => {
  const since = proxy.logs.length;
  const answer = await Wire.exchange(proxy, `POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}`);
  assert.equal(answer.status, 401);
  assert.ok(!answer.text.includes(KEY));
  await unharmed(since);
});
