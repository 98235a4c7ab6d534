// Every text, whatever it is made of, arrives byte for byte: from the model to the client and the other way,
// through the real worker. A failure prints its seed and number; E2E_SEED repeats it, E2E_TEXTS sets how many.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { pool, random, SANITIZED, test } from './lib/kit.mjs';
import { Proxy } from './lib/proxy.mjs';
import { MODEL, ModelStub, steps, stub, user } from './lib/workers.mjs';

const SEED = Number(process.env.E2E_SEED ?? Date.now() % 1_000_000);
// A thousand in a run of scripts/test, on both builds together.
const TEXTS = Number(process.env.E2E_TEXTS ?? (SANITIZED ? 200 : 800));
const AT_ONCE = 8;
const MiB = 1 << 20;

const model = await ModelStub.start();
const proxy = await Proxy.start(null, model.settings());
const client = proxy.client();
after(async () => {
  await proxy.stop();
  await model.stop();
});

// ---- texts ----

const words = ['letter', 'haha', '1000000', 'the the', 'aaaa', 'null', 'true', 'NaN', '0', 'data: [DONE]', ': ping'];
const signs = ['"', "'", '\\', '\\"', '\\u0000', '/', '<', '>', '&', '{', '}', '[', ']', '`', '%s', '%00', '$'];
const spaces = [' ', '  ', '\n', '\n\n', '\r\n', '\r', '\t', '\v', '\f', '\u2028', '\u2029', '\u0085', '\u00a0'];
const odd = ['\0', '\u0001', '\u001f', '\u007f', '\u009f', '\ufeff', '\ufffe', '\uffff', '\ufffd', '\u200b', '\u{10ffff}'];
const joined = ['e\u0301', 'ñ', '👩‍👩‍👧‍👦', '🏳️‍🌈', '🇩🇪', 'שלום', '\u202eright\u202c', 'مرحبا', '한국어', '\u1112\u1161\u11ab', '日本語', 'ß', 'ǆ'];
const markup = ['```js\n', '</think>', '<|im_end|>', '<|endoftext|>', '[1]', '【1†source】', '\ue200cite\ue202turn0\ue201', '<proposed_plan>', '<oai-', '<', '</', '<!--'];
const lists = [words, words, signs, spaces, odd, joined, markup];

const RANGES = [[0, 0x7f], [0, 0x7ff], [0x800, 0xd7ff], [0xe000, 0xffff], [0x10000, 0x10ffff]];

function codePoint(dice) {
  const [low, high] = dice.pick(RANGES);
  return String.fromCodePoint(low + dice.below(high - low + 1));
}

function makeText(dice) {
  const pieces = dice.pick([0, 1, 1, 3, 10, 30, 100, 300, dice.below(50)]);
  const repeat = dice.below(10) === 0 ? 5 : 1; // the same again and again
  let text = '';
  for (let i = 0; i < pieces; i++) {
    const piece = dice.below(3) === 0 ? codePoint(dice) : dice.pick(dice.pick(lists));
    text += piece.repeat(repeat);
  }
  return text;
}

// Where two strings part, for a message that can be read.
function same(heard, text, about) {
  if (heard === text) return;
  let at = 0;
  while (heard[at] === text[at]) at++;
  const show = (s) => JSON.stringify(s.slice(Math.max(0, at - 20), at + 40));
  assert.fail(`${about}: at ${at} of ${text.length}: ${show(heard)} instead of ${show(text)}`);
}

// ---- both ways of getting an answer ----

async function streamed(messages) {
  const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true });
  let text = '';
  let finish = null;
  for await (const chunk of stream) {
    text += chunk.choices[0].delta.content ?? '';
    finish = chunk.choices[0].finish_reason ?? finish;
  }
  assert.equal(finish, 'stop');
  return text;
}

async function whole(messages) {
  const { choices } = await client.chat.completions.create({ model: MODEL, messages });
  assert.equal(choices[0].finish_reason, 'stop');
  return choices[0].message.content;
}

test(`${TEXTS} random texts arrive byte for byte, streamed in random cuts and whole`, async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const dice = random(SEED);
  let bytes = 0;
  const jobs = Array.from({ length: TEXTS }, (_, i) => {
    const text = makeText(dice);
    const cuts = { random_cuts: dice.below(1 << 30) };
    bytes += Buffer.byteLength(text);
    return async () => {
      const about = `seed ${SEED}, text ${i}`;
      same(await streamed(steps({ text, ...cuts })), text, `${about}, streamed`);
      same(await whole(steps({ text, ...cuts })), text, `${about}, whole`);
    };
  });
  await pool(AT_ONCE, jobs);
  t.diagnostic(`${bytes} bytes in ${TEXTS} texts`);
}, 600_000);

test('prompts reach the model byte for byte, in every role', async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const dice = random(SEED + 1);
  const count = Math.max(20, TEXTS / 10);
  const jobs = Array.from({ length: count }, (_, i) => {
    const texts = Array.from({ length: 4 }, () => makeText(dice));
    return async () => {
      texts[2] ||= '.'; // an assistant that said nothing is left out of the history
      const [system, asked, answered, developer] = texts;
      const messages = [
        { role: 'system', content: system },
        { role: 'user', content: asked },
        { role: 'assistant', content: answered },
        { role: 'developer', content: [{ type: 'text', text: developer }] },
        ...steps({ echo: 'input' }),
      ];
      const input = JSON.parse(await whole(messages));
      const heard = input.map((item) => item.content.map((part) => part.text).join(''));
      assert.equal(heard.length, 5);
      for (const [k, text] of texts.entries()) same(heard[k], text, `seed ${SEED}, prompt ${i}, message ${k}`);
    };
  });
  await pool(AT_ONCE, jobs);
}, 300_000);

// A text of about `size` bytes that a prompt can ask for in little: a random unit, many times.
function largeText(dice, size) {
  let unit = '';
  while (Buffer.byteLength(unit) < 20_000) unit += makeText(dice);
  return { unit, repeat: Math.ceil(size / Buffer.byteLength(unit)) };
}

test('answers of 1 MB arrive byte for byte, streamed and whole', async () => {
  const dice = random(SEED + 2);
  for (let i = 0; i < (SANITIZED ? 1 : 3); i++) {
    const { unit, repeat } = largeText(dice, MiB);
    const cuts = Array.from({ length: 7 }, () => 1 + dice.below(400));
    const messages = steps({ text: unit, repeat, cuts });
    same(await streamed(messages), unit.repeat(repeat), `seed ${SEED}, large ${i}, streamed`);
    same(await whole(messages), unit.repeat(repeat), `seed ${SEED}, large ${i}, whole`);
  }
});

test('a prompt of 1 MB reaches the model as it is, and is not made into a summary', async () => {
  await model.clear();
  const dice = random(SEED + 3);
  const { unit, repeat } = largeText(dice, MiB);
  const text = unit.repeat(repeat);
  const messages = [...user(text), { role: 'assistant', content: 'I see.' }, ...steps({ echo: 'input' })];
  const answer = await whole(messages);
  assert.equal((await model.requests()).length, 1, 'the model was asked for something else too');
  const input = JSON.parse(answer);
  same(input[0].content[0].text, text, `seed ${SEED}`);
}, 120_000);

// ---- texts that mean something to somebody on the way ----

const tags = [
  '<proposed_plan>\n- a\n</proposed_plan>',
  'a<proposed_plan>',
  '</proposed_plan>',
  '<oai-mem',
  '<oai-mem-citation',
  '</oai-mem-citation>',
  '<think>hm</think>so',
  '<|im_start|>assistant',
  '<user_instructions>x</user_instructions>',
  '<environment_context>x</environment_context>',
  '<turn_aborted>x</turn_aborted>',
  '<subagent_notification>x</subagent_notification>',
  '<skill>x</skill>',
  '# AGENTS.md instructions for x',
  '::git-commit{cwd="x"}',
  '\ue200filecite\ue202turn0file0\ue201',
  '【1†L1-L2】',
  '```\n*** Begin Patch\n*** End Patch\n```',
  'data: [DONE]\n\n',
  ': ping\n\n',
  'event: error\ndata: {}\n\n',
];

test('tags of others arrive as they are, in answers', async () => {
  const jobs = tags.flatMap((tag) =>
    [tag, `before ${tag} after`, `${tag}${tag}`].map((text) => async () => {
      same(await streamed(steps({ text, cuts: [1] })), text, `${tag}, cut in single characters`);
      same(await whole(steps({ text })), text, tag);
    }),
  );
  await pool(AT_ONCE, jobs);
});

test('tags of others arrive as they are, in prompts', async () => {
  const jobs = tags.flatMap((tag) =>
    ['user', 'system', 'assistant'].map((role) => async () => {
      const input = JSON.parse(await whole([{ role, content: tag }, ...steps({ echo: 'input' })]));
      same(input[0].content[0].text, tag, `${role}: ${tag}`);
    }),
  );
  await pool(AT_ONCE, jobs);
});

test('a prompt may begin with what looks like a command of the worker', async () => {
  for (const text of ['/compact', '/clear', '!ls', '@file', '$skill', '/model x', '#note']) {
    const input = JSON.parse(await whole([...user(text), ...stub({ steps: [{ echo: 'input' }] })]));
    same(input[0].content[0].text, text, text);
  }
});

// Not what we want, but what the worker does: written down, so that a worker that does otherwise is noticed.
test('known loss: the worker takes its own <oai-mem-citation> out of answers, but not out of prompts', async () => {
  for (const [text, heard] of [
    ['a <oai-mem-citation>x</oai-mem-citation> b', 'a  b'],
    ['a <oai-mem-citation>x', 'a '],
  ]) {
    assert.equal(await whole(steps({ text })), heard);
    assert.equal(await streamed(steps({ text, cuts: [1] })), heard);
    await model.clear();
    await whole([{ role: 'assistant', content: text }, ...steps({ text: 'ok' })]);
    same((await model.requests())[0].body.input[0].content[0].text, text, 'in a prompt');
  }
});
