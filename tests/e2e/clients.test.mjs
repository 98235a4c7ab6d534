// sanitizers-are-enough: what a client makes of an answer does not depend on the build.
// Client packages from npm, unchanged, in the ways that their own documentation shows: what they get from the real worker.
import assert from 'node:assert/strict';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { tool as langChainTool } from '@langchain/core/tools';
import { ChatOpenAI, ChatOpenAICompletions } from '@langchain/openai';
import {
  Agent,
  run,
  setDefaultOpenAIClient,
  setOpenAIAPI,
  setTracingDisabled,
  tool as agentTool,
} from '@openai/agents';
import { APICallError, generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } from 'ai';
import { spawnSync } from 'node:child_process';
import { after } from 'node:test';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { stopAll } from './lib/answers.mjs';
import { folder, KEY, test } from './lib/kit.mjs';
import { Proxy } from './lib/proxy.mjs';
import { CODEX_BIN, MODEL, ModelStub, steps, stub } from './lib/workers.mjs';

const model = await ModelStub.start();
const proxy = await Proxy.start(
  null,
  model.settings({ SSE_KEEPALIVE_MS: '50', PROXY_MODEL_ALIASES: 'main=gpt-5.6-sol' }),
);
const client = proxy.client();
const baseURL = `${proxy.origin}/v1`;
after(() => stopAll(proxy, model));

const textOf = (messages) => messages[0].content;
const last = async () => (await model.requests()).at(-1);

// Two rounds of calls, then words: what every tool loop here runs through.
const LOOP = [
  [
    { text: 'Let me look.' },
    { tool_call: { name: 'weather', arguments: '{"city": "Wien"}', call_id: 'call_w1' } },
    { tool_call: { name: 'weather', arguments: '{"city": "Graz"}', call_id: 'call_w2' } },
  ],
  [{ tool_call: { name: 'add', arguments: '{"a": 21, "b": 17}', call_id: 'call_a1' } }],
  [{ reasoning: 'Sum it up.' }, { text: 'Wien 21, Graz 17, together 38.', cuts: [5] }],
];
const SUM = 'Wien 21, Graz 17, together 38.';
const loopPrompt = textOf(stub({ rounds: LOOP }));
const degrees = { Wien: 21, Graz: 17 };

// What the model heard from the tools at the end of a loop, and that it was one thread all along.
async function heardTheTools() {
  const requests = await model.requests();
  assert.equal(requests.length, LOOP.length);
  assert.equal(new Set(requests.map((request) => request.prompt_cache_key)).size, 1, 'every turn was continued');
  const outputs = requests.at(-1).body.input.filter((item) => item.type === 'function_call_output');
  assert.deepEqual(
    outputs.map((item) => item.call_id),
    ['call_w1', 'call_w2', 'call_a1'],
  );
  return outputs.map((item) =>
    typeof item.output === 'string' ? item.output : item.output.map((part) => part.text).join(''),
  );
}

const Person = z.object({ name: z.string(), age: z.number(), tags: z.array(z.string()) });
const ANNA = { name: 'Anna', age: 33, tags: ['a', 'b'] };
const annaPrompt = textOf(steps({ text: JSON.stringify(ANNA), cuts: [3] }));

async function askedForPerson() {
  const { format } = (await last()).body.text;
  assert.equal(format.type, 'json_schema');
  assert.equal(format.strict, true);
  assert.deepEqual(Object.keys(format.schema.properties), ['name', 'age', 'tags']);
}

// ---- openai ----

test('openai: create, and create with stream', async () => {
  const messages = steps({ text: 'Guten Tag!', cuts: 'words' });
  const { choices, usage } = await client.chat.completions.create({ model: MODEL, messages });
  assert.equal(choices[0].message.content, 'Guten Tag!');
  assert.ok(usage.total_tokens > 0);
  let text = '';
  for await (const chunk of await client.chat.completions.create({ model: MODEL, messages, stream: true }))
    text += chunk.choices[0].delta.content ?? '';
  assert.equal(text, 'Guten Tag!');
});

test('openai: .stream() puts tool calls together and tells of each', async () => {
  await model.clear();
  const stream = client.chat.completions.stream({
    model: MODEL,
    messages: stub({ rounds: LOOP }),
    tools: [
      {
        type: 'function',
        function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
      },
    ],
    stream_options: { include_usage: true },
  });
  const done = [];
  stream.on('tool_calls.function.arguments.done', (event) => done.push([event.index, event.name, event.arguments]));
  const final = await stream.finalChatCompletion();
  assert.deepEqual(done, [
    [0, 'weather', '{"city": "Wien"}'],
    [1, 'weather', '{"city": "Graz"}'],
  ]);
  assert.deepEqual(
    final.choices[0].message.tool_calls.map((call) => call.id),
    ['call_w1', 'call_w2'],
  );
  assert.equal(final.choices[0].finish_reason, 'tool_calls');
  assert.equal(final.choices[0].message.content, 'Let me look.');
  assert.ok(final.usage.total_tokens > 0);
});

const openaiTools = [
  {
    type: 'function',
    function: {
      name: 'weather',
      description: 'degrees of a city',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
      parse: JSON.parse,
      function: ({ city }) => ({ degrees: degrees[city] }),
    },
  },
  {
    type: 'function',
    function: {
      name: 'add',
      description: 'adds',
      parameters: {
        type: 'object',
        properties: { a: { type: 'number' }, b: { type: 'number' } },
        required: ['a', 'b'],
      },
      parse: JSON.parse,
      function: async ({ a, b }) => String(a + b),
    },
  },
];

for (const stream of [false, true]) {
  test(`openai: runTools, ${stream ? 'streamed' : 'unary'}`, async () => {
    await model.clear();
    const runner = client.chat.completions.runTools({
      model: MODEL,
      messages: stub({ rounds: LOOP }),
      tools: openaiTools,
      stream,
    });
    const results = [];
    runner.on('functionToolCallResult', (content) => results.push(content));
    assert.equal(await runner.finalContent(), SUM);
    assert.deepEqual(results, ['{"degrees":21}', '{"degrees":17}', '38']);
    assert.deepEqual(await heardTheTools(), results);
    assert.ok((await runner.totalUsage()).total_tokens >= 0);
  });
}

test('openai: parse with a zod schema, and .stream() with it', async () => {
  await model.clear();
  const request = {
    model: MODEL,
    messages: [{ role: 'user', content: annaPrompt }],
    response_format: zodResponseFormat(Person, 'person'),
  };
  const { choices } = await client.chat.completions.parse(request);
  assert.deepEqual(choices[0].message.parsed, ANNA);
  await askedForPerson();
  const final = await client.chat.completions.stream(request).finalChatCompletion();
  assert.deepEqual(final.choices[0].message.parsed, ANNA);
});

test('openai: n, stop and a wrong model do what its types say', async () => {
  const several = await client.chat.completions.create({
    model: MODEL,
    messages: steps({ text: 'one END two' }),
    n: 3,
    stop: ['END'],
  });
  assert.deepEqual(
    several.choices.map((choice) => choice.message.content),
    ['one ', 'one ', 'one '],
  );
  await assert.rejects(client.chat.completions.create({ model: 'gpt-nobody', messages: steps({ text: '' }) }), {
    status: 404,
    code: 'model_not_found',
  });
});

// ---- ai and @ai-sdk/openai-compatible ----

const provider = createOpenAICompatible({
  name: 'codex-api',
  baseURL,
  apiKey: KEY,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const aiModel = provider(MODEL);
const aiTools = {
  weather: tool({
    description: 'degrees of a city',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => ({ degrees: degrees[city] }),
  }),
  add: tool({
    description: 'adds',
    inputSchema: z.object({ a: z.number(), b: z.number() }),
    execute: async ({ a, b }) => a + b,
  }),
};

test('ai: generateText and streamText, with reasoning and usage', async () => {
  const prompt = textOf(stub({ preset: 'reasoning' }));
  const whole = await generateText({ model: aiModel, prompt });
  assert.equal(whole.text, 'It is so.');
  assert.equal(whole.reasoningText, '**Looking** at it\n\n**Deciding**');
  assert.equal(whole.finishReason, 'stop');
  assert.ok(whole.usage.totalTokens > 0);
  const streamed = streamText({ model: aiModel, prompt });
  let text = '';
  for await (const piece of streamed.textStream) text += piece;
  assert.equal(text, 'It is so.');
  assert.equal(await streamed.reasoningText, '**Looking** at it\n\n**Deciding**');
  assert.equal((await streamed.usage).totalTokens, whole.usage.totalTokens);
});

test('ai: generateText through several steps of tools', async () => {
  await model.clear();
  const result = await generateText({ model: aiModel, prompt: loopPrompt, tools: aiTools, stopWhen: stepCountIs(10) });
  assert.equal(result.text, SUM);
  assert.deepEqual(
    result.steps.map((step) => [step.finishReason, step.toolCalls.length]),
    [
      ['tool-calls', 2],
      ['tool-calls', 1],
      ['stop', 0],
    ],
  );
  assert.deepEqual(await heardTheTools(), ['{"degrees":21}', '{"degrees":17}', '38']);
});

test('ai: streamText through several steps of tools', async () => {
  await model.clear();
  const result = streamText({ model: aiModel, prompt: loopPrompt, tools: aiTools, stopWhen: stepCountIs(10) });
  const calls = [];
  for await (const part of result.fullStream) {
    assert.notEqual(part.type, 'error', JSON.stringify(part.error));
    if (part.type === 'tool-call') calls.push([part.toolName, part.input]);
  }
  assert.deepEqual(calls, [
    ['weather', { city: 'Wien' }],
    ['weather', { city: 'Graz' }],
    ['add', { a: 21, b: 17 }],
  ]);
  assert.equal(await result.text, SUM);
  await heardTheTools();
});

test('ai: generateObject, streamObject and Output.object', async () => {
  await model.clear();
  assert.deepEqual((await generateObject({ model: aiModel, schema: Person, prompt: annaPrompt })).object, ANNA);
  await askedForPerson();
  const streamed = streamObject({ model: aiModel, schema: Person, prompt: annaPrompt });
  let partials = 0;
  for await (const partial of streamed.partialObjectStream) partials += Object.keys(partial).length >= 0;
  assert.ok(partials > 1);
  assert.deepEqual(await streamed.object, ANNA);
  const { output } = await generateText({
    model: aiModel,
    prompt: annaPrompt,
    output: Output.object({ schema: Person }),
  });
  assert.deepEqual(output, ANNA);
});

test('ai: a provider that was not told of structured outputs gets JSON all the same', async () => {
  const plain = createOpenAICompatible({ name: 'codex-api', baseURL, apiKey: KEY });
  assert.deepEqual((await generateObject({ model: plain(MODEL), schema: Person, prompt: annaPrompt })).object, ANNA);
});

test('ai: toolChoice, and an error with its status', async () => {
  await model.clear();
  const toolChoice = { type: 'tool', toolName: 'add' };
  const adding = textOf(stub({ rounds: [[{ tool_call: { name: 'add', arguments: '{"a":1,"b":2}' } }]] }));
  const { toolResults } = await generateText({ model: aiModel, prompt: adding, tools: aiTools, toolChoice });
  assert.equal(toolResults[0].output, 3);
  assert.deepEqual(
    (await last()).body.tools.map((t) => t.name),
    ['add'],
  );
  const wordy = textOf(steps({ text: 'Rather not.' })); // no model can be forced: the package says so
  await assert.rejects(generateText({ model: aiModel, prompt: wordy, tools: aiTools, toolChoice }), /required tool/);
  await assert.rejects(
    generateText({ model: aiModel, prompt: textOf(stub({ preset: 'usage_limit' })), maxRetries: 0 }),
    (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.equal(error.statusCode, 429);
      return true;
    },
  );
  const broken = streamText({
    model: aiModel,
    prompt: textOf(stub({ preset: 'dropped' })),
    maxRetries: 0,
    onError: () => {},
  });
  const types = [];
  for await (const part of broken.fullStream) types.push(part.type);
  assert.ok(types.includes('error'));
});

// ---- @langchain/openai ----

const chatOf = (fields = {}) =>
  new ChatOpenAI({ model: MODEL, apiKey: KEY, maxRetries: 0, configuration: { baseURL }, ...fields });
const lcWeather = langChainTool(async ({ city }) => JSON.stringify({ degrees: degrees[city] }), {
  name: 'weather',
  description: 'degrees of a city',
  schema: z.object({ city: z.string() }),
});
const lcAdd = langChainTool(async ({ a, b }) => String(a + b), {
  name: 'add',
  description: 'adds',
  schema: z.object({ a: z.number(), b: z.number() }),
});
const lcTools = { weather: lcWeather, add: lcAdd };

// `streaming: true` would make invoke() count tokens with a tokenizer that it loads from the network; stream() does not.
const streamed = async (runnable, messages) => {
  let sum;
  for await (const chunk of await runnable.stream(messages)) sum = sum === undefined ? chunk : sum.concat(chunk);
  return sum;
};

test('langchain: invoke and stream, with usage', async () => {
  const messages = [new SystemMessage('Be brief.'), new HumanMessage(textOf(steps({ text: 'Grüß Gott.', cuts: [2] })))];
  const whole = await chatOf().invoke(messages);
  assert.equal(whole.content, 'Grüß Gott.');
  assert.ok(whole.usage_metadata.total_tokens > 0);
  const sum = await streamed(chatOf(), messages);
  assert.equal(sum.content, 'Grüß Gott.');
  assert.equal(sum.usage_metadata.total_tokens, whole.usage_metadata.total_tokens);
  assert.equal(sum.response_metadata.finish_reason, 'stop');
});

for (const how of ['invoke', 'stream']) {
  test(`langchain: bindTools in a loop of ${how}`, async () => {
    await model.clear();
    const bound = chatOf().bindTools(Object.values(lcTools));
    const ask = (messages) => (how === 'stream' ? streamed(bound, messages) : bound.invoke(messages));
    const messages = [new HumanMessage(loopPrompt)];
    let answer = await ask(messages);
    for (let round = 0; answer.tool_calls.length > 0; round++) {
      assert.ok(round < 5);
      messages.push(answer);
      for (const call of answer.tool_calls) {
        const content = await lcTools[call.name].invoke(call.args);
        messages.push(new ToolMessage({ content, tool_call_id: call.id }));
      }
      answer = await ask(messages);
    }
    assert.equal(answer.content, SUM);
    assert.deepEqual(await heardTheTools(), ['{"degrees":21}', '{"degrees":17}', '38']);
  });
}

test('langchain: withStructuredOutput by schema, by function and by JSON', async () => {
  await model.clear();
  assert.deepEqual(
    await chatOf().withStructuredOutput(Person, { method: 'jsonSchema', strict: true }).invoke(annaPrompt),
    ANNA,
  );
  await askedForPerson();
  assert.deepEqual(await chatOf().withStructuredOutput(Person, { method: 'jsonMode' }).invoke(annaPrompt), ANNA);
  const calling = textOf(stub({ rounds: [[{ tool_call: { name: 'person', arguments: JSON.stringify(ANNA) } }]] }));
  assert.deepEqual(
    await chatOf().withStructuredOutput(Person, { method: 'functionCalling', name: 'person' }).invoke(calling),
    ANNA,
  );
  assert.deepEqual(
    (await last()).body.tools.map((t) => t.name),
    ['person'],
  );
});

test('langchain: an error keeps its status', async () => {
  await assert.rejects(chatOf().invoke(textOf(stub({ preset: 'context_length' }))), (error) => {
    assert.match(`${error.name} ${error.code} ${error.status} ${error.message}`, /context/i);
    return true;
  });
});

test('langchain: a name that makes it leave for /v1/responses is cured by an alias, and by its class for completions', async () => {
  const messages = textOf(steps({ text: 'here' }));
  const name = (await client.models.list()).data.map((entry) => entry.id).find((id) => id.includes('gpt-5.6'));
  await assert.rejects(chatOf({ model: name }).invoke(messages), { status: 404, code: 'unknown_url' });
  assert.equal((await chatOf({ model: 'main' }).invoke(messages)).content, 'here');
  const completions = new ChatOpenAICompletions({
    model: name,
    apiKey: KEY,
    maxRetries: 0,
    configuration: { baseURL },
  });
  assert.equal((await completions.invoke(messages)).content, 'here');
  assert.equal((await last()).model, name);
});

// ---- @openai/agents ----

setDefaultOpenAIClient(client);
setOpenAIAPI('chat_completions');
setTracingDisabled(true);

const agentTools = [
  agentTool({
    name: 'weather',
    description: 'degrees of a city',
    parameters: z.object({ city: z.string() }),
    execute: async ({ city }) => JSON.stringify({ degrees: degrees[city] }),
  }),
  agentTool({
    name: 'add',
    description: 'adds',
    parameters: z.object({ a: z.number(), b: z.number() }),
    execute: async ({ a, b }) => String(a + b),
  }),
];

test('agents: a run with a tool loop in chat-completions mode', async () => {
  await model.clear();
  const agent = new Agent({ name: 'Weather', instructions: 'Use the tools.', model: MODEL, tools: agentTools });
  const result = await run(agent, loopPrompt);
  assert.equal(result.finalOutput, SUM);
  assert.deepEqual(await heardTheTools(), ['{"degrees":21}', '{"degrees":17}', '38']);
  assert.equal((await last()).body.input[0].role, 'developer');
});

test('agents: the same run streamed', async () => {
  await model.clear();
  const agent = new Agent({ name: 'Weather', instructions: 'Use the tools.', model: MODEL, tools: agentTools });
  const result = await run(agent, loopPrompt, { stream: true });
  let text = '';
  for await (const piece of result.toTextStream()) text += piece;
  await result.completed;
  assert.equal(result.finalOutput, SUM);
  assert.ok(text.endsWith(SUM));
  assert.deepEqual(await heardTheTools(), ['{"degrees":21}', '{"degrees":17}', '38']);
});

test('agents: an outputType is a structured output', async () => {
  await model.clear();
  const agent = new Agent({ name: 'Clerk', instructions: 'Extract.', model: MODEL, outputType: Person });
  assert.deepEqual((await run(agent, annaPrompt)).finalOutput, ANNA);
  await askedForPerson();
});

test('agents: a handoff is a tool call like any other', async () => {
  await model.clear();
  const clerk = new Agent({ name: 'Clerk', instructions: 'Answer.', model: MODEL });
  const front = Agent.create({ name: 'Front', instructions: 'Hand over.', model: MODEL, handoffs: [clerk] });
  const prompt = textOf(
    stub({
      rounds: [
        [{ tool_call: { name: 'transfer_to_Clerk', arguments: '{}', call_id: 'call_h' } }],
        [{ text: 'The clerk says hello.' }],
      ],
    }),
  );
  const result = await run(front, prompt);
  assert.equal(result.finalOutput, 'The clerk says hello.');
  assert.equal(result.lastAgent.name, 'Clerk');
});

// ---- Codex itself, and what speaks the Responses API ----

test('codex: it speaks no chat completions, as the page about clients says', () => {
  const home = folder('codex');
  const provider = `{name="x", base_url="${baseURL}", wire_api="chat", env_key="CODEX_API_KEY"}`;
  const { status, stderr } = spawnSync(
    CODEX_BIN,
    ['exec', '-c', 'model_provider="x"', '-c', `model_providers.x=${provider}`, 'hi'],
    {
      cwd: home,
      env: { PATH: process.env.PATH, HOME: home, CODEX_HOME: home, CODEX_API_KEY: KEY },
      encoding: 'utf8',
      input: '',
    },
  );
  assert.notEqual(status, 0);
  assert.match(stderr, /wire_api = "chat".*no longer supported/);
});

test('the Responses API is 404, and its body on chat completions is told where it belongs', async () => {
  await assert.rejects(client.responses.create({ model: MODEL, input: 'hi' }), { status: 404, code: 'unknown_url' });
  const { status, json } = await proxy.chat({ model: MODEL, input: 'hi' });
  assert.deepEqual([status, json.error.param], [400, 'messages']);
  assert.match(json.error.message, /Responses API/);
});
