// The load client, and what a run of it has shown.
import { bin, KEY } from './kit.mjs';
import { Program } from './program.mjs';
import { MODEL } from './workers.mjs';

// { 'abort-after': 3, unary: true } -> --abort-after 3 --unary
const flags = (options) =>
  Object.entries(options).filter(([, value]) => value !== false).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : [value].flat().flatMap((one) => [`--${name}`, String(one)]),
  );

export class Bench extends Program {
  // One run on `proxy`, asking `messages`, with the options of `codex-api-bench --help`. It is over when its report is.
  static start(t, proxy, messages, options) {
    const it = new Bench(
      bin('codex-api-bench'),
      [`${proxy.origin}/v1`, '--json', '--model', MODEL, '--prompt', messages.at(-1).content, ...flags(options)],
      { PROXY_API_KEY: KEY },
    );
    it.stopWith(t);
    return it;
  }

  static run(t, proxy, messages, options) {
    return Bench.start(t, proxy, messages, options).report();
  }

  async report() {
    await this.exit;
    await this.stop();
    return JSON.parse(this.lines.join('\n'));
  }

  // What is in flight counts as aborted.
  finish() {
    this.kill('SIGINT');
    return this.report();
  }
}

// { done: 17, error_frame: 2 }
export const counts = ({ outcomes }) =>
  Object.fromEntries(Object.entries(outcomes).map(([name, { count }]) => [name, count]));

export const sum = (numbers) => numbers.reduce((all, n) => all + n, 0);
