// HTTP by hand: bytes as a test wants them, and answers as they come.
import { once } from 'node:events';
import { connect } from 'node:net';
import { KEY, PATIENCE_MS, until, within } from './kit.mjs';

export const AUTH = `authorization: Bearer ${KEY}\r\n`;

export class Wire {
  static async open(proxy, options = {}) {
    const wire = new Wire();
    wire.bytes = Buffer.alloc(0);
    wire.ended = false; // the server closed, or the connection broke
    wire.socket = connect({ port: proxy.port, host: '127.0.0.1', noDelay: true, ...options });
    wire.socket.on('data', (piece) => wire.pieces.push(piece));
    wire.socket.on('error', (error) => (wire.error = error));
    wire.closed = new Promise((resolve) =>
      wire.socket.on('close', () => {
        wire.ended = true;
        resolve();
      }),
    );
    await once(wire.socket, 'connect');
    return wire;
  }

  // What has come and was not yet taken.
  get bytes() {
    if (this.pieces.length !== 1) this.pieces = [Buffer.concat(this.pieces)];
    return this.pieces[0];
  }

  set bytes(bytes) {
    this.pieces = [bytes];
  }

  static async exchange(proxy, text) {
    const wire = await Wire.open(proxy);
    wire.send(text);
    const answer = await wire.answer();
    wire.destroy();
    return answer;
  }

  send(text) {
    this.socket.write(text);
    return this;
  }

  // A whole POST; the client's part of the connection stays open.
  post(path, body, { version = '1.1', headers = '' } = {}) {
    const length = Buffer.byteLength(body);
    return this.send(
      `POST ${path} HTTP/${version}\r\nhost: x\r\n${AUTH}content-type: application/json\r\n` +
        `${headers}content-length: ${length}\r\n\r\n`,
    ).send(body);
  }

  get text() {
    return this.bytes.toString('latin1');
  }

  has(text) {
    return until(`${JSON.stringify(text)} on the wire`, () => {
      if (this.text.includes(text)) return true;
      if (this.ended) throw new Error(`the connection ended before ${JSON.stringify(text)}`);
      return false;
    });
  }

  // The next answer, taken off the wire: { status, headers, text }. `head` for the answer to HEAD.
  async answer({ head = false } = {}) {
    const end = await until('the head of an answer', () => {
      const at = this.text.indexOf('\r\n\r\n');
      if (at === -1 && this.ended) throw new Error(`the connection ended: ${this.error ?? this.text}`);
      return at === -1 ? 0 : at + 4;
    });
    const [first, ...fields] = this.text.slice(0, end - 4).split('\r\n');
    const headers = {};
    for (const field of fields) {
      const colon = field.indexOf(':');
      headers[field.slice(0, colon).toLowerCase()] = field.slice(colon + 1).trim();
    }
    const status = Number(first.split(' ')[1]);
    this.bytes = this.bytes.subarray(end);
    const text = head || status < 200 ? '' : await this.body(headers);
    return { status, version: first.split(' ')[0], headers, text };
  }

  async body(headers) {
    if (headers['transfer-encoding'] === 'chunked') return this.chunks();
    const length = Number(headers['content-length'] ?? Infinity);
    await until('the body of an answer', () => this.bytes.length >= length || this.ended);
    const text = this.bytes.subarray(0, Math.min(length, this.bytes.length)).toString();
    this.bytes = this.bytes.subarray(Math.min(length, this.bytes.length));
    return text;
  }

  async chunks() {
    const pieces = [];
    for (;;) {
      const line = await until('a chunk', () => {
        const at = this.bytes.indexOf('\r\n');
        if (at === -1 && this.ended) throw new Error('the connection ended within a chunked body');
        return at === -1 ? 0 : at + 2;
      });
      const size = parseInt(this.bytes.subarray(0, line).toString(), 16);
      await until('a chunk', () => {
        if (this.bytes.length >= line + size + 2) return true;
        if (this.ended) throw new Error('the connection ended within a chunk');
        return false;
      });
      pieces.push(this.bytes.subarray(line, line + size));
      this.bytes = this.bytes.subarray(line + size + 2);
      if (size === 0) return Buffer.concat(pieces).toString();
    }
  }

  async ends(within_ms = PATIENCE_MS) {
    await within(within_ms, 'the end of the connection', this.closed);
  }

  destroy() {
    this.socket.destroy();
  }
}

// The server-sent events of a stream, each the text after "data: ", or a comment with its colon.
export function frames(text) {
  const blocks = text.split('\n\n');
  if (blocks.pop() !== '') throw new Error('the stream ends within an event');
  return blocks.map((block) => {
    if (block.startsWith('data: ')) return block.slice(6);
    if (block.startsWith(':')) return block;
    throw new Error(`not an event: ${block}`);
  });
}
