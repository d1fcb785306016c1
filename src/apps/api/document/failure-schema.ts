import { z } from 'zod';

/** `FailureBody` as the document has it. */
export const failureBody = z
  .object({
    ok: z.literal(false),
    error: z.string().meta({ description: 'What a program goes by.', example: 'invalid_argument' }),
    detail: z.string().optional().meta({ description: 'One line for a person.' }),
    code: z
      .int()
      .min(1)
      .max(4)
      .optional()
      .meta({ description: '1 to 3: how the auth hook denied it. 4: a lock is held.' }),
    field: z.string().optional().meta({ description: 'The member, parameter or header that is meant.' }),
    conflicts: z
      .array(z.string())
      .optional()
      .meta({ description: 'The locks that are held, `<host>:<script>`.' }),
  })
  .meta({ id: 'Failure', description: 'Every answer that is not a success.' });
