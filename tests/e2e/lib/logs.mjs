// The log against its schema: every line has the shape of its event.
import Ajv from 'ajv';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './kit.mjs';

export const schema = JSON.parse(readFileSync(join(ROOT, 'tests/schema/log.schema.json'), 'utf8'));

export const eventName = ({ component, event }) => `${component}.${event}`;

const { oneOf: shapes, ...head } = schema;
const ajv = new Ajv({ allErrors: true });
const whole = ajv.compile(schema);

const nameOf = (shape) =>
  eventName({ component: shape.properties.component.const, event: shape.properties.event.const });

// name -> the part of the schema for that event
export const events = new Map(shapes.map((shape) => [nameOf(shape), shape]));
assert.equal(events.size, shapes.length, 'an event has two shapes');

const why = (line) => {
  const shape = events.get(eventName(line));
  if (!shape) return 'is no event of tests/schema/log.schema.json';
  const one = new Ajv({ allErrors: true });
  one.validate({ ...head, ...shape }, line);
  return one.errorsText();
};

// Fails with the first line that has not the shape of its event.
export function checkLog(lines) {
  for (const line of lines)
    if (!whole(line)) throw new Error(`a log line ${why(line)}: ${JSON.stringify(line)}`);
}
