import type { FileHandle } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { readRegular, readUpTo } from '../../../../src/adapters/files/regular-file.js';

/** A file that never ends, as some of /proc seem to. */
const endless = () => {
  let reads = 0;
  const read = async (buffer: Buffer) => {
    reads += 1;
    if (reads > 100) throw new Error('read on and on');
    return { bytesRead: buffer.length, buffer };
  };
  return { read } as unknown as FileHandle;
};

it('a file without end is read up to the limit', async () => {
  await expect(readUpTo(endless(), 1024 * 1024)).rejects.toMatchObject({ code: 'EFBIG' });
});

it('devices, directories and links are not opened', async () => {
  await expect(readRegular('/dev/zero', 10)).rejects.toMatchObject({ code: 'EINVAL' });
  await expect(readRegular('/etc', 10)).rejects.toMatchObject({ code: 'EISDIR' });
  await expect(readRegular('/proc/self/exe', 10)).rejects.toMatchObject({ code: 'ELOOP' });
});
