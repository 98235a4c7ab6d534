// sanitizers-are-enough: run once in a whole run, with sanitizers.
// What a demanding client of OpenAI's own endpoint relies on beyond plain answers and tools: choices, stop sequences,
// structured output, images, the order of messages, models and their aliases, browsers.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after } from 'node:test';
import { answer, ask, assemble, both, functionTool, heard, parse, stopAll, toolResult } from './lib/answers.mjs';
import { folder, pool, test } from './lib/kit.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { FakeWorker, MODEL, ModelStub, steps, stub, user } from './lib/workers.mjs';

const REAL_MODEL = 'gpt-5.5'; // of the worker's own list
const ORIGIN = 'https://app.example';

const model = await ModelStub.start();
const proxy = await Proxy.start(
  null,
  model.settings({
    CODEX_MODEL: `${MODEL}, org/other`,
    PROXY_MODEL_ALIASES: `quick=${REAL_MODEL}:low, deep=${REAL_MODEL}:high, plain=${REAL_MODEL}, mine=${MODEL}:minimal, lost=nobody`,
    PROXY_CORS_ORIGINS: `${ORIGIN}, http://localhost:3000`,
  }),
);
after(() => stopAll(proxy, model));

const last = async () => (await model.requests()).at(-1);
const contentOf = ({ choices }) => choices[0].message.content;
const USAGE = {
  input_tokens: 100,
  input_tokens_details: { cached_tokens: 60 },
  output_tokens: 7,
  output_tokens_details: { reasoning_tokens: 2 },
  total_tokens: 107,
};

async function refused(options, code, param, words) {
  const { status, json, text } = await ask(proxy, user('refuse me'), options);
  assert.equal(status, 400, text);
  assert.deepEqual([json.error.code, json.error.param], [code, param], json.error.message);
  if (words) assert.match(json.error.message, words);
}

// ---- n ----

for (const n of [2, 8]) {
  test(`n: ${n} gives ${n} answers of turns of their own, and the sum of their usage`, async () => {
    await model.clear();
    const got = await both(proxy, steps({ text: 'one of several' }, { usage: USAGE }), { n });
    assert.deepEqual(
      got.choices.map((choice) => choice.index),
      Array.from({ length: n }, (_, i) => i),
    );
    assert.ok(got.choices.every((choice) => choice.message.content === 'one of several'));
    assert.equal(got.usage.prompt_tokens, 100 * n);
    assert.equal(got.usage.completion_tokens, 7 * n);
    assert.equal(got.usage.total_tokens, 107 * n);
    assert.equal(got.usage.prompt_tokens_details.cached_tokens, 60 * n);
    assert.equal(got.usage.completion_tokens_details.reasoning_tokens, 2 * n);
    const keys = (await model.requests()).map((request) => request.prompt_cache_key);
    assert.deepEqual([keys.length, new Set(keys).size], [2 * n, 2 * n]);
  });
}

test('the choices of a stream come side by side, not one after the other', async () => {
  const { text } = await ask(proxy, steps({ text: 'a b c d e f g h i j', cuts: 'words', every_ms: 100 }), {
    n: 3,
    stream: true,
  });
  assert.equal(assemble(text).choices.length, 3);
  const pieces = parse(text).chunks.map(({ choices: [c] }) => [c.index, c.finish_reason]);
  const firstEnd = pieces.findIndex(([, reason]) => reason);
  assert.deepEqual([...new Set(pieces.slice(0, firstEnd).map(([index]) => index))].sort(), [0, 1, 2]);
});

test('n with tools gives each choice its own calls', async () => {
  const tools = [functionTool('look')];
  const messages = stub({ rounds: [[{ tool_call: { name: 'look', arguments: '{}', call_id: 'call_n' } }]] });
  const got = await both(proxy, messages, { n: 2, tools });
  for (const { message, finish_reason } of got.choices) {
    assert.equal(finish_reason, 'tool_calls');
    assert.equal(message.tool_calls.length, 1);
  }
});

test('n takes as many places as it has choices', async (t) => {
  const narrow = await Proxy.start(t, model.settings({ WORKER_MAX_CONCURRENCY: '2' }));
  const { status, json } = await ask(narrow, steps({ text: 'x' }), { n: 3 });
  assert.deepEqual([status, json.error.code, json.error.param], [400, 'invalid_value', 'n'], 'it would never fit');
  assert.equal((await answer(narrow, steps({ text: 'x' }), { n: 2 })).choices.length, 2);
});

test('when one choice fails, so does the answer, and the other turns are interrupted', async () => {
  const hanging = { steps: [{ text: 'so far' }, { hang: true }] };
  await model.clear();
  const stream = await proxy
    .client()
    .chat.completions.create({ model: MODEL, messages: stub(hanging), n: 3, stream: true });
  const speaking = new Set();
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content) speaking.add(chunk.choices[0].index);
    if (speaking.size === 3) break;
  }
  stream.controller.abort();
  for (const i of [0, 1, 2])
    await model.waitFor(`the end of turn ${i}`, (r) => r.state === 'client_closed' && r.n % 3 === i);
  const { status, json } = await ask(proxy, stub({ preset: 'server_error' }), { n: 3 });
  assert.deepEqual([status, json.error.code], [502, 'upstream_error']);
});

// ---- stop ----

const SAID = 'The STOPE was a STOP sign.';
const KEPT = 'The STOPE was a ';

test('a stop sequence is found at every cut, nothing of it is sent, and the turn is interrupted', async () => {
  await model.clear();
  const jobs = [];
  for (let cut = 1; cut <= SAID.length; cut++) {
    for (const stream of [false, true]) {
      jobs.push(async () => {
        const messages = steps({ text: SAID, cuts: [cut] }, { hang: true });
        const { choices, headers } = await answer(proxy, messages, { stop: 'STOP ', stream });
        assert.equal(choices[0].message.content, KEPT, `cut ${cut}`);
        assert.equal(choices[0].finish_reason, 'stop');
        assert.equal(headers['x-codex-api-emulated'], 'stop');
      });
    }
  }
  await pool(8, jobs);
  // A turn of an earlier test, interrupted as it began, may still reach the model.
  const requests = (await model.requests()).filter((r) => JSON.stringify(r.body).includes(SAID));
  assert.equal(requests.length, jobs.length);
  for (const { n } of requests)
    await model.waitFor(`request ${n} closed by us`, (r) => r.n === n && r.state === 'client_closed');
});

test('sequences are bytes: the earliest wins, and characters are never cut', async () => {
  const cases = [
    ['aaab', ['aab'], 'a'],
    ['one two three', ['three', 'two'], 'one '],
    ['abcabd', ['abd'], 'abc'],
    ['xyz', ['yz', 'y'], 'x'],
    ['schön 🕰️ spät', ['🕰️'], 'schön '],
    ['schön spät', ['ä'], 'schön sp'],
    ['line\n\nnext', ['\n\n'], 'line'],
    ['at once', ['at'], ''],
    ['at the end', ['end'], 'at the '],
    ['never said', ['nope', 'said!'], 'never said'],
    ['held to the last: STO', ['STOP'], 'held to the last: STO'],
    ['```js\ncode\n```', ['```\n', '\n```'], '```js\ncode'],
    ['a\u0000b', ['\u0000'], 'a'],
  ];
  await pool(
    4,
    cases.flatMap(([text, stop, kept]) =>
      [[1], [2], [3], undefined].map((cuts) => async () => {
        const got = await both(proxy, steps({ text, ...(cuts ? { cuts } : {}) }), { stop });
        assert.equal(contentOf(got), kept, `${JSON.stringify(text)} at ${cuts}`);
      }),
    ),
  );
});

test('what was held back comes out before a call, and reasoning is not searched', async () => {
  const messages = stub({
    rounds: [
      [
        { reasoning: 'I STOP here' },
        { text: 'go STO' },
        { tool_call: { name: 'look', arguments: '{"x":"STOP"}', call_id: 'call_s' } },
      ],
    ],
  });
  const {
    choices: [{ message, finish_reason }],
  } = await both(proxy, messages, { stop: 'STOP', tools: [functionTool('look')] });
  assert.deepEqual(
    [message.reasoning_content, message.content, finish_reason],
    ['I STOP here', 'go STO', 'tool_calls'],
  );
  assert.equal(message.tool_calls[0].function.arguments, '{"x":"STOP"}');
});

test('with n, a stop sequence ends one choice and not the others', async () => {
  const got = await both(proxy, steps({ text: 'one STOP two', cuts: 'words' }), { n: 3, stop: 'STOP' });
  assert.deepEqual(
    got.choices.map((choice) => choice.message.content),
    ['one ', 'one ', 'one '],
  );
});

// ---- structured output ----

const strictSchema = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    tags: { type: 'array', items: { anyOf: [{ type: 'string' }, { type: 'null' }] } },
    place: { $ref: '#/$defs/place' },
  },
  required: ['name', 'tags', 'place'],
  additionalProperties: false,
  $defs: {
    place: { type: 'object', properties: { lat: { type: 'number' } }, required: ['lat'], additionalProperties: false },
  },
};
const jsonSchema = (schema, strict) => ({
  response_format: {
    type: 'json_schema',
    json_schema: { name: 'thing', schema, ...(strict === undefined ? {} : { strict }) },
  },
});
const developers = (request) =>
  request.body.input.filter((item) => item.role === 'developer').map((item) => item.content[0].text);

test('a strict schema reaches the model as it is, in strict mode', async () => {
  await model.clear();
  await answer(proxy, steps({ text: '{}' }), jsonSchema(strictSchema, true));
  const { format } = (await last()).body.text;
  assert.deepEqual(format.schema, strictSchema);
  assert.deepEqual([format.type, format.strict], ['json_schema', true]);
  assert.deepEqual(developers(await last()), []);
});

const bad = [
  [{ ...strictSchema, additionalProperties: undefined }, /additionalProperties.*\$(?!\.)/s],
  [{ ...strictSchema, required: ['name'] }, /required.*'(tags|place)'.*\$/s],
  [
    { ...strictSchema, properties: { ...strictSchema.properties, name: { type: 'string', not: {} } } },
    /'not'.*\$\.properties\.name/s,
  ],
  [
    { ...strictSchema, properties: { ...strictSchema.properties, tags: { type: 'array', items: { type: 'object' } } } },
    /\$\.properties\.tags\.items/,
  ],
  [
    { ...strictSchema, properties: { ...strictSchema.properties, place: { $ref: '#/nowhere' } } },
    /\$\.properties\.place/,
  ],
  [{ ...strictSchema, $defs: { place: { type: 'object', properties: {} } } }, /\$\.\$defs\.place/],
  [{ type: 'array', items: { type: 'string' } }, /\$/],
];

for (const [schema, words] of bad) {
  test(`a strict schema that the upstream would refuse is refused with the path: ${words.source}`, () =>
    refused(jsonSchema(schema, true), 'invalid_json_schema', 'response_format.json_schema.schema', words));
}

test('a loose schema is made strict where every answer to that is an answer to the schema', async () => {
  await model.clear();
  const inner = { type: 'object', properties: { c: { oneOf: [{ type: 'string', minLength: 2 }, { type: 'null' }] } } };
  const loose = {
    type: 'object',
    properties: { a: { type: 'string' }, b: { type: ['integer', 'null'] }, inner },
    required: ['a', 'inner'],
  };
  for (const strict of [false, undefined]) {
    const { headers } = await answer(proxy, steps({ text: '{}' }), jsonSchema(loose, strict));
    const { format } = (await last()).body.text;
    assert.equal(format.strict, true);
    for (const object of [format.schema, format.schema.properties.inner]) {
      assert.equal(object.additionalProperties, false);
      assert.deepEqual(object.required.sort(), Object.keys(object.properties).sort());
    }
    assert.deepEqual([...format.schema.properties.b.type].sort(), ['integer', 'null']);
    assert.equal(headers['x-codex-api-emulated'], undefined);
  }
});

for (const [what, open] of Object.entries({
  'open objects': { type: 'object', additionalProperties: { type: 'number' } },
  'optional properties': {
    type: 'object',
    properties: { a: { type: 'string' }, b: { type: 'integer' } },
    required: ['a'],
  },
  anything: {},
}))
  test(`a schema with ${what}, which strict mode cannot say, is put to the model in words`, async () => {
    await model.clear();
    const { headers } = await answer(proxy, steps({ text: '{}' }), jsonSchema(open, false));
    assert.equal(headers['x-codex-api-emulated'], 'response_format');
    const request = await last();
    assert.equal(request.body.text?.format, undefined);
    assert.ok(developers(request)[0].includes(JSON.stringify(open)));
  });

test('json_object asks the model in words, before the messages', async () => {
  await model.clear();
  const { headers } = await answer(proxy, [{ role: 'system', content: 'Mine.' }, ...steps({ text: '{"a":1}' })], {
    response_format: { type: 'json_object' },
  });
  assert.equal(headers['x-codex-api-emulated'], 'response_format');
  const [ours, mine] = developers(await last());
  assert.match(ours, /JSON object/);
  assert.equal(mine, 'Mine.');
});

// ---- knobs of the model ----

test('effort, verbosity and service tier reach a model that has them', async () => {
  await model.clear();
  const knobs = { model: REAL_MODEL, reasoning_effort: 'xhigh', verbosity: 'high', service_tier: 'priority' };
  const got = await both(proxy, steps({ text: 'ok' }), knobs);
  const { body } = await last();
  assert.deepEqual([body.reasoning.effort, body.text.verbosity, body.service_tier], ['xhigh', 'high', 'priority']);
  assert.equal(got.service_tier, 'priority');
  await answer(proxy, steps({ text: 'ok' }), { model: REAL_MODEL });
  const plain = (await last()).body;
  assert.equal(plain.service_tier, undefined);
});

test('an effort that the model does not list is refused', () =>
  refused({ model: REAL_MODEL, reasoning_effort: 'ultra' }, 'unsupported_value', 'reasoning_effort'));

// ---- images ----

const PNG =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const image = (url, detail) => ({ type: 'image_url', image_url: { url, ...(detail ? { detail } : {}) } });
const look = (...parts) => [{ role: 'user', content: [{ type: 'text', text: 'Look:' }, ...parts] }];

for (const detail of [undefined, 'auto', 'low', 'high']) {
  test(`an image in a data: URL reaches the model byte for byte, detail ${detail}`, async () => {
    await model.clear();
    await answer(proxy, [...look(image(PNG, detail)), ...steps({ text: 'seen' })], { model: REAL_MODEL });
    const [{ content }] = (await last()).body.input;
    assert.deepEqual(content[0], { type: 'input_text', text: 'Look:' });
    assert.deepEqual([content[1].type, content[1].image_url], ['input_image', PNG]);
  });
}

const URL_PARAM = 'messages[0].content[1].image_url.url';

test('an image that is no image is refused, not left out', () =>
  Promise.all(
    ['data:image/png;base64,AAAA', 'data:text/html,hello', 'data:', 'data:image/png;base64,', 'iVBORw0KGgo', ''].map(
      async (url) => {
        const { status, json, text } = await ask(proxy, look(image(url)), { model: REAL_MODEL });
        assert.equal(status, 400, `${url}: ${text}`);
        assert.equal(json.error.param, URL_PARAM, url);
        assert.ok(['unsupported_value', 'invalid_value'].includes(json.error.code), `${url}: ${json.error.code}`);
      },
    ),
  ));

test('a remote image is refused in words, for the worker takes none, and nothing is fetched', async (t) => {
  const asked = [];
  const spy = createServer((socket) =>
    socket.on('data', (bytes) => asked.push(bytes.toString('latin1'))).on('error', () => {}),
  );
  await new Promise((done) => spy.listen(0, '127.0.0.1', done));
  t.after(() => spy.close());
  const through = `http://127.0.0.1:${spy.address().port}`;
  const watched = await Proxy.start(t, model.settings({ HTTP_PROXY: through, HTTPS_PROXY: through }));
  const urls = [
    'https://images.example/a.png',
    'http://images.example/a.png',
    'file:///etc/hostname',
    'FILE:///etc/hostname',
    'http://127.0.0.1/a.png',
    'http://localhost/a.png',
    'https://LOCALHOST./a.png',
    'http://[::1]/a.png',
    'http://169.254.169.254/latest/meta-data/',
    'http://2130706433/',
    'ftp://images.example/a.png',
    'https://',
    'https://user:pw@images.example/a.png',
    'gopher://x',
    '/etc/hostname',
    `${through}/a.png`,
  ];
  for (const url of urls) {
    const { status, json, text } = await ask(watched, look(image(url)), { model: REAL_MODEL });
    assert.equal(status, 400, `${url}: ${text}`);
    assert.equal(json.error.param, URL_PARAM, url);
    assert.ok(['unsupported_value', 'invalid_value'].includes(json.error.code), `${url}: ${json.error.code}`);
    assert.ok(!json.error.message.includes(url) || url.length < 3, 'nothing is echoed');
  }
  const { json } = await ask(watched, look(image('https://images.example/a.png')), { model: REAL_MODEL });
  assert.equal(json.error.code, 'unsupported_value');
  assert.match(json.error.message, /data:/);
  assert.ok(!asked.join('').includes('images.example'), asked.join('\n'));
});

test('an image for a model without eyes is refused, not left out', async (t) => {
  const catalog = JSON.parse(readFileSync(join(proxy.home, 'model-catalog.json'), 'utf8'));
  for (const entry of catalog.models) if (entry.slug === REAL_MODEL) entry.input_modalities = ['text'];
  const path = join(folder('catalog'), 'catalog.json');
  writeFileSync(path, JSON.stringify(catalog));
  const settings = model.settings();
  settings.WORKER_CONFIG += `\nmodel_catalog_json="${path}"`;
  const blind = await Proxy.start(t, settings);
  const { status, json, text } = await ask(blind, look(image(PNG)), { model: REAL_MODEL });
  assert.equal(status, 400, text);
  assert.equal(json.error.code, 'unsupported_value');
  assert.match(json.error.param, /^messages/);
});

test('a bad detail is refused', () =>
  ask(proxy, look(image(PNG, 'extreme'))).then(({ status, json }) =>
    assert.deepEqual(
      [status, json.error.code, json.error.param],
      [400, 'invalid_value', 'messages[0].content[1].image_url.detail'],
    ),
  ));

// ---- messages ----

const CALL = { id: 'call_x', type: 'function', function: { name: 'look', arguments: '{}' } };

test('refusals, names, parts, and every role reach the model in order', async () => {
  await model.clear();
  const messages = [
    {
      role: 'developer',
      content: [
        { type: 'text', text: 'one ' },
        { type: 'text', text: 'two' },
      ],
      name: 'boss',
    },
    { role: 'user', content: 'hi', name: 'anna' },
    { role: 'assistant', content: null, refusal: 'I would rather not.' },
    {
      role: 'assistant',
      content: [
        { type: 'refusal', refusal: 'Nor that.' },
        { type: 'text', text: 'But this.' },
      ],
      name: 'bot',
      annotations: [],
      audio: null,
    },
    { role: 'assistant', content: null, tool_calls: [CALL] },
    { role: 'tool', tool_call_id: 'call_x', content: [{ type: 'text', text: 'seen' }] },
    { role: 'assistant', content: '', function_call: { name: 'look', arguments: '{"x":1}' } },
    { role: 'function', name: 'look', content: 'seen again' },
    ...steps({ text: 'ok' }),
  ];
  await answer(proxy, messages, { tools: [functionTool('look')] });
  const got = heard(await last());
  assert.deepEqual(got.slice(0, 5), [
    ['developer', 'one two'],
    ['user', 'hi'],
    ['assistant', 'I would rather not.'],
    ['assistant', 'Nor that.But this.'],
    ['call', 'call_x', 'look', '{}'],
  ]);
  assert.equal(got[5][0], 'output');
  assert.equal(got[6][0], 'call');
  assert.deepEqual([got[7][0], got[7][1], got[7][2]], ['output', got[6][1], 'seen again']);
  assert.equal(got.length, 9);
});

const wrongMessages = {
  'a tool message that answers nothing': [[...user('hi'), toolResult(CALL)], null, 'messages.[1].role'],
  'a tool message first': [[toolResult(CALL)], null, 'messages.[0].role'],
  'a call without its answer': [[{ role: 'assistant', tool_calls: [CALL] }], null, 'messages.[1].role'],
  'a call answered too late': [
    [{ role: 'assistant', tool_calls: [CALL] }, ...user('wait'), toolResult(CALL)],
    null,
    'messages.[1].role',
  ],
  'a function message that answers nothing': [
    [...user('hi'), { role: 'function', name: 'look', content: 'x' }],
    null,
    'messages.[1].role',
  ],
  'a call without an id': [
    [{ role: 'assistant', tool_calls: [{ ...CALL, id: undefined }] }],
    'invalid_type',
    'messages[0].tool_calls[0].id',
  ],
  'arguments that are no text': [
    [{ role: 'assistant', tool_calls: [{ ...CALL, function: { name: 'f', arguments: {} } }] }],
    'invalid_type',
    'messages[0].tool_calls[0].function.arguments',
  ],
  'a custom call': [
    [{ role: 'assistant', tool_calls: [{ id: 'x', type: 'custom', custom: { name: 'f', input: '' } }] }],
    'unsupported_value',
    'messages[0].tool_calls[0].type',
  ],
  'two calls of one id': [
    [{ role: 'assistant', tool_calls: [CALL, CALL] }],
    'invalid_value',
    'messages[0].tool_calls[1]',
  ],
  'no content': [[{ role: 'user' }], 'missing_required_parameter', 'messages[0].content'],
  'an assistant who says nothing': [[{ role: 'assistant' }], 'missing_required_parameter', 'messages[0].content'],
  'empty parts': [[{ role: 'user', content: [] }], 'invalid_type', 'messages[0].content'],
  'a part of no type': [[{ role: 'user', content: [{}] }], 'invalid_type', 'messages[0].content[0].type'],
  'an image from the system': [
    [{ role: 'system', content: [image(PNG)] }],
    'unsupported_value',
    'messages[0].content[0].type',
  ],
  'a tool message without an id': [
    [{ role: 'tool', content: 'x' }],
    'missing_required_parameter',
    'messages[0].tool_call_id',
  ],
  'a message that is no object': [['hi'], 'invalid_type', 'messages[0]'],
  'a role that is no text': [[{ role: 5, content: 'x' }], 'invalid_type', 'messages[0].role'],
};

for (const [what, [messages, code, param]] of Object.entries(wrongMessages)) {
  test(`refused: ${what}`, async () => {
    const { status, json, text } = await ask(proxy, messages);
    assert.equal(status, 400, text);
    assert.deepEqual([json.error.type, json.error.code, json.error.param], ['invalid_request_error', code, param]);
  });
}

// ---- reasoning and commentary ----

const thinking = steps(
  { reasoning: ['First.', 'Then.'], cuts: [2] },
  { message_start: { phase: 'commentary' } },
  { text: 'Checking.' },
  { message_start: { phase: 'final_answer' } },
  { text: 'It is 4.' },
);

test('reasoning and commentary are reasoning_content, apart by a blank line', async () => {
  const {
    choices: [{ message }],
  } = await both(proxy, thinking);
  assert.equal(message.content, 'It is 4.');
  assert.equal(message.reasoning_content, 'First.\n\nThen.\n\nChecking.');
});

test('reasoning_content that comes back from the client is no part of the history', async () => {
  await model.clear();
  const message = (await answer(proxy, thinking)).choices[0].message;
  await answer(proxy, [...thinking, message, ...steps({ text: 'ok' })]);
  const requests = await model.requests();
  assert.equal(requests[1].prompt_cache_key, requests[0].prompt_cache_key);
  assert.deepEqual(heard({ body: { input: requests[1].body.input.filter((i) => i.role === 'user') } }).length, 2);
});

test('COMMENTARY puts the remarks where the operator wants them', async (t) => {
  for (const [where, content, reasoning] of [
    ['content', 'Checking.\n\nIt is 4.', 'First.\n\nThen.'],
    ['drop', 'It is 4.', 'First.\n\nThen.'],
  ]) {
    const other = await Proxy.start(t, model.settings({ COMMENTARY: where }));
    const {
      choices: [{ message }],
    } = await both(other, thinking);
    assert.deepEqual([message.content, message.reasoning_content], [content, reasoning], where);
  }
});

test('REASONING_SUMMARY is what the model is asked for', async (t) => {
  for (const summary of ['none', 'detailed']) {
    const other = await Proxy.start(t, model.settings({ REASONING_SUMMARY: summary }));
    await model.clear();
    await answer(other, steps({ text: 'ok' }), { model: REAL_MODEL });
    assert.equal((await last()).body.reasoning?.summary, summary === 'none' ? undefined : summary);
  }
});

// ---- models ----

test('aliases are listed, answer under their own name, and bring their effort unless the client has one', async () => {
  const ids = (await proxy.fetch('/v1/models')).json.data.map((entry) => entry.id);
  for (const id of ['quick', 'deep', 'plain', 'mine', MODEL, 'org/other', REAL_MODEL]) assert.ok(ids.includes(id), id);
  assert.ok(!ids.includes('lost'), 'an alias of a model that is not there');
  assert.equal(new Set(ids).size, ids.length);
  for (const [alias, extra, id, effort] of [
    ['quick', {}, REAL_MODEL, 'low'],
    ['deep', {}, REAL_MODEL, 'high'],
    ['deep', { reasoning_effort: 'medium' }, REAL_MODEL, 'medium'],
    ['mine', {}, MODEL, 'minimal'],
  ]) {
    await model.clear();
    const got = await both(proxy, steps({ text: 'ok' }), { model: alias, ...extra });
    assert.equal(got.model, alias);
    const request = await last();
    assert.deepEqual([request.model, request.body.reasoning.effort], [id, effort], alias);
  }
  assert.equal((await proxy.fetch('/v1/models/quick')).json.id, 'quick');
  assert.equal((await ask(proxy, user('x'), { model: 'lost' })).json.error.code, 'model_not_found');
});

test('a conversation keeps its thread under an alias', async () => {
  await model.clear();
  const first = steps({ text: 'one' });
  const {
    choices: [{ message }],
  } = await answer(proxy, first, { model: 'quick' });
  await answer(proxy, [...first, message, ...steps({ text: 'two' })], { model: 'quick' });
  assert.equal(new Set((await model.requests()).map((r) => r.prompt_cache_key)).size, 1);
});

test('every model of CODEX_MODEL answers', async () => {
  for (const id of [MODEL, 'org/other']) {
    await model.clear();
    assert.equal(contentOf(await answer(proxy, steps({ text: 'here' }), { model: id })), 'here');
    assert.equal((await last()).model, id);
  }
});

// ---- browsers ----

const PREFLIGHT = {
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'authorization, content-type, x-stainless-os',
};

test('a page of a listed origin may ask, and reads the headers that matter', async () => {
  const asked = await proxy.fetch(CHAT, { method: 'OPTIONS', key: null, headers: { origin: ORIGIN, ...PREFLIGHT } });
  assert.equal(asked.status, 204);
  assert.equal(asked.headers['access-control-allow-origin'], ORIGIN);
  assert.match(asked.headers['access-control-allow-methods'], /POST/);
  for (const name of ['authorization', 'content-type', 'x-stainless-os'])
    assert.ok(asked.headers['access-control-allow-headers'].includes(name), name);
  assert.match(asked.headers.vary, /origin/i);
  const origin = { origin: ORIGIN };
  const answers = [
    await ask(proxy, steps({ text: 'ok' })).then(() =>
      proxy.chat({ model: MODEL, messages: steps({ text: 'ok' }) }, origin),
    ),
    await proxy.chat({ model: MODEL, messages: steps({ text: 'ok' }), stream: true }, origin),
    await proxy.chat({ model: MODEL, messages: [] }, origin),
    await proxy.chat({ model: MODEL, messages: stub({ preset: 'rate_limit' }) }, origin),
    await proxy.fetch('/v1/models', { headers: origin }),
    await proxy.fetch('/v1/models', { headers: origin, key: 'sk-wrong' }),
    await proxy.fetch(CHAT, { headers: origin }),
    await proxy.fetch('/v1/nowhere', { headers: origin }),
    await proxy.fetch(CHAT, {
      method: 'POST',
      headers: { ...origin, 'content-type': 'application/json', 'content-length': String(2 ** 40) },
    }),
  ];
  assert.deepEqual(
    answers.map((a) => a.status),
    [200, 200, 400, 429, 200, 401, 405, 404, 413],
  );
  for (const { status, headers } of answers) {
    assert.equal(headers['access-control-allow-origin'], ORIGIN, `on a ${status}`);
    const exposed = headers['access-control-expose-headers'].split(', ');
    for (const name of [
      'x-request-id',
      'retry-after',
      'x-should-retry',
      'openai-processing-ms',
      'x-codex-api-ignored',
      'x-codex-api-emulated',
    ])
      assert.ok(exposed.includes(name), `${name} on a ${status}`);
  }
  const large = { method: 'POST', headers: { ...origin, 'content-length': String(2 ** 40) } };
  const none = [
    ...['/metrics', '/status.json', '/readyz', '/livez', '/internal/maintenance', '/internal/traces', '/nowhere', '/v1'],
    ...['/metrics', '/internal/maintenance'].map((path) => [path, large]),
    ['/status.json', { method: 'OPTIONS', headers: { ...origin, ...PREFLIGHT } }],
  ];
  for (const [path, options] of none.map((each) => (Array.isArray(each) ? each : [each, { headers: origin }]))) {
    const { headers, status } = await proxy.fetch(path, options);
    const names = Object.keys(headers).filter((name) => /^access-control|^vary$/.test(name));
    assert.deepEqual(names, [], `${path}: ${status}`);
  }
});

test('a page of any other origin, and no page, gets no such header', async () => {
  for (const origin of ['https://app.example.evil', 'https://other.example', 'null', 'http://localhost:3001', '*']) {
    const { headers } = await proxy.fetch('/v1/models', { headers: { origin } });
    assert.equal(headers['access-control-allow-origin'], undefined, origin);
    const asked = await proxy.fetch(CHAT, { method: 'OPTIONS', key: null, headers: { origin, ...PREFLIGHT } });
    assert.equal(asked.headers['access-control-allow-origin'], undefined, origin);
    assert.equal(asked.status, 405, origin);
  }
  assert.equal((await proxy.fetch('/v1/models')).headers['access-control-allow-origin'], undefined);
});

test('with * every page may ask, and without the setting none', async (t) => {
  const closed = await Proxy.start(t, new FakeWorker().settings());
  const { headers } = await closed.fetch('/v1/models', { headers: { origin: ORIGIN } });
  assert.equal(headers['access-control-allow-origin'], undefined);
  const open = await Proxy.start(t, new FakeWorker().settings({ PROXY_CORS_ORIGINS: '*' }));
  const got = await open.fetch('/v1/models', { headers: { origin: 'https://anybody.example' } });
  assert.ok(['*', 'https://anybody.example'].includes(got.headers['access-control-allow-origin']));
});
