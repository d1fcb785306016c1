import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../../../src/domain/protocol/http-message.js';

describe('jsonAnswer', () => {
  it('is UTF-8 JSON with its type, further headers behind', () => {
    const answer = jsonAnswer(503, { error: 'ü' }, [['retry-after', '5']]);
    expect(answer.status).toBe(503);
    expect(answer.headers).toEqual([
      ['content-type', 'application/json'],
      ['retry-after', '5'],
    ]);
    expect(new TextDecoder().decode(answer.body)).toBe('{"error":"ü"}');
  });

  it('leaves out what is undefined and reads back as what was given', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (body) => {
        const read = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(jsonAnswer(200, body).body));
        expect(read).toEqual(JSON.parse(JSON.stringify(body)));
      }),
    );
    expect(new TextDecoder().decode(jsonAnswer(200, { a: undefined, b: 1 }).body)).toBe('{"b":1}');
  });
});
