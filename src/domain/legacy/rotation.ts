import { parseJsonObject } from '../core/json.js';
import { canonicalSerial } from '../trust/serial.js';

/**
 * The serial before the present one that another installation noted in its `rotation.json`, as it is written there (see
 * `meantSerial`). It kept no key of it. Undefined: none is noted, or the file is not understood.
 */
export function parseLegacyRotation(text: string): string | undefined {
  const previous = parseJsonObject(text).match(
    (value) => value['previous_serial'],
    () => undefined,
  );
  return typeof previous === 'string' && canonicalSerial(previous) !== undefined ? previous : undefined;
}
