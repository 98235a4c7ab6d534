// sanitizers-are-enough: run once in a whole run, with sanitizers.
// Every field of the installed openai types is treated in a way that is known, shown by --fields, and tested here.
// A new version of the package with a new field fails these tests.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { answer, ask, assemble, functionTool, stopAll } from './lib/answers.mjs';
import { bin, ROOT, test } from './lib/kit.mjs';
import { Proxy } from './lib/proxy.mjs';
import { frames } from './lib/wire.mjs';
import { MODEL, ModelStub, steps, stub, user } from './lib/workers.mjs';

const REAL_MODEL = 'gpt-5.5'; // of the worker's own list, with efforts and verbosity

// ---- what there is ----

const TYPES = new URL('node_modules/openai/resources/', import.meta.url);
const read = (path) => readFileSync(new URL(path, TYPES), 'utf8');
const completions = read('chat/completions/completions.d.ts');

function membersOf(name, text = completions) {
  const [, body] = new RegExp(`interface ${name}(?: extends \\w+)? \\{\n([\\s\\S]*?)\n\\}`).exec(text);
  return [...body.matchAll(/^ {4}(\w+)\??:/gm)].map(([, member]) => member);
}

// The words of a union of literals, such as those of `verbosity`.
const wordsOf = (text, start) =>
  [...new RegExp(`${start}([^;]*);`).exec(text)[1].matchAll(/'([^']+)'/g)].map(([, word]) => word);

const typed = [
  ...new Set(['Base', 'NonStreaming', 'Streaming'].flatMap((kind) => membersOf(`ChatCompletionCreateParams${kind}`))),
].sort();

const treated = execFileSync(bin('codex-api'), ['--fields'], { encoding: 'utf8' })
  .trimEnd()
  .split('\n')
  .map((line) => line.split('\t'))
  .map(([name, treatment, meaning]) => ({ name, treatment, meaning }));

// ---- one row a field: what is accepted and does what, what is refused, what has the wrong type ----

const INVALID = 'invalid_value';
const UNSUPPORTED = 'unsupported_value';
const tools = [functionTool('look'), functionTool('leap')];
const functions = tools.map((tool) => tool.function);
const schema = (properties) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
const format = (json_schema) => ({ type: 'json_schema', json_schema });
const developerSays = (sent, pattern) =>
  sent.input.some((i) => i.role === 'developer' && pattern.test(i.content[0].text));
const offered = (sent) => (sent.tools ?? []).map((tool) => tool.name);
const called = stub({
  rounds: [[...'ab'].map((id) => ({ tool_call: { name: 'look', arguments: '{}', call_id: `call_${id}` } }))],
});

// Of an accepted value: `at` checks what the model was sent, `got` the answer; `with` are other fields.
// Of a refused one: [value, code, param if it is not the field itself, other fields].
const ignoredNumber = (good, low, high) => ({
  accepted: good.map((value) => ({ value })),
  refused: [
    [low, 'decimal_below_min_value'],
    [high, 'decimal_above_max_value'],
  ],
  wrong: '1',
});
const ignoredTokens = {
  accepted: [{ value: 1 }, { value: 100_000 }],
  refused: [
    [0, 'integer_below_min_value'],
    [-5, 'integer_below_min_value'],
    [1.5, 'invalid_type'],
  ],
  wrong: '5',
};
const ignored = (good, wrong) => ({ accepted: [{ value: good }], wrong });
const others = (good) => ({ accepted: [{ value: good }] });
const refused = (value, accepted = []) => ({
  accepted,
  refused: [[value, 'unsupported_parameter']],
  wrong: 'text',
  wrongCode: 'unsupported_parameter',
});

const rows = {
  model: {
    accepted: [
      {
        value: REAL_MODEL,
        at: (sent) => assert.equal(sent.model, REAL_MODEL),
        got: (a) => assert.equal(a.model, REAL_MODEL),
      },
    ],
    refused: [
      ['nobody-knows', 'model_not_found', 'model', {}, 404],
      ['', 'model_not_found', 'model', {}, 404],
    ],
    wrong: 5,
    required: true,
  },
  messages: {
    accepted: [{ value: steps({ text: 'heard' }), got: (a) => assert.equal(a.choices[0].message.content, 'heard') }],
    refused: [
      [[], 'empty_array'],
      [[{ role: 'nobody', content: 'x' }], INVALID, 'messages[0].role'],
      [[{ role: 'user' }], 'missing_required_parameter', 'messages[0].content'],
      [
        [{ role: 'user', content: [{ type: 'input_audio', input_audio: { data: '', format: 'wav' } }] }],
        UNSUPPORTED,
        'messages[0].content[0].type',
      ],
      [
        [{ role: 'user', content: [{ type: 'file', file: { file_id: 'f' } }] }],
        UNSUPPORTED,
        'messages[0].content[0].type',
      ],
    ],
    wrong: 'hello',
    required: true,
  },
  stream: {
    accepted: [
      { value: true, got: (a, raw) => assert.equal(frames(raw).at(-1), '[DONE]') },
      { value: false, got: (a) => assert.equal(a.object, 'chat.completion') },
    ],
    wrong: 'yes',
  },
  stream_options: {
    accepted: [
      { value: { include_usage: true }, with: { stream: true }, got: (a) => assert.ok(a.usage.total_tokens > 0) },
      { value: { include_usage: false }, with: { stream: true }, got: (a) => assert.equal(a.usage, undefined) },
      {
        value: { include_obfuscation: true },
        with: { stream: true },
        got: (a, raw) => assert.ok(!raw.includes('obfuscation')),
      },
    ],
    refused: [
      [{ include_usage: true }, INVALID],
      [{ include_usage: 'yes' }, 'invalid_type', 'stream_options.include_usage', { stream: true }],
    ],
    wrong: 'usage',
  },
  tools: {
    accepted: [
      { value: tools, at: (sent) => assert.deepEqual(offered(sent), ['look', 'leap']) },
      { value: [], at: (sent) => assert.deepEqual(offered(sent), []) },
    ],
    refused: [
      [[{ type: 'custom', custom: { name: 'x' } }], UNSUPPORTED, 'tools[0].type'],
      [[{ function: functions[0] }], 'missing_required_parameter', 'tools[0].type'],
      [[{ type: 'function' }], 'invalid_type', 'tools[0].function'],
      [[functionTool('with space')], INVALID, 'tools[0].function.name'],
      [[functionTool('a'.repeat(65))], INVALID, 'tools[0].function.name'],
      [[tools[0], tools[0]], INVALID, 'tools[1].function.name'],
      [
        [{ type: 'function', function: { name: 'f', parameters: 'none' } }],
        'invalid_type',
        'tools[0].function.parameters',
      ],
      [Array.from({ length: 129 }, (_, i) => functionTool(`f${i}`)), 'array_above_max_length'],
    ],
    wrong: 'look',
  },
  tool_choice: {
    accepted: [
      { value: 'auto', with: { tools }, at: (sent) => assert.deepEqual(offered(sent), ['look', 'leap']) },
      { value: 'none', with: { tools }, at: (sent) => assert.deepEqual(offered(sent), []) },
      {
        value: 'required',
        with: { tools },
        emulated: true,
        at: (sent) => assert.ok(developerSays(sent, /calling a function/)),
      },
      {
        value: { type: 'function', function: { name: 'leap' } },
        with: { tools },
        emulated: true,
        at: (sent) => assert.deepEqual(offered(sent), ['leap']),
      },
      {
        value: {
          type: 'allowed_tools',
          allowed_tools: { mode: 'auto', tools: [{ type: 'function', function: { name: 'look' } }] },
        },
        with: { tools },
        at: (sent) => assert.deepEqual(offered(sent), ['look']),
      },
    ],
    refused: [
      ['sometimes', INVALID, 'tool_choice', { tools }],
      ['required', INVALID],
      [{ type: 'function', function: { name: 'lurk' } }, INVALID, 'tool_choice.function.name', { tools }],
      [{ type: 'custom', custom: { name: 'look' } }, UNSUPPORTED, 'tool_choice', { tools }],
      [
        { type: 'allowed_tools', allowed_tools: { mode: 'none', tools } },
        INVALID,
        'tool_choice.allowed_tools.mode',
        { tools },
      ],
    ],
    wrong: 5,
    wrongWith: { tools },
    wrongCode: INVALID,
  },
  parallel_tool_calls: {
    accepted: [
      {
        value: true,
        messages: called,
        with: { tools },
        got: (a) => assert.equal(a.choices[0].message.tool_calls.length, 2),
      },
      {
        value: false,
        messages: called,
        with: { tools },
        emulated: true,
        got: (a) => assert.equal(a.choices[0].message.tool_calls.length, 1),
      },
    ],
    wrong: 'no',
  },
  functions: {
    accepted: [
      { value: functions, emulated: true, at: (sent) => assert.deepEqual(offered(sent), ['look', 'leap']) },
      {
        value: functions,
        emulated: true,
        messages: called,
        got: (a) => assert.deepEqual(a.choices[0].message.function_call, { name: 'look', arguments: '{}' }),
      },
    ],
    refused: [
      [functions, INVALID, 'functions', { tools }],
      [[{ name: 'with space' }], INVALID, 'functions[0].name'],
    ],
    wrong: 'look',
  },
  function_call: {
    accepted: [
      { value: 'auto', with: { functions }, at: (sent) => assert.deepEqual(offered(sent), ['look', 'leap']) },
      { value: 'none', with: { functions }, at: (sent) => assert.deepEqual(offered(sent), []) },
      {
        value: { name: 'leap' },
        with: { functions },
        emulated: true,
        at: (sent) => assert.deepEqual(offered(sent), ['leap']),
      },
    ],
    refused: [
      [{ name: 'lurk' }, INVALID, 'function_call.name', { functions }],
      ['sometimes', INVALID, 'function_call', { functions }],
    ],
    wrong: 5,
    wrongWith: { functions },
    wrongCode: INVALID,
  },
  response_format: {
    accepted: [
      { value: { type: 'text' }, at: (sent) => assert.equal(sent.text?.format, undefined) },
      {
        value: format({ name: 'city', strict: true, schema: schema({ city: { type: 'string' } }) }),
        at: (sent) => {
          assert.deepEqual(sent.text.format.schema, schema({ city: { type: 'string' } }));
          assert.deepEqual([sent.text.format.type, sent.text.format.strict], ['json_schema', true]);
        },
      },
      {
        value: { type: 'json_object' },
        emulated: true,
        at: (sent) => assert.ok(developerSays(sent, /one JSON object/)),
      },
    ],
    refused: [
      [{ type: 'xml' }, INVALID, 'response_format.type'],
      [{}, INVALID, 'response_format.type'],
      [{ type: 'json_schema' }, 'invalid_type', 'response_format.json_schema'],
      [format({ name: 'a b', schema: {} }), INVALID, 'response_format.json_schema.name'],
      [format({ name: 'x' }), 'invalid_type', 'response_format.json_schema.schema'],
      [
        format({ name: 'x', strict: true, schema: { type: 'object', properties: {} } }),
        'invalid_json_schema',
        'response_format.json_schema.schema',
      ],
    ],
    wrong: 'json_object',
  },
  reasoning_effort: {
    accepted: [{ value: 'low', with: { model: REAL_MODEL }, at: (sent) => assert.equal(sent.reasoning.effort, 'low') }],
    refused: [['ultra', UNSUPPORTED, 'reasoning_effort', { model: REAL_MODEL }]],
    wrong: 5,
  },
  verbosity: {
    accepted: wordsOf(completions, 'verbosity\\?: ').map((value) => ({
      value,
      with: { model: REAL_MODEL },
      at: (sent) => assert.equal(sent.text.verbosity, value),
    })),
    refused: [['loud', INVALID]],
    wrong: 5,
    wrongCode: INVALID,
  },
  service_tier: {
    accepted: wordsOf(completions, 'interface ChatCompletionCreateParamsBase[\\s\\S]*?service_tier\\?: ').map(
      (value) => ({
        value,
        with: { model: REAL_MODEL },
        at: (sent) => assert.equal(sent.service_tier, { fast: 'priority', priority: 'priority', flex: 'flex' }[value]),
        got: (a) =>
          assert.equal(a.service_tier, { fast: 'priority', priority: 'priority', flex: 'flex' }[value] ?? 'default'),
      }),
    ),
    refused: [['first', INVALID]],
    wrong: 5,
    wrongCode: INVALID,
  },
  n: {
    accepted: [
      { value: 1, got: (a) => assert.equal(a.choices.length, 1) },
      { value: 2, emulated: true, got: (a) => assert.equal(a.choices.length, 2) },
    ],
    refused: [
      [0, 'integer_below_min_value'],
      [9, UNSUPPORTED],
      [1.5, 'invalid_type'],
    ],
    wrong: 'two',
  },
  stop: {
    accepted: [
      {
        value: 'two',
        emulated: true,
        messages: steps({ text: 'one two three' }),
        got: (a) => assert.equal(a.choices[0].message.content, 'one '),
      },
      {
        value: ['x', 'e t'],
        emulated: true,
        messages: steps({ text: 'one two three' }),
        got: (a) => assert.equal(a.choices[0].message.content, 'on'),
      },
      {
        value: [],
        messages: steps({ text: 'one two' }),
        got: (a) => assert.equal(a.choices[0].message.content, 'one two'),
      },
    ],
    refused: [
      [[...'abcde'], 'array_above_max_length'],
      [[5], 'invalid_type'],
      ['', INVALID],
    ],
    wrong: 5,
  },
  modalities: {
    accepted: [{ value: ['text'] }],
    refused: [[['text', 'audio'], UNSUPPORTED]],
    wrong: 'text',
    wrongCode: UNSUPPORTED,
  },
  temperature: ignoredNumber([0, 1, 2, 0.7], -0.1, 2.1),
  top_p: ignoredNumber([0, 1, 0.5], -0.1, 1.1),
  frequency_penalty: ignoredNumber([-2, 2, 0.5], -2.1, 2.1),
  presence_penalty: ignoredNumber([-2, 2, 0.5], -2.1, 2.1),
  seed: ignored(42, 'forty-two'),
  logit_bias: ignored({ 50256: -100 }, 'none'),
  max_tokens: ignoredTokens,
  max_completion_tokens: ignoredTokens,
  metadata: ignored({ a: 'b' }, 'a=b'),
  store: ignored(true, 'yes'),
  user: ignored('someone', 5),
  safety_identifier: ignored('someone', 5),
  prompt_cache_key: ignored('mine', 5),
  prompt_cache_options: ignored({}, 'all'),
  prompt_cache_retention: ignored('24h', 24),
  prediction: ignored({ type: 'content', content: 'so' }, 'so'),
  logprobs: refused(true, [{ value: false }]),
  top_logprobs: refused(5),
  audio: refused({ voice: 'alloy', format: 'wav' }),
  moderation: refused({ model: 'omni-moderation-latest' }),
  web_search_options: refused({}),
  top_k: others(40),
  min_p: others(0.1),
  repetition_penalty: others(1.1),
  chat_template_kwargs: others({ enable_thinking: false }),
  thinking: others({ type: 'disabled' }),
};

const titles = new Map();
const model = await ModelStub.start();
const proxy = await Proxy.start(null, model.settings());
after(async () => {
  await stopAll(proxy, model);
  const width = Math.max(...treated.map((row) => row.name.length));
  console.log(`${'field'.padEnd(width)} | treatment | test`);
  for (const { name, treatment } of treated)
    console.log(
      `${name.padEnd(width)} | ${treatment.padEnd(9)} | ${titles.get(name)}${typed.includes(name) ? '' : " (not OpenAI's)"}`,
    );
});

// ---- the tables agree ----

test('every field of the installed openai types has a treatment, and every treatment a test', () => {
  const known = treated.map((row) => row.name);
  assert.deepEqual(
    typed.filter((name) => !known.includes(name)),
    [],
    'fields that --fields does not know',
  );
  assert.deepEqual(Object.keys(rows).sort(), [...known].sort());
  assert.equal(new Set(known).size, known.length);
  for (const { name, treatment, meaning } of treated) {
    assert.ok(['mapped', 'emulated', 'ignored', 'refused'].includes(treatment), name);
    assert.equal(typeof meaning, 'string', name);
  }
  const beyond = treated.filter((row) => !typed.includes(row.name));
  assert.ok(
    beyond.every((row) => row.treatment === 'ignored'),
    'fields of other servers are ignored',
  );
  assert.deepEqual(membersOf('ChatCompletionStreamOptions').sort(), ['include_obfuscation', 'include_usage']);
});

test('the table of runbooks/clients.md is that of --fields', () => {
  const page = readFileSync(join(ROOT, 'runbooks/clients.md'), 'utf8');
  const [, section] = /^## Fields\n([\s\S]*?)^## /m.exec(page);
  const lines = section.split('\n').filter((line) => line.startsWith('| `'));
  assert.deepEqual(
    lines,
    treated.map((row) => `| \`${row.name}\` | ${row.treatment} | ${row.meaning} |`),
  );
});

test('the efforts of the installed openai types are those that some model takes, or are refused with 400', async () => {
  const words = wordsOf(read('shared.d.ts'), 'type ReasoningEffort = ');
  const { json } = await proxy.fetch(`/v1/models/${REAL_MODEL}`);
  assert.ok(words.length >= 6);
  for (const reasoning_effort of words) {
    const options = { model: REAL_MODEL, reasoning_effort };
    const { status, json: got } = await ask(proxy, steps({ text: 'ok' }), options);
    if (json.supported_reasoning_efforts.includes(reasoning_effort)) assert.equal(status, 200, reasoning_effort);
    else assert.deepEqual([status, got.error.code], [400, UNSUPPORTED], reasoning_effort);
  }
});

// ---- each field ----

const listed = (headers, name) => (headers[name] ?? '').split(', ').filter((word) => word !== '');

async function accepts(name, treatment, row) {
  await model.clear();
  const messages = row.messages ?? steps({ text: 'fine' });
  const { status, headers, json, text } = await ask(proxy, messages, { ...row.with, [name]: row.value });
  const what = `${name}: ${JSON.stringify(row.value)}`;
  assert.equal(status, 200, `${what}: ${text}`);
  assert.equal(listed(headers, 'x-codex-api-ignored').includes(name), treatment === 'ignored', `${what}: ignored`);
  assert.equal(listed(headers, 'x-codex-api-emulated').includes(name), row.emulated === true, `${what}: emulated`);
  row.got?.(json ?? assemble(text), text);
  const sent = (await model.requests())[0].body;
  row.at?.(sent);
  if (treatment === 'ignored') assert.notDeepEqual(sent[name], row.value, `${what} is not passed on`);
}

async function refuses(name, [value, code, param = name, extra = {}, status = 400]) {
  const messages = user('refuse me');
  const { status: got, json, text } = await ask(proxy, messages, { ...extra, [name]: value });
  const what = `${name}: ${JSON.stringify(value)}`.slice(0, 200);
  assert.equal(got, status, `${what}: ${text.slice(0, 300)}`);
  assert.deepEqual(Object.keys(json.error), ['message', 'type', 'param', 'code', 'retryable']);
  assert.deepEqual([json.error.type, json.error.code, json.error.param], ['invalid_request_error', code, param], what);
}

async function takesNullAsAbsent(name, required) {
  const answered = await ask(proxy, steps({ text: 'fine' }), { [name]: null });
  if (required) {
    const { status, json } = answered;
    assert.deepEqual([status, json.error.code, json.error.param], [400, 'missing_required_parameter', name]);
    return;
  }
  assert.equal(answered.status, 200, `null: ${answered.text}`);
  for (const header of ['x-codex-api-ignored', 'x-codex-api-emulated'])
    assert.equal(answered.headers[header], undefined, `null: ${header}`);
}

for (const { name, treatment } of treated) {
  const row = rows[name];
  const parts = [
    row?.accepted?.length ? `${row.accepted.length} accepted` : null,
    row?.refused?.length ? `${row.refused.length} refused` : null,
    row && 'wrong' in row ? 'wrong type' : null,
    'null',
  ];
  titles.set(name, `field ${name}: ${parts.filter(Boolean).join(', ')}`);
  test(titles.get(name), async () => {
    for (const good of row.accepted) await accepts(name, treatment, good);
    for (const bad of row.refused ?? []) await refuses(name, bad);
    if ('wrong' in row) await refuses(name, [row.wrong, row.wrongCode ?? 'invalid_type', name, row.wrongWith]);
    await takesNullAsAbsent(name, row.required);
  });
}

test('fields that nobody knows are neither refused nor named', async () => {
  const { headers } = await answer(proxy, steps({ text: 'fine' }), { extra_body: { a: 1 }, frobnicate: 7 });
  assert.equal(headers['x-codex-api-ignored'], undefined);
});

test('the same fields are named in the headers of a stream', async () => {
  const { headers } = await answer(proxy, steps({ text: 'fine' }), { stream: true, n: 2, seed: 1, user: 'me' });
  assert.deepEqual(listed(headers, 'x-codex-api-ignored').sort(), ['seed', 'user']);
  assert.deepEqual(listed(headers, 'x-codex-api-emulated'), ['n']);
});

test('MODEL, the extra one, is not held to the efforts of any list', async () => {
  await answer(proxy, steps({ text: 'fine' }), { model: MODEL, reasoning_effort: 'xhigh' });
});
