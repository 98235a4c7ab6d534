// sanitizers-are-enough: run once in a whole run, with sanitizers.
// Every kind of failure, of the upstream, the worker, the network and the request: its status, its code, and what it says about
// trying again; the same for a stream that has not begun, and an error frame for one that has. Never a hang.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after } from 'node:test';
import { ask, both, parse, stopAll } from './lib/answers.mjs';
import { folder, KEY, test, until } from './lib/kit.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { frames, Wire } from './lib/wire.mjs';
import { CODEX_BIN, fake, FakeWorker, MODEL, ModelStub, steps, stub, user } from './lib/workers.mjs';

const model = await ModelStub.start();
const proxy = await Proxy.start(null, model.settings());
const faulty = await Proxy.start(null, new FakeWorker().settings());
after(() => stopAll(proxy, faulty, model));

// ---- the upstream and the worker ----

// The error of an answer that failed before its first byte, asked for both ways at once, which must be the same.
async function failsBothWays(through, messages, wanted, options = {}) {
  const fails = async (stream) => {
    const { status, headers, json, text } = await ask(through, messages, { stream, ...options });
    const how = `${stream ? 'stream' : 'unary'}: ${text.slice(0, 300)}`;
    assert.equal(status, wanted.status, how);
    assert.equal(headers['content-type'], 'application/json', how);
    assert.deepEqual(Object.keys(json), ['error'], how);
    assert.deepEqual(Object.keys(json.error), ['message', 'type', 'param', 'code', 'retryable'], how);
    const { message, type, code, param } = json.error;
    assert.ok(message.length > 10, how);
    assert.ok(!message.includes('SECRET'), how);
    assert.deepEqual([type, code, param], [wanted.type, wanted.code, wanted.param ?? null], how);
    assert.equal(headers['x-should-retry'], wanted.shouldRetry, how);
    const after = headers['retry-after'];
    if (wanted.retryAfter) assert.ok(Number(after) >= 1 && Number(after) <= 60, `retry-after ${after}, ${how}`);
    else assert.equal(after, undefined, how);
    assert.match(headers['x-request-id'], /^req_/);
    assert.match(headers['openai-processing-ms'], /^\d+$/);
  };
  await Promise.all([false, true].map(fails));
}

const BAD = { status: 400, type: 'invalid_request_error' };
const QUOTA = { status: 429, type: 'insufficient_quota', code: 'insufficient_quota', shouldRetry: 'false' };
const RATE = { status: 429, type: 'requests', code: 'rate_limit_exceeded', retryAfter: true };
const BROKE = { status: 502, type: 'server_error', code: 'upstream_error' };
const BUSY = { status: 503, type: 'server_error', code: 'server_overloaded', retryAfter: true };
const LOGIN = { status: 503, type: 'server_error', code: 'upstream_auth', retryAfter: true, shouldRetry: 'false' };
const LONG = { ...BAD, code: 'context_length_exceeded', param: 'messages' };
const POLICY = { ...BAD, code: 'invalid_prompt' };

const presets = {
  unauthorized: LOGIN,
  rate_limit: RATE,
  usage_limit: QUOTA,
  server_error: BROKE,
  overloaded: BUSY,
  bad_request: { ...BAD, code: null, param: 'input' },
  context_length: LONG,
};

for (const [preset, wanted] of Object.entries(presets))
  test(`the real worker's ${preset} is ${wanted.status} ${wanted.code}`, () =>
    failsBothWays(proxy, stub({ preset }), wanted));

const kinds = [
  ['contextWindowExceeded', LONG],
  ['usageLimitExceeded', QUOTA],
  ['sessionBudgetExceeded', QUOTA],
  ['rateLimitExceeded', RATE],
  ['flexUnavailable', RATE],
  ['serverOverloaded', BUSY],
  ['policyCapacityUnavailable', BUSY],
  ['modelNotFound', { status: 404, type: 'invalid_request_error', code: 'model_not_found', param: 'model' }],
  ['unauthorized', LOGIN],
  ['badRequest', { ...BAD, code: null }],
  ['cyberPolicy', POLICY],
  ['misalignmentPolicyViolation', POLICY],
  ['inferenceHookDenied', POLICY],
  ['internalServerError', BROKE],
  ['threadRollbackFailed', BROKE],
  ['sandboxError', BROKE],
  ['tooManyDenials', BROKE],
  [{ httpConnectionFailed: { httpStatusCode: 401 } }, LOGIN],
  [{ httpConnectionFailed: { httpStatusCode: 403 } }, LOGIN],
  [{ httpConnectionFailed: { httpStatusCode: 429 } }, RATE],
  [{ httpConnectionFailed: { httpStatusCode: 500 } }, BROKE],
  [{ httpConnectionFailed: { httpStatusCode: null } }, BROKE],
  [{ responseStreamConnectionFailed: { httpStatusCode: 502 } }, BROKE],
  [{ responseStreamDisconnected: { httpStatusCode: null } }, BROKE],
  [{ responseTooManyFailedAttempts: { httpStatusCode: 429 } }, RATE],
  [{ responseTooManyFailedAttempts: { httpStatusCode: 503 } }, BROKE],
  [{ activeTurnNotSteerable: { turnKind: 'review' } }, BROKE],
  ['somethingThatIsNewer', BROKE],
  [{ somethingThatIsNewer: {} }, BROKE],
  [null, BROKE],
];

for (const [codexErrorInfo, wanted] of kinds) {
  test(`the worker's ${JSON.stringify(codexErrorInfo)} is ${wanted.status} ${wanted.code}`, async () => {
    const fail = { codexErrorInfo, message: 'stream disconnected: SECRET of the upstream' };
    await failsBothWays(faulty, fake({ fail }), wanted);
    const { text } = await ask(faulty, fake({ text: 'one two', fail }), { stream: true });
    const { chunks, error, done } = parse(text);
    assert.equal(done, false);
    assert.deepEqual([error.type, error.code], [wanted.type, wanted.code]);
    assert.ok(chunks.length >= 2 && chunks.every(({ choices: [c] }) => c.finish_reason === null));
    assert.deepEqual(Object.keys(JSON.parse(frames(text).at(-1))), ['error']);
    const unary = await ask(faulty, fake({ text: 'one two', fail }));
    assert.deepEqual([unary.status, unary.json.error.code], [wanted.status, wanted.code]);
  });
}

test('every kind of error that the installed worker declares has its row here', async () => {
  const out = folder('schema');
  execFileSync(CODEX_BIN, ['app-server', 'generate-json-schema', '--experimental', '--out', out], {
    env: { PATH: process.env.PATH, HOME: out, CODEX_HOME: out },
    stdio: 'ignore',
  });
  const { definitions } = JSON.parse(readFileSync(join(out, 'v2/ErrorNotification.json'), 'utf8'));
  const { anyOf, oneOf } = definitions.CodexErrorInfo;
  const declared = (anyOf ?? oneOf).flatMap((entry) => entry.enum ?? Object.keys(entry.properties ?? {}));
  const known = kinds.map(([kind]) => (typeof kind === 'string' ? kind : Object.keys(kind ?? { none: 1 })[0]));
  const open = ['other']; // no kind of its own: by its message, as the presets show
  assert.ok(declared.length > 10);
  assert.deepEqual(
    declared.filter((kind) => !known.includes(kind) && !open.includes(kind)),
    [],
  );
});

test('an upstream that breaks off is an error frame without [DONE], or 502', async () => {
  for (const preset of ['dropped', 'truncated']) {
    const { text } = await ask(proxy, stub({ preset }), { stream: true });
    const { error, done, chunks } = parse(text);
    assert.deepEqual([error.code, done], ['upstream_error', false]);
    assert.ok(chunks.length >= 2);
    const { status, json } = await ask(proxy, stub({ preset }));
    assert.deepEqual([status, json.error.code], [502, 'upstream_error']);
  }
});

test('an answer cut short by the upstream has finish_reason length or content_filter', async () => {
  for (const [preset, reason] of [
    ['max_output_tokens', 'length'],
    ['content_filter', 'content_filter'],
  ]) {
    const {
      choices: [{ finish_reason, message }],
    } = await both(proxy, stub({ preset }));
    assert.deepEqual([finish_reason, message.content], [reason, 'This sentence has no']);
  }
});

const TIMEOUT = { status: 504, type: 'server_error', code: 'turn_timeout' };

test('an upstream that never says anything is 504 by the deadline, one that falls silent an error frame', async (t) => {
  const hasty = await Proxy.start(t, model.settings({ WORKER_TURN_TIMEOUT_MS: '3000' }));
  const [{ text }, { status, json }] = await Promise.all([
    ask(hasty, stub({ preset: 'hang' }), { stream: true }),
    ask(hasty, stub({ preset: 'hang' })),
    failsBothWays(hasty, stub({ preset: 'silent' }), TIMEOUT),
  ]);
  assert.equal(parse(text).error.code, 'turn_timeout');
  assert.equal(parse(text).done, false);
  assert.deepEqual([status, json.error.code], [504, 'turn_timeout']);
});

test('a model that does not begin, and one that falls silent, have deadlines of their own', async (t) => {
  const deadlines = { WORKER_FIRST_EVENT_TIMEOUT_MS: '3000', WORKER_SILENCE_TIMEOUT_MS: '2000' };
  const hasty = await Proxy.start(t, model.settings(deadlines));
  const late = { status: 504, type: 'server_error', code: 'first_event_timeout' };
  const rest = { pause_ms: 800 };
  const speech = steps({ reasoning: 'Hm.' }, rest, { text: 'So ' }, rest, { text: 'be ' }, rest, { text: 'it.' });
  const [{ text }, { status, json }, { json: slow }] = await Promise.all([
    ask(hasty, stub({ preset: 'hang' }), { stream: true }),
    ask(hasty, stub({ preset: 'hang' })),
    ask(hasty, speech),
    failsBothWays(hasty, stub({ preset: 'silent' }), late),
  ]);
  assert.deepEqual([parse(text).error.code, parse(text).done], ['silence_timeout', false]);
  assert.deepEqual([status, json.error.code], [504, 'silence_timeout']);
  assert.equal(slow.choices[0].message.content, 'So be it.', 'who goes on has all the time of the turn');
});

// A provider where nobody listens.
async function deadPort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// The worker tries for minutes when nobody listens, whatever it is told about retries.
for (const retries of ['its own number of', 'no']) {
  test(`without any network, and with ${retries} retries, the deadline of the turn is the end, never a hang`, async (t) => {
    const settings = model.settings({ WORKER_TURN_TIMEOUT_MS: '2000' });
    settings.WORKER_CONFIG = settings.WORKER_CONFIG.replaceAll(model.url, `http://127.0.0.1:${await deadPort()}/v1`);
    if (retries !== 'no')
      settings.WORKER_CONFIG = settings.WORKER_CONFIG.replace(', request_max_retries=0, stream_max_retries=0', '');
    const alone = await Proxy.start(t, settings);
    await failsBothWays(alone, user('anybody?'), TIMEOUT);
    if (retries === 'no') assert.ok((await alone.allOf('upstream_retry')).length >= 2, 'the log says why');
    assert.equal((await alone.readyz()).code, 200, 'the worker is not to blame');
  });
}

test('errors that the worker says it will retry are not the end', async () => {
  const got = await both(faulty, fake({ will_retry: 3, text: 'made it' }));
  assert.equal(got.choices[0].message.content, 'made it');
});

test('a worker that dies is 502 worker_lost, or an error frame', async (t) => {
  const mortal = await Proxy.start(t, new FakeWorker().settings());
  for (const stream of [false, true]) {
    const { status, json } = await ask(mortal, fake({ crash_at: 'turn_started' }), { stream });
    assert.deepEqual([status, json.error.code, json.error.type], [502, 'worker_lost', 'server_error']);
    await mortal.ready();
  }
  const { text } = await ask(mortal, fake({ text: 'one two', crash_at: 'before_completed' }), { stream: true });
  assert.deepEqual([parse(text).error.code, parse(text).done], ['worker_lost', false]);
});

// ---- the proxy's own refusals ----

const own = [
  [
    'no key',
    () => proxy.fetch(CHAT, { method: 'POST', key: null, headers: { 'content-type': 'application/json' }, body: '{}' }),
    401,
    null,
    { 'www-authenticate': /^Bearer/ },
  ],
  [
    'a wrong key',
    () =>
      proxy.fetch(CHAT, {
        method: 'POST',
        key: 'sk-SECRET',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      }),
    401,
    'invalid_api_key',
    { 'www-authenticate': /^Bearer/ },
  ],
  ['broken JSON', () => proxy.chat('{"model": SECRET'), 400, null],
  ['no body', () => proxy.chat(''), 400, null],
  ['a body that is no object', () => proxy.chat('[]'), 400, 'invalid_type'],
  ['no model', () => proxy.chat({ messages: user('x') }), 400, 'missing_required_parameter'],
  ['no messages', () => proxy.chat({ model: MODEL }), 400, 'missing_required_parameter'],
  ['an unknown model', () => ask(proxy, user('x'), { model: 'SECRET' }), 404, 'model_not_found'],
  ['an unknown path', () => proxy.fetch('/v1/SECRET', { method: 'POST', body: '{}' }), 404, 'unknown_url'],
  ['GET on chat', () => proxy.fetch(CHAT), 405, 'method_not_supported', { allow: /POST/ }],
  [
    'another media type',
    () => proxy.chat('x=1', { 'content-type': 'application/x-www-form-urlencoded' }),
    415,
    'unsupported_content_type',
  ],
  [
    'a body that is too large',
    () =>
      proxy.fetch(CHAT, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-length': String(2 ** 40) },
      }),
    413,
    'request_too_large',
  ],
];

for (const [what, call, status, code, headers = {}] of own) {
  test(`${what} is ${status} ${code}`, async () => {
    const got = await call();
    assert.deepEqual(
      [got.status, got.json.error.code, got.json.error.type],
      [status, code, 'invalid_request_error'],
      got.text,
    );
    assert.deepEqual(Object.keys(got.json.error), ['message', 'type', 'param', 'code', 'retryable']);
    assert.equal(got.headers['content-type'], 'application/json');
    assert.match(got.headers['x-request-id'], /^req_/);
    assert.match(got.headers['openai-processing-ms'], /^\d+$/);
    for (const [name, pattern] of Object.entries(headers)) assert.match(got.headers[name] ?? '', pattern, name);
    assert.ok(!got.text.includes('SECRET') && !got.text.includes(KEY), 'nothing is echoed');
  });
}

test('a body that does not come is the end of its connection', async (t) => {
  const hasty = await Proxy.start(t, new FakeWorker().settings({ REQUEST_READ_TIMEOUT_MS: '300' }));
  const wire = await Wire.open(hasty);
  wire.send(
    `POST ${CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${KEY}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`,
  );
  await wire.ends();
  assert.equal(wire.text, '');
});

test('a full house is 429 proxy_queue_full with retry-after, and free again when somebody leaves', async (t) => {
  const narrow = await Proxy.start(t, model.settings({ WORKER_MAX_CONCURRENCY: '1', WORKER_QUEUE_MAX: '0' }));
  await model.clear();
  const leaving = new AbortController();
  const call = narrow
    .client()
    .chat.completions.create({ model: MODEL, messages: stub({ preset: 'silent' }) }, { signal: leaving.signal });
  const left = assert.rejects(call);
  await model.waitFor('the open one', (r) => r.state === 'open');
  await failsBothWays(narrow, steps({ text: 'x' }), {
    status: 429,
    type: 'requests',
    code: 'proxy_queue_full',
    retryAfter: true,
  });
  leaving.abort();
  await left;
  await model.waitFor('its end', (r) => r.state === 'client_closed');
  const free = async () => (await ask(narrow, steps({ text: 'x' }))).status === 200;
  await until('a free place', free);
});

test('without a worker and without a queue it is 503 worker_not_ready with retry-after', async (t) => {
  const slow = { WORKER_BACKOFF_INITIAL_MS: '60000', WORKER_BACKOFF_MAX_MS: '60000', WORKER_QUEUE_MAX: '0' };
  const down = await Proxy.start(t, new FakeWorker().settings(slow));
  process.kill(down.workerPid, 'SIGKILL');
  await down.waitForLog('backoff', (line) => line.worker_state === 'backoff');
  await failsBothWays(down, user('x'), {
    status: 503,
    type: 'server_error',
    code: 'worker_not_ready',
    retryAfter: true,
  });
});

test("an operator who is not logged in is 503 upstream_auth, never the client's 401", async (t) => {
  const settings = model.settings();
  delete settings.WORKER_CONFIG;
  const stranger = await Proxy.start(t, settings, { wait: false });
  await failsBothWays(stranger, user('x'), {
    status: 503,
    type: 'server_error',
    code: 'upstream_auth',
    shouldRetry: 'false',
  });
});

test('while it shuts down it is 503 shutting_down, and an error frame for who streams', async () => {
  const ending = await Proxy.start(null, model.settings({ WORKER_DRAIN_MS: '500' }));
  await model.clear();
  const streaming = await Wire.open(ending);
  streaming.post(CHAT, JSON.stringify({ model: MODEL, messages: stub({ preset: 'hang' }), stream: true }));
  await streaming.has('"content":"');
  const waiting = ask(ending, stub({ preset: 'silent' }));
  await until('both', async () => (await model.requests()).filter((r) => r.state === 'open').length === 2);
  ending.kill('SIGTERM');
  const { status, json } = await waiting;
  assert.deepEqual([status, json.error.code], [503, 'shutting_down']);
  const { error, done } = parse((await streaming.answer()).text);
  assert.deepEqual([error.code, done], ['shutting_down', false]);
  streaming.destroy();
  await ending.stop();
});
