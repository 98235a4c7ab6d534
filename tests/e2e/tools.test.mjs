// sanitizers-are-enough: run once in a whole run, with sanitizers.
// Function tools: what the model calls, the client is asked, whole and in order; what the client answers, the model hears,
// once. Whether a turn waited for the results or the history was replayed shows only in the prompt cache.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { answer, ask, both, functionTool, heard, stopAll, toolResult } from './lib/answers.mjs';
import { test, until } from './lib/kit.mjs';
import { Proxy } from './lib/proxy.mjs';
import { fake, FakeWorker, MODEL, ModelStub, steps, stub, user } from './lib/workers.mjs';

const REAL_MODEL = 'gpt-5.5';
const tools = ['look', 'leap', 'lunge'].map((name) => functionTool(name));

const model = await ModelStub.start();
const proxy = await Proxy.start(null, model.settings());
// One that never keeps anything: every request is the whole history on a new thread.
const unparked = await Proxy.start(null, model.settings({ WORKER_PARKED_MAX: '0', WORKER_THREADS_MAX: '0' }));
after(() => stopAll(proxy, unparked, model));

const call = (call_id, name = 'look', args = '{}') => ({ tool_call: { name, arguments: args, call_id } });
const rounds = (...list) => stub({ rounds: list });
const messageOf = ({ choices }) => choices[0].message;
const keys = async () => (await model.requests()).map((request) => request.prompt_cache_key);
const offered = (request) => (request.body.tools ?? []).map((tool) => tool.name);
const last = async () => (await model.requests()).at(-1);

// The history after an answer whose calls were all answered.
const answered = (messages, message, results = message.tool_calls.map((c) => toolResult(c))) => [
  ...messages,
  message,
  ...results,
];

async function refused(messages, code, param, options = { tools }) {
  const { status, json } = await ask(proxy, messages, options);
  assert.deepEqual([status, json.error.code, json.error.param], [400, code, param]);
}

// ---- batches ----

test('a batch comes whole: indexes, ids, names once, the exact arguments, one finish chunk; stream as unary', async () => {
  const args = ['{"x": 1.0}', '', '{ "x" :\t"\\u00e9\u{1f570}\u2028" }', '{}', '{"x":1e400}'];
  const batch = args.map((text, i) => call(`call_batch_${i}`, tools[i % 3].function.name, text));
  const whole = await both(proxy, rounds(batch), { tools });
  assert.equal(whole.choices[0].finish_reason, 'tool_calls');
  assert.equal(messageOf(whole).content, null);
  assert.deepEqual(
    messageOf(whole).tool_calls,
    batch.map(({ tool_call: { name, arguments: text, call_id } }) => ({
      id: call_id,
      type: 'function',
      function: { name, arguments: text },
    })),
  );
});

test('text before the calls is content, reasoning before it is reasoning_content', async () => {
  const { choices } = await both(
    proxy,
    rounds([{ reasoning: 'Hm.' }, { text: 'I shall look.' }, call('call_after_text')]),
    { tools },
  );
  const { content, reasoning_content, tool_calls } = choices[0].message;
  assert.deepEqual([content, reasoning_content, tool_calls.length], ['I shall look.', 'Hm.', 1]);
  assert.equal(choices[0].finish_reason, 'tool_calls');
});

test('commentary before a call does not end the turn', async () => {
  const batch = [{ message_start: { phase: 'commentary' } }, { text: 'Looking.' }, call('call_commented')];
  const { choices } = await both(proxy, rounds(batch), { tools });
  assert.equal(choices[0].message.reasoning_content, 'Looking.');
  assert.equal(choices[0].message.content, null);
  assert.equal(choices[0].finish_reason, 'tool_calls');
});

test('128 calls are one batch, and their results go back', async () => {
  const batch = Array.from({ length: 128 }, (_, i) => call(`call_many_${i}`, 'look', `{"x":${i}}`));
  const messages = rounds(batch, [{ text: 'all of them' }]);
  const got = messageOf(await answer(proxy, messages, { tools, stream: true }));
  assert.deepEqual(
    got.tool_calls.map((c) => c.function.arguments),
    batch.map((c) => c.tool_call.arguments),
  );
  await model.clear();
  assert.equal(messageOf(await answer(proxy, answered(messages, got), { tools })).content, 'all of them');
  const outputs = heard(await last()).filter(([what]) => what === 'output');
  assert.deepEqual(
    outputs.map(([, id]) => id),
    got.tool_calls.map((c) => c.id),
  );
});

test("long arguments are the model's own, byte for byte", async () => {
  const text = JSON.stringify({ x: 'é"\\\u2028'.repeat(50_000) });
  const { choices } = await both(proxy, rounds([call('call_large', 'look', text)]), { tools });
  assert.equal(choices[0].message.tool_calls[0].function.arguments, text);
});

test('tools reach the model with name, description and schema', async () => {
  const given = [
    functionTool('with-dash_9', { city: { type: 'string', description: 'Where?', enum: ['a', 'b'] } }),
    { type: 'function', function: { name: 'bare' } },
    {
      type: 'function',
      function: {
        name: 'strict',
        strict: true,
        parameters: { type: 'object', properties: {}, required: [], additionalProperties: false },
      },
    },
  ];
  await model.clear();
  await answer(proxy, steps({ text: 'ok' }), { tools: given });
  const sent = (await last()).body.tools;
  assert.deepEqual(
    sent.map((tool) => [tool.type, tool.name]),
    given.map((tool) => ['function', tool.function.name]),
  );
  assert.equal(sent[0].description, 'does with-dash_9');
  assert.deepEqual(sent[0].parameters.properties, given[0].function.parameters.properties);
  assert.deepEqual(sent[1].parameters, { type: 'object', properties: {} });
});

// ---- choosing ----

const named = (name) => ({ type: 'function', function: { name } });
const allowed = (mode, ...names) => ({ type: 'allowed_tools', allowed_tools: { mode, tools: names.map(named) } });

const choices = [
  ['auto', ['look', 'leap', 'lunge'], false],
  ['none', [], false],
  ['required', ['look', 'leap', 'lunge'], true],
  [named('leap'), ['leap'], true],
  [allowed('auto', 'lunge', 'look'), ['lunge', 'look'], false],
  [allowed('required', 'leap'), ['leap'], true],
];

for (const [tool_choice, names, pressed] of choices) {
  test(`tool_choice ${JSON.stringify(tool_choice)} offers ${names.join(', ') || 'nothing'}`, async () => {
    await model.clear();
    const { headers } = await answer(proxy, steps({ text: 'ok' }), { tools, tool_choice });
    const request = await last();
    assert.deepEqual(offered(request).sort(), [...names].sort());
    const pressing = request.body.input.filter((item) => item.role === 'developer');
    assert.equal(pressing.length, pressed ? 1 : 0);
    assert.equal(headers['x-codex-api-emulated'], pressed ? 'tool_choice' : undefined);
  });
}

test('with tool_choice none the calls of the history stay', async () => {
  const messages = rounds([call('call_kept')], [{ text: 'seen' }]);
  const got = messageOf(await answer(proxy, messages, { tools }));
  await model.clear();
  const {
    choices: [{ message }],
  } = await answer(proxy, answered(messages, got), { tools, tool_choice: 'none' });
  assert.equal(message.content, 'seen');
  assert.deepEqual(
    heard(await last())
      .slice(-2)
      .map(([what]) => what),
    ['call', 'output'],
  );
  assert.deepEqual(offered(await last()), []);
});

test('parallel_tool_calls false gives the first call, and the model never hears of the others', async () => {
  const messages = rounds([call('call_p1', 'look', '{"x":1}'), call('call_p2'), call('call_p3')]);
  const options = { tools, parallel_tool_calls: false };
  const { choices, headers } = await both(proxy, messages, options);
  assert.deepEqual(
    choices[0].message.tool_calls.map((c) => c.id),
    ['call_p1'],
  );
  assert.equal(choices[0].finish_reason, 'tool_calls');
  assert.equal(headers['x-codex-api-emulated'], 'parallel_tool_calls');
  await model.clear();
  const next = await answer(
    proxy,
    [...answered(messages, choices[0].message), ...steps({ text: 'one it is' })],
    options,
  );
  assert.equal(messageOf(next).content, 'one it is');
  const calls = heard(await last()).filter(([what]) => what === 'call');
  assert.deepEqual(calls, [['call', 'call_p1', 'look', '{"x":1}']]);
});

test('deprecated functions are answered by function_call, and a function message answers it', async () => {
  const functions = tools.map((tool) => tool.function);
  const messages = rounds([call('call_legacy', 'leap', '{"x": 2}')], [{ text: 'landed' }]);
  const { choices } = await both(proxy, messages, { functions });
  assert.equal(choices[0].finish_reason, 'function_call');
  assert.deepEqual(choices[0].message.function_call, { name: 'leap', arguments: '{"x": 2}' });
  assert.equal(choices[0].message.content, null);
  assert.equal(choices[0].message.tool_calls, undefined);
  await model.clear();
  const result = { role: 'function', name: 'leap', content: 'far' };
  const next = await answer(proxy, [...messages, choices[0].message, result], { functions });
  assert.equal(messageOf(next).content, 'landed');
  const [said, output] = heard(await last()).slice(-2);
  assert.deepEqual([said[0], ...said.slice(2)], ['call', 'leap', '{"x": 2}']);
  assert.deepEqual(output, ['output', said[1], 'far']);
});

// ---- names ----

const taken = ['exec_command', 'apply_patch', 'shell', 'update_plan', 'web_search', 'exec_command__client'];

test(`the names ${taken.join(', ')} are the client's to use, there and back`, async () => {
  const given = taken.map((name) => functionTool(name));
  await model.clear();
  await answer(proxy, steps({ text: 'ok' }), { tools: given });
  const names = offered(await last());
  assert.equal(names.length, taken.length, 'no tool is dropped');
  assert.equal(new Set(names).size, taken.length);
  const batch = names.map((name, i) => call(`call_taken_${i}`, name, `{"x":${i}}`));
  const messages = rounds(batch, [{ text: 'patched' }]);
  const { choices } = await both(proxy, messages, { tools: given });
  assert.deepEqual(
    choices[0].message.tool_calls.map((c) => c.function.name),
    taken,
  );
  await model.clear();
  const next = await answer(proxy, answered(messages, choices[0].message), { tools: given });
  assert.equal(messageOf(next).content, 'patched');
  const calls = heard(await last()).filter(([what]) => what === 'call');
  assert.deepEqual(
    calls.map(([, , name]) => name),
    names,
  );
  const only = { tools: given, tool_choice: named('apply_patch') };
  await answer(proxy, steps({ text: 'ok' }), only);
  assert.deepEqual(offered(await last()), [names[taken.indexOf('apply_patch')]]);
});

test('a call of a tool that nobody offered stays between the worker and the model', async () => {
  const messages = rounds([call('call_ghost', 'ghost')], [{ text: 'never mind' }]);
  await model.clear();
  assert.equal(messageOf(await answer(proxy, messages, { tools })).content, 'never mind');
  assert.equal((await model.requests()).length, 2);
  const none = await answer(proxy, messages, {});
  assert.equal(messageOf(none).content, 'never mind', 'also without any tools');
});

test('of a batch with a tool that nobody offered the client gets the rest', async () => {
  const messages = rounds([call('call_m1'), call('call_m2', 'ghost'), call('call_m3', 'leap')], [{ text: 'went on' }]);
  const { choices } = await both(proxy, messages, { tools });
  assert.deepEqual(
    choices[0].message.tool_calls.map((c) => c.id),
    ['call_m1', 'call_m3'],
  );
  const next = await answer(proxy, answered(messages, choices[0].message), { tools });
  assert.equal(messageOf(next).content, 'went on');
});

// ---- the loop ----

const ROUNDS = 10;
const WIDTH = 3;
const loop = rounds(
  ...Array.from({ length: ROUNDS }, (_, round) => [
    { text: `Round ${round}.` },
    ...Array.from({ length: WIDTH }, (_, i) =>
      call(`call_${round}_${i}`, tools[i].function.name, `{"x": ${round}.${i}}`),
    ),
  ]),
  [{ echo: 'input' }],
);

// What the client saw, and what the model had seen at the end, without ids of the worker's own.
async function runLoop(through, between = () => {}, options = {}) {
  let messages = loop;
  const seen = [];
  for (let round = 0; ; round++) {
    const {
      choices: [{ message, finish_reason }],
    } = await answer(through, messages, { tools, stream: round % 2 === 1, ...options });
    const { content, tool_calls } = message;
    seen.push({ finish_reason, tool_calls, content: tool_calls ? content : null });
    if (!tool_calls) {
      const input = JSON.parse(content);
      return {
        seen,
        input: input.map(({ type, role, call_id, name, arguments: args, output }) => ({
          type,
          role,
          call_id,
          name,
          args,
          output,
        })),
      };
    }
    messages = answered(messages, message);
    await between(round);
  }
}

async function checkLoop(result) {
  assert.equal(result.seen.length, ROUNDS + 1);
  for (const [round, { finish_reason, content, tool_calls }] of result.seen.slice(0, -1).entries()) {
    assert.equal(finish_reason, 'tool_calls');
    assert.equal(content, `Round ${round}.`);
    assert.deepEqual(
      tool_calls.map((c) => c.id),
      [0, 1, 2].map((i) => `call_${round}_${i}`),
    );
  }
  assert.equal(result.seen.at(-1).finish_reason, 'stop');
  assert.equal(result.input.length, 1 + ROUNDS * (1 + 2 * WIDTH), 'the model has seen everything once');
}

let normal;

test('ten rounds of three calls: every turn waits, one prompt cache for all', async () => {
  await model.clear();
  normal = await runLoop(proxy);
  await checkLoop(normal);
  const used = await keys();
  assert.equal(used.length, ROUNDS + 1);
  assert.equal(new Set(used).size, 1);
  assert.ok(used[0]);
});

test('the same answers with parking off', async (t) => {
  const replaying = await Proxy.start(t, model.settings({ WORKER_PARKED_MAX: '0' }));
  await model.clear();
  const result = await runLoop(replaying);
  await checkLoop(result);
  assert.deepEqual(result, normal);
  assert.equal(new Set(await keys()).size, ROUNDS + 1);
});

test('the same answers with the worker killed between the rounds', async (t) => {
  const quick = { WORKER_BACKOFF_INITIAL_MS: '1', WORKER_BACKOFF_MAX_MS: '10' };
  const mortal = await Proxy.start(t, model.settings(quick));
  await model.clear();
  const result = await runLoop(mortal, async () => {
    const killed = mortal.workerPid;
    process.kill(killed, 'SIGKILL');
    await until('the next worker', () => mortal.workerPid !== killed);
    await mortal.ready();
  });
  await checkLoop(result);
  assert.deepEqual(result, normal);
});

test('eight loops at once do not mix, and each keeps its prompt cache', async () => {
  await model.clear();
  const results = await Promise.all(
    Array.from({ length: 8 }, (_, i) => runLoop(proxy, () => {}, { tools: [...tools, functionTool(`only_${i}`)] })),
  );
  for (const result of results) assert.deepEqual(result, normal);
  assert.equal(new Set(await keys()).size, 8);
});

// ---- results of every kind ----

// A conversation that waits for two results; the scenario is given for what comes after.
async function waiting(name, through = proxy, options = {}) {
  const messages = rounds(
    [call(`call_${name}_a`, 'look', '{"x": 1, "y": [1, 2]}'), call(`call_${name}_b`, 'leap')],
    [{ echo: 'input' }],
  );
  await model.clear();
  const message = messageOf(await answer(through, messages, { tools, ...options }));
  assert.equal(message.tool_calls.length, 2);
  return { messages, message, results: message.tool_calls.map((c) => toolResult(c)) };
}

const expectedOutputs = (name, order = ['a', 'b']) =>
  order.map((c) => ['output', `call_${name}_${c}`, `result of call_${name}_${c}`]);
const outputsOf = async () => heard(await last()).filter(([what]) => what === 'output');
const oneKey = async () => assert.equal(new Set(await keys()).size, 1);

test('results in another order continue the same turn', async () => {
  const { messages, message, results } = await waiting('order');
  await answer(proxy, [...messages, message, ...results.reverse()], { tools });
  await oneKey();
  assert.deepEqual((await outputsOf()).sort(), expectedOutputs('order').sort());
});

test('arguments that the client parsed and wrote anew continue the same turn', async () => {
  const { messages, message, results } = await waiting('anew');
  const rewritten = structuredClone(message);
  for (const { function: f } of rewritten.tool_calls) f.arguments = JSON.stringify(JSON.parse(f.arguments), null, 2);
  rewritten.tool_calls[0].function.arguments = '{"y":[1,2],"x":1}';
  await answer(proxy, [...messages, rewritten, ...results], { tools });
  await oneKey();
});

test('a message that the client wrote anew, with and without null members, continues the same turn', async () => {
  const { messages, message, results } = await waiting('shape');
  const rewritten = {
    tool_calls: message.tool_calls.map(({ id, function: f }) => ({
      function: { arguments: f.arguments, name: f.name },
      id,
      type: 'function',
    })),
    role: 'assistant',
    name: undefined,
    content: '',
  };
  await answer(proxy, [...messages, rewritten, ...results.map((r) => ({ ...r, name: 'look' }))], { tools });
  await oneKey();
});

test('arguments that the client changed are a history of its own', async () => {
  const { messages, message, results } = await waiting('changed');
  const changed = structuredClone(message);
  changed.tool_calls[0].function.arguments = '{"x": 2}';
  await answer(proxy, [...messages, changed, ...results], { tools });
  assert.equal(new Set(await keys()).size, 2);
  assert.equal(heard(await last()).find(([what]) => what === 'call')[3], '{"x": 2}');
});

test('results and a further message of the user: the model sees all of it once', async () => {
  const { messages, message, results } = await waiting('further');
  const further = steps({ text: 'noted' });
  const next = await answer(proxy, [...messages, message, ...results, ...further], { tools });
  assert.equal(messageOf(next).content, 'noted');
  assert.deepEqual(heard(await last()), [
    ['user', messages[0].content],
    ['call', 'call_further_a', 'look', '{"x": 1, "y": [1, 2]}'],
    ['call', 'call_further_b', 'leap', '{}'],
    ...expectedOutputs('further'),
    ['user', further[0].content],
  ]);
});

test('results as parts, empty results, and errors in words go through as they are', async () => {
  for (const [content, wanted] of [
    ['', ''],
    ['{"error": "no such city"}', '{"error": "no such city"}'],
    [[{ type: 'text', text: 'one' }], 'one'],
    [
      [
        { type: 'text', text: 'one' },
        { type: 'text', text: 'two' },
      ],
      'onetwo',
    ],
  ]) {
    for (const through of [proxy, unparked]) {
      const { messages, message, results } = await waiting('parts', through);
      results[0].content = content;
      await answer(through, [...messages, message, ...results], { tools });
      const [[, , output]] = await outputsOf();
      const text = typeof output === 'string' ? output : output.map((part) => part.text).join('');
      assert.equal(text, wanted, JSON.stringify(content));
    }
  }
});

for (const which of [MODEL, REAL_MODEL]) {
  test(`a long tool result reaches ${which} whole, parked and replayed`, async () => {
    const content = Array.from({ length: 40_000 }, (_, i) => `line ${i} é\n`).join('');
    assert.ok(Buffer.byteLength(content) > 500_000);
    for (const through of [proxy, unparked]) {
      const { messages, message, results } = await waiting('long', through, { model: which });
      results[0].content = content;
      const history = [...messages, message, ...results];
      const whole = async (what) => {
        const [[, , output]] = await outputsOf();
        assert.equal(output.length, content.length, what);
        assert.equal(output, content, what);
      };
      const next = [...history, ...steps({ text: 'read' })]; // the results are history, and not of the last request
      await answer(through, history, { tools, model: which });
      await whole('the result');
      await answer(through, next, { tools, model: which });
      await whole('the same in a history');
    }
  });

  test(`a history that fills the window of ${which} is never summarised by the worker`, async () => {
    const usage = {
      input_tokens: 20_000_000,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 5,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 20_000_005,
    };
    await model.clear();
    const first = stub({ steps: [{ text: 'one' }], usage });
    const got = messageOf(await answer(proxy, first, { model: which }));
    const next = await answer(proxy, [...first, got, tell('two')], { model: which });
    assert.equal(messageOf(next).content, 'two');
    assert.equal((await keys()).length, 2, 'the model is asked for nothing else');
    const looping = stub({ rounds: [[call('call_full')], [{ text: 'looped' }]], usage });
    const message = messageOf(await answer(proxy, looping, { tools, model: which }));
    const after = await answer(proxy, answered(looping, message), { tools, model: which });
    assert.equal(messageOf(after).content, 'looped');
    assert.equal((await keys()).length, 4);
  });

  test(`a request of four megabytes reaches ${which} as it is`, async () => {
    await model.clear();
    const messages = [...user('x y z '.repeat(700_000)), tell('long')];
    const message = messageOf(await answer(proxy, messages, { model: which }));
    assert.equal(message.content, 'long');
    assert.equal(
      messageOf(await answer(proxy, [...messages, message, tell('longer')], { model: which })).content,
      'longer',
    );
    assert.equal((await keys()).length, 2);
    await oneKey();
  });
}

test('partial, repeated and unknown results are refused, and the turn goes on waiting', async () => {
  const { messages, message, results } = await waiting('odd');
  const history = [...messages, message];
  const unknown = toolResult({ id: 'call_nobody' });
  const at = (i) => `messages.[${i}].role`;
  await refused([...history, results[0]], null, at(2));
  await refused(history, null, at(2));
  await refused([...history, ...user('and?')], null, at(2));
  await refused([...history, ...results, results[0]], null, at(2));
  await refused([...history, ...results, unknown], null, at(4));
  await refused([...messages, unknown], null, at(1));
  await refused([...history, results[0], ...user('wait'), results[1]], null, at(2));
  await answer(proxy, [...history, ...results], { tools });
  await oneKey();
});

test('the same results once more, and twice at once, give the same answer', async () => {
  const { messages, message, results } = await waiting('again');
  const history = [...messages, message, ...results];
  const inputs = (answers) =>
    answers.map((a) =>
      JSON.parse(messageOf(a).content)
        .filter((i) => i.output)
        .map((i) => [i.call_id, i.output]),
    );
  const first = await answer(proxy, history, { tools });
  const more = await Promise.all([1, 2].map(() => answer(proxy, history, { tools })));
  const [one, two, three] = inputs([first, ...more]);
  assert.deepEqual(one, [
    ['call_again_a', 'result of call_again_a'],
    ['call_again_b', 'result of call_again_b'],
  ]);
  assert.deepEqual(two, one);
  assert.deepEqual(three, one);
});

test('results that come after the turn was given up are replayed', async (t) => {
  const hasty = await Proxy.start(t, model.settings({ WORKER_PARK_TTL_MS: '1' }));
  const { messages, message, results } = await waiting('late', hasty);
  await answer(hasty, steps({ text: 'a whole turn takes longer than the turn waits' }));
  await answer(hasty, [...messages, message, ...results], { tools });
  const used = await keys();
  assert.notEqual(used.at(-1), used[0]);
  assert.deepEqual(await outputsOf(), expectedOutputs('late'));
});

test('a turn that nobody comes back to is interrupted when its time is over', async (t) => {
  const worker = new FakeWorker();
  const hasty = await Proxy.start(t, worker.settings({ WORKER_PARK_TTL_MS: '1' }));
  const script = { tool_calls: [{ name: 'look', arguments: '{}', call_id: 'call_left' }] };
  const { choices } = await answer(hasty, fake(script), { tools });
  assert.equal(choices[0].finish_reason, 'tool_calls');
  await worker.waitFor('the interrupt', (line) => line.in?.method === 'turn/interrupt');
  await worker.waitFor('the release', (line) => line.in?.method === 'thread/unsubscribe');
});

test('of the turns that wait, the oldest gives way, and its results are replayed', async (t) => {
  const narrow = await Proxy.start(t, model.settings({ WORKER_PARKED_MAX: '1' }));
  const one = await waiting('one', narrow);
  const [first] = await keys();
  const two = await waiting('two', narrow);
  const [second] = await keys();
  await answer(narrow, [...two.messages, two.message, ...two.results], { tools });
  assert.equal((await keys()).at(-1), second);
  await answer(narrow, [...one.messages, one.message, ...one.results], { tools });
  assert.notEqual((await keys()).at(-1), first);
  assert.deepEqual(await outputsOf(), expectedOutputs('one'));
});

for (const order of ['raw_first', 'raw_reversed', 'calls_first', 'mixed']) {
  test(`a batch that the worker tells in the order ${order} is the same batch`, async (t) => {
    const through = await Proxy.start(t, new FakeWorker().settings());
    const tool_calls = ['look', 'leap', 'lunge'].map((name, i) => ({
      name,
      arguments: `{"x":${i}}`,
      call_id: `call_${i}`,
    }));
    const messages = fake({ tool_calls, tool_order: order, then: { text: 'thanks' } });
    for (const stream of [false, true]) {
      const got = await answer(through, messages, { tools, stream });
      assert.deepEqual(
        messageOf(got).tool_calls.map((c) => [c.id, c.function.name, c.function.arguments]),
        tool_calls.map((c) => [c.call_id, c.name, c.arguments]),
      );
      const next = await answer(through, answered(messages, messageOf(got)), { tools, stream });
      assert.equal(messageOf(next).content, 'thanks');
    }
  });
}

test('a parked turn whose client leaves is interrupted, and can be asked again', async () => {
  const messages = rounds([call('call_leaver')], [{ text: 'so far' }, { hang: true }]);
  const message = messageOf(await answer(proxy, messages, { tools }));
  await model.clear();
  const client = proxy.client();
  const stream = await client.chat.completions.create({
    model: MODEL,
    messages: answered(messages, message),
    tools,
    stream: true,
  });
  for await (const chunk of stream) if (chunk.choices[0].delta.content === 'so far') break;
  stream.controller.abort();
  await model.waitFor('its end', (r) => r.state === 'client_closed');
  const replaced = rounds([call('call_leaver')], [{ text: 'so far' }]);
  assert.equal(messageOf(await answer(proxy, answered(replaced, message), { tools })).content, 'so far');
});

test('an upstream that fails after the results is an error like any other', async () => {
  const messages = rounds(
    [call('call_then_fail')],
    [{ fail: { code: 'context_length_exceeded', message: 'too long' } }],
  );
  const message = messageOf(await answer(proxy, messages, { tools }));
  for (const stream of [false, true]) {
    const { status, json } = await ask(proxy, answered(messages, message), { tools, stream });
    assert.deepEqual([status, json.error.code], [400, 'context_length_exceeded']);
  }
});

// ---- threads ----

const said = (role, content) => ({ role, content });
const tell = (text) => steps({ text })[0];

test('a conversation of many requests is one thread, and the model sees its history once', async () => {
  await model.clear();
  const messages = [said('system', 'Be brief.'), tell('answer 0')];
  for (let i = 0; i < 5; i++) {
    const got = messageOf(await answer(proxy, messages, { stream: i % 2 === 0 }));
    assert.equal(got.content, `answer ${i}`);
    const history = messages.map(({ role, content }) => [role === 'system' ? 'developer' : role, content]);
    assert.deepEqual(heard(await last()), history, `request ${i}`);
    messages.push(got, tell(`answer ${i + 1}`));
  }
  await oneKey();
});

test('an answer to a tool loop is carried on in the same thread', async () => {
  const { messages, message, results } = await waiting('carried');
  const history = [...messages, message, ...results];
  const got = messageOf(await answer(proxy, history, { tools }));
  await answer(proxy, [...history, got, tell('and on')], { tools });
  assert.equal((await keys()).length, 3);
  await oneKey();
  assert.equal(heard(await last()).length, history.length + 1 + 2);
});

const changes = {
  'a changed answer': (m) => [[m[0], said('assistant', 'something else'), m[2]]],
  'a changed first message': (m) => [[said('system', 'New.'), ...m]],
  'another model': (m) => [m, { model: REAL_MODEL }],
  'another set of tools': (m) => [m, { tools }],
  'another verbosity': (m) => [m, { verbosity: 'low' }],
};

for (const [what, change] of Object.entries(changes)) {
  test(`${what} is another thread, and the model sees that history and no other`, async () => {
    await model.clear();
    const first = [tell(`before ${what}`)];
    const got = messageOf(await answer(proxy, first));
    const [messages, options = {}] = change([...first, got, tell('after')]);
    assert.equal(messageOf(await answer(proxy, messages, options)).content, 'after');
    assert.equal(new Set(await keys()).size, 2);
    const sees = messages.map(({ role, content }) => [role === 'system' ? 'developer' : role, content]);
    assert.deepEqual(heard(await last()), sees);
  });
}

test('a shortened history is not carried on by the longer thread', async () => {
  await model.clear();
  const first = [tell('one')];
  const a = messageOf(await answer(proxy, first));
  const second = [...first, a, tell('two')];
  await answer(proxy, second);
  await answer(proxy, [...first, a, tell('two again')]);
  const used = await keys();
  assert.equal(used[1], used[0]);
  assert.notEqual(used[2], used[0]);
  assert.equal(heard(await last()).length, 3);
});

test('another effort or format of an answered conversation still finds its thread', async () => {
  await model.clear();
  const first = [tell('one')];
  const a = messageOf(await answer(proxy, first));
  await answer(proxy, [...first, a, tell('two')], { reasoning_effort: 'high', seed: 5, stream: true });
  await oneKey();
  assert.equal((await last()).body.reasoning.effort, 'high');
});

test('of two requests at once with the same beginning each gets its own answer and history', async () => {
  await model.clear();
  const first = [tell('shared')];
  const got = messageOf(await answer(proxy, first));
  const forks = ['left', 'right', 'middle'].map((text) => [...first, got, tell(text)]);
  const texts = (await Promise.all(forks.map((messages) => answer(proxy, messages)))).map((a) => messageOf(a).content);
  assert.deepEqual(texts, ['left', 'right', 'middle']);
  const requests = (await model.requests()).slice(1);
  assert.equal(new Set(requests.map((r) => r.prompt_cache_key)).size, 3);
  assert.ok(requests.every((r) => heard(r).length === 3));
});

test('the same conversation twice from its first word on: two threads, never mixed', async () => {
  await model.clear();
  const first = [tell('twin')];
  const [a, b] = await Promise.all([1, 2].map(() => answer(proxy, first)));
  const next = [...first, messageOf(a), tell('grown up')];
  assert.deepEqual(messageOf(a).content, messageOf(b).content);
  await Promise.all([1, 2].map(() => answer(proxy, next)));
  const used = await keys();
  assert.deepEqual(new Set(used.slice(2)).size, 2);
  assert.ok((await model.requests()).slice(2).every((r) => heard(r).length === 3));
});

test('the threads that are kept are bounded: the one unused longest gives way', async (t) => {
  const narrow = await Proxy.start(t, model.settings({ WORKER_THREADS_MAX: '2' }));
  await model.clear();
  const talk = {};
  for (const name of ['a', 'b', 'c']) {
    talk[name] = [tell(`first of ${name}`)];
    talk[name].push(messageOf(await answer(narrow, talk[name])), tell(`second of ${name}`));
  }
  for (const name of ['c', 'b', 'a']) await answer(narrow, talk[name]);
  const [a, b, c, c2, b2, a2] = await keys();
  assert.equal(new Set([a, b, c]).size, 3);
  assert.deepEqual([c2, b2], [c, b]);
  assert.notEqual(a2, a);
  assert.deepEqual(heard(await last()).length, 3);
});

test('with WORKER_THREADS_MAX=0 every request is a thread of its own', async () => {
  await model.clear();
  const first = [tell('alone')];
  const got = messageOf(await answer(unparked, first));
  await answer(unparked, [...first, got, tell('alone again')]);
  assert.equal(new Set(await keys()).size, 2);
});

test('a thread that the worker took with it is replayed', async (t) => {
  const quick = { WORKER_BACKOFF_INITIAL_MS: '1', WORKER_BACKOFF_MAX_MS: '10' };
  const mortal = await Proxy.start(t, model.settings(quick));
  await model.clear();
  const first = [tell('before')];
  const got = messageOf(await answer(mortal, first));
  const killed = mortal.workerPid;
  process.kill(killed, 'SIGKILL');
  await until('the next worker', () => mortal.workerPid !== killed);
  await mortal.ready();
  assert.equal(messageOf(await answer(mortal, [...first, got, tell('after')])).content, 'after');
  assert.equal(heard(await last()).length, 3);
});

test('an answer that was cut by a stop sequence is replayed as the client has it', async () => {
  await model.clear();
  const first = steps({ text: 'one STOP two' });
  const got = messageOf(await answer(proxy, first, { stop: 'STOP' }));
  assert.equal(got.content, 'one ');
  await answer(proxy, [...first, got, tell('on')], { stop: 'STOP' });
  assert.equal(new Set(await keys()).size, 2);
  assert.deepEqual(heard(await last())[1], ['assistant', 'one ']);
});

test('kept threads do not count as turns that run', async (t) => {
  const single = await Proxy.start(t, model.settings({ WORKER_MAX_CONCURRENCY: '1' }));
  for (let i = 0; i < 3; i++) await waiting(`free_${i}`, single);
  for (let i = 0; i < 3; i++) await answer(single, [tell(`free ${i}`)]);
});
