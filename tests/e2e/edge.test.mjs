// sanitizers-are-enough: the answers do not depend on the build.
// What is wrong with a request is said in the envelope of OpenAI, is never echoed, and hurts nobody else.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { KEY, test, until } from './lib/kit.mjs';
import { CHAT, descriptors, Proxy } from './lib/proxy.mjs';
import { AUTH, frames, Wire } from './lib/wire.mjs';
import { fake, FakeWorker, MODEL, user } from './lib/workers.mjs';

const BODY_MAX = 100_000;
const CANARY = 'canary-5f0e9b';

const worker = new FakeWorker();
const proxy = await Proxy.start(null, worker.settings({ MAX_BODY_BYTES: String(BODY_MAX) }));
after(async () => {
  await proxy.stop(); // then all of its log has been read
  quotesNobody();
});

const pids = { proxy: proxy.pid, worker: proxy.workerPid };

const request = (extra = {}) => ({ model: MODEL, messages: user('still there'), ...extra });

function quotesNobody() {
  const printed = `${proxy.lines.join('\n')}${proxy.stderr}`;
  assert.ok(!printed.toLowerCase().includes('canary'), 'the logs quote a client');
}

// After whatever a test did: the same processes, alive and well, and nothing of the client's in the logs.
async function unharmed() {
  assert.equal((await proxy.fetch('/livez', { key: null })).status, 200);
  const { status, json } = await proxy.chat(request());
  assert.equal(status, 200);
  assert.equal(json.choices[0].message.content, 'still there');
  assert.deepEqual({ proxy: proxy.pid, worker: proxy.workerPid }, pids);
  assert.equal(proxy.ended, null);
  quotesNobody();
}

function checkError({ status, headers, json, text }, wanted) {
  const about = `${wanted.status} ${wanted.code}: ${text}`;
  assert.equal(status, wanted.status, about);
  assert.equal(headers['content-type'], 'application/json', about);
  assert.match(headers['x-request-id'] ?? '', /^req_/, about);
  const { error } = json ?? JSON.parse(text);
  assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code', 'retryable'], about);
  assert.equal(error.type, wanted.type ?? 'invalid_request_error', about);
  if ('code' in wanted) assert.equal(error.code, wanted.code, about);
  if ('param' in wanted) assert.equal(error.param, wanted.param, about);
  assert.ok(error.message.length > 10 && !error.message.includes('%'), about);
  assert.ok(!text.toLowerCase().includes('canary'), `echoed: ${text}`);
  assert.ok(!JSON.stringify(headers).toLowerCase().includes('canary'), 'echoed in a header');
}

// ---- keys ----

const header = (...values) => values.map((v) => `authorization: ${v}\r\n`).join('');
const getModels = (fields) => `GET /v1/models HTTP/1.1\r\nhost: x\r\n${fields}\r\n`;

const refusedKeys = {
  'no key': [header(), null],
  'an empty header': [header(''), null],
  'a scheme without a key': [header('Bearer'), null],
  'a scheme and blanks': [header('Bearer   '), undefined],
  'a bare key': [header(KEY), null],
  'another scheme': [header(`Basic ${KEY}`), null],
  'a wrong key': [header(`Bearer sk-${CANARY}`), 'invalid_api_key'],
  'a part of the key': [header(`Bearer ${KEY.slice(0, -1)}`), 'invalid_api_key'],
  'more than the key': [header(`Bearer ${KEY}x`), 'invalid_api_key'],
  'the key in capitals': [header(`Bearer ${KEY.toUpperCase()}`), 'invalid_api_key'],
  'the key twice': [header(`Bearer ${KEY}, Bearer ${KEY}`), 'invalid_api_key'],
  'two headers': [header(`Bearer ${KEY}`, `Bearer ${KEY}`), null],
  'a right and a wrong header': [header(`Bearer sk-${CANARY}`, `Bearer ${KEY}`), null],
  'a key of 4 KiB': [header(`Bearer ${'k'.repeat(4096)}`), 'invalid_api_key'],
};

for (const [what, [fields, code]] of Object.entries(refusedKeys)) {
  test(`${what} is answered 401 with WWW-Authenticate`, async () => {
    const answer = await Wire.exchange(proxy, getModels(fields));
    checkError(answer, { status: 401, param: null, ...(code === undefined ? {} : { code }) });
    assert.equal(answer.headers['www-authenticate'], 'Bearer');
    await unharmed();
  });
}

test('the scheme may be written as one likes', async () => {
  for (const scheme of ['Bearer', 'bearer', 'BEARER'])
    assert.equal((await Wire.exchange(proxy, getModels(header(`${scheme} ${KEY}`)))).status, 200);
});

test('a key of 64 KiB is refused', async () => {
  const wire = await Wire.open(proxy);
  wire.send(getModels(header(`Bearer ${CANARY.repeat(5000)}`)));
  const { status } = await wire.answer();
  assert.ok([400, 401, 431].includes(status), `status ${status}`);
  wire.destroy();
  await unharmed();
});

test('a wrong key learns nothing: neither of models, nor of its body, nor of methods', async () => {
  const wrong = { key: `sk-${CANARY}`, method: 'POST', body: '{' };
  checkError(await proxy.fetch(CHAT, wrong), { status: 401, code: 'invalid_api_key' });
  const model = await proxy.fetch('/v1/models/none', { key: null });
  checkError(model, { status: 401, code: null });
});

test('probes need no key', async () => {
  const paths = ['/livez', '/readyz', '/healthz', '/health', '/health/live', '/health/ready'];
  for (const path of paths) {
    const { status, json, headers } = await proxy.fetch(path, { key: null });
    assert.deepEqual([status, json.status], [200, 'ok'], path);
    assert.equal(headers['cache-control'], 'no-store');
  }
});

// ---- paths and methods ----

test('an unknown path is answered 404', async () => {
  const paths = ['/', '/v1', '/v1/', '/v1/models/', '/v1/chat/completions/', `/v1/${CANARY}`];
  for (const path of [...paths, '/v1/chat/completions/../x', '/%2e%2e/etc/passwd', `/?${CANARY}`])
    checkError(await proxy.fetch(path), { status: 404, code: 'unknown_url', param: null });
  await unharmed();
});

test('a path with a segment of dots is refused as it is written, and a slash in an id is none of it', async () => {
  const paths = [
    '/v1/../metrics', '/v1/%2e%2e/status.json', '/v1/models/..%2f..%2fmetrics', '/v1/.%2E/internal/maintenance',
    '/v1/./models', '/v1/models/%2e', '/..', '../metrics', 'http://x/v1/../readyz', '/v1%2f..%2Fmetrics', '//../livez',
  ];
  for (const path of paths) {
    const answer = await Wire.exchange(proxy, `GET ${path} HTTP/1.1\r\nhost: x\r\n${AUTH}\r\n`);
    checkError(answer, { status: 400, code: 'invalid_url', param: null });
    assert.equal(JSON.parse(answer.text).error.retryable, false);
    const id = answer.headers['x-request-id'];
    const line = await proxy.waitForLog(path, (l) => l.event === 'request' && l.request_id === id);
    assert.deepEqual([line.route, line.status, line.error_code], ['none', 400, 'invalid_url'], path);
  }
  checkError(await proxy.fetch('/v1/models/org%2Fname'), { status: 404, code: 'model_not_found', param: 'model' });
  const wire = await Wire.open(proxy);
  for (const path of ['/v1/models', '/v1/models?x=/../y', `/v1/models/${MODEL}`])
    assert.equal((await wire.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n${AUTH}\r\n`).answer()).status, 200, path);
  wire.destroy();
  await unharmed();
});

test('a wrong method is answered 405 with Allow', async () => {
  const cases = [
    ['GET', CHAT, 'POST'],
    ['PUT', CHAT, 'POST'],
    ['DELETE', CHAT, 'POST'],
    ['OPTIONS', CHAT, 'POST'],
    ['POST', '/v1/models', 'GET, HEAD'],
    ['DELETE', '/v1/models/x', 'GET, HEAD'],
    ['POST', '/readyz', 'GET, HEAD'],
  ];
  for (const [method, path, allow] of cases) {
    const answer = await proxy.fetch(path, { method });
    checkError(answer, { status: 405, code: 'method_not_supported', param: null });
    assert.equal(answer.headers.allow, allow);
  }
  const odd = `${CANARY.toUpperCase()} ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}\r\n`;
  checkError(await Wire.exchange(proxy, odd), { status: 405, code: 'method_not_supported' });
  await unharmed();
});

test('HEAD is GET without the body, and the connection goes on', async () => {
  const wire = await Wire.open(proxy);
  for (const path of ['/v1/models', '/readyz', '/v1/models/none', '/nowhere', CHAT]) {
    const head = await wire.send(`HEAD ${path} HTTP/1.1\r\nhost: x\r\n${AUTH}\r\n`).answer({ head: true });
    const get = await wire.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n${AUTH}\r\n`).answer();
    assert.equal(head.status, get.status, path);
    assert.equal(head.headers['content-type'], 'application/json');
    if (path !== '/readyz') assert.equal(head.headers['content-length'], get.headers['content-length']);
  }
  wire.destroy();
});

// ---- bodies ----

const user1 = '[{"role":"user","content":"hi"}]';
const LISTED = (await proxy.fetch('/v1/models')).json.data.find(({ id }) => id !== MODEL).id;
const json = (members) => `{"model":"${MODEL}","messages":${user1}${members}}`;
const messages = (text) => `{"model":"${MODEL}","messages":${text}}`;
const badJson = { code: null, param: null };
const type = (param) => ({ code: 'invalid_type', param });
const value = (param, code = 'unsupported_value') => ({ code, param });
const no = (param) => ({ code: 'unsupported_parameter', param });

const refusedBodies = {
  'no body': ['', badJson],
  blanks: ['  \n ', badJson],
  'no JSON': [CANARY, badJson],
  'JSON that is cut short': [`{"${CANARY}":"`, badJson],
  'JSON that is cut in an escape': ['{"model":"\\u12', badJson],
  'two documents': [`${json('')}${json('')}`, badJson],
  'JSON with a tail': [`${json('')}${CANARY}`, badJson],
  'a trailing comma': [`{"model":"${CANARY}",}`, badJson],
  'single quotes': [`{'model':'${CANARY}'}`, badJson],
  'a depth of 100,000': ['['.repeat(99_999), badJson],
  'a depth of 40,000 that closes': [json(`,"metadata":${'{"a":'.repeat(15_000)}1${'}'.repeat(15_000)}`), badJson],
  'invalid UTF-8': [Buffer.from(`{"model":"\xff\xfe${CANARY}"}`, 'latin1'), badJson],
  'an overlong NUL': [Buffer.from('{"model":"\xc0\x80"}', 'latin1'), badJson],
  'a surrogate in UTF-8': [Buffer.from('{"model":"\xed\xa0\x80"}', 'latin1'), badJson],
  'a lone high surrogate': ['{"model":"\\ud800"}', badJson],
  'a lone low surrogate': ['{"model":"\\udc00"}', badJson],
  'surrogates the wrong way round': ['{"model":"\\udc00\\ud800"}', badJson],
  'a raw newline in a string': ['{"model":"a\nb"}', badJson],
  '1e400': [json(',"temperature":1e400'), badJson],
  NaN: [json(',"temperature":NaN'), badJson],
  Infinity: [json(',"temperature":Infinity'), badJson],
  'a byte order mark': [`\ufeff${json('')}`, badJson],
  'UTF-16': [Buffer.from(json(''), 'utf16le'), badJson],
  'an array': [`["${CANARY}"]`, type(null)],
  'a string': [`"${CANARY}"`, type(null)],
  null: ['null', type(null)],
  'no model': [`{"messages":${user1}}`, { code: 'missing_required_parameter', param: 'model' }],
  'a null model': [`{"model":null,"messages":${user1}}`, { code: 'missing_required_parameter', param: 'model' }],
  'a model that is a number': [`{"model":5,"messages":${user1}}`, type('model')],
  'a model with a NUL': [`{"model":"${MODEL}\\u0000${CANARY}","messages":${user1}}`, value('model', 'invalid_value')],
  'no messages': [`{"model":"${MODEL}"}`, { code: 'missing_required_parameter', param: 'messages' }],
  'null messages': [messages('null'), { code: 'missing_required_parameter', param: 'messages' }],
  'messages that are text': [messages(`"${CANARY}"`), type('messages')],
  'messages that are an object': [messages('{"0":{}}'), type('messages')],
  'empty messages': [messages('[]'), value('messages', 'empty_array')],
  'too many messages': [messages(`[${Array(10_001).fill('{}')}]`), value('messages', 'array_above_max_length')],
  'a message that is text': [messages(`["${CANARY}"]`), type('messages[0]')],
  'a message that is null': [messages('[null]'), type('messages[0]')],
  'a message without role': [messages('[{"content":"x"}]'), type('messages[0].role')],
  'an unknown role': [messages(`[{"role":"${CANARY}","content":"x"}]`), value('messages[0].role', 'invalid_value')],
  'a role in capitals': [messages('[{"role":"User","content":"x"}]'), value('messages[0].role', 'invalid_value')],
  'a message without content': [
    messages('[{"role":"user"}]'),
    { code: 'missing_required_parameter', param: 'messages[0].content' },
  ],
  'content that is null': [messages('[{"role":"user","content":null}]'), type('messages[0].content')],
  'content that is a number': [messages('[{"role":"user","content":1}]'), type('messages[0].content')],
  'content without parts': [messages('[{"role":"user","content":[]}]'), type('messages[0].content')],
  'the second message': [messages('[{"role":"user","content":"x"},{"role":"user","content":{}}]'), type('messages[1].content')],
  'a part that is text': [messages(`[{"role":"user","content":["${CANARY}"]}]`), type('messages[0].content[0].type')],
  'a part without text': [messages('[{"role":"user","content":[{"type":"text"}]}]'), type('messages[0].content[0].text')],
  'an unknown part': [messages(`[{"role":"user","content":[{"type":"${CANARY}"}]}]`), value('messages[0].content[0].type')],
  'an image': [messages('[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:,"}}]}]'), value('messages[0].content[1].image_url.url')],
  'a tool message that answers nothing': [messages('[{"role":"tool","tool_call_id":"x","content":"y"}]'), { code: null, param: 'messages.[0].role' }],
  'stream that is a number': [json(',"stream":1'), type('stream')],
  'stream that is text': [json(',"stream":"true"'), type('stream')],
  'stream_options that are text': [json(',"stream":true,"stream_options":"x"'), type('stream_options')],
  'include_usage that is text': [json(',"stream":true,"stream_options":{"include_usage":"x"}'), type('stream_options.include_usage')],
  'stream_options without stream': [json(',"stream_options":{"include_usage":true}'), value('stream_options', 'invalid_value')],
  'nine choices': [json(',"n":9'), value('n')],
  'no choice': [json(',"n":0'), value('n', 'integer_below_min_value')],
  'n that is text': [json(`,"n":"${CANARY}"`), type('n')],
  'tools that are text': [json(`,"tools":"${CANARY}"`), type('tools')],
  'tool_choice without tools': [json(',"tool_choice":"required"'), value('tool_choice', 'invalid_value')],
  'a function without a name': [json(',"tools":[{"type":"function","function":{}}]'), { param: 'tools[0].function.name' }],
  'a tool call without a name': [messages('[{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"arguments":"{}"}}]}]'), { param: 'messages[0].tool_calls[0].function.name' }],
  'five stop sequences': [json(',"stop":["a","b","c","d","e"]'), value('stop', 'array_above_max_length')],
  'logprobs': [json(',"logprobs":true'), no('logprobs')],
  'top_logprobs': [json(',"top_logprobs":2'), no('top_logprobs')],
  'audio': [json(',"audio":{"voice":"x"}'), no('audio')],
  'audio in modalities': [json(',"modalities":["text","audio"]'), value('modalities')],
  'moderation': [json(',"moderation":{"x":1}'), no('moderation')],
  'web search': [json(',"web_search_options":{}'), no('web_search_options')],
  'a format that is text': [json(`,"response_format":"${CANARY}"`), type('response_format')],
  'a format that is unknown': [json(`,"response_format":{"type":"${CANARY}"}`), value('response_format.type', 'invalid_value')],
  'an unknown effort': [`{"model":"${LISTED}","messages":${user1},"reasoning_effort":"${CANARY}"}`, value('reasoning_effort')],
  'an effort that is a number': [json(',"reasoning_effort":1'), type('reasoning_effort')],
  'too much temperature': [json(',"temperature":2.1'), value('temperature', 'decimal_above_max_value')],
  'too little temperature': [json(',"temperature":-1'), value('temperature', 'decimal_below_min_value')],
  'a temperature that is text': [json(',"temperature":"1"'), type('temperature')],
  'top_p above 1': [json(',"top_p":1.5'), value('top_p', 'decimal_above_max_value')],
  'a penalty of 3': [json(',"presence_penalty":3'), value('presence_penalty', 'decimal_above_max_value')],
  'no tokens': [json(',"max_tokens":0'), value('max_tokens', 'integer_below_min_value')],
  'half a token': [json(',"max_completion_tokens":0.5'), type('max_completion_tokens')],
  'metadata that are text': [json(`,"metadata":"${CANARY}"`), type('metadata')],
  'a seed that is text': [json(',"seed":"x"'), type('seed')],
  'store that is text': [json(',"store":"x"'), type('store')],
  'a user that is an object': [json(',"user":{}'), type('user')],
};

test('each of the bad bodies is answered 400 with its param and code', async () => {
  const broken = []; // all of them, so that one change of the contract is one look
  for (const [what, [body, wanted]] of Object.entries(refusedBodies)) {
    const answer = await proxy.chat(body);
    try {
      checkError(answer, { status: 400, ...wanted });
    } catch (error) {
      broken.push(`${what}: ${error.message}`);
    }
  }
  assert.deepEqual(broken, []);
  await unharmed();
});

test('fields that say "no" or nothing are as good as absent', async () => {
  const nothing = ',"tools":[],"tool_choice":"none","stop":null,"logprobs":false,"n":1,"audio":null,' +
    '"response_format":{"type":"text"},"modalities":["text"],"temperature":null,"functions":[]';
  assert.equal((await proxy.chat(json(nothing))).status, 200);
});

test('an unknown model is answered 404, without its name', async () => {
  for (const model of [CANARY, '', ` ${MODEL}`, MODEL.toUpperCase(), `${MODEL}/`, 'm'.repeat(90_000)])
    checkError(await proxy.chat(request({ model })), { status: 404, code: 'model_not_found', param: 'model' });
  checkError(await proxy.fetch(`/v1/models/${CANARY}`), { status: 404, code: 'model_not_found', param: 'model' });
  checkError(await proxy.fetch('/v1/models/%00'), { status: 404, code: 'model_not_found', param: 'model' });
  await unharmed();
});

test('line ends in names and texts make no header and no line of the log', async () => {
  const forged = `\r\nx-forged: ${CANARY}\r\n\r\n{"event":"forged"}\n`;
  const members = ['model', 'user', 'safety_identifier', 'service_tier', 'reasoning_effort', forged];
  for (const member of members) {
    const answer = await proxy.chat(request({ [member]: `x${forged}` }));
    assert.ok([200, 400, 404].includes(answer.status), `${member}: ${answer.status}`);
    assert.equal(answer.headers['x-forged'], undefined, member);
    assert.ok(!JSON.stringify(answer.headers).includes(CANARY), member);
    assert.ok(!answer.text.includes(CANARY), member);
  }
  await unharmed();
  assert.deepEqual(await proxy.allOf('forged'), []);
});

test('a body that is no JSON by its own word is answered 415', async () => {
  const cases = [
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/x-www-form-urlencoded' },
    { 'content-type': `multipart/form-data; boundary=${CANARY}` },
    { 'content-type': 'application/jsonx' },
    { 'content-encoding': 'gzip' },
  ];
  for (const headers of cases)
    checkError(await proxy.chat(json(''), headers), { status: 415, code: 'unsupported_content_type', param: null });
  for (const good of ['application/json; charset=utf-8', 'Application/JSON'])
    assert.equal((await proxy.chat(json(''), { 'content-type': good })).status, 200, good);
  await unharmed();
});

test('a body without a content type is taken for JSON', async () => {
  const body = json('');
  const { status } = await proxy.fetch(CHAT, { method: 'POST', body });
  assert.equal(status, 200);
});

// ---- sizes ----

const tooLarge = { status: 413, code: 'request_too_large', param: null };
const padded = (size) => {
  const start = json(`,"metadata":{"a":"${CANARY}`);
  const open = start.slice(0, -1);
  return `${open}${'a'.repeat(size - open.length - 3)}"}}`;
};

test('a body of exactly the limit is served', async () => {
  const body = padded(BODY_MAX);
  assert.equal(body.length, BODY_MAX);
  assert.equal((await proxy.chat(body)).status, 200);
});

test('a client sees that its body is too large, however it sends it', async () => {
  for (const size of [BODY_MAX + 1, 3_000_000]) {
    const body = padded(size);
    checkError(await proxy.chat(body), tooLarge);
    checkError(await proxy.chat(body, { 'transfer-encoding': 'chunked' }), tooLarge);
    const client = proxy.client();
    const content = 'a'.repeat(size);
    await assert.rejects(
      client.chat.completions.create({ model: MODEL, messages: user(content) }),
      { status: 413, code: 'request_too_large' },
    );
  }
  await unharmed();
});

test('a body that claims to be huge is refused before it is sent', async () => {
  for (const length of ['100001', '99999999999', '9223372036854775807']) {
    const wire = await Wire.open(proxy);
    wire.send(`POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}content-length: ${length}\r\n\r\n`);
    checkError(await wire.answer(), tooLarge);
    wire.destroy();
  }
  await unharmed();
});

test('a client that asks with Expect: 100-continue is told to go on', async () => {
  const wire = await Wire.open(proxy);
  const body = json('');
  wire.send(
    `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}expect: 100-continue\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`,
  );
  assert.equal((await wire.answer()).status, 100);
  assert.equal((await wire.send(body).answer()).status, 200);
  wire.destroy();
});

test('any other expectation is answered 417', async () => {
  const answer = await Wire.exchange(
    proxy,
    `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}expect: ${CANARY}\r\ncontent-length: 2\r\n\r\n{}`,
  );
  checkError(answer, { status: 417, code: 'expectation_failed' });
  await unharmed();
});

test('what h2o refuses by itself is in the log under the id that was sent', async () => {
  const post = `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}`;
  const cases = [
    [`${post}content-length: 20000000\r\n\r\n`, 413, 'request_too_large'],
    [`${post}transfer-encoding: chunked\r\n\r\n1312d00\r\n${'a'.repeat(BODY_MAX + 1)}`, 413, 'request_too_large'],
    [`${post}expect: ${CANARY}\r\ncontent-length: 2\r\n\r\n{}`, 417, 'expectation_failed'],
    [`${post}transfer-encoding: chunked\r\n\r\nzz\r\n`, 400, undefined],
  ];
  const ids = new Set();
  for (const [text, status, code] of cases) {
    const answer = await Wire.exchange(proxy, text);
    assert.equal(answer.status, status);
    const id = answer.headers['x-request-id'];
    ids.add(id);
    const line = await proxy.waitForLog(`${status} of ${id}`, (l) => l.event === 'request' && l.request_id === id);
    assert.deepEqual([line.route, line.status, line.error_code], ['rejected', status, code]);
  }
  assert.equal(ids.size, cases.length);
  await unharmed();
});

// ---- connections ----

test('bytes that are no HTTP end the connection and nothing else', async () => {
  const garbage = [
    `${CANARY}\r\n\r\n`,
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'GET / HTTP/9.9\r\n\r\n',
    `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
    `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}content-length: -5\r\n\r\n`,
    `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}content-length: 5x\r\n\r\n`,
    `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}transfer-encoding: chunked\r\n\r\nzz\r\n`,
    `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n`,
    '\0'.repeat(1000),
  ];
  for (const bytes of garbage) {
    const wire = await Wire.open(proxy);
    wire.socket.write(bytes, 'latin1');
    wire.socket.end();
    await wire.ends();
    assert.doesNotMatch(wire.text, /^HTTP\/1.1 (2|5)/, bytes.slice(0, 30));
  }
  await unharmed();
});

test('requests that come in one piece are answered in their order', async () => {
  const wire = await Wire.open(proxy);
  const get = (path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n${AUTH}\r\n`;
  const body = JSON.stringify(request());
  wire.send(
    get('/livez') +
      `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}content-length: ${body.length}\r\n\r\n${body}` +
      get('/nowhere') +
      get('/v1/models'),
  );
  const answers = [];
  for (let i = 0; i < 4; i++) answers.push(await wire.answer());
  assert.deepEqual(answers.map((a) => a.status), [200, 200, 404, 200]);
  assert.equal(JSON.parse(answers[1].text).choices[0].message.content, 'still there');
  wire.destroy();
});

test('a request that comes byte by byte is answered', async () => {
  const wire = await Wire.open(proxy);
  const body = json('');
  const all = `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}content-length: ${body.length}\r\n\r\n${body}`;
  for (const byte of all) await new Promise((done) => wire.socket.write(byte, done));
  assert.equal((await wire.answer()).status, 200);
  wire.destroy();
});

test('a stream to an HTTP/1.0 client ends with its connection, keep-alive or not', async () => {
  for (const headers of ['', 'connection: keep-alive\r\n']) {
    const wire = await Wire.open(proxy);
    wire.post(CHAT, JSON.stringify(request({ stream: true })), { version: '1.0', headers });
    const { headers: answered, text } = await wire.answer();
    assert.equal(answered['transfer-encoding'], undefined);
    assert.equal(frames(text).at(-1), '[DONE]');
    await wire.ends();
  }
});

test('a connection serves many requests, streamed and not', async () => {
  const wire = await Wire.open(proxy);
  for (let i = 0; i < 20; i++) {
    wire.post(CHAT, JSON.stringify(request({ stream: i % 2 === 0 })));
    const { status, text } = await wire.answer();
    assert.equal(status, 200);
    assert.match(text, /there/);
  }
  wire.destroy();
});

test('a client that sends half a request is not waited for', async (t) => {
  const hasty = await Proxy.start(t, new FakeWorker().settings({ REQUEST_READ_TIMEOUT_MS: '500' }));
  const halves = [
    '',
    'POST /v1/ch',
    `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n`,
    `POST ${CHAT} HTTP/1.1\r\nhost: x\r\n${AUTH}content-length: 100\r\n\r\n{"model":`,
  ];
  const wires = [];
  for (const half of halves) wires.push((await Wire.open(hasty)).send(half));
  await Promise.all(wires.map((wire) => wire.ends()));
  const slow = { model: MODEL, messages: fake({ text: 'slow', first_delta_ms: 700 }) };
  assert.equal((await hasty.chat(slow)).status, 200, 'the time of the worker does not count');
});

test('clients that come and go leave nothing open', async () => {
  const before = descriptors(proxy.pid);
  for (let round = 0; round < 5; round++) {
    const wires = await Promise.all(Array.from({ length: 20 }, () => Wire.open(proxy)));
    for (const [i, wire] of wires.entries()) {
      const body = JSON.stringify(request({ stream: i % 2 === 0, messages: fake({ silent: true }) }));
      if (i % 4 < 2) wire.post(CHAT, body);
      else wire.send(`POST ${CHAT} HTTP/1.1\r\n`);
    }
    await proxy.fetch('/livez', { key: null });
    for (const [i, wire] of wires.entries()) i % 3 === 0 ? wire.socket.resetAndDestroy() : wire.destroy();
  }
  await until('a place', async () => (await proxy.chat(request())).status === 200);
  await until('the descriptors of the start', () => descriptors(proxy.pid) <= before);
  await unharmed();
});
