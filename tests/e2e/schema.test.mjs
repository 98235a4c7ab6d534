// sanitizers-are-enough: run once in a whole run, with sanitizers.
// Every message that the proxy sends to a worker is one that the installed worker declares: checked against the JSON schema
// that its own binary writes, with what the proxy sends to the fake worker in every situation that it knows.
import assert from 'node:assert/strict';
import Ajv from 'ajv';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { answer, ask, functionTool, toolResult } from './lib/answers.mjs';
import { folder, test } from './lib/kit.mjs';
import { Proxy } from './lib/proxy.mjs';
import { CODEX_BIN, fake, FakeWorker, MODEL, user } from './lib/workers.mjs';

// ---- the worker's schema ----

const out = folder('schema');
execFileSync(CODEX_BIN, ['app-server', 'generate-json-schema', '--experimental', '--out', out], {
  env: { PATH: process.env.PATH, HOME: out, CODEX_HOME: out },
  stdio: 'ignore',
});
const read = (name) => JSON.parse(readFileSync(join(out, name), 'utf8'));

const ajv = new Ajv({ strict: false, allErrors: false });
for (const [name, low, high] of [
  ['uint16', 0, 2 ** 16],
  ['uint32', 0, 2 ** 32],
  ['uint64', 0, Infinity],
  ['uint', 0, Infinity],
  ['int64', -Infinity, Infinity],
  ['int32', -(2 ** 31), 2 ** 31],
])
  ajv.addFormat(name, { type: 'number', validate: (n) => Number.isInteger(n) && n >= low && n < high });
ajv.addFormat('double', true);

const requests = read('ClientRequest.json');
const notifications = read('ClientNotification.json');
const items = read('v2/RawResponseItemCompletedNotification.json');

const branchOf = (schema, method) => schema.oneOf.find((one) => one.properties.method.enum.includes(method));

const compiled = new Map();
function validator(key, schema) {
  if (!compiled.has(key)) compiled.set(key, ajv.compile(schema));
  return compiled.get(key);
}

function check(key, schema, value) {
  const validate = validator(key, schema);
  assert.ok(validate(value), `${key}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value).slice(0, 500)}`);
}

// The schema lets unknown members pass; a misspelt one is a setting that never takes effect.
function checkMembers(method, params, definitions, { $ref } = {}) {
  if (!$ref) return;
  const known = Object.keys(definitions[$ref.split('/').at(-1)].properties ?? {});
  for (const name of Object.keys(params)) assert.ok(known.includes(name), `${method} has no member ${name}`);
}

const refs = (definitions, name) => ({ definitions, $ref: `#/definitions/${name}` });

function checkRequest(message) {
  const branch = branchOf(requests, message.method);
  assert.ok(branch, `the worker knows no request ${message.method}`);
  check(`request ${message.method}`, { definitions: requests.definitions, ...branch }, message);
  checkMembers(message.method, message.params ?? {}, requests.definitions, branch.properties.params);
  for (const item of message.params?.items ?? [])
    check('an injected item', refs(items.definitions, 'ResponseItem'), item);
}

function checkMessage(message) {
  if (message.method !== undefined && message.id !== undefined) return checkRequest(message);
  if (message.method !== undefined) {
    const branch = branchOf(notifications, message.method);
    assert.ok(branch, `the worker knows no notification ${message.method}`);
    return check(`notification ${message.method}`, { definitions: notifications.definitions, ...branch }, message);
  }
  if (message.error !== undefined) return check('an error', read('JSONRPCError.json'), message);
  check('a response', read('JSONRPCResponse.json'), message);
  check('the result of a call', read('DynamicToolCallResponse.json'), message.result);
}

// ---- everything that makes the proxy speak ----

const PNG =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const tools = [
  functionTool('look'),
  functionTool('exec_command', {}),
  { type: 'function', function: { name: 'bare' } },
];
const CALLS = [
  { name: 'look', arguments: '{"x": 1}', call_id: 'call_1' },
  { name: 'bare', arguments: '{}', call_id: 'call_2' },
];
const strict = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false };

async function everyRequest(proxy) {
  const plain = [
    {},
    { stream: true, stream_options: { include_usage: true } },
    { reasoning_effort: 'high', verbosity: 'low', service_tier: 'priority', n: 2 },
    { service_tier: 'flex' },
    { response_format: { type: 'json_schema', json_schema: { name: 'x', strict: true, schema: strict } } },
    { response_format: { type: 'json_object' } },
    { tools, tool_choice: 'required', parallel_tool_calls: false },
    { tools, tool_choice: { type: 'function', function: { name: 'exec_command' } } },
    { functions: tools.map((tool) => tool.function) },
    { model: 'fake-small' },
  ];
  for (const options of plain) await answer(proxy, user('one two three'), options);
  await answer(proxy, user('one two three'), { stop: 'two' });
}

async function everyMessage(proxy) {
  const call = { id: 'call_0', type: 'function', function: { name: 'look', arguments: '{}' } };
  await answer(
    proxy,
    [
      { role: 'system', content: 'S' },
      { role: 'developer', content: [{ type: 'text', text: 'D' }] },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'U' },
          ...[undefined, 'low', 'high', 'auto', 'original'].map((detail) => ({
            type: 'image_url',
            image_url: { url: PNG, detail },
          })),
        ],
        name: 'anna',
      },
      { role: 'assistant', content: null, refusal: 'no' },
      { role: 'assistant', content: 'then', tool_calls: [call] },
      toolResult(call, [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ]),
      { role: 'assistant', content: null, function_call: { name: 'look', arguments: '{}' } },
      { role: 'function', name: 'look', content: null },
      { role: 'user', content: '' },
      ...user('bye'),
    ],
    { tools },
  );
}

async function everyWayOn(proxy) {
  const first = user('a conversation');
  const said = (await answer(proxy, first)).choices[0].message;
  await answer(proxy, [...first, said, ...user('goes on')]);
  const looping = fake({ tool_calls: CALLS, then: { text: 'thanks' } });
  for (const content of [
    'plain',
    [
      { type: 'text', text: 'in ' },
      { type: 'text', text: 'parts' },
    ],
    '',
  ]) {
    const { message } = (await answer(proxy, looping, { tools })).choices[0];
    assert.equal(message.tool_calls.length, 2);
    await answer(proxy, [...looping, message, ...message.tool_calls.map((c) => toolResult(c, content))], { tools });
  }
}

async function everyEnd(proxy, worker) {
  for (const method of [
    'item/tool/requestUserInput',
    'item/commandExecution/requestApproval',
    'applyPatchApproval',
    'unheard/of',
  ])
    await answer(proxy, fake({ ask: [method], text: 'refused' }));
  await ask(proxy, fake({ fail: { codexErrorInfo: 'other', message: 'no' } }));
  const leaving = new AbortController();
  const left = assert.rejects(
    proxy
      .client()
      .chat.completions.create(
        { model: MODEL, messages: fake({ hang_at: 'turn_started' }) },
        { signal: leaving.signal },
      ),
  );
  const {
    in: { params },
  } = await worker.waitFor('the turn that hangs', (line) =>
    JSON.stringify(line.in?.params?.items ?? '').includes('hang_at'),
  );
  const ofIt = (method) => (line) => line.in?.method === method && line.in.params.threadId === params.threadId;
  await worker.waitFor('its start', ofIt('turn/start'));
  leaving.abort();
  await left;
  await worker.waitFor('the interrupt', ofIt('turn/interrupt'));
}

test('every message to the worker is valid by the schema of the installed worker', async () => {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(null, worker.settings({ WORKER_THREADS_MAX: '1', WORKER_PARKED_MAX: '1' }));
  await everyRequest(proxy);
  await everyMessage(proxy);
  await everyWayOn(proxy);
  await everyEnd(proxy, worker);
  await proxy.stop();
  const sent = worker.journal.filter((line) => 'in' in line).map((line) => line.in);
  assert.equal(worker.journal.filter((line) => 'bad' in line).length, 0);
  for (const message of sent) checkMessage(message);

  const methods = new Map();
  for (const { method = 'an answer' } of sent) methods.set(method, (methods.get(method) ?? 0) + 1);
  console.log([...methods].map(([method, count]) => `${String(count).padStart(4)} ${method}`).join('\n'));
  for (const method of [
    'initialize',
    'initialized',
    'model/list',
    'thread/start',
    'thread/inject_items',
    'turn/start',
    'turn/interrupt',
    'thread/unsubscribe',
    'an answer',
  ])
    assert.ok(methods.get(method) > 0, `${method} was sent`);
  assert.ok(
    sent.some((message) => message.result?.contentItems),
    'results of calls were sent',
  );
  assert.ok(
    sent.some((message) => message.error),
    'refusals were sent',
  );
});

test('the check is a check: what the worker would refuse does not pass', () => {
  const base = { id: 1, method: 'turn/start', params: { threadId: 't', input: [] } };
  checkMessage(base);
  const wrong = [
    { ...base, method: 'turn/begin' },
    { ...base, params: { input: [] } },
    { ...base, params: { threadId: 't', input: 'x' } },
    { ...base, params: { threadId: 't', input: [], efort: 'low' } },
    {
      id: 1,
      method: 'thread/inject_items',
      params: { threadId: 't', items: [{ type: 'message', role: 'user', content: 5 }] },
    },
    { id: 1, method: 'thread/start', params: { dynamicTools: [{ type: 'function', name: 'x' }] } },
    { id: 1, result: { contentItems: [{ type: 'input_text', text: 'x' }], success: true } },
  ];
  for (const message of wrong)
    assert.throws(() => checkMessage(message), assert.AssertionError, JSON.stringify(message));
});

test('notifications that the proxy opts out of are ones that the worker has', async (t) => {
  const worker = new FakeWorker();
  await Proxy.start(t, worker.settings());
  const {
    in: { params },
  } = worker.journal.find((line) => line.in?.method === 'initialize');
  const known = read('ServerNotification.json').oneOf.flatMap((one) => one.properties.method.enum);
  const silenced = params.capabilities.optOutNotificationMethods ?? [];
  assert.deepEqual(
    silenced.filter((method) => !known.includes(method)),
    [],
  );
});
