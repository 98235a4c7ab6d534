// Canaries: secrets as they look in the wild, drawn anew from a seed. Each is { family, text, secret }: what is to be told, and the part
// of it that nobody may see.
import { random } from './kit.mjs';

const DIGITS = '0123456789';
const HEX = '0123456789abcdef';
const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const UPPER = LOWER.toUpperCase();
const WORD = LOWER + UPPER + DIGITS;
const BASE64 = `${WORD}+/`;
const BASE64URL = `${WORD}-_`;

// The check digit that Luhn's sum asks for.
function luhn(digits) {
  let sum = 0;
  [...digits].reverse().forEach((digit, i) => {
    const doubled = Number(digit) * (i % 2 === 0 ? 2 : 1);
    sum += doubled > 9 ? doubled - 9 : doubled;
  });
  return digits + ((10 - (sum % 10)) % 10);
}

function iban(country, rest) {
  const numbers = [...`${rest}${country}00`].map((c) => parseInt(c, 36)).join('');
  const check = 98 - Number(BigInt(numbers) % 97n);
  return `${country}${String(check).padStart(2, '0')}${rest}`;
}

const pem = (kind, body) => `-----BEGIN ${kind}-----\n${body.replace(/.{64}/g, '$&\n')}\n-----END ${kind}-----`;
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export function secrets(seed) {
  const { pick } = random(seed);
  const some = (alphabet, length) => Array.from({ length }, () => pick(alphabet)).join('');
  const whole = (family, secret) => ({ family, text: secret, secret });
  const within = (family, secret, around) => ({ family, text: around(secret), secret });
  return [
    whole('openai', `sk-${some(WORD, 48)}`),
    whole('openai project', `sk-proj-${some(BASE64URL, 64)}`),
    whole('anthropic', `sk-ant-api03-${some(BASE64URL, 80)}`),
    whole('ours', `sk-codex-api-${some(WORD, 40)}`),
    whole('jwt', `eyJ${base64({ alg: 'HS256', n: some(WORD, 8) }).slice(3)}.${base64({ sub: some(DIGITS, 10) })}.${some(BASE64URL, 43)}`),
    within('bearer', some(BASE64URL, 40), (s) => `Authorization: Bearer ${s}`),
    within('basic', Buffer.from(`${some(LOWER, 8)}:${some(WORD, 16)}`).toString('base64'), (s) => `Authorization: Basic ${s}`),
    within('cookie', some(HEX, 32), (s) => `Cookie: session=${s}`),
    whole('aws id', `AKIA${some(UPPER + '234567', 16)}`),
    within('aws secret', some(BASE64, 40), (s) => `aws_secret_access_key = ${s}`),
    whole('google', `AIza${some(BASE64URL, 35)}`),
    whole('github', `ghp_${some(WORD, 36)}`),
    whole('github fine', `github_pat_${some(WORD, 22)}_${some(WORD, 59)}`),
    whole('gitlab', `glpat-${some(BASE64URL, 20)}`),
    whole('slack', `xoxb-${some(DIGITS, 12)}-${some(DIGITS, 13)}-${some(WORD, 24)}`),
    whole('npm', `npm_${some(WORD, 36)}`),
    whole('pypi', `pypi-${some(BASE64URL, 80)}`),
    whole('hugging face', `hf_${some(WORD, 34)}`),
    whole('stripe', `sk_live_${some(WORD, 24)}`),
    whole('sendgrid', `SG.${some(BASE64URL, 22)}.${some(BASE64URL, 43)}`),
    whole('telegram', `${some('123456789', 1)}${some(DIGITS, 9)}:AA${some(BASE64URL, 33)}`),
    within('pem', some(BASE64, 640), (s) => pem('PRIVATE KEY', s)),
    within('ssh', some(BASE64, 320), (s) => pem('OPENSSH PRIVATE KEY', s)),
    within('url', some(WORD, 20), (s) => `https://deploy:${s}@git.example.com/repo.git`),
    within('dsn', some(WORD, 24), (s) => `postgres://app:${s}@db.example.com:5432/app`),
    within('query', some(WORD, 30), (s) => `https://example.com/cb?code=ok&token=${s}&x=1`),
    within('assignment', some(WORD, 20), (s) => `DB_PASSWORD=${s}`),
    within('json', some(WORD, 22), (s) => `{"client_secret": "${s}"}`),
    within('azure', `${some(BASE64, 86)}==`, (s) => `AccountName=x;AccountKey=${s};EndpointSuffix=core.windows.net`),
    whole('e-mail', `${some(LOWER, 9)}.${some(LOWER, 8)}@${some(LOWER, 7)}.example.org`),
    whole('card', luhn(`4${some(DIGITS, 14)}`)),
    whole('phone', `+49 170 ${some(DIGITS, 4)} ${some(DIGITS, 4)}`),
    whole('iban', iban('DE', some(DIGITS, 18))),
    within('random', some(WORD, 44), (s) => `nonce ${s}`),
  ];
}

export const PIECE = 12; // bytes: what is shorter tells nothing

// The secrets of which a piece is in the text.
export function leaks(text, list) {
  const pieces = new Map();
  for (const canary of list)
    for (let i = 0; i + PIECE <= canary.secret.length; i++) pieces.set(canary.secret.slice(i, i + PIECE), canary);
  const found = new Set();
  for (let i = 0; i + PIECE <= text.length; i++) {
    const canary = pieces.get(text.slice(i, i + PIECE));
    if (canary) found.add(canary.family);
  }
  return [...found];
}
