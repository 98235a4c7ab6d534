// Answers put together: a stream must keep all its rules, and come to the same as an answer that is not streamed.
import assert from 'node:assert/strict';
import { frames } from './wire.mjs';
import { MODEL } from './workers.mjs';

export const ask = (proxy, messages, options = {}) => proxy.chat({ model: MODEL, messages, ...options });

// Ends programs, each of them whatever becomes of the others: one left behind would keep the tests running for ever.
export async function stopAll(...programs) {
  const ends = await Promise.allSettled(programs.map((program) => program.stop()));
  for (const { reason } of ends) if (reason) throw reason;
}

// The chunks of a stream, its error if it ends in one, and whether it ended with [DONE].
export function parse(text) {
  const all = frames(text).filter((frame) => !frame.startsWith(':'));
  const done = all.at(-1) === '[DONE]';
  const objects = (done ? all.slice(0, -1) : all).map((frame) => JSON.parse(frame));
  const error = objects.at(-1)?.error;
  return { chunks: error ? objects.slice(0, -1) : objects, error, done };
}

function takeCall(calls, delta) {
  if (delta.index === calls.length) {
    assert.deepEqual(Object.keys(delta), ['index', 'id', 'type', 'function']);
    assert.ok(typeof delta.id === 'string' && delta.id !== '');
    assert.equal(delta.type, 'function');
    assert.notEqual(delta.function.name, '');
    assert.equal(delta.function.arguments, '');
    calls.push({ id: delta.id, type: 'function', function: { ...delta.function } });
    return;
  }
  assert.equal(delta.index, calls.length - 1, 'calls come one after the other');
  assert.deepEqual(Object.keys(delta), ['index', 'function'], 'id and name come once');
  assert.deepEqual(Object.keys(delta.function), ['arguments']);
  calls[delta.index].function.arguments += delta.function.arguments;
}

function takeFunctionCall(message, delta) {
  if (!message.function_call) {
    assert.equal(delta.arguments, '');
    message.function_call = { ...delta };
    return;
  }
  assert.deepEqual(Object.keys(delta), ['arguments'], 'the name comes once');
  message.function_call.arguments += delta.arguments;
}

function takeDelta(choice, { index, delta, finish_reason }) {
  assert.equal(choice.finish_reason, null, 'nothing follows a finish chunk');
  const { message } = choice;
  for (const key of Object.keys(delta)) {
    if (key === 'content') message.content = (message.content ?? '') + delta.content;
    else if (key === 'reasoning_content') message.reasoning_content = (message.reasoning_content ?? '') + delta[key];
    else if (key === 'tool_calls') delta[key].forEach((call) => takeCall((message.tool_calls ??= []), call));
    else if (key === 'function_call') takeFunctionCall(message, delta[key]);
    else assert.fail(`a delta of choice ${index} has the member ${key}`);
  }
  if (finish_reason === null) {
    assert.equal(Object.keys(delta).length, 1, 'a delta brings one thing');
  } else {
    assert.deepEqual(delta, {}, 'a finish chunk has an empty delta');
    choice.finish_reason = finish_reason;
  }
}

// What a stream that ended well comes to, in the shape of an answer that is not streamed.
export function assemble(text) {
  const { chunks, error, done } = parse(text);
  assert.equal(error, undefined, `the stream ended in ${JSON.stringify(error)}`);
  assert.ok(done, 'a stream ends with [DONE]');
  const [{ id, created, model, system_fingerprint, service_tier }] = chunks;
  const head = { id, object: 'chat.completion', created, model, system_fingerprint, service_tier };
  const choices = [];
  let usage;
  for (const chunk of chunks) {
    assert.equal(chunk.object, 'chat.completion.chunk');
    for (const key of ['id', 'created', 'model', 'system_fingerprint', 'service_tier'])
      assert.equal(chunk[key], head[key], key);
    assert.equal(usage, undefined, 'usage comes last');
    if (chunk.usage) {
      assert.deepEqual(chunk.choices, []);
      usage = chunk.usage;
      continue;
    }
    assert.equal(chunk.choices.length, 1);
    const [piece] = chunk.choices;
    assert.equal(piece.logprobs, null);
    if (!choices[piece.index]) {
      assert.deepEqual(piece.delta, { role: 'assistant', content: '', refusal: null });
      const message = { role: 'assistant', content: null, refusal: null, annotations: [] };
      choices[piece.index] = { index: piece.index, message, logprobs: null, finish_reason: null };
      continue;
    }
    takeDelta(choices[piece.index], piece);
  }
  for (const [i, choice] of choices.entries()) {
    assert.ok(choice?.finish_reason, `choice ${i} has a finish chunk`);
    const { message } = choice;
    if (message.content === null && !message.tool_calls && !message.function_call) message.content = '';
  }
  return { ...head, choices, ...(usage ? { usage } : {}) };
}

// One answer, collected by the proxy or streamed and collected here: { headers, ...the object }.
export async function answer(proxy, messages, options = {}) {
  const { status, headers, json, text } = await ask(proxy, messages, options);
  assert.equal(status, 200, text);
  return { headers, ...(options.stream ? assemble(text) : json) };
}

// The answer both ways, which must be the same.
export async function both(proxy, messages, options = {}) {
  const usage = { include_usage: true };
  const [whole, streamed] = [
    await answer(proxy, messages, options),
    await answer(proxy, messages, { ...options, stream: true, stream_options: usage }),
  ];
  assert.deepEqual(streamed.choices, whole.choices);
  assert.deepEqual(streamed.usage, whole.usage);
  return whole;
}

export const functionTool = (name, properties = { x: { type: 'number' } }) => ({
  type: 'function',
  function: { name, description: `does ${name}`, parameters: { type: 'object', properties } },
});

export const toolResult = (call, content = `result of ${call.id}`) => ({
  role: 'tool',
  tool_call_id: call.id,
  content,
});

// The texts of a request's input as the model saw it, with who said them.
export const heard = (request) =>
  request.body.input.map((item) => {
    if (item.type === 'function_call') return ['call', item.call_id, item.name, item.arguments];
    if (item.type === 'function_call_output') return ['output', item.call_id, item.output];
    return [item.role, item.content.map((part) => part.text ?? part.image_url).join('')];
  });
