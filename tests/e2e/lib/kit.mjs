// What every test leans on: where things are, waiting for a condition, and tests that show the logs when they fail.
import { mkdirSync, mkdtempSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { test as declare } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const BUILD_DIR = resolve(ROOT, process.env.BUILD_DIR ?? 'build/release');
export const SANITIZED = basename(BUILD_DIR) === 'dev';
export const KEY = 'sk-test-0123456789abcdef';

export const bin = (name) => join(BUILD_DIR, name);

// A folder of the test's own. The worker warns about homes under the system's temporary folder.
export function folder(name) {
  const home = process.env.TEST_HOME ?? join(ROOT, 'build/test-home');
  mkdirSync(home, { recursive: true, mode: 0o700 });
  return mkdtempSync(join(home, `${name}-`));
}

export const PATIENCE_MS = 45_000; // only what fails takes so long, or a machine that has many others to serve

// The first truthy thing that `look` returns; an error that says what was waited for if it never does.
export async function until(what, look, within_ms = PATIENCE_MS) {
  const deadline = performance.now() + within_ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > deadline) throw new Error(`waited ${within_ms} ms for ${what}`);
    await pause(5);
  }
}

// For what is to be done within a time of the clock: a busy machine may be late once or twice, who looks only now and then is late
// each time. `attempt` says how long it took.
export async function inTime(what, limit_ms, attempt) {
  const took = [];
  while (took.length < 4) {
    took.push(await attempt());
    if (took.at(-1) < limit_ms) return took.at(-1);
  }
  throw new Error(`${what} took ${took.map(Math.round).join(', ')} ms, each time more than ${limit_ms} ms`);
}

export async function within(ms, what, promise) {
  const late = new AbortController();
  const error = new Error(`waited ${ms} ms for ${what}`);
  const timer = pause(ms, undefined, { signal: late.signal }).then(
    () => { throw error; },
    () => {},
  );
  try {
    return await Promise.race([promise, timer]);
  } finally {
    late.abort();
  }
}

// Programs that were started and not yet reported on: their logs are shown when a test fails.
export const witnesses = new Set();

export function test(name, body, timeout = 120_000) {
  declare(name, { timeout }, async (t) => {
    const older = new Set(witnesses);
    try {
      await body(t);
    } catch (error) {
      for (const witness of witnesses) console.error(witness.tail());
      // What this test was to stop itself would keep the whole file from ending.
      for (const witness of witnesses)
        if (!older.has(witness) && !witness.stopsWithItsTest) witness.kill('SIGKILL');
      throw error;
    }
  });
}

// Runs `jobs` functions, `width` at a time; the first failure ends it.
export async function pool(width, jobs) {
  let next = 0;
  let failed = false;
  const lane = async () => {
    while (next < jobs.length && !failed) {
      try {
        await jobs[next++]();
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
}

// mulberry32: small, seeded, good enough to draw test data.
export function random(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(next() * n);
  return { next, below, pick: (list) => list[below(list.length)] };
}
