// sanitizers-are-enough: what is said to a client does not depend on the build.
// The real openai package, unchanged, gets from the real worker what it expects of OpenAI.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after } from 'node:test';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { inTime, test, until } from './lib/kit.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { frames } from './lib/wire.mjs';
import { CODEX_BIN, FakeWorker, MODEL, ModelStub, steps, stub, user } from './lib/workers.mjs';

const model = await ModelStub.start();
const proxy = await Proxy.start(null, model.settings({ SSE_KEEPALIVE_MS: '0' }));
const client = proxy.client();
after(async () => {
  await proxy.stop();
  await model.stop();
});

const create = (messages, options = {}) =>
  client.chat.completions.create({ model: MODEL, messages, ...options });

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const spoken = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? '').join('');
const parsed = (text) => frames(text).filter((f) => f.startsWith('{')).map((f) => JSON.parse(f));

const raw = (messages, options = {}) =>
  proxy.chat({ model: MODEL, messages, stream: true, ...options });

// Numbers that no count of ours could come up with.
const USAGE = {
  input_tokens: 12345,
  input_tokens_details: { cached_tokens: 678 },
  output_tokens: 91,
  output_tokens_details: { reasoning_tokens: 23 },
  total_tokens: 12436,
};
const ANSWERED_USAGE = {
  prompt_tokens: 12345,
  completion_tokens: 91,
  total_tokens: 12436,
  prompt_tokens_details: { cached_tokens: 678, cache_write_tokens: 0, audio_tokens: 0 },
  completion_tokens_details: {
    reasoning_tokens: 23,
    audio_tokens: 0,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  },
};

// ---- answers ----

test('an answer that is not streamed has the text, the reason and the exact usage', async () => {
  const { data, response } = await create(steps({ text: 'Guten Tag.' }, { usage: USAGE })).withResponse();
  assert.equal(data.object, 'chat.completion');
  assert.match(data.id, /^chatcmpl-\w{10,}$/);
  assert.equal(data.model, MODEL);
  assert.ok(Math.abs(data.created - Date.now() / 1000) < 60);
  assert.match(data.system_fingerprint, /^fp_/);
  assert.deepEqual(data.choices, [
    {
      index: 0,
      message: { role: 'assistant', content: 'Guten Tag.', refusal: null, annotations: [] },
      logprobs: null,
      finish_reason: 'stop',
    },
  ]);
  assert.deepEqual(data.usage, ANSWERED_USAGE);
  assert.equal(response.headers.get('content-type'), 'application/json');
});

test('a streamed answer is role, deltas, one finish chunk and [DONE], byte by byte', async () => {
  const { status, headers, text } = await raw(steps({ text: 'one two three', cuts: 'words' }));
  assert.equal(status, 200);
  assert.equal(headers['content-type'], 'text/event-stream; charset=utf-8');
  assert.equal(headers['cache-control'], 'no-cache');
  assert.equal(headers['x-accel-buffering'], 'no');
  assert.equal(headers['content-length'], undefined);
  assert.equal(headers['content-encoding'], undefined);
  assert.equal(frames(text).at(-1), '[DONE]');
  const chunks = parsed(text);
  assert.equal(chunks.length, frames(text).length - 1);
  const same = ['id', 'object', 'created', 'model', 'system_fingerprint', 'service_tier'];
  for (const chunk of chunks) {
    assert.deepEqual(Object.keys(chunk), [...same, 'choices']);
    for (const key of same) assert.equal(chunk[key], chunks[0][key]);
    assert.equal(chunk.object, 'chat.completion.chunk');
  }
  const choices = chunks.map((chunk) => chunk.choices[0]);
  assert.deepEqual(choices[0], {
    index: 0,
    delta: { role: 'assistant', content: '', refusal: null },
    logprobs: null,
    finish_reason: null,
  });
  assert.deepEqual(choices.at(-1), { index: 0, delta: {}, logprobs: null, finish_reason: 'stop' });
  const deltas = choices.slice(1, -1);
  for (const choice of deltas) {
    assert.deepEqual(Object.keys(choice.delta), ['content']);
    assert.equal(choice.finish_reason, null);
  }
  assert.equal(deltas.map((choice) => choice.delta.content).join(''), 'one two three');
});

test('a token is passed on as soon as the model says it', async () => {
  const stream = await create(steps({ text: 'now' }, { hang: true }), { stream: true });
  for await (const chunk of stream) if (spoken([chunk]) === 'now') break; // else it would hang here
  stream.controller.abort();
});

test('no chunk knows of usage unless the client asks for it', async () => {
  const chunks = await collect(await create(steps({ text: 'hi' }), { stream: true }));
  assert.ok(chunks.every((chunk) => !('usage' in chunk)));
  const off = { stream: true, stream_options: { include_usage: false } };
  assert.ok((await collect(await create(steps({ text: 'hi' }), off))).every((c) => !('usage' in c)));
});

test('with include_usage all chunks have usage null but the last, which has no choices', async () => {
  const options = { stream: true, stream_options: { include_usage: true } };
  const chunks = await collect(await create(steps({ text: 'hi' }, { usage: USAGE }), options));
  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.deepEqual(last.usage, ANSWERED_USAGE);
  assert.equal(last.id, chunks[0].id);
  assert.ok(chunks.length >= 3 && chunks.every((chunk) => chunk.usage === null));
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
});

test('the .stream() helper finds the chunks in order and puts the answer together', async () => {
  const stream = client.chat.completions.stream({
    model: MODEL,
    messages: steps({ text: 'alpha beta gamma', cuts: 'words' }, { usage: USAGE }),
    stream_options: { include_usage: true },
  });
  const seen = [];
  stream.on('content', (delta, snapshot) => seen.push([delta, snapshot]));
  const done = new Promise((resolve) => stream.on('content.done', resolve));
  const final = await stream.finalChatCompletion();
  assert.equal(final.choices[0].message.content, 'alpha beta gamma');
  assert.equal(final.choices[0].finish_reason, 'stop');
  assert.equal((await done).content, 'alpha beta gamma');
  assert.equal(seen.map(([delta]) => delta).join(''), 'alpha beta gamma');
  assert.equal(seen.at(-1)[1], 'alpha beta gamma');
  assert.equal((await stream.totalUsage()).total_tokens, 12436);
  assert.equal(await stream.finalContent(), 'alpha beta gamma');
});

test('an answer without a word is an answer', async () => {
  const { choices } = await create(steps({ usage: USAGE }));
  assert.equal(choices[0].message.content, '');
  assert.equal(choices[0].finish_reason, 'stop');
  const final = await client.chat.completions
    .stream({ model: MODEL, messages: steps({ usage: USAGE }) })
    .finalChatCompletion();
  assert.equal(final.choices[0].finish_reason, 'stop');
});

test('reasoning comes apart from the answer and before it', async () => {
  const messages = stub({ preset: 'reasoning' });
  const reasoning = '**Looking** at it\n\n**Deciding**';
  const { choices } = await create(messages);
  assert.equal(choices[0].message.content, 'It is so.');
  assert.equal(choices[0].message.reasoning_content, reasoning);
  const deltas = (await collect(await create(messages, { stream: true }))).map(
    (chunk) => chunk.choices[0].delta,
  );
  assert.equal(deltas.map((d) => d.reasoning_content ?? '').join(''), reasoning);
  assert.equal(deltas.map((d) => d.content ?? '').join(''), 'It is so.');
  const firstWord = deltas.findIndex((d) => d.content);
  assert.ok(deltas.slice(firstWord).every((d) => d.reasoning_content === undefined));
});

test('what the model says about its work is reasoning, and messages are kept apart', async () => {
  const { choices } = await create(
    steps(
      { message_start: { phase: 'commentary' } },
      { text: 'Let me see.' },
      { message_start: { phase: 'final_answer' } },
      { text: 'It is 4.' },
      { message_start: { phase: 'final_answer' } },
      { text: 'Or 5.' },
    ),
  );
  assert.equal(choices[0].message.content, 'It is 4.\n\nOr 5.');
  assert.equal(choices[0].message.reasoning_content, 'Let me see.');
});

// ---- what the model is told ----

test('the whole history reaches the model byte for byte, system as developer, and nothing else', async () => {
  await model.clear();
  const said = [
    ['system', 'Be “brief”.\r\n\tAnd \\kind\\.', 'developer'],
    ['developer', '  leading and trailing  ', 'developer'],
    ['user', 'Wie spät ist es? 🕰️\u2028\ufeff', 'user'],
    ['assistant', 'Es ist "drei".', 'assistant'],
    ['user', '', 'user'],
    ['system', 'Again: stub: is not for you.', 'developer'],
    ['user', steps({ text: 'ok' })[0].content, 'user'],
  ];
  const messages = said.map(([role, content]) => ({ role, content }));
  messages[2].content = [
    { type: 'text', text: 'Wie spät ist es? ' },
    { type: 'text', text: '🕰️\u2028\ufeff' },
  ];
  await create(messages);
  const { body, headers, model: asked } = (await model.requests())[0];
  assert.equal(asked, MODEL);
  assert.deepEqual(
    body.input.map((item) => [
      item.type,
      item.role,
      item.content.map((part) => part.text).join(''),
      item.content[0].type,
    ]),
    said.map(([role, content, heard]) => [
      'message',
      heard,
      content,
      role === 'assistant' ? 'output_text' : 'input_text',
    ]),
  );
  assert.equal(body.input[2].content.length, 2);
  assert.equal(body.instructions ?? '', '');
  assert.deepEqual(body.tools ?? [], []);
  assert.equal(headers.authorization, undefined);
});

test('reasoning_effort reaches the model', async () => {
  await model.clear();
  await create(steps({ text: 'ok' }), { reasoning_effort: 'high' });
  assert.equal((await model.requests())[0].body.reasoning.effort, 'high');
});

test('32 answers at once do not mix', async () => {
  const answers = await Promise.all(
    Array.from({ length: 32 }, async (_, i) => {
      const text = `answer ${i} `.repeat(20);
      const chunks = await collect(
        await create(steps({ text, random_cuts: i + 1, every_ms: 1 }), { stream: true }),
      );
      return [spoken(chunks), text];
    }),
  );
  for (const [heard, text] of answers) assert.equal(heard, text);
});

test('parameters without effect are accepted and named in x-codex-api-ignored', async () => {
  const extra = { temperature: 0.5, seed: 7, user: 'someone', max_tokens: 100, presence_penalty: 0 };
  const { response } = await create(steps({ text: 'ok' }), extra).withResponse();
  const ignored = response.headers.get('x-codex-api-ignored').split(', ');
  assert.deepEqual(ignored.sort(), Object.keys(extra).sort());
  const plain = await create(steps({ text: 'ok' }), { temperature: null, foo: 1 }).withResponse();
  assert.equal(plain.response.headers.get('x-codex-api-ignored'), null);
});

// ---- models ----

test('the models of the worker are listed, with the one of CODEX_MODEL', async () => {
  const models = (await client.models.list()).data;
  assert.ok(models.length >= 2);
  for (const entry of models) {
    assert.equal(entry.object, 'model');
    assert.equal(entry.owned_by, 'openai');
    assert.ok(Number.isInteger(entry.created));
  }
  const ids = models.map((entry) => entry.id);
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(ids.includes(MODEL));
  assert.deepEqual(await client.models.retrieve(ids[0]), models[0]);
});

test('a model whose name has slashes is found, encoded or not', async (t) => {
  const id = 'org/my-model';
  const other = await Proxy.start(t, new FakeWorker().settings({ CODEX_MODEL: id }));
  assert.equal((await other.client().models.retrieve(id)).id, id);
  for (const path of ['/v1/models/org/my-model', '/v1/models/org%2Fmy-model']) {
    const { status, json } = await other.fetch(path);
    assert.deepEqual([status, json.id], [200, id], path);
  }
  const answer = await other.client().chat.completions.create({ model: id, messages: user('hey') });
  assert.equal(answer.model, id);
  assert.equal(answer.choices[0].message.content, 'hey');
});

// ---- errors, as the package sees them ----

test('the package throws its own class for each error, with code, param and request id', async () => {
  const hello = user('hello');
  const wrong = proxy.client({ apiKey: 'sk-wrong-key-of-somebody' });
  await assert.rejects(wrong.chat.completions.create({ model: MODEL, messages: hello }), (e) => {
    assert.ok(e instanceof OpenAI.AuthenticationError);
    assert.equal(e.code, 'invalid_api_key');
    assert.equal(e.type, 'invalid_request_error');
    assert.match(e.requestID, /^req_/);
    return true;
  });
  const calls = [
    [() => create(hello, { model: 'no-such-model' }), 'NotFoundError', 'model_not_found', 'model'],
    [() => client.models.retrieve('no-such-model'), 'NotFoundError', 'model_not_found', 'model'],
    [() => create([]), 'BadRequestError', 'empty_array', 'messages'],
    [() => create(hello, { n: 'two' }), 'BadRequestError', 'invalid_type', 'n'],
    [() => create([{ role: 'user', content: 5 }]), 'BadRequestError', 'invalid_type', 'messages[0].content'],
    [() => client.embeddings.create({ model: 'x', input: 'y' }), 'NotFoundError', 'unknown_url', null],
  ];
  for (const [call, kind, code, param] of calls) {
    await assert.rejects(call, (e) => {
      assert.ok(e instanceof OpenAI[kind], `${e.constructor.name} for ${code}`);
      assert.deepEqual([e.code, e.param], [code, param]);
      assert.match(e.requestID, /^req_/);
      return true;
    });
  }
});

const failures = {
  unauthorized: { status: 503, code: 'upstream_auth', headers: { 'x-should-retry': 'false' } },
  rate_limit: { status: 429, code: 'rate_limit_exceeded', retry: true },
  usage_limit: { status: 429, code: 'insufficient_quota', headers: { 'x-should-retry': 'false' } },
  server_error: { status: 502, code: 'upstream_error' },
  overloaded: { status: 503, code: 'server_overloaded', retry: true },
  bad_request: { status: 400, code: null, param: 'input' },
  context_length: { status: 400, code: 'context_length_exceeded', param: 'messages' },
};

for (const [preset, wanted] of Object.entries(failures)) {
  test(`an upstream that fails with ${preset} before the first byte gives a real status`, async () => {
    for (const stream of [false, true]) {
      await assert.rejects(create(stub({ preset }), { stream }), (e) => {
        assert.equal(e.status, wanted.status);
        assert.equal(e.code, wanted.code);
        assert.equal(e.param, wanted.param ?? null);
        for (const [name, value] of Object.entries(wanted.headers ?? {}))
          assert.equal(e.headers.get(name), value, name);
        if (wanted.retry) assert.ok(Number(e.headers.get('retry-after')) >= 1);
        return true;
      });
    }
  });
}

test('the package does not try again when the plan is used up, and does when it may help', async () => {
  const patient = proxy.client({ maxRetries: 2 });
  const tries = async (preset) => {
    await model.clear();
    const messages = stub({ preset });
    await assert.rejects(patient.chat.completions.create({ model: MODEL, messages }));
    return (await model.requests()).length;
  };
  assert.equal(await tries('usage_limit'), 1);
  assert.equal(await tries('server_error'), 3);
});

test('a failure in mid-stream is an error frame without [DONE], and the package throws', async () => {
  for (const preset of ['dropped', 'truncated']) {
    const { text } = await raw(stub({ preset }));
    const all = frames(text);
    assert.ok(!all.includes('[DONE]'), preset);
    const error = JSON.parse(all.at(-1)).error;
    assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code', 'retryable']);
    assert.equal(error.code, 'upstream_error');
    const chunks = parsed(text).slice(0, -1);
    assert.equal(spoken(chunks), 'This sentence has no');
    assert.ok(chunks.every((chunk) => chunk.choices[0].finish_reason === null));
    const stream = await create(stub({ preset }), { stream: true });
    await assert.rejects(collect(stream), (e) => {
      assert.ok(e instanceof OpenAI.APIError);
      assert.equal(e.code, 'upstream_error');
      return true;
    });
    await assert.rejects(create(stub({ preset })), { status: 502 });
  }
});

test('an answer that the upstream cut short says so in its finish reason', async () => {
  for (const [preset, reason] of [['max_output_tokens', 'length'], ['content_filter', 'content_filter']]) {
    const { choices } = await create(stub({ preset }));
    assert.deepEqual([choices[0].finish_reason, choices[0].message.content], [reason, 'This sentence has no']);
    const chunks = await collect(await create(stub({ preset }), { stream: true }));
    assert.equal(chunks.at(-1).choices[0].finish_reason, reason);
    assert.equal(spoken(chunks), 'This sentence has no');
  }
});

test('every answer has an x-request-id of its own, whatever its status', async () => {
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{' };
  const answers = await Promise.all([
    raw(steps({ text: 'a' })),
    proxy.chat({ model: MODEL, messages: steps({ text: 'a' }) }),
    proxy.fetch('/v1/models'),
    proxy.fetch('/v1/models', { method: 'HEAD' }),
    proxy.fetch('/v1/models/none'),
    proxy.fetch('/readyz'),
    proxy.fetch('/livez', { key: null }),
    proxy.fetch('/nowhere'),
    proxy.fetch(CHAT),
    proxy.fetch(CHAT, post),
    proxy.fetch(CHAT, { ...post, key: 'sk-nobody-knows' }),
    proxy.fetch(CHAT, { ...post, headers: { 'content-length': 2 ** 40 }, body: undefined }),
  ]);
  const ids = answers.map(({ headers }) => headers['x-request-id']);
  for (const [i, id] of ids.entries()) assert.match(id ?? '', /^req_\w{10,}$/, `answer ${i}`);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200, 404, 200, 200, 404, 405, 400, 401, 413],
  );
});

// ---- clients that leave ----

// How long after that.
async function closed(since) {
  const record = await model.waitFor('the closed one', (r) => r.state !== 'open');
  assert.equal(record.state, 'client_closed');
  return record.closed_at_ms - since;
}

test('a client that leaves mid-stream interrupts the turn within a second', () =>
  inTime('the end of the turn', 1000, async () => {
    await model.clear();
    const stream = await create(steps({ text: 'so far' }, { hang: true }), { stream: true });
    for await (const chunk of stream) if (spoken([chunk]) === 'so far') break;
    const since = Date.now();
    stream.controller.abort();
    return closed(since);
  }));

for (const stream of [true, false]) {
  const how = stream ? 'a stream before its first token' : 'an answer that is not streamed';
  test(`a client that leaves ${how} interrupts the turn within a second`, () =>
    inTime('the end of the turn', 1000, async () => {
      await model.clear();
      const leaving = new AbortController();
      const call = client.chat.completions.create(
        { model: MODEL, messages: stub({ preset: stream ? 'silent' : 'hang' }), stream },
        { signal: leaving.signal },
      );
      const rejected = assert.rejects(call, OpenAI.APIUserAbortError);
      await model.waitFor('the open one', (r) => r.state === 'open');
      const place = await proxy.place();
      const since = Date.now();
      leaving.abort();
      await rejected;
      const took = await closed(since);
      await proxy.waitForLog('its end', (l) => l.outcome === 'client_gone' && l.status !== 200, place);
      return took;
    }));
}

// ---- the pace of a stream ----

test('a stream that is silent gets comments, from before its first token on', async (t) => {
  const chatty = await Proxy.start(t, model.settings({ SSE_KEEPALIVE_MS: '50' }));
  const messages = steps({ pause_ms: 800 }, { text: 'at last' }, { pause_ms: 600 }, { text: '!' });
  const failing = steps({ pause_ms: 800 }, { fail: { code: 'context_length_exceeded', message: 'x' } });
  const [{ text }, chunks, late, quiet] = await Promise.all([
    chatty.chat({ model: MODEL, messages, stream: true }),
    chatty.client().chat.completions.create({ model: MODEL, messages, stream: true }).then(collect),
    chatty.chat({ model: MODEL, messages: failing, stream: true }),
    chatty.chat({ model: MODEL, messages }),
  ]);
  const all = frames(text);
  assert.equal(JSON.parse(all[0]).choices[0].delta.role, 'assistant');
  const firstWord = all.findIndex((frame) => frame.includes('at last'));
  assert.ok(firstWord >= 3);
  assert.ok(all.slice(1, firstWord).every((frame) => frame === ': ping'));
  assert.ok(all.slice(firstWord).includes(': ping'));
  assert.equal(all.at(-1), '[DONE]');
  assert.equal(spoken(chunks), 'at last!');
  assert.equal(late.status, 200);
  assert.equal(JSON.parse(frames(late.text).at(-1)).error.code, 'context_length_exceeded');
  assert.equal(quiet.json.choices[0].message.content, 'at last!');
});

test('a turn that takes too long ends in 504, or in an error frame', async (t) => {
  const hasty = await Proxy.start(t, model.settings({ WORKER_TURN_TIMEOUT_MS: '2000' }));
  const ask = (preset, stream) => hasty.chat({ model: MODEL, messages: stub({ preset }), stream });
  const asked = [ask('silent', false), ask('silent', true), ask('hang', true)];
  const [unary, streamed, { text }] = await Promise.all(asked);
  for (const { status, json } of [unary, streamed])
    assert.deepEqual([status, json.error.code], [504, 'turn_timeout']);
  assert.equal(JSON.parse(frames(text).at(-1)).error.code, 'turn_timeout');
  await until('no open request at the model stub', async () =>
    (await model.requests()).every((r) => r.state !== 'open'),
  );
});

// ---- the first minute ----

const bare = { CODEX_BIN, HTTPS_PROXY: 'http://127.0.0.1:9', HTTP_PROXY: 'http://127.0.0.1:9' };

test('without credentials the demo model answers, and says in one line that it is one', async (t) => {
  const demo = await Proxy.start(t, { ...bare, DEMO_MODEL: 'auto' });
  const lines = demo.stderr.split('\n').filter((line) => /demo model/.test(line));
  assert.equal(lines.length, 1);
  assert.match(lines[0], /no credentials found.*codex-demo/);
  const ids = (await demo.client().models.list()).data.map((entry) => entry.id);
  assert.deepEqual(ids, ['codex-demo']);
  const messages = user('Who are you?');
  const { choices } = await demo.client().chat.completions.create({ model: 'codex-demo', messages });
  assert.match(choices[0].message.content, /demo model/);
  assert.match(choices[0].message.content, /Who are you\?/);
});

test('the demo model does not stand in for credentials that are there', async (t) => {
  const provider = await Proxy.start(t, model.settings({ DEMO_MODEL: 'auto' }));
  assert.doesNotMatch(provider.stderr, /demo/);
  assert.ok((await provider.client().models.list()).data.every((m) => m.id !== 'codex-demo'));
});

test('the curl line that is printed at the start works when it is pasted', async (t) => {
  const demo = await Proxy.start(t, { ...bare, DEMO_MODEL: 'on', STARTUP_HINT: '1' });
  const [line] = await demo.says(/^curl .*$/m);
  assert.match(demo.stderr, /DEMO_MODEL is on.*codex-demo/);
  assert.doesNotMatch(demo.stderr, /no credentials/);
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', line]);
  assert.equal(frames(stdout).at(-1), '[DONE]');
  assert.match(spoken(parsed(stdout)), /demo model/);
});
